//! Two directors by an example of `conf/`, one file each, and what happens to hosts in a rack: they die and boot.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ipvsd_lab::{Host, Segment, wait_until};
use nix::sys::signal::Signal;

use crate::routers::{Routers, SOON};
use crate::site::{Daemon, ipvsd, table};

/// What the tests say in place of an example's words: paces, and paths of this lab.
type Words = Vec<(String, String)>;

/// The two directors of an example, each with its daemon while that runs.
pub(crate) struct Pair<'lab> {
    routers: &'lab Routers,
    files: [PathBuf; 2],
    daemons: [Option<Daemon>; 2],
}

impl<'lab> Pair<'lab> {
    /// Writes the files of `conf/EXAMPLE` to the directors, with other words in places, and holds them to be sound
    /// there; `{directory}` in those words is each director's own folder. Nothing is started.
    pub(crate) fn new(routers: &'lab Routers, example: &str, words: &[(&str, &str)]) -> Self {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("conf").join(example);
        let words: Words = words.iter().map(|(from, to)| ((*from).into(), (*to).into())).collect();
        let files = [0, 1].map(|index| write(routers.director(index), &folder, index, &words));
        for (index, file) in files.iter().enumerate() {
            let checked = ipvsd(routers.director(index), &["check-config", &file.display().to_string()]);
            let said = format!("{}{}", checked.stdout, checked.stderr);
            assert!(checked.code() == 0 && !said.contains(": error"), "{said}");
            assert!(!said.contains("is this director itself"), "{said}");
        }
        Self {
            routers,
            files,
            daemons: [None, None],
        }
    }

    pub(crate) fn director(&self, index: usize) -> &'lab Host {
        self.routers.director(index)
    }

    pub(crate) fn start(&mut self, index: usize) {
        let daemon = Daemon::start(self.director(index), &self.files[index], &[]);
        self.daemons[index] = Some(daemon);
    }

    /// What the daemon has logged.
    pub(crate) fn log(&self, index: usize) -> String {
        self.daemons[index]
            .as_ref()
            .map_or_else(String::new, |daemon| daemon.process.log())
    }

    /// The errors that the daemon has logged, by how they begin: a quorum that is lost is one, and was wanted.
    pub(crate) fn errors(&self, index: usize) -> Vec<String> {
        let log = self.log(index);
        let errors = log.lines().filter_map(|line| line.split_once(" ERROR "));
        let said = errors.map(|(_, text)| text.split_once(" service=").map_or(text, |(said, _)| said));
        said.map(str::to_owned).collect()
    }

    /// A clean stop of the daemon.
    pub(crate) fn stop(&mut self, index: usize) {
        let mut daemon = self.daemons[index].take().expect("a running daemon");
        daemon.process.signal(Signal::SIGTERM).expect("a signal");
        daemon.process.wait(SOON).expect("it ends");
    }

    /// The director is gone in this instant, and with it all that it knew: addresses, table, kernel settings of IPVS,
    /// what the daemon keeps under `/run`.
    pub(crate) fn power_off(&mut self, index: usize) {
        self.director(index).link_down(Segment::Client).expect("the cable");
        drop(self.daemons[index].take());
        let (director, device) = (self.director(index), self.routers.device(index));
        let lines = [
            format!("address flush dev {device} scope global"),
            "address flush dev lo scope global".to_owned(),
        ];
        director.ip(&[&lines[0], &lines[1]]).expect("ip");
        for command in [
            &["ipvsadm", "-C"][..],
            &["ipvsadm", "--set", "900", "120", "300"],
            &["ipvsadm", "--stop-daemon", "master"],
            &["ipvsadm", "--stop-daemon", "backup"],
        ] {
            // Those that do not run cannot be stopped.
            director.exec(command).expect("ipvsadm");
        }
        let inode = director.in_namespace(|| fs::metadata("/proc/thread-self/ns/net").map(|found| found.ino()));
        let inode = inode.expect("a namespace").expect("a namespace");
        fs::remove_dir_all(format!("/run/ipvsd/netns-{inode}")).expect("what the daemon kept");
    }

    /// It boots, with its own address and without its daemon.
    pub(crate) fn power_on(&self, index: usize) {
        let (director, device) = (self.director(index), self.routers.device(index));
        let own = format!("address add {}/24 dev {device}", self.routers.address(index));
        director.ip(&[&own]).expect("ip");
        director.link_up(Segment::Client).expect("the cable");
    }

    /// The directors that have an address where neighbours are: as real servers they may have it on `lo` as well.
    pub(crate) fn holders(&self, address: IpAddr) -> BTreeSet<usize> {
        let has = |index: &usize| {
            let show = ["ip", "-o", "address", "show", "dev", self.routers.device(*index)];
            let found = self.director(*index).exec_ok(&show).expect("ip");
            found.contains(&format!(" {address}/"))
        };
        (0..2).filter(has).collect()
    }

    /// Waits until this director has these addresses and the other one has not.
    pub(crate) fn wait_for_master(&self, what: &str, index: usize, addresses: &[IpAddr]) {
        let wanted = BTreeSet::from([index]);
        let has_all = || addresses.iter().all(|address| self.holders(*address) == wanted);
        wait_until(what, SOON, has_all).unwrap_or_else(|problem| panic!("{problem}\n{}", self.shown()));
    }

    /// The weights of these servers in one director's service; `None` for one that is not in it.
    pub(crate) fn weights(&self, index: usize, service: SocketAddr, servers: &[IpAddr]) -> Vec<Option<u32>> {
        let found = table(self.director(index), &["-t", &service.to_string()]).unwrap_or_default();
        let weight = |server: &IpAddr| {
            let key = SocketAddr::new(*server, service.port());
            found.get(&key).map(|found| found.weight)
        };
        servers.iter().map(weight).collect()
    }

    /// What both say of themselves, for a test that fails.
    pub(crate) fn shown(&self) -> String {
        let of = |index: usize| {
            let say = |verb: &[&str]| ipvsd(self.director(index), verb).stdout;
            format!("{}{}{}", say(&["status"]), say(&["list", "-n"]), self.log(index))
        };
        [0, 1].map(of).join("\n")
    }
}

/// Puts the pool's file, if there is one, and the director's own on the host.
fn write(host: &Host, folder: &Path, index: usize, words: &Words) -> PathBuf {
    let own = format!("director-{}.toml", index + 1);
    let names = ["pool.toml", &own];
    let texts = names.map(|name| fs::read_to_string(folder.join(name)).unwrap_or_default());
    for (from, _) in words {
        assert!(
            texts.iter().any(|text| text.contains(from)),
            "{from} in {}",
            folder.display()
        );
    }
    for (name, text) in names.iter().zip(texts) {
        let own = |to: &str| to.replace("{directory}", &host.directory().display().to_string());
        let text = words.iter().fold(text, |text, (from, to)| text.replace(from, &own(to)));
        fs::write(host.directory().join(name), text).expect("a configuration file");
    }
    host.directory().join(own)
}

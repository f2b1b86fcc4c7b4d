//! Names of hosts and ports: the system's name service, asked through getent(1).
//!
//! What `/etc/nsswitch.conf` says is obeyed in a process of its own. So this program loads no foreign code to resolve
//! names (it is linked statically, see `docs/adr/0007-static-program.md`), and a name server that does not answer is
//! left behind by ending that process. Without getent nothing has a name.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind, Read};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::str::Split;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::model::Protocol;
use crate::process::children::{CHILDREN, Running};

/// How many processes ask at a time.
const PARALLEL: usize = 16;
/// With more hosts than this, some share a process and so wait for each other.
const MOST_PROCESSES: usize = 512;

/// How long to wait for answers.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// How long nobody may answer anything. A slow host still answers something in it; a dead name server does not.
    pub silence: Duration,
    /// When to end in any case.
    pub end: Instant,
}

impl Patience {
    /// Waits until `limit` is over, whoever has answered meanwhile.
    pub fn for_one(limit: Duration) -> Self {
        Self {
            silence: limit,
            end: Instant::now() + limit,
        }
    }

    /// What is left of it after an answer at `heard`.
    fn left(&self, heard: Instant) -> Duration {
        self.end
            .min(heard + self.silence)
            .saturating_duration_since(Instant::now())
    }
}

/// The names of hosts that have one, as far as they are known when patience ends.
pub fn hosts(addresses: impl IntoIterator<Item = IpAddr>, patience: Patience) -> BTreeMap<IpAddr, String> {
    let addresses: Vec<String> = addresses.into_iter().map(|address| address.to_string()).collect();
    let together = addresses.len().div_ceil(MOST_PROCESSES).max(1);
    let mut found = BTreeMap::new();
    let questions = addresses.chunks(together).map(|some| ("hosts", some));
    // What stays unanswered is shown as a number, as if it had no name.
    let _ = ask(&[], questions, patience, |line| {
        let mut words = line.split_whitespace();
        if let (Some(Ok(address)), Some(name)) = (words.next().map(str::parse), words.next()) {
            found.insert(address, name.to_owned());
        }
    });
    found
}

/// The names of ports that have one.
pub fn ports(
    ports: impl IntoIterator<Item = (Protocol, u16)>,
    patience: Patience,
) -> BTreeMap<(Protocol, u16), String> {
    let wanted = ports
        .into_iter()
        .filter_map(|(protocol, port)| Some(format!("{port}/{}", protocol_word(protocol)?)));
    let wanted: Vec<String> = wanted.collect();
    let mut found = BTreeMap::new();
    // Some thousand to a command line.
    let questions = wanted.chunks(4096).map(|some| ("services", some));
    let _ = ask(&[], questions, patience, |line| {
        if let Some((name, port, protocol)) = service_line(line) {
            found.insert((protocol, port), name.to_owned());
        }
    });
    found
}

/// The numbers of a user and of the group that is the user's own; `None` where this host has no such user.
///
/// # Errors
/// It is not in `/etc/passwd`, and getent cannot be run or has no answer when patience ends ([`ErrorKind::TimedOut`]).
pub fn user_of(name: &str, patience: Patience) -> io::Result<Option<(u32, u32)>> {
    let number = |field: Option<&str>| field?.parse().ok();
    let ids = |fields: &mut Split<'_, char>| Some((number(fields.next())?, number(fields.next())?));
    account("/etc/passwd", "passwd", name, patience, ids)
}

/// The number of a group; `None` where this host has no such group.
///
/// # Errors
/// As [`user_of`], with `/etc/group`.
pub fn group_of(name: &str, patience: Patience) -> io::Result<Option<u32>> {
    account("/etc/group", "group", name, patience, |fields| {
        fields.next()?.parse().ok()
    })
}

/// What stands behind the name and the password of an entry. Whoever is in the file is found without another process.
fn account<T>(
    file: &str,
    database: &'static str,
    name: &str,
    patience: Patience,
    read: impl Fn(&mut Split<'_, char>) -> Option<T>,
) -> io::Result<Option<T>> {
    let entry = |line: &str| {
        let mut fields = line.split(':');
        (fields.next() == Some(name) && fields.next().is_some())
            .then(|| read(&mut fields))
            .flatten()
    };
    let text = fs::read_to_string(file).unwrap_or_default();
    if let Some(found) = text.lines().find_map(entry) {
        return Ok(Some(found));
    }
    let mut found = None;
    ask(&[], [(database, [name.to_owned()])], patience, |line| {
        found = found.take().or_else(|| entry(line));
    })?;
    Ok(found)
}

/// The first IPv4 address of a host; `None` where it has none.
///
/// # Errors
/// getent cannot be run, or has no answer when patience ends ([`ErrorKind::TimedOut`]).
pub fn address_of(host: &str, patience: Patience) -> io::Result<Option<Ipv4Addr>> {
    // On a host whose only IPv4 address is the loopback's nobody has an IPv4 address unless the option says otherwise; an
    // older getent does not know the option and says nothing at all.
    for options in [&["--no-addrconfig"][..], &[]] {
        let mut found = None;
        ask(options, [("ahostsv4", [host.to_owned()])], patience, |line| {
            let address = line.split_whitespace().next().and_then(|word| word.parse().ok());
            found = found.or(address);
        })?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// All addresses of a host, in the order in which this host wants them tried; an address in place of a name is its own.
///
/// # Errors
/// As [`address_of`].
pub fn addresses_of(host: &str, patience: Patience) -> io::Result<Vec<IpAddr>> {
    if let Ok(address) = host.parse() {
        return Ok(vec![address]);
    }
    let mut found = Vec::new();
    // There is a line for each kind of socket.
    ask(&[], [("ahosts", [host.to_owned()])], patience, |line| {
        let address = line.split_whitespace().next().and_then(|word| word.parse().ok());
        found.extend(address.filter(|address| !found.contains(address)));
    })?;
    Ok(found)
}

/// The port of a service name; `None` where there is none for this protocol.
///
/// # Errors
/// As [`address_of`].
pub fn port_of(name: &str, protocol: Protocol, patience: Patience) -> io::Result<Option<u16>> {
    let Some(word) = protocol_word(protocol) else {
        return Ok(None);
    };
    let mut found = None;
    ask(&[], [("services", [format!("{name}/{word}")])], patience, |line| {
        found = found.or(service_line(line).map(|(_, port, _)| port));
    })?;
    Ok(found)
}

fn protocol_word(protocol: Protocol) -> Option<&'static str> {
    match protocol {
        Protocol::Tcp => Some("tcp"),
        Protocol::Udp => Some("udp"),
        Protocol::Sctp => Some("sctp"),
        Protocol::Other(_) => None,
    }
}

/// `http    80/tcp www`.
fn service_line(line: &str) -> Option<(&str, u16, Protocol)> {
    let mut words = line.split_whitespace();
    let name = words.next()?;
    let (port, protocol) = words.next()?.split_once('/')?;
    let protocol = match protocol {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        "sctp" => Protocol::Sctp,
        _ => return None,
    };
    Some((name, port.parse().ok()?, protocol))
}

/// One process and what it has said so far.
struct Asked {
    child: Child,
    said: Vec<u8>,
    /// Known for as long as it runs, and forgotten once it was waited for.
    _running: Running<'static>,
}

impl Drop for Asked {
    fn drop(&mut self) {
        // Both fail only where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks getent each question, a database and its keys, and hands on every line of the answers.
fn ask<K: AsRef<[String]>>(
    options: &[&str],
    questions: impl IntoIterator<Item = (&'static str, K)>,
    patience: Patience,
    mut answered: impl FnMut(&str),
) -> io::Result<()> {
    let mut questions = questions.into_iter();
    let mut asked: Vec<Asked> = Vec::new();
    let mut heard = Instant::now();
    loop {
        while asked.len() < PARALLEL
            && let Some((database, keys)) = questions.next()
        {
            let mut command = Command::new("getent");
            command
                .args(options)
                .args([database, "--"])
                .args(keys.as_ref())
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::null());
            let (child, running) = CHILDREN.start(&mut command)?;
            asked.push(Asked {
                child,
                said: Vec::new(),
                _running: running,
            });
        }
        if asked.is_empty() {
            return Ok(());
        }
        let left = patience.left(heard);
        if left.is_zero() || !wait_for_words(&mut asked, left)? {
            return Err(ErrorKind::TimedOut.into());
        }
        let mut index = 0;
        while let Some(one) = asked.get_mut(index) {
            if one.child.stdout.is_some() {
                index += 1;
            } else {
                String::from_utf8_lossy(&one.said).lines().for_each(&mut answered);
                drop(asked.swap_remove(index));
                heard = Instant::now();
            }
        }
    }
}

/// Waits until somebody says something or ends, takes it, and closes the ear to whoever has ended; `false` when the
/// time is over.
fn wait_for_words(asked: &mut [Asked], left: Duration) -> io::Result<bool> {
    let ears = asked.iter().filter_map(|one| one.child.stdout.as_ref());
    let mut ears: Vec<PollFd<'_>> = ears.map(|ear| PollFd::new(ear.as_fd(), PollFlags::POLLIN)).collect();
    // A millisecond more, so that the end of the time is not met again and again.
    let timeout = PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
    let ready: Vec<bool> = match poll(&mut ears, timeout) {
        Ok(0) => return Ok(false),
        Ok(_) => ears.iter().map(|ear| ear.any().unwrap_or(true)).collect(),
        Err(Errno::EINTR) => return Ok(true),
        Err(errno) => return Err(errno.into()),
    };
    for (one, _) in asked.iter_mut().zip(ready).filter(|(_, ready)| *ready) {
        let mut words = [0; 4096];
        let length = match &mut one.child.stdout {
            Some(ear) => ear.read(&mut words).unwrap_or(0),
            None => 0,
        };
        one.said.extend_from_slice(&words[..length]);
        if length == 0 {
            one.child.stdout = None;
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soon() -> Patience {
        Patience::for_one(Duration::from_secs(30))
    }

    #[test]
    fn loopback_and_http_have_names_and_others_are_left_out() {
        let here = IpAddr::from(Ipv4Addr::LOCALHOST);
        let found = hosts([here], soon());
        assert!(
            found.get(&here).is_some_and(|name| name.contains("localhost")),
            "{found:?}"
        );
        let found = ports(
            [(Protocol::Tcp, 80), (Protocol::Other(50), 80), (Protocol::Udp, 64999)],
            soon(),
        );
        assert_eq!(found, BTreeMap::from([((Protocol::Tcp, 80), "http".to_owned())]));
    }

    #[test]
    fn accounts_have_numbers_from_the_file_and_from_getent_alike() {
        assert_eq!(user_of("root", soon()).unwrap(), Some((0, 0)));
        assert_eq!(group_of("root", soon()).unwrap(), Some(0));
        let number = |fields: &mut Split<'_, char>| fields.next()?.parse::<u32>().ok();
        let asked = account("/no/such/file", "passwd", "root", soon(), number);
        assert_eq!(asked.unwrap(), Some(0));
        for nobody in ["no-such-user", "", "0", "root:x"] {
            assert_eq!(user_of(nobody, soon()).unwrap(), None, "{nobody}");
            assert_eq!(group_of(nobody, soon()).unwrap(), None, "{nobody}");
        }
    }

    #[test]
    fn names_lead_to_addresses_and_ports() {
        assert_eq!(address_of("localhost", soon()).unwrap(), Some(Ipv4Addr::LOCALHOST));
        let found = addresses_of("localhost", soon()).unwrap();
        assert!(!found.is_empty() && found.iter().all(IpAddr::is_loopback), "{found:?}");
        let here = IpAddr::from(Ipv4Addr::new(192, 0, 2, 1));
        assert_eq!(addresses_of("192.0.2.1", soon()).unwrap(), [here]);
        assert!(addresses_of("no-such-host.invalid", soon()).unwrap().is_empty());
        assert_eq!(port_of("domain", Protocol::Udp, soon()).unwrap(), Some(53));
        assert_eq!(port_of("no-such-service", Protocol::Tcp, soon()).unwrap(), None);
        assert_eq!(port_of("http", Protocol::Other(50), soon()).unwrap(), None);
    }

    #[test]
    fn a_name_that_looks_like_an_option_is_a_name() {
        assert_eq!(port_of("--help", Protocol::Tcp, soon()).unwrap(), None);
    }

    #[test]
    fn without_time_nobody_waits() {
        let start = Instant::now();
        let none = Patience::for_one(Duration::ZERO);
        assert!(hosts([IpAddr::from(Ipv4Addr::LOCALHOST)], none).is_empty());
        let refused = address_of("localhost", none).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::TimedOut);
        assert!(start.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn patience_starts_again_with_every_answer_and_ends_in_time() {
        let now = Instant::now();
        let patience = Patience {
            silence: Duration::from_secs(100),
            end: now + Duration::from_secs(1000),
        };
        for (heard, least, most) in [(0, 90, 100), (500, 590, 600), (950, 990, 1000)] {
            let left = patience.left(now + Duration::from_secs(heard)).as_secs();
            assert!((least..=most).contains(&left), "{heard}: {left}");
        }
    }

    #[test]
    fn more_hosts_than_processes_are_all_asked() {
        let many = (0..40).map(|last| IpAddr::from([127, 0, 0, last]));
        let found = hosts(many, soon());
        assert!(found.contains_key(&IpAddr::from(Ipv4Addr::LOCALHOST)), "{found:?}");
    }
}

//! One host of a lab: a namespace with addresses, in which commands, programs and closures run.

use std::fmt;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::namespace::Namespace;
use crate::switch::Switch;
use crate::{Process, Segment};

const COMMAND_LIMIT: Duration = Duration::from_secs(60);

/// What a host is in its topology.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Forwards with IPVS.
    Director,
    /// Answers.
    RealServer,
    /// Asks.
    Client,
    /// Joins the two segments of [`crate::Topology::routed`].
    Router,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Director => "director",
            Self::RealServer => "real-server",
            Self::Client => "client",
            Self::Router => "router",
        })
    }
}

/// One end of a cable: a device with its addresses.
#[derive(Clone, Debug)]
pub(crate) struct Interface {
    /// Where it leads; both where the topology has but one segment.
    pub(crate) segments: &'static [Segment],
    pub(crate) device: &'static str,
    /// The cable's other end, a port of the switch.
    pub(crate) port: String,
    pub(crate) address4: Ipv4Addr,
    pub(crate) address6: Ipv6Addr,
}

/// A command that has ended.
#[derive(Clone, Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to its output.
    pub stdout: String,
    /// What it wrote to its errors.
    pub stderr: String,
}

impl Finished {
    /// The exit code, -1 after a signal.
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or(-1)
    }
}

/// One host of a lab.
#[derive(Debug)]
pub struct Host {
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) namespace: Namespace,
    pub(crate) switch: Arc<Switch>,
    pub(crate) interfaces: Vec<Interface>,
    pub(crate) directory: PathBuf,
    pub(crate) started: AtomicU32,
}

impl Host {
    /// Its name within the lab, such as `director-1` or `real-server-2`; servers use it as their identity.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is in its topology.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The name under which `ip netns` knows it.
    pub fn namespace(&self) -> &str {
        self.namespace.name()
    }

    /// Its IPv4 address on a segment; where the topology has but one segment, both mean that one.
    ///
    /// # Panics
    /// When the host has no cable to that segment.
    pub fn address4(&self, segment: Segment) -> Ipv4Addr {
        self.interface(segment).address4
    }

    /// Its IPv6 address on a segment, as [`Host::address4`].
    ///
    /// # Panics
    /// When the host has no cable to that segment.
    pub fn address6(&self, segment: Segment) -> Ipv6Addr {
        self.interface(segment).address6
    }

    /// Its device on a segment, `eth0` or `eth1`.
    ///
    /// # Panics
    /// When the host has no cable to that segment.
    pub fn device(&self, segment: Segment) -> &str {
        self.interface(segment).device
    }

    /// A folder of its own for configuration and state, gone with the lab.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Runs a closure on a thread of its own inside the namespace. A panic in it goes on in the caller.
    ///
    /// Sockets opened there stay in the namespace wherever they are used. `/proc/net` shows the process's own
    /// namespace there, `/proc/thread-self/net` the host's.
    pub fn in_namespace<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        self.namespace.enter(work)
    }

    /// Runs a command to its end, 60 s at most; an exit status other than 0 is no error here.
    pub fn exec(&self, arguments: &[&str]) -> Result<Finished> {
        self.exec_with_input(arguments, "")
    }

    /// Runs a command to its end with a text as its input.
    pub fn exec_with_input(&self, arguments: &[&str], input: &str) -> Result<Finished> {
        let Some((program, rest)) = arguments.split_first() else {
            bail!("no program named")
        };
        self.namespace.enter(|| {
            let mut child = Command::new(program)
                .args(rest)
                .stdin(if input.is_empty() {
                    Stdio::null()
                } else {
                    Stdio::piped()
                })
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .with_context(|| format!("cannot start {program} on {}", self.name))?;
            let id = Pid::from_raw(child.id().cast_signed());
            if let Some(mut pipe) = child.stdin.take() {
                let input = input.to_owned();
                // A program that ends before it has read everything says so by its exit status.
                thread::spawn(move || pipe.write_all(input.as_bytes()));
            }
            let (sender, receiver) = mpsc::channel();
            thread::spawn(move || sender.send(child.wait_with_output()));
            let output = match receiver.recv_timeout(COMMAND_LIMIT) {
                Ok(output) => output.with_context(|| format!("cannot read what {program} writes"))?,
                Err(_) => {
                    // Its reader thread ends with it.
                    let _ = kill(id, Signal::SIGKILL);
                    return Err(anyhow!(
                        "{arguments:?} on {} ran longer than {COMMAND_LIMIT:?}",
                        self.name
                    ));
                }
            };
            Ok(Finished {
                status: output.status,
                stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
                stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            })
        })?
    }

    /// Runs a command that has to succeed and returns its output.
    pub fn exec_ok(&self, arguments: &[&str]) -> Result<String> {
        self.exec_ok_with_input(arguments, "")
    }

    /// Runs a command that has to succeed, with a text as its input, and returns its output.
    pub fn exec_ok_with_input(&self, arguments: &[&str], input: &str) -> Result<String> {
        let finished = self.exec_with_input(arguments, input)?;
        if !finished.status.success() {
            let Finished { status, stdout, stderr } = finished;
            bail!("{arguments:?} on {} failed ({status}):\n{stdout}{stderr}", self.name);
        }
        Ok(finished.stdout)
    }

    /// Runs lines of `ip -batch`, all in one process: a fork is what costs most on user-mode Linux.
    pub fn ip(&self, lines: &[&str]) -> Result<()> {
        self.exec_ok_with_input(&["ip", "-batch", "-"], &format!("{}\n", lines.join("\n")))
            .map(drop)
    }

    /// Starts a program that runs until the returned value is dropped.
    pub fn spawn(&self, arguments: &[&str]) -> Result<Process> {
        self.spawn_with(arguments, &[])
    }

    /// Starts a program with additional environment variables.
    pub fn spawn_with(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Result<Process> {
        let number = self.started.fetch_add(1, Ordering::Relaxed) + 1;
        let program = arguments
            .first()
            .and_then(|path| Path::new(path).file_name())
            .map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let log = self.directory.join(format!("{program}.{number}.log"));
        Process::start(&self.namespace, arguments, environment, log)
    }

    /// Starts tcpdump, and waits until it listens. It stays root: the user that Debian's would become is not on every
    /// machine.
    pub fn tcpdump(&self, arguments: &[&str]) -> Result<Process> {
        let mut process = self.spawn(&[&["tcpdump", "-Z", "root"], arguments].concat())?;
        process.wait_for_log("listening on", COMMAND_LIMIT)?;
        Ok(process)
    }

    /// Sets a value below `/proc/sys`; the name is written with slashes, such as `net/ipv4/ip_forward`.
    pub fn set_sysctl(&self, name: &str, value: &str) -> Result<()> {
        let path = Path::new("/proc/sys").join(name);
        self.namespace
            .enter(|| std::fs::write(&path, value))?
            .with_context(|| format!("cannot set {name} to {value} on {}", self.name))
    }

    /// Reads a value below `/proc/sys`, without the line's end.
    pub fn sysctl(&self, name: &str) -> Result<String> {
        let path = Path::new("/proc/sys").join(name);
        let text = self
            .namespace
            .enter(|| std::fs::read_to_string(&path))?
            .with_context(|| format!("cannot read {name} on {}", self.name))?;
        Ok(text.trim_end().to_owned())
    }

    /// Pulls the cable to a segment: the device stays up with its addresses and loses its carrier.
    pub fn link_down(&self, segment: Segment) -> Result<()> {
        self.switch.set_port(&self.interface(segment).port, "down")
    }

    /// Puts the cable to a segment back, and returns when frames pass again.
    pub fn link_up(&self, segment: Segment) -> Result<()> {
        let port = &self.interface(segment).port;
        self.switch.set_port(port, "up")?;
        self.switch.wait_until_forwarding(&[port])
    }

    /// Makes the host take every address of a network as its own, such as `198.18.0.0/15`.
    pub fn own_network(&self, network: &str) -> Result<()> {
        self.ip(&[&format!("route add local {network} dev lo")])
    }

    /// Makes the segment lose all TCP packets to a port of this host, so that a connection to it times out.
    ///
    /// The switch drops them: Debian's user-mode kernels know nftables for bridges only. Packets in a tunnel pass.
    pub fn drop_tcp_port(&self, segment: Segment, port: u16) -> Result<()> {
        self.switch.drop_tcp_port(&self.interface(segment).port, port)
    }

    /// Makes the segment lose all packets of an IP protocol from and to this host, such as 112 (VRRP).
    pub fn drop_protocol(&self, segment: Segment, protocol: u8) -> Result<()> {
        self.switch.drop_protocol(&self.interface(segment).port, protocol)
    }

    /// Takes back what [`Host::drop_tcp_port`] and [`Host::drop_protocol`] did on a segment.
    pub fn drop_nothing(&self, segment: Segment) -> Result<()> {
        self.switch.drop_nothing(&self.interface(segment).port)
    }

    /// Marks what comes in on a segment for a network (`198.18.0.0/15`), for services by firewall mark.
    pub fn mark_incoming(&self, segment: Segment, network: &str, mark: u32) -> Result<()> {
        let device = self.device(segment);
        let protocol = if network.contains(':') { "ipv6" } else { "ip" };
        // Another mark of this host may have put the discipline there.
        self.exec(&["tc", "qdisc", "add", "dev", device, "ingress"])?;
        let filter = format!(
            "tc filter add dev {device} ingress protocol {protocol} flower dst_ip {network} action skbedit mark {mark}"
        );
        self.exec_ok(&filter.split(' ').collect::<Vec<_>>()).map(drop)
    }

    /// Whether an address is one of the host's on its cables.
    pub fn has_address(&self, address: IpAddr) -> bool {
        self.interfaces.iter().any(|interface| match address {
            IpAddr::V4(address) => interface.address4 == address,
            IpAddr::V6(address) => interface.address6 == address,
        })
    }

    fn interface(&self, segment: Segment) -> &Interface {
        self.interfaces
            .iter()
            .find(|interface| interface.segments.contains(&segment))
            .unwrap_or_else(|| panic!("{} has no cable to the {segment:?} segment", self.name))
    }
}

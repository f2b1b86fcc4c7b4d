//! What is probed: real programs, relays that spoil what a real program says, and servers that are up to no good.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use ipvsd_lab::{Host, Process, wait_until};

use super::SOON;

/// Starts a program and waits until it accepts connections on a port.
pub(crate) fn start(host: &Host, arguments: &[&str], port: u16) -> Process {
    let mut process = host.spawn(arguments).expect("the program starts");
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let accepts = || TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok() || !process.is_running();
    host.in_namespace(|| wait_until("a program accepts connections", SOON, accepts))
        .expect("a namespace")
        .unwrap_or_else(|problem| panic!("{problem}: {arguments:?}\n{}", process.log()));
    assert!(process.is_running(), "{arguments:?} ended:\n{}", process.log());
    process
}

/// Runs a program to its end, which may be far away on a busy machine, and holds it to have succeeded.
pub(crate) fn run_long(host: &Host, arguments: &[&str]) {
    let mut process = host.spawn(arguments).expect("the program starts");
    let status = process.wait(5 * SOON).expect("an end");
    assert!(status.success(), "{arguments:?}: {status}\n{}", process.log());
}

/// A server whose connections are each handled by a closure on a thread; ends with its value.
pub(crate) struct Odd {
    ended: Arc<AtomicBool>,
}

impl Odd {
    pub(crate) fn start(host: &Host, port: u16, handle: impl Fn(TcpStream) + Clone + Send + Sync + 'static) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let listener = host
            .in_namespace(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)))
            .expect("a namespace")
            .expect("a port");
        let seen = Arc::clone(&ended);
        listener.set_nonblocking(true).expect("a socket");
        thread::spawn(move || {
            while !seen.load(Ordering::Relaxed) {
                let Ok((stream, _)) = listener.accept() else {
                    thread::sleep(Duration::from_millis(5));
                    continue;
                };
                stream.set_nonblocking(false).expect("a socket");
                let handle = handle.clone();
                thread::spawn(move || handle(stream));
            }
        });
        Self { ended }
    }

    /// As [`Odd::start`], but nothing is said before the first bytes have come: most protocols let the client begin.
    pub(crate) fn when_asked(
        host: &Host,
        port: u16,
        answer: impl Fn(TcpStream) + Clone + Send + Sync + 'static,
    ) -> Self {
        Self::start(host, port, move |mut stream| {
            if stream.read(&mut [0; 4096]).is_ok_and(|read| read > 0) {
                answer(stream);
            }
        })
    }

    /// Accepts and says nothing, for as long as the other side stays.
    pub(crate) fn silent(host: &Host, port: u16) -> Self {
        Self::start(host, port, hold)
    }

    /// Says these bytes and then nothing.
    pub(crate) fn saying(host: &Host, port: u16, bytes: &'static [u8]) -> Self {
        Self::start(host, port, say(bytes))
    }

    /// Says the bytes over and over, as fast as they are taken.
    pub(crate) fn flooding(host: &Host, port: u16, bytes: &'static [u8]) -> Self {
        Self::start(host, port, flood(bytes))
    }

    /// Says the bytes one by one, with a pause between them.
    pub(crate) fn dripping(host: &Host, port: u16, bytes: &'static [u8], pause: Duration) -> Self {
        Self::start(host, port, move |mut stream| {
            for byte in bytes.iter().cycle() {
                if stream.write_all(&[*byte]).is_err() {
                    return;
                }
                thread::sleep(pause);
            }
        })
    }

    /// Hands everything on to another port of its host, each answer `delay` later, and breaks off after so many bytes
    /// of answers.
    pub(crate) fn relay(host: &Host, port: u16, to: u16, delay: Duration, bytes: usize) -> Self {
        let namespace = host
            .in_namespace(|| std::fs::File::open("/proc/thread-self/ns/net"))
            .expect("a namespace");
        let namespace = Arc::new(namespace.expect("a namespace"));
        Self::start(host, port, move |mut asker| {
            nix::sched::setns(&*namespace, nix::sched::CloneFlags::CLONE_NEWNET).expect("root");
            let Ok(mut server) = TcpStream::connect((Ipv4Addr::LOCALHOST, to)) else {
                return;
            };
            let (mut questions, mut onward) = (
                asker.try_clone().expect("a socket"),
                server.try_clone().expect("a socket"),
            );
            thread::spawn(move || {
                let _ = std::io::copy(&mut questions, &mut onward);
                let _ = onward.shutdown(Shutdown::Write);
            });
            let (mut left, mut buffer) = (bytes, [0; 4096]);
            while let Ok(read) = server.read(&mut buffer) {
                thread::sleep(delay);
                let pass = read.min(left);
                if pass == 0 || asker.write_all(&buffer[..pass]).is_err() {
                    break;
                }
                left -= pass;
                if left == 0 {
                    break;
                }
            }
            let _ = asker.shutdown(Shutdown::Both);
        })
    }
}

impl Drop for Odd {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

/// Says the bytes and then nothing.
pub(crate) fn say(bytes: &'static [u8]) -> impl Fn(TcpStream) + Clone + Send + Sync {
    move |mut stream| {
        let _ = stream.write_all(bytes);
        hold(stream);
    }
}

/// Says the bytes over and over, as fast as they are taken.
pub(crate) fn flood(bytes: &'static [u8]) -> impl Fn(TcpStream) + Clone + Send + Sync {
    move |mut stream| while stream.write_all(bytes).is_ok() {}
}

/// Takes what comes until the other side is done.
fn hold(mut stream: TcpStream) {
    let mut buffer = [0; 4096];
    while stream.read(&mut buffer).is_ok_and(|read| read > 0) {}
}

/// A certificate authority on a host, in `ca.pem`, and what it issues.
pub(crate) struct Authority<'lab> {
    host: &'lab Host,
}

impl<'lab> Authority<'lab> {
    pub(crate) fn make(host: &'lab Host) -> Self {
        let authority = Self { host };
        let write = |name: &str, text: &str| std::fs::write(host.directory().join(name), text).expect("a file");
        write(
            "openssl.cnf",
            "[req]\ndistinguished_name=dn\n[dn]\n[ca]\nbasicConstraints=critical,CA:TRUE\n",
        );
        authority.openssl(&format!(
            "req -x509 -config {{}}/openssl.cnf -extensions ca -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
             -keyout {{}}/ca.key -out {{}}/ca.pem -days 3650 -subj /CN=authority{}",
            host.name()
        ));
        authority
    }

    /// Issues `NAME.pem` with `NAME.key`, for a DNS name and so many days from now.
    pub(crate) fn issue(&self, name: &str, dns: &str, days: i32) -> (String, String) {
        let extensions = format!("subjectAltName=DNS:{dns}\n");
        std::fs::write(self.host.directory().join("extensions"), extensions).expect("a file");
        self.openssl(&format!(
            "req -config {{}}/openssl.cnf -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {{}}/{name}.key \
             -out {{}}/{name}.csr -subj /CN={dns}"
        ));
        self.openssl(&format!(
            "x509 -req -in {{}}/{name}.csr -CA {{}}/ca.pem -CAkey {{}}/ca.key -set_serial {} -days {days} \
             -extfile {{}}/extensions -out {{}}/{name}.pem",
            name.len() + 2
        ));
        (self.path(&format!("{name}.pem")), self.path(&format!("{name}.key")))
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.host.directory().join(name).display().to_string()
    }

    fn openssl(&self, arguments: &str) {
        let directory = self.host.directory().display().to_string();
        let arguments = arguments.replace("{}", &directory);
        let words: Vec<_> = std::iter::once("openssl").chain(arguments.split_whitespace()).collect();
        self.host.exec_ok(&words).expect("openssl");
    }
}

/// Starts nginx with the inside of its `http` block, and waits for a port.
pub(crate) fn nginx(host: &Host, http: &str, port: u16) -> Process {
    let directory = host.directory().join(format!("nginx-{port}"));
    std::fs::create_dir_all(&directory).expect("a folder");
    let directory = directory.display().to_string();
    let mut text = format!(
        "daemon off;\nuser root;\nworker_processes 1;\npid {directory}/pid;\nevents {{ }}\nhttp {{\naccess_log off;\n"
    );
    for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        text += &format!("{kind}_temp_path {directory}/{kind};\n");
    }
    let file = format!("{directory}/nginx.conf");
    std::fs::write(&file, format!("{text}{http}\n}}\n")).expect("a file");
    start(host, &["nginx", "-e", "stderr", "-c", &file], port)
}

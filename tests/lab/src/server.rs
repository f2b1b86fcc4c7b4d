//! What answers on a real server: real nginx, or a thread that says the identity and nothing else.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::signal::Signal;
use socket2::{Domain, SockRef, Socket, Type};

use crate::{Host, Process, wait_until};

const START_LIMIT: Duration = Duration::from_secs(20);

/// Debian's nginx, which answers every request with its identity.
#[derive(Debug)]
pub struct Nginx<'lab> {
    host: &'lab Host,
    process: Option<Process>,
    configuration: PathBuf,
    listens: Vec<SocketAddr>,
}

impl<'lab> Nginx<'lab> {
    /// Starts nginx on the host and returns when it accepts connections on every address.
    ///
    /// Listen on a wildcard (`0.0.0.0:80`, `[::]:80`) where a virtual address is to be answered too.
    pub fn start(host: &'lab Host, listens: &[SocketAddr], identity: &str) -> Result<Self> {
        let port = listens.first().map_or(0, SocketAddr::port);
        let directory = host.directory().join(format!("nginx-{port}"));
        fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
        let configuration = directory.join("nginx.conf");
        fs::write(
            &configuration,
            configuration_text(&directory.display().to_string(), listens, identity),
        )
        .with_context(|| format!("cannot write {}", configuration.display()))?;
        let mut nginx = Self {
            host,
            process: None,
            configuration,
            listens: listens.to_vec(),
        };
        nginx.restart()?;
        Ok(nginx)
    }

    /// Starts it again after [`Nginx::stop`] or [`Nginx::kill`], or stops and starts it.
    pub fn restart(&mut self) -> Result<()> {
        self.stop()?;
        let configuration = self.configuration.display().to_string();
        let mut process = self.host.spawn(&["nginx", "-e", "stderr", "-c", &configuration])?;
        let mut ended = false;
        let all_accept = || {
            ended = !process.is_running();
            ended
                || self
                    .listens
                    .iter()
                    .all(|listen| TcpStream::connect_timeout(&local(*listen), START_LIMIT).is_ok())
        };
        let started = self
            .host
            .in_namespace(move || wait_until("nginx accepts", START_LIMIT, all_accept))?;
        if let (Ok(()), true) = (&started, process.is_running()) {
            self.process = Some(process);
            return Ok(());
        }
        bail!(
            "nginx does not run on {} ({:?}); it wrote:\n{}",
            self.host.name(),
            self.listens,
            process.log()
        )
    }

    /// Stops it as an administrator would, and returns when it has ended.
    pub fn stop(&mut self) -> Result<()> {
        let Some(mut process) = self.process.take() else {
            return Ok(());
        };
        process.signal_alone(Signal::SIGTERM)?;
        process.wait(START_LIMIT).map(drop)
    }

    /// Kills it with all its workers, in this instant.
    pub fn kill(&mut self) {
        drop(self.process.take());
    }

    /// Whether it was started and has not been stopped.
    pub fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(Process::is_running)
    }
}

fn configuration_text(directory: &str, listens: &[SocketAddr], identity: &str) -> String {
    let mut text = format!(
        "daemon off;\nuser root;\nworker_processes 1;\npid {directory}/pid;\n\
         events {{ worker_connections 1024; }}\n\
         http {{\n    access_log off;\n    default_type text/plain;\n"
    );
    for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "    {kind}_temp_path {directory}/{kind};");
    }
    text.push_str("    server {\n");
    for listen in listens {
        let only = if listen.is_ipv6() { " ipv6only=on" } else { "" };
        let _ = writeln!(text, "        listen {listen}{only};");
    }
    let _ = write!(
        text,
        "        location / {{ return 200 \"{identity}\\n\"; }}\n    }}\n}}\n"
    );
    text
}

/// The address under which a listening address is reached from the same host.
fn local(listen: SocketAddr) -> SocketAddr {
    let address = match listen.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        other => other,
    };
    SocketAddr::new(address, listen.port())
}

/// A thread of this process for each address, which says the server's identity, a line, to everybody who connects (or sends a
/// datagram).
///
/// A TCP connection is held until the client closes it. Costs no process, so there may be many.
#[derive(Debug)]
pub struct Responder {
    shared: Arc<Shared>,
    listeners: Vec<TcpListener>,
    threads: Vec<thread::JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stopped: AtomicBool,
    answered: AtomicUsize,
}

impl Responder {
    /// Listens on the host's addresses over TCP. One wildcard listener with [`Host::own_network`] has any number.
    pub fn start(host: &Host, listens: &[SocketAddr], identity: &str) -> Result<Self> {
        let listeners =
            host.in_namespace(|| listens.iter().map(|listen| listen_tcp(*listen)).collect::<Result<_>>())??;
        let mut responder = Self {
            shared: Arc::default(),
            listeners,
            threads: Vec::new(),
        };
        for listener in &responder.listeners {
            let listener = listener.try_clone().context("cannot duplicate a listener")?;
            let (shared, line) = (Arc::clone(&responder.shared), format!("{identity}\n"));
            responder
                .threads
                .push(thread::spawn(move || serve(&listener, &shared, &line).expect("epoll")));
        }
        Ok(responder)
    }

    /// Answers datagrams to the host's addresses over UDP. The answer comes from the address asked only where that
    /// one is named here: a wildcard answers from the host's own.
    pub fn start_udp(host: &Host, listens: &[SocketAddr], identity: &str) -> Result<Self> {
        let mut responder = Self {
            shared: Arc::default(),
            listeners: Vec::new(),
            threads: Vec::new(),
        };
        for listen in listens {
            let socket = host
                .in_namespace(|| UdpSocket::bind(listen))?
                .with_context(|| format!("cannot listen on udp {listen} on {}", host.name()))?;
            socket
                .set_read_timeout(Some(Duration::from_millis(100)))
                .context("cannot set a socket's timeout")?;
            let (shared, line) = (Arc::clone(&responder.shared), format!("{identity}\n"));
            responder
                .threads
                .push(thread::spawn(move || answer_datagrams(&socket, &shared, &line)));
        }
        Ok(responder)
    }

    /// How many connections or datagrams were answered so far.
    pub fn answered(&self) -> usize {
        self.shared.answered.load(Ordering::Relaxed)
    }

    /// Stops listening and closes every connection; dropping it does the same.
    pub fn stop(self) {}
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        for listener in &self.listeners {
            // Wakes its thread; one that has ended already is what is wanted.
            let _ = SockRef::from(listener).shutdown(Shutdown::Both);
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn listen_tcp(listen: SocketAddr) -> Result<TcpListener> {
    let open = || {
        let socket = Socket::new(Domain::for_address(listen), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        if listen.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.bind(&listen.into())?;
        socket.listen(1024)?;
        Ok::<_, std::io::Error>(socket.into())
    };
    open().with_context(|| format!("cannot listen on tcp {listen}"))
}

/// Accepts, says the line and holds all connections of one listener, in one thread: on user-mode Linux a thread for each
/// would cost more than all the rest of a request.
fn serve(listener: &TcpListener, shared: &Shared, line: &str) -> Result<()> {
    const LISTENER: u64 = 0;
    const LOOK_EVERY: u16 = 1000;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    listener.set_nonblocking(true)?;
    epoll.add(listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
    let mut connections: HashMap<u64, TcpStream> = HashMap::new();
    let (mut number, mut events) = (LISTENER, [EpollEvent::empty(); 64]);
    while !shared.stopped.load(Ordering::Relaxed) {
        let count = match epoll.wait(&mut events, LOOK_EVERY) {
            Ok(count) => count,
            Err(Errno::EINTR) => 0,
            Err(error) => return Err(error.into()),
        };
        for event in &events[..count] {
            if event.data() != LISTENER {
                if connections.get_mut(&event.data()).is_some_and(has_ended) {
                    connections.remove(&event.data());
                }
                continue;
            }
            while let Some(mut stream) = accept(listener) {
                // Counted first: who has read the answer may look at the count.
                shared.answered.fetch_add(1, Ordering::Relaxed);
                if stream.write_all(line.as_bytes()).is_err() || stream.set_nonblocking(true).is_err() {
                    continue;
                }
                number += 1;
                if epoll.add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, number)).is_ok() {
                    connections.insert(number, stream);
                }
            }
        }
    }
    for connection in connections.values() {
        // One that has ended already is what is wanted.
        let _ = connection.shutdown(Shutdown::Both);
    }
    Ok(())
}

/// The next caller, if there is one.
fn accept(listener: &TcpListener) -> Option<TcpStream> {
    match listener.accept() {
        Ok((stream, _)) => Some(stream),
        Err(error) if error.kind() == ErrorKind::WouldBlock => None,
        Err(_) => {
            // The listener was shut down, or descriptors ran out for a moment.
            thread::sleep(Duration::from_millis(5));
            None
        }
    }
}

/// Reads and forgets what the client has sent; whether it has closed.
fn has_ended(stream: &mut TcpStream) -> bool {
    let mut buffer = [0; 1024];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return error.kind() != ErrorKind::WouldBlock,
        }
    }
}

fn answer_datagrams(socket: &UdpSocket, shared: &Shared, line: &str) {
    let mut buffer = [0; 2048];
    while !shared.stopped.load(Ordering::Relaxed) {
        if let Ok((_, client)) = socket.recv_from(&mut buffer) {
            shared.answered.fetch_add(1, Ordering::Relaxed);
            // A client that has gone gets no answer, as from any server.
            let _ = socket.send_to(line.as_bytes(), client);
        }
    }
}

//! The daemon's side of the control socket: takes callers, reads their requests, hands them on, writes the answers.
//!
//! Everything about a caller is bounded: how many there are, how long a request may be and take, how long an answer may
//! lie unread, how many large answers are in memory at a time. Whoever oversteps is told why and hung up on. It never
//! decides what a request does.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixListener as StdListener};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use nix::unistd::{Gid, chown, getegid, geteuid};
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout, timeout_at};

use super::access::{self, Access, Permissions};
use super::peer;
use crate::model::control::{BadRequest, LONGEST_REQUEST, Refused, Reply, Request, Trouble};

/// How many callers are listened to at a time.
const MOST_CALLERS: usize = 64;
/// How many answers that are not just a few lines are in memory at a time.
const LARGE_ANSWERS: usize = 4;
/// How long nobody is taken after the system had no descriptor for a caller.
const PAUSE: Duration = Duration::from_secs(1);
/// Callers that wait to be taken; the kernel keeps the rest waiting.
const BACKLOG: i32 = 64;

/// How long replies are waited for that come to a caller who has said that it will ask nothing more.
const LAST_REPLIES: Duration = Duration::from_secs(1);

/// How patient the daemon is with its callers.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// How long a caller may take from one answer to the end of its next request.
    pub request: Duration,
    /// How long a caller may read nothing of its answer.
    pub unread: Duration,
    /// How long one answer may take to be read.
    pub answer: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            request: Duration::from_secs(10),
            unread: Duration::from_secs(10),
            answer: Duration::from_secs(60),
        }
    }
}

/// Who asks, as the kernel says (`SO_PEERCRED`, unix(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// The user's number.
    pub uid: u32,
    /// The process; `None` where it is of another pid namespace.
    pub pid: Option<i32>,
}

/// What a request comes to.
#[derive(Debug)]
pub enum Answer {
    /// One reply.
    One(Box<Reply>),
    /// Replies as they come; the end of the channel is the end of the answer.
    Many(mpsc::Receiver<Reply>),
}

/// A request, and where its answer goes. One that is dropped is answered with a refusal.
#[derive(Debug)]
pub struct Call {
    /// What is asked.
    pub request: Request,
    /// Who asks.
    pub caller: Caller,
    /// Where the answer goes.
    pub answer: oneshot::Sender<Answer>,
    /// The connection itself, where the program that answers may be another one.
    pub connection: Option<OwnedFd>,
}

/// The socket's file, there while this value is.
#[derive(Debug)]
pub struct Listener {
    path: PathBuf,
    socket: StdListener,
    permissions: Arc<RwLock<Permissions>>,
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Listener {
    /// Makes the socket at a path, for root and the daemon's own user alone. A file that an earlier daemon left there is
    /// replaced. Nobody can connect before the mode is as it should be: it listens only then.
    ///
    /// # Errors
    /// The folder cannot be written, or the path is longer than a socket's may be (107 bytes).
    pub fn bind(path: &Path) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
        socket.bind(&SockAddr::unix(path)?)?;
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o600))?;
        socket.listen(BACKLOG)?;
        Ok(Self {
            path: path.to_owned(),
            socket: socket.into(),
            permissions: Arc::new(RwLock::new(nobody_else())),
        })
    }

    /// The socket that the program before in this process has left open, if it is the one at this path.
    pub fn inherited(path: &Path, descriptor: OwnedFd) -> Option<Self> {
        let socket = StdListener::from(descriptor);
        let is_there = |address: SocketAddr| address.as_pathname() == Some(path);
        let ours = socket.local_addr().is_ok_and(is_there) && path.exists();
        ours.then(|| Self {
            path: path.to_owned(),
            socket,
            permissions: Arc::new(RwLock::new(nobody_else())),
        })
    }

    /// Lets the members of one group in as well, and those of another look; or no group any more. Where some may only
    /// look, everybody may connect, and who he is decides at once.
    ///
    /// # Errors
    /// The file is gone, or its group may not be changed (without `CAP_CHOWN` only to one of the process's own); then
    /// no group is let in.
    pub fn allow(&self, group: Option<u32>, read_group: Option<u32>) -> io::Result<()> {
        // Never wider than it will be: the mode is narrowed before the group changes.
        let set_mode = |mode| std::fs::set_permissions(&self.path, PermissionsExt::from_mode(mode));
        let set_permissions =
            |permissions| *self.permissions.write().unwrap_or_else(PoisonError::into_inner) = permissions;
        set_permissions(nobody_else());
        set_mode(0o600)?;
        let own = getegid();
        chown(&self.path, None, Some(group.map_or(own, Gid::from_raw)))?;
        set_permissions(Permissions {
            group,
            read_group,
            ..nobody_else()
        });
        match (group, read_group) {
            (_, Some(_)) => set_mode(0o666),
            (Some(_), None) => set_mode(0o660),
            (None, None) => Ok(()),
        }
    }

    /// Takes callers until nobody takes their calls any more; called once, inside the event loop.
    ///
    /// # Errors
    /// The event loop cannot watch the socket.
    pub fn serve(&self, calls: mpsc::Sender<Call>, patience: Patience) -> io::Result<()> {
        let socket = UnixListener::from_std(self.socket.try_clone()?)?;
        tokio::spawn(accept(socket, calls, Arc::clone(&self.permissions), patience));
        Ok(())
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // A file that stays behind is replaced by the next daemon.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Root and the daemon's own user alone.
fn nobody_else() -> Permissions {
    Permissions {
        own: geteuid().as_raw(),
        ..Permissions::default()
    }
}

async fn accept(
    listener: UnixListener,
    calls: mpsc::Sender<Call>,
    permissions: Arc<RwLock<Permissions>>,
    patience: Patience,
) {
    let places = Arc::new(Semaphore::new(MOST_CALLERS));
    let large = Arc::new(Semaphore::new(LARGE_ANSWERS));
    while !calls.is_closed() {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(_) => {
                // Out of descriptors, mostly; the socket would stay ready and the loop busy.
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let Ok(who) = peer::credentials(&stream) else { continue };
        if allowed(&permissions).access(&who) == Access::None {
            // Takes no place: whoever may nothing keeps nobody from asking.
            let _ = stream.try_write(&Reply::Refused(access::denied()).encode());
            continue;
        }
        match Arc::clone(&places).try_acquire_owned() {
            Ok(place) => {
                let (calls, large) = (calls.clone(), Arc::clone(&large));
                let permissions = Arc::clone(&permissions);
                let check = move |request: &Request| allowed(&permissions).check(&who, request);
                tokio::spawn(async move {
                    // How a conversation ends is the caller's affair.
                    let _ = converse(stream, calls, large, check, patience).await;
                    drop(place);
                });
            }
            Err(_) => {
                let message = format!("{MOST_CALLERS} callers are being listened to already (try again)");
                let reply = Reply::Refused(Refused::new(Trouble::Busy, message));
                // As far as it goes at once; nobody waits for a caller that is one too many.
                let _ = stream.try_write(&reply.encode());
            }
        }
    }
}

fn allowed(permissions: &RwLock<Permissions>) -> Permissions {
    *permissions.read().unwrap_or_else(PoisonError::into_inner)
}

/// Reads requests and writes answers until the caller hangs up or oversteps.
async fn converse(
    stream: UnixStream,
    calls: mpsc::Sender<Call>,
    large: Arc<Semaphore>,
    check: impl Fn(&Request) -> Result<(), Refused>,
    patience: Patience,
) -> io::Result<()> {
    let credentials = stream.peer_cred()?;
    let caller = Caller {
        uid: credentials.uid(),
        pid: credentials.pid().filter(|pid| *pid > 0),
    };
    let (reader, half) = stream.into_split();
    let mut writer = Writer { half, patience };
    let mut lines = Lines::new(reader);
    loop {
        let request = match lines.next(patience.request).await {
            Ok(Some(line)) => Request::decode(&line),
            Ok(None) => return Ok(()),
            Err(Overstepped::TooLong) => Err(BadRequest::TooLong),
            Err(Overstepped::Slow { begun: false }) => return Ok(()),
            Err(Overstepped::Slow { begun: true }) => {
                let waited = patience.request.as_secs();
                let message = format!("the request has no end after {waited} s (end it with a line feed)");
                return writer.write(&refused(message)).await;
            }
            Err(Overstepped::Broken(error)) => return Err(error),
        };
        let request = match request {
            Ok(request) => request,
            // What follows on the line could be anything, so nothing more is read.
            Err(problem) => return writer.write(&refused(problem.to_string())).await,
        };
        if let Err(refused) = check(&request) {
            writer.write(&Reply::Refused(refused).encode()).await?;
            continue;
        }
        let (answer, answered) = oneshot::channel();
        // Held from the question on: what is asked for is made at once.
        let permit = match is_large(&request) {
            true => Some(large.acquire().await.map_err(|_| ErrorKind::BrokenPipe)?),
            false => None,
        };
        let gone = Refused::new(Trouble::Busy, "the daemon is stopping");
        let connection = match request == Request::Upgrade {
            true => Some(AsRef::<UnixStream>::as_ref(&writer.half).as_fd().try_clone_to_owned()?),
            false => None,
        };
        let answer = match calls
            .send(Call {
                request,
                caller,
                answer,
                connection,
            })
            .await
        {
            Ok(()) => answered
                .await
                .unwrap_or_else(|_| Answer::One(Box::new(Reply::Refused(gone)))),
            Err(_) => Answer::One(Box::new(Reply::Refused(gone))),
        };
        match answer {
            Answer::One(reply) => {
                // A status of thousands of servers takes a while to write down, and probes do not wait for it.
                let line = match permit.is_some() {
                    true => spawn_blocking(move || reply.encode()).await.map_err(io::Error::other)?,
                    false => reply.encode(),
                };
                writer.write(&line).await?;
            }
            Answer::Many(replies) => return stream_replies(replies, &mut lines, &mut writer).await,
        }
        drop(permit);
    }
}

fn is_large(request: &Request) -> bool {
    match request {
        Request::Status { .. }
        | Request::Why { .. }
        | Request::Return { .. }
        | Request::Rebuild { .. }
        | Request::StepDown { .. }
        | Request::Peer
        | Request::Plan => true,
        Request::Events { .. }
        | Request::Reload { .. }
        | Request::Upgrade
        | Request::Drain { .. }
        | Request::Maint { .. }
        | Request::Ready { .. }
        | Request::Pause { .. }
        | Request::Add { .. }
        | Request::Remove { .. }
        | Request::Resume
        | Request::Weight { .. } => false,
    }
}

fn refused(message: String) -> Vec<u8> {
    Reply::Refused(Refused::new(Trouble::BadRequest, message)).encode()
}

/// Writes replies as they come, until there are no more or the caller hangs up.
async fn stream_replies(mut replies: mpsc::Receiver<Reply>, lines: &mut Lines, writer: &mut Writer) -> io::Result<()> {
    loop {
        tokio::select! {
            reply = replies.recv() => match reply {
                Some(reply) => writer.write(&reply.encode()).await?,
                None => return Ok(()),
            },
            // Whatever else it says meanwhile is not listened to.
            ended = lines.ended() => {
                ended?;
                break;
            }
        }
    }
    // It may have closed its half only, as a pipe into a tool does; what is there is still read.
    while let Ok(Some(reply)) = timeout(LAST_REPLIES, replies.recv()).await {
        writer.write(&reply.encode()).await?;
    }
    Ok(())
}

/// The way back to a caller.
struct Writer {
    half: OwnedWriteHalf,
    patience: Patience,
}

impl Writer {
    /// Writes all of it, as long as the caller keeps reading.
    async fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let end = Instant::now() + self.patience.answer;
        while !bytes.is_empty() {
            let limit = end.min(Instant::now() + self.patience.unread);
            match timeout_at(limit, self.half.write(bytes)).await {
                Ok(written) => bytes = &bytes[written?..],
                Err(_elapsed) => return Err(ErrorKind::TimedOut.into()),
            }
        }
        Ok(())
    }
}

/// How a caller has overstepped.
enum Overstepped {
    TooLong,
    Slow { begun: bool },
    Broken(io::Error),
}

/// The lines of a caller, each bounded in length and time.
struct Lines {
    reader: OwnedReadHalf,
    buffer: Vec<u8>,
}

impl Lines {
    fn new(reader: OwnedReadHalf) -> Self {
        Self {
            reader,
            buffer: Vec::new(),
        }
    }

    /// The next line without its line feed; `None` where the caller has hung up. What it leaves unfinished is nothing.
    async fn next(&mut self, limit: Duration) -> Result<Option<Vec<u8>>, Overstepped> {
        let read = timeout(limit, self.read_line()).await;
        read.unwrap_or(Err(Overstepped::Slow {
            begun: !self.buffer.is_empty(),
        }))
    }

    async fn read_line(&mut self) -> Result<Option<Vec<u8>>, Overstepped> {
        let mut searched = 0;
        loop {
            if let Some(end) = self.buffer[searched..].iter().position(|byte| *byte == b'\n') {
                let rest = self.buffer.split_off(searched + end + 1);
                let mut line = std::mem::replace(&mut self.buffer, rest);
                line.pop();
                return match line.len() > LONGEST_REQUEST {
                    true => Err(Overstepped::TooLong),
                    false => Ok(Some(line)),
                };
            }
            if self.buffer.len() > LONGEST_REQUEST {
                return Err(Overstepped::TooLong);
            }
            searched = self.buffer.len();
            let room = LONGEST_REQUEST + 1 - self.buffer.len();
            let mut chunk = (&mut self.reader).take(room as u64);
            match chunk.read_buf(&mut self.buffer).await {
                Ok(0) => return Ok(None),
                Ok(_) => {}
                Err(error) => return Err(Overstepped::Broken(error)),
            }
        }
    }

    /// Ends when the caller says nothing more; what it says is thrown away.
    async fn ended(&mut self) -> io::Result<()> {
        let mut thrown_away = [0; 1024];
        while self.reader.read(&mut thrown_away).await? > 0 {}
        Ok(())
    }
}

#[cfg(test)]
mod tests;

//! The thread of the link: it listens, connects, and keeps one connection to the other director.
//!
//! What there is to tell is put down here and overwritten by what is newer, so that nothing piles up while nobody hears it.
//! Strangers are few at a time and have little of it; the other director's address has places of its own.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout};

use super::choice::{Opener, pause, silence, takes_its_place};
use super::complaints::{Complaints, Whose};
use super::link::{self, LinkError};
use super::message::{Beat, Hello, VERSION};
use super::tls::Identity;
use super::{key, message};
use crate::model::{PeerSettings, PeerVerdict, PeerWord, Picture, PublicKey, UnixTime};

/// How long it may take until both have said who they are.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// How many who have not said so yet may be there at a time, from the other director's address and from all others.
const CALLERS: usize = 4;

/// For how long the place of a caller is taken at least, so that endless calls cost little.
const PLACE: Duration = Duration::from_millis(100);

/// After how long something of this host is tried again: the key, the address to listen on.
const AGAIN: Duration = Duration::from_secs(2);

/// A connection that has lasted for so long was one.
const LASTED: Duration = Duration::from_secs(10);

/// What there is to tell; each part with a number that another one of it has not. Of number 0 nothing is told.
#[derive(Debug, Clone, Default)]
pub struct Told {
    /// What operators have said.
    pub words: (u64, Arc<Vec<PeerWord>>),
    /// What the checks have found, and when that was put down.
    pub verdicts: (u64, Arc<Vec<PeerVerdict>>),
    /// When the verdicts were put down.
    pub put_down: Option<Instant>,
    /// What is configured.
    pub picture: (u64, Arc<Picture>),
    /// The sign of life.
    pub beat: Beat,
}

impl Told {
    /// The verdicts with the ages that they have now.
    pub(super) fn verdicts_at(&self, now: Instant) -> Vec<PeerVerdict> {
        let older = self.put_down.map_or(0, |at| now.duration_since(at).as_millis());
        let older = u64::try_from(older).unwrap_or(u64::MAX);
        let mut verdicts = self.verdicts.1.to_vec();
        for verdict in &mut verdicts {
            verdict.age = verdict.age.saturating_add(older);
            verdict.since = verdict.since.saturating_add(older);
        }
        verdicts
    }
}

/// What the other director has said, or has become of it.
#[derive(Debug)]
pub enum News {
    /// It is there; what it was told before it has forgotten.
    Connected(Connected),
    /// It is gone, in words.
    Lost(String),
    /// All that operators have said there, with the ends of drains by this director's clock.
    Words(Vec<PeerWord>),
    /// The same, without those of a form that is not known here.
    SomeWords(Vec<PeerWord>),
    /// What its checks have found.
    Verdicts(Vec<PeerVerdict>),
    /// What it is configured to do.
    Picture(Picture),
    /// What it is configured to do cannot be known.
    NoPicture(Incomparable),
    /// It lives; and by how many milliseconds its clock seems to be ahead.
    Beat(Beat, Option<i64>),
    /// So much of what it says is of a kind or a form that is not known here.
    PassedOver(u64),
    /// What it is to be told is longer than a message may be, by this many bytes in all; or it no longer is, with `None`.
    TooLong(Part, Option<u64>),
}

/// Why two directors cannot be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Incomparable {
    /// The other one's configuration is longer than a message may be: its length in bytes.
    TooLong(u64),
    /// It is of a form that is not known here.
    Unknown,
}

/// A part of what there is to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// What operators have said.
    Words,
    /// What the checks have found.
    Verdicts,
    /// What is configured.
    Picture,
}

impl Part {
    /// What it is called in documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::Words => "words",
            Self::Verdicts => "verdicts",
            Self::Picture => "configuration",
        }
    }
}

/// The connection that lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connected {
    /// Since when.
    pub since: UnixTime,
    /// The version of ipvsd there.
    pub program: String,
    /// Whether this director has opened it.
    pub opened_here: bool,
}

/// How the link is, for whoever asks.
#[derive(Debug, Clone, Default)]
pub struct Shown {
    /// What this director is known by, once its key was read.
    pub key: Option<PublicKey>,
    /// The connection that lives.
    pub connected: Option<Connected>,
    /// The last trouble, and when.
    pub trouble: Option<(UnixTime, String)>,
}

/// The thread. It ends when this is dropped, with its connection; nobody waits for it.
#[derive(Debug)]
pub struct Handle {
    runtime: Option<Runtime>,
    told: watch::Sender<Told>,
    shown: Arc<Mutex<Shown>>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Handle {
    /// Changes what there is to tell.
    pub fn tell(&self, change: impl FnOnce(&mut Told)) {
        self.told.send_modify(change);
    }

    /// How the link is.
    pub fn shown(&self) -> Shown {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Starts the thread. `news` is where what it hears goes; while that is full, the other director waits.
///
/// # Errors
/// Where this process may have no more threads or descriptors.
pub fn start(settings: PeerSettings, news: mpsc::Sender<News>) -> io::Result<Handle> {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(1).max_blocking_threads(1);
    let runtime = builder.thread_name("peer").enable_all().build()?;
    let (told, hears) = watch::channel(Told::default());
    let shown = Arc::new(Mutex::new(Shown::default()));
    let own = Hello {
        version: VERSION,
        program: env!("CARGO_PKG_VERSION").to_owned(),
        interval_ms: u64::try_from(settings.interval.as_millis()).unwrap_or(u64::MAX),
    };
    let hall = Hall {
        settings,
        own,
        told: hears,
        news,
        shown: Arc::clone(&shown),
        complaints: Complaints::default(),
        living: Mutex::new(None),
        alone: watch::Sender::new(true),
    };
    runtime.spawn(keep(Arc::new(hall)));
    Ok(Handle {
        runtime: Some(runtime),
        told,
        shown,
    })
}

/// What all connections of this director have in common.
struct Hall {
    settings: PeerSettings,
    own: Hello,
    told: watch::Receiver<Told>,
    news: mpsc::Sender<News>,
    shown: Arc<Mutex<Shown>>,
    complaints: Complaints,
    living: Mutex<Option<Living>>,
    /// Whether no connection lives.
    alone: watch::Sender<bool>,
}

/// The connection that lives.
struct Living {
    opener: Opener,
    /// Dropped to end it.
    _stop: oneshot::Sender<()>,
    number: u64,
}

/// Now, by the calendar.
pub(super) fn unix_time() -> UnixTime {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    UnixTime::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

impl Hall {
    fn shown(&self) -> MutexGuard<'_, Shown> {
        // Nothing that holds it can panic half way.
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn living(&self) -> MutexGuard<'_, Option<Living>> {
        self.living.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn complain(&self, whose: Whose, text: &str) {
        self.shown().trouble = Some((unix_time(), text.to_owned()));
        self.complaints.say(whose, text);
    }

    /// Puts a connection in the place of the one that lives, if it is the one to live; answers with its number, and with
    /// what ends it.
    fn take_place(&self, opener: Opener, ours_is_lower: bool) -> Option<(u64, oneshot::Receiver<()>)> {
        let mut living = self.living();
        if let Some(before) = &*living
            && !takes_its_place(before.opener, opener, ours_is_lower)
        {
            return None;
        }
        let number = living.as_ref().map_or(0, |before| before.number) + 1;
        let (stop, stopped) = oneshot::channel();
        *living = Some(Living {
            opener,
            _stop: stop,
            number,
        });
        self.alone.send_replace(false);
        Some((number, stopped))
    }

    /// A connection has ended; answers with whether it was the one that lived.
    fn leave(&self, number: u64) -> bool {
        let mut living = self.living();
        let was_it = living.as_ref().is_some_and(|living| living.number == number);
        if was_it {
            *living = None;
            self.shown().connected = None;
            self.alone.send_replace(true);
        }
        was_it
    }
}

async fn keep(hall: Arc<Hall>) {
    let identity = loop {
        let path = hall.settings.key.clone();
        let loaded = spawn_blocking(move || key::load(&path)).await;
        let problem = match loaded {
            Ok(Ok(key)) if key.public == hall.settings.peer_key => {
                "`peer_key` is this director's own public key (write that of the other one there)".to_owned()
            }
            Ok(Ok(key)) => match Identity::new(&key, hall.settings.peer_key) {
                Ok(identity) => break identity,
                Err(error) => error.to_string(),
            },
            Ok(Err(error)) => error.to_string(),
            Err(ended) => ended.to_string(),
        };
        hall.complain(Whose::Peer, &format!("no link to the other director: {problem}"));
        sleep(AGAIN).await;
    };
    hall.shown().key = Some(identity.own);
    let identity = Arc::new(identity);
    tokio::spawn(listen(Arc::clone(&hall), Arc::clone(&identity)));
    dial(&hall, &identity).await;
}

/// Lets callers in.
async fn listen(hall: Arc<Hall>, identity: Arc<Identity>) {
    let places = || Arc::new(Semaphore::new(CALLERS));
    let (for_peer, for_others) = (places(), places());
    let mut patience = Some(PLACE * 3);
    loop {
        let address = hall.settings.listen;
        let listener = match TcpListener::bind(address).await {
            Ok(listener) => listener,
            Err(error) => {
                // After a reload the one before may still be there for a moment.
                if let Some(moment) = patience.take() {
                    sleep(moment).await;
                    continue;
                }
                let text = format!("cannot listen for the other director on {address}: {error} (see `listen`)");
                hall.complain(Whose::Peer, &text);
                sleep(AGAIN).await;
                continue;
            }
        };
        loop {
            let (stream, from) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(_) => {
                    // No descriptors, or a caller who has gone already.
                    sleep(PLACE).await;
                    continue;
                }
            };
            let places = match from.ip().to_canonical() == hall.settings.address.ip().to_canonical() {
                true => &for_peer,
                false => &for_others,
            };
            let Ok(place) = Arc::clone(places).try_acquire_owned() else {
                let text = format!("too many call at once, {} was turned away", from.ip());
                hall.complain(Whose::Caller, &text);
                continue;
            };
            tokio::spawn(receive(Arc::clone(&hall), Arc::clone(&identity), stream, from, place));
        }
    }
}

/// Somebody has called.
async fn receive(
    hall: Arc<Hall>,
    identity: Arc<Identity>,
    stream: TcpStream,
    from: SocketAddr,
    place: OwnedSemaphorePermit,
) {
    let least = Instant::now() + PLACE;
    let shaken = async {
        let _ = stream.set_nodelay(true);
        let shaken = identity.acceptor.accept(stream).await;
        let mut stream = shaken.map_err(|error| (Whose::Caller, identity.explain(&error)))?;
        // Whoever has come as far has the right key.
        let greeted = greet(&mut stream, &hall, &identity).await;
        let hello = greeted.map_err(|problem| (Whose::Peer, problem))?;
        Ok((stream, hello))
    };
    let shaken = timeout(HANDSHAKE, shaken).await;
    let problem = match shaken {
        Ok(Ok((stream, hello))) => {
            drop(place);
            live(&hall, &identity, stream, hello, Opener::Them).await;
            return;
        }
        Ok(Err(problem)) => problem,
        Err(_) => {
            let problem = format!("it has not said who it is in {} s", HANDSHAKE.as_secs());
            (Whose::Caller, problem)
        }
    };
    let text = match problem {
        // In the words in which it is said where this one calls, so that it is said once.
        (Whose::Peer, problem) => format!("no link to {}: {problem}", hall.settings.address),
        (Whose::Caller, problem) => format!("{from} called and was turned away: {problem}"),
    };
    hall.complain(problem.0, &text);
    tokio::time::sleep_until(least).await;
    drop(place);
}

async fn greet<S>(stream: &mut S, hall: &Hall, identity: &Identity) -> Result<Hello, String>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let greeted = link::greet(stream, &hall.own).await;
    greeted.map_err(|error| in_words(&error, identity))
}

fn in_words(error: &LinkError, identity: &Identity) -> String {
    match error {
        LinkError::Broken(error) => identity.explain(error),
        LinkError::Bad(_)
        | LinkError::Stranger(_)
        | LinkError::Silent(_)
        | LinkError::Stuck(_)
        | LinkError::Unsayable(_)
        | LinkError::Ended => error.to_string(),
    }
}

/// Calls the other director whenever no connection lives.
async fn dial(hall: &Hall, identity: &Identity) {
    let mut alone = hall.alone.subscribe();
    let mut failures = 0;
    let address = hall.settings.address;
    loop {
        // The sender is our own.
        let _ = alone.wait_for(|alone| *alone).await;
        let called = Instant::now();
        match timeout(HANDSHAKE, call(hall, identity)).await {
            Ok(Ok((stream, hello))) => live(hall, identity, stream, hello, Opener::Us).await,
            Ok(Err(problem)) => hall.complain(Whose::Peer, &format!("no link to {address}: {problem}")),
            Err(_) => {
                let text = format!("no link to {address}: no answer in {} s", HANDSHAKE.as_secs());
                hall.complain(Whose::Peer, &text);
            }
        }
        failures = if called.elapsed() > LASTED { 0 } else { failures + 1 };
        let random = RandomState::new().build_hasher().finish();
        let random = u32::try_from(random >> 32).unwrap_or_default();
        sleep(pause(failures, random)).await;
    }
}

async fn call(
    hall: &Hall,
    identity: &Identity,
) -> Result<(impl AsyncRead + AsyncWrite + Unpin + use<>, Hello), String> {
    let address = hall.settings.address;
    let connected = TcpStream::connect(address).await;
    let stream = connected.map_err(|error| identity.explain(&error))?;
    let _ = stream.set_nodelay(true);
    let name = ServerName::from(address.ip());
    let shaken = identity.connector.connect(name, stream).await;
    let mut stream = shaken.map_err(|error| identity.explain(&error))?;
    let hello = greet(&mut stream, hall, identity).await?;
    Ok((stream, hello))
}

/// A connection to the other director, for as long as it is the one that lives.
async fn live<S>(hall: &Hall, identity: &Identity, stream: S, hello: Hello, opener: Opener)
where
    S: AsyncRead + AsyncWrite,
{
    let Some((number, stopped)) = hall.take_place(opener, identity.own < identity.peer) else {
        return;
    };
    let connected = Connected {
        since: unix_time(),
        program: shown(&hello.program),
        opened_here: opener == Opener::Us,
    };
    hall.complaints.forget();
    {
        let mut shown = hall.shown();
        shown.connected = Some(connected.clone());
        shown.trouble = None;
    }
    if hall.news.send(News::Connected(connected)).await.is_err() {
        return;
    }
    let own = hall.settings.interval;
    let silence = silence(own, Duration::from_millis(hello.interval_ms));
    let ended = tokio::select! {
        ended = link::live(stream, hall.told.clone(), &hall.news, own, silence) => ended,
        // Another one has taken its place.
        _ = stopped => return,
    };
    if hall.leave(number) {
        let why = in_words(&ended, identity);
        hall.shown().trouble = Some((unix_time(), why.clone()));
        // The loop has ended where nobody listens any more.
        let _ = hall.news.send(News::Lost(why)).await;
    }
}

/// What the other one calls its version, fit for one line.
fn shown(program: &str) -> String {
    program.chars().take(40).flat_map(char::escape_debug).collect()
}

/// The longest list of verdicts that fits into a message, whatever its causes.
pub const MOST_VERDICTS: usize = message::LONGEST / 512;

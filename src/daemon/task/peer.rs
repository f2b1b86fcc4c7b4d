//! The other director: what it is told, what is taken of its word, and how the two differ.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tracing::{error, info, warn};

use super::{Message, Shell};
use crate::daemon::control;
use crate::director::Words;
use crate::model::control::{EventKind, Level, PeerStatus, Refused, Reply, SCHEMA, Trouble};
use crate::model::{Config, Event, Instant, PEER_REFRESH, PeerSettings, Picture, PublicKey};
use crate::peer::key::{self, KeyError};
use crate::peer::message::LONGEST;
use crate::peer::{
    self, Clocks, Connected, Differences, Handle, Incomparable, MOST_VERDICTS, News, Outages, Part, Shown, Turn,
};

mod comparing;
mod connections;
mod words;

/// How much of what the other one says waits for the loop; more waits on its own side.
const WAITING: usize = 16;

/// Verdicts are gathered for so long, so that a thousand of them are told at once.
const GATHERED: Duration = Duration::from_secs(1);

/// What the loop knows of the other director.
pub(super) struct Peer {
    /// Where it is, and the link to it.
    link: Option<(PeerSettings, Handle)>,
    /// What is heard over that link, and over no other.
    news: mpsc::Receiver<News>,
    connected: bool,
    /// What operators have said here and there.
    pub(super) words: Words,
    /// The words that were told last.
    told_words: u64,
    /// The verdicts that were told last, and when.
    told_verdicts: (u64, Instant),
    /// Raised by everything that is told.
    number: u64,
    own_picture: Arc<Picture>,
    their_picture: Option<Picture>,
    /// Why there is no picture of the other one.
    incomparable: Option<Incomparable>,
    differences: Differences,
    clocks: Clocks,
    /// It was said that the other one tells of words with a time that no clock has.
    ahead: bool,
    /// What it is not told, for it is too long.
    too_long: BTreeSet<Part>,
    /// How much of what it has said on this connection is not known here.
    passed_over: u64,
    /// The version of it of which that was said.
    said_passed_over: Option<String>,
    /// The version of the other one.
    program: String,
    /// What is said of its coming and going.
    outages: Outages,
    /// Virtual routers that wait until enough of its connections are known here, and how often in a row they were.
    waiting: BTreeMap<String, u32>,
    /// Connections are being counted.
    counting: bool,
    /// The last count: here and there.
    counts: (Option<u64>, Option<u64>),
}

impl Peer {
    /// Nobody yet.
    pub(super) fn new() -> Self {
        // There is nobody at its other end.
        let (_, news) = mpsc::channel(1);
        Self {
            link: None,
            news,
            connected: false,
            words: Words::default(),
            told_words: 0,
            told_verdicts: (0, Instant::START),
            number: 0,
            own_picture: Arc::default(),
            their_picture: None,
            incomparable: None,
            differences: Differences::default(),
            clocks: Clocks::default(),
            ahead: false,
            too_long: BTreeSet::new(),
            passed_over: 0,
            said_passed_over: None,
            program: String::new(),
            outages: Outages::default(),
            waiting: BTreeMap::new(),
            counting: false,
            counts: (None, None),
        }
    }

    /// What the other one says next; `None` where there is no link, or it has ended.
    pub(super) async fn next_news(&mut self) -> Option<News> {
        self.news.recv().await
    }

    /// Ends the link; nothing that was heard over it is heard any more. Answers with where another one puts what it hears.
    fn renew(&mut self) -> mpsc::Sender<News> {
        self.link = None;
        self.connected = false;
        self.their_picture = None;
        self.incomparable = None;
        self.differences = Differences::default();
        self.clocks = Clocks::default();
        self.outages.renewed();
        self.too_long.clear();
        self.passed_over = 0;
        let (sender, news) = mpsc::channel(WAITING);
        self.news = news;
        sender
    }

    fn next_number(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    /// When there is something to do for it, given the director's revision.
    pub(super) fn next(&self, revision: u64) -> Option<Instant> {
        self.verdicts_due(revision)
            .into_iter()
            .chain(self.differences.next())
            .chain(self.outages.next())
            .min()
    }

    /// When the verdicts are to be told.
    fn verdicts_due(&self, revision: u64) -> Option<Instant> {
        let (told, at) = self.told_verdicts;
        let pause = if told == revision { PEER_REFRESH } else { GATHERED };
        self.connected.then_some(at + pause)
    }
}

impl Shell {
    /// Whom to talk to from now on; whoever only watches talks to nobody.
    pub(super) fn configure_peer(&mut self, config: &Config) {
        let wanted = config.peer.clone().filter(|_| !self.options.observe);
        if self.peer.link.as_ref().map(|(settings, _)| settings) == wanted.as_ref() {
            // The same file may have another key in it.
            if let Some(settings) = wanted {
                let sender = self.sender.clone();
                spawn_blocking(move || {
                    let read = key::load(&settings.key).map(|key| key.public);
                    let _ = sender.send(Message::PeerKeyRead(settings, read));
                });
            }
            return;
        }
        self.link_to(wanted);
    }

    /// The key file of the running link was read again.
    pub(super) fn peer_key_read(&mut self, settings: PeerSettings, read: Result<PublicKey, KeyError>) {
        let running = self.peer.link.as_ref().filter(|(running, _)| *running == settings);
        // Without a key the link looks for one itself.
        let Some(before) = running.and_then(|(_, link)| link.shown().key) else {
            return;
        };
        match read {
            Ok(key) if key == before => {}
            Ok(key) => {
                let text = format!(
                    "{} has another key, and the link to the other director is made anew with it (its `peer_key` has to \
                     be {key})",
                    settings.key.display()
                );
                info!("{text}");
                self.note(EventKind::Peer, Level::Info, text);
                self.link_to(Some(settings));
            }
            Err(problem) => {
                let text = format!("{problem}; the link to the other director goes on with the key that it has");
                warn!("{text}");
                self.note(EventKind::Peer, Level::Warning, text);
            }
        }
    }

    fn link_to(&mut self, wanted: Option<PeerSettings>) {
        let news = self.peer.renew();
        let Some(settings) = wanted else { return };
        match peer::start(settings.clone(), news) {
            Ok(handle) => {
                self.peer.link = Some((settings, handle));
                self.ask_for_connections();
            }
            Err(problem) => error!("no link to the other director: {problem}"),
        }
    }

    /// Tells the other one what has changed; done again and again, mostly with nothing to tell.
    pub(super) fn mind_peer(&mut self) {
        if self.peer.link.is_none() {
            return;
        }
        let now = self.now();
        self.tell_words(false);
        let due = self.peer.verdicts_due(self.director.revision());
        if due.is_some_and(|at| at <= now) {
            self.tell_verdicts();
        }
        if self.peer.differences.next().is_some_and(|at| at <= now) {
            self.speak_of_differences();
        }
        if let Some(why) = self.peer.outages.remind(now) {
            self.say_lost(&format!(
                "the link to the other director has come and gone, and is down: {why}"
            ));
        }
    }

    fn tell_verdicts(&mut self) {
        let now = self.now();
        self.peer.told_verdicts = (self.director.revision(), now);
        let number = self.peer.next_number();
        let verdicts = self.director.own_verdicts(MOST_VERDICTS, now);
        if let Some((_, link)) = &self.peer.link {
            link.tell(|told| {
                told.verdicts = (number, Arc::new(verdicts));
                told.put_down = Some(tokio::time::Instant::now());
            });
        }
    }

    /// The other director has said something.
    pub(super) fn hear_peer(&mut self, news: News) {
        if self.peer.link.is_none() {
            return;
        }
        match news {
            News::Connected(connected) => self.peer_connected(connected),
            News::Lost(why) => self.peer_lost(&why),
            News::Words(words) => self.hear_words(words, true),
            News::SomeWords(words) => self.hear_words(words, false),
            News::Verdicts(verdicts) => self.tell(Event::PeerTold(verdicts)),
            News::Picture(picture) => self.hear_picture(Ok(picture)),
            News::NoPicture(why) => self.hear_picture(Err(why)),
            News::Beat(beat, ahead) => {
                self.hear_clock(ahead);
                self.hear_beat(beat);
            }
            News::PassedOver(parts) => self.pass_over(parts),
            News::TooLong(part, bytes) => self.too_long(part, bytes),
        }
    }

    /// What time it is there.
    fn hear_clock(&mut self, ahead: Option<i64>) {
        let Some(turn) = ahead.and_then(|ahead| self.peer.clocks.heard(ahead)) else {
            return;
        };
        match turn {
            Turn::Apart(ahead) => {
                let seconds = ahead.unsigned_abs() / 1000;
                let side = if ahead > 0 { "ahead of" } else { "behind" };
                let text = format!(
                    "the other director's clock is {seconds} s {side} this one's: of what operators say on either while \
                     the two are not connected the wrong word may count (set both clocks)"
                );
                warn!("{text}");
                self.note(EventKind::Peer, Level::Warning, text);
            }
            Turn::Together => {
                let text = "the clocks of the two directors agree now";
                info!("{text}");
                self.note(EventKind::Peer, Level::Info, text.to_owned());
            }
        }
    }

    /// It has said something that is not known here.
    fn pass_over(&mut self, parts: u64) {
        self.peer.passed_over += parts;
        if self.peer.said_passed_over.as_ref() == Some(&self.peer.program) {
            return;
        }
        self.peer.said_passed_over = Some(self.peer.program.clone());
        let text = format!(
            "the other director, ipvsd {}, says things that this one, {OWN_VERSION}, does not know; they are passed over \
             ({})",
            self.peer.program,
            remedy_for_unknown(&self.peer.program)
        );
        warn!("{text}");
        self.note(EventKind::Peer, Level::Warning, text);
    }

    /// Something cannot be told, for its length; or can again.
    fn too_long(&mut self, part: Part, bytes: Option<u64>) {
        let (what, remedy) = match part {
            Part::Words => (
                "what operators want",
                "nothing that they say is told any more: tell both directors by hand",
            ),
            Part::Verdicts => (
                "what the checks have found",
                "a pair of directors cannot share the verdicts of so many checks",
            ),
            Part::Picture => (
                "this director's configuration",
                "compare the two by hand; `ipvsd config` prints each",
            ),
        };
        match bytes {
            Some(bytes) if self.peer.too_long.insert(part) => {
                let text = format!(
                    "{what} is too long to be told to the other director, {bytes} bytes of at most {LONGEST}; everything \
                     else is told ({remedy})"
                );
                warn!("{text}");
                self.note(EventKind::Peer, Level::Warning, text);
            }
            None if self.peer.too_long.remove(&part) => {
                let text = format!("{what} is told to the other director again");
                info!("{text}");
                self.note(EventKind::Peer, Level::Info, text);
            }
            Some(_) | None => {}
        }
    }

    fn peer_lost(&mut self, why: &str) {
        let now = self.now();
        self.peer.connected = false;
        self.peer.differences.lost();
        self.peer.clocks.lost();
        self.peer.counts = (None, None);
        if self.peer.outages.lost(why, now) {
            self.say_lost(&format!("the link to the other director is down: {why}"));
        }
    }

    fn say_lost(&self, text: &str) {
        warn!("{text}");
        self.note(EventKind::Peer, Level::Warning, text.to_owned());
    }

    fn peer_connected(&mut self, connected: Connected) {
        let now = self.now();
        self.peer.passed_over = 0;
        let was_down = !std::mem::replace(&mut self.peer.connected, true);
        if self.peer.outages.connected(was_down, now) {
            let text = format!("linked to the other director, ipvsd {}", connected.program);
            info!("{text}");
            self.note(EventKind::Peer, Level::Info, text);
        }
        self.peer.program = connected.program;
        // It may be another process that knows nothing.
        self.tell_words(true);
        self.tell_verdicts();
        self.tell_picture();
    }

    /// How the link is, and what differs.
    pub(super) fn peer_status(&self) -> Reply {
        let Some((settings, link)) = &self.peer.link else {
            let message = "there is no other director to talk to (add [peer] to the configuration; `ipvsd peer key` makes \
                           its key)";
            return Reply::Refused(Refused::new(Trouble::NoPeer, message));
        };
        let Shown {
            key,
            connected,
            trouble,
        } = link.shown();
        let (trouble_since, trouble) = trouble.unzip();
        let (hearsay, checks) = self.director.hearsay();
        Reply::Peer(PeerStatus {
            schema: SCHEMA,
            time: control::unix_time(),
            address: settings.address,
            listen: settings.listen,
            key: key.map(|key| key.to_string()),
            peer_key: settings.peer_key.to_string(),
            connected: connected.is_some(),
            since: connected.as_ref().map(|connected| connected.since),
            opened_here: connected.as_ref().map(|connected| connected.opened_here),
            version: connected.map(|connected| connected.program),
            trouble,
            trouble_since,
            checks,
            checks_by_peer: hearsay,
            connections: self.peer.counts.0,
            peer_connections: self.peer.counts.1,
            compared: self.peer.connected && self.peer.their_picture.is_some(),
            not_compared: self.why_not_compared(),
            differences: self.peer.differences.shown().cloned().collect(),
            clock_ahead_ms: self.peer.clocks.ahead(),
            not_told: self.peer.too_long.iter().map(|part| part.name().to_owned()).collect(),
            passed_over: self.peer.passed_over,
        })
    }
}

/// The version of this program.
const OWN_VERSION: &str = env!("CARGO_PKG_VERSION");

/// What to do where a director of this version says what is not known here.
fn remedy_for_unknown(theirs: &str) -> &'static str {
    match theirs == OWN_VERSION {
        true => "two builds of the same version: install the same one on both",
        false => "upgrade the older one",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_told_to_upgrade_where_both_have_the_same_version() {
        assert!(!remedy_for_unknown(OWN_VERSION).contains("upgrade"));
        assert_eq!(remedy_for_unknown("0.0.0"), "upgrade the older one");
    }

    #[test]
    fn what_an_old_link_has_heard_is_not_taken_for_the_new_ones() {
        let mut peer = Peer::new();
        assert!(peer.news.try_recv().is_err());
        let old = peer.renew();
        old.try_send(News::Lost("it ends".to_owned())).expect("room");
        let new = peer.renew();
        assert!(old.try_send(News::Verdicts(Vec::new())).is_err());
        new.try_send(News::Words(Vec::new())).expect("room");
        let heard: Vec<_> = std::iter::from_fn(|| peer.news.try_recv().ok()).collect();
        assert!(matches!(heard[..], [News::Words(_)]), "{heard:?}");
    }
}

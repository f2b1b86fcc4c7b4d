//! The other director: what it is told, what is taken of its word, and how the two differ.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tracing::{error, info, warn};

use super::{Message, Shell};
use crate::daemon::control;
use crate::director::{Heard, Words};
use crate::ipvs;
use crate::model::control::{EventKind, Level, PeerStatus, Refused, Reply, SCHEMA, Trouble};
use crate::model::{
    Config, Event, Instant, Lasting, PEER_REFRESH, PeerSettings, PeerWish, PeerWord, Picture, ServerId, VrrpState,
};
use crate::peer::message::Beat;
use crate::peer::{self, Connected, Differences, Handle, MOST_VERDICTS, News, Shown};

/// How much of what the other one says waits for the loop; more waits on its own side.
const WAITING: usize = 16;

/// Verdicts are gathered for so long, so that a thousand of them are told at once.
const GATHERED: Duration = Duration::from_secs(1);

/// What the loop knows of the other director.
pub(super) struct Peer {
    /// Where it is, and the link to it.
    link: Option<(PeerSettings, Handle)>,
    news: mpsc::Sender<News>,
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
    differences: Differences,
    /// It was said that the other one's clock is wrong.
    ahead: bool,
    /// When it was connected, and when it was said that it is gone.
    since: Instant,
    said_lost: Option<Instant>,
    /// It comes and goes, and nothing is said of it for a while.
    quiet: bool,
    /// Virtual routers that wait until enough of its connections are known here, and how often in a row they were.
    waiting: BTreeMap<String, u32>,
    /// Connections are being counted.
    counting: bool,
    /// The last count: here and there.
    counts: (Option<u64>, Option<u64>),
}

impl Peer {
    /// Nobody yet; and where what it will say comes from.
    pub(super) fn new() -> (Self, mpsc::Receiver<News>) {
        let (news, receiver) = mpsc::channel(WAITING);
        let peer = Self {
            link: None,
            news,
            connected: false,
            words: Words::default(),
            told_words: 0,
            told_verdicts: (0, Instant::START),
            number: 0,
            own_picture: Arc::default(),
            their_picture: None,
            differences: Differences::default(),
            ahead: false,
            since: Instant::START,
            said_lost: None,
            quiet: false,
            waiting: BTreeMap::new(),
            counting: false,
            counts: (None, None),
        };
        (peer, receiver)
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
            return;
        }
        self.peer.link = None;
        self.peer.connected = false;
        self.peer.their_picture = None;
        self.peer.differences = Differences::default();
        let Some(settings) = wanted else {
            return;
        };
        match peer::start(settings.clone(), self.peer.news.clone()) {
            Ok(handle) => {
                self.peer.link = Some((settings, handle));
                self.ask_for_connections();
            }
            Err(problem) => error!("no link to the other director: {problem}"),
        }
    }

    /// The configuration that counts is another one.
    pub(super) fn picture_changed(&mut self) {
        if self.peer.link.is_none() {
            return;
        }
        let picture = peer::picture(self.director.config());
        if *self.peer.own_picture == picture {
            return;
        }
        self.peer.own_picture = Arc::new(picture);
        self.tell_picture();
        self.compare_pictures();
    }

    fn tell_picture(&mut self) {
        let number = self.peer.next_number();
        if let Some((_, link)) = &self.peer.link {
            link.tell(|told| told.picture = (number, Arc::clone(&self.peer.own_picture)));
        }
    }

    /// An operator has said something for good; the other director hears of it whenever it is there again.
    pub(super) fn say_to_peer(&mut self, server: &ServerId, wish: PeerWish, lasting: Lasting, by: &str) {
        if lasting == Lasting::UntilTakenBack {
            self.peer.words.say(server, wish, by, control::unix_time());
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
    }

    fn tell_words(&mut self, again: bool) {
        let revision = self.peer.words.revision();
        if !again && self.peer.told_words == revision {
            return;
        }
        self.peer.told_words = revision;
        let number = self.peer.next_number();
        let words: Vec<_> = self.peer.words.all().cloned().collect();
        if let Some((_, link)) = &self.peer.link {
            link.tell(|told| told.words = (number, Arc::new(words)));
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
            News::Connected(connected) => self.peer_connected(&connected),
            News::Lost(why) => {
                self.peer_lost(&why);
            }
            News::Words(words) => self.hear_words(words),
            News::Verdicts(verdicts) => self.tell(Event::PeerTold(verdicts)),
            News::Picture(picture) => {
                self.peer.their_picture = Some(picture);
                self.compare_pictures();
            }
            News::Beat(beat) => self.hear_beat(beat),
        }
    }

    fn peer_lost(&mut self, why: &str) {
        let now = self.now();
        self.peer.connected = false;
        self.peer.differences.lost();
        self.peer.counts = (None, None);
        let said_of_late = self.peer.said_lost.is_some_and(|at| now.since(at) < REMINDER);
        self.peer.quiet = said_of_late && now.since(self.peer.since) < LASTED;
        if self.peer.quiet {
            return;
        }
        self.peer.said_lost = Some(now);
        let text = format!("the link to the other director is down: {why}");
        warn!("{text}");
        self.note(EventKind::Peer, Level::Warning, text);
    }

    fn peer_connected(&mut self, connected: &Connected) {
        self.peer.since = self.now();
        if !std::mem::replace(&mut self.peer.connected, true) && !self.peer.quiet {
            let text = format!("linked to the other director, ipvsd {}", connected.program);
            info!("{text}");
            self.note(EventKind::Peer, Level::Info, text);
        }
        // It may be another process that knows nothing.
        self.tell_words(true);
        self.tell_verdicts();
        self.tell_picture();
    }

    fn hear_words(&mut self, words: Vec<PeerWord>) {
        let now = self.both_nows();
        let Heard { won, ahead } = self.peer.words.hear_peer(words, now.time);
        if ahead > 0 && !std::mem::replace(&mut self.peer.ahead, true) {
            let text = "the other director tells of operators' words of the year 9000 and later, and they are left (set its \
                        clock, and say them again)";
            warn!("{text}");
            self.note(EventKind::Peer, Level::Warning, text.to_owned());
        }
        if won.is_empty() {
            return;
        }
        for word in &won {
            let Some(orders) = self.wishlist.follow(word, now) else {
                continue;
            };
            let text = format!(
                "{}: {}/{} is set to {}",
                word.by,
                word.virtual_server,
                word.server,
                said(word.wish)
            );
            info!("{text}");
            self.note(EventKind::Admin, Level::Info, text);
            for order in orders {
                self.tell(Event::Operator(order));
            }
        }
        // It is logged where it fails.
        let _ = self.save_wishes();
    }

    /// A virtual router is something else: one that listens and takes over by a share of the connections wants to know how
    /// many the other director has.
    pub(super) fn wait_for_connections(&mut self, name: &str, state: VrrpState) {
        let specs = &self.reloads.config.vrrp_instances;
        let by_share = specs
            .iter()
            .any(|spec| spec.name == name && spec.preempt_share.is_some());
        match state {
            VrrpState::Backup if by_share => drop(self.peer.waiting.insert(name.to_owned(), 0)),
            VrrpState::Initialize | VrrpState::Backup | VrrpState::Master | VrrpState::Fault => {
                self.peer.waiting.remove(name);
            }
        }
        self.ask_for_connections();
    }

    fn ask_for_connections(&self) {
        let wants = !self.peer.waiting.is_empty();
        if let Some((_, link)) = &self.peer.link {
            link.tell(|told| told.beat.wants_connections = wants);
        }
    }

    /// The other one lives. Connections are counted only while somebody waits for them.
    fn hear_beat(&mut self, beat: Beat) {
        let Some((_, link)) = &self.peer.link else { return };
        if !beat.wants_connections {
            link.tell(|told| told.beat.connections = None);
        }
        let compares = beat.connections.is_some() && !self.peer.waiting.is_empty();
        if self.peer.counting || !(beat.wants_connections || compares) {
            return;
        }
        self.peer.counting = true;
        let sender = self.sender.clone();
        let theirs = beat.connections;
        let wanted = beat.wants_connections;
        spawn_blocking(move || {
            let own = ipvs::count_connections().ok();
            let _ = sender.send(Message::Counted { own, theirs, wanted });
        });
    }

    /// The connections of this kernel were counted.
    pub(super) fn counted(&mut self, own: Option<u64>, theirs: Option<u64>, wanted: bool) {
        self.peer.counting = false;
        self.peer.counts = (own, theirs);
        if let Some((_, link)) = self.peer.link.as_ref().filter(|_| wanted) {
            link.tell(|told| told.beat.connections = own);
        }
        let (Some(own), Some(theirs)) = (own, theirs) else {
            return;
        };
        let specs = self.reloads.config.vrrp_instances.clone();
        let mut enough = Vec::new();
        for (name, times) in &mut self.peer.waiting {
            let share = specs
                .iter()
                .find(|spec| spec.name == *name)
                .and_then(|spec| spec.preempt_share);
            let reached = share.is_some_and(|share| peer::caught_up(own, theirs, share));
            let (after, settled) = peer::settle_count(*times, reached);
            *times = after;
            if settled {
                enough.push(name.clone());
            }
        }
        for name in enough {
            self.peer.waiting.remove(&name);
            let text = format!(
                "virtual router {name} need not wait for more connections: {own} are here, {theirs} on the peer"
            );
            info!("{text}");
            self.note(EventKind::Vrrp, Level::Info, text);
            if let Some(thread) = &self.routers.thread {
                thread.synced(&name);
            }
        }
        self.ask_for_connections();
    }

    fn compare_pictures(&mut self) {
        if let Some(theirs) = &self.peer.their_picture
            && self.peer.connected
        {
            let found = peer::compare(&self.peer.own_picture, theirs);
            let now = self.now();
            self.peer.differences.compared(found, now);
        }
        self.speak_of_differences();
    }

    fn speak_of_differences(&mut self) {
        let spoken = self.peer.differences.speak(self.now());
        if spoken.is_nothing() {
            return;
        }
        let list = |differences: &[crate::model::Difference]| {
            let shown: Vec<_> = differences.iter().take(SHOWN).map(ToString::to_string).collect();
            let more = match differences.len().saturating_sub(SHOWN) {
                0 => String::new(),
                more => format!("; and {more} more"),
            };
            format!("{}{more}", shown.join("; "))
        };
        if !spoken.began.is_empty() {
            let text = format!(
                "the two directors differ (`ipvsd peer status` lists it): {}",
                list(&spoken.began)
            );
            warn!("{text}");
            self.note(EventKind::Peer, Level::Warning, text);
        }
        if !spoken.ended.is_empty() {
            let rest = if spoken.agree {
                ", and agree in everything now"
            } else {
                ""
            };
            let text = format!(
                "the two directors no longer differ in this{rest}: {}",
                list(&spoken.ended)
            );
            info!("{text}");
            self.note(EventKind::Peer, Level::Info, text);
        }
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
            differences: self.peer.differences.shown().cloned().collect(),
        })
    }
}

/// A link that has lasted for so long is worth a word when it ends; one that comes and goes is told of once in so long.
const LASTED: Duration = Duration::from_secs(10);
const REMINDER: Duration = Duration::from_secs(60);

/// How many differences one line names.
const SHOWN: usize = 5;

/// What an operator wants, in words.
fn said(wish: PeerWish) -> String {
    match wish {
        PeerWish::State { state, .. } => state.to_string(),
        PeerWish::Weight { weight: Some(weight) } => format!("weight {weight}"),
        PeerWish::Weight { weight: None } => "its own weight".to_owned(),
    }
}

//! Two directors on one host, and those who would like to be one of them.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{self, Receiver};
use tokio::time::timeout;

use super::message::{BadMessage, Beat, HEADER, Header, Hello, LONGEST, LONGEST_HELLO, Message, VERSION};
use super::tls::Identity;
use super::*;
use crate::model::{PeerSettings, PeerWish, PeerWord, PublicKey, UnixTime, WeightAdvice};

mod another_time;

const SOON: Duration = Duration::from_secs(20);

/// One end: its settings, its thread, what it hears.
struct End {
    settings: PeerSettings,
    handle: Handle,
    news: Receiver<News>,
}

/// Keys and addresses of two directors.
struct Lab {
    folder: tempfile::TempDir,
    keys: [PublicKey; 2],
    addresses: [SocketAddr; 2],
}

impl Lab {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let keys = ["0", "1"].map(|name| key::make(&folder.path().join(name)).expect("a key"));
        let addresses = [(); 2].map(|()| {
            let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
            free.local_addr().expect("its address")
        });
        Self {
            folder,
            keys,
            addresses,
        }
    }

    fn key(&self, index: usize) -> PathBuf {
        self.folder.path().join(index.to_string())
    }

    fn settings(&self, index: usize) -> PeerSettings {
        PeerSettings {
            address: self.addresses[1 - index],
            listen: self.addresses[index],
            key: self.key(index),
            peer_key: self.keys[1 - index],
            interval: Duration::from_millis(100),
        }
    }

    fn start(&self, index: usize) -> End {
        End::start(self.settings(index))
    }

    /// An identity with the key of one of them that takes another one's.
    fn identity(&self, index: usize, peer: PublicKey) -> Identity {
        let key = key::load(&self.key(index)).expect("a key");
        Identity::new(&key, peer).expect("an identity")
    }
}

impl End {
    fn start(settings: PeerSettings) -> Self {
        let (sender, news) = mpsc::channel(64);
        let handle = start(settings.clone(), sender).expect("a thread");
        Self { settings, handle, news }
    }

    async fn hear<T>(&mut self, what: &str, mut wanted: impl FnMut(News) -> Option<T>) -> T {
        let heard = async {
            loop {
                let news = self.news.recv().await.expect("the thread lives");
                if let Some(found) = wanted(news) {
                    return found;
                }
            }
        };
        let shown = self.handle.shown();
        timeout(SOON, heard)
            .await
            .unwrap_or_else(|_| panic!("{what}: {shown:?}"))
    }

    async fn connected(&mut self) {
        self.hear("connected", |news| matches!(news, News::Connected(_)).then_some(()))
            .await;
    }

    /// Waits for trouble whose words have this in them.
    async fn trouble(&mut self, wanted: &str) {
        let end = tokio::time::Instant::now() + SOON;
        loop {
            let trouble = self.handle.shown().trouble.map(|(_, text)| text).unwrap_or_default();
            if trouble.contains(wanted) {
                return;
            }
            assert!(tokio::time::Instant::now() < end, "{wanted} is not in: {trouble}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn words(number: u32) -> Vec<PeerWord> {
    vec![PeerWord {
        virtual_server: "web".to_owned(),
        server: "192.0.2.11:80".to_owned(),
        wish: PeerWish::Weight {
            weight: Some(WeightAdvice::Absolute(number)),
        },
        by: "root".to_owned(),
        at: UnixTime::from_millis(1_800_000_000_000),
    }]
}

#[tokio::test]
async fn two_directors_find_each_other_and_again_after_either_has_gone() {
    let lab = Lab::new();
    let (mut first, mut second) = (lab.start(0), lab.start(1));
    first.connected().await;
    second.connected().await;
    for round in 1..4u32 {
        first
            .handle
            .tell(|told| told.words = (u64::from(round), words(round).into()));
        let wanted = words(round);
        let is_it = |news| matches!(news, News::Words(heard) if heard == wanted).then_some(());
        second.hear("its words", is_it).await;
        // Whoever goes is missed at once, and whoever comes back hears what it has missed.
        let settings = second.settings.clone();
        drop(second);
        first
            .hear("gone", |news| matches!(news, News::Lost(_)).then_some(()))
            .await;
        second = End::start(settings);
        second.connected().await;
        first.connected().await;
        let is_it = |news| matches!(news, News::Words(heard) if heard == wanted).then_some(());
        second.hear("what it has missed", is_it).await;
    }
    let shown = first.handle.shown();
    assert_eq!(shown.key, Some(lab.keys[0]));
    assert_eq!(
        shown.connected.map(|connected| connected.program),
        Some(env!("CARGO_PKG_VERSION").to_owned())
    );
}

#[tokio::test]
async fn whoever_has_another_key_hears_nothing_and_both_say_why() {
    let lab = Lab::new();
    let stranger = key::make(&lab.folder.path().join("stranger")).expect("a key");
    let mut first = lab.start(0);
    let mut settings = lab.settings(1);
    settings.key = lab.folder.path().join("stranger");
    let mut second = End::start(settings);
    first.trouble(&stranger.to_string()).await;
    second.trouble("`peer_key` has to be").await;
    assert!(first.news.try_recv().is_err() && second.news.try_recv().is_err());
    // It expects another one than is there.
    drop(second);
    let mut settings = lab.settings(1);
    settings.peer_key = stranger;
    let mut second = End::start(settings);
    second.trouble(&lab.keys[0].to_string()).await;
    assert!(first.news.try_recv().is_err() && second.news.try_recv().is_err());
}

#[tokio::test]
async fn a_key_that_is_missing_is_said_and_taken_once_it_is_there() {
    let lab = Lab::new();
    let mut first = lab.start(0);
    let mut settings = lab.settings(1);
    settings.key = lab.folder.path().join("later");
    let mut second = End::start(settings);
    second.trouble("`ipvsd peer key").await;
    std::fs::copy(lab.key(1), lab.folder.path().join("later")).expect("copied");
    first.connected().await;
    second.connected().await;
    let mut settings = lab.settings(1);
    settings.peer_key = lab.keys[1];
    let mut own = End::start(settings);
    own.trouble("this director's own public key").await;
}

/// Sends bytes to a director and answers with what comes back until it hangs up.
async fn shout(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = loop {
        match TcpStream::connect(address).await {
            Ok(stream) => break stream,
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(error) => panic!("{error}"),
        }
    };
    let mut heard = Vec::new();
    // It may hang up before all is sent.
    let _ = stream.write_all(bytes).await;
    let _ = timeout(SOON, stream.read_to_end(&mut heard))
        .await
        .expect("it hangs up");
    heard
}

/// What a client says that speaks no TLS 1.3, whole; and with these extensions beside the usual ones.
fn hello_of_tls_1_2(more: &[u8]) -> Vec<u8> {
    let with_length = |kind: &[u8], bytes: &[u8], wide: bool| {
        let length = u16::try_from(bytes.len()).expect("short").to_be_bytes();
        [kind, if wide { &[0][..] } else { &[] }, &length, bytes].concat()
    };
    // Groups, point formats, signature algorithms (RFC 8422, RFC 5246).
    let groups = [0, 10, 0, 4, 0, 2, 0, 29];
    let points = [0, 11, 0, 2, 1, 0];
    let signatures = [0, 13, 0, 8, 0, 6, 4, 3, 8, 4, 8, 7];
    let extensions = with_length(&[], &[&groups[..], &points, &signatures, more].concat(), false);
    // No session; two suites of TLS 1.2; no compression.
    let head = [&[3, 3][..], &[7; 32], &[0], &[0, 4, 0xc0, 0x2b, 0xc0, 0x2f], &[1, 0]].concat();
    let hello = with_length(&[1], &[head, extensions].concat(), true);
    with_length(&[22, 3, 1], &hello, false)
}

#[tokio::test]
async fn noise_and_silence_are_turned_away() {
    let lab = Lab::new();
    let mut first = lab.start(0);
    let address = first.settings.listen;
    shout(address, b"GET / HTTP/1.1\r\n\r\n").await;
    first.trouble("no TLS").await;
    shout(address, &[0xff; 70_000]).await;
    // Somebody who says nothing.
    shout(address, b"").await;
    first.trouble("has not said who it is").await;
    // A director comes through all the same.
    let mut second = lab.start(1);
    second.connected().await;
    first.connected().await;
}

#[tokio::test]
async fn tls_1_2_is_turned_away_by_its_name() {
    // Without a word of other versions, and with the 1.2 and 1.1 that it has.
    for versions in [&[][..], &[0, 43, 0, 5, 4, 3, 3, 3, 2]] {
        let lab = Lab::new();
        let mut first = lab.start(0);
        let answer = shout(first.settings.listen, &hello_of_tls_1_2(versions)).await;
        // An alert that ends it: protocol_version.
        assert!(answer.ends_with(&[2, 70]), "{versions:?}: {answer:?}");
        first
            .trouble("it speaks TLS 1.2 or older, and here it has to be 1.3")
            .await;
    }
}

#[test]
fn parts_of_another_form_are_counted_and_the_others_kept() {
    let known = serde_json::to_string(&words(3)).expect("JSON");
    let known = known
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
        .expect("a list");
    let json = format!("[1, {known} , [[{{}}]], {{\"at\":\"never\"}}, null, \"]\", {known}, 1e999]");
    let understood = Message::understand(4, json.as_bytes()).expect("it is JSON");
    assert_eq!(understood.passed_over, 6);
    let twice = [words(3), words(3)].concat();
    assert_eq!(understood.message, Some(Message::Words(twice)));
    // As many as fit into a message.
    let ones = "1,".repeat(LONGEST / 2 - 1);
    let understood = Message::understand(4, format!("[{ones}1]").as_bytes()).expect("it is JSON");
    assert_eq!(understood.passed_over, LONGEST as u64 / 2);
    assert_eq!(understood.message, Some(Message::Words(Vec::new())));
    // What is no list is passed over whole, and what is no JSON is nonsense wherever that is.
    let understood = Message::understand(4, b"{}").expect("it is JSON");
    assert_eq!((understood.message, understood.passed_over), (None, 1));
    for nonsense in ["[1", "[1,]", "[{1}]", "[1] 2", "[\"\u{1}\"]"] {
        assert!(Message::understand(4, nonsense.as_bytes()).is_err(), "{nonsense}");
    }
    assert!(Message::understand(4, b"[\"\xff\"]").is_err());
}

/// Shakes hands with a director as the one that it knows, and says this.
async fn as_peer(lab: &Lab, bytes: &[u8]) -> Vec<u8> {
    let identity = lab.identity(1, lab.keys[0]);
    let stream = loop {
        match TcpStream::connect(lab.addresses[0]).await {
            Ok(stream) => break stream,
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    let name = rustls::pki_types::ServerName::from(std::net::IpAddr::from([127, 0, 0, 1]));
    let mut stream = identity.connector.connect(name, stream).await.expect("a handshake");
    let _ = stream.write_all(bytes).await;
    let mut heard = Vec::new();
    let _ = timeout(SOON, stream.read_to_end(&mut heard))
        .await
        .expect("it hangs up");
    heard
}

fn hello() -> Hello {
    Hello {
        version: VERSION,
        program: "0.0.0".to_owned(),
        interval_ms: 100,
    }
}

#[tokio::test]
async fn whoever_has_the_key_and_talks_nonsense_is_hung_up_on_and_said() {
    let lab = Lab::new();
    let mut first = lab.start(0);
    let frame = |message: &Message| message.encode().expect("it fits");
    let greeting = frame(&Message::Hello(hello()));
    for (bytes, wanted) in [
        (
            Header {
                length: 1 << 30,
                kind: 1,
            }
            .encode()
            .to_vec(),
            "a message of",
        ),
        (frame(&Message::Beat(Beat::default())), "does not say who it is"),
        (
            frame(&Message::Hello(Hello { version: 2, ..hello() })),
            "speaks version 2 of this protocol",
        ),
        ([&greeting[..], &[0xff, 0xff, 0xff, 0xff, 3]].concat(), "more than"),
        (
            [&greeting[..], &Header { length: 2, kind: 3 }.encode()[..], b"[1"].concat(),
            "cannot be read",
        ),
    ] {
        as_peer(&lab, &bytes).await;
        first.trouble(wanted).await;
    }
    // Kinds of a later version, and a second greeting, are passed over; whoever says nothing then is hung up on.
    let unknown = [&Header { length: 3, kind: 99 }.encode()[..], b"xyz"].concat();
    let heard = as_peer(&lab, &[&greeting[..], &unknown, &greeting].concat()).await;
    assert!(heard.len() > HEADER, "it has said who it is");
    let lost = |news| matches!(news, News::Lost(why) if why.contains("nothing was heard from it")).then_some(());
    first.hear("it is given up", lost).await;
}

#[tokio::test]
async fn a_byte_now_and_then_is_no_sign_of_life() {
    let (ours, mut theirs) = tokio::io::duplex(4096);
    let (news, _kept) = mpsc::channel(4);
    let (told, hears) = tokio::sync::watch::channel(Told::default());
    let (beat, silence) = (Duration::from_secs(60), Duration::from_millis(200));
    let live = tokio::spawn(async move { link::live(ours, hears, &news, beat, silence).await.to_string() });
    let header = Header { length: 1000, kind: 3 }.encode();
    for byte in header {
        let _ = theirs.write_all(&[byte]).await;
        tokio::time::sleep(Duration::from_millis(70)).await;
    }
    let ended = timeout(SOON, live).await.expect("it ends").expect("no panic");
    assert!(ended.contains("nothing was heard"), "{ended}");
    drop(told);
}

#[tokio::test]
async fn callers_without_end_do_not_keep_the_other_director_out() {
    let lab = Lab::new();
    let mut first = lab.start(0);
    let address = first.settings.listen;
    let flood = tokio::spawn(async move {
        let mut open = Vec::new();
        for _ in 0..2000 {
            if let Ok(stream) = TcpStream::connect(address).await {
                open.push(stream);
            }
            open.truncate(200);
        }
    });
    // They come from the other director's own address here, so it is this one that calls.
    let mut second = lab.start(1);
    second.connected().await;
    first.connected().await;
    flood.abort();
}

#[tokio::test]
async fn an_address_that_is_taken_is_said_and_tried_again() {
    let lab = Lab::new();
    let taken = TcpListener::bind(lab.addresses[0]).await.expect("free");
    let mut first = lab.start(0);
    first.trouble("cannot listen for the other director").await;
    drop(taken);
    let mut second = lab.start(1);
    first.connected().await;
    second.connected().await;
}

fn some_message() -> impl Strategy<Value = Message> {
    use crate::model::PeerVerdict;
    let verdict = (
        "\\PC{0,40}",
        "[0-9a-f]{16}",
        any::<bool>(),
        any::<u64>(),
        any::<u64>(),
        prop::option::of("\\PC{0,40}"),
    );
    let verdict = verdict.prop_map(|(target, settings, up, since, age, cause)| PeerVerdict {
        target,
        settings,
        up,
        since,
        age,
        cause,
        weight: None,
        state: None,
        drain: !up,
    });
    prop_oneof![
        (any::<u32>(), "\\PC{0,20}", any::<u64>()).prop_map(|(version, program, interval_ms)| {
            Message::Hello(Hello {
                version,
                program,
                interval_ms,
            })
        }),
        (prop::option::of(any::<u64>()), any::<bool>()).prop_map(|(connections, wants_connections)| {
            Message::Beat(Beat {
                connections,
                wants_connections,
                time: connections.map(UnixTime::from_millis),
            })
        }),
        prop::collection::vec(verdict, 0..5).prop_map(Message::Verdicts),
        (0u32..9).prop_map(|number| Message::Words(words(number))),
    ]
}

proptest! {
    #[test]
    fn what_is_said_is_heard(message in some_message()) {
        let frame = message.encode().expect("it fits");
        let (header, json) = frame.split_at(HEADER);
        let header = Header::decode(header.try_into().expect("five bytes"), LONGEST).expect("short");
        prop_assert_eq!(header.length, json.len());
        prop_assert_eq!(Message::decode(header.kind, json).expect("it is read"), Some(message));
    }

    #[test]
    fn members_of_a_later_version_are_passed_over(number in 0u32..9, extra in "[a-z]{12,20}") {
        let mut json = serde_json::to_value(words(number)).expect("JSON");
        json[0][extra] = 1.into();
        let text = serde_json::to_vec(&json).expect("JSON");
        prop_assert_eq!(Message::decode(4, &text).expect("it is read"), Some(Message::Words(words(number))));
    }

    #[test]
    fn no_bytes_panic(header: [u8; HEADER], bytes: Vec<u8>, text in "[\\[\\]{}\",:a-z0-9]{0,60}") {
        match Header::decode(header, LONGEST_HELLO) {
            Ok(header) => prop_assert!(header.length <= LONGEST_HELLO && header.encode().len() == HEADER),
            Err(error) => {
                let too_long = matches!(error, BadMessage::TooLong { .. });
                prop_assert!(too_long);
            }
        }
        for kind in 0..8 {
            let _ = Message::decode(kind, &bytes);
            let _ = Message::decode(kind, text.as_bytes());
        }
    }
}

//! Another clock, a later version, more than fits: what is said for all that is heard.

use super::*;
use crate::model::{AdminState, Picture, PictureSettings, Protocol, ServiceKey, ServicePicture};

fn framed(kind: u8, json: &str) -> Vec<u8> {
    let length = json.len();
    [&Header { length, kind }.encode()[..], json.as_bytes()].concat()
}

fn frame(message: &Message) -> Vec<u8> {
    message.encode().expect("it fits")
}

fn now() -> UnixTime {
    task::unix_time()
}

fn draining_for(minutes: u64, from: UnixTime) -> PeerWord {
    let length = Duration::from_secs(minutes * 60);
    PeerWord {
        wish: PeerWish::State {
            state: AdminState::Drain,
            drain_until: Some(from.after(length)),
            drain_for: Some(minutes * 60_000),
        },
        at: from,
        ..words(1).remove(0)
    }
}

/// How long a drain that was heard goes on, by this clock.
fn left(words: &[PeerWord]) -> Duration {
    match words {
        [
            PeerWord {
                wish:
                    PeerWish::State {
                        drain_until: Some(until),
                        ..
                    },
                ..
            },
        ] => until.since(now()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_drain_ends_when_it_was_to_end_whatever_time_it_is_there() {
    let hour = Duration::from_secs(3600);
    for theirs in [now().after(hour), now().before(hour), now()] {
        let lab = Lab::new();
        let mut first = lab.start(0);
        let beat = Beat {
            time: Some(theirs),
            ..Beat::default()
        };
        let said = [
            frame(&Message::Hello(hello())),
            frame(&Message::Beat(beat)),
            frame(&Message::Words(vec![draining_for(10, theirs)])),
        ]
        .concat();
        let heard = as_peer(&lab, &said);
        let words = |news| match news {
            News::Words(words) => Some(words),
            _ => None,
        };
        let (_, words) = tokio::join!(heard, first.hear("its words", words));
        let left = left(&words);
        assert!(
            left <= Duration::from_secs(600) && left > Duration::from_secs(540),
            "{left:?}"
        );
    }
}

#[tokio::test]
async fn what_time_it_is_comes_with_the_words() {
    let lab = Lab::new();
    let first = lab.start(0);
    first.handle.tell(|told| told.words = (1, words(1).into()));
    let heard = as_peer(&lab, &frame(&Message::Hello(hello()))).await;
    let (mut kinds, mut rest) = (Vec::new(), &heard[..]);
    while let Some((header, after)) = rest.split_first_chunk::<HEADER>() {
        let Header { length, kind } = Header::decode(*header, LONGEST).expect("short");
        let (json, after) = after.split_at(length.min(after.len()));
        if let Ok(Some(Message::Beat(beat))) = Message::decode(kind, json) {
            let time = beat.time.expect("what time it is");
            assert!(now().since(time) < SOON && time <= now(), "{time}");
        }
        kinds.push(kind);
        rest = after;
    }
    assert_eq!(kinds[..3], [1, 2, 4], "hello, what time it is, words");
}

/// One that does not miss the other one while that writes something long, as slowly as a test does.
fn patient(lab: &Lab, index: usize) -> End {
    End::start(PeerSettings {
        interval: Duration::from_secs(5),
        ..lab.settings(index)
    })
}

fn picture_of(bytes: usize) -> Picture {
    let settings = PictureSettings::from([("scheduler".to_owned(), "x".repeat(bytes))]);
    let service = ServiceKey::Address {
        protocol: Protocol::Tcp,
        address: [192, 0, 2, 1].into(),
        port: 80,
    };
    let real_servers = Default::default();
    Picture {
        services: vec![ServicePicture {
            service,
            settings,
            real_servers,
        }],
    }
}

#[tokio::test]
async fn a_picture_that_is_too_long_is_said_and_everything_else_goes_on() {
    let lab = Lab::new();
    let [mut first, mut second] = [0, 1].map(|index| patient(&lab, index));
    first.connected().await;
    second.connected().await;
    first.handle.tell(|told| told.picture = (1, picture_of(10).into()));
    let small = |news| matches!(news, News::Picture(picture) if picture == picture_of(10)).then_some(());
    second.hear("a small picture", small).await;
    first.handle.tell(|told| told.picture = (2, picture_of(LONGEST).into()));
    let none = |news| match news {
        News::NoPicture(Incomparable::TooLong(bytes)) => Some(bytes),
        News::Lost(why) => panic!("{why}"),
        _ => None,
    };
    let bytes = second.hear("that there is none", none).await;
    assert!(bytes > LONGEST as u64, "{bytes}");
    let too_long = |news| match news {
        News::TooLong(Part::Picture, Some(bytes)) => Some(bytes),
        News::Lost(why) => panic!("{why}"),
        _ => None,
    };
    assert_eq!(first.hear("that it cannot be told", too_long).await, bytes);
    // The same connection goes on, and it can be told again once it fits.
    first.handle.tell(|told| told.words = (3, words(3).into()));
    let words_of_three = |news| match news {
        News::Words(heard) if heard == words(3) => Some(()),
        News::Lost(why) => panic!("{why}"),
        _ => None,
    };
    second.hear("words", words_of_three).await;
    first.handle.tell(|told| told.picture = (4, picture_of(10).into()));
    second.hear("a small picture again", small).await;
    let fits = |news| match news {
        News::TooLong(Part::Picture, None) => Some(()),
        News::Lost(why) => panic!("{why}"),
        _ => None,
    };
    first.hear("that it fits", fits).await;
}

#[tokio::test]
async fn verdicts_that_are_too_long_go_without_their_causes() {
    let lab = Lab::new();
    let [first, mut second] = [0, 1].map(|index| patient(&lab, index));
    second.connected().await;
    let verdict = crate::model::PeerVerdict {
        target: "192.0.2.11:80".to_owned(),
        settings: "0123456789abcdef".to_owned(),
        up: false,
        since: 1,
        age: 1,
        cause: Some("x".repeat(LONGEST)),
        weight: None,
        state: None,
        drain: false,
    };
    first.handle.tell(|told| told.verdicts = (1, vec![verdict].into()));
    let bare = |news| match news {
        News::Verdicts(verdicts) => Some(verdicts),
        News::Lost(why) => panic!("{why}"),
        _ => None,
    };
    let verdicts = second.hear("its verdicts", bare).await;
    assert_eq!((verdicts.len(), verdicts[0].cause.as_deref()), (1, None));
}

#[tokio::test]
async fn what_a_later_version_says_is_passed_over_and_counted() {
    let lab = Lab::new();
    let mut first = lab.start(0);
    let mut said: Vec<_> = words(7)
        .iter()
        .map(|word| serde_json::to_value(word).expect("JSON"))
        .collect();
    let mut unknown = said[0].clone();
    unknown["wants"] = "standby".into();
    said.insert(0, unknown);
    let bytes = [
        frame(&Message::Hello(hello())),
        framed(99, "{}"),
        framed(4, &serde_json::to_string(&said).expect("JSON")),
        framed(3, "[{\"target\": 1}, 7]"),
        framed(5, "{\"pools\": []}"),
        framed(2, "\"alive\""),
        framed(6, "{\"bytes\": 20000000}"),
    ]
    .concat();
    let heard = as_peer(&lab, &bytes);
    let collected = async {
        let mut found = Vec::new();
        loop {
            let news = first.hear("more", Some).await;
            let text = match news {
                News::SomeWords(heard) if heard == words(7) => "one word".to_owned(),
                News::Verdicts(verdicts) => format!("{} verdicts", verdicts.len()),
                News::PassedOver(parts) => format!("{parts} passed over"),
                News::NoPicture(why) => format!("{why:?}"),
                News::Lost(why) => {
                    found.push(why);
                    return found;
                }
                News::Connected(_) => continue,
                other => format!("{other:?}"),
            };
            found.push(text);
        }
    };
    let (_, found) = tokio::join!(heard, collected);
    let (last, found) = found.split_last().expect("it was given up in the end");
    assert!(last.contains("nothing was heard from it"), "{last}");
    assert_eq!(
        found,
        [
            "1 passed over",
            "one word",
            "1 passed over",
            "0 verdicts",
            "2 passed over",
            "Unknown",
            "1 passed over",
            "1 passed over",
            "TooLong(20000000)",
        ]
    );
}

#[tokio::test]
async fn a_caller_of_another_language_with_the_right_key_is_the_peers_trouble() {
    let lab = Lab::new();
    let mut first = lab.start(0);
    let hello = frame(&Message::Hello(Hello { version: 2, ..hello() }));
    as_peer(&lab, &hello).await;
    first.trouble("no link to").await;
    first.trouble("speaks version 2 of this protocol").await;
    first.trouble("upgrade the older one").await;
}

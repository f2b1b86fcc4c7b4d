//! Any bytes from the other director: messages that are read, written and read again the same, and taken in by everything
//! that takes them; or what is wrong with them in words.

#![no_main]

use std::sync::Arc;

use ipvsd::director::{Director, Settings, Words};
use ipvsd::model::{Event, Instant, Picture, UnixTime};
use ipvsd::peer::message::{HEADER, Header, Hello, LONGEST, Message};
use ipvsd::peer::{Differences, compare};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((header, json)) = bytes.split_first_chunk::<HEADER>() else {
        return;
    };
    let kind = match Header::decode(*header, LONGEST) {
        Ok(header) => header.kind,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            header[HEADER - 1]
        }
    };
    let message = match Message::decode(kind, json) {
        Ok(Some(message)) => message,
        Ok(None) => return,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let frame = message.encode().expect("no longer than it came");
    let (header, json) = frame.split_first_chunk::<HEADER>().expect("a header");
    let header = Header::decode(*header, LONGEST).expect("short");
    assert_eq!(header.length, json.len());
    assert_eq!(Message::decode(header.kind, json).expect("it is read").as_ref(), Some(&message));
    match message {
        Message::Hello(_) => drop(Hello::expect(Some(message))),
        Message::Beat(_) | Message::NoPicture(_) => {}
        Message::Verdicts(verdicts) => {
            let mut director = Director::new(Settings::default());
            director.handle(Event::ConfigLoaded(Arc::default()), Instant::START);
            director.handle(Event::PeerTold(verdicts), Instant::START);
        }
        Message::Words(words) => {
            let now = UnixTime::from_millis(1_800_000_000_000);
            let mut heard = Words::default();
            heard.hear_peer(words, now);
            let again = heard.all().cloned().collect();
            assert!(heard.hear_peer(again, now).won.is_empty());
        }
        Message::Picture(picture) => {
            let mut differences = Differences::default();
            differences.compared(compare(&Picture::default(), &picture), Instant::START);
            for spoken in differences.speak(Instant::START).began {
                assert!(!spoken.to_string().is_empty());
            }
        }
    }
});

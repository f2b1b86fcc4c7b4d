//! Any text in place of what an earlier daemon knew: taken over by a director, or an error in words.

#![no_main]

use std::sync::Arc;
use std::time::Duration;

use ipvsd::daemon::state;
use ipvsd::director::{Director, Settings};
use ipvsd::model::{Event, Instant};
use ipvsd::net::namespace::NamespaceId;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let namespace = NamespaceId {
        inode: 1,
        cookie: Some(1),
        boot: "boot".to_owned(),
    };
    match state::parse(text, &namespace, Duration::from_secs(1000)) {
        Ok(Some((snapshot, age))) => {
            let mut director = Director::new(Settings::default());
            let snapshot = Box::new(snapshot);
            director.handle(Event::StateLoaded { snapshot, age }, Instant::START);
            director.handle(Event::ConfigLoaded(Arc::default()), Instant::START);
        }
        Ok(None) => {}
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});

//! Any text in place of the records under the run directory: read, or an error in words.

#![no_main]

use std::path::Path;

use ipvsd::daemon::vrrp::{self, Writer};
use ipvsd::net::namespace::NamespaceId;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let namespace = NamespaceId {
        inode: 1,
        cookie: Some(1),
        boot: "boot".to_owned(),
    };
    if let Err(error) = ipvsd::daemon::record::parse(text, &namespace) {
        assert!(!error.to_string().is_empty());
    }
    for writer in [Writer::Unknown, Writer::ThisProcess] {
        if let Err(error) = vrrp::parse_ledger(text, &namespace, writer) {
            assert!(!error.to_string().is_empty());
        }
        if let Err(error) = vrrp::parse_spoken(text, &namespace, writer) {
            assert!(!error.to_string().is_empty());
        }
    }
    if let Err(error) = ipvsd::realserver::state::parse(text, Path::new("realserver.json"), &namespace) {
        assert!(error.to_string().contains("realserver.json"));
    }
});

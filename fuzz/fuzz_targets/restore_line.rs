//! Any text in place of a saved table: each line a command or a refusal, and a rehearsal of what is a command.

#![no_main]

use std::net::Ipv4Addr;

use ipvsd::ipvsadm::{self, NameService, Rehearsal};
use ipvsd::model::Protocol;
use libfuzzer_sys::fuzz_target;

struct Nobody;

impl NameService for Nobody {
    fn host(&self, _: &str) -> Option<Ipv4Addr> {
        None
    }

    fn port(&self, _: Protocol, _: &str) -> Option<u16> {
        None
    }
}

fuzz_target!(|text: &[u8]| {
    let mut table = Rehearsal::default();
    for line in text.split(|byte| *byte == b'\n') {
        let words = ipvsadm::words(line, "ipvsadm");
        assert!(words.iter().all(|word| !word.contains([' ', '\t', '\r', '\0'])), "{words:?}");
        if let Ok(command) = ipvsadm::parse(&words, "ipvsadm", &Nobody) {
            if let Err(errno) = table.carry_out(&command) {
                assert!(!ipvsadm::of_errno(&command, errno).is_empty());
            }
        }
    }
});

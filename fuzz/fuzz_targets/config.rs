//! Whatever bytes a configuration file holds: a configuration or problems, never a panic.

#![no_main]

use ipvsd::config::{Outcome, Source, Sources, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    match parse(&Sources::new(Source::new("fuzz.toml", bytes))) {
        Outcome::Parsed { warnings, .. } => assert!(!warnings.has_errors()),
        Outcome::Refused(problems) => assert!(problems.has_errors() && !problems.to_string().is_empty()),
        Outcome::Needs(patterns) => assert!(!patterns.is_empty()),
    }
});

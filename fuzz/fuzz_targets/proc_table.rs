//! Any text in place of `/proc/net/ip_vs` and `/proc/net/ip_vs_conn`: lines are read or passed over.

#![no_main]

use ipvsd::ipvs::proc;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let lines = text.split(|byte| *byte == b'\n').count();
    let services = proc::destinations(text);
    let destinations: usize = services.iter().map(|(_, destinations)| destinations.len()).sum();
    assert!(services.len() + destinations <= lines);
    let of_known: u64 = services
        .iter()
        .flat_map(|(_, destinations)| destinations)
        .map(|found| u64::from(found.active_connections) + u64::from(found.inactive_connections))
        .sum();
    assert!(proc::connection_count(text) >= of_known);
    assert!(proc::connections(text).len() <= lines);
});

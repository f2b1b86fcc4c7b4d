//! Any datagram of the kernel's about addresses, links, routes and rules is taken apart or refused.

#![no_main]

use ipvsd::net::exchange::parts;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|datagram: &[u8]| {
    // Its own number, else it would be passed over unread.
    let number = datagram.get(8..12).and_then(|bytes| bytes.first_chunk());
    let _ = parts(datagram, number.map_or(0, |bytes| u32::from_ne_bytes(*bytes)));
});

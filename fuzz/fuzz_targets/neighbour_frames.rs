//! Any frame is read or refused; one that is read and written again reads the same.
#![no_main]

use ipvsd::net::packet::{Arp, NeighbourFrame};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|frame: &[u8]| {
    if let Some(arp) = Arp::parse(frame) {
        assert_eq!(Arp::parse(&arp.broadcast_frame()), Some(arp));
    }
    if let Some(message) = NeighbourFrame::parse(frame) {
        assert_eq!(NeighbourFrame::parse(&message.frame()), Some(message));
    }
});

//! Any datagram of the packet filter is read as far as it goes; every request of ours is about our table.

#![no_main]

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipvsd::net::filter::answer::{Told, told};
use ipvsd::net::filter::ruleset::ruleset;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|datagram: &[u8]| {
    let _ = told(datagram).count();
    let addresses: BTreeSet<IpAddr> = datagram
        .chunks_exact(4)
        .filter_map(|octets| Some(IpAddr::from(*octets.first_chunk::<4>()?)))
        .collect();
    let batch = ruleset(1, &addresses);
    let requests = batch.last() - 1;
    let told: Vec<_> = told(&batch.finish()).collect();
    assert_eq!(told.len(), requests as usize);
    assert!(told.iter().all(|told| *told == Told::Change { port: 0 }));
});

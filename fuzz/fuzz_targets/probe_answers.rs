//! Any bytes in place of what a probed server answers: every reader takes all of them.

#![no_main]

use ipvsd::checkers::packet::{advice, grpc, icmp, ldap, mysql, redis, smtp};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(Some((_, length))) = redis::reply(bytes) {
        assert!(length <= bytes.len());
    }
    if let Ok(Some((_, length))) = smtp::reply(bytes) {
        assert!(length <= bytes.len());
    }
    let _ = (ldap::answer(bytes), grpc::response(bytes));
    let _ = (icmp::is_reply(false, 1, b"x", bytes), icmp::is_reply(true, 1, b"x", bytes));
    let content = mysql::packet(bytes).map_or(bytes, |(_, content, length)| {
        assert!(length <= bytes.len());
        content
    });
    let _ = (mysql::Greeting::read(content), mysql::error_in(content), mysql::column_name(content));
    let _ = (mysql::Answer::to_login(content), mysql::Answer::to_query(content), mysql::row(content, 3));
    let text = String::from_utf8_lossy(bytes);
    for bare in [advice::BareNumber::IsWeight, advice::BareNumber::IsNothing] {
        if let Err(word) = advice::parse(&text, bare) {
            assert!(text.contains(&word));
        }
    }
});

//! What each command line means, and what is said of those that mean nothing.

use std::net::Ipv4Addr;

use super::*;
use crate::model::Protocol;

/// Knows one host and two ports.
struct Names;

impl NameService for Names {
    fn host(&self, name: &str) -> Option<Ipv4Addr> {
        (name == "www").then_some(Ipv4Addr::new(192, 0, 2, 1))
    }

    fn port(&self, protocol: Protocol, name: &str) -> Option<u16> {
        match (protocol, name) {
            (Protocol::Tcp, "http") => Some(80),
            (Protocol::Udp, "tftp") => Some(69),
            _ => None,
        }
    }
}

/// Words as a shell would part them; `''` is an empty one.
fn of(line: &str) -> Result<Command, Refusal> {
    let words: Vec<String> = line
        .split_whitespace()
        .map(|word| if word == "''" { String::new() } else { word.to_owned() })
        .collect();
    parse(&words, "ipvsadm", &Names)
}

fn step(line: &str) -> String {
    match of(line) {
        Ok(Command::Change(step)) => step.to_string(),
        other => panic!("{line}: {other:?}"),
    }
}

fn refusal(line: &str) -> (u8, String) {
    let refusal = of(line).expect_err(line);
    (refusal.status, refusal.message)
}

#[test]
fn changes_are_what_their_options_say() {
    for (line, expected) in [
        ("-A -t 192.0.2.1:80", "add service tcp 192.0.2.1:80 (scheduler wlc)"),
        ("-At www:http -srr", "add service tcp 192.0.2.1:80 (scheduler rr)"),
        (
            "-d -u www:tftp -r 192.0.2.2",
            "remove real server 192.0.2.2:69 from udp 192.0.2.1:69",
        ),
    ] {
        assert_eq!(step(line), expected, "{line}");
    }
    assert_eq!(
        refusal("-A -t 192.0.2.1"),
        (2, "Zero port specified for non-persistent service".to_owned())
    );
}

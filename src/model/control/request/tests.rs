use proptest::prelude::*;

use super::wire::{LARGEST_PERCENT, LONGEST_DEADLINE, LONGEST_PAUSE};
use super::*;

fn decoded(line: &str) -> Result<Request, String> {
    Request::decode(line.as_bytes()).map_err(|error| error.to_string())
}

#[test]
fn what_is_wrong_with_a_request_is_said_on_one_line() {
    let error = Request::decode(br#"{"version":1,"command":"restart"}"#).expect_err("no such command");
    let said = error.to_string();
    assert!(said.contains("`restart`") && said.contains("pause, resume)"), "{said}");
    assert!(!said.contains(['\n', '\r']) && !said.contains("  "), "{said}");
}

#[test]
fn requests_are_read_as_documented() {
    let server = || "web/192.0.2.11:80".to_owned();
    for (line, wanted) in [
        (
            r#"{"version":1,"command":"status"}"#,
            Request::Status { virtual_server: None },
        ),
        (
            r#" { "command" : "status", "virtual_server":"web", "version":1 } "#,
            Request::Status {
                virtual_server: Some("web".to_owned()),
            },
        ),
        (
            r#"{"version":1,"command":"events"}"#,
            Request::Events {
                last: None,
                follow: false,
            },
        ),
        (r#"{"version":1,"command":"reload"}"#, Request::Reload { force: false }),
        (
            r#"{"version":1,"command":"reload","force":true}"#,
            Request::Reload { force: true },
        ),
        (
            r#"{"version":1,"command":"drain","server":"web/192.0.2.11:80","deadline_seconds":300}"#,
            Request::Drain {
                server: server(),
                deadline: Some(Duration::from_secs(300)),
                lasting: Lasting::UntilTakenBack,
            },
        ),
        (
            r#"{"version":1,"command":"weight","server":"web/192.0.2.11:80","weight":2147483647}"#,
            Request::Weight {
                server: server(),
                weight: Some(WeightAdvice::Absolute(2_147_483_647)),
                lasting: Lasting::UntilTakenBack,
            },
        ),
        (
            r#"{"version":1,"command":"weight","server":"web/192.0.2.11:80","weight":"50%","until_reload":true}"#,
            Request::Weight {
                server: server(),
                weight: Some(WeightAdvice::Percent(50)),
                lasting: Lasting::UntilReload,
            },
        ),
        (
            r#"{"version":1,"command":"add","server":"web/192.0.2.11:80","weight":7}"#,
            Request::Add {
                server: server(),
                weight: Some(7),
                lasting: Lasting::UntilTakenBack,
            },
        ),
        (
            r#"{"version":1,"command":"remove","server":"web/192.0.2.11:80","until_reload":true}"#,
            Request::Remove {
                server: server(),
                lasting: Lasting::UntilReload,
            },
        ),
        (
            r#"{"version":1,"command":"weight","server":"web/192.0.2.11:80","weight":"auto"}"#,
            Request::Weight {
                server: server(),
                weight: None,
                lasting: Lasting::UntilTakenBack,
            },
        ),
    ] {
        assert_eq!(decoded(line), Ok(wanted), "{line}");
    }
}

#[test]
fn what_is_wrong_with_a_request_is_said() {
    let long = format!("{{\"version\":1,\"command\":\"{}\"}}", "x".repeat(LONGEST_REQUEST));
    let deep = "[".repeat(LONGEST_REQUEST);
    for (line, wanted) in [
        ("", "cannot be read"),
        ("GET / HTTP/1.1", "cannot be read"),
        (deep.as_str(), "cannot be read"),
        ("[]", "cannot be read"),
        (long.as_str(), "longer than 4096 bytes"),
        (r#"{"command":"status"}"#, "missing field `version`"),
        (r#"{"version":2,"command":"undrain","who":{}}"#, "of version 2"),
        (r#"{"version":1,"command":"top"}"#, "no command `top`"),
        (r#"{"version":1,"command":"status","all":true}"#, "unknown field `all`"),
        (r#"{"version":1,"command":"status","version":1}"#, "duplicate field"),
        (r#"{"version":1,"command":"why"}"#, "`why` needs `server`"),
        (r#"{"version":1,"command":"return"}"#, "`return` needs `virtual_server`"),
        (
            r#"{"version":1,"command":"reload","server":"x"}"#,
            "`reload` takes no `server`",
        ),
        (r#"{"version":1,"command":"why","server":1}"#, "invalid type"),
        (
            r#"{"version":1,"command":"weight","server":"x"}"#,
            "`weight` needs `weight`",
        ),
        (
            r#"{"version":1,"command":"weight","server":"x","weight":-1}"#,
            "a number from 0",
        ),
        (
            r#"{"version":1,"command":"weight","server":"x","weight":2147483648}"#,
            "a number from 0",
        ),
        (
            r#"{"version":1,"command":"weight","server":"x","weight":1.5}"#,
            "a number from 0",
        ),
        (
            r#"{"version":1,"command":"weight","server":"x","weight":"1001%"}"#,
            "at most 1000%",
        ),
        (
            r#"{"version":1,"command":"weight","server":"x","weight":"%"}"#,
            "\"50%\"",
        ),
        (
            r#"{"version":1,"command":"weight","server":"x","weight":"auto","until_reload":true}"#,
            "`until_reload` must be false",
        ),
        (
            r#"{"version":1,"command":"drain","server":"x","deadline_seconds":9,"until_reload":true}"#,
            "`until_reload` must be false",
        ),
        (
            r#"{"version":1,"command":"add","server":"x","weight":"50%"}"#,
            "a number from 0",
        ),
        (r#"{"version":1,"command":"remove"}"#, "`remove` needs `server`"),
        (
            r#"{"version":1,"command":"vrrp_step_down"}"#,
            "`vrrp_step_down` needs `vrrp_instance`",
        ),
        (r#"{"version":1,"command":"pause"}"#, "`pause` needs `duration_seconds`"),
        (
            r#"{"version":1,"command":"pause","duration_seconds":0}"#,
            "1 to 86400, a day",
        ),
        (
            r#"{"version":1,"command":"drain","server":"x","deadline_seconds":99999999}"#,
            "a year",
        ),
    ] {
        let error = decoded(line).expect_err(line);
        assert!(error.contains(wanted), "{line}: {error}");
        assert!(error.len() < 2 * LONGEST_REQUEST);
    }
}

fn any_request() -> impl Strategy<Value = Request> {
    let server = ".{0,60}";
    let lasting = || prop::sample::select(vec![Lasting::UntilTakenBack, Lasting::UntilReload]);
    let weight = prop_oneof![
        (0..=0x7fff_ffff_u32).prop_map(WeightAdvice::Absolute),
        (0..=LARGEST_PERCENT).prop_map(WeightAdvice::Percent),
    ];
    let seconds = prop::option::of((0..=LONGEST_DEADLINE).prop_map(Duration::from_secs));
    prop_oneof![
        prop::option::of(server).prop_map(|virtual_server| Request::Status { virtual_server }),
        server.prop_map(|server| Request::Why { server }),
        (any::<Option<u32>>(), any::<bool>()).prop_map(|(last, follow)| Request::Events { last, follow }),
        any::<bool>().prop_map(|force| Request::Reload { force }),
        (server, seconds).prop_map(|(server, deadline)| Request::Drain {
            server,
            deadline,
            lasting: Lasting::UntilTakenBack
        }),
        (server, lasting()).prop_map(|(server, lasting)| Request::Maint { server, lasting }),
        (server, lasting()).prop_map(|(server, lasting)| Request::Ready { server, lasting }),
        (server, weight, lasting()).prop_map(|(server, weight, lasting)| Request::Weight {
            server,
            weight: Some(weight),
            lasting
        }),
        server.prop_map(|server| Request::Weight {
            server,
            weight: None,
            lasting: Lasting::UntilTakenBack
        }),
        (server, prop::option::of(0..=0x7fff_ffff_u32), lasting()).prop_map(|(server, weight, lasting)| Request::Add {
            server,
            weight,
            lasting
        }),
        (server, lasting()).prop_map(|(server, lasting)| Request::Remove { server, lasting }),
        server.prop_map(|virtual_server| Request::Return { virtual_server }),
        server.prop_map(|virtual_server| Request::Rebuild { virtual_server }),
        server.prop_map(|vrrp_instance| Request::StepDown { vrrp_instance }),
        (1..=LONGEST_PAUSE).prop_map(|seconds| Request::Pause {
            duration: Duration::from_secs(seconds)
        }),
        Just(Request::Resume),
        Just(Request::Plan),
    ]
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(request in any_request()) {
        let mut line = request.encode();
        prop_assert_eq!(line.pop(), Some(b'\n'));
        prop_assert!(!line.contains(&b'\n'));
        prop_assert_eq!(Request::decode(&line), Ok(request));
    }

    #[test]
    fn no_bytes_panic(line: Vec<u8>) {
        let _ = Request::decode(&line);
    }

    #[test]
    fn a_damaged_request_is_one_or_an_error_in_words(
        request in any_request(),
        at: prop::sample::Index,
        cut in 0..5_usize,
        piece in prop::sample::select(vec!["", "{", "}", "\"", ":", ",", "null", "-1", "1e999", "\\u0000", "\\ud800", "\u{1b}[2J"]),
    ) {
        let mut line = request.encode();
        line.pop();
        let at = at.index(line.len());
        let end = (at + cut).min(line.len());
        line.splice(at..end, piece.bytes());
        if let Err(error) = Request::decode(&line) {
            prop_assert!(!error.to_string().is_empty());
        }
    }
}

//! What is shown over the control socket, and which servers an operator's words mean.

use super::*;
use crate::model::control::{ServerReport, Trouble};
use crate::model::{AdminState, UnixTime};

impl World {
    fn seen(&self) -> Now {
        Now {
            instant: self.now,
            time: UnixTime::from_millis(1_800_000_000_000),
        }
    }

    fn why(&self, server: &str) -> Vec<ServerReport> {
        self.director.why(server, self.seen()).expect("it is known")
    }

    /// The reasons for one server of one pool.
    fn reasons(&self, server: &str) -> String {
        match &self.why(server)[..] {
            [one] => one.reasons.join("; "),
            several => panic!("{} pools", several.len()),
        }
    }
}

fn served(answers: &[(u8, Answer)], config: Config) -> World {
    let mut world = World::new();
    for (n, answer) in answers {
        world.answer(*n, *answer);
    }
    world.start(config);
    world.run_for(seconds(30));
    world
}

#[test]
fn a_server_says_why_it_is_where_it_is() {
    let mut backup = server(13);
    backup.tier = 1;
    let mut disabled = server(14);
    disabled.disabled = true;
    let mut unchecked = server(15);
    unchecked.checks.clear();
    unchecked.spec.weight = 0;
    let mut all = pool(200, &[11, 12]);
    all.real_servers.extend([backup, disabled, unchecked]);
    let mut world = served(&[(12, Answer::Refuses)], config(vec![all]));
    for (server, wanted) in [
        ("192.0.2.11", "check tcp passes"),
        ("192.0.2.12", "check tcp fails: connection refused"),
        (
            "192.0.2.13",
            "check tcp passes; it is in backup tier 1 and waits, for the pool serves",
        ),
        (
            "192.0.2.14",
            "the configuration has it disabled: it is not in the pool, and nobody probes it",
        ),
        (
            "192.0.2.15",
            "it has no check, so it is taken as up; its weight is 0 by the configuration, so it gets no new connections",
        ),
    ] {
        assert_eq!(world.reasons(server), wanted, "{server}");
    }
    world.set_weight(200, 11, Some(7));
    assert_eq!(
        world.reasons("192.0.2.11:80"),
        "check tcp passes; its weight is 7 by the operator, in place of 1 in the configuration"
    );
    world.set_state(200, 11, AdminState::Drain);
    assert!(
        world
            .reasons("pool-200/192.0.2.11")
            .starts_with("the operator drains it")
    );
    world.set_state(200, 11, AdminState::Maint);
    assert!(
        world
            .reasons("192.0.2.11")
            .starts_with("the operator has it in maintenance")
    );
    // The checks are heard all the same.
    let report = &world.why("192.0.2.11")[0];
    assert_eq!((report.state.as_str(), report.admin.as_str()), ("up", "maint"));
    assert_eq!(report.effective_weight, Some(0));
}

#[test]
fn a_check_shows_its_last_results_and_how_far_it_is_from_another_verdict() {
    let mut world = served(&[], config(vec![pool(200, &[11])]));
    world.answer(11, Answer::Refuses);
    let before = world.seen();
    while world.why("192.0.2.11")[0].checks[0].against == 0 {
        world.run_for(Duration::from_millis(100));
        assert!(world.now.since(before.instant) < seconds(10));
    }
    let check = world.why("192.0.2.11")[0].checks[0].clone();
    assert_eq!((check.state.as_str(), check.against, check.needed), ("up", 1, 3));
    assert_eq!(check.results.len(), 10);
    let outcomes: Vec<_> = check
        .results
        .iter()
        .rev()
        .take(2)
        .map(|result| result.outcome.as_str())
        .collect();
    assert_eq!(outcomes, ["failure", "success"]);
    assert!(check.results.is_sorted_by_key(|result| result.time));
    world.run_for(seconds(10));
    let report = world.why("192.0.2.11")[0].clone();
    assert_eq!(
        (report.state.as_str(), report.checks[0].state.as_str()),
        ("down", "down")
    );
    assert_eq!(report.since, report.checks[0].since);
    assert_eq!(report.kernel[0].weight, None);
}

#[test]
fn a_status_has_who_serves_and_what_the_kernel_holds() {
    let refuse = |n| (n, Answer::Refuses);
    let with_sorry = with_sorry(pool(200, &[11, 12]), 20);
    let world = served(
        &[refuse(11), refuse(12), refuse(13)],
        config(vec![with_sorry, pool(201, &[13, 14])]),
    );
    let status = world.director.status(None, world.seen()).expect("all pools");
    assert_eq!(status.len(), 2);
    assert_eq!(status[0].serving.as_deref(), Some("sorry server 192.0.2.20:80"));
    let sorry = status[0].sorry_server.as_ref().expect("a sorry server");
    assert_eq!((sorry.serving, sorry.kernel_weight), (true, Some(1)));
    assert_eq!(status[0].quorum, Some(false));
    assert_eq!(status[1].serving.as_deref(), Some("the pool"));
    let servers = &status[1].real_servers;
    assert_eq!((servers[0].state.as_str(), servers[0].kernel_weight), ("down", None));
    assert_eq!(servers[0].cause.as_deref(), Some("connection refused"));
    assert_eq!(
        (servers[1].effective_weight, servers[1].kernel_weight),
        (Some(1), Some(1))
    );
    let one = world
        .director
        .status(Some("pool-201"), world.seen())
        .expect("that pool");
    assert_eq!(one, status[1..]);
    let refused = world
        .director
        .status(Some("pool-2"), world.seen())
        .expect_err("no such pool");
    assert_eq!(refused.trouble, Trouble::UnknownVirtualServer);
    assert_eq!(refused.candidates, ["pool-200", "pool-201"]);
}

#[test]
fn words_mean_servers_in_all_pools_or_one_and_else_name_candidates() {
    let mut other_port = server(11);
    other_port.port = Some(8080);
    let mut third = pool(202, &[12]);
    third.real_servers.push(other_port);
    let world = served(
        &[],
        config(vec![pool(200, &[11]), with_sorry(pool(201, &[11, 12]), 20), third]),
    );
    let meant = |text: &str| -> Result<Vec<String>, (Trouble, Vec<String>)> {
        match world.director.select(text) {
            Ok(found) => Ok(found
                .iter()
                .map(|id| format!("{}/{}", id.virtual_server, id.server))
                .collect()),
            Err(refused) => Err((refused.trouble, refused.candidates)),
        }
    };
    let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
    let ok = |found: &[&str]| Ok(texts(found));
    let refused = |trouble: Trouble, candidates: &[&str]| Err((trouble, texts(candidates)));
    for (text, wanted) in [
        ("192.0.2.12", ok(&["pool-201/192.0.2.12:80", "pool-202/192.0.2.12:80"])),
        (
            "192.0.2.11:80",
            ok(&["pool-200/192.0.2.11:80", "pool-201/192.0.2.11:80"]),
        ),
        ("192.0.2.11:8080", ok(&["pool-202/192.0.2.11:8080"])),
        ("pool-202/192.0.2.11", ok(&["pool-202/192.0.2.11:8080"])),
        (
            "192.0.2.11",
            refused(Trouble::AmbiguousServer, &["192.0.2.11:80", "192.0.2.11:8080"]),
        ),
        (
            "pool-200/192.0.2.12",
            refused(
                Trouble::UnknownServer,
                &["pool-201/192.0.2.12:80", "pool-202/192.0.2.12:80"],
            ),
        ),
        (
            "pool-9/192.0.2.12",
            refused(Trouble::UnknownVirtualServer, &["pool-200", "pool-201", "pool-202"]),
        ),
        (
            "",
            refused(
                Trouble::UnknownServer,
                &["192.0.2.11:80", "192.0.2.11:8080", "192.0.2.12:80"],
            ),
        ),
        (
            "192.0.2.20",
            refused(
                Trouble::UnknownServer,
                &["192.0.2.11:80", "192.0.2.11:8080", "192.0.2.12:80"],
            ),
        ),
        (
            "[2001:db8::1]",
            refused(
                Trouble::UnknownServer,
                &["192.0.2.11:80", "192.0.2.11:8080", "192.0.2.12:80"],
            ),
        ),
    ] {
        assert_eq!(meant(text), wanted, "{text}");
    }
    let sorry = world.director.select("192.0.2.20").expect_err("a sorry server");
    assert!(
        sorry.message.contains("the sorry server of \"pool-201\""),
        "{}",
        sorry.message
    );
}

proptest! {
    #[test]
    fn no_words_panic(text in ".{0,40}", address in "[0-9.:/\\[\\]a-f]{0,30}") {
        let mut world = World::new();
        world.start(config(vec![pool(200, &[11])]));
        let _ = (world.director.select(&text), world.director.select(&address));
    }
}

//! `ipvsd apply` killed with SIGKILL at moments that nobody chose: traffic goes on, and the next one finds its way.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ipvsd_lab::Forwarding;

use crate::blow::{
    FILLERS, FOREIGN, SLOWLY, add_foreign_services, is_half_way, read_record, table, until_something_changes,
};
use crate::chance::{Times, measured, pause, seeded};
use crate::pool::{Servers, traffic};
use crate::site::{Family, IPVSD, Site, configure, ipvsd};
use crate::wanted::saved;

const CHECK: &str = "check = [{ type = \"tcp\", interval = \"300ms\", retry_interval = \"100ms\", timeout = \"2s\", \
                     rise = 2, fall = 2 }]";

#[test]
fn an_apply_killed_at_any_moment_is_completed_by_the_next() {
    const NAME: &str = "murder-apply";
    const ROUNDS: usize = 70;
    let mut chance = seeded(NAME, 12);
    let site = Site::build(NAME, Forwarding::Nat, Family::V4, 3, 1);
    let director = site.director();
    let vip = SocketAddr::new(site.vip(0), 80);
    let _servers = Servers::threads(&site, 3);
    add_foreign_services(director);
    let run_dir = director.directory().join("run");
    let run_dir_text = run_dir.display().to_string();
    let few = |chance: &mut fastrand::Rng| chance.u8(1..=4);
    let mut wanted = table(&site, &mut chance, (1000, FILLERS), few, CHECK);
    let file = configure(director, &wanted.configuration()).display().to_string();
    let apply = ["apply", "-c", &file, "--run-dir", &run_dir_text];
    let first = ipvsd(director, &apply);
    assert_eq!(first.code(), 0, "{}", first.stderr);
    site.client()
        .wait_for_answer(vip, "real-server-1", Duration::from_secs(5))
        .expect("traffic flows");
    let prober = traffic(&site, vip);
    let mut took = Times::default();
    let mut torn = 0;
    for round in 1..=ROUNDS {
        let before = saved(director);
        let first = 1000 + 50 * chance.u16(0..6);
        wanted = table(&site, &mut chance, (first, FILLERS), few, CHECK);
        configure(director, &wanted.configuration());
        let command: Vec<_> = [IPVSD].into_iter().chain(apply).collect();
        let mut process = if chance.bool() {
            let process = director.spawn(&command).expect("ipvsd starts");
            pause(&mut chance, Duration::from_millis(200));
            process
        } else {
            let command: Vec<_> = SLOWLY.into_iter().chain(command).collect();
            let process = director.spawn(&command).expect("strace starts");
            until_something_changes(director, Duration::from_secs(5));
            pause(&mut chance, Duration::from_millis(60));
            process
        };
        process.kill();
        read_record(&run_dir);
        torn += usize::from(is_half_way(director, &before, &wanted));
        // Half of the time nobody completes it before the next is killed too.
        if chance.bool() {
            continue;
        }
        let started = Instant::now();
        let applied = ipvsd(director, &apply);
        took.push(started.elapsed());
        assert_eq!(applied.code(), 0, "round {round}: {}", applied.stderr);
        let differences = wanted.differs(director, &FOREIGN);
        assert!(differences.is_empty(), "round {round}:\n{}", differences.join("\n"));
        let planned = ipvsd(director, &["plan", "-c", &file, "--run-dir", &run_dir_text]);
        assert_eq!((planned.code(), planned.stdout.as_str()), (0, ""), "round {round}");
        assert_eq!(read_record(&run_dir), wanted.services.len());
    }
    let report = prober.stop().expect("a report");
    measured(
        NAME,
        format_args!(
            "{ROUNDS} killed, {torn} times the table was half way; {} requests, {} failed",
            report.attempts.len(),
            report.failures().len()
        ),
    );
    measured(NAME, format_args!("an apply of {} services: {took}", FILLERS + 1));
    assert!(report.failures().is_empty(), "{report}");
    assert!(torn >= 10, "too few blows came in the midst of writing");
}

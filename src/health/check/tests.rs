//! The machine of one check: the table of its transitions, what holds of any row of results, and keepalived's times.

use proptest::prelude::*;

use super::*;
use crate::model::{Flap, IntervalFrom, Jitter, ProbeKind, ProbeSpec};

fn spec(initial: Initial) -> CheckSpec {
    CheckSpec {
        interval: Duration::from_secs(6),
        retry_interval: Duration::from_secs(3),
        down_interval: Duration::from_secs(20),
        initial,
        ..CheckSpec::new("tcp", ProbeSpec::new(ProbeKind::Tcp(Vec::new())))
    }
}

/// Runs results (`+` success, `-` failure) and writes the state after each: `u`nknown, `U`p, `D`own; a small
/// `r` behind it where the next probe comes after the retry interval, a `d` where it comes after the down interval.
fn run(spec: &CheckSpec, results: &str) -> String {
    let mut check = Check::new(spec.initial);
    let mut seen = String::new();
    for result in results.chars() {
        seen.push(match check.observe(result == '+', spec, Instant::START) {
            CheckState::Unknown => 'u',
            CheckState::Up => 'U',
            CheckState::Down => 'D',
        });
        match check.next_interval(spec, 0) {
            interval if interval == spec.retry_interval => seen.push('r'),
            interval if interval == spec.down_interval => seen.push('d'),
            interval => assert_eq!(interval, spec.interval),
        }
    }
    seen
}

#[test]
fn the_transition_table_holds() {
    let cases = [
        (Initial::FirstResult, "+", "U"),
        (Initial::FirstResult, "-", "Dd"),
        (Initial::FirstResult, "+---", "UUrUrDd"),
        (Initial::FirstResult, "+--+---", "UUrUrUUrUrDd"),
        (Initial::FirstResult, "-++", "DdDrU"),
        (Initial::FirstResult, "-+-++", "DdDrDdDrU"),
        (Initial::Up, "+", "U"),
        (Initial::Up, "-", "Dd"),
        (Initial::Up, "+--", "UUrUr"),
        (Initial::Down, "++", "urU"),
        (Initial::Down, "+-++", "urDdDrU"),
        (Initial::Down, "-+", "DdDr"),
        (Initial::Down, "++---", "urUUrUrDd"),
    ];
    for (initial, results, wanted) in cases {
        assert_eq!(run(&spec(initial), results), wanted, "{initial:?} {results}");
    }
}

#[test]
fn a_server_that_was_never_up_needs_first_fall_failures() {
    let spec = |initial| CheckSpec {
        first_fall: 2,
        ..spec(initial)
    };
    let cases = [
        (Initial::FirstResult, "--", "urDd"),
        (Initial::FirstResult, "-+--", "urUUrUr"),
        (Initial::Up, "--", "UrDd"),
        // A success in between starts the count anew, and once it was seen up `fall` counts.
        (Initial::Up, "-+---", "UrUUrUrDd"),
        (Initial::Down, "-+--", "urururDd"),
        (Initial::Down, "+-++", "urururU"),
    ];
    for (initial, results, wanted) in cases {
        assert_eq!(run(&spec(initial), results), wanted, "{initial:?} {results}");
    }
}

#[test]
fn a_replaced_check_keeps_its_verdict_and_forgets_its_count() {
    let spec = spec(Initial::FirstResult);
    let mut up = Check::carrying_on(CheckState::Up, spec.initial);
    assert_eq!(up.observe(false, &spec, Instant::START), CheckState::Up);
    let mut down = Check::carrying_on(CheckState::Down, spec.initial);
    assert_eq!(down.observe(true, &spec, Instant::START), CheckState::Down);
    assert_eq!(
        Check::carrying_on(CheckState::Unknown, Initial::Up),
        Check::new(Initial::Up)
    );
}

#[test]
fn jitter_is_to_both_sides_and_never_while_a_verdict_is_being_reached() {
    let spec = CheckSpec {
        jitter: Jitter::Percent(10),
        ..spec(Initial::Up)
    };
    let mut check = Check::carrying_on(CheckState::Up, spec.initial);
    let seconds = |random| check.next_interval(&spec, random).as_secs_f64();
    assert_eq!(seconds(0), 5.4);
    assert_eq!(seconds(1 << 63), 6.0);
    assert!((6.59..6.6).contains(&seconds(u64::MAX)));
    check.observe(false, &spec, Instant::START);
    assert_eq!(check.next_interval(&spec, 0), spec.retry_interval);
    let longer = CheckSpec {
        jitter: Jitter::Time(Duration::from_secs(7)),
        ..spec
    };
    let check = Check::carrying_on(CheckState::Up, longer.initial);
    assert_eq!(check.next_interval(&longer, 0), Duration::ZERO);
}

#[test]
fn a_check_that_flaps_is_held_down_until_the_first_probe_after_the_hold() {
    let spec = CheckSpec {
        rise: 1,
        fall: 1,
        flap: Some(Flap {
            changes: 3,
            within: Duration::from_secs(100),
            hold_down: Duration::from_secs(60),
            longest: Duration::from_secs(600),
        }),
        ..spec(Initial::FirstResult)
    };
    let mut check = Check::new(spec.initial);
    let mut seen = String::new();
    // Every ten seconds; the first verdict is no change.
    for (number, result) in "+-+-++++++++".chars().enumerate() {
        let now = Instant::after_start(Duration::from_secs(number as u64 * 10));
        let state = check.observe(result == '+', &spec, now);
        seen.push(if state == CheckState::Up { 'U' } else { 'D' });
        assert_eq!(check.held_until().is_some(), (3..9).contains(&number), "{number}");
    }
    assert_eq!(seen, "UDUDDDDDDUUU");
}

fn any_initial() -> impl Strategy<Value = Initial> {
    prop_oneof![Just(Initial::Up), Just(Initial::Down), Just(Initial::FirstResult)]
}

/// The machine of keepalived's checkers, as its behaviour is described: a model, to hold ours against.
struct Keepalived {
    delay_loop: Duration,
    retry: u32,
    delay_before_retry: Duration,
    is_up: bool,
    retries: u32,
}

impl Keepalived {
    /// With `alpha` a server starts down. The first failure of all is enough, however many retries there are.
    fn new(delay_loop: Duration, retry: u32, delay_before_retry: Duration, alpha: bool) -> Self {
        Self {
            delay_loop,
            retry,
            delay_before_retry,
            is_up: !alpha,
            retries: retry,
        }
    }

    /// Takes a result in; answers with the time to the start of the next probe, from the end of this one.
    fn observe(&mut self, success: bool) -> Duration {
        if !success && self.is_up && self.retries < self.retry {
            self.retries += 1;
            return self.delay_before_retry;
        }
        (self.is_up, self.retries) = (success, 0);
        self.delay_loop
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Probes of any length with any result: the same starts, to the nanosecond, and the same verdicts.
    #[test]
    fn settings_that_say_what_keepalived_is_told_give_its_times_and_verdicts(
        results in prop::collection::vec((any::<bool>(), 0u64..5000), 1..60),
        delay_loop in 10u64..20_000, retry in 0u32..6, delay_before_retry in 10u64..20_000, alpha: bool, random: u64,
    ) {
        let (delay_loop, delay_before_retry) = (Duration::from_millis(delay_loop), Duration::from_millis(delay_before_retry));
        let mut theirs = Keepalived::new(delay_loop, retry, delay_before_retry, alpha);
        let spec = CheckSpec {
            interval: delay_loop,
            down_interval: delay_loop,
            retry_interval: delay_before_retry,
            interval_from: IntervalFrom::End,
            rise: 1,
            fall: retry + 1,
            first_fall: 1,
            initial: if alpha { Initial::Down } else { Initial::Up },
            ..spec(Initial::Up)
        };
        let mut ours = Check::new(spec.initial);
        let (mut their_time, mut our_time) = (Duration::ZERO, Duration::ZERO);
        for (success, takes) in results {
            let takes = Duration::from_millis(takes);
            their_time += takes + theirs.observe(success);
            ours.observe(success, &spec, Instant::START);
            our_time += takes + ours.next_interval(&spec, random);
            prop_assert_eq!(our_time, their_time);
            prop_assert_eq!(ours.state() == CheckState::Up, theirs.is_up);
        }
    }

    /// Every change comes with the last of exactly as many results in a row as it needs, and not without it.
    #[test]
    fn a_verdict_needs_exactly_as_many_results_in_a_row_as_it_is_told(
        results: Vec<bool>, rise in 1u32..5, fall in 1u32..5, first_fall in 1u32..5, initial in any_initial(),
    ) {
        let spec = CheckSpec { rise, fall, first_fall, ..spec(initial) };
        let mut check = Check::new(initial);
        let (mut seen_up, mut row, mut last) = (false, 0, None);
        for success in results {
            row = if last == Some(success) { row + 1 } else { 1 };
            last = Some(success);
            let before = check.state();
            let after = check.observe(success, &spec, Instant::START);
            let needed = match (before, success) {
                (CheckState::Down, true) => rise,
                (CheckState::Unknown, true) if initial == Initial::Down => rise,
                (_, true) => 1,
                (_, false) if seen_up => fall,
                (_, false) => first_fall,
            };
            let wanted = match (before, success) {
                (CheckState::Up, true) | (CheckState::Down, false) => before,
                _ if row >= needed => if success { CheckState::Up } else { CheckState::Down },
                _ => before,
            };
            prop_assert_eq!(after, wanted);
            // More in a row than needed would have been a change before.
            prop_assert!(after == before || row == needed);
            seen_up |= success && after == CheckState::Up;
        }
    }

    #[test]
    fn an_interval_stays_within_its_jitter(percent in 0u8..=100, interval in 1u64..100_000, random: u64) {
        let interval = Duration::from_millis(interval);
        let spec = CheckSpec { interval, jitter: Jitter::Percent(percent), ..spec(Initial::Up) };
        let found = Check::carrying_on(CheckState::Up, spec.initial).next_interval(&spec, random);
        prop_assert!(found.abs_diff(interval) <= interval * u32::from(percent) / 100);
    }
}

proptest! {
    /// What is kept of a check is all there is to it.
    #[test]
    fn a_successor_of_a_check_is_the_same_check(
        results in prop::collection::vec((any::<bool>(), 0_u64..200_000), 0..40),
        initial in prop_oneof![Just(Initial::Up), Just(Initial::Down), Just(Initial::FirstResult)],
        flaps: bool,
    ) {
        let flap = Flap {
            changes: 2,
            within: Duration::from_secs(200),
            hold_down: Duration::from_secs(60),
            longest: Duration::from_secs(600),
        };
        let spec = CheckSpec { flap: flaps.then_some(flap), ..spec(initial) };
        let (mut check, mut now) = (Check::new(initial), Instant::START);
        for (success, pause) in results {
            now = now + Duration::from_millis(pause);
            check.observe(success, &spec, now);
        }
        let snapshot = check.snapshot(now);
        prop_assert_eq!(Check::restored(&snapshot, &spec, now, true), check.clone());
        // After a pause it is still the same but for the row of results, and no verdict is due without a probe.
        let later = Check::restored(&snapshot, &spec, now, false);
        prop_assert_eq!((later.state(), later.against), (check.state(), 0));
    }
}

//! What has happened of late: the last results of every check, and one ring of events for all.
//!
//! Pure and bounded: a check keeps [`RESULTS`] results of some tens of bytes, the ring [`EVENTS`] events.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::model::control::EventRecord;
use crate::model::{Instant, ProbeFound, ProbeOutcome, ProbeResult, ResultSnapshot};

/// How many results of a check are kept.
pub(super) const RESULTS: usize = 10;

/// How many events are kept.
pub const EVENTS: usize = 4096;

/// The longest cause that is kept, in bytes.
const LONGEST_CAUSE: usize = 160;

/// One result, packed: there are ten of them for each of ten thousand servers.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    /// [`Instant::to_millis`].
    at: u64,
    /// Microseconds, at most some 70 minutes.
    latency: u32,
    pub(super) found: ProbeFound,
    pub(super) cause: Option<Arc<str>>,
}

impl Kept {
    pub(super) fn at(&self) -> Instant {
        Instant::from_millis(self.at)
    }

    pub(super) fn latency(&self) -> Duration {
        Duration::from_micros(u64::from(self.latency))
    }
}

/// The last results of one check, and when its state changed.
#[derive(Debug, Clone)]
pub(super) struct History {
    /// In the order they came until it is full; then `next` is the oldest.
    results: Vec<Kept>,
    next: u8,
    pub(super) since: Instant,
}

impl History {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            results: Vec::new(),
            next: 0,
            since: now,
        }
    }

    /// What an earlier process has kept, the ages told from `taken`.
    pub(super) fn restored(results: &[ResultSnapshot], since: Instant, taken: Instant) -> Self {
        let mut history = Self::new(since);
        for ResultSnapshot(age, latency, found, cause) in &results[results.len().saturating_sub(RESULTS)..] {
            let kept = Kept {
                at: taken.before_millis(*age).to_millis(),
                latency: *latency,
                found: *found,
                cause: cause.as_deref().map(|cause| history.shared(cause)),
            };
            history.push(kept);
        }
        history
    }

    /// The results with their ages.
    pub(super) fn snapshot(&self, now: Instant) -> Vec<ResultSnapshot> {
        let one = |kept: &Kept| {
            let cause = kept.cause.as_deref().map(str::to_owned);
            ResultSnapshot(now.age_of(kept.at()), kept.latency, kept.found, cause)
        };
        self.results().map(one).collect()
    }

    /// Keeps a result; `local` is trouble of this host that the result itself does not show.
    pub(super) fn keep(&mut self, result: &ProbeResult, now: Instant) {
        let (found, cause) = match &result.outcome {
            ProbeOutcome::Success => (ProbeFound::Success, None),
            ProbeOutcome::Failure(cause) => (ProbeFound::Failure, Some(cause.to_string())),
            ProbeOutcome::Drain(cause) => (ProbeFound::Drain, Some(cause.to_string())),
            ProbeOutcome::NoVerdict(cause) => (ProbeFound::NoVerdict, Some(cause.to_string())),
            ProbeOutcome::Local(trouble) => (ProbeFound::LocalTrouble, Some(trouble.to_string())),
        };
        let kept = Kept {
            at: now.to_millis(),
            latency: u32::try_from(result.latency.as_micros()).unwrap_or(u32::MAX),
            found,
            cause: cause.map(|cause| self.shared(&cause)),
        };
        self.push(kept);
    }

    fn push(&mut self, kept: Kept) {
        if self.results.len() < RESULTS {
            if self.results.capacity() == 0 {
                self.results.reserve_exact(RESULTS);
            }
            self.results.push(kept);
        } else {
            self.results[usize::from(self.next)] = kept;
            self.next = (self.next + 1) % RESULTS as u8;
        }
    }

    /// The cause as it is kept: cut, and one with the result that has the same.
    fn shared(&self, cause: &str) -> Arc<str> {
        let cause = cut(cause);
        let same = self.results.iter().filter_map(|kept| kept.cause.as_ref());
        same.into_iter()
            .find(|kept| ***kept == *cause)
            .map_or_else(|| Arc::from(cause), Arc::clone)
    }

    /// The results, the oldest first.
    pub(super) fn results(&self) -> impl DoubleEndedIterator<Item = &Kept> {
        let (newer, older) = self.results.split_at(usize::from(self.next));
        older.iter().chain(newer)
    }

    /// Why a probe last failed, among the results that are kept.
    pub(super) fn last_failure(&self) -> Option<&Kept> {
        self.results()
            .rev()
            .find(|kept| matches!(kept.found, ProbeFound::Failure | ProbeFound::Drain))
    }
}

/// The front of a text, at most [`LONGEST_CAUSE`] bytes.
fn cut(text: &str) -> &str {
    let mut end = text.len().min(LONGEST_CAUSE);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// The last events of all pools, numbered without a gap.
#[derive(Debug, Default)]
pub struct EventRing {
    kept: VecDeque<Arc<EventRecord>>,
    last: u64,
}

impl EventRing {
    /// Takes an event in and numbers it; the oldest goes where there are too many.
    pub fn push(&mut self, mut event: EventRecord) -> Arc<EventRecord> {
        self.last += 1;
        event.number = self.last;
        if self.kept.len() == EVENTS {
            self.kept.pop_front();
        }
        let event = Arc::new(event);
        self.kept.push_back(Arc::clone(&event));
        event
    }

    /// The number of the last event; 0 before the first.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// The number of the first of the last `count` events that are kept.
    pub fn first_of_last(&self, count: Option<u32>) -> u64 {
        let kept = self.kept.len() as u64;
        let count = count.map_or(kept, |count| kept.min(u64::from(count)));
        self.last - count + 1
    }

    /// At most `most` events from this number on; those that are no longer kept are passed over.
    pub fn from(&self, number: u64, most: usize) -> impl Iterator<Item = &Arc<EventRecord>> {
        let first = self.last - self.kept.len() as u64 + 1;
        let skip = usize::try_from(number.saturating_sub(first)).unwrap_or(usize::MAX);
        self.kept.iter().skip(skip).take(most)
    }

    /// The last `most` events about a server of a pool, the oldest first.
    pub fn about(&self, virtual_server: &str, server: &str, most: usize) -> Vec<EventRecord> {
        let is_about = |event: &&Arc<EventRecord>| {
            event.virtual_server.as_deref() == Some(virtual_server) && event.server.as_deref() == Some(server)
        };
        let mut found: Vec<_> = self
            .kept
            .iter()
            .rev()
            .filter(is_about)
            .take(most)
            .map(|event| (**event).clone())
            .collect();
        found.reverse();
        found
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::control::{EventKind, Level};
    use crate::model::{Excerpt, FailureCause, LocalTrouble, UnixTime};

    fn result(outcome: ProbeOutcome, millis: u64) -> ProbeResult {
        ProbeResult {
            latency: Duration::from_millis(millis),
            ..outcome.into()
        }
    }

    fn at(seconds: u64) -> Instant {
        Instant::after_start(Duration::from_secs(seconds))
    }

    #[test]
    fn the_last_ten_results_are_kept_in_order() {
        let mut history = History::new(at(0));
        assert_eq!(history.results().count(), 0);
        for number in 0..25 {
            let outcome = match number % 3 {
                0 => ProbeOutcome::Success,
                1 => ProbeOutcome::Failure(FailureCause::Refused),
                _ => ProbeOutcome::Local(LocalTrouble::Memory),
            };
            history.keep(&result(outcome, number), at(number));
            let kept: Vec<_> = history.results().map(Kept::at).collect();
            let wanted: Vec<_> = (number.saturating_sub(9)..=number).map(at).collect();
            assert_eq!(kept, wanted);
        }
        let last = history.last_failure().expect("a failure");
        assert_eq!((last.at(), last.cause.as_deref()), (at(22), Some("connection refused")));
        assert_eq!(last.latency(), Duration::from_millis(22));
    }

    #[test]
    fn a_cause_that_repeats_is_kept_once() {
        let mut history = History::new(at(0));
        for number in 0..10 {
            history.keep(&result(ProbeOutcome::Failure(FailureCause::Refused), 1), at(number));
        }
        let first = history
            .results()
            .next()
            .and_then(|kept| kept.cause.clone())
            .expect("a cause");
        assert_eq!(Arc::strong_count(&first), 11);
    }

    #[test]
    fn ten_thousand_checks_with_the_longest_causes_stay_small() {
        assert!(size_of::<Kept>() <= 32 && size_of::<History>() <= 56);
        let mut history = History::new(at(0));
        let long = |number: u8| {
            let wanted = Excerpt::of([b'\x07'; 300]);
            let got = Excerpt::of([number; 300]);
            FailureCause::Unexpected {
                what: "answer",
                wanted,
                got,
            }
        };
        for number in 0..100 {
            history.keep(&result(ProbeOutcome::Failure(long(number)), 1), at(1));
        }
        let causes: usize = history
            .results()
            .filter_map(|kept| kept.cause.as_ref())
            .map(|cause| cause.len())
            .sum();
        assert!(causes <= RESULTS * LONGEST_CAUSE);
        assert_eq!(history.results.capacity(), RESULTS);
    }

    #[test]
    fn a_cut_never_splits_a_character() {
        assert_eq!(cut(&"é".repeat(100)).len(), LONGEST_CAUSE);
        assert_eq!(cut(&format!("x{}", "é".repeat(100))).len(), LONGEST_CAUSE - 1);
    }

    fn event(server: &str) -> EventRecord {
        EventRecord {
            virtual_server: Some("web".to_owned()),
            server: Some(server.to_owned()),
            ..EventRecord::new(UnixTime::default(), EventKind::Server, Level::Info, String::new())
        }
    }

    proptest! {
        #[test]
        fn the_ring_has_the_last_events_without_a_gap(count in 0..3 * EVENTS as u64, from in 0..4 * EVENTS as u64, last: Option<u16>) {
            let mut ring = EventRing::default();
            for _ in 0..count {
                ring.push(event("a"));
            }
            let first = count - count.min(EVENTS as u64) + 1;
            let numbers: Vec<_> = ring.from(from, 100).map(|event| event.number).collect();
            let wanted: Vec<_> = (from.max(first)..=count).take(100).collect();
            prop_assert_eq!(numbers, wanted);
            let start = ring.first_of_last(last.map(u32::from));
            prop_assert!(start >= first && start <= count + 1);
            prop_assert_eq!(count + 1 - start, count.min(EVENTS as u64).min(last.map_or(u64::MAX, u64::from)));
        }
    }

    #[test]
    fn events_about_a_server_are_its_last_ones() {
        let mut ring = EventRing::default();
        for number in 0..20 {
            ring.push(event(if number % 2 == 0 { "a" } else { "b" }));
        }
        let numbers: Vec<_> = ring.about("web", "a", 3).iter().map(|event| event.number).collect();
        assert_eq!(numbers, [15, 17, 19]);
        assert!(ring.about("mail", "a", 3).is_empty());
    }
}

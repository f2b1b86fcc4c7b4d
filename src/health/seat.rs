//! A member's seat in its pool: what counts for it, and what its pool remembers of it.

use std::time::Duration;

use super::Standing;
use crate::model::{Instant, SeatSnapshot, ServerState};

/// In how many steps a server comes to its full weight.
pub(super) const STEPS: u32 = 10;

/// One member as its pool sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seat {
    /// What counts for it.
    pub standing: Standing,
    /// Whether it takes new connections by the last look; `None` before the first one.
    inside: Option<bool>,
    /// It failed and stays in, for too few others would remain.
    kept: bool,
    /// It was down, by a verdict or in maintenance, since it last served.
    was_down: bool,
    /// When it came back, while it is on its way to its full weight.
    came_back: Option<Instant>,
    /// How many tenths of its weight it has.
    tenths: u32,
}

impl Seat {
    /// The seat of a member that nobody has looked at yet.
    pub fn new(standing: Standing) -> Self {
        Self {
            standing,
            inside: None,
            kept: false,
            was_down: false,
            came_back: None,
            tenths: STEPS,
        }
    }

    /// What it remembers, for its successor.
    pub fn snapshot(&self, now: Instant) -> SeatSnapshot {
        SeatSnapshot {
            inside: self.inside,
            was_down: self.was_down,
            came_back: self.came_back.map(|at| now.age_of(at)),
        }
    }

    /// The successor of the seat that a snapshot was made of, at `taken`.
    pub fn restored(snapshot: &SeatSnapshot, standing: Standing, taken: Instant) -> Self {
        Self {
            inside: snapshot.inside,
            was_down: snapshot.was_down,
            came_back: snapshot.came_back.map(|age| taken.before_millis(age)),
            ..Self::new(standing)
        }
    }

    /// The state that its pool goes by: up while it is kept in.
    pub(super) fn counts_as(&self) -> ServerState {
        match self.kept {
            true => ServerState::Up,
            false => self.standing.state,
        }
    }

    /// Whether it took new connections by the last look.
    pub(super) fn is_inside(&self) -> bool {
        self.inside.unwrap_or(false)
    }

    /// Whether it failed and stays in, for too few others would remain.
    pub fn is_kept(&self) -> bool {
        self.kept
    }

    /// How many tenths of its weight it has; below 10 only after a failure, with `slow_start`.
    pub fn tenths(&self) -> u32 {
        self.tenths
    }

    pub(super) fn keep(&mut self, kept: bool) {
        self.kept = kept;
    }

    /// Notes whether it was found in the table, and when it comes back from a failure.
    pub(super) fn arrive(&mut self, found: impl FnOnce() -> bool, slow_start: Option<Duration>, now: Instant) {
        let inside = *self.inside.get_or_insert_with(found);
        match self.standing.state {
            ServerState::Down => {
                self.was_down = true;
                self.came_back = None;
            }
            ServerState::Up => {
                // Who was kept in never had to be spared.
                if std::mem::take(&mut self.was_down) && !inside && slow_start.is_some() {
                    self.came_back = Some(now);
                }
            }
            ServerState::Unknown => {}
        }
    }

    /// Notes whether it is in now, and how much of its weight it has.
    pub(super) fn settle(&mut self, inside: bool, slow_start: Option<Duration>, now: Instant) {
        self.inside = Some(inside);
        self.tenths = STEPS;
        let (Some(came_back), Some(slow_start)) = (self.came_back, slow_start) else {
            self.came_back = None;
            return;
        };
        let elapsed = now.since(came_back);
        if elapsed >= slow_start {
            self.came_back = None;
            return;
        }
        let done = elapsed.as_nanos() * u128::from(STEPS) / slow_start.as_nanos().max(1);
        self.tenths = u32::try_from(done).unwrap_or(STEPS).clamp(1, STEPS);
    }

    /// When it gets its next tenth.
    pub(super) fn next_step(&self, slow_start: Duration, now: Instant) -> Option<Instant> {
        let came_back = self.came_back?;
        let elapsed = now.since(came_back);
        let done = elapsed.as_nanos() * u128::from(STEPS) / slow_start.as_nanos().max(1);
        let next = u32::try_from(done).unwrap_or(STEPS).max(1) + 1;
        // Rounded up, so that the step is due when the time comes.
        Some(came_back + slow_start * next.min(STEPS) / STEPS + Duration::from_nanos(1))
    }
}

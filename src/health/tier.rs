//! One pool: which tier of it serves.
//!
//! Quorum and hysteresis are keepalived's: with S the sum of the weights of a tier's servers that are up, the quorum is
//! gained with S >= quorum + hysteresis and lost with S = 0 or S < quorum - hysteresis. What keepalived has for a pool
//! and its sorry server holds here for each tier and the next.

use std::collections::BTreeMap;
use std::time::Duration;

use super::seat::Seat;
use crate::model::{AdminState, Instant, ReturnMode, ServerState, Tier, TierSnapshot, VirtualServer};

/// What is to be told of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolNews {
    /// Another tier serves.
    Tier {
        /// Before; `None` at first.
        from: Option<Tier>,
        /// Now.
        to: Tier,
        /// How long the one before had served.
        lasted: Duration,
    },
    /// A better tier could serve again, and is not gone back to.
    ReturnAwaited {
        /// The better one.
        better: Tier,
        /// How long until it is gone back to; `None` for until the operator says so.
        after: Option<Duration>,
    },
    /// The quorum was gained or lost; also told when it is known for the first time.
    Quorum {
        /// Gained.
        held: bool,
        /// The weights of those who are up, in the best tier that counts.
        weight: u64,
        /// What the first tier needs.
        needed: u64,
    },
    /// Too few servers would remain, so those that failed last stay in.
    PanicBegan {
        /// How many are up.
        up: usize,
        /// Of how many.
        of: usize,
    },
    /// Enough servers are up again, or nobody is left to be kept in.
    PanicEnded,
}

/// What the kernel's table says of a pool's members: who has a weight there.
#[derive(Clone, Copy)]
pub struct Found<'a> {
    /// Whether the member at this place in the configuration has a weight in any of the pool's services.
    pub member: &'a dyn Fn(usize) -> bool,
    /// Whether the sorry server has.
    pub sorry: bool,
}

/// What a pool remembers from one look to the next.
#[derive(Debug, Clone, Default)]
pub struct Pool {
    /// Whether a tier has its quorum, where that was ever decided.
    quorum: BTreeMap<u32, bool>,
    /// What was told of the pool's quorum.
    held: Option<bool>,
    serving: Option<Tier>,
    /// It was chosen while better servers had no verdict, so going back from it is no return.
    tentative: bool,
    told: Option<Tier>,
    since: Instant,
    /// Since when a better tier could serve.
    better: Option<(Tier, Instant)>,
    panicking: bool,
    now_serving: Option<Tier>,
}

/// How one tier stands.
struct Count {
    up: u64,
    /// Its quorum is certain, by verdicts.
    certain: bool,
    /// It may have its quorum, thanks to servers without a verdict that serve as the table has it.
    possible: bool,
    needed: u64,
    undecided: bool,
}

impl Pool {
    /// What serves by the last look.
    pub fn tier(&self) -> Tier {
        self.now_serving.unwrap_or(Tier::Pending)
    }

    /// Since when that serves, or was decided on last.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// Whether too few servers are up and the failed ones are kept in.
    pub fn is_panicking(&self) -> bool {
        self.panicking
    }

    /// Whether the pool has its quorum; `None` before that is known.
    pub fn has_quorum(&self) -> Option<bool> {
        self.held
    }

    /// Whether a tier serves that is as good as this one, by what was decided last; `None` before anything was. Where
    /// nothing is known for the moment, or a choice waits for first verdicts, the one before counts.
    pub fn serves_from(&self, tier: u32) -> Option<bool> {
        Some(match self.told? {
            Tier::Servers(serving) => serving <= tier,
            Tier::Pending | Tier::Sorry | Tier::Nobody => false,
        })
    }

    /// The better tier that could serve again while this one is kept.
    pub fn awaited(&self) -> Option<Tier> {
        self.better.map(|(tier, _)| tier)
    }

    /// What it remembers, for its successor.
    pub fn snapshot(&self, now: Instant) -> TierSnapshot {
        TierSnapshot {
            quorum: self.quorum.clone(),
            held: self.held,
            serving: self.serving,
            tentative: self.tentative,
            told: self.told,
            since: now.age_of(self.since),
            better: self.better.map(|(tier, since)| (tier, now.age_of(since))),
            panicking: self.panicking,
        }
    }

    /// The successor of the pool that a snapshot was made of, at `taken`. A tier that the configuration no longer has
    /// was never there.
    pub fn restored(snapshot: &TierSnapshot, pool: &VirtualServer, taken: Instant) -> Self {
        let is_there = |tier: &Tier| match tier {
            Tier::Servers(tier) => pool.real_servers.iter().any(|server| server.tier == *tier),
            Tier::Sorry => pool.sorry_server.is_some(),
            Tier::Nobody => true,
            Tier::Pending => false,
        };
        Self {
            quorum: snapshot.quorum.clone(),
            held: snapshot.held,
            serving: snapshot.serving.filter(is_there),
            tentative: snapshot.tentative,
            told: snapshot.told.filter(is_there),
            since: taken.before_millis(snapshot.since),
            better: snapshot
                .better
                .filter(|(tier, _)| is_there(tier))
                .map(|(tier, since)| (tier, taken.before_millis(since))),
            panicking: snapshot.panicking,
            now_serving: None,
        }
    }

    /// Looks at the pool anew; answers with what is to be told. `ordered_back`: the operator wants it back at its best
    /// tier.
    pub fn look(
        &mut self,
        pool: &VirtualServer,
        seats: &mut [Seat],
        found: Found<'_>,
        ordered_back: bool,
        now: Instant,
    ) -> Vec<PoolNews> {
        let mut news = Vec::new();
        for (index, seat) in seats.iter_mut().enumerate() {
            seat.arrive(|| (found.member)(index), pool.policy.slow_start, now);
        }
        self.panic(pool, seats, &mut news);
        let counts = self.count(pool, seats, found);
        self.tell_quorum(&counts, &mut news);
        let best = best(pool, &counts);
        if best != Tier::Pending {
            self.choose(pool, best, &counts, found, ordered_back, now, &mut news);
        }
        self.now_serving = Some(if best == Tier::Pending {
            best
        } else {
            self.serving.unwrap_or(best)
        });
        for (index, (server, seat)) in pool.real_servers.iter().zip(seats.iter_mut()).enumerate() {
            let inside = !server.disabled
                && match (self.tier(), seat.counts_as()) {
                    (Tier::Pending, ServerState::Up) | (_, ServerState::Unknown) => (found.member)(index),
                    (Tier::Servers(tier), ServerState::Up) => server.tier == tier && seat.standing.weight > 0,
                    (Tier::Pending, ServerState::Down)
                    | (Tier::Servers(_), ServerState::Down)
                    | (Tier::Sorry | Tier::Nobody, ServerState::Up | ServerState::Down) => false,
                };
            seat.settle(inside, pool.policy.slow_start, now);
        }
        news
    }

    /// When the pool has to be looked at although nothing happens.
    pub fn next_look(&self, pool: &VirtualServer, seats: &[Seat], now: Instant) -> Option<Instant> {
        let back = match (pool.policy.return_mode, self.better) {
            (ReturnMode::Delayed(after), Some((_, since))) => Some(since + after),
            (ReturnMode::Auto | ReturnMode::Manual | ReturnMode::Delayed(_), _) => None,
        };
        let ramps = pool
            .policy
            .slow_start
            .and_then(|slow_start| seats.iter().filter_map(|seat| seat.next_step(slow_start, now)).min());
        back.into_iter().chain(ramps).min()
    }

    /// Where too few of the serving tier's servers would remain, those stay in that are in.
    fn panic(&mut self, pool: &VirtualServer, seats: &mut [Seat], news: &mut Vec<PoolNews>) {
        let threshold = pool.policy.panic_threshold as usize;
        let counts = |server: &crate::model::RealServer, seat: &Seat| {
            !server.disabled && seat.standing.admin == AdminState::Ready && seat.standing.weight > 0
        };
        let members = || pool.real_servers.iter().zip(seats.iter());
        let tier = match self.serving {
            Some(Tier::Servers(tier)) => Some(tier),
            Some(Tier::Sorry | Tier::Nobody | Tier::Pending) => None,
            None => members()
                .filter(|(server, seat)| counts(server, seat) && seat.is_inside())
                .map(|(server, _)| server.tier)
                .min(),
        };
        let of_tier = || members().filter(|(server, seat)| Some(server.tier) == tier && counts(server, seat));
        let of = of_tier().count();
        let remains = |seat: &Seat| match seat.standing.state {
            ServerState::Up => true,
            ServerState::Unknown => seat.is_inside(),
            ServerState::Down => false,
        };
        let up = of_tier().filter(|(_, seat)| remains(seat)).count();
        let too_few = up * 100 < threshold * of;
        let mut keeps = false;
        for (server, seat) in pool.real_servers.iter().zip(seats.iter_mut()) {
            let keep = too_few
                && Some(server.tier) == tier
                && counts(server, seat)
                && seat.standing.state == ServerState::Down
                && seat.is_inside();
            seat.keep(keep);
            keeps |= keep;
        }
        if keeps != self.panicking {
            self.panicking = keeps;
            news.push(match keeps {
                true => PoolNews::PanicBegan { up, of },
                false => PoolNews::PanicEnded,
            });
        }
    }

    fn count(&mut self, pool: &VirtualServer, seats: &[Seat], found: Found<'_>) -> BTreeMap<u32, Count> {
        struct Sums {
            total: u64,
            up: u64,
            as_found: u64,
            inside: bool,
            undecided: bool,
        }
        let mut sums: BTreeMap<u32, Sums> = BTreeMap::new();
        for (index, (server, seat)) in pool.real_servers.iter().zip(seats).enumerate() {
            if server.disabled {
                continue;
            }
            let sum = sums.entry(server.tier).or_insert(Sums {
                total: 0,
                up: 0,
                as_found: 0,
                inside: false,
                undecided: false,
            });
            sum.total += u64::from(server.spec.weight);
            sum.inside |= seat.is_inside();
            let weight = u64::from(seat.standing.weight);
            match seat.counts_as() {
                ServerState::Up => sum.up += weight,
                ServerState::Unknown if weight > 0 => {
                    sum.undecided = true;
                    if (found.member)(index) {
                        sum.as_found += weight;
                    }
                }
                ServerState::Unknown | ServerState::Down => {}
            }
        }
        self.quorum.retain(|tier, _| sums.contains_key(tier));
        let mut counts = BTreeMap::new();
        for (tier, sum) in sums {
            let quorum = u64::from(pool.policy.quorum).min(sum.total).max(1);
            let hysteresis = u64::from(pool.policy.hysteresis).min(quorum - 1);
            // A tier that serves as found has its quorum until verdicts say otherwise: a restart is no reason to lose it.
            let had = self.quorum.get(&tier).copied().unwrap_or(sum.inside);
            let holds = |weight: u64| match had {
                true => weight > 0 && weight >= quorum - hysteresis,
                false => weight >= quorum + hysteresis,
            };
            let (certain, possible) = (holds(sum.up), holds(sum.up + sum.as_found));
            if certain || !possible {
                self.quorum.insert(tier, certain);
            }
            let count = Count {
                up: sum.up,
                certain,
                possible,
                needed: quorum,
                undecided: sum.undecided,
            };
            counts.insert(tier, count);
        }
        counts
    }

    /// The pool has its quorum while a tier of its real servers has.
    fn tell_quorum(&mut self, counts: &BTreeMap<u32, Count>, news: &mut Vec<PoolNews>) {
        let certain = counts.values().find(|count| count.certain);
        let open = counts
            .values()
            .any(|count| count.possible || (self.held.is_none() && count.undecided));
        let held = match certain {
            Some(_) => true,
            None if open => return,
            None => false,
        };
        // A pool without real servers has nothing to gain.
        let Some(first) = counts.values().next() else { return };
        if self.held.replace(held) != Some(held) {
            news.push(PoolNews::Quorum {
                held,
                weight: certain.unwrap_or(first).up,
                needed: first.needed,
            });
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one decision, from all that it depends on")]
    fn choose(
        &mut self,
        pool: &VirtualServer,
        best: Tier,
        counts: &BTreeMap<u32, Count>,
        found: Found<'_>,
        ordered_back: bool,
        now: Instant,
        news: &mut Vec<PoolNews>,
    ) {
        if self.serving.is_none() && pool.policy.return_mode != ReturnMode::Auto {
            // A restart is no return either.
            self.serving = match counts.iter().find(|(tier, _)| self.was_found(**tier, pool, found)) {
                Some((tier, _)) => Some(Tier::Servers(*tier)),
                None if found.sorry && pool.sorry_server.is_some() => Some(Tier::Sorry),
                None => None,
            };
        }
        let can_go_on = |tier: Tier| match tier {
            Tier::Servers(tier) => counts.get(&tier).is_some_and(|count| count.certain || count.possible),
            Tier::Sorry => pool.sorry_server.is_some(),
            Tier::Pending | Tier::Nobody => false,
        };
        let kept = self
            .serving
            .filter(|current| best < *current && can_go_on(*current) && !self.tentative);
        let chosen = match kept {
            None => {
                self.better = None;
                best
            }
            Some(current) => {
                let news_of_it = self.better.is_none_or(|(tier, _)| tier != best);
                let since = self.better.map_or(now, |(_, since)| since);
                let after = match pool.policy.return_mode {
                    ReturnMode::Auto => Some(Duration::ZERO),
                    ReturnMode::Manual => None,
                    ReturnMode::Delayed(after) => Some(after),
                };
                if ordered_back || after.is_some_and(|after| now.since(since) >= after) {
                    self.better = None;
                    best
                } else {
                    self.better = Some((best, since));
                    if news_of_it {
                        news.push(PoolNews::ReturnAwaited { better: best, after });
                    }
                    current
                }
            }
        };
        let better_undecided = counts
            .iter()
            .any(|(tier, count)| Tier::Servers(*tier) < chosen && count.undecided);
        self.tentative = better_undecided && (self.tentative || self.serving != Some(chosen));
        self.serving = Some(chosen);
        // A pool whose first tier serves from the start has nothing to tell, nor one that waits for first verdicts.
        if self.told.is_none() && (chosen == Tier::Servers(0) || self.tentative) {
            if !self.tentative {
                (self.told, self.since) = (Some(chosen), now);
            }
            return;
        }
        if self.told != Some(chosen) {
            let lasted = now.since(self.since);
            news.push(PoolNews::Tier {
                from: self.told,
                to: chosen,
                lasted,
            });
            (self.told, self.since) = (Some(chosen), now);
        }
    }

    fn was_found(&self, tier: u32, pool: &VirtualServer, found: Found<'_>) -> bool {
        let members = pool.real_servers.iter().enumerate();
        members
            .filter(|(_, server)| server.tier == tier && !server.disabled)
            .any(|(index, _)| (found.member)(index))
    }
}

/// The best tier: the lowest that has its quorum, else the sorry server, else the lowest in which anybody is up.
fn best(pool: &VirtualServer, counts: &BTreeMap<u32, Count>) -> Tier {
    for (tier, count) in counts {
        if count.certain {
            return Tier::Servers(*tier);
        }
        if count.possible {
            return Tier::Pending;
        }
    }
    if pool.sorry_server.is_some() {
        return Tier::Sorry;
    }
    let somebody = counts.iter().find(|(_, count)| count.up > 0);
    somebody.map_or(Tier::Nobody, |(tier, _)| Tier::Servers(*tier))
}

#[cfg(test)]
mod tests;

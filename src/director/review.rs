//! Looking at a pool anew: which tier serves, and what is told of it.

use super::Director;
use super::pools::tier_name;
use crate::health::PoolNews;
use crate::model::{Action, Instant, Transition};

impl Director {
    /// Looks at a pool anew, which is done when it can be written: of thousands that fail in one second, and of many in
    /// one pool, all those that came in during one batch are looked at together. Before the table was read there is
    /// nothing to look at.
    pub(super) fn review(&mut self, pool: usize, now: Instant, actions: &mut Vec<Action>) {
        let ordered_back = self.returns.remove(&pool);
        let Some(believed) = &self.believed else { return };
        let news = self.pools.look(&self.config, pool, believed, ordered_back, now);
        self.revision += u64::from(!news.is_empty());
        for item in news {
            let server = &self.config.virtual_servers[pool];
            let virtual_server = server.name.clone();
            let name = |tier| tier_name(server, tier);
            let transition = match item {
                PoolNews::Tier { from, to, lasted } => Transition::TierChanged {
                    virtual_server,
                    from: from.and_then(name),
                    to: name(to),
                    lasted,
                },
                PoolNews::ReturnAwaited { better, after } => Transition::ReturnAwaited {
                    virtual_server,
                    better: name(better).unwrap_or_default(),
                    after,
                },
                PoolNews::Quorum { held, weight, needed } => {
                    self.notify_quorum(pool, held, weight, needed, actions);
                    Transition::QuorumChanged {
                        virtual_server,
                        held,
                        weight,
                        needed,
                    }
                }
                PoolNews::PanicBegan { up, of } => Transition::PanicBegan {
                    virtual_server,
                    up,
                    of,
                    threshold: server.policy.panic_threshold,
                },
                PoolNews::PanicEnded => Transition::PanicEnded { virtual_server },
            };
            actions.push(Action::Report(transition));
        }
    }
}

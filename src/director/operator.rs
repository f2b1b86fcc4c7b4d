//! What an operator asks of the running director: states and weights of servers, the return from a backup tier.
//!
//! An operator's wish is one input among others ([`crate::health::Inputs`]); nothing else ever takes it back.

use super::Director;
use crate::model::{Action, AdminState, Instant, OperatorOrder, OrderRefused, ServerId, Transition};

impl Director {
    /// Whether what an order is about is in the configuration; to be asked before [`crate::model::Event::Operator`],
    /// which does nothing where it is not.
    ///
    /// # Errors
    /// Which name is unknown, and the known ones.
    pub fn check_order(&self, order: &OperatorOrder) -> Result<(), OrderRefused> {
        match order {
            OperatorOrder::SetState { server, state: _ } | OperatorOrder::SetWeight { server, weight: _ } => {
                self.locate(server).map(|_| ())
            }
            OperatorOrder::Return { virtual_server } | OperatorOrder::Rebuild { virtual_server } => {
                self.locate_pool(virtual_server).map(|_| ())
            }
            OperatorOrder::Pause { .. } | OperatorOrder::Resume => Ok(()),
        }
    }

    fn locate_pool(&self, name: &str) -> Result<usize, OrderRefused> {
        self.pools.find_pool(name).ok_or_else(|| OrderRefused::NoVirtualServer {
            name: name.to_owned(),
            known: self.pools.pool_names().collect::<Vec<_>>().join(", "),
        })
    }

    fn locate(&self, server: &ServerId) -> Result<(usize, usize), OrderRefused> {
        let pool = self.locate_pool(&server.virtual_server)?;
        self.pools.find(server).ok_or_else(|| {
            let known: Vec<_> = self.pools.member_names(pool).map(|id| id.server.as_str()).collect();
            OrderRefused::NoServer {
                virtual_server: server.virtual_server.clone(),
                server: server.server.clone(),
                known: known.join(", "),
            }
        })
    }

    pub(super) fn obey(&mut self, order: OperatorOrder, now: Instant, actions: &mut Vec<Action>) {
        match order {
            OperatorOrder::SetState { server, state } => {
                if let Some((pool, server)) = self.pools.find(&server) {
                    self.pools.wishes_mut(pool, server).state = state;
                    self.restand(pool, server, None, actions);
                }
            }
            OperatorOrder::SetWeight { server, weight } => {
                if let Some((pool, server)) = self.pools.find(&server) {
                    self.pools.wishes_mut(pool, server).weight = weight;
                    self.restand(pool, server, None, actions);
                }
            }
            OperatorOrder::Return { virtual_server } => {
                if let Some(pool) = self.pools.find_pool(&virtual_server) {
                    self.returns.insert(pool);
                    self.dirty.insert(pool);
                }
            }
            OperatorOrder::Pause { duration } => self.pause(duration, now, actions),
            OperatorOrder::Resume => self.resume(now, actions),
            OperatorOrder::Rebuild { virtual_server } => {
                if let Some(pool) = self.pools.find_pool(&virtual_server) {
                    self.rebuild.insert(pool);
                    self.dirty.insert(pool);
                }
            }
        }
    }

    /// Works out anew what counts for a server, tells of it, and has its pool looked at where that changed. `reason`: how
    /// its last probe failed.
    pub(super) fn restand(&mut self, pool: usize, server: usize, reason: Option<String>, actions: &mut Vec<Action>) {
        let Some(before) = self.pools.restand(&self.config, pool, server) else {
            return;
        };
        let after = self.pools.standing(pool, server).clone();
        if before.admin != after.admin {
            actions.push(Action::Report(Transition::AdminChanged {
                server: self.pools.name(pool, server),
                from: before.admin,
                to: after.admin,
            }));
        } else if before.weight != after.weight && after.admin == AdminState::Ready {
            actions.push(Action::Report(Transition::WeightChanged {
                server: self.pools.name(pool, server),
                from: before.weight,
                to: after.weight,
                source: after.weight_from.clone(),
            }));
        }
        self.notify_server(pool, server, &before, &after, reason, actions);
        self.dirty.insert(pool);
    }
}

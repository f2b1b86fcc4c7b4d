//! What a reload would do now: a copy of the director takes the new configuration over, and what it wants is looked at
//! instead of done. So it cannot differ from what a reload does.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Director, Kernel};
use crate::model::control::WaitingServer;
use crate::model::{Action, Config, Event, Instant, OperatorOrder, ServerState, Step, Table, VirtualAddress};

/// What a reload would do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rehearsal {
    /// Changes of the kernel's table, in order.
    pub steps: Vec<Step>,
    /// The virtual addresses that would be put on devices.
    pub put: BTreeSet<VirtualAddress>,
    /// The virtual addresses that would be taken off them.
    pub take: BTreeSet<VirtualAddress>,
    /// The real servers that come in once their checks have passed.
    pub waiting: Vec<WaitingServer>,
}

impl Director {
    /// What would be done if this configuration were taken over now, with what operators want beside it, and the kernel's
    /// table were this one. Nothing is taken over.
    pub fn rehearse(&self, config: Arc<Config>, orders: Vec<OperatorOrder>, table: &Table, now: Instant) -> Rehearsal {
        let mut trial = self.clone();
        trial.kernel = Kernel::Idle;
        trial.believed = None;
        trial.pause = None;
        // What it tells and probes is nobody's business.
        trial.handle(Event::ConfigLoaded(config), now);
        for order in orders {
            trial.handle(Event::Operator(order), now);
        }
        let wanted = trial.handle(Event::TableRead(table.clone()), now);
        let steps = wanted.into_iter().find_map(|action| {
            if let Action::ApplySteps(steps) = action {
                Some(steps)
            } else {
                None
            }
        });
        let hold = trial.wanted_addresses();
        Rehearsal {
            steps: steps.unwrap_or_default(),
            put: &hold - &self.owned.addresses,
            take: &(&self.owned.addresses - &hold) - &trial.moving_addresses(),
            waiting: trial.waiting(table),
        }
    }

    /// The real servers that the table has not and that have no verdict yet.
    fn waiting(&self, table: &Table) -> Vec<WaitingServer> {
        let mut waiting = Vec::new();
        for (index, server) in self.config.virtual_servers.iter().enumerate() {
            let found = server
                .services
                .first()
                .and_then(|key| Some((key, table.services.get(key)?)));
            let is_there = |real: &crate::model::RealServer| {
                found.is_some_and(|(key, service)| service.destinations.contains_key(&real.destination(key)))
            };
            let Some(pool) = self.pools.pool(index) else { continue };
            for ((real, member), seat) in server.real_servers.iter().zip(&pool.members).zip(&pool.seats) {
                if !real.disabled && seat.standing.state == ServerState::Unknown && !is_there(real) {
                    waiting.push(WaitingServer {
                        virtual_server: member.id.virtual_server.clone(),
                        server: member.id.server.clone(),
                    });
                }
            }
        }
        waiting
    }
}

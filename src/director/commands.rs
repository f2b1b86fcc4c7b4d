//! The user's commands that are run when something changes: which, and what they are told.

use std::collections::BTreeMap;

use super::Director;
use crate::health::Standing;
use crate::model::{Action, AdminState, Notify, ServerState, Subject};

impl Director {
    /// Runs `notify_up` or `notify_down` of a server where it came up or went down. Its first success after a start is
    /// no news, its first failure is.
    pub(super) fn notify_server(
        &self,
        pool: usize,
        server: usize,
        before: &Standing,
        after: &Standing,
        reason: Option<String>,
        actions: &mut Vec<Action>,
    ) {
        let up = match (before.state, after.state) {
            (ServerState::Down, ServerState::Up) => true,
            (ServerState::Up | ServerState::Unknown, ServerState::Down) => false,
            (ServerState::Unknown, ServerState::Up | ServerState::Unknown)
            | (ServerState::Up, ServerState::Up | ServerState::Unknown)
            | (ServerState::Down, ServerState::Down | ServerState::Unknown) => return,
        };
        let notify = &self.config.virtual_servers[pool].real_servers[server].notify;
        let id = self.pools.name(pool, server);
        let mut environment = BTreeMap::from([
            ("IPVSD_EVENT", word(up, "server_up", "server_down").to_owned()),
            ("IPVSD_VIRTUAL_SERVER", id.virtual_server.clone()),
            ("IPVSD_SERVER", id.server.clone()),
            ("IPVSD_STATE", after.state.to_string()),
            ("IPVSD_FORMER_STATE", before.state.to_string()),
            ("IPVSD_WEIGHT", after.weight.to_string()),
        ]);
        let reason = match after.admin {
            AdminState::Maint => Some(AdminState::Maint.to_string()),
            AdminState::Ready | AdminState::Drain => reason,
        };
        environment.extend(reason.map(|reason| ("IPVSD_REASON", reason)));
        run(notify, up, Subject::Server(id), environment, actions);
    }

    /// The commands of pools with `notify_on_stop`, at the end: for them everybody who is up goes down, and the quorum is
    /// lost.
    pub fn farewell(&self) -> Vec<Action> {
        let mut actions = Vec::new();
        for (pool, server) in self.config.virtual_servers.iter().enumerate() {
            if !server.policy.notify_on_stop {
                continue;
            }
            for (place, seat) in self.pools.seats(pool).iter().enumerate() {
                let after = Standing {
                    state: ServerState::Down,
                    weight: 0,
                    ..seat.standing.clone()
                };
                let present = !server.real_servers[place].disabled && seat.standing.state == ServerState::Up;
                if present {
                    let reason = Some("stop".to_owned());
                    self.notify_server(pool, place, &seat.standing, &after, reason, &mut actions);
                }
            }
            if self.pools.machine(pool).has_quorum() == Some(true) {
                self.notify_quorum(pool, false, 0, u64::from(server.policy.quorum), &mut actions);
            }
        }
        actions
    }

    /// Runs `quorum_up` or `quorum_down` of a pool.
    pub(super) fn notify_quorum(&self, pool: usize, held: bool, weight: u64, needed: u64, actions: &mut Vec<Action>) {
        let server = &self.config.virtual_servers[pool];
        let environment = BTreeMap::from([
            ("IPVSD_EVENT", word(held, "quorum_up", "quorum_down").to_owned()),
            ("IPVSD_VIRTUAL_SERVER", server.name.clone()),
            ("IPVSD_STATE", word(held, "up", "down").to_owned()),
            ("IPVSD_WEIGHT", weight.to_string()),
            ("IPVSD_QUORUM", needed.to_string()),
        ]);
        let subject = Subject::Pool(server.name.clone());
        run(&server.policy.quorum_notify, held, subject, environment, actions);
    }
}

fn word(up: bool, if_up: &'static str, if_down: &'static str) -> &'static str {
    match up {
        true => if_up,
        false => if_down,
    }
}

fn run(
    notify: &Notify,
    up: bool,
    subject: Subject,
    environment: BTreeMap<&'static str, String>,
    actions: &mut Vec<Action>,
) {
    let command = match up {
        true => &notify.up,
        false => &notify.down,
    };
    actions.extend(command.clone().map(|command| Action::RunCommand {
        subject,
        command,
        environment,
    }));
}

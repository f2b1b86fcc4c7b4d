//! What callers of the control socket ask of the loop, and what operators want, kept for a restart.

use std::collections::BTreeSet;
use std::time::Duration;

use tracing::{error, info};

use super::Shell;
use crate::control::{Answer, Call, Caller};
use crate::daemon::control;
use crate::director::{Now, Wish};
use crate::model::control::{Changed, EventKind, Level, Reply, Request, SCHEMA, Status};
use crate::model::{AdminState, Event, OperatorOrder};

/// What an operator asks of servers.
#[derive(Debug, Clone, Copy)]
enum Change {
    State(AdminState, Option<Duration>),
    Weight(Option<u32>),
}

impl Shell {
    /// Answers a caller of the control socket.
    pub(super) fn answer(&mut self, call: Call) {
        let Call {
            request,
            caller,
            answer,
            connection,
        } = call;
        if request.is_change() {
            let user = control::name_of(caller);
            info!(user, pid = caller.pid, "asked for {request}");
            self.note(EventKind::Admin, Level::Info, format!("{user} asks for {request}"));
        }
        let now = self.both_nows();
        let reply = match request {
            Request::Status { virtual_server } => self.status(virtual_server.as_deref(), now),
            Request::Return { virtual_server } => {
                let name = virtual_server.clone();
                self.tell(Event::Operator(OperatorOrder::Return { virtual_server }));
                self.status(Some(&name), now)
            }
            Request::Rebuild { virtual_server } => {
                let name = virtual_server.clone();
                self.tell(Event::Operator(OperatorOrder::Rebuild { virtual_server }));
                self.status(Some(&name), now)
            }
            Request::Why { server } => match self.director.why(&server, now) {
                Ok(mut servers) => {
                    for server in &mut servers {
                        let wish = self.wishlist.of(&server.virtual_server, &server.server);
                        server.operator = wish.map(Wish::report);
                    }
                    let journal = self.journal.clone();
                    tokio::spawn(async move {
                        // A caller that has gone wants no answer.
                        let _ = answer.send(Answer::One(Box::new(control::why(servers, journal).await)));
                    });
                    return;
                }
                Err(refused) => Reply::Refused(refused),
            },
            Request::Events { last, follow } => {
                let _ = answer.send(control::events(&self.journal, last, follow));
                return;
            }
            Request::Reload => return self.reload(Some(answer)),
            Request::Upgrade => return self.upgrade(answer, connection),
            Request::Drain { server, deadline } => {
                self.change(&server, Change::State(AdminState::Drain, deadline), caller)
            }
            Request::Maint { server } => self.change(&server, Change::State(AdminState::Maint, None), caller),
            Request::Ready { server } => self.change(&server, Change::State(AdminState::Ready, None), caller),
            Request::Weight { server, weight } => self.change(&server, Change::Weight(weight), caller),
        };
        let _ = answer.send(Answer::One(Box::new(reply)));
    }

    /// All pools or one of them; a name that no pool has is refused here.
    fn status(&self, only: Option<&str>, now: Now) -> Reply {
        match self.director.status(only, now) {
            Ok(virtual_servers) => Reply::Status(Status {
                schema: SCHEMA,
                time: now.time,
                version: env!("CARGO_PKG_VERSION").to_owned(),
                started: self.started_at,
                configured: now.time_of(self.configured),
                kernel_trouble: self.director.kernel_trouble().map(str::to_owned),
                virtual_servers,
            }),
            Err(refused) => Reply::Refused(refused),
        }
    }

    /// Does what an operator asks of servers, and puts it down for a restart.
    fn change(&mut self, wanted: &str, change: Change, caller: Caller) -> Reply {
        let servers = match self.director.select(wanted) {
            Ok(servers) => servers,
            Err(refused) => return Reply::Refused(refused),
        };
        let (by, now) = (control::name_of(caller), self.both_nows());
        let mut news = Vec::with_capacity(servers.len());
        for server in servers {
            let (is_news, order) = match change {
                Change::State(state, deadline) => {
                    let is_news = self.wishlist.set_state(&server, state, deadline, &by, now);
                    (
                        is_news,
                        OperatorOrder::SetState {
                            server: server.clone(),
                            state,
                        },
                    )
                }
                Change::Weight(weight) => {
                    let is_news = self.wishlist.set_weight(&server, weight, &by, now);
                    (
                        is_news,
                        OperatorOrder::SetWeight {
                            server: server.clone(),
                            weight,
                        },
                    )
                }
            };
            self.tell(Event::Operator(order));
            news.push((server, is_news));
        }
        let mut warnings = BTreeSet::new();
        if let Err(problem) = self.save_wishes() {
            warnings.insert(format!(
                "done, but a restart of ipvsd would not know of it: {problem:#}"
            ));
        }
        let mut changed = Vec::with_capacity(news.len());
        for (server, is_news) in news {
            if let Some((server, warning)) = self.director.changed(&server, is_news) {
                changed.push(server);
                warnings.extend(warning);
            }
        }
        Reply::Changed(Changed {
            schema: SCHEMA,
            servers: changed,
            warnings: warnings.into_iter().collect(),
        })
    }

    /// What operators wanted of an earlier process, and of servers that a reload brings back.
    pub(super) fn repeat_wishes(&mut self) {
        for order in self.wishlist.orders() {
            self.tell(Event::Operator(order));
        }
    }

    pub(super) fn save_wishes(&mut self) -> anyhow::Result<()> {
        let now = self.both_nows();
        self.wishes_saved = now.instant;
        if self.options.observe {
            return Ok(());
        }
        let saved = self.wishes.save(&self.wishlist, now.time);
        if let Err(problem) = &saved {
            error!("{problem:#}");
        }
        saved
    }

    /// Drains whose deadline has come become maintenance.
    pub(super) fn pass_deadlines(&mut self) {
        let passed = self.wishlist.pass_deadlines(self.both_nows());
        if passed.is_empty() {
            return;
        }
        for server in passed {
            info!(
                service = server.virtual_server,
                server = server.server,
                "the deadline of its drain has come"
            );
            let state = AdminState::Maint;
            self.tell(Event::Operator(OperatorOrder::SetState { server, state }));
        }
        // It is logged where it fails.
        let _ = self.save_wishes();
    }
}

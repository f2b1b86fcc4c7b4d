//! What callers of the control socket ask of the loop, and what operators want, kept for a restart.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tracing::{error, info};

use super::Shell;
use crate::control::{Answer, Call, Caller};
use crate::daemon::control;
use crate::director::{self, Now, Wish};
use crate::model::control::{
    Changed, ConfigurationStatus, Deviation, EventKind, Level, Paused, Refused, Reply, Request, SCHEMA, Status, Trouble,
};
use crate::model::{AdminState, Config, Event, Lasting, OperatorOrder, PeerWish, ServerId, UnixTime, WeightAdvice};

/// What an operator asks of servers.
#[derive(Debug, Clone, Copy)]
enum Change {
    State(AdminState, Option<Duration>, Lasting),
    Weight(Option<WeightAdvice>, Lasting),
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
            Request::Status { virtual_server } => {
                let reply = self.status(virtual_server.as_deref(), now);
                let seen = Arc::clone(&self.reloads.seen);
                tokio::spawn(async move {
                    // A caller that has gone wants no answer.
                    let _ = answer.send(Answer::One(Box::new(control::with_files(reply, seen).await)));
                });
                return;
            }
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
            Request::StepDown { vrrp_instance } => match self.step_down(&vrrp_instance) {
                Ok(()) => self.status(None, now),
                Err(refused) => Reply::Refused(refused),
            },
            Request::Pause { duration } => self.pause(OperatorOrder::Pause { duration }),
            Request::Resume => self.pause(OperatorOrder::Resume),
            Request::Peer => self.peer_status(),
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
            Request::Plan => return self.plan(answer),
            Request::Reload { force } => return self.reload(Some(answer), force),
            Request::Upgrade => return self.upgrade(answer, connection),
            Request::Drain {
                server,
                deadline,
                lasting,
            } => self.change(&server, Change::State(AdminState::Drain, deadline, lasting), caller),
            Request::Maint { server, lasting } => {
                self.change(&server, Change::State(AdminState::Maint, None, lasting), caller)
            }
            Request::Ready { server, lasting } => {
                self.change(&server, Change::State(AdminState::Ready, None, lasting), caller)
            }
            Request::Weight {
                server,
                weight,
                lasting,
            } => self.change(&server, Change::Weight(weight, lasting), caller),
            Request::Add {
                server,
                weight,
                lasting,
            } => self.add(&server, weight, lasting, caller),
            Request::Remove { server, lasting } => self.remove(&server, lasting, caller),
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
                configuration: ConfigurationStatus {
                    file: self.options.config.display().to_string(),
                    changed: false,
                    refused: self.reloads.refused(),
                },
                kernel_trouble: self.director.kernel_trouble().map(str::to_owned),
                paused_until: self.paused_until(now),
                deviations: self.deviations(),
                contested: self.director.contested(now),
                vrrp_instances: self.routers_status(),
                virtual_servers,
            }),
            Err(refused) => Reply::Refused(refused),
        }
    }

    /// Pauses writing, or lets it go on.
    fn pause(&mut self, order: OperatorOrder) -> Reply {
        self.tell(Event::Operator(order));
        // What the service manager shows says so at once.
        self.pulse();
        Reply::Paused(Paused {
            schema: SCHEMA,
            until: self.paused_until(self.both_nows()),
        })
    }

    fn paused_until(&self, now: Now) -> Option<UnixTime> {
        let until = self.director.paused_until()?;
        Some(now.time.after(until.since(now.instant)))
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
                Change::State(state, deadline, lasting) => {
                    let is_news = self.wishlist.set_state(&server, state, deadline, lasting, &by, now);
                    // Also where it is no news here: there it may be.
                    let deadline = deadline.filter(|_| state == AdminState::Drain);
                    let wish = PeerWish::State {
                        state,
                        drain_until: deadline.map(|deadline| now.time.after(deadline)),
                        drain_for: deadline.map(|deadline| u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX)),
                    };
                    self.say_to_peer(&server, wish, lasting, &by);
                    (
                        is_news,
                        OperatorOrder::SetState {
                            server: server.clone(),
                            state,
                        },
                    )
                }
                Change::Weight(weight, lasting) => {
                    let is_news = self.wishlist.set_weight(&server, weight, lasting, &by, now);
                    self.say_to_peer(&server, PeerWish::Weight { weight }, lasting, &by);
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

    /// What a reload would make of a configuration and of what operators want.
    pub(super) fn after_reload(&self, files: &Arc<Config>) -> (Arc<Config>, Vec<OperatorOrder>, Vec<String>) {
        let mut wishlist = self.wishlist.clone();
        let mut orders = wishlist.pass_reload(files, &mut self.peer.words.clone(), self.both_nows());
        orders.extend(wishlist.orders());
        let (config, problems) = director::deviate(files, &wishlist);
        (config, orders, problems)
    }

    /// Adds a server to a pool, with everything that its other servers have by default.
    fn add(&mut self, wanted: &str, weight: Option<u32>, lasting: Lasting, caller: Caller) -> Reply {
        let (by, now) = (control::name_of(caller), self.both_nows());
        let Some((name, address)) = wanted.rsplit_once('/') else {
            let message = "a server is added to one virtual server: write web/192.0.2.13:80";
            return Reply::Refused(Refused::new(Trouble::UnknownServer, message));
        };
        let config = Arc::clone(self.director.config());
        let Some(pool) = config.virtual_servers.iter().find(|pool| pool.name == name) else {
            // It says which there are.
            return match self.director.status(Some(name), now) {
                Err(refused) => Reply::Refused(refused),
                Ok(_) => Reply::Refused(Refused::new(Trouble::UnknownVirtualServer, name)),
            };
        };
        let (server, real) = match director::candidate(pool, address, weight.unwrap_or(1)) {
            Ok(candidate) => candidate,
            Err(problems) => {
                let message = format!("a server cannot be added to {name}: {}", problems.join("; "));
                let refused = Refused::new(Trouble::UnfitServer, message);
                return Reply::Refused(Refused { problems, ..refused });
            }
        };
        let before = self.wishlist.of(name, &server.server);
        match before.is_some_and(Wish::is_removed) {
            true => {
                self.wishlist.put_back(&server, lasting, &by, now);
                // As all that comes with adding it, that is for this director alone.
                if let Some(weight) = weight {
                    let weight = Some(WeightAdvice::Absolute(weight));
                    self.wishlist.set_weight(&server, weight, lasting, &by, now);
                }
            }
            false => {
                self.wishlist.add(&server, address, real.spec.weight, lasting, &by, now);
                // What operators of the other director want of it holds here as well.
                for word in self.peer.words.of(&server) {
                    self.wishlist.follow(word, now);
                }
            }
        }
        self.follow_deviations(vec![server], None)
    }

    /// Removes servers from their pools; they drain where the pool says so.
    fn remove(&mut self, wanted: &str, lasting: Lasting, caller: Caller) -> Reply {
        let servers = match self.director.select(wanted) {
            Ok(servers) => servers,
            Err(refused) => return Reply::Refused(refused),
        };
        let (by, now) = (control::name_of(caller), self.both_nows());
        for server in &servers {
            let in_files = director::have(&self.reloads.config, server);
            self.wishlist.remove(server, in_files, lasting, &by, now);
            if self.wishlist.of(&server.virtual_server, &server.server).is_none() {
                self.peer.words.withdraw(server, &by, now.time);
            }
        }
        self.follow_deviations(servers, Some("removed"))
    }

    /// Takes over what operators have added and removed, and puts it down for a restart.
    fn follow_deviations(&mut self, servers: Vec<ServerId>, gone: Option<&str>) -> Reply {
        // How they are, as long as they are there.
        let shown = |shell: &Self| -> Vec<_> {
            let found = servers.iter().filter_map(|server| shell.director.changed(server, true));
            found.collect()
        };
        let before = shown(self);
        let files = Arc::clone(&self.reloads.config);
        self.take_over(&files);
        let mut warnings = BTreeSet::new();
        if let Err(problem) = self.save_wishes() {
            warnings.insert(format!(
                "done, but a restart of ipvsd would not know of it: {problem:#}"
            ));
        }
        let mut changed = Vec::new();
        for (mut server, warning) in if gone.is_some() { before } else { shown(self) } {
            let wish = self.wishlist.of(&server.virtual_server, &server.server);
            server.deviation = gone.or(wish.and_then(Wish::deviation)).map(str::to_owned);
            changed.push(server);
            if gone.is_none() {
                warnings.extend(warning);
            }
        }
        Reply::Changed(Changed {
            schema: SCHEMA,
            servers: changed,
            warnings: warnings.into_iter().collect(),
        })
    }

    /// What operators want of servers that the configuration has, or would have.
    fn deviations(&self) -> Vec<Deviation> {
        let counts = |wish: &&Wish| wish.is_removed() || self.director.has(&wish.id());
        self.wishlist.wishes().filter(counts).map(Wish::deviations).collect()
    }

    pub(super) fn save_wishes(&mut self) -> anyhow::Result<()> {
        let now = self.both_nows();
        self.wishes_saved = now.instant;
        if self.options.observe {
            return Ok(());
        }
        self.peer.words.forget(now.time);
        let saved = self.wishes.save(&self.wishlist, &self.peer.words, now.time);
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
        for (server, state) in passed {
            info!(
                service = server.virtual_server,
                server = server.server,
                "the deadline of its drain has come"
            );
            // The other director knows the deadline. Said again it would be later than what an operator has said there
            // meanwhile.
            self.tell(Event::Operator(OperatorOrder::SetState { server, state }));
        }
        // It is logged where it fails.
        let _ = self.save_wishes();
    }
}

//! What is shown of the director over the control socket: documents made of its state.
//!
//! Pure, and nothing here changes anything. Times are told by the calendar, from how long ago they were.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::health::{Inputs, Seat, Tier};
use crate::model::control::{
    AdviceReport, ChangedServer, CheckReport, ContestedService, KernelDestination, PoolStatus, ProbeReport, Refused,
    ServerReport, ServerStatus, SorryStatus,
};
use crate::model::{
    AdminState, CheckState, Config, DestinationKey, Instant, RealServer, ReturnMode, ServerId, ServerState, ServiceKey,
    UnixTime, VirtualServer, WeightAdvice, WeightSource,
};

use super::Director;
use super::checks::CheckSlot;
use super::pools::{Member, Pool, tier_name};
use super::roles::Programmed;
use super::select;

/// Now, by both of our clocks.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// What decides.
    pub instant: Instant,
    /// What is shown.
    pub time: UnixTime,
}

impl Now {
    /// When that was by the calendar.
    pub fn time_of(self, at: Instant) -> UnixTime {
        self.time.before(self.instant.since(at))
    }
}

/// One member in its pool.
#[derive(Clone, Copy)]
struct Place<'a> {
    virtual_server: &'a VirtualServer,
    pool: &'a Pool,
    real_server: &'a RealServer,
    member: &'a Member,
    seat: &'a Seat,
}

impl Place<'_> {
    fn state_name(&self) -> &'static str {
        match (self.real_server.disabled, self.member.state) {
            (true, _) => "disabled",
            (false, ServerState::Up) => "up",
            (false, ServerState::Down) => "down",
            (false, ServerState::Unknown) => "unknown",
        }
    }

    /// The weight that counts for it: none while it is down, and not known while it stays as it was found.
    fn effective_weight(&self) -> Option<u32> {
        match self.seat.standing.state {
            ServerState::Up => Some(self.seat.standing.weight),
            ServerState::Down => Some(0),
            ServerState::Unknown => None,
        }
    }
}

impl Director {
    /// The pools with their members, or the one that is asked for.
    ///
    /// # Errors
    /// No virtual server has that name.
    pub fn status(&self, only: Option<&str>, now: Now) -> Result<Vec<PoolStatus>, Refused> {
        let wanted = |server: &VirtualServer| only.is_none_or(|name| server.name == name);
        let shown: Vec<_> = (self.config.virtual_servers.iter().enumerate())
            .filter(|(_, server)| wanted(server))
            .filter_map(|(index, server)| Some(self.pool_status(server, self.pools.pool(index)?, now)))
            .collect();
        match only {
            Some(name) if shown.is_empty() => Err(select::unknown_virtual_server(&self.config, name)),
            Some(_) | None => Ok(shown),
        }
    }

    /// Everything about the servers that a text names, once for each pool; connections and events are left out.
    ///
    /// # Errors
    /// Nobody or several servers could be meant.
    pub fn why(&self, server: &str, now: Now) -> Result<Vec<ServerReport>, Refused> {
        let found = select::select(&self.config, server)?;
        let reports = found
            .into_iter()
            .filter_map(|(pool, server)| Some(self.server_report(self.place(pool, server)?, now)));
        Ok(reports.collect())
    }

    /// The members that a text names, at least one.
    ///
    /// # Errors
    /// Nobody or several servers could be meant.
    pub fn select(&self, server: &str) -> Result<Vec<ServerId>, Refused> {
        let found = select::select(&self.config, server)?;
        Ok(found
            .into_iter()
            .map(|(pool, server)| self.pools.name(pool, server))
            .collect())
    }

    /// A server after an operator's word, and what somebody should look at; `None` where there is no such server.
    pub fn changed(&self, id: &ServerId, changed: bool) -> Option<(ChangedServer, Option<String>)> {
        let (pool_index, server) = self.pools.find(id)?;
        let place = self.place(pool_index, server)?;
        let inputs = self.pools.inputs_of(place.real_server, place.member);
        let name = &id.virtual_server;
        let warning = match place.pool.machine.tier() {
            _ if place.real_server.disabled => {
                Some(format!("{} of {name} is disabled in the configuration", id.server))
            }
            Tier::Nobody => Some(format!("nobody is left to serve {name}")),
            Tier::Sorry => Some(format!("{name} is served by its sorry server")),
            Tier::Servers(_) | Tier::Pending => None,
        };
        let changed = ChangedServer {
            virtual_server: name.clone(),
            server: id.server.clone(),
            changed,
            operator_state: inputs.operator_state.to_string(),
            operator_weight: match inputs.operator_weight {
                Some(WeightAdvice::Absolute(weight)) => Some(weight),
                Some(WeightAdvice::Percent(_)) | None => None,
            },
            operator_percent: match inputs.operator_weight {
                Some(WeightAdvice::Percent(percent)) => Some(percent),
                Some(WeightAdvice::Absolute(_)) | None => None,
            },
            admin: place.seat.standing.admin.to_string(),
            state: place.state_name().to_owned(),
            deviation: None,
        };
        Some((changed, warning))
    }

    fn place(&self, pool: usize, server: usize) -> Option<Place<'_>> {
        let virtual_server = self.config.virtual_servers.get(pool)?;
        let pool = self.pools.pool(pool)?;
        Some(Place {
            virtual_server,
            pool,
            real_server: virtual_server.real_servers.get(server)?,
            member: pool.members.get(server)?,
            seat: pool.seats.get(server)?,
        })
    }

    /// Why the kernel's table cannot be read, where it cannot.
    pub fn kernel_trouble(&self) -> Option<&str> {
        self.unreadable.as_deref()
    }

    /// Whether the configuration that counts has this server.
    pub fn has(&self, id: &ServerId) -> bool {
        self.pools.find(id).is_some()
    }

    /// The configuration that counts.
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// The services whose destinations are read in full.
    pub fn read_in_full(&self) -> Arc<BTreeSet<ServiceKey>> {
        Arc::clone(&self.details)
    }

    /// The services that somebody else keeps changing, and that wait for their repair.
    pub fn contested(&self, now: Now) -> Vec<ContestedService> {
        let held = self.drifts.held(now.instant);
        held.map(|(service, left)| ContestedService {
            service: *service,
            until: now.time.after(left),
        })
        .collect()
    }

    fn kernel_weight(&self, service: &ServiceKey, destination: &DestinationKey) -> Option<u32> {
        let service = self.believed.as_ref()?.services.get(service)?;
        Some(service.destinations.get(destination)?.weight)
    }

    fn pool_status(&self, server: &VirtualServer, pool: &Pool, now: Now) -> PoolStatus {
        let first = server.services.first();
        let weight_of = |destination: &dyn Fn(&ServiceKey) -> DestinationKey| {
            first.and_then(|service| self.kernel_weight(service, &destination(service)))
        };
        let machine = &pool.machine;
        let places =
            server
                .real_servers
                .iter()
                .zip(&pool.members)
                .zip(&pool.seats)
                .map(|((real_server, member), seat)| Place {
                    virtual_server: server,
                    pool,
                    real_server,
                    member,
                    seat,
                });
        PoolStatus {
            name: server.name.clone(),
            services: server.services.clone(),
            serving: tier_name(server, machine.tier()),
            serving_since: now.time_of(machine.since()),
            pending: machine.tier() == Tier::Pending,
            quorum: machine.has_quorum(),
            panic: machine.is_panicking(),
            suspended: pool.suspended,
            elsewhere: self.programmed(server) == Programmed::Elsewhere,
            awaited: machine.awaited().and_then(|tier| tier_name(server, tier)),
            real_servers: places
                .map(|place| {
                    let (check, cause) = self.failed_check(place.member).unzip();
                    ServerStatus {
                        server: place.member.id.server.clone(),
                        tier: place.real_server.tier,
                        state: place.state_name().to_owned(),
                        since: now.time_of(place.member.since),
                        admin: place.seat.standing.admin.to_string(),
                        configured_weight: place.real_server.spec.weight,
                        effective_weight: place.effective_weight(),
                        kernel_weight: weight_of(&|service| place.real_server.destination(service)),
                        check,
                        cause: cause.flatten(),
                    }
                })
                .collect(),
            sorry_server: server.sorry_server.as_ref().map(|sorry| SorryStatus {
                server: first.map_or_else(
                    || sorry.address.to_string(),
                    |service| sorry.destination(service).to_string(),
                ),
                serving: pool.machine.tier() == Tier::Sorry,
                kernel_weight: weight_of(&|service| sorry.destination(service)),
            }),
        }
    }

    /// The first check of a member that says it is down, and how its last probe failed.
    fn failed_check(&self, member: &Member) -> Option<(String, Option<String>)> {
        let failed = self.pools.slots(member).find(|slot| slot.state() == CheckState::Down)?;
        Some((failed.spec.name.clone(), cause_of(failed)))
    }

    fn server_report(&self, place: Place<'_>, now: Now) -> ServerReport {
        let Place {
            virtual_server: server,
            pool,
            real_server,
            member,
            seat,
        } = place;
        let slots: Vec<_> = self.pools.slots(member).collect();
        let inputs = self.pools.inputs_of(real_server, member);
        ServerReport {
            virtual_server: server.name.clone(),
            server: member.id.server.clone(),
            state: place.state_name().to_owned(),
            since: now.time_of(member.since),
            reasons: reasons(place, &slots, &inputs),
            tier: real_server.tier,
            serving: tier_name(server, pool.machine.tier()),
            admin: seat.standing.admin.to_string(),
            operator: None,
            advised: inputs
                .advised
                .iter()
                .map(|advised| AdviceReport {
                    check: advised.check.clone(),
                    state: advised.state.to_string(),
                    weight: advised.weight.map(|weight| weight.to_string()),
                })
                .collect(),
            configured_weight: real_server.spec.weight,
            effective_weight: place.effective_weight(),
            weight_from: seat.standing.weight_from.to_string(),
            checks: slots.iter().map(|slot| check_report(slot, now)).collect(),
            kernel: server
                .services
                .iter()
                .map(|service| KernelDestination {
                    service: *service,
                    weight: self.kernel_weight(service, &real_server.destination(service)),
                    active_connections: None,
                    inactive_connections: None,
                })
                .collect(),
            events: Vec::new(),
        }
    }
}

fn check_name(state: CheckState) -> &'static str {
    match state {
        CheckState::Up => "up",
        CheckState::Down => "down",
        CheckState::Unknown => "unknown",
    }
}

fn check_report(slot: &CheckSlot, now: Now) -> CheckReport {
    let (against, needed) = slot.machine.progress(&slot.spec);
    CheckReport {
        name: slot.spec.name.clone(),
        probe_type: slot.spec.probe.kind.to_string(),
        target: slot.target.address,
        state: check_name(slot.state()).to_owned(),
        by_peer: slot.counting_hearsay().is_some(),
        since: now.time_of(slot.history.since),
        against,
        needed,
        local_trouble: slot.trouble.as_ref().map(ToString::to_string),
        warning: slot.warning.as_ref().map(ToString::to_string),
        results: slot
            .history
            .results()
            .map(|kept| ProbeReport {
                time: now.time_of(kept.at()),
                outcome: kept.found.name().to_owned(),
                latency_us: u64::try_from(kept.latency().as_micros()).unwrap_or(u64::MAX),
                cause: kept.cause.as_deref().map(str::to_owned),
            })
            .collect(),
    }
}

/// How the last probe of a failing check has failed, here or at the other director.
fn cause_of(slot: &CheckSlot) -> Option<String> {
    match slot.counting_hearsay() {
        Some(hearsay) => hearsay.cause.as_deref().map(|cause| format!("the peer says: {cause}")),
        None => {
            let cause = slot.history.last_failure().and_then(|kept| kept.cause.as_deref());
            cause.map(str::to_owned)
        }
    }
}

/// What there is to say of a check that has no verdict but the other director's.
fn by_hearsay(slot: &CheckSlot) -> String {
    let name = &slot.spec.name;
    let what = match (slot.state(), cause_of(slot)) {
        (CheckState::Down, Some(cause)) => format!("fails, {cause}"),
        (CheckState::Down, None) => "fails, the peer says".to_owned(),
        (CheckState::Up | CheckState::Unknown, _) => "passes, the peer says".to_owned(),
    };
    format!("check {name} {what}; this director has no verdict of its own")
}

/// Why the server stands where it stands, the weightiest reason first.
fn reasons(place: Place<'_>, slots: &[&CheckSlot], inputs: &Inputs) -> Vec<String> {
    let Place {
        virtual_server: server,
        pool,
        real_server,
        member,
        seat,
    } = place;
    let (standing, machine) = (&seat.standing, &pool.machine);
    if real_server.disabled {
        return vec!["the configuration has it disabled: it is not in the pool, and nobody probes it".to_owned()];
    }
    let mut reasons = Vec::new();
    let wishes = inputs
        .advised
        .iter()
        .map(|advised| (format!("check {}", advised.check), advised.state));
    for (who, wish) in [("the operator".to_owned(), inputs.operator_state)]
        .into_iter()
        .chain(wishes)
    {
        match wish {
            AdminState::Ready => {}
            AdminState::Drain => reasons.push(format!(
                "{who} drains it: it gets no new connections and keeps those it has"
            )),
            AdminState::Maint => reasons.push(format!(
                "{who} has it in maintenance: it gets no traffic, whatever its checks say"
            )),
        }
    }
    for slot in slots {
        let name = &slot.spec.name;
        match slot.state() {
            _ if slot.counting_hearsay().is_some() => reasons.push(by_hearsay(slot)),
            CheckState::Down if slot.machine.held_until().is_some() => reasons.push(format!(
                "check {name} changed too often and is held down, whatever its probes find (flap)"
            )),
            CheckState::Down => {
                let cause = slot.history.last_failure().and_then(|kept| kept.cause.as_deref());
                let cause = cause.unwrap_or("a failure that is no longer kept");
                reasons.push(format!("check {name} fails: {cause}"));
            }
            CheckState::Unknown => reasons.push(format!("check {name} has no verdict yet")),
            CheckState::Up => {}
        }
        if slot.recalled {
            reasons.push(format!(
                "the verdict of check {name} is from before ipvsd was started again; no probe has ended since"
            ));
        }
        if let Some(trouble) = &slot.trouble {
            reasons.push(format!(
                "check {name} cannot be carried out, its last verdict holds: {trouble}"
            ));
        }
    }
    match (slots, member.state) {
        ([], _) => reasons.push("it has no check, so it is taken as up".to_owned()),
        ([one], ServerState::Up) if one.counting_hearsay().is_some() => {}
        ([one], ServerState::Up) => reasons.push(format!("check {} passes", one.spec.name)),
        (all, ServerState::Up) => reasons.push(format!("all of its {} checks pass", all.len())),
        (_, ServerState::Down) => {}
        (_, ServerState::Unknown) => {
            reasons.push("it stays in the kernel's table as it was found until its first verdict".to_owned());
        }
    }
    if pool.suspended {
        reasons.push(
            "its checks are suspended, for none of the virtual addresses is on this host (ha_suspend)".to_owned(),
        );
    }
    if seat.is_kept() {
        reasons.push(format!(
            "PANIC: fewer than {} % of the servers would remain, so it is kept in although it failed",
            server.policy.panic_threshold
        ));
    }
    let can_serve = standing.state == ServerState::Up && standing.weight > 0;
    match machine.tier() {
        Tier::Servers(active) if real_server.tier != active => {
            let serving = tier_name(server, Tier::Servers(active)).unwrap_or_default();
            reasons.push(match real_server.tier > active {
                true => format!(
                    "it is in backup tier {} and waits, for {serving} serves",
                    real_server.tier
                ),
                false => format!("its tier {} does not serve, {serving} does", real_server.tier),
            });
        }
        Tier::Sorry | Tier::Nobody if can_serve => {
            reasons.push("its tier does not serve, for its weights do not reach the quorum".to_owned());
        }
        Tier::Pending if can_serve => {
            reasons.push("who serves in the pool waits for the first verdicts of others".to_owned());
        }
        Tier::Pending | Tier::Servers(_) | Tier::Sorry | Tier::Nobody => {}
    }
    if machine.awaited() == Some(Tier::Servers(real_server.tier)) {
        reasons.push(match server.policy.return_mode {
            ReturnMode::Manual => "its tier could serve again and waits for an operator (return_mode = \"manual\": \
                                   `ipvsd return`)"
                .to_owned(),
            ReturnMode::Auto | ReturnMode::Delayed(_) => {
                "its tier could serve again and will, if that lasts".to_owned()
            }
        });
    }
    if seat.tenths() < 10 && can_serve {
        reasons.push(format!(
            "it has {} tenths of its weight by now, for it came back of late (slow_start)",
            seat.tenths()
        ));
    }
    if standing.admin == AdminState::Ready && standing.state == ServerState::Up {
        let (weight, from) = (standing.weight, &standing.weight_from);
        match (weight, from) {
            (0, _) => reasons.push(format!("its weight is 0 by {from}, so it gets no new connections")),
            (_, WeightSource::Configuration) => {}
            (_, WeightSource::Operator | WeightSource::Advice(_)) => reasons.push(format!(
                "its weight is {weight} by {from}, in place of {} in the configuration",
                inputs.configured_weight
            )),
        }
    }
    reasons
}

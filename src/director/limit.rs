//! How much of what is served one reload may take away.
//!
//! Pure. A file that lost its second half is valid more often than not. What counts is what goes from the kernel's
//! table, so that a new name, another order or another check is nothing.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Config, DestinationKey, ServiceKey, VirtualServer};

/// Up to so many of either may go at any time: a small site is changed in small numbers that are large shares.
const FEW: usize = 3;

/// How many of those that would go are named.
const MOST_NAMED: usize = 100;

/// A reload that would take away more than it may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overreach {
    /// What would go and how much that is, in one sentence with the remedy.
    pub message: String,
    /// What would go, one line each.
    pub gone: Vec<String>,
}

/// What a reload would take away that is more than the running configuration's `remove_limit` allows; `None` where it is
/// allowed.
pub fn overreach(running: &Config, next: &Config) -> Option<Overreach> {
    let limit = running.reload.remove_limit;
    // What is in both as it is loses nothing, and that is nearly all of it.
    let same: BTreeSet<&str> = running
        .virtual_servers
        .iter()
        .zip(&next.virtual_servers)
        .filter(|(before, after)| before == after)
        .map(|(before, _)| before.name.as_str())
        .collect();
    let others = |config| served(config, |server| !same.contains(server.name.as_str()));
    let (before, after) = (others(running), others(next));
    let is_gone = |service: &&ServiceKey| !after.contains_key(*service);
    let services: Vec<_> = before.keys().filter(is_gone).collect();
    let mut servers = Vec::new();
    for (service, (_, destinations)) in &before {
        let left = after.get(service);
        let left = |destination: &DestinationKey| left.is_some_and(|(_, left)| left.contains(destination));
        servers.extend(destinations.iter().filter(|key| !left(key)).map(|key| (service, key)));
    }
    if services.is_empty() && servers.is_empty() {
        return None;
    }
    let all = served(running, |_| true);
    let of_services = all.len();
    let of_servers: usize = all.values().map(|(_, destinations)| destinations.len()).sum();
    let too_many = |gone: usize, of: usize| gone > FEW && gone * 100 > of * limit as usize;
    if !too_many(services.len(), of_services) && !too_many(servers.len(), of_servers) {
        return None;
    }
    let name = |service: &ServiceKey| before.get(service).map_or("", |(name, _)| name);
    let mut gone: Vec<_> = services
        .iter()
        .map(|service| format!("service {service} ({})", name(service)))
        .collect();
    let of_kept = servers.iter().filter(|(service, _)| after.contains_key(service));
    gone.extend(of_kept.map(|(service, server)| format!("real server {server} of {service} ({})", name(service))));
    let more = gone.len().saturating_sub(MOST_NAMED);
    gone.truncate(MOST_NAMED);
    if more > 0 {
        gone.push(format!("and {more} more"));
    }
    let message = format!(
        "this reload would remove {} of {} services and {} of {of_servers} real servers of services, and `remove_limit` \
         allows {limit} %; the running configuration stays (`ipvsd reload --force` does it all the same)",
        services.len(),
        of_services,
        servers.len(),
    );
    Some(Overreach { message, gone })
}

type Served<'a> = BTreeMap<ServiceKey, (&'a str, BTreeSet<DestinationKey>)>;

/// All services of some virtual servers with the name of theirs and with their real servers; the disabled ones count as
/// not there.
fn served(config: &Config, counts: impl Fn(&VirtualServer) -> bool) -> Served<'_> {
    let mut served = Served::new();
    for server in config.virtual_servers.iter().filter(|server| counts(server)) {
        for key in &server.services {
            let enabled = server.real_servers.iter().filter(|real| !real.disabled);
            let destinations = enabled.map(|real| real.destination(key)).collect();
            served.insert(*key, (server.name.as_str(), destinations));
        }
    }
    served
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{DestinationSpec, Family, Forwarding, PoolPolicy, RealServer, Scheduler, ServiceSpec};

    /// Virtual servers by number with the numbers of their real servers.
    fn config(pools: &[(u8, &[u8])]) -> Config {
        let real = |n: &u8| RealServer {
            address: std::net::Ipv4Addr::new(198, 51, 100, *n).into(),
            port: None,
            spec: DestinationSpec::new(Forwarding::Nat, 1),
            tier: 0,
            disabled: false,
            checks: Vec::new(),
            notify: crate::model::Notify::default(),
        };
        let pool = |(n, servers): &(u8, &[u8])| VirtualServer {
            name: format!("vs{n}"),
            services: vec![format!("tcp 192.0.2.{n}:80").parse().expect("a key")],
            spec: ServiceSpec::new(Scheduler::Wlc, Family::Inet),
            real_servers: servers.iter().map(real).collect(),
            sorry_server: None,
            inhibit_on_failure: false,
            policy: PoolPolicy::default(),
            device: None,
            program_with: None,
            defaults: Default::default(),
        };
        Config {
            virtual_servers: pools.iter().map(pool).collect(),
            ..Config::default()
        }
    }

    #[test]
    fn what_may_go_and_what_may_not() {
        const EIGHT: &[u8] = &[1, 2, 3, 4, 5, 6, 7, 8];
        let many: Vec<(u8, &[u8])> = (1..=10).map(|n| (n, &EIGHT[..2])).collect();
        for (what, before, after, limit, refused) in [
            (
                "half of the servers",
                vec![(1, EIGHT)],
                vec![(1, &EIGHT[..4])],
                50,
                false,
            ),
            ("more than half", vec![(1, EIGHT)], vec![(1, &EIGHT[..3])], 50, true),
            ("that is allowed", vec![(1, EIGHT)], vec![(1, &EIGHT[..3])], 70, false),
            ("everything is allowed", vec![(1, EIGHT)], vec![], 100, false),
            (
                "all three of a small site",
                vec![(1, &EIGHT[..3])],
                vec![(1, &EIGHT[..0])],
                50,
                false,
            ),
            (
                "nothing may go, but a few",
                vec![(1, EIGHT)],
                vec![(1, &EIGHT[..5])],
                0,
                false,
            ),
            ("nothing may go", vec![(1, EIGHT)], vec![(1, &EIGHT[..4])], 0, true),
            ("half of the services", many.clone(), many[..5].to_vec(), 50, false),
            (
                "more than half of the services",
                many.clone(),
                many[..4].to_vec(),
                50,
                true,
            ),
            (
                "others instead",
                vec![(1, &EIGHT[..4])],
                vec![(1, &EIGHT[4..])],
                50,
                true,
            ),
        ] {
            let mut before = config(&before);
            before.reload.remove_limit = limit;
            assert_eq!(overreach(&before, &config(&after)).is_some(), refused, "{what}");
        }
    }

    #[test]
    fn what_would_go_is_named_and_a_name_is_nothing() {
        const EIGHT: &[u8] = &[1, 2, 3, 4, 5, 6, 7, 8];
        let before = config(&[(1, EIGHT), (2, &[1])]);
        let found = overreach(&before, &config(&[(1, &[1, 2])])).expect("too much");
        assert_eq!(found.gone.len(), 7, "{:?}", found.gone);
        assert_eq!(found.gone[0], "service tcp 192.0.2.2:80 (vs2)");
        assert_eq!(found.gone[1], "real server 198.51.100.3:80 of tcp 192.0.2.1:80 (vs1)");
        assert!(
            found.message.contains("1 of 2 services and 7 of 9"),
            "{}",
            found.message
        );
        let mut renamed = before.clone();
        renamed.virtual_servers[0].name = "other".to_owned();
        renamed.virtual_servers.reverse();
        assert_eq!(overreach(&before, &renamed), None);
        // What is disabled is taken away as well.
        let mut disabled = before.clone();
        for server in &mut disabled.virtual_servers[0].real_servers {
            server.disabled = true;
        }
        assert!(overreach(&before, &disabled).is_some());
    }

    proptest! {
        #[test]
        fn what_only_adds_is_allowed(first in prop::collection::btree_set(1u8..20, 0..9), more in prop::collection::btree_set(1u8..20, 0..9), limit in 0u32..=100) {
            let (first, more): (Vec<_>, Vec<_>) = (first.iter().copied().collect(), first.union(&more).copied().collect());
            let mut before = config(&[(1, &first)]);
            before.reload.remove_limit = limit;
            prop_assert_eq!(overreach(&before, &config(&[(1, &more), (2, &first)])), None);
        }
    }
}

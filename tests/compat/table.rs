//! What the kernel holds in a network namespace, read past both subjects, and a way to put it back.

use ipvsd::ipvs::Client;
use ipvsd::model::{ListedService, Step, SyncDaemon, Timeouts};

/// Everything that ipvsadm can change: services, destinations, timeouts, sync daemons; no figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Held {
    services: Vec<ListedService>,
    timeouts: Timeouts,
    daemons: Vec<SyncDaemon>,
}

impl Held {
    /// Reads the namespace of the calling thread.
    pub(crate) fn read() -> Self {
        Self::read_with(&mut Client::connect().expect("the kernel's IPVS"))
    }

    fn read_with(client: &mut Client) -> Self {
        let mut services = client.listing().expect("services");
        services.sort_by_key(|service| service.key);
        for service in &mut services {
            service.statistics = Default::default();
            service.destinations.sort_by_key(|destination| destination.key);
            for destination in &mut service.destinations {
                destination.statistics = Default::default();
            }
        }
        Self {
            services,
            timeouts: client.timeouts().expect("timeouts"),
            daemons: client.sync_daemons().expect("sync daemons"),
        }
    }

    pub(crate) fn has_daemons(&self) -> bool {
        !self.daemons.is_empty()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.services.is_empty()
    }

    /// Whether the timeouts are those of a fresh namespace.
    pub(crate) fn has_usual_timeouts(&self) -> bool {
        let Timeouts { tcp, tcp_fin, udp } = self.timeouts;
        (tcp, tcp_fin, udp) == (900, 120, 300)
    }

    /// Makes the namespace of the calling thread hold this; touches nothing where it does already.
    pub(crate) fn restore(&self) {
        let mut client = Client::connect().expect("the kernel's IPVS");
        let now = Self::read_with(&mut client);
        if now == *self {
            return;
        }
        if now.services != self.services {
            client.flush().expect("an empty table");
            let mut steps = Vec::new();
            for service in &self.services {
                steps.push(Step::AddService {
                    service: service.key,
                    spec: service.spec.clone(),
                });
                steps.extend(service.destinations.iter().map(|destination| Step::AddDestination {
                    service: service.key,
                    destination: destination.key,
                    spec: destination.spec,
                }));
            }
            for outcome in client.apply(&steps) {
                outcome.result.expect("a step that was possible before");
            }
        }
        if now.timeouts != self.timeouts {
            client.set_timeouts(&self.timeouts).expect("timeouts");
        }
        if now.daemons != self.daemons {
            for daemon in &now.daemons {
                client.stop_sync_daemon(daemon.role).expect("a daemon stopped");
            }
            for daemon in &self.daemons {
                client.start_sync_daemon(daemon).expect("a daemon started");
            }
        }
        assert_eq!(*self, Self::read_with(&mut client), "the table was not put back");
    }
}

//! What the keeper of the addresses says, and once only until it is something else.

use tracing::{error, info};

use super::Keeper;
use crate::model::VrrpAddress;
use crate::net::{Change, NetError};

impl Keeper {
    /// Says what is wrong with this host, once until it is something else.
    pub(super) fn say_of_host(&mut self, means: &'static str, result: Result<(), NetError>) {
        let Err(problem) = result else {
            self.said_of_host.remove(means);
            return;
        };
        self.troubled = true;
        let problem = problem.to_string();
        if self.said_of_host.get(means) != Some(&problem) {
            error!("{means}: {problem}; it is tried again every second");
            self.said_of_host.insert(means, problem);
        }
    }

    /// Says what has become of an address.
    pub(super) fn note(&mut self, address: &VrrpAddress, result: Result<Change, NetError>, done: &str) {
        match result {
            Ok(Change::Made) => {
                self.said.remove(address);
                info!(address = %address.address, device = address.device, "{done}");
            }
            Ok(Change::AlreadySo) => drop(self.said.remove(address)),
            Err(problem) => {
                self.troubled = true;
                let problem = problem.to_string();
                if self.said.insert(address.clone(), problem.clone()).as_ref() != Some(&problem) {
                    error!(address = %address.address, device = address.device, "{problem}");
                }
            }
        }
    }

    /// Says what has become of a route or rule.
    pub(super) fn note_routing(&mut self, what: &str, result: Result<Change, NetError>, done: &str) {
        match result {
            Ok(change) => {
                self.said_of_routes.remove(what);
                if change == Change::Made {
                    info!("{what} {done}");
                }
            }
            Err(problem) => {
                self.troubled = true;
                let problem = problem.to_string();
                if self.said_of_routes.insert(what.to_owned(), problem.clone()).as_ref() != Some(&problem) {
                    error!("{problem}");
                }
            }
        }
    }
}

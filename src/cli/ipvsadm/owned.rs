//! Services of a running daemon: a change to them is made as asked, and does not last.

use std::collections::BTreeSet;
use std::path::Path;

use super::session;
use crate::daemon::instance;
use crate::daemon::record::{DEFAULT_RUN_DIR, Record};
use crate::model::{ServiceKey, Step};

/// What was changed.
#[derive(Debug, Default)]
pub(super) struct Touched {
    services: BTreeSet<ServiceKey>,
    last: Option<ServiceKey>,
    all: bool,
    /// The verbs that do the same and last; none of them where more than one kind of change was made.
    lasting: Option<&'static str>,
}

impl Touched {
    pub(super) fn add(&mut self, step: &Step) {
        let lasting = match step {
            Step::SetDestination { .. } => "`ipvsd weight` or `ipvsd drain`, or the configuration file",
            Step::RemoveDestination { .. } => "`ipvsd maint` or `ipvsd drain`, or the configuration file",
            Step::AddService { .. }
            | Step::SetService { .. }
            | Step::RemoveService { .. }
            | Step::AddDestination { .. } => ANYTHING,
        };
        self.lasting = match self.lasting {
            None => Some(lasting),
            Some(before) if before == lasting => Some(lasting),
            Some(_) => Some(ANYTHING),
        };
        let service = step.service();
        // Lines on one service stand together.
        if self.last != Some(service) {
            self.last = Some(service);
            self.services.insert(service);
        }
    }

    pub(super) fn add_all(&mut self) {
        self.all = true;
        self.lasting = Some(ANYTHING);
    }
}

const ANYTHING: &str = "the configuration file";

/// One line where something was changed that belongs to a running daemon.
///
/// Who runs `ipvsd` with another run directory gets none: its record is not where it is looked for.
pub(super) fn warn(touched: &Touched) {
    let Some(lasting) = touched.lasting else { return };
    if !instance::is_running() {
        return;
    }
    let Ok(owned) = Record::open(Path::new(DEFAULT_RUN_DIR)).and_then(|record| record.load()) else {
        return;
    };
    let mut changed = owned
        .services
        .iter()
        .filter(|service| touched.all || touched.services.contains(service));
    let (Some(first), more) = (changed.next(), changed.count()) else {
        return;
    };
    let which = match more {
        0 => format!("{first} belongs"),
        more => format!("{first} and {more} more belong"),
    };
    session::add(&format!(
        "warning: {which} to the running ipvsd, which puts it back (what lasts: {lasting})"
    ));
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::Cli;
    use crate::model::{DestinationSpec, Forwarding};

    #[test]
    fn every_verb_that_is_named_is_there() {
        let service = "tcp 192.0.2.200:80".parse().expect("a service");
        let destination = "192.0.2.11:80".parse().expect("a destination");
        let spec = DestinationSpec::new(Forwarding::Nat, 1);
        let steps = [
            Step::SetDestination {
                service,
                destination,
                spec,
            },
            Step::RemoveDestination { service, destination },
        ];
        for step in steps {
            let mut touched = Touched::default();
            touched.add(&step);
            let words = touched.lasting.expect("something that lasts");
            let verbs: Vec<_> = words
                .split('`')
                .filter_map(|word| word.strip_prefix("ipvsd "))
                .collect();
            assert_eq!(verbs.len(), 2, "{words}");
            for verb in verbs {
                assert!(Cli::command().find_subcommand(verb).is_some(), "no verb {verb}");
            }
        }
    }
}

//! Runs the commands that the director asks for, beside the loop: those of one subject one after another, in order.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use tracing::{info, warn};

use crate::model::{Command, Excerpt, Subject};
use crate::process;

/// How many commands of one subject may wait. Of more, the oldest would tell of what is long past.
const MOST_WAITING: usize = 64;

struct Order {
    command: Arc<Command>,
    environment: BTreeMap<&'static str, String>,
}

/// The commands that wait, by subject; a subject is in here while somebody works for it.
#[derive(Clone, Default)]
pub(super) struct Commands(Arc<Mutex<BTreeMap<Subject, VecDeque<Order>>>>);

impl Commands {
    /// Takes a command in; it is run once the earlier ones of its subject have ended.
    pub(super) fn run(&self, subject: Subject, command: Arc<Command>, environment: BTreeMap<&'static str, String>) {
        let order = Order { command, environment };
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(queue) = waiting.get_mut(&subject) {
            if queue.len() >= MOST_WAITING {
                queue.pop_front();
                warn!("{subject}: {MOST_WAITING} commands wait already; the oldest is left out");
            }
            queue.push_back(order);
            return;
        }
        waiting.insert(subject.clone(), VecDeque::new());
        let commands = self.clone();
        tokio::spawn(async move {
            let mut next = Some(order);
            while let Some(order) = next {
                carry_out(&subject, &order).await;
                next = commands.next(&subject);
            }
        });
    }

    /// Whether none runs and none waits.
    pub(super) fn is_idle(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    fn next(&self, subject: &Subject) -> Option<Order> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let next = waiting.get_mut(subject)?.pop_front();
        if next.is_none() {
            waiting.remove(subject);
        }
        next
    }
}

async fn carry_out(subject: &Subject, order: &Order) {
    let Order { command, environment } = order;
    let event = environment.get("IPVSD_EVENT").map_or("", String::as_str);
    let program = command.argv.first().map_or("", String::as_str);
    let variables = environment.iter().map(|(name, value)| (*name, value.as_str()));
    let running = process::run(&command.argv, &command.user, variables);
    match tokio::time::timeout(command.timeout, running).await {
        Ok(Ok(ended)) if ended.status.success() => info!("{subject}: {event} command {program} is done"),
        Ok(Ok(ended)) => warn!(
            "{subject}: {event} command {program} ended with {}, saying {}",
            ended.status,
            Excerpt::of(ended.first_line())
        ),
        Ok(Err(problem)) => warn!("{subject}: {event} command: {problem}"),
        Err(_elapsed) => warn!(
            "{subject}: {event} command {program} was killed after {:?} (raise its `timeout`)",
            command.timeout
        ),
    }
}

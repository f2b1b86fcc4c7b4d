//! A client on a thread of its own, for asynchronous callers.
//!
//! One `send(2)` carries a whole batch out, loading modules and waiting for a scheduler change included, so it must
//! not run where timers and probes do. Orders are carried out one after the other. After trouble with the socket the
//! thread opens a new one for the next order.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::client::Client;
use super::error::IpvsError;
use super::table::LastLook;
use crate::model::{Refusal, RefusalKind, ServiceKey, Step, StepOutcome, Table, Timeouts};

enum Order {
    ReadTable {
        details: Arc<BTreeSet<ServiceKey>>,
        known: Option<Arc<Table>>,
        reply: oneshot::Sender<Result<Option<Table>, IpvsError>>,
    },
    Apply(Vec<Step>, oneshot::Sender<Vec<StepOutcome>>),
    SetTimeouts(Timeouts, oneshot::Sender<Result<(), IpvsError>>),
}

/// Gives orders to the netlink thread, which ends when the last handle is gone.
#[derive(Debug, Clone)]
pub struct Handle {
    orders: Sender<Order>,
    /// Somebody waits for a look at the table to end.
    hurry: Arc<AtomicBool>,
    /// Since when the thread is busy with an order.
    busy: Arc<Mutex<Option<Instant>>>,
}

impl Handle {
    /// Connects to the kernel's IPVS and starts the thread, in the network namespace of the calling thread.
    ///
    /// # Errors
    /// No IPVS in this kernel, no privilege, no thread.
    pub fn start() -> Result<Self, IpvsError> {
        let mut client = Client::connect()?;
        // The family can be found without any privilege; a read tells at once whether it is there.
        client.info()?;
        let (sender, orders) = channel();
        let busy = Arc::default();
        let told = Arc::clone(&busy);
        let hurry = Arc::default();
        let hurried = Arc::clone(&hurry);
        thread::Builder::new()
            .name("netlink".to_owned())
            .spawn(move || work(client, &orders, &hurried, &told))
            .map_err(|cause| IpvsError::Socket {
                action: "start the netlink thread",
                cause,
            })?;
        Ok(Self {
            orders: sender,
            hurry,
            busy,
        })
    }

    fn give(&self, order: Order) {
        let waits_for_others = !matches!(order, Order::ReadTable { .. });
        self.hurry.store(waits_for_others, Ordering::Relaxed);
        let _ = self.orders.send(order);
    }

    /// A look at the table that takes its time takes it no longer.
    pub fn hurry(&self) {
        self.hurry.store(true, Ordering::Relaxed);
    }

    /// How long the thread has been busy with the order that it carries out; zero where it waits for one.
    pub fn busy_for(&self) -> Duration {
        let since = *self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        since.map(|since| since.elapsed()).unwrap_or_default()
    }

    /// Reads the table; `details` are the services whose destinations are read in full. `None` says that it is the one
    /// that was `known`; such a look takes its time unless another order waits or somebody is in a hurry ([`Self::hurry`]).
    ///
    /// # Errors
    /// As [`Client::table`].
    pub fn read_table(
        &self,
        details: Arc<BTreeSet<ServiceKey>>,
        known: Option<Arc<Table>>,
    ) -> impl Future<Output = Result<Option<Table>, IpvsError>> + Send + use<> {
        let (reply, answer) = oneshot::channel();
        // Now and not when it is waited for: who is in a hurry from here on means this look.
        self.give(Order::ReadTable { details, known, reply });
        async move { answer.await.unwrap_or(Err(IpvsError::ThreadEnded)) }
    }

    /// Writes steps; see [`Client::apply`].
    pub async fn apply(&self, steps: Vec<Step>) -> Vec<StepOutcome> {
        let (reply, answer) = oneshot::channel();
        self.give(Order::Apply(steps.clone(), reply));
        answer.await.unwrap_or_else(|_| refused(steps, &IpvsError::ThreadEnded))
    }

    /// Sets the connection timeouts; 0 leaves one as it is.
    ///
    /// # Errors
    /// As [`Client::set_timeouts`].
    pub async fn set_timeouts(&self, timeouts: Timeouts) -> Result<(), IpvsError> {
        let (reply, answer) = oneshot::channel();
        self.give(Order::SetTimeouts(timeouts, reply));
        answer.await.unwrap_or(Err(IpvsError::ThreadEnded))
    }
}

fn refused(steps: Vec<Step>, error: &IpvsError) -> Vec<StepOutcome> {
    let refusal = |step: &Step| Refusal {
        kind: RefusalKind::Transient,
        message: format!("cannot {step}: {error}"),
    };
    steps
        .into_iter()
        .map(|step| StepOutcome {
            result: Err(refusal(&step)),
            step,
        })
        .collect()
}

fn work(client: Client, orders: &Receiver<Order>, hurry: &AtomicBool, busy: &Mutex<Option<Instant>>) {
    let mut current = Some(client);
    let mut last = LastLook::default();
    let note = |since| *busy.lock().unwrap_or_else(PoisonError::into_inner) = since;
    loop {
        note(None);
        let Ok(order) = orders.recv() else { return };
        note(Some(Instant::now()));
        let hurry = || hurry.load(Ordering::Relaxed);
        let mut client = match current.take().map_or_else(Client::connect, Ok) {
            Ok(client) => client,
            Err(error) => {
                decline(order, error);
                continue;
            }
        };
        // Whoever asked may be gone; then nobody wants the answer.
        let sound = match order {
            Order::ReadTable { details, known, reply } => {
                let read = client.table_unless(known.as_ref(), &mut last, |key| details.contains(key), hurry);
                // Whoever asked goes on with it alone.
                drop(known);
                let sound = read.is_ok();
                let _ = reply.send(read);
                sound
            }
            Order::Apply(steps, reply) => {
                let outcomes = client.apply(&steps);
                let lost = |outcome: &StepOutcome| {
                    outcome
                        .result
                        .as_ref()
                        .is_err_and(|refusal| refusal.kind == RefusalKind::Transient)
                };
                let sound = !outcomes.iter().any(lost);
                let _ = reply.send(outcomes);
                sound
            }
            Order::SetTimeouts(timeouts, reply) => {
                let set = client.set_timeouts(&timeouts);
                let sound = set.is_ok();
                let _ = reply.send(set);
                sound
            }
        };
        if sound {
            current = Some(client);
        }
    }
}

fn decline(order: Order, error: IpvsError) {
    match order {
        Order::ReadTable { reply, .. } => drop(reply.send(Err(error))),
        Order::Apply(steps, reply) => drop(reply.send(refused(steps, &error))),
        Order::SetTimeouts(_, reply) => drop(reply.send(Err(error))),
    }
}

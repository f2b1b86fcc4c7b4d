//! The thread that tells everybody, and the queues in front of it.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::task::AbortHandle;
use tracing::error;

use super::queue::Queue;
use super::{fifo, mail, webhook};
use crate::model::control::{EventKind, EventRecord};
use crate::model::{Mail, NotifySettings, Webhook};

/// How often it is looked whether everything has been told.
const AGAIN: Duration = Duration::from_millis(10);

/// Tells everybody who is to be told. What is told of is put into queues; nobody waits for it to arrive.
#[derive(Debug)]
pub struct Notifier {
    host: Arc<str>,
    /// Its only thread is started with the first one who is to be told.
    runtime: Option<Runtime>,
    fifo: Option<(Arc<Path>, Receiver<String>)>,
    webhooks: Vec<(Arc<Webhook>, Receiver<Arc<EventRecord>>)>,
    mail: Option<(Arc<Mail>, Receiver<Arc<EventRecord>>)>,
}

#[derive(Debug)]
struct Receiver<T> {
    queue: Arc<Queue<T>>,
    serving: AbortHandle,
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Drop for Notifier {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // What has not arrived by now is lost; the end is not held up.
            runtime.shutdown_background();
        }
    }
}

impl Notifier {
    /// One that tells nobody; `host` is whom the news is from.
    pub fn new(host: &str) -> Self {
        Self {
            host: host.into(),
            runtime: None,
            fifo: None,
            webhooks: Vec::new(),
            mail: None,
        }
    }

    /// Whom to tell from now on. Who stays as he was, keeps what waits for him.
    pub fn configure(&mut self, settings: &NotifySettings) {
        if *settings == NotifySettings::default() && self.runtime.is_none() {
            return;
        }
        if let Err(problem) = self.start() {
            error!("nobody can be notified: {problem}");
            return;
        }
        let Some(runtime) = &self.runtime else { return };
        if self.fifo.as_ref().map(|(path, _)| &**path) != settings.fifo.as_deref() {
            self.fifo = settings.fifo.as_deref().map(|path| {
                let path: Arc<Path> = path.into();
                let receiver = serve(runtime, |queue| fifo::serve(Arc::clone(&path), queue));
                (path, receiver)
            });
        }
        let mut before = std::mem::take(&mut self.webhooks);
        let names = webhook::names(settings.webhooks.iter().map(|webhook| &**webhook));
        for (wanted, name) in settings.webhooks.iter().zip(names) {
            let known = before.iter().position(|(webhook, _)| webhook == wanted);
            let kept = known.map(|place| before.swap_remove(place));
            self.webhooks.push(kept.unwrap_or_else(|| {
                let host = Arc::clone(&self.host);
                let serving = |queue| webhook::serve(Arc::clone(wanted), name, host, queue);
                (Arc::clone(wanted), serve(runtime, serving))
            }));
        }
        if self.mail.as_ref().map(|(mail, _)| mail) != settings.mail.as_ref() {
            self.mail = settings.mail.as_ref().map(|wanted| {
                let host = Arc::clone(&self.host);
                let serving = |queue| mail::serve(Arc::clone(wanted), host, queue);
                (Arc::clone(wanted), serve(runtime, serving))
            });
        }
    }

    fn start(&mut self) -> io::Result<()> {
        if self.runtime.is_none() {
            let mut builder = Builder::new_multi_thread();
            builder.worker_threads(1).max_blocking_threads(2);
            self.runtime = Some(builder.thread_name("notify").enable_all().build()?);
        }
        Ok(())
    }

    /// Tells of an event.
    pub fn tell(&self, event: &Arc<EventRecord>) {
        let wanted = |kinds: &[EventKind]| kinds.contains(&event.kind);
        for (webhook, receiver) in &self.webhooks {
            if wanted(&webhook.kinds) {
                receiver.queue.push(Arc::clone(event));
            }
        }
        if let Some((mail, receiver)) = &self.mail
            && wanted(&mail.kinds)
        {
            receiver.queue.push(Arc::clone(event));
        }
    }

    /// Writes lines into the FIFO, where there is one.
    pub fn tell_lines<L: IntoIterator<Item = String>>(&self, lines: impl FnOnce() -> L) {
        if let Some((_, receiver)) = &self.fifo {
            for line in lines() {
                receiver.queue.push(line);
            }
        }
    }

    /// Waits until everything has been told, or tried. Mail is no longer gathered.
    pub async fn settle(&self) {
        if let Some((_, receiver)) = &self.mail {
            receiver.queue.call_the_last();
        }
        let idle = || {
            let mail = self.mail.as_ref().is_none_or(|(_, receiver)| receiver.queue.is_idle());
            let fifo = self.fifo.as_ref().is_none_or(|(_, receiver)| receiver.queue.is_idle());
            mail && fifo && self.webhooks.iter().all(|(_, receiver)| receiver.queue.is_idle())
        };
        while !idle() {
            tokio::time::sleep(AGAIN).await;
        }
    }
}

fn serve<T, F: Future<Output = ()> + Send + 'static>(
    runtime: &Runtime,
    serving: impl FnOnce(Arc<Queue<T>>) -> F,
) -> Receiver<T> {
    let queue = Arc::new(Queue::default());
    let serving = runtime.spawn(serving(Arc::clone(&queue))).abort_handle();
    Receiver { queue, serving }
}

//! The thread that tells everybody, and the queues in front of it.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tracing::{error, warn};

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
    fifo: Option<Receiver<Arc<Path>, String>>,
    webhooks: Vec<Receiver<webhook::Named, Arc<EventRecord>>>,
    mail: Option<Receiver<Arc<Mail>, Arc<EventRecord>>>,
}

/// Somebody who is told: by which settings, what waits for him, and who serves him.
#[derive(Debug)]
struct Receiver<S, T> {
    settings: watch::Sender<S>,
    queue: Arc<Queue<T>>,
    serving: AbortHandle,
}

impl<S: PartialEq, T> Receiver<S, T> {
    fn begin<F: Future<Output = ()> + Send + 'static>(
        runtime: &Runtime,
        settings: S,
        serve: impl FnOnce(watch::Receiver<S>, Arc<Queue<T>>) -> F,
    ) -> Self {
        let queue = Arc::new(Queue::default());
        let (settings, told) = watch::channel(settings);
        let serving = runtime.spawn(serve(told, Arc::clone(&queue))).abort_handle();
        Self {
            settings,
            queue,
            serving,
        }
    }

    /// Goes on by other settings, with what waits.
    fn go_by(&self, settings: S) {
        self.settings.send_if_modified(|current| {
            let changes = *current != settings;
            *current = settings;
            changes
        });
    }
}

impl<S, T> Drop for Receiver<S, T> {
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

    /// Whom to tell from now on. Who stays keeps what waits for him, by whatever settings; of who goes it is said what he
    /// was not told.
    pub fn configure(&mut self, settings: &NotifySettings) {
        if *settings == NotifySettings::default() && self.runtime.is_none() {
            return;
        }
        for left_out in self.reconfigure(settings) {
            warn!("not told, for the configuration has him no more: {left_out}");
        }
    }

    /// Answers with what waited for those who go.
    fn reconfigure(&mut self, settings: &NotifySettings) -> Vec<String> {
        if let Err(problem) = self.start() {
            error!("nobody can be notified: {problem}");
            return Vec::new();
        }
        let Some(runtime) = &self.runtime else {
            return Vec::new();
        };
        let mut left_out = Vec::new();
        match (settings.fifo.as_deref().map(Arc::from), &self.fifo) {
            (Some(path), Some(fifo)) => fifo.go_by(path),
            (Some(path), None) => self.fifo = Some(Receiver::begin(runtime, path, fifo::serve)),
            (None, _) => left_out.extend(self.fifo.take().and_then(|fifo| fifo.untold())),
        }
        let names = webhook::names(settings.webhooks.iter().map(|webhook| &**webhook));
        let known: Vec<_> = self.webhooks.iter().map(Receiver::webhook).collect();
        let successors = webhook::successors(
            &known.iter().map(|webhook| &**webhook).collect::<Vec<_>>(),
            &settings.webhooks.iter().map(|webhook| &**webhook).collect::<Vec<_>>(),
        );
        let mut before: Vec<_> = std::mem::take(&mut self.webhooks).into_iter().map(Some).collect();
        for ((webhook, name), successor) in settings.webhooks.iter().zip(names).zip(successors) {
            let named = webhook::Named {
                webhook: Arc::clone(webhook),
                name,
            };
            let kept = successor.and_then(|place| before.get_mut(place)?.take());
            self.webhooks.push(match kept {
                Some(kept) => {
                    kept.queue.keep(|event| webhook.kinds.contains(&event.kind));
                    kept.go_by(named);
                    kept
                }
                None => {
                    let host = Arc::clone(&self.host);
                    Receiver::begin(runtime, named, |named, queue| webhook::serve(named, host, queue))
                }
            });
        }
        left_out.extend(before.into_iter().flatten().filter_map(|gone| gone.untold()));
        match (&settings.mail, &self.mail) {
            (Some(wanted), Some(mail)) => {
                mail.queue.keep(|event| wanted.kinds.contains(&event.kind));
                mail.go_by(Arc::clone(wanted));
            }
            (Some(wanted), None) => {
                let host = Arc::clone(&self.host);
                let serve = |mail, queue| mail::serve(mail, host, queue);
                self.mail = Some(Receiver::begin(runtime, Arc::clone(wanted), serve));
            }
            (None, _) => left_out.extend(self.mail.take().and_then(|mail| mail.untold())),
        }
        left_out
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
        for receiver in &self.webhooks {
            if wanted(&receiver.webhook().kinds) {
                receiver.queue.push(Arc::clone(event));
            }
        }
        if let Some(receiver) = &self.mail
            && wanted(&receiver.settings.borrow().kinds)
        {
            receiver.queue.push(Arc::clone(event));
        }
    }

    /// Writes lines into the FIFO, where there is one.
    pub fn tell_lines<L: IntoIterator<Item = String>>(&self, lines: impl FnOnce() -> L) {
        if let Some(receiver) = &self.fifo {
            for line in lines() {
                receiver.queue.push(line);
            }
        }
    }

    /// Mail is no longer gathered: this process is about to end, or to become another program.
    pub fn call_the_last(&self) {
        if let Some(receiver) = &self.mail {
            receiver.queue.call_the_last();
        }
    }

    /// It goes on after all.
    pub fn take_back_the_call(&self) {
        if let Some(receiver) = &self.mail {
            receiver.queue.take_back_the_call();
        }
    }

    /// Waits until everything has been told, or tried. Mail is no longer gathered.
    pub async fn settle(&self) {
        self.call_the_last();
        let idle = || {
            let mail = self.mail.as_ref().is_none_or(|receiver| receiver.queue.is_idle());
            let fifo = self.fifo.as_ref().is_none_or(|receiver| receiver.queue.is_idle());
            mail && fifo && self.webhooks.iter().all(|receiver| receiver.queue.is_idle())
        };
        while !idle() {
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// What has not been told by now, in words: how much, and to whom.
    pub fn untold(&self) -> Vec<String> {
        let fifo = self.fifo.iter().filter_map(Receiver::<Arc<Path>, _>::untold);
        let webhooks = self.webhooks.iter().filter_map(Receiver::<webhook::Named, _>::untold);
        let mail = self.mail.iter().filter_map(Receiver::<Arc<Mail>, _>::untold);
        fifo.chain(webhooks).chain(mail).collect()
    }
}

impl<T> Receiver<Arc<Path>, T> {
    fn untold(&self) -> Option<String> {
        let path = Arc::clone(&self.settings.borrow());
        counted(self.queue.untold(), "line", &format!("the FIFO {}", path.display()))
    }
}

impl<T> Receiver<webhook::Named, T> {
    fn webhook(&self) -> Arc<Webhook> {
        Arc::clone(&self.settings.borrow().webhook)
    }

    fn untold(&self) -> Option<String> {
        let name = self.settings.borrow().name.clone();
        counted(self.queue.untold(), "event", &format!("webhook {name}"))
    }
}

impl<T> Receiver<Arc<Mail>, T> {
    fn untold(&self) -> Option<String> {
        let server = self.settings.borrow().server.clone();
        counted(self.queue.untold(), "event", &format!("mail by way of {server}"))
    }
}

fn counted(count: u64, what: &str, whom: &str) -> Option<String> {
    let plural = if count == 1 { "" } else { "s" };
    (count > 0).then(|| format!("{count} {what}{plural} for {whom}"))
}

/// Waits for another attempt, as long as these settings say or until there are others, by which another one is worth while
/// even where there would be none; `false` where there is none.
pub(super) async fn another_attempt<S>(settings: &mut watch::Receiver<S>, wait: Option<Duration>) -> bool {
    match wait {
        Some(wait) => {
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                Ok(()) = settings.changed() => {}
            }
            true
        }
        None => settings.has_changed().unwrap_or(false),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::sync::mpsc;

    use super::*;
    use crate::model::control::Level;
    use crate::model::{Delivery, MailTls, Trust, UnixTime};

    const SOON: Duration = Duration::from_secs(30);

    fn event(number: u64) -> Arc<EventRecord> {
        let time = UnixTime::from_millis(1_700_000_000_000);
        Arc::new(EventRecord {
            number,
            ..EventRecord::new(time, EventKind::Vrrp, Level::Info, format!("event {number}"))
        })
    }

    /// It would be long until the next attempt.
    const DELIVERY: Delivery = Delivery {
        timeout: Duration::from_secs(20),
        retries: 3,
        retry_interval: Duration::from_secs(3600),
    };

    fn webhook(port: u16) -> Arc<Webhook> {
        Arc::new(Webhook {
            tls: false,
            host: "127.0.0.1".to_owned(),
            port,
            path: "/".to_owned(),
            headers: Vec::new(),
            trust: Trust::System,
            kinds: vec![EventKind::Vrrp],
            delivery: DELIVERY,
        })
    }

    fn mail(port: u16) -> Arc<Mail> {
        Arc::new(Mail {
            server: "127.0.0.1".to_owned(),
            port,
            tls: MailTls::Off,
            trust: Trust::System,
            login: None,
            helo: None,
            from: "ipvsd@example.net".to_owned(),
            to: vec!["ops@example.net".to_owned()],
            gather: Duration::from_secs(3600),
            kinds: vec![EventKind::Vrrp],
            delivery: DELIVERY,
        })
    }

    /// A port that nobody listens on.
    fn nobody() -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.local_addr().expect("an address").port()
    }

    /// Somebody who listens, and what he is told of each connection.
    fn listen(hear: impl Fn(TcpStream) -> String + Send + 'static) -> (u16, mpsc::Receiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (sender, heard) = mpsc::channel();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if sender.send(hear(stream)).is_err() {
                    return;
                }
            }
        });
        (port, heard)
    }

    fn take_post(stream: TcpStream) -> String {
        let mut lines = BufReader::new(stream);
        let (mut line, mut length) = (String::new(), 0);
        while lines.read_line(&mut line).expect("a line") > 2 {
            if let Some(text) = line.to_lowercase().strip_prefix("content-length:") {
                length = text.trim().parse().expect("a length");
            }
            line.clear();
        }
        let mut body = vec![0; length];
        lines.read_exact(&mut body).expect("a body");
        let answer = b"HTTP/1.1 204 No Content\r\n\r\n";
        lines.into_inner().write_all(answer).expect("an answer");
        String::from_utf8(body).expect("text")
    }

    fn take_mail(mut stream: TcpStream) -> String {
        let lines = BufReader::new(stream.try_clone().expect("the same stream")).lines();
        let mut told = String::new();
        let mut inside = false;
        let mut say = |text: &str| stream.write_all(format!("{text}\r\n").as_bytes()).expect("a word");
        say("220 mail");
        for line in lines.map_while(Result::ok) {
            match line.split(' ').next().unwrap_or_default() {
                "." => {
                    inside = false;
                    say("250 taken");
                }
                _ if inside => told = format!("{told}{line}\n"),
                "DATA" => {
                    inside = true;
                    say("354 go");
                }
                "QUIT" => break,
                _ => say("250 yes"),
            }
        }
        told
    }

    #[test]
    fn what_waits_is_told_by_the_next_settings() {
        let mut notifier = Notifier::new("lb1");
        let settings = |port| NotifySettings {
            fifo: None,
            webhooks: vec![webhook(port)],
            mail: None,
        };
        let refuses = nobody();
        assert_eq!(notifier.reconfigure(&settings(refuses)), Vec::<String>::new());
        for number in 1..=3 {
            notifier.tell(&event(number));
        }
        let untold = [format!("3 events for webhook http://127.0.0.1:{refuses}")];
        assert_eq!(notifier.untold(), untold);
        let (port, heard) = listen(take_post);
        assert_eq!(notifier.reconfigure(&settings(port)), Vec::<String>::new());
        for number in 1..=3 {
            let body = heard.recv_timeout(SOON).expect("an event");
            assert!(body.contains(&format!("\"event {number}\"")), "{body}");
        }
    }

    #[test]
    fn mail_that_is_gathered_goes_out_by_the_next_settings_when_the_last_is_called() {
        let mut notifier = Notifier::new("lb1");
        let settings = |port| NotifySettings {
            fifo: None,
            webhooks: Vec::new(),
            mail: Some(mail(port)),
        };
        notifier.configure(&settings(nobody()));
        notifier.tell(&event(1));
        notifier.tell(&event(2));
        let (port, heard) = listen(take_mail);
        assert_eq!(notifier.reconfigure(&settings(port)), Vec::<String>::new());
        assert_eq!(notifier.untold(), ["2 events for mail by way of 127.0.0.1"]);
        notifier.call_the_last();
        let told = heard.recv_timeout(SOON).expect("a mail");
        assert!(told.contains("event 1") && told.contains("event 2"), "{told}");
        // Whoever was to take this one's place did not.
        notifier.take_back_the_call();
        notifier.tell(&event(3));
        let began = std::time::Instant::now();
        while notifier.untold() != ["1 event for mail by way of 127.0.0.1"] {
            assert!(began.elapsed() < SOON, "{:?}", notifier.untold());
            std::thread::sleep(AGAIN);
        }
        assert!(
            heard.recv_timeout(Duration::from_millis(200)).is_err(),
            "it is gathered"
        );
    }

    #[test]
    fn who_goes_is_named_with_what_he_was_not_told() {
        let mut notifier = Notifier::new("lb1");
        let (one, other) = (nobody(), nobody());
        notifier.configure(&NotifySettings {
            fifo: Some("/no/such/place/fifo".into()),
            webhooks: vec![webhook(one), webhook(other)],
            mail: Some(mail(one)),
        });
        notifier.tell(&event(1));
        notifier.tell(&event(2));
        let left = notifier.reconfigure(&NotifySettings {
            webhooks: vec![webhook(other)],
            ..NotifySettings::default()
        });
        let wanted = [
            format!("2 events for webhook http://127.0.0.1:{one}"),
            "2 events for mail by way of 127.0.0.1".to_owned(),
        ];
        assert_eq!(left, wanted);
        let unwanted = Webhook {
            kinds: vec![EventKind::Tier],
            ..Webhook::clone(&webhook(other))
        };
        notifier.reconfigure(&NotifySettings {
            webhooks: vec![Arc::new(unwanted)],
            ..NotifySettings::default()
        });
        notifier.tell(&event(3));
        // Where the first one is being posted already, that goes on.
        let posted = format!("1 event for webhook http://127.0.0.1:{other}");
        assert!(
            notifier.untold().iter().all(|untold| *untold == posted),
            "{:?}",
            notifier.untold()
        );
    }
}

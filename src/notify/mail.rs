//! Mail: what happens within a moment is one message, tried again a few times, and then given up.

use std::sync::Arc;
use std::time::Duration;

use lettre::message::Message;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::warn;

use super::letter;
use super::lookup;
use super::queue::Queue;
use super::task::another_attempt;
use crate::checkers::read_secret;
use crate::model::control::EventRecord;
use crate::model::{Mail, MailTls, Trust};

/// Sends what is told, for good, by the settings of the moment.
pub(super) async fn serve(mut mail: watch::Receiver<Arc<Mail>>, host: Arc<str>, queue: Arc<Queue<Arc<EventRecord>>>) {
    loop {
        let (first, lost_before) = queue.next().await;
        gather(&mut mail, &queue).await;
        let mut events = vec![first];
        let (rest, lost_since) = queue.rest();
        events.extend(rest);
        let (subject, text) = letter::compose(&host, &events, lost_before + lost_since);
        deliver(&mut mail, &host, &subject, &text).await;
    }
}

/// Lets more come in.
async fn gather(mail: &mut watch::Receiver<Arc<Mail>>, queue: &Queue<Arc<EventRecord>>) {
    let began = Instant::now();
    loop {
        let gather = mail.borrow_and_update().gather;
        tokio::select! {
            () = sleep_until(began + gather) => return,
            () = queue.called_the_last() => return,
            Ok(()) = mail.changed() => {}
        }
    }
}

async fn deliver(settings: &mut watch::Receiver<Arc<Mail>>, host: &str, subject: &str, text: &str) {
    for attempt in 0.. {
        let mail = Arc::clone(&settings.borrow_and_update());
        let why = match timeout(mail.delivery.timeout, send(&mail, host, subject, text, attempt)).await {
            Ok(Ok(())) => return,
            Ok(Err(why)) => why,
            Err(_elapsed) => "no answer in time".to_owned(),
        };
        if !another_attempt(settings, mail.delivery.wait_after(attempt)).await {
            let (server, attempts) = (&mail.server, attempt + 1);
            warn!("no mail could be sent by way of {server} ({attempts} attempts): {why}: {subject}");
            return;
        }
    }
}

/// Each attempt goes to the server's addresses one after the other, and begins with the next one.
async fn send(mail: &Mail, host: &str, subject: &str, text: &str, attempt: u32) -> Result<(), String> {
    let end = Instant::now() + mail.delivery.timeout;
    let message = message(mail, host, subject, text)?;
    let tls = match mail.tls {
        MailTls::Off => Tls::None,
        MailTls::StartTls => Tls::Required(parameters(mail).await?),
        MailTls::Implicit => Tls::Wrapper(parameters(mail).await?),
    };
    let login = match &mail.login {
        Some((user, secret)) => Some(Credentials::new(user.clone(), read_secret(secret).await?)),
        None => None,
    };
    let mut addresses = lookup::addresses(&mail.server, mail.delivery.timeout).await?;
    let first = attempt as usize % addresses.len().max(1);
    addresses.rotate_left(first);
    let left = end.saturating_duration_since(Instant::now());
    lookup::one_after_the_other(&addresses, left, |address| {
        let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(address.to_string())
            .port(mail.port)
            .tls(tls.clone())
            .hello_name(ClientId::Domain(mail.helo.clone().unwrap_or_else(|| host.to_owned())))
            .timeout(Some(mail.delivery.timeout.max(Duration::from_secs(1))));
        if let Some(login) = &login {
            transport = transport.credentials(login.clone());
        }
        let (transport, message) = (transport.build(), message.clone());
        async move {
            let sent = transport.send(message).await;
            sent.map(drop).map_err(|problem| with_causes(&problem))
        }
    })
    .await
}

fn message(mail: &Mail, host: &str, subject: &str, text: &str) -> Result<Message, String> {
    let mailbox = |text: &str| {
        text.parse()
            .map_err(|problem| format!("{text} is no address: {problem}"))
    };
    let mut message = Message::builder()
        .from(mailbox(&mail.from)?)
        .subject(subject)
        .message_id(None)
        .user_agent(concat!("ipvsd/", env!("CARGO_PKG_VERSION")).to_owned())
        .header(ContentType::TEXT_PLAIN);
    for recipient in &mail.to {
        message = message.to(mailbox(recipient)?);
    }
    let mut message = message.body(text.to_owned()).map_err(|problem| problem.to_string())?;
    // Nobody's holiday notice has to answer (RFC 3834, 5).
    for (name, value) in [("Auto-Submitted", "auto-generated"), ("X-Ipvsd-Host", host)] {
        if let Ok(name) = HeaderName::new_from_ascii(name.to_owned()) {
            message
                .headers_mut()
                .insert_raw(HeaderValue::new(name, value.to_owned()));
        }
    }
    Ok(message)
}

async fn parameters(mail: &Mail) -> Result<TlsParameters, String> {
    let builder = TlsParameters::builder(mail.server.clone());
    let builder = match &mail.trust {
        Trust::System => builder,
        Trust::Anybody => builder.dangerous_accept_invalid_certs(true),
        Trust::File(path) => {
            let pem = tokio::fs::read(path).await;
            let pem = pem.map_err(|problem| format!("cannot read {}: {problem}", path.display()))?;
            let certificate = Certificate::from_pem(&pem);
            let certificate = certificate.map_err(|problem| format!("{} is no PEM file: {problem}", path.display()))?;
            builder
                .certificate_store(CertificateStore::None)
                .add_root_certificate(certificate)
        }
    };
    // The system's certificates are read from files.
    let built = tokio::task::spawn_blocking(move || builder.build_rustls()).await;
    match built {
        Ok(built) => built.map_err(|problem| with_causes(&problem)),
        Err(problem) => Err(problem.to_string()),
    }
}

fn with_causes(problem: &dyn std::error::Error) -> String {
    let mut words = problem.to_string();
    let mut source = problem.source();
    while let Some(inner) = source {
        let text = inner.to_string();
        if !words.contains(&text) {
            words = format!("{words}: {text}");
        }
        source = inner.source();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Delivery;

    #[test]
    fn a_message_has_all_recipients_and_says_that_it_is_a_machines() {
        let mail = Mail {
            server: "mail.example.net".to_owned(),
            port: 25,
            tls: MailTls::Off,
            trust: Trust::System,
            login: None,
            helo: None,
            from: "Directors <ipvsd@example.net>".to_owned(),
            to: vec!["one@example.net".to_owned(), "two@example.net".to_owned()],
            gather: Duration::ZERO,
            kinds: Vec::new(),
            delivery: Delivery::default(),
        };
        let message = message(&mail, "lb1", "[ipvsd lb1] näws", "text ä\n").expect("a message");
        let text = String::from_utf8(message.formatted()).expect("ASCII");
        for line in [
            "From: Directors <ipvsd@example.net>",
            "To: one@example.net, two@example.net",
            "Auto-Submitted: auto-generated",
            "X-Ipvsd-Host: lb1",
            "Message-ID: <",
            "Date: ",
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
        assert!(text.is_ascii(), "{text}");
    }
}

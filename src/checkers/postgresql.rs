//! The PostgreSQL probe.
//!
//! Without a user it goes as far as a refused login, as pg_isready(1) does: whoever refuses a login is there.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::{ChannelBinding, NoTls, TlsConnect};
use tokio_postgres::{Client, Config, SimpleQueryMessage};

use super::attempt::Attempt;
use super::{Findings, Verdict, fault, secret, tls};
use crate::model::{Excerpt, FailureCause, PostgresqlProbe, ProbeOutcome, ProbeWarning, Query, Stage, TlsSettings};

/// The most that is read in all.
const LIMIT: usize = 256 * 1024;
/// The user of a check without one; that it does not exist is the rule.
const STRANGER: &str = "ipvsd";

pub(super) async fn probe(attempt: &Attempt<'_>, settings: &PostgresqlProbe) -> Verdict {
    let password = secret::read(settings.login.as_ref().and_then(|login| login.password.as_ref())).await?;
    let user = settings.login.as_ref().map_or(STRANGER, |login| login.user.as_str());
    let mut config = Config::new();
    config.user(user).application_name("ipvsd");
    if settings.login.as_ref().is_some_and(|login| login.password.is_some()) {
        config.password(password);
    }
    if let Some(database) = &settings.database {
        config.dbname(database);
    }
    let stream = Bounded {
        inner: attempt.connect().await?,
        left: LIMIT,
    };
    attempt.await_stage(Stage::Login);
    let mut warning = None;
    let met = match &settings.tls {
        None => {
            config.ssl_mode(SslMode::Disable);
            match config.connect_raw(stream, NoTls).await {
                Ok((client, connection)) => converse(attempt, settings, client, connection).await,
                Err(error) => Err(error),
            }
        }
        Some(tls_settings) => {
            config.ssl_mode(SslMode::Require);
            let tls = Handshake {
                attempt,
                settings: tls_settings,
                warning: &mut warning,
            };
            match config.connect_raw(stream, tls).await {
                Ok((client, connection)) => converse(attempt, settings, client, connection).await,
                Err(error) => Err(error),
            }
        }
    };
    match met {
        Ok(verdict) => verdict?,
        Err(error) if settings.login.is_none() && is_refused_login(&error) => (),
        Err(error) => return Err(classify(&error)),
    }
    Ok(Findings {
        warning,
        ..Findings::default()
    })
}

/// Asks what the check wants to know, while the connection is kept moving.
async fn converse<S, T>(
    attempt: &Attempt<'_>,
    settings: &PostgresqlProbe,
    client: Client,
    mut connection: tokio_postgres::Connection<S, T>,
) -> Result<Result<(), ProbeOutcome>, tokio_postgres::Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    attempt.await_stage(Stage::Query);
    let mut asked = pin!(questions(settings, &client));
    loop {
        let message = tokio::select! {
            biased;
            asked = &mut asked => return asked,
            message = poll_fn(|context| connection.poll_message(context)) => message,
        };
        match message {
            // A notice.
            Some(Ok(_)) => (),
            Some(Err(error)) => return Err(error),
            None => {
                drop(connection);
                return asked.await;
            }
        }
    }
}

async fn questions(
    settings: &PostgresqlProbe,
    client: &Client,
) -> Result<Result<(), ProbeOutcome>, tokio_postgres::Error> {
    if let Some(wanted) = settings.read_only {
        let found = value(client, "SHOW transaction_read_only").await?;
        let is = found.as_deref() == Some("on");
        let words = |read_only| Excerpt::words(if read_only { "read-only" } else { "writable" });
        if is != wanted {
            return Ok(Err(ProbeOutcome::Failure(FailureCause::Unexpected {
                what: "the server",
                wanted: words(wanted),
                got: words(is),
            })));
        }
    }
    if let Some(Query { text, expect }) = &settings.query {
        let found = value(client, text).await?;
        return Ok(super::judge_value(expect.as_ref(), found.as_deref()));
    }
    Ok(Ok(()))
}

/// The first column of the first row.
async fn value(client: &Client, query: &str) -> Result<Option<String>, tokio_postgres::Error> {
    let messages = client.simple_query(query).await?;
    Ok(messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) if !row.is_empty() => row.get(0).map(str::to_owned),
        _ => None,
    }))
}

/// Whether the server is well and only does not let this user in.
fn is_refused_login(error: &tokio_postgres::Error) -> bool {
    let Some(error) = error.as_db_error() else {
        // It asked for a password, which a stranger has not.
        return error.to_string().contains("password missing") || is_missing_password(error);
    };
    // Class 28: invalid authorization; 3D000: no such database.
    error.code().code().starts_with("28") || *error.code() == SqlState::INVALID_CATALOG_NAME
}

fn is_missing_password(error: &tokio_postgres::Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.to_string().contains("password missing"))
}

fn classify(error: &tokio_postgres::Error) -> ProbeOutcome {
    if let Some(refusal) = error.as_db_error() {
        let words = format!("{}: {}", refusal.code().code(), refusal.message());
        return ProbeOutcome::Failure(FailureCause::Denied(Excerpt::of(words)));
    }
    let mut words = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        if let Some(handshake) = inner.downcast_ref::<Failed>() {
            return handshake.0.clone();
        }
        if let Some(io) = inner.downcast_ref::<io::Error>() {
            if io.get_ref().is_some_and(|cause| cause.is::<TooMuch>()) {
                let (what, limit) = (Stage::Query, LIMIT);
                return ProbeOutcome::Failure(FailureCause::TooLong { what, limit });
            }
            let is_told_elsewhere = io.raw_os_error().is_some() || tls::cause::within(io).is_some();
            if is_told_elsewhere || io.kind() == io::ErrorKind::UnexpectedEof {
                return fault::of_stream(io, Stage::Login);
            }
        }
        words = format!("{words}: {inner}");
        source = inner.source();
    }
    if error.is_closed() || words.contains("bytes remaining on stream") {
        return ProbeOutcome::Failure(FailureCause::Closed(Stage::Query));
    }
    ProbeOutcome::Failure(FailureCause::Malformed {
        protocol: "PostgreSQL",
        why: words.into(),
    })
}

/// The TLS handshake that the library asks for once the server has agreed to one.
struct Handshake<'a, 'b> {
    attempt: &'a Attempt<'b>,
    settings: &'a TlsSettings,
    warning: &'a mut Option<ProbeWarning>,
}

impl<'a> TlsConnect<Bounded<TcpStream>> for Handshake<'a, '_> {
    type Stream = Encrypted;
    type Error = Failed;
    type Future = Pin<Box<dyn Future<Output = Result<Encrypted, Failed>> + Send + 'a>>;

    fn connect(self, stream: Bounded<TcpStream>) -> Self::Future
    where
        Self: 'a,
    {
        Box::pin(async move {
            let (stream, warning) = tls::handshake(self.attempt, stream, self.settings, &[])
                .await
                .map_err(Failed)?;
            *self.warning = warning;
            self.attempt.await_stage(Stage::Login);
            Ok(Encrypted(stream))
        })
    }
}

/// A handshake that came to nothing.
#[derive(Debug, thiserror::Error)]
#[error("no TLS connection")]
struct Failed(ProbeOutcome);

/// More was sent than is read.
#[derive(Debug, thiserror::Error)]
#[error("too much was sent")]
struct TooMuch;

/// A stream that gives up after so many bytes.
struct Bounded<S> {
    inner: S,
    left: usize,
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(context, buffer);
        let read = buffer.filled().len() - before;
        match self.left.checked_sub(read) {
            Some(left) => {
                self.left = left;
                polled
            }
            None => Poll::Ready(Err(io::Error::other(TooMuch))),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

/// A TLS stream as the library wants one.
struct Encrypted(tokio_rustls::client::TlsStream<Bounded<TcpStream>>);

impl tokio_postgres::tls::TlsStream for Encrypted {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl AsyncRead for Encrypted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Encrypted {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

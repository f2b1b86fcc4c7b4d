//! The MySQL and MariaDB probe.
//!
//! Without a user it goes as far as a refused login: a server counts connections that end at its greeting, and shuts
//! a host out after `max_connect_errors` of them; a refused login does not count. So whatever a probe comes to, it leaves
//! a login behind: also where the server's certificate is not good, where it has no TLS, and where it says nothing.

use socket2::{SockRef, Socket};
use tokio::net::TcpStream;

use super::attempt::Attempt;
use super::packet::mysql::{self as packet, Answer, Greeting};
use super::tls::Stream;
use super::{Findings, Verdict, fault, secret, tls};
use crate::model::{Excerpt, FailureCause, MysqlProbe, ProbeOutcome, ProbeWarning, Query, Stage};

/// The most that is read for one packet and for one result.
const LIMIT: usize = 64 * 1024;
/// The user of a check without one; that it does not exist is the rule.
const STRANGER: &str = "ipvsd";
/// Errors that say that a server takes nobody in: too many connections, no thread or memory for one, shutting down,
/// host blocked, out of resources.
const NOT_NOW: [u16; 7] = [1040, 1041, 1053, BLOCKED, 1135, 1161, 1203];
/// This host has had more failed connections in a row than `max_connect_errors`.
const BLOCKED: u16 = 1129;
const FULL_LOGIN: u8 = 4;

pub(super) async fn probe(attempt: &Attempt<'_>, settings: &MysqlProbe) -> Verdict {
    let password = secret::read(settings.login.as_ref().and_then(|login| login.password.as_ref())).await?;
    let stream = attempt.connect().await?;
    let farewell = Farewell::of(&stream)?;
    let mut session = Session {
        attempt,
        stream: Box::new(stream),
        received: Vec::new(),
        number: 0,
    };
    attempt.await_stage(Stage::Greeting);
    let content = session.packet(Stage::Greeting).await?;
    farewell.call_off();
    if let Some((number, words)) = packet::error_in(&content) {
        return Err(refused(number, &words));
    }
    let greeting = Greeting::read(&content).map_err(malformed)?;
    let mut warning = None;
    let objection = match &settings.tls {
        None => None,
        Some(_) if !greeting.has_tls() => Some(ProbeOutcome::Failure(FailureCause::Tls("the server has none".into()))),
        Some(tls_settings) => {
            let (warned, objection) = session.start_tls(tls_settings, settings.database.is_some()).await?;
            warning = warned;
            objection
        }
    };
    if let Some(objection) = objection {
        session
            .leave_as_a_stranger(&greeting, settings.tls.is_some() && greeting.has_tls())
            .await;
        return Err(objection);
    }
    let found = Findings {
        warning,
        ..Findings::default()
    };
    let user = settings.login.as_ref().map_or(STRANGER, |login| login.user.as_str());
    let logged_in = session
        .log_in(
            &greeting,
            user,
            &password,
            settings.database.as_deref(),
            settings.tls.is_some(),
        )
        .await;
    match (&settings.login, logged_in) {
        (_, Ok(())) => (),
        (None, Err(Refusal::Server(number, _))) if !NOT_NOW.contains(&number) => return Ok(found),
        (None, Err(Refusal::Plugin(_))) => return Ok(found),
        (_, Err(Refusal::Server(number, words))) => return Err(refused(number, &words)),
        (_, Err(Refusal::Plugin(why))) => return Err(ProbeOutcome::Failure(FailureCause::Denied(Excerpt::words(why)))),
        (_, Err(Refusal::Outcome(outcome))) => return Err(outcome),
    }
    session.questions(settings, &greeting).await?;
    // Whether the farewell arrives changes nothing.
    session.number = 0;
    let _ = session.send(&packet::quit()).await;
    Ok(found)
}

/// A login that is left behind where a probe ends before the server has said anything. A server that hangs finds the
/// connections of all probes meanwhile when it goes on, and would count each that has nothing in it.
struct Farewell(Option<Socket>);

impl Farewell {
    fn of(stream: &TcpStream) -> Result<Self, ProbeOutcome> {
        let socket = SockRef::from(stream).try_clone().map_err(|error| fault::of(&error))?;
        Ok(Self(Some(socket)))
    }

    fn call_off(mut self) {
        self.0 = None;
    }
}

impl Drop for Farewell {
    fn drop(&mut self) {
        if let Some(socket) = &self.0 {
            // No greeting has told how to scramble a password, nor is there one in this.
            let login = packet::login(false, STRANGER, b"", None, "mysql_native_password");
            // A reset would take it back. Where it cannot be sent, nothing is lost.
            let _ = socket.set_linger(None);
            let _ = socket.send(&packet::frame(1, &login));
        }
    }
}

/// Why a login came to nothing.
enum Refusal {
    /// The server's number and words.
    Server(u16, String),
    /// Client and server know no way in common.
    Plugin(String),
    Outcome(ProbeOutcome),
}

impl From<ProbeOutcome> for Refusal {
    fn from(outcome: ProbeOutcome) -> Self {
        Self::Outcome(outcome)
    }
}

struct Session<'a, 'b> {
    attempt: &'a Attempt<'b>,
    stream: Box<dyn Stream>,
    received: Vec<u8>,
    /// The number of the next packet of this exchange.
    number: u8,
}

impl Session<'_, '_> {
    /// The content of the next packet.
    async fn packet(&mut self, stage: Stage) -> Result<Vec<u8>, ProbeOutcome> {
        loop {
            if let Some((number, content, length)) = packet::packet(&self.received) {
                self.number = number.wrapping_add(1);
                let content = content.to_vec();
                self.received.drain(..length);
                return Ok(content);
            }
            self.attempt
                .read_more(&mut self.stream, &mut self.received, LIMIT, stage)
                .await?;
        }
    }

    async fn send(&mut self, content: &[u8]) -> Result<(), ProbeOutcome> {
        let bytes = packet::frame(self.number, content);
        self.number = self.number.wrapping_add(1);
        self.attempt.send(&mut self.stream, &bytes).await
    }

    async fn start_tls(
        &mut self,
        settings: &crate::model::TlsSettings,
        database: bool,
    ) -> Result<(Option<ProbeWarning>, Option<ProbeOutcome>), ProbeOutcome> {
        self.send(&packet::tls_request(database)).await?;
        let plain: Box<dyn Stream> = Box::new(tokio::io::empty());
        let plain = std::mem::replace(&mut self.stream, plain);
        let (stream, warning, objection) = tls::handshake_to_its_end(self.attempt, plain, settings).await?;
        self.stream = Box::new(stream);
        Ok((warning, objection))
    }

    /// Ends a connection that is of no use in the way that a server does not count: with a login, and with nothing
    /// secret in it. How that ends changes nothing.
    async fn leave_as_a_stranger(&mut self, greeting: &Greeting, tls: bool) {
        if self.log_in(greeting, STRANGER, b"", None, tls).await.is_ok() {
            self.number = 0;
            let _ = self.send(&packet::quit()).await;
        }
    }

    async fn log_in(
        &mut self,
        greeting: &Greeting,
        user: &str,
        password: &[u8],
        database: Option<&str>,
        tls: bool,
    ) -> Result<(), Refusal> {
        self.attempt.await_stage(Stage::Login);
        let mut plugin = greeting.plugin.clone();
        // A plugin that is not known here may be exchanged for one that is, once the server knows the user.
        let scrambled = packet::scramble(&plugin, password, &greeting.nonce).unwrap_or_default();
        self.send(&packet::login(tls, user, &scrambled, database, &plugin))
            .await?;
        // Two exchanges of the plugin and one full login are more than any server asks for.
        for _ in 0..4 {
            let content = self.packet(Stage::Login).await?;
            match Answer::to_login(&content).map_err(malformed)? {
                Answer::Ok => return Ok(()),
                Answer::Error(number, words) => return Err(Refusal::Server(number, words)),
                Answer::SwitchPlugin(wanted, nonce) => {
                    let scrambled = match wanted.as_str() {
                        "mysql_clear_password" if tls => Some([password, &[0]].concat()),
                        other => packet::scramble(other, password, &nonce),
                    };
                    let unknown = || Refusal::Plugin(format!("the server wants a login by {}", Excerpt::of(&wanted)));
                    let scrambled = scrambled.ok_or_else(unknown)?;
                    plugin.clone_from(&wanted);
                    self.send(&scrambled).await?;
                }
                Answer::MoreLogin(more) if more == [FULL_LOGIN] && tls => {
                    self.send(&[password, &[0]].concat()).await?;
                }
                Answer::MoreLogin(more) if more == [FULL_LOGIN] => {
                    let why = "the server wants the password in full, which goes over TLS only (add tls = true)";
                    return Err(Refusal::Plugin(why.to_owned()));
                }
                Answer::MoreLogin(_) => (),
                Answer::Columns(_) => return Err(malformed("the answer to the login is none").into()),
            }
        }
        Err(malformed("the login has no end").into())
    }

    async fn questions(&mut self, settings: &MysqlProbe, greeting: &Greeting) -> Result<(), ProbeOutcome> {
        if let Some(wanted) = settings.read_only {
            let row = self.row("SELECT @@global.read_only").await?;
            let found = row.and_then(|row| row.into_iter().next()).and_then(|(_, value)| value);
            let is = !matches!(found.as_deref(), Some("0" | "OFF"));
            if is != wanted {
                return Err(unexpected("the server", in_words(wanted), in_words(is)));
            }
        }
        if let Some(most) = settings.replication_lag {
            let row = self.row(status_query(&greeting.version)).await?;
            judge_lag(row, most.as_secs())?;
        }
        if let Some(Query { text, expect }) = &settings.query {
            let row = self.row(text).await?;
            let value = row.and_then(|row| row.into_iter().next()).and_then(|(_, value)| value);
            super::judge_value(expect.as_ref(), value.as_deref())?;
        }
        Ok(())
    }

    /// The first row that a query answers with: the columns' names and values.
    async fn row(&mut self, query: &str) -> Result<Option<Vec<(String, Option<String>)>>, ProbeOutcome> {
        self.attempt.await_stage(Stage::Query);
        self.number = 0;
        self.send(&packet::query(query)).await?;
        let mut budget = LIMIT;
        let content = self.counted(&mut budget).await?;
        let columns = match Answer::to_query(&content).map_err(malformed)? {
            Answer::Columns(columns) => columns,
            Answer::Error(number, words) => return Err(refused(number, &words)),
            Answer::Ok | Answer::SwitchPlugin(..) | Answer::MoreLogin(_) => return Ok(None),
        };
        let mut names = Vec::new();
        for _ in 0..columns {
            let content = self.counted(&mut budget).await?;
            names.push(packet::column_name(&content).map_err(malformed)?);
        }
        let mut first = None;
        let mut ends = 0;
        while ends < 2 {
            let content = self.counted(&mut budget).await?;
            if let Some((number, words)) = packet::error_in(&content) {
                return Err(refused(number, &words));
            }
            if packet::is_end(&content) {
                ends += 1;
            } else if first.is_none() {
                let values = packet::row(&content, names.len()).map_err(malformed)?;
                first = Some(names.iter().cloned().zip(values).collect());
            }
        }
        Ok(first)
    }

    /// The next packet of a result, as long as the whole of it is not too long.
    async fn counted(&mut self, budget: &mut usize) -> Result<Vec<u8>, ProbeOutcome> {
        let content = self.packet(Stage::Query).await?;
        let too_long = || {
            let (what, limit) = (Stage::Query, LIMIT);
            ProbeOutcome::Failure(FailureCause::TooLong { what, limit })
        };
        // A packet costs its header too, so that empty ones come to an end.
        *budget = budget.checked_sub(content.len() + 4).ok_or_else(too_long)?;
        Ok(content)
    }
}

/// The statement that shows the state of a replica: MySQL has had another word for it since 8.0.22.
fn status_query(version: &str) -> &'static str {
    let mut numbers = version.split(['.', '-']).map(|part| part.parse::<u32>().unwrap_or(0));
    let version_number = (numbers.next(), numbers.next(), numbers.next());
    match version.contains("MariaDB") || version_number < (Some(8), Some(0), Some(22)) {
        true => "SHOW SLAVE STATUS",
        false => "SHOW REPLICA STATUS",
    }
}

fn judge_lag(row: Option<Vec<(String, Option<String>)>>, most: u64) -> Result<(), ProbeOutcome> {
    let wanted = format!("at most {most} s behind");
    let Some(row) = row else {
        return Err(unexpected("the server", wanted, "no replica"));
    };
    let behind = row
        .into_iter()
        .find(|(name, _)| matches!(name.as_str(), "Seconds_Behind_Master" | "Seconds_Behind_Source"));
    match behind.and_then(|(_, value)| value).map(|value| value.parse::<u64>()) {
        Some(Ok(seconds)) if seconds <= most => Ok(()),
        Some(Ok(seconds)) => Err(unexpected("the replica", wanted, format!("{seconds} s behind"))),
        Some(Err(_)) => Err(malformed("the replica's lag is no number")),
        None => Err(unexpected("the replica", wanted, "not replicating")),
    }
}

fn in_words(read_only: bool) -> &'static str {
    if read_only { "read-only" } else { "writable" }
}

fn unexpected(what: &'static str, wanted: impl Into<Box<str>>, got: impl Into<Box<str>>) -> ProbeOutcome {
    ProbeOutcome::Failure(FailureCause::Unexpected {
        what,
        wanted: Excerpt::words(wanted),
        got: Excerpt::words(got),
    })
}

fn refused(number: u16, words: &str) -> ProbeOutcome {
    ProbeOutcome::Failure(FailureCause::Denied(match number {
        BLOCKED => Excerpt::words(
            "the server has blocked this host after too many failed connections (1129); run FLUSH HOSTS there, and find \
             who connects without logging in, or raise max_connect_errors",
        ),
        _ => Excerpt::of(format!("{number}: {words}")),
    }))
}

fn malformed(why: &'static str) -> ProbeOutcome {
    ProbeOutcome::Failure(FailureCause::Malformed {
        protocol: "MySQL",
        why: why.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_for_a_replica_follows_the_version() {
        assert_eq!(status_query("5.5.5-10.11.6-MariaDB-0+deb12u1"), "SHOW SLAVE STATUS");
        assert_eq!(status_query("8.0.21"), "SHOW SLAVE STATUS");
        assert_eq!(status_query("8.0.22-0ubuntu"), "SHOW REPLICA STATUS");
        assert_eq!(status_query("8.4.0"), "SHOW REPLICA STATUS");
    }

    #[test]
    fn a_replica_may_be_a_little_behind() {
        let row = |value: Option<&str>| Some(vec![("Seconds_Behind_Master".to_owned(), value.map(str::to_owned))]);
        let words = |row| match judge_lag(row, 30) {
            Ok(()) => "good".to_owned(),
            Err(ProbeOutcome::Failure(cause)) => cause.to_string(),
            Err(other) => panic!("{other:?}"),
        };
        assert_eq!(words(row(Some("30"))), "good");
        assert_eq!(
            words(row(Some("31"))),
            "the replica is 31 s behind, not at most 30 s behind"
        );
        assert_eq!(
            words(row(None)),
            "the replica is not replicating, not at most 30 s behind"
        );
        assert_eq!(words(None), "the server is no replica, not at most 30 s behind");
    }
}

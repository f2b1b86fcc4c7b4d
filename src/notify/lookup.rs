//! Where the servers are that are named in the configuration: asked of getent, never of libc (docs/adr/0007).

use std::net::IpAddr;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout};

use crate::net::names::{self, Patience};

/// The addresses of a host, at least one, within `limit`.
///
/// # Errors
/// In words: it has none, or nobody can say.
pub(super) async fn addresses(host: &str, limit: Duration) -> Result<Vec<IpAddr>, String> {
    if let Ok(address) = host.parse() {
        return Ok(vec![address]);
    }
    let asked = host.to_owned();
    let looked_up = spawn_blocking(move || names::addresses_of(&asked, Patience::for_one(limit))).await;
    match looked_up.map_err(std::io::Error::from).and_then(|found| found) {
        Ok(found) if found.is_empty() => Err(format!("nobody knows an address of {host}")),
        Ok(found) => Ok(found),
        Err(problem) => Err(format!("cannot look up {host}: {problem}")),
    }
}

/// Tries one address after the other until one takes what is sent, all within `limit`: each but the last may take half of
/// what is left, so that one which does not answer leaves time for the others, and one that is slow has enough.
///
/// # Errors
/// In words: what each of them said.
pub(super) async fn one_after_the_other<T, F: Future<Output = Result<T, String>>>(
    addresses: &[IpAddr],
    limit: Duration,
    mut send: impl FnMut(IpAddr) -> F,
) -> Result<T, String> {
    let end = Instant::now() + limit;
    let mut said = Vec::new();
    for (index, address) in addresses.iter().enumerate() {
        let parts = if index + 1 < addresses.len() { 2 } else { 1 };
        let share = end.saturating_duration_since(Instant::now()) / parts;
        let why = match timeout(share, send(*address)).await {
            Ok(Ok(done)) => return Ok(done),
            Ok(Err(why)) => why,
            Err(_elapsed) => "no answer in time".to_owned(),
        };
        said.push(match addresses.len() {
            1 => why,
            _ => format!("{address}: {why}"),
        });
    }
    Err(said.join("; "))
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test]
    async fn a_name_has_addresses_or_a_word_why_not() {
        let limit = Duration::from_secs(30);
        assert_eq!(
            addresses("2001:db8::1", limit).await,
            Ok(vec!["2001:db8::1".parse().unwrap()])
        );
        assert!(addresses("localhost", limit).await.unwrap()[0].is_loopback());
        let unknown = addresses("no-such-host.invalid", limit).await;
        assert_eq!(
            unknown,
            Err("nobody knows an address of no-such-host.invalid".to_owned())
        );
        let late = addresses("localhost", Duration::ZERO).await.unwrap_err();
        assert!(late.starts_with("cannot look up localhost: "), "{late}");
    }

    #[tokio::test]
    async fn an_address_that_does_not_answer_leaves_time_for_the_others() {
        let addresses = [1, 2, 3].map(|last| IpAddr::from([192, 0, 2, last]));
        let limit = Duration::from_millis(30);
        let answers = |address: IpAddr| async move {
            match address == IpAddr::from([192, 0, 2, 3]) {
                true => Ok(address),
                false => pending().await,
            }
        };
        let found = one_after_the_other(&addresses, limit, answers).await;
        assert_eq!(found, Ok(addresses[2]));
        let refuses = |address: IpAddr| async move {
            match address == IpAddr::from([192, 0, 2, 1]) {
                true => Err::<(), _>("refused".to_owned()),
                false => pending().await,
            }
        };
        let found = one_after_the_other(&addresses[..2], limit, refuses).await;
        let told = "192.0.2.1: refused; 192.0.2.2: no answer in time";
        assert_eq!(found, Err(told.to_owned()));
        let found = one_after_the_other(&addresses[..1], limit, refuses).await;
        assert_eq!(found, Err("refused".to_owned()), "the only one needs no name");
    }
}

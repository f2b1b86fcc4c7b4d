//! Where the servers are that are named in the configuration: asked of getent, never of libc (docs/adr/0007).

use std::net::IpAddr;
use std::time::Duration;

use tokio::task::spawn_blocking;

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

#[cfg(test)]
mod tests {
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
}

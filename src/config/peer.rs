//! `[peer]`: the other director, and by what the two know each other.

use std::net::SocketAddr;
use std::time::Duration;

use super::checks::optional;
use super::probes::read_path;
use super::reader::{Item, Reader, shorten};
use super::scope::Scope;
use super::settings::SettingsSeen;
use crate::model::{Config, PeerSettings, PublicKey};

/// How often each says that it is there.
const INTERVAL: Duration = Duration::from_secs(1);
const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(60);

/// Reads `[peer]` of one file.
pub(super) fn read(reader: &mut Reader, seen: &mut SettingsSeen, item: &Item<'_>, config: &mut Config) {
    let at = item.span().start;
    let Some(table) = reader.table(item, "peer") else {
        return;
    };
    let [address, listen, key, peer_key, interval] = reader.fields(table, Scope::Peer);
    if !seen.first(reader, at, "peer") {
        return;
    }
    for (item, key, hint) in [
        (
            address,
            "address",
            "where the other director listens: \"192.0.2.2:8964\"",
        ),
        (listen, "listen", "where this director does: \"192.0.2.1:8964\""),
        (key, "key", "make one with `ipvsd peer key /etc/ipvsd/peer.key`"),
        (
            peer_key,
            "peer_key",
            "the public key of the other director, as `ipvsd peer key --show FILE` prints it there",
        ),
    ] {
        if item.is_none() {
            reader.missing(at, format!("[peer] has no `{key}`"), hint);
        }
    }
    let address_at = address.map_or(at, |item| item.span().start);
    let address = address.and_then(|item| read_address(reader, item, "address"));
    let listen = listen.and_then(|item| read_address(reader, item, "listen"));
    let key = key.and_then(|item| read_path(reader, item, "key"));
    let peer_key = peer_key.and_then(|item| read_key(reader, item));
    let interval = optional(interval, |item| reader.duration(item, "interval", SHORTEST..=LONGEST));
    if let Some(address) = address
        && (address.ip().is_unspecified() || address.ip().is_multicast())
    {
        let text = format!("nobody can be reached at {}", address.ip());
        reader.error(address_at, text, "the other director's own address: \"192.0.2.2:8964\"");
        return;
    }
    if let (Some(address), Some(listen)) = (address, listen)
        && address == listen
    {
        let text = "`address` and `listen` are the same, so this director would talk to itself";
        reader.error(address_at, text, "`address` is the other director's");
        return;
    }
    let (Some(address), Some(listen), Some(key), Some(peer_key), Some(interval)) =
        (address, listen, key, peer_key, interval)
    else {
        return;
    };
    config.peer = Some(PeerSettings {
        address,
        listen,
        key,
        peer_key,
        interval: interval.unwrap_or(INTERVAL),
    });
}

fn read_address(reader: &mut Reader, item: &Item<'_>, key: &str) -> Option<SocketAddr> {
    let text = reader.string(item, key)?;
    let address = text.parse::<SocketAddr>().ok().filter(|address| address.port() != 0);
    if address.is_none() {
        reader.error(
            item.span().start,
            format!("`{key}` cannot be \"{}\"", shorten(text)),
            "an address and a port: \"192.0.2.2:8964\", \"[2001:db8::2]:8964\"",
        );
    }
    address
}

fn read_key(reader: &mut Reader, item: &Item<'_>) -> Option<PublicKey> {
    let text = reader.string(item, "peer_key")?;
    let key = text.parse().ok();
    if key.is_none() {
        // What stands there may be a private key.
        reader.error(
            item.span().start,
            "`peer_key` is no Ed25519 public key in base64",
            "what `ipvsd peer key --show FILE` prints on the other director: \"MCowBQYDK2VwAyEA...\"",
        );
    }
    key
}

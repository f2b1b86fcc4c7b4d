//! Which members of which pools an operator means by `192.0.2.11:80`, `192.0.2.11` or `web/192.0.2.11:80`.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use super::pools;
use crate::model::Config;
use crate::model::control::{Refused, Trouble};

/// How many candidates are named.
const MOST_CANDIDATES: usize = 20;

/// An address with or without a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Wanted {
    address: IpAddr,
    port: Option<u16>,
}

impl Wanted {
    fn parse(text: &str) -> Option<Self> {
        if let Ok(socket) = text.parse::<SocketAddr>() {
            return Some(Self {
                address: socket.ip(),
                port: Some(socket.port()),
            });
        }
        let bare = text
            .strip_prefix('[')
            .and_then(|text| text.strip_suffix(']'))
            .unwrap_or(text);
        let address = bare.parse().ok()?;
        Some(Self { address, port: None })
    }
}

/// The members that a text names, as indices of pool and server; at least one.
///
/// Without a virtual server's name it means the server in every pool; without a port it means the only one that the
/// address has.
///
/// # Errors
/// Nobody or several servers could be meant; then with candidates.
pub(super) fn select(config: &Config, text: &str) -> Result<Vec<(usize, usize)>, Refused> {
    let (pool, server) = match text.rsplit_once('/') {
        Some((pool, server)) => (Some(pool), server),
        None => (None, text),
    };
    if let Some(pool) = pool
        && !config.virtual_servers.iter().any(|server| server.name == pool)
    {
        return Err(unknown_virtual_server(config, pool));
    }
    let Some(wanted) = Wanted::parse(server) else {
        let message = format!(
            "`{}` is no real server (write 192.0.2.11:80, or web/192.0.2.11:80 for that of one virtual_server)",
            shown(server)
        );
        return Err(Refused {
            candidates: similar(config, pool, server),
            ..Refused::new(Trouble::UnknownServer, message)
        });
    };
    let mut found = Vec::new();
    let mut ports = BTreeSet::new();
    for (pool_index, virtual_server) in config.virtual_servers.iter().enumerate() {
        if pool.is_some_and(|pool| virtual_server.name != pool) {
            continue;
        }
        for (server_index, real_server) in virtual_server.real_servers.iter().enumerate() {
            let socket = pools::address_of(virtual_server, real_server);
            if socket.ip() == wanted.address && wanted.port.is_none_or(|port| port == socket.port()) {
                found.push((pool_index, server_index));
                ports.insert(socket.port());
            }
        }
    }
    if found.is_empty() {
        return Err(unknown_server(config, pool, server, wanted));
    }
    if ports.len() > 1 {
        let candidates = ports.iter().map(|port| {
            let socket = SocketAddr::new(wanted.address, *port);
            pool.map_or_else(|| socket.to_string(), |pool| format!("{pool}/{socket}"))
        });
        return Err(Refused {
            candidates: candidates.take(MOST_CANDIDATES).collect(),
            ..Refused::new(
                Trouble::AmbiguousServer,
                format!("{} is several real servers (give the port too)", wanted.address),
            )
        });
    }
    Ok(found)
}

/// The refusal where no virtual server has this name.
pub(super) fn unknown_virtual_server(config: &Config, name: &str) -> Refused {
    let names = config.virtual_servers.iter().map(|server| server.name.clone());
    Refused {
        candidates: nearest(names, name),
        ..Refused::new(
            Trouble::UnknownVirtualServer,
            format!("there is no virtual_server \"{}\"", shown(name)),
        )
    }
}

fn unknown_server(config: &Config, pool: Option<&str>, server: &str, wanted: Wanted) -> Refused {
    let is_sorry = |address: IpAddr| address == wanted.address;
    let sorry = config.virtual_servers.iter().find(|server| {
        server
            .sorry_server
            .as_ref()
            .is_some_and(|sorry| is_sorry(sorry.address))
    });
    let message = match (pool, sorry) {
        (_, Some(sorry)) => format!(
            "{server} is no real server, but the sorry server of \"{}\", which has no state of its own",
            sorry.name
        ),
        (Some(pool), None) => format!("\"{}\" has no real server {server}", shown(pool)),
        (None, None) => format!("no virtual_server has a real server {server}"),
    };
    Refused {
        candidates: similar(config, pool, server),
        ..Refused::new(Trouble::UnknownServer, message)
    }
}

/// Servers that could be meant: the same address elsewhere, else those that look most alike.
fn similar(config: &Config, pool: Option<&str>, text: &str) -> Vec<String> {
    let wanted = Wanted::parse(text).map(|wanted| wanted.address);
    let mut all = BTreeSet::new();
    let mut same = BTreeSet::new();
    for server in &config.virtual_servers {
        for real_server in &server.real_servers {
            let socket = pools::address_of(server, real_server);
            if Some(socket.ip()) == wanted {
                same.insert(format!("{}/{socket}", server.name));
            }
            if pool.is_none_or(|pool| pool == server.name) {
                all.insert(match pool {
                    Some(pool) => format!("{pool}/{socket}"),
                    None => socket.to_string(),
                });
            }
        }
    }
    if same.is_empty() {
        let text = pool.map_or_else(|| text.to_owned(), |pool| format!("{pool}/{text}"));
        return nearest(all, &text);
    }
    same.into_iter().take(MOST_CANDIDATES).collect()
}

/// The texts that share the longest front with another, the longest first, all where they are few.
fn nearest(texts: impl IntoIterator<Item = String>, wanted: &str) -> Vec<String> {
    let alike = |text: &str| text.bytes().zip(wanted.bytes()).take_while(|(a, b)| a == b).count();
    let mut texts: Vec<_> = texts
        .into_iter()
        .map(|text| (std::cmp::Reverse(alike(&text)), text))
        .collect();
    texts.sort();
    texts.into_iter().take(MOST_CANDIDATES).map(|(_, text)| text).collect()
}

/// What somebody has sent, fit for a line of text.
fn shown(text: &str) -> String {
    text.chars().take(80).flat_map(char::escape_debug).collect()
}

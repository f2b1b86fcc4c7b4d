//! The configuration that counts: what the files say, with the servers that operators have added and without those that
//! they have removed.

use std::sync::Arc;

use super::pools;
use super::wishlist::{Presence, Wish, Wishlist};
use crate::config;
use crate::model::{Config, RealServer, ServerId, VirtualServer};

/// What the files say, with what operators have made of it; and what no longer fits to it, one line each.
pub fn deviate(files: &Arc<Config>, wishes: &Wishlist) -> (Arc<Config>, Vec<String>) {
    let deviations: Vec<&Wish> = wishes.wishes().filter(|wish| wish.deviation().is_some()).collect();
    if deviations.is_empty() {
        return (Arc::clone(files), Vec::new());
    }
    let mut config = (**files).clone();
    let mut problems = Vec::new();
    for wish in deviations {
        let id = wish.id();
        let mut servers = config.virtual_servers.iter_mut();
        // A pool that the files no longer have takes what was said of it along; it is kept for the day it comes back.
        let Some(pool) = servers.find(|pool| pool.name == id.virtual_server) else {
            continue;
        };
        let is_it = |pool: &VirtualServer, real: &RealServer| pools::address_of(pool, real).to_string() == id.server;
        match wish.presence() {
            Presence::AsInTheFiles => {}
            Presence::Removed => {
                let left = std::mem::take(&mut pool.real_servers);
                pool.real_servers = left.into_iter().filter(|real| !is_it(pool, real)).collect();
            }
            // What the files have by now is theirs.
            Presence::Added { .. } if pool.real_servers.iter().any(|real| is_it(pool, real)) => {}
            Presence::Added { address, weight } => match config::added_server(pool, address, *weight) {
                Ok(real) => pool.real_servers.push(real),
                Err(why) => problems.push(format!(
                    "{}/{} was added by an operator, and no longer fits: {} (`ipvsd remove` forgets it)",
                    id.virtual_server,
                    id.server,
                    why.join("; ")
                )),
            },
        }
    }
    (Arc::new(config), problems)
}

/// Whether the files have a server.
pub fn have(files: &Config, server: &ServerId) -> bool {
    let mut pools = files.virtual_servers.iter();
    let pool = pools.find(|pool| pool.name == server.virtual_server);
    pool.is_some_and(|pool| {
        pool.real_servers
            .iter()
            .any(|real| pools::name_of(pool, real) == *server)
    })
}

/// The name that a server would have in a pool, and everything else about it.
///
/// # Errors
/// Why it cannot be in that pool, in the words that the configuration has for it.
pub fn candidate(pool: &VirtualServer, address: &str, weight: u32) -> Result<(ServerId, RealServer), Vec<String>> {
    let real = config::added_server(pool, address, weight)?;
    let id = ServerId {
        virtual_server: pool.name.clone(),
        server: pools::address_of(pool, &real).to_string(),
    };
    Ok((id, real))
}

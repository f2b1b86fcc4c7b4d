//! What operators add beside the files, read by the same rules.

use super::checks::NamedChecks;
use super::pool::{self, Front};
use super::problem::Severity;
use super::reader::{self, Reader};
use super::tree;
use crate::model::{RealServer, ServiceKey, VirtualServer};

/// A real server that is added to a virtual server beside its files, with everything that holds for those that say
/// nothing else.
///
/// # Errors
/// Every problem that the files would have with it, one line each.
pub fn added_server(server: &VirtualServer, address: &str, weight: u32) -> Result<RealServer, Vec<String>> {
    // No address has them, and a string of the file would end there.
    if address.contains(['"', '\\']) || address.contains(char::is_control) {
        return Err(vec![format!("`{}` is no address", reader::shorten(address))]);
    }
    let text = format!("[[real_server]]\naddress = \"{address}\"\nweight = {weight}\n");
    let mut reader = Reader::default();
    let table = tree::parse_quickly(&text);
    let item = table.as_ref().and_then(|table| table.get("real_server"));
    let mut ports: Vec<u16> = server.services.iter().filter_map(ServiceKey::port).collect();
    ports.sort_unstable();
    ports.dedup();
    let front = Front {
        services: &server.services,
        ports: &ports,
        forwarding: server.defaults.forwarding,
        checks: &server.defaults.checks,
        notify: &server.defaults.notify,
    };
    let mut read = item
        .map(|item| pool::read_real_servers(&mut reader, &mut NamedChecks::default(), &front, item))
        .unwrap_or_default();
    let problems = reader.ledger.finish(&[("", text.as_bytes())]);
    let errors = problems
        .shown
        .iter()
        .filter(|problem| problem.severity == Severity::Error);
    let mut errors: Vec<String> = errors
        .map(|problem| match &problem.hint {
            Some(hint) => format!("{} ({hint})", problem.text),
            None => problem.text.clone(),
        })
        .collect();
    let Some((_, real)) = read.pop().filter(|_| errors.is_empty()) else {
        if errors.is_empty() {
            errors.push(format!("`{}` cannot be read", reader::shorten(address)));
        }
        return Err(errors);
    };
    let is_there = |key: &ServiceKey| {
        let mut others = server.real_servers.iter();
        others.any(|other| other.destination(key) == real.destination(key))
    };
    if server.services.iter().any(is_there) {
        let text = format!("real server {address} is in this pool already (`ipvsd weight` changes its weight)");
        return Err(vec![text]);
    }
    if let Some(sorry) = &server.sorry_server
        && server
            .services
            .iter()
            .any(|key| sorry.destination(key) == real.destination(key))
        && sorry.spec.forwarding != real.spec.forwarding
    {
        return Err(vec![format!(
            "the sorry server is also a real server, but with forward = \"{}\" instead of \"{}\" (one destination has one \
             way of forwarding)",
            sorry.spec.forwarding, real.spec.forwarding
        )]);
    }
    Ok(real)
}

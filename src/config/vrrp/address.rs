//! One `virtual_address` of an instance.

use std::net::IpAddr;

use super::super::reader::{Item, Reader, shorten};
use super::super::scope::Scope;
use super::super::tree::Value;
use crate::model::{AddressScope, Family, VrrpAddress};

/// The most bytes of a label (`IFNAMSIZ` less its end).
const LONGEST_LABEL: usize = 15;

pub(super) fn read_address(reader: &mut Reader, item: &Item<'_>, default_device: &str) -> Option<VrrpAddress> {
    let (text, at, table) = match item.get_ref() {
        Value::Table(table) => {
            let [address, device, scope, label, excluded] = reader.fields(table, Scope::VrrpAddress);
            let Some(address) = address else {
                let hint = "write { address = \"192.0.2.100/24\", label = \"eth0:vip\" }";
                reader.missing(item.span().start, "the virtual_address has no `address`", hint);
                return None;
            };
            let text = reader.string(address, "address")?;
            (text, address.span().start, Some((device, scope, label, excluded)))
        }
        Value::String(_) | Value::Integer(_) | Value::Float | Value::Boolean(_) | Value::Datetime | Value::Array(_) => {
            (reader.string(item, "virtual_address")?, item.span().start, None)
        }
    };
    let (host, prefix) = match text.split_once('/') {
        Some((host, prefix)) => (host, Some(prefix)),
        None => (text, None),
    };
    let address: Option<IpAddr> = host.parse().ok();
    let usable =
        address.filter(|address| !address.is_unspecified() && !address.is_multicast() && !address.is_loopback());
    let longest = usable.map_or(0, |address| Family::of(address).host_prefix());
    let prefix = match prefix {
        None => Some(longest),
        Some(text) => text.parse().ok().filter(|prefix| (1..=longest).contains(prefix)),
    };
    let (Some(address), Some(prefix)) = (usable, prefix) else {
        let text = format!("`virtual_address` cannot be \"{}\"", shorten(text));
        reader.error(
            at,
            text,
            "an address of a host, with its prefix or without: \"192.0.2.100/24\"",
        );
        return None;
    };
    let mut found = VrrpAddress {
        address,
        prefix,
        device: default_device.to_owned(),
        scope: AddressScope::Global,
        label: None,
        unadvertised: false,
    };
    let (device, scope, label, excluded) = table.unwrap_or_default();
    if let Some(device) = device.and_then(|item| reader.device(item)) {
        found.device = device;
    }
    for (item, key) in [(scope, "scope"), (label, "label")] {
        if let Some(item) = item
            && address.is_ipv6()
        {
            let hint = "take it out; the kernel derives the scope of an IPv6 address from the address";
            reader.error(item.span().start, format!("an IPv6 address has no `{key}`"), hint);
            return None;
        }
    }
    if let Some(item) = scope {
        let words = [
            ("global", AddressScope::Global),
            ("link", AddressScope::Link),
            ("host", AddressScope::Host),
        ];
        found.scope = reader.word(item, "scope", &words).unwrap_or(AddressScope::Global);
    }
    if let Some(item) = label {
        let text = reader.string(item, "label")?;
        if text.is_empty() || text.len() > LONGEST_LABEL || text.contains(char::is_whitespace) {
            let hint = format!(
                "1 to {LONGEST_LABEL} bytes without blanks, by custom the interface's name first: \"eth0:vip\""
            );
            reader.error(
                item.span().start,
                format!("`label` cannot be \"{}\"", shorten(text)),
                hint,
            );
            return None;
        }
        found.label = Some(text.to_owned());
    }
    found.unadvertised = excluded
        .and_then(|item| reader.boolean(item, "excluded"))
        .unwrap_or(false);
    Some(found)
}

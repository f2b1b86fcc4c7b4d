//! Reads documents of the schema in `docs/json.md` back into the words they were made from.

use std::str::FromStr;

use ipvsd::listing::{Names, NeededNames};
use ipvsd::model::{
    ConnectionEntry, DestinationKey, DestinationSpec, Family, Forwarding, KernelInfo, ListedDestination, ListedService,
    Netmask, PersistenceData, Protocol, Scheduler, ServiceFlags, ServiceKey, ServiceSpec, Statistics, SyncDaemon,
    SyncRole, Timeouts, Tunnel, TunnelChecksum, TunnelKind,
};
use serde_json::Value;

fn text<'a>(object: &'a Value, member: &str) -> &'a str {
    object[member]
        .as_str()
        .unwrap_or_else(|| panic!("`{member}` is no text in {object}"))
}

fn number<T: TryFrom<u64>>(object: &Value, member: &str) -> T {
    object[member]
        .as_u64()
        .and_then(|number| T::try_from(number).ok())
        .unwrap_or_else(|| panic!("`{member}` is no number that fits in {object}"))
}

fn parsed<T: FromStr>(object: &Value, member: &str) -> T {
    let text = text(object, member);
    text.parse()
        .unwrap_or_else(|_| panic!("`{member}` = {text} in {object}"))
}

fn list<'a>(object: &'a Value, member: &str) -> &'a [Value] {
    object[member]
        .as_array()
        .unwrap_or_else(|| panic!("`{member}` is no list in {object}"))
}

/// The members' names, nested ones included.
pub(crate) fn for_each_member(value: &Value, visit: &mut impl FnMut(&str)) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                visit(name);
                for_each_member(value, visit);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| for_each_member(value, visit)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

pub(crate) fn services(document: &Value) -> (Option<KernelInfo>, Vec<ListedService>) {
    let kernel = &document["kernel"];
    let info = (!kernel.is_null()).then(|| {
        let parts: Vec<u32> = text(kernel, "ipvs_version")
            .split('.')
            .map(|part| part.parse().expect("a version part"))
            .collect();
        KernelInfo {
            version: parts[0] << 16 | parts[1] << 8 | parts[2],
            connection_table_size: number(kernel, "connection_table_size"),
        }
    });
    (info, list(document, "services").iter().map(service).collect())
}

fn service(object: &Value) -> ListedService {
    let family = match text(object, "family") {
        "inet" => Family::Inet,
        "inet6" => Family::Inet6,
        other => panic!("no family {other}"),
    };
    let key = if object["fwmark"].is_null() {
        ServiceKey::Address {
            protocol: parsed(object, "protocol"),
            address: parsed(object, "address"),
            port: number(object, "port"),
        }
    } else {
        ServiceKey::Fwmark {
            mark: number(object, "fwmark"),
            family,
        }
    };
    assert_eq!(key.family(), family);
    let mut spec = ServiceSpec::new(Scheduler::from_name(text(object, "scheduler")), family);
    for flag in list(object, "flags") {
        spec.flags = spec.flags.with(match flag.as_str().expect("a flag") {
            "flag-1" | "sh-fallback" | "mh-fallback" => ServiceFlags::SCHEDULER_1,
            "flag-2" | "sh-port" | "mh-port" => ServiceFlags::SCHEDULER_2,
            "flag-3" => ServiceFlags::SCHEDULER_3,
            other => panic!("no flag {other}"),
        });
    }
    if object["one_packet"].as_bool().expect("one_packet") {
        spec.flags = spec.flags.with(ServiceFlags::ONE_PACKET);
    }
    let persistence = &object["persistence"];
    if !persistence.is_null() {
        spec.flags = spec.flags.with(ServiceFlags::PERSISTENT);
        spec.persistence_timeout = number(persistence, "timeout_seconds");
        spec.netmask = match family {
            Family::Inet => Netmask::V4(parsed(persistence, "netmask")),
            Family::Inet6 => Netmask::V6(parsed(persistence, "netmask")),
        };
        spec.persistence_engine = persistence["engine"].as_str().map(str::to_owned);
    }
    ListedService {
        key,
        spec,
        statistics: statistics(&object["statistics"]),
        destinations: list(object, "destinations").iter().map(destination).collect(),
    }
}

fn destination(object: &Value) -> ListedDestination {
    let forwarding = match text(object, "forward") {
        "nat" => Forwarding::Nat,
        "dr" => Forwarding::Dr,
        "tun" => Forwarding::Tun(tunnel(&object["tunnel"])),
        "local" => Forwarding::Local,
        "bypass" => Forwarding::Bypass,
        other => Forwarding::Other(suffix(other, "method-")),
    };
    ListedDestination {
        key: DestinationKey::new(parsed(object, "address"), number(object, "port")),
        spec: DestinationSpec {
            forwarding,
            weight: number(object, "weight"),
            upper_threshold: number(object, "upper_threshold"),
            lower_threshold: number(object, "lower_threshold"),
        },
        active_connections: number(object, "active_connections"),
        inactive_connections: number(object, "inactive_connections"),
        persistent_connections: number(object, "persistent_connections"),
        statistics: statistics(&object["statistics"]),
    }
}

fn tunnel(object: &Value) -> Tunnel {
    Tunnel {
        kind: match text(object, "type") {
            "ipip" => TunnelKind::Ipip,
            "gue" => TunnelKind::Gue {
                port: number(object, "port"),
            },
            "gre" => TunnelKind::Gre,
            other => TunnelKind::Other(suffix(other, "type-")),
        },
        checksum: match text(object, "checksum") {
            "none" => TunnelChecksum::None,
            "csum" => TunnelChecksum::Csum,
            "remcsum" => TunnelChecksum::Remcsum,
            other => TunnelChecksum::Other(suffix(other, "flags-")),
        },
    }
}

fn suffix<T: FromStr>(text: &str, prefix: &str) -> T {
    text.strip_prefix(prefix)
        .and_then(|number| number.parse().ok())
        .unwrap_or_else(|| panic!("{text} is not {prefix}N"))
}

fn statistics(object: &Value) -> Statistics {
    Statistics {
        connections: number(object, "connections"),
        packets_in: number(object, "packets_in"),
        packets_out: number(object, "packets_out"),
        bytes_in: number(object, "bytes_in"),
        bytes_out: number(object, "bytes_out"),
        connections_per_second: number(object, "connections_per_second"),
        packets_in_per_second: number(object, "packets_in_per_second"),
        packets_out_per_second: number(object, "packets_out_per_second"),
        bytes_in_per_second: number(object, "bytes_in_per_second"),
        bytes_out_per_second: number(object, "bytes_out_per_second"),
    }
}

pub(crate) fn connections(document: &Value) -> Vec<ConnectionEntry> {
    list(document, "connections")
        .iter()
        .map(|object| {
            let persistence = &object["persistence"];
            ConnectionEntry {
                protocol: parsed::<Protocol>(object, "protocol"),
                client: parsed(object, "client"),
                virtual_address: parsed(object, "virtual"),
                destination: parsed(object, "destination"),
                state: text(object, "state").to_owned(),
                expires: number(object, "expires_seconds"),
                persistence: (!persistence.is_null()).then(|| PersistenceData {
                    engine: text(persistence, "engine").to_owned(),
                    data: text(persistence, "data").to_owned(),
                }),
            }
        })
        .collect()
}

pub(crate) fn daemons(document: &Value) -> Vec<SyncDaemon> {
    list(document, "daemons")
        .iter()
        .map(|object| SyncDaemon {
            role: match text(object, "role") {
                "master" => SyncRole::Master,
                "backup" => SyncRole::Backup,
                other => panic!("no role {other}"),
            },
            interface: text(object, "interface").to_owned(),
            sync_id: number(object, "sync_id"),
            max_length: number(object, "max_length_bytes"),
            group: object["group"].as_str().map(|group| group.parse().expect("an address")),
            port: number(object, "port"),
            ttl: number(object, "ttl"),
        })
        .collect()
}

pub(crate) fn timeouts(document: &Value) -> Timeouts {
    let object = &document["timeouts"];
    Timeouts {
        tcp: number(object, "tcp_seconds"),
        tcp_fin: number(object, "tcp_fin_seconds"),
        udp: number(object, "udp_seconds"),
    }
}

/// The names of a case, only those that the listing says it needs.
pub(crate) fn names(document: &Value, needed: NeededNames) -> Names {
    let hosts = &document["hosts"];
    let ports = &document["ports"];
    Names {
        hosts: needed
            .hosts
            .into_iter()
            .filter_map(|address| Some((address, hosts[address.to_string()].as_str()?.to_owned())))
            .collect(),
        ports: needed
            .ports
            .into_iter()
            .filter_map(|(protocol, port)| {
                let name = ports[format!("{port}/{protocol}")].as_str()?;
                Some(((protocol, port), name.to_owned()))
            })
            .collect(),
    }
}

//! How packets reach a server: `forward` and `tun`.

use super::reader::{Item, Reader};
use super::scope::Scope;
use crate::model::{Forwarding, Tunnel, TunnelChecksum, TunnelKind};

/// The words of `forward`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Method {
    Nat,
    Dr,
    Tun,
}

const METHODS: [(&str, Method); 3] = [("nat", Method::Nat), ("dr", Method::Dr), ("tun", Method::Tun)];

#[derive(Clone, Copy)]
enum Encapsulation {
    Ipip,
    Gue,
    Gre,
}

const ENCAPSULATIONS: [(&str, Encapsulation); 3] = [
    ("ipip", Encapsulation::Ipip),
    ("gue", Encapsulation::Gue),
    ("gre", Encapsulation::Gre),
];

const CHECKSUMS: [(&str, TunnelChecksum); 3] = [
    ("none", TunnelChecksum::None),
    ("csum", TunnelChecksum::Csum),
    ("remcsum", TunnelChecksum::Remcsum),
];

/// The forwarding of a virtual server, or of one server in its pool over what its virtual server says.
pub(super) fn read(
    reader: &mut Reader,
    forward: Option<&Item<'_>>,
    tun: Option<&Item<'_>>,
    inherited: Forwarding,
) -> Forwarding {
    let method = forward
        .and_then(|item| reader.word(item, "forward", &METHODS))
        .unwrap_or(match inherited {
            Forwarding::Dr => Method::Dr,
            Forwarding::Tun(_) => Method::Tun,
            Forwarding::Nat | Forwarding::Local | Forwarding::Bypass | Forwarding::Other(_) => Method::Nat,
        });
    let tunnel = match (tun, inherited) {
        (Some(item), _) => {
            if method != Method::Tun {
                reader.error(
                    item.span().start,
                    "`tun` counts only where packets are tunnelled",
                    "add forward = \"tun\", or take `tun` out",
                );
            }
            read_tunnel(reader, item).unwrap_or(Tunnel::IPIP)
        }
        (None, Forwarding::Tun(tunnel)) => tunnel,
        (None, _) => Tunnel::IPIP,
    };
    match method {
        Method::Nat => Forwarding::Nat,
        Method::Dr => Forwarding::Dr,
        Method::Tun => Forwarding::Tun(tunnel),
    }
}

fn read_tunnel(reader: &mut Reader, item: &Item<'_>) -> Option<Tunnel> {
    let table = reader.table(item, "tun")?;
    let [kind, port, csum] = reader.fields(table, Scope::Tun);
    let encapsulation = match kind {
        Some(kind) => reader.word(kind, "type", &ENCAPSULATIONS)?,
        None => Encapsulation::Ipip,
    };
    let checksum = match csum {
        Some(item) => reader.word(item, "csum", &CHECKSUMS)?,
        None => TunnelChecksum::None,
    };
    let csum_at = csum.map_or(0, |item| item.span().start);
    let kind = match encapsulation {
        Encapsulation::Ipip => TunnelKind::Ipip,
        Encapsulation::Gre => TunnelKind::Gre,
        Encapsulation::Gue => {
            let Some(port) = port else {
                reader.missing(
                    item.span().start,
                    "a gue tunnel has no `port`",
                    "the UDP port that the real server unpacks at: port = 6080",
                );
                return None;
            };
            TunnelKind::Gue {
                port: reader.port(port, "port")?,
            }
        }
    };
    match (encapsulation, port) {
        (Encapsulation::Ipip | Encapsulation::Gre, Some(port)) => {
            reader.error(
                port.span().start,
                "only a gue tunnel has a port",
                "take `port` out, or write type = \"gue\"",
            );
        }
        (Encapsulation::Ipip | Encapsulation::Gre, None) | (Encapsulation::Gue, _) => {}
    }
    match (encapsulation, checksum) {
        (Encapsulation::Ipip, TunnelChecksum::Csum | TunnelChecksum::Remcsum) => {
            reader.error(csum_at, "an ipip tunnel has no checksum", "take `csum` out");
        }
        (Encapsulation::Gre, TunnelChecksum::Remcsum) => {
            reader.error(
                csum_at,
                "a gre tunnel knows no remcsum",
                "csum = \"csum\" or \"none\"; remcsum is for gue",
            );
        }
        (Encapsulation::Ipip | Encapsulation::Gre | Encapsulation::Gue, _) => {}
    }
    Some(Tunnel { kind, checksum })
}

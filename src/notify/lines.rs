//! The lines of the FIFO, as keepalived.conf(5) has them under `notify_fifo`.

use std::net::{IpAddr, SocketAddr};

use crate::model::{Config, DestinationKey, ServerState, ServiceKey, Transition, VrrpState, notified_state};

/// `INSTANCE "VI_1" MASTER 100`
pub fn instance(name: &str, state: VrrpState, priority: u8) -> String {
    format!("INSTANCE \"{name}\" {} {priority}", notified_state(state))
}

/// `GROUP "VG_1" MASTER 0`: a group has no priority.
pub fn group(name: &str, state: VrrpState) -> String {
    format!("GROUP \"{name}\" {} 0", notified_state(state))
}

/// The lines about a pool or a server of it, one for each of its services; none for what keepalived has no line for.
pub fn of_pool(transition: &Transition, config: &Config) -> Vec<String> {
    let find = |name: &str| config.virtual_servers.iter().find(|server| server.name == name);
    let word = |up: bool| if up { "UP" } else { "DOWN" };
    match transition {
        Transition::QuorumChanged {
            virtual_server, held, ..
        } => {
            let services = find(virtual_server).into_iter().flat_map(|server| &server.services);
            services
                .map(|service| format!("VS {} {}", of_service(service), word(*held)))
                .collect()
        }
        Transition::ServerChanged { server, from, to, .. } => {
            let up = match (from, to) {
                (ServerState::Down, ServerState::Up) => true,
                (_, ServerState::Down) => false,
                (_, ServerState::Up | ServerState::Unknown) => return Vec::new(),
            };
            let services = find(&server.virtual_server)
                .into_iter()
                .flat_map(|server| &server.services);
            services
                .filter_map(|service| {
                    let real = of_server(&server.server, service)?;
                    Some(format!("RS {real} {} {}", of_service(service), word(up)))
                })
                .collect()
        }
        _ => Vec::new(),
    }
}

/// `[192.0.2.200]:tcp:80`, `FWM 1`
fn of_service(service: &ServiceKey) -> String {
    match service {
        ServiceKey::Address {
            protocol,
            address,
            port,
        } => format!("[{address}]:{protocol}:{port}"),
        ServiceKey::Fwmark { mark, .. } => format!("FWM {mark}"),
    }
}

/// A real server as it stands in the configuration, with or without a port, in a service.
fn of_server(server: &str, service: &ServiceKey) -> Option<String> {
    let protocol = match service {
        ServiceKey::Address { protocol, .. } => protocol.to_string(),
        ServiceKey::Fwmark { .. } => "none".to_owned(),
    };
    let key = match (server.parse::<SocketAddr>(), server.parse::<IpAddr>()) {
        (Ok(address), _) => DestinationKey::new(address.ip(), address.port()),
        (Err(_), Ok(address)) => DestinationKey::new(address, service.port().unwrap_or(0)),
        (Err(_), Err(_)) => return None,
    };
    Some(format!("[{}]:{protocol}:{}", key.address, key.port))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::ServerId;

    #[test]
    fn virtual_routers_have_keepaliveds_lines() {
        assert_eq!(instance("VI_1", VrrpState::Master, 100), "INSTANCE \"VI_1\" MASTER 100");
        assert_eq!(instance("VI_1", VrrpState::Initialize, 1), "INSTANCE \"VI_1\" STOP 1");
        assert_eq!(group("VG_1", VrrpState::Fault), "GROUP \"VG_1\" FAULT 0");
    }

    #[test]
    fn servers_and_quorums_have_a_line_a_service() {
        let text = "[[virtual_server]]\nname = \"web\"\naddress = [\"192.0.2.200:80\", \"[2001:db8::200]:443\"]\n\
                    [[virtual_server]]\nname = \"mark\"\nfwmark = 7\n";
        let source = crate::config::Source::new("a file", text.as_bytes().to_vec());
        let crate::config::Outcome::Refused(_) = crate::config::parse(&crate::config::Sources::new(source)) else {
            panic!("two families in one pool");
        };
        let text = text.replace(", \"[2001:db8::200]:443\"", ", \"192.0.2.200:443\"");
        let source = crate::config::Source::new("a file", text.into_bytes());
        let crate::config::Outcome::Parsed { config, .. } = crate::config::parse(&crate::config::Sources::new(source))
        else {
            panic!("a good configuration");
        };
        let changed = |pool: &str, server: &str, from, to| Transition::ServerChanged {
            server: ServerId {
                virtual_server: pool.to_owned(),
                server: server.to_owned(),
            },
            from,
            to,
            check: String::new(),
            cause: None,
            lasted: Duration::ZERO,
        };
        let quorum = |pool: &str, held| Transition::QuorumChanged {
            virtual_server: pool.to_owned(),
            held,
            weight: 0,
            needed: 1,
        };
        use ServerState::{Down, Unknown, Up};
        let cases: &[(Transition, &[&str])] = &[
            (
                quorum("web", false),
                &["VS [192.0.2.200]:tcp:80 DOWN", "VS [192.0.2.200]:tcp:443 DOWN"],
            ),
            (quorum("mark", true), &["VS FWM 7 UP"]),
            (quorum("nobody", true), &[]),
            (
                changed("web", "192.0.2.11", Up, Down),
                &[
                    "RS [192.0.2.11]:tcp:80 [192.0.2.200]:tcp:80 DOWN",
                    "RS [192.0.2.11]:tcp:443 [192.0.2.200]:tcp:443 DOWN",
                ],
            ),
            (
                changed("mark", "192.0.2.11:81", Down, Up),
                &["RS [192.0.2.11]:none:81 FWM 7 UP"],
            ),
            (changed("mark", "192.0.2.11", Unknown, Up), &[]),
            (changed("mark", "192.0.2.11", Up, Unknown), &[]),
        ];
        for (transition, expected) in cases {
            assert_eq!(of_pool(transition, &config), *expected, "{transition:?}");
        }
    }
}

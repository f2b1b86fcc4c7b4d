//! What the options of one command line say, taken down in their order.
//!
//! The order counts: `-r` without a port takes the port of the service said so far, `-M` is read as an IPv6 prefix
//! only after an IPv6 service, and an IPv6 service sets the mask anew.

use std::net::{IpAddr, Ipv4Addr};

use super::grammar::NameService;
use super::meaning::{Meaning, Setting, Settings};
use super::message::Refusal;
use super::option::OptionEntry;
use super::rule::TunnelType;
use super::value;
use crate::listing::Columns;
use crate::model::{DestinationKey, Family, Netmask, Protocol, ServiceKey};

/// How long a client sticks to its server unless said: seconds.
const PERSISTENCE: u32 = 360;
/// The longest timeout: 31 days in seconds.
const LONGEST: u32 = 31 * 24 * 60 * 60;
/// What the kernel keeps in a signed number.
const MOST: u32 = i32::MAX.cast_unsigned();

/// What has been said so far.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    pub(super) given: Settings,
    protocol: Option<Protocol>,
    address: IpAddr,
    pub(super) port: u16,
    pub(super) fwmark: Option<u32>,
    pub(super) family: Family,
    pub(super) netmask: Netmask,
    pub(super) scheduler: &'a str,
    pub(super) scheduler_flags: Option<&'a str>,
    pub(super) persistence: Option<u32>,
    pub(super) engine: &'a str,
    pub(super) destination: DestinationKey,
    /// `g`, `i` or `m`.
    pub(super) forwarding: char,
    pub(super) weight: u32,
    pub(super) upper_threshold: u32,
    pub(super) lower_threshold: u32,
    pub(super) tunnel: TunnelType,
    pub(super) tunnel_port: u16,
    pub(super) columns: Columns,
    pub(super) interface: &'a str,
    pub(super) sync_id: u32,
    pub(super) max_length: u16,
    pub(super) group: Option<IpAddr>,
    pub(super) group_port: u16,
    pub(super) ttl: u8,
}

impl<'a> Draft<'a> {
    pub(super) fn new() -> Self {
        let nowhere = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        Self {
            given: Settings::NONE,
            protocol: None,
            address: nowhere,
            port: 0,
            fwmark: None,
            family: Family::Inet,
            netmask: Netmask::host(Family::Inet),
            scheduler: "",
            scheduler_flags: None,
            persistence: None,
            engine: "",
            destination: DestinationKey::new(nowhere, 0),
            forwarding: 'g',
            weight: 1,
            upper_threshold: 0,
            lower_threshold: 0,
            tunnel: TunnelType::Ipip,
            tunnel_port: 0,
            columns: Columns::default(),
            interface: "",
            sync_id: 0,
            max_length: 0,
            group: None,
            group_port: 0,
            ttl: 0,
        }
    }

    pub(super) fn has(&self, setting: Setting) -> bool {
        self.given.contains(setting)
    }

    /// The service, where one was said.
    pub(super) fn service(&self) -> Option<ServiceKey> {
        let family = self.family;
        match (self.fwmark, self.protocol) {
            (Some(mark), _) => Some(ServiceKey::Fwmark { mark, family }),
            (None, Some(protocol)) => Some(ServiceKey::Address {
                protocol,
                address: self.address,
                port: self.port,
            }),
            (None, None) => None,
        }
    }

    pub(super) fn is_udp(&self) -> bool {
        self.protocol == Some(Protocol::Udp)
    }

    /// Takes one option that is not the command.
    pub(super) fn take(
        &mut self,
        entry: &OptionEntry,
        value: Option<&'a str>,
        last_word: &str,
        names: &dyn NameService,
    ) -> Result<(), Refusal> {
        let text = value.unwrap_or_default();
        match entry.meaning {
            Meaning::Verb(_) => Err(Refusal::syntax(format!("invalid option `{last_word}'"))),
            Meaning::Nothing => Ok(()),
            Meaning::ServiceOf(number) => {
                self.once(Setting::Service)?;
                self.take_service(Protocol::from_number(number), text, names)
            }
            Meaning::Fwmark => {
                self.once(Setting::Service)?;
                let mark = value::number(text, 1, u32::MAX)
                    .ok_or_else(|| Refusal::syntax(format!("invalid fwmark value `{text}' specified")))?;
                self.fwmark = Some(mark);
                // The ports of its real servers are looked up as TCP's.
                self.protocol = Some(Protocol::Tcp);
                Ok(())
            }
            Meaning::Ipv6 => {
                if self.fwmark.is_none() {
                    return Err(Refusal::syntax("-6 used before -f\n".to_owned()));
                }
                self.family = Family::Inet6;
                self.netmask = Netmask::host(Family::Inet6);
                Ok(())
            }
            Meaning::Forwarding(letter) => {
                self.once(Setting::Forwarding)?;
                self.forwarding = letter;
                Ok(())
            }
            Meaning::Setting(setting) => {
                self.once(setting)?;
                self.take_setting(setting, value, names)
            }
        }
    }

    fn once(&mut self, setting: Setting) -> Result<(), Refusal> {
        if !self.given.contains(setting) {
            self.given = self.given.with(setting);
            return Ok(());
        }
        Err(Refusal::syntax(format!(
            "multiple '{}' options specified",
            setting.name()
        )))
    }

    fn take_service(&mut self, protocol: Protocol, text: &str, names: &dyn NameService) -> Result<(), Refusal> {
        let Some((address, port)) = value::endpoint(text, Some(protocol), names) else {
            return Err(Refusal::syntax("illegal virtual server address[:port] specified".to_owned()).about(text));
        };
        self.protocol = Some(protocol);
        self.address = address;
        self.family = Family::of(address);
        self.port = port.unwrap_or(0);
        if self.family == Family::Inet6 {
            self.netmask = Netmask::host(Family::Inet6);
        }
        Ok(())
    }

    fn take_setting(
        &mut self,
        setting: Setting,
        value: Option<&'a str>,
        names: &dyn NameService,
    ) -> Result<(), Refusal> {
        let text = value.unwrap_or_default();
        match setting {
            Setting::Scheduler => self.scheduler = text,
            Setting::SchedulerFlags => self.scheduler_flags = Some(text),
            Setting::PersistenceEngine => self.engine = text,
            Setting::Persistent => {
                self.persistence = Some(match value {
                    None => PERSISTENCE,
                    Some(text) => timeout(text, 1)?,
                });
            }
            Setting::Netmask => self.take_netmask(text, names)?,
            Setting::Server => {
                let Some((address, port)) = value::endpoint(text, self.protocol, names) else {
                    return Err(Refusal::syntax("illegal real server address[:port] specified".to_owned()).about(text));
                };
                self.destination = DestinationKey::new(address, port.unwrap_or(self.port));
            }
            Setting::Weight => self.weight = ranged("weight", text, 0, MOST)?,
            Setting::UpperThreshold => self.upper_threshold = ranged("u_threshold", text, 0, MOST)?,
            Setting::LowerThreshold => self.lower_threshold = ranged("l_threshold", text, 0, MOST)?,
            Setting::TunType => {
                self.tunnel = TunnelType::from_name(text)
                    .ok_or_else(|| Refusal::syntax("illegal tunnel type specified".to_owned()).about(text))?;
            }
            Setting::TunPort => self.tunnel_port = small("tunnel port", text, 1, u16::MAX)?,
            Setting::McastInterface => self.interface = text,
            Setting::SyncId => self.sync_id = ranged("syncid", text, 0, 255)?,
            Setting::SyncMaxlen => self.max_length = small("sync-maxlen", text, 1, 65507)?,
            Setting::McastGroup => self.group = Some(multicast_group(text)?),
            Setting::McastPort => self.group_port = small("mcast-port", text, 1, u16::MAX)?,
            Setting::McastTtl => self.ttl = small("mcast-ttl", text, 1, u8::MAX)?,
            Setting::Statistics => self.columns.statistics = true,
            Setting::Rate => self.columns.rates = true,
            Setting::Thresholds => self.columns.thresholds = true,
            Setting::PersistentConn => self.columns.persistent_connections = true,
            Setting::TunInfo => self.columns.tunnels = true,
            Setting::Exact => self.columns.exact = true,
            // That they were given is all there is to know.
            Setting::Numeric
            | Setting::Connection
            | Setting::Timeout
            | Setting::Daemon
            | Setting::NoSort
            | Setting::OnePacket
            | Setting::TunNocsum
            | Setting::TunCsum
            | Setting::TunRemcsum
            | Setting::Json
            | Setting::Atomic
            // Taken by their own meanings.
            | Setting::Service
            | Setting::Forwarding => {}
        }
        Ok(())
    }

    fn take_netmask(&mut self, text: &str, names: &dyn NameService) -> Result<(), Refusal> {
        self.netmask = match self.family {
            Family::Inet => Netmask::V4(value::host(text, names).ok_or_else(|| {
                Refusal::syntax("illegal virtual server persistent mask specified".to_owned()).about(text)
            })?),
            Family::Inet6 => Netmask::V6(
                value::prefix_length(text)
                    .ok_or_else(|| Refusal::syntax("illegal ipv6 netmask specified".to_owned()).limits(text, 1, 128))?,
            ),
        };
        Ok(())
    }
}

/// A timeout in seconds.
pub(super) fn timeout(text: &str, least: u32) -> Result<u32, Refusal> {
    value::number(text, least, LONGEST).ok_or_else(|| {
        Refusal::syntax(format!("invalid timeout value `{text}' specified")).limits(text, least, LONGEST)
    })
}

fn ranged(what: &str, text: &str, least: u32, most: u32) -> Result<u32, Refusal> {
    value::number(text, least, most)
        .ok_or_else(|| Refusal::syntax(format!("illegal {what} specified")).limits(text, least, most))
}

/// As [`ranged`], in a smaller type.
fn small<T: TryFrom<u32> + Into<u32>>(what: &str, text: &str, least: u32, most: T) -> Result<T, Refusal> {
    let most = most.into();
    let number = ranged(what, text, least, most)?;
    T::try_from(number).map_err(|_| Refusal::syntax(format!("illegal {what} specified")).limits(text, least, most))
}

/// What holds a colon is an IPv6 address.
fn multicast_group(text: &str) -> Result<IpAddr, Refusal> {
    let (version, group) = if text.contains(':') {
        (6, text.parse().ok().map(IpAddr::V6))
    } else {
        (4, text.parse().ok().map(IpAddr::V4))
    };
    group
        .filter(IpAddr::is_multicast)
        .ok_or_else(|| Refusal::syntax(format!("invalid IPv{version} mcast-group `{text}'")))
}

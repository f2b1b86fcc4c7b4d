//! The nouns of the real server's side.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::model::{HostAddress, Link, VirtualAddress};

/// How packets for a virtual address come to this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// As they are, on the director's segment.
    Dr,
    /// Inside IP packets, from anywhere.
    Tun,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dr => "dr",
            Self::Tun => "tun",
        })
    }
}

/// A word that is no [`Mode`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no mode of a real server (dr, tun; a nat real server needs nothing but its route)")]
pub struct ParseModeError(pub String);

impl FromStr for Mode {
    type Err = ParseModeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "dr" => Ok(Self::Dr),
            "tun" => Ok(Self::Tun),
            _ => Err(ParseModeError(text.to_owned())),
        }
    }
}

/// The virtual addresses that this host shall take packets for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wanted {
    /// Each address once.
    pub vips: BTreeMap<IpAddr, WantedVip>,
}

impl Wanted {
    /// The same device and mode for all.
    pub fn all_on(device: &str, vips: impl IntoIterator<Item = (IpAddr, Mode)>) -> Self {
        let vip = |mode| WantedVip {
            device: device.to_owned(),
            mode,
        };
        Self {
            vips: vips.into_iter().map(|(address, mode)| (address, vip(mode))).collect(),
        }
    }
}

/// Where one virtual address goes, and how its packets come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedVip {
    /// The device.
    pub device: String,
    /// The mode.
    pub mode: Mode,
}

/// What a configuration says about this host as a real server.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FromConfig {
    /// The virtual addresses and how their packets come.
    pub vips: BTreeMap<IpAddr, Mode>,
    /// What could not be derived, or needs nothing, each a sentence for a person.
    pub notes: BTreeSet<String>,
}

/// What was read from the host.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Host {
    /// Its interfaces.
    pub links: Vec<Link>,
    /// Its addresses.
    pub addresses: Vec<HostAddress>,
    /// Its kernel settings, as far as they were asked for and are there.
    pub sysctls: BTreeMap<String, String>,
}

/// One change of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Set a kernel setting.
    SetSysctl {
        /// Its name.
        name: String,
        /// The new value.
        value: String,
        /// The value before.
        was: String,
    },
    /// Switch an interface on or off.
    SetLink {
        /// Which.
        device: String,
        /// On.
        up: bool,
    },
    /// Put a virtual address on its device, good for this host only.
    AddAddress {
        /// Which and where.
        vip: VirtualAddress,
        /// Its label (IPv4 only).
        label: Option<String>,
    },
    /// Take a virtual address off its device.
    RemoveAddress {
        /// Which and where.
        vip: VirtualAddress,
    },
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SetSysctl { name, value, was } => write!(f, "set {name} = {value} (was {was})"),
            Self::SetLink { device, up: true } => write!(f, "set {device} up"),
            Self::SetLink { device, up: false } => write!(f, "set {device} down"),
            Self::AddAddress { vip, .. } => write!(f, "add {} to {}", vip.address, vip.device),
            Self::RemoveAddress { vip } => write!(f, "remove {} from {}", vip.address, vip.device),
        }
    }
}

/// What was there before the first `up`, and what has been made of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The kernel settings that were changed.
    pub sysctls: BTreeMap<String, KeptSysctl>,
    /// The interfaces that were down and were switched on.
    pub links: BTreeSet<String>,
    /// The virtual addresses that were wanted.
    pub vips: BTreeMap<IpAddr, KeptVip>,
}

/// A kernel setting that was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeptSysctl {
    /// Its value before the first change.
    pub before: String,
    /// Its value since.
    pub set: String,
}

/// A virtual address that was wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeptVip {
    /// Its device.
    pub device: String,
    /// Its mode.
    pub mode: Mode,
    /// It was not there before: it goes again.
    pub added: bool,
}

impl Record {
    /// Whether there is nothing to undo.
    pub fn is_empty(&self) -> bool {
        let Self { sysctls, links, vips } = self;
        sysctls.is_empty() && links.is_empty() && vips.is_empty()
    }

    /// What was wanted when it was written.
    pub fn wanted(&self) -> Wanted {
        let vip = |(address, kept): (&IpAddr, &KeptVip)| {
            let wanted = WantedVip {
                device: kept.device.clone(),
                mode: kept.mode,
            };
            (*address, wanted)
        };
        Wanted {
            vips: self.vips.iter().map(vip).collect(),
        }
    }
}

/// The way back to what was there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Undo {
    /// What to do, in this order.
    pub steps: Vec<Step>,
    /// What is left as it is, and why, each a sentence for a person.
    pub notes: Vec<String>,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// As it should be.
    Ok,
    /// Works, or works for now.
    Warning,
    /// Does not work, or breaks the service for others.
    Problem,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Problem => "problem",
        })
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad.
    pub severity: Severity,
    /// The address, interface or setting.
    pub subject: String,
    /// What was found.
    pub text: String,
    /// What to do about it.
    pub remedy: Option<String>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.severity, self.subject, self.text)?;
        match &self.remedy {
            Some(remedy) => write!(f, " ({remedy})"),
            None => Ok(()),
        }
    }
}

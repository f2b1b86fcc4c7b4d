//! Kernel settings by their dotted names, as sysctl(8) takes them.
//!
//! `/proc/sys/net` shows the network namespace of the calling thread. A name may contain the name of an interface
//! that itself contains a dot (`net.ipv4.conf.eth0/100.arp_ignore`): as with sysctl(8), its dot is written `/`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;

use super::NetError;

/// The value of a setting without the line end.
///
/// # Errors
/// [`NetError::NoSuchSysctl`], [`NetError::NotPermitted`], [`NetError::Kernel`].
pub fn read(name: &str) -> Result<String, NetError> {
    match fs::read_to_string(path(name)?) {
        Ok(text) => Ok(text.trim_end_matches('\n').to_owned()),
        Err(error) => Err(explain(error, name, None)),
    }
}

/// The values of those settings that this kernel has.
///
/// # Errors
/// As [`read`], a missing setting aside.
pub fn read_present<'a>(names: impl IntoIterator<Item = &'a String>) -> Result<BTreeMap<String, String>, NetError> {
    let mut values = BTreeMap::new();
    for name in names {
        match read(name) {
            Ok(value) => {
                values.insert(name.clone(), value);
            }
            Err(NetError::NoSuchSysctl { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(values)
}

/// Sets a setting.
///
/// # Errors
/// [`NetError::NoSuchSysctl`], [`NetError::BadSysctlValue`], [`NetError::NotPermitted`], [`NetError::Kernel`].
pub fn write(name: &str, value: &str) -> Result<(), NetError> {
    let open = fs::OpenOptions::new().write(true).open(path(name)?);
    open.and_then(|mut file| io::Write::write_all(&mut file, value.as_bytes()))
        .map_err(|error| explain(error, name, Some(value)))
}

fn path(name: &str) -> Result<PathBuf, NetError> {
    let relative: String = name
        .chars()
        .map(|letter| match letter {
            '.' => '/',
            '/' => '.',
            other => other,
        })
        .collect();
    let sound = relative.split('/').all(|part| !matches!(part, "" | "." | ".."));
    match sound {
        true => Ok(PathBuf::from("/proc/sys").join(relative)),
        false => Err(NetError::NoSuchSysctl { name: name.to_owned() }),
    }
}

fn explain(cause: io::Error, name: &str, value: Option<&str>) -> NetError {
    match (cause.kind(), value) {
        (io::ErrorKind::NotFound, _) => NetError::NoSuchSysctl { name: name.to_owned() },
        (io::ErrorKind::PermissionDenied, Some(value)) => NetError::NotPermitted {
            action: format!("set kernel setting {name} to {value}"),
            capability: "CAP_NET_ADMIN and a writable /proc/sys",
        },
        (io::ErrorKind::PermissionDenied, None) => NetError::NotPermitted {
            action: format!("read kernel setting {name}"),
            capability: "CAP_NET_ADMIN",
        },
        (io::ErrorKind::InvalidInput, Some(value)) => NetError::BadSysctlValue {
            name: name.to_owned(),
            value: value.to_owned(),
            cause,
        },
        (_, Some(value)) => NetError::Kernel {
            action: format!("set kernel setting {name} to {value}"),
            cause,
        },
        (_, None) => NetError::Kernel {
            action: format!("read kernel setting {name}"),
            cause,
        },
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test says what went wrong by failing")]

    use super::*;
    use crate::model::interface_sysctl;

    #[test]
    fn names_become_paths_as_sysctl_does_it() {
        let shown = |name| path(name).unwrap().display().to_string();
        assert_eq!(shown("net.ipv4.ip_forward"), "/proc/sys/net/ipv4/ip_forward");
        assert_eq!(
            shown(&interface_sysctl("ipv4", "eth0.100", "arp_ignore")),
            "/proc/sys/net/ipv4/conf/eth0.100/arp_ignore"
        );
    }

    #[test]
    fn a_name_cannot_leave_the_tree() {
        for name in ["", "net..ipv4", "net.//.//.etc.passwd", ".net", "//.x"] {
            assert!(matches!(path(name), Err(NetError::NoSuchSysctl { .. })), "{name}");
        }
    }

    #[test]
    fn a_missing_setting_is_named() {
        let error = read("net.ipv4.no_such_setting").unwrap_err().to_string();
        assert!(error.contains("net.ipv4.no_such_setting"), "{error}");
    }
}

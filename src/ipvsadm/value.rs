//! Values as the C library reads them: numbers, addresses, masks, scheduler flags.
//!
//! `strtol`, `inet_aton` and `atoi` take more than Rust's parsers do (blanks and a plus sign in front, octal and
//! hexadecimal, addresses of fewer than four numbers), and scripts may rely on it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV4};

use super::grammar::NameService;
use crate::model::{Protocol, ServiceFlags, plain_socket};

/// What `isspace` says yes to.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r')
}

/// A leading decimal number and what follows it, as `strtol` reads; `None` for the number where there is no digit.
/// What does not fit is held at the ends of the range, with `false`.
fn leading_number(text: &str) -> (Option<(i64, bool)>, &str) {
    let trimmed = text.trim_start_matches(|c: char| u8::try_from(c).is_ok_and(is_blank));
    let (negative, unsigned) = match trimmed.as_bytes().first() {
        Some(b'-') => (true, &trimmed[1..]),
        Some(b'+') => (false, &trimmed[1..]),
        _ => (false, trimmed),
    };
    let digits = unsigned.bytes().take_while(u8::is_ascii_digit).count();
    if digits == 0 {
        return (None, text);
    }
    let (number, rest) = unsigned.split_at(digits);
    let value = number.bytes().try_fold(0_i64, |value, digit| {
        let digit = i64::from(digit - b'0');
        let shifted = value.checked_mul(10)?;
        if negative {
            shifted.checked_sub(digit)
        } else {
            shifted.checked_add(digit)
        }
    });
    let held = match value {
        Some(value) => (value, true),
        None if negative => (i64::MIN, false),
        None => (i64::MAX, false),
    };
    (Some(held), rest)
}

/// A whole decimal number within limits.
pub(super) fn number(text: &str, least: u32, most: u32) -> Option<u32> {
    match leading_number(text) {
        (Some((value, true)), "") => u32::try_from(value).ok().filter(|value| (least..=most).contains(value)),
        _ => None,
    }
}

/// The prefix length of an IPv6 mask, read by `atoi`: what follows the digits is ignored, and a number is cut to 32
/// bits.
pub(super) fn prefix_length(text: &str) -> Option<u8> {
    let (Some((value, _)), _) = leading_number(text) else {
        return None;
    };
    #[expect(clippy::cast_possible_truncation, reason = "as the original does")]
    let value = value as i32;
    u8::try_from(value).ok().filter(|prefix| (1..=128).contains(prefix))
}

/// An IPv4 address as `inet_aton` reads it: one to four numbers, decimal, octal or hexadecimal, the last of which fills
/// the rest; anything may follow after a blank.
pub(super) fn inet_aton(text: &str) -> Option<Ipv4Addr> {
    let text = text.split(|c: char| u8::try_from(c).is_ok_and(is_blank)).next()?;
    let parts: Vec<&str> = text.split('.').collect();
    let (last, front) = parts.split_last()?;
    if front.len() > 3 {
        return None;
    }
    let mut address: u32 = 0;
    for (index, part) in front.iter().enumerate() {
        let part = u8::try_from(c_number(part)?).ok()?;
        address |= u32::from(part) << (24 - 8 * index);
    }
    let last = c_number(last)?;
    let limit = u32::MAX.checked_shr(8 * u32::try_from(front.len()).ok()?)?;
    (last <= limit).then(|| Ipv4Addr::from(address | last))
}

/// A number as C writes them: `12`, `014`, `0xc`.
fn c_number(text: &str) -> Option<u32> {
    if !text.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    let (digits, radix) = match text.as_bytes() {
        [b'0', b'x' | b'X', ..] => (&text[2..], 16),
        [b'0', _, ..] => (&text[1..], 8),
        _ => (text, 10),
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    u32::from_str_radix(digits, radix).ok()
}

/// An IPv4 address as a number or a name.
pub(super) fn host(text: &str, names: &dyn NameService) -> Option<Ipv4Addr> {
    match inet_aton(text) {
        Some(address) => Some(address),
        None if text.is_empty() => None,
        None => names.host(text),
    }
}

/// A port as a number or as a name of services(5).
fn port(text: &str, protocol: Option<Protocol>, names: &dyn NameService) -> Option<u16> {
    match leading_number(text) {
        (Some((value, _)), "") => u16::try_from(value).ok(),
        _ if text.is_empty() => None,
        _ => names.port(protocol?, text),
    }
}

/// An address and, where it is there, a port.
///
/// An IPv6 address stands in brackets before a port and bare without one: `2001:db8::5:80` has no port. Brackets need
/// the colon behind them. Inside of them the last colon of what is no IPv6 address counts, and what follows the
/// brackets then does not: `[192.0.2.1]:80` has no port.
pub fn endpoint(text: &str, protocol: Option<Protocol>, names: &dyn NameService) -> Option<(IpAddr, Option<u16>)> {
    // How nearly all of them are written.
    if let Some(plain) = plain_socket(text).or_else(|| text.parse::<SocketAddrV4>().ok()) {
        return Some(((*plain.ip()).into(), Some(plain.port())));
    }
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (inside, behind) = match text.strip_prefix('[') {
        Some(rest) => {
            let (inside, rest) = rest.split_once(']')?;
            (inside, Some(rest.strip_prefix(':')?))
        }
        None => (text, None),
    };
    let (address, port_text) = match inside.parse::<Ipv6Addr>() {
        Ok(address) => (IpAddr::V6(address), behind),
        Err(_) => {
            let (name, port_text) = match inside.rsplit_once(':') {
                Some((name, port)) => (name, Some(port)),
                None => (inside, None),
            };
            (IpAddr::V4(host(name, names)?), port_text)
        }
    };
    match port_text {
        None => Some((address, None)),
        Some(text) => Some((address, Some(port(text, protocol, names)?))),
    }
}

/// Why scheduler flags are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FlagTrouble<'a> {
    /// No flag has this name.
    Invalid(&'a str),
    /// It is another scheduler's.
    Incompatible(&'a str),
}

/// Flags by name with commas between them; empty names are passed over, as `strtok` does.
pub(super) fn scheduler_flags<'a>(text: &'a str, scheduler: &str) -> Result<ServiceFlags, FlagTrouble<'a>> {
    let mut flags = ServiceFlags::NONE;
    for name in text.split(',').filter(|name| !name.is_empty()) {
        let (flag, owner) = match name {
            "flag-1" => (ServiceFlags::SCHEDULER_1, None),
            "flag-2" => (ServiceFlags::SCHEDULER_2, None),
            "flag-3" => (ServiceFlags::SCHEDULER_3, None),
            "sh-fallback" => (ServiceFlags::SCHEDULER_1, Some("sh")),
            "sh-port" => (ServiceFlags::SCHEDULER_2, Some("sh")),
            "mh-fallback" => (ServiceFlags::SCHEDULER_1, Some("mh")),
            "mh-port" => (ServiceFlags::SCHEDULER_2, Some("mh")),
            _ => return Err(FlagTrouble::Invalid(name)),
        };
        if owner.is_some_and(|owner| owner != scheduler) {
            return Err(FlagTrouble::Incompatible(name));
        }
        flags = flags.with(flag);
    }
    Ok(flags)
}

//! Figures and addresses as text, appended to a buffer without a detour through `format!`.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Appends a number in decimal.
pub(super) fn push_number(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0_u8; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}

/// Appends a signed number in decimal.
pub(super) fn push_signed(out: &mut Vec<u8>, number: i32) {
    if number < 0 {
        out.push(b'-');
    }
    push_number(out, u64::from(number.unsigned_abs()));
}

/// Fills with spaces what was appended since `start` until it is `width` bytes wide; wider text stays as it is.
pub(super) fn pad(out: &mut Vec<u8>, start: usize, width: usize) {
    if out.len() < start + width {
        out.resize(start + width, b' ');
    }
}

/// Appends text, left-aligned in `width` bytes.
pub(super) fn push_left(out: &mut Vec<u8>, text: &str, width: usize) {
    let start = out.len();
    out.extend_from_slice(text.as_bytes());
    pad(out, start, width);
}

/// Appends a number, left-aligned in `width` bytes.
pub(super) fn push_number_left(out: &mut Vec<u8>, number: u64, width: usize) {
    let start = out.len();
    push_number(out, number);
    pad(out, start, width);
}

/// Appends a number, right-aligned in `width` bytes.
pub(super) fn push_number_right(out: &mut Vec<u8>, number: u64, width: usize) {
    out.resize(out.len() + width.saturating_sub(digits(number)), b' ');
    push_number(out, number);
}

/// Appends a counter in nine bytes: from 100 million on in thousands (`K`), millions (`M`), thousand millions (`G`)
/// or million millions (`T`), rounded down.
///
/// With `exact` the number is never scaled; one of more than eight digits is as wide as it needs, and a space.
pub(super) fn push_counter(out: &mut Vec<u8>, number: u64, exact: bool) {
    const MILLION: u64 = 1_000_000;
    if exact {
        push_number_right(out, number, (digits(number) + 1).max(9));
        return;
    }
    let (divisor, unit) = match number {
        0..100_000_000 => return push_number_right(out, number, 9),
        100_000_000..1_000_000_000 => (1000, b'K'),
        1_000_000_000..100_000_000_000 => (MILLION, b'M'),
        100_000_000_000..100_000_000_000_000 => (1000 * MILLION, b'G'),
        100_000_000_000_000.. => (MILLION * MILLION, b'T'),
    };
    push_number_right(out, number / divisor, 8);
    out.push(unit);
}

/// How many digits a number has.
fn digits(number: u64) -> usize {
    number.checked_ilog10().map_or(1, |log| log as usize + 1)
}

/// Appends an address as libc's `inet_ntop` writes it.
pub(super) fn push_address(out: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => push_ipv4(out, address),
        IpAddr::V6(address) => push_ipv6(out, address),
    }
}

fn push_ipv4(out: &mut Vec<u8>, address: Ipv4Addr) {
    for (place, octet) in address.octets().into_iter().enumerate() {
        if place > 0 {
            out.push(b'.');
        }
        push_number(out, u64::from(octet));
    }
}

fn push_ipv6(out: &mut Vec<u8>, address: Ipv6Addr) {
    let segments = address.segments();
    // libc still writes the deprecated IPv4-compatible form, which the standard library no longer does.
    if segments[..6] == [0; 6] && segments[6] != 0 {
        out.extend_from_slice(b"::");
        push_ipv4(out, Ipv4Addr::from_bits(address.to_bits() as u32));
    } else {
        // Writing to a vector cannot fail.
        let _ = write!(out, "{address}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;

    fn text(push: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        push(&mut out);
        String::from_utf8(out).expect("the text is ASCII")
    }

    #[test]
    fn counters_change_their_unit_where_the_original_does() {
        for (number, expected) in [
            (0, "        0"),
            (99_999_999, " 99999999"),
            (100_000_000, "  100000K"),
            (999_999_999, "  999999K"),
            (1_000_000_000, "    1000M"),
            (99_999_999_999, "   99999M"),
            (100_000_000_000, "     100G"),
            (99_999_999_999_999, "   99999G"),
            (100_000_000_000_000, "     100T"),
            (u64::MAX, "18446744T"),
        ] {
            assert_eq!(text(|out| push_counter(out, number, false)), expected, "{number}");
        }
    }

    proptest! {
        #[test]
        fn a_scaled_counter_is_always_nine_bytes(number: u64) {
            prop_assert_eq!(text(|out| push_counter(out, number, false)).len(), 9);
        }

        #[test]
        fn a_small_counter_is_nine_bytes_scaled_or_exact(number in 0_u64..100_000_000, exact: bool) {
            prop_assert_eq!(text(|out| push_counter(out, number, exact)), format!("{number:9}"));
        }

        #[test]
        fn an_exact_counter_keeps_its_digits_and_a_space(number: u64) {
            let exact = text(|out| push_counter(out, number, true));
            prop_assert!(exact.starts_with(' ') && exact.len() >= 9);
            prop_assert_eq!(exact.trim_start(), number.to_string());
        }

        #[test]
        fn numbers_and_padding_are_those_of_format(number: u64, signed: i32, width in 0_usize..30) {
            prop_assert_eq!(text(|out| push_number(out, number)), number.to_string());
            prop_assert_eq!(text(|out| push_signed(out, signed)), signed.to_string());
            prop_assert_eq!(text(|out| push_number_left(out, number, width)), format!("{number:<width$}"));
            prop_assert_eq!(text(|out| push_number_right(out, number, width)), format!("{number:>width$}"));
        }
    }

    #[test]
    fn addresses_are_written_as_libc_writes_them() {
        for address in [
            "192.0.2.1",
            "::",
            "::1",
            "::ffff:192.0.2.1",
            "::192.0.2.1",
            "2001:db8::1",
            "2001:db8:0:1::",
        ] {
            assert_eq!(
                text(|out| push_address(out, address.parse().expect("an address"))),
                address
            );
        }
    }
}

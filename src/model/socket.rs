//! The text of a socket's address as nearly all of them are written.

use std::net::{Ipv4Addr, SocketAddrV4};

/// Reads `192.0.2.11:80`; `None` for whatever is written otherwise, good or bad, which the standard library then reads.
///
/// It takes a third of the library's time, and a table has ten thousands of them.
pub fn plain_socket(text: &str) -> Option<SocketAddrV4> {
    let mut octets = [0_u8; 4];
    let mut rest = text.as_bytes();
    for (index, octet) in octets.iter_mut().enumerate() {
        let (value, length) = number(rest, 3)?;
        // Elsewhere a 0 in front means octal digits, so the library refuses it.
        if length > 1 && rest.first() == Some(&b'0') {
            return None;
        }
        *octet = u8::try_from(value).ok()?;
        let end = if index == 3 { b':' } else { b'.' };
        if rest.get(length) != Some(&end) {
            return None;
        }
        rest = &rest[length + 1..];
    }
    let (port, length) = number(rest, 5)?;
    let port = u16::try_from(port).ok().filter(|_| length == rest.len())?;
    Some(SocketAddrV4::new(Ipv4Addr::from(octets), port))
}

/// The digits that a text begins with, at least one and at most `most`: their value and how many they are.
fn number(text: &[u8], most: usize) -> Option<(u32, usize)> {
    let digits = text.iter().take(most).take_while(|byte| byte.is_ascii_digit());
    let (value, length) = digits.fold((0, 0), |(value, length), digit| {
        (value * 10 + u32::from(digit - b'0'), length + 1)
    });
    (length > 0).then_some((value, length))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_not_plain_is_left_to_the_library() {
        for text in [
            "",
            "192.0.2.11",
            "192.0.2.11:",
            "192.0.2.11:65536",
            "192.0.2.11:080000",
            "192.0.2.256:80",
            "192.0.2.011:80",
            "192.0.2.11.5:80",
            "192.0.2:80",
            "192.0.2.11:80 ",
            "+192.0.2.11:80",
            "[2001:db8::1]:80",
        ] {
            assert_eq!(plain_socket(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_socket_is_read_as_it_is_shown(octets: [u8; 4], port: u16) {
            let socket = SocketAddrV4::new(octets.into(), port);
            prop_assert_eq!(plain_socket(&socket.to_string()), Some(socket));
        }

        #[test]
        fn it_says_nothing_that_the_library_does_not_say(text in "[0-9]{0,4}[.:]?[0-9]{0,3}[.]?[0-9]{1,3}[.][0-9]{1,3}:?[0-9]{0,6}") {
            if let Some(socket) = plain_socket(&text) {
                prop_assert_eq!(text.parse(), Ok(socket));
            }
        }
    }
}

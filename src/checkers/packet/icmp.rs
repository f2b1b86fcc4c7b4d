//! ICMP echo (RFC 792, RFC 4443).

const HEADER: usize = 8;

/// An echo request of version 4 or 6 with its checksum; for version 6 the kernel makes that.
pub fn request(v6: bool, sequence: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![if v6 { 128 } else { 8 }, 0, 0, 0, 0x69, 0x70];
    bytes.extend(sequence.to_be_bytes());
    bytes.extend_from_slice(payload);
    if !v6 {
        let sum = checksum(&bytes).to_be_bytes();
        bytes[2..4].copy_from_slice(&sum);
    }
    bytes
}

/// Whether this is the reply to a request, with or without an IPv4 header before it.
pub fn is_reply(v6: bool, sequence: u16, payload: &[u8], bytes: &[u8]) -> bool {
    let message = match bytes.first() {
        Some(first) if !v6 && first >> 4 == 4 => bytes.get(usize::from(first & 15) * 4..).unwrap_or_default(),
        _ => bytes,
    };
    let reply = if v6 { 129 } else { 0 };
    message.len() >= HEADER
        && message[..2] == [reply, 0]
        && message[6..8] == sequence.to_be_bytes()
        && message[HEADER..] == *payload
}

fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = 0;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | pair.get(1).copied().map_or(0, u32::from);
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_request_has_a_good_checksum() {
        assert_eq!(checksum(&request(false, 7, b"payload")), 0);
        assert_eq!(request(true, 7, b"")[..2], [128, 0]);
    }

    #[test]
    fn a_reply_is_known_with_and_without_an_ip_header() {
        let mut reply = request(false, 7, b"payload");
        reply[0] = 0;
        assert!(is_reply(false, 7, b"payload", &reply));
        let with_header = [&[0x45][..], &[0; 19], &reply].concat();
        assert!(is_reply(false, 7, b"payload", &with_header));
        assert!(!is_reply(false, 8, b"payload", &reply));
        assert!(!is_reply(false, 7, b"other", &reply));
        assert!(!is_reply(true, 7, b"payload", &reply));
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_odd_to_read(bytes: Vec<u8>, v6: bool) {
            prop_assert!(!is_reply(v6, 7, b"a payload that nobody guesses", &bytes));
        }
    }
}

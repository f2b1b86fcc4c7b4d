//! The messages of gRPC's health service, version 1, in their frames of five bytes.

/// How a service is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// The server does not know.
    Unknown,
    /// It serves.
    Serving,
    /// It does not serve.
    NotServing,
    /// There is no such service.
    ServiceUnknown,
    /// A state that this program does not know.
    Other(u64),
}

/// `HealthCheckRequest` for a service, in its frame.
pub fn request(service: &str) -> Vec<u8> {
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(0x0a);
        varint(&mut message, service.len());
        message.extend(service.bytes());
    }
    let mut frame = vec![0];
    frame.extend(u32::try_from(message.len()).unwrap_or(0).to_be_bytes());
    frame.extend(message);
    frame
}

fn varint(bytes: &mut Vec<u8>, mut number: usize) {
    while number > 0x7f {
        bytes.push(u8::try_from(number & 0x7f).unwrap_or(0) | 0x80);
        number >>= 7;
    }
    bytes.push(u8::try_from(number).unwrap_or(0));
}

/// Reads a `HealthCheckResponse` in its frame.
pub fn response(bytes: &[u8]) -> Result<Health, &'static str> {
    let (header, rest) = bytes.split_first_chunk::<5>().ok_or("there is no frame")?;
    let [flag, length @ ..] = *header;
    if flag != 0 {
        return Err("the message is compressed");
    }
    let length = usize::try_from(u32::from_be_bytes(length)).map_err(|_| "a length is none")?;
    let mut message = rest.get(..length).ok_or("a message is too short")?;
    let mut status = 0;
    while !message.is_empty() {
        let key = number(&mut message)?;
        match (key >> 3, key & 7) {
            (1, 0) => status = number(&mut message)?,
            (_, 0) => drop(number(&mut message)?),
            (_, 2) => {
                let length = usize::try_from(number(&mut message)?).map_err(|_| "a length is none")?;
                message = message.get(length..).ok_or("a field is too long")?;
            }
            (_, 1) => message = message.get(8..).ok_or("a field is too long")?,
            (_, 5) => message = message.get(4..).ok_or("a field is too long")?,
            _ => return Err("a field is of no known kind"),
        }
    }
    Ok(match status {
        0 => Health::Unknown,
        1 => Health::Serving,
        2 => Health::NotServing,
        3 => Health::ServiceUnknown,
        other => Health::Other(other),
    })
}

fn number(bytes: &mut &[u8]) -> Result<u64, &'static str> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first().ok_or("a number has no end")?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err("a number is too long")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn requests_and_responses_are_as_the_service_has_them() {
        assert_eq!(request(""), [0, 0, 0, 0, 0]);
        assert_eq!(request("shop"), b"\x00\x00\x00\x00\x06\x0a\x04shop");
        assert_eq!(response(b"\x00\x00\x00\x00\x02\x08\x01"), Ok(Health::Serving));
        assert_eq!(response(b"\x00\x00\x00\x00\x02\x08\x02"), Ok(Health::NotServing));
        assert_eq!(response(b"\x00\x00\x00\x00\x00"), Ok(Health::Unknown));
        assert_eq!(response(b"\x00\x00\x00\x00\x05\x12\x01x\x08\x01"), Ok(Health::Serving));
        assert!(response(b"\x01\x00\x00\x00\x00").is_err() && response(b"\x00\x00\x00\x00\x02\x08").is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_odd_to_read(bytes: Vec<u8>, message: Vec<u8>) {
            let _ = response(&bytes);
            let length = u32::try_from(message.len()).unwrap_or(0).to_be_bytes();
            let _ = response(&[&[0][..], &length, &message].concat());
        }

        #[test]
        fn any_service_can_be_asked_for(service in "[a-z.]{0,300}") {
            let frame = request(&service);
            prop_assert_eq!(frame.len() - 5, u32::from_be_bytes([frame[1], frame[2], frame[3], frame[4]]) as usize);
        }
    }
}

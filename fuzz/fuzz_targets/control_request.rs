//! Any bytes from a caller of the control socket: a request, or what is wrong with it in words; any bytes in place of
//! the wishes of operators: read, or an error in words.

#![no_main]

use ipvsd::model::UnixTime;
use ipvsd::model::control::{Reply, Request};
use ipvsd::net::namespace::NamespaceId;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|line: &[u8]| {
    match Request::decode(line) {
        Ok(request) => {
            let mut encoded = request.encode();
            assert_eq!(encoded.pop(), Some(b'\n'));
            assert!(!encoded.contains(&b'\n'));
            assert_eq!(Request::decode(&encoded), Ok(request.clone()));
            assert!(!request.to_string().chars().any(char::is_control));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    let _ = Reply::decode(line);
    let namespace = NamespaceId {
        inode: 1,
        cookie: Some(1),
        boot: "boot".to_owned(),
    };
    if let Err(error) = ipvsd::daemon::wishes::parse(line, &namespace, UnixTime::from_millis(0)) {
        assert!(!error.to_string().is_empty());
    }
});

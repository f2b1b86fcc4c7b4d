//! Any datagram is read or refused; what is read and asked for anew reads the same.

#![no_main]

use ipvsd::ipvs::decode::{self, Body};
use ipvsd::ipvs::encode::Request;
use ipvsd::model::Family;
use libfuzzer_sys::fuzz_target;

/// The attributes of a request as they would stand in an answer.
fn with_attributes(request: &Request<'_>, check: impl FnOnce(&[u8])) {
    let mut message = Vec::new();
    request.encode(&mut message, 28, 1, true);
    let mut messages = decode::messages(&message);
    match (messages.next(), messages.next()) {
        (
            Some(Ok(decode::Message {
                body: Body::Data(attributes),
                ..
            })),
            None,
        ) => check(attributes),
        other => panic!("{other:?}"),
    }
}

fn read(attributes: &[u8]) {
    if let Ok(found) = decode::service(attributes) {
        with_attributes(&Request::NewService(found.key, &found.spec), |again| {
            let again = decode::service(again).expect("a service");
            assert_eq!((again.key, again.spec), (found.key, found.spec.clone()));
        });
        for family in [Family::Inet, Family::Inet6] {
            let Ok(destination) = decode::destination(attributes, family) else {
                continue;
            };
            let request = Request::SetDest(found.key, destination.key, &destination.spec);
            with_attributes(&request, |again| {
                let again = decode::destination(again, family).expect("a destination");
                assert_eq!((again.key, again.spec), (destination.key, destination.spec));
            });
        }
    }
    if let Ok(found) = decode::daemon(attributes) {
        with_attributes(&Request::NewDaemon(&found), |again| {
            assert_eq!(decode::daemon(again), Ok(found.clone()))
        });
    }
    if let Ok(found) = decode::timeouts(attributes) {
        with_attributes(&Request::SetConfig(found), |again| {
            assert_eq!(decode::timeouts(again), Ok(found))
        });
    }
    let _ = decode::destination(attributes, Family::Inet);
    let _ = decode::info(attributes);
    let _ = decode::family_id(attributes);
}

fuzz_target!(|datagram: &[u8]| {
    read(datagram);
    for message in decode::messages(datagram).flatten() {
        if let Body::Data(attributes) = message.body {
            read(attributes);
        }
    }
});

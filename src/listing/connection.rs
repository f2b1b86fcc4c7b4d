//! The connection table, in the kernel's order.

use super::Names;
use super::number::{pad, push_left, push_number};
use crate::model::{ConnectionEntry, Protocol};

/// Appends the title and one line a connection.
///
/// With `persistence` the title has the columns of persistence engines, and so has a connection that one knows.
pub fn render_connections(out: &mut Vec<u8>, connections: &[ConnectionEntry], persistence: bool, names: &Names) {
    out.reserve(connections.len() * 100);
    out.extend_from_slice(b"IPVS connection entries\n");
    out.extend_from_slice(b"pro expire state       source             virtual            ");
    out.extend_from_slice(if persistence {
        b"destination        pe name          pe_data\n"
    } else {
        b"destination\n"
    });
    for connection in connections {
        push_connection(out, connection, persistence, names);
    }
}

fn push_connection(out: &mut Vec<u8>, connection: &ConnectionEntry, persistence: bool, names: &Names) {
    let protocol = Some(connection.protocol);
    push_protocol(out, connection.protocol);
    let start = out.len();
    push_two_digits(out, connection.expires / 60);
    out.push(b':');
    push_two_digits(out, connection.expires % 60);
    pad(out, start, 6);
    out.push(b' ');
    push_left(out, &connection.state, 11);
    out.push(b' ');
    for endpoint in [connection.client, connection.virtual_address] {
        let start = out.len();
        names.push_endpoint(out, endpoint, protocol);
        pad(out, start, 18);
        out.push(b' ');
    }
    let start = out.len();
    names.push_endpoint(out, connection.destination, protocol);
    match &connection.persistence {
        Some(known) if persistence => {
            pad(out, start, 16);
            out.push(b' ');
            push_left(out, &known.engine, 18);
            out.push(b' ');
            out.extend_from_slice(known.data.as_bytes());
        }
        Some(_) | None => {}
    }
    out.push(b'\n');
}

/// Appends the protocol by the kernel's name and a space.
fn push_protocol(out: &mut Vec<u8>, protocol: Protocol) {
    let start = out.len();
    match protocol {
        Protocol::Tcp => out.extend_from_slice(b"TCP"),
        Protocol::Udp => out.extend_from_slice(b"UDP"),
        Protocol::Sctp => out.extend_from_slice(b"SCTP"),
        Protocol::Other(0) => out.extend_from_slice(b"IP"),
        Protocol::Other(number) => {
            out.extend_from_slice(b"IP_");
            push_number(out, u64::from(number));
        }
    }
    pad(out, start, 3);
    out.push(b' ');
}

fn push_two_digits(out: &mut Vec<u8>, number: u32) {
    if number < 10 {
        out.push(b'0');
    }
    push_number(out, u64::from(number));
}

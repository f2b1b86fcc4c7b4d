//! A question to the kernel over rtnetlink and its answer, without a turn of the runtime in between: the kernel answers
//! while it is asked. For what somebody waits for; lists and changes that nobody waits for go through the runtime.

use std::io::{self, Read, Write};
use std::time::Duration;

use netlink_packet_route::RouteNetlinkMessage;
use nix::libc;
use rtnetlink::packet_core::{NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use socket2::{Domain, Protocol, Socket, Type};

/// The kernel's largest answer that is no list.
const LONGEST: usize = 64 << 10;

/// A route netlink socket in the network namespace of the thread that opened it.
#[derive(Debug)]
pub(super) struct Exchange {
    socket: Socket,
    /// The number of the last question, which its answer carries.
    number: u32,
    buffer: Vec<u8>,
}

impl Exchange {
    /// Opens one that waits for an answer for at most `patience`.
    ///
    /// # Errors
    /// Where no netlink socket can be had.
    pub(super) fn open(patience: Duration) -> io::Result<Self> {
        let protocol = Protocol::from(libc::NETLINK_ROUTE);
        let socket = Socket::new(Domain::from(libc::AF_NETLINK), Type::RAW, Some(protocol))?;
        socket.set_read_timeout(Some(patience))?;
        Ok(Self {
            socket,
            number: 0,
            buffer: vec![0; LONGEST],
        })
    }

    /// Asks for one thing; `flags` are those of the message (`NLM_F_*`). Answers with what the kernel has sent, nothing
    /// where it has only said that it is done.
    ///
    /// # Errors
    /// The kernel's own, as an OS error; `WouldBlock` where it does not answer in time; `InvalidData` where its answer
    /// cannot be read.
    pub(super) fn ask(&mut self, question: RouteNetlinkMessage, flags: u16) -> io::Result<Option<RouteNetlinkMessage>> {
        self.number = self.number.wrapping_add(1);
        let mut message = NetlinkMessage::from(question);
        message.header.flags = NLM_F_REQUEST | flags;
        message.header.sequence_number = self.number;
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        (&self.socket).write_all(&bytes)?;
        loop {
            let length = match (&self.socket).read(&mut self.buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read?,
            };
            let answer = self.buffer.get(..length).unwrap_or_default();
            let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(answer)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            // That of a question whose time was over.
            if answer.header.sequence_number != self.number {
                continue;
            }
            return match answer.payload {
                NetlinkPayload::InnerMessage(answer) => Ok(Some(answer)),
                NetlinkPayload::Error(error) if error.code.is_some() => Err(error.to_io()),
                _ => Ok(None),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use netlink_packet_route::link::{LinkAttribute, LinkMessage};

    use super::*;

    fn named(name: &str) -> RouteNetlinkMessage {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        RouteNetlinkMessage::GetLink(message)
    }

    #[test]
    fn each_question_has_its_own_answer() {
        let mut exchange = Exchange::open(Duration::from_secs(5)).expect("a netlink socket");
        let loopback = exchange.ask(named("lo"), 0).expect("every namespace has one");
        let Some(RouteNetlinkMessage::NewLink(loopback)) = loopback else {
            panic!("{loopback:?}");
        };
        let error = exchange.ask(named("ipvsd-no-such"), 0).expect_err("there is none");
        assert_eq!(error.raw_os_error(), Some(libc::ENODEV));
        let again = exchange.ask(named("lo"), 0).expect("it is still there");
        let Some(RouteNetlinkMessage::NewLink(again)) = again else {
            panic!("{again:?}");
        };
        assert_eq!(again.header.index, loopback.header.index);
    }

    #[test]
    fn what_was_answered_too_late_is_passed_over() {
        let mut exchange = Exchange::open(Duration::from_secs(5)).expect("a netlink socket");
        // A question whose answer nobody has read.
        let mut unread = NetlinkMessage::from(named("ipvsd-no-such"));
        unread.header.flags = NLM_F_REQUEST;
        unread.header.sequence_number = 77;
        unread.finalize();
        let mut bytes = vec![0; unread.buffer_len()];
        unread.serialize(&mut bytes);
        (&exchange.socket).write_all(&bytes).expect("it is sent");
        assert!(matches!(
            exchange.ask(named("lo"), 0),
            Ok(Some(RouteNetlinkMessage::NewLink(_)))
        ));
    }
}

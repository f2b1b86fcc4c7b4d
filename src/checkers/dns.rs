//! The DNS probe: one question, over UDP or TCP.

use std::hash::{BuildHasher, RandomState};

use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RecordType};

use super::attempt::Attempt;
use super::{Findings, Verdict, fault, udp};
use crate::model::{DnsProbe, Excerpt, FailureCause, LocalTrouble, ProbeOutcome, Stage};

/// The longest answer over TCP.
const LIMIT: usize = 2 + 65_535;

pub(super) async fn probe(attempt: &Attempt<'_>, settings: &DnsProbe) -> Verdict {
    let setup = |error: String| ProbeOutcome::Local(LocalTrouble::Setup(error.into()));
    let name = Name::from_ascii(&settings.name).map_err(|error| setup(error.to_string()))?;
    let mut message = Message::new(number(), MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name, RecordType::from(settings.record_type)));
    let question = message.to_vec().map_err(|error| setup(error.to_string()))?;
    let id = message.metadata.id;
    let answer = if settings.tcp {
        over_tcp(attempt, &question).await?
    } else {
        let socket = attempt.connect_udp()?;
        attempt.await_stage(Stage::Answer);
        socket.send(&question).await.map_err(|error| fault::of(&error))?;
        // What has another number answers somebody else.
        udp::receive(&socket, |bytes| {
            bytes.starts_with(&id.to_be_bytes()).then(|| bytes.to_vec())
        })
        .await?
    };
    judge(settings, id, &answer)?;
    Ok(Findings::default())
}

/// A number that nobody guesses; the standard library's hashers start from random bytes.
fn number() -> u16 {
    u16::try_from(RandomState::new().hash_one(0) & 0xffff).unwrap_or(0)
}

async fn over_tcp(attempt: &Attempt<'_>, question: &[u8]) -> Result<Vec<u8>, ProbeOutcome> {
    let mut stream = attempt.connect().await?;
    attempt.await_stage(Stage::Answer);
    let length = u16::try_from(question.len()).unwrap_or(0).to_be_bytes();
    attempt.send(&mut stream, &[&length, question].concat()).await?;
    let mut received = Vec::new();
    loop {
        if let Some((length, answer)) = received.split_first_chunk::<2>()
            && let Some(answer) = answer.get(..usize::from(u16::from_be_bytes(*length)))
        {
            return Ok(answer.to_vec());
        }
        attempt
            .read_more(&mut stream, &mut received, LIMIT, Stage::Answer)
            .await?;
    }
}

fn judge(settings: &DnsProbe, id: u16, answer: &[u8]) -> Result<(), ProbeOutcome> {
    let malformed = |why: String| {
        ProbeOutcome::Failure(FailureCause::Malformed {
            protocol: "DNS",
            why: why.into(),
        })
    };
    let message = Message::from_vec(answer).map_err(|error| malformed(error.to_string()))?;
    if message.metadata.id != id {
        return Err(malformed("it has another number than the question".to_owned()));
    }
    let unexpected = |what, wanted: String, got: String| {
        ProbeOutcome::Failure(FailureCause::Unexpected {
            what,
            wanted: Excerpt::words(wanted),
            got: Excerpt::of(got),
        })
    };
    let rcode = message.metadata.response_code;
    if u16::from(rcode) != settings.rcode {
        let wanted = hickory_proto::op::ResponseCode::from(0, u8::try_from(settings.rcode).unwrap_or(0));
        return Err(unexpected("the response code", wanted.to_string(), rcode.to_string()));
    }
    let Some(wanted) = &settings.expect else { return Ok(()) };
    let answers: Vec<_> = message.answers.iter().map(|record| record.data.to_string()).collect();
    match answers.iter().any(|answer| answer.eq_ignore_ascii_case(wanted)) {
        true => Ok(()),
        false if answers.is_empty() => Err(unexpected("the answer", wanted.clone(), "empty".to_owned())),
        false => Err(unexpected("the answer", wanted.clone(), answers.join(", "))),
    }
}

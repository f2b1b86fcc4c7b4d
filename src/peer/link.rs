//! One connection: a greeting, then both tell at once, until one of them is gone. Everything has a deadline.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::clocks;
use super::message::{
    BadMessage, Beat, HEADER, Header, Hello, LONGEST, LONGEST_HELLO, Message, NoPicture, PICTURE, Understood,
};
use super::task::{Incomparable, News, Part, Told, unix_time};
use crate::model::PeerVerdict;

/// How long the largest message may take to arrive, or to be taken.
const LONGEST_TRANSFER: Duration = Duration::from_secs(30);

/// Why a connection has ended, or has not begun.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    /// The connection itself.
    #[error("{0}")]
    Broken(#[from] io::Error),
    /// It has said something that it should not.
    #[error("it sends {0}")]
    Bad(BadMessage),
    /// It has said who it is, and is not for us.
    #[error("{0}")]
    Stranger(BadMessage),
    /// It says nothing any more.
    #[error("nothing was heard from it for {} s", .0.as_secs())]
    Silent(Duration),
    /// A message does not come to its end, or is not taken.
    #[error("a message has been on its way for {} s", .0.as_secs())]
    Stuck(Duration),
    /// What is to be told cannot be written.
    #[error("what this director has to tell cannot be written: {0}")]
    Unsayable(BadMessage),
    /// Nobody listens on this side any more.
    #[error("this director ends")]
    Ended,
}

/// Tells the other one who speaks, and hears who it is.
pub(super) async fn greet<S>(stream: &mut S, own: &Hello) -> Result<Hello, LinkError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let hello = Message::Hello(own.clone()).encode().map_err(LinkError::Unsayable)?;
    stream.write_all(&hello).await?;
    stream.flush().await?;
    let (kind, json) = read_frame(stream, LONGEST_HELLO, LONGEST_TRANSFER).await?;
    let message = Message::decode(kind, &json).map_err(LinkError::Bad)?;
    Hello::expect(message).map_err(LinkError::Stranger)
}

/// Tells and hears until the end; says how that came. `silence`: for how long nothing may be heard.
pub(super) async fn live<S>(
    stream: S,
    told: watch::Receiver<Told>,
    news: &mpsc::Sender<News>,
    beat: Duration,
    silence: Duration,
) -> LinkError
where
    S: AsyncRead + AsyncWrite,
{
    let (reader, writer) = tokio::io::split(stream);
    tokio::select! {
        heard = hear(reader, news, silence) => heard,
        told = tell(writer, told, news, beat) => told,
    }
    .err()
    .unwrap_or(LinkError::Ended)
}

async fn hear(
    mut reader: impl AsyncRead + Unpin,
    news: &mpsc::Sender<News>,
    silence: Duration,
) -> Result<(), LinkError> {
    let mut ahead = None;
    loop {
        let (kind, json) = read_frame(&mut reader, LONGEST, silence).await?;
        let Understood { message, passed_over } = Message::understand(kind, &json).map_err(LinkError::Bad)?;
        let said = match message {
            // Once is enough.
            Some(Message::Hello(_)) => None,
            // What is of a later version is not for us; that it is there counts.
            None => (kind == PICTURE).then_some(News::NoPicture(Incomparable::Unknown)),
            Some(Message::Beat(beat)) => {
                ahead = beat.time.map(|theirs| clocks::ahead(theirs, unix_time()));
                Some(News::Beat(beat, ahead))
            }
            Some(Message::Verdicts(verdicts)) => Some(News::Verdicts(verdicts)),
            Some(Message::Words(mut words)) => {
                // The sign of life before them was said in the same breath.
                clocks::by_own_clock(&mut words, ahead.unwrap_or(0));
                Some(match passed_over {
                    0 => News::Words(words),
                    _ => News::SomeWords(words),
                })
            }
            Some(Message::Picture(picture)) => Some(News::Picture(picture)),
            Some(Message::NoPicture(NoPicture { bytes })) => Some(News::NoPicture(Incomparable::TooLong(bytes))),
        };
        let strange = (passed_over > 0).then_some(News::PassedOver(passed_over));
        for said in said.into_iter().chain(strange) {
            // A loop that has no time makes the other one wait, and nobody piles anything up.
            news.send(said).await.map_err(|_| LinkError::Ended)?;
        }
    }
}

async fn read_frame(
    reader: &mut (impl AsyncRead + Unpin),
    limit: usize,
    silence: Duration,
) -> Result<(u8, Vec<u8>), LinkError> {
    let mut header = [0; HEADER];
    let read = timeout(silence, reader.read_exact(&mut header)).await;
    read.map_err(|_| LinkError::Silent(silence))??;
    let Header { length, kind } = Header::decode(header, limit).map_err(LinkError::Bad)?;
    // Room is made for what has come, not for what was announced.
    let mut json = Vec::new();
    let mut body = reader.take(length as u64);
    let read = timeout(LONGEST_TRANSFER, body.read_to_end(&mut json)).await;
    let read = read.map_err(|_| LinkError::Stuck(LONGEST_TRANSFER))??;
    match read == length {
        true => Ok((kind, json)),
        false => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
    }
}

async fn tell(
    mut writer: impl AsyncWrite + Unpin,
    mut told: watch::Receiver<Told>,
    news: &mpsc::Sender<News>,
    beat: Duration,
) -> Result<(), LinkError> {
    let mut beats = interval(beat);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut words, mut verdicts, mut picture) = (0, 0, 0);
    let mut sizes = Sizes::new(news);
    loop {
        let now = told.borrow_and_update().clone();
        // What operators want goes first, and by what clock they have said it.
        if std::mem::replace(&mut words, now.words.0) != now.words.0 {
            write(&mut writer, &sign_of_life(now.beat)).await?;
            let message = Message::Words(now.words.1.to_vec());
            let too_long = write(&mut writer, &message).await?;
            sizes.waiting.insert(Part::Words, too_long);
        }
        if std::mem::replace(&mut verdicts, now.verdicts.0) != now.verdicts.0 {
            let told = now.verdicts_at(Instant::now());
            let mut too_long = write(&mut writer, &Message::Verdicts(told.clone())).await?;
            if too_long.is_some() {
                let bare = told.into_iter().map(|verdict| PeerVerdict { cause: None, ..verdict });
                too_long = write(&mut writer, &Message::Verdicts(bare.collect())).await?;
            }
            sizes.waiting.insert(Part::Verdicts, too_long);
        }
        if std::mem::replace(&mut picture, now.picture.0) != now.picture.0 {
            let too_long = write(&mut writer, &Message::Picture((*now.picture.1).clone())).await?;
            if let Some(bytes) = too_long {
                // It has one from before, perhaps.
                write(&mut writer, &Message::NoPicture(NoPicture { bytes })).await?;
            }
            sizes.waiting.insert(Part::Picture, too_long);
        }
        sizes.tell()?;
        tokio::select! {
            changed = told.changed() => changed.map_err(|_| LinkError::Ended)?,
            _ = beats.tick() => drop(write(&mut writer, &sign_of_life(now.beat)).await?),
        }
    }
}

fn sign_of_life(beat: Beat) -> Message {
    let time = Some(unix_time());
    Message::Beat(Beat { time, ..beat })
}

/// What is too long to be told, said once on a connection and when it changes. It never waits for the loop: who waits
/// gives no sign of life.
struct Sizes<'a> {
    news: &'a mpsc::Sender<News>,
    told: BTreeMap<Part, bool>,
    /// What the loop had no room for yet.
    waiting: BTreeMap<Part, Option<u64>>,
}

impl<'a> Sizes<'a> {
    fn new(news: &'a mpsc::Sender<News>) -> Self {
        Self {
            news,
            told: BTreeMap::new(),
            waiting: BTreeMap::new(),
        }
    }

    /// Tells what waits, as far as there is room.
    fn tell(&mut self) -> Result<(), LinkError> {
        for (part, too_long) in std::mem::take(&mut self.waiting) {
            if self.told.get(&part) == Some(&too_long.is_some()) {
                continue;
            }
            match self.news.try_send(News::TooLong(part, too_long)) {
                Ok(()) => drop(self.told.insert(part, too_long.is_some())),
                Err(TrySendError::Full(_)) => drop(self.waiting.insert(part, too_long)),
                Err(TrySendError::Closed(_)) => return Err(LinkError::Ended),
            }
        }
        Ok(())
    }
}

/// Writes a message; answers with its length in bytes where that is more than anybody listens to, and nothing was written.
async fn write(writer: &mut (impl AsyncWrite + Unpin), message: &Message) -> Result<Option<u64>, LinkError> {
    let frame = match message.encode() {
        Ok(frame) => frame,
        Err(BadMessage::TooLong { length, .. }) => return Ok(Some(length as u64)),
        Err(error) => return Err(LinkError::Unsayable(error)),
    };
    let write = async {
        writer.write_all(&frame).await?;
        writer.flush().await
    };
    let written = timeout(LONGEST_TRANSFER, write).await;
    written.map_err(|_| LinkError::Stuck(LONGEST_TRANSFER))??;
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_is_said_once_there_is_room_and_nobody_waits_for_it() {
        let (news, mut heard) = mpsc::channel(1);
        let mut sizes = Sizes::new(&news);
        let mut tell = |part, too_long| {
            sizes.waiting.insert(part, too_long);
            sizes.tell().expect("somebody listens");
        };
        let mut hear = || match heard.try_recv() {
            Ok(News::TooLong(part, bytes)) => Some((part, bytes)),
            Ok(_) | Err(_) => None,
        };
        tell(Part::Words, Some(5));
        // There is no room.
        tell(Part::Verdicts, Some(6));
        assert_eq!(hear(), Some((Part::Words, Some(5))));
        // Said already; what waits is said in its stead.
        tell(Part::Words, Some(7));
        assert_eq!(hear(), Some((Part::Verdicts, Some(6))));
        tell(Part::Words, None);
        assert_eq!(hear(), Some((Part::Words, None)));
        tell(Part::Words, None);
        assert_eq!(hear(), None);
        drop(heard);
        sizes.waiting.insert(Part::Words, Some(8));
        assert!(matches!(sizes.tell(), Err(LinkError::Ended)));
    }
}

//! One connection: a greeting, then both tell at once, until one of them is gone. Everything has a deadline.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::message::{BadMessage, HEADER, Header, Hello, LONGEST, LONGEST_HELLO, Message};
use super::task::{News, Told};

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
    /// There is more to tell than fits.
    #[error("this director has more to tell than fits: {0}")]
    TooMuch(BadMessage),
    /// Nobody listens on this side any more.
    #[error("this director ends")]
    Ended,
}

/// Tells the other one who speaks, and hears who it is.
pub(super) async fn greet<S>(stream: &mut S, own: &Hello) -> Result<Hello, LinkError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let hello = Message::Hello(own.clone()).encode().map_err(LinkError::TooMuch)?;
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
        told = tell(writer, told, beat) => told,
    }
    .err()
    .unwrap_or(LinkError::Ended)
}

async fn hear(
    mut reader: impl AsyncRead + Unpin,
    news: &mpsc::Sender<News>,
    silence: Duration,
) -> Result<(), LinkError> {
    loop {
        let (kind, json) = read_frame(&mut reader, LONGEST, silence).await?;
        let said = match Message::decode(kind, &json).map_err(LinkError::Bad)? {
            // Once is enough, and what is of a later version is not for us.
            Some(Message::Hello(_)) | None => continue,
            Some(Message::Beat(beat)) => News::Beat(beat),
            Some(Message::Verdicts(verdicts)) => News::Verdicts(verdicts),
            Some(Message::Words(words)) => News::Words(words),
            Some(Message::Picture(picture)) => News::Picture(picture),
        };
        // A loop that has no time makes the other one wait, and nobody piles anything up.
        news.send(said).await.map_err(|_| LinkError::Ended)?;
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
    beat: Duration,
) -> Result<(), LinkError> {
    let mut beats = interval(beat);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut words, mut verdicts, mut picture) = (0, 0, 0);
    loop {
        let now = told.borrow_and_update().clone();
        // What operators want goes first.
        if std::mem::replace(&mut words, now.words.0) != now.words.0 {
            write(&mut writer, &Message::Words(now.words.1.to_vec())).await?;
        }
        if std::mem::replace(&mut verdicts, now.verdicts.0) != now.verdicts.0 {
            write(&mut writer, &Message::Verdicts(now.verdicts_at(Instant::now()))).await?;
        }
        if std::mem::replace(&mut picture, now.picture.0) != now.picture.0 {
            write(&mut writer, &Message::Picture((*now.picture.1).clone())).await?;
        }
        tokio::select! {
            changed = told.changed() => changed.map_err(|_| LinkError::Ended)?,
            _ = beats.tick() => write(&mut writer, &Message::Beat(now.beat)).await?,
        }
    }
}

async fn write(writer: &mut (impl AsyncWrite + Unpin), message: &Message) -> Result<(), LinkError> {
    let frame = message.encode().map_err(LinkError::TooMuch)?;
    let write = async {
        writer.write_all(&frame).await?;
        writer.flush().await
    };
    let written = timeout(LONGEST_TRANSFER, write).await;
    Ok(written.map_err(|_| LinkError::Stuck(LONGEST_TRANSFER))??)
}

//! RTMP session of one publisher (RTMP 1.0, sections 5.2 and 7): handshake,
//! `connect`, `createStream`, `publish`, then media.
//!
//! Without I/O: bytes go in, events come out, and what is to be sent piles up
//! until taken. This folder alone names `rml_rtmp`, and that crate does only
//! what it is safe for: the handshake, and writing our own messages.
//! Input of a peer is read by [`ChunkReader`] and [`amf`] alone, because
//! `rml_rtmp`'s own session panics or overflows the stack on input anyone can
//! send before it has shown a key.

mod handshake;
#[cfg(test)]
mod tests;
mod writer;

use std::fmt;

use bytes::{Bytes, BytesMut};
use rml_rtmp::messages::{PeerBandwidthLimitType, RtmpMessage, UserControlEventType};
use rml_rtmp::time::RtmpTimestamp;

use self::writer::{ReplyWriter, status};
use super::aggregate::Aggregate;
use super::amf::{self, AmfError, Value};
use super::chunk::{ChunkError, ChunkLimits, ChunkReader, Message};
use crate::session::handshake::Greeting;

/// Memory limits for a peer that has not shown a key: a `connect` takes less
/// than 2 KiB. With 1,024 connections and buffers that grow by doubling that is
/// 256 MiB at the very most.
const BEFORE_PUBLISH: ChunkLimits = ChunkLimits {
    message: 64 << 10,
    chunk_streams: 64,
    unfinished: 128 << 10,
};
/// Longest command or data message; metadata takes about 1 KiB.
const MAX_CONTROL: usize = 256 << 10;
/// Message streams of one connection; encoders make one.
const MAX_STREAMS: u32 = 16;
/// Bytes either side may send before it wants an acknowledgement.
const WINDOW: u32 = 2_500_000;
/// Texts a peer gives itself are cut to so many characters for the log.
const SHOWN: usize = 64;

/// Codes that tell an encoder that it may publish, and that it has stopped.
const FC_PUBLISH: &str = "NetStream.Publish.Start";
const FC_UNPUBLISH: &str = "NetStream.Unpublish.Success";

/// Message types (section 5.4, 7.1 and 7.2).
mod kind {
    pub(crate) const USER_CONTROL: u8 = 4;
    pub(crate) const WINDOW_SIZE: u8 = 5;
    pub(crate) const AUDIO: u8 = 8;
    pub(crate) const VIDEO: u8 = 9;
    pub(crate) const DATA_AMF3: u8 = 15;
    pub(crate) const COMMAND_AMF3: u8 = 17;
    pub(crate) const DATA: u8 = 18;
    pub(crate) const COMMAND: u8 = 20;
    pub(crate) const AGGREGATE: u8 = 22;
}

/// Session event, in order of occurrence.
#[derive(Debug)]
pub enum PublisherEvent {
    /// Answer with [`RtmpSession::accept_connect`] or [`RtmpSession::refuse_connect`].
    Connect(Connect),
    /// Answer with [`RtmpSession::accept_publish`] or [`RtmpSession::refuse_stream`].
    Publish(Publish),
    Video(Message),
    Audio(Message),
    Metadata(Metadata),
    /// The publisher ended its stream in so many words.
    Unpublish,
    /// A player came where only publishers are served.
    Play,
}

/// Client data in `connect`. `tcUrl` is left out: keys end up in it.
#[derive(Debug)]
pub struct Connect {
    pub app: HiddenText,
    pub flash_ver: Option<String>,
    /// The names of all properties.
    pub properties: Vec<String>,
    transaction: f64,
}

#[derive(Debug)]
pub struct Publish {
    /// In the place of the key, for most encoders.
    pub name: HiddenText,
    stream_id: u32,
}

#[derive(Debug)]
pub struct Metadata {
    pub encoder: Option<String>,
}

/// A text that may hold the stream key: `Debug` hides it.
pub struct HiddenText(pub String);

impl fmt::Debug for HiddenText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<hidden>")
    }
}

/// Why a conversation can't go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    #[error("that is HTTP, not RTMP")]
    Http,
    #[error("that is TLS, not RTMP: an rtmps:// address needs a TLS proxy in front")]
    Tls,
    #[error("that is encrypted RTMP (RTMPE), which is not supported")]
    Rtmpe,
    #[error("that is not RTMP")]
    NotRtmp,
    #[error(transparent)]
    Chunk(#[from] ChunkError),
    #[error(transparent)]
    Amf(#[from] AmfError),
    #[error("a command of {size} bytes is longer than the {MAX_CONTROL} allowed")]
    ControlTooLong { size: usize },
    #[error("connect without an app")]
    NoApp,
    #[error("{0} out of sequence")]
    OutOfTurn(&'static str),
    #[error("more than {MAX_STREAMS} message streams")]
    TooManyStreams,
    #[error("a reply could not be written")]
    Reply,
}

impl SessionError {
    /// True if the peer uses another protocol altogether.
    pub fn is_other_protocol(&self) -> bool {
        matches!(self, Self::Http | Self::Tls | Self::Rtmpe | Self::NotRtmp)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum SessionPhase {
    Handshake,
    Fresh,
    /// `connect` was handed out as an event.
    Connecting,
    Connected,
    /// `publish` was handed out as an event.
    Asking,
    Publishing,
}

/// A server's session with one client.
pub struct RtmpSession {
    state: SessionPhase,
    greeting: Greeting,
    reader: ChunkReader,
    aggregate: Option<Aggregate>,
    streams: u32,
    /// That of the publisher, once it is accepted.
    stream_id: u32,
    received: u64,
    acknowledged: u64,
    window: u64,
    writer: ReplyWriter,
    /// Memory limits once the publisher has shown its key.
    limits: ChunkLimits,
}

impl fmt::Debug for RtmpSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RtmpSession")
            .field("state", &self.state)
            .field("received", &self.received)
            .finish_non_exhaustive()
    }
}

impl RtmpSession {
    /// `limits` count from the moment a publisher is accepted.
    pub fn new(limits: ChunkLimits) -> Self {
        Self {
            state: SessionPhase::Handshake,
            greeting: Greeting::new(),
            reader: ChunkReader::new(BEFORE_PUBLISH),
            aggregate: None,
            streams: 0,
            stream_id: 1,
            received: 0,
            acknowledged: 0,
            window: u64::from(WINDOW),
            writer: ReplyWriter::new(),
            limits,
        }
    }

    /// Where a socket may append what it reads; then say how much by
    /// [`received`](Self::received).
    pub fn input(&mut self) -> &mut BytesMut {
        self.reader.input()
    }

    pub fn received(&mut self, count: usize) {
        self.received += count as u64;
    }

    pub fn push(&mut self, bytes: &[u8]) {
        self.reader.push(bytes);
        self.received(bytes.len());
    }

    /// Bytes received since the beginning.
    pub fn total_received(&self) -> u64 {
        self.received
    }

    pub fn handshake_done(&self) -> bool {
        self.state != SessionPhase::Handshake
    }

    /// Takes the bytes to be sent, in order.
    pub fn take_output(&mut self) -> Vec<u8> {
        self.writer.take()
    }

    /// The next event, or `None` until more bytes have come.
    pub fn event(&mut self) -> Result<Option<PublisherEvent>, SessionError> {
        if self.state == SessionPhase::Handshake {
            self.shake()?;
            if self.state == SessionPhase::Handshake {
                return Ok(None);
            }
        }
        loop {
            while let Some(message) = self.aggregate.as_mut().and_then(Aggregate::next) {
                if let Some(event) = self.media(message) {
                    return Ok(Some(event));
                }
            }
            self.aggregate = None;
            let Some(message) = self.reader.pull()? else {
                self.acknowledge()?;
                return Ok(None);
            };
            if let Some(event) = self.message(message)? {
                return Ok(Some(event));
            }
        }
    }

    fn shake(&mut self) -> Result<(), SessionError> {
        let input = self.reader.input().split();
        let (response, rest) = self.greeting.advance(&input)?;
        self.writer.raw(response);
        if let Some(rest) = rest {
            self.reader.push(&rest);
            self.state = SessionPhase::Fresh;
        }
        Ok(())
    }

    fn message(&mut self, message: Message) -> Result<Option<PublisherEvent>, SessionError> {
        match message.kind {
            kind::AUDIO | kind::VIDEO => Ok(self.media(message)),
            kind::AGGREGATE => {
                self.aggregate = Some(Aggregate::new(&message));
                Ok(None)
            }
            kind::COMMAND | kind::COMMAND_AMF3 => self.command(&message),
            kind::DATA | kind::DATA_AMF3 => data(&message),
            kind::WINDOW_SIZE => {
                if let Some(size) = leading_u32(&message.payload).filter(|size| *size > 0) {
                    self.window = u64::from(size);
                }
                Ok(None)
            }
            kind::USER_CONTROL => self.user_control(&message.payload),
            _ => Ok(None),
        }
    }

    /// Media counts only between `publish` and its end.
    fn media(&self, message: Message) -> Option<PublisherEvent> {
        match (self.state, message.kind) {
            (SessionPhase::Publishing, kind::VIDEO) => Some(PublisherEvent::Video(message)),
            (SessionPhase::Publishing, kind::AUDIO) => Some(PublisherEvent::Audio(message)),
            _ => None,
        }
    }

    fn command(&mut self, message: &Message) -> Result<Option<PublisherEvent>, SessionError> {
        let values = control_values(message)?;
        let name = values.first().and_then(Value::as_str).unwrap_or_default();
        let transaction = values.get(1).and_then(Value::as_number).unwrap_or_default();
        match name {
            "connect" => self.connect(transaction, values.get(2)).map(Some),
            "createStream" => {
                if self.streams == MAX_STREAMS {
                    return Err(SessionError::TooManyStreams);
                }
                self.streams += 1;
                let id = Value::Number(f64::from(self.streams));
                self.writer
                    .reply("_result", transaction, [Value::Null, id])?;
                Ok(None)
            }
            "publish" => {
                if self.state != SessionPhase::Connected {
                    return Err(SessionError::OutOfTurn("publish"));
                }
                self.state = SessionPhase::Asking;
                let name = values.get(3).and_then(Value::as_str).unwrap_or_default();
                Ok(Some(PublisherEvent::Publish(Publish {
                    name: HiddenText(name.to_owned()),
                    stream_id: message.stream_id,
                })))
            }
            "deleteStream" | "closeStream" if self.state == SessionPhase::Publishing => {
                self.state = SessionPhase::Connected;
                Ok(Some(PublisherEvent::Unpublish))
            }
            "play" | "play2" => Ok(Some(PublisherEvent::Play)),
            // Some encoders wait for an answer to these, of the old Flash
            // servers. It repeats no name: that may be the key. Others take the
            // first result for that of the createStream they sent behind, so it
            // has the id that will be given.
            "releaseStream" | "FCPublish" | "FCUnpublish"
                if self.state > SessionPhase::Connecting =>
            {
                let id = Value::Number(f64::from(self.streams.saturating_add(1)));
                self.writer
                    .reply("_result", transaction, [Value::Null, id])?;
                match name {
                    "FCPublish" => self.writer.told("onFCPublish", FC_PUBLISH)?,
                    "FCUnpublish" => self.writer.told("onFCUnpublish", FC_UNPUBLISH)?,
                    _ => {}
                }
                Ok(None)
            }
            // _checkbw and whatever else an encoder says: nobody waits for an
            // answer.
            _ => Ok(None),
        }
    }

    fn connect(
        &mut self,
        transaction: f64,
        object: Option<&Value>,
    ) -> Result<PublisherEvent, SessionError> {
        if self.state != SessionPhase::Fresh {
            return Err(SessionError::OutOfTurn("connect"));
        }
        let object = object.unwrap_or(&Value::Null);
        let app = object.get("app").and_then(Value::as_str);
        let app = app.ok_or(SessionError::NoApp)?;
        self.state = SessionPhase::Connecting;
        Ok(PublisherEvent::Connect(Connect {
            app: HiddenText(app.to_owned()),
            flash_ver: object.get("flashVer").and_then(Value::as_str).map(shown),
            properties: object
                .properties()
                .iter()
                .take(32)
                .map(|(name, _)| shown(name))
                .collect(),
            transaction,
        }))
    }

    pub fn accept_connect(&mut self, connect: &Connect) -> Result<(), SessionError> {
        self.state = SessionPhase::Connected;
        self.writer
            .control(RtmpMessage::WindowAcknowledgement { size: WINDOW })?;
        self.writer.control(RtmpMessage::SetPeerBandwidth {
            size: WINDOW,
            limit_type: PeerBandwidthLimitType::Dynamic,
        })?;
        self.writer.enlarge_chunks()?;
        let server = Value::Object(vec![
            ("fmsVer".to_owned(), Value::string("FMS/3,0,1,123")),
            ("capabilities".to_owned(), Value::Number(31.0)),
        ]);
        let mut info = status("status", "NetConnection.Connect.Success", "connected");
        info.push(("objectEncoding".to_owned(), Value::Number(0.0)));
        let info = Value::Object(info);
        self.writer
            .reply("_result", connect.transaction, [server, info])
    }

    pub fn refuse_connect(
        &mut self,
        connect: &Connect,
        code: &str,
        why: &str,
    ) -> Result<(), SessionError> {
        let info = Value::Object(status("error", code, why));
        self.writer
            .reply("_error", connect.transaction, [Value::Null, info])
    }

    pub fn accept_publish(&mut self, publish: &Publish) -> Result<(), SessionError> {
        self.state = SessionPhase::Publishing;
        self.stream_id = publish.stream_id;
        self.reader.set_limits(self.limits);
        self.writer.control(RtmpMessage::UserControl {
            event_type: UserControlEventType::StreamBegin,
            stream_id: Some(publish.stream_id),
            buffer_length: None,
            timestamp: None,
        })?;
        let (code, text) = ("NetStream.Publish.Start", "publishing");
        self.writer
            .on_status(publish.stream_id, "status", code, text)
    }

    /// Says why there will be no stream; the connection should then be closed.
    pub fn refuse_stream(
        &mut self,
        publish: Option<&Publish>,
        code: &str,
        why: &str,
    ) -> Result<(), SessionError> {
        let stream_id = publish.map_or(self.stream_id, |publish| publish.stream_id);
        self.writer.on_status(stream_id, "error", code, why)
    }

    /// Asks the peer for a sign of life.
    pub fn ping(&mut self) -> Result<(), SessionError> {
        self.writer.control(RtmpMessage::UserControl {
            event_type: UserControlEventType::PingRequest,
            stream_id: None,
            buffer_length: None,
            timestamp: Some(RtmpTimestamp::new(0)),
        })
    }

    /// Section 7.1.7; of the events a client may send only the ping matters.
    fn user_control(&mut self, payload: &Bytes) -> Result<Option<PublisherEvent>, SessionError> {
        const PING_REQUEST: &[u8] = &[0, 6];
        if payload.get(..2) == Some(PING_REQUEST)
            && let Some(time) = leading_u32(&payload[2..])
        {
            self.writer.control(RtmpMessage::UserControl {
                event_type: UserControlEventType::PingResponse,
                stream_id: None,
                buffer_length: None,
                timestamp: Some(RtmpTimestamp::new(time)),
            })?;
        }
        Ok(None)
    }

    /// Section 5.4.3: the total so far, modulo 2^32, once per window.
    fn acknowledge(&mut self) -> Result<(), SessionError> {
        if self.received - self.acknowledged >= self.window {
            self.acknowledged = self.received;
            self.writer.control(RtmpMessage::Acknowledgement {
                sequence_number: self.received as u32,
            })?;
        }
        Ok(())
    }
}

/// Metadata comes as `@setDataFrame`, `onMetaData`, values - or with any of
/// these missing. Only what bounds memory makes it an error.
fn data(message: &Message) -> Result<Option<PublisherEvent>, SessionError> {
    let values = match control_values(message) {
        Ok(values) => values,
        Err(SessionError::Amf(AmfError::Truncated | AmfError::UnknownMarker(_))) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let mut values = values.iter();
    let mut name = values.next().and_then(Value::as_str);
    if name == Some("@setDataFrame") {
        name = values.next().and_then(Value::as_str);
    }
    Ok((name == Some("onMetaData")).then(|| {
        let encoder = values.next().and_then(|values| values.get("encoder"));
        PublisherEvent::Metadata(Metadata {
            encoder: encoder.and_then(Value::as_str).map(shown),
        })
    }))
}

/// The values of a command or data message. Those marked as AMF3 are AMF0
/// behind a zero byte in practice.
fn control_values(message: &Message) -> Result<Vec<Value>, SessionError> {
    let size = message.payload.len();
    if size > MAX_CONTROL {
        return Err(SessionError::ControlTooLong { size });
    }
    let amf3 = matches!(message.kind, kind::COMMAND_AMF3 | kind::DATA_AMF3);
    let bytes = match message.payload.strip_prefix(&[0]) {
        Some(rest) if amf3 => rest,
        _ => &message.payload[..],
    };
    Ok(amf::decode(bytes)?)
}

fn leading_u32(payload: &[u8]) -> Option<u32> {
    let field = payload.get(..4)?;
    Some(u32::from_be_bytes([field[0], field[1], field[2], field[3]]))
}

fn shown(text: impl AsRef<str>) -> String {
    text.as_ref().chars().take(SHOWN).collect()
}

//! RTMP session of one publisher (RTMP 1.0, sections 5.2 and 7): handshake,
//! `connect`, `createStream`, `publish`, then media.
//!
//! Without I/O: bytes go in, events come out, and output is buffered until
//! taken. Only this folder names `rml_rtmp`, for what is safe in it: the
//! handshake, and writing the server's own messages. Input of a peer is parsed
//! by [`ChunkReader`] and [`amf`] alone, because `rml_rtmp`'s own session
//! panics or overflows the stack on input that any unauthenticated peer can
//! send.

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

/// Memory limits of an unauthenticated peer: a `connect` takes less than 2 KiB.
/// With 1,024 connections and buffers that grow by doubling that is at most 256
/// MiB.
const BEFORE_PUBLISH: ChunkLimits = ChunkLimits {
    message: 64 << 10,
    chunk_streams: 64,
    unfinished: 128 << 10,
};
/// Maximum size of a command or data message; metadata takes about 1 KiB.
const MAX_CONTROL: usize = 256 << 10;
/// Maximum message streams of one connection; encoders create one.
const MAX_STREAMS: u32 = 16;
/// Window acknowledgement size of both sides, in bytes.
const WINDOW: u32 = 2_500_000;
/// Maximum length, in characters, of a peer's own strings in the log.
const SHOWN: usize = 64;

/// Status codes for an encoder: publishing has started, publishing has stopped.
const FC_PUBLISH: &str = "NetStream.Publish.Start";
const FC_UNPUBLISH: &str = "NetStream.Unpublish.Success";

/// Message types (sections 5.4, 7.1 and 7.2).
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
    /// Call [`RtmpSession::accept_connect`] or [`RtmpSession::refuse_connect`].
    Connect(Connect),
    /// Call [`RtmpSession::accept_publish`] or [`RtmpSession::refuse_stream`].
    Publish(Publish),
    Video(Message),
    Audio(Message),
    Metadata(Metadata),
    /// Publisher ended its stream explicitly.
    Unpublish,
    /// Play request; only publishers are served.
    Play,
}

/// Client data of `connect`. `tcUrl` is left out: it may contain the key.
#[derive(Debug)]
pub struct Connect {
    pub app: HiddenText,
    pub flash_ver: Option<String>,
    /// Names of all properties.
    pub properties: Vec<String>,
    transaction: f64,
}

#[derive(Debug)]
pub struct Publish {
    /// Publish name; most encoders send the key here.
    pub name: HiddenText,
    stream_id: u32,
}

#[derive(Debug)]
pub struct Metadata {
    pub encoder: Option<String>,
}

/// String that may be the stream key: `Debug` hides it.
pub struct HiddenText(pub String);

impl fmt::Debug for HiddenText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<hidden>")
    }
}

/// Protocol error that ends the session.
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
    /// True if the peer uses a different protocol.
    pub fn is_other_protocol(&self) -> bool {
        matches!(self, Self::Http | Self::Tls | Self::Rtmpe | Self::NotRtmp)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum SessionPhase {
    Handshake,
    Fresh,
    /// `connect` event emitted.
    Connecting,
    Connected,
    /// `publish` event emitted.
    Asking,
    Publishing,
}

/// Server side of an RTMP session with one client.
pub struct RtmpSession {
    state: SessionPhase,
    greeting: Greeting,
    reader: ChunkReader,
    aggregate: Option<Aggregate>,
    streams: u32,
    /// Message stream of the publisher, once accepted.
    stream_id: u32,
    received: u64,
    acknowledged: u64,
    window: u64,
    writer: ReplyWriter,
    /// Memory limits of an accepted publisher.
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
    /// Creates a session; `limits` apply from the moment a publisher is
    /// accepted.
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

    /// Buffer a socket may append to; report the size with
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

    /// Bytes received since the connection began.
    pub fn total_received(&self) -> u64 {
        self.received
    }

    pub fn handshake_done(&self) -> bool {
        self.state != SessionPhase::Handshake
    }

    /// Takes the pending output, in order.
    pub fn take_output(&mut self) -> Vec<u8> {
        self.writer.take()
    }

    /// Next event, or `None` until more bytes have arrived.
    pub fn event(&mut self) -> Result<Option<PublisherEvent>, SessionError> {
        if self.state == SessionPhase::Handshake {
            self.advance_handshake()?;
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

    fn advance_handshake(&mut self) -> Result<(), SessionError> {
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

    /// Media is accepted only between `publish` and its end.
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
            // Some encoders wait for a response to these Flash commands. It
            // repeats no name, which may be the key. Others take the first
            // result for that of the createStream they sent next, so it carries
            // the id that will be assigned.
            "releaseStream" | "FCPublish" | "FCUnpublish"
                if self.state > SessionPhase::Connecting =>
            {
                let id = Value::Number(f64::from(self.streams.saturating_add(1)));
                self.writer
                    .reply("_result", transaction, [Value::Null, id])?;
                match name {
                    "FCPublish" => self.writer.notify("onFCPublish", FC_PUBLISH)?,
                    "FCUnpublish" => self.writer.notify("onFCUnpublish", FC_UNPUBLISH)?,
                    _ => {}
                }
                Ok(None)
            }
            // _checkbw and other optional commands, for which no encoder waits.
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

    /// Rejects the stream with a reason; the connection should then be closed.
    pub fn refuse_stream(
        &mut self,
        publish: Option<&Publish>,
        code: &str,
        why: &str,
    ) -> Result<(), SessionError> {
        let stream_id = publish.map_or(self.stream_id, |publish| publish.stream_id);
        self.writer.on_status(stream_id, "error", code, why)
    }

    /// Sends a ping request to check that the peer is alive.
    pub fn ping(&mut self) -> Result<(), SessionError> {
        self.writer.control(RtmpMessage::UserControl {
            event_type: UserControlEventType::PingRequest,
            stream_id: None,
            buffer_length: None,
            timestamp: Some(RtmpTimestamp::new(0)),
        })
    }

    /// User control events (section 7.1.7); of a client's only the ping
    /// matters.
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

    /// Sends an acknowledgement (section 5.4.3): the total, modulo 2^32, once
    /// per window.
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

/// Metadata arrives as `@setDataFrame`, `onMetaData`, values, or with any of
/// these missing. Only exceeding a memory limit is an error.
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

/// Values of a command or data message. Those marked as AMF3 are in practice
/// AMF0 behind a zero byte.
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

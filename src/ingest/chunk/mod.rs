//! Reassembly of chunks into messages (RTMP 1.0, sections 5.3 and 5.4).
//!
//! Owns reassembly per chunk stream, the two control messages that concern only
//! this layer (Set Chunk Size, Abort) and every limit on the memory a peer may
//! occupy. Without I/O: bytes are pushed in, messages pulled out, and the
//! result does not depend on how the bytes are split.

#[cfg(test)]
mod tests;

use bytes::{Bytes, BytesMut};

/// Initial chunk size (section 5.4.1).
const INITIAL_CHUNK_SIZE: usize = 128;
/// Maximum chunk size: no message is longer (section 5.4.1).
const MAX_CHUNK_SIZE: usize = 0xff_ffff;
/// Value of a 24-bit timestamp field that announces an extended timestamp of 32
/// bits (section 5.3.1.3).
const EXTENDED: u32 = 0xff_ffff;
/// Capacity reserved for a chunk before its bytes have arrived.
const FIRST_RESERVE: usize = 16 << 10;

const SET_CHUNK_SIZE: u8 = 1;
const ABORT: u8 = 2;

/// Memory limits of one connection.
#[derive(Debug, Clone, Copy)]
pub struct ChunkLimits {
    /// Maximum size of one message, in bytes.
    pub message: usize,
    /// Maximum number of chunk streams used over the connection's lifetime.
    pub chunk_streams: usize,
    /// Maximum total size of all unfinished messages, in bytes.
    pub unfinished: usize,
}

impl Default for ChunkLimits {
    /// 8 MiB is 2 s of 30 Mb/s in one picture; OBS, ffmpeg and librtmp use at
    /// most six chunk streams; in practice two messages are unfinished at a
    /// time.
    fn default() -> Self {
        Self {
            message: 8 << 20,
            chunk_streams: 64,
            unfinished: 16 << 20,
        }
    }
}

/// Complete message. Its payload shares the read buffer if it arrived in one
/// chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Milliseconds, modulo 2^32.
    pub timestamp: u32,
    pub kind: u8,
    pub stream_id: u32,
    pub payload: Bytes,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    #[error("a message of {size} bytes is longer than the {limit} allowed")]
    MessageTooLong { size: usize, limit: usize },
    #[error("more than {limit} chunk streams")]
    TooManyChunkStreams { limit: usize },
    #[error("more than {limit} bytes in unfinished messages")]
    TooMuchUnfinished { limit: usize },
    #[error("chunk on an unknown chunk stream")]
    NoPreviousChunk,
    #[error("a chunk size of {size}, must be 1 to 2147483647")]
    BadChunkSize { size: u32 },
    #[error("a control message of {size} bytes, must be 4")]
    BadControlMessage { size: usize },
}

/// Read side of a connection's chunk layer.
#[derive(Debug)]
pub struct ChunkReader {
    limits: ChunkLimits,
    input: BytesMut,
    chunk_size: usize,
    streams: Vec<ChunkStream>,
    /// Chunk whose payload is being read: index in `streams`, bytes left.
    open: Option<(usize, usize)>,
    /// Total size of `partial` of all `streams`, in bytes.
    unfinished: usize,
    failed: Option<ChunkError>,
}

#[derive(Debug, Default)]
struct ChunkStream {
    id: u32,
    timestamp: u32,
    /// Timestamp delta applied when a message begins with a type 3 header.
    delta: u32,
    length: usize,
    kind: u8,
    stream_id: u32,
    /// Extended timestamp of the last header with a timestamp field.
    extended: Option<u32>,
    partial: BytesMut,
}

impl ChunkReader {
    pub fn new(limits: ChunkLimits) -> Self {
        Self {
            limits,
            input: BytesMut::new(),
            chunk_size: INITIAL_CHUNK_SIZE,
            streams: Vec::new(),
            open: None,
            unfinished: 0,
            failed: None,
        }
    }

    /// Sets the limits, from the next chunk on.
    pub fn set_limits(&mut self, limits: ChunkLimits) {
        self.limits = limits;
    }

    pub fn push(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// Buffer a socket may read into directly; only ever append to it.
    pub fn input(&mut self) -> &mut BytesMut {
        &mut self.input
    }

    /// Next complete message, or `None` until more bytes are pushed. An error
    /// loses the position in the stream, so it is returned by every later call.
    pub fn pull(&mut self) -> Result<Option<Message>, ChunkError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let pulled = self.advance();
        if let Err(error) = &pulled {
            self.failed = Some(error.clone());
            self.input = BytesMut::new();
            self.streams = Vec::new();
        }
        pulled
    }

    fn advance(&mut self) -> Result<Option<Message>, ChunkError> {
        loop {
            if self.open.is_none() && !self.begin_chunk()? {
                return Ok(None);
            }
            let Some(message) = self.read_payload()? else {
                if self.open.is_some() {
                    return Ok(None);
                }
                continue;
            };
            match message.kind {
                SET_CHUNK_SIZE => self.set_chunk_size(&message.payload)?,
                ABORT => self.abort(&message.payload)?,
                _ => return Ok(Some(message)),
            }
        }
    }

    /// Parses one chunk header; `false` if it is incomplete.
    fn begin_chunk(&mut self) -> Result<bool, ChunkError> {
        let Some(header) = ChunkHeader::parse(&self.input) else {
            return Ok(false);
        };
        let found = self
            .streams
            .iter()
            .position(|s| s.id == header.chunk_stream);
        let index = match found {
            Some(index) => index,
            // librtmp sends its first ping with a type 1 header.
            None if header.format <= 1 => {
                if self.streams.len() == self.limits.chunk_streams {
                    let limit = self.limits.chunk_streams;
                    return Err(ChunkError::TooManyChunkStreams { limit });
                }
                self.streams.push(ChunkStream {
                    id: header.chunk_stream,
                    ..ChunkStream::default()
                });
                self.streams.len() - 1
            }
            None => return Err(ChunkError::NoPreviousChunk),
        };
        let stream = &mut self.streams[index];
        let mut size = header.size;
        if header.format == 3 {
            // Some encoders omit the extended timestamp here, some repeat it,
            // some send the absolute time: four bytes count as the field only
            // if they have a value it could have.
            if let Some(extended) = stream.extended {
                let Some(next) = self.input.get(size..size + 4) else {
                    return Ok(false);
                };
                let next = u32::from_be_bytes([next[0], next[1], next[2], next[3]]);
                if next == extended || next == stream.timestamp {
                    size += 4;
                }
            }
            if stream.partial.is_empty() {
                stream.timestamp = stream.timestamp.wrapping_add(stream.delta);
            }
        } else {
            // A new header in the middle of a message discards the old message.
            self.unfinished -= stream.partial.len();
            stream.partial = BytesMut::new();
            stream.extended = header.extended;
            stream.delta = header.time;
            stream.timestamp = match header.format {
                0 => header.time,
                _ => stream.timestamp.wrapping_add(header.time),
            };
            if let Some((length, kind)) = header.length_and_kind {
                (stream.length, stream.kind) = (length, kind);
            }
            if let Some(stream_id) = header.stream_id {
                stream.stream_id = stream_id;
            }
            if stream.length > self.limits.message {
                return Err(ChunkError::MessageTooLong {
                    size: stream.length,
                    limit: self.limits.message,
                });
            }
        }
        let left = (stream.length - stream.partial.len()).min(self.chunk_size);
        if self.unfinished + left > self.limits.unfinished {
            let limit = self.limits.unfinished;
            return Err(ChunkError::TooMuchUnfinished { limit });
        }
        self.open = Some((index, left));
        let _ = self.input.split_to(size);
        Ok(true)
    }

    /// Consumes the available payload of the open chunk; returns the message if
    /// that completes it.
    fn read_payload(&mut self) -> Result<Option<Message>, ChunkError> {
        let Some((index, left)) = self.open else {
            return Ok(None);
        };
        let stream = &mut self.streams[index];
        let payload =
            if stream.partial.is_empty() && left == stream.length && left <= self.input.len() {
                self.input.split_to(left).freeze()
            } else {
                let take = left.min(self.input.len());
                if take == 0 && left > 0 {
                    return Ok(None);
                }
                // Reserves the chunk's size, not the length the message claims.
                stream.partial.reserve(left.min(FIRST_RESERVE));
                stream.partial.extend_from_slice(&self.input[..take]);
                let _ = self.input.split_to(take);
                self.unfinished += take;
                self.open = (take < left).then_some((index, left - take));
                if stream.partial.len() < stream.length {
                    return Ok(None);
                }
                self.unfinished -= stream.length;
                std::mem::take(&mut stream.partial).freeze()
            };
        self.open = None;
        Ok(Some(Message {
            timestamp: stream.timestamp,
            kind: stream.kind,
            stream_id: stream.stream_id,
            payload,
        }))
    }

    fn set_chunk_size(&mut self, payload: &[u8]) -> Result<(), ChunkError> {
        let size = control_value(payload)?;
        if size == 0 || size > i32::MAX as u32 {
            return Err(ChunkError::BadChunkSize { size });
        }
        self.chunk_size = (size as usize).min(MAX_CHUNK_SIZE);
        Ok(())
    }

    fn abort(&mut self, payload: &[u8]) -> Result<(), ChunkError> {
        let id = control_value(payload)?;
        if let Some(stream) = self.streams.iter_mut().find(|s| s.id == id) {
            self.unfinished -= stream.partial.len();
            stream.partial = BytesMut::new();
        }
        Ok(())
    }
}

fn control_value(payload: &[u8]) -> Result<u32, ChunkError> {
    match payload {
        [a, b, c, d, ..] => Ok(u32::from_be_bytes([*a, *b, *c, *d])),
        _ => Err(ChunkError::BadControlMessage {
            size: payload.len(),
        }),
    }
}

/// Parsed chunk header.
#[derive(Debug)]
struct ChunkHeader {
    format: u8,
    chunk_stream: u32,
    /// Timestamp (type 0) or timestamp delta (types 1 and 2); 0 for type 3.
    time: u32,
    extended: Option<u32>,
    length_and_kind: Option<(usize, u8)>,
    stream_id: Option<u32>,
    /// Size of the header, in bytes.
    size: usize,
}

impl ChunkHeader {
    fn parse(input: &[u8]) -> Option<Self> {
        let first = *input.first()?;
        let (chunk_stream, mut at) = match first & 0x3f {
            0 => (u32::from(*input.get(1)?) + 64, 2),
            1 => {
                let (low, high) = (*input.get(1)?, *input.get(2)?);
                (u32::from(high) * 256 + u32::from(low) + 64, 3)
            }
            id => (u32::from(id), 1),
        };
        let mut header = Self {
            format: first >> 6,
            chunk_stream,
            time: 0,
            extended: None,
            length_and_kind: None,
            stream_id: None,
            size: at,
        };
        if header.format < 3 {
            header.time = u24(input.get(at..at + 3)?);
            at += 3;
        }
        if header.format < 2 {
            let field = input.get(at..at + 4)?;
            header.length_and_kind = Some((u24(field) as usize, field[3]));
            at += 4;
        }
        if header.format < 1 {
            let field = input.get(at..at + 4)?;
            header.stream_id = Some(u32::from_le_bytes([field[0], field[1], field[2], field[3]]));
            at += 4;
        }
        if header.time == EXTENDED {
            let field = input.get(at..at + 4)?;
            header.time = u32::from_be_bytes([field[0], field[1], field[2], field[3]]);
            header.extended = Some(header.time);
            at += 4;
        }
        header.size = at;
        Some(header)
    }
}

fn u24(bytes: &[u8]) -> u32 {
    u32::from(bytes[0]) << 16 | u32::from(bytes[1]) << 8 | u32::from(bytes[2])
}

//! Outgoing messages, split into chunks and buffered until the connection takes
//! them.

use rml_rtmp::chunk_io::ChunkSerializer;
use rml_rtmp::messages::{MessagePayload, RtmpMessage};
use rml_rtmp::time::RtmpTimestamp;

use super::{SessionError, kind};
use crate::amf;
use crate::amf::Value;

/// Chunk size of the server: every reply fits into one chunk.
const CHUNK_SIZE: u32 = 4096;

pub(super) struct ReplyWriter {
    serializer: ChunkSerializer,
    output: Vec<u8>,
}

impl ReplyWriter {
    pub(super) fn new() -> Self {
        Self {
            serializer: ChunkSerializer::new(),
            output: Vec::new(),
        }
    }

    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    /// Appends handshake bytes, which are not chunked.
    pub(super) fn raw(&mut self, bytes: Vec<u8>) {
        self.output.extend(bytes);
    }

    pub(super) fn enlarge_chunks(&mut self) -> Result<(), SessionError> {
        let now = RtmpTimestamp::new(0);
        let packet = self.serializer.set_max_chunk_size(CHUNK_SIZE, now);
        self.output
            .extend(packet.map_err(|_| SessionError::Reply)?.bytes);
        Ok(())
    }

    /// Sends `_result` or `_error` for a command.
    pub(super) fn reply(
        &mut self,
        name: &str,
        transaction: f64,
        arguments: [Value; 2],
    ) -> Result<(), SessionError> {
        self.command(0, name, transaction, arguments)
    }

    /// Sends `onStatus` (section 7.2.2) for a stream.
    pub(super) fn on_status(
        &mut self,
        stream_id: u32,
        level: &str,
        code: &str,
        description: &str,
    ) -> Result<(), SessionError> {
        let info = Value::Object(status(level, code, description));
        self.command(stream_id, "onStatus", 0.0, [Value::Null, info])
    }

    /// Sends a command that expects no response.
    pub(super) fn notify(&mut self, name: &str, code: &str) -> Result<(), SessionError> {
        let info = Value::Object(status("status", code, ""));
        self.command(0, name, 0.0, [Value::Null, info])
    }

    fn command(
        &mut self,
        stream_id: u32,
        name: &str,
        transaction: f64,
        arguments: [Value; 2],
    ) -> Result<(), SessionError> {
        let [first, second] = arguments;
        let values = [
            Value::string(name),
            Value::Number(transaction),
            first,
            second,
        ];
        self.send(&MessagePayload {
            timestamp: RtmpTimestamp::new(0),
            type_id: kind::COMMAND,
            message_stream_id: stream_id,
            data: amf::encode(&values).into(),
        })
    }

    pub(super) fn control(&mut self, message: RtmpMessage) -> Result<(), SessionError> {
        let payload = message.into_message_payload(RtmpTimestamp::new(0), 0);
        self.send(&payload.map_err(|_| SessionError::Reply)?)
    }

    fn send(&mut self, payload: &MessagePayload) -> Result<(), SessionError> {
        let packet = self.serializer.serialize(payload, false, false);
        self.output
            .extend(packet.map_err(|_| SessionError::Reply)?.bytes);
        Ok(())
    }
}

/// Builds an information object (section 7.2.2).
pub(super) fn status(level: &str, code: &str, description: &str) -> Vec<(String, Value)> {
    vec![
        ("level".to_owned(), Value::string(level)),
        ("code".to_owned(), Value::string(code)),
        ("description".to_owned(), Value::string(description)),
    ]
}

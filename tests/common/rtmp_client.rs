//! Raw RTMP client that sends exactly what a test specifies.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use watchtower::ingest::amf;
use watchtower::ingest::amf::Value;
use watchtower::ingest::chunk::{ChunkLimits, ChunkReader, Message};

use super::PATIENCE;

pub const SET_CHUNK_SIZE: u8 = 1;
pub const AUDIO: u8 = 8;
pub const VIDEO: u8 = 9;
pub const DATA: u8 = 18;
pub const COMMAND: u8 = 20;

/// Connection after the handshake.
pub struct RtmpClient {
    pub socket: TcpStream,
    reader: ChunkReader,
    chunk_size: usize,
}

impl RtmpClient {
    pub async fn handshake(server: SocketAddr) -> io::Result<Self> {
        let mut socket = TcpStream::connect(server).await?;
        socket.set_nodelay(true)?;
        let mut c0_c1 = vec![3; 1537];
        c0_c1[1..9].fill(0);
        socket.write_all(&c0_c1).await?;
        let mut s0_s1_s2 = vec![0; 3073];
        socket.read_exact(&mut s0_s1_s2).await?;
        socket.write_all(&s0_s1_s2[1..1537]).await?;
        Ok(Self {
            socket,
            reader: ChunkReader::new(ChunkLimits::default()),
            chunk_size: 128,
        })
    }

    /// Connects: handshake and `connect`.
    pub async fn connect(server: SocketAddr, app: &str) -> io::Result<Self> {
        let mut client = Self::handshake(server).await?;
        let object = Value::Object(vec![
            ("app".to_owned(), Value::string(app)),
            ("flashVer".to_owned(), Value::string("tests/1.0")),
            (
                "tcUrl".to_owned(),
                Value::String(format!("rtmp://{server}/{app}")),
            ),
        ]);
        client.command("connect", 1.0, &[object]).await?;
        client.expect_command("_result").await?;
        Ok(client)
    }

    /// Connects and publishes, up to the accepted `publish`.
    pub async fn publish(server: SocketAddr, app: &str, name: &str) -> io::Result<Self> {
        let mut client = Self::connect(server, app).await?;
        client.ask_to_publish(name).await?;
        client.expect_status("NetStream.Publish.Start").await?;
        Ok(client)
    }

    /// Sends `createStream` and `publish` without waiting for the response.
    pub async fn ask_to_publish(&mut self, name: &str) -> io::Result<()> {
        self.command("createStream", 2.0, &[Value::Null]).await?;
        self.expect_command("_result").await?;
        let arguments = [Value::Null, Value::string(name), Value::string("live")];
        self.command("publish", 3.0, &arguments).await
    }

    pub async fn command(
        &mut self,
        name: &str,
        transaction: f64,
        arguments: &[Value],
    ) -> io::Result<()> {
        let mut values = vec![Value::string(name), Value::Number(transaction)];
        values.extend_from_slice(arguments);
        self.message(3, COMMAND, 0, &amf::encode(&values)).await
    }

    /// Sends a message with full headers and chunks of the negotiated size.
    pub async fn message(
        &mut self,
        chunk_stream: u8,
        kind: u8,
        timestamp: u32,
        payload: &[u8],
    ) -> io::Result<()> {
        let bytes = chunks(chunk_stream, kind, timestamp, payload, self.chunk_size);
        self.socket.write_all(&bytes).await
    }

    pub async fn set_chunk_size(&mut self, size: u32) -> io::Result<()> {
        self.message(2, SET_CHUNK_SIZE, 0, &size.to_be_bytes())
            .await?;
        self.chunk_size = size as usize;
        Ok(())
    }

    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.socket.write_all(bytes).await
    }

    /// Next message of the server; `None` when it closed the connection.
    pub async fn read(&mut self) -> io::Result<Option<Message>> {
        loop {
            if let Some(message) = self.reader.pull().map_err(io::Error::other)? {
                return Ok(Some(message));
            }
            let read = self.socket.read_buf(self.reader.input());
            let count = timeout(PATIENCE, read)
                .await
                .map_err(|_| io::ErrorKind::TimedOut)??;
            if count == 0 {
                return Ok(None);
            }
        }
    }

    /// Values of the next command.
    pub async fn read_command(&mut self) -> io::Result<Vec<Value>> {
        loop {
            match self.read().await? {
                Some(message) if message.kind == COMMAND => {
                    return amf::decode(&message.payload).map_err(io::Error::other);
                }
                Some(_) => {}
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
    }

    pub async fn expect_command(&mut self, name: &str) -> io::Result<Vec<Value>> {
        let values = self.read_command().await?;
        let got = values.first().and_then(Value::as_str).unwrap_or_default();
        if got == name {
            Ok(values)
        } else {
            Err(io::Error::other(format!("expected {name}, got {got}")))
        }
    }

    /// Field `code` of the next command's information object.
    pub async fn read_code(&mut self) -> io::Result<String> {
        let values = self.read_command().await?;
        let code = values.last().and_then(|info| info.get("code"));
        let code = code.and_then(Value::as_str).unwrap_or_default();
        Ok(code.to_owned())
    }

    pub async fn expect_status(&mut self, code: &str) -> io::Result<()> {
        let got = self.read_code().await?;
        if got == code {
            Ok(())
        } else {
            Err(io::Error::other(format!("expected {code}, got {got}")))
        }
    }

    /// Reads until the server closes; returns the time that took.
    pub async fn closed(mut self) -> Duration {
        closed(&mut self.socket).await
    }
}

/// Reads until the server closes or resets the connection.
pub async fn closed(socket: &mut TcpStream) -> Duration {
    let start = tokio::time::Instant::now();
    let mut sink = [0; 4096];
    let end = async {
        while let Ok(1..) = socket.read(&mut sink).await {}
        start.elapsed()
    };
    timeout(PATIENCE, end)
        .await
        .expect("the server should close the connection")
}

/// Splits a message into chunks: the first with a full header, the others
/// without.
pub fn chunks(
    chunk_stream: u8,
    kind: u8,
    timestamp: u32,
    payload: &[u8],
    chunk_size: usize,
) -> Vec<u8> {
    let mut bytes = header(chunk_stream, kind, timestamp, payload.len());
    for (index, part) in payload.chunks(chunk_size).enumerate() {
        if index > 0 {
            bytes.push(0xc0 | chunk_stream);
            if timestamp >= 0xff_ffff {
                bytes.extend(timestamp.to_be_bytes());
            }
        }
        bytes.extend(part);
    }
    bytes
}

/// Full chunk header for message stream 1.
pub fn header(chunk_stream: u8, kind: u8, timestamp: u32, length: usize) -> Vec<u8> {
    let mut bytes = vec![chunk_stream];
    bytes.extend(&timestamp.min(0xff_ffff).to_be_bytes()[1..]);
    bytes.extend(&(length as u32).to_be_bytes()[1..]);
    bytes.push(kind);
    bytes.extend(1_u32.to_le_bytes());
    if timestamp >= 0xff_ffff {
        bytes.extend(timestamp.to_be_bytes());
    }
    bytes
}

//! Syslog (RFC 5424) over UDP (RFC 5426), TCP with octet counting (RFC 6587,
//! section 3.4.1) and TLS (RFC 5425), over one connection that is kept.
//!
//! Nobody acknowledges syslog: what a receiver had in its buffers when it
//! died is gone without a word. So what was sent within the last seconds of a
//! connection that broke is sent again over the next one; the ids tell twins.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::FutureExt as _;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use url::Url;

use super::{Blame, Destination, Item, Notice, Outcome, cef};
use crate::config::{Format, SinkSettings};
use crate::finding::Severity;
use crate::tls::Connector;

/// `local0`.
const FACILITY: u8 = 16;
/// Of IPv4, less the headers.
const LARGEST_DATAGRAM: usize = 65_507;
/// Sent again after the connection broke.
const DOUBTFUL: Duration = Duration::from_secs(10);
const MOST_DOUBTFUL: usize = 8 << 20;
/// Messages written in one go.
const BATCH: usize = 100;

trait Pipe: AsyncRead + AsyncWrite + Unpin + Send + Sync {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send + Sync> Pipe for T {}

pub(super) struct Syslog {
    way: Way,
    host: String,
    port: u16,
    own_name: String,
    format: Format,
    line: Option<Box<dyn Pipe>>,
    socket: Option<UdpSocket>,
    recent: Recent,
}

enum Way {
    Udp,
    Tcp,
    Tls(Connector),
}

impl Syslog {
    pub(super) fn open(settings: &SinkSettings) -> Result<Self, String> {
        let address = settings
            .address
            .as_ref()
            .map_or("", |address| address.expose());
        let wrong = || {
            format!(
                "address must be udp://host:port, tcp://host:port or tls://host:port, got {address:?}"
            )
        };
        let url = Url::parse(address).map_err(|_| wrong())?;
        let host = url
            .host_str()
            .filter(|host| !host.is_empty())
            .ok_or_else(wrong)?;
        let (way, port) = match url.scheme() {
            "udp" => (Way::Udp, 514),
            "tcp" => (Way::Tcp, 601),
            "tls" => (Way::Tls(Connector::new(settings.ca_file.as_deref())?), 6514),
            _ => return Err(wrong()),
        };
        Ok(Self {
            way,
            host: host.to_owned(),
            port: url.port().unwrap_or(port),
            own_name: own_name(),
            format: settings.format,
            line: None,
            socket: None,
            recent: Recent::default(),
        })
    }

    fn message(&self, notice: &Notice) -> Vec<u8> {
        let body = match self.format {
            Format::Cef => cef::event(notice),
            _ => notice.ocsf.to_string(),
        };
        let severity = match notice.severity {
            Severity::Critical => 2,
            Severity::High => 3,
            Severity::Medium => 4,
            Severity::Low => 5,
            Severity::Info => 6,
        };
        format!(
            "<{}>1 {:.6} {} watchtower {} {} - {body}",
            FACILITY * 8 + severity,
            notice.at,
            self.own_name,
            std::process::id(),
            notice.change.as_str(),
        )
        .into_bytes()
    }

    async fn send_datagrams(&mut self, batch: &[Notice]) -> Result<Vec<Item>, String> {
        let socket = match self.socket.take() {
            Some(socket) => socket,
            None => self.udp().await?,
        };
        let mut items = Vec::with_capacity(batch.len());
        for notice in batch {
            let message = self.message(notice);
            if message.len() > LARGEST_DATAGRAM {
                items.push(Item::Never(format!(
                    "its {} bytes do not fit a datagram",
                    message.len()
                )));
                continue;
            }
            match socket.send(&message).await {
                Ok(_) => items.push(Item::Taken),
                Err(error) => {
                    let why = format!("failed to send to {}:{}: {error}", self.host, self.port);
                    items.resize(batch.len(), Item::Not(Blame::Silence, why));
                    return Ok(items);
                }
            }
        }
        self.socket = Some(socket);
        Ok(items)
    }

    async fn udp(&self) -> Result<UdpSocket, String> {
        let wrong = |error| format!("failed to reach {}:{}: {error}", self.host, self.port);
        let addresses = tokio::net::lookup_host((self.host.as_str(), self.port)).await;
        let address = addresses
            .map_err(wrong)?
            .next()
            .ok_or("the name has no address")?;
        let any = if address.is_ipv4() {
            "0.0.0.0:0"
        } else {
            "[::]:0"
        };
        let socket = UdpSocket::bind(any).await.map_err(wrong)?;
        socket.connect(address).await.map_err(wrong)?;
        Ok(socket)
    }

    async fn connect(&self) -> Result<Box<dyn Pipe>, String> {
        let wrong = |error| format!("failed to reach {}:{}: {error}", self.host, self.port);
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await;
        let stream = stream.map_err(wrong)?;
        stream.set_nodelay(true).map_err(wrong)?;
        match &self.way {
            Way::Tls(connector) => {
                let stream = connector.connect(&self.host, stream).await;
                Ok(Box::new(stream.map_err(|error| {
                    format!("no TLS with {}:{}: {error}", self.host, self.port)
                })?))
            }
            Way::Udp | Way::Tcp => Ok(Box::new(stream)),
        }
    }

    async fn send_frames(&mut self, batch: &[Notice]) -> Result<(), String> {
        let broke = |error| {
            format!(
                "the connection to {}:{} broke: {error}",
                self.host, self.port
            )
        };
        let mut line = match self.line.take().and_then(still_open) {
            Some(line) => line,
            None => {
                let mut line = self.connect().await?;
                for frames in &self.recent.frames {
                    line.write_all(&frames.1).await.map_err(broke)?;
                }
                line
            }
        };
        let mut frames = Vec::new();
        for notice in batch {
            let message = self.message(notice);
            frames.extend_from_slice(format!("{} ", message.len()).as_bytes());
            frames.extend_from_slice(&message);
        }
        line.write_all(&frames).await.map_err(broke)?;
        line.flush().await.map_err(broke)?;
        self.recent.add(frames);
        self.line = Some(line);
        Ok(())
    }
}

/// Not if the other side has closed it; what it says is read and ignored.
fn still_open(mut line: Box<dyn Pipe>) -> Option<Box<dyn Pipe>> {
    let mut said = [0; 512];
    loop {
        match line.read(&mut said).now_or_never() {
            None => return Some(line),
            Some(Ok(count)) if count > 0 => {}
            Some(_) => return None,
        }
    }
}

#[async_trait]
impl Destination for Syslog {
    fn most(&self) -> usize {
        BATCH
    }

    async fn deliver(&mut self, batch: &[Notice]) -> Outcome {
        let sent = match self.way {
            Way::Udp => self.send_datagrams(batch).await.map(Outcome::PerItem),
            Way::Tcp | Way::Tls(_) => self.send_frames(batch).await.map(|()| Outcome::Delivered),
        };
        sent.unwrap_or_else(Outcome::retry)
    }
}

/// What was sent last, and may not have arrived.
#[derive(Default)]
struct Recent {
    frames: VecDeque<(Instant, Vec<u8>)>,
    bytes: usize,
}

impl Recent {
    fn add(&mut self, frames: Vec<u8>) {
        let now = Instant::now();
        self.bytes += frames.len();
        self.frames.push_back((now, frames));
        while let Some((at, oldest)) = self.frames.front() {
            let old = now.duration_since(*at) > DOUBTFUL || self.bytes > MOST_DOUBTFUL;
            if !old || self.frames.len() == 1 {
                break;
            }
            self.bytes -= oldest.len();
            self.frames.pop_front();
        }
    }
}

/// HOSTNAME: printable ASCII without blanks, or the nil value.
fn own_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name: String = name
        .trim()
        .chars()
        .filter(char::is_ascii_graphic)
        .take(255)
        .collect();
    if name.is_empty() {
        "-".to_owned()
    } else {
        name
    }
}

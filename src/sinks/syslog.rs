//! Syslog (RFC 5424) over UDP (RFC 5426), TCP with octet counting or newlines
//! (RFC 6587, sections 3.4.1 and 3.4.2) and TLS (RFC 5425), over one persistent
//! connection.
//!
//! Syslog has no acknowledgements: the [connection](super::line) estimates what
//! was delivered. The rest is sent again when the connection breaks; and
//! because a receiver may crash with full buffers, so are the frames delivered
//! last. The ids identify duplicates.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::net::{TcpStream, UdpSocket};
use url::Url;

use watchtower_base::backoff::Backoff;
use watchtower_base::tls::{Connector, Identity};
use watchtower_domain::finding::{Severity, printable};

use super::line::{ByteStream, SocketMeter, SyslogConnection, SyslogDisconnect};
use super::{Blame, DeliveryOutcome, Destination, ItemOutcome, Settled, SinkEvent, cef};
use crate::settings::{Format, SinkSettings, SyslogFraming};

/// Facility `local0`.
const FACILITY: u8 = 16;
/// Largest UDP payload over IPv4, in bytes: 65,535 less the headers.
const LARGEST_DATAGRAM: usize = 65_507;
/// Period before the end of a connection of which everything is sent again.
const DOUBTFUL: Duration = Duration::from_secs(10);
/// Period before a reset, which means that not everything was read.
const DOUBTFUL_UNREAD: Duration = Duration::from_secs(60);
const MOST_DOUBTFUL: usize = 8 << 20;
/// Maximum number of messages in one write.
const BATCH: usize = 100;

pub(super) struct Syslog {
    transport: SyslogTransport,
    host: String,
    port: u16,
    own_name: String,
    format: Format,
    framing: SyslogFraming,
    patience: Duration,
    has_no_certificate: bool,
    socket: Option<UdpSocket>,
    line: Option<SyslogConnection>,
    /// Sent on this connection, and not known to be delivered.
    under_way: VecDeque<SentFrames>,
    recent: Recent,
    /// Frames to be sent again first on the next connection.
    again: Vec<Bytes>,
    /// Outcomes not returned yet.
    known: VecDeque<Settled>,
    tickets: u64,
    backoff: Backoff,
    next_try: Option<Instant>,
}

struct SentFrames {
    /// Ticket; none for frames that already counted as delivered.
    ticket: Option<u64>,
    frames: Bytes,
}

enum SyslogTransport {
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
        let (transport, port) = match url.scheme() {
            "udp" => (SyslogTransport::Udp, 514),
            "tcp" => (SyslogTransport::Tcp, 601),
            "tls" => {
                let identity = Identity::of(settings.client_pair.as_ref())?;
                let connector = Connector::new(settings.ca_file.as_deref(), identity)?;
                (SyslogTransport::Tls(connector), 6514)
            }
            _ => return Err(wrong()),
        };
        if settings.client_pair.is_some() && !matches!(transport, SyslogTransport::Tls(_)) {
            return Err("client_certificate goes with tls:// only".to_owned());
        }
        if settings.framing.is_some() && matches!(transport, SyslogTransport::Udp) {
            return Err("framing goes with tcp:// and tls:// only".to_owned());
        }
        Ok(Self {
            transport,
            host: host.to_owned(),
            port: url.port().unwrap_or(port),
            own_name: own_name(),
            format: settings.format,
            framing: settings.framing.unwrap_or(SyslogFraming::OctetCounting),
            patience: settings.timeout,
            has_no_certificate: settings.client_pair.is_none(),
            socket: None,
            line: None,
            under_way: VecDeque::new(),
            recent: Recent::default(),
            again: Vec::new(),
            known: VecDeque::new(),
            tickets: 0,
            backoff: Backoff::default(),
            next_try: None,
        })
    }

    fn message(&self, sink_event: &SinkEvent) -> Vec<u8> {
        let body = match self.format {
            Format::Cef => cef::event(sink_event),
            _ => sink_event.ocsf.to_string(),
        };
        let severity = match sink_event.severity {
            Severity::Critical => 2,
            Severity::High => 3,
            Severity::Medium => 4,
            Severity::Low => 5,
            Severity::Info => 6,
        };
        format!(
            "<{}>1 {:.6} {} watchtower {} {} - {body}",
            FACILITY * 8 + severity,
            sink_event.at,
            self.own_name,
            std::process::id(),
            sink_event.change.as_str(),
        )
        .into_bytes()
    }

    async fn send_datagrams(&mut self, batch: &[SinkEvent]) -> Result<Vec<ItemOutcome>, String> {
        let socket = match self.socket.take() {
            Some(socket) => socket,
            None => self.udp().await?,
        };
        let mut items = Vec::with_capacity(batch.len());
        for sink_event in batch {
            let message = self.message(sink_event);
            if message.len() > LARGEST_DATAGRAM {
                items.push(ItemOutcome::Permanent(format!(
                    "{} bytes exceed a datagram",
                    message.len()
                )));
                continue;
            }
            match socket.send(&message).await {
                Ok(_) => items.push(ItemOutcome::Taken),
                Err(error) => {
                    let why = format!("failed to send to {}:{}: {error}", self.host, self.port);
                    items.resize(batch.len(), ItemOutcome::Not(Blame::Silence, why));
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

    async fn stream(&self) -> Result<(Box<dyn ByteStream>, SocketMeter), String> {
        let wrong = |error| format!("failed to reach {}:{}: {error}", self.host, self.port);
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await;
        let stream = stream.map_err(wrong)?;
        stream.set_nodelay(true).map_err(wrong)?;
        let (stream, gauge) = SocketMeter::of(stream).map_err(wrong)?;
        let stream: Box<dyn ByteStream> = match &self.transport {
            SyslogTransport::Tls(connector) => {
                let stream = connector.connect(&self.host, stream).await;
                Box::new(stream.map_err(|error| {
                    let why = self.explained(&error.to_string());
                    format!("TLS failed with {}:{}: {why}", self.host, self.port)
                })?)
            }
            SyslogTransport::Udp | SyslogTransport::Tcp => Box::new(stream),
        };
        Ok((stream, gauge))
    }

    /// Opens a new connection, on which possibly lost frames go first.
    async fn connect(&mut self) -> Result<(), String> {
        let (stream, gauge) = self.stream().await?;
        self.line = Some(SyslogConnection::start(stream, gauge, self.patience));
        for frames in std::mem::take(&mut self.again) {
            self.send(None, frames);
        }
        Ok(())
    }

    fn send(&mut self, ticket: Option<u64>, frames: Bytes) {
        if let Some(line) = &self.line {
            line.send(frames.clone());
            self.under_way.push_back(SentFrames { ticket, frames });
        }
    }

    fn frames(&self, batch: &[SinkEvent]) -> Bytes {
        let mut frames = Vec::new();
        for sink_event in batch {
            let mut message = self.message(sink_event);
            match self.framing {
                SyslogFraming::OctetCounting => {
                    frames.extend_from_slice(format!("{} ", message.len()).as_bytes());
                    frames.extend_from_slice(&message);
                }
                SyslogFraming::Newline => {
                    // Neither JSON nor CEF contains line breaks: a message is
                    // one line.
                    for byte in &mut message {
                        if matches!(byte, b'\n' | b'\r' | 0) {
                            *byte = b' ';
                        }
                    }
                    frames.extend_from_slice(&message);
                    frames.push(b'\n');
                }
            }
        }
        frames.into()
    }

    async fn send_frames(&mut self, batch: &[SinkEvent]) -> DeliveryOutcome {
        if let Some(line) = self.line.as_mut().filter(|line| line.has_ended()) {
            let (taken, end) = line.next_progress().await;
            self.absorb(taken, end);
        }
        if !self.known.is_empty() {
            return DeliveryOutcome::NotYet;
        }
        if self.line.is_none()
            && let Err(why) = self.connect().await
        {
            return DeliveryOutcome::retry(why);
        }
        self.tickets += 1;
        let frames = self.frames(batch);
        self.send(Some(self.tickets), frames);
        DeliveryOutcome::Sent(self.tickets)
    }

    /// Settles the oldest frames in flight, and all of them when the connection
    /// has ended.
    fn absorb(&mut self, taken: u64, end: Option<SyslogDisconnect>) {
        let now = Instant::now();
        let mut tickets = Vec::new();
        for _ in 0..taken {
            if let Some(sent) = self.under_way.pop_front() {
                tickets.extend(sent.ticket);
                self.recent.add(now, sent.frames);
                self.backoff.reset();
            }
        }
        if !tickets.is_empty() {
            self.known.push_back(Settled::Taken(tickets));
        }
        let Some(end) = end else {
            return;
        };
        self.line = None;
        self.next_try = Some(now + self.backoff.next(None));
        let since = match end.is_reset {
            true => DOUBTFUL_UNREAD,
            false => DOUBTFUL,
        };
        self.again = self.recent.take(now, since);
        let mut lost = Vec::new();
        for sent in self.under_way.drain(..) {
            match sent.ticket {
                Some(ticket) => lost.push(ticket),
                None => self.again.push(sent.frames),
            }
        }
        let why = self.explained(&end.why);
        let why = format!("connection to {}:{} lost: {why}", self.host, self.port);
        tracing::debug!(again = self.again.len(), lost = lost.len(), "{why}");
        if !lost.is_empty() {
            self.known.push_back(Settled::Lost { tickets: lost, why });
        }
    }

    fn explained(&self, why: &str) -> String {
        let certificate_required = why.contains("CertificateRequired") && self.has_no_certificate;
        let hint = match certificate_required {
            true => " (client certificate required: set client_certificate and client_key)",
            false => "",
        };
        format!("{}{hint}", printable(why))
    }
}

#[async_trait]
impl Destination for Syslog {
    fn most(&self) -> usize {
        BATCH
    }

    async fn deliver(&mut self, batch: &[SinkEvent]) -> DeliveryOutcome {
        match self.transport {
            SyslogTransport::Udp => {
                let sent = self.send_datagrams(batch).await;
                sent.map_or_else(DeliveryOutcome::retry, DeliveryOutcome::PerItem)
            }
            SyslogTransport::Tcp | SyslogTransport::Tls(_) => self.send_frames(batch).await,
        }
    }

    async fn settled(&mut self) -> Settled {
        loop {
            if let Some(known) = self.known.pop_front() {
                return known;
            }
            match &mut self.line {
                Some(line) => {
                    let (taken, end) = line.next_progress().await;
                    self.absorb(taken, end);
                }
                // Without frames to repeat, the next batch opens the connection.
                None if self.again.is_empty() => std::future::pending().await,
                None => {
                    if let Some(at) = self.next_try {
                        tokio::time::sleep_until(at.into()).await;
                    }
                    if let Err(why) = self.connect().await {
                        tracing::debug!("{why}");
                        self.next_try = Some(Instant::now() + self.backoff.next(None));
                    }
                }
            }
        }
    }
}

/// Frames delivered last, which the receiver may have lost.
#[derive(Default)]
struct Recent {
    frames: VecDeque<(Instant, Bytes)>,
    bytes: usize,
}

impl Recent {
    fn add(&mut self, now: Instant, frames: Bytes) {
        self.bytes += frames.len();
        self.frames.push_back((now, frames));
        while let Some((at, oldest)) = self.frames.front() {
            let old = now.duration_since(*at) > DOUBTFUL_UNREAD || self.bytes > MOST_DOUBTFUL;
            if !old || self.frames.len() == 1 {
                break;
            }
            self.bytes -= oldest.len();
            self.frames.pop_front();
        }
    }

    /// Removes all frames, and returns those younger than that.
    fn take(&mut self, now: Instant, than: Duration) -> Vec<Bytes> {
        self.bytes = 0;
        let frames = self.frames.drain(..);
        let young = frames.filter(|(at, _)| now.duration_since(*at) <= than);
        young.map(|(_, frames)| frames).collect()
    }
}

/// HOSTNAME field: printable ASCII without blanks, or the nil value.
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

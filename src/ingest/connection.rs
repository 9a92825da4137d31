//! Connection of one publisher, from its first byte to the log line at its end.
//! Owns the socket and the deadlines.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use watchtower_base::connection_limit::ConnectionSlot;
use watchtower_base::tls::HandshakeError;
use watchtower_media::hub::Publisher;

use super::access::{ConnectApp, PublishAuth, PublishRefusal};
use super::chunk::Message;
use super::flv::{Demuxer, MediaError};
use super::server::{RtmpServerState, Summary};
use super::session::{Connect, Metadata, Publish, PublisherEvent, RtmpSession, SessionError};

/// Size of a read buffer: a keyframe of a few hundred kB takes a handful of
/// calls.
const READ_BUFFER: usize = 64 << 10;
/// Size of the read buffer before the peer is authenticated.
const FIRST_BUFFER: usize = 4 << 10;
/// Time a rejected peer has to read the rejection. Closing at once would reset
/// the connection and discard it.
const LINGER: Duration = Duration::from_millis(400);

/// Maximum number of distinct fault kinds logged per connection.
const MAX_LOGGED_FAULTS: usize = 16;
/// Idle time after which a picture sent in parts counts as complete.
const COMPLETE: Duration = Duration::from_millis(200);

/// Reason a connection ended.
#[derive(Debug)]
pub(super) enum ConnectionEnd {
    /// The peer closed its side.
    Eof {
        publishing: bool,
    },
    /// The publisher ended its stream, then the connection.
    Unpublished,
    Replaced,
    Shutdown,
    HandshakeLate(Duration),
    PublishLate(Duration),
    Idle(Duration),
    Refused(PublishRefusal),
    Play,
    Codec(MediaError),
    Session(SessionError),
    Tls(HandshakeError),
    Io(io::Error),
}

impl ConnectionEnd {
    /// Label value for the metrics; the set is closed.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Eof { .. } | Self::Unpublished => "ended",
            Self::Replaced => "replaced",
            Self::Shutdown => "shutdown",
            Self::HandshakeLate(_) => "late",
            Self::PublishLate(_) => "never_published",
            Self::Idle(_) => "idle",
            Self::Refused(refusal) if refusal.is_guess() => "wrong_key",
            Self::Refused(_) | Self::Play => "refused",
            Self::Codec(_) => "codec",
            Self::Session(error) if error.is_other_protocol() => "not_rtmp",
            Self::Session(_) => "protocol",
            Self::Tls(_) => "tls",
            Self::Io(_) => "lost",
        }
    }

    /// True if the peer may not, or can't, publish here.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::HandshakeLate(_)
                | Self::PublishLate(_)
                | Self::Refused(_)
                | Self::Play
                | Self::Codec(_)
                | Self::Session(_)
                | Self::Tls(_)
        )
    }

    pub(super) fn is_normal(&self) -> bool {
        matches!(
            self,
            Self::Eof { .. } | Self::Unpublished | Self::Replaced | Self::Shutdown
        )
    }
}

impl fmt::Display for ConnectionEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Eof { publishing: true } => f.write_str("publisher disconnected"),
            Self::Eof { publishing: false } => f.write_str("peer disconnected before publishing"),
            Self::Unpublished => f.write_str("publisher stopped the stream"),
            Self::Replaced => f.write_str("replaced by a new publisher"),
            Self::Shutdown => f.write_str("server shutdown"),
            Self::HandshakeLate(limit) => write!(f, "no handshake within {limit:?}"),
            Self::PublishLate(limit) => {
                write!(f, "no publish within {limit:?} of the handshake")
            }
            Self::Idle(limit) => write!(f, "idle for {limit:?}"),
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Play => f.write_str("RTMP playback is not supported"),
            Self::Codec(fault) => fault.fmt(f),
            Self::Session(error) => error.fmt(f),
            Self::Tls(error @ HandshakeError::NotTls(_)) => {
                write!(f, "{error}; this address takes rtmps:// only")
            }
            Self::Tls(error) => error.fmt(f),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl From<SessionError> for ConnectionEnd {
    fn from(error: SessionError) -> Self {
        Self::Session(error)
    }
}

impl From<io::Error> for ConnectionEnd {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // Several encoders close the connection this way.
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof => Self::Eof { publishing: false },
            _ => Self::Io(error),
        }
    }
}

/// Transport: TCP, plain or TLS.
#[derive(Debug)]
pub(super) struct Connection<S> {
    socket: S,
    peer: SocketAddr,
    _place: ConnectionSlot,
    shared: Arc<RtmpServerState>,
    session: RtmpSession,
    opened: Instant,
    /// Time the handshake was completed.
    shaken: Option<Instant>,
    /// Parameters of `connect`, and its parsed app.
    connect: Option<(Connect, ConnectApp)>,
    live: Option<LivePublisher>,
    /// Stream name of the last publication on this connection.
    stream: Option<String>,
    encoder_logged: bool,
    /// Fault kinds already logged: each once.
    logged_faults: Vec<MediaError>,
}

/// Accepted publisher.
#[derive(Debug)]
struct LivePublisher {
    publisher: Publisher,
    demuxer: Demuxer,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub(super) fn new(
        socket: S,
        peer: SocketAddr,
        place: ConnectionSlot,
        shared: Arc<RtmpServerState>,
        opened: Instant,
    ) -> Self {
        Self {
            socket,
            peer,
            _place: place,
            session: RtmpSession::new(shared.settings.limits),
            shared,
            opened,
            shaken: None,
            connect: None,
            live: None,
            stream: None,
            encoder_logged: false,
            logged_faults: Vec::new(),
        }
    }

    pub(super) async fn run(mut self, shutdown: &CancellationToken) {
        let mut end = tokio::select! {
            end = self.serve() => end,
            () = shutdown.cancelled() => ConnectionEnd::Shutdown,
        };
        if let ConnectionEnd::Eof { publishing } = &mut end {
            *publishing = self.live.is_some();
            if !*publishing && self.stream.is_some() {
                end = ConnectionEnd::Unpublished;
            }
        }
        let _ = self.flush_media();
        // Ends the stream now rather than after the linger time.
        self.live = None;
        self.linger(&end).await;
        let summary = Summary {
            peer: self.peer,
            stream: self.stream.as_deref(),
            duration: self.opened.elapsed(),
            bytes: self.session.total_received(),
        };
        self.shared.ended(&summary, &end);
    }

    /// Runs until something ends the connection.
    async fn serve(&mut self) -> ConnectionEnd {
        loop {
            if let Err(end) = self.handle_events().await {
                return end;
            }
            let replaced = self
                .live
                .as_ref()
                .map(|live| live.publisher.replaced().clone());
            let replaced = async move {
                match replaced {
                    Some(replaced) => replaced.cancelled().await,
                    None => std::future::pending().await,
                }
            };
            let read = tokio::select! {
                read = self.read() => read,
                () = replaced => return ConnectionEnd::Replaced,
            };
            if let Err(end) = read {
                return end;
            }
        }
    }

    /// Reads bytes. An idle publisher is pinged: one that responds may just
    /// have nothing to send, as with a static screen.
    async fn read(&mut self) -> Result<(), ConnectionEnd> {
        let idle = self.shared.settings.idle;
        let (deadline, late) = self.deadline();
        let started = Instant::now();
        let mut ping = started + idle / 3;
        let mut complete = started + COMPLETE;
        loop {
            let holds = self.live.as_ref().is_some_and(|live| live.demuxer.holds());
            let mut until = deadline;
            if self.live.is_some() {
                until = until.min(ping);
            }
            if holds {
                until = until.min(complete);
            }
            match self.read_until(until).await {
                Some(read) => return read,
                None if until == deadline => return Err(late),
                None if holds && until == complete => self.flush_media()?,
                None => {
                    ping += idle / 3;
                    self.session.ping()?;
                    self.flush().await?;
                }
            }
            complete = Instant::now() + COMPLETE;
        }
    }

    /// Current deadline, and the reason the connection ends when it passes.
    fn deadline(&self) -> (Instant, ConnectionEnd) {
        let settings = &self.shared.settings;
        match (&self.live, self.shaken) {
            (Some(_), _) => (
                Instant::now() + settings.idle,
                ConnectionEnd::Idle(settings.idle),
            ),
            (None, None) => (
                self.opened + settings.handshake,
                ConnectionEnd::HandshakeLate(settings.handshake),
            ),
            (None, Some(shaken)) => (
                shaken + settings.handshake,
                ConnectionEnd::PublishLate(settings.handshake),
            ),
        }
    }

    /// Reads until the deadline; `None` if it passes first. Cancel safe.
    async fn read_until(&mut self, deadline: Instant) -> Option<Result<(), ConnectionEnd>> {
        let input = self.session.input();
        let room = input.capacity() - input.len();
        let wanted = if self.live.is_some() {
            READ_BUFFER
        } else {
            FIRST_BUFFER
        };
        // Units share the read buffer, so a full one can't be reused:
        // allocating another only pays when the old one is nearly full.
        if room < wanted / 8 {
            input.reserve(wanted);
        }
        let count = match timeout_at(deadline, self.socket.read_buf(input)).await {
            Err(_) => return None,
            Ok(Err(error)) => return Some(Err(error.into())),
            Ok(Ok(0)) => return Some(Err(ConnectionEnd::Eof { publishing: false })),
            Ok(Ok(count)) => count,
        };
        self.session.received(count);
        Some(Ok(()))
    }

    async fn handle_events(&mut self) -> Result<(), ConnectionEnd> {
        let outcome = loop {
            match self.session.event() {
                Ok(Some(event)) => {
                    if let Err(end) = self.handle(event) {
                        break Err(end);
                    }
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(error.into()),
            }
        };
        if self.shaken.is_none() && self.session.handshake_done() {
            self.shaken = Some(Instant::now());
        }
        outcome?;
        self.flush().await
    }

    async fn flush(&mut self) -> Result<(), ConnectionEnd> {
        let output = self.session.take_output();
        if output.is_empty() {
            return Ok(());
        }
        let idle = self.shared.settings.idle;
        let written = timeout(idle, async {
            self.socket.write_all(&output).await?;
            // TLS may still buffer some of it.
            self.socket.flush().await
        });
        match written.await {
            Ok(written) => Ok(written?),
            Err(_) => Err(ConnectionEnd::Idle(idle)),
        }
    }

    fn handle(&mut self, event: PublisherEvent) -> Result<(), ConnectionEnd> {
        match event {
            PublisherEvent::Connect(connect) => self.on_connect(connect),
            PublisherEvent::Publish(publish) => self.on_publish(&publish),
            PublisherEvent::Video(message) => {
                let taken = self.on_media(&message, Demuxer::video)?;
                self.on_video_taken(taken)
            }
            PublisherEvent::Audio(message) => {
                let taken = self.on_media(&message, Demuxer::audio)?;
                taken.or_else(|fault| self.on_fault(fault))
            }
            PublisherEvent::Metadata(metadata) => {
                self.on_metadata(&metadata);
                Ok(())
            }
            PublisherEvent::Unpublish => {
                self.flush_media()?;
                self.live = None;
                self.shaken = Some(Instant::now());
                Ok(())
            }
            PublisherEvent::Play => {
                let why = "RTMP playback is not supported";
                self.session
                    .refuse_stream(None, "NetStream.Play.Failed", why)?;
                Err(ConnectionEnd::Play)
            }
        }
    }

    fn on_connect(&mut self, connect: Connect) -> Result<(), ConnectionEnd> {
        let app = PublishAuth::app(&connect.app.0);
        debug!(
            peer = %self.peer,
            flash_ver = connect.flash_ver.as_deref(),
            properties = ?connect.properties,
            live = app.is_ok(),
            "RTMP connect"
        );
        match app {
            Ok(app) => {
                self.session.accept_connect(&connect)?;
                self.connect = Some((connect, app));
                Ok(())
            }
            Err(refusal) => {
                let why = refusal.to_string();
                self.session
                    .refuse_connect(&connect, refusal.code(), &why)?;
                Err(ConnectionEnd::Refused(refusal))
            }
        }
    }

    fn on_publish(&mut self, publish: &Publish) -> Result<(), ConnectionEnd> {
        // The session emits no publish event before `connect` was accepted.
        let Some((connect, app)) = &self.connect else {
            return Err(SessionError::OutOfTurn("publish").into());
        };
        let decided = self
            .shared
            .gate
            .access
            .publish(app, &publish.name.0, self.peer.ip());
        let most = self.shared.settings.streams;
        let granted = decided.and_then(|name| {
            let publisher = self.shared.hub.publish_within(&name, most)?;
            Ok((name, publisher))
        });
        let (name, publisher) = match granted {
            Ok(granted) => granted,
            Err(refusal) => {
                let why = refusal.to_string();
                self.session
                    .refuse_stream(Some(publish), refusal.code(), &why)?;
                return Err(ConnectionEnd::Refused(refusal));
            }
        };
        self.shared.gate.guesses.forgive(self.peer.ip());
        self.session.accept_publish(publish)?;
        info!(
            peer = %self.peer,
            stream = %name,
            flash_ver = connect.flash_ver.as_deref(),
            properties = ?connect.properties,
            "RTMP publisher accepted"
        );
        self.stream = Some(name.to_string());
        self.live = Some(LivePublisher {
            publisher,
            demuxer: Demuxer::default(),
        });
        Ok(())
    }

    fn on_metadata(&mut self, metadata: &Metadata) {
        if self.live.is_some() && !std::mem::replace(&mut self.encoder_logged, true) {
            info!(peer = %self.peer, stream = self.stream, encoder = ?metadata.encoder, "RTMP metadata");
        }
    }

    /// Handles a media message. The outer error ends the connection; the inner
    /// one drops the message.
    fn on_media(
        &mut self,
        message: &Message,
        demux: fn(&mut Demuxer, u32, &bytes::Bytes) -> Result<(), MediaError>,
    ) -> Result<Result<(), MediaError>, ConnectionEnd> {
        let Some(live) = &mut self.live else {
            return Ok(Ok(()));
        };
        self.shared
            .metrics
            .rtmp_bytes
            .inc_by(message.payload.len() as u64);
        let taken = demux(&mut live.demuxer, message.timestamp, &message.payload);
        self.push_units()?;
        Ok(taken)
    }

    fn on_video_taken(&mut self, taken: Result<(), MediaError>) -> Result<(), ConnectionEnd> {
        let Err(fault) = taken else {
            return Ok(());
        };
        if let Some(live) = &self.live {
            live.publisher.leave_out();
        }
        self.on_fault(fault)
    }

    fn push_units(&mut self) -> Result<(), ConnectionEnd> {
        let Some(live) = &mut self.live else {
            return Ok(());
        };
        while let Some(unit) = live.demuxer.next_unit() {
            live.publisher
                .push(unit)
                .map_err(|_| ConnectionEnd::Replaced)?;
        }
        Ok(())
    }

    /// Flushes a held picture: no further part will arrive.
    fn flush_media(&mut self) -> Result<(), ConnectionEnd> {
        let Some(live) = &mut self.live else {
            return Ok(());
        };
        let flushed = live.demuxer.flush();
        self.push_units()?;
        self.on_video_taken(flushed)
    }

    fn on_fault(&mut self, fault: MediaError) -> Result<(), ConnectionEnd> {
        self.shared.metrics.dropped_media.inc();
        if matches!(fault, MediaError::VideoCodec(_)) {
            let why = fault.to_string();
            self.session
                .refuse_stream(None, "NetStream.Publish.Rejected", &why)?;
            return Err(ConnectionEnd::Codec(fault));
        }
        // The number of distinct codecs a publisher can send is unbounded.
        if self.logged_faults.len() < MAX_LOGGED_FAULTS && !self.logged_faults.contains(&fault) {
            self.logged_faults.push(fault);
            warn!(
                peer = %self.peer,
                stream = self.stream,
                "unusable media dropped: {fault}"
            );
        }
        Ok(())
    }

    /// Lets a rejected peer read the reason, and delays the response to a wrong
    /// key.
    async fn linger(&mut self, end: &ConnectionEnd) {
        let notified = match end {
            // Otherwise an encoder would only see a closed connection and retry
            // for ever.
            ConnectionEnd::Replaced => {
                let why = end.to_string();
                let code = "NetStream.Publish.BadName";
                self.session.refuse_stream(None, code, &why).is_ok()
            }
            ConnectionEnd::Refused(refusal) => {
                if refusal.is_guess() {
                    let now = std::time::Instant::now();
                    let guesses = self.shared.gate.guesses.failed(self.peer.ip(), now);
                    sleep(guesses.delay()).await;
                }
                true
            }
            ConnectionEnd::Play | ConnectionEnd::Codec(_) => true,
            _ => false,
        };
        if !notified {
            return;
        }
        let output = self.session.take_output();
        let _ = timeout(LINGER, async {
            self.socket.write_all(&output).await?;
            self.socket.shutdown().await?;
            let mut sink = [0; 4096];
            while self.socket.read(&mut sink).await? > 0 {}
            Ok::<_, io::Error>(())
        })
        .await;
    }
}

//! RTMP listener: admits connections, spawns a task for each, logs how each
//! ended.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio::time::{self, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use watchtower_base::accept::accept_until;
use watchtower_base::connection_limit::{Caps, ConnectionLimiter, ConnectionSlot};
use watchtower_base::log_limit::LogLimitByAddress;
use watchtower_base::secret::Secret;
use watchtower_base::text::counted;
use watchtower_base::tls;
use watchtower_base::tls::HandshakeError;
use watchtower_media::hub::StreamHub;

use super::chunk::ChunkLimits;
use super::connection::{Connection, ConnectionEnd};
use super::gate::PublishGate;
use crate::metrics::IngestMetrics;

/// Settings of an RTMP server.
#[derive(Debug, Clone)]
pub struct RtmpListenerSettings {
    pub address: SocketAddr,
    /// RTMPS listen address, and the TLS configuration.
    pub secure: Option<(SocketAddr, tls::Acceptor)>,
    /// Stream key; without one only local publishers are accepted.
    pub stream_key: Option<Secret>,
    /// Maximum open connections per address, and in total.
    pub per_address: usize,
    pub connections: usize,
    /// Maximum number of streams, including those waiting for their publishers.
    pub streams: usize,
    /// Timeout from accepting the socket to the end of the handshake, including
    /// that of TLS, and again from there to an accepted `publish`.
    pub handshake: Duration,
    /// Idle timeout.
    pub idle: Duration,
    /// Memory limits of one publisher.
    pub limits: ChunkLimits,
}

impl RtmpListenerSettings {
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            secure: None,
            stream_key: None,
            per_address: 256,
            connections: 1024,
            streams: 32,
            handshake: Duration::from_secs(10),
            idle: Duration::from_secs(15),
            limits: ChunkLimits::default(),
        }
    }
}

/// State shared by every connection of a server.
#[derive(Debug)]
pub(super) struct RtmpServerState {
    pub(super) settings: RtmpListenerSettings,
    pub(super) gate: Arc<PublishGate>,
    pub(super) hub: StreamHub,
    pub(super) metrics: Arc<IngestMetrics>,
    flood: LogLimitByAddress,
}

/// Bound listeners that do not accept yet.
#[derive(Debug)]
pub struct RtmpListeners {
    plain: RtmpListener,
    secure: Option<RtmpListener>,
    admission: Arc<ConnectionLimiter>,
    shared: Arc<RtmpServerState>,
}

/// Listening socket; metrics and limits are shared by all of them.
#[derive(Debug)]
struct RtmpListener {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<tls::Acceptor>,
}

impl RtmpListener {
    async fn bind(address: SocketAddr, tls: Option<tls::Acceptor>) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Self {
            listener,
            address,
            tls,
        })
    }

    /// Accepts publishers until `shutdown`, then waits for their connections to
    /// end. Limits apply before a handshake costs anything.
    async fn run(
        self,
        admission: &Arc<ConnectionLimiter>,
        shared: &Arc<RtmpServerState>,
        shutdown: &CancellationToken,
    ) {
        let tls = self.tls;
        let admit = |socket: TcpStream, peer: SocketAddr| {
            let place = match admission.admit(peer.ip()) {
                Ok(place) => place,
                Err(rejected) => {
                    shared.note_rejected(peer, &rejected.to_string());
                    return None;
                }
            };
            if shared.gate.guesses.is_blocked(peer.ip(), Instant::now()) {
                shared.note_rejected(peer, "too many wrong stream keys from this address");
                return None;
            }
            // Drop guard, so that a panic can't leave the gauge too high.
            let open = OpenConnectionGuard::new(shared);
            let opened = time::Instant::now();
            let (shared, tls, shutdown) = (Arc::clone(shared), tls.clone(), shutdown.clone());
            Some(async move {
                let _open = open;
                let attended = shared.serve_connection(socket, peer, place, tls, opened, &shutdown);
                attended.await;
            })
        };
        let panicked = || shared.metrics.rtmp_connection("panic");
        let kind = "an RTMP connection";
        accept_until(self.listener, kind, shutdown, admit, panicked).await;
    }
}

impl RtmpListeners {
    /// Binds the listeners. The error names the address that is not available.
    pub async fn bind(
        settings: RtmpListenerSettings,
        hub: StreamHub,
        metrics: Arc<IngestMetrics>,
    ) -> Result<Self, BindError> {
        let bind = async |flag, address, tls| {
            let listener = RtmpListener::bind(address, tls).await;
            listener.map_err(|source| BindError {
                flag,
                address,
                source,
            })
        };
        let plain = bind("--rtmp", settings.address, None).await?;
        let secure = match settings.secure.clone() {
            Some((address, tls)) => Some(bind("--rtmps", address, Some(tls)).await?),
            None => None,
        };
        let caps = Caps {
            per_address: settings.per_address,
            total: settings.connections,
            spares_loopback: false,
        };
        let gate = Arc::new(PublishGate::new(settings.stream_key.as_ref()));
        Ok(Self {
            plain,
            secure,
            admission: Arc::new(ConnectionLimiter::new(caps)),
            shared: Arc::new(RtmpServerState {
                settings,
                gate,
                hub,
                metrics,
                flood: LogLimitByAddress::default(),
            }),
        })
    }

    /// Publish policy, for other protocols.
    pub fn gate(&self) -> Arc<PublishGate> {
        Arc::clone(&self.shared.gate)
    }

    /// Bound address, with the port the system chose for port 0.
    pub fn local_addr(&self) -> SocketAddr {
        self.plain.address
    }

    /// Bound address of RTMPS, if it is enabled.
    pub fn secure_addr(&self) -> Option<SocketAddr> {
        self.secure.as_ref().map(|listener| listener.address)
    }

    /// Accepts publishers until `shutdown`; then their connections are closed,
    /// which ends their streams.
    pub async fn run(self, shutdown: CancellationToken) {
        if !self.shared.gate.access.has_key() {
            warn!(
                "no stream key is set: only local publishers are accepted; behind a tunnel or \
                 proxy everyone counts as local"
            );
        }
        let Self {
            plain,
            secure,
            admission,
            shared,
        } = self;
        let both = async {
            let plain = plain.run(&admission, &shared, &shutdown);
            match secure {
                Some(secure) => {
                    tokio::join!(plain, secure.run(&admission, &shared, &shutdown));
                }
                None => plain.await,
            }
        };
        tokio::select! {
            () = both => {}
            () = shared.log_summary_each_second() => {}
        }
        shared.log_summary();
    }
}

impl RtmpServerState {
    /// Serves a connection from its first byte, or its TLS handshake, to its
    /// end.
    async fn serve_connection(
        self: Arc<Self>,
        socket: TcpStream,
        peer: SocketAddr,
        place: ConnectionSlot,
        tls: Option<tls::Acceptor>,
        opened: time::Instant,
        shutdown: &CancellationToken,
    ) {
        let _ = socket.set_nodelay(true);
        let Some(tls) = tls else {
            let connection = Connection::new(socket, peer, place, self, opened);
            return connection.run(shutdown).await;
        };
        match self.encrypt(socket, &tls, opened, shutdown).await {
            Ok(stream) => {
                let connection = Connection::new(stream, peer, place, self, opened);
                connection.run(shutdown).await;
            }
            Err(end) => {
                let summary = Summary {
                    peer,
                    stream: None,
                    duration: opened.elapsed(),
                    bytes: 0,
                };
                self.ended(&summary, &end);
            }
        }
    }

    async fn encrypt(
        &self,
        socket: TcpStream,
        tls: &tls::Acceptor,
        opened: time::Instant,
        shutdown: &CancellationToken,
    ) -> Result<tls::TlsConnection, ConnectionEnd> {
        let limit = self.settings.handshake;
        let handshake = time::timeout_at(opened + limit, tls.accept(socket));
        tokio::select! {
            made = handshake => match made {
                Ok(Ok(stream)) => Ok(stream),
                Ok(Err(HandshakeError::HungUp)) => Err(ConnectionEnd::Eof { publishing: false }),
                Ok(Err(error)) => Err(ConnectionEnd::Tls(error)),
                Err(_) => Err(ConnectionEnd::HandshakeLate(limit)),
            },
            () = shutdown.cancelled() => Err(ConnectionEnd::Shutdown),
        }
    }

    fn note_rejected(&self, peer: SocketAddr, why: &str) {
        self.metrics.rtmp_connection("turned_away");
        self.hub.note_rejected(peer.ip(), why.to_owned());
        if self.flood.admits(peer.ip(), "turned_away") {
            warn!(%peer, "RTMP connection refused: {why}");
        }
    }

    /// Writes the log line about a connection that ended.
    pub(super) fn ended(&self, connection: &Summary<'_>, end: &ConnectionEnd) {
        self.metrics.rtmp_connection(end.word());
        if end.is_refusal() {
            self.hub
                .note_rejected(connection.peer.ip(), end.to_string());
        }
        if !self.flood.admits(connection.peer.ip(), end.word()) {
            return;
        }
        let Summary {
            peer,
            stream,
            duration,
            bytes,
        } = connection;
        let seconds = duration.as_secs_f64();
        if end.is_normal() {
            info!(%peer, stream, bytes, "RTMP connection closed after {seconds:.1} s: {end}");
        } else {
            warn!(%peer, stream, bytes, "RTMP connection closed after {seconds:.1} s: {end}");
        }
    }

    /// Runs until dropped.
    async fn log_summary_each_second(&self) {
        let mut second = time::interval(Duration::from_secs(1));
        second.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            second.tick().await;
            self.log_summary();
        }
    }

    fn log_summary(&self) {
        for ((address, end), count) in self.flood.tick() {
            let from =
                address.map_or_else(|| "many addresses".to_owned(), |ip: IpAddr| ip.to_string());
            let closed = counted(count, "more RTMP connection");
            warn!("{closed} closed ({end}) from {from} in the last second");
        }
    }
}

/// Reason the server can't start.
#[derive(Debug, thiserror::Error)]
#[error("failed to listen for RTMP on {address} ({flag})")]
pub struct BindError {
    flag: &'static str,
    address: SocketAddr,
    source: io::Error,
}

/// Fields of the log line about an ended connection.
#[derive(Debug)]
pub(super) struct Summary<'a> {
    pub(super) peer: SocketAddr,
    /// Stream name, once its publisher was accepted.
    pub(super) stream: Option<&'a str>,
    pub(super) duration: Duration,
    pub(super) bytes: u64,
}

/// Drop guard of the gauge of open connections.
#[derive(Debug)]
struct OpenConnectionGuard(Arc<RtmpServerState>);

impl OpenConnectionGuard {
    fn new(shared: &Arc<RtmpServerState>) -> Self {
        shared.metrics.rtmp_open.inc();
        Self(Arc::clone(shared))
    }
}

impl Drop for OpenConnectionGuard {
    fn drop(&mut self) {
        self.0.metrics.rtmp_open.dec();
    }
}

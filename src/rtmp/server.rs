//! The listener: admits connections, gives each a task, writes how each ended.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::access::Access;
use super::admission::{Admission, Caps, Turned};
use super::chunk::Limits;
use super::connection::{Connection, End};
use super::flood::Flood;
use crate::config::Secret;
use crate::metrics::Metrics;
use crate::stream_hub::StreamHub;

/// After the listener failed (no file descriptors left, mostly).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What an RTMP server needs to know.
#[derive(Debug, Clone)]
pub struct Settings {
    pub address: SocketAddr,
    /// Without one only this machine may publish.
    pub stream_key: Option<Secret>,
    /// Open connections of one address, and of all.
    pub per_address: usize,
    pub connections: usize,
    /// From accepting the socket to the end of the handshake, and once more
    /// from there to an accepted `publish`.
    pub handshake: Duration,
    /// Longest silence.
    pub idle: Duration,
    /// What one publisher may make us hold.
    pub limits: Limits,
}

impl Settings {
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            stream_key: None,
            per_address: 256,
            connections: 1024,
            handshake: Duration::from_secs(10),
            idle: Duration::from_secs(15),
            limits: Limits::default(),
        }
    }
}

/// What every connection of a server shares.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) settings: Settings,
    pub(super) access: Access,
    pub(super) hub: StreamHub,
    pub(super) metrics: Arc<Metrics>,
    flood: Flood,
}

/// A bound listener that does not accept yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    admission: Arc<Admission>,
    shared: Arc<Shared>,
}

impl Server {
    pub async fn bind(
        settings: Settings,
        hub: StreamHub,
        metrics: Arc<Metrics>,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(settings.address).await?;
        let address = listener.local_addr()?;
        let caps = Caps {
            per_address: settings.per_address,
            total: settings.connections,
        };
        let access = Access::new(settings.stream_key.as_ref());
        Ok(Self {
            listener,
            address,
            admission: Arc::new(Admission::new(caps)),
            shared: Arc::new(Shared {
                settings,
                access,
                hub,
                metrics,
                flood: Flood::default(),
            }),
        })
    }

    /// With the port the system chose, if it was left to it.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Takes publishers until `shutdown`; then their connections are closed,
    /// which ends their streams.
    pub async fn run(self, shutdown: CancellationToken) {
        if !self.shared.access.has_key() {
            warn!(
                "no stream key is set: publishers on this machine need none, all others are \
                 refused; behind a tunnel or proxy everyone counts as on this machine"
            );
        }
        let mut connections = JoinSet::new();
        let mut second = tokio::time::interval(Duration::from_secs(1));
        second.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                accepted = self.listener.accept() => match accepted {
                    Ok((socket, peer)) => self.admit(socket, peer, &mut connections, &shutdown),
                    Err(error) => {
                        warn!(%error, "failed to accept an RTMP connection");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(ended) = connections.join_next() => self.contain(ended),
                _ = second.tick() => self.shared.sum_up(),
            }
        }
        drop(self.listener);
        while let Some(ended) = connections.join_next().await {
            if let Err(error) = ended {
                error!(%error, "an RTMP connection panicked");
            }
        }
        self.shared.sum_up();
    }

    fn admit(
        &self,
        socket: TcpStream,
        peer: SocketAddr,
        connections: &mut JoinSet<()>,
        shutdown: &CancellationToken,
    ) {
        let place = match self.admission.admit(peer.ip(), Instant::now()) {
            Ok(place) => place,
            Err(turned) => return self.shared.turned_away(peer, turned),
        };
        // A guard, so that a panic can't leave the gauge too high.
        let open = Open::new(&self.shared);
        let connection = Connection::new(socket, peer, place, Arc::clone(&self.shared));
        let shutdown = shutdown.clone();
        connections.spawn(async move {
            let _open = open;
            connection.run(&shutdown).await;
        });
    }

    fn contain(&self, ended: Result<(), tokio::task::JoinError>) {
        if let Err(error) = ended {
            // A bug, though nobody else's stream is touched. The panic hook
            // has said where.
            error!(%error, "an RTMP connection panicked");
            self.shared.metrics.rtmp_connection("panic");
        }
    }
}

impl Shared {
    fn turned_away(&self, peer: SocketAddr, turned: Turned) {
        self.metrics.rtmp_connection("turned_away");
        if self.flood.admits(peer.ip(), "turned_away") {
            warn!(%peer, "RTMP connection refused: {turned}");
        }
    }

    /// The one line about a connection that ended.
    pub(super) fn ended(&self, connection: &Summary<'_>, end: &End) {
        self.metrics.rtmp_connection(end.word());
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

    fn sum_up(&self) {
        for ((address, end), count) in self.flood.tick() {
            let from =
                address.map_or_else(|| "many addresses".to_owned(), |ip: IpAddr| ip.to_string());
            warn!("... and {count} more like this ({end}) from {from} in the last second");
        }
    }
}

/// What the line about an ended connection says of it.
#[derive(Debug)]
pub(super) struct Summary<'a> {
    pub(super) peer: SocketAddr,
    /// Only once its publisher was accepted.
    pub(super) stream: Option<&'a str>,
    pub(super) duration: Duration,
    pub(super) bytes: u64,
}

/// Keeps the gauge of open connections right.
#[derive(Debug)]
struct Open(Arc<Shared>);

impl Open {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.metrics.rtmp_open.inc();
        Self(Arc::clone(shared))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.metrics.rtmp_open.dec();
    }
}

//! Shared parts of the black-box tests: a server on a port of its own, encoders
//! as child processes, a raw RTMP client, and the captured log. Everything
//! stops when dropped.

#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "each test binary uses its own part of this"
)]

pub mod chromium;
pub mod encoder;
pub mod enhanced;
pub mod gemini;
pub mod healthy;
pub mod log;
pub mod openai;
pub mod push_service;
pub mod rtmp_client;
pub mod serve;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use watchtower::base::metrics::MetricsRegistry;
use watchtower::base::secret::Secret;
use watchtower::base::stream_name::StreamName;
use watchtower::ingest::metrics::IngestMetrics;
use watchtower::ingest::{RtmpListenerSettings, RtmpListeners};
use watchtower::media::MediaUnit;
use watchtower::media::hub::{Received, StreamHub, Subscriber};

/// Timeout above any duration on a loaded machine with two slow cores; no
/// passing test reaches it.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// RTMP server in this process.
pub struct RtmpServer {
    pub address: SocketAddr,
    pub hub: StreamHub,
    pub registry: MetricsRegistry,
    shutdown: CancellationToken,
}

impl RtmpServer {
    /// Starts with the key `k3y-of-tests`, and production deadlines.
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut RtmpListenerSettings)) -> Self {
        log::capture();
        let mut settings = RtmpListenerSettings::new((Ipv4Addr::LOCALHOST, 0).into());
        settings.stream_key = Secret::new(KEY);
        change(&mut settings);
        let hub = StreamHub::new();
        let mut registry = MetricsRegistry::default();
        let metrics = Arc::new(IngestMetrics::new(&mut registry));
        let server = RtmpListeners::bind(settings, hub.clone(), metrics)
            .await
            .expect("a free port");
        let address = server.local_addr();
        let shutdown = CancellationToken::new();
        tokio::spawn(server.run(shutdown.clone()));
        Self {
            address,
            hub,
            registry,
            shutdown,
        }
    }

    /// URL for an encoder to publish `name`, including the key.
    pub fn url(&self, name: &str) -> String {
        format!("rtmp://{}/live/{name}/{KEY}", self.address)
    }

    /// Waits for the stream to begin.
    pub async fn subscribe(&self, name: &str) -> Subscriber {
        let name = StreamName::new(name).expect("a valid name");
        eventually(&format!("stream {name} to begin"), || {
            self.hub.subscribe(&name)
        })
        .await
    }

    pub async fn ended(&self, name: &str) {
        let name = StreamName::new(name).expect("a valid name");
        eventually(&format!("stream {name} to end"), || {
            self.hub.subscribe(&name).is_none().then_some(())
        })
        .await;
    }

    /// Value of a metric.
    pub fn metric(&self, series: &str) -> f64 {
        let page = self.registry.render();
        page.lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))
            .map_or(0.0, |number| number.parse().expect("a number"))
    }

    pub async fn metric_reaches(&self, series: &str, least: f64) {
        eventually(&format!("{series} to reach {least}"), || {
            (self.metric(series) >= least).then_some(())
        })
        .await;
    }
}

impl Drop for RtmpServer {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// Stream key of servers under test; every log line is searched for it.
pub const KEY: &str = "k3y-of-tests";

/// Polls until there is a value; fails after [`PATIENCE`].
pub async fn eventually<T>(what: &str, mut poll: impl FnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(value) = poll() {
            return value;
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "waited {PATIENCE:?} in vain for {what}\n{}",
            log::text()
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Next units up to a count; fails if any was lost or the stream ends.
pub async fn take(subscriber: &mut Subscriber, count: usize) -> Vec<MediaUnit> {
    let mut units = Vec::new();
    while units.len() < count {
        let received = tokio::time::timeout(PATIENCE, subscriber.recv())
            .await
            .unwrap_or_else(|_| panic!("no unit for {PATIENCE:?}\n{}", log::text()));
        match received {
            Some(Received::Unit(unit)) => units.push(unit),
            other => panic!("after {} units: {other:?}\n{}", units.len(), log::text()),
        }
    }
    units
}

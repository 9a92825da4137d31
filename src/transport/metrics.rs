//! Counters of the UDP port that viewers share.

use prometheus_client::metrics::counter::Counter;

use watchtower_base::metrics::MetricsRegistry;

#[derive(Debug)]
pub struct TransportMetrics {
    /// Datagrams at the WebRTC port that belong to no session.
    pub dropped_datagrams: Counter,
}

impl TransportMetrics {
    pub fn new(registry: &mut MetricsRegistry) -> Self {
        Self {
            dropped_datagrams: registry.dropped("datagram"),
        }
    }
}

impl Default for TransportMetrics {
    fn default() -> Self {
        Self::new(&mut MetricsRegistry::default())
    }
}

//! Counters of WHEP and its viewers.

use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use watchtower_base::metrics::MetricsRegistry;
use watchtower_transport::metrics::TransportMetrics;

#[derive(Debug)]
pub struct PlaybackMetrics {
    /// Viewers connected now.
    pub viewers: Gauge,
    whep_answers: Family<StatusLabel, Counter>,
    /// RTP packets sent to viewers, retransmissions included.
    pub viewer_packets: Counter,
    /// Payload bytes of those packets, without their headers.
    pub viewer_bytes: Counter,
    /// RTP packets retransmitted after a viewer's NACK.
    pub retransmits: Counter,
    /// Groups of pictures sent again after a viewer's PLI.
    pub replays: Counter,
    /// Pictures skipped because a viewer was too slow.
    pub dropped_pictures: Counter,
    /// Metrics of the port, which the gateway binds.
    pub transport: Arc<TransportMetrics>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StatusLabel {
    status: u16,
}

impl PlaybackMetrics {
    pub fn new(registry: &mut MetricsRegistry) -> Self {
        Self {
            viewers: registry.register("viewers", "Connected viewers"),
            whep_answers: registry
                .register("whep_answers", "Answers to WHEP requests by HTTP status"),
            viewer_packets: registry.register("viewer_packets", "RTP packets sent to viewers"),
            viewer_bytes: registry.register("viewer_bytes", "RTP payload bytes sent to viewers"),
            retransmits: registry.register("retransmits", "RTP packets retransmitted"),
            replays: registry.register("replays", "GOP replays after picture loss"),
            dropped_pictures: registry.dropped("viewer"),
            transport: Arc::new(TransportMetrics::new(registry)),
        }
    }

    pub fn whep_answer(&self, status: u16) {
        self.whep_answers
            .get_or_create(&StatusLabel { status })
            .inc();
    }
}

impl Default for PlaybackMetrics {
    fn default() -> Self {
        Self::new(&mut MetricsRegistry::default())
    }
}

//! Counters of RTMP ingest.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use watchtower_base::metrics::MetricsRegistry;

#[derive(Debug)]
pub struct IngestMetrics {
    rtmp_connections: Family<ConnectionLabel, Counter>,
    /// RTMP connections open now.
    pub rtmp_open: Gauge,
    /// Payload bytes of audio and video received over RTMP.
    pub rtmp_bytes: Counter,
    /// Media messages of publishers that were rejected.
    pub dropped_media: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ConnectionLabel {
    end: &'static str,
}

impl IngestMetrics {
    pub fn new(registry: &mut MetricsRegistry) -> Self {
        Self {
            rtmp_connections: registry
                .register("rtmp_connections", "RTMP connections by close reason"),
            rtmp_open: registry.register("rtmp_connections_open", "Open RTMP connections"),
            rtmp_bytes: registry.register(
                "rtmp_media_bytes",
                "Payload bytes of audio and video received",
            ),
            dropped_media: registry.dropped("media"),
        }
    }

    /// Counts a connection that ended; `end` is a label value of a closed set.
    pub fn rtmp_connection(&self, end: &'static str) {
        self.rtmp_connections
            .get_or_create(&ConnectionLabel { end })
            .inc();
    }
}

impl Default for IngestMetrics {
    fn default() -> Self {
        Self::new(&mut MetricsRegistry::default())
    }
}

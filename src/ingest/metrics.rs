//! Counters of ingest by RTMP and WHIP.

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
    whip_sessions: Family<ConnectionLabel, Counter>,
    whip_answers: Family<WhipStatusLabel, Counter>,
    /// WHIP sessions open now.
    pub whip_open: Gauge,
    /// Payload bytes of audio and video received over WHIP.
    pub whip_bytes: Counter,
    /// Keyframes requested of publishers over WHIP.
    pub keyframe_requests: Counter,
    /// Media messages of publishers that were rejected.
    pub dropped_media: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ConnectionLabel {
    end: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WhipStatusLabel {
    status: u16,
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
            whip_sessions: registry.register("whip_sessions", "WHIP sessions by close reason"),
            whip_answers: registry
                .register("whip_answers", "Answers to WHIP requests by HTTP status"),
            whip_open: registry.register("whip_sessions_open", "Open WHIP sessions"),
            whip_bytes: registry.register(
                "whip_media_bytes",
                "RTP payload bytes of audio and video received",
            ),
            keyframe_requests: registry.register(
                "whip_keyframe_requests",
                "Keyframes requested of WHIP publishers",
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

    /// Counts a WHIP session that ended, likewise.
    pub fn whip_session(&self, end: &'static str) {
        self.whip_sessions
            .get_or_create(&ConnectionLabel { end })
            .inc();
    }

    pub fn whip_answer(&self, status: u16) {
        self.whip_answers
            .get_or_create(&WhipStatusLabel { status })
            .inc();
    }
}

impl Default for IngestMetrics {
    fn default() -> Self {
        Self::new(&mut MetricsRegistry::default())
    }
}

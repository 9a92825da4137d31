//! Metrics of the server: the counters of all parts, registered for one page.

use std::sync::Arc;

use prometheus_client::metrics::gauge::Gauge;

use watchtower_analysts::metrics::AnalystMetrics;
use watchtower_base::metrics::MetricsRegistry;
use watchtower_codec::metrics::CodecMetrics;
use watchtower_console::metrics::ConsoleMetrics;
use watchtower_ingest::metrics::IngestMetrics;
use watchtower_playback::metrics::PlaybackMetrics;
use watchtower_screen::metrics::ScreenMetrics;
use watchtower_sinks::metrics::SinkMetrics;

#[derive(Debug)]
pub(super) struct ServerMetrics {
    /// Live streams.
    pub(super) streams: Gauge,
    pub(super) ingest: Arc<IngestMetrics>,
    pub(super) playback: Arc<PlaybackMetrics>,
    pub(super) screen: Arc<ScreenMetrics>,
    pub(super) codec: Arc<CodecMetrics>,
    pub(super) analysts: Arc<AnalystMetrics>,
    pub(super) sinks: Arc<SinkMetrics>,
    pub(super) console: Arc<ConsoleMetrics>,
    /// Registry of all metrics, rendered by the console.
    pub(super) registry: Arc<MetricsRegistry>,
}

impl ServerMetrics {
    pub(super) fn new() -> Self {
        let mut registry = MetricsRegistry::default();
        Self {
            streams: registry.register("streams", "Live streams"),
            ingest: Arc::new(IngestMetrics::new(&mut registry)),
            playback: Arc::new(PlaybackMetrics::new(&mut registry)),
            screen: Arc::new(ScreenMetrics::new(&mut registry)),
            codec: Arc::new(CodecMetrics::new(&mut registry)),
            analysts: Arc::new(AnalystMetrics::new(&mut registry)),
            sinks: Arc::new(SinkMetrics::new(&mut registry)),
            console: Arc::new(ConsoleMetrics::new(&mut registry)),
            registry: Arc::new(registry),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use watchtower_analysts::metrics::PanelEnd;
    use watchtower_base::stream_name::StreamName;
    use watchtower_domain::cost::{AnswerOutcome, TokenUsage};
    use watchtower_domain::series::{SeriesName, Unit};

    /// Names, types and help of the contract.
    const CONTRACT: [(&str, &str, &str); 43] = [
        (
            "broken_pictures",
            "counter",
            "Coded pictures that could not be decoded",
        ),
        ("budget_step", "gauge", "Budget reduction step, 0 for none"),
        ("dropped", "counter", "Items dropped due to backpressure"),
        (
            "finding_latency_seconds",
            "histogram",
            "Seconds from a change on the screen to its finding, by provider of the model",
        ),
        ("findings", "counter", "Findings published"),
        ("frames", "counter", "Pictures decoded"),
        ("model_answers", "counter", "Model responses by outcome"),
        ("model_requests", "counter", "Billed requests to models"),
        (
            "model_spend_usd",
            "counter",
            "LLM cost in US dollars, by the price table",
        ),
        ("model_tokens", "counter", "Tokens reported by models"),
        ("ocr_cpu_seconds", "counter", "CPU seconds spent on OCR"),
        ("ocr_frames", "counter", "Frames processed by OCR"),
        (
            "ocr_news",
            "counter",
            "OCR runs with changed text or graphics",
        ),
        ("ocr_pixels", "counter", "Pixels processed by OCR"),
        ("ocr_unread", "counter", "Unread picture parts redacted"),
        (
            "ocr_untold",
            "counter",
            "Lines that disappeared after one reading, not analysed",
        ),
        ("panels", "counter", "Panel discussions by outcome"),
        ("replays", "counter", "GOP replays after picture loss"),
        ("retransmits", "counter", "RTP packets retransmitted"),
        (
            "rtmp_connections",
            "counter",
            "RTMP connections by close reason",
        ),
        ("rtmp_connections_open", "gauge", "Open RTMP connections"),
        (
            "rtmp_media_bytes",
            "counter",
            "Payload bytes of audio and video received",
        ),
        (
            "screen_value",
            "gauge",
            "Numbers on the screens, in base units",
        ),
        ("sink_behind", "gauge", "Pending events of a sink"),
        ("sink_dead", "counter", "Events moved to dead letters"),
        ("sink_delivered", "counter", "Events delivered by a sink"),
        (
            "sink_failed",
            "counter",
            "Failed delivery attempts of a sink",
        ),
        (
            "sink_lost",
            "counter",
            "Events removed by retention before delivery",
        ),
        ("streams", "gauge", "Live streams"),
        (
            "transcode_cpu_seconds",
            "counter",
            "CPU seconds spent on transcoding",
        ),
        ("transcoded_frames", "counter", "Transcoded frames"),
        ("transcodes", "gauge", "Active transcodes"),
        (
            "viewer_bytes",
            "counter",
            "RTP payload bytes sent to viewers",
        ),
        ("viewer_packets", "counter", "RTP packets sent to viewers"),
        ("viewers", "gauge", "Connected viewers"),
        (
            "whep_answers",
            "counter",
            "Answers to WHEP requests by HTTP status",
        ),
        (
            "whip_answers",
            "counter",
            "Answers to WHIP requests by HTTP status",
        ),
        (
            "whip_keyframe_requests",
            "counter",
            "Keyframes requested of WHIP publishers",
        ),
        (
            "whip_media_bytes",
            "counter",
            "RTP payload bytes of audio and video received",
        ),
        ("whip_sessions", "counter", "WHIP sessions by close reason"),
        ("whip_sessions_open", "gauge", "Open WHIP sessions"),
        ("wrong_share_tokens", "counter", "Invalid share tokens"),
        ("wrong_tokens", "counter", "Invalid console tokens"),
    ];

    /// Creates a series of each family, without which it is not rendered.
    fn counted() -> ServerMetrics {
        let metrics = ServerMetrics::new();
        metrics.ingest.rtmp_connection("ended");
        metrics.ingest.whip_session("ended");
        metrics.ingest.whip_answer(201);
        metrics.playback.whep_answer(201);
        metrics.codec.transcode_cpu("video", Duration::ZERO);
        metrics.analysts.introduce_agent("SecOps");
        metrics.analysts.answer("SecOps", AnswerOutcome::NoAnswer);
        metrics.analysts.usage("SecOps", TokenUsage::default());
        metrics.analysts.spent("gemini:flash", 1, 0);
        metrics.analysts.finding_latency("offline", Duration::ZERO);
        metrics.analysts.panel(PanelEnd::Settled);
        let number = SeriesName {
            stream: StreamName::new("team").expect("a name"),
            place: "card".to_owned(),
            label: "p99".to_owned(),
            unit: Unit::Seconds,
        };
        metrics.analysts.show_numbers([(&number, 4.8)].into_iter());
        metrics.sinks.introduce_sink("file");
        metrics
    }

    #[test]
    fn the_page_names_what_the_contract_names() {
        let page = counted().registry.render();
        for line in [
            "watchtower_model_answers_total{agent=\"SecOps\",outcome=\"no_answer\"} 1",
            "watchtower_findings_total{agent=\"SecOps\",severity=\"critical\"} 0",
            "watchtower_dropped_total{where=\"decoder\"} 0",
            "watchtower_streams 0",
            "watchtower_viewers 0",
        ] {
            assert!(page.contains(line), "{line} is missing in\n{page}");
        }
    }

    #[test]
    fn each_metric_is_registered_once_by_its_name_type_and_help() {
        let page = counted().registry.render();
        let lines = |prefix: &str| -> Vec<String> {
            let lines = page.lines().filter_map(|line| line.strip_prefix(prefix));
            let mut lines: Vec<String> = lines.map(str::to_owned).collect();
            lines.sort();
            lines
        };
        let of_contract = |line: fn((&str, &str, &str)) -> String| -> Vec<String> {
            let mut lines: Vec<String> = CONTRACT.into_iter().map(line).collect();
            lines.sort();
            lines
        };
        assert_eq!(
            lines("# TYPE watchtower_"),
            of_contract(|(name, kind, _)| format!("{name} {kind}"))
        );
        assert_eq!(
            lines("# HELP watchtower_"),
            of_contract(|(name, _, help)| format!("{name} {help}."))
        );
    }

    #[test]
    fn each_place_that_drops_is_shown_from_the_start() {
        let page = ServerMetrics::new().registry.render();
        let prefix = "watchtower_dropped_total{where=\"";
        let places = page.lines().filter_map(|line| line.strip_prefix(prefix));
        let mut places: Vec<&str> = places
            .filter_map(|line| line.strip_suffix("\"} 0"))
            .collect();
        places.sort_unstable();
        assert_eq!(
            places,
            [
                "agent",
                "change",
                "datagram",
                "decoder",
                "events",
                "finding",
                "media",
                "series",
                "transcoder",
                "viewer",
            ]
        );
    }
}

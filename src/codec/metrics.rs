//! Counters of decoders and transcodes.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use watchtower_base::metrics::MetricsRegistry;

#[derive(Debug)]
pub struct CodecMetrics {
    /// Pictures decoded.
    pub frames: Counter,
    /// Coded pictures that could not be decoded.
    pub broken_pictures: Counter,
    /// Coded units dropped because a decoder was too slow.
    pub decoder_dropped: Counter,
    /// Transcodes running now, of audio and of video.
    pub transcodes: Gauge,
    transcode_cpu: Family<KindLabel, Counter<f64, AtomicU64>>,
    /// Pictures encoded for browsers.
    pub transcoded_frames: Counter,
    /// Coded units dropped because a transcode was too slow, or skipped on the
    /// way to the live edge.
    pub transcoder_dropped: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

impl CodecMetrics {
    pub fn new(registry: &mut MetricsRegistry) -> Self {
        Self {
            frames: registry.register("frames", "Pictures decoded"),
            broken_pictures: registry.register(
                "broken_pictures",
                "Coded pictures that could not be decoded",
            ),
            decoder_dropped: registry.dropped("decoder"),
            transcodes: registry.register("transcodes", "Active transcodes"),
            transcode_cpu: registry
                .register("transcode_cpu_seconds", "CPU seconds spent on transcoding"),
            transcoded_frames: registry.register("transcoded_frames", "Transcoded frames"),
            transcoder_dropped: registry.dropped("transcoder"),
        }
    }

    /// Adds CPU time of transcodes; `kind` is "audio" or "video".
    pub fn transcode_cpu(&self, kind: &'static str, spent: Duration) {
        self.transcode_cpu
            .get_or_create(&KindLabel { kind })
            .inc_by(spent.as_secs_f64());
    }
}

impl Default for CodecMetrics {
    fn default() -> Self {
        Self::new(&mut MetricsRegistry::default())
    }
}

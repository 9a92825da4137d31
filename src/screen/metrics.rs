//! Counters of the screen reader.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;

use watchtower_base::metrics::MetricsRegistry;

#[derive(Debug)]
pub struct ScreenMetrics {
    /// Seconds of CPU spent on reading text.
    pub ocr_cpu_seconds: Counter<f64, AtomicU64>,
    /// Frames whose text was read.
    pub ocr_frames: Counter,
    /// Pixels searched for text.
    pub ocr_pixels: Counter,
    /// Parts of pictures that were painted over because no turn got to them.
    pub ocr_unread: Counter,
    /// Lines gone after one reading, before anybody was told of them.
    pub ocr_untold: Counter,
    /// Readings that had something to tell the analysts.
    pub ocr_news: Counter,
}

impl ScreenMetrics {
    pub fn new(registry: &mut MetricsRegistry) -> Self {
        Self {
            ocr_cpu_seconds: registry.register("ocr_cpu_seconds", "CPU seconds spent on OCR"),
            ocr_frames: registry.register("ocr_frames", "Frames processed by OCR"),
            ocr_pixels: registry.register("ocr_pixels", "Pixels processed by OCR"),
            ocr_unread: registry.register("ocr_unread", "Unread picture parts redacted"),
            ocr_untold: registry.register(
                "ocr_untold",
                "Lines that disappeared after one reading, not analysed",
            ),
            ocr_news: registry.register("ocr_news", "OCR runs with changed text or graphics"),
        }
    }
}

impl Default for ScreenMetrics {
    fn default() -> Self {
        Self::new(&mut MetricsRegistry::default())
    }
}

//! `[ocr]` of `watchtower.toml`: CPU that reading may take.

use watchtower_base::config::section::Section;

/// `[ocr]`
#[derive(Debug, Clone, PartialEq)]
pub struct OcrSettings {
    /// Share of one core that reading the screen may take, averaged.
    pub cpu_budget: f64,
}

pub fn ocr(mut s: Section<'_>) -> OcrSettings {
    let settings = OcrSettings {
        cpu_budget: s.number("cpu_budget", 0.05, 1.0).unwrap_or(0.5),
    };
    s.finish();
    settings
}

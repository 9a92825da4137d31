//! `[webrtc]` of `watchtower.toml`: viewers and transcoding.

use watchtower_base::config::section::Section;

/// Settings of `[webrtc]`.
#[derive(Debug, Clone, PartialEq)]
pub struct WebrtcSettings {
    /// Maximum number of viewers, of all streams together.
    pub max_viewers: usize,
    pub transcode: Transcode,
}

/// Transcoding mode for streams that browsers can't play.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transcode {
    /// Transcodes where needed, while there are viewers.
    Auto,
    Never,
}

impl Default for WebrtcSettings {
    fn default() -> Self {
        Section::defaults(webrtc)
    }
}

pub fn webrtc(mut s: Section<'_>) -> WebrtcSettings {
    let words = [("auto", Transcode::Auto), ("never", Transcode::Never)];
    let settings = WebrtcSettings {
        max_viewers: s
            .integer("max_viewers", 1, 100_000)
            .map_or(1000, |n| n as usize),
        transcode: s.choice("transcode", &words).unwrap_or(Transcode::Auto),
    };
    s.finish();
    settings
}

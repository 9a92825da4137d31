//! `[watchdog]` of `watchtower.toml`: delays before a monitoring gap is
//! reported.

use std::time::Duration;

use watchtower_base::config::section::Section;

/// `[watchdog]`: delay per condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchdogSettings {
    /// Black picture.
    pub black: Duration,
    /// Picture without any motion, not even noise; or without the motion that
    /// was constant before, such as a clock.
    pub frozen: Duration,
    pub stopped: Duration,
    /// Coded frames arrive, but none is decoded.
    pub keyframe: Duration,
    /// Publisher disconnected.
    pub gone: Duration,
    /// Maximum age of a frame not read by OCR.
    pub unread: Duration,
    /// Analyst without a response of its model; or three of its intervals, if
    /// longer.
    pub unanswered: Duration,
}

impl Default for WatchdogSettings {
    fn default() -> Self {
        Section::defaults(watchdog)
    }
}

pub fn watchdog(mut s: Section<'_>) -> WatchdogSettings {
    let second = Duration::from_secs(1);
    let mut after = |key, default| {
        s.duration(key, second, 86_400 * second)
            .unwrap_or(default * second)
    };
    let settings = WatchdogSettings {
        black: after("black", 5),
        frozen: after("frozen", 300),
        stopped: after("stopped", 30),
        keyframe: after("keyframe", 30),
        gone: after("gone", 3),
        unread: after("unread", 20),
        unanswered: after("unanswered", 60),
    };
    s.finish();
    settings
}

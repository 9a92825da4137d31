//! `[watchdog]` of `watchtower.toml`: delays before a blind spot is reported.

use std::time::Duration;

use watchtower_base::config::section::Section;

/// `[watchdog]`: how long it takes before the server reports what it can't
/// see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchdogSettings {
    /// A picture of nothing but black.
    pub black: Duration,
    /// A picture on which nothing has moved, not even by noise; and one on
    /// which something moved all the time before, as a clock does.
    pub frozen: Duration,
    pub stopped: Duration,
    /// Coded pictures come in and none is seen.
    pub keyframe: Duration,
    /// A stream whose publisher is gone.
    pub gone: Duration,
    /// Age of a picture not read by OCR.
    pub unread: Duration,
    /// An analyst without an answer of its model, or three of its intervals
    /// if that is longer.
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

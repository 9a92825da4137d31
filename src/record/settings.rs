//! `[store]` and `[logs]` of `watchtower.toml`: retention and rotation.

use std::time::Duration;

use watchtower_base::config::section::Section;

/// `[store]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreSettings {
    /// Maximum age of findings.
    pub keep: Duration,
    /// Maximum size of database and evidence together; beyond it stills of the
    /// screens are removed first, then their text, then findings.
    pub max_bytes: u64,
    /// Absence after which an incident that is seen again notifies, and is
    /// reopened if it was closed.
    pub quiet_time: Duration,
    /// Flag: keep stills as evidence.
    pub keep_stills: bool,
}

impl Default for StoreSettings {
    fn default() -> Self {
        Section::defaults(store)
    }
}

/// `[logs]`: how `findings.jsonl` and the analysts' logs are rotated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogSettings {
    /// Size at which a file is rotated; 0 leaves rotation to other programs.
    pub max_bytes: u64,
    /// Rotated files kept of each.
    pub keep: usize,
}

impl Default for LogSettings {
    fn default() -> Self {
        Section::defaults(logs)
    }
}

pub fn store(mut s: Section<'_>) -> StoreSettings {
    let minute = Duration::from_secs(60);
    let day = 24 * 60 * minute;
    let settings = StoreSettings {
        keep: s
            .duration("keep", 60 * minute, 3650 * day)
            .unwrap_or(90 * day),
        max_bytes: s
            .integer("max_megabytes", 16, 100_000_000)
            .map_or(10_000, |n| n as u64)
            * 1_000_000,
        quiet_time: s
            .duration("quiet_time", minute, 30 * day)
            .unwrap_or(30 * minute),
        keep_stills: s.flag("keep_stills").unwrap_or(true),
    };
    s.finish();
    settings
}

pub fn logs(mut s: Section<'_>) -> LogSettings {
    let settings = LogSettings {
        max_bytes: s
            .integer("max_megabytes", 0, 100_000)
            .map_or(100, |n| n as u64)
            * 1_000_000,
        keep: s.integer("keep", 1, 1000).map_or(5, |n| n as usize),
    };
    s.finish();
    settings
}

//! `[rtmp]` of `watchtower.toml`: limits and timeouts of publishers.

use std::time::Duration;

use watchtower_base::config::section::Section;

/// Settings of `[rtmp]`.
#[derive(Debug, Clone, PartialEq)]
pub struct RtmpSettings {
    pub max_connections: usize,
    pub max_connections_per_address: usize,
    /// Maximum number of streams, including those waiting for their publishers.
    pub max_streams: usize,
    pub handshake_timeout: Duration,
    pub idle_timeout: Duration,
}

pub fn rtmp(mut s: Section<'_>) -> RtmpSettings {
    let second = Duration::from_secs(1);
    let minute = Duration::from_secs(60);
    let settings = RtmpSettings {
        max_connections: s
            .integer("max_connections", 1, 65_536)
            .map_or(1024, |n| n as usize),
        max_connections_per_address: s
            .integer("max_connections_per_address", 1, 65_536)
            .map_or(256, |n| n as usize),
        max_streams: s
            .integer("max_streams", 1, 65_536)
            .map_or(32, |n| n as usize),
        handshake_timeout: s
            .duration("handshake_timeout", second, 5 * minute)
            .unwrap_or(10 * second),
        idle_timeout: s
            .duration("idle_timeout", second, 60 * minute)
            .unwrap_or(15 * second),
    };
    s.finish();
    settings
}

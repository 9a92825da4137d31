//! Lines of text that appeared on a screen, as stored for search.

use jiff::Timestamp;

use watchtower_base::stream_name::StreamName;

/// Lines that appeared on a stream at one time, secrets masked.
#[derive(Debug, Clone, PartialEq)]
pub struct ScreenText {
    pub stream: StreamName,
    pub observed_at: Timestamp,
    pub frame_seq: u64,
    pub pts_ms: i64,
    pub lines: Vec<ScreenLine>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ScreenLine {
    pub text: String,
    /// `[ymin, xmin, ymax, xmax]` in thousandths of the picture.
    pub bounds: [u16; 4],
}

//! Stores periodic stills of each screen, for the history.
//!
//! Only of screens read by OCR, with secrets painted over: without OCR secrets
//! are unknown, and no still is stored.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;

use watchtower_base::stream_name::StreamName;
use watchtower_screen::frame::Frame;
use watchtower_screen::frames::FrameBus;
use watchtower_screen::redact::{Redact, RedactedFrame};

use crate::Record;
use crate::store::Snapshot;

/// Polling interval.
const EVERY: Duration = Duration::from_secs(1);
/// Intervals of the stills of one stream, with and without changes.
const CHANGING: SignedDuration = SignedDuration::from_secs(5);
const RESTING: SignedDuration = SignedDuration::from_secs(10 * 60);

/// Task that stores stills of frames read by OCR.
#[derive(Debug)]
pub struct History {
    pub frames: FrameBus,
    pub findings: Record,
    pub redact: Redact,
}

/// Last snapshot stored of a stream.
struct LastSnapshot {
    scene: u64,
    at: Timestamp,
}

impl History {
    pub async fn run(self, shutdown: CancellationToken) {
        let mut kept: HashMap<StreamName, LastSnapshot> = HashMap::new();
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
            let live = self.frames.live();
            kept.retain(|stream, _| live.contains(stream));
            for stream in live {
                let Some(frame) = self.frames.to_look_at(&stream) else {
                    continue;
                };
                if !is_due(kept.get(&stream), &frame) {
                    continue;
                }
                let now = LastSnapshot {
                    scene: frame.scene,
                    at: frame.captured_at,
                };
                if self.keep(frame).await {
                    kept.insert(stream, now);
                }
            }
        }
    }

    async fn keep(&self, frame: Arc<Frame>) -> bool {
        let redact = self.redact;
        let made = tokio::task::spawn_blocking(move || {
            let redacted = RedactedFrame::of(&frame, redact)?;
            Some((redacted.still().ok()?, redacted))
        });
        let Ok(Some((still, frame))) = made.await else {
            return false;
        };
        let kept = self.findings.write(Snapshot {
            stream: frame.stream.clone(),
            seen_at: frame.captured_at,
            frame_seq: frame.seq,
            still,
        });
        match kept.await {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(%error, "failed to store a still");
                false
            }
        }
    }
}

fn is_due(last: Option<&LastSnapshot>, frame: &Frame) -> bool {
    last.is_none_or(|last| {
        let since = frame.captured_at.duration_since(last.at);
        since >= RESTING || since.is_negative() || last.scene != frame.scene && since >= CHANGING
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use watchtower_media::MediaTime;
    use watchtower_screen::picture::Picture;

    #[test]
    fn changing_screen_is_stored_more_often() {
        let begin: Timestamp = "2026-11-22T10:00:00Z".parse().unwrap();
        let frame = |scene, seconds| {
            let picture = Picture::grey(1, 1);
            let at = begin + SignedDuration::from_secs(seconds);
            let stream = StreamName::new("team").unwrap();
            let picture = Arc::new(picture);
            let mut frame = Frame::new(stream, 1, MediaTime(0), at, picture, |_| Ok(Bytes::new()));
            frame.scene = scene;
            frame
        };
        let last = LastSnapshot {
            scene: 1,
            at: begin,
        };
        assert!(is_due(None, &frame(1, 0)));
        assert!(!is_due(Some(&last), &frame(2, 4)));
        assert!(is_due(Some(&last), &frame(2, 5)));
        assert!(!is_due(Some(&last), &frame(1, 599)));
        assert!(is_due(Some(&last), &frame(1, 600)));
        assert!(is_due(Some(&last), &frame(1, -1)), "the clock was set back");
    }
}

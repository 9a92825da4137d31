//! Policy of keyframe requests: browsers send a keyframe only when asked for
//! one, and each costs as much as seconds of a still screen.

use std::time::{Duration, Instant};

/// Interval of requests while nothing can be shown.
const URGENT: Duration = Duration::from_millis(500);
/// Interval of other requests: some encoders ignore them.
const PATIENT: Duration = Duration::from_secs(5);
/// Age up to which a keyframe serves a new viewer: the pictures since then are
/// sent and decoded at once.
const FRESH: Duration = Duration::from_secs(2);
/// Maximum length of a group of pictures, in pictures, bytes and time: a
/// quarter of what the hub and the viewers' cache hold. In time for a still
/// screen, whose pictures are few.
const MOST_PICTURES: u32 = 256;
const MOST_BYTES: usize = 2 << 20;
const MOST_TIME: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(super) struct KeyframePolicy {
    /// Arrival of the newest keyframe.
    keyframe: Option<Instant>,
    /// Pictures since then.
    pictures: u32,
    bytes: usize,
    /// A viewer or decoder has begun since then.
    joined: bool,
    requested: Option<Instant>,
}

impl KeyframePolicy {
    pub(super) fn received(&mut self, keyframe: bool, bytes: usize, now: Instant) {
        if keyframe {
            *self = Self {
                keyframe: Some(now),
                ..Self::default()
            };
        }
        self.pictures = self.pictures.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Records a new viewer or decoder, or one that needs a keyframe again.
    pub(super) fn joined(&mut self) {
        self.joined = true;
    }

    /// True if a keyframe is to be requested now. `undecodable`: pictures can't
    /// be decoded until the next one.
    pub(super) fn is_due(&mut self, undecodable: bool, now: Instant) -> bool {
        let old = |at: Instant| now.saturating_duration_since(at) >= MOST_TIME;
        let long = self.pictures >= MOST_PICTURES
            || self.bytes >= MOST_BYTES
            || self.keyframe.is_some_and(old);
        let fresh = |at: Instant| now.saturating_duration_since(at) < FRESH;
        let joined = self.joined && !self.keyframe.is_some_and(fresh);
        let interval = match (undecodable, joined || long) {
            (true, _) => URGENT,
            (false, true) => PATIENT,
            (false, false) => return false,
        };
        let since = |at: Instant| now.saturating_duration_since(at);
        let due = self.requested.is_none_or(|at| since(at) >= interval);
        if due {
            self.requested = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn undecodable_pictures_request_until_the_keyframe_comes() {
        let mut policy = KeyframePolicy::default();
        let start = Instant::now();
        assert!(policy.is_due(true, start));
        assert!(!policy.is_due(true, start + URGENT / 2));
        assert!(policy.is_due(true, start + URGENT));
        policy.received(true, 1000, start + URGENT);
        assert!(!policy.is_due(false, start + URGENT));
        // A loss right after it is urgent again.
        assert!(policy.is_due(true, start + URGENT));
    }

    #[test]
    fn a_new_viewer_gets_a_keyframe_once_the_last_one_is_old() {
        let mut policy = KeyframePolicy::default();
        let start = Instant::now();
        policy.received(true, 1000, start);
        assert!(!policy.is_due(false, start + FRESH));
        policy.joined();
        assert!(!policy.is_due(false, start + FRESH / 2));
        assert!(policy.is_due(false, start + FRESH));
        assert!(!policy.is_due(false, start + FRESH + URGENT));
        assert!(policy.is_due(false, start + FRESH + PATIENT));
        policy.received(true, 1000, start + FRESH + PATIENT);
        assert!(!policy.is_due(false, start + FRESH + 2 * PATIENT));
    }

    #[test]
    fn a_group_is_bounded_in_pictures_bytes_and_time() {
        let start = Instant::now();
        let after = |pictures: u32, bytes: usize, time: Duration| {
            let mut policy = KeyframePolicy::default();
            policy.received(true, 0, start);
            for _ in 1..pictures {
                policy.received(false, bytes, start);
            }
            policy.is_due(false, start + time)
        };
        let second = Duration::from_secs(1);
        assert!(!after(MOST_PICTURES - 1, 1, second));
        assert!(after(MOST_PICTURES, 1, second));
        assert!(!after(2, MOST_BYTES - 1, second));
        assert!(after(2, MOST_BYTES, second));
        assert!(!after(2, 1, MOST_TIME - second));
        assert!(after(2, 1, MOST_TIME));
    }
}

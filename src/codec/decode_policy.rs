//! Decode mode of a stream: keyframes only, or every picture.
//!
//! A keyframe decodes alone, so a stream whose keyframes come often enough for
//! the fastest analyst costs almost nothing. Decoding starts in full mode,
//! because the keyframe interval is not known yet, and the mode is chosen again
//! at each keyframe. If a keyframe is overdue, the units held back since the
//! last one are decoded.
//!
//! Hysteresis: an interval is good while it is no longer than the fastest
//! analyst's, but a keyframe is overdue only a quarter later. And each overdue
//! keyframe doubles the number of good intervals required to return to keyframe
//! mode.
//!
//! Pure: times come in, a mode goes out.

use std::time::{Duration, Instant};

use watchtower_media::MediaTime;

/// Maximum number of good intervals required to return to keyframe mode.
const MAX_REQUIRED: u32 = 16;
/// Good intervals in keyframe mode after which that requirement is reset.
const STABLE_AFTER: u32 = 16;

/// Selection of the pictures to decode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DecodeMode {
    /// Every picture that others refer to.
    Full,
    /// Keyframes only.
    Keyframes,
}

/// Arrival of a unit on both clocks: media time and wall clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct UnitArrival {
    pub(super) dts: MediaTime,
    pub(super) at: Instant,
}

impl UnitArrival {
    /// Time since an earlier arrival, by the clock that shows more: the
    /// timestamps for a burst, the wall clock for timestamps that stall or go
    /// back.
    fn since(self, earlier: Self) -> Duration {
        let media = self.dts.ms().saturating_sub(earlier.dts.ms()).max(0);
        Duration::from_millis(media.unsigned_abs()).max(self.at.duration_since(earlier.at))
    }
}

#[derive(Debug)]
pub(super) struct DecodePolicy {
    mode: DecodeMode,
    keyframe: Option<UnitArrival>,
    /// Consecutive intervals that were short enough for the fastest analyst.
    good: u32,
    /// Consecutive good intervals required to leave full mode.
    required: u32,
}

impl Default for DecodePolicy {
    fn default() -> Self {
        Self {
            mode: DecodeMode::Full,
            keyframe: None,
            good: 0,
            required: 1,
        }
    }
}

impl DecodePolicy {
    pub(super) fn mode(&self) -> DecodeMode {
        self.mode
    }

    /// Decode mode for a keyframe and the units that follow.
    pub(super) fn keyframe(&mut self, now: UnitArrival, fastest: Duration) -> DecodeMode {
        let interval = self.keyframe.replace(now).map(|last| now.since(last));
        match interval {
            Some(interval) if interval <= fastest => self.good = self.good.saturating_add(1),
            Some(_) => self.good = 0,
            None => {}
        }
        match self.mode {
            DecodeMode::Full if self.good >= self.required => {
                self.mode = DecodeMode::Keyframes;
                self.good = 0;
            }
            DecodeMode::Keyframes if self.good >= STABLE_AFTER => self.required = 1,
            DecodeMode::Keyframes
                if interval.is_some_and(|interval| overdue(interval, fastest)) =>
            {
                self.keyframes_too_rare();
            }
            DecodeMode::Full | DecodeMode::Keyframes => {}
        }
        self.mode
    }

    /// Decode mode for a unit that is not a keyframe. Changes to full mode when
    /// the next keyframe is overdue; the units held back since the last one
    /// have to be decoded then.
    pub(super) fn other(&mut self, now: UnitArrival, fastest: Duration) -> DecodeMode {
        let late = |last: UnitArrival| overdue(now.since(last), fastest);
        if self.mode == DecodeMode::Keyframes && self.keyframe.is_none_or(late) {
            self.keyframes_too_rare();
        }
        self.mode
    }

    /// Time from which the next keyframe is overdue; `None` in full mode.
    pub(super) fn overdue_at(&self, fastest: Duration) -> Option<Instant> {
        let keyframe = self
            .keyframe
            .filter(|_| self.mode == DecodeMode::Keyframes)?;
        Some(keyframe.at + patience(fastest))
    }

    /// Changes to full mode: the keyframes were too rare.
    pub(super) fn keyframes_too_rare(&mut self) {
        self.mode = DecodeMode::Full;
        self.good = 0;
        self.required = (self.required * 2).min(MAX_REQUIRED);
    }

    /// Forgets the last keyframe, since the next interval is meaningless: units
    /// were lost in between, or the publisher changed.
    pub(super) fn interrupted(&mut self) {
        self.keyframe = None;
    }
}

fn overdue(elapsed: Duration, fastest: Duration) -> bool {
    elapsed > patience(fastest)
}

fn patience(fastest: Duration) -> Duration {
    fastest.saturating_add(fastest / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Feeds units at 10 a second, a keyframe every `interval` of them, and
    /// returns how many of them were handled in full mode.
    struct PolicyFeed {
        policy: DecodePolicy,
        start: Instant,
        unit: u32,
        switches: u32,
    }

    impl PolicyFeed {
        fn new() -> Self {
            Self {
                policy: DecodePolicy::default(),
                start: Instant::now(),
                unit: 0,
                switches: 0,
            }
        }

        fn run(&mut self, units: u32, interval: u32, fastest: Duration) -> u32 {
            let mut full = 0;
            for n in 0..units {
                let now = UnitArrival {
                    dts: MediaTime::from_ms(i64::from(self.unit) * 100),
                    at: self.start + self.unit * SECOND / 10,
                };
                self.unit += 1;
                let before = self.policy.mode();
                let mode = if n % interval == 0 {
                    self.policy.keyframe(now, fastest)
                } else {
                    self.policy.other(now, fastest)
                };
                self.switches += u32::from(mode != before);
                full += u32::from(mode == DecodeMode::Full);
            }
            full
        }
    }

    #[test]
    fn keyframes_alone_serve_a_slow_analyst() {
        let mut feed = PolicyFeed::new();
        // Only the first interval is measured in full mode.
        assert_eq!(feed.run(600, 20, 10 * SECOND), 20);
        assert_eq!(feed.switches, 1);
    }

    #[test]
    fn an_interval_of_just_the_analysts_own_serves() {
        let mut feed = PolicyFeed::new();
        assert_eq!(feed.run(1000, 100, 10 * SECOND), 100);
    }

    #[test]
    fn a_long_interval_is_decoded_in_full() {
        let mut feed = PolicyFeed::new();
        assert_eq!(feed.run(1000, 200, SECOND), 1000);
        assert_eq!(feed.switches, 0);
    }

    #[test]
    fn a_keyframe_that_never_comes_is_missed_in_time() {
        let mut feed = PolicyFeed::new();
        feed.run(100, 20, 2 * SECOND);
        assert_eq!(feed.policy.mode(), DecodeMode::Keyframes);
        // Overdue a quarter after the analyst's two seconds.
        let full = feed.run(1000, 1000, 2 * SECOND);
        assert_eq!(full, 1000 - 26);
    }

    #[test]
    fn a_hot_reload_counts_at_once() {
        let mut feed = PolicyFeed::new();
        feed.run(400, 80, 10 * SECOND);
        assert_eq!(feed.policy.mode(), DecodeMode::Keyframes);
        assert_eq!(feed.run(80, 80, SECOND), 80);
        assert_eq!(feed.policy.mode(), DecodeMode::Full);
        feed.run(400, 80, 10 * SECOND);
        assert_eq!(feed.policy.mode(), DecodeMode::Keyframes);
    }

    #[test]
    fn alternating_intervals_do_not_make_it_flap() {
        let mut feed = PolicyFeed::new();
        // Two short groups of pictures, then a long one, for an hour.
        for _ in 0..360 {
            feed.run(10, 10, 2 * SECOND);
            feed.run(10, 10, 2 * SECOND);
            feed.run(80, 80, 2 * SECOND);
        }
        assert!(feed.switches <= 8, "{}", feed.switches);
        assert_eq!(feed.policy.mode(), DecodeMode::Full);
        // Reset after a stable time.
        feed.run(1000, 10, 2 * SECOND);
        assert_eq!(feed.policy.mode(), DecodeMode::Keyframes);
    }

    #[test]
    fn timestamps_that_jump_or_stand_still_are_survived() {
        let start = Instant::now();
        let mut policy = DecodePolicy::default();
        let mut at = |ms: i64, seconds: u32| {
            let now = UnitArrival {
                dts: MediaTime::from_ms(ms),
                at: start + seconds * SECOND,
            };
            policy.keyframe(now, 10 * SECOND)
        };
        assert_eq!(at(0, 0), DecodeMode::Full);
        assert_eq!(at(i64::MAX / 100, 1), DecodeMode::Full);
        assert_eq!(at(i64::MIN / 100, 2), DecodeMode::Keyframes);
        assert_eq!(at(i64::MIN / 100, 3), DecodeMode::Keyframes);
        assert_eq!(at(i64::MIN / 100, 33), DecodeMode::Full);
    }
}

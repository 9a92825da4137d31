//! A publisher's timestamps made fit for consumers.
//!
//! Whatever a publisher sends - a wrap at 2^32, a jump, a step back - the
//! times handed on never go backwards within a track, and a gap of more than
//! [`LONGEST_STEP_MS`] becomes a small step: decoders, packetizers and
//! "how old is this frame" all assume so. Audio and video share one offset, so
//! they stay in step over a jump both make.

use crate::media::{MediaTime, Timeline};

/// A longer step either way is a jump of the clock, not a pause: a paused
/// encoder goes on sending, and a silent one is closed after 15 s anyway.
const LONGEST_STEP_MS: i64 = 10_000;
/// Steps back of up to this are jitter between an encoder's threads: held
/// still rather than taken for a new clock, which would let the offset drift.
const JITTER_MS: i64 = 500;
/// The step a jump becomes: about a frame.
const BRIDGE_MS: i64 = 40;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Track {
    Video,
    Audio,
}

#[derive(Debug, Default)]
pub(super) struct Clock {
    timeline: Timeline,
    /// Added to what the publisher says.
    offset_ms: i64,
    last_ms: [Option<i64>; 2],
}

impl Clock {
    /// The time of the next unit of a track.
    pub(super) fn at(&mut self, track: Track, raw_ms: u32) -> MediaTime {
        let said = self.timeline.unwrap_ms(raw_ms);
        let mut ms = said.saturating_add(self.offset_ms);
        let newest = self.last_ms.iter().flatten().max().copied();
        let own = self.last_ms[track as usize];
        // A track that begins late, or has been silent, is compared with the
        // other one.
        let (floor, forward) = match (own, newest) {
            (Some(own), Some(newest)) => (own, ms - newest > LONGEST_STEP_MS),
            (None, Some(newest)) => (newest - LONGEST_STEP_MS, ms - newest > LONGEST_STEP_MS),
            (_, None) => (ms, false),
        };
        if forward || floor - ms > JITTER_MS {
            let bridged = newest.map_or(ms, |newest| newest + BRIDGE_MS);
            self.offset_ms = bridged.saturating_sub(said);
            ms = bridged;
        }
        let ms = own.map_or(ms, |own| ms.max(own));
        self.last_ms[track as usize] = Some(ms);
        MediaTime::from_ms(ms)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn run(steps: &[(Track, u32)]) -> Vec<i64> {
        let mut clock = Clock::default();
        steps
            .iter()
            .map(|(track, raw)| clock.at(*track, *raw).ms())
            .collect()
    }

    fn video(raw: &[u32]) -> Vec<i64> {
        run(&raw
            .iter()
            .map(|raw| (Track::Video, *raw))
            .collect::<Vec<_>>())
    }

    #[test]
    fn a_steady_clock_is_left_alone() {
        assert_eq!(video(&[7, 40, 80, 5000]), [7, 40, 80, 5000]);
    }

    #[test]
    fn a_wrap_goes_on() {
        let top = i64::from(u32::MAX);
        assert_eq!(video(&[u32::MAX - 9, 10]), [top - 9, top + 11]);
    }

    #[test]
    fn jumps_become_small_steps() {
        assert_eq!(video(&[0, 40, 3_600_000, 3_600_040]), [0, 40, 80, 120]);
        assert_eq!(
            video(&[3_600_000, 0, 40]),
            [3_600_000, 3_600_040, 3_600_080]
        );
        assert_eq!(video(&[0, 40, 0x9000_0000, 0x9000_0028]), [0, 40, 80, 120]);
    }

    #[test]
    fn small_steps_back_hold_still() {
        assert_eq!(video(&[100, 90, 110, 109, 130]), [100, 100, 110, 110, 130]);
    }

    #[test]
    fn both_tracks_stay_in_step_over_a_jump() {
        use Track::{Audio, Video};
        let times = run(&[
            (Video, 1000),
            (Audio, 1010),
            (Video, 1040),
            (Audio, 1030),
            (Video, 91_000),
            (Audio, 91_010),
            (Video, 91_040),
        ]);
        assert_eq!(times, [1000, 1010, 1040, 1030, 1080, 1090, 1120]);
    }

    #[test]
    fn a_track_that_starts_late_is_no_jump() {
        use Track::{Audio, Video};
        let times = run(&[(Audio, 0), (Audio, 3000), (Video, 0), (Video, 40)]);
        assert_eq!(times, [0, 3000, 0, 40]);
    }

    proptest! {
        #[test]
        fn no_track_ever_goes_back(
            steps in prop::collection::vec((any::<bool>(), any::<u32>()), 0..200),
        ) {
            let mut clock = Clock::default();
            let mut last = [MediaTime(i64::MIN); 2];
            for (video, raw) in steps {
                let track = if video { Track::Video } else { Track::Audio };
                let time = clock.at(track, raw);
                prop_assert!(time >= last[track as usize]);
                last[track as usize] = time;
            }
        }
    }
}

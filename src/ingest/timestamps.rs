//! Normalization of a publisher's timestamps.
//!
//! Whatever a publisher sends (a wrap at 2^32, a jump, a step back), the output
//! never goes backwards within a track, and a gap of more than
//! [`LONGEST_STEP_MS`] becomes a small step: decoders, packetizers and frame
//! ages rely on that. A jump that both tracks make moves both by the same
//! offset, so they stay in sync; tracks with unrelated clocks are aligned at
//! the start.

use watchtower_media::{MediaTime, Timeline};

/// Minimum step, either way, that counts as a clock jump and not a pause: a
/// paused encoder continues sending.
const LONGEST_STEP_MS: i64 = 10_000;
/// Maximum step back that counts as jitter between an encoder's threads: the
/// time is held rather than treated as a new clock, which would let the offset
/// drift.
const JITTER_MS: i64 = 500;
/// Step that replaces a jump: about a frame.
const BRIDGE_MS: i64 = 40;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TrackKind {
    Video,
    Audio,
}

#[derive(Debug, Default)]
pub(super) struct StreamTimestamps {
    video: Lane,
    audio: Lane,
}

/// Timeline state of one track.
#[derive(Debug, Default, Clone)]
struct Lane {
    timeline: Timeline,
    /// Offset added to the publisher's timestamps.
    offset_ms: i64,
    last_ms: Option<i64>,
    /// Change of the other track's offset, in ms, over a jump that this track
    /// may be about to make.
    ahead_ms: Option<i64>,
}

impl StreamTimestamps {
    /// Normalized time of the next unit of a track.
    pub(super) fn at(&mut self, track: TrackKind, raw_ms: u32) -> MediaTime {
        let (lane, other) = match track {
            TrackKind::Video => (&mut self.video, &mut self.audio),
            TrackKind::Audio => (&mut self.audio, &mut self.video),
        };
        if lane.last_ms.is_none() && other.last_ms.is_some() {
            lane.timeline = other.timeline.clone();
            lane.offset_ms = other.offset_ms;
        }
        let source_ms = lane.timeline.unwrap_ms(raw_ms);
        let ms = match lane.last_ms {
            None => lane.begin(source_ms, other),
            Some(last) => lane.go_on(source_ms, last, other),
        };
        lane.last_ms = Some(ms);
        MediaTime::from_ms(ms)
    }
}

impl Lane {
    /// Aligns a track that begins late with the other one.
    fn begin(&mut self, source_ms: i64, other: &Self) -> i64 {
        let ms = source_ms.saturating_add(self.offset_ms);
        let Some(newest) = other.last_ms else {
            return ms;
        };
        let far = ms.abs_diff(newest) > (LONGEST_STEP_MS + JITTER_MS).unsigned_abs();
        if far { self.set(source_ms, newest) } else { ms }
    }

    fn go_on(&mut self, source_ms: i64, last: i64, other: &mut Self) -> i64 {
        let newest = other.last_ms.map_or(last, |ms| ms.max(last));
        let fits = |ms: i64| last - ms <= JITTER_MS && ms - newest <= LONGEST_STEP_MS;
        let ms = source_ms.saturating_add(self.offset_ms);
        // Applies the other track's jump to this one, if that brings it closer
        // to its last time.
        if let Some(ahead) = self.ahead_ms {
            let moved = ms.saturating_add(ahead);
            if fits(moved) && moved.abs_diff(last) < ms.abs_diff(last) {
                self.ahead_ms = None;
                return self.set(source_ms, moved).max(last);
            }
        }
        if fits(ms) {
            return ms.max(last);
        }
        // A track that was silent for a long time resumes at the other's time.
        let from = if newest - last > LONGEST_STEP_MS {
            newest
        } else {
            last
        };
        let before = self.offset_ms;
        let ms = self.set(source_ms, from.saturating_add(BRIDGE_MS));
        self.ahead_ms = None;
        let change = self.offset_ms.saturating_sub(before);
        let pending = other.ahead_ms.unwrap_or(0);
        other.ahead_ms = Some(pending.saturating_add(change));
        ms
    }

    fn set(&mut self, source_ms: i64, ms: i64) -> i64 {
        self.offset_ms = ms.saturating_sub(source_ms);
        ms
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn run(steps: &[(TrackKind, u32)]) -> Vec<i64> {
        let mut clock = StreamTimestamps::default();
        steps
            .iter()
            .map(|(track, raw)| clock.at(*track, *raw).ms())
            .collect()
    }

    fn video(raw: &[u32]) -> Vec<i64> {
        run(&raw
            .iter()
            .map(|raw| (TrackKind::Video, *raw))
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
        use TrackKind::{Audio, Video};
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
        use TrackKind::{Audio, Video};
        let times = run(&[(Audio, 0), (Audio, 3000), (Video, 0), (Video, 40)]);
        assert_eq!(times, [0, 3000, 0, 40]);
    }

    /// Both tracks at their own rate, audio ahead of video by this much.
    fn apart(ahead_ms: u32) -> Vec<i64> {
        let steps: Vec<_> = (0..60_000)
            .step_by(20)
            .flat_map(|ms| {
                let sound = (TrackKind::Audio, ms + ahead_ms);
                [
                    Some(sound),
                    (ms % 40 == 0).then_some((TrackKind::Video, ms)),
                ]
            })
            .flatten()
            .collect();
        let times = run(&steps);
        let of = |wanted| {
            let all = steps.iter().zip(&times);
            all.filter(move |((track, _), _)| *track == wanted)
                .map(|(_, ms)| *ms)
                .collect::<Vec<_>>()
        };
        let [video, audio] = [of(TrackKind::Video), of(TrackKind::Audio)];
        assert!(
            video.windows(2).all(|pair| pair[1] - pair[0] == 40),
            "{ahead_ms}"
        );
        assert!(
            audio.windows(2).all(|pair| pair[1] - pair[0] == 20),
            "{ahead_ms}"
        );
        vec![video[0], audio[0]]
    }

    #[test]
    fn a_constant_distance_of_the_tracks_leaves_their_pace_alone() {
        // A step up to here is treated as real.
        assert_eq!(apart(9_000), [0, 9_000]);
        for ahead in [10_500, 12_000, 3_600_000, 0x7fff_ffff, 0xffff_0000] {
            let [video, audio] = apart(ahead)[..] else {
                panic!("two tracks");
            };
            assert!((video - audio).abs() <= 10_500, "{ahead}: {video} {audio}");
        }
    }

    #[test]
    fn tracks_apart_stay_so_over_a_jump_both_make() {
        use TrackKind::{Audio, Video};
        let jump = |by: u32| {
            run(&[
                (Video, 1000),
                (Audio, 6000),
                (Video, 1040),
                (Audio, 6020),
                (Video, 1080 + by),
                (Audio, 6040),
                (Audio, 6060 + by),
                (Video, 1120 + by),
                (Audio, 6080 + by),
            ])
        };
        for by in [90_000, 4_000_000_000] {
            let times = jump(by);
            assert_eq!(
                times,
                [1000, 6000, 1040, 6020, 1080, 6040, 6060, 1120, 6080],
                "{by}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_track_ever_goes_back(
            steps in prop::collection::vec((any::<bool>(), any::<u32>()), 0..200),
        ) {
            let mut clock = StreamTimestamps::default();
            let mut last = [MediaTime(i64::MIN); 2];
            for (video, raw) in steps {
                let track = if video { TrackKind::Video } else { TrackKind::Audio };
                let time = clock.at(track, raw);
                prop_assert!(time >= last[track as usize]);
                last[track as usize] = time;
            }
        }
    }
}

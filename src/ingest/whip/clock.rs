//! Normalization of RTP timestamps, bounded by the time of arrival.
//!
//! Whatever a publisher sends (a jump, a standstill, a step back), the output
//! never goes backwards within a track and stays near the time that has passed:
//! decoders, packetizers and frame ages rely on that.

use std::time::Duration;

use watchtower_media::MediaTime;

/// Maximum lead over the arrival: the first packet may have been delayed by as
/// much, on a network that a stream can be watched over.
const AHEAD_MS: i64 = 1_000;
/// Maximum lag behind the arrival, as of a publisher whose link stalled.
const BEHIND_MS: i64 = 10_000;

/// Clock of one track.
#[derive(Debug, Default)]
pub(super) struct ArrivalClock {
    /// Added to the track's own time, in ticks.
    offset: Option<i64>,
    last: i64,
}

impl ArrivalClock {
    /// Time of a unit, by the track's own time and the arrival since the
    /// session began.
    pub(super) fn at(&mut self, own: MediaTime, arrived: Duration) -> MediaTime {
        let arrived_ms = i64::try_from(arrived.as_millis()).unwrap_or(i64::MAX / 90);
        let now = MediaTime::from_ms(arrived_ms).0;
        let offset = *self.offset.get_or_insert(now.saturating_sub(own.0));
        let mut time = own.0.saturating_add(offset);
        let lead_ms = MediaTime(time.saturating_sub(now)).ms();
        if !(-BEHIND_MS..=AHEAD_MS).contains(&lead_ms) {
            self.offset = Some(now.saturating_sub(own.0));
            time = now;
        }
        self.last = self.last.max(time);
        MediaTime(self.last)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Times in ms for own times in ms and arrivals in ms.
    fn times(units: &[(i64, u64)]) -> Vec<i64> {
        let mut clock = ArrivalClock::default();
        let at = |(own, arrived): &(i64, u64)| {
            let own = MediaTime::from_ms(*own);
            clock.at(own, Duration::from_millis(*arrived)).ms()
        };
        units.iter().map(at).collect()
    }

    #[test]
    fn a_steady_clock_is_kept_whatever_the_jitter() {
        let units = [(500, 200), (533, 900), (566, 901), (600, 902), (633, 1000)];
        assert_eq!(times(&units), [200, 233, 266, 300, 333]);
    }

    #[test]
    fn jumps_follow_the_arrival() {
        let forward = [(0, 0), (33, 33), (3_600_000, 66), (3_600_033, 99)];
        assert_eq!(times(&forward), [0, 33, 66, 99]);
        let back = [(0, 0), (33, 33), (-3_600_000, 66), (-3_599_967, 99)];
        assert_eq!(times(&back), [0, 33, 66, 99]);
        let jitter = [(0, 0), (33, 33), (20, 66), (66, 99)];
        assert_eq!(times(&jitter), [0, 33, 33, 66]);
    }

    #[test]
    fn a_standstill_is_bridged() {
        let units = [(0, 0), (0, 5_000), (0, 10_000), (0, 10_001), (33, 10_034)];
        assert_eq!(times(&units), [0, 0, 0, 10_001, 10_034]);
    }

    proptest! {
        #[test]
        fn no_track_goes_back_nor_runs_away(
            units in prop::collection::vec((any::<i64>(), 0_u64..500), 1..200),
        ) {
            let mut clock = ArrivalClock::default();
            let (mut arrived, mut last) = (0, 0);
            for (own, step) in units {
                arrived += step;
                let ms = clock.at(MediaTime(own), Duration::from_millis(arrived)).ms();
                let now = i64::try_from(arrived).expect("short");
                prop_assert!(ms >= last);
                prop_assert!(ms <= now + AHEAD_MS && ms >= now - BEHIND_MS);
                last = ms;
            }
        }
    }
}

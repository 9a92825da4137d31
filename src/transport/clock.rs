//! Mapping of a stream's times to RTP time and wall clock.

use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use watchtower_base::sync::Locked as _;
use watchtower_media::MediaTime;

const TICKS_PER_SECOND: i64 = 90_000;
/// Maximum step back within a session of a publisher, in ticks.
const STEP_BACK: i64 = TICKS_PER_SECOND;
/// Maximum step ahead within a session, in ticks; smaller ones may be pauses.
const LEAP_AHEAD: i64 = 60 * TICKS_PER_SECOND;

/// Monotonic timebase of a stream whose publisher returns or is replaced and
/// restarts at its own zero.
#[derive(Debug, Default)]
pub struct Timebase {
    offset: i64,
    last: Option<(i64, Instant)>,
    restarted: bool,
}

impl Timebase {
    /// Announces that the next unit comes from another publisher.
    pub fn restart(&mut self) {
        self.restarted = true;
    }

    /// Records a unit in decoding order.
    pub fn note(&mut self, dts: MediaTime, now: Instant) {
        if let Some((last, at)) = self.last {
            let step = dts.0.saturating_add(self.offset).saturating_sub(last);
            if self.restarted || !(-STEP_BACK..LEAP_AHEAD).contains(&step) {
                let due = last.saturating_add(ticks(now.saturating_duration_since(at)));
                self.offset = due.saturating_sub(dts.0);
            }
        }
        self.restarted = false;
        self.last = Some((dts.0.saturating_add(self.offset), now));
    }

    /// RTP time at 90 kHz (RFC 6184, section 5.1).
    pub fn video(&self, pts: MediaTime) -> u32 {
        // The low half: RTP time wraps.
        pts.0.wrapping_add(self.offset) as u32
    }

    /// RTP time at 48 kHz (RFC 7587, section 4.1).
    pub fn audio(&self, pts: MediaTime) -> u32 {
        to_48_khz(pts.0.wrapping_add(self.offset)) as u32
    }
}

/// Clock of RTP time for sender reports, estimated from the least delayed unit.
#[derive(Debug, Default)]
pub struct RtpClock {
    anchor: Mutex<Option<(i64, Instant)>>,
}

/// Point in time on all clocks of a sender report.
#[derive(Debug, Clone, Copy)]
pub struct SenderReportTime {
    /// RFC 5905, section 6: seconds since 1900, 32.32 fixed point.
    pub ntp: u64,
    pub video: u32,
    pub audio: u32,
}

impl RtpClock {
    /// Records the arrival of a unit.
    pub fn note(&self, timebase: &Timebase) {
        let Some((time, at)) = timebase.last else {
            return;
        };
        let mut anchor = self.anchor.locked();
        let late = anchor.map(|(was, then)| was + ticks(at.saturating_duration_since(then)) - time);
        *anchor = match late {
            // Later than usual; a small correction follows a publisher with a
            // slow clock. A second means a new publisher.
            Some(late) if (0..TICKS_PER_SECOND).contains(&late) => {
                Some((time + late - late / 256, at))
            }
            _ => Some((time, at)),
        };
    }

    pub fn now(&self) -> Option<SenderReportTime> {
        let anchor = *self.anchor.locked();
        let (time, at) = anchor?;
        let time = time + ticks(at.elapsed());
        Some(SenderReportTime {
            ntp: ntp(),
            video: time as u32,
            audio: to_48_khz(time) as u32,
        })
    }
}

/// Current time, as [`SenderReportTime::ntp`].
pub fn ntp() -> u64 {
    let since_1970 = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let seconds = since_1970.as_secs() + 2_208_988_800;
    let fraction = (u64::from(since_1970.subsec_nanos()) << 32) / 1_000_000_000;
    seconds << 32 | fraction
}

fn ticks(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros() * 9 / 100).unwrap_or(i64::MAX)
}

fn to_48_khz(ticks: i64) -> i64 {
    // Exact in 128 bits for any timestamps.
    (i128::from(ticks) * 8).div_euclid(15) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_go_on_when_a_publisher_starts_anew() {
        let mut timebase = Timebase::default();
        let start = Instant::now();
        timebase.note(MediaTime::from_ms(100_000), start);
        timebase.note(
            MediaTime::from_ms(100_040),
            start + Duration::from_millis(40),
        );
        assert_eq!(timebase.video(MediaTime::from_ms(100_040)), 9_003_600);
        timebase.restart();
        timebase.note(MediaTime(0), start + Duration::from_millis(5040));
        assert_eq!(timebase.video(MediaTime(0)), 9_453_600);
        assert_eq!(timebase.audio(MediaTime(0)), 5_041_920);
        // Detected without `restart`, by the step back alone.
        timebase.note(MediaTime::from_ms(40), start + Duration::from_millis(5080));
        timebase.note(
            MediaTime::from_ms(-9000),
            start + Duration::from_millis(5120),
        );
        assert_eq!(timebase.video(MediaTime::from_ms(-9000)), 9_460_800);
    }
}

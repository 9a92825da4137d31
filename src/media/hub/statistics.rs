//! Statistics of a stream: totals, and the rates at which it arrives now.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use watchtower_base::sync::Locked as _;

use super::Publisher;
use crate::{MediaTime, MediaUnit};

/// Interval of the samples that rates are computed from.
const SAMPLE_EVERY: Duration = Duration::from_millis(500);
/// Span that rates are measured over: long enough for the pictures of a screen
/// that hardly changes, short enough to show a stall while it lasts.
const SPAN: Duration = Duration::from_secs(5);
/// Wait for a second keyframe after which the stream counts as having none:
/// longer than OBS' default interval of 8.3 s.
const NO_KEYFRAME: Duration = Duration::from_secs(10);

/// Cadence of a publisher's pictures, and so the meaning of a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cadence {
    /// Constant frame rate with regular keyframes, as encoders send by RTMP: a
    /// pause is a fault.
    #[default]
    Steady,
    /// Pictures when the screen changes, and keyframes on request, as browsers
    /// send by WebRTC: a pause is a still screen. Only the transport knows
    /// whether the publisher is there; it drops its [`Publisher`] if not.
    OnChange,
}

impl Publisher {
    /// Sets the cadence of this publisher's pictures, steady by default.
    pub fn set_cadence(&self, cadence: Cadence) {
        let mut window = self.stream.window.locked();
        if self.holds(&window) {
            window.session.meter.cadence = cadence;
        }
    }
}

/// Totals since the stream began, over all its publishers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    pub video_units: u64,
    pub audio_units: u64,
    pub bytes: u64,
    pub keyframes: u64,
    /// Pictures dropped before the first keyframe, or because they were
    /// invalid; not counted above.
    pub left_out: u64,
}

/// Rates at which a stream arrives, sound included.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StreamRates {
    pub bits_per_second: u64,
    pub pictures_per_second: f64,
    /// Distance of the newest two keyframes, or the time since the newest if
    /// that is longer; `None` before it is known, and where keyframes come on
    /// request.
    pub keyframe_interval: Option<Duration>,
}

/// Meter of what one publisher sends.
#[derive(Debug, Default)]
pub(super) struct RateMeter {
    pub(super) cadence: Cadence,
    /// Counts at a time, the oldest first: one from before the span, and those
    /// within it.
    samples: VecDeque<(Instant, Counts)>,
    counts: Counts,
    /// Arrival and time in the stream of the newest keyframe.
    keyframe: Option<(Instant, MediaTime)>,
    interval: Option<Duration>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    bytes: u64,
    pictures: u64,
}

impl RateMeter {
    pub(super) fn add(&mut self, unit: &MediaUnit, now: Instant) {
        let newest = self.samples.back();
        if newest.is_none_or(|(at, _)| now.duration_since(*at) >= SAMPLE_EVERY) {
            self.samples.push_back((now, self.counts));
            let past = |(at, _): &(Instant, Counts)| now.duration_since(*at) >= SPAN;
            while self.samples.get(1).is_some_and(past) {
                self.samples.pop_front();
            }
        }
        self.counts.bytes += unit.size() as u64;
        if let MediaUnit::Video(unit) = unit {
            self.counts.pictures += 1;
            if unit.keyframe {
                let before = self.keyframe.replace((now, unit.dts));
                let distance = before.map(|(_, dts)| unit.dts.ms() - dts.ms());
                let distance = distance.and_then(|ms| u64::try_from(ms).ok());
                self.interval = distance.map(Duration::from_millis);
            }
        }
    }

    /// Rates now; `None` in the first half second.
    pub(super) fn rates(&self, now: Instant) -> Option<StreamRates> {
        let past = |(at, _): &&(Instant, Counts)| now.duration_since(*at) >= SPAN;
        let from = self.samples.iter().rev().find(past);
        let (since, before) = from.or(self.samples.front())?;
        let seconds = now.duration_since(*since);
        if seconds < SAMPLE_EVERY {
            return None;
        }
        let seconds = seconds.as_secs_f64();
        let bits = (self.counts.bytes - before.bytes) as f64 * 8.0;
        let waited = self.keyframe.map(|(at, _)| now.duration_since(at));
        let keyframe_interval = match (self.interval, waited) {
            _ if self.cadence == Cadence::OnChange => None,
            (Some(interval), Some(waited)) => Some(interval.max(waited)),
            (None, Some(waited)) => (waited >= NO_KEYFRAME).then_some(waited),
            (_, None) => None,
        };
        Some(StreamRates {
            bits_per_second: (bits / seconds) as u64,
            pictures_per_second: (self.counts.pictures - before.pictures) as f64 / seconds,
            keyframe_interval,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    use crate::hub::tests::unit;
    use crate::{AudioCodec, AudioUnit};

    fn video(ms: i64, keyframe: bool) -> MediaUnit {
        unit(ms, keyframe, 1000)
    }

    /// Rates after so many seconds of 10 pictures each, a keyframe every
    /// `keyframes` pictures, and a pause.
    fn after(seconds: u64, keyframes: u64, pause: u64) -> (RateMeter, Option<StreamRates>) {
        let mut meter = RateMeter::default();
        let start = Instant::now();
        for nth in 0..seconds * 10 {
            let at = start + Duration::from_millis(nth * 100);
            let unit = video(nth as i64 * 100, nth % keyframes == 0);
            meter.add(&unit, at);
        }
        let end = start + Duration::from_secs(seconds + pause);
        let rates = meter.rates(end);
        (meter, rates)
    }

    #[test]
    fn rates_are_those_of_the_last_seconds() {
        let (meter, rates) = after(60, 20, 0);
        let rates = rates.unwrap();
        assert!((rates.pictures_per_second - 10.0).abs() < 0.3, "{rates:?}");
        let bits = video(0, false).size() as f64 * 80.0;
        let measured = rates.bits_per_second as f64;
        assert!((measured - bits).abs() < bits * 0.05, "{measured} {bits}");
        assert_eq!(rates.keyframe_interval, Some(Duration::from_secs(2)));
        // Bounded, however long the stream is.
        assert!(meter.samples.len() <= 12, "{}", meter.samples.len());
    }

    #[test]
    fn sound_counts_as_bits_but_not_as_pictures() {
        let (mut meter, _) = after(10, 20, 0);
        let end = meter.samples.back().unwrap().0 + SAMPLE_EVERY;
        let silent = meter.rates(end).unwrap();
        let audio = AudioUnit {
            pts: MediaTime::default(),
            codec: AudioCodec::Aac,
            config: Bytes::new(),
            data: Bytes::from(vec![0; 10_000]),
        };
        meter.add(&MediaUnit::Audio(audio), end);
        let now = meter.rates(end).unwrap();
        assert!(now.bits_per_second > silent.bits_per_second);
        assert!((now.pictures_per_second - silent.pictures_per_second).abs() < 0.01);
    }

    #[test]
    fn stall_lowers_the_rates_and_prolongs_the_interval() {
        let (_, rates) = after(10, 20, 30);
        let rates = rates.unwrap();
        assert!(rates.pictures_per_second < 0.5, "{rates:?}");
        let interval = rates.keyframe_interval.unwrap();
        assert_eq!(interval, Duration::from_secs(32));
    }

    #[test]
    fn stream_without_a_second_keyframe_is_reported_after_a_while() {
        let interval = |seconds| after(seconds, u64::MAX, 0).1.unwrap().keyframe_interval;
        assert_eq!(interval(9), None);
        assert_eq!(interval(30), Some(Duration::from_secs(30)));
    }

    #[test]
    fn keyframes_on_request_have_no_interval() {
        let (mut meter, rates) = after(30, 100, 30);
        assert!(rates.unwrap().keyframe_interval.is_some());
        meter.cadence = Cadence::OnChange;
        let end = meter.samples.back().unwrap().0 + Duration::from_secs(30);
        assert_eq!(meter.rates(end).unwrap().keyframe_interval, None);
    }

    #[test]
    fn first_moments_have_no_rates() {
        let mut meter = RateMeter::default();
        let start = Instant::now();
        assert_eq!(meter.rates(start), None);
        meter.add(&video(0, true), start);
        assert_eq!(meter.rates(start + SAMPLE_EVERY / 2), None);
        assert!(meter.rates(start + SAMPLE_EVERY).is_some());
    }
}

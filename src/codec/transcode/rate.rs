//! Measured bitrate of a source stream.

use std::collections::VecDeque;

use watchtower_media::MediaTime;

const SECOND: i64 = 1000 * MediaTime::TICKS_PER_MS;
/// Number of spans averaged: enough that a keyframe does not make the rate
/// jump.
const SPANS: usize = 8;
/// Maximum step; a pause or a jump of the clock does not count towards the
/// rate.
const LONGEST_SPAN: i64 = 15 * SECOND;

/// Bitrate over the last seconds on the stream's own clock.
#[derive(Debug, Default)]
pub(super) struct SourceRate {
    /// Ticks and bytes of spans of at least a second.
    spans: VecDeque<(i64, u64)>,
    begun: Option<MediaTime>,
    bytes: u64,
}

impl SourceRate {
    pub(super) fn note(&mut self, dts: MediaTime, bytes: usize) {
        let begun = *self.begun.get_or_insert(dts);
        let span = dts.0.saturating_sub(begun.0);
        if !(0..SECOND).contains(&span) {
            if (0..LONGEST_SPAN).contains(&span) {
                if self.spans.len() == SPANS {
                    self.spans.pop_front();
                }
                self.spans.push_back((span, self.bytes));
            }
            self.begun = Some(dts);
            self.bytes = 0;
        }
        self.bytes += bytes as u64;
    }

    /// Bits a second; `None` before the first second is over.
    pub(super) fn bits_per_second(&self) -> Option<u64> {
        let ticks: i64 = self.spans.iter().map(|(ticks, _)| ticks).sum();
        let bytes: u64 = self.spans.iter().map(|(_, bytes)| bytes).sum();
        let rate = bytes as f64 * 8.0 * SECOND as f64 / ticks as f64;
        (ticks > 0).then_some(rate as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_streams_own_clock() {
        let mut rate = SourceRate::default();
        assert_eq!(rate.bits_per_second(), None);
        // 30 pictures of 1,000 bytes a second: 240 kb/s.
        for nth in 0..95 {
            rate.note(MediaTime(nth * 3000), 1000);
        }
        assert_eq!(rate.bits_per_second(), Some(240_000));
        // A clock jump, forward and back, has no effect.
        rate.note(MediaTime(3600 * SECOND), 1000);
        rate.note(MediaTime(0), 1000);
        assert_eq!(rate.bits_per_second(), Some(240_000));
        // One picture a second is measured correctly too.
        for nth in 1..20 {
            rate.note(MediaTime(nth * SECOND), 5000);
        }
        assert_eq!(rate.bits_per_second(), Some(40_000));
    }
}

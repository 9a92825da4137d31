//! Log of an RTP stream's missing packets: which to request again (NACK, RFC
//! 4585), and when.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Time from a gap to the first request: packets of one burst may arrive out of
/// order.
const REORDERING: Duration = Duration::from_millis(10);
/// Interval between requests of one packet, times their number: a round trip of
/// most networks, and longer where that was not enough.
const REPEAT: Duration = Duration::from_millis(50);
/// Maximum requests of one packet.
const MOST_REQUESTS: u32 = 5;
/// Maximum missing packets: a larger gap is no loss that can be repaired.
const MOST_MISSING: usize = 512;
/// Step back that means a restart of the sender (RFC 3550, appendix A.1).
const RESTART: i64 = 3000;

#[derive(Debug, Default)]
pub struct LossLog {
    /// Highest sequence number received, never wrapping.
    highest: Option<i64>,
    missing: BTreeMap<i64, MissingPacket>,
}

#[derive(Debug, Clone, Copy)]
struct MissingPacket {
    due: Instant,
    requests: u32,
}

impl LossLog {
    /// Records a packet; true if it was missing.
    pub fn received(&mut self, sequence: u16, now: Instant) -> bool {
        let Some(highest) = self.highest else {
            self.highest = Some(i64::from(sequence));
            return false;
        };
        // Truncation keeps the 16 bits that count.
        let step = i64::from(sequence.wrapping_sub(highest as u16) as i16);
        if step <= 0 {
            if step < -RESTART {
                self.missing.clear();
                self.highest = Some(i64::from(sequence));
            }
            return self.missing.remove(&(highest + step)).is_some();
        }
        let gap = highest + 1..highest + step;
        self.highest = Some(highest + step);
        if step > MOST_MISSING as i64 {
            self.missing.clear();
            return false;
        }
        let lost = MissingPacket {
            due: now + REORDERING,
            requests: 0,
        };
        self.missing.extend(gap.map(|sequence| (sequence, lost)));
        while self.missing.len() > MOST_MISSING {
            self.missing.pop_first();
        }
        false
    }

    /// Packets to request now, in order.
    pub fn due(&mut self, now: Instant) -> Vec<u16> {
        let mut due = Vec::new();
        self.missing.retain(|sequence, packet| {
            if packet.due > now {
                return true;
            }
            if packet.requests == MOST_REQUESTS {
                return false;
            }
            packet.requests += 1;
            packet.due = now + REPEAT * packet.requests;
            due.push(*sequence as u16);
            true
        });
        due
    }

    /// Time of the next request.
    pub fn next(&self) -> Option<Instant> {
        self.missing.values().map(|packet| packet.due).min()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_missing_packet_is_requested_until_it_arrives() {
        let mut log = LossLog::default();
        let start = Instant::now();
        for sequence in [65_533, 65_534, 1] {
            assert!(!log.received(sequence, start));
        }
        assert!(log.due(start).is_empty());
        let first = start + REORDERING;
        assert_eq!(log.next(), Some(first));
        assert_eq!(log.due(first), [65_535, 0]);
        assert!(log.due(first).is_empty());
        assert!(log.received(65_535, first));
        assert!(!log.received(65_535, first));
        let second = first + REPEAT;
        assert_eq!(log.due(second), [0]);
        assert!(log.due(second + REPEAT).is_empty());
        assert_eq!(log.due(second + 2 * REPEAT), [0]);
    }

    #[test]
    fn a_packet_that_never_arrives_is_given_up() {
        let mut log = LossLog::default();
        let start = Instant::now();
        log.received(7, start);
        log.received(9, start);
        let requests = (0..100).flat_map(|n| log.due(start + n * REPEAT));
        assert_eq!(requests.count(), MOST_REQUESTS as usize);
        assert_eq!(log.next(), None);
    }

    #[test]
    fn a_jump_requests_nothing() {
        let mut log = LossLog::default();
        let now = Instant::now();
        log.received(0, now);
        log.received(20_000, now);
        assert!(log.due(now + REORDERING).is_empty());
        log.received(20_002, now);
        assert_eq!(log.due(now + REORDERING), [20_001]);
        log.received(3, now);
        log.received(5, now);
        assert_eq!(log.due(now + REORDERING), [4]);
    }

    proptest! {
        #[test]
        fn no_order_panics_nor_grows(sequences in proptest::collection::vec(any::<u16>(), 0..600)) {
            let mut log = LossLog::default();
            let now = Instant::now();
            for (nth, sequence) in sequences.into_iter().enumerate() {
                let now = now + Duration::from_millis(nth as u64);
                log.received(sequence, now);
                log.due(now);
                prop_assert!(log.missing.len() <= MOST_MISSING);
            }
        }
    }
}

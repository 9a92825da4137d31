//! Reordering of RTP packets by sequence number.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;

/// Time for a NACK and its retransmission; after it the packet counts as lost.
const PATIENCE: Duration = Duration::from_millis(250);
/// Maximum number of packets held behind a gap: 1.5 s of 4 Mb/s.
const MOST_HELD: usize = 768;
/// Minimum step back that means a restart of the sender rather than a late
/// packet (RFC 3550, appendix A.1).
const RESTART: i64 = 3000;

/// Fields of an RTP packet used here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RtpPacket {
    pub sequence: u16,
    /// Timestamp in ticks of 90 kHz.
    pub timestamp: u32,
    /// Last packet of its picture (marker).
    pub marker: bool,
    pub payload: Bytes,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Ordered {
    Packet(RtpPacket),
    /// Missing packets, at least one, that were given up.
    Gap,
}

#[derive(Debug, Default)]
pub struct Reorder {
    /// Next sequence number expected, never wrapping.
    next: Option<i64>,
    held: BTreeMap<i64, RtpPacket>,
    gap_since: Option<Instant>,
}

impl Reorder {
    /// Adds a packet and returns those in order now. Duplicates and late
    /// packets are dropped.
    pub fn push(&mut self, packet: RtpPacket, now: Instant) -> Vec<Ordered> {
        let mut out = Vec::new();
        let mut next = *self.next.get_or_insert(i64::from(packet.sequence));
        // Truncation keeps the 16 bits that count.
        let step = i64::from(packet.sequence.wrapping_sub(next as u16) as i16);
        if step < -RESTART {
            self.held.clear();
            self.gap_since = None;
            next = i64::from(packet.sequence);
            out.push(Ordered::Gap);
            self.held.insert(next, packet);
        } else if step >= 0 {
            self.held.insert(next + step, packet);
        }
        self.release(&mut next, &mut out);
        self.next = Some(next);
        self.give_up(now, &mut out);
        out
    }

    /// Gives up missing packets that are overdue while no packet arrives;
    /// returns those behind them.
    pub fn overdue(&mut self, now: Instant) -> Vec<Ordered> {
        let mut out = Vec::new();
        self.give_up(now, &mut out);
        out
    }

    fn give_up(&mut self, now: Instant, out: &mut Vec<Ordered>) {
        while let Some((&first, _)) = self.held.first_key_value() {
            let since = *self.gap_since.get_or_insert(now);
            if self.held.len() <= MOST_HELD && now.duration_since(since) < PATIENCE {
                break;
            }
            out.push(Ordered::Gap);
            let mut next = first;
            self.release(&mut next, out);
            self.next = Some(next);
        }
    }

    fn release(&mut self, next: &mut i64, out: &mut Vec<Ordered>) {
        while let Some(packet) = self.held.remove(next) {
            out.push(Ordered::Packet(packet));
            *next += 1;
            // A remaining gap exists since now.
            self.gap_since = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packet(sequence: u16) -> RtpPacket {
        RtpPacket {
            sequence,
            timestamp: 0,
            marker: false,
            payload: Bytes::new(),
        }
    }

    /// Next in order; `None` for a gap.
    fn feed(reorder: &mut Reorder, sequence: u16, now: Instant) -> Vec<Option<u16>> {
        let out = reorder.push(packet(sequence), now);
        out.iter()
            .map(|ordered| match ordered {
                Ordered::Packet(packet) => Some(packet.sequence),
                Ordered::Gap => None,
            })
            .collect()
    }

    #[test]
    fn a_retransmission_fills_its_gap_and_a_loss_is_given_up() {
        let mut reorder = Reorder::default();
        let start = Instant::now();
        let late = start + PATIENCE;
        assert_eq!(feed(&mut reorder, 65_534, start), [Some(65_534)]);
        assert_eq!(feed(&mut reorder, 0, start), []);
        assert_eq!(feed(&mut reorder, 0, start), []);
        assert_eq!(feed(&mut reorder, 65_535, start), [Some(65_535), Some(0)]);
        assert_eq!(feed(&mut reorder, 65_535, start), []);
        assert_eq!(feed(&mut reorder, 2, start), []);
        assert_eq!(feed(&mut reorder, 3, late), [None, Some(2), Some(3)]);
        assert_eq!(feed(&mut reorder, 1, late), []);
        assert_eq!(feed(&mut reorder, 5, late), []);
        assert_eq!(reorder.overdue(late), []);
        let packets = reorder.overdue(late + PATIENCE);
        assert_eq!(packets, [Ordered::Gap, Ordered::Packet(packet(5))]);
    }

    #[test]
    fn a_sender_that_begins_anew_is_followed() {
        let mut reorder = Reorder::default();
        let now = Instant::now();
        feed(&mut reorder, 20_000, now);
        assert_eq!(feed(&mut reorder, 7, now), [None, Some(7)]);
        assert_eq!(feed(&mut reorder, 8, now), [Some(8)]);
    }

    #[test]
    fn what_is_held_is_bounded() {
        let mut reorder = Reorder::default();
        let now = Instant::now();
        feed(&mut reorder, 0, now);
        for sequence in 2..5000 {
            feed(&mut reorder, sequence, now);
            assert!(reorder.held.len() <= MOST_HELD);
        }
    }

    proptest! {
        #[test]
        fn any_near_order_comes_out_sorted(
            first in any::<u16>(),
            keys in proptest::collection::vec(0_u8..20, 1..200),
        ) {
            let mut order: Vec<_> = (0..keys.len()).collect();
            order.sort_by_key(|&nth| nth + usize::from(keys[nth]));
            // The first packet sets the start.
            order.retain(|&nth| nth != 0);
            order.insert(0, 0);
            let mut reorder = Reorder::default();
            let now = Instant::now();
            let mut out = Vec::new();
            for nth in order {
                out.extend(feed(&mut reorder, first.wrapping_add(nth as u16), now));
            }
            let sent: Vec<_> = (0..keys.len())
                .map(|nth| Some(first.wrapping_add(nth as u16)))
                .collect();
            prop_assert_eq!(out, sent);
        }

        #[test]
        fn no_order_panics_nor_repeats(sequences in proptest::collection::vec(any::<u16>(), 0..400)) {
            let mut reorder = Reorder::default();
            let now = Instant::now();
            for (nth, sequence) in sequences.into_iter().enumerate() {
                feed(&mut reorder, sequence, now + Duration::from_millis(nth as u64));
            }
        }
    }
}

//! Retransmission of packets: to repair a loss, and to fill a probe.

use std::sync::Arc;
use std::time::Instant;

use watchtower_transport::gso_batch::GsoBatch;

use super::{RenditionCaches, SendRound, Viewer};
use crate::packet_cache::PacketCache;

/// Number of the newest packets that a probe repeats.
const PADDING: u64 = 64;
/// Maximum number of retransmitted packets remembered, each for a round trip.
const ANSWERED: usize = 1024;

impl Viewer {
    /// Retransmits packets that were sent in this run: each once in a round
    /// trip, and no more than a share of what is sent. Returns their number.
    pub(crate) fn retransmit(
        &mut self,
        missing: &[u16],
        caches: RenditionCaches<'_>,
        batch: &mut GsoBatch<'_>,
        now: Instant,
    ) -> u64 {
        let rate = caches.full.sustained(now);
        self.refill(rate, now);
        let history = caches.get(self.tier);
        let pause = self.link.round_trip();
        while let Some((_, at)) = self.answered.front()
            && (now.saturating_duration_since(*at) >= pause || self.answered.len() > ANSWERED)
        {
            self.answered.pop_front();
        }
        let mut count = 0;
        for sequence in missing {
            let Some(index) = self.index(*sequence) else {
                continue;
            };
            self.link.lost(index, now);
            if self.repairs.tokens() < 0.0 || self.answered.iter().any(|(known, _)| *known == index)
            {
                continue;
            }
            if let Some((frame, offset)) = self.shared_index(index).and_then(|i| history.find(i)) {
                let frame = Arc::clone(frame);
                let Ok((_, bytes)) = self.send(&frame, offset, 1, batch) else {
                    break;
                };
                self.repairs.spend(bytes as f64);
                self.allowance.spend(bytes as f64);
                self.answered.push_back((index, now));
                count += 1;
            }
        }
        count
    }

    /// Fills up to the pace with retransmissions, which probe the link like new
    /// packets and are discarded by the receiver.
    pub(super) fn pad(
        &mut self,
        history: &PacketCache,
        batch: &mut GsoBatch<'_>,
        sent: &mut SendRound,
    ) {
        let Some(newest) = self.video.next.checked_sub(1) else {
            return;
        };
        while self.allowance.tokens() > 0.0 {
            let lowest = self.run.base.max(newest.saturating_sub(PADDING));
            let index = if (lowest..=newest).contains(&self.padding) {
                self.padding
            } else {
                lowest
            };
            self.padding = index + 1;
            let Some((frame, offset)) = self.shared_index(index).and_then(|i| history.find(i))
            else {
                return;
            };
            let frame = Arc::clone(frame);
            let Ok((_, bytes)) = self.send(&frame, offset, 1, batch) else {
                return;
            };
            self.allowance.spend(bytes.max(1) as f64);
            sent.packets += 1;
            sent.bytes += bytes as u64;
        }
    }

    /// Index of the newest packet sent under that sequence number.
    fn index(&self, sequence: u16) -> Option<u64> {
        let newest = self.video.next.checked_sub(1)?;
        // The low half, which is the sequence number.
        let back = (newest as u16).wrapping_sub(sequence);
        newest.checked_sub(u64::from(back))
    }
}

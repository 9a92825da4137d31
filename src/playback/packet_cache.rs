//! Cache of the packets of a stream's last pictures: for the start of new
//! viewers, retransmissions, and replays after picture loss.
//!
//! Bounded in bytes and pictures, even without keyframes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use watchtower_transport::packetizer::Packet;

/// Maximum bytes of the current group of pictures; its payload is mostly shared
/// with the stream hub's window of the same size.
const MOST_BYTES: usize = 8 << 20;
/// Maximum number of pictures: at 30 a second, OBS' default group of 250 fits
/// four times.
const MOST_PARCELS: usize = 1024;
/// Retention beyond the current group: a viewer's NACK comes within a round
/// trip or two, and a group may just have begun.
const LOOK_BACK: Duration = Duration::from_secs(1);

/// Maximum bytes of a group that a viewer starts with: a third of a second at
/// the viewers' pace. Its decoder catches up with the compressed timestamps in
/// well under a second, however long the group lasted.
const MOST_AT_ONCE: usize = 4 << 20;

/// Averaging time of a stream's rate, which evens keyframes out.
const RATE_OVER: Duration = Duration::from_secs(5);
const RATE_STEP: Duration = Duration::from_millis(500);

/// Packets of one picture.
#[derive(Debug)]
pub(super) struct PacketizedFrame {
    /// Picture counter.
    pub(super) number: u64,
    /// Packet counter: the index of the first of `packets`.
    pub(super) first: u64,
    /// RTP time, 90 kHz.
    pub(super) time: u32,
    pub(super) packets: Vec<Packet>,
    pub(super) bytes: usize,
    pub(super) at: Instant,
}

impl PacketizedFrame {
    /// Index after its last packet.
    pub(super) fn end(&self) -> u64 {
        self.first + self.packets.len() as u64
    }
}

#[derive(Debug, Default)]
pub(super) struct PacketCache {
    parcels: VecDeque<Arc<PacketizedFrame>>,
    bytes: usize,
    next_number: u64,
    next_index: u64,
    /// Newest keyframe, kept even if its group was evicted, as a still picture.
    keyframe: Option<Arc<PacketizedFrame>>,
    /// Bytes since the keyframe, including it.
    group_bytes: usize,
    /// Bytes of the last seconds, in steps of half a second.
    recent_bytes: VecDeque<(Instant, usize)>,
}

impl PacketCache {
    /// Adds a picture, unless it has no packets.
    pub(super) fn push(&mut self, packets: Vec<Packet>, keyframe: bool, time: u32, at: Instant) {
        if packets.is_empty() {
            return;
        }
        let frame = PacketizedFrame {
            number: self.next_number,
            first: self.next_index,
            time,
            bytes: packets.iter().map(Packet::size).sum(),
            packets,
            at,
        };
        let frame = Arc::new(frame);
        if keyframe {
            self.keyframe = Some(Arc::clone(&frame));
            self.group_bytes = 0;
        }
        self.next_number += 1;
        self.next_index = frame.end();
        self.bytes += frame.bytes;
        self.group_bytes += frame.bytes;
        self.weigh(frame.bytes, at);
        self.parcels.push_back(frame);
        while self.is_too_long(at) {
            let Some(gone) = self.parcels.pop_front() else {
                break;
            };
            self.bytes -= gone.bytes;
        }
    }

    fn weigh(&mut self, bytes: usize, at: Instant) {
        match self.recent_bytes.back_mut() {
            Some((since, sum)) if at.saturating_duration_since(*since) < RATE_STEP => *sum += bytes,
            _ => self.recent_bytes.push_back((at, bytes)),
        }
        while let Some((oldest, _)) = self.recent_bytes.front()
            && at.saturating_duration_since(*oldest) > RATE_OVER
        {
            self.recent_bytes.pop_front();
        }
    }

    /// Average rate over some seconds, in bytes a second.
    pub(super) fn rate(&self, now: Instant) -> f64 {
        self.rate_over(2 * RATE_STEP, now)
    }

    /// Rate the stream is known to need, in bytes a second. For one that has
    /// just begun, with a keyframe and its encoder's initial burst, no more
    /// than that.
    pub(super) fn sustained(&self, now: Instant) -> f64 {
        self.rate_over(RATE_OVER - RATE_STEP, now)
    }

    fn rate_over(&self, least: Duration, now: Instant) -> f64 {
        let Some((oldest, _)) = self.recent_bytes.front() else {
            return 0.0;
        };
        let span = now.saturating_duration_since(*oldest);
        let bytes: usize = self.recent_bytes.iter().map(|(_, bytes)| bytes).sum();
        bytes as f64 / span.clamp(least, RATE_OVER * 2).as_secs_f64()
    }

    pub(super) fn group_bytes(&self) -> usize {
        self.group_bytes
    }

    fn is_too_long(&self, now: Instant) -> bool {
        let Some(oldest) = self.parcels.front() else {
            return false;
        };
        let key = self.keyframe.as_ref();
        let needless = key.is_some_and(|key| oldest.number < key.number)
            && now.saturating_duration_since(oldest.at) > LOOK_BACK;
        needless
            || self.parcels.len() > MOST_PARCELS
            || self.bytes > MOST_BYTES && self.parcels.len() > 1
    }

    /// Ends the group before another publisher's pictures: no viewer starts at
    /// earlier ones any more.
    pub(super) fn end_group(&mut self) {
        self.keyframe = None;
        self.group_bytes = 0;
    }

    /// Number of the next picture.
    pub(super) fn next_number(&self) -> u64 {
        self.next_number
    }

    pub(super) fn newest(&self) -> Option<&Arc<PacketizedFrame>> {
        self.parcels.back()
    }

    pub(super) fn get(&self, number: u64) -> Option<&Arc<PacketizedFrame>> {
        let oldest = self.parcels.front()?.number;
        match number.checked_sub(oldest) {
            Some(offset) => self.parcels.get(usize::try_from(offset).ok()?),
            None => self.keyframe.as_ref().filter(|key| key.number == number),
        }
    }

    pub(super) fn keyframe(&self) -> Option<&Arc<PacketizedFrame>> {
        self.keyframe.as_ref()
    }

    /// True if everything since the keyframe is held and may be sent at once.
    pub(super) fn is_group_whole(&self) -> bool {
        let (Some(key), Some(oldest)) = (&self.keyframe, self.parcels.front()) else {
            return false;
        };
        oldest.number <= key.number && self.group_bytes <= MOST_AT_ONCE
    }

    /// Arrival time of the picture that a new viewer sees until the next
    /// keyframe; `None` if it starts at the live edge.
    pub(super) fn still_since(&self) -> Option<Instant> {
        let key = self.keyframe.as_ref().filter(|_| !self.is_group_whole())?;
        Some(key.at)
    }

    /// Picture of a packet, and the packet's offset in it.
    pub(super) fn find(&self, index: u64) -> Option<(&Arc<PacketizedFrame>, usize)> {
        let after = self.parcels.partition_point(|p| p.first <= index);
        let frame = match after.checked_sub(1) {
            Some(place) => self.parcels.get(place)?,
            None => self.keyframe.as_ref()?,
        };
        let offset = usize::try_from(index.checked_sub(frame.first)?).ok()?;
        (offset < frame.packets.len()).then_some((frame, offset))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn packets(count: usize, size: usize) -> Vec<Packet> {
        let body = Bytes::from(vec![1; size]);
        (1..=count)
            .map(|n| Packet::whole(body.clone(), n == count))
            .collect()
    }

    #[test]
    fn a_packet_is_found_by_its_index() {
        let mut history = PacketCache::default();
        let now = Instant::now();
        for picture in 0..10 {
            history.push(packets(3, 10), picture % 4 == 0, 0, now);
        }
        let (frame, offset) = history.find(7).expect("kept");
        assert_eq!((frame.number, offset), (2, 1));
        assert!(history.find(30).is_none());
        assert_eq!(history.keyframe().expect("kept").number, 8);
    }

    #[test]
    fn it_is_bounded_though_no_keyframe_ever_comes() {
        let mut history = PacketCache::default();
        let now = Instant::now();
        history.push(packets(1, 10), true, 0, now);
        for _ in 0..5000 {
            history.push(packets(10, 1000), false, 0, now);
        }
        assert!(history.bytes <= MOST_BYTES && history.parcels.len() <= MOST_PARCELS);
        // Of its group only the keyframe is left.
        assert!(!history.is_group_whole());
        assert_eq!(history.keyframe().expect("kept").number, 0);
        assert!(history.get(0).is_some() && history.get(1).is_none());
        assert!(history.find(0).is_some() && history.find(1).is_none());
    }

    #[test]
    fn no_viewer_begins_before_a_change_of_publisher() {
        let mut history = PacketCache::default();
        let now = Instant::now();
        history.push(packets(1, 10), true, 0, now);
        history.push(packets(1, 10), false, 0, now);
        history.end_group();
        assert!(history.keyframe().is_none() && !history.is_group_whole());
        // Packets in flight can still be retransmitted.
        assert!(history.find(1).is_some());
        history.push(packets(1, 10), true, 0, now);
        assert_eq!(history.keyframe().expect("kept").number, 2);
        assert!(history.is_group_whole());
    }

    #[test]
    fn what_lies_before_the_group_goes_after_a_while() {
        let mut history = PacketCache::default();
        let start = Instant::now();
        for picture in 0..100u64 {
            let at = start + Duration::from_millis(40 * picture);
            history.push(packets(1, 10), picture == 0 || picture == 90, 0, at);
        }
        assert!(history.get(60).is_none());
        assert!(history.get(80).is_some());
    }
}

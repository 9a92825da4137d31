//! Tracks of a publisher: packets to units.

use std::time::Instant;

use bytes::Bytes;

use watchtower_media::codec::opus;
use watchtower_media::{AccessUnit, AudioCodec, AudioUnit, MediaTime};
use watchtower_transport::depacketizer::RtpTimeUnwrapper;
use watchtower_transport::offer::publish::PublishCodec;
use watchtower_transport::reception::ReceivedRtp;
use watchtower_transport::reorder::{Ordered, Reorder};
use watchtower_transport::video_depacketizer::VideoDepacketizer;

use super::clock::ArrivalClock;

/// Video track: packets to access units.
pub(super) struct VideoIntake {
    began: Instant,
    source: Option<u32>,
    reorder: Reorder,
    depacketizer: VideoDepacketizer,
    clock: ArrivalClock,
    /// A picture was received.
    begun: bool,
}

impl VideoIntake {
    pub(super) fn new(codec: PublishCodec, began: Instant) -> Self {
        Self {
            began,
            source: None,
            reorder: Reorder::default(),
            depacketizer: VideoDepacketizer::new(codec),
            clock: ArrivalClock::default(),
            begun: false,
        }
    }

    pub(super) fn push(&mut self, received: ReceivedRtp) -> Vec<AccessUnit> {
        let mut ordered = Vec::new();
        if self.source.replace(received.source) != Some(received.source) {
            self.reorder = Reorder::default();
            ordered.push(Ordered::Gap);
        }
        ordered.extend(self.reorder.push(received.packet, received.at));
        self.units(ordered, received.at)
    }

    /// True once a picture was received.
    pub(super) fn has_begun(&self) -> bool {
        self.begun
    }

    /// True if a keyframe is awaited.
    pub(super) fn needs_keyframe(&self) -> bool {
        self.depacketizer.needs_keyframe()
    }

    /// Number of pictures left out since the last call.
    pub(super) fn take_left_out(&mut self) -> u64 {
        self.depacketizer.take_left_out()
    }

    /// Pictures behind packets that are given up.
    pub(super) fn overdue(&mut self, now: Instant) -> Vec<AccessUnit> {
        let ordered = self.reorder.overdue(now);
        self.units(ordered, now)
    }

    fn units(&mut self, ordered: Vec<Ordered>, now: Instant) -> Vec<AccessUnit> {
        let mut units = Vec::new();
        for ordered in ordered {
            let done = self.depacketizer.push(ordered);
            units.extend(done.into_iter().flatten());
        }
        let arrived = now.saturating_duration_since(self.began);
        for unit in &mut units {
            unit.pts = self.clock.at(unit.pts, arrived);
            unit.dts = unit.pts;
        }
        self.begun |= !units.is_empty();
        units
    }
}

/// Audio track of Opus (RFC 7587): a packet of RTP is a packet of Opus.
pub(super) struct AudioIntake {
    began: Instant,
    source: Option<u32>,
    reorder: Reorder,
    time: RtpTimeUnwrapper,
    clock: ArrivalClock,
}

impl AudioIntake {
    pub(super) fn new(began: Instant) -> Self {
        Self {
            began,
            source: None,
            reorder: Reorder::default(),
            time: RtpTimeUnwrapper::default(),
            clock: ArrivalClock::default(),
        }
    }

    pub(super) fn push(&mut self, received: ReceivedRtp) -> Vec<AudioUnit> {
        if self.source.replace(received.source) != Some(received.source) {
            self.reorder = Reorder::default();
        }
        let ordered = self.reorder.push(received.packet, received.at);
        self.units(ordered, received.at)
    }

    /// Sound behind packets that are given up.
    pub(super) fn overdue(&mut self, now: Instant) -> Vec<AudioUnit> {
        let ordered = self.reorder.overdue(now);
        self.units(ordered, now)
    }

    fn units(&mut self, ordered: Vec<Ordered>, now: Instant) -> Vec<AudioUnit> {
        let arrived = now.saturating_duration_since(self.began);
        let packets = ordered.into_iter().filter_map(|ordered| match ordered {
            Ordered::Packet(packet) => Some(packet),
            Ordered::Gap => None,
        });
        let valid = packets.filter(|packet| opus::duration(&packet.payload).is_ok());
        let units = valid.map(|packet| {
            // Opus' clock is 48 kHz (RFC 7587, section 4.1).
            let MediaTime(samples) = self.time.unwrap(packet.timestamp);
            let own = MediaTime(samples.saturating_mul(15) / 8);
            AudioUnit {
                pts: self.clock.at(own, arrived),
                codec: AudioCodec::Opus,
                config: Bytes::new(),
                data: packet.payload,
            }
        });
        units.collect()
    }
}

#[cfg(test)]
mod tests;

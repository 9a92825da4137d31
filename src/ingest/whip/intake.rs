//! Tracks of a publisher: packets to units.

use std::time::Instant;

use watchtower_media::AccessUnit;
use watchtower_transport::depacketizer::Depacketizer;
use watchtower_transport::reception::ReceivedRtp;
use watchtower_transport::reorder::{Ordered, Reorder};

use super::clock::ArrivalClock;

/// Video track: packets to access units.
pub(super) struct VideoIntake {
    began: Instant,
    source: Option<u32>,
    reorder: Reorder,
    depacketizer: Depacketizer,
    clock: ArrivalClock,
    /// A picture was received.
    begun: bool,
}

impl VideoIntake {
    pub(super) fn new(began: Instant) -> Self {
        Self {
            began,
            source: None,
            reorder: Reorder::default(),
            depacketizer: Depacketizer::default(),
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

#[cfg(test)]
mod tests;

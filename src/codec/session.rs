//! Decoding of one stream without thread or clock: units and times in, pictures
//! out to the frame bus.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use watchtower_base::log_limit::LogLimit;
use watchtower_media::AccessUnit;
use watchtower_screen::frames::FramePublisher;

use super::convert::{self, Converter};
use super::video::{Decoded, VideoDecoder};
use crate::decode_policy::{DecodeMode, DecodePolicy, UnitArrival};
use crate::metrics::CodecMetrics;

/// Maximum interval between two pictures on the bus, so that the console's
/// preview stays live.
const SLOWEST_SAMPLE: Duration = Duration::from_secs(1);
/// Minimum interval, whatever the analysts' settings.
const FASTEST_SAMPLE: Duration = Duration::from_millis(100);
/// Maximum units held back since the last keyframe: 68 s at 30 pictures a
/// second. Beyond this, or these bytes, decoding continues in full mode.
const HELD_UNITS: usize = 2048;
const HELD_BYTES: usize = 8 << 20;
/// Time for which pictures after a broken one are discarded, unless a keyframe
/// comes first. Streams without keyframes have been refreshed by then.
const DISCARD_FOR: Duration = Duration::from_secs(10);
/// Consecutive decoding failures after which the decoder is reopened.
const REOPEN_AFTER: u32 = 8;

/// Current time, monotonic and wall clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    pub(super) at: Instant,
    pub(super) wall: Timestamp,
}

impl Now {
    pub(super) fn read() -> Self {
        Self {
            at: Instant::now(),
            wall: Timestamp::now(),
        }
    }
}

pub(super) struct DecodeSession {
    frames: FramePublisher,
    metrics: Arc<CodecMetrics>,
    converter: Converter,
    decoder: Option<VideoDecoder>,
    policy: DecodePolicy,
    /// Units since the last keyframe, including it; empty in full mode.
    held: VecDeque<HeldUnit>,
    held_bytes: usize,
    /// Newest picture that has not been published.
    pending: Option<Pending>,
    published: Option<Instant>,
    /// Decoding has to wait for a keyframe.
    awaits_keyframe: bool,
    broken_since: Option<Instant>,
    /// Consecutive failures since the last good picture.
    failures: u32,
    log_limit: LogLimit,
}

#[derive(Clone)]
struct HeldUnit {
    unit: AccessUnit,
    wall: Timestamp,
}

enum Pending {
    /// Keyframe that is not decoded yet.
    Keyframe(HeldUnit),
    Picture(Decoded),
}

impl DecodeSession {
    pub(super) fn new(frames: FramePublisher, metrics: Arc<CodecMetrics>) -> Self {
        Self {
            frames,
            metrics,
            converter: Converter::default(),
            decoder: None,
            policy: DecodePolicy::default(),
            held: VecDeque::new(),
            held_bytes: 0,
            pending: None,
            published: None,
            awaits_keyframe: true,
            broken_since: None,
            failures: 0,
            log_limit: LogLimit::default(),
        }
    }

    pub(super) fn unit(&mut self, unit: AccessUnit, now: Now, fastest: Duration) {
        // New parameter sets between keyframes are sent along with the units;
        // the decoder and its reference pictures stay.
        let changed = self.decoder.as_ref().is_some_and(|d| !d.fits(&unit.config));
        if changed && unit.keyframe {
            self.leave(now);
        }
        if unit.keyframe {
            self.keyframe(unit, now, fastest);
        } else if !self.awaits_keyframe {
            self.other(unit, now, fastest);
        }
        self.publish_due(now, fastest);
    }

    /// Handles lost units; the next one is a keyframe.
    pub(super) fn lost(&mut self, count: u64, now: Now) {
        self.metrics.decoder_dropped.inc_by(count);
        if let Some(held) = self.log_limit.admit_at(now.at) {
            tracing::warn!("decoder backlog: {count} units dropped{held}");
        }
        if let Some(decoder) = &mut self.decoder {
            decoder.flush();
        }
        self.release();
        self.policy.interrupted();
        self.awaits_keyframe = true;
    }

    /// Handles a change of publisher, whose first unit is a keyframe; pictures
    /// left in the decoder are published first.
    pub(super) fn restarted(&mut self, now: Now) {
        self.leave(now);
        self.policy.interrupted();
    }

    /// Deadline of [`DecodeSession::publish_due`], should no unit arrive
    /// before.
    pub(super) fn due(&self, fastest: Duration) -> Option<Instant> {
        let pending = self.pending.as_ref().and(self.published);
        let publish = pending.map(|published| published + sample_period(fastest));
        [publish, self.catch_up_due(fastest)]
            .into_iter()
            .flatten()
            .min()
    }

    /// Time at which units held back are decoded though none follows: a screen
    /// that comes as it changes may stay as it is.
    fn catch_up_due(&self, fastest: Duration) -> Option<Instant> {
        // The first is the keyframe.
        let held = self.held.len() > 1;
        self.policy.overdue_at(fastest).filter(|_| held)
    }

    pub(super) fn publish_due(&mut self, now: Now, fastest: Duration) {
        if self.catch_up_due(fastest).is_some_and(|due| due <= now.at) {
            self.policy.keyframes_too_rare();
            self.catch_up(now);
        }
        if self.pending.is_some() && self.sample_due(now, fastest) {
            self.publish_pending(now);
        }
    }

    fn sample_due(&self, now: Now, fastest: Duration) -> bool {
        self.published
            .is_none_or(|last| now.at >= last + sample_period(fastest))
    }

    fn keyframe(&mut self, unit: AccessUnit, now: Now, fastest: Duration) {
        if !self.open(&unit, now) {
            return;
        }
        let was = self.policy.mode();
        let moment = UnitArrival {
            dts: unit.dts,
            at: now.at,
        };
        match self.policy.keyframe(moment, fastest) {
            DecodeMode::Full => {
                self.release();
                self.decode(&unit, now.wall, now, false);
            }
            DecodeMode::Keyframes => {
                if was == DecodeMode::Full {
                    self.drain(now);
                }
                self.release();
                let held = HeldUnit {
                    unit,
                    wall: now.wall,
                };
                self.pending = Some(Pending::Keyframe(held.clone()));
                self.hold(held);
            }
        }
    }

    fn other(&mut self, unit: AccessUnit, now: Now, fastest: Duration) {
        let was = self.policy.mode();
        let moment = UnitArrival {
            dts: unit.dts,
            at: now.at,
        };
        let mut mode = self.policy.other(moment, fastest);
        let full = self.held.len() >= HELD_UNITS || self.held_bytes >= HELD_BYTES;
        if mode == DecodeMode::Keyframes && full {
            self.policy.keyframes_too_rare();
            mode = DecodeMode::Full;
        }
        match mode {
            DecodeMode::Keyframes => self.hold(HeldUnit {
                unit,
                wall: now.wall,
            }),
            DecodeMode::Full => {
                if was == DecodeMode::Keyframes {
                    self.catch_up(now);
                }
                let skip = !self.sample_due(now, fastest);
                self.decode(&unit, now.wall, now, skip);
            }
        }
    }

    fn hold(&mut self, held: HeldUnit) {
        self.held_bytes += held.unit.data.len();
        self.held.push_back(held);
    }

    fn release(&mut self) {
        self.held.clear();
        self.held_bytes = 0;
    }

    /// Decodes the units held back; only the newest picture is kept.
    fn catch_up(&mut self, now: Now) {
        if let Some(decoder) = &mut self.decoder {
            decoder.flush();
        }
        self.held_bytes = 0;
        let mut held = std::mem::take(&mut self.held);
        while let Some(HeldUnit { unit, wall }) = held.pop_front() {
            let skip = !held.is_empty();
            self.decode(&unit, wall, now, skip);
        }
    }

    /// Ensures that a decoder for the keyframe's configuration is open; false
    /// if it failed.
    fn open(&mut self, unit: &AccessUnit, now: Now) -> bool {
        let config = &unit.config;
        if self.failures >= REOPEN_AFTER {
            self.decoder = None;
            self.failures = 0;
        }
        if self.decoder.is_none() {
            self.awaits_keyframe = true;
            if !convert::fits(config.width, config.height) {
                self.broken(now, || {
                    let (width, height) = (config.width, config.height);
                    format!("a picture of {width}x{height} is too large to analyse")
                });
                return false;
            }
            match VideoDecoder::open(config) {
                Ok(decoder) => self.decoder = Some(decoder),
                Err(error) => {
                    self.broken(now, || format!("failed to open a decoder: {error}"));
                    return false;
                }
            }
        }
        self.awaits_keyframe = false;
        true
    }

    /// Closes the decoder on a change of configuration, after taking its
    /// remaining pictures.
    fn leave(&mut self, now: Now) {
        match self.pending {
            Some(Pending::Keyframe(_)) => self.publish_pending(now),
            Some(Pending::Picture(_)) | None => self.drain(now),
        }
        self.decoder = None;
        self.release();
        self.awaits_keyframe = true;
        self.broken_since = None;
        self.failures = 0;
    }

    fn decode(&mut self, unit: &AccessUnit, wall: Timestamp, now: Now, skip: bool) {
        let Some(decoder) = &mut self.decoder else {
            return;
        };
        decoder.skip_unreferenced(skip);
        if let Err(error) = decoder.send(unit, wall) {
            self.broken(now, || format!("failed to decode a picture: {error}"));
        }
        self.take_pictures(now);
    }

    /// Takes the pictures that the decoder holds back for reordering.
    fn drain(&mut self, now: Now) {
        if let Some(decoder) = &mut self.decoder
            && decoder.drain().is_ok()
        {
            self.take_pictures(now);
        }
        if let Some(decoder) = &mut self.decoder {
            decoder.flush();
        }
    }

    fn take_pictures(&mut self, now: Now) {
        while let Some(decoder) = &mut self.decoder {
            match decoder.receive() {
                Ok(Some(picture)) => self.offer(picture, now),
                Ok(None) => return,
                Err(error) => {
                    self.broken(now, || format!("failed to decode a picture: {error}"));
                    return;
                }
            }
        }
    }

    fn offer(&mut self, picture: Decoded, now: Now) {
        if picture.damaged {
            self.broken(now, || "part of a picture is missing".to_owned());
            return;
        }
        self.metrics.frames.inc();
        self.failures = 0;
        if picture.frame.is_key() {
            self.broken_since = None;
        }
        let discards = self
            .broken_since
            .is_some_and(|since| now.at.duration_since(since) < DISCARD_FOR);
        if !discards {
            self.pending = Some(Pending::Picture(picture));
        }
    }

    fn publish_pending(&mut self, now: Now) {
        if let Some(Pending::Keyframe(_)) = &self.pending
            && let Some(Pending::Keyframe(held)) = self.pending.take()
        {
            self.decode(&held.unit, held.wall, now, false);
            self.drain(now);
        }
        let Some(Pending::Picture(decoded)) = self.pending.take() else {
            return;
        };
        match self.converter.convert(&decoded.frame) {
            Ok(picture) => {
                self.frames
                    .publish(picture, decoded.pts, decoded.captured_at);
                self.published = Some(now.at);
            }
            Err(error) => self.broken(now, || error.to_string()),
        }
    }

    fn broken(&mut self, now: Now, why: impl FnOnce() -> String) {
        self.metrics.broken_pictures.inc();
        self.failures = self.failures.saturating_add(1);
        self.broken_since.get_or_insert(now.at);
        if let Some(held) = self.log_limit.admit_at(now.at) {
            tracing::warn!("{}{held}", why());
        }
    }
}

fn sample_period(fastest: Duration) -> Duration {
    (fastest / 2).clamp(FASTEST_SAMPLE, SLOWEST_SAMPLE)
}

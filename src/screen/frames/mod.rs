//! Bus between decoders and the consumers of frames.
//!
//! Per live stream the bus holds the newest frame and the last few with OCR;
//! consumers take the newest and skip the rest. Each frame has a `generation`,
//! which only changes with the picture, and after OCR a `scene`, which only
//! changes with the content, so that no screen is analysed twice.

mod gate;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use gate::ChangeGate;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

use watchtower_base::stream_name::StreamName;
use watchtower_base::sync::Locked as _;
use watchtower_media::MediaTime;

use crate::frame::Frame;
use crate::picture::{EncodeJpeg, Picture};

/// Frames with OCR kept per stream: OCR takes seconds, and three frames span an
/// analysis.
const READS_KEPT: usize = 3;
/// Maximum ended streams whose frame counter is remembered.
const NAMES_KEPT: usize = 1024;
/// Age of a picture at the end of its OCR from which it is late.
const LATE: SignedDuration = SignedDuration::from_secs(3);
/// Maximum unread generations of a stream with known times: at two a second
/// more than a minute, after which OCR is behind in any case.
const UNREAD_KEPT: usize = 128;

/// Frames of all live streams. Cheap to clone.
#[derive(Debug, Clone)]
pub struct FrameBus {
    inner: Arc<Bus>,
}

#[derive(Debug)]
struct Bus {
    slots: Mutex<HashMap<StreamName, Slot>>,
    /// Live streams without a consumer, which are not decoded.
    idle: Mutex<HashSet<StreamName>>,
    /// True if OCR is on.
    reading: AtomicBool,
    /// Counts frames, OCR results, starts and ends of streams.
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Slot {
    /// Decoders of this slot: two for a moment during a handover.
    publishers: usize,
    frames: u64,
    newest: Option<Arc<Frame>>,
    reads: VecDeque<Arc<Frame>>,
    /// Generations not read yet, oldest first, each with the time the change
    /// was first seen.
    unread: VecDeque<(u64, Timestamp)>,
    /// Time of the newest generation, as above, and of the newest frame.
    changed_at: Option<Timestamp>,
    sampled_at: Option<Timestamp>,
    /// Time of the first frame whose OCR was late or partial, if no later one
    /// has caught up.
    behind_since: Option<Timestamp>,
    /// Arrival of the last frame read, if newer ones had arrived by the end of
    /// its OCR.
    outrun_at: Option<Timestamp>,
}

impl Slot {
    /// Time of the oldest unread change.
    fn unread_since(&self) -> Option<Timestamp> {
        self.unread.front().map(|(_, since)| *since)
    }

    /// Records the generation of a new frame, and returns when it was first
    /// seen: a change of a part counts at its second sample, one of the whole
    /// picture at its first.
    fn note_generation(&mut self, frame: &Frame) -> Timestamp {
        let before = self.sampled_at.replace(frame.captured_at);
        let known = self.changed_at.filter(|_| frame.generation != frame.seq);
        if let Some(known) = known {
            return known;
        }
        let in_part = frame.changes.whole != frame.seq;
        let first = before.filter(|before| in_part && *before <= frame.captured_at);
        let since = first.unwrap_or(frame.captured_at);
        self.changed_at = Some(since);
        let full = self.unread.len() >= UNREAD_KEPT;
        match self.unread.back_mut().filter(|_| full) {
            Some((generation, _)) => *generation = frame.generation,
            None => self.unread.push_back((frame.generation, since)),
        }
        since
    }
}

impl Default for FrameBus {
    fn default() -> Self {
        Self::new()
    }
}

impl FrameBus {
    pub fn new() -> Self {
        let inner = Bus {
            slots: Mutex::default(),
            idle: Mutex::default(),
            reading: AtomicBool::new(false),
            changes: watch::Sender::new(0),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Opens a stream's slot on the bus, for its decoder.
    pub fn open(&self, stream: &StreamName, encode: EncodeJpeg) -> FramePublisher {
        let mut slots = self.inner.slots.locked();
        if slots.len() >= NAMES_KEPT {
            slots.retain(|_, slot| slot.publishers > 0);
        }
        slots.entry(stream.clone()).or_default().publishers += 1;
        drop(slots);
        self.note_change();
        FramePublisher {
            bus: self.clone(),
            stream: stream.clone(),
            encode,
            gate: ChangeGate::new(),
        }
    }

    /// Live streams, by name.
    pub fn live(&self) -> Vec<StreamName> {
        let slots = self.inner.slots.locked();
        let live = slots.iter().filter(|(_, slot)| slot.publishers > 0);
        let mut names: Vec<_> = live.map(|(name, _)| name.clone()).collect();
        names.sort();
        names
    }

    /// Newest frame of a live stream.
    pub fn newest(&self, stream: &StreamName) -> Option<Arc<Frame>> {
        self.inner.slots.locked().get(stream)?.newest.clone()
    }

    /// Frames of a live stream with OCR, newer than `seq`, oldest first; at
    /// most the last three.
    pub fn reads_after(&self, stream: &StreamName, seq: Option<u64>) -> Vec<Arc<Frame>> {
        let slots = self.inner.slots.locked();
        let reads = slots.get(stream).into_iter().flat_map(|slot| &slot.reads);
        reads
            .filter(|frame| seq.is_none_or(|seq| frame.seq > seq))
            .cloned()
            .collect()
    }

    /// Replaces the set of streams that are not decoded for lack of a consumer.
    pub fn set_idle(&self, streams: impl Iterator<Item = StreamName>) {
        *self.inner.idle.locked() = streams.collect();
    }

    /// True if the stream is not decoded for lack of a consumer.
    pub fn is_idle(&self, stream: &StreamName) -> bool {
        self.inner.idle.locked().contains(stream)
    }

    /// Announces that OCR is on: from now on analysts wait for frames with OCR.
    pub fn expect_reading(&self) {
        self.inner.reading.store(true, Ordering::Relaxed);
    }

    /// True if OCR is on.
    pub fn is_read(&self) -> bool {
        self.inner.reading.load(Ordering::Relaxed)
    }

    /// Frame of a live stream for analysis: the newest with OCR where it is on,
    /// else the newest.
    pub fn to_look_at(&self, stream: &StreamName) -> Option<Arc<Frame>> {
        let slots = self.inner.slots.locked();
        let slot = slots.get(stream)?;
        if self.is_read() {
            slot.reads.back().cloned()
        } else {
            slot.newest.clone()
        }
    }

    /// Time since which a live stream has shown content without OCR.
    pub fn unread_since(&self, stream: &StreamName) -> Option<Timestamp> {
        self.inner.slots.locked().get(stream)?.unread_since()
    }

    /// Time since which OCR of a live stream has lagged: the current content is
    /// unread, or each OCR run is late or partial.
    pub fn behind_since(&self, stream: &StreamName) -> Option<Timestamp> {
        let slots = self.inner.slots.locked();
        let slot = slots.get(stream)?;
        let known = [slot.unread_since(), slot.behind_since];
        known.into_iter().flatten().min()
    }

    /// Publishes a frame with its OCR text.
    pub fn publish_read(&self, frame: Arc<Frame>) {
        self.publish_reading(frame, true);
    }

    /// Publishes a frame with `all` or a part of its OCR text; true for the
    /// first partial one.
    pub fn publish_reading(&self, frame: Arc<Frame>, all: bool) -> bool {
        let began;
        {
            let mut slots = self.inner.slots.locked();
            // Too late: the stream has ended meanwhile.
            let Some(slot) = slots
                .get_mut(&frame.stream)
                .filter(|slot| slot.publishers > 0)
            else {
                return false;
            };
            let newest = slot.newest.as_ref().map(|newest| newest.changes.newest());
            let caught_up = newest.is_none_or(|generation| generation <= frame.changes.newest());
            let late = slot
                .newest
                .as_ref()
                .is_some_and(|newest| newest.captured_at.duration_since(frame.captured_at) >= LATE);
            // OCR may be quick but rare: content between two runs stays unread.
            let seldom = slot
                .outrun_at
                .is_some_and(|last| frame.captured_at.duration_since(last) >= LATE);
            slot.outrun_at = (!caught_up).then_some(frame.captured_at);
            let was_behind = slot.behind_since.is_some();
            if !all || (!caught_up && (late || seldom)) {
                slot.behind_since.get_or_insert(frame.captured_at);
            } else {
                slot.behind_since = None;
            }
            began = !all && !was_behind;
            // Later generations came during this OCR run.
            let generation = frame.changes.newest();
            slot.unread.retain(|(unread, _)| *unread > generation);
            slot.reads.push_back(frame);
            while slot.reads.len() > READS_KEPT {
                slot.reads.pop_front();
            }
        }
        self.note_change();
        began
    }

    /// Receiver that changes with every frame and OCR result, and with the
    /// start or end of a stream.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.inner.changes.subscribe()
    }

    fn note_change(&self) {
        self.inner.changes.send_modify(|count| *count += 1);
    }
}

/// Publishing handle of one decoder on the bus. Dropping it removes the
/// stream's frames.
#[derive(Debug)]
pub struct FramePublisher {
    bus: FrameBus,
    stream: StreamName,
    encode: EncodeJpeg,
    gate: ChangeGate,
}

impl FramePublisher {
    /// Publishes a picture. Takes about a millisecond at 1080p for the change
    /// gate.
    pub fn publish(
        &mut self,
        picture: Picture,
        pts: MediaTime,
        captured_at: Timestamp,
    ) -> Arc<Frame> {
        let seq = {
            let mut slots = self.bus.inner.slots.locked();
            let slot = slots.entry(self.stream.clone()).or_default();
            slot.frames += 1;
            slot.frames
        };
        // Outside the lock: it takes a while.
        let changes = self.gate.process(&picture, seq, captured_at);
        let frame = {
            let mut slots = self.bus.inner.slots.locked();
            let slot = slots.entry(self.stream.clone()).or_default();
            let mut frame = Frame::new(
                self.stream.clone(),
                seq,
                pts,
                captured_at,
                Arc::new(picture),
                self.encode,
            );
            frame.generation = changes.newest();
            frame.scene = frame.generation;
            frame.changes = changes;
            frame.changed_at = slot.note_generation(&frame);
            let frame = Arc::new(frame);
            slot.newest = Some(Arc::clone(&frame));
            frame
        };
        self.bus.note_change();
        frame
    }
}

impl Drop for FramePublisher {
    fn drop(&mut self) {
        if let Some(slot) = self.bus.inner.slots.locked().get_mut(&self.stream) {
            slot.publishers = slot.publishers.saturating_sub(1);
            if slot.publishers == 0 {
                slot.newest = None;
                slot.unread.clear();
                slot.changed_at = None;
                slot.sampled_at = None;
                slot.behind_since = None;
                slot.outrun_at = None;
                slot.reads.clear();
            }
        }
        self.bus.note_change();
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn picture(shade: u8) -> Picture {
        Picture {
            width: 64,
            height: 64,
            y: vec![shade; 64 * 64],
            u: vec![128; 32 * 32],
            v: vec![128; 32 * 32],
        }
    }

    fn name() -> StreamName {
        StreamName::new("team").expect("valid")
    }

    #[test]
    fn a_generation_lasts_as_long_as_the_picture() {
        let bus = FrameBus::new();
        let mut publisher = bus.open(&name(), |_| Ok(Bytes::new()));
        let now = Timestamp::UNIX_EPOCH;
        let first = publisher.publish(picture(10), MediaTime(0), now);
        let second = publisher.publish(picture(11), MediaTime(1), now);
        let third = publisher.publish(picture(200), MediaTime(2), now);
        assert_eq!((first.seq, second.seq, third.seq), (1, 2, 3));
        assert_eq!(first.generation, second.generation);
        assert_ne!(second.generation, third.generation);
    }

    #[test]
    fn a_change_is_as_old_as_the_first_picture_that_shows_it() {
        let bus = FrameBus::new();
        let mut publisher = bus.open(&name(), |_| Ok(Bytes::new()));
        let at = |half: i64| Timestamp::UNIX_EPOCH + SignedDuration::from_millis(500 * half);
        let mut next = |half, shade: u8| {
            let mut picture = picture(10);
            // A quarter of the picture.
            for row in 0..32 {
                picture.y[row * 64..row * 64 + 32].fill(shade);
            }
            publisher.publish(picture, MediaTime(half), at(half))
        };
        let first = next(0, 10);
        assert_eq!((first.generation, first.changed_at), (1, at(0)));
        assert_eq!(next(1, 10).changed_at, at(0));
        bus.publish_read(Arc::new(first.read(Arc::from([]), Arc::from([]))));
        assert_eq!(bus.unread_since(&name()), None);
        // A single sample may be a mouse; the second confirms the change.
        assert_eq!(next(2, 200).changed_at, at(0));
        assert_eq!(bus.unread_since(&name()), None);
        let changed = next(3, 200);
        assert_eq!((changed.generation, changed.changed_at), (4, at(2)));
        assert_eq!(bus.unread_since(&name()), Some(at(2)));
        next(4, 200);
        next(5, 90);
        next(6, 90);
        // The older of two unread changes counts, until it is read.
        assert_eq!(bus.unread_since(&name()), Some(at(2)));
        bus.publish_read(Arc::new(changed.read(Arc::from([]), Arc::from([]))));
        assert_eq!(bus.unread_since(&name()), Some(at(5)));
    }

    #[test]
    fn reading_that_is_late_or_partial_is_behind_until_it_catches_up() {
        let bus = FrameBus::new();
        let mut publisher = bus.open(&name(), |_| Ok(Bytes::new()));
        let at = |seconds| Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds);
        let mut shade = 0u8;
        let mut next = |seconds| {
            shade = shade.wrapping_add(97);
            publisher.publish(picture(shade), MediaTime(seconds * 90_000), at(seconds))
        };
        let read = |frame: &Frame, all| {
            bus.publish_reading(Arc::new(frame.read(Arc::from([]), Arc::from([]))), all)
        };
        // Each OCR ends long after the next picture has arrived.
        let first = next(0);
        for seconds in [6, 12, 18] {
            let unread = bus.newest(&name()).expect("a frame");
            next(seconds);
            assert!(!read(&unread, true));
            assert_eq!(bus.behind_since(&name()), Some(first.captured_at));
        }
        let newest = bus.newest(&name()).expect("a frame");
        read(&newest, true);
        assert_eq!(bus.behind_since(&name()), None, "caught up");
        assert!(read(&newest, false), "the first that is not whole");
        assert!(!read(&newest, false), "said once");
        assert_eq!(bus.behind_since(&name()), Some(newest.captured_at));
        read(&newest, true);
        assert_eq!(bus.behind_since(&name()), None);
    }

    #[test]
    fn rare_ocr_lags_too() {
        let bus = FrameBus::new();
        let mut publisher = bus.open(&name(), |_| Ok(Bytes::new()));
        let at = |seconds| Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds);
        let read = |frame: &Frame| {
            bus.publish_read(Arc::new(frame.read(Arc::from([]), Arc::from([]))));
        };
        // New text every one or ten seconds, as in a video; OCR takes two and
        // runs every six.
        let mut behind = |from: i64, every: i64| {
            let mut reading: Option<Arc<Frame>> = None;
            let mut known = Vec::new();
            for second in from..from + 60 {
                let shade = (second / every * 97 % 256) as u8;
                let frame = publisher.publish(picture(shade), MediaTime(second), at(second));
                if second % 6 == 4
                    && let Some(frame) = reading.take()
                {
                    read(&frame);
                }
                if second % 6 == 2 {
                    reading = Some(frame);
                }
                known.push(bus.behind_since(&name()));
            }
            known
        };
        let known = behind(0, 1);
        let since = known[30].expect("never caught up");
        assert!(since <= at(10), "{since}");
        assert_eq!(known[59], Some(since));
        let known = behind(60, 10);
        let caught_up = known.iter().filter(|since| since.is_none()).count();
        assert!(caught_up >= 20, "{known:?}");
        assert!(
            known
                .iter()
                .skip(20)
                .flatten()
                .all(|since| *since >= at(70))
        );
    }

    #[test]
    fn frames_end_with_the_stream_and_the_counter_stays() {
        let bus = FrameBus::new();
        let mut publisher = bus.open(&name(), |_| Ok(Bytes::new()));
        let frame = publisher.publish(picture(10), MediaTime(0), Timestamp::UNIX_EPOCH);
        bus.publish_read(Arc::new(frame.read(Arc::from([]), Arc::from([]))));
        assert_eq!(bus.live(), [name()]);
        assert_eq!(bus.reads_after(&name(), None).len(), 1);
        assert_eq!(bus.reads_after(&name(), Some(1)).len(), 0);
        drop(publisher);
        assert!(bus.live().is_empty());
        assert!(bus.newest(&name()).is_none());
        bus.publish_read(frame);
        assert!(bus.reads_after(&name(), None).is_empty());
        let mut publisher = bus.open(&name(), |_| Ok(Bytes::new()));
        let frame = publisher.publish(picture(10), MediaTime(0), Timestamp::UNIX_EPOCH);
        assert_eq!(frame.seq, 2);
    }
}

//! Where encoded streams meet their consumers.
//!
//! The contract: a [`Publisher`] pushes and never waits. Each [`Subscriber`]
//! starts at the newest keyframe still held and gets every unit from there
//! on, in order; one that falls out of the window goes on at the newest
//! keyframe, or waits for the next, and learns how many units it lost. A slow
//! subscriber costs nobody else anything.
//!
//! One window per stream serves both as the queue of every subscriber and as
//! the cache of the current group of pictures. It is bounded in units and in
//! bytes whatever the publisher sends.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::media::{MediaUnit, StreamName};

/// At 30 frames and 47 AAC frames a second 2,048 units are 26 s; OBS' default
/// of 8.3 s between keyframes fits three times over.
const WINDOW_UNITS: usize = 2048;
/// 8.3 s at 8 Mb/s: a whole group of pictures at more than what Zoom sends.
const WINDOW_BYTES: usize = 8 << 20;

/// All live streams. Cheap to clone.
#[derive(Debug, Clone)]
pub struct StreamHub {
    inner: Arc<Hub>,
}

#[derive(Debug)]
struct Hub {
    streams: Mutex<HashMap<StreamName, Arc<Stream>>>,
    /// Counts arrivals and departures.
    changes: watch::Sender<u64>,
}

#[derive(Debug)]
struct Stream {
    name: StreamName,
    since: Timestamp,
    window: Mutex<Window>,
    /// Index behind the newest unit; closed when the stream ends.
    tail: watch::Sender<Tail>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tail {
    next: u64,
    ended: bool,
}

#[derive(Debug, Default)]
struct Window {
    units: VecDeque<MediaUnit>,
    /// Index of `units[0]`.
    first: u64,
    bytes: usize,
    /// Index of the newest keyframe, which may have left the window.
    keyframe: Option<u64>,
    publisher: Option<Tenure>,
    totals: Totals,
}

#[derive(Debug)]
struct Tenure {
    id: u64,
    replaced: CancellationToken,
}

/// What has come in since the stream began, over all its publishers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    pub video_units: u64,
    pub audio_units: u64,
    pub bytes: u64,
    pub keyframes: u64,
}

/// A live stream at a glance.
#[derive(Debug, Clone)]
pub struct StreamInfo {
    pub name: StreamName,
    pub since: Timestamp,
    pub totals: Totals,
    /// Luma samples, once a video configuration has come.
    pub size: Option<(u32, u32)>,
}

impl Default for StreamHub {
    fn default() -> Self {
        Self::new()
    }
}

impl StreamHub {
    pub fn new() -> Self {
        let inner = Hub {
            streams: Mutex::default(),
            changes: watch::Sender::new(0),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Starts the stream, or takes it over from the publisher that has it:
    /// its subscribers stay, the old publisher's pushes fail from now on.
    pub fn publish(&self, name: &StreamName) -> Publisher {
        let replaced = CancellationToken::new();
        // Held until the tenure stands, so that the old publisher can't end
        // the stream in between.
        let mut streams = lock(&self.inner.streams);
        let stream = Arc::clone(streams.entry(name.clone()).or_insert_with(|| {
            Arc::new(Stream {
                name: name.clone(),
                since: Timestamp::now(),
                window: Mutex::default(),
                tail: watch::Sender::new(Tail {
                    next: 0,
                    ended: false,
                }),
            })
        }));
        let (id, old) = {
            let mut window = lock(&stream.window);
            let id = window.publisher.as_ref().map_or(0, |tenure| tenure.id + 1);
            let tenure = Tenure {
                id,
                replaced: replaced.clone(),
            };
            (id, window.publisher.replace(tenure))
        };
        drop(streams);
        match old {
            Some(old) => old.replaced.cancel(),
            None => self.note_change(),
        }
        Publisher {
            hub: self.clone(),
            stream,
            id,
            replaced,
        }
    }

    /// `None` when no such stream is live.
    pub fn subscribe(&self, name: &StreamName) -> Option<Subscriber> {
        let stream = Arc::clone(lock(&self.inner.streams).get(name)?);
        let tail = stream.tail.subscribe();
        let window = lock(&stream.window);
        let cursor = match window.keyframe {
            Some(index) if index >= window.first => Cursor::At(index),
            _ => Cursor::AwaitKeyframe(window.next()),
        };
        drop(window);
        Some(Subscriber {
            stream,
            tail,
            cursor,
        })
    }

    /// Live streams by name.
    pub fn streams(&self) -> Vec<StreamInfo> {
        let streams: Vec<_> = lock(&self.inner.streams).values().cloned().collect();
        let mut infos: Vec<_> = streams.iter().map(|stream| stream.info()).collect();
        infos.sort_by(|a, b| a.name.cmp(&b.name));
        infos
    }

    /// Changes whenever a stream begins or ends.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.inner.changes.subscribe()
    }

    fn note_change(&self) {
        self.inner.changes.send_modify(|count| *count += 1);
    }
}

impl Stream {
    fn info(&self) -> StreamInfo {
        let window = lock(&self.window);
        let size = window.units.iter().rev().find_map(|unit| match unit {
            MediaUnit::Video(unit) => Some((unit.config.width, unit.config.height)),
            MediaUnit::Audio(_) => None,
        });
        StreamInfo {
            name: self.name.clone(),
            since: self.since,
            totals: window.totals,
            size,
        }
    }
}

impl Window {
    fn next(&self) -> u64 {
        self.first + self.units.len() as u64
    }

    fn push(&mut self, unit: MediaUnit) {
        let size = unit.size();
        self.totals.bytes += size as u64;
        match &unit {
            MediaUnit::Video(video) => {
                self.totals.video_units += 1;
                if video.keyframe {
                    self.totals.keyframes += 1;
                    self.keyframe = Some(self.next());
                }
            }
            MediaUnit::Audio(_) => self.totals.audio_units += 1,
        }
        self.units.push_back(unit);
        self.bytes += size;
        while self.units.len() > WINDOW_UNITS || (self.bytes > WINDOW_BYTES && self.units.len() > 1)
        {
            let Some(gone) = self.units.pop_front() else {
                break;
            };
            self.bytes -= gone.size();
            self.first += 1;
        }
    }

    fn get(&self, index: u64) -> Option<&MediaUnit> {
        let offset = index.checked_sub(self.first)?;
        self.units.get(usize::try_from(offset).ok()?)
    }
}

/// The right to push to a stream. Dropping it ends the stream, unless another
/// publisher has taken over.
#[derive(Debug)]
pub struct Publisher {
    hub: StreamHub,
    stream: Arc<Stream>,
    id: u64,
    replaced: CancellationToken,
}

/// Another publisher has this stream now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the stream was taken over by a new publisher")]
pub struct Replaced;

impl Publisher {
    /// Never waits.
    pub fn push(&self, unit: MediaUnit) -> Result<(), Replaced> {
        let next = {
            let mut window = lock(&self.stream.window);
            if !self.holds(&window) {
                return Err(Replaced);
            }
            window.push(unit);
            window.next()
        };
        self.stream.tail.send_replace(Tail { next, ended: false });
        Ok(())
    }

    pub fn name(&self) -> &StreamName {
        &self.stream.name
    }

    /// Cancelled when another publisher takes over.
    pub fn replaced(&self) -> &CancellationToken {
        &self.replaced
    }

    fn holds(&self, window: &Window) -> bool {
        window
            .publisher
            .as_ref()
            .is_some_and(|tenure| tenure.id == self.id)
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        // Both locks, in the order every other path takes them, so that no
        // successor can slip in between the question and the removal.
        let mut streams = lock(&self.hub.inner.streams);
        let mut window = lock(&self.stream.window);
        if !self.holds(&window) {
            return;
        }
        window.publisher = None;
        streams.remove(&self.stream.name);
        let next = window.next();
        drop(window);
        drop(streams);
        self.stream.tail.send_replace(Tail { next, ended: true });
        self.hub.note_change();
    }
}

#[derive(Debug, Clone, Copy)]
enum Cursor {
    At(u64),
    /// Nothing is handed out before the next keyframe at or after this index.
    AwaitKeyframe(u64),
}

/// What a subscriber receives.
#[derive(Debug, Clone)]
pub enum Received {
    Unit(MediaUnit),
    /// So many units were lost; the next video unit is a keyframe.
    Lost(u64),
}

/// One consumer's place in a stream.
#[derive(Debug)]
pub struct Subscriber {
    stream: Arc<Stream>,
    tail: watch::Receiver<Tail>,
    cursor: Cursor,
}

impl Subscriber {
    pub fn name(&self) -> &StreamName {
        &self.stream.name
    }

    /// The next unit; `None` when the stream has ended and all was received.
    /// Cancel safe.
    pub async fn recv(&mut self) -> Option<Received> {
        loop {
            // Marked as seen before the look, so that a push in between is
            // noticed by `changed` below.
            let tail = *self.tail.borrow_and_update();
            if let Some(received) = self.take() {
                return Some(received);
            }
            if tail.ended || self.tail.changed().await.is_err() {
                return None;
            }
        }
    }

    fn take(&mut self) -> Option<Received> {
        let window = lock(&self.stream.window);
        if let Cursor::AwaitKeyframe(from) = self.cursor {
            let keyframe = window
                .keyframe
                .filter(|index| *index >= from.max(window.first))?;
            self.cursor = Cursor::At(keyframe);
        }
        let Cursor::At(index) = self.cursor else {
            return None;
        };
        if index < window.first {
            let resume = window.keyframe.filter(|keyframe| *keyframe >= window.first);
            let to = resume.unwrap_or_else(|| window.next());
            self.cursor = resume.map_or(Cursor::AwaitKeyframe(to), Cursor::At);
            return Some(Received::Lost(to - index));
        }
        let unit = window.get(index)?.clone();
        self.cursor = Cursor::At(index + 1);
        Some(Received::Unit(unit))
    }
}

/// A poisoned lock only says that some thread panicked while holding it; every
/// section here leaves the data whole at each step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::media::{AccessUnit, AvcConfig, MediaTime};

    fn name() -> StreamName {
        StreamName::new("team").expect("valid")
    }

    fn unit(ms: i64, keyframe: bool, size: usize) -> MediaUnit {
        let config = AvcConfig {
            record: Bytes::new(),
            sps: Bytes::new(),
            pps: Bytes::new(),
            nal_length_size: 4,
            width: 16,
            height: 16,
        };
        MediaUnit::Video(AccessUnit {
            pts: MediaTime::from_ms(ms),
            dts: MediaTime::from_ms(ms),
            keyframe,
            config: Arc::new(config),
            avcc: Bytes::from(vec![0; size]),
        })
    }

    async fn next_ms(subscriber: &mut Subscriber) -> i64 {
        match subscriber.recv().await {
            Some(Received::Unit(MediaUnit::Video(unit))) => unit.pts.ms(),
            other => panic!("expected a unit, got {other:?}"),
        }
    }

    #[tokio::test]
    async fn a_late_subscriber_starts_at_the_newest_keyframe() {
        let hub = StreamHub::new();
        let publisher = hub.publish(&name());
        for ms in 0..10 {
            publisher
                .push(unit(ms, ms % 4 == 0, 1))
                .expect("still ours");
        }
        let mut subscriber = hub.subscribe(&name()).expect("live");
        assert_eq!(next_ms(&mut subscriber).await, 8);
        assert_eq!(next_ms(&mut subscriber).await, 9);
        drop(publisher);
        assert!(subscriber.recv().await.is_none());
        assert!(hub.subscribe(&name()).is_none());
    }

    #[tokio::test]
    async fn nothing_is_handed_out_before_a_keyframe() {
        let hub = StreamHub::new();
        let publisher = hub.publish(&name());
        publisher.push(unit(0, false, 1)).expect("still ours");
        let mut subscriber = hub.subscribe(&name()).expect("live");
        publisher.push(unit(1, false, 1)).expect("still ours");
        publisher.push(unit(2, true, 1)).expect("still ours");
        assert_eq!(next_ms(&mut subscriber).await, 2);
    }

    #[tokio::test]
    async fn a_slow_subscriber_goes_on_at_a_keyframe_and_learns_what_it_lost() {
        let hub = StreamHub::new();
        let publisher = hub.publish(&name());
        publisher.push(unit(0, true, 1)).expect("still ours");
        let mut subscriber = hub.subscribe(&name()).expect("live");
        assert_eq!(next_ms(&mut subscriber).await, 0);
        for ms in 1..=3000 {
            publisher.push(unit(ms, ms == 2500, 1)).expect("still ours");
        }
        match subscriber.recv().await {
            Some(Received::Lost(count)) => assert_eq!(count, 2499),
            other => panic!("expected a loss, got {other:?}"),
        }
        assert_eq!(next_ms(&mut subscriber).await, 2500);
    }

    #[tokio::test]
    async fn the_window_is_bounded_in_bytes_though_no_keyframe_ever_comes() {
        let hub = StreamHub::new();
        let publisher = hub.publish(&name());
        for ms in 0..100 {
            publisher
                .push(unit(ms, false, 1 << 20))
                .expect("still ours");
        }
        let held = lock(&publisher.stream.window).bytes;
        assert!(held <= WINDOW_BYTES, "{held}");
    }

    #[tokio::test]
    async fn a_new_publisher_takes_over_and_subscribers_stay() {
        let hub = StreamHub::new();
        let old = hub.publish(&name());
        old.push(unit(0, true, 1)).expect("still ours");
        let mut subscriber = hub.subscribe(&name()).expect("live");
        assert_eq!(next_ms(&mut subscriber).await, 0);
        let new = hub.publish(&name());
        assert!(old.replaced().is_cancelled());
        assert_eq!(old.push(unit(1, false, 1)), Err(Replaced));
        drop(old);
        new.push(unit(2, true, 1)).expect("still ours");
        assert_eq!(next_ms(&mut subscriber).await, 2);
        assert_eq!(hub.streams().len(), 1);
    }
}

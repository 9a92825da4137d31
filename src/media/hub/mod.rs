//! Hub of encoded streams between publishers and subscribers.
//!
//! Contract: a [`Publisher`] pushes and never waits. Each [`Subscriber`] starts
//! at the newest keyframe still held and receives every unit from there on, in
//! order; one that falls out of the window resumes at the newest keyframe, or
//! the next, and gets the number of units lost. A slow subscriber affects no
//! other.
//!
//! A [`holding`](StreamHub::holding) hub keeps a stream for [`GRACE`] after its
//! publisher is gone: subscribers receive the loss of signal and, when a
//! publisher is back, that timestamps restart. Then the stream ends.
//!
//! The window of a stream serves both as the queue of every subscriber and as
//! the cache of the current group of pictures. It is bounded in units and in
//! bytes, whatever the publisher sends.

mod keyframes;
mod pause;
mod refusals;
pub mod renditions;
mod statistics;
mod subscriber;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use jiff::Timestamp;
use refusals::RejectedPublishers;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use watchtower_base::stream_name::StreamName;
use watchtower_base::sync::Locked as _;

use crate::{MediaUnit, VideoConfig};
pub use refusals::RejectedPublisher;
use statistics::RateMeter;
pub use statistics::{Cadence, StreamRates, Totals};
use subscriber::Cursor;
pub use subscriber::{Received, Subscriber};

/// Maximum units in the window: 26 s at 30 pictures and 47 AAC frames a second,
/// three times OBS' default keyframe interval of 8.3 s.
const WINDOW_UNITS: usize = 2048;
/// Maximum bytes in the window: 8.3 s at 8 Mb/s, more than Zoom sends.
const WINDOW_BYTES: usize = 8 << 20;

/// Time a stream waits for its publisher to return: a dropped connection is
/// noticed after 15 s, and encoders retry every few seconds.
pub const GRACE: Duration = Duration::from_secs(30);

/// Number of takeovers of a connected publisher's stream, and the time within
/// which they show that two encoders use the same address.
const CONTEST: usize = 3;
const CONTEST_WITHIN: Duration = Duration::from_secs(60);

/// All streams. Cheap to clone.
#[derive(Debug, Clone)]
pub struct StreamHub {
    inner: Arc<Hub>,
}

#[derive(Debug)]
struct Hub {
    hold: Duration,
    streams: Mutex<HashMap<StreamName, Arc<HubStream>>>,
    /// Log of rejected publishers.
    refusals: RejectedPublishers,
    /// Change counter: a stream began, ended, lost its signal or has it back.
    changes: watch::Sender<u64>,
}

#[derive(Debug)]
struct HubStream {
    name: StreamName,
    since: Timestamp,
    window: Mutex<UnitWindow>,
    tail: watch::Sender<Tail>,
    keyframe_requests: tokio::sync::Notify,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tail {
    /// Index after the newest unit.
    next: u64,
    signal: Signal,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Signal {
    There,
    Lost,
    /// Ended for good.
    Over,
}

#[derive(Debug, Default)]
struct UnitWindow {
    /// Units, each with the id of its publisher's session.
    units: VecDeque<(u64, MediaUnit)>,
    /// Index of `units[0]`.
    first: u64,
    bytes: usize,
    /// Index of the newest keyframe, which may have left the window.
    keyframe: Option<u64>,
    /// Bytes since that keyframe, audio included.
    group_bytes: usize,
    /// Current publisher's session, or the last one's.
    session: PublisherSession,
    totals: Totals,
    /// Newest takeovers of a connected publisher's stream.
    takeovers: VecDeque<(Instant, Timestamp)>,
    unshown_since: Option<Timestamp>,
}

/// Session of one publisher on the stream.
#[derive(Debug, Default)]
struct PublisherSession {
    id: u64,
    replaced: CancellationToken,
    /// Time since which the publisher is gone.
    lost: Option<(Instant, Timestamp)>,
    /// Time since which its publisher shows a card.
    paused: Option<Timestamp>,
    /// A keyframe was received in this session.
    keyed: bool,
    meter: RateMeter,
}

/// Snapshot of a live stream.
#[derive(Debug, Clone)]
pub struct StreamInfo {
    pub name: StreamName,
    pub since: Timestamp,
    pub totals: Totals,
    /// Rates of its publisher; `None` without one, and while unmeasured.
    pub rates: Option<StreamRates>,
    pub cadence: Cadence,
    /// Configuration of the newest picture.
    pub video: Option<Arc<VideoConfig>>,
    /// Time since which its publisher is gone.
    pub lost_since: Option<Timestamp>,
    /// Time since which the person who shares has paused it.
    pub paused_since: Option<Timestamp>,
    /// Time since which publishers compete for it.
    pub contested_since: Option<Timestamp>,
    /// Time since which some viewer sees none of the incoming pictures.
    pub unshown_since: Option<Timestamp>,
}

/// Stream limit reached; holds the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("stream limit reached ({0})")]
pub struct StreamLimitReached(pub usize);

impl Default for StreamHub {
    fn default() -> Self {
        Self::new()
    }
}

impl StreamHub {
    /// Creates a hub whose streams end with their publishers.
    pub fn new() -> Self {
        Self::with_hold(Duration::ZERO)
    }

    /// Creates a hub whose streams wait [`GRACE`] for their publishers; the
    /// owner has to run [`expire`](Self::expire).
    pub fn holding() -> Self {
        Self::with_hold(GRACE)
    }

    fn with_hold(hold: Duration) -> Self {
        let inner = Hub {
            hold,
            streams: Mutex::default(),
            refusals: RejectedPublishers::default(),
            changes: watch::Sender::new(0),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Starts the stream, or takes it over: its subscribers stay, and pushes of
    /// the previous publisher fail from now on.
    pub fn publish(&self, name: &StreamName) -> Publisher {
        self.publish_in(self.inner.streams.locked(), name)
    }

    /// Starts or takes over like [`publish`](Self::publish), unless a new
    /// stream would exceed `most`, including streams waiting for their
    /// publishers.
    pub fn publish_within(
        &self,
        name: &StreamName,
        most: usize,
    ) -> Result<Publisher, StreamLimitReached> {
        let streams = self.inner.streams.locked();
        if streams.len() >= most && !streams.contains_key(name) {
            return Err(StreamLimitReached(most));
        }
        Ok(self.publish_in(streams, name))
    }

    /// Bytes of media held by all streams.
    pub fn held_bytes(&self) -> u64 {
        let streams: Vec<_> = self.inner.streams.locked().values().cloned().collect();
        let held = streams
            .iter()
            .map(|stream| stream.window.locked().bytes as u64);
        held.sum()
    }

    fn publish_in(
        &self,
        // Locked until the session is set, so that the previous publisher can't
        // end the stream in between.
        mut streams: MutexGuard<'_, HashMap<StreamName, Arc<HubStream>>>,
        name: &StreamName,
    ) -> Publisher {
        let replaced = CancellationToken::new();
        let mut begun = false;
        let stream = Arc::clone(streams.entry(name.clone()).or_insert_with(|| {
            begun = true;
            Arc::new(HubStream::new(name))
        }));
        let (id, old, next, contested) = {
            let mut window = stream.window.locked();
            let taken_over = window.session.id > 0 && window.session.lost.is_none();
            let contested = taken_over && window.note_takeover(Instant::now());
            let id = window.session.id + 1;
            let session = PublisherSession {
                id,
                replaced: replaced.clone(),
                ..PublisherSession::default()
            };
            let old = std::mem::replace(&mut window.session, session);
            (id, old, window.next(), contested)
        };
        drop(streams);
        if contested {
            tracing::warn!(
                stream = %name,
                "competing publishers: {CONTEST} takeovers within {} s; two \
                 encoders use the same address",
                CONTEST_WITHIN.as_secs()
            );
        }
        old.replaced.cancel();
        if begun || old.lost.is_some() {
            stream.set_tail(next, Signal::There);
            self.note_change();
        }
        Publisher {
            hub: self.clone(),
            stream,
            id,
            replaced,
        }
    }

    /// Ends streams whose grace time is over, until `closing`; then ends all
    /// without a publisher, and the hub stops waiting.
    pub async fn expire(&self, closing: CancellationToken) {
        let mut changes = self.changes();
        loop {
            changes.borrow_and_update();
            let due = self.end_lost(Instant::now());
            let timer = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = timer => {}
                _ = changes.changed() => {}
                () = closing.cancelled() => break,
            }
        }
        loop {
            changes.borrow_and_update();
            self.end_lost(Instant::now() + self.inner.hold);
            if self.inner.streams.locked().is_empty() || changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Ends the streams due at `now`; returns the next deadline.
    fn end_lost(&self, now: Instant) -> Option<Instant> {
        let mut next = None;
        let mut ended = Vec::new();
        let mut streams = self.inner.streams.locked();
        streams.retain(|_, stream| {
            let window = stream.window.locked();
            let Some((since, _)) = window.session.lost else {
                return true;
            };
            let due = since + self.inner.hold;
            if due > now {
                next = Some(next.map_or(due, |next: Instant| next.min(due)));
                return true;
            }
            ended.push((Arc::clone(stream), window.next()));
            false
        });
        drop(streams);
        for (stream, next) in &ended {
            stream.set_tail(*next, Signal::Over);
        }
        if !ended.is_empty() {
            self.note_change();
        }
        next
    }

    /// Subscribes to a stream; `None` if it does not exist. A stream waiting
    /// for its publisher still exists.
    pub fn subscribe(&self, name: &StreamName) -> Option<Subscriber> {
        let stream = Arc::clone(self.inner.streams.locked().get(name)?);
        let tail = stream.tail.subscribe();
        let window = stream.window.locked();
        let cursor = match window.keyframe {
            // Never at the previous publisher's picture, which would be
            // mistaken for the current one.
            Some(index) if index >= window.first && window.is_current() => Cursor::At(index),
            _ => Cursor::AwaitKeyframe(window.next()),
        };
        drop(window);
        stream.keyframe_requests.notify_one();
        Some(Subscriber {
            stream,
            tail,
            cursor,
            publisher: None,
            loss_reported: false,
            needs_keyframe: true,
        })
    }

    /// Subscribes to audio alone, like [`subscribe`](Self::subscribe) but from
    /// the next unit on, without waiting for a keyframe: an audio-only stream
    /// has none.
    pub fn listen(&self, name: &StreamName) -> Option<Subscriber> {
        let mut subscriber = self.subscribe(name)?;
        subscriber.needs_keyframe = false;
        subscriber.cursor = Cursor::At(subscriber.stream.window.locked().next());
        Some(subscriber)
    }

    /// Sets the time since which some viewer sees none of the incoming
    /// pictures; `None` when all viewers are served.
    pub fn note_unshown(&self, name: &StreamName, since: Option<Timestamp>) {
        if let Some(stream) = self.inner.streams.locked().get(name) {
            stream.window.locked().unshown_since = since;
        }
    }

    /// Share of the window taken up by the group of pictures since the newest
    /// keyframe; at 1 or more no viewer can start. `None` without a publisher
    /// or a keyframe.
    pub fn group_share(&self, name: &StreamName) -> Option<f32> {
        let stream = Arc::clone(self.inner.streams.locked().get(name)?);
        let window = stream.window.locked();
        if window.session.lost.is_some() || !window.session.keyed {
            return None;
        }
        Some(window.group_share())
    }

    /// Snapshot of one stream.
    pub fn stream(&self, name: &StreamName) -> Option<StreamInfo> {
        let stream = Arc::clone(self.inner.streams.locked().get(name)?);
        Some(stream.info())
    }

    /// Records a rejected publisher and the reason.
    pub fn note_rejected(&self, address: IpAddr, why: String) {
        self.inner
            .refusals
            .add(address.to_canonical(), why, Timestamp::now());
    }

    /// Rejected publishers, newest first.
    pub fn refusals(&self) -> Vec<RejectedPublisher> {
        self.inner.refusals.all()
    }

    /// All streams by name, including those waiting for their publishers.
    pub fn streams(&self) -> Vec<StreamInfo> {
        let streams: Vec<_> = self.inner.streams.locked().values().cloned().collect();
        let mut infos: Vec<_> = streams.iter().map(|stream| stream.info()).collect();
        infos.sort_by(|a, b| a.name.cmp(&b.name));
        infos
    }

    /// Watch of the changes: a stream begins, ends, loses its signal or has it
    /// back.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.inner.changes.subscribe()
    }

    fn note_change(&self) {
        self.inner.changes.send_modify(|count| *count += 1);
    }
}

impl HubStream {
    fn new(name: &StreamName) -> Self {
        Self {
            name: name.clone(),
            since: Timestamp::now(),
            window: Mutex::default(),
            tail: watch::Sender::new(Tail {
                next: 0,
                signal: Signal::There,
            }),
            keyframe_requests: tokio::sync::Notify::new(),
        }
    }

    fn set_tail(&self, next: u64, signal: Signal) {
        self.tail.send_replace(Tail { next, signal });
    }

    fn info(&self) -> StreamInfo {
        let window = self.window.locked();
        let video = window.units.iter().rev().find_map(|(_, unit)| match unit {
            MediaUnit::Video(unit) => Some(Arc::clone(&unit.config)),
            MediaUnit::Audio(_) => None,
        });
        StreamInfo {
            name: self.name.clone(),
            since: self.since,
            totals: window.totals,
            rates: match window.session.lost {
                Some(_) => None,
                None => window.session.meter.rates(Instant::now()),
            },
            cadence: window.session.meter.cadence,
            video,
            lost_since: window.session.lost.map(|(_, since)| since),
            paused_since: window.session.paused,
            contested_since: window.contested_since(Instant::now()),
            unshown_since: window.unshown_since,
        }
    }
}

impl UnitWindow {
    fn next(&self) -> u64 {
        self.first + self.units.len() as u64
    }

    /// Records a takeover; true if the stream is contested now.
    fn note_takeover(&mut self, now: Instant) -> bool {
        self.takeovers.push_back((now, Timestamp::now()));
        if self.takeovers.len() > CONTEST {
            self.takeovers.pop_front();
        }
        self.contested_since(now).is_some()
    }

    fn contested_since(&self, now: Instant) -> Option<Timestamp> {
        let (first, since) = self.takeovers.front()?;
        let many = self.takeovers.len() == CONTEST;
        (many && now.duration_since(*first) <= CONTEST_WITHIN).then_some(*since)
    }

    /// True if the newest keyframe is the current publisher's.
    fn is_current(&self) -> bool {
        self.session.lost.is_none() && self.session.keyed
    }

    fn push(&mut self, unit: MediaUnit) {
        let size = unit.size();
        self.session.meter.add(&unit, Instant::now());
        self.totals.bytes += size as u64;
        match &unit {
            MediaUnit::Video(video) => {
                self.totals.video_units += 1;
                if video.keyframe {
                    self.group_bytes = 0;
                    self.totals.keyframes += 1;
                    self.keyframe = Some(self.next());
                    self.session.keyed = true;
                }
            }
            MediaUnit::Audio(_) => self.totals.audio_units += 1,
        }
        self.units.push_back((self.session.id, unit));
        self.bytes += size;
        self.group_bytes = self.group_bytes.saturating_add(size);
        while self.units.len() > WINDOW_UNITS || (self.bytes > WINDOW_BYTES && self.units.len() > 1)
        {
            let Some((_, gone)) = self.units.pop_front() else {
                break;
            };
            self.bytes -= gone.size();
            self.first += 1;
        }
    }

    fn group_share(&self) -> f32 {
        let units = self.keyframe.map_or(0, |index| self.next() - index);
        let of_units = units as f32 / WINDOW_UNITS as f32;
        of_units.max(self.group_bytes as f32 / WINDOW_BYTES as f32)
    }

    fn get(&self, index: u64) -> Option<&(u64, MediaUnit)> {
        let offset = index.checked_sub(self.first)?;
        self.units.get(usize::try_from(offset).ok()?)
    }
}

/// Right to push to a stream. Dropping it leaves the stream without a signal,
/// unless another publisher has taken over.
#[derive(Debug)]
pub struct Publisher {
    hub: StreamHub,
    stream: Arc<HubStream>,
    id: u64,
    replaced: CancellationToken,
}

/// Error of a push after another publisher took over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the stream was taken over by a new publisher")]
pub struct Replaced;

impl Publisher {
    /// Pushes a unit; never waits. Pictures before the first keyframe are
    /// dropped: they can't be decoded.
    pub fn push(&self, unit: MediaUnit) -> Result<(), Replaced> {
        // The tail is updated under the lock, so that it never goes back.
        let mut window = self.stream.window.locked();
        if !self.holds(&window) {
            return Err(Replaced);
        }
        if window.withholds(&unit) {
            window.totals.left_out += 1;
        } else {
            window.push(unit);
            self.stream.set_tail(window.next(), Signal::There);
        }
        Ok(())
    }

    /// Counts a received picture that is invalid.
    pub fn leave_out(&self) {
        let mut window = self.stream.window.locked();
        if self.holds(&window) {
            window.totals.left_out += 1;
        }
    }

    pub fn name(&self) -> &StreamName {
        &self.stream.name
    }

    /// Cancelled when another publisher takes over.
    pub fn replaced(&self) -> &CancellationToken {
        &self.replaced
    }

    fn holds(&self, window: &UnitWindow) -> bool {
        window.session.id == self.id
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        // Takes both locks, in the order of every other path, so that no
        // successor can slip in between check and removal.
        let mut streams = self.hub.inner.streams.locked();
        let mut window = self.stream.window.locked();
        if !self.holds(&window) {
            return;
        }
        window.session.lost = Some((Instant::now(), Timestamp::now()));
        let signal = if self.hub.inner.hold.is_zero() {
            streams.remove(&self.stream.name);
            Signal::Over
        } else {
            Signal::Lost
        };
        self.stream.set_tail(window.next(), signal);
        drop(window);
        drop(streams);
        self.hub.note_change();
    }
}

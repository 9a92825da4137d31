//! Fan-out: one stream, packetized once, sent to all its viewers.
//!
//! A task per watched stream owns its packets and its viewers, so nothing here
//! is locked. webrtc handles SDP, ICE, DTLS and RTCP; media never passes
//! through it (see [`watchtower_transport::srtp_keys`] for the keys).

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use rtc::interceptor::Acknowledgement;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use watchtower_base::stream_name::StreamName;
use watchtower_media::hub::renditions::{Demand, OpusPacket, RenditionKind, Renditions};
use watchtower_media::hub::{Received, StreamHub, Subscriber};
use watchtower_media::{
    AccessUnit, AudioCodec, AudioUnit, MediaTime, MediaUnit, Playback, RandomAccess,
};
use watchtower_transport::clock::{RtpClock, Timebase};
use watchtower_transport::gso_batch::GsoBatch;
use watchtower_transport::packetizer;
use watchtower_transport::udp_mux::UdpMux;

use super::link::{ReportBlock, Tier};
use super::viewer::{RenditionCaches, SendRound, Viewer};
use crate::metrics::PlaybackMetrics;
use crate::packet_cache::PacketCache;
use crate::placeholder;
use crate::settings::Transcode;
use crate::small_rendition::Small;

/// Repeat interval of the placeholder picture while there is no signal, for
/// viewers who join then.
const PLACEHOLDER_EVERY: Duration = Duration::from_secs(1);
/// Retry interval after the pace or a full socket has held sending back.
const TICK: Duration = Duration::from_millis(2);
/// Capacity of the command queue. Feedback dropped when it is full is repeated
/// by its viewer.
const ORDERS: usize = 1024;
/// Viewers served before yielding to other tasks: about 2 ms.
const TURN: usize = 64;
/// Interval of the check that every viewer gets a picture.
const CHECK_EVERY: Duration = Duration::from_secs(1);

/// Command of a session to the fan-out.
pub(super) enum FanoutCommand {
    Join(Box<Viewer>),
    Leave(u64),
    /// Sequence numbers reported as missing (NACK).
    Missing {
        viewer: u64,
        sequences: Vec<u16>,
    },
    /// Decoding failure reported by the viewer (PLI).
    PictureLost(u64),
    /// Receiver report: loss and round trip.
    Report {
        viewer: u64,
        report: ReportBlock,
    },
    /// Arrival time of each packet.
    Arrived {
        viewer: u64,
        arrivals: Vec<Acknowledgement>,
    },
}

/// Dependencies of a stream's fan-out.
#[derive(Clone)]
pub(super) struct FanContext {
    pub(super) hub: StreamHub,
    pub(super) renditions: Renditions,
    pub(super) port: Arc<UdpMux>,
    pub(super) metrics: Arc<PlaybackMetrics>,
    pub(super) transcode: Transcode,
}

/// Handle of a stream's fan-out, which ends when the last one is dropped.
#[derive(Debug)]
pub(super) struct FanHandle {
    pub(super) orders: mpsc::Sender<FanoutCommand>,
    pub(super) clock: Arc<RtpClock>,
    /// See [`PacketCache::still_since`].
    pub(super) still_since: watch::Receiver<Option<Instant>>,
    /// The stream ended and did not return in time.
    pub(super) ended: CancellationToken,
}

struct Fanout {
    name: StreamName,
    context: FanContext,
    clock: Arc<RtpClock>,
    still_since: watch::Sender<Option<Instant>>,
    timebase: Timebase,
    history: PacketCache,
    small: Small,
    viewers: Vec<Viewer>,
    /// Some viewer has more to send.
    pending: bool,
    /// Viewer the next round begins with, so that a full socket affects all
    /// alike.
    turn: usize,
    playable: Playable,
    /// Composition offset (PTS less DTS, ticks of 90 kHz) of the first picture;
    /// a different one means reordered pictures.
    composition: Option<i64>,
    /// The publisher is gone, and the placeholder is shown.
    lost: bool,
    /// The current publisher has sent a picture. The clock follows the video
    /// then, before that the audio.
    pictured: bool,
    /// Time since which the publisher's pictures come and none is shown.
    unshown_since: Option<Instant>,
    /// Time of the last check that all viewers are shown something.
    checked: Instant,
}

/// Source of the pictures.
enum Playable {
    /// Stream of the publisher.
    Source,
    /// Its rendition; the publisher's stream until the rendition's first
    /// keyframe.
    Rendition {
        _demand: Demand,
        changes: watch::Receiver<u64>,
        subscriber: Option<Subscriber>,
        shown: bool,
    },
}

/// Starts the fan-out; `None` if the stream is not live.
pub(super) fn start(name: &StreamName, context: FanContext) -> Option<FanHandle> {
    let subscriber = context.hub.subscribe(name)?;
    let (orders, receiver) = mpsc::channel(ORDERS);
    let still_since = watch::Sender::new(None);
    let handle = FanHandle {
        orders,
        still_since: still_since.subscribe(),
        clock: Arc::default(),
        ended: CancellationToken::new(),
    };
    let fanout = Fanout {
        name: name.clone(),
        context,
        clock: Arc::clone(&handle.clock),
        still_since,
        timebase: Timebase::default(),
        history: PacketCache::default(),
        small: Small::default(),
        viewers: Vec::new(),
        pending: false,
        turn: 0,
        playable: Playable::Source,
        composition: None,
        lost: false,
        pictured: false,
        unshown_since: None,
        checked: Instant::now(),
    };
    let ended = handle.ended.clone().drop_guard();
    tokio::spawn(async move {
        fanout.run(subscriber, receiver).await;
        drop(ended);
    });
    Some(handle)
}

impl Fanout {
    async fn run(mut self, mut source: Subscriber, mut orders: mpsc::Receiver<FanoutCommand>) {
        let port = Arc::clone(&self.context.port);
        let mut batch = GsoBatch::new(&port);
        let renditions = self.context.renditions.clone();
        let mut sound = renditions.audio(&self.name);
        // Own position: that of the pictures waits for keyframes, which a
        // stream of audio alone never has.
        let mut opus = self.context.hub.listen(&self.name);
        // Held as long as the fan-out, whether or not the stream has audio: the
        // supplier knows.
        let _sound = (self.context.transcode == Transcode::Auto)
            .then(|| renditions.demand(&self.name, RenditionKind::Audio));
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut placeholder = tokio::time::interval(PLACEHOLDER_EVERY);
        placeholder.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                order = orders.recv() => match order {
                    Some(order) => self.obey(order, &mut batch),
                    None => return,
                },
                received = source.recv() => match received {
                    Some(Received::Unit(MediaUnit::Video(unit))) => {
                        self.unshown_since.get_or_insert_with(Instant::now);
                        if self.takes_source(&unit) {
                            self.show(&unit);
                            self.pump(&mut batch).await;
                        }
                        self.check_shown(Instant::now());
                    }
                    Some(Received::Unit(MediaUnit::Audio(_))) => {}
                    // The next picture is a keyframe, so viewers simply
                    // continue.
                    Some(Received::Lost(count)) => {
                        self.context.metrics.dropped_pictures.inc_by(count);
                    }
                    Some(Received::SignalLost) => {
                        tracing::debug!(stream = %self.name, "signal lost; showing the placeholder");
                        self.lost = true;
                        self.leave_small();
                        placeholder.reset_immediately();
                    }
                    Some(Received::Restarted) => {
                        tracing::debug!(stream = %self.name, "publisher changed or reconnected");
                        self.pictured = false;
                        // The placeholder stays the start picture of new
                        // viewers.
                        if !std::mem::take(&mut self.lost) {
                            self.history.end_group();
                        }
                        self.timebase.restart();
                        self.playable = Playable::Source;
                        self.composition = None;
                        self.unshown_since = None;
                        self.small.forget();
                        self.leave_small();
                    }
                    None => return,
                },
                _ = placeholder.tick(), if self.lost => {
                    self.show_placeholder();
                    self.pump(&mut batch).await;
                }
                unit = self.playable.next(&renditions, &self.name), if !self.lost => {
                    self.show(&unit);
                    self.pump(&mut batch).await;
                },
                unit = self.small.next(&renditions, &self.name), if !self.lost => {
                    self.small.show(&unit, &self.timebase, Instant::now());
                    self.pump(&mut batch).await;
                },
                packet = sound.recv() => match packet {
                    Ok(packet) => self.play(&packet, &mut batch).await,
                    Err(broadcast::error::RecvError::Lagged(count)) => {
                        self.context.metrics.dropped_pictures.inc_by(count);
                    }
                    Err(broadcast::error::RecvError::Closed) => sound = renditions.audio(&self.name),
                },
                packet = next_opus(&mut opus) => self.play(&packet, &mut batch).await,
                _ = tick.tick(), if self.pending => self.pump(&mut batch).await,
            }
        }
    }

    fn obey(&mut self, order: FanoutCommand, batch: &mut GsoBatch<'_>) {
        let now = Instant::now();
        match order {
            FanoutCommand::Join(mut viewer) => {
                if self.has_no_beginning() {
                    self.demand_rendition("group of pictures too long");
                }
                self.context.hub.request_keyframe(&self.name);
                viewer.start(&self.history, now);
                let place = self.viewers.partition_point(|other| other.id < viewer.id);
                self.viewers.insert(place, *viewer);
                self.pending = true;
                self.context.metrics.viewers.inc();
            }
            FanoutCommand::Leave(id) => {
                if let Some(place) = self.place(id) {
                    self.viewers.remove(place);
                    self.context.metrics.viewers.dec();
                }
            }
            FanoutCommand::Missing { viewer, sequences } => {
                if let Some(place) = self.place(viewer) {
                    let viewer = &mut self.viewers[place];
                    let caches = caches(&self.history, &self.small);
                    let count = viewer.retransmit(&sequences, caches, batch, now);
                    self.context.metrics.retransmits.inc_by(count);
                    self.context.metrics.viewer_packets.inc_by(count);
                }
            }
            FanoutCommand::PictureLost(id) => {
                let caches = caches(&self.history, &self.small);
                if let Some(place) = self.place(id)
                    && self.viewers[place].replay(caches, now)
                {
                    self.context.metrics.replays.inc();
                    self.pending = true;
                }
            }
            FanoutCommand::Report { viewer, report } => {
                let caches = caches(&self.history, &self.small);
                if let Some(place) = self.place(viewer) {
                    self.viewers[place].report(report, caches, now);
                }
            }
            FanoutCommand::Arrived { viewer, arrivals } => {
                let caches = caches(&self.history, &self.small);
                if let Some(place) = self.place(viewer) {
                    self.viewers[place].arrived(&arrivals, caches, now);
                }
            }
        }
    }

    /// True if the publisher's own picture is to be shown. If browsers can't
    /// play it, its rendition is demanded; until that starts only keyframes are
    /// shown, if they are playable.
    fn takes_source(&mut self, unit: &AccessUnit) -> bool {
        let offset = unit.pts.0 - unit.dts.0;
        let first = *self.composition.get_or_insert(offset);
        // Rounding to milliseconds shifts it by one either way.
        let reordered = (offset - first).abs() > 5 * MediaTime::TICKS_PER_MS;
        let why = match unit.config.playback {
            Playback::Never(why) => Some(why),
            Playback::Reordered => Some("B-frames"),
            Playback::Plays if reordered => Some("B-frames"),
            Playback::Plays => (unit.keyframe && unit.random_access() != RandomAccess::Instant)
                .then_some("non-IDR keyframes"),
        };
        if let Some(why) = why {
            self.demand_rendition(why);
        }
        let shows_alone = match unit.config.playback {
            Playback::Never(_) => false,
            _ => unit.keyframe || matches!(self.playable, Playable::Source),
        };
        shows_alone && !self.shows_rendition()
    }

    fn demand_rendition(&mut self, why: &str) {
        if self.context.transcode != Transcode::Auto || !matches!(self.playable, Playable::Source) {
            return;
        }
        tracing::info!(stream = %self.name, why, "transcoding");
        let renditions = &self.context.renditions;
        self.playable = Playable::Rendition {
            _demand: renditions.demand(&self.name, RenditionKind::Video),
            changes: renditions.video().changes(),
            subscriber: renditions.video().subscribe(&self.name),
            shown: false,
        };
    }

    /// True if a new viewer would wait for the next keyframe, with a still or
    /// nothing to see: the pictures since the last one have left the hub's
    /// window or the packet cache.
    fn has_no_beginning(&self) -> bool {
        let share = self.context.hub.group_share(&self.name);
        let outgrown = self.history.newest().is_some() && !self.history.is_group_whole();
        share.is_some_and(|share| share >= 1.0 || outgrown)
    }

    fn shows_rendition(&self) -> bool {
        matches!(self.playable, Playable::Rendition { shown: true, .. })
    }

    fn show(&mut self, unit: &AccessUnit) {
        let now = Instant::now();
        self.pictured = true;
        self.unshown_since = None;
        self.timebase.note(unit.dts, now);
        self.clock.note(&self.timebase);
        let time = self.timebase.video(unit.pts);
        self.history
            .push(packetizer::packetize(unit), unit.keyframe, time, now);
        self.still_since.send_if_modified(|known| {
            let now = self.history.still_since();
            std::mem::replace(known, now) != now
        });
    }

    /// Reports to the hub since when a viewer has waited for a picture while
    /// the publisher sends them; the watchdog raises it as a finding.
    fn check_shown(&mut self, now: Instant) {
        if now.saturating_duration_since(self.checked) < CHECK_EVERY {
            return;
        }
        self.checked = now;
        let takers = self.viewers.iter().filter(|viewer| viewer.takes_pictures());
        let waits = takers.filter_map(|viewer| match (self.unshown_since, viewer.waits_since()) {
            (Some(stream), Some(viewer)) => Some(stream.min(viewer)),
            (stream, viewer) => stream.or(viewer),
        });
        let longest = waits
            .map(|since| now.saturating_duration_since(since))
            .max();
        let since = longest
            .filter(|long| *long > CHECK_EVERY)
            .and_then(|long| SignedDuration::try_from(long).ok())
            .map(|long| Timestamp::now() - long);
        self.context.hub.note_unshown(&self.name, since);
    }

    fn show_placeholder(&mut self) {
        let now = Instant::now();
        // Wall clock time, after the last picture shown.
        self.timebase.restart();
        self.timebase.note(MediaTime(0), now);
        self.clock.note(&self.timebase);
        let time = self.timebase.video(MediaTime(0));
        self.history.push(placeholder::packets(), true, time, now);
    }

    /// Sends every viewer its due packets.
    async fn pump(&mut self, batch: &mut GsoBatch<'_>) {
        let now = Instant::now();
        let mut total = SendRound::default();
        let count = self.viewers.len();
        self.pending = false;
        self.demand_small(now);
        for step in 0..count {
            let place = (self.turn + step) % count;
            let caches = caches(&self.history, &self.small);
            match self.viewers[place].pump(caches, batch, now) {
                Ok(sent) => total.add(sent),
                Err(_) => {
                    self.turn = place;
                    total.pending = true;
                    break;
                }
            }
            if step % TURN == TURN - 1 {
                tokio::task::yield_now().await;
            }
        }
        self.pending = total.pending;
        self.count(total);
    }

    /// Demands the small rendition while a viewer is served from it.
    fn demand_small(&mut self, now: Instant) {
        let wanted = self.context.transcode == Transcode::Auto
            && self
                .viewers
                .iter()
                .any(|viewer| viewer.wants() == Tier::Small);
        let renditions = &self.context.renditions;
        if self.viewers.iter().any(Viewer::waits_for_small) {
            self.small.hurry(renditions, &self.name, now);
        }
        if self.small.want(wanted, renditions, &self.name, now) {
            self.leave_small();
        }
    }

    /// Switches all viewers to the full rendition, for the placeholder or a new
    /// publisher.
    fn leave_small(&mut self) {
        for viewer in &mut self.viewers {
            viewer.small_is_gone(&self.history);
        }
    }

    async fn play(&mut self, packet: &OpusPacket, batch: &mut GsoBatch<'_>) {
        if !self.pictured && !self.lost {
            self.timebase.note(packet.pts, Instant::now());
            self.clock.note(&self.timebase);
        }
        let time = self.timebase.audio(packet.pts);
        let mut total = SendRound::default();
        for (step, viewer) in self.viewers.iter_mut().enumerate() {
            total.add(
                viewer
                    .send_audio(&packet.packet, time, batch)
                    .unwrap_or_default(),
            );
            if step % TURN == TURN - 1 {
                tokio::task::yield_now().await;
            }
        }
        self.count(total);
    }

    fn count(&self, sent: SendRound) {
        let metrics = &self.context.metrics;
        metrics.viewer_packets.inc_by(sent.packets);
        metrics.viewer_bytes.inc_by(sent.bytes);
        if sent.skipped > 0 {
            metrics.dropped_pictures.inc_by(sent.skipped);
        }
    }

    fn place(&self, id: u64) -> Option<usize> {
        self.viewers
            .binary_search_by_key(&id, |viewer| viewer.id)
            .ok()
    }
}

/// Next packet of a publisher that sends Opus, which viewers get untouched.
/// Cancel safe.
async fn next_opus(subscriber: &mut Option<Subscriber>) -> OpusPacket {
    while let Some(listener) = subscriber {
        match listener.recv().await {
            Some(Received::Unit(MediaUnit::Audio(AudioUnit {
                pts,
                codec: AudioCodec::Opus,
                data,
                ..
            }))) if data.len() <= packetizer::MAX_PAYLOAD => {
                return OpusPacket { pts, packet: data };
            }
            Some(_) => {}
            None => *subscriber = None,
        }
    }
    std::future::pending().await
}

fn caches<'a>(full: &'a PacketCache, small: &'a Small) -> RenditionCaches<'a> {
    RenditionCaches {
        full,
        small: small.history(),
    }
}

impl Drop for Fanout {
    fn drop(&mut self) {
        let count = i64::try_from(self.viewers.len()).unwrap_or(i64::MAX);
        self.context.metrics.viewers.dec_by(count);
        self.context.hub.note_unshown(&self.name, None);
    }
}

impl Playable {
    /// Next picture of the rendition. Cancel safe.
    async fn next(&mut self, renditions: &Renditions, name: &StreamName) -> AccessUnit {
        let Self::Rendition {
            changes,
            subscriber,
            shown,
            ..
        } = self
        else {
            return std::future::pending().await;
        };
        loop {
            let Some(rendition) = subscriber else {
                changes.borrow_and_update();
                *subscriber = renditions.video().subscribe(name);
                if subscriber.is_none() && changes.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
                continue;
            };
            match rendition.recv().await {
                Some(Received::Unit(MediaUnit::Video(unit))) => {
                    *shown = true;
                    return unit;
                }
                Some(_) => {}
                None => {
                    *subscriber = None;
                    *shown = false;
                }
            }
        }
    }
}

impl SendRound {
    fn add(&mut self, other: Self) {
        self.packets += other.packets;
        self.bytes += other.bytes;
        self.skipped += other.skipped;
        self.pending |= other.pending;
    }
}

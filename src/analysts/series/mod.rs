//! Series: numbers of the screens over time, kept in the record, and watches on
//! them.
//!
//! ```text
//! frames with OCR -> numbers with labels -> tracker -> runs -> record
//!                                              v
//!                                           watches -> findings, their end
//! ```
//!
//! Runs beside the analysts and costs no model anything. A frame is redacted
//! before its numbers are read, secrets at least.

pub mod settings;

mod report;
mod restore;
mod tracker;
mod watch;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch as watch_channel;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use watchtower_base::stream_name::StreamName;
use watchtower_domain::series::{Quantity, Unit};
use watchtower_media::audio_bus::{AudioBus, LoudnessReading};
use watchtower_record::Record;
use watchtower_record::store::{FiredWatch, Readers, SeriesBatch, WatchEnd};
use watchtower_screen::frame::Frame;
use watchtower_screen::frames::FrameBus;
use watchtower_screen::redact::{Redact, RedactedFrame};
use watchtower_screen::series::{ScreenNumber, numbers_of};

use self::report::WatchReport;
use self::restore::{FiredWatches, restored};
use self::settings::WatchConfig;
use self::tracker::{SeriesTracker, TrackedNumber};
use self::watch::{WatchChange, WatchState, watch_ids};
use crate::metrics::AnalystMetrics;
use crate::{AgentContext, AgentSet};

/// Interval at which what is on the screens counts as seen again.
const EVERY: Duration = Duration::from_secs(1);
/// Interval of writes: a reading of 300 numbers is one write of its changes.
const WRITE_EVERY: SignedDuration = SignedDuration::from_secs(5);
/// Age of a reading of loudness at which there is no sound any more: three are
/// missing.
const SILENT: SignedDuration = SignedDuration::from_secs(4);
/// Maximum streams remembered; the one read longest ago is forgotten.
const MOST_STREAMS: usize = 256;

/// Loudness as a number with a label, in whole LUFS: a difference of less is
/// hardly heard, and would be a new value each second.
fn loudness(reading: LoudnessReading) -> ScreenNumber {
    ScreenNumber {
        place: "sound".to_owned(),
        label: "Loudness".to_owned(),
        quantity: Quantity {
            value: reading.lufs.round(),
            unit: Unit::Lufs,
        },
        quotes: Vec::new(),
    }
}

/// Recorder of series, and judge of the watches.
#[derive(Debug)]
pub struct SeriesRecorder {
    frames: FrameBus,
    audio: AudioBus,
    findings: Record,
    metrics: Arc<AnalystMetrics>,
    agents: watch_channel::Receiver<AgentSet>,
    redact: Redact,
    streams: HashMap<StreamName, StreamSeries>,
    /// Watches in force, and the identity of each.
    watches: Arc<[WatchConfig]>,
    ids: Vec<String>,
    /// Watches that fired on series which were not on a screen since.
    fired: FiredWatches,
    written: Timestamp,
}

/// Series of a stream, and the state of the watches on them.
#[derive(Debug, Default)]
struct StreamSeries {
    tracker: SeriesTracker,
    /// Loudness, read each second whatever is on the screen.
    sound: SeriesTracker,
    /// Last frame read.
    frame: Option<Arc<Frame>>,
    states: HashMap<StateKey, WatchState>,
}

/// Identity of a watch, and key of the series.
type StateKey = (String, String);

impl StreamSeries {
    /// Numbers on the screen and of the sound now.
    fn shown(&self) -> impl Iterator<Item = (&String, &TrackedNumber)> {
        self.tracker.shown().chain(self.sound.shown())
    }

    /// Watches that fired on its series and have not cleared.
    fn fired(&self, stream: &StreamName) -> Vec<FiredWatch> {
        let fired = self.states.iter().filter_map(|((watch, key), state)| {
            let (incident, since) = state.fired()?;
            Some(FiredWatch {
                watch: watch.clone(),
                stream: stream.clone(),
                key: key.clone(),
                incident,
                since,
            })
        });
        fired.collect()
    }
}

impl SeriesRecorder {
    /// Creates the recorder; numbers are read with secrets redacted at least.
    pub fn new(
        context: &AgentContext,
        agents: watch_channel::Receiver<AgentSet>,
        redact: Redact,
    ) -> Self {
        Self {
            frames: context.frames.clone(),
            audio: context.audio.clone(),
            findings: context.findings.clone(),
            metrics: Arc::clone(&context.metrics),
            agents,
            redact: redact.max(Redact::Secrets),
            streams: HashMap::new(),
            watches: Arc::default(),
            ids: Vec::new(),
            fired: FiredWatches::default(),
            written: Timestamp::MIN,
        }
    }

    /// Runs until the shutdown; what was seen last is written then.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut changes = self.frames.changes();
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.begin().await;
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                Ok(()) = changes.changed() => {
                    changes.borrow_and_update();
                    self.read_new().await;
                }
                _ = ticks.tick() => {
                    self.confirm();
                    self.listen(Timestamp::now());
                }
            }
            self.follow_watches().await;
            self.judge().await;
            self.write(Timestamp::now(), false).await;
        }
        self.finish(Timestamp::now()).await;
    }

    /// Takes up the watches that fired before a restart.
    pub async fn begin(&mut self) {
        match self.findings.read(Readers::fired_watches).await {
            Ok(fired) => self.fired = FiredWatches::new(fired),
            Err(error) => tracing::error!(%error, "failed to read the watches that fired"),
        }
        self.watches = Arc::clone(&self.agents.borrow_and_update().watches);
        self.ids = watch_ids(&self.watches);
        self.end_removed().await;
    }

    /// Takes what is on the screens at a time, where time is not the clock's: in
    /// a replay.
    pub async fn turn(&mut self, now: Timestamp) {
        self.read_new().await;
        self.confirm();
        self.judge().await;
        self.write(now, false).await;
    }

    /// Writes what was seen last.
    pub async fn finish(&mut self, now: Timestamp) {
        self.write(now, true).await;
    }

    /// Takes the numbers of the frames read since the last time.
    async fn read_new(&mut self) {
        for stream in self.frames.live() {
            let last = self
                .streams
                .get(&stream)
                .and_then(|known| known.frame.as_ref());
            let last = last.map(|frame| frame.seq);
            for frame in self.frames.reads_after(&stream, last) {
                let redact = self.redact;
                let read = Arc::clone(&frame);
                // Layout and redaction take milliseconds.
                let numbers = tokio::task::spawn_blocking(move || {
                    RedactedFrame::of(&read, redact).map(|frame| numbers_of(&frame))
                });
                let Ok(Some(numbers)) = numbers.await else {
                    continue;
                };
                let known = self.streams.entry(stream.clone()).or_default();
                known.tracker.read(&stream, numbers, frame.captured_at);
                known.frame = Some(frame);
            }
        }
    }

    /// Notes what is still on the screens: without new content there is no new
    /// reading.
    fn confirm(&mut self) {
        let live = self.frames.live();
        for (stream, known) in &mut self.streams {
            if !live.contains(stream) {
                known.tracker.lose();
                continue;
            }
            // Content that is not read yet may be anything.
            let read = self.frames.behind_since(stream).is_none() && !self.frames.is_idle(stream);
            if let Some(newest) = self.frames.newest(stream).filter(|_| read) {
                known.tracker.confirm(newest.captured_at);
            }
        }
        if self.streams.len() > MOST_STREAMS {
            let read_at =
                |known: &StreamSeries| known.frame.as_ref().map(|frame| frame.captured_at);
            let gone = self.streams.iter().filter(|(name, _)| !live.contains(name));
            let oldest = gone.min_by_key(|(_, known)| read_at(known));
            if let Some(name) = oldest.map(|(name, _)| name.clone())
                && let Some(known) = self.streams.remove(&name)
            {
                self.fired.extend(known.fired(&name));
            }
        }
    }

    /// Takes the loudness of each stream with sound.
    fn listen(&mut self, now: Timestamp) {
        let heard: HashMap<_, _> = self.audio.loudness().into_iter().collect();
        for (stream, reading) in &heard {
            if now.duration_since(reading.at) < SILENT {
                let known = self.streams.entry(stream.clone()).or_default();
                known
                    .sound
                    .read(stream, vec![loudness(*reading)], reading.at);
            }
        }
        for (stream, known) in &mut self.streams {
            let there = heard.get(stream);
            if there.is_none_or(|reading| now.duration_since(reading.at) >= SILENT) {
                known.sound.lose();
            }
        }
    }

    /// Takes over changed watches: a watch that fired is not repeated because
    /// its limit is another now, and one that was removed ends.
    async fn follow_watches(&mut self) {
        let now = Arc::clone(&self.agents.borrow_and_update().watches);
        if now == self.watches {
            return;
        }
        let ids = watch_ids(&now);
        let before: HashMap<&String, &WatchConfig> = self.ids.iter().zip(&*self.watches).collect();
        for (id, watch) in ids.iter().zip(&*now) {
            if before.get(id).is_none_or(|before| *before == watch) {
                continue;
            }
            for known in self.streams.values_mut() {
                let changed = known.states.iter_mut().filter(|((of, _), _)| of == id);
                changed.for_each(|(_, state)| state.reconsider());
            }
        }
        (self.watches, self.ids) = (now, ids);
        self.end_removed().await;
    }

    /// Ends what was reported by watches that are no longer configured: nobody
    /// would tell when the value is back to normal.
    async fn end_removed(&mut self) {
        let ids = &self.ids;
        let mut ended = self.fired.retain(ids);
        for (stream, known) in &mut self.streams {
            let gone = known
                .fired(stream)
                .into_iter()
                .filter(|fired| !ids.contains(&fired.watch));
            ended.extend(gone);
            known.states.retain(|(id, _), _| ids.contains(id));
        }
        for fired in ended {
            let ended = report::removed(&self.findings, fired).await;
            if let Err(error) = ended {
                tracing::error!(error = format!("{error:#}"), "failed to end a watch");
            }
        }
    }

    /// Compares what is on the screens with the watches, and tells what has
    /// changed.
    async fn judge(&mut self) {
        if self.watches.is_empty() {
            return;
        }
        let watches = Arc::clone(&self.watches);
        let mut told = Vec::new();
        for (stream, known) in &mut self.streams {
            let here = |watch: &WatchConfig| watch.stream.as_ref().is_none_or(|of| of == stream);
            let all = self.ids.iter().zip(&*watches);
            for (id, watch) in all.filter(|(_, watch)| here(watch)) {
                // Of sound without OCR there is the newest picture.
                let frame = known.frame.clone();
                let frame = frame.or_else(|| self.frames.newest(stream));
                let shown = known.tracker.shown().chain(known.sound.shown());
                let named = shown.filter(|(_, number)| {
                    watch.names(&number.name.label) && watch.compares(number.quantity())
                });
                for (key, number) in named {
                    let at = (id.clone(), key.clone());
                    let state = match known.states.get_mut(&at) {
                        Some(state) => state,
                        None => {
                            let fired = self.fired.take(id, stream, key);
                            let state = restored(&self.findings, watch, number, key, fired).await;
                            known.states.entry(at.clone()).or_insert(state)
                        }
                    };
                    if let Some(change) = state.observe(watch, number.value, number.to)
                        && let Some(frame) = &frame
                    {
                        told.push((at, watch, change, number.clone(), Arc::clone(frame)));
                    }
                }
            }
        }
        for (at, watch, change, number, frame) in told {
            let stream = number.name.stream.clone();
            let report = WatchReport {
                watch,
                number,
                frame,
                policy: self.policy(&watch.agent),
                findings: &self.findings,
                metrics: &self.metrics,
            };
            let done = match change {
                WatchChange::Fires { since, usual } => report
                    .fires(since, usual)
                    .await
                    .map(|incident| Some((incident, since))),
                WatchChange::Clears {
                    incident,
                    since,
                    until,
                } => report.clears(incident, since, until).await.map(|()| None),
            };
            let states = self.streams.get_mut(&stream).map(|known| &mut known.states);
            let Some(state) = states.and_then(|states| states.get_mut(&at)) else {
                continue;
            };
            let (watch, key) = at;
            let kept = match done {
                Ok(Some((incident, since))) => {
                    state.reported(incident, since);
                    let fired = FiredWatch {
                        watch,
                        stream,
                        key,
                        incident,
                        since,
                    };
                    self.findings.write(fired).await
                }
                Ok(None) => {
                    state.cleared();
                    self.findings.write(WatchEnd { watch, stream, key }).await
                }
                // Repeated at the next turn.
                Err(error) => {
                    tracing::error!(%error, "failed to report a watched number");
                    continue;
                }
            };
            if let Err(error) = kept {
                tracing::error!(%error, "failed to keep the state of a watch");
            }
        }
    }

    /// Redaction of the analyst that reports.
    fn policy(&self, agent: &str) -> Option<crate::Policy> {
        let agents = self.agents.borrow();
        let member = agents
            .members
            .iter()
            .find(|member| member.config.name() == agent)?;
        Some(member.chain.policy())
    }

    /// Writes what is due, and shows it as metrics.
    async fn write(&mut self, now: Timestamp, all: bool) {
        let waited = now.duration_since(self.written);
        if !all && waited >= SignedDuration::ZERO && waited < WRITE_EVERY {
            return;
        }
        self.written = now;
        let runs: Vec<_> = self
            .streams
            .values_mut()
            .flat_map(|known| [known.tracker.due(all), known.sound.due(all)])
            .flatten()
            .collect();
        let shown = self.streams.values().flat_map(StreamSeries::shown);
        let mut shown: Vec<_> = shown
            .map(|(_, number)| (&number.name, number.value))
            .collect();
        // The same ones each time, where there are too many.
        shown.sort_by_key(|(name, _)| *name);
        self.metrics.show_numbers(shown.into_iter());
        if runs.is_empty() {
            return;
        }
        match self.findings.write(SeriesBatch { runs, at: now }).await {
            Ok(left_out) => drop(self.metrics.dropped_series.inc_by(left_out)),
            Err(error) => tracing::error!(%error, "failed to store the numbers of the screens"),
        }
    }
}

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
use watchtower_domain::series::SeriesName;
use watchtower_record::Record;
use watchtower_record::store::{SampleQuery, SeriesBatch, SeriesQuery};
use watchtower_screen::frame::Frame;
use watchtower_screen::frames::FrameBus;
use watchtower_screen::redact::{Redact, RedactedFrame};
use watchtower_screen::series::numbers_of;

use self::report::WatchReport;
use self::settings::{WatchCondition, WatchConfig};
use self::tracker::SeriesTracker;
use self::watch::{BASELINE, WatchChange, WatchState};
use crate::metrics::AnalystMetrics;
use crate::{AgentContext, AgentSet};

/// Interval at which what is on the screens counts as seen again.
const EVERY: Duration = Duration::from_secs(1);
/// Interval of writes: a reading of 300 numbers is one write of its changes.
const WRITE_EVERY: SignedDuration = SignedDuration::from_secs(5);
/// Maximum streams remembered; the one read longest ago is forgotten.
const MOST_STREAMS: usize = 256;
/// Step of the history that a baseline begins with, in seconds.
const HISTORY_STEP: u32 = 10;
/// Series searched for the one whose history is wanted.
const MOST_NAMESAKES: usize = 1000;

/// Recorder of series, and judge of the watches.
#[derive(Debug)]
pub struct SeriesRecorder {
    frames: FrameBus,
    findings: Record,
    metrics: Arc<AnalystMetrics>,
    agents: watch_channel::Receiver<AgentSet>,
    redact: Redact,
    streams: HashMap<StreamName, StreamSeries>,
    written: Timestamp,
}

/// Series of a stream, and the state of the watches on them.
#[derive(Debug, Default)]
struct StreamSeries {
    tracker: SeriesTracker,
    /// Last frame read.
    frame: Option<Arc<Frame>>,
    states: HashMap<StateKey, WatchState>,
}

/// Watch, as it is configured, and series.
type StateKey = (usize, String);

impl SeriesRecorder {
    /// Creates the recorder; numbers are read with secrets redacted at least.
    pub fn new(
        context: &AgentContext,
        agents: watch_channel::Receiver<AgentSet>,
        redact: Redact,
    ) -> Self {
        Self {
            frames: context.frames.clone(),
            findings: context.findings.clone(),
            metrics: Arc::clone(&context.metrics),
            agents,
            redact: redact.max(Redact::Secrets),
            streams: HashMap::new(),
            written: Timestamp::now(),
        }
    }

    /// Runs until the shutdown; what was seen last is written then.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut changes = self.frames.changes();
        let mut watches = self.watches();
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                Ok(()) = changes.changed() => {
                    changes.borrow_and_update();
                    self.read_new().await;
                }
                _ = ticks.tick() => self.confirm(),
            }
            let now = self.watches();
            if now != watches {
                self.carry_over(&watches, &now);
                watches = now;
            }
            self.judge(&watches).await;
            self.write(false).await;
        }
        self.write(true).await;
    }

    fn watches(&mut self) -> Arc<[WatchConfig]> {
        Arc::clone(&self.agents.borrow_and_update().watches)
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
            if let Some(name) = oldest.map(|(name, _)| name.clone()) {
                self.streams.remove(&name);
            }
        }
    }

    /// Keeps the states of watches that are still configured as they were.
    fn carry_over(&mut self, before: &[WatchConfig], now: &[WatchConfig]) {
        let place: Vec<Option<usize>> = before
            .iter()
            .map(|watch| now.iter().position(|other| other == watch))
            .collect();
        for known in self.streams.values_mut() {
            let states = std::mem::take(&mut known.states);
            let kept = states.into_iter().filter_map(|((watch, key), state)| {
                let watch = place.get(watch).copied().flatten()?;
                Some(((watch, key), state))
            });
            known.states = kept.collect();
        }
    }

    /// Compares what is on the screens with the watches, and tells what has
    /// changed.
    async fn judge(&mut self, watches: &[WatchConfig]) {
        if watches.is_empty() {
            return;
        }
        let mut told = Vec::new();
        for (stream, known) in &mut self.streams {
            let here = |watch: &WatchConfig| watch.stream.as_ref().is_none_or(|of| of == stream);
            for (nth, watch) in watches.iter().enumerate().filter(|(_, watch)| here(watch)) {
                let shown = known.tracker.shown();
                let named = shown.filter(|(_, number)| {
                    watch.names(&number.name.label) && watch.compares(number.quantity())
                });
                for (key, number) in named {
                    let at = (nth, key.clone());
                    let state = match known.states.get_mut(&at) {
                        Some(state) => state,
                        None => {
                            let state = state(&self.findings, watch, key, &number.name).await;
                            known.states.entry(at.clone()).or_insert(state)
                        }
                    };
                    if let Some(change) = state.observe(watch, number.value, number.to)
                        && let Some(frame) = &known.frame
                    {
                        told.push((at, change, number.clone(), Arc::clone(frame)));
                    }
                }
            }
        }
        for ((nth, key), change, number, frame) in told {
            let stream = number.name.stream.clone();
            let report = WatchReport {
                watch: &watches[nth],
                number,
                frame,
                policy: self.policy(&watches[nth].agent),
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
            let Some(state) = states.and_then(|states| states.get_mut(&(nth, key))) else {
                continue;
            };
            match done {
                Ok(Some((incident, since))) => state.reported(incident, since),
                Ok(None) => state.cleared(),
                // Repeated at the next turn.
                Err(error) => tracing::error!(%error, "failed to report a watched number"),
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
    async fn write(&mut self, all: bool) {
        let now = Timestamp::now();
        let waited = now.duration_since(self.written);
        if !all && waited >= SignedDuration::ZERO && waited < WRITE_EVERY {
            return;
        }
        self.written = now;
        let runs: Vec<_> = self
            .streams
            .values_mut()
            .flat_map(|known| known.tracker.due(all))
            .collect();
        let shown = self
            .streams
            .values()
            .flat_map(|known| known.tracker.shown());
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

/// State of a watch on a series, with its history if it is judged by that.
async fn state(findings: &Record, watch: &WatchConfig, key: &str, name: &SeriesName) -> WatchState {
    if !matches!(watch.condition, WatchCondition::Changes(_)) {
        return WatchState::default();
    }
    let until = Timestamp::now();
    let length = SignedDuration::from_secs(i64::from(HISTORY_STEP) * BASELINE as i64);
    let query = SeriesQuery {
        stream: Some(name.stream.to_string()),
        label: Some(name.label.clone()),
        limit: MOST_NAMESAKES,
        ..SeriesQuery::default()
    };
    let key = key.to_owned();
    let history = findings.read(move |store| {
        let page = store.series(&query)?;
        let Some(series) = page.items.into_iter().find(|series| series.key == key) else {
            return Ok(Vec::new());
        };
        store.samples(&SampleQuery {
            series: series.id,
            from: until - length,
            until,
            step: HISTORY_STEP,
        })
    });
    match history.await {
        Ok(points) => WatchState::with_history(points.into_iter().map(|point| point.mean)),
        Err(error) => {
            tracing::error!(%error, "failed to read the history of a watched number");
            WatchState::default()
        }
    }
}

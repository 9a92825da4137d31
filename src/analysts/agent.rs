//! Analysis loop of an analyst: schedules scans of its streams.
//!
//! Each stream has its own scanner ([`StreamLook`]); several may run at once.
//! Rules scan every OCR reading as it is made. Requests to a hosted model start
//! at the analyst's pace ([`LookPace`]), the stream scanned longest ago first,
//! and then share the queue of the model's governor.

mod look;
mod shared;
mod words;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use watchtower_base::backoff::Backoff;
use watchtower_base::stream_name::StreamName;
use watchtower_models::model::FramePolicy;
use watchtower_screen::redact::Redact;

use super::pace::{LookPace, LookSlot};
use super::panel::PanelQueue;
use super::{AgentContext, AgentSpec};
use look::StreamLook;
use shared::AgentShared;

/// Minimum wait before the next scan of a stream that had nothing to ask.
const PAUSE: Duration = Duration::from_millis(200);
/// Maximum backoff before a failed scan is restarted.
const LONGEST_RESTART: Duration = Duration::from_secs(60);

/// Running analyst.
#[derive(Debug)]
pub struct Agent {
    shared: Arc<AgentShared>,
    changes: watch::Receiver<u64>,
    streams: HashMap<StreamName, StreamTurn>,
    pace: LookPace,
    looks: JoinSet<(StreamLook, bool)>,
    under_way: HashMap<Id, LookUnderWay>,
    shutdown: CancellationToken,
}

/// Scan schedule of a stream.
#[derive(Debug)]
struct StreamTurn {
    /// `None` while a scan is running.
    look: Option<StreamLook>,
    /// Start of the last scan.
    started: Option<Instant>,
    /// Earliest start of the next scan, whatever the interval.
    not_before: Option<Instant>,
    restarts: Backoff,
}

#[derive(Debug)]
struct LookUnderWay {
    stream: StreamName,
    started: Instant,
    /// `None` if requests are not paced.
    slot: Option<LookSlot>,
}

impl StreamTurn {
    fn new(look: StreamLook) -> Self {
        Self {
            look: Some(look),
            started: None,
            not_before: None,
            restarts: Backoff::up_to(LONGEST_RESTART),
        }
    }

    /// Earliest time of the next scan: `interval` after the last one.
    fn from(&self, interval: Duration) -> Option<Instant> {
        let rested = self.started.map(|started| started + interval);
        rested.max(self.not_before)
    }
}

impl Agent {
    pub fn new(member: AgentSpec, context: AgentContext) -> Self {
        let never = CancellationToken::new();
        Self::with(member, context, None, (never.clone(), never))
    }

    /// Creates an analyst whose reports go to the panel. It starts no new scan
    /// once it is `leaving`, and cancels running ones at `shutdown`.
    pub(super) fn seated(
        member: AgentSpec,
        context: AgentContext,
        table: PanelQueue,
        (leaving, shutdown): (CancellationToken, CancellationToken),
    ) -> Self {
        Self::with(member, context, Some(table), (leaving, shutdown))
    }

    fn with(
        member: AgentSpec,
        context: AgentContext,
        table: Option<PanelQueue>,
        (leaving, shutdown): (CancellationToken, CancellationToken),
    ) -> Self {
        Self {
            changes: context.frames.changes(),
            pace: LookPace::new(member.config.requests_per_interval),
            shared: Arc::new(AgentShared::new(member, context, table, leaving)),
            streams: HashMap::new(),
            looks: JoinSet::new(),
            under_way: HashMap::new(),
            shutdown,
        }
    }

    /// Runs until it is to leave and the running scans have ended, or until the
    /// shutdown has cancelled them.
    pub(super) async fn run(mut self) {
        let leaving = self.shared.leaving.clone();
        loop {
            self.changes.borrow_and_update();
            let next = self.start_looks();
            if leaving.is_cancelled() && self.under_way.is_empty() {
                return;
            }
            self.say_idle();
            let timer = async {
                match next {
                    Some(next) => tokio::time::sleep_until(next).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.shutdown.cancelled() => {
                    // Awaited, so that nothing is published after this returns.
                    self.looks.shutdown().await;
                    return;
                }
                () = leaving.cancelled(), if !leaving.is_cancelled() => {}
                Some(ended) = self.looks.join_next_with_id() => self.take_back(ended),
                Ok(()) = self.changes.changed() => {}
                () = timer => {}
            }
        }
    }

    /// Scans the next stream in turn that has changes, whatever the interval;
    /// false if there is none.
    pub async fn look(&mut self) -> bool {
        for stream in self.in_turn() {
            let Some(turn) = self.streams.get_mut(&stream) else {
                continue;
            };
            let started = Instant::now();
            if let Some(look) = &mut turn.look
                && look.look().await
            {
                turn.started = Some(started);
                return true;
            }
        }
        false
    }

    /// Starts the scans that are due; returns when the next one may start.
    fn start_looks(&mut self) -> Option<Instant> {
        let shared = Arc::clone(&self.shared);
        let link = shared.member.chain.current(&shared.context);
        let paced = link.model.frame_policy() == FramePolicy::Newest;
        let interval = if paced {
            shared.interval()
        } else {
            Duration::ZERO
        };
        let now = Instant::now();
        let mut next: Option<Instant> = None;
        let mut later = |at: Instant| next = Some(next.map_or(at, |next| next.min(at)));
        for stream in self.in_turn() {
            let Some(turn) = self.streams.get_mut(&stream) else {
                continue;
            };
            let news = |look: &StreamLook| !look.pick(link).is_empty();
            if !turn.look.as_ref().is_some_and(news) {
                continue;
            }
            if let Some(from) = turn.from(interval).filter(|from| *from > now) {
                later(from);
                continue;
            }
            let slot = match paced.then(|| self.pace.take(now, interval)) {
                None => None,
                Some(Ok(slot)) => Some(slot),
                Some(Err(rested)) => {
                    if let Some(rested) = rested {
                        later(rested);
                    }
                    break;
                }
            };
            let Some(mut look) = turn.look.take() else {
                continue;
            };
            shared.restarted(&stream);
            let work = async move {
                let asked = look.look().await;
                (look, asked)
            };
            let id = self.looks.spawn(work.in_current_span()).id();
            let under_way = LookUnderWay {
                stream,
                started: now,
                slot,
            };
            self.under_way.insert(id, under_way);
        }
        next
    }

    /// Live streams of this analyst, the one scanned longest ago first.
    fn in_turn(&mut self) -> Vec<StreamName> {
        let shared = &self.shared;
        let wanted = &shared.member.config.streams;
        let mut live = shared.context.frames.live();
        live.retain(|stream| wanted.is_empty() || wanted.contains(stream));
        // The entry of a running scan is kept.
        self.streams
            .retain(|stream, turn| turn.look.is_none() || live.contains(stream));
        shared.retain(&live);
        for stream in &live {
            if !self.streams.contains_key(stream) {
                let look = StreamLook::new(Arc::clone(shared), stream.clone());
                self.streams.insert(stream.clone(), StreamTurn::new(look));
            }
        }
        // The list is sorted by name; `None` sorts first.
        live.sort_by_key(|stream| self.streams.get(stream).and_then(|turn| turn.started));
        live
    }

    fn take_back(&mut self, ended: Result<(Id, (StreamLook, bool)), JoinError>) {
        let id = ended.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let Some(under_way) = self.under_way.remove(&id) else {
            return;
        };
        let LookUnderWay {
            stream,
            started,
            slot,
        } = under_way;
        let asked = !matches!(ended, Ok((_, (_, false))));
        if let Some(slot) = slot {
            self.pace.give_back(slot, asked.then_some(started));
        }
        let Some(turn) = self.streams.get_mut(&stream) else {
            return;
        };
        match ended {
            Ok((_, (look, asked))) => {
                turn.look = Some(look);
                if asked {
                    turn.started = Some(started);
                    turn.restarts.reset();
                }
                turn.not_before = (!asked).then(|| Instant::now() + PAUSE);
            }
            Err(failure) => {
                let wait = turn.restarts.next(None);
                tracing::error!(%stream, reason = %failure, wait_ms = wait.as_millis() as u64, "analyst failed, restarting");
                turn.look = Some(StreamLook::new(Arc::clone(&self.shared), stream.clone()));
                turn.not_before = Some(Instant::now() + wait);
                self.shared.crashed(&stream);
            }
        }
    }

    /// Sets the status to the reason of the wait, until the first scan: then
    /// the status of the last scan stays readable.
    fn say_idle(&self) {
        if !self.under_way.is_empty() {
            return;
        }
        let shared = &self.shared;
        if self.streams.is_empty() {
            shared.say("no live stream");
        } else if self.streams.values().all(|turn| turn.started.is_none()) {
            let link = shared.member.chain.current(&shared.context);
            let waits_for_text = link.model.frame_policy() == FramePolicy::EveryRead
                || link.policy.redact != Redact::Off;
            shared.say(if waits_for_text {
                "waiting for OCR"
            } else {
                "waiting for a frame"
            });
        }
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod turn_tests;

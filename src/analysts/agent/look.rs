//! Scans of one stream by an analyst: pick frames, ask the model, publish.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use watchtower_base::stream_name::StreamName;
use watchtower_domain::finding::{Finding, FrameRef, ModelRef, Observation};
use watchtower_domain::transcript::{Purpose, RawExchange, Transcript};
use watchtower_models::model::{
    Failure, Fatal, FollowUp, FramePolicy, MOST_REMEMBERED, Memory, ObserveQuestion, ObserveReply,
    Reply, ScreenChanges, outcome,
};
use watchtower_record::store::{AskedOf, FindingQuery, Publication};
use watchtower_screen::evidence_regions::EvidenceRegions;
use watchtower_screen::frame::Frame;
use watchtower_screen::redact::RedactedFrame;

use super::shared::AgentShared;
use super::words;
use crate::budget::BudgetStep;
use crate::budgeted_ask::{AskSpan, AskTerms, ModelLease, NoRoom};
use crate::changes::Looked;
use crate::memory::StreamMemory;
use crate::model_chain::ChainLink;
use crate::transcripts::TranscriptBuilder;
use crate::{changes, grounding, prompt_leak, transcripts};

/// Retry interval of a finding that could not be written.
const WRITE_AGAIN: Duration = Duration::from_secs(2);

/// Wait for an exhausted budget by hour or day: another model may be available
/// sooner.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Settled question about a stream.
#[derive(Debug)]
struct Analysis {
    /// Position in the chain of the model asked.
    place: usize,
    /// Frames shown, before redaction.
    picked: Vec<Arc<Frame>>,
    memory: Memory,
    result: Result<ObserveReply, Failure>,
    span: AskSpan,
}

/// Scanner of one stream, with the context it keeps of it.
#[derive(Debug)]
pub(super) struct StreamLook {
    shared: Arc<AgentShared>,
    stream: StreamName,
    /// Last analysed frame.
    looked: Option<Looked>,
    memory: StreamMemory,
}

impl StreamLook {
    pub(super) fn new(shared: Arc<AgentShared>, stream: StreamName) -> Self {
        Self {
            shared,
            stream,
            looked: None,
            memory: StreamMemory::default(),
        }
    }

    /// Frames not analysed yet that a model of the chain may be shown; may be
    /// empty.
    pub(super) fn pick(&self, link: &ChainLink) -> Vec<Arc<Frame>> {
        if self.shared.leaving.is_cancelled() {
            return Vec::new();
        }
        let frames = &self.shared.context.frames;
        match link.model.frame_policy() {
            FramePolicy::Newest => {
                let newest = frames.to_look_at(&self.stream);
                let fresh = newest.filter(|newest| {
                    let looked = self.looked.as_ref();
                    looked.is_none_or(|looked| looked.is_before(newest))
                        // Its text is not read yet: it must not be sent.
                        && RedactedFrame::of(newest, link.policy.redact).is_some()
                });
                fresh.into_iter().collect()
            }
            FramePolicy::EveryRead => {
                let last = self.looked.as_ref().map(|looked| looked.seq);
                frames.reads_after(&self.stream, last)
            }
        }
    }

    /// Scans once if there are changes to analyse. A request that a model of
    /// the chain can't answer goes to the next one.
    pub(super) async fn look(&mut self) -> bool {
        let shared = Arc::clone(&self.shared);
        let (chain, context) = (&shared.member.chain, &shared.context);
        if self.pick(chain.current(context)).is_empty() {
            return false;
        }
        let _wanting = shared.want();
        let mut from = 0;
        let mut unanswered: Option<Analysis> = None;
        // Place in the queue, kept while the budget has no room.
        let mut kept = None;
        loop {
            // Admission may take long; the newest frame is picked after it.
            let say = |state: &str| shared.say(state);
            let lease = chain.turn_again(from, context, kept.take(), say).await;
            if from == 0 || chain.closed(0, context).is_some() {
                shared.announce(&lease).await;
            }
            let Some((question, picked)) = self.question(lease.link()).await else {
                drop(lease);
                let Some(analysis) = unanswered else {
                    return false;
                };
                self.conclude(analysis).await;
                return true;
            };
            let analysis = match self.ask(lease, question, picked).await {
                Ok(analysis) => analysis,
                Err(no_room) => {
                    // By now there may be a newer frame.
                    kept = no_room.queued;
                    continue;
                }
            };
            self.count(&analysis);
            match self.next(&analysis) {
                Some(next) => {
                    unanswered = Some(analysis);
                    from = next;
                }
                None => {
                    self.conclude(analysis).await;
                    return true;
                }
            }
        }
    }

    /// Request that a model of the chain would be sent now, with its frames
    /// before redaction.
    async fn question(&mut self, link: &ChainLink) -> Option<(ObserveQuestion, Vec<Arc<Frame>>)> {
        let picked = self.pick(link);
        // Redacted frames: nothing that must not leave reaches the model.
        let frames: Vec<_> = picked
            .iter()
            .filter_map(|frame| link.policy.redacted(frame))
            .collect();
        let newest = frames.last().cloned()?;
        let mut memory = self.recall(link, &newest).await;
        if let Some(raw) = picked.last() {
            grounding::mask_memory(&mut memory, raw, &link.policy);
        }
        let mut news = match link.model.frame_policy() {
            FramePolicy::Newest => {
                let agent = &self.shared.member.config;
                changes::since(self.looked.as_ref(), &newest, agent)
            }
            // It is shown every frame, and detects changes by itself.
            FramePolicy::EveryRead => ScreenChanges::default(),
        };
        let step = || self.shared.context.budget.step();
        if link.is_hosted() && step() >= BudgetStep::FewerRegions {
            news.regions.clear();
        }
        // Only to the model it was allowed for, whichever is asked instead.
        let audio = match link.hears {
            true => self
                .shared
                .context
                .audio
                .recent(&self.stream, Timestamp::now()),
            false => None,
        };
        let question = ObserveQuestion {
            persona: Arc::clone(&self.shared.member.config.persona),
            news,
            frames,
            memory,
            audio: audio.map(Arc::new),
        };
        Some((question, picked))
    }

    /// Sends the question; fails if the budget is exhausted, after waiting for
    /// it.
    async fn ask(
        &self,
        lease: ModelLease,
        question: ObserveQuestion,
        picked: Vec<Arc<Frame>>,
    ) -> Result<Analysis, NoRoom> {
        let memory = question.memory.clone();
        let terms = AskTerms {
            agent: Some(self.shared.member.config.name().to_owned()),
            state: words::analysing(&question, &self.by(lease.place())),
            wait_for_room: Some(LONGEST_WAIT),
        };
        let say = |state: &str| self.shared.say(state);
        let asked = lease
            .ask(question.into(), &self.shared.context, terms, say)
            .await?;
        Ok(Analysis {
            place: asked.place,
            picked,
            memory,
            result: asked.result.and_then(Reply::observed),
            span: asked.span,
        })
    }

    /// Next model of the chain to ask, if another one may help.
    fn next(&self, asked: &Analysis) -> Option<usize> {
        let (chain, context) = (&self.shared.member.chain, &self.shared.context);
        let instead = match asked.result.as_ref().err()? {
            // Another model may answer the same frame.
            Failure::NoAnswer { .. } | Failure::Refused { .. } => true,
            Failure::Fatal { kind, .. } if *kind == Fatal::Request => true,
            // Transient failures are retried with the next scan.
            Failure::RateLimited { .. } | Failure::Transient { .. } | Failure::Fatal { .. } => {
                chain.closed(asked.place, context).is_some()
            }
        };
        instead.then(|| chain.after(asked.place, context)).flatten()
    }

    /// Name of the answering model, unless it is the first.
    fn by(&self, place: usize) -> String {
        match place {
            0 => String::new(),
            _ => {
                let link = &self.shared.member.chain.links()[place];
                format!(", by {}", words::named(&link.model.identity()))
            }
        }
    }

    /// Context of the stream, with findings from before a restart.
    async fn recall(&mut self, link: &ChainLink, frame: &Frame) -> Memory {
        let stream = &self.stream;
        if self.memory.is_new() && link.model.frame_policy() == FramePolicy::Newest {
            let query = FindingQuery {
                agent: Some(self.shared.name().to_owned()),
                stream: Some(stream.to_string()),
                limit: MOST_REMEMBERED,
                ..FindingQuery::default()
            };
            let findings = &self.shared.context.findings;
            match findings.read(move |store| store.findings(&query)).await {
                Ok(page) => {
                    let oldest_first = page.items.iter().rev();
                    oldest_first.for_each(|finding| self.memory.reported(finding));
                }
                Err(error) => tracing::warn!(%error, "failed to load earlier findings of {stream}"),
            }
        }
        self.memory.at(frame.captured_at)
    }

    /// Updates the context and writes ended findings to the analyst's log.
    async fn follow_up(&mut self, asked: &Memory, answer: FollowUp) {
        let shared = &self.shared;
        for ended in self.memory.follow_up(asked, answer) {
            let said = format!("ended: {} (incident {})", ended.title, ended.incident);
            shared.context.findings.note(shared.name(), &said).await;
        }
    }

    /// Counts an answer and its cost.
    fn count(&self, asked: &Analysis) {
        let outcome = outcome(&asked.result);
        let (name, metrics) = (self.shared.name(), &self.shared.context.metrics);
        metrics.answer(name, outcome);
        let found = asked.result.as_ref().map_or(0, |answer| answer.seen.len());
        self.shared.looked(outcome.as_str(), found as u64);
        match &asked.result {
            Ok(answer) => {
                metrics.dropped_findings.inc_by(u64::from(answer.dropped));
                metrics.usage(name, answer.usage);
            }
            Err(Failure::NoAnswer { dropped, .. }) => {
                metrics.dropped_findings.inc_by(u64::from(*dropped));
            }
            Err(_) => {}
        }
    }

    /// Publishes and logs the findings of an analysis.
    async fn conclude(&mut self, analysis: Analysis) {
        let Analysis {
            place,
            picked,
            memory,
            result,
            span,
        } = analysis;
        let Some(raw) = picked.last() else {
            return;
        };
        // Stored redacted for the whole chain, whichever model is asked next.
        let shared = Arc::clone(&self.shared);
        let policy = shared.member.chain.policy();
        let frame = &policy.redacted_or_masked(raw);
        // A frame that would get the same answer is not sent again.
        let done = match &result {
            Ok(_) | Err(Failure::NoAnswer { .. } | Failure::Refused { .. }) => true,
            Err(Failure::Fatal { kind, .. }) => *kind == Fatal::Request,
            Err(Failure::RateLimited { .. } | Failure::Transient { .. }) => false,
        };
        let mut unshown = 0;
        if done {
            let before = self.looked.replace(Looked::at(frame));
            if let Some(before) = before {
                unshown = before.unshown(&picked);
                let metrics = &shared.context.metrics;
                metrics.dropped_changes.inc_by(unshown);
                shared.context.board.unshown(shared.name(), unshown);
                metrics
                    .dropped_frames
                    .inc_by(frame.seq.saturating_sub(before.seq + 1));
            }
        }
        let at = format!("{}{}", frame.stream, self.by(place));
        let seq = frame.seq;
        match result {
            Ok(answer) => {
                shared.relieved(&self.stream).await;
                let found = answer.seen.len();
                self.follow_up(&memory, answer.follow_up).await;
                let mut shares = span.cost.parts(found);
                let transcript = match answer.exchange.filter(|_| found > 0) {
                    Some(exchange) => {
                        Some(self.transcript(*exchange, span, &answer.model, raw).await)
                    }
                    None => None,
                };
                for seen in answer.seen {
                    let shown = picked.iter().find(|frame| frame.seq == seen.frame.seq);
                    // The model can only refer to what it was shown.
                    let shown = shown.unwrap_or(raw);
                    let asked = transcript.clone().map(|transcript| AskedOf {
                        transcript,
                        share: shares.next().unwrap_or_default(),
                    });
                    self.publish(shown, seen.observation, &answer.model, asked)
                        .await;
                }
                let what = words::analysed(found, unshown);
                shared.say(&format!("{at}: {what} (frame {seq})"));
            }
            Err(failure) => {
                shared.say(&format!("{at}: {failure} (frame {seq})"));
                shared.complain(&self.stream, failure.to_string()).await;
            }
        }
    }

    /// Publishes a finding; durable before it returns, with retries until the
    /// write succeeds.
    async fn publish(
        &mut self,
        frame: &Arc<Frame>,
        observation: Observation,
        model: &ModelRef,
        asked: Option<AskedOf>,
    ) {
        let mut publication = self.publication(frame, observation, model).await;
        publication.asked = asked;
        let severity = publication.finding.severity;
        let shared = Arc::clone(&self.shared);
        let context = &shared.context;
        let finding = loop {
            match context.findings.publish(publication.clone()).await {
                Ok(finding) => break finding,
                Err(error) => {
                    tracing::error!(%error, "failed to store a finding, retrying");
                    shared.say(&format!("waiting to store a finding: {error}"));
                    tokio::time::sleep(WRITE_AGAIN).await;
                }
            }
        };
        context.metrics.finding(shared.name(), severity);
        context
            .metrics
            .finding_latency(&model.provider, late(frame));
        self.memory.reported(&finding);
        if let Some(table) = &shared.table {
            table.report(context, finding, frame);
        }
    }

    async fn publication(
        &self,
        frame: &Arc<Frame>,
        mut observation: Observation,
        model: &ModelRef,
    ) -> Publication {
        let policy = self.shared.member.chain.policy();
        let raw = Arc::clone(frame);
        let persona = Arc::clone(&self.shared.member.config.persona);
        let hold = grounding::Hold {
            worst: policy.ungrounded,
            needs_quote: model.provider != "offline",
        };
        let prepare = move || {
            let raw = raw.hiding(&policy.own);
            grounding::ground(&mut observation, &raw, policy.redact, hold);
            grounding::mask_all(&mut observation, &raw, &policy);
            prompt_leak::withhold(&mut observation, &persona);
            let still = transcripts::still(&raw, policy.redact_evidence);
            let places = observation.places();
            let regions = EvidenceRegions::of(&raw, policy.redact_evidence, &places);
            (observation, still, regions)
        };
        let (observation, still, regions) = blocking(prepare).await;
        let at = FrameRef {
            seq: frame.seq,
            pts_ms: frame.pts.ms(),
            sha256: still
                .as_ref()
                .map_or_else(String::new, |still| still.sha256().to_owned()),
        };
        let finding = Finding::new(
            self.shared.name(),
            frame.stream.clone(),
            frame.captured_at,
            at,
            observation,
            model.clone(),
        );
        let context = &self.shared.context;
        context.findings.keep_regions(finding.id, regions);
        Publication {
            finding,
            still,
            asked: None,
        }
    }

    async fn transcript(
        &self,
        exchange: RawExchange,
        span: AskSpan,
        model: &ModelRef,
        frame: &Arc<Frame>,
    ) -> Arc<Transcript> {
        let policy = self.shared.member.chain.policy();
        let (model, frame) = (model.clone(), Arc::clone(frame));
        let persona = Arc::clone(&self.shared.member.config.persona);
        let builder = TranscriptBuilder::new(self.shared.name(), Purpose::Look, span);
        blocking(move || Arc::new(builder.transcript(exchange, model, &persona, &frame, &policy)))
            .await
    }
}

/// Runs CPU-bound work off the async workers.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        // The supervisor of this analyst handles the panic.
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // The runtime is shutting down, and this task with it.
        Err(_) => std::future::pending().await,
    }
}

/// Time since the change on the screen that a frame shows.
fn late(frame: &Frame) -> Duration {
    let late = Timestamp::now().duration_since(frame.changed_at);
    // Zero if the clock was set back.
    Duration::try_from(late).unwrap_or_default()
}

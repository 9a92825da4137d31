//! Analysis loop of one analyst: wait, pick, ask, publish.

mod words;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use watchtower_base::stream_name::StreamName;
use watchtower_domain::finding::{Finding, FrameRef, ModelRef, Observation};
use watchtower_domain::transcript::{Purpose, RawExchange, Transcript};
use watchtower_models::model::{
    Failure, Fatal, FollowUp, FramePolicy, MOST_REMEMBERED, Memory, ObserveQuestion, ObserveReply,
    Reply, outcome,
};
use watchtower_record::store::{AskedOf, FindingQuery, Publication};
use watchtower_screen::frame::Frame;
use watchtower_screen::redact::{Redact, RedactedFrame};

use super::budgeted_ask::{AskSpan, AskTerms, ModelLease};
use super::memory::Memories;
use super::panel::PanelQueue;
use super::{AgentContext, AgentSpec, grounding};
use crate::budget::{BudgetStep, BudgetWait};
use crate::changes::Looked;
use crate::model_chain::ChainLink;
use crate::transcripts::TranscriptBuilder;
use crate::{changes, prompt_leak, transcripts};

/// Between two tries to write a finding that could not be written.
const WRITE_AGAIN: Duration = Duration::from_secs(2);

/// Wait for an exhausted budget by hour or day: another model may be available
/// sooner.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Settled question about a stream.
#[derive(Debug)]
struct Analysis {
    /// Place in the chain of the model asked.
    place: usize,
    /// The pictures shown, as they were before anything was hidden.
    picked: Vec<Arc<Frame>>,
    memory: Memory,
    result: Result<ObserveReply, Failure>,
    span: AskSpan,
}

/// An analyst at work.
#[derive(Debug)]
pub struct Agent {
    member: AgentSpec,
    context: AgentContext,
    changes: watch::Receiver<u64>,
    looked: HashMap<StreamName, Looked>,
    memories: Memories,
    /// The stream looked at last: the next one in turn comes after it.
    last: Option<StreamName>,
    /// Failure last reported, so that it is reported once.
    complaint: Option<String>,
    /// Place in its chain of the model that answered last.
    answered_by: usize,
    /// Queue to the panel of what it reports.
    table: Option<PanelQueue>,
    leaving: CancellationToken,
}

impl Agent {
    pub fn new(member: AgentSpec, context: AgentContext) -> Self {
        let changes = context.frames.changes();
        Self {
            member,
            context,
            changes,
            looked: HashMap::new(),
            memories: Memories::default(),
            last: None,
            complaint: None,
            answered_by: 0,
            table: None,
            leaving: CancellationToken::new(),
        }
    }

    /// Its reports go to the panel, and it ends when it is to leave.
    pub(super) fn seated(mut self, table: PanelQueue, leaving: CancellationToken) -> Self {
        self.table = Some(table);
        self.leaving = leaving;
        self
    }

    fn name(&self) -> &str {
        self.member.config.name()
    }

    fn say(&self, state: &str) {
        self.context.board.say(self.name(), state);
    }

    /// Ends when it is to leave, after what is in flight.
    pub(super) async fn run(mut self) {
        let leaving = self.leaving.clone();
        while leaving
            .run_until_cancelled(self.something_new())
            .await
            .is_some()
        {
            let started = Instant::now();
            if self.look().await {
                let rest = tokio::time::sleep_until(started + self.interval());
                leaving.run_until_cancelled(rest).await;
            }
        }
    }

    /// Longer while the budget is running out.
    fn interval(&self) -> Duration {
        let interval = self.member.config.interval;
        let hosted = self.member.chain.current(&self.context).is_hosted();
        if hosted && self.context.budget.step() >= BudgetStep::LongerIntervals {
            interval * 2
        } else {
            interval
        }
    }

    /// Scans once, if there are changes to analyse. A request that the first
    /// model of its chain can't answer goes to the next.
    pub async fn look(&mut self) -> bool {
        if self.pick_for_now().is_none() {
            return false;
        }
        self.context.board.wanting(self.name());
        let mut from = 0;
        let mut unanswered: Option<Analysis> = None;
        loop {
            // Admission may take long; what is newest is decided after it.
            let lease = self
                .member
                .chain
                .turn(from, &self.context, |state| self.say(state));
            let lease = lease.await;
            if from == 0 || self.member.chain.closed(0, &self.context).is_some() {
                self.announce(&lease).await;
            }
            let Some((question, picked)) = self.question(lease.link()).await else {
                drop(lease);
                let Some(analysis) = unanswered else {
                    return false;
                };
                self.conclude(analysis).await;
                return true;
            };
            let Ok(analysis) = self.ask(lease, question, picked).await else {
                // By now there may be a newer picture.
                continue;
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

    /// Request that a model of the chain would be sent now, and its frames
    /// before redaction.
    async fn question(&mut self, link: &ChainLink) -> Option<(ObserveQuestion, Vec<Arc<Frame>>)> {
        let picked = self.pick(link)?;
        // Redacted frames: nothing that must not leave goes to the model.
        let frames: Vec<_> = picked
            .iter()
            .filter_map(|frame| link.policy.redacted(frame))
            .collect();
        let newest = frames.last().cloned()?;
        let mut memory = self.recall(link, &newest).await;
        if let Some(raw) = picked.last() {
            grounding::mask_memory(&mut memory, raw, &link.policy);
        }
        let last = self.looked.get(&newest.stream);
        let mut news = changes::since(last, &newest, &self.member.config);
        if link.is_hosted() && self.context.budget.step() >= BudgetStep::FewerRegions {
            news.regions.clear();
        }
        let question = ObserveQuestion {
            persona: Arc::clone(&self.member.config.persona),
            news,
            frames,
            memory,
        };
        Some((question, picked))
    }

    /// Fails when the budget is exhausted, after a wait for it.
    async fn ask(
        &self,
        lease: ModelLease,
        question: ObserveQuestion,
        picked: Vec<Arc<Frame>>,
    ) -> Result<Analysis, BudgetWait> {
        let memory = question.memory.clone();
        let terms = AskTerms {
            state: words::analysing(&question, &self.by(lease.place())),
            wait_for_room: Some(LONGEST_WAIT),
        };
        let say = |state: &str| self.say(state);
        let asked = lease
            .ask(question.into(), &self.context, terms, say)
            .await?;
        Ok(Analysis {
            place: asked.place,
            picked,
            memory,
            result: asked.result.and_then(Reply::observed),
            span: asked.span,
        })
    }

    /// Picks the model to be asked instead.
    fn next(&self, asked: &Analysis) -> Option<usize> {
        let chain = &self.member.chain;
        let instead = match asked.result.as_ref().err()? {
            // Another one may have an answer to the very same picture.
            Failure::NoAnswer { .. } | Failure::Refused { .. } => true,
            Failure::Fatal { kind, .. } if *kind == Fatal::Request => true,
            // Failures that may pass in a moment are retried with the next analysis.
            Failure::RateLimited { .. } | Failure::Transient { .. } | Failure::Fatal { .. } => {
                chain.closed(asked.place, &self.context).is_some()
            }
        };
        instead
            .then(|| chain.after(asked.place, &self.context))
            .flatten()
    }

    /// Reports a switch of models in log and output, once.
    async fn announce(&mut self, lease: &ModelLease) {
        if lease.place() == self.answered_by {
            return;
        }
        self.answered_by = lease.place();
        let who = words::named(&lease.identity());
        let why = self.member.chain.closed(0, &self.context);
        let said = match why.filter(|_| lease.place() > 0) {
            Some(why) => format!("switched to {who}: {why}"),
            None => format!("switched back to {who}"),
        };
        tracing::warn!("{said}");
        self.context.findings.note(self.name(), &said).await;
    }

    /// Names the model that answers, where that is not the first.
    fn by(&self, place: usize) -> String {
        match place {
            0 => String::new(),
            _ => {
                let link = &self.member.chain.links()[place];
                format!(", by {}", words::named(&link.model.identity()))
            }
        }
    }

    /// Memory of the stream, with findings from before a restart.
    async fn recall(&mut self, link: &ChainLink, frame: &Frame) -> Memory {
        let stream = &frame.stream;
        if !self.memories.knows(stream) && link.model.frame_policy() == FramePolicy::Newest {
            let query = FindingQuery {
                agent: Some(self.name().to_owned()),
                stream: Some(stream.to_string()),
                limit: MOST_REMEMBERED,
                ..FindingQuery::default()
            };
            let findings = &self.context.findings;
            match findings.read(move |store| store.findings(&query)).await {
                Ok(page) => {
                    let oldest_first = page.items.iter().rev();
                    oldest_first.for_each(|finding| self.memories.reported(finding));
                }
                Err(error) => tracing::warn!(%error, "failed to load earlier findings of {stream}"),
            }
        }
        self.memories.of(stream, frame.captured_at)
    }

    /// Updates the context and writes ended findings to the agent's log.
    async fn follow_up(&mut self, stream: &StreamName, asked: &Memory, answer: FollowUp) {
        for ended in self.memories.follow_up(stream, asked, answer) {
            let said = format!("ended: {} (incident {})", ended.title, ended.incident);
            self.context.findings.note(self.name(), &said).await;
        }
    }

    /// Returns when there is a picture this agent has not looked at.
    async fn something_new(&mut self) {
        loop {
            self.changes.borrow_and_update();
            if self.pick_for_now().is_some() {
                return;
            }
            let anything = !self.streams().is_empty();
            let link = self.member.chain.current(&self.context);
            let waits_for_text = link.model.frame_policy() == FramePolicy::EveryRead
                || link.policy.redact != Redact::Off;
            // Status of the last analysis stays readable while the frame is unchanged.
            if !anything {
                self.say("no live stream");
            } else if self.looked.is_empty() {
                self.say(if waits_for_text {
                    "waiting for OCR"
                } else {
                    "waiting for a frame"
                });
            }
            if self.changes.changed().await.is_err() {
                // Only when the bus is gone, and then the house is closing.
                std::future::pending::<()>().await;
            }
        }
    }

    /// The live streams that are this agent's, in the order of their turn.
    fn streams(&self) -> Vec<StreamName> {
        let wanted = &self.member.config.streams;
        let mut live = self.context.frames.live();
        live.retain(|stream| wanted.is_empty() || wanted.contains(stream));
        if let Some(last) = &self.last {
            let behind = live.iter().filter(|stream| *stream <= last).count();
            live.rotate_left(behind);
        }
        live
    }

    /// Frames for the model that is next in turn.
    fn pick_for_now(&mut self) -> Option<Vec<Arc<Frame>>> {
        let chain = self.member.chain.clone();
        self.pick(chain.current(&self.context))
    }

    /// Frames not looked at yet of the next stream in turn that has any.
    fn pick(&mut self, link: &ChainLink) -> Option<Vec<Arc<Frame>>> {
        if self.leaving.is_cancelled() {
            return None;
        }
        let streams = self.streams();
        self.looked.retain(|stream, _| streams.contains(stream));
        self.memories.retain(&streams);
        streams.iter().find_map(|stream| {
            let looked = self.looked.get(stream);
            let frames = match link.model.frame_policy() {
                FramePolicy::Newest => {
                    let newest = self.context.frames.to_look_at(stream)?;
                    // Nobody knows yet what stands on it: it can't leave.
                    RedactedFrame::of(&newest, link.policy.redact)?;
                    let fresh = looked.is_none_or(|looked| looked.is_before(&newest));
                    Vec::from_iter(fresh.then_some(newest))
                }
                FramePolicy::EveryRead => self
                    .context
                    .frames
                    .reads_after(stream, looked.map(|looked| looked.seq)),
            };
            (!frames.is_empty()).then_some(frames)
        })
    }

    /// Counts an answer and what it has cost.
    fn count(&self, asked: &Analysis) {
        let outcome = outcome(&asked.result);
        let (name, metrics) = (self.name(), &self.context.metrics);
        metrics.answer(name, outcome);
        let found = asked.result.as_ref().map_or(0, |answer| answer.seen.len());
        self.context
            .board
            .looked(name, outcome.as_str(), found as u64);
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

    /// Publishes the findings of an analysis, and logs them.
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
        // Remembered as it may leave, whoever is asked next.
        let policy = self.member.chain.policy();
        let frame = &policy.redacted_or_masked(raw);
        // A picture that will get the same answer again is not shown again.
        let done = match &result {
            Ok(_) | Err(Failure::NoAnswer { .. } | Failure::Refused { .. }) => true,
            Err(Failure::Fatal { kind, .. }) => *kind == Fatal::Request,
            Err(Failure::RateLimited { .. } | Failure::Transient { .. }) => false,
        };
        self.last = Some(frame.stream.clone());
        let mut unshown = 0;
        if done {
            let before = self.looked.insert(frame.stream.clone(), Looked::at(frame));
            if let Some(before) = before {
                unshown = before.unshown(&picked);
                let metrics = &self.context.metrics;
                metrics.dropped_changes.inc_by(unshown);
                self.context.board.unshown(self.name(), unshown);
                metrics
                    .dropped_frames
                    .inc_by(frame.seq.saturating_sub(before.seq + 1));
            }
        }
        let at = format!("{}{}", frame.stream, self.by(place));
        let seq = frame.seq;
        match result {
            Ok(answer) => {
                self.relieved().await;
                let found = answer.seen.len();
                self.follow_up(&frame.stream, &memory, answer.follow_up)
                    .await;
                let mut shares = span.cost.parts(found);
                let transcript = match answer.exchange.filter(|_| found > 0) {
                    Some(exchange) => {
                        Some(self.transcript(*exchange, span, &answer.model, raw).await)
                    }
                    None => None,
                };
                for seen in answer.seen {
                    let shown = picked.iter().find(|frame| frame.seq == seen.frame.seq);
                    // It can only speak of what it was shown.
                    let shown = shown.unwrap_or(raw);
                    let asked = transcript.clone().map(|transcript| AskedOf {
                        transcript,
                        share: shares.next().unwrap_or_default(),
                    });
                    self.publish(shown, seen.observation, &answer.model, asked)
                        .await;
                }
                let what = words::analysed(found, unshown);
                self.say(&format!("{at}: {what} (frame {seq})"));
            }
            Err(failure) => {
                self.say(&format!("{at}: {failure} (frame {seq})"));
                self.complain(failure.to_string()).await;
            }
        }
    }

    /// Durable before it returns; what can't be written is tried again until
    /// it can.
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
        let finding = loop {
            match self.context.findings.publish(publication.clone()).await {
                Ok(finding) => break finding,
                Err(error) => {
                    tracing::error!(%error, "failed to store a finding, retrying");
                    self.say(&format!("waiting to store a finding: {error}"));
                    tokio::time::sleep(WRITE_AGAIN).await;
                }
            }
        };
        self.context.metrics.finding(self.name(), severity);
        self.memories.reported(&finding);
        if let Some(table) = &self.table {
            table.report(&self.context, finding, frame);
        }
    }

    async fn publication(
        &self,
        frame: &Arc<Frame>,
        mut observation: Observation,
        model: &ModelRef,
    ) -> Publication {
        let policy = self.member.chain.policy();
        let raw = Arc::clone(frame);
        let persona = Arc::clone(&self.member.config.persona);
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
            (observation, still)
        };
        let (observation, still) = blocking(prepare).await;
        let at = FrameRef {
            seq: frame.seq,
            pts_ms: frame.pts.ms(),
            sha256: still
                .as_ref()
                .map_or_else(String::new, |still| still.sha256().to_owned()),
        };
        let finding = Finding::new(
            self.name(),
            frame.stream.clone(),
            frame.captured_at,
            at,
            observation,
            model.clone(),
        );
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
        let policy = self.member.chain.policy();
        let (model, frame) = (model.clone(), Arc::clone(frame));
        let persona = Arc::clone(&self.member.config.persona);
        let builder = TranscriptBuilder::new(self.name(), Purpose::Look, span);
        blocking(move || Arc::new(builder.transcript(exchange, model, &persona, &frame, &policy)))
            .await
    }

    /// Reports in log and output what blocks it: once, not at each attempt.
    async fn complain(&mut self, complaint: String) {
        if self.complaint.as_ref() == Some(&complaint) {
            return;
        }
        tracing::warn!("{complaint}");
        self.context.findings.note(self.name(), &complaint).await;
        self.complaint = Some(complaint);
    }

    async fn relieved(&mut self) {
        if self.complaint.take().is_some() {
            tracing::info!("analysis resumed");
            self.context
                .findings
                .note(self.name(), "analysis resumed")
                .await;
        }
    }
}

/// Runs what costs CPU off the async workers.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        // Whoever supervises this agent hears of it.
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // The runtime is shutting down, and this task with it.
        Err(_) => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;

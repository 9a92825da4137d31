//! One analyst's round: wait, pick, ask, publish.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::memory::Memories;
use super::news::{self, Looked};
use super::panel::Table;
use super::{Meeting, Member, grounding};
use crate::finding::{Finding, FrameRef, ModelRef, Observation};
use crate::masking::Redact;
use crate::media::{Frame, Still, StreamName};
use crate::metrics::Dropped;
use crate::model::{
    Answer, Appetite, Failure, Fatal, FollowUp, Look, MOST_REMEMBERED, Memory, Outcome,
};
use crate::store::{FindingQuery, Publication};

/// Between two tries to write a finding that could not be written.
const WRITE_AGAIN: Duration = Duration::from_secs(2);

/// An analyst at work.
#[derive(Debug)]
pub struct Agent {
    member: Member,
    meeting: Meeting,
    changes: watch::Receiver<u64>,
    looked: HashMap<StreamName, Looked>,
    memories: Memories,
    /// The stream looked at last: the next one in turn comes after it.
    last: Option<StreamName>,
    /// What it last complained about, so that it is said once.
    complaint: Option<String>,
    /// Where others hear of what it reports.
    table: Option<Table>,
    leaving: CancellationToken,
}

impl Agent {
    pub fn new(member: Member, meeting: Meeting) -> Self {
        let changes = meeting.frames.changes();
        Self {
            member,
            meeting,
            changes,
            looked: HashMap::new(),
            memories: Memories::default(),
            last: None,
            complaint: None,
            table: None,
            leaving: CancellationToken::new(),
        }
    }

    /// Its reports go to the panel, and it ends when it is to leave.
    pub(super) fn seated(mut self, table: Table, leaving: CancellationToken) -> Self {
        self.table = Some(table);
        self.leaving = leaving;
        self
    }

    fn name(&self) -> &str {
        self.member.config.name()
    }

    fn say(&self, state: &str) {
        self.meeting.roster.say(self.name(), state);
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
                let rest = tokio::time::sleep_until(started + self.member.config.interval);
                leaving.run_until_cancelled(rest).await;
            }
        }
    }

    /// Looks once, if there is anything new to look at.
    pub async fn look(&mut self) -> bool {
        if self.pick().is_none() {
            return false;
        }
        self.meeting.roster.wanting(self.name());
        // Admission may take long; what is newest is decided after it.
        let permit = match &self.member.governor {
            Some(governor) => Some(governor.admit(|state| self.say(state)).await),
            None => None,
        };
        let Some(picked) = self.pick() else {
            return false;
        };
        // What goes to the model has nothing in it that must not leave.
        let redact = self.member.policy.redact;
        let frames: Vec<_> = picked
            .iter()
            .filter_map(|frame| frame.cleared(redact))
            .collect();
        let Some(newest) = frames.last().map(Arc::clone) else {
            return false;
        };
        let memory = self.recall(&newest).await;
        let last = self.looked.get(&newest.stream);
        let look = Look {
            persona: Arc::clone(&self.member.config.persona),
            news: news::since(last, &newest, &self.member.config),
            frames,
            memory,
        };
        self.say(&format!(
            "looking at frame {} of {}",
            newest.seq, newest.stream
        ));
        let result = self.member.model.look(&look).await;
        if let Some(permit) = permit {
            permit.settle(&result);
        }
        self.conclude(&newest, &picked, look.memory, result).await;
        true
    }

    /// What it has said of the stream, with what it said before a restart.
    async fn recall(&mut self, frame: &Frame) -> Memory {
        let stream = &frame.stream;
        if !self.memories.knows(stream) && self.member.model.appetite() == Appetite::Newest {
            let query = FindingQuery {
                agent: Some(self.name().to_owned()),
                stream: Some(stream.to_string()),
                limit: MOST_REMEMBERED,
                ..FindingQuery::default()
            };
            match self.meeting.findings.page(query).await {
                Ok(page) => {
                    let oldest_first = page.items.iter().rev();
                    oldest_first.for_each(|finding| self.memories.reported(finding));
                }
                Err(error) => tracing::warn!(%error, "nothing is remembered of {stream}"),
            }
        }
        self.memories.of(stream, frame.captured_at)
    }

    /// What has ended stands in its log.
    async fn follow_up(&mut self, stream: &StreamName, asked: &Memory, answer: FollowUp) {
        for ended in self.memories.follow_up(stream, asked, answer) {
            let said = format!("ended: {} (incident {})", ended.title, ended.incident);
            self.meeting.findings.note(self.name(), &said).await;
        }
    }

    /// Returns when there is a picture this agent has not looked at.
    async fn something_new(&mut self) {
        loop {
            self.changes.borrow_and_update();
            if self.pick().is_some() {
                return;
            }
            let anything = !self.streams().is_empty();
            let waits_for_text = self.member.model.appetite() == Appetite::EveryRead
                || self.member.policy.redact != Redact::Off;
            // What it last saw stays readable while the picture stays.
            if !anything {
                self.say("no live stream");
            } else if self.looked.is_empty() {
                self.say(if waits_for_text {
                    "waiting for the screen's text"
                } else {
                    "waiting for a picture"
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
        let mut live = self.meeting.frames.live();
        live.retain(|stream| wanted.is_empty() || wanted.contains(stream));
        if let Some(last) = &self.last {
            let behind = live.iter().filter(|stream| *stream <= last).count();
            live.rotate_left(behind);
        }
        live
    }

    /// Frames not looked at yet of the next stream in turn that has any.
    fn pick(&mut self) -> Option<Vec<Arc<Frame>>> {
        if self.leaving.is_cancelled() {
            return None;
        }
        let streams = self.streams();
        self.looked.retain(|stream, _| streams.contains(stream));
        self.memories.retain(&streams);
        streams.iter().find_map(|stream| {
            let looked = self.looked.get(stream);
            let frames = match self.member.model.appetite() {
                Appetite::Newest => {
                    let newest = self.meeting.frames.to_look_at(stream)?;
                    // Nobody knows yet what stands on it: it can't leave.
                    newest.cleared(self.member.policy.redact)?;
                    let fresh = looked.is_none_or(|looked| looked.scene != newest.scene);
                    Vec::from_iter(fresh.then_some(newest))
                }
                Appetite::EveryRead => self
                    .meeting
                    .frames
                    .reads_after(stream, looked.map(|looked| looked.seq)),
            };
            (!frames.is_empty()).then_some(frames)
        })
    }

    /// Counts the outcome, publishes what was seen, and says what it was.
    /// `frame` is the newest that was shown, `picked` are those shown as they
    /// were before anything was hidden.
    async fn conclude(
        &mut self,
        frame: &Arc<Frame>,
        picked: &[Arc<Frame>],
        asked: Memory,
        result: Result<Answer, Failure>,
    ) {
        let outcome = Outcome::of(&result);
        let metrics = Arc::clone(&self.meeting.metrics);
        metrics.answer(self.name(), outcome);
        let found = result.as_ref().map_or(0, |answer| answer.seen.len());
        self.meeting
            .roster
            .looked(self.name(), outcome.as_str(), found as u64);
        // A picture that will get the same answer again is not shown again.
        let done = match &result {
            Ok(_) | Err(Failure::NoAnswer { .. } | Failure::Refused { .. }) => true,
            Err(Failure::Fatal { kind, .. }) => *kind == Fatal::Request,
            Err(Failure::RateLimited { .. } | Failure::Transient { .. }) => false,
        };
        self.last = Some(frame.stream.clone());
        if done {
            let before = self.looked.insert(frame.stream.clone(), Looked::at(frame));
            if let Some(before) = before {
                metrics.dropped(Dropped::Agent, frame.seq.saturating_sub(before.seq + 1));
            }
        }
        let at = format!("frame {} of {}", frame.seq, frame.stream);
        match result {
            Ok(answer) => {
                self.relieved().await;
                metrics.dropped(Dropped::Finding, u64::from(answer.dropped));
                metrics.tokens(self.name(), "prompt", answer.usage.prompt_tokens);
                metrics.tokens(self.name(), "estimated", answer.usage.estimated_tokens);
                metrics.tokens(self.name(), "output", answer.usage.output_tokens);
                self.follow_up(&frame.stream, &asked, answer.follow_up)
                    .await;
                for seen in answer.seen {
                    let raw = picked.iter().find(|frame| frame.seq == seen.frame.seq);
                    let raw = raw.unwrap_or(&seen.frame);
                    self.publish(raw, seen.observation, &answer.model).await;
                }
                let what = match found {
                    0 => "nothing to report".to_owned(),
                    1 => "1 finding".to_owned(),
                    n => format!("{n} findings"),
                };
                self.say(&format!("{at}: {what}"));
            }
            Err(failure) => {
                if let Failure::NoAnswer { dropped, .. } = &failure {
                    metrics.dropped(Dropped::Finding, u64::from(*dropped));
                }
                self.say(&format!("{at}: {failure}"));
                self.complain(failure.to_string()).await;
            }
        }
    }

    /// Durable before it returns; what can't be written is tried again until
    /// it can.
    async fn publish(&mut self, frame: &Arc<Frame>, observation: Observation, model: &ModelRef) {
        let publication = self.publication(frame, observation, model).await;
        let severity = publication.finding.severity;
        let finding = loop {
            match self.meeting.findings.publish(publication.clone()).await {
                Ok(finding) => break finding,
                Err(error) => {
                    tracing::error!(%error, "a finding could not be written, trying again");
                    self.say(&format!("waiting to write a finding: {error}"));
                    tokio::time::sleep(WRITE_AGAIN).await;
                }
            }
        };
        self.meeting.metrics.finding(self.name(), severity);
        self.memories.reported(&finding);
        if let Some(table) = &self.table {
            table.report(&self.meeting, finding, frame);
        }
    }

    async fn publication(
        &self,
        frame: &Arc<Frame>,
        mut observation: Observation,
        model: &ModelRef,
    ) -> Publication {
        let policy = self.member.policy;
        let raw = Arc::clone(frame);
        let prepare = move || {
            grounding::ground(&mut observation, &raw, policy.redact, policy.ungrounded);
            grounding::mask_all(&mut observation, &raw, policy.redact);
            let still = evidence(&raw, policy.redact_evidence);
            (observation, still)
        };
        let (observation, still) = match tokio::task::spawn_blocking(prepare).await {
            Ok(prepared) => prepared,
            // Whoever supervises this agent hears of it.
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // The runtime is shutting down, and this task with it.
            Err(_) => std::future::pending().await,
        };
        let at = FrameRef {
            seq: frame.seq,
            pts_ms: frame.pts.ms(),
            sha256: still
                .as_ref()
                .map_or_else(String::new, |still| still.sha256.clone()),
        };
        let finding = Finding::new(
            self.name(),
            frame.stream.clone(),
            frame.captured_at,
            at,
            observation,
            model.clone(),
        );
        Publication { finding, still }
    }

    /// Says in log and output what keeps it from looking: once, not each time.
    async fn complain(&mut self, complaint: String) {
        if self.complaint.as_ref() == Some(&complaint) {
            return;
        }
        tracing::warn!("{complaint}");
        self.meeting.findings.note(self.name(), &complaint).await;
        self.complaint = Some(complaint);
    }

    async fn relieved(&mut self) {
        if self.complaint.take().is_some() {
            tracing::info!("looking again");
            self.meeting
                .findings
                .note(self.name(), "looking again")
                .await;
        }
    }
}

/// The picture as it may be kept. One that nobody read is kept as it is only
/// where nobody reads any: then the user has turned that off.
fn evidence(frame: &Arc<Frame>, redact: Redact) -> Option<Still> {
    let kept = match frame.cleared(redact) {
        Some(cleared) => cleared,
        None => Arc::clone(frame),
    };
    match kept.still() {
        Ok(still) => Some(still),
        Err(error) => {
            tracing::error!(%error, "a finding goes out without its picture");
            None
        }
    }
}

#[cfg(test)]
mod tests;

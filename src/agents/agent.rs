//! One analyst's round: wait, pick, ask, publish.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::{Meeting, Member, evidence};
use crate::finding::{Finding, FrameRef, ModelRef, Observation};
use crate::masking::mask_secrets;
use crate::media::{EncodeError, Frame, StreamName};
use crate::metrics::Dropped;
use crate::model::{Answer, Appetite, Failure, Fatal, Look, Outcome};
use crate::store::Publication;

/// Between two tries to write a finding that could not be written.
const WRITE_AGAIN: Duration = Duration::from_secs(2);

pub(super) struct Agent {
    member: Member,
    meeting: Meeting,
    changes: watch::Receiver<u64>,
    looked: HashMap<StreamName, Looked>,
    /// The stream looked at last: the next one in turn comes after it.
    last: Option<StreamName>,
    /// What it last complained about, so that it is said once.
    complaint: Option<String>,
}

/// What was looked at last on a stream.
struct Looked {
    scene: u64,
    seq: u64,
}

impl Agent {
    pub(super) fn new(member: Member, meeting: Meeting) -> Self {
        let changes = meeting.frames.changes();
        Self {
            member,
            meeting,
            changes,
            looked: HashMap::new(),
            last: None,
            complaint: None,
        }
    }

    fn name(&self) -> &str {
        self.member.config.name()
    }

    fn say(&self, state: &str) {
        self.meeting.roster.say(self.name(), state);
    }

    /// Never ends by itself.
    pub(super) async fn run(mut self) {
        loop {
            self.something_new().await;
            // Admission may take long; what is newest is decided after it.
            let permit = match &self.member.governor {
                Some(governor) => Some(governor.admit(|state| self.say(state)).await),
                None => None,
            };
            let Some(frames) = self.pick() else { continue };
            let started = Instant::now();
            let look = Look {
                persona: Arc::clone(&self.member.config.persona),
                frames,
            };
            let newest = Arc::clone(look.frames.last().expect("pick gives at least one frame"));
            self.say(&format!(
                "looking at frame {} of {}",
                newest.seq, newest.stream
            ));
            let result = self.member.model.look(&look).await;
            if let Some(permit) = permit {
                permit.settle(&result);
            }
            self.conclude(&newest, result).await;
            tokio::time::sleep_until(started + self.member.config.interval).await;
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
            let waits_for_text = self.member.model.appetite() == Appetite::EveryRead;
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
        let streams = self.streams();
        self.looked.retain(|stream, _| streams.contains(stream));
        streams.iter().find_map(|stream| {
            let looked = self.looked.get(stream);
            let frames = match self.member.model.appetite() {
                Appetite::Newest => {
                    let newest = self.meeting.frames.newest(stream)?;
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
    async fn conclude(&mut self, frame: &Arc<Frame>, result: Result<Answer, Failure>) {
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
            let looked = Looked {
                scene: frame.scene,
                seq: frame.seq,
            };
            let before = self.looked.insert(frame.stream.clone(), looked);
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
                metrics.tokens(self.name(), "output", answer.usage.output_tokens);
                for seen in answer.seen {
                    self.publish(&seen.frame, seen.observation, &answer.model)
                        .await;
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
    async fn publish(&self, frame: &Arc<Frame>, observation: Observation, model: &ModelRef) {
        let severity = observation.severity;
        let publication = self.publication(frame, observation, model).await;
        while let Err(error) = self.meeting.findings.publish(publication.clone()).await {
            tracing::error!(%error, "a finding could not be written, trying again");
            self.say(&format!("waiting to write a finding: {error}"));
            tokio::time::sleep(WRITE_AGAIN).await;
        }
        self.meeting.metrics.finding(self.name(), severity);
    }

    async fn publication(
        &self,
        frame: &Arc<Frame>,
        observation: Observation,
        model: &ModelRef,
    ) -> Publication {
        let (encode, seen) = (Arc::clone(frame), observation.clone());
        let encode = move || Ok((encode.still()?.sha256, evidence::still(&encode, &seen)?));
        let (sha256, still) = match tokio::task::spawn_blocking(encode).await {
            Ok(Ok((sha256, still))) => (sha256, Some(still)),
            Ok(Err(error)) => {
                let error: EncodeError = error;
                tracing::error!(%error, "a finding goes out without its picture");
                (String::new(), None)
            }
            // Only when the runtime is shutting down.
            Err(_) => (String::new(), None),
        };
        let at = FrameRef {
            seq: frame.seq,
            pts_ms: frame.pts.ms(),
            sha256,
        };
        let masked = masked(observation);
        let finding = Finding::new(
            self.name(),
            frame.stream.clone(),
            frame.captured_at,
            at,
            masked,
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

/// No secret that was on the screen goes on in a finding, whoever made it.
fn masked(mut observation: Observation) -> Observation {
    let mask = |text: &mut String| *text = mask_secrets(text).into_owned();
    mask(&mut observation.title);
    mask(&mut observation.detail);
    mask(&mut observation.recommended_action);
    for evidence in &mut observation.evidence {
        mask(&mut evidence.quote);
    }
    observation
}

#[cfg(test)]
mod tests;

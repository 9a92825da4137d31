//! Interface to a model: a question of one of three kinds, its reply, and why
//! there is none.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use uuid::Uuid;

pub use crate::request::Prepared;
use watchtower_base::sync::Locked as _;
use watchtower_domain::cost::{AnswerOutcome, TokenUsage};
use watchtower_domain::finding::{ModelRef, Observation, Severity};
use watchtower_domain::incident::{Opinion, Stance};
use watchtower_domain::transcript::{Cost, RawExchange};
use watchtower_screen::picture::Rect;
use watchtower_screen::redact::RedactedFrame;

/// Persona of an analyst: the part of its configuration that a model sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Persona {
    pub name: String,
    pub personality: String,
    pub focus: String,
    /// Concrete things to look for.
    pub indicators: Vec<String>,
}

/// Question to a model.
#[derive(Debug, Clone)]
pub enum Question {
    /// New findings on frames.
    Observe(ObserveQuestion),
    /// Opinion of, or verdict on, the report of another analyst.
    Review(ReviewQuestion),
    /// Person's question about what was on the screens.
    Ask(AskQuestion),
}

impl Question {
    /// Failure of a model that answers no questions of this kind.
    pub fn unsupported(&self) -> Failure {
        Failure::no_answer(match self {
            Self::Observe(_) => "model does not support frames",
            Self::Review(_) => "model does not support opinions",
            Self::Ask(_) => "model does not support questions",
        })
    }
}

impl From<ObserveQuestion> for Question {
    fn from(question: ObserveQuestion) -> Self {
        Self::Observe(question)
    }
}

impl From<ReviewQuestion> for Question {
    fn from(question: ReviewQuestion) -> Self {
        Self::Review(question)
    }
}

impl From<AskQuestion> for Question {
    fn from(question: AskQuestion) -> Self {
        Self::Ask(question)
    }
}

/// Request to a model to analyse frames of one stream.
#[derive(Debug, Clone)]
pub struct ObserveQuestion {
    pub persona: Arc<Persona>,
    /// Frames of one stream, oldest first, never empty; a single one for a model
    /// of [`FramePolicy::Newest`].
    pub frames: Vec<RedactedFrame>,
    pub news: ScreenChanges,
    pub memory: Memory,
}

/// Findings remembered at most of one stream by one analyst.
pub const MOST_REMEMBERED: usize = 8;

/// Context an analyst keeps of a stream: reports not known to have ended, and
/// open doubts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Memory {
    /// Oldest first.
    pub reported: Vec<Remembered>,
    /// In its own words.
    pub not_sure: Vec<String>,
}

/// Something it reported and that is not known to have ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    pub incident: Uuid,
    pub severity: Severity,
    pub title: String,
    /// Evidence quoted for it, as it may leave.
    pub quote: String,
    pub since: Timestamp,
}

/// Update to what an analyst remembered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FollowUp {
    /// Places in [`Memory::reported`] of what has ended.
    pub ended: Vec<usize>,
    /// Doubts it can't settle yet, to be asked again with the next picture.
    pub not_sure: Vec<String>,
}

/// Changes since this analyst last analysed the stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScreenChanges {
    /// Flag: not analysed before, or last at another picture size.
    pub first: bool,
    /// Parts of the newest frame worth a closer look, the largest first.
    pub regions: Vec<Rect>,
    /// Lines of text, as they may leave.
    pub appeared: Vec<String>,
    pub vanished: Vec<String>,
}

/// Choice of the frames a model is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FramePolicy {
    /// The newest picture; what came in between is skipped.
    Newest,
    /// Every frame whose text was read since the last look.
    EveryRead,
}

/// Worst cost of one request of a question, in tokens; nothing for a model that
/// charges nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CostBound {
    pub prompt_tokens: u64,
    pub output_tokens: u64,
}

impl CostBound {
    /// Bound for so many requests, in tokens: prompt and output. Any but the
    /// first may be allowed twice the output.
    pub fn of(self, requests: u32) -> (u64, u64) {
        let requests = u64::from(requests);
        let outputs = (2 * requests).saturating_sub(1);
        (
            self.prompt_tokens.saturating_mul(requests),
            self.output_tokens.saturating_mul(outputs),
        )
    }
}

/// Counts what a question takes, and bounds how many requests that may be.
/// Clones count together.
#[derive(Debug, Clone)]
pub struct Meter {
    granted: u32,
    read: Arc<Mutex<MeterReading>>,
}

/// Usage of a question so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MeterReading {
    pub requests: u32,
    /// Token usage the server reported.
    pub usage: TokenUsage,
    /// Requests whose usage the server reported.
    pub charged: u32,
    /// Requests whose usage was not reported, and that may have been charged.
    pub untold: u32,
}

impl Meter {
    pub fn of(requests: u32) -> Self {
        Self {
            granted: requests,
            read: Arc::default(),
        }
    }

    pub fn granted(&self) -> u32 {
        self.granted
    }

    pub fn read(&self) -> MeterReading {
        *self.lock()
    }

    /// To be asked before each request; one that is refused is not to be sent.
    pub fn begin(&self) -> bool {
        let mut read = self.lock();
        if read.requests >= self.granted {
            return false;
        }
        read.requests += 1;
        read.untold += 1;
        true
    }

    /// Adds the usage reported for the request sent last.
    pub fn told(&self, usage: TokenUsage) {
        let mut read = self.lock();
        read.untold = read.untold.saturating_sub(1);
        read.charged += u32::from(usage != TokenUsage::default());
        read.usage.prompt_tokens += usage.prompt_tokens;
        read.usage.cached_tokens += usage.cached_tokens;
        read.usage.output_tokens += usage.output_tokens;
    }

    /// The request sent last is not charged for.
    pub fn free(&self) {
        self.told(TokenUsage::default());
    }

    fn lock(&self) -> MutexGuard<'_, MeterReading> {
        self.read.locked()
    }
}

/// Without a bound.
impl Default for Meter {
    fn default() -> Self {
        Self::of(u32::MAX)
    }
}

/// Observations on one frame.
#[derive(Debug, Clone)]
pub struct FrameObservation {
    pub frame: RedactedFrame,
    pub observation: Observation,
}

/// Reply of a model, of the kind of its question.
#[derive(Debug, Clone)]
pub enum Reply {
    Observe(ObserveReply),
    Review(ReviewReply),
    Ask(AskReply),
}

impl Reply {
    /// Reply to [`Question::Observe`]; one to another kind of question is no
    /// answer, and so below.
    pub fn observed(self) -> Result<ObserveReply, Failure> {
        match self {
            Self::Observe(reply) => Ok(reply),
            Self::Review(_) | Self::Ask(_) => Err(mismatch()),
        }
    }

    pub fn reviewed(self) -> Result<ReviewReply, Failure> {
        match self {
            Self::Review(reply) => Ok(reply),
            Self::Observe(_) | Self::Ask(_) => Err(mismatch()),
        }
    }

    pub fn answered(self) -> Result<AskReply, Failure> {
        match self {
            Self::Ask(reply) => Ok(reply),
            Self::Observe(_) | Self::Review(_) => Err(mismatch()),
        }
    }
}

fn mismatch() -> Failure {
    Failure::no_answer("the reply is to another kind of question")
}

/// Findings on the frames of an [`ObserveQuestion`], maybe none.
#[derive(Debug, Clone)]
pub struct ObserveReply {
    pub seen: Vec<FrameObservation>,
    /// Findings thrown away because they did not make sense.
    pub dropped: u32,
    pub follow_up: FollowUp,
    pub usage: TokenUsage,
    pub model: ModelRef,
    /// Exchange that went over the wire; `None` where nothing does.
    pub exchange: Option<Box<RawExchange>>,
}

/// Report of one analyst, put before another one or the evidence reviewer.
#[derive(Debug, Clone)]
pub struct ReviewQuestion {
    /// Persona that is asked.
    pub persona: Arc<Persona>,
    pub kind: ReviewKind,
    /// The picture it was reported from, as it may leave.
    pub frame: RedactedFrame,
    /// Name of the analyst that reported it.
    pub first: String,
    pub report: Observation,
    /// Opinions of the others; for the verdict.
    pub opinions: Vec<Opinion>,
}

/// Kind of review wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReviewKind {
    /// Its own point of view.
    Opinion,
    /// Severity and confidence that the evidence bears out.
    Verdict,
}

/// Point of view on a report: the stance, and severity, confidence, words
/// (`detail`) and proof as in a finding. A verdict confirms when the report
/// stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Review {
    pub stance: Stance,
    pub observation: Observation,
}

/// Review of the report of a [`ReviewQuestion`].
#[derive(Debug, Clone)]
pub struct ReviewReply {
    pub review: Review,
    pub usage: TokenUsage,
    pub model: ModelRef,
    /// As in [`ObserveReply`].
    pub exchange: Option<Box<RawExchange>>,
}

/// A person's question about what was on the screens.
#[derive(Debug, Clone)]
pub struct AskQuestion {
    pub question: String,
    /// Entries that may relate to it, one a line: untrusted, secrets masked.
    pub record: Vec<String>,
    pub now: Timestamp,
}

/// Answer to an [`AskQuestion`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskReply {
    /// `None`: the record does not say.
    pub answer: Option<String>,
    /// Places in [`AskQuestion::record`] that it stands on, in order.
    pub cited: Vec<usize>,
    pub usage: TokenUsage,
    pub model: ModelRef,
}

/// Answer to a person's question, and its cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    pub reply: AskReply,
    pub cost: Cost,
}

/// Service that has people's questions answered.
pub trait QuestionAnswerer: fmt::Debug + Send + Sync {
    /// `None` when nobody can be asked: the configured model only applies
    /// rules.
    fn put(
        &self,
        question: String,
        record: Vec<String>,
    ) -> BoxFuture<'_, Option<Result<Answered, Failure>>>;
}

/// Reason why there is no answer. Never to be read as "nothing to report".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The model was reached and said nothing usable: empty, cut off, not
    /// JSON, of another shape. `dropped` counts findings that were there and
    /// made no sense, when none did.
    #[error("no answer: {reason}")]
    NoAnswer { reason: String, dropped: u32 },
    /// The model declined this picture or prompt. Asking again unchanged is
    /// no use.
    #[error("refused: {reason}")]
    Refused { reason: String },
    /// Over a quota. `retry_after` is what the server asked for; `exhausted`
    /// when waiting minutes won't help (a quota per day, or none at all).
    #[error("rate limited: {reason}")]
    RateLimited {
        reason: String,
        retry_after: Option<Duration>,
        exhausted: bool,
    },
    /// Server or connection trouble that may pass.
    #[error("{reason}")]
    Transient { reason: String },
    /// Will not work until somebody changes something.
    #[error("{reason}")]
    Fatal { kind: Fatal, reason: String },
}

impl Failure {
    pub fn no_answer(reason: impl Into<String>) -> Self {
        Self::NoAnswer {
            reason: reason.into(),
            dropped: 0,
        }
    }

    pub fn fatal(kind: Fatal, reason: impl Into<String>) -> Self {
        Self::Fatal {
            kind,
            reason: reason.into(),
        }
    }
}

/// Cause of a failure that somebody has to fix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fatal {
    /// The key is wrong, revoked, or not allowed to do this.
    Key,
    /// The model name is unknown, or gone.
    Model,
    /// The request itself was not accepted.
    Request,
}

/// Outcome of a request, as it is counted.
pub fn outcome(result: &Result<ObserveReply, Failure>) -> AnswerOutcome {
    match result {
        Ok(answer) if answer.seen.is_empty() => AnswerOutcome::Nothing,
        Ok(_) => AnswerOutcome::Findings,
        Err(Failure::NoAnswer { .. }) => AnswerOutcome::NoAnswer,
        Err(Failure::Refused { .. }) => AnswerOutcome::Refused,
        Err(Failure::RateLimited { .. }) => AnswerOutcome::RateLimited,
        Err(Failure::Transient { .. }) => AnswerOutcome::Transient,
        Err(Failure::Fatal { .. }) => AnswerOutcome::Fatal,
    }
}

/// Model that can be asked.
///
/// A question is prepared once, which builds the prompt; what that may cost
/// bounds what is reserved, and the same prompt is sent.
pub trait Model: fmt::Debug + Send + Sync {
    /// Provider and name as configured, version as far as known.
    fn identity(&self) -> ModelRef;

    fn frame_policy(&self) -> FramePolicy;

    /// Builds once all that the requests for a question have in common. Nothing
    /// is built unless overridden, as for a model that is sent no prompt.
    fn prepare(&self, question: Question) -> Prepared {
        Prepared::new(question)
    }

    /// Bound on the cost of one request; nothing unless overridden.
    fn cost_bound(&self, _prepared: &Prepared) -> CostBound {
        CostBound::default()
    }

    /// Makes one attempt at a question it prepared, with the few immediate
    /// resends a provider's documents prescribe; waiting, retrying and breaking
    /// the circuit are the caller's. Fails with [`Question::unsupported`] for a
    /// kind of question it does not answer.
    fn ask(&self, prepared: Prepared) -> BoxFuture<'_, Result<Reply, Failure>>;

    /// Abilities it lacks that others have, in words; logged at the start.
    fn lacks(&self) -> &'static str {
        ""
    }

    /// Finds out whether it would answer (key, name, reachability) at the
    /// least cost, and says so in a few words.
    fn probe(&self) -> BoxFuture<'_, Result<String, Failure>>;
}

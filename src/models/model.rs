//! Interface to a model: a question of one of three kinds, its reply or
//! failure.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use uuid::Uuid;

use crate::language::AnswerLanguage;
pub use crate::request::Prepared;
use crate::stream_context::StreamContext;
use watchtower_base::sync::Locked as _;
use watchtower_domain::cost::{AnswerOutcome, TokenUsage};
use watchtower_domain::finding::{ModelRef, Observation, Severity};
use watchtower_domain::incident::{Opinion, Stance};
use watchtower_domain::transcript::{Cost, RawExchange};
use watchtower_media::audio_bus::AudioClip;
use watchtower_screen::picture::Rect;
use watchtower_screen::redact::RedactedFrame;

/// Persona of an analyst: the part of its configuration that is in the prompt.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Persona {
    pub name: String,
    pub personality: String,
    pub focus: String,
    /// Indicators to look for.
    pub indicators: Vec<String>,
    /// Language of its findings and opinions.
    pub language: AnswerLanguage,
    /// Context of the streams, shared by all analysts.
    pub streams: Arc<[StreamContext]>,
}

/// Question to a model.
#[derive(Debug, Clone)]
pub enum Question {
    /// New findings on frames.
    Observe(ObserveQuestion),
    /// Opinion of, or verdict on, the report of another analyst.
    Review(ReviewQuestion),
    /// User's question about past screens.
    Ask(AskQuestion),
}

impl Question {
    /// Failure of a model that does not support questions of this kind.
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
    /// Sound of the stream up to now, for the model that it is allowed for.
    pub audio: Option<Arc<AudioClip>>,
}

/// Maximum findings in the memory of one analyst for one stream.
pub const MOST_REMEMBERED: usize = 8;

/// Memory of an analyst for a stream: reports not known to have ended, and open
/// doubts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Memory {
    /// Oldest first.
    pub reported: Vec<Remembered>,
    /// Open doubts, in the model's words.
    pub not_sure: Vec<String>,
}

/// Earlier report that is not known to have ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    pub incident: Uuid,
    pub severity: Severity,
    pub title: String,
    /// Quoted evidence, redacted.
    pub quote: String,
    pub since: Timestamp,
}

/// Update of an analyst's memory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FollowUp {
    /// Indices in [`Memory::reported`] of reports that have ended.
    pub ended: Vec<usize>,
    /// Open doubts, to be repeated with the next picture.
    pub not_sure: Vec<String>,
}

/// Changes since this analyst last analysed the stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScreenChanges {
    /// Flag: not analysed before, or last at another picture size.
    pub first: bool,
    /// Changed parts of the newest frame, to be enlarged, the largest first.
    pub regions: Vec<Rect>,
    /// Flag: lines as OCR read them, not the rows and labels of the layout.
    pub plain: bool,
    /// Lines of text, redacted.
    pub appeared: Vec<String>,
    pub vanished: Vec<String>,
}

/// Choice of the frames sent to a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FramePolicy {
    /// The newest picture; earlier ones are skipped.
    Newest,
    /// Every frame with OCR since the last analysis.
    EveryRead,
}

/// Worst-case cost of one request of a question, in tokens; zero for a model
/// without charges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CostBound {
    pub prompt_tokens: u64,
    pub output_tokens: u64,
}

impl CostBound {
    /// Bound for `requests` requests, in tokens: prompt and output. Any but the
    /// first may use twice the output.
    pub fn of(self, requests: u32) -> (u64, u64) {
        let requests = u64::from(requests);
        let outputs = (2 * requests).saturating_sub(1);
        (
            self.prompt_tokens.saturating_mul(requests),
            self.output_tokens.saturating_mul(outputs),
        )
    }
}

/// Meter of a question: counts its requests and tokens, and limits the
/// requests. Clones share their counts.
#[derive(Debug, Clone)]
pub struct Meter {
    granted: u32,
    read: Arc<Mutex<MeterReading>>,
}

/// Usage of a question so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MeterReading {
    pub requests: u32,
    /// Token usage reported by the server.
    pub usage: TokenUsage,
    /// Requests with reported usage.
    pub charged: u32,
    /// Requests without reported usage, which may have been charged.
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

    /// Grants a request; call it before each one. A refused request must not be
    /// sent.
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

    /// Counts the request sent last as not charged.
    pub fn free(&self) {
        self.told(TokenUsage::default());
    }

    fn lock(&self) -> MutexGuard<'_, MeterReading> {
        self.read.locked()
    }
}

/// Meter without a limit.
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
    /// Reply to [`Question::Observe`]; fails for a reply of another kind, as do
    /// those below.
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
    /// Invalid findings, dropped.
    pub dropped: u32,
    pub follow_up: FollowUp,
    pub usage: TokenUsage,
    pub model: ModelRef,
    /// Request and response as sent; `None` for a local model.
    pub exchange: Option<Box<RawExchange>>,
}

/// Report of one analyst, for the opinion of another one or the reviewer's
/// verdict.
#[derive(Debug, Clone)]
pub struct ReviewQuestion {
    /// Persona that answers.
    pub persona: Arc<Persona>,
    pub kind: ReviewKind,
    /// Picture it was reported from, redacted.
    pub frame: RedactedFrame,
    /// Name of the analyst that reported it.
    pub first: String,
    pub report: Observation,
    /// Opinions of the other analysts, for the verdict.
    pub opinions: Vec<Opinion>,
}

/// Kind of review.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReviewKind {
    /// Opinion of one analyst.
    Opinion,
    /// Verdict: severity and confidence supported by the evidence.
    Verdict,
}

/// Opinion or verdict on a report: the stance, and severity, confidence,
/// `detail` and evidence as in a finding. A verdict confirms a report that
/// holds.
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

/// User's question about past screens.
#[derive(Debug, Clone)]
pub struct AskQuestion {
    pub question: String,
    /// Search results for it, one a line: untrusted, secrets masked.
    pub record: Vec<String>,
    pub now: Timestamp,
    /// Language of the answer.
    pub language: AnswerLanguage,
}

/// Answer to an [`AskQuestion`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskReply {
    /// Text of the answer; `None` without an answer in the record.
    pub answer: Option<String>,
    /// Indices of its sources in [`AskQuestion::record`], in order.
    pub cited: Vec<usize>,
    pub usage: TokenUsage,
    pub model: ModelRef,
}

/// Answer to a user's question, and its cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    pub reply: AskReply,
    pub cost: Cost,
}

/// Service that answers users' questions.
pub trait QuestionAnswerer: fmt::Debug + Send + Sync {
    /// Answers a question from the record; `None` where the configured model is
    /// the offline rules, which answer no questions.
    fn put(
        &self,
        question: String,
        record: Vec<String>,
    ) -> BoxFuture<'_, Option<Result<Answered, Failure>>>;
}

/// Reason of a missing reply, distinct from a reply without findings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The model responded without a usable answer: empty, cut off, not JSON,
    /// of another shape. `dropped` counts its findings when all were invalid.
    #[error("no answer: {reason}")]
    NoAnswer { reason: String, dropped: u32 },
    /// The model declined this picture or prompt. Retrying it unchanged is
    /// useless.
    #[error("refused: {reason}")]
    Refused { reason: String },
    /// Quota exceeded. `retry_after` is the wait requested by the server;
    /// `exhausted` when minutes won't help (a quota per day, or a limit of 0).
    #[error("rate limited: {reason}")]
    RateLimited {
        reason: String,
        retry_after: Option<Duration>,
        exhausted: bool,
    },
    /// Transient error of server or connection.
    #[error("{reason}")]
    Transient { reason: String },
    /// Permanent error, until the configuration is changed.
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

/// Cause of a permanent failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fatal {
    /// The key is wrong, revoked, or lacks the permission.
    Key,
    /// The model name is unknown, or retired.
    Model,
    /// The request was rejected.
    Request,
}

/// Outcome of a request, as a metric's label.
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

/// Model that answers questions.
///
/// A question is prepared once, which builds the prompt; its cost bound is
/// reserved, and the same prompt is sent.
pub trait Model: fmt::Debug + Send + Sync {
    /// Provider and name as configured, version as far as known.
    fn identity(&self) -> ModelRef;

    fn frame_policy(&self) -> FramePolicy;

    /// Builds the common content of all requests for a question. Builds nothing
    /// unless overridden, as for a model without prompts.
    fn prepare(&self, question: Question) -> Prepared {
        Prepared::new(question)
    }

    /// Bound on the cost of one request; zero unless overridden.
    fn cost_bound(&self, _prepared: &Prepared) -> CostBound {
        CostBound::default()
    }

    /// Makes one attempt at a prepared question, with the few immediate resends
    /// that the provider's documents prescribe; waiting, retrying and the
    /// circuit breaker are the caller's. Fails with [`Question::unsupported`]
    /// for a kind of question it does not support.
    fn ask(&self, prepared: Prepared) -> BoxFuture<'_, Result<Reply, Failure>>;

    /// Missing abilities, as text; logged at the start.
    fn lacks(&self) -> &'static str {
        ""
    }

    /// Checks key, name and reachability at the least cost; returns a short
    /// summary.
    fn probe(&self) -> BoxFuture<'_, Result<String, Failure>>;
}

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use watchtower_base::stream_name::StreamName;
use watchtower_domain::agent_status::{AgentBoard, AgentStatus};
use watchtower_domain::cost::TokenUsage;
use watchtower_domain::finding::{Category, Evidence, ModelRef, Observation, Severity};
use watchtower_media::MediaTime;
use watchtower_models::language::AnswerLanguage;
use watchtower_models::model::{
    AskQuestion, AskReply, Failure, FollowUp, FrameObservation, FramePolicy, Model, ObserveReply,
    Persona, Prepared, Question, Reply,
};
use watchtower_record::Record;
use watchtower_record::settings::StoreSettings;
use watchtower_screen::frame::Frame;
use watchtower_screen::frames::{FrameBus, FramePublisher};
use watchtower_screen::picture::{EncodeError, Picture, TextLine};
use watchtower_screen::redact::{OwnPatterns, Redact};

use super::look::LONGEST_WAIT;
use crate::budget::settings::Limits;
use crate::budget::{Budget, Prices};
use crate::budgeted_ask::{AskTerms, NoRoom, SettledAsk};
use crate::settings::{AgentConfig, Panel, Priority};
use crate::{
    AgentContext, AgentSet, AgentSpec, ChainLink, Governor, GovernorSettings, ModelChain, Policy,
};

/// Model with scripted answers, then no findings; panics if scripted to.
#[derive(Debug)]
pub(super) struct Scripted {
    frame_policy: FramePolicy,
    script: Mutex<VecDeque<ScriptStep>>,
    /// Streams and sequence numbers of the frames shown, and when.
    shown: Mutex<Vec<(String, u64)>>,
    shown_at: Mutex<Vec<Instant>>,
    /// Duration of an answer.
    takes: Duration,
}

#[derive(Debug)]
pub(super) enum ScriptStep {
    Report(&'static str),
    Fail(Failure),
    Panic,
}

impl Scripted {
    pub(super) fn new(
        frame_policy: FramePolicy,
        script: impl IntoIterator<Item = ScriptStep>,
    ) -> Arc<Self> {
        let script = Mutex::new(script.into_iter().collect());
        Arc::new(Self {
            frame_policy,
            script,
            shown: Mutex::default(),
            shown_at: Mutex::default(),
            takes: Duration::ZERO,
        })
    }

    /// Model without findings, with that response time.
    pub(super) fn taking(frame_policy: FramePolicy, takes: Duration) -> Arc<Self> {
        Arc::new(Self {
            frame_policy,
            script: Mutex::default(),
            shown: Mutex::default(),
            shown_at: Mutex::default(),
            takes,
        })
    }

    pub(super) fn then(&self, step: ScriptStep) {
        self.script.lock().unwrap().push_back(step);
    }

    /// Every frame shown: time, stream and sequence number.
    pub(super) fn shown_when(&self) -> Vec<(Instant, String, u64)> {
        let times = self.shown_at.lock().unwrap().clone();
        let shown = self.shown().into_iter().zip(times);
        shown.map(|((of, seq), at)| (at, of, seq)).collect()
    }

    fn shown(&self) -> Vec<(String, u64)> {
        self.shown.lock().unwrap().clone()
    }
}

impl Model for Scripted {
    fn identity(&self) -> ModelRef {
        ModelRef {
            provider: "test".into(),
            name: "scripted".into(),
            version: "1".into(),
            prompt: String::new(),
        }
    }

    fn frame_policy(&self) -> FramePolicy {
        self.frame_policy
    }

    fn ask(&self, prepared: Prepared) -> BoxFuture<'_, Result<Reply, Failure>> {
        Box::pin(async move {
            let Question::Observe(question) = prepared.question() else {
                return Err(prepared.question().unsupported());
            };
            let frames = question.frames.iter();
            let shown = frames.map(|frame| (frame.stream.to_string(), frame.seq));
            self.shown.lock().unwrap().extend(shown);
            let times = vec![Instant::now(); question.frames.len()];
            self.shown_at.lock().unwrap().extend(times);
            assert!(prepared.meter().begin(), "nothing was reserved for it");
            prepared.meter().free();
            if !self.takes.is_zero() {
                tokio::time::sleep(self.takes).await;
            }
            let step = self.script.lock().unwrap().pop_front();
            let seen = match step {
                None => Vec::new(),
                Some(ScriptStep::Fail(failure)) => return Err(failure),
                Some(ScriptStep::Panic) => panic!("as the script says"),
                Some(ScriptStep::Report(title)) => vec![FrameObservation {
                    frame: question.frames.last().unwrap().clone(),
                    observation: observation(title),
                }],
            };
            Ok(Reply::Observe(ObserveReply {
                seen,
                dropped: 0,
                follow_up: FollowUp::default(),
                usage: TokenUsage::default(),
                model: self.identity(),
                exchange: None,
            }))
        })
    }

    fn probe(&self) -> BoxFuture<'_, Result<String, Failure>> {
        Box::pin(async { Ok("fine".to_owned()) })
    }
}

fn observation(title: &str) -> Observation {
    Observation {
        severity: Severity::High,
        confidence: 1.0,
        category: Category::Other,
        title: title.to_owned(),
        detail: String::new(),
        evidence: vec![Evidence {
            quote: "q".into(),
            bounds: None,
            grounded: None,
        }],
        mitre: vec![],
        recommended_action: String::new(),
    }
}

pub(super) fn policy(redact: Redact) -> Policy {
    Policy {
        redact,
        own: OwnPatterns::default(),
        redact_evidence: Redact::Secrets,
        ungrounded: Severity::Medium,
    }
}

pub(super) struct AgentHarness {
    pub(super) context: AgentContext,
    pub(super) model: Arc<Scripted>,
    shutdown: CancellationToken,
    panel: tokio::task::JoinHandle<()>,
    _logs: tempfile::TempDir,
}

/// Panel of one analyst that scans every ten seconds of paused time.
pub(super) fn harness(model: Arc<Scripted>) -> AgentHarness {
    harness_with_redaction(model, Redact::Off)
}

fn harness_with_redaction(model: Arc<Scripted>, redact: Redact) -> AgentHarness {
    harness_with(model, redact, |_, _, _| {})
}

/// The same with other settings, a governor and budget limits.
pub(super) fn harness_with(
    model: Arc<Scripted>,
    redact: Redact,
    change: impl FnOnce(&mut AgentConfig, &mut Option<Arc<Governor>>, &mut Limits),
) -> AgentHarness {
    let logs = tempfile::tempdir().unwrap();
    let (findings, _) = Record::open(
        &logs.path().join("data"),
        logs.path(),
        &["SecOps".to_owned()],
        &StoreSettings::default(),
    )
    .unwrap();
    let status = AgentStatus {
        enabled: true,
        ..AgentStatus::new("SecOps", "test", "scripted")
    };
    let persona = Persona {
        name: "SecOps".into(),
        personality: "wary".into(),
        focus: "threats".into(),
        ..Persona::default()
    };
    let mut config = AgentConfig::new(Arc::new(persona));
    let (mut governor, mut limits) = (None, Limits::default());
    change(&mut config, &mut governor, &mut limits);
    let prices = Prices::load(None).unwrap();
    let context = AgentContext {
        frames: FrameBus::new(),
        findings,
        board: AgentBoard::new(vec![status]),
        metrics: Arc::default(),
        budget: Budget::with_clock(limits, prices, Arc::new(now)),
        audio: watchtower_media::audio_bus::AudioBus::default(),
    };
    let link = ChainLink {
        model: Arc::clone(&model) as Arc<dyn Model>,
        governor,
        policy: policy(redact),
        hears: false,
    };
    let member = AgentSpec {
        config,
        chain: ModelChain::new(link, Vec::new(), Priority::Normal),
    };
    let shutdown = CancellationToken::new();
    let agents = AgentSet {
        members: Arc::from([member]),
        panel: Panel::parse("", "").unwrap().exchange,
        ask_service: None,
        ask_language: AnswerLanguage::default(),
        watches: Arc::default(),
    };
    let (_, agents) = watch::channel(agents); // They never change.
    let panel = tokio::spawn(crate::run(agents, context.clone(), shutdown.clone()));
    AgentHarness {
        context,
        model,
        shutdown,
        panel,
        _logs: logs,
    }
}

impl AgentHarness {
    pub(super) fn open(&self, stream: &str) -> FramePublisher {
        let stream = StreamName::new(stream).unwrap();
        self.context
            .frames
            .open(&stream, |_| Ok(Bytes::from_static(b"jpeg")))
    }

    pub(super) fn state(&self) -> String {
        self.context.board.agents()[0].state.clone()
    }

    /// Entries of the analyst's log.
    pub(super) fn notes(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self._logs.path().join("secops.log")).unwrap();
        let notes = log.lines().filter_map(|line| line.split_once("--        "));
        notes.map(|(_, note)| note.to_owned()).collect()
    }

    pub(super) async fn end(self) {
        self.shutdown.cancel();
        self.panel.await.unwrap();
    }
}

pub(super) fn show(publisher: &mut FramePublisher, shade: u8) -> Arc<Frame> {
    let picture = Picture {
        width: 64,
        height: 64,
        y: vec![shade; 64 * 64],
        u: vec![128; 32 * 32],
        v: vec![128; 32 * 32],
    };
    publisher.publish(picture, MediaTime(0), now())
}

/// Time of the paused clock.
pub(super) fn now() -> Timestamp {
    static START: OnceLock<Instant> = OnceLock::new();
    let passed = Instant::now().duration_since(*START.get_or_init(Instant::now));
    Timestamp::UNIX_EPOCH + jiff::SignedDuration::try_from(passed).unwrap()
}

pub(super) async fn seconds(count: u64) {
    tokio::time::sleep(Duration::from_secs(count)).await;
}

#[tokio::test(start_paused = true)]
async fn the_newest_picture_wins_and_an_unchanged_one_is_not_sent_again() {
    let harness = harness(Scripted::new(FramePolicy::Newest, []));
    let mut team = harness.open("team");
    show(&mut team, 10);
    seconds(1).await;
    for shade in [60, 110, 160] {
        show(&mut team, shade);
    }
    seconds(20).await;
    show(&mut team, 161);
    seconds(60).await;
    let team_saw = |seq| ("team".to_owned(), seq);
    assert_eq!(harness.model.shown(), [team_saw(1), team_saw(4)]);
    assert_eq!(harness.state(), "team: no findings (frame 4)");
    // Shown as `watchtower_dropped_total{where="agent"}`.
    assert_eq!(harness.context.metrics.dropped_frames.get(), 2);
    harness.end().await;
}

#[tokio::test(start_paused = true)]
async fn streams_take_turns() {
    let harness = super::turn_tests::one_per_interval(Scripted::new(FramePolicy::Newest, []));
    let (mut a, mut b) = (harness.open("a"), harness.open("b"));
    for shade in [10, 60, 110] {
        show(&mut a, shade);
        show(&mut b, shade);
        seconds(20).await;
    }
    let streams: Vec<_> = harness
        .model
        .shown()
        .into_iter()
        .map(|(stream, _)| stream)
        .collect();
    assert_eq!(streams, ["a", "b", "a", "b", "a", "b"]);
    harness.end().await;
}

#[tokio::test(start_paused = true)]
async fn trouble_that_passes_shows_the_same_picture_again() {
    let transient = Failure::Transient {
        reason: "503 from the model".into(),
    };
    let refused = Failure::Refused {
        reason: "safety".into(),
    };
    let script = [
        ScriptStep::Fail(transient),
        ScriptStep::Fail(refused),
        ScriptStep::Report("late"),
    ];
    let harness = harness(Scripted::new(FramePolicy::Newest, script));
    let mut team = harness.open("team");
    show(&mut team, 10);
    seconds(60).await;
    assert_eq!(
        harness.model.shown().len(),
        2,
        "a refused picture is not shown again"
    );
    assert_eq!(harness.state(), "team: refused: safety (frame 1)");
    // The writer is a real thread: awaited by its event, not by a sleep.
    let mut findings = harness.context.findings.subscribe();
    show(&mut team, 100);
    let finding = findings.recv().await.unwrap();
    assert_eq!((finding.title.as_str(), finding.frame.seq), ("late", 2));
    assert_eq!(finding.frame.sha256.len(), 64);
    assert_eq!(
        harness.notes(),
        ["503 from the model", "refused: safety", "analysis resumed"]
    );
    harness.end().await;
}

#[tokio::test(start_paused = true)]
async fn one_that_reads_gets_every_reading_since_its_last_look() {
    let harness = harness(Scripted::new(FramePolicy::EveryRead, []));
    let mut team = harness.open("team");
    let text: Arc<[TextLine]> = Arc::from([]);
    for shade in [10, 60, 110] {
        let frame = show(&mut team, shade);
        seconds(1).await;
        harness
            .context
            .frames
            .publish_read(Arc::new(frame.read(Arc::clone(&text), Arc::from([]))));
    }
    seconds(30).await;
    let seqs: Vec<_> = harness
        .model
        .shown()
        .into_iter()
        .map(|(_, seq)| seq)
        .collect();
    assert_eq!(seqs, [1, 2, 3]);
    harness.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_picture_nobody_read_is_shown_to_no_model_that_must_not_see_secrets() {
    for reading in [false, true] {
        let harness =
            harness_with_redaction(Scripted::new(FramePolicy::Newest, []), Redact::Secrets);
        if reading {
            harness.context.frames.expect_reading();
        }
        let mut team = harness.open("team");
        show(&mut team, 10);
        let frame = show(&mut team, 110);
        seconds(60).await;
        assert_eq!(harness.model.shown(), [], "reading: {reading}");
        assert_eq!(harness.state(), "waiting for OCR");
        let text: Arc<[TextLine]> = Arc::from([]);
        harness
            .context
            .frames
            .publish_read(Arc::new(frame.read(text, Arc::from([]))));
        seconds(30).await;
        let shown: &[_] = if reading {
            &[("team".to_owned(), 2)]
        } else {
            &[]
        };
        assert_eq!(harness.model.shown(), shown, "reading: {reading}");
        harness.end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn evidence_that_nobody_read_is_black() {
    fn luma(picture: &Picture) -> Result<Bytes, EncodeError> {
        Ok(Bytes::from(picture.y.clone()))
    }
    let harness = harness(Scripted::new(
        FramePolicy::Newest,
        [ScriptStep::Report("it")],
    ));
    let mut findings = harness.context.findings.subscribe();
    let stream = StreamName::new("team").unwrap();
    let mut team = harness.context.frames.open(&stream, luma);
    show(&mut team, 200);
    let finding = findings.recv().await.unwrap();
    let black = hex::encode(Sha256::digest([0_u8; 64 * 64]));
    assert_eq!(finding.frame.sha256, black);
    harness.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_fails_is_started_again() {
    let harness = harness(Scripted::new(
        FramePolicy::Newest,
        [ScriptStep::Panic, ScriptStep::Report("back")],
    ));
    let mut team = harness.open("team");
    let mut findings = harness.context.findings.subscribe();
    show(&mut team, 10);
    assert_eq!(findings.recv().await.unwrap().title, "back");
    harness.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_still_picture_that_nobody_reads_is_paid_for_once() {
    let harness = harness(Scripted::new(FramePolicy::Newest, []));
    let mut team = harness.open("team");
    for _ in 0..1800 {
        show(&mut team, 10);
        seconds(2).await;
    }
    assert_eq!(harness.model.shown().len(), 1, "in an hour");
    // A change after all those heartbeats triggers an analysis at once.
    show(&mut team, 200);
    seconds(15).await;
    assert_eq!(harness.model.shown().len(), 2);
    harness.end().await;
}

/// Model that answers each question of a person with one request.
#[derive(Debug, Default)]
struct Oracle {
    prepared: AtomicUsize,
    asked: AtomicUsize,
}

impl Model for Oracle {
    fn identity(&self) -> ModelRef {
        ModelRef {
            provider: "test".into(),
            name: "oracle".into(),
            version: String::new(),
            prompt: String::new(),
        }
    }

    fn frame_policy(&self) -> FramePolicy {
        FramePolicy::Newest
    }

    fn prepare(&self, question: Question) -> Prepared {
        self.prepared.fetch_add(1, Ordering::Relaxed);
        Prepared::new(question)
    }

    fn ask(&self, prepared: Prepared) -> BoxFuture<'_, Result<Reply, Failure>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        assert!(prepared.meter().begin(), "nothing was reserved for it");
        prepared.meter().free();
        let reply = AskReply {
            answer: Some("yes".to_owned()),
            cited: vec![0],
            usage: TokenUsage::default(),
            model: self.identity(),
        };
        Box::pin(std::future::ready(Ok(Reply::Ask(reply))))
    }

    fn probe(&self) -> BoxFuture<'_, Result<String, Failure>> {
        Box::pin(async { Ok("fine".to_owned()) })
    }
}

/// Asks the chain once, with a limit per minute; statuses are added to `said`.
async fn ask_within(
    per_minute: u64,
    wait_for_room: Option<Duration>,
    chain: &ModelChain,
    context: &AgentContext,
    said: &Mutex<Vec<String>>,
) -> Result<SettledAsk, NoRoom> {
    let limits = Limits {
        requests_per_minute: Some(per_minute),
        ..Limits::default()
    };
    let context = AgentContext {
        budget: Budget::new(limits, Prices::load(None).unwrap()),
        ..context.clone()
    };
    let question = AskQuestion {
        question: "Did it end?".to_owned(),
        record: vec!["It ended.".to_owned()],
        now: Timestamp::UNIX_EPOCH,
        language: AnswerLanguage::default(),
    };
    let terms = AskTerms {
        agent: None,
        state: "asking".to_owned(),
        wait_for_room,
    };
    let say = |state: &str| said.lock().unwrap().push(state.to_owned());
    let lease = chain.turn(0, &context, |_| {}).await;
    lease.ask(question.into(), &context, terms, say).await
}

#[tokio::test(start_paused = true)]
async fn without_room_in_the_budget_nothing_is_sent_and_the_lease_is_given_back() {
    let harness = harness(Scripted::new(FramePolicy::Newest, []));
    let model = Arc::new(Oracle::default());
    let one_at_a_time = GovernorSettings {
        concurrency: 1,
        ..GovernorSettings::default()
    };
    let link = ChainLink {
        model: Arc::clone(&model) as Arc<dyn Model>,
        governor: Some(Arc::new(Governor::new(one_at_a_time))),
        policy: policy(Redact::Off),
        hears: false,
    };
    let chain = ModelChain::new(link, Vec::new(), Priority::Normal);
    let said = Mutex::default();
    let at_once = ask_within(0, None, &chain, &harness.context, &said).await;
    let why = at_once.unwrap_err().words;
    assert!(why.contains("budget"), "{why}");
    assert!(said.lock().unwrap().is_empty());
    let began = Instant::now();
    let waited = ask_within(0, Some(LONGEST_WAIT), &chain, &harness.context, &said).await;
    assert_eq!(*said.lock().unwrap(), [waited.unwrap_err().words]);
    assert!(began.elapsed() >= Duration::from_secs(1));
    assert_eq!(model.asked.load(Ordering::Relaxed), 0);
    // Neither holds the only concurrency slot.
    let asked = ask_within(4, None, &chain, &harness.context, &said).await;
    let asked = asked.unwrap();
    let reply = asked.result.and_then(Reply::answered).unwrap();
    assert_eq!(reply.answer.as_deref(), Some("yes"));
    assert_eq!((asked.place, asked.span.cost.requests), (0, 1));
    assert_eq!(said.lock().unwrap().last().unwrap(), "asking");
    assert_eq!(model.asked.load(Ordering::Relaxed), 1);
    assert_eq!(model.prepared.load(Ordering::Relaxed), 3, "once each");
    harness.end().await;
}

//! Simulated hour of failures on a manual clock: five analysts, a model with
//! every kind of failure, a fallback model, and a budget.

use std::sync::Mutex;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use watchtower_base::stream_name::StreamName;
use watchtower_domain::agent_status::AgentStatus;
use watchtower_domain::cost::{AnswerOutcome, TokenUsage};
use watchtower_domain::finding::ModelRef;
use watchtower_media::MediaTime;
use watchtower_models::model::{
    CostBound, Failure, FollowUp, FramePolicy, Model, ObserveReply, Persona, Prepared, Reply,
};
use watchtower_record::settings::StoreSettings;
use watchtower_screen::picture::Picture;

use crate::budget::settings::Limits;
use crate::budget::{Budget, BudgetStep, Prices};
use crate::settings::{Frames, Panel, Priority};
use crate::*;

const NAMES: [&str; 5] = ["SecOps", "DevOps", "CloudSec", "AISec", "Architect"];
const PER_MINUTE: usize = 20;
/// Costs 0.003 USD per answer at the shipped prices.
const MODEL: &str = "gemini-3.8-flash";
const USAGE: TokenUsage = TokenUsage {
    prompt_tokens: 2000,
    output_tokens: 400,
    estimated_tokens: 0,
    cached_tokens: 0,
};
const LIMIT: u64 = 2_400_000;

#[derive(Debug, Clone, Copy, PartialEq)]
enum ProviderCondition {
    Fine,
    /// 429 with RetryInfo.
    Limited,
    /// 503 without a retry hint.
    Storm,
    Refusing,
    /// Half a minute per answer.
    Slow,
    /// The daily quota is exhausted.
    UsedUp,
}

/// Conditions, each with the second of the hour at which it ends.
const WEATHER: [(u64, ProviderCondition); 7] = [
    (600, ProviderCondition::Fine),
    (900, ProviderCondition::Limited),
    (1500, ProviderCondition::Storm),
    (1800, ProviderCondition::Refusing),
    (2100, ProviderCondition::Slow),
    (2700, ProviderCondition::UsedUp),
    (u64::MAX, ProviderCondition::Fine),
];

fn period(sky: ProviderCondition) -> std::ops::Range<u64> {
    let at = WEATHER.iter().position(|(_, other)| *other == sky).unwrap();
    let start = if at == 0 { 0 } else { WEATHER[at - 1].0 };
    start..WEATHER[at].0
}

/// Request: its second and outcome.
#[derive(Debug, Clone, Copy)]
struct TimedRequest {
    at: f64,
    outcome: AnswerOutcome,
}

#[derive(Debug)]
struct UnstableModel {
    name: &'static str,
    start: Instant,
    /// True if it has those failures; the fallback model has none.
    exposed: bool,
    asked: Mutex<Vec<TimedRequest>>,
    in_flight: Mutex<(usize, usize)>,
}

impl UnstableModel {
    fn new(name: &'static str, exposed: bool) -> Arc<Self> {
        Arc::new(Self {
            name,
            start: Instant::now(),
            exposed,
            asked: Mutex::default(),
            in_flight: Mutex::default(),
        })
    }

    fn sky(&self) -> ProviderCondition {
        if !self.exposed {
            return ProviderCondition::Fine;
        }
        let now = self.start.elapsed().as_secs();
        WEATHER.iter().find(|(until, _)| now < *until).unwrap().1
    }

    fn asked(&self) -> Vec<TimedRequest> {
        self.asked.lock().unwrap().clone()
    }

    fn count(&self, seconds: std::ops::Range<u64>) -> usize {
        let inside = |one: &&TimedRequest| seconds.contains(&(one.at as u64));
        self.asked().iter().filter(inside).count()
    }

    async fn answer(&self) -> Result<ObserveReply, Failure> {
        match self.sky() {
            ProviderCondition::Fine => tokio::time::sleep(Duration::from_secs(2)).await,
            ProviderCondition::Slow => tokio::time::sleep(Duration::from_secs(30)).await,
            ProviderCondition::Limited => {
                return Err(Failure::RateLimited {
                    reason: "over the quota (429)".to_owned(),
                    retry_after: Some(Duration::from_secs(30)),
                    exhausted: false,
                });
            }
            ProviderCondition::UsedUp => {
                return Err(Failure::RateLimited {
                    reason: "daily quota exhausted".to_owned(),
                    retry_after: None,
                    exhausted: true,
                });
            }
            ProviderCondition::Storm => {
                return Err(Failure::Transient {
                    reason: "server trouble (503)".to_owned(),
                });
            }
            ProviderCondition::Refusing => {
                return Err(Failure::Refused {
                    reason: "the model stopped (SAFETY)".to_owned(),
                });
            }
        }
        Ok(ObserveReply {
            seen: Vec::new(),
            dropped: 0,
            follow_up: FollowUp::default(),
            usage: USAGE,
            model: self.identity(),
            exchange: None,
        })
    }
}

impl Model for UnstableModel {
    fn identity(&self) -> ModelRef {
        ModelRef {
            provider: "test".to_owned(),
            name: self.name.to_owned(),
            version: String::new(),
            prompt: String::new(),
        }
    }

    fn frame_policy(&self) -> FramePolicy {
        FramePolicy::Newest
    }

    fn cost_bound(&self, _: &Prepared) -> CostBound {
        CostBound {
            prompt_tokens: USAGE.prompt_tokens,
            output_tokens: USAGE.output_tokens,
        }
    }

    fn ask(&self, prepared: Prepared) -> BoxFuture<'_, Result<Reply, Failure>> {
        Box::pin(async move {
            let meter = prepared.meter();
            assert!(meter.begin(), "nothing was set aside for it");
            let at = self.start.elapsed().as_secs_f64();
            {
                let mut in_flight = self.in_flight.lock().unwrap();
                in_flight.0 += 1;
                in_flight.1 = in_flight.1.max(in_flight.0);
            }
            let answer = self.answer().await;
            self.in_flight.lock().unwrap().0 -= 1;
            match &answer {
                Ok(_) | Err(Failure::Refused { .. }) => meter.told(USAGE),
                Err(_) => meter.free(),
            }
            let outcome = watchtower_models::model::outcome(&answer);
            self.asked
                .lock()
                .unwrap()
                .push(TimedRequest { at, outcome });
            answer.map(Reply::Observe)
        })
    }

    fn probe(&self) -> BoxFuture<'_, Result<String, Failure>> {
        Box::pin(async { Ok("fine".to_owned()) })
    }
}

fn status(name: &str) -> AgentStatus {
    AgentStatus {
        enabled: true,
        ..AgentStatus::new(name, "test", MODEL)
    }
}

fn member(name: &str, models: [(Arc<UnstableModel>, Arc<Governor>); 2]) -> AgentSpec {
    // The last one is shed first as the budget runs out.
    let priority = match name {
        "Architect" => Priority::Low,
        _ => Priority::Normal,
    };
    let link = |(model, governor): (Arc<UnstableModel>, Arc<Governor>)| ChainLink {
        model,
        governor: Some(governor),
        policy: Policy {
            redact: Redact::Off,
            own: OwnPatterns::default(),
            redact_evidence: Redact::Secrets,
            ungrounded: Severity::Medium,
        },
        hears: false,
    };
    let [first, second] = models.map(link);
    let persona = Persona {
        name: name.to_owned(),
        ..Persona::default()
    };
    AgentSpec {
        config: AgentConfig {
            priority,
            frames: Frames::Full,
            max_regions: 0,
            ..AgentConfig::new(Arc::new(persona))
        },
        chain: ModelChain::new(first, vec![second], priority),
    }
}

/// Advances the clock, and lets the store's writer catch up: paused time does
/// not advance by itself while a thread blocks.
async fn pass(length: Duration) {
    tokio::time::advance(length).await;
    let breath = tokio::task::spawn_blocking(|| std::thread::sleep(Duration::from_millis(1)));
    breath.await.unwrap();
}

/// Highest number of requests to both models together within 60 s.
fn most_within_a_minute(models: [&UnstableModel; 2]) -> usize {
    let asked = models.map(UnstableModel::asked).concat();
    let within = |begin: f64| {
        let inside = |one: &&TimedRequest| (begin..begin + 60.0).contains(&one.at);
        asked.iter().filter(inside).count()
    };
    asked.iter().map(|one| within(one.at)).max().unwrap_or(0)
}

#[tokio::test(start_paused = true)]
async fn an_hour_of_bad_weather_is_bounded_and_followed_by_full_recovery() {
    // In memory: disk latency must take no virtual time.
    let logs = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
    let logs = logs.unwrap();
    let names = [&NAMES[..], &["Watchtower"]].concat();
    let names: Vec<_> = names.into_iter().map(str::to_owned).collect();
    let (findings, _) = Record::open(
        &logs.path().join("data"),
        logs.path(),
        &names,
        &StoreSettings::default(),
    )
    .unwrap();
    let start = Instant::now();
    let clock = move || {
        let noon: Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
        noon + SignedDuration::try_from(start.elapsed()).unwrap()
    };
    let limits = Limits {
        requests_per_minute: Some(PER_MINUTE as u64),
        micro_usd_per_hour: Some(LIMIT),
        ..Limits::default()
    };
    let budget = Budget::with_clock(limits, Prices::load(None).unwrap(), Arc::new(clock));
    let context = AgentContext {
        frames: FrameBus::new(),
        findings,
        board: AgentBoard::new(NAMES.map(status).to_vec()),
        metrics: Arc::default(),
        budget: budget.clone(),
        audio: AudioBus::default(),
    };
    let main = UnstableModel::new(MODEL, true);
    let spare = UnstableModel::new("gemini-3.5-flash-lite", false);
    let governor = Arc::new(Governor::new(GovernorSettings::default()));
    let sibling = Arc::new(governor.sibling());
    let members = NAMES.map(|name| {
        let main = (Arc::clone(&main), Arc::clone(&governor));
        member(name, [main, (Arc::clone(&spare), Arc::clone(&sibling))])
    });
    let agents = AgentSet {
        members: Arc::new(members),
        panel: Panel::parse("", "").unwrap().exchange,
        ask_service: None,
        ask_language: AnswerLanguage::default(),
        watches: Arc::default(),
    };
    let (_unchanging, agents) = watch::channel(agents);
    let shutdown = CancellationToken::new();
    let panel = tokio::spawn(run(agents, context.clone(), shutdown.clone()));
    let team = StreamName::new("team").unwrap();
    let mut team = (context.frames).open(&team, |_| Ok(Bytes::from_static(b"jpeg")));

    let mut steps = vec![BudgetStep::Normal];
    let mut second = 0_u8;
    let mut another = |steps: &mut Vec<BudgetStep>| {
        second = second.wrapping_add(1);
        let picture = Picture {
            width: 64,
            height: 64,
            y: vec![if second.is_multiple_of(2) { 20 } else { 220 }; 64 * 64],
            u: vec![128; 32 * 32],
            v: vec![128; 32 * 32],
        };
        team.publish(picture, MediaTime(0), clock());
        let step = budget.step();
        if steps.last() != Some(&step) {
            steps.push(step);
        }
    };
    while start.elapsed() < Duration::from_secs(3600) {
        another(&mut steps);
        pass(Duration::from_secs(1)).await;
    }

    let asked = |sky| (main.count(period(sky)), spare.count(period(sky)));
    assert!(most_within_a_minute([&main, &spare]) <= PER_MINUTE);
    assert!(main.in_flight.lock().unwrap().1 <= 2, "lanes");
    // Fine: as many requests as allowed, all to the first model.
    let (fine, other) = asked(ProviderCondition::Fine);
    assert!((150..=200).contains(&fine) && other == 0, "{fine} {other}");
    // 429: at most two for each retry hint of 30 s.
    let (limited, instead) = asked(ProviderCondition::Limited);
    assert!((5..=22).contains(&limited), "{limited}");
    assert!(instead >= 30, "the other one answers meanwhile: {instead}");
    // 503: five open the circuit; then single trials, at growing intervals.
    let (storm, instead) = asked(ProviderCondition::Storm);
    assert!((10..=20).contains(&storm), "{storm}");
    assert!(instead >= 60, "{instead}");
    // A refusal concerns that frame alone: each goes to the fallback model, in
    // addition to what that one answered until the circuit closed again. At the
    // end every analyst may be waiting for the minute's next request.
    let (refused, instead) = asked(ProviderCondition::Refusing);
    let each = refused.saturating_sub(NAMES.len())..=refused + 20;
    assert!(
        refused >= 20 && each.contains(&instead),
        "{refused} {instead}"
    );
    // Slow: limited by two concurrency slots.
    let (slow, _) = asked(ProviderCondition::Slow);
    assert!((8..=22).contains(&slow), "{slow}");
    // Exhausted: the requests in flight, then none for a quarter of an hour.
    let (used_up, instead) = asked(ProviderCondition::UsedUp);
    assert!((1..=2).contains(&used_up), "{used_up}");
    assert!(instead >= 30, "{instead}");
    // Recovery detected without intervention.
    let last = main.asked().into_iter().rev().take(5);
    let last: Vec<_> = last.map(|one| one.outcome).collect();
    assert_eq!(last, [AnswerOutcome::Nothing; 5]);
    assert!(main.count(3480..3600) >= 5);
    // As the budget ran out load was shed in order, and that was sufficient.
    assert!(steps.is_sorted() && steps.len() >= 3, "{steps:?}");
    assert_eq!(steps, BudgetStep::ALL[..steps.len()]);
    let spent = budget.standing().spent.hour.micro_usd;
    assert!(spent <= LIMIT && spent > LIMIT / 2, "{spent}");
    let log = |name: &str| std::fs::read_to_string(logs.path().join(name)).unwrap_or_default();
    let said = log("watchtower.log");
    assert!(said.contains("analysis interval doubled"), "{said}");
    let own = log("secops.log");
    assert!(own.contains(": daily quota exhausted"), "{own}");
    assert!(own.contains(&format!("switched back to {MODEL}")), "{own}");

    // An hour without requests restores everything.
    for _ in 0..370 {
        pass(Duration::from_secs(10)).await;
    }
    assert_eq!(budget.step(), BudgetStep::Normal);
    let before = (main.asked().len(), spare.asked().len());
    for _ in 0..60 {
        another(&mut steps);
        pass(Duration::from_secs(1)).await;
    }
    assert!(
        main.asked().len() >= before.0 + 15,
        "all five as often as may be"
    );
    assert_eq!(spare.asked().len(), before.1);
    assert_eq!(steps.last(), Some(&BudgetStep::Normal));
    assert!(log("watchtower.log").contains("budget: OK"));
    shutdown.cancel();
    panel.await.unwrap();
}

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures_util::FutureExt as _;
use proptest::prelude::*;
use tokio::task::JoinSet;

use watchtower_domain::cost::TokenUsage;
use watchtower_domain::finding::ModelRef;
use watchtower_models::model::{Fatal, FollowUp, ObserveReply};

use super::*;

type ModelResult = Result<ObserveReply, Failure>;

const SECOND: Duration = Duration::from_secs(1);

fn governor() -> Governor {
    Governor::new(GovernorSettings::default())
}

fn ok() -> ModelResult {
    Ok(ObserveReply {
        seen: Vec::new(),
        dropped: 0,
        follow_up: FollowUp::default(),
        usage: TokenUsage::default(),
        model: ModelRef {
            provider: String::new(),
            name: String::new(),
            version: String::new(),
            prompt: String::new(),
        },
        exchange: None,
    })
}

fn trouble() -> ModelResult {
    Err(Failure::Transient {
        reason: "server trouble (503)".to_owned(),
    })
}

fn limited(retry_after: Option<Duration>) -> ModelResult {
    Err(Failure::RateLimited {
        reason: "slow down".to_owned(),
        retry_after,
        exhausted: false,
    })
}

fn exhausted() -> ModelResult {
    Err(Failure::RateLimited {
        reason: "used up".to_owned(),
        retry_after: Some(SECOND),
        exhausted: true,
    })
}

fn refused() -> ModelResult {
    Err(Failure::Refused {
        reason: "SAFETY".to_owned(),
    })
}

fn key() -> ModelResult {
    Err(Failure::fatal(Fatal::Key, "key refused (401)"))
}

fn silent(_: &str) {}

/// Sends one request; returns how long it waited.
async fn ask(governor: &Governor, outcome: ModelResult) -> Duration {
    let asked = Instant::now();
    let permit = governor.admit(silent).await;
    let waited = asked.elapsed();
    permit.settle(&outcome);
    waited
}

/// True if a request would be admitted at once; the permit is dropped unused.
fn is_open(governor: &Governor) -> bool {
    governor.admit(silent).now_or_never().is_some()
}

/// The timer has millisecond resolution, and is never early.
fn assert_about(waited: Duration, expected: Duration) {
    let late = waited.checked_sub(expected);
    assert!(
        late.is_some_and(|late| late <= Duration::from_millis(1)),
        "waited {waited:?}, expected {expected:?}"
    );
}

/// Five errors in a row, with the backoff in between.
async fn open_circuit(governor: &Governor) {
    for _ in 0..5 {
        ask(governor, trouble()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn never_earlier_than_told_and_at_most_a_fifth_later() {
    for _ in 0..50 {
        let governor = governor();
        let told = Duration::from_secs_f64(45.837_906_927);
        ask(&governor, limited(Some(told))).await;
        let waited = ask(&governor, ok()).await;
        assert!(waited >= told, "{waited:?}");
        let most = told.mul_f64(1.2) + Duration::from_millis(1);
        assert!(waited <= most, "{waited:?}");
        assert_eq!(ask(&governor, ok()).await, Duration::ZERO);
    }
}

#[tokio::test(start_paused = true)]
async fn a_shorter_advice_does_not_shorten_a_longer_one() {
    let governor = governor();
    let first = governor.admit(silent).await;
    let second = governor.admit(silent).await;
    first.settle(&limited(Some(30 * SECOND)));
    second.settle(&limited(Some(SECOND)));
    assert!(ask(&governor, ok()).await >= 30 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_somebody_else_does_not_lift_a_told_wait() {
    let governor = governor();
    let first = governor.admit(silent).await;
    let second = governor.admit(silent).await;
    first.settle(&limited(Some(30 * SECOND)));
    second.settle(&ok());
    assert!(ask(&governor, ok()).await >= 30 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn without_advice_it_waits_longer_each_time() {
    let governor = governor();
    let mut waits = Vec::new();
    for _ in 0..6 {
        ask(&governor, limited(None)).await;
        let asked = Instant::now();
        let permit = governor.admit(silent).await;
        waits.push(asked.elapsed());
        drop(permit);
    }
    for (waited, least) in waits.iter().zip([5, 10, 20, 40, 60, 60]) {
        let least = least * SECOND;
        let most = least.mul_f64(1.2) + Duration::from_millis(1);
        assert!((least..=most).contains(waited), "{waits:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_herd_passes_no_faster_than_the_lanes_are_wide() {
    let governor = Arc::new(governor());
    ask(&governor, limited(Some(38 * SECOND))).await;
    let told = Instant::now() + 38 * SECOND;
    let flying = Arc::new(AtomicUsize::new(0));
    let mut herd = JoinSet::new();
    for _ in 0..5 {
        let (governor, flying) = (Arc::clone(&governor), Arc::clone(&flying));
        herd.spawn(async move {
            let permit = governor.admit(silent).await;
            assert!(Instant::now() >= told);
            let beside = flying.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(SECOND).await;
            flying.fetch_sub(1, Ordering::SeqCst);
            permit.settle(&ok());
            beside + 1
        });
    }
    let most = herd.join_all().await.into_iter().max();
    assert_eq!(most, Some(2));
}

#[tokio::test(start_paused = true)]
async fn the_first_of_a_herd_that_is_told_to_wait_stops_the_rest() {
    let governor = Arc::new(Governor::new(GovernorSettings {
        concurrency: 1,
        ..GovernorSettings::default()
    }));
    ask(&governor, limited(Some(2 * SECOND))).await;
    let asked = Arc::new(AtomicUsize::new(0));
    let mut herd = JoinSet::new();
    for _ in 0..5 {
        let (governor, asked) = (Arc::clone(&governor), Arc::clone(&asked));
        herd.spawn(async move {
            let permit = governor.admit(silent).await;
            asked.fetch_add(1, Ordering::SeqCst);
            permit.settle(&limited(Some(60 * SECOND)));
        });
    }
    tokio::time::sleep(50 * SECOND).await;
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn five_errors_in_a_row_open_the_circuit_for_ten_seconds() {
    let governor = governor();
    for _ in 0..4 {
        ask(&governor, trouble()).await;
    }
    // The fourth error backs off, at most eight seconds: the circuit stays
    // closed.
    assert!(ask(&governor, trouble()).await <= 8 * SECOND + Duration::from_millis(1));
    assert_about(ask(&governor, ok()).await, 10 * SECOND);
    assert!(is_open(&governor));
}

#[tokio::test(start_paused = true)]
async fn each_failed_trial_doubles_up_to_a_minute_and_an_answer_closes() {
    let governor = governor();
    open_circuit(&governor).await;
    for seconds in [10, 20, 40, 60, 60] {
        assert_about(ask(&governor, trouble()).await, seconds * SECOND);
    }
    assert_about(ask(&governor, ok()).await, 60 * SECOND);
    // Closed again: it takes five errors to open, for ten seconds at first.
    open_circuit(&governor).await;
    assert_about(ask(&governor, ok()).await, 10 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn while_half_open_only_one_passes() {
    let governor = Arc::new(governor());
    open_circuit(&governor).await;
    let trial = governor.admit(silent).await;
    let others = {
        let governor = Arc::clone(&governor);
        tokio::spawn(async move { governor.admit(silent).await.settle(&ok()) })
    };
    tokio::time::sleep(100 * SECOND).await;
    assert!(!others.is_finished());
    trial.settle(&ok());
    let decided = Instant::now();
    others.await.unwrap();
    assert_eq!(decided.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn refusals_empty_answers_and_429_open_nothing() {
    let governor = governor();
    for outcome in [
        || limited(Some(SECOND)),
        refused,
        || Err(Failure::no_answer("silence")),
        || Err(Failure::fatal(Fatal::Request, "odd picture")),
    ] {
        for _ in 0..20 {
            ask(&governor, outcome()).await;
        }
        assert!(ask(&governor, ok()).await <= 2 * SECOND);
    }
    // An answer in between ends the run of errors.
    for _ in 0..4 {
        ask(&governor, trouble()).await;
    }
    ask(&governor, refused()).await;
    for _ in 0..4 {
        ask(&governor, trouble()).await;
    }
    assert!(ask(&governor, ok()).await <= 8 * SECOND + Duration::from_millis(1));
}

#[tokio::test(start_paused = true)]
async fn a_trial_that_is_given_up_leaves_the_trial_to_the_next() {
    let governor = governor();
    open_circuit(&governor).await;
    let trial = governor.admit(silent).await;
    drop(trial);
    // Admitted at once, as a trial: its failure doubles the duration.
    assert_eq!(ask(&governor, trouble()).await, Duration::ZERO);
    assert_about(ask(&governor, ok()).await, 20 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_429_on_trial_shows_that_the_server_is_back() {
    let governor = governor();
    open_circuit(&governor).await;
    ask(&governor, limited(Some(3 * SECOND))).await;
    let waited = ask(&governor, trouble()).await;
    assert!((3 * SECOND..4 * SECOND).contains(&waited), "{waited:?}");
    assert!(ask(&governor, ok()).await <= SECOND + Duration::from_millis(1));
}

#[tokio::test(start_paused = true)]
async fn what_went_out_before_the_circuit_opened_decides_nothing() {
    let governor = governor();
    let late = governor.admit(silent).await;
    open_circuit(&governor).await;
    late.settle(&ok());
    assert_about(ask(&governor, ok()).await, 10 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_refused_key_is_tried_once_a_minute_by_one() {
    let governor = Arc::new(governor());
    ask(&governor, key()).await;
    let tries = Arc::new(AtomicUsize::new(0));
    let mut agents = JoinSet::new();
    for _ in 0..5 {
        let (governor, tries) = (Arc::clone(&governor), Arc::clone(&tries));
        agents.spawn(async move {
            loop {
                let permit = governor.admit(silent).await;
                tries.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(SECOND / 10).await;
                permit.settle(&key());
            }
        });
    }
    tokio::time::sleep(10 * 60 * SECOND + SECOND / 2).await;
    // A trial every 60.1 seconds.
    assert_eq!(tries.load(Ordering::SeqCst), 9);
}

#[tokio::test(start_paused = true)]
async fn an_exhausted_quota_is_left_alone_for_long() {
    let governor = governor();
    ask(&governor, exhausted()).await;
    let waited = ask(&governor, ok()).await;
    let pause = 15 * 60 * SECOND;
    assert!(
        (pause..=pause.mul_f64(1.21)).contains(&waited),
        "{waited:?}"
    );
    assert!(is_open(&governor));
}

#[tokio::test(start_paused = true)]
async fn a_sibling_shares_the_lanes_and_not_the_troubles() {
    let governor = governor();
    let sibling = governor.sibling();
    ask(&sibling, Err(Failure::fatal(Fatal::Model, "gone"))).await;
    assert!(is_open(&governor) && !is_open(&sibling));
    let one = governor.admit(silent).await;
    let two = governor.sibling().admit(silent).await;
    assert!(!is_open(&governor));
    drop((one, two));
    assert!(is_open(&governor));
}

#[tokio::test(start_paused = true)]
async fn it_says_what_it_waits_for() {
    let heard = async |outcomes: Vec<ModelResult>| {
        let governor = governor();
        let one = governor.admit(silent).await;
        for outcome in outcomes {
            ask(&governor, outcome).await;
        }
        drop(one);
        let words = Mutex::new(Vec::new());
        let say = |text: &str| words.lock().unwrap().push(text.to_owned());
        drop(governor.admit(say).await);
        words.into_inner().unwrap()
    };
    let broken = heard((0..5).map(|_| trouble()).collect()).await;
    assert_eq!(
        broken,
        [
            "model unreachable, retrying in 10 s: server trouble (503)",
            "model unreachable, retrying in 5 s: server trouble (503)"
        ]
    );
    let key = heard(vec![key()]).await;
    assert_eq!(key[0], "key refused (401); retrying in 60 s");
    assert_eq!(key[11], "key refused (401); retrying in 5 s");
    let quota = heard(vec![limited(Some(10 * SECOND))]).await;
    assert!(
        ["waiting 10 s", "waiting 11 s", "waiting 12 s"].contains(&&quota[0][..12]),
        "{quota:?}"
    );
    assert!(quota[0].ends_with(": quota exceeded"), "{quota:?}");
    let long = heard(vec![exhausted()]).await;
    assert!(
        long[0].starts_with("used up; retrying in 1") && long[0].ends_with(" min"),
        "{long:?}"
    );

    let governor = governor();
    let _lanes = (governor.admit(silent).await, governor.admit(silent).await);
    let waits = AtomicBool::new(false);
    let say = |text: &str| waits.store(text == "queued", Ordering::SeqCst);
    assert!(governor.admit(say).now_or_never().is_none());
    assert!(waits.into_inner());
}

#[tokio::test(start_paused = true)]
async fn an_absurd_advice_is_survived() {
    for advice in [Duration::ZERO, Duration::MAX] {
        let governor = governor();
        ask(&governor, limited(Some(advice))).await;
        let waited = ask(&governor, ok()).await;
        assert!(waited >= SECOND, "{waited:?}");
        assert!(waited <= 29 * 3600 * SECOND, "{waited:?}");
    }
}

/// Step of an analyst: duration and outcome of its request, and whether it is
/// cancelled or panics on the way.
#[derive(Debug, Clone)]
struct RequestStep {
    pause_ms: u64,
    takes_ms: u64,
    outcome: u8,
    end: u8,
}

fn outcome(number: u8) -> ModelResult {
    match number {
        0 | 1 => ok(),
        2 | 3 => trouble(),
        4 => limited(Some(Duration::from_millis(1500))),
        5 => limited(None),
        6 => exhausted(),
        7 => key(),
        8 => refused(),
        _ => Err(Failure::no_answer("silence")),
    }
}

fn steps() -> impl Strategy<Value = Vec<Vec<RequestStep>>> {
    let step = (0..3000_u64, 0..5000_u64, 0..10_u8, 0..8_u8).prop_map(
        |(pause_ms, takes_ms, outcome, end)| RequestStep {
            pause_ms,
            takes_ms,
            outcome,
            end,
        },
    );
    prop::collection::vec(prop::collection::vec(step, 1..12), 1..7)
}

/// Requests in flight: current and peak count.
#[derive(Default)]
struct InFlightCount {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl InFlightCount {
    fn take_off(self: &Arc<Self>) -> Flight {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        Flight(Arc::clone(self))
    }
}

/// Request in flight; dropping it decrements the count.
struct Flight(Arc<InFlightCount>);

impl Drop for Flight {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn follow(governor: Arc<Governor>, sky: Arc<InFlightCount>, steps: Vec<RequestStep>) {
    for step in steps {
        tokio::time::sleep(Duration::from_millis(step.pause_ms)).await;
        let (governor, sky) = (Arc::clone(&governor), Arc::clone(&sky));
        let look = async move {
            let permit = governor.admit(silent).await;
            let flight = sky.take_off();
            tokio::time::sleep(Duration::from_millis(step.takes_ms)).await;
            drop(flight);
            if step.end == 1 {
                std::panic::resume_unwind(Box::new("an agent fails"));
            }
            permit.settle(&outcome(step.outcome));
        };
        let task = tokio::spawn(look);
        if step.end == 0 {
            tokio::time::sleep(Duration::from_millis(step.takes_ms / 2)).await;
            task.abort();
        }
        let _ = task.await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any outcomes, with cancellations at any point.
    #[test]
    fn never_more_in_flight_than_allowed_and_always_free_in_the_end(
        agents in steps(),
        concurrency in 1..4_usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let governor = Arc::new(Governor::new(GovernorSettings {
                concurrency,
                ..GovernorSettings::default()
            }));
            let sky = Arc::new(InFlightCount::default());
            let mut panel = JoinSet::new();
            for steps in agents {
                panel.spawn(follow(Arc::clone(&governor), Arc::clone(&sky), steps));
            }
            panel.join_all().await;
            let most = sky.most.load(Ordering::SeqCst);
            assert!(most <= concurrency, "{most} of {concurrency}");
            assert_eq!(sky.now.load(Ordering::SeqCst), 0);
            // Longer than any wait that may be pending.
            tokio::time::sleep(25 * 3600 * SECOND).await;
            let first = governor.admit(silent).now_or_never().expect("open");
            first.settle(&ok());
            let all: Vec<_> = (0..concurrency)
                .map(|_| governor.admit(silent).now_or_never().expect("a free lane"))
                .collect();
            assert!(!is_open(&governor));
            drop(all);
        });
    }
}

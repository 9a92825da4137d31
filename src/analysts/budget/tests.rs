use std::sync::atomic::{AtomicI64, Ordering};

use watchtower_domain::cost::TokenUsage;

use super::*;

/// Manual clock, in seconds.
#[derive(Clone, Default)]
struct ManualBudgetClock(Arc<AtomicI64>);

impl ManualBudgetClock {
    fn clock(&self) -> BudgetClock {
        let seconds = Arc::clone(&self.0);
        Arc::new(move || {
            let noon: Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
            noon + SignedDuration::from_secs(seconds.load(Ordering::Relaxed))
        })
    }

    fn turn(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::Relaxed);
    }
}

fn model() -> ModelRef {
    ModelRef {
        provider: "gemini".to_owned(),
        name: "gemini-3.8-flash".to_owned(),
        version: String::new(),
        prompt: String::new(),
    }
}

/// Worst case of one request: 0.003 USD.
const MOST: CostBound = CostBound {
    prompt_tokens: 2000,
    output_tokens: 400,
};

fn budget(limits: Limits) -> (Budget, ManualBudgetClock) {
    let manual_clock = ManualBudgetClock::default();
    let prices = Prices::load(None).unwrap();
    (
        Budget::with_clock(limits, prices, manual_clock.clock()),
        manual_clock,
    )
}

/// Runs one request that uses its full reservation.
fn spend(budget: &Budget) -> Result<(), BudgetWait> {
    let reserved = budget.reserve(&model(), MOST)?;
    let meter = reserved.meter();
    assert!(meter.begin());
    meter.told(TokenUsage {
        prompt_tokens: MOST.prompt_tokens,
        output_tokens: MOST.output_tokens,
        ..TokenUsage::default()
    });
    Ok(())
}

#[test]
fn step_by_step_things_are_given_up_and_taken_up_again() {
    let (budget, manual_clock) = budget(Limits {
        micro_usd_per_hour: Some(60_000),
        ..Limits::default()
    });
    let mut steps = vec![budget.step()];
    for _ in 0..20 {
        manual_clock.turn(10);
        spend(&budget).unwrap();
        if steps.last() != Some(&budget.step()) {
            steps.push(budget.step());
        }
    }
    assert_eq!(steps, BudgetStep::ALL, "one after the other");
    assert_eq!(budget.standing().spent.hour.micro_usd, 60_000);
    assert!(budget.refuses(Priority::Normal).is_some());
    let wait = spend(&budget).unwrap_err();
    assert!(wait.words.contains("cost per hour"), "{}", wait.words);
    // An hour after the first of them the budget recovers, bit by bit.
    manual_clock.turn(3600 - 190);
    assert_eq!(
        budget.step(),
        BudgetStep::OfflineOnly,
        "no room to speak of"
    );
    manual_clock.turn(30);
    assert_eq!(budget.step(), BudgetStep::LowPriorityOff);
    assert!(budget.refuses(Priority::Normal).is_none());
    assert!(budget.refuses(Priority::Low).is_some());
    manual_clock.turn(3600);
    assert_eq!(budget.step(), BudgetStep::Normal);
    assert_eq!(budget.standing().reason, "");
}

#[test]
fn a_budget_too_small_for_one_request_rests_until_it_is_larger() {
    let (budget, manual_clock) = budget(Limits {
        tokens_per_day: Some(2399),
        ..Limits::default()
    });
    let wait = spend(&budget).unwrap_err();
    assert!(wait.words.contains("tokens per day"), "{}", wait.words);
    assert_eq!(budget.step(), BudgetStep::OfflineOnly);
    manual_clock.turn(86_400);
    assert_eq!(
        budget.step(),
        BudgetStep::OfflineOnly,
        "it does not flutter"
    );
    let limits = Limits {
        tokens_per_day: Some(2400),
        ..Limits::default()
    };
    budget.change(limits, Prices::load(None).unwrap());
    assert_eq!(budget.step(), BudgetStep::Normal);
    assert!(spend(&budget).is_ok());
}

#[test]
fn what_is_in_flight_is_waited_for_and_gives_nothing_up() {
    let (budget, _) = budget(Limits {
        requests_per_day: Some(4),
        ..Limits::default()
    });
    let greedy = budget.reserve(&model(), MOST).unwrap();
    let wait = spend(&budget).unwrap_err();
    assert!(wait.words.contains("in flight"), "{}", wait.words);
    assert_eq!(budget.step(), BudgetStep::Normal);
    drop(greedy);
    assert!(spend(&budget).is_ok());
}

#[test]
fn a_minute_is_waited_for_and_gives_nothing_up() {
    let (budget, manual_clock) = budget(Limits {
        requests_per_minute: Some(2),
        ..Limits::default()
    });
    spend(&budget).unwrap();
    manual_clock.turn(20);
    spend(&budget).unwrap();
    let wait = spend(&budget).unwrap_err();
    assert_eq!(wait.length, Duration::from_secs(40));
    assert_eq!(wait.words, "waiting 40 s: budget of requests per minute");
    assert_eq!(budget.step(), BudgetStep::Normal);
    manual_clock.turn(40);
    assert!(spend(&budget).is_ok());
}

#[test]
fn a_question_is_granted_as_many_requests_as_there_is_room_for() {
    let (budget, _) = budget(Limits {
        requests_per_minute: Some(5),
        ..Limits::default()
    });
    let first = budget.reserve(&model(), MOST).unwrap();
    let second = budget.reserve(&model(), MOST).unwrap();
    let granted = [&first, &second].map(|reserved| reserved.meter().granted());
    assert_eq!(granted, [4, 1]);
    let meter = second.meter();
    assert!(meter.begin() && !meter.begin());
}

#[test]
fn what_nobody_told_the_price_of_costs_what_it_may_cost() {
    let (budget, _) = budget(Limits::default());
    let reserved = budget.reserve(&model(), MOST).unwrap();
    let meter = reserved.meter();
    // Timed out; then refused by the server, which charges nothing.
    assert!(meter.begin());
    assert!(meter.begin());
    meter.free();
    drop(reserved);
    let spent = budget.standing().spent.minute;
    assert_eq!(
        (spent.requests, spent.tokens, spent.micro_usd),
        (2, 2400, 3000)
    );
}

#[test]
fn a_resend_that_nobody_told_the_price_of_may_have_had_twice_the_output() {
    let (budget, _) = budget(Limits::default());
    let reserved = budget.reserve(&model(), MOST).unwrap();
    let meter = reserved.meter();
    // Truncated, and sent again with twice the output limit; that one timed
    // out.
    assert!(meter.begin());
    let told = TokenUsage {
        prompt_tokens: 10,
        output_tokens: MOST.output_tokens,
        ..TokenUsage::default()
    };
    meter.told(told);
    assert!(meter.begin());
    let cost = reserved.cost();
    assert_eq!(cost.prompt_tokens, 10 + MOST.prompt_tokens);
    assert_eq!(cost.output_tokens, 3 * MOST.output_tokens);
}

#[test]
fn cached_tokens_cost_their_own_price() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("prices.toml");
    let name = model().name;
    let row = format!("[[price]]\nmodel = {name:?}\ninput = 1\ncached = 0.1\noutput = 2\n");
    std::fs::write(&file, row).unwrap();
    let budget = Budget::new(Limits::default(), Prices::load(Some(&file)).unwrap());
    let reserved = budget.reserve(&model(), MOST).unwrap();
    let meter = reserved.meter();
    assert!(meter.begin());
    meter.told(TokenUsage {
        prompt_tokens: 1000,
        cached_tokens: 800,
        output_tokens: 100,
        ..TokenUsage::default()
    });
    assert_eq!(reserved.cost().micro_usd, 200 + 80 + 200);
}

#[test]
fn a_restart_forgets_nothing() {
    let limits = Limits {
        requests_per_day: Some(3),
        ..Limits::default()
    };
    let (before, _) = budget(limits.clone());
    spend(&before).unwrap();
    let in_flight = before.reserve(&model(), MOST).unwrap();
    // Killed with these rows on disk.
    let kept = before.take_pending();
    let requests: i64 = kept.iter().map(|row| row.requests).sum();
    assert_eq!(requests, 1 + i64::from(in_flight.meter().granted()));
    let (after, _) = budget(limits);
    after.recall(&kept);
    assert!(
        spend(&after).is_err(),
        "what was in flight may have cost all of it"
    );
    // Settlement in time records the actual usage.
    drop(in_flight);
    let requests: i64 = before.take_pending().iter().map(|row| row.requests).sum();
    assert_eq!(requests, -2, "nothing of what was set aside was sent");
}

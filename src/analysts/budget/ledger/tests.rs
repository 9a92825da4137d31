use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_795_000_000 + seconds).unwrap()
}

fn amount(requests: u64, tokens: u64, micro_usd: u64) -> Amount {
    Amount {
        requests,
        tokens,
        micro_usd,
    }
}

fn of_requests(per_minute: u64, per_day: u64) -> Ledger {
    Ledger::new(Limits {
        requests_per_minute: Some(per_minute),
        requests_per_day: Some(per_day),
        ..Limits::default()
    })
}

const ONE: Amount = Amount {
    requests: 1,
    tokens: 0,
    micro_usd: 0,
};

#[test]
fn what_is_in_flight_counts_however_long_and_then_for_a_minute() {
    let mut ledger = of_requests(1, 100);
    let first = ledger.reserve(at(0), ONE).unwrap();
    assert_eq!(ledger.reserve(at(300), ONE), Err(Bound::RequestsPerMinute));
    ledger.settle(at(300), first, ONE);
    assert_eq!(ledger.reserve(at(359), ONE), Err(Bound::RequestsPerMinute));
    assert_eq!(ledger.eases_at(at(359)), Some(at(360)));
    assert!(ledger.reserve(at(360), ONE).is_ok());
}

#[test]
fn what_was_not_needed_is_free_again_at_once() {
    let mut ledger = of_requests(4, 100);
    let asked = ledger.reserve(at(0), amount(4, 0, 0)).unwrap();
    ledger.settle(at(1), asked, ONE);
    assert!(ledger.reserve(at(1), amount(3, 0, 0)).is_ok());
}

#[test]
fn a_day_ends_at_midnight_utc_and_no_clock_begins_it_anew() {
    let midnight: Timestamp = "2026-11-24T00:00:00Z".parse().unwrap();
    let before = midnight - SignedDuration::from_secs(1);
    let mut ledger = of_requests(100, 1);
    let asked = ledger.reserve(before, ONE).unwrap();
    ledger.settle(before, asked, ONE);
    assert_eq!(ledger.reserve(before, ONE), Err(Bound::RequestsPerDay));
    let asked = ledger.reserve(midnight, ONE).unwrap();
    ledger.settle(midnight, asked, ONE);
    // Set back over midnight, and forward again.
    assert_eq!(ledger.reserve(before, ONE), Err(Bound::RequestsPerDay));
    assert_eq!(ledger.reserve(midnight, ONE), Err(Bound::RequestsPerDay));
}

#[test]
fn a_restart_forgets_nothing() {
    let mut ledger = of_requests(3, 5);
    let now = at(7200);
    ledger.recall(now, at(7170), amount(2, 0, 0));
    ledger.recall(now, at(0), amount(2, 0, 0));
    ledger.recall(now, at(-2 * 86_400), amount(50, 0, 0));
    assert_eq!(
        ledger.reserve(now, amount(2, 0, 0)),
        Err(Bound::RequestsPerDay)
    );
    assert!(ledger.reserve(now, ONE).is_ok());
}

/// Amount that was really sent, at a time between reservation and settlement.
struct SentAmount {
    at: Timestamp,
    amount: Amount,
}

struct ReservedRequest {
    number: u64,
    most: Amount,
    since: Timestamp,
}

/// Independent audit, without the ledger: each window that begins with a sent
/// amount, and each day.
fn audit(limits: &Limits, sent: &[SentAmount], seed: u64) {
    let within = |length: SignedDuration, begin: Timestamp| {
        let inside = sent.iter().filter(move |one| {
            let after = one.at.duration_since(begin);
            after >= SignedDuration::ZERO && after < length
        });
        inside.fold(Amount::default(), |sum, one| sum.plus(one.amount))
    };
    let holds = |used: u64, limit: Option<u64>, what: &str| {
        assert!(
            limit.is_none_or(|limit| used <= limit),
            "seed {seed}: {used} {what}, {limit:?} allowed"
        );
    };
    for one in sent {
        let minute = within(SignedDuration::from_secs(60), one.at);
        holds(
            minute.requests,
            limits.requests_per_minute,
            "requests per minute",
        );
        holds(minute.tokens, limits.tokens_per_minute, "tokens per minute");
        let hour = within(SignedDuration::from_secs(3600), one.at);
        holds(
            hour.micro_usd,
            limits.micro_usd_per_hour,
            "micro-USD an hour",
        );
        let date = day_of(one.at);
        let day = sent.iter().filter(|other| day_of(other.at) == date);
        let day = day.fold(Amount::default(), |sum, other| sum.plus(other.amount));
        holds(day.requests, limits.requests_per_day, "requests per day");
        holds(day.tokens, limits.tokens_per_day, "tokens per day");
        holds(day.micro_usd, limits.micro_usd_per_day, "micro-USD a day");
    }
}

#[test]
fn no_window_holds_more_than_it_may_in_ten_thousand_schedules() {
    const SCHEDULES: u64 = 10_000;
    const STEPS: usize = 80;
    let (mut granted, mut refused) = (0_u64, 0_u64);
    for seed in 0..SCHEDULES {
        let mut random = StdRng::seed_from_u64(seed);
        let mut maybe = |most: u64| {
            random
                .random_bool(0.6)
                .then(|| random.random_range(0..=most))
        };
        let limits = Limits {
            requests_per_minute: maybe(8),
            requests_per_day: maybe(60),
            tokens_per_minute: maybe(20_000),
            tokens_per_day: maybe(200_000),
            micro_usd_per_hour: maybe(50_000),
            micro_usd_per_day: maybe(300_000),
        };
        let mut ledger = Ledger::new(limits.clone());
        let mut now = at(random.random_range(0..86_400));
        let (mut asked, mut sent): (Vec<ReservedRequest>, Vec<SentAmount>) =
            (Vec::new(), Vec::new());
        for _ in 0..STEPS {
            // Bursts, pauses, and sometimes half a day.
            let pause = match random.random_range(0..20) {
                0..10 => 0,
                10..17 => random.random_range(0..20_000),
                17..19 => random.random_range(0..600_000),
                _ => random.random_range(0..43_200_000),
            };
            now += SignedDuration::from_millis(pause);
            if random.random_bool(0.6) || asked.is_empty() {
                let most = amount(
                    random.random_range(1..=4),
                    random.random_range(0..9_000),
                    random.random_range(0..20_000),
                );
                match ledger.reserve(now, most) {
                    Ok(number) => {
                        granted += 1;
                        asked.push(ReservedRequest {
                            number,
                            most,
                            since: now,
                        });
                    }
                    Err(_) => refused += 1,
                }
            } else {
                let done = asked.swap_remove(random.random_range(0..asked.len()));
                let part = |most: u64, random: &mut StdRng| random.random_range(0..=most);
                let spent = amount(
                    part(done.most.requests, &mut random),
                    part(done.most.tokens, &mut random),
                    part(done.most.micro_usd, &mut random),
                );
                let open = now.duration_since(done.since).as_millis();
                let open = i64::try_from(open).unwrap();
                let later = SignedDuration::from_millis(random.random_range(0..=open));
                sent.push(SentAmount {
                    at: done.since + later,
                    amount: spent,
                });
                ledger.settle(now, done.number, spent);
            }
        }
        audit(&limits, &sent, seed);
    }
    // Otherwise the limits would not have been exercised.
    assert!(granted > 50_000 && refused > 50_000, "{granted} {refused}");
}

#[test]
fn a_clock_set_back_stops_nobody_for_longer_than_a_window() {
    let ahead = 100 * 24 * 60 * 60;
    let mut ledger = of_requests(2, 4);
    for _ in 0..2 {
        let number = ledger.reserve(at(ahead), ONE).unwrap();
        ledger.settle(at(ahead), number, ONE);
    }
    // Clock corrected: the amount counts for a minute more, and for this day.
    assert_eq!(ledger.reserve(at(0), ONE), Err(Bound::RequestsPerMinute));
    assert_eq!(ledger.today().requests, 2);
    for _ in 0..2 {
        let number = ledger.reserve(at(61), ONE).unwrap();
        ledger.settle(at(61), number, ONE);
    }
    assert_eq!(ledger.reserve(at(200), ONE), Err(Bound::RequestsPerDay));
    assert!(ledger.reserve(at(200 + 24 * 60 * 60), ONE).is_ok());
}

//! Budget for hosted models, for all analysts together.
//!
//! The worst-case cost of a request is reserved before it is sent, and settled
//! afterwards at the cost the server reported; so no minute, hour or day
//! exceeds its limit. As an hourly or daily budget runs out, load is shed step
//! by step ([`BudgetStep`]), and restored when the budget recovers. The amounts
//! spent are persisted per minute, so that a restart loses nothing.

pub mod persist;
pub mod settings;

mod ladder;
mod ledger;
mod prices;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use tokio::sync::watch;
use utoipa::ToSchema;

use watchtower_base::sync::Locked as _;
use watchtower_domain::cost::Spend;
use watchtower_domain::finding::ModelRef;
use watchtower_domain::transcript::Cost;
use watchtower_models::model::{CostBound, Meter, MeterReading};

use crate::budget::settings::Limits;
use crate::settings::Priority;
pub use ladder::BudgetStep;
pub use ledger::Amount;
use ledger::{Bound, Ledger, MINUTE};
pub use prices::{Price, Prices, PricesError, how_to_price};

/// Maximum requests for one question: some answers need a second request.
const MOST_REQUESTS: u32 = 4;
/// Polling interval of a budget without a known time of recovery.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(1);

type BudgetClock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Budget handle; cheap to clone.
#[derive(Clone)]
pub struct Budget {
    inner: Arc<BudgetState>,
}

struct BudgetState {
    book: Mutex<LedgerState>,
    clock: BudgetClock,
    /// Counts reservations and settlements.
    changes: watch::Sender<u64>,
}

struct LedgerState {
    ledger: Ledger,
    prices: Prices,
    step: BudgetStep,
    /// Amount that no longer fitted: until it does, no hosted model is asked.
    unmet: Option<Amount>,
    /// Reason of the current step.
    reason: String,
    /// Amounts not persisted yet.
    pending: BTreeMap<(i64, String, String), Delta>,
    models: HashMap<(String, String), Amount>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Delta {
    requests: i64,
    prompt_tokens: i64,
    output_tokens: i64,
    micro_usd: i64,
}

/// Reason no request may be sent now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BudgetWait {
    pub length: Duration,
    pub words: String,
}

/// `GET /api/budget`
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Standing {
    /// Number of the restriction in force in `steps`, 0 for none.
    pub step: usize,
    pub steps: [&'static str; BudgetStep::ALL.len()],
    pub reason: String,
    pub spent: Spent,
    /// Null where there is none.
    pub limits: Limits,
    /// Since the start, by `provider:model`.
    pub models: BTreeMap<String, Amount>,
}

/// Settled within the last minute, the last hour and this day (UTC), and
/// reserved for requests in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, ToSchema)]
pub struct Spent {
    pub minute: Amount,
    pub hour: Amount,
    pub day: Amount,
    pub set_aside: Amount,
}

impl Budget {
    pub fn new(limits: Limits, prices: Prices) -> Self {
        Self::with_clock(limits, prices, Arc::new(Timestamp::now))
    }

    /// Creates a budget with a clock other than the wall clock.
    pub fn with_clock(limits: Limits, prices: Prices, clock: BudgetClock) -> Self {
        let book = LedgerState {
            ledger: Ledger::new(limits),
            prices,
            step: BudgetStep::Normal,
            unmet: None,
            reason: String::new(),
            pending: BTreeMap::new(),
            models: HashMap::new(),
        };
        Self {
            inner: Arc::new(BudgetState {
                book: Mutex::new(book),
                clock,
                changes: watch::Sender::new(0),
            }),
        }
    }

    /// Replaces limits and prices; amounts spent are kept.
    pub fn change(&self, limits: Limits, prices: Prices) {
        let now = self.now();
        let mut book = self.book();
        book.ledger.set_limits(limits);
        book.prices = prices;
        book.unmet = None;
        book.turn(now);
        drop(book);
        self.tell();
    }

    /// Restores amounts spent before a restart.
    pub fn recall(&self, spent: &[Spend]) {
        let now = self.now();
        let mut book = self.book();
        for row in spent {
            // The exact time within that minute is unknown: its end is the safe
            // choice.
            let at = row.minute.checked_add(MINUTE).unwrap_or(row.minute);
            let count = |n: i64| u64::try_from(n).unwrap_or_default();
            let amount = Amount {
                requests: count(row.requests),
                tokens: count(row.prompt_tokens) + count(row.output_tokens),
                micro_usd: count(row.micro_usd),
            };
            book.ledger.recall(now, at.min(now), amount);
        }
        book.turn(now);
    }

    /// Price of a model's tokens today.
    pub fn price(&self, model: &str) -> Option<Price> {
        let day = ledger::day_of(self.now());
        self.book().prices.of(model, day)
    }

    pub fn step(&self) -> BudgetStep {
        let now = self.now();
        let mut book = self.book();
        book.turn(now);
        book.step
    }

    /// Reason an agent of that priority may not send requests to a hosted model
    /// now.
    pub fn refuses(&self, priority: Priority) -> Option<String> {
        let now = self.now();
        let mut book = self.book();
        book.turn(now);
        let off = match priority {
            Priority::Normal => BudgetStep::OfflineOnly,
            Priority::Low => BudgetStep::LowPriorityOff,
        };
        (book.step >= off).then(|| format!("budget: {}", book.reason))
    }

    /// Reserves the worst case of a question: one request, and as many repeated
    /// requests as the budget allows.
    pub fn reserve(&self, model: &ModelRef, most: CostBound) -> Result<Reserved, BudgetWait> {
        let now = self.now();
        let mut book = self.book();
        book.turn(now);
        let price = book.prices.of(&model.name, ledger::day_of(now));
        let worst = |requests: u32| worst(most, requests, price);
        let granted = (1..=MOST_REQUESTS).rev().find_map(|requests| {
            let number = book.ledger.reserve(now, worst(requests)).ok()?;
            Some((number, requests))
        });
        let Some((number, requests)) = granted else {
            return Err(book.wait(now, worst(1)));
        };
        let minute = minute_of(now);
        book.note(minute, model, signed(most, requests, price, 1));
        drop(book);
        self.tell();
        Ok(Reserved {
            budget: self.clone(),
            model: model.clone(),
            number,
            most,
            price,
            minute,
            meter: Meter::of(requests),
        })
    }

    fn settle(&self, reserved: &Reserved) {
        let now = self.now();
        let (most, price) = (reserved.most, reserved.price);
        let cost = reserved.cost();
        let amount = Amount {
            requests: cost.requests,
            tokens: cost.prompt_tokens + cost.output_tokens,
            micro_usd: cost.micro_usd,
        };
        let mut book = self.book();
        book.ledger.settle(now, reserved.number, amount);
        let granted = reserved.meter.granted();
        book.note(
            reserved.minute,
            &reserved.model,
            signed(most, granted, price, -1),
        );
        let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let delta = Delta {
            requests: number(cost.requests),
            prompt_tokens: number(cost.prompt_tokens),
            output_tokens: number(cost.output_tokens),
            micro_usd: number(cost.micro_usd),
        };
        book.note(minute_of(now), &reserved.model, delta);
        let key = (reserved.model.provider.clone(), reserved.model.name.clone());
        let total = book.models.entry(key).or_default();
        *total = total.plus(amount);
        book.turn(now);
        drop(book);
        self.tell();
    }

    /// Takes the amounts to persist since the last call, per minute.
    pub fn take_pending(&self) -> Vec<Spend> {
        let pending = std::mem::take(&mut self.book().pending);
        let rows = pending
            .into_iter()
            .filter(|(_, delta)| *delta != Delta::default());
        let rows = rows.filter_map(|((minute, provider, model), delta)| {
            Some(Spend {
                minute: Timestamp::from_second(minute * 60).ok()?,
                provider,
                model,
                requests: delta.requests,
                prompt_tokens: delta.prompt_tokens,
                output_tokens: delta.output_tokens,
                micro_usd: delta.micro_usd,
            })
        });
        rows.collect()
    }

    /// Returns amounts that could not be persisted.
    pub fn put_back(&self, rows: Vec<Spend>) {
        let mut book = self.book();
        for row in rows {
            let key = (minute_of(row.minute), row.provider, row.model);
            book.pending.entry(key).or_default().add(Delta {
                requests: row.requests,
                prompt_tokens: row.prompt_tokens,
                output_tokens: row.output_tokens,
                micro_usd: row.micro_usd,
            });
        }
    }

    pub fn standing(&self) -> Standing {
        let now = self.now();
        let mut book = self.book();
        book.turn(now);
        let models = book.models.iter();
        Standing {
            step: BudgetStep::ALL
                .iter()
                .position(|step| *step == book.step)
                .unwrap_or_default(),
            steps: BudgetStep::ALL.map(BudgetStep::as_str),
            reason: book.reason.clone(),
            spent: Spent {
                minute: book.ledger.since(now, MINUTE),
                hour: book.ledger.since(now, SignedDuration::from_hours(1)),
                day: book.ledger.today(),
                set_aside: book.ledger.set_aside(),
            },
            limits: book.ledger.limits().clone(),
            models: models
                .map(|((provider, model), amount)| (format!("{provider}:{model}"), *amount))
                .collect(),
        }
    }

    /// Receiver that changes with every reservation and settlement.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.inner.changes.subscribe()
    }

    fn tell(&self) {
        self.inner.changes.send_modify(|count| *count += 1);
    }

    fn now(&self) -> Timestamp {
        (self.inner.clock)()
    }

    fn book(&self) -> MutexGuard<'_, LedgerState> {
        self.inner.book.locked()
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budget").finish_non_exhaustive()
    }
}

impl LedgerState {
    /// Advances the windows and the step to that time.
    fn turn(&mut self, now: Timestamp) {
        self.ledger.turn_to(now);
        let (used, bound) = self.ledger.used(now);
        let fits = |most: &Amount| {
            let bound = self.ledger.broken(now, *most);
            bound.is_none_or(Bound::is_short)
        };
        self.unmet = self.unmet.filter(|most| !fits(most));
        let step = match self.unmet {
            Some(_) => BudgetStep::OfflineOnly,
            None => self.step.next(used),
        };
        if step != self.step {
            let of = bound.map_or("the budget", Bound::words);
            self.reason = match step {
                BudgetStep::Normal => String::new(),
                step => format!("{:.0} % of {of} used: {}", used * 100.0, step.words()),
            };
            self.step = step;
        }
    }

    /// Reason the amount can't be reserved, and the length of the wait.
    fn wait(&mut self, now: Timestamp, most: Amount) -> BudgetWait {
        let soon = now.checked_add(LOOK_AGAIN).unwrap_or(now);
        let Some(bound) = self.ledger.broken(now, most) else {
            return BudgetWait {
                length: Duration::try_from(LOOK_AGAIN).unwrap_or_default(),
                words: "waiting: requests in flight may exhaust the budget".to_owned(),
            };
        };
        let until = self.ledger.eases_at(now).filter(|_| bound.is_short());
        let until = until.unwrap_or(soon).max(soon);
        let length = until.duration_since(now);
        let length = Duration::try_from(length).unwrap_or_default();
        if !bound.is_short() {
            self.unmet = Some(most);
            self.turn(now);
            self.reason = format!(
                "{} exhausted, another request may exceed the remainder: {}",
                bound.words(),
                BudgetStep::OfflineOnly.words()
            );
            return BudgetWait {
                length,
                words: format!("waiting: {}", self.reason),
            };
        }
        BudgetWait {
            length,
            words: format!(
                "waiting {} s: budget of {}",
                length.as_secs_f64().ceil(),
                bound.words()
            ),
        }
    }

    fn note(&mut self, minute: i64, model: &ModelRef, delta: Delta) {
        let key = (minute, model.provider.clone(), model.name.clone());
        self.pending.entry(key).or_default().add(delta);
    }
}

impl Delta {
    fn add(&mut self, other: Self) {
        self.requests = self.requests.saturating_add(other.requests);
        self.prompt_tokens = self.prompt_tokens.saturating_add(other.prompt_tokens);
        self.output_tokens = self.output_tokens.saturating_add(other.output_tokens);
        self.micro_usd = self.micro_usd.saturating_add(other.micro_usd);
    }
}

/// Reservation for one question; dropping it settles it.
#[derive(Debug)]
#[must_use = "dropping it settles it"]
pub struct Reserved {
    budget: Budget,
    model: ModelRef,
    number: u64,
    most: CostBound,
    price: Option<Price>,
    /// Minute of the reservation.
    minute: i64,
    meter: Meter,
}

impl Reserved {
    /// Meter for the sender of the requests.
    pub fn meter(&self) -> Meter {
        self.meter.clone()
    }

    /// Cost so far; a request of unknown cost counts as its worst case.
    pub fn cost(&self) -> Cost {
        let MeterReading {
            requests,
            usage,
            charged,
            untold,
        } = self.meter.read();
        // Reported requests came first: later ones may have had twice the
        // output.
        let (all, told) = (
            self.most.of(charged.saturating_add(untold)),
            self.most.of(charged),
        );
        let (prompt, output) = (
            usage.prompt_tokens + (all.0 - told.0),
            usage.output_tokens + (all.1 - told.1),
        );
        Cost {
            requests: u64::from(requests),
            prompt_tokens: prompt,
            output_tokens: output,
            micro_usd: self
                .price
                .map_or(0, |price| price.of(prompt, usage.cached_tokens, output)),
        }
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        let budget = self.budget.clone();
        budget.settle(self);
    }
}

fn worst(most: CostBound, requests: u32, price: Option<Price>) -> Amount {
    let (prompt, output) = most.of(requests);
    Amount {
        requests: u64::from(requests),
        tokens: prompt.saturating_add(output),
        micro_usd: price.map_or(0, |price| price.of(prompt, 0, output)),
    }
}

fn signed(most: CostBound, requests: u32, price: Option<Price>, sign: i64) -> Delta {
    let (prompt, output) = most.of(requests);
    let number = |n: u64| sign * i64::try_from(n).unwrap_or(i64::MAX);
    Delta {
        requests: sign * i64::from(requests),
        prompt_tokens: number(prompt),
        output_tokens: number(output),
        micro_usd: number(price.map_or(0, |price| price.of(prompt, 0, output))),
    }
}

fn minute_of(at: Timestamp) -> i64 {
    at.as_second().div_euclid(60)
}

#[cfg(test)]
mod tests;

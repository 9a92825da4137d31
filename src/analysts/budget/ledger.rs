//! Amounts spent within the last minute, hour and day, and what remains. No I/O
//! and no clock of its own: every call takes the time.
//!
//! The worst case of a request is reserved before it is sent, until it is
//! settled; from then on its actual cost counts for the length of the window.
//! So no window at any position exceeds its limit, whenever the request was
//! really sent in between.

use std::collections::{BTreeMap, VecDeque};

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use crate::budget::settings::Limits;

pub(super) const MINUTE: SignedDuration = SignedDuration::from_mins(1);
const HOUR: SignedDuration = SignedDuration::from_hours(1);

/// Usage of requests: count, tokens and cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, ToSchema)]
pub struct Amount {
    pub requests: u64,
    /// Prompt and output together.
    pub tokens: u64,
    /// In millionths of a US dollar.
    pub micro_usd: u64,
}

impl Amount {
    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            requests: self.requests.saturating_add(other.requests),
            tokens: self.tokens.saturating_add(other.tokens),
            micro_usd: self.micro_usd.saturating_add(other.micro_usd),
        }
    }

    pub fn is_nothing(self) -> bool {
        self == Self::default()
    }
}

/// Limit that a request would exceed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bound {
    RequestsPerMinute,
    TokensPerMinute,
    UsdPerHour,
    RequestsPerDay,
    TokensPerDay,
    UsdPerDay,
}

impl Bound {
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::RequestsPerMinute => "requests per minute",
            Self::TokensPerMinute => "tokens per minute",
            Self::UsdPerHour => "cost per hour",
            Self::RequestsPerDay => "requests per day",
            Self::TokensPerDay => "tokens per day",
            Self::UsdPerDay => "cost per day",
        }
    }

    /// True if the limit recovers so soon that waiting is worthwhile.
    pub(super) fn is_short(self) -> bool {
        matches!(self, Self::RequestsPerMinute | Self::TokensPerMinute)
    }
}

#[derive(Debug)]
pub(super) struct Ledger {
    limits: Limits,
    /// Requests settled within the last hour, oldest first.
    settled: VecDeque<(Timestamp, Amount)>,
    day: Date,
    /// Amount settled on that day.
    today: Amount,
    /// Reservations, by number.
    aside: BTreeMap<u64, Amount>,
    next: u64,
    /// Time of the last call.
    last: Option<Timestamp>,
}

impl Ledger {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            settled: VecDeque::new(),
            day: Date::ZERO,
            today: Amount::default(),
            aside: BTreeMap::new(),
            next: 0,
            last: None,
        }
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(super) fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Restores an amount spent before a restart.
    pub(super) fn recall(&mut self, now: Timestamp, at: Timestamp, amount: Amount) {
        self.turn_to(now);
        if day_of(at) == self.day {
            self.today = self.today.plus(amount);
        }
        if now.duration_since(at) < HOUR {
            self.settled.push_back((at.min(now), amount));
        }
    }

    /// Reserves an amount; fails with the limit it would exceed.
    pub(super) fn reserve(&mut self, now: Timestamp, most: Amount) -> Result<u64, Bound> {
        self.turn_to(now);
        if let Some(bound) = self.broken_by(now, most) {
            return Err(bound);
        }
        let number = self.next;
        self.next += 1;
        self.aside.insert(number, most);
        Ok(number)
    }

    /// First limit that the additional amount would exceed, all reservations
    /// included.
    fn broken_by(&self, now: Timestamp, most: Amount) -> Option<Bound> {
        self.broken(now, self.set_aside().plus(most))
    }

    /// First limit that the amount would exceed on top of what is settled.
    pub(super) fn broken(&self, now: Timestamp, more: Amount) -> Option<Bound> {
        let minute = self.since(now, MINUTE).plus(more);
        let hour = self.since(now, HOUR).plus(more);
        let day = self.today.plus(more);
        let limits = &self.limits;
        let checks = [
            (day.micro_usd, limits.micro_usd_per_day, Bound::UsdPerDay),
            (day.requests, limits.requests_per_day, Bound::RequestsPerDay),
            (day.tokens, limits.tokens_per_day, Bound::TokensPerDay),
            (hour.micro_usd, limits.micro_usd_per_hour, Bound::UsdPerHour),
            (
                minute.requests,
                limits.requests_per_minute,
                Bound::RequestsPerMinute,
            ),
            (
                minute.tokens,
                limits.tokens_per_minute,
                Bound::TokensPerMinute,
            ),
        ];
        let broken =
            |(used, limit, _): &(u64, Option<u64>, Bound)| limit.is_some_and(|limit| *used > limit);
        checks.into_iter().find(broken).map(|(_, _, bound)| bound)
    }

    /// Settles a reservation.
    pub(super) fn settle(&mut self, now: Timestamp, number: u64, spent: Amount) {
        self.turn_to(now);
        self.aside.remove(&number);
        self.today = self.today.plus(spent);
        // A clock set back must not break the order.
        let last = self.settled.back().map_or(now, |(at, _)| now.max(*at));
        self.settled.push_back((last, spent));
    }

    /// Time at which the oldest entry leaves the last minute, if there is one.
    pub(super) fn eases_at(&self, now: Timestamp) -> Option<Timestamp> {
        let recent = self.settled.iter().map(|(at, _)| *at);
        let mut recent = recent.filter(|at| now.duration_since(*at) < MINUTE);
        recent.next().and_then(|at| at.checked_add(MINUTE).ok())
    }

    /// Largest used share of any hourly or daily limit, and which limit.
    pub(super) fn used(&self, now: Timestamp) -> (f64, Option<Bound>) {
        let (hour, day) = (self.since(now, HOUR), self.today);
        let limits = &self.limits;
        let parts = [
            (hour.micro_usd, limits.micro_usd_per_hour, Bound::UsdPerHour),
            (day.micro_usd, limits.micro_usd_per_day, Bound::UsdPerDay),
            (day.requests, limits.requests_per_day, Bound::RequestsPerDay),
            (day.tokens, limits.tokens_per_day, Bound::TokensPerDay),
        ];
        let mut most = (0.0, None);
        for (used, limit, bound) in parts {
            let Some(limit) = limit else { continue };
            // A limit of zero counts as fully used.
            let part = if limit == 0 {
                1.0
            } else {
                used as f64 / limit as f64
            };
            if part > most.0 {
                most = (part, Some(bound));
            }
        }
        most
    }

    /// Amount settled within that length of time.
    pub(super) fn since(&self, now: Timestamp, length: SignedDuration) -> Amount {
        let recent = self
            .settled
            .iter()
            .filter(|(at, _)| now.duration_since(*at) < length);
        recent.fold(Amount::default(), |sum, (_, amount)| sum.plus(*amount))
    }

    pub(super) fn today(&self) -> Amount {
        self.today
    }

    pub(super) fn set_aside(&self) -> Amount {
        let aside = self.aside.values();
        aside.fold(Amount::default(), |sum, amount| sum.plus(*amount))
    }

    /// Drops what no window covers any more. After a clock was set back, later
    /// time stamps count as of now: else they would count until the clock
    /// reaches them again.
    pub(super) fn turn_to(&mut self, now: Timestamp) {
        for (at, _) in &mut self.settled {
            *at = (*at).min(now);
        }
        let back = self.last.map(|last| last.duration_since(now));
        // More than an ordinary clock correction: the recorded day is now in
        // the future, and its amounts remain spent.
        if back.is_some_and(|back| back > HOUR) && day_of(now) < self.day {
            self.day = day_of(now);
        }
        self.last = Some(now);
        let old = |(at, _): &(Timestamp, Amount)| now.duration_since(*at) >= HOUR;
        while self.settled.front().is_some_and(old) {
            self.settled.pop_front();
        }
        // A clock set back does not start the day again.
        if day_of(now) > self.day {
            self.day = day_of(now);
            self.today = Amount::default();
        }
    }
}

/// Day in UTC.
pub(super) fn day_of(at: Timestamp) -> Date {
    at.to_zoned(TimeZone::UTC).date()
}

#[cfg(test)]
mod tests;

//! When a request may go out. No I/O and no clock of its own: every call is
//! told the time.

use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

use super::GovernorSettings;
use crate::models::model::{Failure, Fatal};

/// State of the door for the others, and why it is shut.
#[derive(Debug)]
enum Door {
    Open,
    /// Nobody passes before `until`; the first one after it is the trial.
    Shut {
        until: Instant,
        closed: Closed,
    },
    /// Half-open: a trial request is in flight that decides for all.
    SinkTest(Closed),
}

#[derive(Debug, Clone)]
struct Closed {
    why: Why,
    /// Length it was shut this time.
    length: Duration,
    reason: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    Breaker,
    Key,
    Model,
    Exhausted,
}

/// A wait with its reason.
#[derive(Debug, Clone)]
struct Pause {
    until: Instant,
    reason: String,
}

/// Answer to a request to pass.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// `trial`: its outcome decides for all.
    Go {
        trial: bool,
    },
    Wait(Wait),
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wait {
    /// `None` while a trial is out: then its end counts.
    pub until: Option<Instant>,
    pub words: String,
    /// The door is shut, or its trial is out.
    pub shut: bool,
}

/// Part of a result that matters here.
#[derive(Debug, Clone, Copy)]
pub(super) enum Verdict<'a> {
    /// The server works, whatever it said.
    Answered,
    RateLimited(Option<Duration>),
    Exhausted(Option<Duration>, &'a str),
    Trouble(&'a str),
    Refused(Fatal, &'a str),
}

impl<'a> Verdict<'a> {
    pub(super) fn of<T>(result: &'a Result<T, Failure>) -> Self {
        match result {
            Ok(_) | Err(Failure::NoAnswer { .. } | Failure::Refused { .. }) => Self::Answered,
            Err(Failure::RateLimited {
                reason,
                retry_after,
                exhausted: true,
            }) => Self::Exhausted(*retry_after, reason),
            Err(Failure::RateLimited { retry_after, .. }) => Self::RateLimited(*retry_after),
            Err(Failure::Transient { reason }) => Self::Trouble(reason),
            Err(Failure::Fatal { kind, reason }) => match kind {
                // Fault of this request alone, not of the provider.
                Fatal::Request => Self::Answered,
                Fatal::Key | Fatal::Model => Self::Refused(*kind, reason),
            },
        }
    }
}

#[derive(Debug)]
pub(super) struct Gate {
    settings: GovernorSettings,
    door: Door,
    /// Server and connection errors since the last answer.
    errors: u32,
    /// 429s without advice since the last answer.
    unadvised: u32,
    /// Told to wait by a 429 or backing off after an error.
    pause: Option<Pause>,
}

impl Gate {
    pub(super) fn new(settings: GovernorSettings) -> Self {
        Self {
            settings,
            door: Door::Open,
            errors: 0,
            unadvised: 0,
            pause: None,
        }
    }

    /// Reason to wait, if any; asking changes nothing.
    pub(super) fn wait(&self, now: Instant) -> Option<Wait> {
        let pause = self.pause.as_ref().filter(|pause| now < pause.until);
        let shut = match &self.door {
            Door::Open => None,
            Door::Shut { until, closed } => Some((Some(*until), closed)).filter(|_| now < *until),
            Door::SinkTest(closed) => Some((None, closed)),
        };
        match (pause, shut) {
            (None, None) => None,
            (Some(pause), Some((Some(until), _))) if pause.until > until => Some(pause.wait(now)),
            (Some(pause), None) => Some(pause.wait(now)),
            (_, Some((until, closed))) => Some(closed.wait(until, now)),
        }
    }

    pub(super) fn admit(&mut self, now: Instant) -> Admission {
        if let Some(wait) = self.wait(now) {
            return Admission::Wait(wait);
        }
        match std::mem::replace(&mut self.door, Door::Open) {
            // Over, or `wait` would have said so.
            Door::Shut { closed, .. } => {
                self.door = Door::SinkTest(closed);
                Admission::Go { trial: true }
            }
            Door::Open | Door::SinkTest(_) => Admission::Go { trial: false },
        }
    }

    /// `random` is of 0 to 1.
    pub(super) fn settle(&mut self, now: Instant, trial: bool, verdict: Verdict<'_>, random: f64) {
        // While the door is not open only the trial decides: what went out
        // before it closed knows less. An advice to wait always counts.
        let decides = trial || matches!(self.door, Door::Open);
        match verdict {
            Verdict::RateLimited(advice) => {
                let advice = advice.unwrap_or_else(|| self.unadvised(now));
                self.pause_until(now + self.told(advice, random), "quota exceeded");
                if decides {
                    self.door = Door::Open;
                }
            }
            _ if !decides => {}
            Verdict::Answered => {
                self.door = Door::Open;
                self.errors = 0;
                self.unadvised = 0;
            }
            Verdict::Exhausted(advice, reason) => {
                let length = advice
                    .unwrap_or_default()
                    .max(self.settings.exhausted_pause);
                let length = self.told(length, random);
                self.shut(now, Why::Exhausted, length, reason);
            }
            Verdict::Refused(kind, reason) => {
                let why = match kind {
                    Fatal::Key => Why::Key,
                    Fatal::Model | Fatal::Request => Why::Model,
                };
                self.shut(now, why, self.settings.refused_pause, reason);
            }
            Verdict::Trouble(reason) => self.trouble(now, reason, random),
        }
    }

    /// A permit was given back without an outcome. A trial stays due.
    pub(super) fn abandon(&mut self, now: Instant, trial: bool) {
        if let (true, Door::SinkTest(closed)) = (trial, &self.door) {
            self.door = Door::Shut {
                until: now,
                closed: closed.clone(),
            };
        }
    }

    fn trouble(&mut self, now: Instant, reason: &str, random: f64) {
        let settings = &self.settings;
        let length = match &self.door {
            Door::SinkTest(closed) if closed.why == Why::Breaker => {
                Some((closed.length * 2).min(settings.breaker_longest))
            }
            Door::SinkTest(_) => Some(settings.breaker_first),
            Door::Open | Door::Shut { .. } => {
                self.errors = self.errors.saturating_add(1);
                (self.errors >= settings.breaker_after).then_some(settings.breaker_first)
            }
        };
        if let Some(length) = length {
            self.errors = 0;
            self.shut(now, Why::Breaker, length, reason);
            return;
        }
        // Full jitter: anything between nothing and the whole.
        let whole = doubled(settings.backoff_first, self.errors - 1).min(settings.backoff_longest);
        self.pause_until(now + whole.mul_f64(random), reason);
    }

    fn shut(&mut self, now: Instant, why: Why, length: Duration, reason: &str) {
        self.door = Door::Shut {
            until: now + length,
            closed: Closed {
                why,
                length,
                reason: reason.to_owned(),
            },
        };
    }

    /// Wait after a 429 without a retry hint: twice as long each time. Those
    /// that were in flight together count once.
    fn unadvised(&mut self, now: Instant) -> Duration {
        let waiting = self.pause.as_ref().is_some_and(|pause| now < pause.until);
        if !waiting {
            self.unadvised = self.unadvised.saturating_add(1);
        }
        let times = self.unadvised.saturating_sub(1);
        doubled(self.settings.unadvised_first, times).min(self.settings.unadvised_longest)
    }

    /// Never less than told, and up to a fifth more.
    fn told(&self, advice: Duration, random: f64) -> Duration {
        let advice = advice.clamp(self.settings.least_advice, self.settings.longest_advice);
        advice.mul_f64(1.0 + random / 5.0).max(advice)
    }

    fn pause_until(&mut self, until: Instant, reason: &str) {
        if self.pause.as_ref().is_none_or(|pause| pause.until < until) {
            let reason = reason.to_owned();
            self.pause = Some(Pause { until, reason });
        }
    }
}

impl Pause {
    fn wait(&self, now: Instant) -> Wait {
        let left = Left(self.until - now);
        Wait {
            until: Some(self.until),
            words: format!("waiting {left}: {}", self.reason),
            shut: false,
        }
    }
}

impl Closed {
    fn wait(&self, until: Option<Instant>, now: Instant) -> Wait {
        let words = match until {
            Some(until) => {
                let (left, reason) = (Left(until - now), &self.reason);
                match self.why {
                    Why::Breaker => format!("model unreachable, retrying in {left}: {reason}"),
                    // Their reasons say what was refused.
                    Why::Key | Why::Model | Why::Exhausted => {
                        format!("{reason}; retrying in {left}")
                    }
                }
            }
            None => format!("waiting for a probe request: {}", self.reason),
        };
        Wait {
            until,
            words,
            shut: true,
        }
    }
}

/// Time left, rounded up, as a person says it.
struct Left(Duration);

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_millis().div_ceil(1000);
        if seconds < 120 {
            write!(f, "{seconds} s")
        } else {
            write!(f, "{} min", seconds.div_ceil(60))
        }
    }
}

fn doubled(first: Duration, times: u32) -> Duration {
    first.saturating_mul(1_u32.checked_shl(times).unwrap_or(u32::MAX))
}

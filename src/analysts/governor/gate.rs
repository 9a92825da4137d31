//! State machine that admits requests. No I/O and no clock of its own: every
//! call takes the time.

use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

use watchtower_models::model::{Failure, Fatal};

use super::GovernorSettings;

/// State of the gate for all requests but the trial, and why it is closed.
#[derive(Debug)]
enum GateState {
    Open,
    /// No request passes before `until`; the first one after it is the trial.
    Shut {
        until: Instant,
        closed: Closed,
    },
    /// Half-open: the outcome of the trial in flight decides for all requests.
    HalfOpen(Closed),
}

#[derive(Debug, Clone)]
struct Closed {
    why: ShutReason,
    /// Duration of this closure.
    length: Duration,
    reason: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ShutReason {
    Breaker,
    Key,
    Model,
    Exhausted,
}

/// Wait with its reason.
#[derive(Debug, Clone)]
struct Pause {
    until: Instant,
    reason: String,
}

/// Decision on a request to pass.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum GateDecision {
    /// `trial`: its outcome decides for all requests.
    Go {
        trial: bool,
    },
    Wait(GateWait),
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct GateWait {
    /// `None` while a trial is in flight: its end counts.
    pub until: Option<Instant>,
    pub words: String,
    /// The gate is closed, or its trial is in flight.
    pub shut: bool,
}

/// Outcome of a request, as far as the gate needs it.
#[derive(Debug, Clone, Copy)]
pub(super) enum ResultClass<'a> {
    /// The server works, whatever its response.
    Answered,
    RateLimited(Option<Duration>),
    Exhausted(Option<Duration>, &'a str),
    Trouble(&'a str),
    Refused(Fatal, &'a str),
}

impl<'a> ResultClass<'a> {
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
pub(super) struct GovernorGate {
    settings: GovernorSettings,
    state: GateState,
    /// Server and connection errors since the last answer.
    errors: u32,
    /// 429s without a retry hint since the last answer.
    unadvised: u32,
    /// Pause requested by a 429, or backoff after an error.
    pause: Option<Pause>,
}

impl GovernorGate {
    pub(super) fn new(settings: GovernorSettings) -> Self {
        Self {
            settings,
            state: GateState::Open,
            errors: 0,
            unadvised: 0,
            pause: None,
        }
    }

    /// Reason to wait, if any; does not change the state.
    pub(super) fn wait(&self, now: Instant) -> Option<GateWait> {
        let pause = self.pause.as_ref().filter(|pause| now < pause.until);
        let shut = match &self.state {
            GateState::Open => None,
            GateState::Shut { until, closed } => {
                Some((Some(*until), closed)).filter(|_| now < *until)
            }
            GateState::HalfOpen(closed) => Some((None, closed)),
        };
        match (pause, shut) {
            (None, None) => None,
            (Some(pause), Some((Some(until), _))) if pause.until > until => Some(pause.wait(now)),
            (Some(pause), None) => Some(pause.wait(now)),
            (_, Some((until, closed))) => Some(closed.wait(until, now)),
        }
    }

    pub(super) fn admit(&mut self, now: Instant) -> GateDecision {
        if let Some(wait) = self.wait(now) {
            return GateDecision::Wait(wait);
        }
        match std::mem::replace(&mut self.state, GateState::Open) {
            // Expired, otherwise `wait` would have returned it.
            GateState::Shut { closed, .. } => {
                self.state = GateState::HalfOpen(closed);
                GateDecision::Go { trial: true }
            }
            GateState::Open | GateState::HalfOpen(_) => GateDecision::Go { trial: false },
        }
    }

    /// Applies the outcome of a request. `random` is between 0 and 1.
    pub(super) fn settle(
        &mut self,
        now: Instant,
        trial: bool,
        verdict: ResultClass<'_>,
        random: f64,
    ) {
        // While the gate is not open only the trial decides: requests sent
        // before it closed carry older information. A retry hint always counts.
        let decides = trial || matches!(self.state, GateState::Open);
        match verdict {
            ResultClass::RateLimited(advice) => {
                let advice = advice.unwrap_or_else(|| self.unadvised(now));
                self.pause_until(now + self.told(advice, random), "quota exceeded");
                if decides {
                    self.state = GateState::Open;
                }
            }
            _ if !decides => {}
            ResultClass::Answered => {
                self.state = GateState::Open;
                self.errors = 0;
                self.unadvised = 0;
            }
            ResultClass::Exhausted(advice, reason) => {
                let length = advice
                    .unwrap_or_default()
                    .max(self.settings.exhausted_pause);
                let length = self.told(length, random);
                self.shut(now, ShutReason::Exhausted, length, reason);
            }
            ResultClass::Refused(kind, reason) => {
                let why = match kind {
                    Fatal::Key => ShutReason::Key,
                    Fatal::Model | Fatal::Request => ShutReason::Model,
                };
                self.shut(now, why, self.settings.refused_pause, reason);
            }
            ResultClass::Trouble(reason) => self.trouble(now, reason, random),
        }
    }

    /// Returns a permit without an outcome. A trial stays due.
    pub(super) fn abandon(&mut self, now: Instant, trial: bool) {
        if let (true, GateState::HalfOpen(closed)) = (trial, &self.state) {
            self.state = GateState::Shut {
                until: now,
                closed: closed.clone(),
            };
        }
    }

    fn trouble(&mut self, now: Instant, reason: &str, random: f64) {
        let settings = &self.settings;
        let length = match &self.state {
            GateState::HalfOpen(closed) if closed.why == ShutReason::Breaker => {
                Some((closed.length * 2).min(settings.breaker_longest))
            }
            GateState::HalfOpen(_) => Some(settings.breaker_first),
            GateState::Open | GateState::Shut { .. } => {
                self.errors = self.errors.saturating_add(1);
                (self.errors >= settings.breaker_after).then_some(settings.breaker_first)
            }
        };
        if let Some(length) = length {
            self.errors = 0;
            self.shut(now, ShutReason::Breaker, length, reason);
            return;
        }
        // Full jitter: between nothing and the full backoff.
        let whole = doubled(settings.backoff_first, self.errors - 1).min(settings.backoff_longest);
        self.pause_until(now + whole.mul_f64(random), reason);
    }

    fn shut(&mut self, now: Instant, why: ShutReason, length: Duration, reason: &str) {
        self.state = GateState::Shut {
            until: now + length,
            closed: Closed {
                why,
                length,
                reason: reason.to_owned(),
            },
        };
    }

    /// Wait after a 429 without a retry hint, doubling each time. Requests that
    /// were in flight together count once.
    fn unadvised(&mut self, now: Instant) -> Duration {
        let waiting = self.pause.as_ref().is_some_and(|pause| now < pause.until);
        if !waiting {
            self.unadvised = self.unadvised.saturating_add(1);
        }
        let times = self.unadvised.saturating_sub(1);
        doubled(self.settings.unadvised_first, times).min(self.settings.unadvised_longest)
    }

    /// Pause requested by the server, with up to a fifth of jitter on top.
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
    fn wait(&self, now: Instant) -> GateWait {
        let left = Left(self.until - now);
        GateWait {
            until: Some(self.until),
            words: format!("waiting {left}: {}", self.reason),
            shut: false,
        }
    }
}

impl Closed {
    fn wait(&self, until: Option<Instant>, now: Instant) -> GateWait {
        let words = match until {
            Some(until) => {
                let (left, reason) = (Left(until - now), &self.reason);
                match self.why {
                    ShutReason::Breaker => {
                        format!("model unreachable, retrying in {left}: {reason}")
                    }
                    // The reason names what was refused.
                    ShutReason::Key | ShutReason::Model | ShutReason::Exhausted => {
                        format!("{reason}; retrying in {left}")
                    }
                }
            }
            None => format!("waiting for a probe request: {}", self.reason),
        };
        GateWait {
            until,
            words,
            shut: true,
        }
    }
}

/// Human-readable time left, rounded up.
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

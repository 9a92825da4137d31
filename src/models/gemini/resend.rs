//! Immediate resends of a request.

use tokio::time::Instant;

use super::reply::GeminiOutcome;
use crate::model::Meter;

/// Maximum parts of an answer.
const MAX_CONTINUATIONS: u8 = 3;

/// Resends made for one question. Each cause has one resend (a continuation
/// three), so a question takes at most nine requests, within the limit of its
/// meter; none starts after `deadline`, as the picture would be outdated.
#[derive(Debug)]
pub(super) struct Resends {
    deadline: Instant,
    meter: Meter,
    silent: bool,
    cut_off: bool,
    malformed: bool,
    without_schema: bool,
    smaller: bool,
    continuations: u8,
}

impl Resends {
    /// Starts when the first request is granted.
    pub(super) fn after_first(deadline: Instant, meter: Meter) -> Option<Self> {
        meter.begin().then(|| Self::new(deadline, meter))
    }

    fn new(deadline: Instant, meter: Meter) -> Self {
        Self {
            deadline,
            meter,
            silent: false,
            cut_off: false,
            malformed: false,
            without_schema: false,
            smaller: false,
            continuations: 0,
        }
    }

    /// Resends once, unchanged.
    pub(super) fn silent(&mut self) -> bool {
        let first = !std::mem::replace(&mut self.silent, true);
        first && self.may()
    }

    /// Resends once, with twice the tokens.
    pub(super) fn cut_off(&mut self) -> bool {
        let first = !std::mem::replace(&mut self.cut_off, true);
        first && self.may()
    }

    /// Resends once, unchanged.
    pub(super) fn malformed(&mut self) -> bool {
        let first = !std::mem::replace(&mut self.malformed, true);
        first && self.may()
    }

    pub(super) fn without_schema(&mut self) -> bool {
        let first = !std::mem::replace(&mut self.without_schema, true);
        first && self.may()
    }

    pub(super) fn smaller(&mut self) -> bool {
        let first = !std::mem::replace(&mut self.smaller, true);
        first && self.may()
    }

    pub(super) fn continued(&mut self) -> bool {
        self.continuations += 1;
        self.continuations <= MAX_CONTINUATIONS && self.may()
    }

    /// Consults the meter last: a granted request is sent.
    fn may(&self) -> bool {
        Instant::now() < self.deadline && self.meter.begin()
    }
}

/// Reason of a failure that was not resent any more.
pub(super) fn gave_up(turn: &GeminiOutcome) -> &'static str {
    match turn {
        GeminiOutcome::Silent => "the model returned an empty response",
        GeminiOutcome::CutOff => {
            "response ran out of tokens: raise max_output_tokens in agents.toml"
        }
        GeminiOutcome::Malformed => "malformed response",
        GeminiOutcome::More { .. } => "response in too many parts",
        GeminiOutcome::Said(_) | GeminiOutcome::Refused(_) | GeminiOutcome::Unusable(_) => {
            "unusable response"
        }
    }
}

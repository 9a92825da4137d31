//! When one request is followed by another at once.

use tokio::time::Instant;

use super::reply::Turn;

/// Parts an answer may come in.
const MAX_CONTINUATIONS: u8 = 3;

/// What has been tried again for one question. Each cause has one try (a
/// continuation three), so a question is at most nine requests; and none
/// begins after `deadline`, because the picture grows old.
#[derive(Debug)]
pub(super) struct Resends {
    deadline: Instant,
    silent: bool,
    cut_off: bool,
    malformed: bool,
    without_schema: bool,
    smaller: bool,
    continuations: u8,
}

impl Resends {
    pub(super) fn new(deadline: Instant) -> Self {
        Self {
            deadline,
            silent: false,
            cut_off: false,
            malformed: false,
            without_schema: false,
            smaller: false,
            continuations: 0,
        }
    }

    /// Once, unchanged.
    pub(super) fn silent(&mut self) -> bool {
        first(self.deadline, &mut self.silent)
    }

    /// Once, with twice the tokens.
    pub(super) fn cut_off(&mut self) -> bool {
        first(self.deadline, &mut self.cut_off)
    }

    /// Once, unchanged.
    pub(super) fn malformed(&mut self) -> bool {
        first(self.deadline, &mut self.malformed)
    }

    pub(super) fn without_schema(&mut self) -> bool {
        first(self.deadline, &mut self.without_schema)
    }

    pub(super) fn smaller(&mut self) -> bool {
        first(self.deadline, &mut self.smaller)
    }

    pub(super) fn continued(&mut self) -> bool {
        self.continuations += 1;
        self.continuations <= MAX_CONTINUATIONS && Instant::now() < self.deadline
    }
}

fn first(deadline: Instant, tried: &mut bool) -> bool {
    !std::mem::replace(tried, true) && Instant::now() < deadline
}

/// Why a turn that may be resent was not, any more.
pub(super) fn gave_up(turn: &Turn) -> &'static str {
    match turn {
        Turn::Silent => "the model finished without a word",
        Turn::CutOff => "the answer ran out of tokens: raise max_output_tokens in agents.toml",
        Turn::Malformed => "the model's answer was malformed",
        Turn::More { .. } => "the answer came in too many parts",
        Turn::Said(_) | Turn::Refused(_) | Turn::Unusable(_) => "the answer can't be used",
    }
}

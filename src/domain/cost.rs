//! Tokens, cost and outcome of a request to a model.

use jiff::Timestamp;

/// Usage reported by a model, as billed; zero without a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TokenUsage {
    pub prompt_tokens: u64,
    /// Part of the prompt served from the provider's cache.
    pub cached_tokens: u64,
    /// Estimate of the prompt, made before it was sent.
    pub estimated_tokens: u64,
    /// Answer and reasoning together: both are billed as output.
    pub output_tokens: u64,
}

/// Spend on a model within a minute, or a difference of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spend {
    /// Start of the minute.
    pub minute: Timestamp,
    pub provider: String,
    pub model: String,
    pub requests: i64,
    pub prompt_tokens: i64,
    pub output_tokens: i64,
    /// In millionths of a US dollar.
    pub micro_usd: i64,
}

/// Label `outcome` of `watchtower_model_answers_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AnswerOutcome {
    Findings,
    Nothing,
    NoAnswer,
    Refused,
    RateLimited,
    Transient,
    Fatal,
}

impl AnswerOutcome {
    pub const ALL: [Self; 7] = [
        Self::Findings,
        Self::Nothing,
        Self::NoAnswer,
        Self::Refused,
        Self::RateLimited,
        Self::Transient,
        Self::Fatal,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Findings => "findings",
            Self::Nothing => "nothing",
            Self::NoAnswer => "no_answer",
            Self::Refused => "refused",
            Self::RateLimited => "rate_limited",
            Self::Transient => "transient",
            Self::Fatal => "fatal",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_named_apart() {
        let names: std::collections::BTreeSet<_> = AnswerOutcome::ALL
            .iter()
            .map(|outcome| outcome.as_str())
            .collect();
        assert_eq!(names.len(), AnswerOutcome::ALL.len());
        assert_eq!(AnswerOutcome::NoAnswer.as_str(), "no_answer");
    }
}

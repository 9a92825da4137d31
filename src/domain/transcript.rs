//! Transcript of a request to a hosted model and its response, stored with the
//! incident it led to.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::finding::ModelRef;

/// Texts of one request and its response, and the pictures sent with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawExchange {
    /// System prompt: the role of the model.
    pub system: String,
    pub question: String,
    pub pictures: Vec<SentPicture>,
    /// As the model wrote it.
    pub answer: String,
}

/// Picture sent with a question; its pixels are not part of the transcript.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SentPicture {
    /// The part of the screen that was enlarged, `[ymin, xmin, ymax, xmax]` in
    /// thousandths; null for the whole.
    #[serde(rename = "box")]
    #[schema(schema_with = crate::finding::box_or_null, required = false)]
    pub bounds: Option<[u16; 4]>,
    /// In pixels, as sent.
    pub width: u32,
    pub height: u32,
    /// SHA-256 of the JPEG as sent, lower-case hexadecimal.
    pub sha256: String,
}

/// Purpose of a question to a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// Analysis of frames.
    Look,
    /// Opinion on another analyst's finding.
    Opinion,
    /// Judgement of how the evidence bears an incident out.
    Verdict,
}

/// Cost of one or more questions, as reported by the server; the worst case
/// where it reported none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct Cost {
    pub requests: u64,
    pub prompt_tokens: u64,
    /// Answer and reasoning together.
    pub output_tokens: u64,
    /// In millionths of a US dollar, by the price table; 0 for a model without
    /// a price.
    pub micro_usd: u64,
}

impl Cost {
    /// Splits it into `parts` amounts that add up to it, the first the largest.
    pub fn parts(self, count: usize) -> impl Iterator<Item = Self> {
        let count = count.max(1) as u64;
        let part = move |whole: u64, place: u64| whole / count + u64::from(place < whole % count);
        (0..count).map(move |place| Self {
            requests: part(self.requests, place),
            prompt_tokens: part(self.prompt_tokens, place),
            output_tokens: part(self.output_tokens, place),
            micro_usd: part(self.micro_usd, place),
        })
    }
}

/// Transcript of one question to a hosted model: an item of
/// `/api/incidents/{id}/transcripts`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Transcript {
    /// UUIDv7.
    pub id: Uuid,
    /// Agent that made the request.
    pub agent: String,
    pub purpose: Purpose,
    pub asked_at: Timestamp,
    /// Latency of the answer in milliseconds.
    pub took_ms: u64,
    pub model: ModelRef,
    /// SHA-256 of the system prompt, lower-case hexadecimal. The prompt itself
    /// is not part of the transcript.
    pub instructions_sha256: String,
    pub question: String,
    pub pictures: Vec<SentPicture>,
    /// JSON response of the model, formatted; secrets masked, parts of the
    /// system prompt withheld.
    pub answer: String,
    /// Cost of the whole question, which may have led to more than one incident.
    pub cost: Cost,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn split_cost_adds_up() {
        let whole = Cost {
            requests: 1,
            prompt_tokens: 1000,
            output_tokens: 11,
            micro_usd: 5,
        };
        let parts: Vec<_> = whole.parts(3).collect();
        let sum = |of: fn(&Cost) -> u64| parts.iter().map(of).sum::<u64>();
        assert_eq!(parts.len(), 3);
        assert_eq!(sum(|part| part.requests), 1);
        assert_eq!(sum(|part| part.prompt_tokens), 1000);
        assert_eq!(sum(|part| part.output_tokens), 11);
        assert_eq!(sum(|part| part.micro_usd), 5);
        assert_eq!(whole.parts(0).collect::<Vec<_>>(), [whole]);
    }
}

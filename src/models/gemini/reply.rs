//! Meaning of a response with status 200. No I/O.

use watchtower_domain::cost::TokenUsage;
use watchtower_domain::finding::printable;

use super::answer::shortened;
use super::wire::{Candidate, GenerateContentResponse};

/// Meaning of one response.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum GeminiOutcome {
    /// The model finished; the text is yet to be parsed.
    Said(String),
    /// Finished without text. Known to happen; a resend helps.
    Silent,
    /// Out of tokens, in the middle of the answer or before it.
    CutOff,
    /// The server reports a malformed answer of the model.
    Malformed,
    /// Partial answer, to be continued with the token.
    More { text: String, token: String },
    /// Picture, prompt or answer were blocked.
    Refused(String),
    /// Not a response of this API, or one without content.
    Unusable(String),
}

/// Response, parsed.
#[derive(Debug)]
pub(super) struct GeminiReply {
    pub turn: GeminiOutcome,
    pub usage: TokenUsage,
    /// Printable and short.
    pub model_version: Option<String>,
}

impl GeminiReply {
    pub(super) fn read(body: &[u8]) -> Self {
        let response: GenerateContentResponse = match serde_json::from_slice(body) {
            Ok(response) => response,
            Err(_) => {
                return Self {
                    turn: GeminiOutcome::Unusable(not_a_response(body)),
                    usage: TokenUsage::default(),
                    model_version: None,
                };
            }
        };
        let usage = response.usage_metadata.as_ref();
        let count = |tokens: Option<u64>| tokens.unwrap_or(0);
        let usage = usage.map_or_else(TokenUsage::default, |u| TokenUsage {
            estimated_tokens: 0,
            prompt_tokens: count(u.prompt_token_count),
            cached_tokens: count(u.cached_content_token_count).min(count(u.prompt_token_count)),
            output_tokens: count(u.candidates_token_count)
                .saturating_add(count(u.thoughts_token_count)),
        });
        let model_version = response.model_version.as_deref();
        Self {
            usage,
            model_version: model_version
                .map(word)
                .filter(|version| !version.is_empty()),
            turn: turn(response),
        }
    }
}

fn turn(response: GenerateContentResponse) -> GeminiOutcome {
    let block = response.prompt_feedback.and_then(|f| f.block_reason);
    if let Some(reason) = block {
        return GeminiOutcome::Refused(format!("the prompt was blocked ({})", word(&reason)));
    }
    let Some(candidate) = response.candidates.into_iter().flatten().next() else {
        return GeminiOutcome::Unusable(match response.error {
            Some(_) => "error with status 200".to_owned(),
            None => "the response holds no candidate".to_owned(),
        });
    };
    let text = answer_text(&candidate);
    match candidate.finish_reason.as_deref() {
        Some("MAX_TOKENS") => GeminiOutcome::CutOff,
        Some("MALFORMED_RESPONSE") => GeminiOutcome::Malformed,
        Some("CONTINUATION") => match candidate.continuation_token {
            Some(token) if !token.is_empty() => GeminiOutcome::More { text, token },
            _ => GeminiOutcome::Unusable("no token to continue the response".to_owned()),
        },
        Some(
            reason @ ("SAFETY"
            | "RECITATION"
            | "LANGUAGE"
            | "BLOCKLIST"
            | "PROHIBITED_CONTENT"
            | "SPII"
            | "OTHER"
            | "ESCALATION"
            | "PUP_LIMITED_DISABLED"
            | "IMAGE_SAFETY"),
        ) => GeminiOutcome::Refused(format!("the model stopped ({reason})")),
        // An unknown finish reason: the text decides.
        Some(reason) if reason != "STOP" && text.trim().is_empty() => {
            GeminiOutcome::Unusable(format!(
                "the model stopped with an empty response ({})",
                word(reason)
            ))
        }
        _ if text.trim().is_empty() => GeminiOutcome::Silent,
        _ => GeminiOutcome::Said(text),
    }
}

/// Text of all parts but the thoughts, joined.
fn answer_text(candidate: &Candidate) -> String {
    let parts = candidate.content.as_ref().and_then(|c| c.parts.as_ref());
    let spoken = parts
        .into_iter()
        .flatten()
        .filter(|part| part.thought != Some(true));
    spoken.filter_map(|part| part.text.as_deref()).collect()
}

fn not_a_response(body: &[u8]) -> String {
    let start = body.trim_ascii_start();
    let what = match start.first() {
        None => "an empty body",
        Some(b'<') => "a web page: proxy or captive portal in between?",
        Some(b'd') if start.starts_with(b"data:") => "an event stream",
        Some(_) => "not a Gemini API response",
    };
    format!("unexpected response: {what}")
}

/// Identifier from the server, printable.
fn word(text: &str) -> String {
    shortened(&printable(text), 64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn finish(reason: &str, text: &str) -> GeminiOutcome {
        let body = json!({"candidates": [{
            "finishReason": reason, "content": {"parts": [{"text": text}]}
        }]});
        GeminiReply::read(body.to_string().as_bytes()).turn
    }

    #[test]
    fn known_refusals_are_recognised() {
        for reason in [
            "SAFETY",
            "RECITATION",
            "LANGUAGE",
            "BLOCKLIST",
            "PROHIBITED_CONTENT",
            "SPII",
            "OTHER",
            "ESCALATION",
            "PUP_LIMITED_DISABLED",
        ] {
            let refused = GeminiOutcome::Refused(format!("the model stopped ({reason})"));
            // The text before the cut is no answer.
            assert_eq!(finish(reason, "{\"findings\":[]}"), refused);
        }
    }

    #[test]
    fn unknown_finish_reason_is_decided_by_the_text() {
        assert_eq!(finish("NEW", "x"), GeminiOutcome::Said("x".to_owned()));
        let unusable = "the model stopped with an empty response (NEW)".to_owned();
        assert_eq!(finish("NEW\u{1b}", " "), GeminiOutcome::Unusable(unusable));
    }

    #[test]
    fn null_counts_as_absent() {
        let body = br#"{"candidates":[{"content":{"parts":[{"text":"x","thought":null},{"functionCall":{}}]},
            "finishReason":null}],"promptFeedback":{"blockReason":null},"usageMetadata":null}"#;
        assert_eq!(
            GeminiReply::read(body).turn,
            GeminiOutcome::Said("x".to_owned())
        );
    }

    #[test]
    fn thoughts_are_billed_as_output() {
        let body = json!({"usageMetadata": {
            "promptTokenCount": 5, "candidatesTokenCount": 2, "thoughtsTokenCount": 3
        }});
        let usage = GeminiReply::read(body.to_string().as_bytes()).usage;
        assert_eq!((usage.prompt_tokens, usage.output_tokens), (5, 5));
        assert_eq!(usage.cached_tokens, 0);
    }

    #[test]
    fn cached_tokens_are_part_of_the_prompt() {
        let cached = |count: u64| {
            let usage = json!({"promptTokenCount": 900, "cachedContentTokenCount": count});
            let usage =
                GeminiReply::read(json!({"usageMetadata": usage}).to_string().as_bytes()).usage;
            (usage.prompt_tokens, usage.cached_tokens)
        };
        assert_eq!(cached(512), (900, 512));
        assert_eq!(cached(1000), (900, 900));
    }

    #[test]
    fn invalid_response_is_named() {
        for (body, what) in [
            ("", "unexpected response: an empty body"),
            (
                "data: {\"candidates\":[]}\r\n\r\n",
                "unexpected response: an event stream",
            ),
            ("[]", "unexpected response: not a Gemini API response"),
            ("{}", "the response holds no candidate"),
            ("{\"error\":{}}", "error with status 200"),
        ] {
            let turn = GeminiReply::read(body.as_bytes()).turn;
            assert_eq!(turn, GeminiOutcome::Unusable(what.to_owned()), "{body}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_do_not_panic(bytes: Vec<u8>) {
            let _ = GeminiReply::read(&bytes);
        }
    }
}

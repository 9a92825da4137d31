//! Parsing of responses. No I/O.

use std::time::Duration;

use serde_json::{Value, json};

use watchtower_domain::cost::TokenUsage;
use watchtower_domain::finding::printable;

use crate::answer::shortened;
use crate::http::HttpResponse;
use crate::model::{Failure, Fatal};
use crate::written::object_in;

/// Maximum length of the quoted server message in characters.
const MAX_SERVER_TEXT: usize = 200;

#[derive(Debug, PartialEq, Eq)]
pub(super) struct ChatReply {
    pub usage: TokenUsage,
    /// Model name reported by the server.
    pub model: Option<String>,
    pub turn: OpenAiOutcome,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum OpenAiOutcome {
    Said(String),
    /// Finished without text.
    Silent,
    /// Out of tokens.
    CutOff,
    Refused(String),
    Unusable(String),
    /// Error in a response with status 200, as gateways send it once an answer
    /// has begun: its code, and the body of an error with that code.
    Failed(u16, Value),
}

impl ChatReply {
    pub(super) fn read(body: &[u8]) -> Self {
        let Ok(body) = serde_json::from_slice::<Value>(body) else {
            return Self {
                usage: TokenUsage::default(),
                model: None,
                turn: OpenAiOutcome::Unusable(
                    "not a response of this API: proxy in between?".to_owned(),
                ),
            };
        };
        let count = |field: &str| body["usage"][field].as_u64().unwrap_or_default();
        let model = body["model"].as_str().map(word);
        Self {
            usage: TokenUsage {
                prompt_tokens: count("prompt_tokens"),
                cached_tokens: body["usage"]["prompt_tokens_details"]["cached_tokens"]
                    .as_u64()
                    .unwrap_or_default()
                    .min(count("prompt_tokens")),
                output_tokens: count("completion_tokens"),
                ..TokenUsage::default()
            },
            model: model.filter(|model| !model.is_empty()),
            turn: turn(&body),
        }
    }
}

fn turn(body: &Value) -> OpenAiOutcome {
    let choice = &body["choices"][0];
    for error in [&body["error"], &choice["error"]] {
        if !error.is_null() {
            let code = number(&error["code"]).or_else(|| number(&error["status"]));
            let status = code.filter(|code| (400..600).contains(code));
            return OpenAiOutcome::Failed(status.unwrap_or(500), json!({ "error": error }));
        }
    }
    if choice.is_null() {
        return OpenAiOutcome::Unusable("the response holds no choice".to_owned());
    }
    let message = &choice["message"];
    if let Some(refusal) = message["refusal"].as_str().filter(|text| !text.is_empty()) {
        return OpenAiOutcome::Refused(format!("the model declined: \"{}\"", word(refusal)));
    }
    let mut text = text_of(&message["content"]);
    // Some servers return the model's answer as its reasoning.
    for thoughts in ["reasoning_content", "reasoning"] {
        if text.trim().is_empty() {
            text = text_of(&message[thoughts]);
            if object_in(&text).is_none() {
                text.clear();
            }
        }
    }
    match choice["finish_reason"].as_str() {
        Some("length") => OpenAiOutcome::CutOff,
        Some("content_filter") => {
            OpenAiOutcome::Refused("stopped by the server's content filter".to_owned())
        }
        _ => match spoken(&text) {
            "" => OpenAiOutcome::Silent,
            answer => OpenAiOutcome::Said(answer.to_owned()),
        },
    }
}

fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts
            .iter()
            .filter_map(|part| part["text"].as_str())
            .collect(),
        _ => String::new(),
    }
}

/// Parses a status, as a number or a word.
fn number(value: &Value) -> Option<u16> {
    let number = value.as_u64().or_else(|| value.as_str()?.parse().ok());
    number.and_then(|number| u16::try_from(number).ok())
}

/// Answer without the reasoning that some servers leave in front of it, and
/// without text around the JSON object.
fn spoken(text: &str) -> &str {
    // Some templates put the opening mark into the prompt: then only the
    // closing one is present.
    let text = match text.rsplit_once("</think>") {
        // Within the object it is a quote of the model.
        Some((before, _)) if is_within_object(before) => text,
        Some((_, answer)) => answer,
        None if text.trim_start().starts_with("<think>") => "",
        None => text,
    };
    object_in(text).unwrap_or_else(|| text.trim())
}

/// True if the rest belongs to an object that began at the start.
fn is_within_object(before: &str) -> bool {
    before.trim_start().starts_with('{') && object_in(before).is_none()
}

/// Reason of a failed request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum OpenAiFailure {
    /// The picture is too large.
    TooBig,
    /// More tokens than the model accepts.
    TooLong(Failure),
    /// Rejected, maybe because of the response format.
    NotAccepted(Failure),
    Failed(Failure),
}

/// Meaning of an error response; `key` is cut out of the server's message.
pub(super) fn failure_of(
    response: &HttpResponse,
    model: &str,
    key: Option<&str>,
    advice: Option<Duration>,
) -> OpenAiFailure {
    let body: Value = serde_json::from_slice(&response.body).unwrap_or_default();
    let error = &body["error"];
    let message = &*message_of(&body, &response.body);
    let code = error["code"].as_str().unwrap_or_default();
    let inner = error["innererror"]["code"].as_str().unwrap_or_default();
    let suffix = message_suffix(message, key);
    let status = response.status;
    let failure = match status {
        413 => return OpenAiFailure::TooBig,
        400 if code == "content_filter" || inner == "ResponsibleAIPolicyViolation" => {
            Failure::Refused {
                reason: format!("blocked by the server's content filter ({status}){suffix}"),
            }
        }
        400 | 422 if is_too_long(code, message) => {
            return OpenAiFailure::TooLong(Failure::fatal(
                Fatal::Request,
                format!("prompt exceeds the context of model {model} ({status}){suffix}"),
            ));
        }
        // LiteLLM searches an unknown key in a database it may lack.
        400 if message.contains("No connected db") => Failure::fatal(
            Fatal::Key,
            format!("key refused ({status}){suffix}: set a valid OPENAI_API_KEY"),
        ),
        _ if is_blind(message) => Failure::fatal(
            Fatal::Model,
            format!(
                "model {model} does not accept images ({status}){suffix}: choose one that does, and for llama.cpp name its --mmproj"
            ),
        ),
        400 | 422 => {
            let reason = format!("request rejected ({status}){suffix}");
            return OpenAiFailure::NotAccepted(Failure::fatal(Fatal::Request, reason));
        }
        401 | 403 => Failure::fatal(
            Fatal::Key,
            format!("key refused ({status}){suffix}: set a valid OPENAI_API_KEY"),
        ),
        404 => Failure::fatal(
            Fatal::Model,
            format!(
                "model {model} not found (404){suffix}: check its name and openai_base_url in agents.toml"
            ),
        ),
        429 => Failure::RateLimited {
            reason: format!("quota exceeded (429){suffix}"),
            retry_after: advice,
            exhausted: code == "insufficient_quota" || is_per_day(message),
        },
        300..=399 => Failure::Transient {
            reason: format!(
                "redirected ({status}), redirects are not followed: check openai_base_url"
            ),
        },
        408 | 500..=599 => Failure::Transient {
            reason: format!("server error ({status}){suffix}"),
        },
        _ => Failure::fatal(
            Fatal::Request,
            format!("request rejected ({status}){suffix}"),
        ),
    };
    OpenAiFailure::Failed(failure)
}

/// True for an exceeded context length: status 500 from llama.cpp, 400 from
/// others.
fn is_blind(message: &str) -> bool {
    let message = message.to_lowercase();
    let unsupported = [
        "not support",
        "unsupported",
        "not a multimodal",
        "does not support",
    ];
    let picture = ["image", "images", "multimodal", "vision"];
    let mut words = message.split(|c: char| !c.is_alphanumeric());
    words.any(|word| picture.contains(&word))
        && unsupported.iter().any(|word| message.contains(word))
}

/// True for a quota per day.
fn is_per_day(message: &str) -> bool {
    let message = message.to_lowercase();
    ["per-day", "per day", "daily", "(rpd)", "(tpd)"]
        .iter()
        .any(|words| message.contains(words))
}

fn is_too_long(code: &str, message: &str) -> bool {
    let message = message.to_lowercase();
    code == "context_length_exceeded"
        || [
            "context length",
            "context window",
            "context size",
            "exceed_context_size",
        ]
        .iter()
        .any(|words| message.contains(words))
}

/// Server message, in any of the shapes in use: `error.message`, `error`,
/// `message`, `detail` (a text, or a list with `msg`), or no JSON.
fn message_of(body: &Value, raw: &[u8]) -> String {
    let listed = |value: &Value| -> Option<String> {
        let items = value.as_array()?.iter();
        let texts: Vec<_> = items.filter_map(|item| item["msg"].as_str()).collect();
        (!texts.is_empty()).then(|| texts.join("; "))
    };
    let text = |value: &Value| value.as_str().map(str::to_owned).or_else(|| listed(value));
    let places = [
        &body["error"]["message"],
        &body["error"],
        &body["message"],
        &body["detail"]["message"],
        &body["detail"],
        &body["error"]["detail"],
    ];
    if let Some(text) = places.into_iter().find_map(text) {
        return text;
    }
    let raw = String::from_utf8_lossy(raw);
    let plain = body.is_null() && !raw.trim_start().starts_with('<');
    if plain {
        raw.into_owned()
    } else {
        String::new()
    }
}

fn message_suffix(message: &str, key: Option<&str>) -> String {
    let message = match key {
        Some(key) if !key.is_empty() => message.replace(key, "<key>"),
        _ => message.to_owned(),
    };
    match shortened(&printable(&message), MAX_SERVER_TEXT) {
        text if text.is_empty() => String::new(),
        text => format!(", message: \"{text}\""),
    }
}

fn word(text: &str) -> String {
    shortened(&printable(text), MAX_SERVER_TEXT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn turn_of(choice: &Value) -> OpenAiOutcome {
        ChatReply::read(json!({"choices": [choice]}).to_string().as_bytes()).turn
    }

    #[test]
    fn cached_tokens_are_part_of_the_prompt() {
        let usage = |details: Value| {
            let usage = json!({
                "prompt_tokens": 900, "completion_tokens": 7, "prompt_tokens_details": details
            });
            ChatReply::read(json!({ "usage": usage }).to_string().as_bytes()).usage
        };
        let read = usage(json!({"cached_tokens": 512}));
        let tokens = (read.prompt_tokens, read.cached_tokens, read.output_tokens);
        assert_eq!(tokens, (900, 512, 7));
        assert_eq!(usage(json!({"cached_tokens": 1000})).cached_tokens, 900);
        assert_eq!(usage(Value::Null).cached_tokens, 0);
    }

    #[test]
    fn answer_is_extracted_from_surrounding_text() {
        let outcome = |content: &str| {
            turn_of(&json!({"message": {"content": content}, "finish_reason": "stop"}))
        };
        let object = OpenAiOutcome::Said("{\"findings\": []}".to_owned());
        assert_eq!(outcome("{\"findings\": []}"), object);
        assert_eq!(outcome("<think>{hm}</think>\n{\"findings\": []}"), object);
        assert_eq!(
            outcome("Sure! ```json\n{\"findings\": []}\n``` Anything else?"),
            object
        );
        assert_eq!(outcome("<think>never ends"), OpenAiOutcome::Silent);
        assert_eq!(outcome(" "), OpenAiOutcome::Silent);
        assert_eq!(outcome("no"), OpenAiOutcome::Said("no".to_owned()));
        let parts = json!({"message": {"content": [{"type": "text", "text": "{}"}]}});
        assert_eq!(turn_of(&parts), OpenAiOutcome::Said("{}".to_owned()));
    }

    #[test]
    fn reasoning_is_no_answer_unless_it_contains_one() {
        let message = |message: Value| turn_of(&json!({"message": message}));
        let object = OpenAiOutcome::Said("{\"findings\": []}".to_owned());
        for content in [
            "hm, {maybe} so</think>{\"findings\": []}",
            "<think>{\"a\": 1} or {b}</think>\n{\"findings\": []} {see above}",
            "I think {this}: {\"findings\": []}",
        ] {
            assert_eq!(message(json!({"content": content})), object, "{content}");
        }
        let quoted = r#"{"title": "</think> on screen"}"#;
        assert_eq!(
            message(json!({"content": quoted})),
            OpenAiOutcome::Said(quoted.to_owned())
        );
        for field in ["reasoning_content", "reasoning"] {
            let there = json!({"content": null, field: "{\"findings\": []}"});
            assert_eq!(message(there), object);
            assert_eq!(
                message(json!({"content": "", field: "hm"})),
                OpenAiOutcome::Silent
            );
        }
    }

    #[test]
    fn error_with_status_200_is_recognised() {
        let error = json!({"code": 429, "message": "Rate limit exceeded: free-models-per-day"});
        let inside = json!({"choices": [{"error": {"code": "502"}, "finish_reason": "error"}]});
        for (body, code) in [
            (json!({"error": error}), 429),
            (inside, 502),
            (json!({"error": {"message": "?"}}), 500),
        ] {
            let turn = ChatReply::read(body.to_string().as_bytes()).turn;
            assert!(
                matches!(turn, OpenAiOutcome::Failed(status, _) if status == code),
                "{turn:?}"
            );
        }
    }

    #[test]
    fn error_shapes_are_parsed() {
        let failure = |status, body: Value| {
            let body = body.to_string().into_bytes();
            let response = HttpResponse {
                status,
                retry_after: None,
                body,
            };
            failure_of(&response, "m", None, None)
        };
        for body in [
            json!({"detail": "the words"}),
            json!({"detail": [{"msg": "the words", "loc": ["body"]}]}),
            json!({"object": "error", "message": "the words"}),
            json!({"error": "the words"}),
        ] {
            assert!(format!("{:?}", failure(400, body)).contains("the words"));
        }
        let error =
            |code: &str, message: &str| json!({"error": {"code": code, "message": message}});
        assert!(matches!(
            failure(400, error("content_filter", "ResponsibleAI")),
            OpenAiFailure::Failed(Failure::Refused { .. })
        ));
        assert!(matches!(
            failure(400, error("context_length_exceeded", "too long")),
            OpenAiFailure::TooLong(_)
        ));
        assert!(matches!(
            failure(400, error("400", "No connected db.")),
            OpenAiFailure::Failed(Failure::Fatal {
                kind: Fatal::Key,
                ..
            })
        ));
        assert!(matches!(
            failure(400, error("", "provision of x is not supported")),
            OpenAiFailure::NotAccepted(_)
        ));
        assert!(matches!(
            failure(429, error("", "Rate limit exceeded: free-models-per-day")),
            OpenAiFailure::Failed(Failure::RateLimited {
                exhausted: true,
                ..
            })
        ));
    }

    #[test]
    fn other_finish_reasons_are_named() {
        assert_eq!(
            turn_of(&json!({"message": {"content": "{"}, "finish_reason": "length"})),
            OpenAiOutcome::CutOff
        );
        for refused in [
            json!({"message": {"content": null, "refusal": "I can't"}, "finish_reason": "stop"}),
            json!({"message": {"content": ""}, "finish_reason": "content_filter"}),
        ] {
            assert!(matches!(turn_of(&refused), OpenAiOutcome::Refused(_)));
        }
        assert!(matches!(
            ChatReply::read(b"<html>").turn,
            OpenAiOutcome::Unusable(_)
        ));
        assert!(matches!(
            ChatReply::read(b"{}").turn,
            OpenAiOutcome::Unusable(_)
        ));
    }

    #[test]
    fn every_trouble_says_what_to_do() {
        let failure_of = |status: u16, body: Value| {
            let response = HttpResponse {
                status,
                retry_after: None,
                body: body.to_string().into_bytes(),
            };
            format!(
                "{status}: {:?}",
                failure_of(&response, "llava", Some("sk-secret"), None)
            )
        };
        let message = |text: &str| json!({"error": {"message": text, "code": null}});
        let texts = [
            failure_of(400, message("response_format is not supported")),
            failure_of(401, message("Incorrect API key provided: sk-secret")),
            failure_of(404, message("model 'llava' not found")),
            failure_of(413, json!({})),
            failure_of(
                429,
                json!({"error": {"message": "slow", "code": "insufficient_quota"}}),
            ),
            failure_of(
                500,
                message(
                    "image input is not supported - hint: if this is unexpected, you may need to provide the mmproj",
                ),
            ),
            failure_of(503, json!({"error": "loading model\u{1b}[2J"})),
            failure_of(302, json!({})),
        ];
        assert!(!texts.join("").contains("sk-secret"));
        insta::assert_snapshot!(texts.join("\n"));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_do_not_panic(status: u16, body: Vec<u8>) {
            let _ = ChatReply::read(&body);
            let response = HttpResponse { status, retry_after: None, body };
            let _ = failure_of(&response, "m", None, None);
        }
    }
}

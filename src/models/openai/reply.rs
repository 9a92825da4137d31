//! What came back, and what it means. No I/O.

use std::time::Duration;

use serde_json::Value;

use crate::finding::printable;
use crate::model::{Failure, Fatal, Usage};
use crate::models::answer::shortened;
use crate::models::http::Response;

/// Characters of the server's own words that are repeated.
const MAX_SERVER_TEXT: usize = 200;

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reply {
    pub usage: Usage,
    /// As the server calls the model.
    pub model: Option<String>,
    pub turn: Turn,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Said(String),
    /// It finished without a word.
    Silent,
    /// It ran out of tokens.
    CutOff,
    Refused(String),
    Unusable(String),
}

impl Reply {
    pub(super) fn read(body: &[u8]) -> Self {
        let Ok(body) = serde_json::from_slice::<Value>(body) else {
            return Self {
                usage: Usage::default(),
                model: None,
                turn: Turn::Unusable(
                    "what came is not a response of this API: a proxy in between?".to_owned(),
                ),
            };
        };
        let count = |field: &str| body["usage"][field].as_u64().unwrap_or_default();
        let model = body["model"].as_str().map(word);
        Self {
            usage: Usage {
                prompt_tokens: count("prompt_tokens"),
                output_tokens: count("completion_tokens"),
                ..Usage::default()
            },
            model: model.filter(|model| !model.is_empty()),
            turn: turn(&body),
        }
    }
}

fn turn(body: &Value) -> Turn {
    let choice = &body["choices"][0];
    if choice.is_null() {
        return Turn::Unusable("the response holds no choice".to_owned());
    }
    let message = &choice["message"];
    if let Some(refusal) = message["refusal"].as_str().filter(|text| !text.is_empty()) {
        return Turn::Refused(format!("the model declined: \"{}\"", word(refusal)));
    }
    let text = match &message["content"] {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts
            .iter()
            .filter_map(|part| part["text"].as_str())
            .collect(),
        _ => String::new(),
    };
    match choice["finish_reason"].as_str() {
        Some("length") => Turn::CutOff,
        Some("content_filter") => Turn::Refused("the server's filter stopped it".to_owned()),
        _ => match spoken(&text) {
            "" => Turn::Silent,
            said => Turn::Said(said.to_owned()),
        },
    }
}

/// Without the thoughts some servers leave before the answer, and without what
/// a model says around the object it was asked for.
fn spoken(text: &str) -> &str {
    let text = match text.trim_start().strip_prefix("<think>") {
        Some(thought) => thought.split_once("</think>").map_or("", |(_, said)| said),
        None => text,
    };
    let text = text.trim();
    match (text.find('{'), text.rfind('}')) {
        (Some(start), Some(end)) if start < end => &text[start..=end],
        _ => text,
    }
}

/// Why a request did not succeed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The picture has to be smaller.
    TooBig,
    /// Maybe because of how the answer's shape was asked for.
    NotAccepted(Failure),
    Failed(Failure),
}

/// `key` is cut out of whatever the server says.
pub(super) fn trouble(
    response: &Response,
    model: &str,
    key: Option<&str>,
    advice: Option<Duration>,
) -> Trouble {
    let body: Value = serde_json::from_slice(&response.body).unwrap_or_default();
    // {"error": {"message", "code"}} or {"error": "..."}.
    let error = &body["error"];
    let message = error["message"].as_str().or_else(|| error.as_str());
    let message = message.unwrap_or_default();
    let code = error["code"].as_str().unwrap_or_default();
    let said = said(message, key);
    let status = response.status;
    let failure = match status {
        413 => return Trouble::TooBig,
        _ if is_blind(message) => Failure::fatal(
            Fatal::Model,
            format!(
                "model {model} does not take pictures ({status}){said}: choose one that does, and for llama.cpp name its --mmproj"
            ),
        ),
        400 | 422 => {
            let reason = format!("the request was not accepted ({status}){said}");
            return Trouble::NotAccepted(Failure::fatal(Fatal::Request, reason));
        }
        401 | 403 => Failure::fatal(
            Fatal::Key,
            format!("key refused ({status}){said}: set a valid OPENAI_API_KEY"),
        ),
        404 => Failure::fatal(
            Fatal::Model,
            format!(
                "model {model} not found (404){said}: check its name and openai_base_url in agents.toml"
            ),
        ),
        429 => Failure::RateLimited {
            reason: format!("over the quota (429){said}"),
            retry_after: advice,
            exhausted: code == "insufficient_quota",
        },
        300..=399 => Failure::Transient {
            reason: format!(
                "redirected ({status}) instead of answered, which is not followed: check openai_base_url"
            ),
        },
        408 | 500..=599 => Failure::Transient {
            reason: format!("server trouble ({status}){said}"),
        },
        _ => Failure::fatal(
            Fatal::Request,
            format!("the request was not accepted ({status}){said}"),
        ),
    };
    Trouble::Failed(failure)
}

/// llama.cpp says it with a 500, others with a 400.
fn is_blind(message: &str) -> bool {
    let message = message.to_lowercase();
    let unsupported = [
        "not support",
        "unsupported",
        "not a multimodal",
        "does not support",
    ];
    let picture = ["image", "multimodal", "vision"];
    picture.iter().any(|word| message.contains(word))
        && unsupported.iter().any(|word| message.contains(word))
}

fn said(message: &str, key: Option<&str>) -> String {
    let message = match key {
        Some(key) if !key.is_empty() => message.replace(key, "<key>"),
        _ => message.to_owned(),
    };
    match shortened(&printable(&message), MAX_SERVER_TEXT) {
        text if text.is_empty() => String::new(),
        text => format!(", the server says \"{text}\""),
    }
}

fn word(text: &str) -> String {
    shortened(&printable(text), MAX_SERVER_TEXT)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn turn_of(choice: &Value) -> Turn {
        Reply::read(json!({"choices": [choice]}).to_string().as_bytes()).turn
    }

    #[test]
    fn what_was_said_without_what_is_around_it() {
        let said = |content: &str| {
            turn_of(&json!({"message": {"content": content}, "finish_reason": "stop"}))
        };
        let object = Turn::Said("{\"findings\": []}".to_owned());
        assert_eq!(said("{\"findings\": []}"), object);
        assert_eq!(said("<think>{hm}</think>\n{\"findings\": []}"), object);
        assert_eq!(
            said("Sure! ```json\n{\"findings\": []}\n``` Anything else?"),
            object
        );
        assert_eq!(said("<think>never ends"), Turn::Silent);
        assert_eq!(said(" "), Turn::Silent);
        assert_eq!(said("no"), Turn::Said("no".to_owned()));
        let parts = json!({"message": {"content": [{"type": "text", "text": "{}"}]}});
        assert_eq!(turn_of(&parts), Turn::Said("{}".to_owned()));
    }

    #[test]
    fn every_other_end_is_named() {
        assert_eq!(
            turn_of(&json!({"message": {"content": "{"}, "finish_reason": "length"})),
            Turn::CutOff
        );
        for refused in [
            json!({"message": {"content": null, "refusal": "I can't"}, "finish_reason": "stop"}),
            json!({"message": {"content": ""}, "finish_reason": "content_filter"}),
        ] {
            assert!(matches!(turn_of(&refused), Turn::Refused(_)));
        }
        assert!(matches!(Reply::read(b"<html>").turn, Turn::Unusable(_)));
        assert!(matches!(Reply::read(b"{}").turn, Turn::Unusable(_)));
    }

    #[test]
    fn every_trouble_says_what_to_do() {
        let trouble = |status: u16, body: Value| {
            let response = Response {
                status,
                retry_after: None,
                body: body.to_string().into_bytes(),
            };
            format!(
                "{status}: {:?}",
                trouble(&response, "llava", Some("sk-secret"), None)
            )
        };
        let message = |text: &str| json!({"error": {"message": text, "code": null}});
        let texts = [
            trouble(400, message("response_format is not supported")),
            trouble(401, message("Incorrect API key provided: sk-secret")),
            trouble(404, message("model 'llava' not found")),
            trouble(413, json!({})),
            trouble(
                429,
                json!({"error": {"message": "slow", "code": "insufficient_quota"}}),
            ),
            trouble(
                500,
                message(
                    "image input is not supported - hint: if this is unexpected, you may need to provide the mmproj",
                ),
            ),
            trouble(503, json!({"error": "loading model\u{1b}[2J"})),
            trouble(302, json!({})),
        ];
        assert!(!texts.join("").contains("sk-secret"));
        insta::assert_snapshot!(texts.join("\n"));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(status: u16, body: Vec<u8>) {
            let _ = Reply::read(&body);
            let response = Response { status, retry_after: None, body };
            let _ = trouble(&response, "m", None, None);
        }
    }
}

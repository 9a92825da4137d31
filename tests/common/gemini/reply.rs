//! Replies of the fake Gemini, built here or read from recorded ones.

use std::time::Duration;

use axum::body::Bytes;
use serde_json::{Value, json};

/// Scripted answer.
#[derive(Debug, Clone)]
pub struct CannedReply {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Bytes,
    pub(super) mode: FakeReplyMode,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum FakeReplyMode {
    Plain,
    /// Resets the connection instead of responding.
    Reset,
    /// Delay of the response.
    Slow(Duration),
}

impl CannedReply {
    pub fn json(status: u16, body: &Value) -> Self {
        Self::raw(status, "application/json", body.to_string())
    }

    pub fn raw(status: u16, content_type: &str, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            headers: vec![("content-type".to_owned(), content_type.to_owned())],
            body: body.into(),
            mode: FakeReplyMode::Plain,
        }
    }

    /// Response with that text and finish reason STOP.
    pub fn text(text: &str) -> Self {
        Self::json(
            200,
            &json!({
                "candidates": [{
                    "content": {"role": "model", "parts": [{"text": text}]},
                    "finishReason": "STOP", "index": 0
                }],
                "usageMetadata": {"promptTokenCount": 1391, "candidatesTokenCount": 88},
                "modelVersion": "gemini-3.8-flash-001",
            }),
        )
    }

    /// Response with these findings, in the shape of the answer schema.
    pub fn findings(findings: &Value) -> Self {
        Self::text(&json!({ "findings": findings }).to_string())
    }

    /// Opinion of an analyst on a case, in the shape of its schema.
    pub fn view(stance: &str, severity: &str, text: &str, quote: &str) -> Self {
        let view = json!({
            "evidence": quote, "box_2d": [], "text": text, "stance": stance,
            "severity": severity, "confidence": 0.8
        });
        Self::text(&view.to_string())
    }

    /// Response without findings.
    pub fn nothing() -> Self {
        Self::findings(&json!([]))
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn slow(mut self, delay: Duration) -> Self {
        self.mode = FakeReplyMode::Slow(delay);
        self
    }

    /// Replies of a `resp-*` file of `tests/fixtures/gemini`: the responses to
    /// consecutive requests.
    pub fn fixture(name: &str) -> Vec<Self> {
        match fixture(name) {
            Value::Array(replies) => replies.iter().map(Self::of_fixture).collect(),
            stream => vec![Self::stream(&stream)],
        }
    }

    fn of_fixture(reply: &Value) -> Self {
        let body = match &reply["body"] {
            Value::String(text) => Bytes::from(text.clone()),
            body => Bytes::from(body.to_string()),
        };
        let headers = reply["headers"].as_object().into_iter().flatten();
        let mut made = Self {
            status: u16::try_from(reply["status"].as_u64().unwrap()).unwrap(),
            headers: headers
                .map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()))
                .collect(),
            body,
            mode: match reply["mode"].as_str() {
                None => FakeReplyMode::Plain,
                Some("reset") => FakeReplyMode::Reset,
                Some("slow") => FakeReplyMode::Slow(Duration::from_secs(5)),
                Some(mode) => panic!("a fixture of the unknown mode {mode}"),
            },
        };
        if !made
            .headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("content-type"))
        {
            made = made.header("content-type", "application/json; charset=UTF-8");
        }
        made
    }

    /// Server-sent events, the format of `streamGenerateContent`.
    fn stream(stream: &Value) -> Self {
        let events = stream["events"].as_array().unwrap().iter();
        let body: String = events
            .map(|event| format!("data: {event}\r\n\r\n"))
            .collect();
        Self::raw(200, stream["content_type"].as_str().unwrap(), body)
    }
}

/// Content of a file of `tests/fixtures/gemini`.
pub fn fixture(name: &str) -> Value {
    let path = format!(
        "{}/tests/fixtures/gemini/{name}.json",
        env!("CARGO_MANIFEST_DIR")
    );
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_json::from_str(&text).unwrap()
}

/// Error of the real server for a wrong key, a 400.
pub fn bad_key() -> CannedReply {
    CannedReply::fixture("resp-err-400-api-key").remove(0)
}

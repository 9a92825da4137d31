//! Gemini client against a fake server with its wire format: the result of
//! every recorded response, and the content of every request.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod answers;
mod fake_server;
mod probe;
mod recorded;
mod requests;
mod resends;

use std::sync::Arc;
use std::time::Duration;

use crate::common::gemini::{CannedReply, FakeGemini};
use jiff::Timestamp;
use serde_json::{Value, json};
use watchtower::analysts::settings::Panel;
use watchtower::base::secret::Secret;
use watchtower::base::stream_name::StreamName;
use watchtower::codec::encode_jpeg;
use watchtower::media::MediaTime;
use watchtower::models::gemini::{Gemini, GeminiSettings};
use watchtower::models::model::{
    Failure, Fatal, Memory, Model as _, ObserveQuestion, ObserveReply, ScreenChanges,
};
use watchtower::screen::frame::Frame;
use watchtower::screen::picture::Picture;
use watchtower::screen::redact::{Redact, RedactedFrame};

const KEY: &str = "AQ.not-a-real-key-0123456789";

/// Picture of that size with some content.
fn frame_of(width: u32, height: u32) -> RedactedFrame {
    let plane = |width: u32, height: u32| {
        let sample = |at: u32| ((at % width) ^ (at / width)) as u8;
        (0..width * height).map(sample).collect::<Vec<_>>()
    };
    let picture = Picture {
        width,
        height,
        y: plane(width, height),
        u: plane(width / 2, height / 2),
        v: plane(width / 2, height / 2),
    };
    let frame = Frame::new(
        StreamName::new("team").unwrap(),
        42,
        MediaTime(0),
        "2026-11-22T10:00:00Z".parse::<Timestamp>().unwrap(),
        Arc::new(picture),
        encode_jpeg,
    );
    RedactedFrame::of(&Arc::new(frame), Redact::Off).unwrap()
}

fn frame() -> RedactedFrame {
    frame_of(64, 32)
}

fn panel() -> Panel {
    let text = std::fs::read_to_string("agents.toml").unwrap();
    Panel::parse(&text, "agents.toml").unwrap()
}

fn question() -> ObserveQuestion {
    ObserveQuestion {
        persona: Arc::clone(&panel().agents[0].persona),
        frames: vec![frame()],
        news: ScreenChanges::default(),
        memory: Memory::default(),
        audio: None,
    }
}

fn settings(server: &FakeGemini) -> GeminiSettings {
    GeminiSettings {
        base_url: Some(server.base_url()),
        ..GeminiSettings::new(Secret::new(KEY).unwrap())
    }
}

fn gemini(server: &FakeGemini) -> Gemini {
    Gemini::new(settings(server)).unwrap()
}

async fn observe(gemini: &Gemini, question: ObserveQuestion) -> Result<ObserveReply, Failure> {
    let prepared = gemini.prepare(question.into());
    gemini.ask(prepared).await?.observed()
}

/// Expected result of an analysis.
#[derive(Debug, Clone, Copy)]
enum Expected {
    /// Finding that all valid fixtures contain.
    TheFinding,
    NoAnswer(&'static str),
    Refused(&'static str),
    RateLimited(Option<f64>),
    Transient(&'static str),
    Fatal(Fatal, &'static str),
}

fn assert_expected(name: &str, expected: Expected, result: &Result<ObserveReply, Failure>) {
    let message = result
        .as_ref()
        .err()
        .map(ToString::to_string)
        .unwrap_or_default();
    assert!(!message.contains(KEY), "{name}: {message}");
    let fits = match (expected, result) {
        (Expected::TheFinding, Ok(answer)) => {
            let [seen] = answer.seen.as_slice() else {
                panic!("{name}: {answer:?}");
            };
            let found = serde_json::to_value(&seen.observation).unwrap();
            found == the_finding() && answer.dropped == 0
        }
        (Expected::NoAnswer(text), Err(Failure::NoAnswer { .. }))
        | (Expected::Refused(text), Err(Failure::Refused { .. }))
        | (Expected::Transient(text), Err(Failure::Transient { .. })) => message.contains(text),
        (
            Expected::RateLimited(wait),
            Err(Failure::RateLimited {
                retry_after,
                exhausted,
                ..
            }),
        ) => *retry_after == wait.map(Duration::from_secs_f64) && !exhausted,
        (Expected::Fatal(kind, text), Err(Failure::Fatal { kind: is, .. })) => {
            kind == *is && message.contains(text)
        }
        _ => false,
    };
    assert!(fits, "{name}: expected {expected:?}, got {result:?}");
}

fn the_finding() -> Value {
    json!({
        "severity": "high", "confidence": 0.82_f32, "category": "secret_exposure",
        "title": "Plaintext token on screen",
        "detail": "A bearer token is visible in a terminal.",
        "evidence": [{"quote": "export TOKEN=[masked password or token]", "box": [120, 40, 180, 610], "grounded": null}],
        "mitre": ["T1552.001"], "recommended_action": "Rotate the token."
    })
}

/// Queues the replies and analyses one frame.
async fn look_once(
    replies: impl IntoIterator<Item = CannedReply>,
) -> (Result<ObserveReply, Failure>, FakeGemini) {
    let server = FakeGemini::start().await;
    server.script("", replies);
    let result = observe(&gemini(&server), question()).await;
    assert_eq!(server.faults(), Vec::<String>::new());
    (result, server)
}

fn good() -> CannedReply {
    CannedReply::fixture("resp-thoughts").remove(0)
}

fn first(name: &str) -> CannedReply {
    CannedReply::fixture(name).remove(0)
}

//! Content of the requests; the key is only in its header.

use std::process::Stdio;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use watchtower::base::secret::Secret;
use watchtower::models::gemini::{Gemini, GeminiSettings};
use watchtower::models::model::{Memory, ObserveQuestion, Persona, ScreenChanges};

use super::{KEY, frame_of, gemini, good, look_once, observe, panel, question, settings};
use crate::common::gemini::{FakeGemini, fixture, jpeg_size};

/// Samples of the picture, as decoded by the ffmpeg program.
async fn decoded(jpeg: Vec<u8>) -> Vec<u8> {
    let mut ffmpeg = tokio::process::Command::new("ffmpeg")
        .args([
            "-v", "error", "-f", "mjpeg", "-i", "-", "-f", "rawvideo", "-",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = ffmpeg.stdin.take().unwrap();
    tokio::spawn(async move { stdin.write_all(&jpeg).await.unwrap() });
    let output = ffmpeg.wait_with_output().await.unwrap();
    assert!(output.status.success());
    output.stdout
}

/// Fields of a message and its nested messages, as paths.
fn paths(value: &Value, at: &str, into: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                paths(value, &format!("{at}/{name}"), into);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| paths(item, at, into)),
        _ => into.push(at.to_owned()),
    }
}

#[tokio::test]
async fn five_personas_make_five_requests_as_the_recorded_ones() {
    let server = FakeGemini::start().await;
    let gemini = gemini(&server);
    let panel = panel();
    for agent in &panel.agents {
        let question = ObserveQuestion {
            persona: Arc::clone(&agent.persona),
            frames: vec![frame_of(1920, 1080)],
            news: ScreenChanges::default(),
            memory: Memory::default(),
            audio: None,
        };
        observe(&gemini, question).await.unwrap();
    }
    assert_eq!(server.faults(), Vec::<String>::new());
    let requests = server.requests();
    assert_eq!(requests.len(), 5);
    for (request, agent) in requests.iter().zip(&panel.agents) {
        assert_eq!(
            request.path,
            "/v1beta/models/gemini-3.8-flash:generateContent"
        );
        assert_eq!(request.headers["x-goog-api-key"], KEY);
        assert_eq!(request.headers["content-type"], "application/json");
        let system = request.system();
        let is_told = |persona: &Persona| system.contains(&persona.focus);
        for other in &panel.agents {
            let itself = other.name() == agent.name();
            assert_eq!(is_told(&other.persona), itself, "{system}");
            assert_eq!(system.contains(other.name()), itself, "{system}");
        }
        assert_eq!(jpeg_size(&request.jpeg()), Some((1920, 1080)));
        assert!(request.text().contains("\"team\" at 2026-11-22T10:00:00Z"));
        assert_eq!(request.body["store"], json!(false));
    }
    let samples = decoded(requests[0].jpeg()).await;
    assert_eq!(samples.len(), 1920 * 1080 * 3 / 2);
    let mut body = requests[0].body.clone();
    body["systemInstruction"]["parts"][0]["text"] = json!("(persona)");
    body["contents"][0]["parts"][0]["inlineData"]["data"] = json!("(jpeg)");
    insta::assert_json_snapshot!(body);
}

#[tokio::test]
async fn a_request_has_the_fields_of_the_recorded_ones() {
    let (_, server) = look_once([good()]).await;
    let mut ours = server.requests().remove(0).body;
    let recorded = fixture("req-js-01-image-schema")["body"].clone();
    let mut proposed = fixture("req-19-proposed-responseSchema")["body"].clone();
    // The schemas are compared in the client's unit tests.
    for body in [&mut ours, &mut proposed] {
        assert!(
            body["generationConfig"]["responseSchema"]
                .take()
                .is_object()
        );
    }
    let mut known = Vec::new();
    paths(&recorded, "", &mut known);
    // The recorded clients include one that mixes the cases; this one must not.
    let mut mixed = Vec::new();
    paths(&proposed, "", &mut mixed);
    let mut in_part = Vec::new();
    paths(
        &fixture("req-04-part-media-resolution")["body"],
        "",
        &mut in_part,
    );
    mixed.extend(in_part);
    let camel = |path: &String| {
        path.replace("mime_type", "mimeType")
            .replace("thinking_level", "thinkingLevel")
    };
    known.extend(mixed.iter().map(camel));
    // From the reference; no recorded request combines them.
    known.extend(["/safetySettings/category", "/safetySettings/threshold"].map(str::to_owned));
    let mut sent = Vec::new();
    paths(&ours, "", &mut sent);
    for path in sent {
        assert!(known.contains(&path), "{path} is in no recorded request");
    }
    assert_eq!(
        ours["generationConfig"]["thinkingConfig"],
        json!({"thinkingLevel": "LOW"})
    );
    assert_eq!(
        ours["generationConfig"]["mediaResolution"],
        "MEDIA_RESOLUTION_HIGH"
    );
}

#[tokio::test]
async fn version_model_and_prefix_are_configurable() {
    let server = FakeGemini::start().await;
    let settings = GeminiSettings {
        base_url: Some(format!("{}/gateway/", server.base_url())),
        api_version: "v1".to_owned(),
        model: "gemini-2.5-flash".to_owned(),
        ..settings(&server)
    };
    observe(&Gemini::new(settings).unwrap(), question())
        .await
        .unwrap();
    let request = server.requests().remove(0);
    assert_eq!(
        request.path,
        "/gateway/v1/models/gemini-2.5-flash:generateContent"
    );
    // Models before 3 reject a request with a thinking level.
    assert!(request.body["generationConfig"]["thinkingConfig"].is_null());
    assert_eq!(server.faults(), Vec::<String>::new());
}

#[test]
fn the_key_is_in_no_debug_text_and_in_no_error() {
    let settings = GeminiSettings::new(Secret::new(KEY).unwrap());
    let gemini = Gemini::new(settings.clone()).unwrap();
    let texts = format!("{settings:?} {gemini:?} {gemini:#?}");
    assert!(!texts.contains("AQ."), "{texts}");
    let broken = GeminiSettings::new(Secret::new("AQ.\u{1}bad").unwrap());
    let error = Gemini::new(broken).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("AQ."), "{error}");
}

//! The Gemini client against a server that speaks its wire format: what every
//! recorded response becomes, and what every request holds.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use crate::common::gemini::{CannedReply, FakeGemini, bad_key, fixture, jpeg_size};
use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt as _;
use watchtower::analysts::settings::Panel;
use watchtower::analysts::{Governor, GovernorSettings};
use watchtower::base::secret::Secret;
use watchtower::base::stream_name::StreamName;
use watchtower::codec::encode_jpeg;
use watchtower::domain::cost::AnswerOutcome;
use watchtower::media::MediaTime;
use watchtower::models::gemini::{Gemini, GeminiSettings, read_anything};
use watchtower::models::model::{
    Failure, Fatal, Memory, Model as _, ObserveQuestion, ObserveReply, Persona, ScreenChanges,
    outcome,
};
use watchtower::screen::frame::Frame;
use watchtower::screen::picture::Picture;
use watchtower::screen::redact::{Redact, RedactedFrame};

const KEY: &str = "AQ.not-a-real-key-0123456789";

/// A picture of that size with something on it.
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

/// The picture's samples, as FFmpeg's own program reads them.
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
    /// The one finding all good fixtures hold.
    TheFinding,
    NoAnswer(&'static str),
    Refused(&'static str),
    RateLimited(Option<f64>),
    Transient(&'static str),
    Fatal(Fatal, &'static str),
}

fn assert_expected(name: &str, expected: Expected, result: &Result<ObserveReply, Failure>) {
    let said = result
        .as_ref()
        .err()
        .map(ToString::to_string)
        .unwrap_or_default();
    assert!(!said.contains(KEY), "{name}: {said}");
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
        | (Expected::Transient(text), Err(Failure::Transient { .. })) => said.contains(text),
        (
            Expected::RateLimited(wait),
            Err(Failure::RateLimited {
                retry_after,
                exhausted,
                ..
            }),
        ) => *retry_after == wait.map(Duration::from_secs_f64) && !exhausted,
        (Expected::Fatal(kind, text), Err(Failure::Fatal { kind: is, .. })) => {
            kind == *is && said.contains(text)
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

/// For each recorded response: what the looks come to one after another, and
/// how many requests it takes. A response that calls for a resend is answered
/// the same way again.
fn expectations() -> BTreeMap<&'static str, (Vec<Expected>, usize)> {
    use Expected::{Fatal as Stop, NoAnswer, RateLimited, Refused, TheFinding, Transient};
    let web_page = NoAnswer("a web page");
    let once = |expected| (vec![expected], 1);
    let twice = |expected| (vec![expected], 2);
    BTreeMap::from([
        (
            "resp-429-then-ok",
            (vec![RateLimited(Some(2.5)), TheFinding], 2),
        ),
        (
            "resp-503-then-ok",
            (vec![Transient("server error (503)"), TheFinding], 2),
        ),
        ("resp-continuation", twice(TheFinding)),
        ("resp-empty-candidates", once(NoAnswer("no candidate"))),
        ("resp-empty-object", once(NoAnswer("no candidate"))),
        (
            "resp-err-400-api-key",
            once(Stop(Fatal::Key, "key refused (400)")),
        ),
        (
            "resp-err-400-argument",
            once(Stop(Fatal::Request, "Unknown name \"foo\"")),
        ),
        ("resp-err-400-region", once(Stop(Fatal::Key, "region"))),
        ("resp-err-401", once(Stop(Fatal::Key, "key refused (401)"))),
        ("resp-err-403", once(Stop(Fatal::Key, "reported as leaked"))),
        (
            "resp-err-404",
            once(Stop(Fatal::Model, "model gemini-3.8-flash not found")),
        ),
        ("resp-err-413-html", twice(Stop(Fatal::Request, "too big"))),
        ("resp-err-429-bare", once(RateLimited(None))),
        (
            "resp-err-429-retry-after-header",
            once(RateLimited(Some(2.0))),
        ),
        ("resp-err-429-retryinfo", once(RateLimited(Some(2.5)))),
        ("resp-err-429-retryinfo-30s", once(RateLimited(Some(30.0)))),
        ("resp-err-500", once(Transient("server error (500)"))),
        ("resp-err-502-html", once(Transient("server error (502)"))),
        ("resp-err-503", once(Transient("overloaded"))),
        ("resp-err-504", once(Transient("Deadline expired"))),
        ("resp-err-array", once(RateLimited(Some(2.5)))),
        ("resp-fenced-json", once(TheFinding)),
        ("resp-html-200", once(web_page)),
        ("resp-malformed-json-text", once(NoAnswer("not JSON"))),
        (
            "resp-max-tokens-empty",
            twice(NoAnswer("ran out of tokens")),
        ),
        (
            "resp-max-tokens-truncated",
            twice(NoAnswer("ran out of tokens")),
        ),
        (
            "resp-prompt-blocked",
            once(Refused("blocked (PROHIBITED_CONTENT)")),
        ),
        ("resp-recitation", once(Refused("RECITATION"))),
        (
            "resp-reset",
            once(Transient("connection to 127.0.0.1 failed")),
        ),
        ("resp-safety-candidate", once(Refused("SAFETY"))),
        ("resp-slow", once(Transient("no response within 0.5 s"))),
        ("resp-split-parts", once(TheFinding)),
        ("resp-stop-empty", twice(NoAnswer("empty response"))),
        ("resp-stream-ok-sse", once(NoAnswer("an event stream"))),
        ("resp-thoughts", once(TheFinding)),
        ("resp-unknown-fields", once(TheFinding)),
        ("resp-unknown-finish", once(TheFinding)),
        (
            "resp-wrong-shape",
            once(NoAnswer("no valid finding among the 1")),
        ),
    ])
}

#[tokio::test]
async fn every_recorded_response_becomes_what_it_is() {
    let mut expectations = expectations();
    for file in std::fs::read_dir("tests/fixtures/gemini").unwrap() {
        let file = file.unwrap().file_name().into_string().unwrap();
        let Some(name) = file
            .strip_suffix(".json")
            .filter(|n| n.starts_with("resp-"))
        else {
            continue;
        };
        let (expected, requests) = expectations
            .remove(name)
            .unwrap_or_else(|| panic!("{name} has no expectation"));
        let server = FakeGemini::start().await;
        let replies = CannedReply::fixture(name);
        server.otherwise(replies.last().unwrap().clone());
        server.script("", replies);
        let mut settings = settings(&server);
        if name == "resp-slow" {
            settings.timeout = Duration::from_millis(500);
        }
        let gemini = Gemini::new(settings).unwrap();
        for expected in expected {
            let result = observe(&gemini, question()).await;
            assert_expected(name, expected, &result);
        }
        assert_eq!(server.requests().len(), requests, "{name}");
        assert_eq!(server.faults(), Vec::<String>::new(), "{name}");
    }
    assert!(
        expectations.is_empty(),
        "no such file: {:?}",
        expectations.keys()
    );
}

/// Lines up the replies and looks once.
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

#[tokio::test]
async fn an_empty_list_is_nothing_and_only_that() {
    let (result, _) = look_once([CannedReply::nothing()]).await;
    assert_eq!(outcome(&result), AnswerOutcome::Nothing);
    assert_eq!(result.unwrap().model.version, "gemini-3.8-flash-001");
    let (result, _) = look_once([CannedReply::text("{}")]).await;
    assert_eq!(outcome(&result), AnswerOutcome::NoAnswer);
}

#[tokio::test]
async fn findings_that_make_no_sense_are_counted() {
    let good = json!({"severity": "low", "confidence": 1, "title": "t"});
    let (result, _) = look_once([CannedReply::findings(&json!([good, {"title": "x"}]))]).await;
    let answer = result.unwrap();
    assert_eq!((answer.seen.len(), answer.dropped), (1, 1));
    let (result, _) = look_once([CannedReply::findings(&json!([{}, {}]))]).await;
    let dropped = matches!(result, Err(Failure::NoAnswer { dropped: 2, .. }));
    assert!(dropped, "{result:?}");
}

#[tokio::test]
async fn silence_and_a_malformed_answer_are_asked_again_once() {
    for silent in [
        first("resp-stop-empty"),
        CannedReply::json(
            200,
            &json!({"candidates": [{"finishReason": "MALFORMED_RESPONSE"}]}),
        ),
    ] {
        let (result, server) = look_once([silent, good()]).await;
        assert_expected("asked again", Expected::TheFinding, &result);
        let requests = server.requests();
        assert_eq!(requests[0].body, requests[1].body);
    }
}

#[tokio::test]
async fn out_of_tokens_is_asked_again_with_twice_as_many_and_all_are_billed() {
    let (result, server) = look_once([first("resp-max-tokens-truncated"), good()]).await;
    assert_expected("asked again", Expected::TheFinding, &result);
    let caps: Vec<_> = server
        .requests()
        .iter()
        .map(|request| request.body["generationConfig"]["maxOutputTokens"].clone())
        .collect();
    assert_eq!(caps, [8192, 16384]);
    let usage = result.unwrap().usage;
    assert_eq!(
        (usage.prompt_tokens, usage.output_tokens),
        (2 * 1391, 2 * 298)
    );
}

#[tokio::test]
async fn no_more_tokens_are_asked_for_than_a_model_can_write() {
    let server = FakeGemini::start().await;
    server.otherwise(first("resp-max-tokens-empty"));
    for (cap, requests) in [(40_000, 2), (65_536, 1)] {
        let before = server.requests().len();
        let settings = GeminiSettings {
            max_output_tokens: cap,
            ..settings(&server)
        };
        let result = observe(&Gemini::new(settings).unwrap(), question()).await;
        assert_expected("cut off", Expected::NoAnswer("raise"), &result);
        let sent = server.requests().split_off(before);
        assert_eq!(sent.len(), requests);
        let last = &sent[requests - 1].body["generationConfig"]["maxOutputTokens"];
        assert_eq!(*last, 65_536);
    }
}

#[tokio::test]
async fn a_continuation_sends_the_token_back_with_the_same_question() {
    let (_, server) = look_once(CannedReply::fixture("resp-continuation")).await;
    let requests = server.requests();
    let mut second = requests[1].body.clone();
    let token = second.as_object_mut().unwrap().remove("continuationToken");
    assert_eq!(token, Some(json!("dG9rZW4=")));
    assert_eq!(second, requests[0].body);
    // Without end it is given up.
    let server = FakeGemini::start().await;
    server.otherwise(first("resp-continuation"));
    let result = observe(&gemini(&server), question()).await;
    assert_expected("endless", Expected::NoAnswer("too many parts"), &result);
    assert_eq!(server.requests().len(), 4);
}

#[tokio::test]
async fn a_schema_the_server_can_t_serve_is_put_in_words_from_then_on() {
    let message =
        "The specified schema produces a constraint that has too many states for serving.";
    let body = json!({"error": {"code": 400, "message": message, "status": "INVALID_ARGUMENT"}});
    let server = FakeGemini::start().await;
    server.script("", [CannedReply::json(400, &body), good(), good()]);
    let gemini = gemini(&server);
    for _ in 0..2 {
        assert_expected(
            "in words",
            Expected::TheFinding,
            &observe(&gemini, question()).await,
        );
    }
    let requests = server.requests();
    assert_eq!(requests.len(), 3);
    let schema = |at: usize| &requests[at].body["generationConfig"]["responseSchema"];
    assert!(schema(0).is_object() && !requests[0].text().contains("propertyOrdering"));
    for later in [1, 2] {
        assert!(schema(later).is_null());
        assert!(requests[later].text().contains("recommended_action"));
    }
}

#[tokio::test]
async fn a_picture_too_big_is_halved_and_the_finding_names_what_was_sent() {
    let (result, server) = look_once([first("resp-err-413-html"), good()]).await;
    let requests = server.requests();
    let sent = requests[1].jpeg();
    assert_eq!(sent, encode_jpeg(&frame().picture.halved()).unwrap());
    assert_ne!(sent, requests[0].jpeg());
    let seen = &result.unwrap().seen[0];
    let sum: String = Sha256::digest(&sent)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    assert_eq!(seen.frame.still().unwrap().sha256(), sum);
    assert_eq!(seen.frame.seq, 42);
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let elsewhere = FakeGemini::start().await;
    let redirect =
        CannedReply::raw(307, "text/html", "moved").header("location", &elsewhere.base_url());
    let (result, server) = look_once([redirect]).await;
    assert_expected("redirect", Expected::Transient("redirected (307)"), &result);
    assert_eq!(
        (server.requests().len(), elsewhere.requests().len()),
        (1, 0)
    );
}

#[tokio::test]
async fn an_answer_without_end_is_not_read_to_its_end() {
    let (result, _) = look_once([CannedReply::raw(
        200,
        "application/json",
        vec![b' '; 2 << 20],
    )])
    .await;
    assert_expected("endless", Expected::NoAnswer("larger than"), &result);
    let (result, _) = look_once([CannedReply::raw(503, "text/html", vec![b'<'; 2 << 20])]).await;
    assert_expected("endless", Expected::Transient("503"), &result);
}

#[tokio::test]
async fn a_server_that_isn_t_there_is_trouble_that_may_pass() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let base_url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let settings = GeminiSettings {
        base_url: Some(base_url),
        ..GeminiSettings::new(Secret::new(KEY).unwrap())
    };
    let gemini = Gemini::new(settings).unwrap();
    let expected = Expected::Transient("failed to connect to 127.0.0.1: ");
    assert_expected("nobody", expected, &observe(&gemini, question()).await);
}

#[tokio::test]
async fn with_a_governor_a_429_is_waited_out_and_an_error_backed_off() {
    for (name, least) in [("resp-429-then-ok", 2.5), ("resp-503-then-ok", 0.0)] {
        let server = FakeGemini::start().await;
        server.script("", CannedReply::fixture(name));
        let gemini = gemini(&server);
        let governor = Governor::new(GovernorSettings::default());
        let mut outcomes = Vec::new();
        for _ in 0..2 {
            let permit = governor.admit(|_| ()).await;
            let result = observe(&gemini, question()).await;
            permit.settle(&result);
            outcomes.push(outcome(&result));
        }
        assert_eq!(outcomes[1], AnswerOutcome::Findings, "{name}");
        let requests = server.requests();
        let between = requests[1].at - requests[0].at;
        assert!(between >= Duration::from_secs_f64(least), "{between:?}");
    }
}

/// The fields of a message and of the messages in it, as paths.
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
    // The schemas are compared in the client's own tests.
    for body in [&mut ours, &mut proposed] {
        assert!(
            body["generationConfig"]["responseSchema"]
                .take()
                .is_object()
        );
    }
    let mut known = Vec::new();
    paths(&recorded, "", &mut known);
    // Recorded clients include one that mixes the cases; ours does not.
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
    // From the reference, which no recorded request uses together.
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
    // Models before 3 refuse a request with a thinking level.
    assert!(request.body["generationConfig"]["thinkingConfig"].is_null());
    assert_eq!(server.faults(), Vec::<String>::new());
}

#[tokio::test]
async fn a_probe_tries_key_and_model_without_a_picture() {
    let server = FakeGemini::start().await;
    let gemini = gemini(&server);
    let said = gemini.probe().await.unwrap();
    assert_eq!(said, "key accepted, gemini-3.8-flash takes 1048576 tokens");
    let request = server.requests().remove(0);
    let recorded = fixture("req-10-models-get");
    assert_eq!(json!(request.method), recorded["method"]);
    assert_eq!(request.path, "/v1beta/models/gemini-3.8-flash");
    assert_eq!(request.headers["x-goog-api-key"], KEY);

    let embedder = json!({"name": "models/x", "supportedGenerationMethods": ["embedContent"]});
    for (reply, kind) in [
        (bad_key(), Fatal::Key),
        (first("resp-err-404"), Fatal::Model),
        (CannedReply::json(200, &embedder), Fatal::Model),
    ] {
        server.script("", [reply]);
        let failure = gemini.probe().await.unwrap_err();
        let right = matches!(&failure, Failure::Fatal { kind: is, .. } if *is == kind);
        assert!(right, "{failure:?}");
    }
    for page in [first("resp-html-200"), CannedReply::text("{}")] {
        server.script("", [page]);
        let failure = gemini.probe().await.unwrap_err();
        assert!(matches!(failure, Failure::NoAnswer { .. }), "{failure:?}");
    }
    assert_eq!(server.faults(), Vec::<String>::new());
}

/// Else the empty lists of faults above would prove nothing.
#[tokio::test]
async fn the_fake_server_is_as_strict_as_it_says() {
    let server = FakeGemini::start().await;
    let client = watchtower::base::http_client::plain()
        .no_proxy()
        .build()
        .unwrap();
    let url = format!("{}/v1beta/models/m:generateContent", server.base_url());
    let ask = async |query: &str, key: &str, change: fn(&mut Value)| {
        let mut body = fixture("req-19-proposed-responseSchema")["body"].clone();
        body["contents"][0]["parts"] = json!([{"text": "x"}]);
        change(&mut body);
        let request = client.post(format!("{url}{query}")).body(body.to_string());
        let response = request.header("x-goog-api-key", key).send().await.unwrap();
        (response.status().as_u16(), server.faults().len())
    };
    assert_eq!(ask("", KEY, |_| ()).await, (200, 0));
    assert_eq!(ask("", "", |_| ()).await, (403, 1));
    assert_eq!(ask(&format!("?key={KEY}"), KEY, |_| ()).await, (400, 3));
    assert_eq!(ask("", KEY, |body| body["foo"] = json!(1)).await, (400, 4));
    let (status, faults) = ask("", KEY, |body| {
        body["generationConfig"]["responseSchema"]["default"] = json!(1);
    })
    .await;
    assert_eq!((status, faults), (400, 5));
    let (status, faults) = ask("", KEY, |body| {
        let data = json!({"mimeType": "image/jpeg", "data": "AAAA"});
        body["contents"][0]["parts"] = json!([{"inlineData": data}]);
    })
    .await;
    assert_eq!((status, faults), (400, 6));
    assert_eq!(
        ask("", KEY, |body| body["store"] = json!(KEY)).await,
        (400, 8)
    );
    server.let_in_only("another");
    assert_eq!(ask("", KEY, |_| ()).await, (400, 8));
}

proptest! {
    /// Recorded responses, damaged: whatever they become, nothing panics.
    #[test]
    fn a_damaged_response_is_survived(
        at in any::<prop::sample::Index>(),
        cut in 0..40_usize,
        put in prop::collection::vec(any::<u8>(), 0..40),
        which in prop::sample::select(expectations().into_keys().collect::<Vec<_>>()),
    ) {
        for reply in fixture(which).as_array().into_iter().flatten() {
            let mut bytes = reply["body"].to_string().into_bytes();
            let from = at.index(bytes.len());
            let to = (from + cut).min(bytes.len());
            bytes.splice(from..to, put.clone());
            read_anything(&bytes);
        }
    }
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

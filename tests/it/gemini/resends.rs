//! Responses that call for another request: at once in another form, or later.

use std::time::Duration;

use serde_json::json;
use sha2::{Digest as _, Sha256};
use watchtower::analysts::{Governor, GovernorSettings};
use watchtower::codec::encode_jpeg;
use watchtower::domain::cost::AnswerOutcome;
use watchtower::models::gemini::{Gemini, GeminiSettings};
use watchtower::models::model::outcome;

use super::{
    Expected, assert_expected, first, frame, gemini, good, look_once, observe, question, settings,
};
use crate::common::gemini::{CannedReply, FakeGemini};

#[tokio::test]
async fn an_empty_and_a_malformed_response_are_retried_once() {
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
async fn a_response_out_of_tokens_is_retried_with_twice_as_many_and_all_are_billed() {
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
async fn requested_tokens_stay_within_the_models_limit() {
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
    // Gives up after a limited number.
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

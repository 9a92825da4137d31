//! Responses beyond the recorded ones: empty, invalid, endless, redirected, and
//! none at all.

use serde_json::json;
use watchtower::base::secret::Secret;
use watchtower::domain::cost::AnswerOutcome;
use watchtower::models::gemini::{Gemini, GeminiSettings};
use watchtower::models::model::{Failure, outcome};

use super::{Expected, KEY, assert_expected, look_once, observe, question};
use crate::common::gemini::{CannedReply, FakeGemini};

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

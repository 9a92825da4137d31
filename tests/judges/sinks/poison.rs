//! Poison events that a receiver rejects, and receivers that reject every event.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::sinks::fake::{CannedResponse, Fake, reply};
use crate::sinks::harness::{SinkHarness, numbered};

/// Users of the incidents, in the order of delivery.
fn users(fake: &Fake) -> Vec<String> {
    let user = |text: String| {
        let at = text.find("for user").unwrap() + "for ".len();
        text[at..].split(' ').next().unwrap().to_owned()
    };
    let mut users = fake.seen(|request| user(request.text()));
    users.dedup();
    users
}

async fn one_refused(status: u16) {
    let well = Arc::new(AtomicBool::new(false));
    let theirs = Arc::clone(&well);
    let hook = Fake::start(move |request| {
        let bad = request.text().contains("user1 ") && !theirs.load(Ordering::SeqCst);
        reply(if bad { status } else { 200 }, json!({}))
    })
    .await;
    let sink = format!("[sinks.hook]\nkind = 'webhook'\naddress = '{}'", hook.url());
    let harness = SinkHarness::with(&sink).await;
    for number in 0..4 {
        harness.finding(numbered(number)).await;
    }
    harness.caught_up("hook").await;
    let sink = harness.sink("hook");
    assert_eq!((sink.delivered, sink.dead), (3, 1), "{status}");
    let tries = hook.seen(|request| request.text().contains("user1 "));
    let tries = tries.iter().filter(|is_it| **is_it).count();
    assert!((3..=6).contains(&tries), "{status}: {tries} tries");
    let dead = harness.bus.dead("hook", None, 9).await.unwrap().items;
    assert!(dead[0].body.to_string().contains("user1 "));
    assert!(dead[0].why.contains(&status.to_string()), "{}", dead[0].why);
    // Fixed at the receiver, and redelivered.
    well.store(true, Ordering::SeqCst);
    harness.board.send_again("hook", dead[0].event);
    harness
        .until("it is taken", |harness| harness.sink("hook").dead == 0)
        .await;
    assert_eq!(harness.sink("hook").delivered, 4);
    assert_eq!(users(&hook).last().unwrap(), "user1");
}

#[tokio::test]
async fn one_event_that_is_refused_for_ever_holds_up_no_other() {
    tokio::join!(one_refused(500), one_refused(404), one_refused(400));
}

#[tokio::test]
async fn the_other_events_of_an_incident_are_delivered_in_their_order() {
    let hook = Fake::start(|request| {
        let bad = request.json()["status"] == "In Progress";
        reply(if bad { 400 } else { 200 }, json!({}))
    })
    .await;
    let sink = format!("[sinks.hook]\nkind = 'webhook'\naddress = '{}'", hook.url());
    let harness = SinkHarness::with(&sink).await;
    harness.incident_lifecycle().await;
    harness.caught_up("hook").await;
    let statuses = hook.seen(|request| request.json()["status"].as_str().unwrap().to_owned());
    let mut order: Vec<_> = statuses.iter().map(String::as_str).collect();
    order.dedup();
    assert_eq!(order, ["New", "In Progress", "Resolved", "New"]);
    let sink = harness.sink("hook");
    assert_eq!((sink.delivered, sink.dead), (4, 1));
}

/// Rejects everything while it fails, as if the events were invalid.
async fn ill(kind: &str, refusal: fn() -> CannedResponse, well: fn(&str) -> CannedResponse) {
    let is_well = Arc::new(AtomicBool::new(false));
    let theirs = Arc::clone(&is_well);
    let fake = Fake::start(move |request| match theirs.load(Ordering::SeqCst) {
        false => refusal(),
        true => well(&request.text()),
    })
    .await;
    let sink = format!(
        "[sinks.it]\nkind = '{kind}'\naddress = '{}'\nbatch = 1",
        fake.url()
    );
    let harness = SinkHarness::with(&sink).await;
    for number in 0..3 {
        harness.finding(numbered(number)).await;
    }
    harness
        .until("tries", |harness| harness.sink("it").failed >= 6)
        .await;
    let sink = harness.sink("it");
    assert_eq!((sink.delivered, sink.dead, sink.told), (0, 0, 0), "{kind}");
    assert!(sink.state.starts_with("retrying: HTTP 4"), "{}", sink.state);
    is_well.store(true, Ordering::SeqCst);
    harness.caught_up("it").await;
    let sink = harness.sink("it");
    assert_eq!((sink.delivered, sink.dead), (3, 0), "{kind}");
    assert_eq!(sink.state, "ok");
}

#[tokio::test]
async fn receiver_errors_are_retried_and_reported() {
    let key = || {
        reply(
            400,
            json!({ "status": "invalid event", "errors": ["routing_key"] }),
        )
    };
    let off = || reply(404, json!({ "message": "Unknown Webhook" }));
    let full = || {
        let why = json!({ "type": "validation_exception", "reason": "maximum normal shards open" });
        let item = json!({ "create": { "status": 400, "error": why } });
        reply(200, json!({ "errors": true, "items": [item] }))
    };
    let created = |_: &str| {
        let item = json!({ "create": { "status": 201 } });
        reply(200, json!({ "errors": false, "items": [item] }))
    };
    tokio::join!(
        ill("pagerduty", key, |_| reply(202, json!({}))),
        ill("webhook", off, |_| reply(200, json!({}))),
        ill("elasticsearch", full, created),
    );
}

#[tokio::test]
async fn a_success_with_an_empty_body_counts() {
    let json = |body: &Value| reply(200, body.clone());
    let cases: [(&str, CannedResponse); 7] = [
        ("otlp", json(&json!({ "partialSuccess": {} }))),
        (
            "otlp",
            json(&json!({ "partialSuccess": { "rejectedLogRecords": "0" } })),
        ),
        ("otlp", (200, vec![], b"ok".to_vec())),
        ("splunk_hec", (200, vec![], vec![])),
        ("splunk_hec", json(&json!({ "text": "Success" }))),
        (
            "elasticsearch",
            json(&json!({ "took": 1, "errors": false })),
        ),
        ("elasticsearch", (200, vec![], vec![])),
    ];
    for (kind, answer) in cases {
        let text = String::from_utf8_lossy(&answer.2).into_owned();
        let fake = Fake::start(move |_| answer.clone()).await;
        let sink = format!("[sinks.it]\nkind = '{kind}'\naddress = '{}'", fake.url());
        let harness = SinkHarness::with(&sink).await;
        harness.finding(numbered(0)).await;
        harness.caught_up("it").await;
        let sink = harness.sink("it");
        assert_eq!(
            (sink.delivered, sink.failed, sink.dead),
            (1, 0, 0),
            "{kind} {text}"
        );
    }
}

#[tokio::test]
async fn a_sink_that_was_off_delivers_no_event_of_that_time() {
    let hook = Fake::start(|_| reply(200, json!({}))).await;
    let on = format!("[sinks.hook]\nkind = 'webhook'\naddress = '{}'", hook.url());
    let mut harness = SinkHarness::with(&on).await;
    harness.finding(numbered(0)).await;
    harness.caught_up("hook").await;
    harness.stop().await;
    // The server was down: events during its start are delivered.
    harness.finding(numbered(1)).await;
    harness.start(&on).await;
    harness.caught_up("hook").await;
    harness.stop().await;
    // The sink was disabled.
    harness.start("[sinks.hook]\nkind = 'webhook'").await;
    harness.finding(numbered(2)).await;
    harness.stop().await;
    harness.start(&on).await;
    harness.finding(numbered(3)).await;
    harness.caught_up("hook").await;
    assert_eq!(users(&hook), ["user0", "user1", "user3"]);
}

//! Splunk's event collector and Elasticsearch's `_bulk`, by their
//! documentation.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::sinks::fake::{
    CannedResponse, CapturedDelivery, Fake, redirect, reply, rubbish, throttled,
};
use crate::sinks::harness::{SinkHarness, TOKEN, numbered};

/// Fake collector: events in the order of arrival.
async fn splunk(events: Arc<Mutex<Vec<Value>>>) -> Fake {
    Fake::start(move |request| hec(request, &events)).await
}

fn hec(request: &CapturedDelivery, events: &Mutex<Vec<Value>>) -> CannedResponse {
    if request.header("authorization") != format!("Splunk {TOKEN}") {
        return reply(403, json!({ "text": "Invalid token", "code": 4 }));
    }
    let channel = request.header("x-splunk-request-channel").to_owned();
    if request.path.starts_with("/services/collector/ack?channel=") {
        assert!(request.path.ends_with(&channel) && channel.len() == 36);
        // The first acknowledgement request comes too early.
        static ACK_REQUESTS: Mutex<u64> = Mutex::new(0);
        let mut requests = ACK_REQUESTS.lock().unwrap();
        *requests += 1;
        let id = request.json()["acks"][0].to_string();
        return reply(200, json!({ "acks": { id: *requests > 1 } }));
    }
    assert_eq!(request.path, "/services/collector/event");
    let stream = serde_json::Deserializer::from_slice(&request.body).into_iter::<Value>();
    let mut batch = Vec::new();
    for (number, event) in stream.enumerate() {
        let event = event.unwrap();
        let known = [
            "time",
            "source",
            "sourcetype",
            "event",
            "fields",
            "index",
            "host",
        ];
        assert!(
            event
                .as_object()
                .unwrap()
                .keys()
                .all(|key| known.contains(&key.as_str()))
        );
        assert!(event["time"].is_f64() && event["event"].is_object());
        // Indexed fields are flat.
        assert!(
            event["fields"]
                .as_object()
                .unwrap()
                .values()
                .all(Value::is_string)
        );
        if event.to_string().contains("user13 ") {
            return reply(
                400,
                json!({ "text": "Invalid data format", "code": 6, "invalid-event-number": number }),
            );
        }
        batch.push(event);
    }
    events.lock().unwrap().extend(batch);
    reply(200, json!({ "text": "Success", "code": 0, "ackId": 7 }))
}

fn ids(events: &[Value]) -> HashSet<String> {
    let ids = events
        .iter()
        .map(|event| event["fields"]["event_id"].as_str().unwrap().to_owned());
    ids.collect()
}

#[tokio::test]
async fn splunk_gets_all_events_but_permanently_rejected_ones() {
    let events = Arc::new(Mutex::new(Vec::new()));
    let splunk = splunk(Arc::clone(&events)).await;
    splunk.faults([throttled(503), redirect("http://127.0.0.1:1/"), rubbish()]);
    let harness = SinkHarness::with(&format!(
        "[sinks.siem]\nkind = 'splunk_hec'\naddress = '{}'\nindex = 'soc'\nbatch = 16\n[sinks.siem.fields]\nenv = 'prod'",
        splunk.url()
    ))
    .await;
    for number in 0..60 {
        harness.finding(numbered(number)).await;
    }
    harness.caught_up("siem").await;
    let events = events.lock().unwrap().clone();
    assert_eq!(ids(&events).len(), 59);
    assert!(
        events
            .iter()
            .all(|event| event["fields"]["env"] == "prod" && event["index"] == "soc")
    );
    let sink = harness.sink("siem");
    assert_eq!((sink.dead, sink.delivered), (1, 59));
    assert!(sink.failed >= 3);
    let dead = harness.bus.dead("siem", None, 10).await.unwrap().items;
    assert_eq!(dead.len(), 1);
    assert!(
        dead[0].why.contains("Invalid data format"),
        "{}",
        dead[0].why
    );
    assert!(dead[0].body.to_string().contains("user13 "));
    assert!(
        !crate::common::log::text().contains(TOKEN),
        "the token is in the log"
    );
}

#[tokio::test]
async fn splunk_is_polled_for_acknowledgements() {
    let events = Arc::new(Mutex::new(Vec::new()));
    let splunk = splunk(Arc::clone(&events)).await;
    let harness = SinkHarness::with(&format!(
        "[sinks.siem]\nkind = 'splunk_hec'\naddress = '{}'\nacknowledge = true",
        splunk.url()
    ))
    .await;
    harness.finding(numbered(1)).await;
    harness.caught_up("siem").await;
    assert_eq!(
        splunk
            .seen(|request| request.path.contains("/ack?"))
            .iter()
            .filter(|ack| **ack)
            .count(),
        2
    );
}

#[tokio::test]
async fn an_acknowledgement_that_takes_longer_than_an_attempt_is_awaited() {
    // Batches as sent, including repeats: content and time.
    let batches: Arc<Mutex<Vec<(String, Instant)>>> = Arc::default();
    let theirs = Arc::clone(&batches);
    let splunk = Fake::start(move |request| {
        let mut batches = theirs.lock().unwrap();
        if !request.path.contains("/ack?") {
            batches.push((request.text(), Instant::now()));
            return reply(200, json!({ "code": 0, "ackId": batches.len() - 1 }));
        }
        // The first is never acknowledged, the others after the time of five
        // attempts.
        let pending = request.json()["acks"].as_array().unwrap().clone();
        let known = pending.iter().map(|id| {
            let since = batches[id.as_u64().unwrap() as usize].1;
            let has = *id != 0 && since.elapsed() > Duration::from_secs(1);
            (id.to_string(), Value::from(has))
        });
        reply(
            200,
            json!({ "acks": known.collect::<serde_json::Map<_, _>>() }),
        )
    })
    .await;
    let harness = SinkHarness::with(&format!(
        "[sinks.siem]\nkind = 'splunk_hec'\naddress = '{}'\nacknowledge = true\ntimeout = '200ms'\nbatch = 1",
        splunk.url()
    ))
    .await;
    harness.finding(numbered(0)).await;
    harness
        .until("it says so", |harness| {
            harness
                .sink("siem")
                .state
                .starts_with("waiting: events not acknowledged")
        })
        .await;
    harness.finding(numbered(1)).await;
    harness
        .until("the second", |harness| harness.sink("siem").delivered == 1)
        .await;
    assert_eq!(harness.sink("siem").told, 0, "the first is not");
    harness.caught_up("siem").await;
    let batches = batches.lock().unwrap();
    let users: Vec<_> = batches
        .iter()
        .map(|(text, _)| text.contains("user0 "))
        .collect();
    assert_eq!(users, [true, false, true], "sent again once");
    let long = batches[2].1.duration_since(batches[0].1);
    assert!(long >= Duration::from_secs(4), "{long:?}");
    let sink = harness.sink("siem");
    assert_eq!((sink.delivered, sink.dead, sink.failed), (2, 0, 1));
}

/// Fake data stream: documents by their id.
fn bulk(
    request: &CapturedDelivery,
    documents: &Mutex<BTreeMap<String, Value>>,
    turn: &Mutex<u32>,
) -> CannedResponse {
    assert_eq!(request.path, "/_bulk");
    assert_eq!(request.header("content-type"), "application/x-ndjson");
    assert_eq!(request.header("authorization"), format!("ApiKey {TOKEN}"));
    let text = request.text();
    assert!(text.ends_with('\n'), "a bulk body ends with a newline");
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let mut turn = turn.lock().unwrap();
    *turn += 1;
    let mut items = Vec::new();
    for pair in lines.chunks(2) {
        let action = &pair[0]["create"];
        let id = action["_id"].as_str().unwrap().to_owned();
        assert_eq!(action["_index"], "logs-watchtower.incident-default");
        assert!(
            pair[1]["@timestamp"].is_string(),
            "a data stream demands @timestamp"
        );
        let mut documents = documents.lock().unwrap();
        let answer = if pair[1].to_string().contains("user13 ") {
            json!({ "status": 400, "error": { "type": "document_parsing_exception", "reason": "failed to parse" } })
        } else if *turn == 1 && items.len() % 3 == 1 {
            json!({ "status": 429, "error": { "type": "es_rejected_execution_exception", "reason": "queue full" } })
        } else if documents.insert(id, pair[1].clone()).is_some() {
            json!({ "status": 409, "error": { "type": "version_conflict_engine_exception", "reason": "exists" } })
        } else {
            json!({ "status": 201, "result": "created" })
        };
        items.push(json!({ "create": answer }));
    }
    let errors = items.iter().any(|item| item["create"]["status"] != 201);
    reply(200, json!({ "took": 3, "errors": errors, "items": items }))
}

#[tokio::test]
async fn elasticsearch_results_count_item_by_item() {
    let documents = Arc::new(Mutex::new(BTreeMap::new()));
    let turn = Mutex::new(0);
    let theirs = Arc::clone(&documents);
    let elastic = Fake::start(move |request| bulk(request, &theirs, &turn)).await;
    elastic.faults([throttled(429), rubbish()]);
    let harness = SinkHarness::with(&format!(
        "[sinks.es]\nkind = 'elasticsearch'\naddress = '{}'\nbatch = 20",
        elastic.url()
    ))
    .await;
    for number in 0..50 {
        harness.finding(numbered(number)).await;
    }
    harness.caught_up("es").await;
    assert_eq!(documents.lock().unwrap().len(), 49);
    let sink = harness.sink("es");
    assert_eq!((sink.dead, sink.delivered), (1, 49));
    let dead = harness.bus.dead("es", None, 10).await.unwrap().items;
    assert!(
        dead[0]
            .why
            .contains("document_parsing_exception: failed to parse")
    );
}

//! Lifecycle of an incident at every destination with states: events in a SIEM,
//! notifications elsewhere.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::sinks::chat::pagerduty;
use crate::sinks::fake::{Fake, reply};
use crate::sinks::harness::SinkHarness;

#[tokio::test]
async fn new_worse_acknowledged_closed_reopened() {
    let states: Arc<Mutex<Vec<(&'static str, String)>>> = Arc::default();
    let note = |states: &Mutex<Vec<(&'static str, String)>>, name, event: &Value| {
        let what = format!(
            "{} {} {}",
            event["activity_name"].as_str().unwrap(),
            event["status"].as_str().unwrap(),
            event["severity"].as_str().unwrap()
        );
        states.lock().unwrap().push((name, what));
    };
    let seen = Arc::clone(&states);
    let splunk = Fake::start(move |request| {
        for event in serde_json::Deserializer::from_slice(&request.body).into_iter::<Value>() {
            note(&seen, "splunk", &event.unwrap()["event"]);
        }
        reply(200, json!({ "code": 0 }))
    })
    .await;
    let seen = Arc::clone(&states);
    let elastic = Fake::start(move |request| {
        let text = request.text();
        let documents = text.lines().skip(1).step_by(2);
        let items: Vec<_> = documents
            .map(|document| {
                note(&seen, "elastic", &serde_json::from_str(document).unwrap());
                json!({ "create": { "status": 201 } })
            })
            .collect();
        reply(200, json!({ "errors": false, "items": items }))
    })
    .await;
    let seen = Arc::clone(&states);
    let hook = Fake::start(move |request| {
        note(&seen, "webhook", &request.json());
        reply(200, json!({}))
    })
    .await;
    let alerts = Arc::new(Mutex::new(Vec::new()));
    let theirs = Arc::clone(&alerts);
    let pager = Fake::start(move |request| pagerduty(request, &theirs)).await;
    let harness = SinkHarness::with(&format!(
        "[sinks.splunk]\nkind = 'splunk_hec'\naddress = '{}'\n[sinks.elastic]\nkind = 'elasticsearch'\nformat = 'ocsf'\naddress = '{}'\n\
         [sinks.webhook]\nkind = 'webhook'\naddress = '{}'\n[sinks.pager]\nkind = 'pagerduty'\naddress = '{}'",
        splunk.url(), elastic.url(), hook.url(), pager.url()
    ))
    .await;
    harness.incident_lifecycle().await;
    for name in ["splunk", "elastic", "webhook", "pager"] {
        harness.caught_up(name).await;
        if name == "pager" {
            let actions: Vec<_> = alerts
                .lock()
                .unwrap()
                .iter()
                .map(|alert| alert.0.clone())
                .collect();
            assert_eq!(
                actions,
                ["trigger", "trigger", "acknowledge", "resolve", "trigger"]
            );
            continue;
        }
        let states = states.lock().unwrap();
        let own: Vec<_> = states
            .iter()
            .filter(|(sink, _)| *sink == name)
            .map(|(_, what)| what.as_str())
            .collect();
        assert_eq!(
            own,
            [
                "Create New Medium",
                "Update New High",
                "Update In Progress High",
                "Close Resolved High",
                "Update New Critical"
            ],
            "{name}"
        );
    }
}

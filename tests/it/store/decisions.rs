//! Decisions on incidents over HTTP: conflicts, and reopening.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use watchtower::domain::finding::Severity;

use super::harness::{FindingFixture, StoreHarness};

#[tokio::test]
async fn two_who_close_at_once_do_not_overwrite_each_other() {
    let (harness, id) = StoreHarness::with_incident().await;
    let response = harness.get(&format!("/api/incidents/{id}")).await;
    let tag = response.headers()["etag"].to_str().unwrap().to_owned();
    let close = |user: &str| {
        let body = json!({"status": "closed", "by": user, "why": format!("{user} says so")});
        harness
            .request(Method::POST, &format!("/api/incidents/{id}/status"))
            .header("if-match", &tag)
            .json(&body)
            .send()
    };
    let (ada, bob) = tokio::join!(close("Ada"), close("Bob"));
    let (ada, bob) = (ada.unwrap(), bob.unwrap());
    let mut statuses = [ada.status(), bob.status()];
    statuses.sort();
    assert_eq!(statuses, [StatusCode::OK, StatusCode::CONFLICT]);
    let loser = if ada.status() == StatusCode::CONFLICT {
        ada
    } else {
        bob
    };
    assert_eq!(loser.headers()["content-type"], "application/problem+json");
    let problem: Value = loser.json().await.unwrap();
    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .contains("already closed by"),
        "{problem}"
    );
    // Based on an outdated state.
    let (status, problem) = harness
        .set_status(
            &id,
            json!({"status": "acknowledged", "by": "Eve", "version": 1}),
        )
        .await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(
        problem["detail"].as_str().unwrap().contains("version 2"),
        "{problem}"
    );
    // Reloaded.
    let (status, change) = harness
        .set_status(
            &id,
            json!({"status": "acknowledged", "by": "Eve", "version": 2}),
        )
        .await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(change["incident"]["status"], "acknowledged");
    let shown = harness.json(&format!("/api/incidents/{id}")).await;
    let history: Vec<_> = shown["decisions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|decision| decision["status"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(history, ["closed", "acknowledged"]);
}

#[tokio::test]
async fn a_decision_passes_if_any_strong_tag_names_the_incident() {
    let (harness, id) = StoreHarness::with_incident().await;
    let decide = async |status: &str, tags: &[&str]| {
        let body = json!({"status": status, "by": "Ada", "why": "seen"});
        let path = format!("/api/incidents/{id}/status");
        let request = harness.request(Method::POST, &path).json(&body);
        let request = tags
            .iter()
            .fold(request, |request, tag| request.header("if-match", *tag));
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(decide("closed", &["W/\"1\""]).await, 409);
    assert_eq!(decide("closed", &["\"8\", W/\"1\"", "\"9-ab\""]).await, 409);
    assert_eq!(decide("closed", &["\"else\""]).await, 409);
    for malformed in ["1-ab", "\"1", "*, \"1\""] {
        assert_eq!(decide("closed", &[malformed]).await, 400, "{malformed}");
    }
    assert_eq!(decide("closed", &["\"9\"", "W/\"8\", \"1-ab\""]).await, 200);
    assert_eq!(decide("acknowledged", &["*"]).await, 200);
    assert_eq!(decide("new", &["\"3\""]).await, 200);
    assert_eq!(decide("acknowledged", &["4"]).await, 200);
}

#[tokio::test]
async fn what_is_closed_stays_so_until_it_returns() {
    let (harness, id) = StoreHarness::with_incident().await;
    let close = json!({"status": "closed", "by": "Ada", "why": "blocked the address"});
    harness.set_status(&id, close.clone()).await;
    let status = async || harness.json(&format!("/api/incidents/{id}")).await["status"].clone();
    // It is still on the screen for a while.
    harness
        .bus
        .publish(FindingFixture::default().later(10).finding())
        .await
        .unwrap();
    harness
        .bus
        .publish(FindingFixture::default().later(35).finding())
        .await
        .unwrap();
    assert_eq!(status().await, "closed");
    harness
        .bus
        .publish(FindingFixture::default().later(65).finding())
        .await
        .unwrap();
    assert_eq!(status().await, "new");
    let shown = harness.json(&format!("/api/incidents/{id}")).await;
    let last = shown["decisions"]
        .as_array()
        .unwrap()
        .last()
        .unwrap()
        .clone();
    assert_eq!(last["by"], "watchtower");
    assert!(last["why"].as_str().unwrap().contains("30 min"), "{last}");
    // A higher severity is reason enough.
    harness.set_status(&id, close).await;
    let worse = FindingFixture {
        severity: Severity::Critical,
        ..FindingFixture::default()
    };
    harness
        .bus
        .publish(worse.later(66).finding())
        .await
        .unwrap();
    assert_eq!(status().await, "new");
    assert_eq!(
        harness.json("/api/incidents").await["items"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let log = std::fs::read_to_string(harness.dir.path().join("logs/secops.log")).unwrap();
    assert!(log.contains("reopened"), "{log}");
}

//! Suppressions by false positives: their scope and duration.

use reqwest::{Method, StatusCode};
use serde_json::json;
use watchtower::base::stream_name::StreamName;
use watchtower::domain::finding::Severity;

use super::harness::{FindingFixture, StoreHarness};

#[tokio::test]
async fn a_false_positive_suppresses_similar_findings_until_removed() {
    let (harness, id) = StoreHarness::with_incident().await;
    let body = json!({
        "status": "closed", "by": "Ada", "why": "our own scanner", "false_positive": true,
    });
    assert_eq!(harness.set_status(&id, body).await.0, StatusCode::OK);
    // Hours later, in other words, on another stream.
    let again = FindingFixture {
        agent: "Architect",
        title: "No lockout",
        ..FindingFixture::default()
    };
    harness
        .bus
        .publish(again.later(600).finding())
        .await
        .unwrap();
    let mut elsewhere = again.later(601).finding();
    elsewhere.stream = StreamName::new("other").unwrap();
    harness.bus.publish(elsewhere).await.unwrap();
    assert_eq!(harness.titles("/api/incidents?status=new").await, [""; 0]);
    // Another address, and a higher severity from the same one, are reported.
    let other = FindingFixture {
        quotes: &["Failed password for admin from 198.51.100.9"],
        ..again.clone()
    };
    harness
        .bus
        .publish(other.later(602).finding())
        .await
        .unwrap();
    assert_eq!(
        harness.titles("/api/incidents?status=new").await,
        ["No lockout"]
    );
    let log = std::fs::read_to_string(harness.dir.path().join("logs/architect.log")).unwrap();
    assert_eq!(
        log.lines().filter(|line| line.starts_with("20")).count(),
        1,
        "{log}"
    );
    let lessons = harness.json("/api/suppressions").await;
    let lesson = &lessons["items"][0];
    assert_eq!(lesson["by"], "Ada");
    assert_eq!(lesson["why"], "our own scanner");
    assert_eq!(lesson["quieted"], 2);
    let covers = lesson["covers"].as_str().unwrap();
    assert!(
        covers.contains("brute force") && covers.contains("203.0.113.45"),
        "{covers}"
    );
    let path = format!(
        "/api/suppressions/{}?by=Bob",
        lesson["id"].as_str().unwrap()
    );
    let removed = harness.request(Method::DELETE, &path).send().await.unwrap();
    assert_eq!(removed.status(), StatusCode::NO_CONTENT);
    let taught = lesson["incident"].as_str().unwrap();
    let taught = harness.json(&format!("/api/incidents/{taught}")).await;
    let noted = taught["notes"].as_array().unwrap().last().unwrap();
    assert_eq!(noted["by"], "Bob");
    assert!(noted["text"].as_str().unwrap().contains("our own scanner"));
    let removed = harness.request(Method::DELETE, &path).send().await.unwrap();
    assert_eq!(removed.status(), StatusCode::NOT_FOUND);
    harness
        .bus
        .publish(again.later(603).finding())
        .await
        .unwrap();
    assert_eq!(
        harness.json(&format!("/api/incidents/{id}")).await["status"],
        "new"
    );
}

#[tokio::test]
async fn something_worse_than_the_suppressed_is_reported() {
    let (harness, id) = StoreHarness::with_incident().await;
    let body = json!({
        "status": "closed", "by": "Ada", "why": "our own scanner", "false_positive": true,
    });
    harness.set_status(&id, body).await;
    let worse = FindingFixture {
        severity: Severity::Critical,
        ..FindingFixture::default()
    };
    harness.bus.publish(worse.later(1).finding()).await.unwrap();
    assert_eq!(
        harness.json(&format!("/api/incidents/{id}")).await["status"],
        "new"
    );
    // Reopening the incident withdraws the false positive.
    harness
        .set_status(&id, json!({"status": "acknowledged", "by": "Bob"}))
        .await;
    assert_eq!(harness.json("/api/suppressions").await["items"], json!([]));
    // The old path redirects, whatever the method and the query.
    for (method, path) in [
        (Method::GET, "/api/lessons"),
        (
            Method::DELETE,
            "/api/lessons/019ab2c4-7f3e-7c1d-8a5b-2f6d9e0c4b71?by=Bob",
        ),
    ] {
        let moved = harness.unfollowed(method, path).await;
        assert_eq!(moved.status(), 308);
        let there = path.replace("lessons", "suppressions");
        assert_eq!(moved.headers()["location"], there);
    }
}

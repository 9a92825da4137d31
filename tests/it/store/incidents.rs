//! Incidents over HTTP: lists and their pages, findings and evidence of an
//! incident, and previews of the screen.

use std::sync::Arc;

use bytes::Bytes;
use reqwest::StatusCode;
use serde_json::json;
use watchtower::base::stream_name::StreamName;
use watchtower::domain::finding::Severity;
use watchtower::media::MediaTime;
use watchtower::screen::frame::SensitiveText;
use watchtower::screen::picture::{Picture, Rect};

use super::harness::{FindingFixture, StoreHarness, id_of};

#[tokio::test]
async fn lists_filter_sort_and_page() {
    let harness = StoreHarness::new().await;
    for n in 0..7 {
        let line = format!("Failed password for admin from 198.51.100.{n}");
        let title = format!("burst {n}");
        let report = FindingFixture {
            agent: ["SecOps", "DevOps"][n % 2],
            severity: Severity::ALL[n % 3],
            title: &title,
            quotes: &[&line],
            ..FindingFixture::default()
        };
        for _ in 0..=n {
            harness
                .bus
                .publish(report.later(n as i64).finding())
                .await
                .unwrap();
        }
    }
    let all = harness.json("/api/incidents").await;
    let keys: Vec<_> = all["items"][0]
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect();
    let mut contract = vec![
        "id",
        "stream",
        "title",
        "category",
        "severity",
        "status",
        "count",
        "agents",
        "first_seen",
        "last_seen",
        "entities",
        "grounded",
        "opinions",
        "verdict",
        "settled_severity",
        "owner",
        "snoozed_until",
    ];
    contract.sort_unstable();
    let mut sorted = keys.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, contract);
    for (query, expected) in [
        ("", &["6", "5", "4", "3", "2", "1", "0"][..]),
        ("sort=count", &["6", "5", "4", "3", "2", "1", "0"]),
        ("sort=severity", &["6", "3", "0", "4", "1", "5", "2"]),
        ("severity=high", &["6", "4", "3", "1", "0"]),
        ("agent=devops", &["5", "3", "1"]),
        ("agent=dev", &[]),
        ("stream=elsewhere", &[]),
        (
            "category=intrusion,anomaly&status=new&since=2026-11-23T09:05:00Z",
            &["6", "5"],
        ),
        ("status=closed", &[]),
    ] {
        let titles = harness.titles(&format!("/api/incidents?{query}")).await;
        let expected: Vec<_> = expected.iter().map(|n| format!("burst {n}")).collect();
        assert_eq!(titles, expected, "{query}");
    }
    for sort in ["last_seen", "first_seen", "severity", "count"] {
        let whole = harness.titles(&format!("/api/incidents?sort={sort}")).await;
        let mut paged = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = format!("/api/incidents?sort={sort}&limit=3{cursor}");
            paged.extend(harness.titles(&page).await);
            match harness.json(&page).await["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(paged, whole, "{sort}");
    }
    let newest = id_of(&all, 0);
    let findings = harness
        .json(&format!("/api/findings?incident={newest}&limit=5"))
        .await;
    assert_eq!(findings["items"].as_array().unwrap().len(), 5);
    let rest = findings["next"].as_str().unwrap();
    let rest = harness
        .json(&format!("/api/findings?incident={newest}&cursor={rest}"))
        .await;
    assert_eq!(rest["items"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_preview_shows_no_picture_without_ocr() {
    let harness = StoreHarness::new().await;
    let stream = StreamName::new("team").unwrap();
    let mut publisher = harness
        .frames
        .open(&stream, |picture| Ok(Bytes::from(picture.y.clone())));
    let picture = Picture {
        width: 4,
        height: 2,
        y: b"AKIAKEY!".to_vec(),
        u: vec![128; 2],
        v: vec![128; 2],
    };
    let frame = publisher.publish(picture, MediaTime(0), jiff::Timestamp::now());
    let latest = "/api/frames/team/latest.jpg";
    // Redaction is on, but there is no OCR.
    let unread = harness.get(latest).await;
    assert_eq!(unread.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(!unread.text().await.unwrap().contains("AKIAKEY"));
    let rect = Rect {
        x: 0,
        y: 0,
        width: 4,
        height: 1,
    };
    let secret = SensitiveText {
        line: 0,
        range: 0..0,
        rect,
        kind: "AWS access key".to_owned(),
        personal: false,
    };
    harness.frames.expect_reading();
    let read = frame.read(Arc::from([]), Arc::from([secret]));
    harness.frames.publish_read(Arc::new(read));
    let shown = harness.get(latest).await;
    assert_eq!(shown.status(), StatusCode::OK);
    assert_eq!(shown.bytes().await.unwrap(), b"\0\0\0\0KEY!"[..]);
}

#[tokio::test]
async fn an_incident_shows_its_findings_evidence_and_history() {
    let harness = StoreHarness::new().await;
    harness
        .bus
        .publish(FindingFixture::default().with_still(b"the first"))
        .await
        .unwrap();
    harness
        .bus
        .publish(FindingFixture::default().later(1).with_still(b"a repeat"))
        .await
        .unwrap();
    let worse = FindingFixture {
        severity: Severity::Critical,
        title: "They are in",
        ..FindingFixture::default()
    };
    harness
        .bus
        .publish(worse.later(2).with_still(b"the worst"))
        .await
        .unwrap();
    harness
        .bus
        .publish(worse.later(3).with_still(b"more of it"))
        .await
        .unwrap();
    let id = id_of(&harness.json("/api/incidents").await, 0);
    let incident = harness.json(&format!("/api/incidents/{id}")).await;
    assert_eq!(incident["count"], 4);
    assert_eq!(incident["severity"], "critical");
    assert_eq!(incident["title"], "They are in");
    assert_eq!(incident["grounded"], true);
    assert_eq!(incident["findings"]["items"].as_array().unwrap().len(), 4);
    assert_eq!(incident["best_evidence"]["quote"], super::harness::FAILED);
    let entities = incident["entities"].as_array().unwrap();
    assert!(
        entities.contains(&json!({"kind": "ip", "value": "203.0.113.45"})),
        "{entities:?}"
    );
    let stills = incident["stills"].as_array().unwrap();
    let moments: Vec<_> = stills.iter().map(|still| still["moment"].clone()).collect();
    assert_eq!(moments, ["first", "worst"]);
    let severities: Vec<_> = stills
        .iter()
        .map(|still| still["severity"].clone())
        .collect();
    assert_eq!(severities, ["high", "critical"]);
    assert_eq!(
        stills[1]["evidence"][0]["quote"],
        incident["findings"]["items"][1]["evidence"][0]["quote"]
    );
    for (still, expected) in stills.iter().zip(["the first", "the worst"]) {
        let response = harness.get(still["url"].as_str().unwrap()).await;
        assert_eq!(response.headers()["content-type"], "image/jpeg");
        assert_eq!(response.text().await.unwrap(), expected);
    }
    let files = std::fs::read_dir(harness.dir.path().join("data/evidence")).unwrap();
    assert_eq!(files.count(), 2);
    let nothing = format!("/api/evidence/{}.jpg", "0".repeat(64));
    for page in [
        &nothing,
        "/api/evidence/../watchtower.db",
        "/api/evidence/%2e%2e%2flock.jpg",
        "/api/evidence/x",
    ] {
        assert_eq!(
            harness.get(page).await.status(),
            StatusCode::NOT_FOUND,
            "{page}"
        );
    }
}

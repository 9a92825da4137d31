//! Severities as settled by the panel, in lists and counts.

use jiff::Timestamp;
use serde_json::{Value, json};
use watchtower::domain::finding::{Finding, Severity};
use watchtower::domain::incident::{Exchange, PanelVerdict};
use watchtower::record::settings::StoreSettings;
use watchtower::record::store::PanelExchange;

use super::harness::{FindingFixture, SHELL, StoreHarness};

/// Verdict of the panel on the incident of a finding.
fn verdict(of: &Finding, severity: Severity) -> PanelExchange {
    let verdict = PanelVerdict {
        by: "Evidence reviewer".to_owned(),
        reported: Some(of.severity),
        severity,
        confidence: 0.9,
        text: String::new(),
        dissent: Vec::new(),
        at: Timestamp::UNIX_EPOCH,
        model: of.model.clone(),
    };
    PanelExchange {
        incident: of.incident.unwrap(),
        exchange: Exchange {
            opinions: Vec::new(),
            verdict: Some(verdict),
            transcripts: Vec::new(),
        },
    }
}

/// Titles over the pages of a list, one item a page.
async fn paged(harness: &StoreHarness, query: &str) -> Vec<String> {
    let mut titles = Vec::new();
    let mut cursor = String::new();
    loop {
        let path = format!("/api/incidents?{query}&limit=1{cursor}");
        let page = harness.json(&path).await;
        titles.extend(page["items"][0]["title"].as_str().map(str::to_owned));
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return titles,
        }
    }
}

#[tokio::test]
async fn lists_and_counts_follow_the_verdict_until_a_worse_finding() {
    let harness = StoreHarness::new().await;
    let shell = harness.bus.publish(SHELL.finding()).await.unwrap();
    let logins = FindingFixture::default();
    let logins = harness.bus.publish(logins.finding()).await.unwrap();
    harness
        .bus
        .write(verdict(&shell, Severity::Low))
        .await
        .unwrap();

    // Kept over a restart.
    let harness = harness.restarted(StoreSettings::default()).await;
    let (down, up) = (shell.title.as_str(), logins.title.as_str());
    for (query, expected) in [
        ("sort=settled_severity", &[up, down][..]),
        ("sort=severity", &[down, up]),
        ("settled_severity=high", &[up]),
        ("settled_severity=low&sort=settled_severity", &[up, down]),
        ("severity=critical", &[down]),
        ("settled_severity=critical", &[]),
    ] {
        let path = format!("/api/incidents?{query}");
        assert_eq!(harness.titles(&path).await, expected, "{query}");
        assert_eq!(paged(&harness, query).await, expected, "{query}, paged");
    }
    let both = |shown: &Value| json!([shown["severity"], shown["settled_severity"]]);
    let path = format!("/api/incidents/{}", shell.incident.unwrap());
    let shown = harness.json(&path).await;
    assert_eq!(both(&shown), json!(["critical", "low"]));
    let counts = async || {
        let counts = harness.json("/api/incidents/counts").await;
        json!([counts["critical"], counts["high"], counts["low"]])
    };
    assert_eq!(counts().await, json!([0, 1, 1]));

    // A worse finding than the one that was judged.
    let verdict = verdict(&logins, Severity::Info);
    harness.bus.write(verdict.clone()).await.unwrap();
    assert_eq!(counts().await, json!([0, 0, 1]));
    let worse = FindingFixture {
        severity: Severity::Critical,
        title: "They are in",
        ..FindingFixture::default()
    };
    harness.bus.publish(worse.finding()).await.unwrap();
    assert_eq!(counts().await, json!([1, 0, 1]));
    // A verdict that was late.
    harness.bus.write(verdict).await.unwrap();
    let path = format!("/api/incidents/{}", logins.incident.unwrap());
    let shown = harness.json(&path).await;
    assert_eq!(both(&shown), json!(["critical", null]));
    let list = "/api/incidents?sort=settled_severity";
    assert_eq!(harness.titles(list).await, ["They are in", down]);
}

//! Handovers with their sign-off, and precision by users' decisions.

use std::collections::HashSet;

use jiff::{SignedDuration, Timestamp};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use watchtower::domain::finding::{Category, Finding, ModelRef, Severity};
use watchtower::domain::transcript::Cost;
use watchtower::record::settings::StoreSettings;
use watchtower::record::store::{AgentSpend, ConfigurationChange, Publication};

use super::harness::{FindingFixture, SHELL, StoreHarness};

async fn post(harness: &StoreHarness, path: &str, body: Value) -> (StatusCode, Value) {
    let request = harness.request(Method::POST, path).json(&body);
    let response = request.send().await.unwrap();
    (response.status(), response.json().await.unwrap())
}

async fn list(harness: &StoreHarness) -> Value {
    harness.json("/api/handovers").await["items"].clone()
}

#[tokio::test]
async fn shift_is_handed_over_and_taken_over_once() {
    let harness = StoreHarness::new().await;
    let until = Timestamp::now();
    let since = until - SignedDuration::from_hours(8);
    let message = "  Watch <b>web-01</b>\nand db01 ";
    let body = json!({"by": "Ann", "since": since, "until": until, "message": message});
    let (status, made) = post(&harness, "/api/handovers", body).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    assert_eq!(
        (&made["by"], &made["message"], &made["taken_by"]),
        (
            &json!("Ann"),
            &json!("Watch <b>web-01</b>\nand db01"),
            &Value::Null
        )
    );
    assert_eq!(list(&harness).await, json!([made]));

    let path = format!("/api/handovers/{}/sign-off", made["id"].as_str().unwrap());
    let (status, taken) = post(&harness, &path, json!({"by": "Bob"})).await;
    assert_eq!(
        (status, &taken["taken_by"]),
        (StatusCode::OK, &json!("Bob"))
    );
    let (status, again) = post(&harness, &path, json!({"by": "Eve"})).await;
    assert_eq!(status, StatusCode::CONFLICT);
    let detail = again["detail"].as_str().unwrap();
    assert!(
        detail.starts_with("already taken over by Bob at "),
        "{detail}"
    );
    let harness = harness.restarted(StoreSettings::default()).await;
    assert_eq!(list(&harness).await, json!([taken]));

    // The newest first, and as many as wanted.
    let body = json!({"by": "Bob", "since": until, "until": until + SignedDuration::from_secs(1)});
    let (_, second) = post(&harness, "/api/handovers", body).await;
    assert_eq!(second["message"], "");
    assert_eq!(list(&harness).await, json!([second, taken]));
    let newest = harness.json("/api/handovers?limit=1").await;
    assert_eq!(newest["items"], json!([second]));
}

#[tokio::test]
async fn handover_that_makes_no_sense_is_refused() {
    let harness = StoreHarness::new().await;
    let now = Timestamp::now();
    let hours = SignedDuration::from_hours;
    let body = |by: &str, since: Timestamp, message: &str| json!({"by": by, "since": since, "until": now, "message": message});
    let long = "x".repeat(10_001);
    for (body, reason) in [
        (body(" ", now - hours(1), ""), "by must be a name"),
        (body("watchtower", now - hours(1), ""), "reserved name"),
        (
            body("Ann", now, ""),
            "until must be after since, by at most 7 days, got ",
        ),
        (
            body("Ann", now - hours(169), ""),
            "until must be after since",
        ),
        (
            body("Ann", now - hours(1), &long),
            "at most 10000 characters long, got 10001",
        ),
    ] {
        let (status, problem) = post(&harness, "/api/handovers", body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{problem}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(reason), "{reason}: {detail}");
    }
    let body = json!({"by": "Bob"});
    let (status, problem) = post(&harness, "/api/handovers/none/sign-off", body.clone()).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{problem}");
    let path = format!("/api/handovers/{}/sign-off", uuid::Uuid::now_v7());
    let (status, problem) = post(&harness, &path, body).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "{problem}");
    assert_eq!(list(&harness).await, json!([]));
}

#[tokio::test]
async fn report_has_evidence_and_changes_of_its_time() {
    let harness = StoreHarness::new().await;
    let since = Timestamp::now();
    let shell = FindingFixture { at: since, ..SHELL }.with_still(b"peak");
    let shell = harness.bus.publish(shell).await.unwrap();
    let change = |minutes: i64, what: &str| ConfigurationChange {
        at: since + SignedDuration::from_mins(minutes),
        by: "Ann".to_owned(),
        what: what.to_owned(),
    };
    for change in [
        change(-1, "too early"),
        change(1, "analyst A paused"),
        change(9, "too late"),
    ] {
        harness.bus.write(change).await.unwrap();
    }
    let until = since + SignedDuration::from_mins(5);
    let report = harness
        .json(&format!("/api/handover?since={since}&until={until}"))
        .await;
    let at = (since + SignedDuration::from_mins(1)).to_string();
    assert_eq!(
        report["changes"],
        json!([{"at": at, "by": "Ann", "what": "analyst A paused"}])
    );
    let proofs = report["proofs"].as_array().unwrap();
    assert_eq!(proofs.len(), 1, "{report}");
    assert_eq!(proofs[0]["incident"], shell.incident.unwrap().to_string());
    let picture = harness.get(proofs[0]["url"].as_str().unwrap()).await;
    assert_eq!(picture.bytes().await.unwrap().as_ref(), b"peak");
}

/// Finding of a source, about a host of its own.
fn found(agent: &str, host: usize, rule: Option<&str>) -> Finding {
    let quote = format!("Errors on host-{host:05}");
    let mut finding = FindingFixture {
        agent,
        severity: Severity::High,
        category: Category::Intrusion,
        title: "Errors above 5 %: 7 %",
        quotes: &[&quote],
        at: Timestamp::now(),
    }
    .finding();
    let (provider, name) = match rule {
        Some(rule) => {
            finding.detail = format!("Rule `{rule}`: text with a ` in it");
            ("offline", "rules")
        }
        None => ("watchtower", "watch"),
    };
    finding.model = ModelRef {
        provider: provider.to_owned(),
        name: name.to_owned(),
        version: "1".to_owned(),
        prompt: String::new(),
    };
    finding
}

#[tokio::test]
async fn precision_counts_what_users_decided() {
    let harness = StoreHarness::new().await;
    let mut incidents = Vec::new();
    for (host, (agent, rule)) in [
        ("SecOps", Some("login-burst")),
        ("SecOps", Some("login-burst")),
        ("SecOps", Some("login-burst")),
        ("SecOps", Some("reverse-shell")),
        ("DevOps", None),
        ("DevOps", None),
    ]
    .into_iter()
    .enumerate()
    {
        let finding = found(agent, host, rule);
        let published = harness
            .bus
            .publish(Publication::from(finding))
            .await
            .unwrap();
        incidents.push(published.incident.unwrap().to_string());
    }
    let different: HashSet<_> = incidents.iter().collect();
    assert_eq!(different.len(), 6, "each of its own");
    let close = async |nth: usize, by: &str, false_positive: bool| {
        let body =
            json!({"status": "closed", "by": by, "why": "w", "false_positive": false_positive});
        let (status, body) = harness.set_status(&incidents[nth], body).await;
        assert_eq!(status, StatusCode::OK, "{body}");
    };
    close(0, "Ann", false).await;
    close(1, "Ann", true).await;
    close(3, "Ann", false).await;
    // By the watch itself: no decision of a user.
    close(4, "DevOps", false).await;
    close(5, "Ann", true).await;
    // Reopened: undecided again.
    let body = json!({"status": "new", "by": "Ann", "why": "w"});
    assert_eq!(
        harness.set_status(&incidents[3], body).await.0,
        StatusCode::OK
    );
    let cost = Cost {
        requests: 1,
        prompt_tokens: 10,
        output_tokens: 2,
        micro_usd: 30,
    };
    for _ in 0..2 {
        let (at, agent) = (Timestamp::now(), "SecOps".to_owned());
        harness
            .bus
            .write(AgentSpend { at, agent, cost })
            .await
            .unwrap();
    }

    let precision = harness.json("/api/precision?days=1").await;
    let picked = |list: &Value, keys: &[&str]| -> Vec<Value> {
        let items = list.as_array().unwrap().iter();
        items
            .map(|item| keys.iter().map(|key| item[*key].clone()).collect())
            .collect()
    };
    let counts = ["incidents", "right", "false_positive"];
    let keys = [
        &["agent"],
        &counts[..],
        &["requests", "prompt_tokens", "output_tokens", "micro_usd"],
    ]
    .concat();
    assert_eq!(
        picked(&precision["agents"], &keys),
        [
            json!(["DevOps", 2, 0, 1, 0, 0, 0, 0]),
            json!(["SecOps", 4, 1, 1, 2, 20, 4, 60]),
        ]
    );
    let keys = [&["name", "agent", "findings"], &counts[..]].concat();
    assert_eq!(
        picked(&precision["rules"], &keys),
        [
            json!(["login-burst", "SecOps", 3, 3, 1, 1]),
            json!(["reverse-shell", "SecOps", 1, 1, 0, 0]),
        ]
    );
    assert_eq!(
        picked(&precision["watches"], &keys),
        [json!(["Errors above 5 %", "DevOps", 2, 2, 0, 1])]
    );
    assert_eq!(precision["more"], false);
    // Within a range that has ended before, nothing; up to now, the same.
    let ended = "since=2020-01-01T00:00:00Z&until=2020-02-01T00:00:00Z";
    let earlier = harness.json(&format!("/api/precision?{ended}")).await;
    for list in ["agents", "rules", "watches"] {
        assert_eq!(earlier[list], json!([]), "{list}");
        let open = format!(
            "/api/precision?since={}",
            precision["since"].as_str().unwrap()
        );
        assert_eq!(harness.json(&open).await[list], precision[list], "{list}");
    }
    for bad in [
        "days=0",
        "days=366",
        "days=x",
        "days=1&until=2020-02-01T00:00:00Z",
        "since=2020-02-01T00:00:00Z&until=2020-01-01T00:00:00Z",
        "since=yesterday",
    ] {
        let path = format!("/api/precision?{bad}");
        assert_eq!(
            harness.get(&path).await.status(),
            StatusCode::BAD_REQUEST,
            "{bad}"
        );
    }
}

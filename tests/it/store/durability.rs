//! kill -9 while findings arrive: nothing acknowledged is missing, nothing is
//! duplicated. `WATCHTOWER_KILLS` sets how often (scripts/soak.sh: 100).

use std::collections::HashSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use watchtower::domain::finding::Finding;
use watchtower::record::settings::StoreSettings;
use watchtower::record::store::{FindingQuery, IncidentQuery};

use super::harness::{self, FindingFixture, StoreHarness};

const FOLDER: &str = "WATCHTOWER_TEST_FOLDER";

/// Child process of the tests, to be killed. Publishes for ever and prints the
/// acknowledged findings.
#[tokio::test]
#[ignore = "started by another test"]
async fn victim() {
    let Ok(folder) = std::env::var(FOLDER) else {
        return;
    };
    let (bus, _writer) = harness::open(folder.as_ref(), &StoreSettings::default());
    let publishers = (0..6).map(|number| {
        let bus = bus.clone();
        tokio::spawn(async move {
            for round in 0_u64.. {
                let line = format!("Failed password for admin from 198.51.100.{}", round % 40);
                let report = FindingFixture {
                    agent: ["SecOps", "DevOps", "CloudSec"][number % 3],
                    quotes: &[&line],
                    ..FindingFixture::default()
                };
                let publication = report.with_still(b"a picture, for all anybody knows");
                let finding = bus.publish(publication).await.unwrap();
                // Acknowledged only now; print! would write without flushing.
                let mut out = std::io::stdout().lock();
                writeln!(out, "ack {}", finding.id).unwrap();
                out.flush().unwrap();
            }
        })
    });
    for publisher in publishers.collect::<Vec<_>>() {
        publisher.await.unwrap();
    }
}

#[tokio::test]
async fn kill_9_loses_nothing_and_shows_nothing_twice() {
    let kills = std::env::var("WATCHTOWER_KILLS").ok();
    let kills: usize = kills.and_then(|count| count.parse().ok()).unwrap_or(5);
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().to_owned();
    let mut acknowledged: HashSet<String> = HashSet::new();
    for kill in 0..kills {
        let theirs = folder.clone();
        let acks = tokio::task::spawn_blocking(move || killed(&theirs, 30 + kill * 37 % 250));
        acknowledged.extend(acks.await.unwrap());
        check(&folder, &acknowledged).await;
    }
    assert!(acknowledged.len() >= kills * 10, "{}", acknowledged.len());
}

/// Runs the child until it has acknowledged so many, then kills it at a random
/// point; returns its output.
fn killed(folder: &std::path::Path, after: usize) -> Vec<String> {
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "store::durability::victim",
            "--ignored",
            "--nocapture",
        ])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut acks = Vec::new();
    let lines = BufReader::new(victim.stdout.take().unwrap()).lines();
    for line in lines.map_while(Result::ok) {
        if let Some((_, id)) = line.split_once("ack ") {
            acks.push(id.to_owned());
        }
        if acks.len() == after {
            // SIGKILL. Output in the pipe by then was acknowledged too.
            victim.kill().unwrap();
        }
    }
    victim.wait().unwrap();
    assert!(acks.len() >= after, "the victim died by itself");
    acks
}

async fn check(folder: &std::path::Path, acknowledged: &HashSet<String>) {
    let (bus, writer) = harness::open(folder, &StoreSettings::default());
    let mut stored: Vec<Finding> = Vec::new();
    let mut query = FindingQuery {
        limit: 1000,
        ..FindingQuery::default()
    };
    loop {
        let wanted = query.clone();
        let page = bus.read(move |store| store.findings(&wanted));
        let page = page.await.unwrap();
        stored.extend(page.items);
        match page.next {
            Some(next) => query.before = Some(next),
            None => break,
        }
    }
    let ids: HashSet<String> = stored
        .iter()
        .map(|finding| finding.id.to_string())
        .collect();
    assert_eq!(ids.len(), stored.len(), "twice in the store");
    assert!(acknowledged.is_subset(&ids), "missing in the store");
    let jsonl = std::fs::read_to_string(folder.join("logs/findings.jsonl")).unwrap();
    let lines: Vec<Finding> = jsonl
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let listed: HashSet<String> = lines.iter().map(|finding| finding.id.to_string()).collect();
    assert_eq!(listed.len(), lines.len(), "twice in findings.jsonl");
    assert_eq!(listed, ids, "findings.jsonl is not what the store has");
    let query = IncidentQuery {
        limit: 1000,
        ..IncidentQuery::default()
    };
    let incidents = bus.read(move |store| store.incidents(&query));
    let incidents = incidents.await.unwrap().items;
    let counted: u64 = incidents.iter().map(|incident| incident.count).sum();
    assert_eq!(counted, stored.len() as u64);
    assert_eq!(
        incidents.len(),
        incidents
            .iter()
            .map(|i| &i.entities)
            .collect::<HashSet<_>>()
            .len()
    );
    drop(bus);
    tokio::task::spawn_blocking(move || writer.join().unwrap())
        .await
        .unwrap();
}

#[tokio::test]
async fn findings_jsonl_is_made_whole_whatever_became_of_it() {
    let harness = StoreHarness::new().await;
    let mut ids = Vec::new();
    for n in 0..20 {
        let finding = harness
            .bus
            .publish(FindingFixture::default().later(n).finding())
            .await
            .unwrap();
        ids.push(finding.id.to_string());
    }
    let file = harness.dir.path().join("logs/findings.jsonl");
    // As after a crash: half a line, and before that missing ones. The saved
    // position of the file is written on a clean shutdown, so it is removed
    // too.
    let text = std::fs::read_to_string(&file).unwrap();
    let harness = harness.restarted(StoreSettings::default()).await;
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
    let db = rusqlite::Connection::open(harness.dir.path().join("data/watchtower.db")).unwrap();
    db.execute("DELETE FROM cursors", []).unwrap();
    drop(db);
    let kept: Vec<&str> = text.lines().take(12).collect();
    std::fs::write(&file, format!("{}\n{{\"id\":\"0190", kept.join("\n"))).unwrap();
    let folder = harness.dir.path().to_owned();
    // A killed process leaves no saved position either.
    let copy = tempfile::tempdir().unwrap();
    for part in ["data", "logs"] {
        let (from, to) = (folder.join(part), copy.path().join(part));
        std::fs::create_dir_all(&to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_file() {
                std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
            }
        }
    }
    let (bus, _writer) = harness::open(copy.path(), &StoreSettings::default());
    let whole = std::fs::read_to_string(copy.path().join("logs/findings.jsonl")).unwrap();
    let listed: Vec<String> = whole
        .lines()
        .map(|line| {
            serde_json::from_str::<Finding>(line)
                .unwrap()
                .id
                .to_string()
        })
        .collect();
    assert_eq!(listed, ids);
    drop(bus);
    tokio::time::sleep(Duration::from_millis(1)).await;
}

#[tokio::test]
async fn a_restart_keeps_everything() {
    let harness = StoreHarness::new().await;
    harness
        .bus
        .publish(FindingFixture::default().with_still(b"first"))
        .await
        .unwrap();
    let worse = FindingFixture {
        severity: watchtower::domain::finding::Severity::Critical,
        ..FindingFixture::default().later(1)
    };
    harness
        .bus
        .publish(worse.with_still(b"worst"))
        .await
        .unwrap();
    let before = harness.json("/api/incidents").await;
    let id = before["items"][0]["id"].as_str().unwrap().to_owned();
    let body = serde_json::json!({
        "status": "closed", "by": "Ada", "why": "our own scanner", "false_positive": true,
    });
    harness.set_status(&id, body).await;
    let pages = [
        "/api/incidents",
        "/api/findings",
        "/api/suppressions",
        &format!("/api/incidents/{id}"),
    ];
    let mut seen = Vec::new();
    for page in pages {
        seen.push(harness.json(page).await);
    }
    let harness = harness.restarted(StoreSettings::default()).await;
    for (page, before) in pages.iter().zip(seen) {
        assert_eq!(harness.json(page).await, before, "{page}");
    }
}

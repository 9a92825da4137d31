//! File sink, and the functions common to all sinks: filters, rate limit,
//! restart.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use watchtower::app::config::Settings;
use watchtower::domain::finding::Severity;
use watchtower::domain::incident::Status;
use watchtower::sinks::settings::SinkSettings;

use crate::sinks::fake::{Fake, reply};
use crate::sinks::harness::{SinkHarness, brute_force, numbered};

/// Lines of the file, each of which has to parse.
pub(crate) fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

const FILE: &str = "[sinks.file]\nkind = 'jsonl'\naddress = 'FOLDER/out.jsonl'\n";

#[tokio::test]
async fn what_happened_while_it_was_off_is_delivered_after_the_restart() {
    let mut harness = SinkHarness::with(FILE).await;
    let out = harness.dir.path().join("out.jsonl");
    harness.finding(numbered(0)).await;
    harness.caught_up("file").await;
    harness.stop().await;
    for number in 1..2500 {
        harness.finding(numbered(number)).await;
    }
    assert_eq!(lines(&out).len(), 1);
    harness.start(FILE).await;
    harness.caught_up("file").await;
    let written = lines(&out);
    assert_eq!(written.len(), 2500);
    for (number, event) in written.iter().enumerate() {
        let quote = event["evidences"][0]["data"]["quote"].as_str().unwrap();
        assert!(
            quote.contains(&format!("user{number} ")),
            "out of order: {number} {quote}"
        );
    }
    assert_eq!(harness.sink("file").state, "ok");
}

#[tokio::test]
async fn each_sink_receives_the_events_of_its_filter() {
    let harness = SinkHarness::with(
        "[sinks.all]\nkind = 'jsonl'\naddress = 'FOLDER/all'\nwhat = 'findings'\n\
         [sinks.news]\nkind = 'jsonl'\naddress = 'FOLDER/news'\n\
         [sinks.bad]\nkind = 'jsonl'\naddress = 'FOLDER/bad'\nminimum_severity = 'critical'\n\
         [sinks.devops]\nkind = 'jsonl'\naddress = 'FOLDER/devops'\nagents = ['devops']\n\
         [sinks.elsewhere]\nkind = 'jsonl'\naddress = 'FOLDER/elsewhere'\nstreams = ['other']\n\
         [sinks.ecs]\nkind = 'jsonl'\naddress = 'FOLDER/ecs'\nformat = 'ecs'\n\
         [sinks.off]\nkind = 'nats'",
    )
    .await;
    harness.incident_lifecycle().await;
    harness.finding(brute_force("SecOps", Severity::Low)).await;
    let count = |name: &str| lines(&harness.dir.path().join(name)).len();
    for name in ["all", "news", "bad", "devops", "elsewhere", "ecs"] {
        harness.caught_up(name).await;
    }
    assert_eq!(count("all"), 6);
    assert_eq!(count("news"), 5);
    assert_eq!(count("bad"), 1);
    // Its own finding, and a decision on an incident it is part of.
    assert_eq!(count("devops"), 3);
    assert_eq!(count("elsewhere"), 0);
    let ecs = lines(&harness.dir.path().join("ecs"));
    assert_eq!(ecs[0]["related"]["ip"][0], "203.0.113.45");
    assert_eq!(
        ecs[0]["threat"],
        json!({
            "framework": "MITRE ATT&CK",
            "technique": {
                "id": ["T1110"],
                "name": ["Brute Force"],
                "subtechnique": { "id": ["T1110.001"], "name": ["Password Guessing"] },
            },
            "tactic": { "id": ["TA0006"], "name": ["Credential Access"] },
        })
    );
    assert!(harness.board.list().iter().all(|row| row.name != "off"));
}

#[tokio::test]
async fn beyond_the_limit_there_is_a_number_and_every_end() {
    const WITHIN: Duration = Duration::from_secs(5);
    let begun = Instant::now();
    let harness = SinkHarness::with(&format!("{FILE}rate = '3/5s'")).await;
    let out = harness.dir.path().join("out.jsonl");
    let first = harness.finding(numbered(0)).await;
    for number in 1..40 {
        harness.finding(numbered(number)).await;
    }
    harness.decide(first, Status::Closed).await;
    // Together with the last digest.
    harness.caught_up("file").await;
    let windows = begun.elapsed().as_secs() / WITHIN.as_secs() + 2;
    let written = lines(&out);
    let digested: u64 = written
        .iter()
        .filter(|event| event["activity_id"] == 99)
        .map(|event| event["count"].as_u64().unwrap())
        .sum();
    let opened = written
        .iter()
        .filter(|event| event["activity_id"] == 1)
        .count() as u64;
    assert_eq!(digested + opened, 40, "{written:#?}");
    // On a busy machine reporting them may take more than one window.
    assert!(
        digested > 0 && (3..=3 * windows).contains(&opened),
        "{opened} in {windows} windows"
    );
    assert_eq!(
        written
            .iter()
            .filter(|event| event["activity_id"] == 3)
            .count(),
        1
    );
}

#[tokio::test]
async fn a_failing_sink_slows_no_other_and_reports_why() {
    let harness = SinkHarness::with(&format!(
        "{FILE}[sinks.lost]\nkind = 'webhook'\naddress = 'https://no-such-name.invalid/x'\n"
    ))
    .await;
    harness.incident_lifecycle().await;
    harness.caught_up("file").await;
    harness
        .until("the failure", |harness| harness.sink("lost").failed > 0)
        .await;
    let lost = harness.sink("lost");
    assert!(lost.state.starts_with("retrying: unreachable"), "{lost:?}");
    assert_eq!((lost.delivered, lost.told), (0, 0));
    let page = harness.registry.render();
    assert!(
        page.contains("watchtower_sink_delivered_total{sink=\"file\"} 5"),
        "{page}"
    );
    assert!(
        page.contains("watchtower_sink_behind{sink=\"lost\"} "),
        "{page}"
    );
}

/// Sink settings of the sample file are valid when uncommented.
#[test]
fn the_sample_is_valid() {
    let text =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/watchtower.toml")).unwrap();
    let (_, sinks) = text.split_once("# [sinks.siem]").unwrap();
    let lines = sinks
        .lines()
        .map(|line| line.strip_prefix("# ").unwrap_or(line));
    // The sample's own comments have two marks.
    let text: String = lines.map(|line| format!("{line}\n")).collect();
    let settings = Settings::parse(&format!("[sinks.siem]{text}"), "watchtower.toml");
    let names: Vec<_> = settings
        .unwrap()
        .sinks
        .iter()
        .map(|sink: &SinkSettings| sink.name.clone())
        .collect();
    assert_eq!(names.len(), 9, "{names:?}");
}

#[tokio::test]
async fn a_digest_counts_once_over_a_store_that_fails() {
    let hook = Fake::start(|_| reply(200, json!({}))).await;
    let harness = SinkHarness::with(&format!(
        "[sinks.counted]\nkind = 'webhook'\nrate = '1/5s'\naddress = '{}'",
        hook.url()
    ))
    .await;
    for number in 0..6 {
        harness.finding(numbered(number)).await;
    }
    harness
        .until("the first", |harness| harness.sink("counted").told == 1)
        .await;
    // The store can't be written while another connection holds the lock.
    let file = harness.dir.path().join("data").join("watchtower.db");
    let other = rusqlite::Connection::open(file).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    harness
        .until("a store that fails", |_| {
            let parts = ["sink waiting for the database", "counted"];
            !crate::common::log::lines_with(&parts).is_empty()
        })
        .await;
    assert_eq!(harness.sink("counted").told, 1);
    other.execute_batch("ROLLBACK").unwrap();
    harness.caught_up("counted").await;
    let counts = hook.seen(|request| {
        let event = request.json();
        match event["activity_id"] == 99 {
            true => event["count"].as_u64().unwrap(),
            false => 1,
        }
    });
    assert_eq!(counts.iter().sum::<u64>(), 6, "{counts:?}");
    assert!(counts.iter().any(|count| *count > 1), "{counts:?}");
}

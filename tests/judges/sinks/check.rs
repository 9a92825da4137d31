//! `watchtower check` beside a server: state of its database and sinks.

use jiff::{SignedDuration, Timestamp};

use crate::common::serve::command;
use crate::sinks::harness::{SinkHarness, numbered};

const TICKET: &str = "[sinks.ticket]\nkind = \"webhook\"\naddress = \"http://127.0.0.1:9/hook\"\n";

async fn table(harness: &SinkHarness) -> String {
    let mut check = command("check", harness.dir.path());
    let output = check.output().await.unwrap();
    let table = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{table}");
    table
}

fn warnings(table: &str) -> Vec<&str> {
    let warns = table.lines().filter(|line| line.contains("  warn   "));
    warns.filter_map(|line| line.split("  ").next()).collect()
}

#[tokio::test]
async fn pending_events_and_a_wrong_clock_are_reported_beside_a_server() {
    let harness = SinkHarness::with(TICKET).await;
    std::fs::write(harness.dir.path().join("agents.toml"), "").unwrap();
    std::fs::write(harness.dir.path().join("watchtower.toml"), TICKET).unwrap();
    let started = table(&harness).await;
    assert!(started.contains("no findings"), "{started}");
    assert_eq!(warnings(&started), Vec::<&str>::new(), "{started}");

    for nth in 0..3 {
        harness.finding(numbered(nth)).await;
    }
    harness
        .until("the webhook is out of reach", |harness| {
            harness.sink("ticket").failed > 0
        })
        .await;
    // New events are on their way: no warning.
    let on_its_way = table(&harness).await;
    assert_eq!(warnings(&on_its_way), Vec::<&str>::new(), "{on_its_way}");

    let db = rusqlite::Connection::open(harness.dir.path().join("data/watchtower.db")).unwrap();
    let since = Timestamp::now() - SignedDuration::from_hours(1);
    let since = i64::try_from(since.as_nanosecond()).unwrap();
    db.execute("UPDATE outbox SET at = ?1", [since]).unwrap();
    let waiting = table(&harness).await;
    assert_eq!(warnings(&waiting), ["sink ticket"], "{waiting}");
    assert!(waiting.contains("3 events pending since "), "{waiting}");

    let ahead = "UPDATE findings SET stored_at = stored_at + 172800000000000";
    db.execute(ahead, []).unwrap();
    let wrong = table(&harness).await;
    assert_eq!(warnings(&wrong), ["database", "sink ticket"], "{wrong}");
    assert!(wrong.contains("NTP"), "{wrong}");
}

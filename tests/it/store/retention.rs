//! Retention: old or excess data is removed, with its evidence.

use std::time::Duration;

use serde_json::json;
use watchtower::record::settings::StoreSettings;

use super::harness::{FindingFixture, SHELL, StoreHarness, id_of};

#[tokio::test]
async fn what_is_too_old_goes_with_its_evidence() {
    let settings = StoreSettings {
        keep: Duration::from_secs(5),
        ..StoreSettings::default()
    };
    let harness = StoreHarness::with(settings).await;
    harness
        .bus
        .publish(FindingFixture::default().with_still(b"old"))
        .await
        .unwrap();
    harness
        .bus
        .publish(SHELL.with_still(b"kept on"))
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(5200)).await;
    // The second finding continues, so its incident stays; its picture was of a
    // finding that is removed.
    harness.bus.publish(SHELL.later(1).finding()).await.unwrap();
    let swept = harness.bus.sweep().await.unwrap();
    assert_eq!((swept.findings, swept.incidents, swept.stills), (2, 1, 2));
    assert_eq!(harness.titles("/api/incidents").await, ["Reverse shell"]);
    assert_eq!(harness.titles("/api/findings").await, ["Reverse shell"]);
    let files = std::fs::read_dir(harness.dir.path().join("data/evidence")).unwrap();
    assert_eq!(files.count(), 0);
    let id = id_of(&harness.json("/api/incidents").await, 0);
    let shown = harness.json(&format!("/api/incidents/{id}")).await;
    assert_eq!((&shown["count"], &shown["stills"]), (&json!(2), &json!([])));
}

#[tokio::test]
async fn what_is_too_much_goes_oldest_first() {
    let settings = StoreSettings {
        max_bytes: 1_000_000,
        ..StoreSettings::default()
    };
    let harness = StoreHarness::with(settings).await;
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
        harness
            .bus
            .publish(report.later(n).finding())
            .await
            .unwrap();
    }
    // Some of it may have been removed already: a full store does not wait.
    harness.bus.sweep().await.unwrap();
    let kept = harness.bus.read(|store| store.findings_after(0, 2000));
    let kept = kept.await.unwrap().len();
    assert!(kept > 0 && kept < 1300, "{kept}");
    let newest = harness.titles("/api/findings?limit=1").await;
    assert_eq!(newest, ["burst 1499"]);
    let left = harness.titles("/api/incidents?limit=1000").await.len() as u64;
    assert!(left <= kept as u64, "{left} of {kept}");
}

//! Event stream of the console: every change, and the resume position.

use serde_json::json;
use watchtower::domain::finding::Category;

use super::harness::{FindingFixture, SHELL, StoreHarness};

#[tokio::test]
async fn events_contain_every_change_and_resume() {
    let harness = StoreHarness::new().await;
    let before = FindingFixture {
        category: Category::Anomaly,
        title: "Disk almost full",
        quotes: &["/dev/sda1 97% /var"],
        ..FindingFixture::default()
    };
    let mut listener = harness.listen_live(None, before.finding()).await;
    let first = harness
        .bus
        .publish(FindingFixture::default().finding())
        .await
        .unwrap();
    harness
        .bus
        .publish(FindingFixture::default().later(1).finding())
        .await
        .unwrap();
    let other = FindingFixture {
        agent: "Architect",
        ..FindingFixture::default()
    };
    harness.bus.publish(other.later(2).finding()).await.unwrap();
    let id = first.incident.unwrap().to_string();
    harness
        .set_status(&id, json!({"status": "acknowledged", "by": "Ada"}))
        .await;
    harness.bus.publish(SHELL.finding()).await.unwrap();
    let events = listener.next(8).await;
    let changes: Vec<_> = events
        .iter()
        .filter(|event| event.kind == "incident")
        .map(|event| (event.data["change"].clone(), event.data["loud"].clone()))
        .collect();
    let expected = [
        ("opened", true),
        ("repeated", false),
        ("new_agent", true),
        ("status", true),
    ];
    let expected = expected.map(|(change, loud)| (json!(change), json!(loud)));
    assert_eq!(changes[..4], expected);
    assert_eq!(events[1].data["incident"]["count"], 1);
    // From the second finding on: two findings, and both incidents in their
    // current state.
    let resumed = harness.events(Some(&events[2].id), 4).await;
    let kinds: Vec<_> = resumed.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(kinds, ["finding", "finding", "incident", "incident"]);
    assert_eq!(resumed[2].data["incident"]["status"], "acknowledged");
    assert_eq!(resumed[2].data["change"], "missed");
    let last = resumed.last().unwrap().id.clone();
    // At the end, and beyond it: only new events.
    for from in [last.as_str(), "999999-999999", "nonsense"] {
        let again = SHELL.later(1);
        let mut listener = harness.listen_live(Some(from), again.finding()).await;
        harness.bus.publish(again.finding()).await.unwrap();
        let events = listener.next(2).await;
        assert_eq!(events[0].kind, "finding", "{from}");
        assert_eq!(events[1].data["change"], "repeated", "{from}");
    }
    // A finding's own id works as well.
    let first = events[0].data["id"].as_str().unwrap();
    let resumed = harness.events(Some(first), 3).await;
    assert_ne!(resumed[0].data["id"], first);
}

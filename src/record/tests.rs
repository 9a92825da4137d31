use watchtower_domain::finding::{Evidence, FrameRef, Severity};

use super::*;
use crate::store::{CursorAdvance, IncidentQuery};

fn finding(agent: &str, severity: Severity, title: &str) -> Finding {
    let evidence = Evidence {
        quote: "Failed password for root\u{1b}[31m".to_owned(),
        bounds: Some([10, 20, 30, 40]),
        grounded: Some(true),
    };
    let frame = FrameRef {
        seq: 7,
        pts_ms: 12_300,
        sha256: "ab".repeat(32),
    };
    Finding {
        agent: agent.to_owned(),
        frame,
        severity,
        title: title.to_owned(),
        detail: "Six failures in a minute.".to_owned(),
        evidence: vec![evidence],
        mitre: vec!["T1110".to_owned()],
        recommended_action: "Block the address.".to_owned(),
        ..Finding::sample()
    }
}

fn open(dir: &Path, agents: &[String]) -> (Record, JoinHandle<()>) {
    Record::open(&dir.join("data"), dir, agents, &StoreSettings::default()).unwrap()
}

#[tokio::test]
async fn published_finding_is_in_both_files_and_broadcast() {
    let dir = tempfile::tempdir().unwrap();
    let (bus, writer) = open(dir.path(), &["SecOps".to_owned()]);
    let mut receiver = bus.subscribe();
    bus.note("SecOps", "key refused").await;
    let published = bus
        .publish(finding("SecOps", Severity::High, "Brute force"))
        .await
        .unwrap();
    assert!(published.incident.is_some());
    let jsonl = std::fs::read_to_string(dir.path().join("findings.jsonl")).unwrap();
    assert_eq!(serde_json::from_str::<Finding>(&jsonl).unwrap(), *published);
    let log = std::fs::read_to_string(dir.path().join("secops.log")).unwrap();
    assert!(
        log.contains("key refused") && log.contains("Brute force"),
        "{log}"
    );
    assert!(!log.contains('\u{1b}'), "{log:?}");
    assert_eq!(receiver.recv().await.unwrap().id, published.id);
    drop(bus);
    writer.join().unwrap();
}

#[tokio::test]
async fn repeats_stand_in_a_log_as_a_count() {
    let dir = tempfile::tempdir().unwrap();
    let (bus, _) = open(dir.path(), &[]);
    for _ in 0..20 {
        bus.publish(finding("SecOps", Severity::High, "Brute force"))
            .await
            .unwrap();
    }
    bus.publish(finding("DevOps", Severity::High, "Logins fail"))
        .await
        .unwrap();
    bus.publish(finding("SecOps", Severity::Critical, "They are in"))
        .await
        .unwrap();
    let query = IncidentQuery {
        limit: 9,
        ..IncidentQuery::default()
    };
    let id = bus.read(move |store| store.incidents(&query));
    let id = id.await.unwrap().items[0].id.to_string();
    let read = |name: &str| {
        let log = std::fs::read_to_string(dir.path().join(name)).unwrap();
        log.replace(&id, "ID")
    };
    insta::assert_snapshot!(format!(
        "{}----\n{}",
        read("secops.log"),
        read("devops.log")
    ));
}

#[tokio::test]
async fn abandoned_query_keeps_its_permit() {
    let dir = tempfile::tempdir().unwrap();
    let (bus, _writer) = open(dir.path(), &[]);
    let (begun, has_begun) = oneshot::channel();
    let (end, ends) = std::sync::mpsc::channel::<()>();
    let asking = {
        let bus = bus.clone();
        tokio::spawn(async move {
            bus.read(move |_| {
                begun.send(()).unwrap();
                let _ = ends.recv();
                Ok(())
            })
            .await
        })
    };
    has_begun.await.unwrap();
    asking.abort();
    assert!(asking.await.unwrap_err().is_cancelled());
    let reading = &bus.shared.reading;
    assert_eq!(reading.available_permits(), READING - 1);
    drop(end);
    // All permits are available again.
    let all = reading.acquire_many(READING as u32);
    let all = tokio::time::timeout(std::time::Duration::from_secs(10), all);
    assert!(all.await.unwrap().is_ok());
}

#[tokio::test]
async fn reader_resumes_at_its_cursor() {
    let dir = tempfile::tempdir().unwrap();
    let (bus, writer) = open(dir.path(), &[]);
    for n in 0..3 {
        bus.publish(finding("SecOps", Severity::High, &n.to_string()))
            .await
            .unwrap();
    }
    assert_eq!(bus.cursor("siem").await.unwrap(), 0);
    let two = bus.read(|store| store.findings_after(0, 2)).await;
    let (seq, _) = two.unwrap()[1];
    bus.write(CursorAdvance::new("siem", seq)).await.unwrap();
    drop(bus);
    tokio::task::spawn_blocking(|| writer.join().unwrap())
        .await
        .unwrap();
    let (bus, _) = open(dir.path(), &[]);
    let cursor = bus.cursor("siem").await.unwrap();
    let rest = bus.read(move |store| store.findings_after(cursor, 10));
    let rest = rest.await.unwrap();
    assert_eq!(rest.len(), 1);
    assert_eq!(rest[0].1.title, "2");
}

#[tokio::test]
async fn slow_searches_do_not_block_sinks() {
    let dir = tempfile::tempdir().unwrap();
    let (bus, writer) = open(dir.path(), &[]);
    let mut slow = Vec::new();
    // More than there are permits.
    for _ in 0..READING + 2 {
        let (end, wait) = std::sync::mpsc::channel::<()>();
        let bus = bus.clone();
        let search = tokio::spawn(async move {
            let query = move |_: &Readers| {
                _ = wait.recv();
                Ok(())
            };
            bus.read(query).await
        });
        slow.push((end, search));
    }
    while bus.shared.reading.available_permits() > 0 {
        tokio::task::yield_now().await;
    }
    let found = bus.publish(finding("SecOps", Severity::High, "Brute force"));
    found.await.unwrap();
    // All reads and writes of a sink during a delivery.
    let last = bus.read_for_sink(Readers::last_happened);
    assert_eq!(last.await.unwrap(), 1);
    let entries = bus.read_for_sink(|store| store.happened_after(0, 9));
    assert_eq!(entries.await.unwrap().len(), 1);
    bus.write(CursorAdvance::new("sink it", 1)).await.unwrap();
    assert_eq!(bus.cursor_if_any("sink it").await.unwrap(), Some(1));
    assert_eq!(bus.dead_count("it").await.unwrap(), 0);
    assert!(slow.iter().all(|(_, search)| !search.is_finished()));
    for (end, search) in slow {
        drop(end);
        search.await.unwrap().unwrap();
    }
    drop(bus);
    writer.join().unwrap();
}
/// Ids in all files of that name, rotated or not, with duplicates.
fn ids(dir: &Path, name: &str) -> Vec<Uuid> {
    let mut ids = Vec::new();
    for file in std::fs::read_dir(dir).unwrap().flatten() {
        if file.file_name().to_str().unwrap().starts_with(name) {
            let text = std::fs::read_to_string(file.path()).unwrap();
            assert!(text.is_empty() || text.ends_with('\n'), "{text:?}");
            let found = text.lines().map(serde_json::from_str::<Finding>);
            ids.extend(found.map(|finding| finding.unwrap().id));
        }
    }
    ids.sort();
    ids
}

fn close(bus: Record, writer: JoinHandle<()>) {
    drop(bus);
    writer.join().unwrap();
}

#[tokio::test]
async fn logs_survive_external_rotation() {
    let dir = tempfile::tempdir().unwrap();
    let (bus, writer) = open(dir.path(), &[]);
    let mut published = Vec::new();
    let publish = async |severity, title| {
        let found = finding("SecOps", severity, title);
        bus.publish(found).await.unwrap().id
    };
    let at = |name: &str| dir.path().join(name);
    published.push(publish(Severity::Low, "before all").await);
    for name in ["findings.jsonl", "secops.log"] {
        std::fs::rename(at(name), at(&format!("{name}.2"))).unwrap();
    }
    published.push(publish(Severity::Medium, "after mv").await);
    for name in ["findings.jsonl", "secops.log"] {
        std::fs::copy(at(name), at(&format!("{name}.1"))).unwrap();
        let cut = std::fs::OpenOptions::new().write(true).open(at(name));
        cut.unwrap().set_len(0).unwrap();
    }
    published.push(publish(Severity::Critical, "after copytruncate").await);
    published.sort();
    assert_eq!(ids(dir.path(), "findings.jsonl"), published);
    let log = |name: &str| std::fs::read_to_string(at(name)).unwrap();
    assert!(log("secops.log.2").contains("before all"));
    assert!(log("secops.log.1").contains("after mv"));
    let last = log("secops.log");
    assert!(last.contains("after copytruncate") && !last.contains('\0'));
    assert!(!last.contains("after mv"), "{last}");
    close(bus, writer);
    // The next start finds all of it written.
    let (bus, writer) = open(dir.path(), &[]);
    close(bus, writer);
    assert_eq!(ids(dir.path(), "findings.jsonl"), published);
}

#[tokio::test]
async fn crash_after_rotation_duplicates_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let rotation = LogSettings {
        max_bytes: 2500,
        keep: 9,
    };
    let place = LogPlace {
        folder: dir.path().to_owned(),
        rotation,
    };
    let settings = StoreSettings::default();
    let data = dir.path().join("data");
    let open = || Record::open(&data, place.clone(), &[], &settings).unwrap();
    let (bus, writer) = open();
    let mut published = Vec::new();
    let mut length = 0;
    let jsonl = dir.path().join("findings.jsonl");
    for n in 0..6 {
        let found = finding("SecOps", Severity::High, &n.to_string());
        published.push(bus.publish(found).await.unwrap().id);
        if n == 0 {
            length = std::fs::metadata(&jsonl).unwrap().len();
        }
    }
    published.sort();
    assert!(dir.path().join("findings.jsonl.1").exists());
    assert_eq!(ids(dir.path(), "findings.jsonl"), published);
    close(bus, writer);
    // State after a crash: the cursor is far behind.
    let (mut store, _) = store::open(&data, &settings).unwrap();
    let (note, _) = store::queue(CursorAdvance {
        name: jsonl::NAME.to_owned(),
        seq: 1,
        place: length,
    });
    let mut group = [note];
    store.write(&mut group);
    assert_eq!(group[0].outcome(), Some(Ok(())));
    drop(store);
    let (bus, writer) = open();
    close(bus, writer);
    let files = dir.path().join("findings.jsonl.2").exists();
    let written = ids(dir.path(), "findings.jsonl");
    assert_eq!((written, files), (published, false));
}

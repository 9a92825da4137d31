//! Retention of the record over days, restarts and clocks that are set.

use super::*;

/// Wall clock and monotonic clock, both set by the test.
#[derive(Clone)]
pub(super) struct ManualClock(Arc<std::sync::Mutex<(Timestamp, std::time::Duration)>>);

impl ManualClock {
    pub(super) fn at(start: Timestamp) -> Self {
        Self(Arc::new(std::sync::Mutex::new((
            start,
            std::time::Duration::ZERO,
        ))))
    }

    pub(super) fn go(&self, seconds: u64) {
        let mut manual_clock = self.0.lock().unwrap();
        let length = std::time::Duration::from_secs(seconds);
        *manual_clock = (manual_clock.0 + length, manual_clock.1 + length);
    }

    fn set(&self, wall: Timestamp) {
        self.0.lock().unwrap().0 = wall;
    }

    pub(super) fn now(&self) -> Timestamp {
        self.0.lock().unwrap().0
    }

    pub(super) fn clock(&self) -> age::StoreClock {
        let manual_clock = self.clone();
        Box::new(move || *manual_clock.0.lock().unwrap())
    }
}

const DAY: u64 = 24 * 60 * 60;

/// Findings are kept for 30 days.
fn month_at(dir: &Path) -> (StoreWriter, Readers) {
    let settings = StoreSettings {
        keep: std::time::Duration::from_secs(30 * DAY),
        ..StoreSettings::default()
    };
    open(dir, &settings).unwrap()
}

fn days(days: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + days * DAY as i64).unwrap()
}

fn found(readers: &Readers) -> usize {
    readers.findings_after(0, 1000).unwrap().len()
}

/// Record with a size limit in bytes, by a clock set by the test.
pub(super) fn capped(dir: &Path, cap: u64) -> (StoreWriter, Readers, ManualClock) {
    let settings = StoreSettings {
        max_bytes: cap,
        ..StoreSettings::default()
    };
    let (mut writer, readers) = open(dir, &settings).unwrap();
    let manual_clock = ManualClock::at(days(0));
    writer.go_by(manual_clock.clock()).unwrap();
    (writer, readers, manual_clock)
}

pub(super) fn sweep_all(writer: &mut StoreWriter) {
    for _ in 0..10_000 {
        if !writer.sweep().unwrap().more {
            return;
        }
    }
    panic!("there is always more to remove");
}

#[test]
fn clock_jump_at_start_removes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, readers) = month_at(dir.path());
    let manual_clock = ManualClock::at(days(0));
    writer.go_by(manual_clock.clock()).unwrap();
    writer.try_write(&mut [publication("Failed password for a from 192.0.2.1", b"one")]);
    drop((writer, readers));
    // 100 days ahead for 3 s at the start.
    let (mut writer, readers) = month_at(dir.path());
    let manual_clock = ManualClock::at(days(100));
    writer.go_by(manual_clock.clock()).unwrap();
    sweep_all(&mut writer);
    manual_clock.go(3);
    sweep_all(&mut writer);
    writer.try_write(&mut [publication("Failed password for b from 192.0.2.2", b"two")]);
    manual_clock.set(days(0));
    manual_clock.go(20 * 60);
    sweep_all(&mut writer);
    assert_eq!(found(&readers), 2);
    // Nor does one that stays ahead for an hour.
    manual_clock.set(days(200));
    sweep_all(&mut writer);
    manual_clock.go(60 * 60);
    sweep_all(&mut writer);
    assert_eq!(found(&readers), 2);
    // Old findings are removed once the clocks have agreed for a day.
    manual_clock.set(days(1));
    sweep_all(&mut writer);
    manual_clock.go(2 * DAY);
    writer.try_write(&mut [publication(
        "Failed password for c from 192.0.2.3",
        b"three",
    )]);
    sweep_all(&mut writer);
    assert_eq!(found(&readers), 3);
    manual_clock.go(40 * DAY);
    sweep_all(&mut writer);
    assert_eq!(found(&readers), 0);
}

#[test]
fn future_timestamp_does_not_keep_old_records() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, readers) = month_at(dir.path());
    let manual_clock = ManualClock::at(days(0));
    writer.go_by(manual_clock.clock()).unwrap();
    for n in 0..4 {
        let line = format!("Failed password for a from 192.0.2.{n}");
        writer.try_write(&mut [publication(&line, b"one")]);
    }
    let future = sql::nanos(days(400));
    writer
        .db
        .execute("UPDATE findings SET stored_at = ?1 WHERE seq = 1", [future])
        .unwrap();
    for _ in 0..31 {
        manual_clock.go(DAY);
        sweep_all(&mut writer);
    }
    assert_eq!(found(&readers), 0);
}

/// More records of each kind than one step removes, with timestamps 400 days
/// ahead.
#[test]
fn many_future_timestamps_do_not_keep_old_records() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, readers) = month_at(dir.path());
    let manual_clock = ManualClock::at(days(0));
    writer.go_by(manual_clock.clock()).unwrap();
    let fill = |writer: &mut StoreWriter, about: u8, count: u8, at: Timestamp| {
        let findings: Vec<_> = (0..count)
            .map(|n| {
                publication(
                    &format!("Failed password for a from 192.0.{about}.{n}"),
                    b"x",
                )
            })
            .collect();
        let moments = (0..60).map(|n| {
            queued(Snapshot {
                stream: StreamName::new("team").unwrap(),
                seen_at: at,
                frame_seq: n,
                still: still_of(format!("{about} {n}")),
            })
        });
        let text = queued(ScreenText {
            stream: StreamName::new("team").unwrap(),
            observed_at: at,
            frame_seq: 1,
            pts_ms: 0,
            lines: (0..screen::STEP + 100)
                .map(|n| ScreenLine {
                    text: format!("line {n}"),
                    bounds: [0, 0, 10, 10],
                })
                .collect(),
        });
        let mut writes: Vec<_> = findings.into_iter().chain(moments).chain([text]).collect();
        assert!(writer.try_write(&mut writes).iter().all(Result::is_ok));
    };
    fill(&mut writer, 1, 220, days(400));
    let future = sql::nanos(days(400));
    for stamp in ["findings SET stored_at", "outbox SET at"] {
        let set = format!("UPDATE {stamp} = ?1");
        writer.db.execute(&set, [future]).unwrap();
    }
    // The clock is right again, and its timestamps are no older than this.
    writer.go_by(manual_clock.clock()).unwrap();
    manual_clock.go(2 * DAY);
    sweep_all(&mut writer);
    fill(&mut writer, 2, 3, days(2));
    let count = |writer: &StoreWriter, table: &str| {
        let count = format!("SELECT count(*) FROM {table}");
        writer
            .db
            .query_row(&count, [], |row| row.get::<_, i64>(0))
            .unwrap()
    };
    let all = |writer: &StoreWriter| {
        ["findings", "moments", "screen_text", "outbox"].map(|table| count(writer, table))
    };
    assert_eq!(all(&writer)[..3], [223, 120, 2 * (screen::STEP + 100)]);
    for _ in 0..29 {
        manual_clock.go(DAY);
        sweep_all(&mut writer);
    }
    assert_eq!(found(&readers), 223);
    manual_clock.go(2 * DAY);
    sweep_all(&mut writer);
    assert_eq!(all(&writer), [0, 0, 0, 0]);
    assert_eq!(pictures(dir.path()), 0);
}

#[test]
fn clock_set_back_makes_nothing_old() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, readers) = month_at(dir.path());
    let manual_clock = ManualClock::at(days(0));
    writer.go_by(manual_clock.clock()).unwrap();
    writer.try_write(&mut [publication("Failed password for a from 192.0.2.1", b"one")]);
    manual_clock.set(Timestamp::UNIX_EPOCH);
    writer.try_write(&mut [publication("Failed password for b from 192.0.2.2", b"two")]);
    manual_clock.set(days(0));
    for _ in 0..20 {
        manual_clock.go(DAY);
        sweep_all(&mut writer);
    }
    assert_eq!(found(&readers), 2);
}

/// 24 hours of text and stills under a cap that they reach again and again.
#[test]
fn day_under_a_cap_loses_no_finding_and_bounds_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let cap = 4_000_000;
    let (mut writer, readers, manual_clock) = capped(dir.path(), cap);
    let stream = StreamName::new("team").unwrap();
    let mut word = 0u32;
    let mut line = || {
        let words = (0..12).map(|_| {
            word = word.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            format!("w{:x}", word >> 12)
        });
        ScreenLine {
            text: words.collect::<Vec<_>>().join(" "),
            bounds: [0, 0, 10, 10],
        }
    };
    for n in 0..20 {
        let line = format!("Failed password for a from 192.0.2.{n}");
        writer.try_write(&mut [publication(&line, b"kept")]);
    }
    for round in 0..24u8 {
        manual_clock.go(60 * 60);
        let text = queued(ScreenText {
            stream: stream.clone(),
            observed_at: days(0),
            frame_seq: u64::from(round),
            pts_ms: 0,
            lines: (0..2500).map(|_| line()).collect(),
        });
        let still = queued(Snapshot {
            stream: stream.clone(),
            seen_at: days(0),
            frame_seq: u64::from(round),
            still: still_of(vec![round; 50_000]),
        });
        assert!(
            writer
                .try_write(&mut [text, still])
                .iter()
                .all(Result::is_ok)
        );
        sweep_all(&mut writer);
        assert_eq!(found(&readers), 20, "round {round}");
        let disk = readers.disk().unwrap();
        let used = disk.database_bytes + disk.evidence_bytes;
        assert!(used <= cap, "round {round}: {used}");
    }
    let lines: i64 = writer
        .db
        .query_row("SELECT count(*) FROM screen_text", [], |row| row.get(0))
        .unwrap();
    assert!(lines > 0, "not all of the text goes");
    drop((readers, writer));
    let file = std::fs::metadata(dir.path().join("watchtower.db")).unwrap();
    assert!(file.len() <= cap, "{}", file.len());
    // A lowered cap removes text, and shrinks the file.
    let settings = StoreSettings {
        max_bytes: 1_000_000,
        ..StoreSettings::default()
    };
    let (mut writer, readers) = open(dir.path(), &settings).unwrap();
    sweep_all(&mut writer);
    assert_eq!(found(&readers), 20);
    drop((readers, writer));
    let file = std::fs::metadata(dir.path().join("watchtower.db")).unwrap();
    assert!(file.len() <= 1_000_000, "{}", file.len());
}

#[test]
fn database_is_complete_without_its_log_after_a_stop() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, readers) = open_at(dir.path());
    writer.try_write(&mut [publication("Failed password for a from 192.0.2.1", b"one")]);
    // Readers are open still, as while the server drains.
    assert_eq!(found(&readers), 1);
    drop(writer);
    let copy = dir.path().join("copy.db");
    std::fs::copy(dir.path().join("watchtower.db"), &copy).unwrap();
    let db = rusqlite::Connection::open(copy).unwrap();
    let count: i64 = db
        .query_row("SELECT count(*) FROM findings", [], |row| row.get(0))
        .unwrap();
    assert_eq!(count, 1);
}

#[test]
fn false_positive_hides_no_other_entity() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, readers) = open_at(dir.path());
    let line = |by: &str| format!("Failed password for admin SRC={by} DST=192.0.2.10 ssh2");
    let (known, other) = (line("203.0.113.4"), line("203.0.113.45"));
    writer.try_write(&mut [publication(&known, b"one")]);
    let list = || {
        let query = IncidentQuery {
            limit: 10,
            ..IncidentQuery::default()
        };
        readers.incidents(&query).unwrap().items
    };
    let closed = queued(StatusChange {
        incident: list()[0].id,
        status: Status::Closed,
        by: "Ada".to_owned(),
        why: "our own scanner".to_owned(),
        false_positive: true,
        version: None,
    });
    assert!(writer.try_write(&mut [closed])[0].is_ok());
    let change = |writer: &mut StoreWriter, line: &str| {
        let mut group = [publication(line, b"x")];
        writer.write(&mut group);
        match group[0].announcement() {
            Some(Announcement::Finding { change, .. }) => change.change,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(change(&mut writer, &known), ChangeReason::Repeated);
    assert_eq!(change(&mut writer, &other), ChangeReason::Opened);
    assert_eq!(list().len(), 2);
    // A finding that joins it by its names, one unknown to the suppression.
    let more = format!("{known} host=web-77");
    assert_eq!(change(&mut writer, &more), ChangeReason::Reopened);
    assert!(list().iter().all(|incident| incident.status == Status::New));
}

use std::path::Path;

use bytes::Bytes;

use watchtower_base::stream_name::StreamName;
use watchtower_domain::finding::Evidence;
use watchtower_domain::incident::ChangeReason;
use watchtower_domain::screen_text::{ScreenLine, ScreenText};
use watchtower_media::MediaTime;
use watchtower_screen::frame::Frame;
use watchtower_screen::picture::Picture;
use watchtower_screen::redact::{Redact, RedactedFrame};

use super::*;
use crate::settings::StoreSettings;

/// Still of those bytes: its encoder returns the samples as the file.
fn still_of(bytes: impl Into<Vec<u8>>) -> RedactedJpeg {
    let bytes = bytes.into();
    let picture = Picture {
        width: bytes.len() as u32,
        height: 1,
        y: bytes,
        u: Vec::new(),
        v: Vec::new(),
    };
    let frame = Frame::new(
        StreamName::new("team").unwrap(),
        1,
        MediaTime(0),
        Timestamp::UNIX_EPOCH,
        Arc::new(picture),
        |picture| Ok(Bytes::from(picture.y.clone())),
    );
    let redacted = RedactedFrame::of(&Arc::new(frame), Redact::Off).unwrap();
    redacted.still().unwrap()
}

/// Write for a group.
fn queued(write: impl Write) -> Box<dyn PendingWrite> {
    queue(write).0
}

impl StoreWriter {
    /// Writes a group and returns the outcome of each write.
    fn try_write(&mut self, group: &mut [Box<dyn PendingWrite>]) -> Vec<Result<(), WriteRefusal>> {
        self.write(group);
        let outcomes = group.iter().map(|write| write.outcome().expect("tried"));
        outcomes
            .map(|outcome| outcome.map_err(WriteRefusal::clone))
            .collect()
    }
}

fn publication(quote: &str, jpeg: &'static [u8]) -> Box<dyn PendingWrite> {
    let evidence = Evidence {
        quote: quote.to_owned(),
        bounds: None,
        grounded: Some(true),
    };
    let finding = Finding {
        evidence: vec![evidence],
        ..Finding::sample()
    };
    let still = still_of(jpeg);
    queued(Publication {
        finding,
        still: Some(still),
        asked: None,
    })
}

fn moment(stream: &str, second: i64) -> Box<dyn PendingWrite> {
    queued(Snapshot {
        stream: StreamName::new(stream).unwrap(),
        seen_at: Timestamp::from_second(second).unwrap(),
        frame_seq: second as u64,
        still: still_of(b"one"),
    })
}

fn open_at(dir: &Path) -> (StoreWriter, Readers) {
    open(dir, &StoreSettings::default()).unwrap()
}

fn pictures(dir: &Path) -> usize {
    std::fs::read_dir(dir.join("evidence")).unwrap().count()
}

#[test]
fn full_disk_changes_nothing_and_recovers() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, readers) = open_at(dir.path());
    let first =
        writer.try_write(&mut [publication("Failed password for a from 192.0.2.1", b"one")]);
    assert!(first[0].is_ok());
    let before = writer.position();
    let pages: i64 = writer
        .db
        .pragma_query_value(None, "page_count", |row| row.get(0))
        .unwrap();
    let limit = |writer: &StoreWriter, pages: i64| {
        let set = format!("PRAGMA max_page_count = {pages}");
        writer.db.query_row(&set, [], |_| Ok(())).unwrap();
    };
    limit(&writer, pages);
    let long = format!("Failed password for b from 192.0.2.2 {}", "x".repeat(9000));
    let mut jobs = [publication(&long, b"two"), publication(&long, b"three")];
    for result in writer.try_write(&mut jobs) {
        let error = result.unwrap_err().to_string();
        assert!(
            error.contains("full") && error.contains("make room"),
            "{error}"
        );
    }
    assert_eq!(writer.position(), before);
    assert_eq!(pictures(dir.path()), 1);
    limit(&writer, 1 << 30);
    assert!(writer.try_write(&mut jobs).iter().all(Result::is_ok));
    let all = readers.findings_after(0, 10).unwrap();
    assert_eq!(all.len(), 3);
}

#[test]
fn rolled_back_write_is_not_reported_as_written() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, readers) = open_at(dir.path());
    let pages: i64 = writer
        .db
        .pragma_query_value(None, "page_count", |row| row.get(0))
        .unwrap();
    let set = format!("PRAGMA max_page_count = {pages}");
    writer.db.query_row(&set, [], |_| Ok(())).unwrap();
    let long = format!("Failed password for b {}", "x".repeat(40_000));
    // The first is applied before the second finds the disk full.
    let mut group = [
        queued(CursorAdvance::new("siem", 7)),
        publication(&long, b"one"),
    ];
    assert!(writer.try_write(&mut group).iter().all(Result::is_err));
    assert!(group.iter().all(|write| write.announcement().is_none()));
    assert_eq!(readers.cursor("siem").unwrap(), None);
}

#[test]
fn one_still_per_interval_is_listed() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, readers) = open_at(dir.path());
    let mut kept: Vec<_> = (0..35).map(|second| moment("team", second)).collect();
    kept.extend([moment("other", 31), moment("other", 42)]);
    assert!(writer.try_write(&mut kept).iter().all(Result::is_ok));
    let seen = |query: MomentQuery| {
        let page = readers.moments(&query).unwrap();
        let items = page.items.into_iter();
        let items: Vec<_> = items.map(|one| (one.stream, one.frame_seq)).collect();
        (items, page.next)
    };
    let mut query = MomentQuery {
        every: Some(10),
        limit: 3,
        ..MomentQuery::default()
    };
    let of = |stream: &str, second: u64| (stream.to_owned(), second);
    let (first, next) = seen(query.clone());
    assert_eq!(first, [of("other", 42), of("team", 34), of("other", 31)]);
    query.after = next;
    let (second, next) = seen(query.clone());
    assert_eq!(second, [of("team", 29), of("team", 19), of("team", 9)]);
    assert_eq!(next, None);
    query = MomentQuery {
        stream: Some("team".to_owned()),
        until: Timestamp::from_second(15).ok(),
        after: None,
        ..query
    };
    assert_eq!(seen(query).0, [of("team", 14), of("team", 9)]);
}

#[test]
fn stills_stored_while_paging_hide_none() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, readers) = open_at(dir.path());
    let mut keep = |stream: &str, second: i64| {
        let kept = writer.try_write(&mut [moment(stream, second)]);
        assert!(kept[0].is_ok());
    };
    for (stream, second) in [("a", 1), ("b", 2), ("b", 12), ("a", 13), ("c", 14)] {
        keep(stream, second);
    }
    for every in [Some(10), None] {
        let mut query = MomentQuery {
            every,
            limit: 2,
            ..MomentQuery::default()
        };
        let mut seen = Vec::new();
        loop {
            let page = readers.moments(&query).unwrap();
            seen.extend(
                page.items
                    .into_iter()
                    .map(|one| (one.stream, one.frame_seq)),
            );
            // "b" is in the current interval, and yet to be shown.
            keep("b", 15);
            query.after = page.next;
            if page.next.is_none() {
                break;
            }
        }
        seen.retain(|(_, second)| *second < 15);
        let of = |stream: &str, second: u64| (stream.to_owned(), second);
        let all = [
            of("c", 14),
            of("a", 13),
            of("b", 12),
            of("b", 2),
            of("a", 1),
        ];
        assert_eq!(seen, all, "{every:?}");
    }
}

#[test]
fn retention_removes_stills_then_text_then_findings() {
    let dir = tempfile::tempdir().unwrap();
    let settings = StoreSettings {
        max_bytes: 3_000_000,
        ..StoreSettings::default()
    };
    let (mut writer, readers) = open(dir.path(), &settings).unwrap();
    let stream = StreamName::new("team").unwrap();
    let text = |text: String, lines: usize| {
        let line = ScreenLine {
            text,
            bounds: [0, 0, 10, 10],
        };
        queued(ScreenText {
            stream: stream.clone(),
            observed_at: Timestamp::now(),
            frame_seq: 1,
            pts_ms: 0,
            lines: vec![line; lines],
        })
    };
    let keep = |n: u8| {
        queued(Snapshot {
            stream: stream.clone(),
            seen_at: Timestamp::now(),
            frame_seq: u64::from(n),
            still: still_of(vec![n; 100_000]),
        })
    };
    let mut jobs = vec![
        publication("Failed password for a from 192.0.2.1", b"one"),
        text("operational".to_owned(), 1),
    ];
    jobs.extend((0..60).map(keep));
    assert!(writer.try_write(&mut jobs).iter().all(Result::is_ok));
    let left = |writer: &mut StoreWriter| {
        while writer.sweep().unwrap().more {}
        let lines = readers.search(&TextQuery {
            words: "operational".to_owned(),
            limit: 5000,
            ..TextQuery::default()
        });
        let moments = readers.moments(&MomentQuery {
            limit: 100,
            ..MomentQuery::default()
        });
        (
            moments.unwrap().items.len(),
            lines.unwrap().items.len(),
            readers.happened_after(0, 10).unwrap().len(),
            readers.findings_after(0, 10).unwrap().len(),
        )
    };
    assert_eq!(left(&mut writer), (10, 1, 1, 1));
    // Text above the limit is removed before outbox entries that sinks have yet
    // to deliver.
    let long = format!("operational {}", "x".repeat(2000));
    writer.try_write(&mut [text(long, 3000)]);
    let (moments, lines, outbox, findings) = left(&mut writer);
    assert_eq!((moments, outbox, findings), (0, 1, 1));
    assert!(lines < 3001, "{lines}");
}

#[test]
fn long_handover_has_the_newest_actions() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, readers) = open_at(dir.path());
    writer.try_write(&mut [publication("Failed password for a from 192.0.2.1", b"one")]);
    let incidents = readers.incidents(&IncidentQuery {
        limit: 1,
        ..IncidentQuery::default()
    });
    let incident = incidents.unwrap().items[0].id;
    let time = |second: i64| Timestamp::from_second(second).unwrap();
    let note = |second: i64| {
        queued(Annotation {
            incident,
            note: Note {
                by: "Ann".to_owned(),
                at: time(second),
                text: second.to_string(),
            },
        })
    };
    let mut notes: Vec<_> = (0..1001).map(note).collect();
    assert!(writer.try_write(&mut notes).iter().all(Result::is_ok));
    let done = |since: i64| {
        let (done, more) = readers.done_between(time(since), time(2000)).unwrap();
        let text = |done: Option<&Done>| done.map(|done| done.text.clone());
        (done.len(), text(done.first()), text(done.last()), more)
    };
    let (first, last) = (Some("1".to_owned()), Some("1000".to_owned()));
    assert_eq!(done(0), (1000, first.clone(), last.clone(), true));
    assert_eq!(done(1), (1000, first, last, false));
}

#[test]
fn failed_write_does_not_affect_others() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, readers) = open_at(dir.path());
    writer
        .db
        .execute_batch(
            "CREATE TEMP TRIGGER picky BEFORE INSERT ON findings WHEN new.json LIKE '%cursed%'
             BEGIN SELECT RAISE(ABORT, 'cursed'); END",
        )
        .unwrap();
    let results = writer.try_write(&mut [
        publication("Failed password for a from 192.0.2.1", b"one"),
        publication("a cursed line from 192.0.2.2", b"two"),
        publication("Failed password for c from 192.0.2.3", b"three"),
    ]);
    let fine: Vec<_> = results.iter().map(Result::is_ok).collect();
    assert_eq!(fine, [true, false, true]);
    assert_eq!(readers.findings_after(0, 10).unwrap().len(), 2);
    let list = readers.incidents(&IncidentQuery {
        limit: 10,
        ..IncidentQuery::default()
    });
    assert_eq!(list.unwrap().items.len(), 2);
    assert_eq!(pictures(dir.path()), 2);
}

#[test]
fn refused_write_does_not_affect_others() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, readers) = open_at(dir.path());
    let unknown = Uuid::nil();
    let (removal, mut outcome) = queue(SuppressionRemoval(unknown));
    let found = publication("Failed password for a from 192.0.2.1", b"one");
    let mut group = [removal, found];
    writer.write(&mut group);
    let announced = group.each_ref().map(|write| write.announcement().is_some());
    assert_eq!(announced, [false, true]);
    assert_eq!(readers.findings_after(0, 10).unwrap().len(), 1);
    for write in group {
        write.reply();
    }
    let refused = outcome.try_recv().unwrap();
    assert_eq!(refused, Err(WriteRefusal::NoLesson(unknown)));
}

#[test]
fn unreferenced_stills_are_removed_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, readers) = open_at(dir.path());
    writer.try_write(&mut [publication("Failed password for a from 192.0.2.1", b"kept")]);
    let orphan = writer.evidence.put(b"written, never committed").unwrap();
    assert_eq!(readers.still(&orphan).unwrap(), None);
    assert_eq!(pictures(dir.path()), 2);
    drop((writer, readers));
    drop(open_at(dir.path()));
    assert_eq!(pictures(dir.path()), 1);
}

#[test]
fn stills_are_stored_only_if_configured() {
    let dir = tempfile::tempdir().unwrap();
    let settings = StoreSettings {
        keep_stills: false,
        ..StoreSettings::default()
    };
    let (mut writer, _) = open(dir.path(), &settings).unwrap();
    writer.try_write(&mut [publication("Failed password for a from 192.0.2.1", b"one")]);
    assert_eq!(pictures(dir.path()), 0);
}

#[test]
fn positions_are_never_reused() {
    let dir = tempfile::tempdir().unwrap();
    let settings = StoreSettings {
        keep: std::time::Duration::ZERO,
        ..StoreSettings::default()
    };
    let (mut writer, readers) = open(dir.path(), &settings).unwrap();
    writer.try_write(&mut [publication("Failed password for a from 192.0.2.1", b"one")]);
    let before = writer.position();
    let swept = writer.sweep().unwrap();
    assert_eq!((swept.findings, swept.incidents, swept.stills), (1, 1, 1));
    drop((writer, readers));
    let (mut writer, readers) = open(dir.path(), &settings).unwrap();
    assert_eq!(writer.position().seq, before.seq);
    writer.try_write(&mut [publication("Failed password for a from 192.0.2.1", b"two")]);
    assert!(writer.position() > before);
    assert_eq!(readers.findings_after(before.seq, 9).unwrap().len(), 1);
    assert_eq!(readers.changed_after(before.revision, 9).unwrap().len(), 1);
}

#[test]
fn the_text_of_screens_can_be_searched() {
    let dir = tempfile::tempdir().unwrap();
    let (writer, _) = open_at(dir.path());
    writer
        .db
        .execute_batch(
            "INSERT INTO screen_text (text, stream) VALUES ('Failed password for admin', 'team');
             INSERT INTO screen_text (text, stream) VALUES ('All systems operational', 'team')",
        )
        .unwrap();
    let found: String = writer
        .db
        .query_row(
            "SELECT text FROM screen_text WHERE screen_text MATCH 'password'",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(found, "Failed password for admin");
}

/// Lines of a screen, to be stored.
fn screen_of(texts: &[&str]) -> ScreenText {
    let line = |text: &&str| ScreenLine {
        text: (*text).to_owned(),
        bounds: [0; 4],
    };
    ScreenText {
        stream: StreamName::new("team").unwrap(),
        observed_at: Timestamp::now(),
        frame_seq: 1,
        pts_ms: 0,
        lines: texts.iter().map(line).collect(),
    }
}

#[test]
fn search_finds_any_part_of_text_without_blanks() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, readers) = open_at(dir.path());
    let texts = [
        "本番環境のデータベースに障害が発生しました",
        "内存使用率92% 磁盘空间不足",
        "使用 web-03",
        "서버가 응답하지 않습니다",
        "高",
        "エラ一率が悪化",
    ];
    let finding = publication("用户登录失败次数过多", b"one");
    for result in writer.try_write(&mut [queued(screen_of(&texts)), finding]) {
        result.unwrap();
    }
    let found = |words: &str| -> Vec<usize> {
        let query = TextQuery {
            words: words.to_owned(),
            limit: 9,
            ..TextQuery::default()
        };
        let hits = readers.search(&query).unwrap().items.into_iter();
        let place = |hit: Hit| texts.iter().position(|text| *text == hit.text);
        hits.map(|hit| place(hit).expect("a line")).collect()
    };
    for (words, lines) in [
        ("データベース", &[0][..]),
        ("ベース", &[0]),
        ("障害", &[0]),
        ("害発", &[]),
        ("た", &[0]),
        ("使用", &[2, 1]),
        ("使用率", &[1]),
        ("用率92", &[1]),
        ("92", &[1]),
        ("磁盘 使用率", &[1]),
        ("使用 web-03", &[2]),
        ("응답", &[3]),
        ("高", &[4]),
        ("エラー", &[5]),
        ("悪化", &[5]),
    ] {
        assert_eq!(found(words), lines, "{words}");
    }
    let recalled = readers.recall(&["登录失败".to_owned()]).unwrap();
    assert_eq!((recalled.lines.len(), recalled.findings.len()), (0, 1));
}

#[test]
fn search_finds_what_was_misread_as_it_was_meant() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, readers) = open_at(dir.path());
    let texts = [
        "Last state: 00MKilled",
        "web-01 govemed by policy",
        "5OO errors in eu-west-l",
        "0%",
        "500 ok",
    ];
    let screen = queued(screen_of(&texts));
    let finding = publication("pod was 00MKilled", b"one");
    for result in writer.try_write(&mut [screen, finding]) {
        result.unwrap();
    }
    let found = |words: &str| -> Vec<String> {
        let query = TextQuery {
            words: words.to_owned(),
            limit: 9,
            ..TextQuery::default()
        };
        let hits = readers.search(&query).unwrap().items;
        hits.into_iter().map(|hit| hit.text).collect()
    };
    for (words, text) in [
        ("OOMKilled", texts[0]),
        ("oomk", texts[0]),
        ("00MKilled", texts[0]),
        ("governed", texts[1]),
        ("eu-west-1 errors", texts[2]),
        ("web-O1", texts[1]),
    ] {
        assert_eq!(found(words), [text], "{words}");
    }
    assert!(found("0%").contains(&texts[3].to_owned()));
    assert_eq!(
        found("500"),
        [texts[4], texts[2]],
        "as digits and as letters"
    );
    assert_eq!(found("50"), [texts[4]], "a beginning of a number");
    let recalled = readers.recall(&["OOMKilled".to_owned()]).unwrap();
    assert_eq!((recalled.lines.len(), recalled.findings.len()), (1, 1));
}

mod full;
mod over_time;
mod overview;

use watchtower_base::stream_name::StreamName;
use watchtower_domain::series::{SeriesName, Unit};

use super::levels::{DetailLevel, SampleSpan, rows, summary};
use super::*;
use crate::settings::StoreSettings;
use crate::store::{Readers, open, queue};

/// Start of the tests: a whole hour, an hour ago or more.
fn hour_ago() -> i64 {
    levels::floor(sql::nanos(Timestamp::now()) - 3600 * SECOND, 3600 * SECOND)
}

fn run(label: &str, from: i64, to: i64, value: f64) -> SeriesRun {
    SeriesRun {
        key: label.to_lowercase(),
        name: SeriesName {
            stream: StreamName::new("team").unwrap(),
            place: "card".to_owned(),
            label: label.to_owned(),
            unit: Unit::Percent,
        },
        from: sql::timestamp(from),
        to: sql::timestamp(to),
        value,
    }
}

struct SeriesStore {
    writer: StoreWriter,
    readers: Readers,
    _folder: tempfile::TempDir,
}

impl SeriesStore {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (writer, readers) = open(folder.path(), &StoreSettings::default()).unwrap();
        Self {
            writer,
            readers,
            _folder: folder,
        }
    }

    fn write(&mut self, runs: Vec<SeriesRun>, at: i64) {
        let at = sql::timestamp(at);
        assert_eq!(self.left_out(SeriesBatch { runs, at }), 0);
    }

    fn left_out(&mut self, batch: SeriesBatch) -> u64 {
        let (write, outcome) = queue(batch);
        let mut group = [write];
        self.writer.write(&mut group);
        for write in group {
            write.reply();
        }
        outcome.blocking_recv().unwrap().unwrap()
    }

    fn rows(&self, level: DetailLevel) -> Vec<(i64, i64, f64)> {
        let all = rows(&self.writer.db, level, 1, (0, i64::MAX)).unwrap();
        all.into_iter()
            .map(|row| (row.from, row.to, row.mean))
            .collect()
    }

    fn samples(&self, from: i64, until: i64, step: u32) -> Vec<(i64, i64, f64, f64, f64)> {
        let query = SampleQuery {
            series: 1,
            from: sql::timestamp(from),
            until: sql::timestamp(until),
            step,
        };
        let points = self.readers.samples(&query).unwrap().into_iter();
        let shown = |point: SeriesPoint| {
            let (from, to) = (sql::nanos(point.from) - from, sql::nanos(point.to) - from);
            (
                from / SECOND,
                to / SECOND,
                point.mean,
                point.low,
                point.high,
            )
        };
        points.map(shown).collect()
    }
}

#[test]
fn runs_are_one_series_and_one_row_each() {
    let mut store = SeriesStore::new();
    let at = hour_ago();
    let s = |seconds: i64| at + seconds * SECOND;
    store.write(
        vec![
            run("Errors", s(0), s(10), 1.0),
            run("Other", s(0), s(10), 9.0),
        ],
        s(10),
    );
    // Longer, then another value.
    store.write(
        vec![
            run("Errors", s(0), s(30), 1.0),
            run("Errors", s(30), s(40), 2.5),
        ],
        s(40),
    );
    assert_eq!(
        store.rows(DetailLevel::Raw),
        [(s(0), s(30), 1.0), (s(30), s(40), 2.5)]
    );
    let query = SeriesQuery {
        limit: 1,
        ..SeriesQuery::default()
    };
    let page = store.readers.series(&query).unwrap();
    assert_eq!(page.items[0].name.label, "Other");
    let next = SeriesQuery {
        before: page.next,
        ..query
    };
    let page = store.readers.series(&next).unwrap();
    let errors = &page.items[0];
    assert_eq!((errors.name.label.as_str(), errors.value), ("Errors", 2.5));
    assert_eq!(errors.name.unit, Unit::Percent);
    assert_eq!(
        (sql::nanos(errors.first_seen), sql::nanos(errors.last_seen)),
        (s(0), s(40))
    );
    assert_eq!(page.next, None);
    let by_label = SeriesQuery {
        label: Some("RROR".to_owned()),
        limit: 10,
        ..SeriesQuery::default()
    };
    assert_eq!(store.readers.series(&by_label).unwrap().items.len(), 1);
    let elsewhere = SeriesQuery {
        stream: Some("other".to_owned()),
        limit: 10,
        ..SeriesQuery::default()
    };
    assert_eq!(store.readers.series(&elsewhere).unwrap().items, []);
}

#[test]
fn steps_have_the_mean_over_time_and_gaps_none() {
    let span = |from, to, mean| SampleSpan {
        from,
        to,
        mean,
        low: mean,
        high: mean,
    };
    // 0 to 90 at 1, 90 to 100 at 5, nothing, 250 to 260 at 2, one sight at 310.
    let rows = [
        span(0, 90, 1.0),
        span(90, 100, 5.0),
        span(250, 260, 2.0),
        span(310, 310, 7.0),
    ];
    let steps = summary(&rows, (0, 400), 100);
    let shown: Vec<_> = steps
        .iter()
        .map(|s| (s.from, s.to, s.mean, s.low, s.high))
        .collect();
    assert_eq!(
        shown,
        [
            (0, 100, 1.4, 1.0, 5.0),
            (250, 260, 2.0, 2.0, 2.0),
            (310, 310, 7.0, 7.0, 7.0)
        ]
    );
    // A row over several steps is in each of them.
    let long = summary(&[span(0, 250, 3.0)], (0, 400), 100);
    let times: Vec<_> = long.iter().map(|s| (s.from, s.to)).collect();
    assert_eq!(times, [(0, 100), (100, 200), (200, 250)]);
}

#[test]
fn minutes_are_summarised_and_a_constant_is_one_row() {
    let mut store = SeriesStore::new();
    let at = hour_ago();
    let s = |seconds: i64| at + seconds * SECOND;
    store.write(
        vec![
            // Five minutes of one value, half a minute of another, a gap.
            run("Errors", s(0), s(300), 1.0),
            run("Errors", s(300), s(330), 3.0),
            run("Errors", s(500), s(560), 8.0),
        ],
        s(560),
    );
    assert_eq!(
        store.rows(DetailLevel::Minutes),
        [(s(0), s(300), 1.0), (s(300), s(330), 3.0)]
    );
    store.write(vec![run("Errors", s(500), s(560), 8.0)], s(1300));
    // Equal neighbours are one row.
    assert_eq!(
        store.rows(DetailLevel::Minutes),
        [
            (s(0), s(300), 1.0),
            (s(300), s(330), 3.0),
            (s(500), s(560), 8.0)
        ]
    );
    // The same values by query, whatever the level: a gap is no step.
    let minutes = store.samples(s(0), s(600), 60);
    let raw = store.samples(s(0), s(600), 20);
    assert_eq!(
        minutes.iter().map(|p| p.0).collect::<Vec<_>>(),
        [0, 60, 120, 180, 240, 300, 500, 540]
    );
    assert!(minutes.iter().all(|point| point.2 > 0.0));
    assert_eq!(
        raw.iter()
            .filter(|point| (330..500).contains(&point.0))
            .count(),
        0
    );
    let hours = store.samples(s(0), s(3600), 3600);
    assert_eq!(hours.len(), 1);
    let (_, _, mean, low, high) = hours[0];
    // 300 s of 1, 30 s of 3, 60 s of 8.
    assert!(
        (mean - (300.0 + 90.0 + 480.0) / 390.0).abs() < 0.01,
        "{mean}"
    );
    assert_eq!((low, high), (1.0, 8.0));
}

#[test]
fn each_level_is_kept_for_its_time() {
    let mut store = SeriesStore::new();
    let at = hour_ago();
    let day = 24 * 3600 * SECOND;
    store.write(
        vec![run("Errors", at, at + 600 * SECOND, 1.0)],
        at + 600 * SECOND,
    );
    store.write(
        vec![run("Errors", at + 600 * SECOND, at + 7300 * SECOND, 2.0)],
        at + 7500 * SECOND,
    );
    let kept = |store: &SeriesStore| DetailLevel::ALL.map(|level| store.rows(level).len());
    assert_eq!(kept(&store), [2, 2, 2]);
    for (later, pressed, left) in [
        (2 * 3600 * SECOND, false, [2, 2, 2]),
        (4 * 3600 * SECOND, true, [0, 2, 2]),
        (2 * day, false, [0, 2, 2]),
        (8 * day, true, [0, 0, 2]),
        (93 * day, false, [0, 0, 2]),
        (367 * day, false, [0, 0, 0]),
    ] {
        while store.writer.forget_series(at + later, pressed).unwrap() {}
        assert_eq!(kept(&store), left, "{} days", later / day);
    }
    let all = SeriesQuery {
        limit: 10,
        ..SeriesQuery::default()
    };
    assert_eq!(store.readers.series(&all).unwrap().items, []);
}

#[test]
fn new_series_are_left_out_where_none_can_give_way() {
    let mut store = SeriesStore::new();
    let at = hour_ago();
    let many = (0..MOST_SERIES).map(|nth| run(&format!("s{nth}"), at, at + SECOND, 1.0));
    store.write(many.collect(), at);
    let more = |at: i64| SeriesBatch {
        runs: vec![run("more", at, at, 1.0)],
        at: sql::timestamp(at),
    };
    assert_eq!(store.left_out(more(at + 60 * SECOND)), 1);
    assert_eq!(store.left_out(more(at + 2 * GIVES_WAY)), 0);
}

#[test]
fn a_reading_of_300_numbers_is_cheap() {
    let mut store = SeriesStore::new();
    let at = hour_ago();
    let batch = |nth: i64| -> Vec<SeriesRun> {
        let at = at + nth * 10 * SECOND;
        (0..300)
            .map(|label| run(&format!("s{label}"), at, at + SECOND, nth as f64))
            .collect()
    };
    store.write(batch(0), at);
    let begun = std::time::Instant::now();
    for nth in 1..=20 {
        store.write(batch(nth), at + nth * 10 * SECOND);
    }
    let each = begun.elapsed() / 20;
    println!("{each:?} a reading of 300 changed numbers");
    // A bound far above: it catches a scan of all rows, not a slow machine.
    assert!(each < std::time::Duration::from_millis(400), "{each:?}");
}

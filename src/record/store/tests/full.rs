//! A record filled to its cap, and another day of load.
//!
//! `WATCHTOWER_RECORD_MEGABYTES` sets the cap (default 16), and `--nocapture`
//! shows the figures for docs/performance.md.

use std::time::{Duration, Instant};

use super::over_time::{ManualClock, capped, sweep_all};
use super::*;

/// Parts of the day.
const ROUNDS: u64 = 72;

/// Measures of a record.
struct Filled {
    writer: StoreWriter,
    readers: Readers,
    manual_clock: ManualClock,
    /// Generator of unique words.
    seed: u32,
    findings: usize,
}

impl Filled {
    fn word(&mut self) -> String {
        self.seed = self
            .seed
            .wrapping_mul(1_664_525)
            .wrapping_add(1_013_904_223);
        format!("w{:x}", self.seed >> 12)
    }

    fn find(&mut self, count: usize) {
        let mut findings: Vec<_> = (self.findings..self.findings + count)
            .map(|n| {
                let word = self.word();
                let address = format!("10.{}.{}.{}", n >> 16, n >> 8 & 255, n & 255);
                publication(
                    &format!("Failed password for {word} from {address}"),
                    b"kept",
                )
            })
            .collect();
        self.findings += count;
        assert!(
            self.writer
                .try_write(&mut findings)
                .iter()
                .all(Result::is_ok)
        );
    }

    /// Stores screens of 50 lines each, and a still of each tenth.
    fn show(&mut self, screens: usize) {
        let stream = StreamName::new("team").unwrap();
        for screen in 0..screens {
            let at = self.manual_clock.now();
            let lines = (0..50).map(|_| {
                let words: Vec<_> = (0..10).map(|_| self.word()).collect();
                ScreenLine {
                    text: words.join(" "),
                    bounds: [0, 0, 10, 10],
                }
            });
            let text = queued(ScreenText {
                stream: stream.clone(),
                observed_at: at,
                frame_seq: screen as u64,
                pts_ms: 0,
                lines: lines.collect(),
            });
            let mut jobs = vec![text];
            if screen % 10 == 0 {
                let word = self.word();
                jobs.push(queued(Snapshot {
                    stream: stream.clone(),
                    seen_at: at,
                    frame_seq: screen as u64,
                    still: still_of(word.into_bytes().repeat(5000)),
                }));
            }
            assert!(self.writer.try_write(&mut jobs).iter().all(Result::is_ok));
        }
    }

    /// Median latency of searches and lists.
    fn speed(&mut self) -> [Duration; 3] {
        let mut took: [Vec<Duration>; 3] = Default::default();
        for n in 0..40 {
            let words = format!("w{:x}", 1 + n % 15);
            let begun = Instant::now();
            let query = TextQuery {
                words: words.clone(),
                limit: 50,
                ..TextQuery::default()
            };
            assert!(!self.readers.search(&query).unwrap().items.is_empty());
            took[0].push(begun.elapsed());
            let begun = Instant::now();
            let query = FindingQuery {
                words: Some(words),
                limit: 50,
                ..FindingQuery::default()
            };
            assert!(!self.readers.findings(&query).unwrap().items.is_empty());
            took[1].push(begun.elapsed());
            let begun = Instant::now();
            let query = IncidentQuery {
                limit: 50,
                ..IncidentQuery::default()
            };
            assert!(!self.readers.incidents(&query).unwrap().items.is_empty());
            took[2].push(begun.elapsed());
        }
        took.map(|mut took| {
            took.sort();
            took[took.len() / 2]
        })
    }

    fn count(&self, table: &str) -> i64 {
        let count = format!("SELECT count(*) FROM {table}");
        self.writer
            .db
            .query_row(&count, [], |row| row.get(0))
            .unwrap()
    }
}

/// Sizes in a folder: the database, its log and index, and the evidence.
fn files(dir: &Path) -> Vec<(String, u64)> {
    let entries = std::fs::read_dir(dir).unwrap().flatten();
    let sizes = entries.map(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        let size = match entry.metadata().unwrap() {
            meta if meta.is_dir() => on_disk(&entry.path()),
            meta => meta.len(),
        };
        (name, size)
    });
    sizes.collect()
}

fn on_disk(dir: &Path) -> u64 {
    files(dir).iter().map(|(_, size)| size).sum()
}

#[test]
fn a_full_record_takes_another_day_and_keeps_every_finding() {
    let set = std::env::var("WATCHTOWER_RECORD_MEGABYTES").ok();
    let megabytes: u64 = set.and_then(|set| set.parse().ok()).unwrap_or(16);
    let cap = megabytes * 1_000_000;
    let dir = tempfile::tempdir().unwrap();
    let (writer, readers, manual_clock) = capped(dir.path(), cap);
    let mut record = Filled {
        writer,
        readers,
        manual_clock,
        seed: 1,
        findings: 0,
    };
    // A quarter of it is findings; the rest is what the screens showed.
    while on_disk(dir.path()) < cap / 4 {
        record.find(100);
    }
    let mut swept = false;
    while !swept {
        record.show(20);
        swept = record.writer.is_full();
    }
    sweep_all(&mut record.writer);
    let before = record.speed();
    let (found, lines) = (record.findings, record.count("screen_text"));
    let mut largest = on_disk(dir.path());
    let (mut written, begun) = (Duration::ZERO, Instant::now());
    for _ in 0..ROUNDS {
        record.manual_clock.go(24 * 60 * 60 / ROUNDS);
        let work = Instant::now();
        record.find(2);
        record.show(megabytes as usize / 2);
        written += work.elapsed();
        if record.writer.is_full() {
            sweep_all(&mut record.writer);
        }
        largest = largest.max(on_disk(dir.path()));
        assert!(
            largest <= cap,
            "{largest} of {cap}: {:?}",
            files(dir.path())
        );
    }
    let day = begun.elapsed();
    let after = record.speed();
    assert_eq!(record.count("findings"), found as i64 + 2 * ROUNDS as i64);
    assert_eq!(record.findings, found + 2 * ROUNDS as usize);
    let kept = record.count("screen_text");
    assert!(kept > lines / 2, "{kept} of {lines} lines");
    // Speed is for `scripts/bench.sh record` to measure.
    println!(
        "cap {megabytes} MB: {found} findings before, {} after; lines {lines}, {kept}; most on \
         disk {:.1} MB; search of screens, of findings, list of incidents (median): {before:?} \
         before, {after:?} after; a day of {} screens: {written:?} to write, {:?} to sweep",
        record.findings,
        largest as f64 / 1e6,
        ROUNDS * megabytes / 2,
        day - written,
    );
}

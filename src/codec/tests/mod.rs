//! End-to-end decoding of streams on a virtual clock: an hour of stream takes
//! only the time its pictures take to decode.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use jiff::Timestamp;

use watchtower_base::metrics::MetricsRegistry;
use watchtower_base::stream_name::StreamName;
use watchtower_media::{AccessUnit, MediaTime};
use watchtower_screen::frame::Frame;
use watchtower_screen::frames::FrameBus;
use watchtower_screen::picture::Picture;

use super::clips::{shifted, units};
use super::encode_jpeg;
use super::session::{DecodeSession, Now};
use crate::metrics::CodecMetrics;

mod pictures;
mod web_codecs;

const SECOND: Duration = Duration::from_secs(1);

struct Bench {
    session: DecodeSession,
    bus: FrameBus,
    name: StreamName,
    metrics: Arc<CodecMetrics>,
    registry: MetricsRegistry,
    start: Instant,
    published: Vec<Arc<Frame>>,
}

impl Bench {
    fn new() -> Self {
        super::init();
        let name = StreamName::new("team").expect("valid");
        let bus = FrameBus::new();
        let mut registry = MetricsRegistry::default();
        let metrics = Arc::new(CodecMetrics::new(&mut registry));
        Self {
            session: DecodeSession::new(bus.open(&name, encode_jpeg), Arc::clone(&metrics)),
            bus,
            name,
            metrics,
            registry,
            start: Instant::now(),
            published: Vec::new(),
        }
    }

    /// Feeds units in real time, by their own timestamps.
    fn run(&mut self, units: &[AccessUnit], fastest: Duration) -> &mut Self {
        for unit in units {
            let at = self.start + Duration::from_millis(unit.dts.ms().max(0).unsigned_abs());
            while let Some(due) = self.session.due(fastest).filter(|due| *due < at) {
                self.session.publish_due(now(due), fastest);
                self.note();
            }
            self.session.unit(unit.clone(), now(at), fastest);
            self.note();
        }
        self
    }

    fn note(&mut self) {
        let newest = self.bus.newest(&self.name);
        let last = self.published.last().map(|frame| frame.seq);
        self.published
            .extend(newest.filter(|frame| Some(frame.seq) != last));
    }

    fn pictures(&self) -> Vec<&Picture> {
        self.published.iter().map(|frame| &*frame.picture).collect()
    }

    fn last(&self) -> &Picture {
        self.published
            .last()
            .map(|frame| &*frame.picture)
            .expect("a picture")
    }
}

fn now(at: Instant) -> Now {
    Now {
        at,
        wall: Timestamp::UNIX_EPOCH,
    }
}

const MOVING: &str = "testsrc2=s=320x180:r=10";

#[test]
fn keyframes_alone_are_decoded_when_they_serve() {
    let clip = units(MOVING, "-t 30 -g 20 -sc_threshold 0");
    let mut bench = Bench::new();
    bench.run(&clip, 10 * SECOND);
    // Fifteen keyframes, and the rest of the first group of pictures.
    let decoded = bench.metrics.frames.get();
    assert!((15..=35).contains(&decoded), "{decoded}");
    // Every keyframe got published, all but the last within its second.
    let seconds: Vec<i64> = bench.published.iter().map(|f| f.pts.ms() / 1000).collect();
    for keyframe in (4..30).step_by(2) {
        assert!(seconds.contains(&keyframe), "{keyframe} in {seconds:?}");
    }
    assert_eq!(bench.metrics.broken_pictures.get(), 0);
}

#[test]
fn a_long_interval_is_decoded_in_full_for_a_fast_analyst() {
    let clip = units(MOVING, "-t 40 -g 200 -sc_threshold 0 -bf 0");
    let mut bench = Bench::new();
    bench.run(&clip, SECOND);
    assert_eq!(bench.metrics.frames.get(), 400);
    // Two a second are published, not ten.
    assert!(
        (70..=82).contains(&bench.published.len()),
        "{}",
        bench.published.len()
    );
}

#[test]
fn a_keyframe_that_stays_away_is_made_up_for() {
    let groups = units(MOVING, "-t 10 -g 20 -sc_threshold 0 -bf 2");
    let endless = units(MOVING, "-t 30 -g 9999 -sc_threshold 0 -bf 2");
    let mut bench = Bench::new();
    bench.run(&groups, 4 * SECOND);
    let before = bench.metrics.frames.get();
    assert!(before < 40, "{before}");
    bench.run(&shifted(&endless, MediaTime::from_ms(10_000)), 4 * SECOND);
    // No gap longer than the analyst's interval plus the quarter of tolerance.
    let times: Vec<i64> = bench.published.iter().map(|frame| frame.pts.ms()).collect();
    let widest = times.windows(2).map(|pair| pair[1] - pair[0]).max();
    assert!(widest <= Some(5_500), "{times:?}");
    assert!(times.last() >= Some(&38_500), "{times:?}");
    assert_eq!(bench.metrics.broken_pictures.get(), 0);
}

#[test]
fn the_last_change_before_a_still_screen_is_seen() {
    let clip = units(MOVING, "-t 8.5 -g 20 -sc_threshold 0 -bf 0");
    let mut full = Bench::new();
    full.run(&clip, SECOND / 5);
    let mut bench = Bench::new();
    bench.run(&clip, 4 * SECOND);
    assert_eq!(
        bench.session.due(4 * SECOND),
        Some(bench.start + 13 * SECOND)
    );
    // No unit follows the half second after the last keyframe.
    for _ in 0..4 {
        if let Some(due) = bench.session.due(4 * SECOND) {
            bench.session.publish_due(now(due), 4 * SECOND);
            bench.note();
        }
    }
    assert_eq!(bench.session.due(4 * SECOND), None);
    assert_eq!(
        bench.published.last().map(|frame| frame.pts.ms()),
        Some(8400)
    );
    assert!(bench.last() == full.last());
}

#[test]
fn the_size_changes_in_mid_stream() {
    for fastest in [SECOND / 2, 10 * SECOND] {
        let small = units(MOVING, "-t 6 -g 10 -bf 2");
        let large = units("testsrc2=s=640x362:r=10", "-t 6 -g 10 -bf 2");
        let mut bench = Bench::new();
        bench.run(&small, fastest);
        bench.run(&shifted(&large, MediaTime::from_ms(6_000)), fastest);
        bench.run(&shifted(&small, MediaTime::from_ms(12_000)), fastest);
        let mut sizes: Vec<_> = bench
            .pictures()
            .iter()
            .map(|p| (p.width, p.height))
            .collect();
        sizes.dedup();
        assert_eq!(sizes, [(320, 180), (640, 362), (320, 180)]);
        assert_eq!(bench.metrics.broken_pictures.get(), 0);
    }
}

#[test]
fn a_broken_unit_costs_pictures_up_to_the_next_keyframe() {
    for fastest in [SECOND / 2, 10 * SECOND] {
        let mut clip = units(MOVING, "-t 20 -g 10 -bf 0");
        let mut bench = Bench::new();
        for (n, unit) in clip.iter_mut().enumerate() {
            // The third to the tenth second; everything but the first bytes.
            if (30..100).contains(&n) {
                unit.data = corrupted(&unit.data, n as u64);
            }
        }
        bench.run(&clip, fastest);
        let broken = bench.metrics.broken_pictures.get();
        assert!(broken >= 6, "{broken}");
        // No concealed picture is published, and the stream has recovered by
        // the eleventh second.
        let clean = units(MOVING, "-t 20 -g 10 -bf 0");
        let mut good = Bench::new();
        good.run(&clean, fastest);
        let recovered: Vec<_> = bench
            .published
            .iter()
            .filter(|f| f.pts.ms() >= 11_000)
            .collect();
        assert!(recovered.len() >= 8, "{}", recovered.len());
        let mut compared = 0;
        for frame in recovered {
            let same = good.published.iter().find(|good| good.pts == frame.pts);
            if let Some(same) = same {
                assert!(same.picture == frame.picture, "{:?}", frame.pts);
                compared += 1;
            }
        }
        assert!(compared > 0);
    }
}

#[test]
fn nothing_a_publisher_sends_breaks_the_session() {
    let clip = units(MOVING, "-t 4 -g 10 -bf 2");
    let mut bench = Bench::new();
    let mut seed = 1;
    for round in 0..40_u64 {
        let mut clip = shifted(&clip, MediaTime::from_ms(4_000 * round as i64));
        for unit in &mut clip {
            seed = random(seed);
            match seed % 29 {
                0..3 => unit.data = Bytes::new(),
                3..6 => unit.data = unit.data.slice(..(seed >> 8) as usize % unit.data.len()),
                6..10 => unit.data = corrupted(&unit.data, seed),
                10 => {
                    let mut config = (*unit.config).clone();
                    config.record = corrupted(&config.record, seed);
                    unit.config = Arc::new(config);
                }
                11 => unit.keyframe = !unit.keyframe,
                12 => unit.pts.0 = seed as i64,
                _ => {}
            }
        }
        bench.run(&clip, if round % 2 == 0 { SECOND } else { 10 * SECOND });
    }
    let broken = bench.metrics.broken_pictures.get();
    assert!(broken > 30, "{broken}");
    // Then a valid publisher.
    let before = bench.published.len();
    bench.run(&shifted(&clip, MediaTime::from_ms(200_000)), SECOND);
    assert!(bench.published.len() > before);
}

#[test]
fn pictures_come_in_the_order_they_are_shown() {
    // OBS' defaults: B-frames in three of four, a keyframe every 250.
    let clip = units(
        "testsrc2=s=320x180:r=30",
        "-t 12 -g 250 -bf 3 -b_strategy 0 -x264opts b-pyramid=normal",
    );
    assert!(clip.iter().any(|unit| unit.pts != unit.dts));
    let mut bench = Bench::new();
    bench.run(&clip, SECOND / 5);
    let times: Vec<i64> = bench.published.iter().map(|frame| frame.pts.0).collect();
    assert!(times.is_sorted(), "{times:?}");
    assert!(times.len() > 100, "{}", times.len());
    // Unreferenced pictures are skipped between two samples.
    let decoded = bench.metrics.frames.get();
    assert!(decoded < 300, "{decoded} of {}", clip.len());
}

#[test]
fn a_lost_stretch_is_counted_and_left_behind() {
    let clip = units(MOVING, "-t 10 -g 20 -bf 2");
    let mut bench = Bench::new();
    bench.run(&clip[..35], SECOND);
    bench.session.lost(25, now(bench.start + 6 * SECOND));
    bench.run(&clip[60..], SECOND);
    assert_eq!(bench.metrics.broken_pictures.get(), 0);
    assert!(
        bench
            .registry
            .render()
            .contains("watchtower_dropped_total{where=\"decoder\"} 25")
    );
    assert!(
        bench
            .published
            .last()
            .is_some_and(|frame| frame.pts.ms() > 9_000)
    );
}

/// Corrupts about one byte in fifty, sparing lengths and slice headers.
fn corrupted(bytes: &Bytes, seed: u64) -> Bytes {
    let mut bytes = bytes.to_vec();
    let mut seed = random(seed + 1);
    let count = bytes.len() / 50 + 1;
    for _ in 0..count {
        seed = random(seed);
        if bytes.len() > 12 {
            let at = 12 + (seed >> 16) as usize % (bytes.len() - 12);
            bytes[at] ^= (seed as u8).max(1);
        }
    }
    Bytes::from(bytes)
}

/// xorshift64.
fn random(mut state: u64) -> u64 {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    state
}

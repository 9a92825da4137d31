//! Streams through the whole of decoding, on a clock of the test's own: an
//! hour of stream takes as long as its pictures take to decode.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ffmpeg_next as ff;
use jiff::Timestamp;

use super::clips::{self, shifted, units};
use super::encode_jpeg;
use super::session::{Now, Session};
use crate::frame_bus::FrameBus;
use crate::media::{AccessUnit, Frame, MediaTime, Picture, StreamName};
use crate::metrics::Metrics;

const SECOND: Duration = Duration::from_secs(1);

struct Bench {
    session: Session,
    bus: FrameBus,
    name: StreamName,
    metrics: Arc<Metrics>,
    start: Instant,
    published: Vec<Arc<Frame>>,
}

impl Bench {
    fn new() -> Self {
        super::init();
        let name = StreamName::new("team").expect("valid");
        let bus = FrameBus::new();
        let metrics = Arc::new(Metrics::new());
        Self {
            session: Session::new(bus.open(&name, encode_jpeg), Arc::clone(&metrics)),
            bus,
            name,
            metrics,
            start: Instant::now(),
            published: Vec::new(),
        }
    }

    /// In real time by the units' own timestamps.
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
    // Fifteen keyframes, and the rest of the first group.
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
    // No hole longer than the analyst's interval and the quarter of grace.
    let times: Vec<i64> = bench.published.iter().map(|frame| frame.pts.ms()).collect();
    let widest = times.windows(2).map(|pair| pair[1] - pair[0]).max();
    assert!(widest <= Some(5_500), "{times:?}");
    assert!(times.last() >= Some(&38_500), "{times:?}");
    assert_eq!(bench.metrics.broken_pictures.get(), 0);
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
                unit.avcc = corrupted(&unit.avcc, n as u64);
            }
        }
        bench.run(&clip, fastest);
        let broken = bench.metrics.broken_pictures.get();
        assert!(broken >= 6, "{broken}");
        // Nothing made up is shown, and all is well again from the eleventh.
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
                0..3 => unit.avcc = Bytes::new(),
                3..6 => unit.avcc = unit.avcc.slice(..(seed >> 8) as usize % unit.avcc.len()),
                6..10 => unit.avcc = corrupted(&unit.avcc, seed),
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
    // And then a good publisher.
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
    // Pictures nobody refers to are left out between two samples.
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
            .metrics
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

/// Four bars of colour; what the middle of each is in R'G'B'.
const BARS: [(&str, [u8; 3]); 4] = [
    ("0xC82828", [200, 40, 40]),
    ("0x28B43C", [40, 180, 60]),
    ("0x3246DC", [50, 70, 220]),
    ("0x808080", [128, 128, 128]),
];

fn bars(width: u32, height: u32) -> String {
    let bar = width / 4;
    let boxes: Vec<String> = BARS
        .iter()
        .enumerate()
        .map(|(n, (colour, _))| {
            format!(
                "drawbox=x={}:y=0:w={bar}:h={height}:c={colour}:t=fill",
                n as u32 * bar
            )
        })
        .collect();
    format!(
        "color=c=black:s={width}x{height}:r=5:d=1,format=gbrp,{}",
        boxes.join(",")
    )
}

fn rgb_at(picture: &Picture, x: u32, y: u32) -> [u8; 3] {
    let half = picture.width.div_ceil(2);
    let luma = f64::from(picture.y[(y * picture.width + x) as usize]);
    let at = (y / 2 * half + x / 2) as usize;
    let cb = f64::from(picture.u[at]) - 128.0;
    let cr = f64::from(picture.v[at]) - 128.0;
    // JFIF 1.02, "Conversion to and from RGB".
    [
        luma + 1.402 * cr,
        luma - 0.344_14 * cb - 0.714_14 * cr,
        luma + 1.772 * cb,
    ]
    .map(|sample| sample.round().clamp(0.0, 255.0) as u8)
}

fn assert_bars(picture: &Picture, grey: bool, what: &str) {
    let bar = picture.width / 4;
    for (n, (_, expected)) in BARS.iter().enumerate() {
        let got = rgb_at(picture, n as u32 * bar + bar / 2, picture.height / 2);
        let expected = if grey {
            let [r, g, b] = expected.map(f64::from);
            // The encoder's own way to grey is BT.601's.
            [(0.299 * r + 0.587 * g + 0.114 * b).round() as u8; 3]
        } else {
            *expected
        };
        for (got_sample, expected_sample) in got.iter().zip(expected) {
            assert!(
                got_sample.abs_diff(expected_sample) <= 5,
                "{what}, bar {n}: {got:?} for {expected:?}"
            );
        }
    }
}

#[test]
fn colours_are_right_whatever_the_format() {
    // Matrix and range as the stream says; unsaid, by its height.
    let tv = "-vf scale=out_color_matrix=MATRIX:out_range=RANGE,format=FORMAT";
    let cases = [
        (
            "bt709",
            "tv",
            "yuv420p",
            "-colorspace bt709 -color_range tv",
            320,
            180,
        ),
        (
            "bt601",
            "tv",
            "yuv420p",
            "-colorspace smpte170m -color_range tv",
            1280,
            720,
        ),
        ("bt601", "tv", "yuv420p", "", 320, 180),
        ("bt709", "tv", "yuv420p", "", 1280, 720),
        (
            "bt709",
            "pc",
            "yuvj420p",
            "-colorspace bt709 -color_range pc",
            320,
            180,
        ),
        (
            "bt601",
            "pc",
            "yuvj420p",
            "-colorspace smpte170m -color_range pc",
            320,
            180,
        ),
        ("bt709", "tv", "yuv422p", "-colorspace bt709", 320, 180),
        ("bt709", "tv", "yuv444p", "-colorspace bt709", 320, 180),
        (
            "bt709",
            "pc",
            "yuvj444p",
            "-colorspace bt709 -color_range pc",
            320,
            180,
        ),
        ("bt709", "tv", "yuv420p10le", "-colorspace bt709", 320, 180),
        ("bt709", "tv", "yuv444p10le", "-colorspace bt709", 320, 180),
        (
            "bt2020",
            "tv",
            "yuv420p10le",
            "-colorspace bt2020nc",
            320,
            180,
        ),
        ("bt709", "tv", "yuv444p", "-colorspace bt709", 322, 182),
        ("bt709", "tv", "yuv444p", "-colorspace bt709", 321, 181),
        ("bt601", "pc", "gray", "", 320, 180),
        ("bt601", "tv", "gray10le", "", 320, 180),
    ];
    for (matrix, range, format, options, width, height) in cases {
        let filter = tv
            .replace("MATRIX", matrix)
            .replace("RANGE", range)
            .replace("FORMAT", format);
        let clip = units(&bars(width, height), &format!("{filter} -qp 4 {options}"));
        let mut bench = Bench::new();
        bench.run(&clip, SECOND);
        let what = format!("{format} {matrix} {range} {options} {width}x{height}");
        let picture = bench.last();
        assert_eq!((picture.width, picture.height), (width, height), "{what}");
        assert_bars(picture, format.starts_with("gray"), &what);
    }
}

#[test]
fn rgb_streams_are_understood() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("rgb.mkv");
    clips::make(
        &format!("-f lavfi -i {} -c:v libx264rgb -qp 4", bars(320, 180)),
        &path,
    );
    let mut bench = Bench::new();
    bench.run(&clips::read(&path), SECOND);
    assert_bars(bench.last(), false, "libx264rgb");
}

#[test]
fn tiny_and_odd_pictures_pass_and_huge_ones_are_refused() {
    for size in ["16x16", "2x2", "17x33", "641x361"] {
        let clip = units(&format!("testsrc=s={size}:r=5:d=1"), "-vf format=yuv444p");
        let mut bench = Bench::new();
        bench.run(&clip, SECOND);
        let picture = bench.last();
        assert_eq!(format!("{}x{}", picture.width, picture.height), size);
        assert!(encode_jpeg(picture).is_ok(), "{size}");
    }
    let clip = units("color=c=gray:s=8320x64:r=1:d=2", "");
    let mut bench = Bench::new();
    bench.run(&clip, SECOND);
    assert!(bench.published.is_empty());
    assert!(bench.metrics.broken_pictures.get() > 0);
}

#[test]
fn a_jpeg_shows_what_the_picture_shows() {
    for (width, height) in [(320, 180), (1281, 721), (16, 16), (8, 5), (1, 1)] {
        let source = bars(width.max(16), height.max(16));
        let clip = units(
            &source,
            "-vf scale=out_color_matrix=bt601,format=yuv444p -qp 4 -colorspace smpte170m",
        );
        let mut bench = Bench::new();
        bench.run(&clip, SECOND);
        let picture = cropped(bench.last(), width, height);
        let jpeg = encode_jpeg(&picture).expect("encodes");
        assert_eq!(jpeg[..4], [0xff, 0xd8, 0xff, 0xe0], "JFIF");
        assert_eq!(jpeg[6..11], *b"JFIF\0");
        assert!(!jpeg.windows(4).any(|bytes| bytes == b"Lavc"));
        // Baseline: SOF0.
        assert!(jpeg.windows(4).any(|bytes| bytes == [0xff, 0xc0, 0, 17]));
        let decoded = decode_jpeg(&jpeg);
        assert_eq!((decoded.width, decoded.height), (width, height));
        let far = |a: &[u8], b: &[u8]| {
            let sum: u64 = a
                .iter()
                .zip(b)
                .map(|(a, b)| u64::from(a.abs_diff(*b)))
                .sum();
            sum as f64 / a.len() as f64
        };
        assert!(far(&picture.y, &decoded.y) < 1.5, "{width}x{height}");
        assert!(far(&picture.u, &decoded.u) < 2.5, "{width}x{height}");
        assert!(far(&picture.v, &decoded.v) < 2.5, "{width}x{height}");
        if width >= 320 {
            assert_bars(&decoded, false, "JPEG");
        }
    }
}

#[test]
fn a_picture_that_lies_about_its_size_is_no_jpeg() {
    let mut picture = Picture {
        width: 4,
        height: 4,
        y: vec![0; 15],
        u: vec![0; 4],
        v: vec![0; 4],
    };
    insta::assert_snapshot!(encode_jpeg(&picture).expect_err("refused"), @"failed to encode a 4x4 picture as JPEG: plane 0 must hold 4x4 samples, got 15");
    picture.width = 0;
    insta::assert_snapshot!(encode_jpeg(&picture).expect_err("refused"), @"failed to encode a 0x4 picture as JPEG: each side must be 1 to 65500 pixels");
}

fn cropped(picture: &Picture, width: u32, height: u32) -> Picture {
    let plane = |samples: &[u8], stride: u32, width: u32, height: u32| {
        let rows = samples.chunks(stride as usize).take(height as usize);
        rows.flat_map(|row| row[..width as usize].to_vec())
            .collect()
    };
    let stride = picture.width.div_ceil(2);
    let (half_width, half_height) = (width.div_ceil(2), height.div_ceil(2));
    Picture {
        width,
        height,
        y: plane(&picture.y, picture.width, width, height),
        u: plane(&picture.u, stride, half_width, half_height),
        v: plane(&picture.v, stride, half_width, half_height),
    }
}

fn decode_jpeg(jpeg: &[u8]) -> Picture {
    let codec = ff::decoder::find(ff::codec::Id::MJPEG).expect("an mjpeg decoder");
    let context = ff::codec::Context::new_with_codec(codec);
    let mut decoder = context.decoder().video().expect("opens");
    decoder
        .send_packet(&ff::Packet::copy(jpeg))
        .expect("a JPEG");
    let mut frame = ff::frame::Video::empty();
    decoder.receive_frame(&mut frame).expect("a picture");
    assert_eq!(frame.format(), ff::format::Pixel::YUVJ420P);
    super::convert::Converter::default()
        .convert(&frame)
        .expect("converts")
}

/// About one byte in fifty is another, lengths and slice headers aside.
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

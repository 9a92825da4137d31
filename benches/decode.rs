//! Cost of decoding, in CPU time of the decode thread per second of stream:
//! 10 ms are 1 % of a core.
//!
//! The stream runs in real time, as the decode policy depends on the clock; so
//! a run takes two minutes. Needs the ffmpeg program for its clip.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{BatchSize, Criterion, SamplingMode, criterion_group, criterion_main};
use jiff::Timestamp;
use tokio::sync::watch;
use watchtower::base::stream_name::StreamName;
use watchtower::codec::metrics::CodecMetrics;
use watchtower::codec::{Decoder, encode_jpeg};
use watchtower::media::hub::{Publisher, StreamHub};
use watchtower::media::{AccessUnit, MediaTime, MediaUnit, Playback, VideoCodec, VideoConfig};
use watchtower::screen::frames::FrameBus;
use watchtower::screen::picture::Picture;

const CLIP: Duration = Duration::from_secs(8);

/// 1080p30 at 2.5 Mb/s, a keyframe every 2 s: what Zoom sends. Or the FLV file
/// that `WATCHTOWER_BENCH_CLIP` names, of 1080p and a keyframe every `CLIP` at
/// least.
fn clip(options: &[&str]) -> Vec<AccessUnit> {
    if let Ok(path) = std::env::var("WATCHTOWER_BENCH_CLIP") {
        return units(&fs::read(path).expect("the clip"));
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("clip.flv");
    let made = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-f", "lavfi"])
        .args(["-i", "testsrc2=s=1920x1080:r=30,format=yuv420p"])
        .args(["-t", &CLIP.as_secs().to_string(), "-c:v", "libx264"])
        .args(["-preset", "veryfast", "-b:v", "2500k", "-maxrate", "2500k"])
        .args(["-bufsize", "2500k", "-sc_threshold", "0"])
        .args(options)
        .arg(&path)
        .status();
    assert!(made.expect("the ffmpeg program is installed").success());
    units(&fs::read(Path::new(&path)).expect("the clip"))
}

/// The video of an FLV file (Adobe FLV 10.1, annex E).
fn units(flv: &[u8]) -> Vec<AccessUnit> {
    let mut config = None;
    let mut units = Vec::new();
    let mut rest = &flv[13..];
    while rest.len() > 11 {
        let number = |bytes: &[u8]| bytes.iter().fold(0, |sum, b| sum << 8 | i64::from(*b));
        let size = number(&rest[1..4]) as usize;
        let dts = number(&[rest[7], rest[4], rest[5], rest[6]]);
        let body = &rest[11..11 + size];
        match (rest[0], body) {
            (9, [_, 0, _, _, _, record @ ..]) => {
                config = Some(Arc::new(VideoConfig {
                    record: Bytes::copy_from_slice(record),
                    codec: VideoCodec::H264,
                    playback: Playback::Plays,
                    sps: Vec::new(),
                    pps: Vec::new(),
                    nal_length_size: 4,
                    width: 1920,
                    height: 1080,
                }));
            }
            (9, [kind, 1, a, b, c, avcc @ ..]) => units.push(AccessUnit {
                pts: MediaTime::from_ms(dts + number(&[*a, *b, *c])),
                dts: MediaTime::from_ms(dts),
                keyframe: kind >> 4 == 1,
                config: Arc::clone(config.as_ref().expect("a sequence header")),
                data: Bytes::copy_from_slice(avcc),
            }),
            _ => {}
        }
        rest = &rest[11 + size + 4..];
    }
    units
}

/// Stream with its decoder.
struct Stage {
    publisher: Publisher,
    bus: FrameBus,
    _decoder: Decoder,
    metrics: Arc<CodecMetrics>,
    clip: Vec<AccessUnit>,
    begin: Instant,
    /// Rounds of the clip so far.
    rounds: u32,
}

impl Stage {
    fn new(name: &str, clip: Vec<AccessUnit>, fastest: Duration) -> Self {
        let name = StreamName::new(name).expect("valid");
        let (hub, bus) = (StreamHub::new(), FrameBus::new());
        let metrics = Arc::new(CodecMetrics::default());
        let publisher = hub.publish(&name);
        let subscriber = hub.subscribe(&name).expect("live");
        let frames = bus.open(&name, encode_jpeg);
        let (_, fastest) = watch::channel(fastest);
        let decoder = Decoder::start(subscriber, frames, Arc::clone(&metrics), fastest);
        Self {
            publisher,
            bus,
            _decoder: decoder.expect("starts"),
            metrics,
            clip,
            begin: Instant::now(),
            rounds: 0,
        }
    }

    /// Plays the clip once; returns the CPU time of the decode thread.
    fn play(&mut self) -> Duration {
        let length = self.clip.last().map_or(0, |unit| unit.dts.ms() + 33);
        let before = self.cpu();
        for unit in &self.clip {
            let mut unit = unit.clone();
            let shift = MediaTime::from_ms(length * i64::from(self.rounds));
            unit.dts.0 += shift.0;
            unit.pts.0 += shift.0;
            let at = self.begin + Duration::from_millis(unit.dts.ms().unsigned_abs());
            thread::sleep(at.saturating_duration_since(Instant::now()));
            self.publisher.push(MediaUnit::Video(unit)).expect("ours");
        }
        self.rounds += 1;
        (self.cpu() - before).mul_f64(1000.0 / length as f64)
    }

    fn cpu(&self) -> Duration {
        let name = format!("decode-{}", self.publisher.name());
        let name = name.get(..15).unwrap_or(&name);
        for task in fs::read_dir("/proc/self/task").expect("Linux").flatten() {
            let read = |file| fs::read_to_string(task.path().join(file)).unwrap_or_default();
            if read("comm").trim() == name {
                let stat = read("schedstat");
                let spent = stat.split(' ').next().and_then(|ns| ns.parse().ok());
                return Duration::from_nanos(spent.expect("a number"));
            }
        }
        // The thread has no name yet.
        Duration::ZERO
    }

    fn picture(&self) -> Picture {
        let newest = self.bus.newest(self.publisher.name()).expect("a frame");
        (*newest.picture).clone()
    }
}

fn decoding(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode, a second of 1080p30 at 2.5 Mb/s");
    group
        .sampling_mode(SamplingMode::Flat)
        .sample_size(10)
        // Single round of the clip each.
        .warm_up_time(Duration::from_millis(1))
        .measurement_time(Duration::from_millis(1));
    let zoom: &[&str] = &["-g", "60", "-bf", "0"];
    let obs: &[&str] = &["-g", "250", "-bf", "3", "-b_strategy", "0"];
    for (what, name, options, fastest) in [
        ("keyframes", "keys", zoom, 10),
        ("full", "full", zoom, 1),
        ("full with B-frames", "fullb", obs, 1),
    ] {
        let mut stage = Stage::new(name, clip(options), Duration::from_secs(fastest));
        // The first group of pictures is always decoded in full.
        stage.play();
        let before = stage.metrics.frames.get();
        group.bench_function(what, |bencher| {
            bencher.iter_custom(|rounds| (0..rounds).map(|_| stage.play()).sum());
        });
        let frames = stage.metrics.frames.get() - before;
        let seconds = CLIP.as_secs() * u64::from(stage.rounds - 1);
        println!("{what}: {frames} pictures decoded in {seconds} s of stream");
    }
    group.finish();
}

fn pictures(criterion: &mut Criterion) {
    let mut stage = Stage::new("still", clip(&["-g", "60"]), Duration::from_secs(10));
    stage.play();
    let picture = stage.picture();
    let jpeg = encode_jpeg(&picture).expect("encodes");
    println!("a 1080p JPEG of it: {} kB", jpeg.len() / 1000);
    criterion.bench_function("encode_jpeg, 1080p", |bencher| {
        bencher.iter(|| encode_jpeg(&picture).expect("encodes"));
    });
    let mut frames = stage
        .bus
        .open(&StreamName::new("gate").expect("valid"), encode_jpeg);
    criterion.bench_function("FramePublisher::publish, 1080p", |bencher| {
        bencher.iter_batched(
            || picture.clone(),
            |picture| frames.publish(picture, MediaTime(0), Timestamp::UNIX_EPOCH),
            BatchSize::LargeInput,
        );
    });
}

criterion_group!(benches, decoding, pictures);
criterion_main!(benches);

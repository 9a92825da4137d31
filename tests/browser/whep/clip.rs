//! Clip made by ffmpeg, as the units a publisher would push.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use watchtower::base::stream_name::StreamName;
use watchtower::media::hub::Publisher;
use watchtower::media::hub::StreamHub;
use watchtower::media::hub::renditions::{OpusPacket, Renditions};
use watchtower::media::{AccessUnit, MediaTime, MediaUnit, VideoConfig};

pub(crate) const FPS: u32 = 30;
const OPUS_PACKET: Duration = Duration::from_millis(20);

pub(crate) struct Clip {
    pub(crate) units: Vec<AccessUnit>,
    pub(crate) opus: Vec<Bytes>,
}

/// Options of the clip; the rest is as OBS sends it.
pub(crate) struct Recipe {
    pub(crate) size: &'static str,
    pub(crate) seconds: u32,
    /// Keyframe interval in pictures.
    pub(crate) group: u32,
    pub(crate) bitrate: &'static str,
    pub(crate) profile: &'static str,
    pub(crate) b_frames: u32,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            size: "1280x720",
            seconds: 4,
            group: 60,
            bitrate: "1500k",
            profile: "high",
            b_frames: 0,
        }
    }
}

impl Recipe {
    pub(crate) fn make(&self) -> Clip {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let video = folder.path().join("clip.h264");
        let audio = folder.path().join("clip.ogg");
        let picture = format!("testsrc2=size={}:rate={FPS}", self.size);
        let group = self.group.to_string();
        let b_frames = self.b_frames.to_string();
        ffmpeg(
            &[
                "-f",
                "lavfi",
                "-i",
                &picture,
                "-t",
                &self.seconds.to_string(),
            ],
            &[
                "-c:v",
                "libx264",
                "-preset",
                "veryfast",
                "-profile:v",
                self.profile,
                "-bf",
                &b_frames,
                "-x264-params",
                "b-adapt=0:b-pyramid=none",
                "-b:v",
                self.bitrate,
                "-maxrate",
                self.bitrate,
                "-bufsize",
                self.bitrate,
                "-g",
                &group,
                "-keyint_min",
                &group,
                "-sc_threshold",
                "0",
                "-pix_fmt",
                "yuv420p",
                "-bsf:v",
                "h264_metadata=aud=insert",
                "-f",
                "h264",
            ],
            &video,
        );
        ffmpeg(
            &[
                "-f",
                "lavfi",
                "-i",
                "sine=frequency=440:sample_rate=48000",
                "-t",
                &self.seconds.to_string(),
            ],
            &["-c:a", "libopus", "-b:a", "64k", "-f", "ogg"],
            &audio,
        );
        Clip {
            units: access_units(
                &std::fs::read(video).expect("ffmpeg wrote it"),
                self.group,
                self.b_frames,
            ),
            opus: opus_packets(&std::fs::read(audio).expect("ffmpeg wrote it")),
        }
    }
}

impl Clip {
    /// Bytes a second, with 64 kb/s of sound.
    pub(crate) fn rate(&self) -> f64 {
        let bytes: usize = self.units.iter().map(|unit| unit.data.len()).sum();
        bytes as f64 * f64::from(FPS) / self.units.len() as f64 + 8000.0
    }
}

fn ffmpeg(input: &[&str], output: &[&str], file: &Path) {
    let status = Command::new("ffmpeg")
        .args(["-v", "error", "-y"])
        .args(input)
        .args(output)
        .arg(file)
        .status()
        .expect("ffmpeg is installed");
    assert!(status.success(), "ffmpeg failed");
}

/// Converts Annex B to access units: each begins with a delimiter.
fn access_units(stream: &[u8], group: u32, b_frames: u32) -> Vec<AccessUnit> {
    let mut sps = Bytes::new();
    let mut pps = Bytes::new();
    let mut pictures: Vec<(bool, Vec<u8>)> = Vec::new();
    for nal in nals(stream) {
        match nal[0] & 0x1f {
            9 => pictures.push((false, Vec::new())),
            7 => sps = Bytes::copy_from_slice(nal),
            8 => pps = Bytes::copy_from_slice(nal),
            kind => {
                let (keyframe, avcc) = pictures.last_mut().expect("a delimiter first");
                *keyframe |= kind == 5;
                avcc.extend(u32::try_from(nal.len()).expect("short").to_be_bytes());
                avcc.extend(nal);
            }
        }
    }
    let config = Arc::new(VideoConfig::playable(sps, pps, 1280, 720));
    let units = pictures.into_iter().enumerate().map(|(nth, picture)| {
        let nth = nth as i64;
        let time = |nth: i64| MediaTime(nth * 90_000 / i64::from(FPS));
        // Fixed pattern: each anchor is sent before the B-frames it follows in
        // output order.
        let b_frames = i64::from(b_frames);
        let shown = match (nth % i64::from(group), b_frames) {
            (0, _) | (_, 0) => nth,
            (within, _) if (within - 1) % (b_frames + 1) == 0 => nth + b_frames,
            _ => nth - 1,
        };
        AccessUnit {
            pts: time(shown + i64::from(b_frames > 0)),
            dts: time(nth),
            keyframe: picture.0,
            config: Arc::clone(&config),
            data: picture.1.into(),
        }
    });
    units.collect()
}

fn nals(stream: &[u8]) -> Vec<&[u8]> {
    let mut starts: Vec<usize> = Vec::new();
    for at in 0..stream.len().saturating_sub(2) {
        if stream[at..at + 3] == [0, 0, 1] {
            starts.push(at + 3);
        }
    }
    let ends = starts
        .iter()
        .skip(1)
        .map(|start| start - 3)
        .chain([stream.len()]);
    starts
        .iter()
        .zip(ends)
        .map(|(start, end)| {
            let nal = &stream[*start..end];
            // A longer start code's zero belongs to the next.
            let trailing = nal.iter().rev().take_while(|byte| **byte == 0).count();
            &nal[..nal.len() - trailing]
        })
        .collect()
}

/// Converts Ogg pages (RFC 3533) to packets, without the two headers (RFC
/// 7845).
fn opus_packets(mut ogg: &[u8]) -> Vec<Bytes> {
    let mut packets = Vec::new();
    let mut packet = Vec::new();
    while ogg.len() > 27 {
        let count = usize::from(ogg[26]);
        let (sizes, mut rest) = ogg[27..].split_at(count);
        for size in sizes {
            let (piece, tail) = rest.split_at(usize::from(*size));
            packet.extend_from_slice(piece);
            rest = tail;
            if *size < 255 {
                packets.push(Bytes::from(std::mem::take(&mut packet)));
            }
        }
        ogg = rest;
    }
    packets.split_off(2)
}

impl Clip {
    /// Pushes the clip in real time, repeatedly, until dropped. `start` is its
    /// first time, as of a publisher that has been live for a while.
    pub(crate) fn play(
        self: &Arc<Self>,
        hub: &StreamHub,
        renditions: &Renditions,
        name: &str,
    ) -> Playing {
        let name = StreamName::new(name).expect("valid");
        let publisher = hub.publish(&name);
        let renditions = renditions.clone();
        self.run(publisher, move |_, packet| {
            renditions.push_audio(&name, packet);
        })
    }

    /// Pushes the pictures, and has each packet of sound pushed at its time.
    pub(crate) fn run(
        self: &Arc<Self>,
        publisher: Publisher,
        push_audio: impl Fn(&Publisher, OpusPacket) + Send + 'static,
    ) -> Playing {
        let clip = Arc::clone(self);
        let task = tokio::spawn(async move {
            let start = tokio::time::Instant::now();
            let length = i64::try_from(clip.units.len()).expect("short") * 90_000 / i64::from(FPS);
            let (mut video, mut audio) = (0usize, 0usize);
            loop {
                let due = |nth: usize, every: Duration| {
                    start + every * u32::try_from(nth).expect("short")
                };
                let next_video = due(video, Duration::from_secs(1) / FPS);
                let next_audio = due(audio, OPUS_PACKET);
                tokio::time::sleep_until(next_video.min(next_audio)).await;
                if next_video <= next_audio {
                    let mut unit = clip.units[video % clip.units.len()].clone();
                    let round = (video / clip.units.len()) as i64;
                    unit.pts.0 += round * length;
                    unit.dts.0 += round * length;
                    video += 1;
                    if publisher.push(MediaUnit::Video(unit)).is_err() {
                        return;
                    }
                } else {
                    let packet = clip.opus[audio % clip.opus.len()].clone();
                    let pts = MediaTime::from_ms(20 * audio as i64);
                    audio += 1;
                    push_audio(&publisher, OpusPacket { pts, packet });
                }
            }
        });
        Playing { task }
    }
}

/// Running publisher.
pub(crate) struct Playing {
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Playing {
    fn drop(&mut self) {
        self.task.abort();
    }
}

//! Publisher of HEVC, AV1, VP8, VP9 and Opus by Enhanced RTMP, which Debian's
//! ffmpeg can't send: ffmpeg encodes the pictures and a tone, the tags are built
//! here.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tokio::task::JoinHandle;

use super::rtmp_client::{AUDIO, RtmpClient, VIDEO};

const FPS: u32 = 25;
/// Sequence start and head of a frame of AAC: AudioSpecificConfig of 48 kHz.
const AAC: (&[u8], &[u8]) = (&[0xaf, 0, 0x11, 0x90], &[0xaf, 1]);
/// The same of Opus, with the identification header of stereo (RFC 7845,
/// section 5.1).
const OPUS: (&[u8], &[u8]) = (
    b"\x90OpusOpusHead\x01\x02\x38\x01\x80\xbb\0\0\0\0\0",
    b"\x91Opus",
);

#[derive(Debug, Clone, Copy)]
pub enum EnhancedCodec {
    Hevc,
    Av1,
    /// With Opus, as browsers send it; the others with AAC.
    Vp8,
    Vp9,
}

/// Publisher of four seconds in a loop, until dropped.
pub struct LoopingPublisher(JoinHandle<()>);

impl LoopingPublisher {
    pub fn start(server: SocketAddr, name: &str, codec: EnhancedCodec) -> Self {
        let name = name.to_owned();
        Self(tokio::spawn(async move {
            let clip = tokio::task::spawn_blocking(move || EnhancedClip::make(codec));
            let clip = clip.await.expect("a clip");
            clip.publish(server, &name).await;
        }))
    }
}

impl Drop for LoopingPublisher {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct EnhancedClip {
    fourcc: &'static [u8; 4],
    record: Vec<u8>,
    /// Payload in the tags' format, and whether it is a keyframe.
    pictures: Vec<(bool, Vec<u8>)>,
    sound: Sound,
}

/// Frames of a tone at 48 kHz.
struct Sound {
    start: &'static [u8],
    head: &'static [u8],
    frames: Vec<Vec<u8>>,
    /// Duration of a frame in samples.
    samples: u64,
}

impl EnhancedClip {
    fn make(codec: EnhancedCodec) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (video, audio) = (folder.path().join("video"), folder.path().join("audio"));
        let picture = format!("-f lavfi -i testsrc2=size=640x360:rate={FPS} -t 4");
        let options = match codec {
            EnhancedCodec::Hevc => {
                "-c:v libx265 -preset ultrafast -x265-params \
                 aud=1:bframes=0:keyint=50:log-level=none -f hevc"
            }
            EnhancedCodec::Av1 => "-c:v libsvtav1 -preset 12 -g 50 -f obu",
            EnhancedCodec::Vp8 => "-c:v libvpx -deadline realtime -cpu-used 8 -g 50 -b:v 1M -f ivf",
            EnhancedCodec::Vp9 => {
                "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -g 50 -b:v 1M -f ivf"
            }
        };
        ffmpeg(&format!("{picture} {options}"), &video);
        let tone = "-f lavfi -i sine=frequency=440:sample_rate=48000 -t 4 -ac 2";
        let opus = matches!(codec, EnhancedCodec::Vp8 | EnhancedCodec::Vp9);
        let options = if opus {
            "-c:a libopus -b:a 96k -f ogg"
        } else {
            "-c:a aac -f adts"
        };
        ffmpeg(&format!("{tone} {options}"), &audio);
        let stream = std::fs::read(&video).expect("made");
        let (fourcc, record, pictures) = match codec {
            EnhancedCodec::Hevc => hevc(&stream),
            EnhancedCodec::Av1 => av1(&stream),
            EnhancedCodec::Vp8 => (b"vp08", VPX_RECORD.to_vec(), ivf(&stream, 0)),
            EnhancedCodec::Vp9 => (b"vp09", VPX_RECORD.to_vec(), ivf(&stream, 2)),
        };
        assert!(pictures.len() >= 90 && pictures[0].0, "{}", pictures.len());
        Self {
            fourcc,
            record,
            pictures,
            sound: Sound::read(&std::fs::read(&audio).expect("made"), opus),
        }
    }

    async fn publish(&self, server: SocketAddr, name: &str) {
        let mut client = RtmpClient::publish(server, "live", name)
            .await
            .expect("accepted");
        client.set_chunk_size(65_536).await.expect("sent");
        let head = |frame: u8, packet: u8| {
            let mut tag = vec![0x80 | frame << 4 | packet];
            tag.extend(self.fourcc);
            tag
        };
        let config = [head(1, 0), self.record.clone()].concat();
        client.message(6, VIDEO, 0, &config).await.expect("sent");
        let sound = &self.sound;
        client
            .message(4, AUDIO, 0, sound.start)
            .await
            .expect("sent");
        let begun = tokio::time::Instant::now();
        let mut frames = sound.frames.iter().cycle().enumerate().peekable();
        let sound_ms = |nth: usize| nth as u64 * sound.samples / 48;
        for (nth, (keyframe, data)) in self.pictures.iter().cycle().enumerate() {
            let ms = nth as u64 * 1000 / u64::from(FPS);
            tokio::time::sleep_until(begun + Duration::from_millis(ms)).await;
            while let Some((nth, frame)) = frames.next_if(|(nth, _)| sound_ms(*nth) <= ms) {
                let (at, tag) = (sound_ms(nth), [sound.head, frame].concat());
                if client.message(4, AUDIO, at as u32, &tag).await.is_err() {
                    return;
                }
            }
            // "Coded frames X": presentation time equals decoding time.
            let tag = [head(if *keyframe { 1 } else { 2 }, 3), data.clone()].concat();
            if client.message(6, VIDEO, ms as u32, &tag).await.is_err() {
                return;
            }
        }
    }
}

fn ffmpeg(arguments: &str, into: &Path) {
    let status = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-y"])
        .args(arguments.split_whitespace())
        .arg(into)
        .status()
        .expect("ffmpeg is installed");
    assert!(status.success(), "ffmpeg {arguments}");
}

type EncodedPictures = Vec<(bool, Vec<u8>)>;

/// Converts from Annex B; the record is that of ISO/IEC 14496-15, section
/// 8.3.3.1.
fn hevc(stream: &[u8]) -> (&'static [u8; 4], Vec<u8>, EncodedPictures) {
    const DELIMITER: u8 = 35;
    let mut sets: Vec<(u8, Vec<u8>)> = Vec::new();
    let mut pictures: EncodedPictures = Vec::new();
    for nal in annex_b(stream) {
        let kind = nal[0] >> 1 & 0x3f;
        match kind {
            DELIMITER => pictures.push((false, Vec::new())),
            32..=34 if sets.iter().any(|(known, _)| *known == kind) => {}
            32..=34 => sets.push((kind, nal.to_vec())),
            _ => {
                let (keyframe, data) = pictures.last_mut().expect("a delimiter first");
                *keyframe |= (16..24).contains(&kind);
                data.extend((nal.len() as u32).to_be_bytes());
                data.extend(nal);
            }
        }
    }
    let sps = &sets.iter().find(|(kind, _)| *kind == 33).expect("an SPS").1;
    let mut record = vec![1];
    // general_profile_space to general_level_idc have the same layout in both.
    record.extend(&sps[3..15]);
    record.extend([
        0xf0,
        0,
        0xfc,
        0xfd,
        0xf8,
        0xf8,
        0,
        0,
        0x0f,
        sets.len() as u8,
    ]);
    for (kind, set) in &sets {
        record.extend([0x80 | kind, 0, 1]);
        record.extend((set.len() as u16).to_be_bytes());
        record.extend(set);
    }
    (b"hvc1", record, pictures)
}

fn annex_b(stream: &[u8]) -> Vec<&[u8]> {
    let starts: Vec<_> = (0..stream.len().saturating_sub(2))
        .filter(|at| stream[*at..at + 3] == [0, 0, 1])
        .collect();
    let ends: Vec<_> = starts
        .iter()
        .skip(1)
        .copied()
        .chain([stream.len()])
        .collect();
    let nal = |(start, end): (&usize, usize)| {
        let nal = &stream[start + 3..end];
        nal.strip_suffix(&[0]).unwrap_or(nal)
    };
    starts.iter().zip(ends).map(nal).collect()
}

/// Converts from the low-overhead format: a temporal delimiter begins each
/// picture and is left out of the tags.
fn av1(stream: &[u8]) -> (&'static [u8; 4], Vec<u8>, EncodedPictures) {
    const SEQUENCE_HEADER: u8 = 1;
    const DELIMITER: u8 = 2;
    let mut record = vec![0x81, 0, 0x0c, 0];
    let mut pictures: EncodedPictures = Vec::new();
    let mut rest = stream;
    while let Some(head) = rest.first() {
        let kind = head >> 3 & 0xf;
        let extended = usize::from(head >> 2 & 1);
        let (mut size, mut at) = (0, 1 + extended);
        loop {
            let byte = rest[at];
            size |= usize::from(byte & 0x7f) << (7 * (at - 1 - extended));
            at += 1;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let (unit, next) = rest.split_at(at + size);
        rest = next;
        if kind == DELIMITER {
            pictures.push((false, Vec::new()));
            continue;
        }
        let (keyframe, data) = pictures.last_mut().expect("a delimiter first");
        // Precedes keyframes only.
        *keyframe |= kind == SEQUENCE_HEADER;
        data.extend(unit);
        if kind == SEQUENCE_HEADER && record.len() == 4 {
            record.extend(unit);
        }
    }
    (b"av01", record, pictures)
}

/// VPCodecConfigurationRecord of 8-bit 4:2:0 (VP Codec ISO Media File Format
/// Binding).
const VPX_RECORD: [u8; 12] = [1, 0, 0, 0, 0, 30, 0x82, 2, 2, 2, 0, 0];

/// Frames of IVF. A keyframe has the bit of the first byte clear.
fn ivf(stream: &[u8], bit: u8) -> EncodedPictures {
    let mut pictures = EncodedPictures::new();
    let mut rest = &stream[32..];
    while let Some((head, next)) = rest.split_first_chunk::<12>() {
        let size = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let (frame, next) = next.split_at(size);
        pictures.push((frame[0] >> bit & 1 == 0, frame.to_vec()));
        rest = next;
    }
    pictures
}

impl Sound {
    fn read(stream: &[u8], opus: bool) -> Self {
        let ((start, head), frames, samples) = if opus {
            (OPUS, ogg(stream), 960)
        } else {
            (AAC, adts(stream), 1024)
        };
        Self {
            start,
            head,
            frames,
            samples,
        }
    }
}

/// Packets of Ogg (RFC 3533) without the two headers (RFC 7845).
fn ogg(mut stream: &[u8]) -> Vec<Vec<u8>> {
    let (mut packets, mut packet) = (Vec::new(), Vec::new());
    while stream.len() > 27 {
        let (sizes, mut rest) = stream[27..].split_at(usize::from(stream[26]));
        for size in sizes {
            let (piece, tail) = rest.split_at(usize::from(*size));
            packet.extend_from_slice(piece);
            rest = tail;
            if *size < 255 {
                packets.push(std::mem::take(&mut packet));
            }
        }
        stream = rest;
    }
    packets.split_off(2)
}

/// Frames without their ADTS headers (ISO/IEC 14496-3, section 1.A.2).
fn adts(mut stream: &[u8]) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    while stream.len() > 7 {
        let length = usize::from(stream[3] & 3) << 11
            | usize::from(stream[4]) << 3
            | usize::from(stream[5] >> 5);
        let head = if stream[1] & 1 == 1 { 7 } else { 9 };
        frames.push(stream[head..length].to_vec());
        stream = &stream[length..];
    }
    frames
}

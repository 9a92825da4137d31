//! FLV tag bodies (Adobe Flash Video File Format 10.1, annex E; Enhanced RTMP
//! v2 for FourCC codecs) to media units. H.264 and AAC; pure, no I/O.

use std::sync::Arc;

use bytes::Bytes;

use super::avc::{self, BadConfig};
use super::clock::{Clock, Track};
use crate::media::{AccessUnit, AudioUnit, AvcConfig, MediaTime, MediaUnit};

const AVC: u8 = 7;
const AAC: u8 = 10;
/// Enhanced RTMP: the audio format that says a FourCC follows.
const FOURCC_AUDIO: u8 = 9;
const NAL_IDR: u8 = 5;
/// A picture is shown at most this long after it is decoded; more is nonsense.
const LONGEST_COMPOSITION_MS: i32 = 10_000;

/// Why a media message could not be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("video codec {0} is not supported, send H.264")]
    VideoCodec(&'static str),
    #[error("audio codec {0} is not supported, send AAC")]
    AudioCodec(&'static str),
    #[error("video came before its configuration")]
    NoVideoConfig,
    #[error("audio came before its configuration")]
    NoAudioConfig,
    #[error("a media message is cut short")]
    Truncated,
    #[error(transparent)]
    Config(#[from] BadConfig),
}

/// Turns one publisher's tags into units.
#[derive(Debug, Default)]
pub struct Demuxer {
    clock: Clock,
    video: Option<Arc<AvcConfig>>,
    audio: Option<Bytes>,
    /// Whether an IDR picture was ever seen.
    idr_seen: bool,
}

/// What a video tag holds, whichever header it came with.
enum Avc {
    Config(Bytes),
    Pictures { composition_ms: i32, avcc: Bytes },
    Nothing,
}

impl Demuxer {
    /// `None` for what carries no picture, such as a configuration.
    pub fn video(&mut self, timestamp: u32, body: &Bytes) -> Result<Option<MediaUnit>, Fault> {
        // Encoders end a stream with an empty tag.
        let Some(first) = body.first().copied() else {
            return Ok(None);
        };
        let (marked, content) = if first & 0x80 == 0 {
            (first >> 4, legacy_video(first, body)?)
        } else {
            (first >> 4 & 7, enhanced_video(first, body)?)
        };
        match content {
            Avc::Nothing => Ok(None),
            Avc::Config(record) => {
                // Copied, so that it doesn't hold a read buffer for hours.
                let config = avc::parse_config(&Bytes::copy_from_slice(&record))?;
                if self.video.as_deref() != Some(&config) {
                    self.video = Some(Arc::new(config));
                }
                Ok(None)
            }
            Avc::Pictures {
                composition_ms,
                avcc,
            } => self
                .pictures(timestamp, marked == 1, composition_ms, avcc)
                .map(Some),
        }
    }

    fn pictures(
        &mut self,
        timestamp: u32,
        marked: bool,
        composition_ms: i32,
        avcc: Bytes,
    ) -> Result<MediaUnit, Fault> {
        let config = self.video.as_ref().ok_or(Fault::NoVideoConfig)?;
        let mut idr = false;
        let mut any = false;
        for nal in avc::nal_units(&avcc, config.nal_length_size) {
            let nal = nal.ok_or(Fault::Truncated)?;
            if let Some(header) = nal.first() {
                any = true;
                idr |= header & 0x1f == NAL_IDR;
            }
        }
        if !any {
            return Err(Fault::Truncated);
        }
        self.idr_seen |= idr;
        let dts = self.clock.at(Track::Video, timestamp);
        let shift = composition_ms.clamp(-LONGEST_COMPOSITION_MS, LONGEST_COMPOSITION_MS);
        Ok(MediaUnit::Video(AccessUnit {
            pts: MediaTime(dts.0 + i64::from(shift) * MediaTime::TICKS_PER_MS),
            dts,
            // With periodic intra refresh there is never an IDR picture: then
            // the encoder's mark is the best there is.
            keyframe: idr || (marked && !self.idr_seen),
            config: Arc::clone(config),
            avcc,
        }))
    }

    /// `None` for a configuration.
    pub fn audio(&mut self, timestamp: u32, body: &Bytes) -> Result<Option<MediaUnit>, Fault> {
        let Some(first) = body.first().copied() else {
            return Ok(None);
        };
        let (kind, payload) = match first >> 4 {
            AAC => (*body.get(1).ok_or(Fault::Truncated)?, body.slice(2..)),
            FOURCC_AUDIO => {
                let fourcc = body.get(1..5).ok_or(Fault::Truncated)?;
                if fourcc != b"mp4a" {
                    return Err(Fault::AudioCodec(fourcc_name(fourcc)));
                }
                (first & 0x0f, body.slice(5..))
            }
            other => return Err(Fault::AudioCodec(audio_name(other))),
        };
        match kind {
            0 if payload.len() < 2 => Err(Fault::Truncated),
            0 => {
                self.audio = Some(Bytes::copy_from_slice(&payload));
                Ok(None)
            }
            1 if payload.is_empty() => Ok(None),
            1 => {
                let config = self.audio.clone().ok_or(Fault::NoAudioConfig)?;
                Ok(Some(MediaUnit::Audio(AudioUnit {
                    pts: self.clock.at(Track::Audio, timestamp),
                    config,
                    aac: payload,
                })))
            }
            _ => Ok(None),
        }
    }
}

/// Annex E.4.3.1.
fn legacy_video(first: u8, body: &Bytes) -> Result<Avc, Fault> {
    // Frame type 5 is a command to the player of old.
    if first >> 4 == 5 {
        return Ok(Avc::Nothing);
    }
    if first & 0x0f != AVC {
        return Err(Fault::VideoCodec(video_name(first & 0x0f)));
    }
    let head = body.get(..5).ok_or(Fault::Truncated)?;
    let rest = body.slice(5..);
    Ok(match head[1] {
        0 => Avc::Config(rest),
        1 => Avc::Pictures {
            composition_ms: signed_24(&head[2..]),
            avcc: rest,
        },
        _ => Avc::Nothing,
    })
}

/// Enhanced RTMP v2, "Enhanced Video".
fn enhanced_video(first: u8, body: &Bytes) -> Result<Avc, Fault> {
    if first >> 4 & 7 == 5 {
        return Ok(Avc::Nothing);
    }
    match first & 0x0f {
        6 => return Err(Fault::VideoCodec("multitrack")),
        7 => return Err(Fault::VideoCodec("with modifiers")),
        _ => {}
    }
    let fourcc = body.get(1..5).ok_or(Fault::Truncated)?;
    if fourcc != b"avc1" {
        return Err(Fault::VideoCodec(fourcc_name(fourcc)));
    }
    let rest = body.slice(5..);
    Ok(match first & 0x0f {
        0 => Avc::Config(rest),
        1 => {
            let composition = rest.get(..3).ok_or(Fault::Truncated)?;
            Avc::Pictures {
                composition_ms: signed_24(composition),
                avcc: rest.slice(3..),
            }
        }
        3 => Avc::Pictures {
            composition_ms: 0,
            avcc: rest,
        },
        _ => Avc::Nothing,
    })
}

fn signed_24(bytes: &[u8]) -> i32 {
    i32::from_be_bytes([bytes[0], bytes[1], bytes[2], 0]) >> 8
}

fn video_name(id: u8) -> &'static str {
    match id {
        2 => "Sorenson H.263",
        3 | 6 => "Screen Video",
        4 | 5 => "VP6",
        8 => "H.263",
        9 => "MPEG-4",
        12 => "H.265",
        13 => "AV1",
        _ => "unknown",
    }
}

fn audio_name(id: u8) -> &'static str {
    match id {
        0 | 3 => "PCM",
        1 => "ADPCM",
        2 | 14 => "MP3",
        4..=6 => "Nellymoser",
        7 | 8 => "G.711",
        11 => "Speex",
        13 => "Opus",
        _ => "unknown",
    }
}

fn fourcc_name(fourcc: &[u8]) -> &'static str {
    match fourcc {
        b"hvc1" => "H.265",
        b"vvc1" => "H.266",
        b"av01" => "AV1",
        b"vp08" => "VP8",
        b"vp09" => "VP9",
        b"Opus" => "Opus",
        b"fLaC" => "FLAC",
        b"ac-3" | b"ec-3" => "AC-3",
        b".mp3" => "MP3",
        _ => "unknown",
    }
}

//! FLV tag bodies (Adobe Flash Video File Format 10.1, annex E; Enhanced RTMP
//! v2 for FourCC codecs) to media units. H.264, HEVC, AV1 and AAC;
//! pure, no I/O.

use std::sync::Arc;

use bytes::Bytes;

use super::clock::{Clock, Track};
use super::codec::{self, BadConfig};
use super::{avc, hevc};
use crate::media::{AccessUnit, AudioUnit, MediaTime, MediaUnit, VideoCodec, VideoConfig};

const AVC: u8 = 7;
const AAC: u8 = 10;
/// Enhanced RTMP: the audio format that says a FourCC follows.
const FOURCC_AUDIO: u8 = 9;
/// A picture is shown at most this long after it is decoded; more is nonsense.
const LONGEST_COMPOSITION_MS: i32 = 10_000;

/// Why a media message could not be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("video codec {0} is not supported, send H.264, HEVC or AV1")]
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
    video: Option<Arc<VideoConfig>>,
    audio: Option<Bytes>,
    /// Whether a picture that decoding can start at was ever seen.
    start_seen: bool,
}

/// What a video tag holds, whichever header it came with.
enum Content {
    Config(VideoCodec, Bytes),
    Pictures {
        codec: VideoCodec,
        composition_ms: i32,
        data: Bytes,
    },
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
            Content::Nothing => Ok(None),
            Content::Config(codec, record) => {
                // Copied, so that it doesn't hold a read buffer for hours.
                let config = codec::parse_config(codec, &Bytes::copy_from_slice(&record))?;
                if self.video.as_deref() != Some(&config) {
                    self.start_seen &= self.video.as_ref().is_some_and(|was| was.codec == codec);
                    self.video = Some(Arc::new(config));
                }
                Ok(None)
            }
            Content::Pictures {
                codec,
                composition_ms,
                data,
            } => {
                let config = self.video.clone().filter(|known| known.codec == codec);
                let config = config.ok_or(Fault::NoVideoConfig)?;
                self.pictures(timestamp, marked == 1, composition_ms, config, data)
                    .map(Some)
            }
        }
    }

    fn pictures(
        &mut self,
        timestamp: u32,
        marked: bool,
        composition_ms: i32,
        config: Arc<VideoConfig>,
        data: Bytes,
    ) -> Result<MediaUnit, Fault> {
        let start = start_in(&config, &data)?;
        self.start_seen |= start == Some(true);
        let dts = self.clock.at(Track::Video, timestamp);
        let shift = composition_ms.clamp(-LONGEST_COMPOSITION_MS, LONGEST_COMPOSITION_MS);
        Ok(MediaUnit::Video(AccessUnit {
            pts: MediaTime(dts.0 + i64::from(shift) * MediaTime::TICKS_PER_MS),
            dts,
            // With periodic intra refresh there is never a picture to start
            // at, and AV1's can't be told from outside: then the encoder's
            // mark is the best there is.
            keyframe: start == Some(true) || (marked && !self.start_seen),
            config,
            data,
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

/// Whether decoding can start at a unit; `None` where only the tag can tell.
fn start_in(config: &VideoConfig, data: &[u8]) -> Result<Option<bool>, Fault> {
    let is_keyframe = match config.codec {
        VideoCodec::H264 => avc::is_keyframe,
        VideoCodec::Hevc => hevc::is_keyframe,
        VideoCodec::Av1 if data.is_empty() => return Err(Fault::Truncated),
        VideoCodec::Av1 => return Ok(None),
    };
    let (mut start, mut any) = (false, false);
    for nal in avc::nal_units(data, config.nal_length_size) {
        let nal = nal.ok_or(Fault::Truncated)?;
        any |= !nal.is_empty();
        start |= is_keyframe(nal);
    }
    if any {
        Ok(Some(start))
    } else {
        Err(Fault::Truncated)
    }
}

/// Annex E.4.3.1.
fn legacy_video(first: u8, body: &Bytes) -> Result<Content, Fault> {
    // Frame type 5 is a command to the player of old.
    if first >> 4 == 5 {
        return Ok(Content::Nothing);
    }
    if first & 0x0f != AVC {
        return Err(Fault::VideoCodec(video_name(first & 0x0f)));
    }
    let head = body.get(..5).ok_or(Fault::Truncated)?;
    let rest = body.slice(5..);
    Ok(match head[1] {
        0 => Content::Config(VideoCodec::H264, rest),
        1 => Content::Pictures {
            codec: VideoCodec::H264,
            composition_ms: signed_24(&head[2..]),
            data: rest,
        },
        _ => Content::Nothing,
    })
}

/// Enhanced RTMP v2, "Enhanced Video".
fn enhanced_video(first: u8, body: &Bytes) -> Result<Content, Fault> {
    if first >> 4 & 7 == 5 {
        return Ok(Content::Nothing);
    }
    match first & 0x0f {
        6 => return Err(Fault::VideoCodec("multitrack")),
        7 => return Err(Fault::VideoCodec("with modifiers")),
        _ => {}
    }
    let fourcc = body.get(1..5).ok_or(Fault::Truncated)?;
    let codec = match fourcc {
        b"avc1" => VideoCodec::H264,
        b"hvc1" => VideoCodec::Hevc,
        b"av01" => VideoCodec::Av1,
        other => return Err(Fault::VideoCodec(fourcc_name(other))),
    };
    let rest = body.slice(5..);
    Ok(match (first & 0x0f, codec) {
        (0, _) => Content::Config(codec, rest),
        // AV1 is sent in the order it is shown.
        (1 | 3, VideoCodec::Av1) | (3, _) => Content::Pictures {
            codec,
            composition_ms: 0,
            data: rest,
        },
        (1, _) => {
            let composition = rest.get(..3).ok_or(Fault::Truncated)?;
            Content::Pictures {
                codec,
                composition_ms: signed_24(composition),
                data: rest.slice(3..),
            }
        }
        _ => Content::Nothing,
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
        b"vvc1" => "H.266",
        b"vp08" => "VP8",
        b"vp09" => "VP9",
        b"Opus" => "Opus",
        b"fLaC" => "FLAC",
        b"ac-3" | b"ec-3" => "AC-3",
        b".mp3" => "MP3",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// x264's record for 640x360, Baseline.
    const RECORD: &[u8] = b"\x01\x42\xc0\x1e\xff\xe1\x00\x19\x67\x42\xc0\x1e\xd9\x00\xa0\x2f\
        \xf9\x70\x11\x00\x00\x03\x00\x01\x00\x00\x03\x00\x3c\x0f\x16\x2e\x48\x01\x00\x05\x68\
        \xcb\x83\xcb\x20";
    const IDR: &[u8] = &[0, 0, 0, 2, 0x65, 1];
    const SLICE: &[u8] = &[0, 0, 0, 2, 0x41, 1];

    fn tag(head: &[u8], rest: &[u8]) -> Bytes {
        [head, rest].concat().into()
    }

    fn configured() -> Demuxer {
        let mut demuxer = Demuxer::default();
        let config = tag(&[0x17, 0, 0, 0, 0], RECORD);
        assert!(demuxer.video(0, &config).expect("valid").is_none());
        demuxer
    }

    fn picture(demuxer: &mut Demuxer, time: u32, body: &Bytes) -> AccessUnit {
        match demuxer.video(time, body).expect("valid") {
            Some(MediaUnit::Video(unit)) => unit,
            other => panic!("expected a picture, got {other:?}"),
        }
    }

    #[test]
    fn pictures_carry_their_times_and_configuration() {
        let mut demuxer = configured();
        let unit = picture(&mut demuxer, 40, &tag(&[0x17, 1, 0, 0, 80], IDR));
        assert!(unit.keyframe);
        assert_eq!((unit.dts.ms(), unit.pts.ms()), (40, 120));
        assert_eq!((unit.config.width, unit.config.height), (640, 360));
        assert_eq!(unit.data, IDR);
        let unit = picture(&mut demuxer, 80, &tag(&[0x27, 1, 0xff, 0xff, 0xd8], SLICE));
        assert!(!unit.keyframe);
        assert_eq!((unit.dts.ms(), unit.pts.ms()), (80, 40));
    }

    #[test]
    fn enhanced_rtmp_with_avc1_is_h264() {
        let mut demuxer = Demuxer::default();
        let config = tag(b"\x90avc1", RECORD);
        assert!(demuxer.video(0, &config).expect("valid").is_none());
        let unit = picture(&mut demuxer, 0, &tag(b"\x91avc1\0\0\x28", IDR));
        assert_eq!((unit.keyframe, unit.pts.ms()), (true, 40));
        let unit = picture(&mut demuxer, 40, &tag(b"\xa3avc1", SLICE));
        assert_eq!((unit.keyframe, unit.pts.ms()), (false, 40));
    }

    #[test]
    fn a_keyframe_is_what_can_be_started_from() {
        // Periodic intra refresh: the mark is all there is.
        let mut demuxer = configured();
        assert!(picture(&mut demuxer, 0, &tag(&[0x17, 1, 0, 0, 0], SLICE)).keyframe);
        // An IDR picture counts, marked or not; after one, a mark alone doesn't.
        assert!(picture(&mut demuxer, 1, &tag(&[0x27, 1, 0, 0, 0], IDR)).keyframe);
        assert!(!picture(&mut demuxer, 2, &tag(&[0x17, 1, 0, 0, 0], SLICE)).keyframe);
    }

    #[test]
    fn a_change_of_configuration_rides_on_the_units() {
        let mut demuxer = configured();
        let before = picture(&mut demuxer, 0, &tag(&[0x17, 1, 0, 0, 0], IDR)).config;
        let again = tag(&[0x17, 0, 0, 0, 0], RECORD);
        demuxer.video(1, &again).expect("valid");
        let same = picture(&mut demuxer, 1, &tag(&[0x17, 1, 0, 0, 0], IDR)).config;
        assert!(Arc::ptr_eq(&before, &same));
        let mut other = RECORD.to_vec();
        other[4] = 0xfd;
        demuxer
            .video(2, &tag(&[0x17, 0, 0, 0, 0], &other))
            .expect("valid");
        let changed = picture(&mut demuxer, 2, &tag(&[0x17, 1, 0, 0, 0], &IDR[2..])).config;
        assert_eq!(changed.nal_length_size, 2);
    }

    #[test]
    fn video_that_can_not_be_used_says_why() {
        let fault = |body: &[u8]| configured().video(0, &Bytes::copy_from_slice(body)).err();
        let picture = tag(&[0x17, 1, 0, 0, 0], IDR);
        let bare = Demuxer::default().video(0, &picture).err();
        assert_eq!(bare, Some(Fault::NoVideoConfig));
        assert_eq!(fault(&[0x1c, 0]), Some(Fault::VideoCodec("H.265")));
        assert_eq!(fault(b"\x90vp09"), Some(Fault::VideoCodec("VP9")));
        assert_eq!(fault(b"\x90????"), Some(Fault::VideoCodec("unknown")));
        assert_eq!(fault(b"\x90hv"), Some(Fault::Truncated));
        assert_eq!(fault(&[0x17, 1, 0]), Some(Fault::Truncated));
        assert_eq!(fault(&[0x17, 1, 0, 0, 0]), Some(Fault::Truncated));
        assert_eq!(
            fault(&[0x17, 1, 0, 0, 0, 0, 0, 0, 9, 0x65]),
            Some(Fault::Truncated)
        );
        assert_eq!(
            fault(&[0x17, 0, 0, 0, 0, 1, 2]),
            Some(Fault::Config(BadConfig::Record("H.264")))
        );
        for harmless in [
            &[][..],
            &[0x57, 0],
            &[0x17, 2, 0, 0, 0],
            b"\x92avc1",
            b"\xd0",
        ] {
            assert_eq!(fault(harmless), None, "{harmless:?}");
        }
    }

    #[test]
    fn audio_is_aac() {
        let mut demuxer = Demuxer::default();
        let sound = Bytes::from_static(&[0xaf, 1, 7, 7]);
        assert_eq!(demuxer.audio(0, &sound).err(), Some(Fault::NoAudioConfig));
        let config = Bytes::from_static(&[0xaf, 0, 0x12, 0x10]);
        assert!(demuxer.audio(0, &config).expect("valid").is_none());
        match demuxer.audio(23, &sound).expect("valid") {
            Some(MediaUnit::Audio(unit)) => {
                assert_eq!(unit.pts.ms(), 23);
                assert_eq!(
                    (&unit.config[..], &unit.aac[..]),
                    (&[0x12, 0x10][..], &[7, 7][..])
                );
            }
            other => panic!("expected sound, got {other:?}"),
        }
        let enhanced = Bytes::from_static(b"\x91mp4a\x01\x02");
        assert!(demuxer.audio(46, &enhanced).expect("valid").is_some());
        let mut fault = |body: &'static [u8]| demuxer.audio(50, &Bytes::from_static(body)).err();
        assert_eq!(fault(b"\x91Opus\x01"), Some(Fault::AudioCodec("Opus")));
        assert_eq!(fault(&[0x2f, 1]), Some(Fault::AudioCodec("MP3")));
        assert_eq!(fault(&[0xaf]), Some(Fault::Truncated));
        assert_eq!(fault(&[0xaf, 0]), Some(Fault::Truncated));
        assert_eq!(fault(&[]), None);
    }

    proptest! {
        #[test]
        fn no_tags_panic(
            tags in prop::collection::vec(
                (
                    any::<bool>(),
                    any::<u32>(),
                    prop_oneof![Just(0x17_u8), Just(0x27), Just(0x90), Just(0xaf), any::<u8>()],
                    prop::collection::vec(prop_oneof![0_u8..3, any::<u8>()], 0..40),
                ),
                0..20,
            ),
        ) {
            let mut demuxer = configured();
            for (video, time, first, rest) in tags {
                let body = tag(&[first], &rest);
                let _ = if video {
                    demuxer.video(time, &body)
                } else {
                    demuxer.audio(time, &body)
                };
            }
        }
    }
}

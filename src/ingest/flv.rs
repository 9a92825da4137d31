//! FLV tag bodies (Adobe Flash Video File Format 10.1, annex E; Enhanced RTMP
//! v2 for FourCC codecs) to media units. H.264, HEVC, AV1, VP8, VP9, AAC and
//! Opus; pure, no I/O.

use std::collections::VecDeque;
use std::fmt;

use bytes::Bytes;

use watchtower_media::codec::config_record::BadConfig;
use watchtower_media::codec::opus::{self, BadOpus};
use watchtower_media::codec::vpx::BadFrame;
use watchtower_media::{AudioCodec, AudioUnit, MediaTime, MediaUnit, VideoCodec};

use super::enhanced::{self, AUDIO_TRACKS, SEQUENCE_START, Selected, TrackPacket, VIDEO_TRACKS};
use super::pictures::{AccessUnitAssembler, Tag};
use crate::timestamps::{StreamTimestamps, TrackKind};

const AVC: u8 = 7;
/// Codec id of HEVC before Enhanced RTMP; not in Adobe's specification.
const HEVC: u8 = 12;
const AAC: u8 = 10;
/// Audio format of Enhanced RTMP that announces a FourCC.
const FOURCC_AUDIO: u8 = 9;
/// Maximum composition time offset; anything larger is invalid.
const LONGEST_COMPOSITION_MS: i32 = 10_000;

/// Audio duration after which a held picture without a further part is
/// complete.
const LONGEST_HOLD_MS: u32 = 200;

/// Reason a media message was rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MediaError {
    #[error("video codec {0} is not supported, send H.264, HEVC, AV1, VP8 or VP9")]
    VideoCodec(Name),
    #[error("audio codec {0} is not supported, send AAC or Opus")]
    AudioCodec(Name),
    #[error("video without its parameter sets, in a configuration record or in band")]
    NoVideoConfig,
    #[error("audio before its configuration")]
    NoAudioConfig,
    #[error("a media message is cut short")]
    Truncated,
    #[error("picture fragment without its first part")]
    Headless,
    #[error("a picture is too large")]
    TooLarge,
    #[error(transparent)]
    Config(#[from] BadConfig),
    #[error(transparent)]
    Frame(#[from] BadFrame),
    #[error(transparent)]
    Opus(#[from] BadOpus),
}

/// Codec by name or, if unknown, by the publisher's identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name {
    Known(&'static str),
    Id(u8),
    FourCc([u8; 4]),
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(name) => f.write_str(name),
            Self::Id(id) => write!(f, "id {id}"),
            Self::FourCc(fourcc) => write!(f, "\"{}\"", fourcc.escape_ascii()),
        }
    }
}

/// Converts one publisher's tags into units.
#[derive(Debug, Default)]
pub struct Demuxer {
    clock: StreamTimestamps,
    pictures: AccessUnitAssembler,
    video_track: Selected,
    audio_track: Selected,
    /// Configuration of AAC.
    audio: Option<Bytes>,
    /// Identification header of Opus; empty without one.
    opus_head: Bytes,
    /// Audio timestamp at which a picture began to be held.
    held_since: Option<u32>,
    units: VecDeque<MediaUnit>,
}

/// Content of a video tag, whichever header it has.
#[derive(Debug, PartialEq, Eq)]
enum VideoContent {
    Config(VideoCodec, Bytes),
    Pictures {
        codec: VideoCodec,
        composition_ms: i32,
        nanoseconds: u32,
        data: Bytes,
    },
    Nothing,
}

impl Demuxer {
    /// Next complete unit.
    pub fn next_unit(&mut self) -> Option<MediaUnit> {
        self.units.pop_front()
    }

    /// Consumes a tag; units it completes are returned by
    /// [`next_unit`](Self::next_unit), even if the tag itself is faulty.
    pub fn video(&mut self, timestamp: u32, body: &Bytes) -> Result<(), MediaError> {
        // Encoders end a stream with an empty tag.
        let Some(first) = body.first().copied() else {
            return Ok(());
        };
        if first & 0x80 == 0 {
            let content = legacy_video(first, body)?;
            return self.content(timestamp, first >> 4, content);
        }
        let mut outcome = Ok(());
        for part in self.enhanced_parts(first, body)? {
            let content = enhanced_video(part)?;
            outcome = outcome.and(self.content(timestamp, first >> 4 & 7, content));
        }
        outcome
    }

    /// Parts of the selected track; an extra track never ends a stream.
    fn enhanced_parts(&mut self, first: u8, body: &Bytes) -> Result<Vec<TrackPacket>, MediaError> {
        // Frame type 5 is a command to the player.
        if first >> 4 & 7 == 5 {
            return Ok(Vec::new());
        }
        let mut parts = enhanced::parts(body, VIDEO_TRACKS)?;
        parts.retain(|part| {
            let usable = part.track.is_none() || fourcc_codec(part.fourcc).is_some();
            usable && self.video_track.takes(part)
        });
        Ok(parts)
    }

    fn content(
        &mut self,
        timestamp: u32,
        marked: u8,
        content: VideoContent,
    ) -> Result<(), MediaError> {
        match content {
            VideoContent::Nothing => Ok(()),
            VideoContent::Config(codec, record) => {
                self.pictures.configure(codec, &record, &mut self.units)
            }
            VideoContent::Pictures {
                codec,
                composition_ms,
                nanoseconds,
                data,
            } => {
                let dts = self.clock.at(TrackKind::Video, timestamp);
                let shift = composition_ms.clamp(-LONGEST_COMPOSITION_MS, LONGEST_COMPOSITION_MS);
                let shift = i64::from(shift) * MediaTime::TICKS_PER_MS
                    + i64::from(nanoseconds) * MediaTime::TICKS_PER_MS / 1_000_000;
                let tag = Tag {
                    codec,
                    pts: MediaTime(dts.0 + shift),
                    dts,
                    marked: marked == 1,
                    data,
                };
                self.held_since = None;
                self.pictures.add(tag, &mut self.units)
            }
        }
    }

    /// True if a picture is held for further parts.
    pub fn holds(&self) -> bool {
        self.pictures.holds()
    }

    /// Completes the held picture after an idle time.
    pub fn flush(&mut self) -> Result<(), MediaError> {
        self.pictures.flush(&mut self.units)
    }

    /// Completes a picture that is held while audio continues.
    fn expire_held(&mut self, timestamp: u32) -> Result<(), MediaError> {
        if !self.pictures.holds() {
            return Ok(());
        }
        let since = *self.held_since.get_or_insert(timestamp);
        if timestamp.wrapping_sub(since) < LONGEST_HOLD_MS {
            return Ok(());
        }
        self.flush()
    }

    /// Consumes an audio tag, as [`video`](Self::video) does a video tag.
    pub fn audio(&mut self, timestamp: u32, body: &Bytes) -> Result<(), MediaError> {
        let before = self.expire_held(timestamp);
        before.and(self.sound(timestamp, body))
    }

    fn sound(&mut self, timestamp: u32, body: &Bytes) -> Result<(), MediaError> {
        let Some(first) = body.first().copied() else {
            return Ok(());
        };
        match first >> 4 {
            AAC => {
                let kind = *body.get(1).ok_or(MediaError::Truncated)?;
                self.aac(timestamp, kind, body.slice(2..))
            }
            FOURCC_AUDIO => {
                let mut outcome = Ok(());
                for part in enhanced::parts(body, AUDIO_TRACKS)? {
                    let take = match &part.fourcc {
                        b"mp4a" => Self::aac,
                        b"Opus" => Self::opus,
                        _ if part.track.is_some() => continue,
                        _ => return Err(MediaError::AudioCodec(fourcc_name(part.fourcc))),
                    };
                    if self.audio_track.takes(&part) {
                        outcome = outcome.and(take(self, timestamp, part.packet, part.body));
                    }
                }
                outcome
            }
            other => Err(MediaError::AudioCodec(audio_name(other))),
        }
    }

    fn aac(&mut self, timestamp: u32, kind: u8, payload: Bytes) -> Result<(), MediaError> {
        match kind {
            SEQUENCE_START if payload.len() < 2 => Err(MediaError::Truncated),
            SEQUENCE_START => {
                self.audio = Some(Bytes::copy_from_slice(&payload));
                Ok(())
            }
            1 if payload.is_empty() => Ok(()),
            1 => {
                let config = self.audio.clone().ok_or(MediaError::NoAudioConfig)?;
                self.push_audio(timestamp, AudioCodec::Aac, config, payload);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn opus(&mut self, timestamp: u32, kind: u8, payload: Bytes) -> Result<(), MediaError> {
        match kind {
            SEQUENCE_START => {
                opus::check_head(&payload)?;
                self.opus_head = Bytes::copy_from_slice(&payload);
            }
            1 if !payload.is_empty() => {
                opus::duration(&payload)?;
                let head = self.opus_head.clone();
                self.push_audio(timestamp, AudioCodec::Opus, head, payload);
            }
            _ => {}
        }
        Ok(())
    }

    fn push_audio(&mut self, timestamp: u32, codec: AudioCodec, config: Bytes, data: Bytes) {
        self.units.push_back(MediaUnit::Audio(AudioUnit {
            pts: self.clock.at(TrackKind::Audio, timestamp),
            codec,
            config,
            data,
        }));
    }
}

/// Parses a legacy video tag (annex E.4.3.1).
fn legacy_video(first: u8, body: &Bytes) -> Result<VideoContent, MediaError> {
    // Frame type 5 is a command to Flash players.
    if first >> 4 == 5 {
        return Ok(VideoContent::Nothing);
    }
    let codec = match first & 0x0f {
        AVC => VideoCodec::H264,
        HEVC => VideoCodec::Hevc,
        other => return Err(MediaError::VideoCodec(video_name(other))),
    };
    let head = body.get(..5).ok_or(MediaError::Truncated)?;
    let rest = body.slice(5..);
    Ok(match head[1] {
        0 => VideoContent::Config(codec, rest),
        1 => VideoContent::Pictures {
            codec,
            composition_ms: signed_24(&head[2..]),
            nanoseconds: 0,
            data: rest,
        },
        _ => VideoContent::Nothing,
    })
}

fn fourcc_codec(fourcc: [u8; 4]) -> Option<VideoCodec> {
    match &fourcc {
        b"avc1" => Some(VideoCodec::H264),
        b"hvc1" => Some(VideoCodec::Hevc),
        b"av01" => Some(VideoCodec::Av1),
        b"vp08" => Some(VideoCodec::Vp8),
        b"vp09" => Some(VideoCodec::Vp9),
        _ => None,
    }
}

/// Parses an Enhanced RTMP v2 video tag ("Enhanced Video").
fn enhanced_video(part: TrackPacket) -> Result<VideoContent, MediaError> {
    let codec = fourcc_codec(part.fourcc);
    let codec = codec.ok_or(MediaError::VideoCodec(fourcc_name(part.fourcc)))?;
    let (composition_ms, data) = match (part.packet, codec) {
        (SEQUENCE_START, _) => return Ok(VideoContent::Config(codec, part.body)),
        // These are sent in presentation order.
        (1 | 3, VideoCodec::Av1 | VideoCodec::Vp8 | VideoCodec::Vp9) | (3, _) => (0, part.body),
        (1, _) => {
            let composition = part.body.get(..3).ok_or(MediaError::Truncated)?;
            (signed_24(composition), part.body.slice(3..))
        }
        _ => return Ok(VideoContent::Nothing),
    };
    Ok(VideoContent::Pictures {
        codec,
        composition_ms,
        nanoseconds: part.nanoseconds,
        data,
    })
}

fn signed_24(bytes: &[u8]) -> i32 {
    i32::from_be_bytes([bytes[0], bytes[1], bytes[2], 0]) >> 8
}

fn video_name(id: u8) -> Name {
    Name::Known(match id {
        2 => "Sorenson H.263",
        3 | 6 => "Screen Video",
        4 => "VP6",
        5 => "VP6 with alpha",
        8 => "H.263",
        9 => "MPEG-4",
        13 => "AV1 without Enhanced RTMP",
        _ => return Name::Id(id),
    })
}

fn audio_name(id: u8) -> Name {
    Name::Known(match id {
        0 | 3 => "PCM",
        1 => "ADPCM",
        2 | 14 => "MP3",
        4..=6 => "Nellymoser",
        7 | 8 => "G.711",
        11 => "Speex",
        13 => "Opus without Enhanced RTMP",
        _ => return Name::Id(id),
    })
}

fn fourcc_name(fourcc: [u8; 4]) -> Name {
    Name::Known(match &fourcc {
        b"vvc1" => "H.266",
        b"fLaC" => "FLAC",
        b"ac-3" | b"ec-3" => "AC-3",
        b".mp3" => "MP3",
        _ => return Name::FourCc(fourcc),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use watchtower_media::AccessUnit;

    /// AVCDecoderConfigurationRecord by x264 for 640x360, Baseline.
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
        demuxer.video(0, &config).expect("valid");
        demuxer
    }

    fn picture(demuxer: &mut Demuxer, time: u32, body: &Bytes) -> AccessUnit {
        demuxer.video(time, body).expect("valid");
        demuxer.flush().expect("valid");
        match demuxer.next_unit() {
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
        demuxer.video(0, &config).expect("valid");
        let unit = picture(&mut demuxer, 0, &tag(b"\x91avc1\0\0\x28", IDR));
        assert_eq!((unit.keyframe, unit.pts.ms()), (true, 40));
        let unit = picture(&mut demuxer, 40, &tag(b"\xa3avc1", SLICE));
        assert_eq!((unit.keyframe, unit.pts.ms()), (false, 40));
    }

    #[test]
    fn a_keyframe_is_what_can_be_started_from() {
        // Periodic intra refresh: the keyframe flag is the only random access
        // point.
        let mut demuxer = configured();
        assert!(picture(&mut demuxer, 0, &tag(&[0x17, 1, 0, 0, 0], SLICE)).keyframe);
        // An IDR picture counts, flagged or not; after one, a flag alone
        // doesn't.
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
        let mut bare = Demuxer::default();
        bare.video(0, &picture).expect("held");
        assert_eq!(bare.flush(), Err(MediaError::NoVideoConfig));
        let codec = |body: &[u8]| match fault(body) {
            Some(MediaError::VideoCodec(name)) => name.to_string(),
            other => panic!("expected a codec, got {other:?}"),
        };
        assert_eq!(codec(&[0x12, 0]), "Sorenson H.263");
        assert_eq!(codec(&[0x14, 0]), "VP6");
        assert_eq!(codec(&[0x1f, 0]), "id 15");
        assert_eq!(codec(b"\x90vvc1"), "H.266");
        assert_eq!(codec(b"\x90??\n?"), "\"??\\n?\"");
        let sound = |first| Demuxer::default().audio(0, &Bytes::from(vec![first, 0]));
        let named = [
            (0x2f, "MP3"),
            (0xb6, "Speex"),
            (0xff, "id 15"),
            (0x6f, "Nellymoser"),
        ];
        for (first, name) in named {
            let message = sound(first).expect_err("not taken").to_string();
            assert_eq!(
                message,
                format!("audio codec {name} is not supported, send AAC or Opus")
            );
        }
        assert_eq!(fault(b"\x90hv"), Some(MediaError::Truncated));
        assert_eq!(fault(&[0x17, 1, 0]), Some(MediaError::Truncated));
        assert_eq!(fault(&[0x17, 1, 0, 0, 0]), Some(MediaError::Truncated));
        assert_eq!(
            fault(&[0x17, 1, 0, 0, 0, 0, 0, 0, 9, 0x65]),
            Some(MediaError::Truncated)
        );
        assert_eq!(
            fault(&[0x17, 0, 0, 0, 0, 1, 2]),
            Some(MediaError::Config(BadConfig::Record("H.264")))
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
        assert_eq!(
            demuxer.audio(0, &sound).err(),
            Some(MediaError::NoAudioConfig)
        );
        let config = Bytes::from_static(&[0xaf, 0, 0x12, 0x10]);
        demuxer.audio(0, &config).expect("valid");
        demuxer.audio(23, &sound).expect("valid");
        match demuxer.next_unit() {
            Some(MediaUnit::Audio(unit)) => {
                assert_eq!(unit.pts.ms(), 23);
                assert_eq!(
                    (&unit.config[..], &unit.data[..]),
                    (&[0x12, 0x10][..], &[7, 7][..])
                );
            }
            other => panic!("expected sound, got {other:?}"),
        }
        let enhanced = Bytes::from_static(b"\x91mp4a\x01\x02");
        demuxer.audio(46, &enhanced).expect("valid");
        assert!(demuxer.next_unit().is_some());
        let mut fault = |body: &'static [u8]| demuxer.audio(50, &Bytes::from_static(body)).err();
        assert_eq!(
            fault(b"\x91fLaC\x01"),
            Some(MediaError::AudioCodec(Name::Known("FLAC")))
        );
        assert_eq!(
            fault(&[0x2f, 1]),
            Some(MediaError::AudioCodec(Name::Known("MP3")))
        );
        assert_eq!(fault(&[0xaf]), Some(MediaError::Truncated));
        assert_eq!(fault(&[0xaf, 0]), Some(MediaError::Truncated));
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

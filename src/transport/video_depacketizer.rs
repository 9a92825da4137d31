//! RTP payloads of a video track to access units, by the codec of the track.

use watchtower_media::AccessUnit;
use watchtower_media::codec::av1::Av1Reader;
use watchtower_media::codec::vpx::VpxReader;

use crate::depacketizer::{Depacketizer, RtpTimeUnwrapper};
use crate::frame_assembly::{AssembledFrame, FrameAssembler, FrameFormat};
use crate::offer::publish::PublishCodec;
use crate::reorder::Ordered;

#[derive(Debug)]
pub enum VideoDepacketizer {
    H264(Depacketizer),
    Frames(FrameDepacketizer),
}

/// Depacketizer of a codec whose frames describe themselves.
#[derive(Debug)]
pub struct FrameDepacketizer {
    assembler: FrameAssembler,
    reader: FrameReader,
    clock: RtpTimeUnwrapper,
    left_out: u64,
}

#[derive(Debug)]
enum FrameReader {
    Vpx(VpxReader),
    Av1(Av1Reader),
}

impl VideoDepacketizer {
    /// Depacketizer of a codec; H.264's for codecs of audio, which have none.
    pub fn new(codec: PublishCodec) -> Self {
        let (format, reader) = match codec {
            PublishCodec::Vp8 => (FrameFormat::Vp8, FrameReader::Vpx(VpxReader::vp8())),
            PublishCodec::Vp9 => (FrameFormat::Vp9, FrameReader::Vpx(VpxReader::vp9())),
            PublishCodec::Av1 => (FrameFormat::Av1, FrameReader::Av1(Av1Reader::default())),
            PublishCodec::H264 | PublishCodec::Opus => return Self::H264(Depacketizer::default()),
        };
        Self::Frames(FrameDepacketizer {
            assembler: FrameAssembler::new(format),
            reader,
            clock: RtpTimeUnwrapper::default(),
            left_out: 0,
        })
    }

    /// True if a keyframe is awaited, so that one may be requested.
    pub fn needs_keyframe(&self) -> bool {
        match self {
            Self::H264(depacketizer) => depacketizer.needs_keyframe(),
            Self::Frames(frames) => match &frames.reader {
                FrameReader::Vpx(reader) => reader.needs_keyframe(),
                FrameReader::Av1(reader) => reader.needs_keyframe(),
            },
        }
    }

    /// Number of pictures that were incomplete, or could not be decoded, since
    /// the last call.
    pub fn take_left_out(&mut self) -> u64 {
        match self {
            Self::H264(depacketizer) => depacketizer.take_left_out(),
            Self::Frames(frames) => std::mem::take(&mut frames.left_out),
        }
    }

    /// Consumes the next packet in order, or a gap.
    pub fn push(&mut self, ordered: Ordered) -> [Option<AccessUnit>; 2] {
        match self {
            Self::H264(depacketizer) => depacketizer.push(ordered),
            Self::Frames(frames) => {
                let done = frames.assembler.push(ordered);
                done.map(|frame| frames.unit(frame?))
            }
        }
    }
}

impl FrameDepacketizer {
    fn unit(&mut self, frame: AssembledFrame) -> Option<AccessUnit> {
        let AssembledFrame::Whole { timestamp, data } = frame else {
            match &mut self.reader {
                FrameReader::Vpx(reader) => reader.lost(),
                FrameReader::Av1(reader) => reader.lost(),
            }
            self.left_out += 1;
            return None;
        };
        let time = self.clock.unwrap(timestamp);
        let unit = match &mut self.reader {
            FrameReader::Vpx(reader) => reader.unit(time, time, data),
            FrameReader::Av1(reader) => reader.unit(time, time, data),
        };
        if unit.is_err() {
            self.left_out += 1;
        }
        unit.ok()
    }
}

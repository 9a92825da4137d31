//! Media data types: encoded access units before the decoder, pictures and
//! their text after it.
//!
//! Plain data. Payloads are shared by reference count, so handing a unit or a
//! frame to one more consumer copies nothing.

pub mod audio_bus;
pub mod codec;
pub mod hub;

mod random_access;

use std::sync::Arc;

use bytes::Bytes;

use crate::codec::h264;
pub use random_access::RandomAccess;

/// Time in a stream in ticks of 90 kHz (RFC 6184, section 5.1), counted from
/// the stream's own zero and never wrapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct MediaTime(pub i64);

impl MediaTime {
    pub const TICKS_PER_MS: i64 = 90;

    pub fn from_ms(ms: i64) -> Self {
        Self(ms.saturating_mul(Self::TICKS_PER_MS))
    }

    pub fn ms(self) -> i64 {
        self.0.div_euclid(Self::TICKS_PER_MS)
    }
}

/// Unwraps RTMP's 32-bit millisecond timestamps (RTMP 1.0, section 5.3.1.1).
///
/// A step of less than 2^31 ms (24.8 days) either way counts as a step,
/// anything else as a wrap.
#[derive(Debug, Clone, Default)]
pub struct Timeline {
    last: Option<i64>,
}

impl Timeline {
    pub fn unwrap_ms(&mut self, raw: u32) -> i64 {
        let unwrapped = match self.last {
            None => i64::from(raw),
            Some(last) => {
                // Truncation to the low 32 bits is the intended modulus.
                let step = raw.wrapping_sub(last as u32) as i32;
                last + i64::from(step)
            }
        };
        self.last = Some(unwrapped);
        unwrapped
    }
}

/// Video codec of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VideoCodec {
    /// ITU-T H.264.
    H264,
    /// ITU-T H.265.
    Hevc,
    /// AOMedia's AV1.
    Av1,
    /// VP8 (RFC 6386).
    Vp8,
    /// VP9 (VP9 Bitstream & Decoding Process Specification).
    Vp9,
}

impl VideoCodec {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::H264 => "H.264",
            Self::Hevc => "HEVC",
            Self::Av1 => "AV1",
            Self::Vp8 => "VP8",
            Self::Vp9 => "VP9",
        }
    }

    /// True for a codec whose pictures consist of NAL units.
    pub fn has_nal_units(self) -> bool {
        match self {
            Self::H264 | Self::Hevc => true,
            Self::Av1 | Self::Vp8 | Self::Vp9 => false,
        }
    }
}

/// Maximum picture side at the highest levels of all codecs, in samples.
const LONGEST_SIDE: u32 = 16_384;

/// True if any codec supports a picture of that size.
pub fn is_size(width: u32, height: u32) -> bool {
    let fits = |side: u32| (1..=LONGEST_SIDE).contains(&side);
    fits(width) && fits(height)
}

/// Playability of a stream in browsers over WebRTC (RFC 7742, section 6.2), as
/// far as its configuration shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Playback {
    /// Playable, unless its pictures turn out to be reordered.
    Plays,
    /// Reordered pictures (B-frames), which browsers do not play smoothly.
    Reordered,
    /// Not playable; holds the reason.
    Never(&'static str),
}

/// Decoder configuration of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VideoConfig {
    pub codec: VideoCodec,
    /// Record as received, which decoders take as extradata: that of ISO/IEC
    /// 14496-15, section 5.3.3.1 (H.264) or 8.3.3.1 (HEVC), or of AV1's ISO
    /// media file binding, section 2.3. Empty for VP8 and VP9, whose frames
    /// describe themselves.
    pub record: Bytes,
    /// All H.264 parameter sets that its pictures may refer to; empty for other
    /// codecs.
    pub sps: Vec<Bytes>,
    pub pps: Vec<Bytes>,
    /// Size of the length prefix of each NAL unit: 1, 2 or 4 bytes; 0 for codecs
    /// without NAL units.
    pub nal_length_size: u8,
    /// Luma samples after cropping.
    pub width: u32,
    pub height: u32,
    pub playback: Playback,
}

impl VideoConfig {
    /// Configuration of H.264 that browsers play, with length prefixes of four
    /// bytes. The parameter sets must not be empty nor longer than 65,535
    /// bytes.
    pub fn playable(sps: Bytes, pps: Bytes, width: u32, height: u32) -> Self {
        let (sps, pps) = (vec![sps], vec![pps]);
        Self {
            codec: VideoCodec::H264,
            record: h264::record(&sps, &pps, 4),
            sps,
            pps,
            nal_length_size: 4,
            width,
            height,
            playback: Playback::Plays,
        }
    }
}

/// Coded picture with its configuration, so that a change of parameter sets
/// can't be applied in the wrong order.
#[derive(Debug, Clone)]
pub struct AccessUnit {
    pub pts: MediaTime,
    pub dts: MediaTime,
    /// Random access point: an IDR picture, or, of a publisher that has sent
    /// none so far, a recovery point or a flagged keyframe.
    /// [`AccessUnit::random_access`] tells which.
    pub keyframe: bool,
    pub config: Arc<VideoConfig>,
    /// NAL units, each with a length prefix (`config.nal_length_size` bytes),
    /// AV1's OBUs (low-overhead format, AV1 specification, section 5.2), or a
    /// frame of VP8 or VP9 (with its superframe's hidden ones).
    pub data: Bytes,
}

/// Audio codec of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AudioCodec {
    /// MPEG-4 AAC (ISO/IEC 14496-3).
    Aac,
    /// Opus (RFC 6716), mono or stereo.
    Opus,
}

/// Coded AAC frame or Opus packet.
#[derive(Debug, Clone)]
pub struct AudioUnit {
    pub pts: MediaTime,
    pub codec: AudioCodec,
    /// AAC's AudioSpecificConfig (ISO/IEC 14496-3). Of Opus the identification
    /// header (RFC 7845, section 5.1), or nothing: its packets describe
    /// themselves.
    pub config: Bytes,
    pub data: Bytes,
}

/// Encoded unit of either kind that a publisher pushes and a subscriber
/// receives.
#[derive(Debug, Clone)]
pub enum MediaUnit {
    Video(AccessUnit),
    Audio(AudioUnit),
}

impl MediaUnit {
    /// Payload bytes.
    pub fn size(&self) -> usize {
        match self {
            Self::Video(unit) => unit.data.len(),
            Self::Audio(unit) => unit.data.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeline_survives_a_wrap_and_a_step_back() {
        let mut timeline = Timeline::default();
        assert_eq!(timeline.unwrap_ms(u32::MAX - 9), i64::from(u32::MAX) - 9);
        assert_eq!(timeline.unwrap_ms(10), i64::from(u32::MAX) + 11);
        assert_eq!(timeline.unwrap_ms(u32::MAX), i64::from(u32::MAX));
        assert_eq!(timeline.unwrap_ms(0), i64::from(u32::MAX) + 1);
    }
}

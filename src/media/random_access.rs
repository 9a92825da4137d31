//! Random access points of a stream, where decoding can start.

use super::{AccessUnit, VideoCodec};
use crate::codec::h264;
use crate::codec::h264::{NAL_IDR, NAL_SEI};

/// Random access type of a picture, by the output of a decoder that starts
/// there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RandomAccess {
    /// Every picture from here on is complete: none refers to earlier ones
    /// (H.264's IDR, HEVC's IDR and BLA).
    Instant,
    /// Pictures are correct only after a while, or except for those output
    /// before this one (a recovery point, an I picture of an open GOP, HEVC's
    /// CRA). Browsers do not start here.
    Recovery,
    /// No random access: the output would be wrong.
    None,
}

/// HEVC NAL unit types (ITU-T H.265, table 7-1).
mod hevc {
    pub(super) const BLA_AND_IDR: std::ops::RangeInclusive<u8> = 16..=20;
    pub(super) const OTHER_IRAP: std::ops::RangeInclusive<u8> = 21..=23;
    pub(super) const PREFIX_SEI: u8 = 39;
}

impl AccessUnit {
    /// Derived from the NAL units. Where there are none or they are
    /// inconclusive, the keyframe flag decides: [`Instant`](RandomAccess::Instant)
    /// of codecs without NAL units, else [`Recovery`](RandomAccess::Recovery).
    pub fn random_access(&self) -> RandomAccess {
        let mut found = match (self.keyframe, self.config.codec.has_nal_units()) {
            (true, false) => return RandomAccess::Instant,
            (false, false) => return RandomAccess::None,
            (true, true) => RandomAccess::Recovery,
            (false, true) => RandomAccess::None,
        };
        let of_nal = match self.config.codec {
            VideoCodec::Hevc => RandomAccess::of_hevc,
            _ => RandomAccess::of_h264,
        };
        for nal in h264::nal_units(&self.data, self.config.nal_length_size).flatten() {
            match of_nal(nal) {
                RandomAccess::Instant => return RandomAccess::Instant,
                RandomAccess::Recovery => found = RandomAccess::Recovery,
                RandomAccess::None => {}
            }
        }
        found
    }
}

impl RandomAccess {
    /// Random access type of a picture, from an H.264 NAL unit.
    pub fn of_h264(nal: &[u8]) -> Self {
        match nal.split_first() {
            Some((head, _)) if head & 0x1f == NAL_IDR => Self::Instant,
            Some((head, rest)) if head & 0x1f == NAL_SEI && h264::has_recovery_point(rest) => {
                Self::Recovery
            }
            _ => Self::None,
        }
    }

    /// Random access type of a picture, from an HEVC NAL unit.
    pub fn of_hevc(nal: &[u8]) -> Self {
        let [head, _, rest @ ..] = nal else {
            return Self::None;
        };
        match head >> 1 & 0x3f {
            kind if hevc::BLA_AND_IDR.contains(&kind) => Self::Instant,
            kind if hevc::OTHER_IRAP.contains(&kind) => Self::Recovery,
            hevc::PREFIX_SEI if h264::has_recovery_point(rest) => Self::Recovery,
            _ => Self::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::*;
    use crate::{MediaTime, VideoConfig};

    fn access(keyframe: bool, data: &'static [u8]) -> RandomAccess {
        let set = Bytes::from_static(&[0x67, 1, 2, 3]);
        let unit = AccessUnit {
            pts: MediaTime(0),
            dts: MediaTime(0),
            keyframe,
            config: Arc::new(VideoConfig::playable(set.clone(), set, 16, 16)),
            data: Bytes::from_static(data),
        };
        unit.random_access()
    }

    #[test]
    fn an_idr_a_recovery_point_and_a_mark_are_distinguished() {
        const IDR: &[u8] = &[0, 0, 0, 2, 0x65, 0x88];
        const SLICE: &[u8] = &[0, 0, 0, 2, 0x41, 0x9a];
        // x264's recovery point behind a user data message of one byte.
        const RECOVERY: &[u8] = &[
            0, 0, 0, 8, 6, 5, 1, 9, 6, 1, 0xc4, 0x80, 0, 0, 0, 2, 0x41, 0x9a,
        ];
        // User data whose bytes merely resemble a recovery point.
        const OTHER: &[u8] = &[
            0, 0, 0, 7, 6, 5, 3, 6, 1, 0xc4, 0x80, 0, 0, 0, 2, 0x41, 0x9a,
        ];
        assert_eq!(access(true, IDR), RandomAccess::Instant);
        assert_eq!(access(true, SLICE), RandomAccess::Recovery);
        assert_eq!(access(false, SLICE), RandomAccess::None);
        assert_eq!(access(false, RECOVERY), RandomAccess::Recovery);
        assert_eq!(access(false, OTHER), RandomAccess::None);
    }

    #[test]
    fn hevc_has_both_in_its_slices() {
        let of = |kind: u8| RandomAccess::of_hevc(&[kind << 1, 1, 0x80]);
        assert_eq!(
            (of(19), of(20)),
            (RandomAccess::Instant, RandomAccess::Instant)
        );
        assert_eq!(
            (of(21), of(1)),
            (RandomAccess::Recovery, RandomAccess::None)
        );
    }
}

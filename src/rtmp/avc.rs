//! The AVCDecoderConfigurationRecord (ISO/IEC 14496-15, section 5.3.3.1) and
//! the NAL units of an access unit.

use bytes::Bytes;

use super::codec::BadConfig;
use crate::h264::{Sps, parse_sps};
use crate::media::{VideoCodec, VideoConfig};

const NAL_IDR: u8 = 5;

/// Reads the record; the first of several parameter sets of a kind counts.
pub(super) fn parse_config(record: &Bytes) -> Result<VideoConfig, BadConfig> {
    let mut at = Slices { record, at: 0 };
    let bad = BadConfig::Record("H.264");
    let head = at.take(5).ok_or(bad)?;
    if head[0] != 1 {
        return Err(bad);
    }
    let nal_length_size = (head[4] & 3) + 1;
    if nal_length_size == 3 {
        return Err(bad);
    }
    let sps = at.sets(0x1f).ok_or(bad)?;
    let pps = at.sets(0xff).ok_or(bad)?;
    let (Some(sps), Some(pps)) = (sps, pps) else {
        return Err(BadConfig::NoParameterSets("H.264"));
    };
    let Sps {
        width,
        height,
        playback,
    } = parse_sps(&sps).ok_or(BadConfig::Sps("H.264"))?;
    Ok(VideoConfig {
        codec: VideoCodec::H264,
        record: record.clone(),
        sps,
        pps,
        nal_length_size,
        width,
        height,
        playback,
    })
}

struct Slices<'a> {
    record: &'a Bytes,
    at: usize,
}

impl Slices<'_> {
    fn take(&mut self, count: usize) -> Option<Bytes> {
        let end = self.at.checked_add(count)?;
        if end > self.record.len() {
            return None;
        }
        let taken = self.record.slice(self.at..end);
        self.at = end;
        Some(taken)
    }

    /// A count (under a mask), then so many sets behind 16-bit lengths: the
    /// first that is not empty.
    fn sets(&mut self, mask: u8) -> Option<Option<Bytes>> {
        let count = self.take(1)?[0] & mask;
        let mut first = None;
        for _ in 0..count {
            let length = self.take(2)?;
            let set = self.take(usize::from(u16::from_be_bytes([length[0], length[1]])))?;
            if first.is_none() && !set.is_empty() {
                first = Some(set);
            }
        }
        Some(first)
    }
}

/// The NAL units of an access unit, each without its length. Ends with `None`
/// in place of a unit that is cut short.
pub(super) fn nal_units(data: &[u8], length_size: u8) -> impl Iterator<Item = Option<&[u8]>> {
    let mut rest = data;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let taken = take_nal(rest, usize::from(length_size));
        rest = taken.map_or(&[], |(_, rest)| rest);
        Some(taken.map(|(nal, _)| nal))
    })
}

fn take_nal(bytes: &[u8], length_size: usize) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_at_checked(length_size)?;
    let length = length
        .iter()
        .fold(0_usize, |length, byte| length << 8 | usize::from(*byte));
    rest.split_at_checked(length)
}

/// Whether decoding can start at a NAL unit.
pub(super) fn is_keyframe(nal: &[u8]) -> bool {
    nal.first().is_some_and(|byte| byte & 0x1f == NAL_IDR)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rtmp::codec::tests::hex;

    /// Written by x264: 1920x1080, High, cropped from 1088 lines.
    const HIGH_1080: &str = "67640028acd940780227e5c044000003000400000300f03c60c658";
    /// Baseline 640x360.
    const BASELINE_360: &str = "6742c01ed900a02ff970110000030001000003003c0f162e48";

    fn record(sps: &Bytes) -> Bytes {
        let mut record = vec![1, 0x64, 0, 0x28, 0xff, 0xe1];
        record.extend((sps.len() as u16).to_be_bytes());
        record.extend(sps);
        record.extend([1, 0, 4, 0x68, 0xeb, 0xe3, 0xcb]);
        record.into()
    }

    #[test]
    fn sizes_are_read_off_the_sps() {
        let size = |sps| parse_sps(&hex(sps)).map(|sps| (sps.width, sps.height));
        assert_eq!(size(HIGH_1080), Some((1920, 1080)));
        assert_eq!(size(BASELINE_360), Some((640, 360)));
    }

    #[test]
    fn a_record_is_taken_apart() {
        let sps = hex(HIGH_1080);
        let config = parse_config(&record(&sps)).expect("valid");
        assert_eq!((config.width, config.height), (1920, 1080));
        assert_eq!(config.nal_length_size, 4);
        assert_eq!(config.sps, sps);
        assert_eq!(config.pps, hex("68ebe3cb"));
    }

    #[test]
    fn a_record_cut_anywhere_is_an_error() {
        let whole = record(&hex(HIGH_1080));
        for end in 0..whole.len() {
            assert!(parse_config(&whole.slice(..end)).is_err(), "{end}");
        }
    }

    #[test]
    fn a_record_without_sets_is_an_error() {
        let record = Bytes::from_static(&[1, 0x64, 0, 0x28, 0xff, 0xe0, 0]);
        assert_eq!(
            parse_config(&record),
            Err(BadConfig::NoParameterSets("H.264"))
        );
    }

    #[test]
    fn a_cut_nal_unit_ends_the_walk() {
        let units: Vec<_> = nal_units(&[0, 1, 9, 0, 5, 1], 2).collect();
        assert_eq!(units, [Some(&[9_u8][..]), None]);
        assert_eq!(nal_units(&[], 4).count(), 0);
    }

    proptest! {
        #[test]
        fn no_sps_panics(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = parse_sps(&bytes);
            let mut sps = vec![0x67];
            sps.extend(bytes);
            let _ = parse_sps(&sps);
        }

        #[test]
        fn no_damaged_sps_panics(at in 1_usize..27, byte: u8) {
            let mut sps = hex(HIGH_1080).to_vec();
            sps[at] = byte;
            let _ = parse_sps(&sps);
        }
    }
}

//! AVCDecoderConfigurationRecord (ISO/IEC 14496-15, section 5.3.3.1) and the
//! roles of H.264 NAL units in a picture.

use bytes::Bytes;

use super::nal::Role;
use crate::codec::config_record::BadConfig;
use crate::codec::h264;
use crate::codec::h264::{NAL_PPS, NAL_SPS, Sps, parse_sps};
use crate::codec::parameter_sets::Sets;
use crate::{VideoCodec, VideoConfig};

/// Parses the record alone.
pub fn parse_config(record: &Bytes) -> Result<VideoConfig, BadConfig> {
    Sets::read(VideoCodec::H264, record)?.config(None)
}

/// Length size and all parameter sets of a record.
pub(crate) fn read_record(record: &Bytes) -> Result<(u8, Vec<Bytes>), BadConfig> {
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
    let mut sets = at.sets(0x1f).ok_or(bad)?;
    sets.extend(at.sets(0xff).ok_or(bad)?);
    Ok((nal_length_size, sets))
}

pub(crate) fn config(sets: &Sets, pps: Option<u32>) -> Result<VideoConfig, BadConfig> {
    let active = sets.active((NAL_SPS, NAL_PPS), pps, h264::pps_ids);
    let (sps, pps) = (sets.of_kind(NAL_SPS), sets.of_kind(NAL_PPS));
    let active = active.filter(|_| !pps.is_empty());
    let active = active.ok_or(BadConfig::NoParameterSets("H.264"))?;
    let Sps {
        width,
        height,
        playback,
    } = parse_sps(&active).ok_or(BadConfig::Sps("H.264"))?;
    let nal_length_size = sets.nal_length_size();
    let built = || h264::record(&sps, &pps, nal_length_size);
    Ok(VideoConfig {
        codec: VideoCodec::H264,
        record: sets.record().cloned().unwrap_or_else(built),
        sps,
        pps,
        nal_length_size,
        width,
        height,
        playback,
    })
}

/// Kind and id of a parameter set.
pub(crate) fn set_key(nal: &[u8]) -> Option<(u8, u32)> {
    match nal.first()? & 0x1f {
        // Invalid SPS are reported, not ignored.
        NAL_SPS => Some((NAL_SPS, h264::sps_id(nal).unwrap_or(u32::MAX))),
        NAL_PPS => Some((NAL_PPS, h264::pps_ids(nal)?.0)),
        _ => None,
    }
}

/// Role of a NAL unit (section 7.4.1.2.3).
pub(crate) fn role(nal: &[u8]) -> Role {
    match nal.first().map_or(0, |head| head & 0x1f) {
        // Partitions B and C of a slice follow A.
        3 | 4 => Role::Continues,
        1..=5 => match h264::slice_head(nal) {
            Some(head) if head.first_macroblock > 0 => Role::Continues,
            _ => Role::Starts,
        },
        6..=9 | 13..=18 => Role::Leads,
        _ => Role::Trails,
    }
}

/// Id of the PPS that a slice refers to.
pub fn pps_of(nal: &[u8]) -> Option<u32> {
    match nal.first()? & 0x1f {
        1 | 2 | 5 => h264::slice_head(nal).map(|head| head.pps),
        _ => None,
    }
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

    /// Reads a masked count, then that many sets with 16-bit lengths.
    fn sets(&mut self, mask: u8) -> Option<Vec<Bytes>> {
        let count = self.take(1)?[0] & mask;
        let mut sets = Vec::new();
        for _ in 0..count {
            let length = self.take(2)?;
            sets.push(self.take(usize::from(u16::from_be_bytes([length[0], length[1]])))?);
        }
        Some(sets)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::config_record::tests::hex;
    use crate::codec::h264::nal_units;

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
        assert_eq!(config.sps, [sps]);
        assert_eq!(config.pps, [hex("68ebe3cb")]);
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

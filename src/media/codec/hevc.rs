//! HEVCDecoderConfigurationRecord (ISO/IEC 14496-15, section 8.3.3.1) and the
//! fields used of its sequence parameter set (ITU-T H.265, section 7.3.2.2).

use bytes::{BufMut as _, Bytes};

use super::nal::Role;
use crate::codec::bits::{Bits, unescape};
use crate::codec::config_record::BadConfig;
use crate::codec::parameter_sets::Sets;
use crate::{Playback, VideoCodec, VideoConfig, is_size};

/// NAL unit types (table 7-1).
const NAL_VPS: u8 = 32;
const NAL_SPS: u8 = 33;
const NAL_PPS: u8 = 34;
const IRAP: std::ops::RangeInclusive<u8> = 16..=23;
/// Size of the record before its arrays, in bytes.
const HEAD: usize = 23;
/// Size of the general profile, tier and level, in bytes: in an SPS behind its
/// header and a byte, in the record behind its version.
const PROFILE: usize = 12;
/// Prefix length, in bytes, that holds a PPS' ids and a slice's header.
const SHORT: usize = 24;

/// Parses the record alone.
pub(crate) fn parse_config(record: &Bytes) -> Result<VideoConfig, BadConfig> {
    Sets::read(VideoCodec::Hevc, record)?.config(None)
}

/// Length size and all parameter sets of a record.
pub(crate) fn read_record(record: &Bytes) -> Result<(u8, Vec<Bytes>), BadConfig> {
    let bad = BadConfig::Record("HEVC");
    let head = record.get(..HEAD).ok_or(bad)?;
    let nal_length_size = (head[21] & 3) + 1;
    if head[0] != 1 || nal_length_size == 3 {
        return Err(bad);
    }
    let sets = arrays(record.slice(HEAD..), head[22]).ok_or(bad)?;
    Ok((nal_length_size, sets))
}

/// Reads the arrays; `None` if the record is truncated.
fn arrays(mut rest: Bytes, arrays: u8) -> Option<Vec<Bytes>> {
    let mut take = |count: usize| (count <= rest.len()).then(|| rest.split_to(count));
    let mut found = Vec::new();
    for _ in 0..arrays {
        let head = take(3)?;
        for _ in 0..u16::from_be_bytes([head[1], head[2]]) {
            let length = take(2)?;
            found.push(take(usize::from(u16::from_be_bytes([
                length[0], length[1],
            ])))?);
        }
    }
    Some(found)
}

pub(crate) fn config(sets: &Sets, pps: Option<u32>) -> Result<VideoConfig, BadConfig> {
    let sps = sets.active((NAL_SPS, NAL_PPS), pps, pps_ids);
    let sps = sps.ok_or(BadConfig::NoParameterSets("HEVC"))?;
    let (width, height) = picture_size(&sps).ok_or(BadConfig::Sps("HEVC"))?;
    Ok(VideoConfig {
        codec: VideoCodec::Hevc,
        record: sets.record().cloned().unwrap_or_else(|| build(sets, &sps)),
        sps: Vec::new(),
        pps: Vec::new(),
        nal_length_size: sets.nal_length_size(),
        width,
        height,
        playback: Playback::Never("HEVC"),
    })
}

/// Builds a record of these sets; fields no decoder needs are zero.
fn build(sets: &Sets, sps: &[u8]) -> Bytes {
    let mut record = vec![1];
    let mut profile = unescape(&sps[2..]);
    profile.drain(..profile.len().min(1));
    profile.resize(PROFILE, 0);
    record.extend(profile);
    record.resize(HEAD - 2, 0);
    record.push(0xfc | sets.nal_length_size().saturating_sub(1) & 3);
    record.push(3);
    for kind in [NAL_VPS, NAL_SPS, NAL_PPS] {
        let nals = sets.of_kind(kind);
        record.push(0x80 | kind);
        record.put_u16(nals.len() as u16);
        for nal in nals {
            record.put_u16(nal.len() as u16);
            record.extend(nal);
        }
    }
    record.into()
}

/// Kind and id of a parameter set.
pub(crate) fn set_key(nal: &[u8]) -> Option<(u8, u32)> {
    match nal.first()? >> 1 & 0x3f {
        NAL_VPS => Some((NAL_VPS, u32::from(*nal.get(2)? >> 4))),
        // Invalid SPS are reported, not ignored.
        NAL_SPS => Some((NAL_SPS, read_sps(nal).map_or(u32::MAX, |(id, ..)| id))),
        NAL_PPS => Some((NAL_PPS, pps_ids(nal)?.0)),
        _ => None,
    }
}

/// Ids of a PPS and its SPS (section 7.3.2.3).
fn pps_ids(nal: &[u8]) -> Option<(u32, u32)> {
    let payload = unescape(nal.get(2..)?.get(..SHORT.min(nal.len() - 2))?);
    let mut bits = Bits::new(&payload);
    let id = bits.golomb().filter(|id| *id < 64)?;
    Some((id, bits.golomb()?))
}

/// True if a NAL unit belongs to an IRAP picture, at which decoding can start.
pub fn is_irap(nal: &[u8]) -> bool {
    nal.first()
        .is_some_and(|byte| IRAP.contains(&(byte >> 1 & 0x3f)))
}

/// Role of a NAL unit (section 7.4.2.4.4).
pub(crate) fn role(nal: &[u8]) -> Role {
    match nal.first().map_or(63, |head| head >> 1 & 0x3f) {
        0..=31 if nal.get(2).is_some_and(|byte| byte & 0x80 == 0) => Role::Continues,
        0..=31 => Role::Starts,
        NAL_VPS..=35 | 39 | 41..=44 | 48..=55 => Role::Leads,
        _ => Role::Trails,
    }
}

/// Id of the PPS that a slice segment refers to (section 7.3.6.1).
pub fn pps_of(nal: &[u8]) -> Option<u32> {
    let kind = nal.first()? >> 1 & 0x3f;
    if kind > 31 {
        return None;
    }
    let payload = unescape(nal.get(2..)?.get(..SHORT.min(nal.len() - 2))?);
    let mut bits = Bits::new(&payload);
    bits.flag()?; // first_slice_segment_in_pic_flag
    if IRAP.contains(&kind) {
        bits.flag()?; // no_output_of_prior_pics_flag
    }
    bits.golomb()
}

/// Luma samples after cropping.
pub(crate) fn picture_size(sps: &[u8]) -> Option<(u32, u32)> {
    read_sps(sps).map(|(_, width, height)| (width, height))
}

/// SPS id, width and height.
fn read_sps(sps: &[u8]) -> Option<(u32, u32, u32)> {
    if sps.first()? >> 1 & 0x3f != NAL_SPS {
        return None;
    }
    let payload = unescape(sps.get(2..)?);
    let mut bits = Bits::new(&payload);
    bits.read(4)?; // sps_video_parameter_set_id
    let sub_layers = bits.read(3)?;
    bits.flag()?; // sps_temporal_id_nesting_flag
    skip_profile_tier_level(&mut bits, sub_layers)?;
    let id = bits.golomb().filter(|id| *id < 16)?;
    let chroma_format = bits.golomb()?;
    if chroma_format > 3 {
        return None;
    }
    let separate_planes = chroma_format == 3 && bits.flag()?;
    let width = bits.golomb()?;
    let height = bits.golomb()?;
    let mut window = [0; 4];
    if bits.flag()? {
        for side in &mut window {
            *side = bits.golomb()?;
        }
    }
    // Table 6-1.
    let (unit_x, unit_y) = match (chroma_format, separate_planes) {
        (1, _) => (2, 2),
        (2, _) => (2, 1),
        _ => (1, 1),
    };
    let [left, right, top, bottom] = window;
    let width = width.checked_sub(left.checked_add(right)?.checked_mul(unit_x)?)?;
    let height = height.checked_sub(top.checked_add(bottom)?.checked_mul(unit_y)?)?;
    is_size(width, height).then_some((id, width, height))
}

/// Skips the profile, tier and level (section 7.3.3).
fn skip_profile_tier_level(bits: &mut Bits<'_>, sub_layers: u32) -> Option<()> {
    const PROFILE: usize = 88;
    const LEVEL: usize = 8;
    bits.skip(PROFILE + LEVEL)?;
    let mut present = Vec::new();
    for _ in 0..sub_layers {
        present.push((bits.flag()?, bits.flag()?));
    }
    if sub_layers > 0 {
        // Reserved bits, for alignment.
        bits.skip(2 * (8 - sub_layers as usize))?;
    }
    for (profile, level) in present {
        bits.skip(if profile { PROFILE } else { 0 } + if level { LEVEL } else { 0 })?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::config_record::tests::hex;

    /// Written by x265: 1920x1080, Main, cropped from 1088 lines.
    const MAIN_1080: &str =
        "420101016000000300900000030000030078a003c0801107cb965654a4c2f0168080000003008000000c84";

    fn record(sps: &[u8]) -> Bytes {
        let mut record = vec![1; HEAD];
        record[21] = 0xff;
        record[22] = 1;
        record.extend([0xa1, 0, 1]);
        record.extend((sps.len() as u16).to_be_bytes());
        record.extend(sps);
        record.into()
    }

    #[test]
    fn the_size_is_read_off_the_record() {
        let config = parse_config(&record(&hex(MAIN_1080))).expect("valid");
        assert_eq!((config.width, config.height), (1920, 1080));
        assert_eq!(
            (config.codec, config.nal_length_size),
            (VideoCodec::Hevc, 4)
        );
        assert_eq!(config.playback, Playback::Never("HEVC"));
    }

    #[test]
    fn a_record_cut_anywhere_is_an_error() {
        let whole = record(&hex(MAIN_1080));
        for end in 0..whole.len() {
            assert!(parse_config(&whole.slice(..end)).is_err(), "{end}");
        }
    }

    #[test]
    fn a_record_is_built_of_sets_that_came_in_band() {
        let mut sets = Sets::new(VideoCodec::Hevc);
        for nal in [&hex("40010c01")[..], &hex(MAIN_1080), &hex("4401c172")] {
            sets.learn(nal);
        }
        let built = sets.config(Some(0)).expect("all there");
        assert_eq!((built.width, built.height), (1920, 1080));
        let (size, nals) = read_record(&built.record).expect("valid");
        assert_eq!(size, 4);
        assert_eq!(nals, [hex("40010c01"), hex(MAIN_1080), hex("4401c172")]);
        // General profile, tier and level: Main.
        assert_eq!(built.record[1], 1);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            let mut sps = vec![0x42, 1];
            sps.extend(&bytes);
            let _ = picture_size(&sps);
            let _ = parse_config(&bytes.clone().into());
            let _ = parse_config(&record(&bytes));
        }

        #[test]
        fn no_damaged_sps_panics(at in 2_usize..24, byte: u8) {
            let mut sps = hex(MAIN_1080).to_vec();
            sps[at] = byte;
            let _ = picture_size(&sps);
        }
    }
}

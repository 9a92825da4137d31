//! The AVCDecoderConfigurationRecord (ISO/IEC 14496-15, section 5.3.3.1), the
//! sequence parameter set in it (ITU-T H.264, section 7.3.2.1.1) and the NAL
//! units of an access unit.

use bytes::Bytes;

use super::bits::{Bits, unescape};
use super::codec::{BadConfig, is_size};
use crate::media::{Playback, VideoCodec, VideoConfig};

const NAL_SPS: u8 = 7;
const NAL_IDR: u8 = 5;
const BASELINE: u32 = 66;
const EXTENDED: u32 = 88;

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

/// What is wanted of a sequence parameter set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sps {
    /// Luma samples after cropping.
    width: u32,
    height: u32,
    playback: Playback,
}

pub(super) fn parse_sps(sps: &[u8]) -> Option<Sps> {
    if sps.first()? & 0x1f != NAL_SPS {
        return None;
    }
    let payload = unescape(&sps[1..]);
    let mut bits = Bits::new(&payload);
    let profile = bits.read(8)?;
    bits.read(16)?; // constraint flags, level
    bits.golomb()?; // seq_parameter_set_id
    let mut chroma_format = 1;
    let mut separate_planes = false;
    let mut deeper = 0;
    if matches!(
        profile,
        100 | 110 | 122 | 244 | 44 | 83 | 86 | 118 | 128 | 138 | 139 | 134 | 135
    ) {
        chroma_format = bits.golomb()?;
        if chroma_format > 3 {
            return None;
        }
        if chroma_format == 3 {
            separate_planes = bits.flag()?;
        }
        // Luma's and chroma's bits a sample, minus 8.
        deeper = bits.golomb()?.max(bits.golomb()?);
        bits.flag()?; // qpprime_y_zero_transform_bypass_flag
        if bits.flag()? {
            for list in 0..if chroma_format == 3 { 12 } else { 8 } {
                if bits.flag()? {
                    skip_scaling_list(&mut bits, if list < 6 { 16 } else { 64 })?;
                }
            }
        }
    }
    bits.golomb()?; // log2_max_frame_num_minus4
    let order_type = bits.golomb()?;
    match order_type {
        0 => {
            bits.golomb()?; // log2_max_pic_order_cnt_lsb_minus4
        }
        1 => {
            bits.flag()?; // delta_pic_order_always_zero_flag
            bits.golomb()?; // offset_for_non_ref_pic
            bits.golomb()?; // offset_for_top_to_bottom_field
            let cycle = bits.golomb()?;
            if cycle > 255 {
                return None;
            }
            for _ in 0..cycle {
                bits.golomb()?;
            }
        }
        2 => {}
        _ => return None,
    }
    bits.golomb()?; // max_num_ref_frames
    bits.flag()?; // gaps_in_frame_num_value_allowed_flag
    let width = bits.golomb()?.checked_add(1)?.checked_mul(16)?;
    let map_height = bits.golomb()?.checked_add(1)?.checked_mul(16)?;
    let frames_only = bits.flag()?;
    let fields = if frames_only { 1 } else { 2 };
    let height = map_height.checked_mul(fields)?;
    if !frames_only {
        bits.flag()?; // mb_adaptive_frame_field_flag
    }
    bits.flag()?; // direct_8x8_inference_flag
    let mut crop = [0; 4];
    if bits.flag()? {
        for side in &mut crop {
            *side = bits.golomb()?;
        }
    }
    let (unit_x, unit_y) = match (chroma_format, separate_planes) {
        (1, _) => (2, 2),
        (2, _) => (2, 1),
        _ => (1, 1),
    };
    let [left, right, top, bottom] = crop;
    let width = width.checked_sub(left.checked_add(right)?.checked_mul(unit_x)?)?;
    let across = top.checked_add(bottom)?.checked_mul(unit_y * fields)?;
    let height = height.checked_sub(across)?;
    if !is_size(width, height) {
        return None;
    }
    // With order type 2 the two orders are the same (section 8.2.1.3).
    let reordered = profile != BASELINE
        && order_type != 2
        && bits.flag().unwrap_or(false)
        && reorders(&mut bits).unwrap_or(false);
    let playback = match () {
        () if profile == EXTENDED => Playback::Never("H.264 Extended profile"),
        () if chroma_format != 1 => Playback::Never("H.264 with other chroma than 4:2:0"),
        () if deeper > 0 => Playback::Never("H.264 with more than 8 bits a sample"),
        () if !frames_only => Playback::Never("interlaced H.264"),
        () if reordered => Playback::Reordered,
        () => Playback::Plays,
    };
    Some(Sps {
        width,
        height,
        playback,
    })
}

/// Section 7.3.2.1.1.1.
fn skip_scaling_list(bits: &mut Bits<'_>, size: usize) -> Option<()> {
    let mut last = 8_i64;
    let mut next = 8_i64;
    for _ in 0..size {
        if next != 0 {
            let code = i64::from(bits.golomb()?);
            // Section 9.1.1: the signed reading of the same code.
            let delta = if code & 1 == 1 {
                (code + 1) / 2
            } else {
                -(code / 2)
            };
            next = (last + delta).rem_euclid(256);
        }
        if next != 0 {
            last = next;
        }
    }
    Some(())
}

/// Annex E.2.1: whether pictures come in another order than they are shown.
/// `None` if the encoder does not say.
fn reorders(bits: &mut Bits<'_>) -> Option<bool> {
    const EXTENDED_SAR: u32 = 255;
    if bits.flag()? && bits.read(8)? == EXTENDED_SAR {
        bits.skip(32)?;
    }
    if bits.flag()? {
        bits.flag()?; // overscan_appropriate_flag
    }
    if bits.flag()? {
        bits.read(4)?; // video_format, video_full_range_flag
        if bits.flag()? {
            bits.skip(24)?; // primaries, transfer, matrix
        }
    }
    if bits.flag()? {
        bits.golomb()?; // chroma_sample_loc_type_top_field
        bits.golomb()?; // chroma_sample_loc_type_bottom_field
    }
    if bits.flag()? {
        bits.skip(65)?; // num_units_in_tick, time_scale, fixed_frame_rate_flag
    }
    let nal_hrd = bits.flag()?;
    if nal_hrd {
        skip_hrd(bits)?;
    }
    let vcl_hrd = bits.flag()?;
    if vcl_hrd {
        skip_hrd(bits)?;
    }
    if nal_hrd || vcl_hrd {
        bits.flag()?; // low_delay_hrd_flag
    }
    bits.flag()?; // pic_struct_present_flag
    if !bits.flag()? {
        return None;
    }
    bits.flag()?; // motion_vectors_over_pic_boundaries_flag
    for _ in 0..4 {
        bits.golomb()?; // largest picture, macroblock and motion vectors
    }
    Some(bits.golomb()? > 0) // max_num_reorder_frames
}

/// Annex E.1.2.
fn skip_hrd(bits: &mut Bits<'_>) -> Option<()> {
    let count = bits.golomb()?.checked_add(1).filter(|count| *count <= 32)?;
    bits.read(8)?; // bit_rate_scale, cpb_size_scale
    for _ in 0..count {
        bits.golomb()?; // bit_rate_value_minus1
        bits.golomb()?; // cpb_size_value_minus1
        bits.flag()?; // cbr_flag
    }
    bits.skip(20) // lengths of delays and of the time offset
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

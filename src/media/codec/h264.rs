//! H.264 parsing shared by several modules (ITU-T H.264): sequence parameter
//! sets (section 7.3.2), slice headers, and the two framings of NAL units in a
//! stream: start codes (annex B) or length prefixes (ISO/IEC 14496-15).

use bytes::Bytes;

use crate::codec::bits::{Bits, unescape};
use crate::{Playback, is_size};

/// NAL unit types (table 7-1), to be masked by [`TYPE`].
pub const NAL_IDR: u8 = 5;
pub const NAL_SEI: u8 = 6;
pub const NAL_SPS: u8 = 7;
pub const NAL_PPS: u8 = 8;
const TYPE: u8 = 0x1f;
/// Prefix length, in bytes, that holds slice headers and parameter sets' ids.
const HEAD: usize = 24;
/// SEI payload type of a recovery point (annex D.1), in H.265 too.
const RECOVERY_POINT: u32 = 6;
const BASELINE: u32 = 66;
const EXTENDED: u32 = 88;

/// Iterator over the NAL units between start codes (annex B).
pub fn annex_b(stream: &[u8]) -> impl Iterator<Item = &[u8]> {
    let starts: Vec<_> = stream
        .windows(3)
        .enumerate()
        .filter(|(_, bytes)| *bytes == [0, 0, 1])
        .map(|(at, _)| at)
        .collect();
    let ends: Vec<_> = starts
        .iter()
        .skip(1)
        .copied()
        .chain([stream.len()])
        .collect();
    starts.into_iter().zip(ends).map(move |(start, end)| {
        let nal = &stream[start + 3..end];
        // A start code of four bytes begins with the zero before it, and more
        // zeros may trail; no NAL unit ends in a zero (section 7.4.1).
        let length = nal.iter().rposition(|byte| *byte != 0);
        &nal[..length.map_or(0, |last| last + 1)]
    })
}

/// True if a stream begins with a start code.
pub fn is_annex_b(stream: &[u8]) -> bool {
    let zeros = stream.iter().take_while(|byte| **byte == 0).count();
    zeros >= 2 && stream.get(zeros) == Some(&1)
}

/// Iterator over the NAL units of an access unit, without their lengths. Ends
/// with `None` in place of a truncated unit.
pub fn nal_units(data: &[u8], length_size: u8) -> impl Iterator<Item = Option<&[u8]>> {
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

/// Builds an AVCDecoderConfigurationRecord (ISO/IEC 14496-15, section 5.3.3.1).
/// The sets must not be longer than 65,535 bytes; sets beyond its count fields
/// are left out.
pub fn record(sps: &[Bytes], pps: &[Bytes], nal_length_size: u8) -> Bytes {
    let mut record = vec![1];
    record.extend(sps.iter().flatten().skip(1).take(3));
    // The upper bits of both are reserved.
    record.push(0xfc | nal_length_size.saturating_sub(1) & 3);
    for (most, reserved, sets) in [(31, 0xe0, sps), (255, 0, pps)] {
        let sets = &sets[..sets.len().min(most)];
        record.push(reserved | sets.len() as u8);
        for set in sets {
            record.extend((set.len() as u16).to_be_bytes());
            record.extend(set);
        }
    }
    record.into()
}

/// `seq_parameter_set_id` of an SPS with its NAL header.
pub fn sps_id(sps: &[u8]) -> Option<u32> {
    let head = unescape(sps.get(1..)?.get(..HEAD.min(sps.len() - 1))?);
    let mut bits = Bits::new(&head);
    bits.skip(24)?; // profile, constraint flags, level
    bits.golomb().filter(|id| *id < 32)
}

/// `pic_parameter_set_id` of a PPS, and the id of the SPS it refers to.
pub fn pps_ids(pps: &[u8]) -> Option<(u32, u32)> {
    let head = unescape(pps.get(1..)?.get(..HEAD.min(pps.len() - 1))?);
    let mut bits = Bits::new(&head);
    let id = bits.golomb().filter(|id| *id < 256)?;
    Some((id, bits.golomb()?))
}

/// First fields of every slice header (section 7.3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SliceHead {
    /// First macroblock; 0 in the first slice of a picture.
    pub first_macroblock: u32,
    pub pps: u32,
}

/// Parses the first fields of a slice, given with its NAL header.
pub fn slice_head(nal: &[u8]) -> Option<SliceHead> {
    let head = unescape(nal.get(1..)?.get(..HEAD.min(nal.len() - 1))?);
    let mut bits = Bits::new(&head);
    let first_macroblock = bits.golomb()?;
    bits.golomb()?; // slice_type
    let pps = bits.golomb()?;
    Some(SliceHead {
        first_macroblock,
        pps,
    })
}

/// True if SEI messages (section 7.3.2.3), without NAL header, hold a recovery
/// point.
pub fn has_recovery_point(messages: &[u8]) -> bool {
    let payload = unescape(messages);
    let mut rest = payload.as_slice();
    // The last byte is the trailing bits.
    while rest.len() > 2 {
        let Some((kind, size)) = take_sum(&mut rest).zip(take_sum(&mut rest)) else {
            return false;
        };
        if kind == RECOVERY_POINT {
            return true;
        }
        rest = rest.get(size as usize..).unwrap_or_default();
    }
    false
}

/// Reads a number coded as bytes of 255 and a last byte that is less.
fn take_sum(rest: &mut &[u8]) -> Option<u32> {
    let mut sum = 0_u32;
    loop {
        let (byte, tail) = rest.split_first()?;
        *rest = tail;
        sum = sum.saturating_add(u32::from(*byte));
        if *byte != 255 {
            return Some(sum);
        }
    }
}

/// Fields used of a sequence parameter set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sps {
    /// Luma samples after cropping.
    pub width: u32,
    pub height: u32,
    pub playback: Playback,
}

/// Parses an SPS, given with its NAL header; `None` if it is truncated or
/// invalid.
pub fn parse_sps(sps: &[u8]) -> Option<Sps> {
    if sps.first()? & TYPE != NAL_SPS {
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

/// Skips a scaling list (section 7.3.2.1.1.1).
fn skip_scaling_list(bits: &mut Bits<'_>, size: usize) -> Option<()> {
    let mut last = 8_i64;
    let mut next = 8_i64;
    for _ in 0..size {
        if next != 0 {
            let code = i64::from(bits.golomb()?);
            // Signed Exp-Golomb mapping of the same code (section 9.1.1).
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

/// True if pictures may be reordered between decoding and output (annex E.2.1).
/// `None` if the encoder does not signal it.
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

/// Skips HRD parameters (annex E.1.2).
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

//! The HEVCDecoderConfigurationRecord (ISO/IEC 14496-15, section 8.3.3.1) and
//! what is wanted of the sequence parameter set in it (ITU-T H.265, section
//! 7.3.2.2).

use bytes::Bytes;

use super::codec::BadConfig;
use crate::bits::{Bits, unescape};
use crate::media::{Playback, VideoCodec, VideoConfig, is_size};

const NAL_SPS: u8 = 33;
/// IRAP pictures (table 7-1): decoding can start at each.
const IRAP: std::ops::RangeInclusive<u8> = 16..=23;
/// Bytes of the record before its arrays.
const HEAD: usize = 23;

pub(super) fn parse_config(record: &Bytes) -> Result<VideoConfig, BadConfig> {
    let bad = BadConfig::Record("HEVC");
    let head = record.get(..HEAD).ok_or(bad)?;
    let nal_length_size = (head[21] & 3) + 1;
    if head[0] != 1 || nal_length_size == 3 {
        return Err(bad);
    }
    let sps = first_sps(&record[HEAD..], head[22]).ok_or(bad)?;
    let sps = sps.ok_or(BadConfig::NoParameterSets("HEVC"))?;
    let (width, height) = picture_size(sps).ok_or(BadConfig::Sps("HEVC"))?;
    Ok(VideoConfig {
        codec: VideoCodec::Hevc,
        record: record.clone(),
        sps: Bytes::new(),
        pps: Bytes::new(),
        nal_length_size,
        width,
        height,
        playback: Playback::Never("HEVC"),
    })
}

/// `None` if the record is cut short.
fn first_sps(mut rest: &[u8], arrays: u8) -> Option<Option<&[u8]>> {
    let mut found = None;
    for _ in 0..arrays {
        let ([kind, high, low], tail) = rest.split_first_chunk::<3>()?;
        rest = tail;
        for _ in 0..u16::from_be_bytes([*high, *low]) {
            let (length, tail) = rest.split_first_chunk::<2>()?;
            let length = usize::from(u16::from_be_bytes(*length));
            let (nal, tail) = tail.split_at_checked(length)?;
            rest = tail;
            if kind & 0x3f == NAL_SPS && found.is_none() && !nal.is_empty() {
                found = Some(nal);
            }
        }
    }
    Some(found)
}

/// Whether decoding can start at a NAL unit.
pub(super) fn is_keyframe(nal: &[u8]) -> bool {
    nal.first()
        .is_some_and(|byte| IRAP.contains(&(byte >> 1 & 0x3f)))
}

/// Luma samples after cropping.
pub(super) fn picture_size(sps: &[u8]) -> Option<(u32, u32)> {
    if sps.first()? >> 1 & 0x3f != NAL_SPS {
        return None;
    }
    let payload = unescape(sps.get(2..)?);
    let mut bits = Bits::new(&payload);
    bits.read(4)?; // sps_video_parameter_set_id
    let sub_layers = bits.read(3)?;
    bits.flag()?; // sps_temporal_id_nesting_flag
    skip_profile_tier_level(&mut bits, sub_layers)?;
    bits.golomb()?; // sps_seq_parameter_set_id
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
    is_size(width, height).then_some((width, height))
}

/// Section 7.3.3.
fn skip_profile_tier_level(bits: &mut Bits<'_>, sub_layers: u32) -> Option<()> {
    const PROFILE: usize = 88;
    const LEVEL: usize = 8;
    bits.skip(PROFILE + LEVEL)?;
    let mut present = Vec::new();
    for _ in 0..sub_layers {
        present.push((bits.flag()?, bits.flag()?));
    }
    if sub_layers > 0 {
        // Reserved, so that what follows is aligned.
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
    use crate::rtmp::codec::tests::hex;

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
    fn decoding_starts_at_irap_pictures() {
        let nal = |kind: u8| [kind << 1, 1, 0];
        assert!(is_keyframe(&nal(19)) && is_keyframe(&nal(21)));
        assert!(!is_keyframe(&nal(1)) && !is_keyframe(&nal(32)) && !is_keyframe(&[]));
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

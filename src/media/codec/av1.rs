//! AV1CodecConfigurationRecord (AV1 in ISOBMFF, section 2.3) and the fields
//! used of its sequence header (AV1 specification, section 5.5).

use bytes::Bytes;

use crate::codec::bits::Bits;
use crate::codec::config_record::BadConfig;
use crate::{Playback, VideoCodec, VideoConfig, is_size};

/// Marker bit and version 1.
const HEAD: u8 = 0x81;
const OBU_SEQUENCE_HEADER: u8 = 1;

pub(crate) fn parse_config(record: &Bytes) -> Result<VideoConfig, BadConfig> {
    let (head, units) = record
        .split_first_chunk::<4>()
        .ok_or(BadConfig::Record("AV1"))?;
    if head[0] != HEAD {
        return Err(BadConfig::Record("AV1"));
    }
    let header = sequence_header(units).ok_or(BadConfig::NoParameterSets("AV1"))?;
    let (width, height) = picture_size(header).ok_or(BadConfig::Sps("AV1"))?;
    Ok(VideoConfig {
        codec: VideoCodec::Av1,
        record: record.clone(),
        sps: Vec::new(),
        pps: Vec::new(),
        nal_length_size: 0,
        width,
        height,
        playback: Playback::Never("AV1"),
    })
}

/// Payload of the first sequence header among OBUs (section 5.3).
fn sequence_header(mut units: &[u8]) -> Option<&[u8]> {
    loop {
        let (head, rest) = units.split_first()?;
        let (kind, extended, sized) = (head >> 3 & 0xf, head & 4 != 0, head & 2 != 0);
        let rest = if extended { rest.get(1..)? } else { rest };
        let (size, rest) = if sized {
            leb128(rest)?
        } else {
            (rest.len(), rest)
        };
        let (payload, next) = rest.split_at_checked(size)?;
        if kind == OBU_SEQUENCE_HEADER {
            return Some(payload);
        }
        units = next;
    }
}

/// Reads a leb128 (section 4.10.5).
fn leb128(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0_u64;
    for (nth, byte) in bytes.iter().take(8).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * nth);
        if byte & 0x80 == 0 {
            return Some((usize::try_from(value).ok()?, &bytes[nth + 1..]));
        }
    }
    None
}

/// Maximum picture size (section 5.5.1).
fn picture_size(header: &[u8]) -> Option<(u32, u32)> {
    let mut bits = Bits::new(header);
    bits.read(3)?; // seq_profile
    bits.flag()?; // still_picture
    if bits.flag()? {
        bits.read(5)?; // reduced_still_picture_header: seq_level_idx
    } else {
        skip_operating_points(&mut bits)?;
    }
    let width_bits = bits.read(4)? + 1;
    let height_bits = bits.read(4)? + 1;
    let width = bits.read(width_bits)? + 1;
    let height = bits.read(height_bits)? + 1;
    is_size(width, height).then_some((width, height))
}

fn skip_operating_points(bits: &mut Bits<'_>) -> Option<()> {
    let mut delay_bits = None;
    if bits.flag()? {
        bits.skip(64)?; // timing_info: units in a tick, time scale
        if bits.flag()? {
            bits.golomb()?; // ticks a picture
        }
        if bits.flag()? {
            delay_bits = Some(bits.read(5)? as usize + 1);
            bits.skip(32 + 5 + 5)?; // rest of decoder_model_info
        }
    }
    let display_delays = bits.flag()?;
    let points = bits.read(5)? + 1;
    for _ in 0..points {
        bits.read(12)?; // operating_point_idc
        if bits.read(5)? > 7 {
            bits.flag()?; // seq_tier
        }
        if let Some(delay_bits) = delay_bits
            && bits.flag()?
        {
            bits.skip(2 * delay_bits + 1)?;
        }
        if display_delays && bits.flag()? {
            bits.read(4)?;
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::config_record::tests::hex;

    /// Written by libaom: 320x240, Main profile.
    const RECORD: &str = "81000c000a0b000000043cffbcdaf90040";

    #[test]
    fn the_size_is_read_off_the_record() {
        let config = parse_config(&hex(RECORD)).expect("valid");
        assert_eq!((config.width, config.height), (320, 240));
        assert_eq!((config.codec, config.nal_length_size), (VideoCodec::Av1, 0));
    }

    #[test]
    fn a_record_cut_short_is_an_error() {
        let whole = hex(RECORD);
        for end in 0..12 {
            assert!(parse_config(&whole.slice(..end)).is_err(), "{end}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let mut record = vec![HEAD, 0, 0, 0];
            record.extend(&bytes);
            let _ = parse_config(&record.into());
            let _ = picture_size(&bytes);
        }
    }
}

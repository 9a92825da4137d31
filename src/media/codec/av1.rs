//! AV1CodecConfigurationRecord (AV1 in ISOBMFF, section 2.3), the fields used of
//! its sequence header (AV1 specification, section 5.5), and streams without a
//! record.

use std::sync::Arc;

use bytes::Bytes;

use crate::codec::bits::Bits;
use crate::codec::config_record::BadConfig;
use crate::codec::vpx::BadFrame;
use crate::{AccessUnit, MediaTime, Playback, VideoCodec, VideoConfig, is_size};

/// Marker bit and version 1.
const HEAD: u8 = 0x81;
/// Highest level, "maximum parameters", and 4:2:0 of a record made here:
/// decoders read the sequence header.
const ANY_LEVEL: u8 = 31;
const SUBSAMPLED: u8 = 0x0c;
const OBU_SEQUENCE_HEADER: u8 = 1;
const OBU_FRAME_HEADER: u8 = 3;
const OBU_FRAME: u8 = 6;
const KEY_FRAME: u32 = 0;
const NAME: &str = "AV1";

/// Reader of one publisher's temporal units in the low-overhead format, whose
/// configuration is in them, as by RTP.
#[derive(Debug)]
pub struct Av1Reader {
    config: Option<Arc<VideoConfig>>,
    needs_keyframe: bool,
}

impl Default for Av1Reader {
    fn default() -> Self {
        Self {
            config: None,
            needs_keyframe: true,
        }
    }
}

impl Av1Reader {
    /// True if a keyframe is awaited, so that one may be requested.
    pub fn needs_keyframe(&self) -> bool {
        self.needs_keyframe
    }

    /// Marks a loss: units before the next keyframe are rejected.
    pub fn lost(&mut self) {
        self.needs_keyframe = true;
    }

    /// Access unit of a temporal unit; after a broken one those before the next
    /// keyframe are rejected.
    pub fn unit(
        &mut self,
        pts: MediaTime,
        dts: MediaTime,
        data: Bytes,
    ) -> Result<AccessUnit, BadFrame> {
        let read = self.read(&data);
        self.needs_keyframe = read.is_err();
        let (keyframe, config) = read?;
        Ok(AccessUnit {
            pts,
            dts,
            keyframe,
            config,
            data,
        })
    }

    fn read(&mut self, unit: &[u8]) -> Result<(bool, Arc<VideoConfig>), BadFrame> {
        let mut header = None;
        let mut keyframe = None;
        let mut rest = unit;
        while !rest.is_empty() {
            let (obu, next) = Obu::read(rest).ok_or(BadFrame::Truncated(NAME))?;
            match obu.kind {
                OBU_SEQUENCE_HEADER => header = Some(obu.payload),
                OBU_FRAME_HEADER | OBU_FRAME if keyframe.is_none() => {
                    let shown = is_shown_keyframe(obu.payload);
                    keyframe = Some(shown.ok_or(BadFrame::Truncated(NAME))?);
                }
                _ => {}
            }
            rest = next;
        }
        // A keyframe begins a coded video sequence, with its header.
        let keyframe = keyframe.ok_or(BadFrame::Truncated(NAME))? && header.is_some();
        if self.needs_keyframe && !keyframe {
            return Err(BadFrame::NoKeyframe(NAME));
        }
        if let Some(header) = header {
            let record = record(header);
            if self
                .config
                .as_ref()
                .is_none_or(|known| known.record != record)
            {
                let config = parse_config(&record).map_err(|_| BadFrame::Sequence)?;
                self.config = Some(Arc::new(config));
            }
        }
        let config = self.config.clone();
        Ok((keyframe, config.ok_or(BadFrame::NoKeyframe(NAME))?))
    }
}

/// Record of a sequence header.
fn record(header: &[u8]) -> Bytes {
    let profile = header.first().map_or(0, |byte| byte >> 5);
    let mut record = vec![HEAD, profile << 5 | ANY_LEVEL, SUBSAMPLED, 0];
    record.push(OBU_SEQUENCE_HEADER << 3 | 2);
    let mut size = header.len();
    while size > 0x7f {
        record.push(size as u8 & 0x7f | 0x80);
        size >>= 7;
    }
    record.push(size as u8);
    record.extend(header);
    record.into()
}

/// True for the header of a keyframe that is shown (section 5.9.2), unless it
/// is cut short.
fn is_shown_keyframe(header: &[u8]) -> Option<bool> {
    let mut bits = Bits::new(header);
    if bits.flag()? {
        return Some(false); // show_existing_frame
    }
    Some(bits.read(2)? == KEY_FRAME && bits.flag()?)
}

/// Open bitstream unit (section 5.3).
struct Obu<'a> {
    kind: u8,
    payload: &'a [u8],
}

impl<'a> Obu<'a> {
    /// First unit, and what follows it.
    fn read(units: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (head, rest) = units.split_first()?;
        let (kind, extended, sized) = (head >> 3 & 0xf, head & 4 != 0, head & 2 != 0);
        let rest = if extended { rest.get(1..)? } else { rest };
        let (size, rest) = if sized {
            leb128(rest)?
        } else {
            (rest.len(), rest)
        };
        let (payload, next) = rest.split_at_checked(size)?;
        Some((Self { kind, payload }, next))
    }
}

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

/// Payload of the first sequence header among OBUs.
fn sequence_header(mut units: &[u8]) -> Option<&[u8]> {
    loop {
        let (obu, next) = Obu::read(units)?;
        if obu.kind == OBU_SEQUENCE_HEADER {
            return Some(obu.payload);
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

    /// OBU of a kind with its size.
    fn obu(kind: u8, payload: &[u8]) -> Vec<u8> {
        let mut unit = vec![kind << 3 | 2, payload.len() as u8];
        unit.extend(payload);
        unit
    }

    #[test]
    fn stream_without_a_record_is_read_by_its_sequence_headers() {
        let header = obu(OBU_SEQUENCE_HEADER, &hex("000000043cffbcdaf90040"));
        let key = [&header[..], &obu(OBU_FRAME, &[0x10, 0])].concat();
        let inter = obu(OBU_FRAME, &[0x30, 0]);
        let shown_again = obu(OBU_FRAME_HEADER, &[0x80]);
        let mut reader = Av1Reader::default();
        let mut read = |unit: &[u8]| {
            let at = MediaTime(0);
            let unit = reader.unit(at, at, Bytes::copy_from_slice(unit))?;
            Ok((unit.keyframe, unit.config.width, unit.config.height))
        };
        assert_eq!(read(&inter), Err(BadFrame::NoKeyframe(NAME)));
        assert_eq!(read(&key), Ok((true, 320, 240)));
        assert_eq!(read(&inter), Ok((false, 320, 240)));
        assert_eq!(read(&shown_again), Ok((false, 320, 240)));
        assert_eq!(read(&key[..key.len() - 1]), Err(BadFrame::Truncated(NAME)));
        assert_eq!(read(&inter), Err(BadFrame::NoKeyframe(NAME)));
        let broken = [
            &obu(OBU_SEQUENCE_HEADER, &[0])[..],
            &obu(OBU_FRAME, &[0x10, 0]),
        ]
        .concat();
        assert_eq!(read(&broken), Err(BadFrame::Sequence));
        assert_eq!(read(&key), Ok((true, 320, 240)));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let mut record = vec![HEAD, 0, 0, 0];
            record.extend(&bytes);
            let _ = parse_config(&record.into());
            let _ = picture_size(&bytes);
            let at = MediaTime(0);
            if let Ok(unit) = Av1Reader::default().unit(at, at, bytes.into()) {
                prop_assert!(unit.keyframe && is_size(unit.config.width, unit.config.height));
            }
        }
    }
}

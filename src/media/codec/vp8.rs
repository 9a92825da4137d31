//! Frame header of VP8 (RFC 6386, section 9.1).

use crate::codec::vpx::{BadFrame, FrameHeader};

const NAME: &str = "VP8";
const FRAME_TAG: usize = 3;
const START_CODE: [u8; 3] = [0x9d, 0x01, 0x2a];
/// Versions 0 to 3 are defined, the others reserved.
const NEWEST_VERSION: u8 = 3;
/// Bits of a side; the two above them are its upscaling factor, a hint to
/// players only.
const SIDE: u16 = 0x3fff;

pub(super) fn parse_frame(frame: &[u8]) -> Result<FrameHeader, BadFrame> {
    let (tag, rest) = frame
        .split_first_chunk::<FRAME_TAG>()
        .ok_or(BadFrame::Truncated(NAME))?;
    let bits = u32::from_le_bytes([tag[0], tag[1], tag[2], 0]);
    let (keyframe, version) = (bits & 1 == 0, (bits >> 1 & 7) as u8);
    if version > NEWEST_VERSION {
        return Err(BadFrame::Vp8Version(version));
    }
    let header = if keyframe { 7 } else { 0 };
    let after = rest
        .len()
        .checked_sub(header)
        .ok_or(BadFrame::Truncated(NAME))?;
    let first_partition = bits >> 5;
    if first_partition as usize > after {
        return Err(BadFrame::Partition {
            claimed: first_partition,
            there: after,
        });
    }
    if !keyframe {
        return Ok(FrameHeader {
            keyframe,
            size: None,
        });
    }
    if !rest.starts_with(&START_CODE) {
        return Err(BadFrame::SyncCode(NAME));
    }
    let side = |at| u32::from(u16::from_le_bytes([rest[at], rest[at + 1]]) & SIDE);
    Ok(FrameHeader {
        keyframe,
        size: Some((side(3), side(5))),
    })
}

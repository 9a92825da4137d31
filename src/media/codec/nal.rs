//! Roles of NAL units in a picture, and their two framings: length prefixes, as
//! in FLV, or start codes.

use bytes::{BufMut as _, Bytes, BytesMut};

use super::{avc, hevc};
use crate::VideoCodec;
use crate::codec::h264::{annex_b, is_annex_b, nal_units};

/// Position of a NAL unit in its access unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Before the first slice; after a slice it begins a new picture.
    Leads,
    /// The first slice of a picture.
    Starts,
    /// A further slice.
    Continues,
    /// After the last slice.
    Trails,
}

impl Role {
    fn of_nal(codec: VideoCodec, nal: &[u8]) -> Self {
        match codec {
            VideoCodec::Hevc => hevc::role(nal),
            _ => avc::role(nal),
        }
    }

    /// Combined role of several NAL units; `None` if there are none.
    pub fn of_all(codec: VideoCodec, data: &[u8], length_size: u8) -> Option<Self> {
        let mut sum = None;
        for nal in nal_units(data, length_size).flatten() {
            if nal.is_empty() {
                continue;
            }
            match (sum, Self::of_nal(codec, nal)) {
                (None | Some(Self::Trails), role @ (Self::Starts | Self::Continues)) => {
                    return Some(role);
                }
                (Some(_), Self::Starts | Self::Continues) => return Some(Self::Starts),
                (None, role) => sum = Some(role),
                (_, Self::Leads) => sum = Some(Self::Leads),
                (_, Self::Trails) => {}
            }
        }
        sum
    }
}

/// Framing of a publisher's NAL units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NalFraming {
    /// Length prefixes of so many bytes.
    Lengths(u8),
    StartCodes,
}

impl NalFraming {
    /// Detects the framing of a tag. The configuration record decides, unless
    /// its length size yields invalid lengths and there are start codes.
    pub fn of(data: &[u8], length_size: Option<u8>) -> Option<Self> {
        let sizes = length_size.map_or(&[4, 2, 1][..], |_| &[]);
        let fits = |size: &u8| is_whole(data, *size);
        if let Some(size) = length_size.filter(fits) {
            return Some(Self::Lengths(size));
        }
        // Length prefixes of four bytes that are 0 or 1 look like start codes,
        // too.
        if sizes.contains(&4) && is_whole(data, 4) {
            return Some(Self::Lengths(4));
        }
        if is_annex_b(data) {
            return Some(Self::StartCodes);
        }
        sizes.iter().copied().find(fits).map(Self::Lengths)
    }
}

/// True if data consists of NAL units with lengths of this size.
fn is_whole(data: &[u8], size: u8) -> bool {
    let mut any = false;
    for nal in nal_units(data, size) {
        let Some(nal) = nal else {
            return false;
        };
        any |= !nal.is_empty();
    }
    any
}

/// Converts start codes to length prefixes of four bytes.
pub fn from_start_codes(data: &[u8]) -> Bytes {
    let mut framed = BytesMut::with_capacity(data.len() + 16);
    for nal in annex_b(data).filter(|nal| !nal.is_empty()) {
        // A message is far shorter than 4 GiB.
        framed.put_u32(nal.len() as u32);
        framed.put_slice(nal);
    }
    framed.freeze()
}

/// Converts length prefixes to such of four bytes.
pub fn from_lengths(data: &[u8], size: u8) -> Bytes {
    let mut framed = BytesMut::with_capacity(2 * data.len());
    for nal in nal_units(data, size).flatten() {
        framed.put_u32(nal.len() as u32);
        framed.put_slice(nal);
    }
    framed.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn framings_are_detected() {
        let detected = |data: &[u8], length_size| NalFraming::of(data, length_size);
        let sized = [0, 0, 0, 2, 0x65, 0x88];
        assert_eq!(detected(&sized, Some(4)), Some(NalFraming::Lengths(4)));
        assert_eq!(detected(&sized, None), Some(NalFraming::Lengths(4)));
        assert_eq!(detected(&sized[2..], None), Some(NalFraming::Lengths(2)));
        assert_eq!(detected(&sized[3..], None), Some(NalFraming::Lengths(1)));
        assert_eq!(detected(&sized[2..], Some(4)), None);
        for code in [&[0, 0, 1][..], &[0, 0, 0, 1]] {
            let data = [code, &[0x67, 0x42, 0xc0, 0x1e], code, &[0x65, 0x88]].concat();
            for size in [None, Some(1), Some(2), Some(4)] {
                let expected = Some(NalFraming::StartCodes);
                assert_eq!(detected(&data, size), expected, "{data:?} {size:?}");
            }
            let lengths = [0, 0, 0, 4, 0x67, 0x42, 0xc0, 0x1e, 0, 0, 0, 2, 0x65, 0x88];
            assert_eq!(from_start_codes(&data)[..], lengths);
        }
    }
}

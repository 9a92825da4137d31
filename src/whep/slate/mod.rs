//! What viewers see while a stream has no signal.

use bytes::Bytes;

use super::packetizer::{self, Packet};

/// One IDR picture, H.264 Constrained Baseline in Annex B form, drawn by
/// `make.sh`.
const PICTURE: &[u8] = include_bytes!("slate.h264");

/// The picture's packets, decodable on their own.
pub(super) fn packets() -> Vec<Packet> {
    packetizer::packetize_nals(nals(PICTURE).map(Bytes::from_static))
}

/// The NAL units between start codes (ITU-T H.264, annex B).
fn nals(stream: &'static [u8]) -> impl Iterator<Item = &'static [u8]> {
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
        // A start code of four bytes begins with the zero before it.
        nal.strip_suffix(&[0]).unwrap_or(nal)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_picture_is_whole() {
        let kinds: Vec<_> = nals(PICTURE).map(|nal| nal[0] & 0x1f).collect();
        assert_eq!(kinds, [7, 8, 5], "SPS, PPS and one IDR slice");
        let packets = packets();
        assert!(packets.last().expect("some").marker);
    }
}

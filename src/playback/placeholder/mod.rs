//! Placeholder picture, shown to viewers while a stream has no signal.

use bytes::Bytes;

use watchtower_media::codec::h264::annex_b;
use watchtower_transport::packetizer;
use watchtower_transport::packetizer::Packet;

/// Single IDR picture, H.264 Constrained Baseline in Annex B form, drawn by
/// `make.sh`.
const PICTURE: &[u8] = include_bytes!("placeholder.h264");

/// The picture's packets, decodable on their own.
pub(crate) fn packets() -> Vec<Packet> {
    packetizer::packetize_nals(annex_b(PICTURE).map(Bytes::from_static))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_picture_is_whole() {
        let kinds: Vec<_> = annex_b(PICTURE).map(|nal| nal[0] & 0x1f).collect();
        assert_eq!(kinds, [7, 8, 5], "SPS, PPS and one IDR slice");
        let packets = packets();
        assert!(packets.last().expect("some").marker);
    }
}

//! The headers of Enhanced RTMP v2 ("Enhanced Video" and "Enhanced Audio"):
//! modifiers, several tracks in one message, FourCCs. Pure, no I/O.

use bytes::Bytes;

use super::flv::MediaError;

/// Packet types common to video and audio.
pub(super) const SEQUENCE_START: u8 = 0;
const MODIFIERS: u8 = 7;
/// Packet type Multitrack, of video and of audio.
pub(super) const VIDEO_TRACKS: u8 = 6;
pub(super) const AUDIO_TRACKS: u8 = 5;
/// Modifier types used; others are skipped.
const NANOSECONDS: u8 = 0;
/// AvMultitrackType values.
const ONE_TRACK: u8 = 0;
const MANY_CODECS: u8 = 2;

/// Part of a message for one track.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TrackPacket {
    pub(super) packet: u8,
    /// Composition time offset, in milliseconds.
    pub(super) nanoseconds: u32,
    /// Track id; `None` outside of multitrack messages, which means the default
    /// track.
    pub(super) track: Option<u8>,
    pub(super) fourcc: [u8; 4],
    pub(super) body: Bytes,
}

/// Track selection: the default track, 0, or the lowest track id of a publisher
/// that has none.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Selected(Option<u8>);

impl Selected {
    /// True if a part belongs to the selected track. A lower track id is
    /// selected when its configuration arrives.
    pub(super) fn takes(&mut self, part: &TrackPacket) -> bool {
        let id = part.track.unwrap_or(0);
        let starts = part.packet == SEQUENCE_START;
        match self.0 {
            Some(selected) if selected == id => true,
            Some(selected) if selected < id || !starts => false,
            _ => {
                self.0 = Some(id);
                true
            }
        }
    }
}

/// Packet type behind all modifiers, offset of the body, and the nanosecond
/// offset. The lower half of `first` holds the packet type.
pub(super) fn packet(body: &[u8]) -> Result<(u8, usize, u32), MediaError> {
    let mut rest = BodyReader { body, at: 0 };
    let mut packet = rest.byte()? & 0x0f;
    let mut nanoseconds = 0;
    while packet == MODIFIERS {
        let mut size = usize::from(rest.byte()?) + 1;
        if size == 256 {
            size = usize::from(u16::from_be_bytes(rest.array()?)) + 1;
        }
        let data = rest.take(size)?;
        let next = rest.byte()?;
        if let (NANOSECONDS, [a, b, c, ..]) = (next >> 4, data) {
            nanoseconds = u32::from_be_bytes([0, *a, *b, *c]);
        }
        packet = next & 0x0f;
    }
    Ok((packet, rest.at, nanoseconds))
}

/// Splits a message into its tracks; `tracks` is the packet type Multitrack.
pub(super) fn parts(message: &Bytes, tracks: u8) -> Result<Vec<TrackPacket>, MediaError> {
    let (packet, at, nanoseconds) = packet(message)?;
    let mut rest = BodyReader { body: message, at };
    let part = |packet, track, fourcc, body| TrackPacket {
        packet,
        nanoseconds,
        track,
        fourcc,
        body,
    };
    if packet != tracks {
        let fourcc = rest.array()?;
        return Ok(vec![part(packet, None, fourcc, message.slice(rest.at..))]);
    }
    let head = rest.byte()?;
    let (kind, packet) = (head >> 4, head & 0x0f);
    let mut fourcc = [0; 4];
    if kind != MANY_CODECS {
        fourcc = rest.array()?;
    }
    let mut parts = Vec::new();
    while rest.at < message.len() {
        if kind == MANY_CODECS {
            fourcc = rest.array()?;
        }
        let track = rest.byte()?;
        let size = if kind == ONE_TRACK {
            message.len() - rest.at
        } else {
            let [a, b, c] = rest.array()?;
            u32::from_be_bytes([0, a, b, c]) as usize
        };
        let start = rest.at;
        rest.take(size)?;
        parts.push(part(
            packet,
            Some(track),
            fourcc,
            message.slice(start..rest.at),
        ));
    }
    Ok(parts)
}

struct BodyReader<'a> {
    body: &'a [u8],
    at: usize,
}

impl<'a> BodyReader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], MediaError> {
        let end = self.at.saturating_add(count);
        let taken = self.body.get(self.at..end).ok_or(MediaError::Truncated)?;
        self.at = end;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, MediaError> {
        Ok(self.take(1)?[0])
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], MediaError> {
        let taken = self.take(N)?;
        taken.try_into().map_err(|_| MediaError::Truncated)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(message: &[u8]) -> Vec<TrackPacket> {
        parts(&Bytes::copy_from_slice(message), VIDEO_TRACKS).expect("valid")
    }

    #[test]
    fn modifiers_are_read_and_unknown_ones_skipped() {
        // An unknown one of 256 bytes, then 999,999 ns.
        let mut message = vec![0x97, 255, 0, 255];
        message.extend([9; 256]);
        message.extend([0x97, 2, 0x0f, 0x42, 0x3f, 0x01]);
        message.extend(b"avc1body");
        let parts = read(&message);
        assert_eq!((parts[0].packet, parts[0].nanoseconds), (1, 999_999));
        assert_eq!(
            (&parts[0].fourcc, &parts[0].body[..]),
            (b"avc1", &b"body"[..])
        );
        for end in 0..message.len() - 4 {
            let cut = Bytes::copy_from_slice(&message[..end]);
            assert_eq!(super::parts(&cut, VIDEO_TRACKS), Err(MediaError::Truncated));
        }
    }

    /// Packet type, track, FourCC and body.
    type PacketFields = (u8, Option<u8>, [u8; 4], Vec<u8>);

    #[test]
    fn tracks_are_told_apart() {
        let seen = |message: &[u8]| -> Vec<PacketFields> {
            let parts = read(message).into_iter();
            parts
                .map(|part| (part.packet, part.track, part.fourcc, part.body.to_vec()))
                .collect()
        };
        let one = seen(b"\x96\x01avc1\x05xy");
        assert_eq!(one, [(1, Some(5), *b"avc1", b"xy".to_vec())]);
        let same = seen(b"\x96\x11avc1\0\0\0\x02xy\x01\0\0\x01z");
        let of = |track, body: &[u8]| (1, Some(track), *b"avc1", body.to_vec());
        assert_eq!(same, [of(0, b"xy"), of(1, b"z")]);
        let other = seen(b"\x96\x21avc1\0\0\0\x01xhvc1\x01\0\0\x01z");
        assert_eq!(other[0], of(0, b"x"));
        assert_eq!(other[1], (1, Some(1), *b"hvc1", b"z".to_vec()));
    }

    #[test]
    fn the_default_track_is_taken() {
        let part = |track, packet| TrackPacket {
            packet,
            nanoseconds: 0,
            track,
            fourcc: *b"avc1",
            body: Bytes::new(),
        };
        let mut selected = Selected::default();
        // Only others so far: the first of them, until the default one begins.
        assert!(selected.takes(&part(Some(2), SEQUENCE_START)));
        assert!(!selected.takes(&part(Some(3), SEQUENCE_START)));
        assert!(!selected.takes(&part(None, 1)));
        assert!(selected.takes(&part(None, SEQUENCE_START)));
        assert!(!selected.takes(&part(Some(2), 1)) && selected.takes(&part(Some(0), 1)));
    }
}

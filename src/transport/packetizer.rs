//! H.264 access units to RTP payloads (RFC 6184, packetization mode 1).
//!
//! Pure: no sockets, no clock. Only small parameter sets are copied: a fragment
//! is a two-byte header and a slice of the access unit.

use bytes::{BufMut as _, Bytes, BytesMut};

use watchtower_media::AccessUnit;
use watchtower_media::codec::h264;

/// Maximum payload in bytes. With header and the longest tag a packet is 1,200
/// bytes, which every path that supports WebRTC can carry.
pub const MAX_PAYLOAD: usize = 1172;

const TYPE: u8 = 0x1f;
const IMPORTANCE: u8 = 0x60;
const FORBIDDEN_AND_IMPORTANCE: u8 = 0xe0;
const SPS: u8 = 7;
const PPS: u8 = 8;
const DELIMITER: u8 = 9;
const FILLER: u8 = 12;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;
/// Size of FU indicator and FU header.
const FU_HEADER: usize = 2;

/// RTP packet without its header, shared by all viewers of a stream.
#[derive(Debug, Clone)]
pub struct Packet {
    head: [u8; FU_HEADER],
    head_length: u8,
    body: Bytes,
    /// Last packet of its picture (RTP marker).
    pub marker: bool,
}

impl Packet {
    pub fn whole(body: Bytes, marker: bool) -> Self {
        Self {
            head: [0; FU_HEADER],
            head_length: 0,
            body,
            marker,
        }
    }

    fn fragment(head: [u8; FU_HEADER], body: Bytes) -> Self {
        Self {
            head,
            head_length: FU_HEADER as u8,
            body,
            marker: false,
        }
    }

    /// Payload size in bytes.
    pub fn size(&self) -> usize {
        usize::from(self.head_length) + self.body.len()
    }

    pub(crate) fn write_to(&self, buffer: &mut Vec<u8>) {
        buffer.extend_from_slice(&self.head[..usize::from(self.head_length)]);
        buffer.extend_from_slice(&self.body);
    }
}

/// Packetizes an access unit. A keyframe carries all parameter sets its slices
/// may refer to; delimiters and filler are dropped. A truncated unit yields its
/// valid part.
pub fn packetize(unit: &AccessUnit) -> Vec<Packet> {
    let mut packets = Packets::default();
    if unit.keyframe {
        for (kind, known) in [(SPS, &unit.config.sps), (PPS, &unit.config.pps)] {
            add_sets(&mut packets, unit, kind, known);
        }
    }
    for nal in Nals::new(unit) {
        let kind = kind_of(&nal);
        let added = unit.keyframe && matches!(kind, SPS | PPS);
        if !added && !matches!(kind, DELIMITER | FILLER) {
            packets.add(nal);
        }
    }
    packets.finish()
}

fn kind_of(nal: &[u8]) -> u8 {
    nal.first().map_or(0, |byte| byte & TYPE)
}

/// Parameter sets of a kind: the keyframe's own, and the earlier ones it
/// doesn't replace.
fn add_sets(packets: &mut Packets, unit: &AccessUnit, kind: u8, known: &[Bytes]) {
    let id = |set: &Bytes| match kind {
        SPS => h264::sps_id(set),
        _ => h264::pps_ids(set).map(|(id, _)| id),
    };
    let own: Vec<_> = Nals::new(unit).filter(|nal| kind_of(nal) == kind).collect();
    for set in known {
        if own.iter().all(|own| id(own) != id(set)) {
            packets.add(set.clone());
        }
    }
    for set in own {
        packets.add(set);
    }
}

/// Packetizes one picture from its NAL units, parameter sets among them.
pub fn packetize_nals(nals: impl IntoIterator<Item = Bytes>) -> Vec<Packet> {
    let mut packets = Packets::default();
    for nal in nals {
        packets.add(nal);
    }
    packets.finish()
}

#[derive(Default)]
struct Packets {
    done: Vec<Packet>,
    /// NAL units small enough to share a packet.
    small: Vec<Bytes>,
    /// Size of their STAP-A, in bytes.
    small_bytes: usize,
}

impl Packets {
    fn add(&mut self, nal: Bytes) {
        if nal.is_empty() {
            return;
        }
        if nal.len() > MAX_PAYLOAD {
            self.flush();
            self.fragment(&nal);
            return;
        }
        // Each has a length prefix; all follow one indicator.
        if 1 + self.small_bytes + 2 + nal.len() > MAX_PAYLOAD {
            self.flush();
        }
        self.small_bytes += 2 + nal.len();
        self.small.push(nal);
    }

    /// Fragments of equal size, since the kernel splits a batch into equal
    /// parts.
    fn fragment(&mut self, nal: &Bytes) {
        let Some((&header, _)) = nal.split_first() else {
            return;
        };
        let payload = nal.slice(1..);
        let count = payload.len().div_ceil(MAX_PAYLOAD - FU_HEADER);
        let size = payload.len().div_ceil(count);
        let indicator = header & FORBIDDEN_AND_IMPORTANCE | FU_A;
        let mut rest = payload;
        let mut first = true;
        while !rest.is_empty() {
            let piece = rest.split_to(size.min(rest.len()));
            let start = if first { 0x80 } else { 0 };
            let end = if rest.is_empty() { 0x40 } else { 0 };
            let head = [indicator, start | end | header & TYPE];
            self.done.push(Packet::fragment(head, piece));
            first = false;
        }
    }

    fn flush(&mut self) {
        match self.small.as_slice() {
            [] => {}
            [alone] => self.done.push(Packet::whole(alone.clone(), false)),
            several => {
                let importance = several.iter().map(|nal| nal[0] & IMPORTANCE).max();
                let mut body = BytesMut::with_capacity(1 + self.small_bytes);
                body.put_u8(importance.unwrap_or(0) | STAP_A);
                for nal in several {
                    // Below MAX_PAYLOAD by `add`.
                    body.put_u16(nal.len() as u16);
                    body.put_slice(nal);
                }
                self.done.push(Packet::whole(body.freeze(), false));
            }
        }
        self.small.clear();
        self.small_bytes = 0;
    }

    fn finish(mut self) -> Vec<Packet> {
        self.flush();
        if let Some(last) = self.done.last_mut() {
            last.marker = true;
        }
        self.done
    }
}

/// NAL units of an access unit, each with its length prefix.
struct Nals {
    rest: Bytes,
    length_size: usize,
}

impl Nals {
    fn new(unit: &AccessUnit) -> Self {
        Self {
            rest: unit.data.clone(),
            length_size: usize::from(unit.config.nal_length_size).clamp(1, 4),
        }
    }
}

impl Iterator for Nals {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if self.rest.len() <= self.length_size {
            return None;
        }
        let prefix = self.rest.split_to(self.length_size);
        let length = prefix
            .iter()
            .fold(0, |length, byte| length << 8 | usize::from(*byte));
        Some(self.rest.split_to(length.min(self.rest.len())))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use watchtower_media::{MediaTime, VideoConfig};

    fn unit(keyframe: bool, nals: &[Vec<u8>]) -> AccessUnit {
        let mut data = Vec::new();
        for nal in nals {
            data.extend(u32::try_from(nal.len()).expect("short").to_be_bytes());
            data.extend(nal);
        }
        raw(keyframe, data)
    }

    fn raw(keyframe: bool, data: Vec<u8>) -> AccessUnit {
        let config = VideoConfig::playable(
            Bytes::from_static(&[0x67, 1, 2, 3]),
            Bytes::from_static(&[0x68, 4]),
            16,
            16,
        );
        AccessUnit {
            pts: MediaTime(0),
            dts: MediaTime(0),
            keyframe,
            config: Arc::new(config),
            data: data.into(),
        }
    }

    fn bytes(packet: &Packet) -> Vec<u8> {
        let mut bytes = Vec::new();
        packet.write_to(&mut bytes);
        assert_eq!(bytes.len(), packet.size());
        bytes
    }

    /// NAL units as a receiver restores them (RFC 6184, sections 5.6 to 5.8).
    fn depacketize(packets: &[Packet]) -> Vec<Vec<u8>> {
        let mut nals: Vec<Vec<u8>> = Vec::new();
        for packet in packets {
            let bytes = bytes(packet);
            match bytes[0] & TYPE {
                STAP_A => {
                    let mut rest = &bytes[1..];
                    while let Some(([high, low], tail)) = rest.split_first_chunk::<2>() {
                        let length = usize::from(u16::from_be_bytes([*high, *low]));
                        nals.push(tail[..length].to_vec());
                        rest = &tail[length..];
                    }
                }
                FU_A => {
                    if bytes[1] & 0x80 != 0 {
                        nals.push(vec![bytes[0] & FORBIDDEN_AND_IMPORTANCE | bytes[1] & TYPE]);
                    }
                    nals.last_mut().expect("started").extend(&bytes[2..]);
                }
                _ => nals.push(bytes),
            }
        }
        nals
    }

    #[test]
    fn a_keyframe_brings_its_parameter_sets_once() {
        let slice = vec![0x65; 3000];
        let delimiter = vec![9, 0xf0];
        let known = [vec![0x67, 1, 2, 3], vec![0x68, 4]];
        let packets = packetize(&unit(true, &[delimiter, slice.clone()]));
        assert_eq!(depacketize(&packets), [&known[..], &[slice]].concat());
        assert!(packets.iter().all(|packet| packet.size() <= MAX_PAYLOAD));
        let markers: Vec<_> = packets.iter().map(|packet| packet.marker).collect();
        assert_eq!(markers, [false, false, false, true]);
    }

    #[test]
    fn its_own_parameter_sets_replace_those_of_the_same_id() {
        // Ids 0 and 1 after profile, flags and level; PPS 0 and 1 of SPS 0.
        let sps = |id: u8, rest| vec![0x67, 66, 0xc0, 30, if id == 0 { 0x80 } else { 0x40 }, rest];
        let pps = |id: u8, rest| vec![0x68, if id == 0 { 0xc0 } else { 0x60 }, rest];
        let of = |set: Vec<u8>| Bytes::from(set);
        let slice = vec![0x65, 0x88];
        let mut unit = unit(true, &[sps(0, 9), pps(0, 9), slice.clone()]);
        let config = VideoConfig {
            sps: vec![of(sps(0, 1)), of(sps(1, 1))],
            pps: vec![of(pps(0, 1)), of(pps(1, 1))],
            ..VideoConfig::clone(&unit.config)
        };
        unit.config = Arc::new(config);
        let sent = depacketize(&packetize(&unit));
        let expected = [sps(1, 1), sps(0, 9), pps(1, 1), pps(0, 9), slice];
        assert_eq!(sent, expected);
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(
            nals in proptest::collection::vec(
                proptest::collection::vec(any::<u8>(), 1..4000), 1..8),
        ) {
            let nals: Vec<Vec<u8>> = nals
                .into_iter()
                .map(|mut nal| {
                    nal[0] = nal[0] & FORBIDDEN_AND_IMPORTANCE | 1;
                    nal
                })
                .collect();
            let packets = packetize(&unit(false, &nals));
            prop_assert!(packets.iter().all(|packet| packet.size() <= MAX_PAYLOAD));
            prop_assert_eq!(packets.iter().filter(|packet| packet.marker).count(), 1);
            prop_assert_eq!(depacketize(&packets), nals);
        }

        #[test]
        fn no_bytes_panic(data in proptest::collection::vec(any::<u8>(), 0..300)) {
            packetize(&raw(true, data));
        }
    }
}

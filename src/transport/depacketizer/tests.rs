use proptest::prelude::*;

use super::*;
use crate::packetizer::packetize;

/// Parameter sets for Baseline 640x360, by x264.
const BASELINE_360: [u8; 25] = [
    0x67, 0x42, 0xc0, 0x1e, 0xd9, 0x00, 0xa0, 0x2f, 0xf9, 0x70, 0x11, 0x00, 0x00, 0x03, 0x00, 0x01,
    0x00, 0x00, 0x03, 0x00, 0x3c, 0x0f, 0x16, 0x2e, 0x48,
];
const PPS_BYTES: [u8; 4] = [0x68, 0xeb, 0xe3, 0xcb];

fn avcc(nals: &[Vec<u8>]) -> Vec<u8> {
    let mut data = Vec::new();
    for nal in nals {
        data.extend((nal.len() as u32).to_be_bytes());
        data.extend(nal);
    }
    data
}

/// Packets of pictures 40 ms apart, the first of them a keyframe.
fn sent(pictures: &[Vec<Vec<u8>>]) -> Vec<RtpPacket> {
    let config = Arc::new(VideoConfig::playable(
        Bytes::from_static(&BASELINE_360),
        Bytes::from_static(&PPS_BYTES),
        640,
        360,
    ));
    let mut packets = Vec::new();
    for (nth, nals) in pictures.iter().enumerate() {
        let unit = AccessUnit {
            pts: MediaTime(0),
            dts: MediaTime(0),
            keyframe: nals.iter().any(|nal| nal[0] & TYPE == IDR),
            config: Arc::clone(&config),
            data: avcc(nals).into(),
        };
        for packet in packetize(&unit) {
            let mut payload = Vec::new();
            packet.write_to(&mut payload);
            packets.push(RtpPacket {
                sequence: packets.len() as u16,
                timestamp: (nth as u32 * 3600).wrapping_sub(1000),
                marker: packet.marker,
                payload: payload.into(),
            });
        }
    }
    packets
}

fn received(ordered: impl IntoIterator<Item = Ordered>) -> (Vec<AccessUnit>, bool) {
    let mut depacketizer = Depacketizer::default();
    let mut units = Vec::new();
    for ordered in ordered {
        units.extend(depacketizer.push(ordered).into_iter().flatten());
    }
    (units, depacketizer.needs_keyframe())
}

fn idr(length: usize) -> Vec<u8> {
    let mut nal = vec![0x88; length.max(2)];
    nal[0] = 0x65;
    nal
}

fn slice(length: usize) -> Vec<u8> {
    let mut nal = vec![0x9a; length.max(2)];
    nal[0] = 0x41;
    nal
}

proptest! {
    #[test]
    fn what_was_packetized_comes_back(
        lengths in proptest::collection::vec(
            proptest::collection::vec(2_usize..5000, 1..5), 1..6),
    ) {
        let pictures: Vec<Vec<Vec<u8>>> = lengths
            .iter()
            .enumerate()
            .map(|(nth, nals)| {
                let make = if nth == 0 { idr } else { slice };
                nals.iter().map(|length| make(*length)).collect()
            })
            .collect();
        let (units, needs_keyframe) =
            received(sent(&pictures).into_iter().map(Ordered::Packet));
        prop_assert!(!needs_keyframe);
        prop_assert_eq!(units.len(), pictures.len());
        for (nth, (unit, nals)) in units.iter().zip(&pictures).enumerate() {
            let mut expected = nals.clone();
            if nth == 0 {
                expected.splice(0..0, [BASELINE_360.to_vec(), PPS_BYTES.to_vec()]);
            }
            prop_assert_eq!(&unit.data[..], &avcc(&expected)[..]);
            prop_assert_eq!(unit.keyframe, nth == 0);
            prop_assert_eq!(unit.pts, MediaTime(nth as i64 * 3600));
            prop_assert_eq!((unit.config.width, unit.config.height), (640, 360));
        }
    }

    #[test]
    fn a_loss_never_lets_a_broken_picture_through(
        lengths in proptest::collection::vec(2_usize..4000, 2..12),
        keyframes in proptest::collection::vec(any::<bool>(), 12),
        lost in any::<prop::sample::Index>(),
    ) {
        let pictures: Vec<Vec<Vec<u8>>> = lengths
            .iter()
            .enumerate()
            .map(|(nth, length)| {
                let make = if nth == 0 || keyframes[nth] { idr } else { slice };
                vec![make(*length)]
            })
            .collect();
        let packets = sent(&pictures);
        let lost = lost.index(packets.len());
        let hurt = packets[lost].timestamp.wrapping_add(1000) / 3600;
        let ordered = packets.into_iter().enumerate().map(|(nth, packet)| {
            if nth == lost { Ordered::Gap } else { Ordered::Packet(packet) }
        });
        let (units, _) = received(ordered);
        let resumes = (hurt as usize + 1..pictures.len())
            .find(|nth| keyframes[*nth])
            .unwrap_or(pictures.len());
        let expected: Vec<_> = (0..hurt as usize).chain(resumes..pictures.len()).collect();
        prop_assert_eq!(units.len(), expected.len());
        for (unit, nth) in units.iter().zip(expected) {
            prop_assert!(unit.data.ends_with(&avcc(&pictures[nth])));
        }
    }

    #[test]
    fn no_bytes_panic(
        packets in proptest::collection::vec(
            (any::<u8>(), any::<bool>(), proptest::collection::vec(any::<u8>(), 0..40)), 0..40),
    ) {
        received(packets.into_iter().map(|(time, marker, payload)| {
            Ordered::Packet(RtpPacket {
                sequence: 0,
                timestamp: u32::from(time / 64),
                marker,
                payload: payload.into(),
            })
        }));
    }
}

#[test]
fn a_start_in_mid_stream_waits_for_a_keyframe() {
    let pictures = [vec![idr(3000)], vec![slice(3000)], vec![idr(10)]];
    let packets = sent(&pictures).into_iter().skip(1).map(Ordered::Packet);
    let (units, _) = received(packets);
    // Each keyframe carries its parameter sets.
    assert_eq!(units.len(), 1);
    assert!(units[0].keyframe);
}

#[test]
fn a_picture_without_end_is_given_up() {
    let mut depacketizer = Depacketizer::default();
    let payload = |head: [u8; 2]| {
        let mut payload = vec![0x88; 60_000];
        payload[..2].copy_from_slice(&head);
        Bytes::from(payload)
    };
    for nth in 0..1000 {
        let head = if nth == 0 { [0x7c, 0x85] } else { [0x7c, 0x05] };
        depacketizer.push(Ordered::Packet(RtpPacket {
            sequence: nth,
            timestamp: 0,
            marker: false,
            payload: payload(head),
        }));
        let held = depacketizer.picture.as_ref().unwrap().data.len();
        assert!(held <= LARGEST_PICTURE + 5, "{held}");
    }
}

use std::time::Duration;

use bytes::Bytes;
use watchtower_transport::offer::MediaKind;
use watchtower_transport::reorder::RtpPacket;

use super::*;

/// Parameter sets of a baseline stream of 64x64.
const SPS: &[u8] = &[0x67, 0x42, 0xc0, 0x0a, 0xda, 0x10, 0x90, 0x80];
const PPS: &[u8] = &[0x68, 0xce, 0x3c, 0x80];

fn received(source: u32, sequence: u16, timestamp: u32, nal: &[u8], at: Instant) -> ReceivedRtp {
    // Parameter sets precede the picture, which ends with the marker.
    let marker = nal[0] & 0x1f < 6;
    ReceivedRtp {
        kind: MediaKind::Video,
        source,
        packet: RtpPacket {
            sequence,
            timestamp,
            marker,
            payload: Bytes::copy_from_slice(nal),
        },
        at,
    }
}

/// Times in ms and keyframe flags of the pictures of packets.
fn pictures(intake: &mut VideoIntake, packets: Vec<ReceivedRtp>) -> Vec<(i64, bool)> {
    let units = packets.into_iter().flat_map(|packet| intake.push(packet));
    units.map(|unit| (unit.pts.ms(), unit.keyframe)).collect()
}

fn keyframe(source: u32, first: u16, timestamp: u32, at: Instant) -> Vec<ReceivedRtp> {
    let nals = [SPS, PPS, &[0x65, 0x88]];
    let packet = |(nth, nal)| received(source, first + nth, timestamp, nal, at);
    (0..).zip(nals).map(packet).collect()
}

#[test]
fn a_new_source_continues_the_time_with_a_keyframe() {
    let began = Instant::now();
    let mut intake = VideoIntake::new(PublishCodec::H264, began);
    let at = |ms| began + Duration::from_millis(ms);
    let first = keyframe(1, 100, 9_000, at(0));
    assert_eq!(pictures(&mut intake, first), [(0, true)]);
    let next = vec![received(1, 103, 12_000, &[0x41, 0x9a], at(33))];
    assert_eq!(pictures(&mut intake, next), [(33, false)]);
    let mut restarted = vec![received(2, 7, 4_000_000_000, &[0x41, 0x9a], at(66))];
    assert_eq!(pictures(&mut intake, std::mem::take(&mut restarted)), []);
    assert!(intake.needs_keyframe());
    let again = keyframe(2, 8, 4_000_003_000, at(99));
    assert_eq!(pictures(&mut intake, again), [(99, true)]);
    assert_eq!(intake.take_left_out(), 1);
}

#[test]
fn sound_keeps_its_time_and_loses_what_is_no_opus() {
    let began = Instant::now();
    let mut intake = AudioIntake::new(began);
    // 20 ms of CELT each, and one that claims more frames than it has.
    let packets = [
        (1, 4_000_000_000_u32, &[0xf8, 1, 2][..], 0),
        (2, 4_000_000_960, &[0xfb], 25),
        (3, 4_000_001_920, &[0xf8, 3], 38),
    ];
    let mut heard = Vec::new();
    for (sequence, timestamp, payload, ms) in packets {
        let received = ReceivedRtp {
            kind: MediaKind::Audio,
            source: 1,
            packet: RtpPacket {
                sequence,
                timestamp,
                marker: false,
                payload: Bytes::copy_from_slice(payload),
            },
            at: began + Duration::from_millis(ms),
        };
        heard.extend(intake.push(received));
    }
    let heard: Vec<_> = heard
        .iter()
        .map(|unit| (unit.pts.ms(), &*unit.data))
        .collect();
    assert_eq!(heard, [(0, &[0xf8, 1, 2][..]), (40, &[0xf8, 3])]);
}

#[test]
fn pictures_behind_a_lost_packet_come_without_another_packet() {
    let began = Instant::now();
    let mut intake = VideoIntake::new(PublishCodec::H264, began);
    let first = keyframe(1, 0, 0, began);
    assert_eq!(pictures(&mut intake, first), [(0, true)]);
    // Packet 3 is lost.
    let second = keyframe(1, 4, 3_000, began);
    assert_eq!(pictures(&mut intake, second), []);
    let late = began + Duration::from_secs(1);
    assert_eq!(intake.overdue(began).len(), 0);
    assert_eq!(intake.overdue(late).len(), 1);
}

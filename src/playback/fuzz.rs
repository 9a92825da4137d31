//! Entry points of the fuzz targets and of `tests/fuzz_corpus.rs` on stable
//! Rust. Each accepts any bytes and must neither panic nor break its invariant.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt as _;

use watchtower_media::{AccessUnit, MediaTime, VideoConfig};
use watchtower_transport::depacketizer::Depacketizer;
use watchtower_transport::offer::{Offer, StreamTracks};
use watchtower_transport::packetizer::MAX_PAYLOAD;
use watchtower_transport::reorder::{Ordered, Reorder, RtpPacket};
use watchtower_transport::stun::Stun;
use watchtower_transport::{answer, packetizer, stun, tcp};

use crate::rtcp;
use crate::rtcp::Feedback;

/// Datagram at the port: a check's user fragment is part of the datagram.
pub fn stun(data: &[u8]) {
    stun::protocol(data);
    if let Some(Stun::BindingRequest { local }) = stun::stun(data) {
        assert!(data.len() > local.len());
    }
}

/// Offer: the normalized form of an accepted one is accepted again unchanged,
/// contains no remote address, and its answer has the same sections, one of
/// them accepted.
pub fn offer(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for (picture, sound) in [(true, true), (true, false), (false, true)] {
        let stream = StreamTracks { picture, sound };
        let Ok(offer) = Offer::parse(&text, stream) else {
            continue;
        };
        assert!(!offer.sdp.contains("\na=candidate:"));
        let again = Offer::parse(&offer.sdp, stream).expect("ours");
        assert_eq!((&again.sdp, &again.fragment), (&offer.sdp, &offer.fragment));
        let answer = answer::translated(&offer, &offer.sdp, &[], 1);
        let ports: Vec<_> = answer
            .lines()
            .filter(|line| line.starts_with("m="))
            .filter_map(|line| line.split(' ').nth(1))
            .collect();
        assert_eq!(ports.len(), offer.sections.len());
        let accepted = ports.iter().filter(|port| **port == "9").count();
        assert!((1..=2).contains(&accepted));
    }
}

/// Access unit: packets never exceed the limit, and only the last one has the
/// marker.
pub fn packetizer(data: &[u8]) {
    let Some((kind, avcc)) = data.split_first() else {
        return;
    };
    let (sps, pps) = (&[0x67, 1, 2, 3][..], &[0x68, 4][..]);
    let config = VideoConfig {
        nal_length_size: kind >> 1 & 3,
        ..VideoConfig::playable(Bytes::from_static(sps), Bytes::from_static(pps), 16, 16)
    };
    let packets = packetizer::packetize(&AccessUnit {
        pts: MediaTime(0),
        dts: MediaTime(0),
        keyframe: kind & 1 == 1,
        config: Arc::new(config),
        data: Bytes::copy_from_slice(avcc),
    });
    for (nth, packet) in packets.iter().enumerate() {
        assert!((1..=MAX_PAYLOAD).contains(&packet.size()));
        assert_eq!(packet.marker, nth + 1 == packets.len());
    }
}

/// Decrypted RTCP: no packet requests more than the repair limit.
pub fn rtcp(data: &[u8]) {
    let mut data = data;
    let Ok(packets) = rtc::rtcp::packet::unmarshal(&mut data) else {
        return;
    };
    for packet in packets {
        if let Some(Feedback::Missing(sequences)) = Feedback::of(packet.as_ref()) {
            assert!(sequences.len() <= rtcp::MOST_MISSING);
        }
    }
}

/// Frames read from a TCP connection (RFC 4571): complete, none too long.
pub fn tcp(data: &[u8]) {
    let mut reader = data;
    let mut frame = Vec::new();
    while let Some(Ok(true)) = tcp::read_frame(&mut reader, &mut frame).now_or_never() {
        assert!(frame.len() <= tcp::MOST_FRAME);
    }
}

/// RTP packets of an untrusted peer, each with length, sequence, time and
/// marker in front: the output is complete NAL units, the first of a keyframe.
pub fn depacketizer(data: &[u8]) {
    let start = Instant::now();
    let mut reorder = Reorder::default();
    let mut depacketizer = Depacketizer::default();
    let mut began = false;
    let mut rest = data;
    while let Some(([length, sequence, time, flags], tail)) = rest.split_first_chunk::<4>() {
        let (payload, tail) = tail.split_at(usize::from(*length).min(tail.len()));
        rest = tail;
        let packet = RtpPacket {
            sequence: u16::from(*sequence) | u16::from(flags >> 4) << 8,
            timestamp: u32::from(*time) << 24,
            marker: flags & 1 == 1,
            payload: Bytes::copy_from_slice(payload),
        };
        let now = start + Duration::from_millis(u64::from(*time));
        let ordered: Vec<Ordered> = reorder.push(packet, now);
        for unit in ordered
            .into_iter()
            .flat_map(|ordered| depacketizer.push(ordered))
        {
            let Some(unit) = unit else { continue };
            assert!(began || unit.keyframe);
            began = true;
            let mut nals = &unit.data[..];
            while let Some((size, after)) = nals.split_first_chunk::<4>() {
                let size = u32::from_be_bytes(*size) as usize;
                assert!((1..=after.len()).contains(&size));
                nals = &after[size..];
            }
            assert!(nals.is_empty());
        }
    }
}

use bytes::Bytes;
use rtc::rtcp::transport_feedbacks::transport_layer_nack::NackPair;
use rtc::rtp::Header;

use super::*;
use crate::offer::publish::AcceptedCodecs;

const OFFER: &str = "v=0\r\na=group:BUNDLE 0\r\nm=video 9 UDP/TLS/RTP/SAVPF 109 110\r\na=mid:0\r\n\
    a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\na=fingerprint:sha-256 00:11\r\n\
    a=setup:actpass\r\na=sendonly\r\na=rtpmap:109 H264/90000\r\n\
    a=fmtp:109 packetization-mode=1\r\na=rtcp-fb:109 nack\r\na=rtpmap:110 rtx/90000\r\n\
    a=fmtp:110 apt=109\r\na=extmap:10 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id\r\n\
    a=extmap:11 urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id\r\n";
const LAYERS: &str = "a=rid:h send\r\na=rid:l send\r\na=simulcast:send h;l\r\n";

struct ReceptionRig {
    reception: Reception,
    packets: mpsc::Receiver<ReceivedRtp>,
    control: Arc<ReceptionControl>,
    now: Instant,
}

impl ReceptionRig {
    fn new(offer: &str) -> Self {
        let offer = PublishOffer::parse(offer, AcceptedCodecs::default()).expect("acceptable");
        let (reception, packets, control) = Reception::new(&offer);
        Self {
            reception,
            packets,
            control,
            now: Instant::now(),
        }
    }

    /// Source and sequence number of the packet that comes of this one.
    fn receive(
        &mut self,
        (ssrc, payload_type, sequence_number): (u32, u8, u16),
        payload: &'static [u8],
        layer: Option<(u8, &'static str)>,
    ) -> Option<(u32, u16, Bytes)> {
        let mut header = Header {
            ssrc,
            payload_type,
            sequence_number,
            ..Header::default()
        };
        if let Some((id, layer)) = layer {
            let layer = Bytes::from_static(layer.as_bytes());
            header.set_extension(id, layer).expect("fits");
        }
        let packet = rtc::rtp::Packet {
            header,
            payload: Bytes::from_static(payload),
        };
        let tagged = TaggedPacket {
            now: self.now,
            transport: TransportContext::default(),
            message: AttributedPacket::new(Packet::Rtp(packet)),
        };
        self.reception.handle_read(tagged).expect("accepted");
        let received = self.packets.try_recv().ok()?;
        let packet = received.packet;
        Some((received.source, packet.sequence, packet.payload))
    }

    /// Sequence numbers requested within some time.
    fn requested(&mut self, within: Duration) -> Vec<u16> {
        self.now += within;
        self.reception.handle_timeout(self.now).expect("handled");
        let mut requested = Vec::new();
        while let Some(tagged) = self.reception.poll_write() {
            let Packet::Rtcp(packets) = tagged.message.packet else {
                continue;
            };
            for packet in packets {
                if let Some(nack) = packet.as_any().downcast_ref::<TransportLayerNack>() {
                    assert_eq!(nack.media_ssrc, 7);
                    requested.extend(nack.nacks.iter().flat_map(NackPair::packet_list));
                }
            }
        }
        requested
    }
}

fn of(source: u32, sequence: u16, payload: &'static [u8]) -> Option<(u32, u16, Bytes)> {
    Some((source, sequence, Bytes::from_static(payload)))
}

#[test]
fn a_retransmission_restores_the_packet_and_ends_its_requests() {
    let mut rig = ReceptionRig::new(OFFER);
    let wait = Duration::from_millis(400);
    assert_eq!(rig.receive((7, 109, 10), b"a", None), of(7, 10, b"a"));
    assert_eq!(rig.receive((7, 109, 13), b"d", None), of(7, 13, b"d"));
    assert_eq!(rig.requested(wait), [11, 12]);
    assert_eq!(
        rig.receive((8, 110, 500), b"\0\x0bb", None),
        of(7, 11, b"b")
    );
    // Padding that probes the link.
    assert_eq!(rig.receive((8, 110, 501), b"", None), None);
    assert_eq!(rig.requested(wait), [12]);
    assert_eq!(rig.receive((7, 109, 12), b"c", None), of(7, 12, b"c"));
    assert!(rig.requested(wait).is_empty());
    assert_eq!((rig.control.requested(), rig.control.restored()), (3, 2));
}

#[test]
fn other_payload_types_and_second_sources_are_left_out() {
    let mut rig = ReceptionRig::new(OFFER);
    assert_eq!(rig.receive((8, 110, 1), b"\0\x01a", None), None);
    assert_eq!(rig.receive((7, 96, 1), b"a", None), None);
    assert_eq!(rig.receive((7, 109, 1), b"a", None), of(7, 1, b"a"));
    assert_eq!(rig.receive((9, 109, 40_000), b"x", None), None);
    rig.now += SOURCE_SILENCE;
    assert_eq!(
        rig.receive((9, 109, 40_000), b"x", None),
        of(9, 40_000, b"x")
    );
    assert!(rig.requested(Duration::from_secs(1)).is_empty());
}

#[test]
fn one_layer_of_simulcast_is_taken() {
    let mut rig = ReceptionRig::new(&format!("{OFFER}{LAYERS}"));
    assert_eq!(rig.receive((6, 109, 1), b"l", Some((10, "l"))), None);
    assert_eq!(rig.receive((7, 109, 1), b"h", None), None);
    assert_eq!(
        rig.receive((7, 109, 2), b"h", Some((10, "h"))),
        of(7, 2, b"h")
    );
    // The layer is named in the first packets only.
    assert_eq!(rig.receive((7, 109, 3), b"h", None), of(7, 3, b"h"));
    assert_eq!(rig.receive((6, 109, 2), b"l", None), None);
    let restored = rig.receive((8, 110, 1), b"\0\x01l", Some((11, "l")));
    assert_eq!(restored, None);
}

#[test]
fn a_keyframe_is_requested_of_the_source() {
    let mut rig = ReceptionRig::new(OFFER);
    rig.receive((7, 109, 1), b"a", None);
    rig.control.request_keyframe();
    rig.now += CHECKS * 2;
    rig.reception.handle_timeout(rig.now).expect("handled");
    let mut requests = 0;
    while let Some(tagged) = rig.reception.poll_write() {
        let Packet::Rtcp(packets) = tagged.message.packet else {
            continue;
        };
        let request = packets[0].as_any().downcast_ref::<PictureLossIndication>();
        assert_eq!(request.map(|request| request.media_ssrc), Some(7));
        requests += 1;
    }
    assert_eq!(requests, 1);
}

//! Lets a viewer's NACK and PLI through to us; webrtc ends inbound RTCP inside
//! itself otherwise.

use std::collections::VecDeque;
use std::time::Instant;

use rtc::interceptor::{Attribute, Interceptor, Packet, StreamInfo, TaggedPacket};
use rtc::rtcp;
use rtc::rtcp::payload_feedbacks::full_intra_request::FullIntraRequest;
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtcp::transport_feedbacks::transport_layer_nack::{NackPair, TransportLayerNack};
use rtc::sansio::Protocol;
use rtc::shared::error::Error;

/// Sequence numbers taken from one NACK packet; more is no repair but a flood.
pub(super) const MOST_MISSING: usize = 512;

/// What a viewer says about what it gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Feedback {
    /// RFC 4585, section 6.2.1.
    Missing(Vec<u16>),
    /// RFC 4585, section 6.3.1, and RFC 5104, section 4.3.1.
    PictureLost,
}

impl Feedback {
    pub(super) fn of(packet: &dyn rtcp::Packet) -> Option<Self> {
        let packet = packet.as_any();
        if packet.is::<PictureLossIndication>() || packet.is::<FullIntraRequest>() {
            return Some(Self::PictureLost);
        }
        let nack = packet.downcast_ref::<TransportLayerNack>()?;
        let missing = nack.nacks.iter().flat_map(NackPair::packet_list);
        Some(Self::Missing(missing.take(MOST_MISSING).collect()))
    }
}

/// The interceptor.
#[derive(Default)]
pub(super) struct Deliver {
    inbound: VecDeque<TaggedPacket>,
    outbound: VecDeque<TaggedPacket>,
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for Deliver {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, mut tagged: TaggedPacket) -> Result<(), Error> {
        if let Packet::Rtcp(packets) = &mut tagged.message.packet {
            packets.retain(|packet| Feedback::of(packet.as_ref()).is_some());
            if packets.is_empty() {
                return Ok(());
            }
            tagged.message.add(Attribute::DeliverToApplication);
        }
        self.inbound.push_back(tagged);
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        self.inbound.pop_front()
    }

    fn handle_write(&mut self, tagged: TaggedPacket) -> Result<(), Error> {
        self.outbound.push_back(tagged);
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.outbound.pop_front()
    }
}

impl Interceptor for Deliver {
    fn bind_local_stream(&mut self, _: &StreamInfo) {}
    fn unbind_local_stream(&mut self, _: &StreamInfo) {}
    fn bind_remote_stream(&mut self, _: &StreamInfo) {}
    fn unbind_remote_stream(&mut self, _: &StreamInfo) {}
}

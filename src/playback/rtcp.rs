//! Forwards a viewer's NACK and PLI to the session; webrtc consumes inbound
//! RTCP otherwise.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rtc::interceptor::{
    Acknowledgement, Attribute, Interceptor, Packet, StreamInfo, TaggedPacket, convert_twcc,
};
use rtc::rtcp;
use rtc::rtcp::payload_feedbacks::full_intra_request::FullIntraRequest;
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtcp::receiver_report::ReceiverReport;
use rtc::rtcp::reception_report::ReceptionReport;
use rtc::rtcp::transport_feedbacks::transport_layer_cc::{PacketStatusChunk, TransportLayerCc};
use rtc::rtcp::transport_feedbacks::transport_layer_nack::{NackPair, TransportLayerNack};
use rtc::sansio::Protocol;
use rtc::shared::error::Error;
use tokio::sync::mpsc;

use super::link::ReportBlock;

/// Maximum sequence numbers of one NACK packet; more is a flood.
pub(super) const MOST_MISSING: usize = 512;

/// Maximum round trip, 10 s; a longer one was forged.
const MOST_ROUND_TRIP: u32 = 10 << 16;

/// Feedback of a viewer on the media it receives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Feedback {
    /// Generic NACK (RFC 4585, section 6.2.1).
    Missing(Vec<u16>),
    /// PLI (RFC 4585, section 6.3.1) and FIR (RFC 5104, section 4.3.1).
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

/// Queue length of reports; a newer one supersedes older ones.
const REPORTS: usize = 8;

/// Maximum packets in one arrival report: no more than half of all sequence
/// numbers can be in flight.
const MAX_PACKETS: usize = 4096;

/// Report of a viewer on its link.
#[derive(Debug)]
pub(super) enum RtcpReport {
    /// Receiver report (RFC 3550, section 6.4.2).
    Reception(ReceptionReport),
    /// Arrivals by packet (draft-holmer-rmcat-transport-wide-cc-extensions-01).
    Arrivals(Vec<Acknowledgement>),
}

/// Interceptor. Reports use a separate channel, since webrtc delivers a packet
/// by the first stream in it.
pub(super) struct Deliver {
    reports: mpsc::Sender<RtcpReport>,
    inbound: VecDeque<TaggedPacket>,
    outbound: VecDeque<TaggedPacket>,
}

impl Deliver {
    pub(super) fn new() -> (Self, mpsc::Receiver<RtcpReport>) {
        let (reports, receiver) = mpsc::channel(REPORTS);
        let deliver = Self {
            reports,
            inbound: VecDeque::new(),
            outbound: VecDeque::new(),
        };
        (deliver, receiver)
    }

    fn forward(&self, packet: &dyn rtcp::Packet) {
        // A full queue means that the viewer's task is late.
        let packet = packet.as_any();
        if let Some(report) = packet.downcast_ref::<ReceiverReport>() {
            for block in &report.reports {
                let _ = self.reports.try_send(RtcpReport::Reception(block.clone()));
            }
        } else if let Some(feedback) = packet.downcast_ref::<TransportLayerCc>()
            && packet_count(feedback) <= MAX_PACKETS
        {
            let arrivals = convert_twcc(feedback);
            let _ = self.reports.try_send(RtcpReport::Arrivals(arrivals));
        }
    }
}

/// Number of packets a report covers; its two-byte field can claim 8,191.
fn packet_count(feedback: &TransportLayerCc) -> usize {
    let counts = feedback.packet_chunks.iter().map(|chunk| match chunk {
        PacketStatusChunk::RunLengthChunk(run) => usize::from(run.run_length),
        PacketStatusChunk::StatusVectorChunk(vector) => vector.symbol_list.len(),
    });
    counts.sum()
}

/// Converts a report block for a sender whose clock is `ntp` now.
pub(super) fn report(block: &ReceptionReport, ntp: u64) -> ReportBlock {
    // In units of 1/65536 s, of the middle 32 bits (RFC 3550, section 6.4.1).
    let spent = ((ntp >> 16) as u32)
        .wrapping_sub(block.last_sender_report)
        .wrapping_sub(block.delay);
    let plausible = block.last_sender_report != 0 && spent < MOST_ROUND_TRIP;
    ReportBlock {
        lost: f64::from(block.fraction_lost) / 256.0,
        round_trip: plausible.then(|| Duration::from_secs_f64(f64::from(spent) / 65536.0)),
    }
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for Deliver {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, mut tagged: TaggedPacket) -> Result<(), Error> {
        if let Packet::Rtcp(packets) = &mut tagged.message.packet {
            for packet in packets.iter() {
                self.forward(packet.as_ref());
            }
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

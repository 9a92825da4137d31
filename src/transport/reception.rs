//! Reception of a publisher's RTP: an interceptor that takes every packet off
//! webrtc's chain once it is decrypted, and sends the feedback.
//!
//! webrtc's own tracks are not used: they take the retransmissions (RFC 4588)
//! apart only behind the interceptors, so that packets recovered by those would
//! be requested again and again. Here packets are told apart by payload type,
//! retransmissions are restored, and each track has one source (SSRC) at a
//! time.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rtc::interceptor::{
    AttributedPacket, Interceptor, Packet, RTPHeaderExtension, ReceiverReportBuilder,
    ReceiverReportInterceptor, StreamInfo, TaggedPacket, TwccReceiverBuilder,
    TwccReceiverInterceptor,
};
use rtc::rtcp;
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtcp::transport_feedbacks::transport_layer_nack::{
    TransportLayerNack, nack_pairs_from_sequence_numbers,
};
use rtc::sansio::Protocol;
use rtc::shared::TransportContext;
use rtc::shared::error::Error;
use tokio::sync::mpsc;

use crate::loss_log::LossLog;
use crate::offer::MediaKind;
use crate::offer::publish::{PublishOffer, PublishedTrack, TRANSPORT_WIDE_NUMBER};
use crate::reorder::RtpPacket;

/// Capacity of the queue to the session in packets: a second of 20 Mb/s.
/// Beyond it packets are lost, as on any network.
const QUEUE: usize = 2048;
/// Interval of checks for requests of keyframes.
const CHECKS: Duration = Duration::from_millis(100);
/// Silence of a source after which another one takes its place.
const SOURCE_SILENCE: Duration = Duration::from_secs(2);

/// Packet of a track, received or restored.
#[derive(Debug)]
pub struct ReceivedRtp {
    pub kind: MediaKind,
    /// SSRC; sequence numbers and timestamps of different sources are
    /// unrelated.
    pub source: u32,
    pub packet: RtpPacket,
    pub at: Instant,
}

/// Requests to the interceptor, and its counters.
#[derive(Debug, Default)]
pub struct ReceptionControl {
    keyframe_wanted: AtomicBool,
    requested: AtomicU64,
    restored: AtomicU64,
}

impl ReceptionControl {
    /// Requests a keyframe (PLI, RFC 4585, section 6.3.1).
    pub fn request_keyframe(&self) {
        self.keyframe_wanted.store(true, Ordering::Relaxed);
    }

    /// Packets requested again (NACK), repeats included.
    pub fn requested(&self) -> u64 {
        self.requested.load(Ordering::Relaxed)
    }

    /// Missing packets that arrived after all.
    pub fn restored(&self) -> u64 {
        self.restored.load(Ordering::Relaxed)
    }
}

/// Interceptor, above all of webrtc's own.
pub struct Reception {
    video: ReceivedTrack,
    audio: Option<ReceivedTrack>,
    arrivals: Option<TwccReceiverInterceptor>,
    reports: ReceiverReportInterceptor,
    packets: mpsc::Sender<ReceivedRtp>,
    control: Arc<ReceptionControl>,
    outbound: VecDeque<TaggedPacket>,
    /// SSRC of the sender of feedback.
    own_source: u32,
    next_check: Option<Instant>,
}

impl std::fmt::Debug for Reception {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reception").finish_non_exhaustive()
    }
}

/// Track with its current source.
struct ReceivedTrack {
    kind: MediaKind,
    track: PublishedTrack,
    source: Option<(u32, Instant)>,
    losses: LossLog,
}

impl Reception {
    pub fn new(offer: &PublishOffer) -> (Self, mpsc::Receiver<ReceivedRtp>, Arc<ReceptionControl>) {
        let (packets, receiver) = mpsc::channel(QUEUE);
        let control = Arc::<ReceptionControl>::default();
        let tracks = [Some(&offer.video), offer.audio.as_ref()];
        let number = tracks
            .into_iter()
            .flatten()
            .find_map(|track| track.extensions.transport_wide_number);
        let reception = Self {
            video: ReceivedTrack::new(MediaKind::Video, offer.video.clone()),
            audio: offer
                .audio
                .clone()
                .map(|track| ReceivedTrack::new(MediaKind::Audio, track)),
            arrivals: number.map(arrivals),
            reports: ReceiverReportBuilder::new().build(),
            packets,
            control: Arc::clone(&control),
            outbound: VecDeque::new(),
            own_source: rand::random(),
            next_check: None,
        };
        (reception, receiver, control)
    }

    fn take(&mut self, packet: &rtc::rtp::Packet, now: Instant) {
        let payload_type = packet.header.payload_type;
        let tracks = [Some(&mut self.video), self.audio.as_mut()];
        let mut tracks = tracks.into_iter().flatten();
        let Some(track) = tracks.find(|track| track.owns(payload_type)) else {
            return;
        };
        let Some((source, packet, is_new)) = track.accept(packet, now) else {
            return;
        };
        if is_new {
            self.reports.bind_remote_stream(&StreamInfo {
                ssrc: source,
                clock_rate: match track.kind {
                    MediaKind::Video => 90_000,
                    MediaKind::Audio => 48_000,
                },
                ..StreamInfo::default()
            });
        }
        if track.losses.received(packet.sequence, now) {
            self.control.restored.fetch_add(1, Ordering::Relaxed);
        }
        let received = ReceivedRtp {
            kind: track.kind,
            source,
            packet,
            at: now,
        };
        // A full queue means that the session's task is late.
        let _ = self.packets.try_send(received);
    }

    fn send(&mut self, packet: impl rtcp::Packet + 'static, now: Instant) {
        self.outbound.push_back(TaggedPacket {
            now,
            transport: TransportContext::default(),
            message: AttributedPacket::new(Packet::Rtcp(vec![Box::new(packet)])),
        });
    }

    fn check(&mut self, now: Instant) {
        let sender_ssrc = self.own_source;
        let mut requests = Vec::new();
        for track in [Some(&mut self.video), self.audio.as_mut()] {
            let Some(track) = track else {
                continue;
            };
            let missing = track.losses.due(now);
            if let Some((media_ssrc, _)) = track.source
                && track.track.is_retransmitted()
                && !missing.is_empty()
            {
                let count = missing.len() as u64;
                self.control.requested.fetch_add(count, Ordering::Relaxed);
                requests.push(TransportLayerNack {
                    sender_ssrc,
                    media_ssrc,
                    nacks: nack_pairs_from_sequence_numbers(&missing),
                });
            }
        }
        for request in requests {
            self.send(request, now);
        }
        if let Some((media_ssrc, _)) = self.video.source
            && self.control.keyframe_wanted.swap(false, Ordering::Relaxed)
        {
            let request = PictureLossIndication {
                sender_ssrc,
                media_ssrc,
            };
            self.send(request, now);
        }
    }

    fn next_check(&self) -> Option<Instant> {
        let losses = [Some(&self.video), self.audio.as_ref()];
        let losses = losses.into_iter().flatten();
        let due = losses.filter_map(|track| track.losses.next());
        due.chain(self.next_check).min()
    }
}

/// Reports of arrivals (transport-wide feedback), of all packets with this
/// extension.
fn arrivals(id: u8) -> TwccReceiverInterceptor {
    let mut arrivals = TwccReceiverBuilder::new().build();
    // Of any source: the extension is the transport's.
    arrivals.bind_remote_stream(&StreamInfo {
        rtp_header_extensions: vec![RTPHeaderExtension {
            uri: TRANSPORT_WIDE_NUMBER.to_owned(),
            id: u16::from(id),
        }],
        ..StreamInfo::default()
    });
    arrivals
}

impl ReceivedTrack {
    fn new(kind: MediaKind, track: PublishedTrack) -> Self {
        Self {
            kind,
            track,
            source: None,
            losses: LossLog::default(),
        }
    }

    fn owns(&self, payload_type: u8) -> bool {
        payload_type == self.track.payload_type || Some(payload_type) == self.track.rtx
    }

    /// Packet of this track with its source, and true if the source is new;
    /// retransmissions are restored. `None` for packets of another layer or
    /// source.
    fn accept(
        &mut self,
        packet: &rtc::rtp::Packet,
        now: Instant,
    ) -> Option<(u32, RtpPacket, bool)> {
        let header = &packet.header;
        let restored = header.payload_type != self.track.payload_type;
        if !self.is_of_layer(header, restored) {
            return None;
        }
        let restored_packet = |sequence, payload| RtpPacket {
            sequence,
            timestamp: header.timestamp,
            marker: header.marker,
            payload,
        };
        if restored {
            let (source, _) = self.source?;
            // RFC 4588, section 4: the original sequence number, then the
            // payload. Shorter ones are padding that probes the link.
            let (number, _) = packet.payload.split_first_chunk::<2>()?;
            let sequence = u16::from_be_bytes(*number);
            let packet = restored_packet(sequence, packet.payload.slice(2..));
            return Some((source, packet, false));
        }
        let is_new = match self.source {
            Some((source, last)) if source != header.ssrc => {
                if now.saturating_duration_since(last) < SOURCE_SILENCE {
                    return None;
                }
                true
            }
            Some(_) => false,
            None => true,
        };
        if is_new {
            self.losses = LossLog::default();
        }
        self.source = Some((header.ssrc, now));
        let sequence = header.sequence_number;
        Some((
            header.ssrc,
            restored_packet(sequence, packet.payload.clone()),
            is_new,
        ))
    }

    /// True unless the packet names another layer of simulcast, or none before
    /// the source of the layer is known.
    fn is_of_layer(&self, header: &rtc::rtp::Header, restored: bool) -> bool {
        let Some(layer) = &self.track.layer else {
            return true;
        };
        let id = match restored {
            true => self.track.extensions.repaired_stream_id,
            false => self.track.extensions.stream_id,
        };
        let Some(id) = id else {
            return true;
        };
        match header.get_extension(id) {
            Some(named) => named.as_ref() == layer.as_bytes(),
            None => restored || self.source.is_some(),
        }
    }
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for Reception {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = Error;
    type Time = Instant;

    fn handle_read(&mut self, mut tagged: TaggedPacket) -> Result<(), Error> {
        if let Some(arrivals) = &mut self.arrivals {
            arrivals.handle_read(tagged)?;
            let Some(same) = arrivals.poll_read() else {
                return Ok(());
            };
            tagged = same;
        }
        self.reports.handle_read(tagged)?;
        let now = Instant::now();
        self.next_check.get_or_insert(now + CHECKS);
        while let Some(tagged) = self.reports.poll_read() {
            if let Packet::Rtp(packet) = tagged.message.packet {
                self.take(&packet, tagged.now);
            }
        }
        Ok(())
    }

    /// Nothing: packets leave the chain here.
    fn poll_read(&mut self) -> Option<TaggedPacket> {
        None
    }

    fn handle_write(&mut self, tagged: TaggedPacket) -> Result<(), Error> {
        self.outbound.push_back(tagged);
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        let reports = |this: &mut Self| this.reports.poll_write();
        let arrivals = |this: &mut Self| this.arrivals.as_mut()?.poll_write();
        let own = self.outbound.pop_front();
        own.or_else(|| reports(self)).or_else(|| arrivals(self))
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        if let Some(arrivals) = &mut self.arrivals {
            arrivals.handle_timeout(now)?;
        }
        self.reports.handle_timeout(now)?;
        if self.next_check().is_some_and(|due| due <= now) {
            self.check(now);
            self.next_check = Some(now + CHECKS);
        }
        Ok(())
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        let arrivals = self
            .arrivals
            .as_mut()
            .and_then(TwccReceiverInterceptor::poll_timeout);
        let reports = self.reports.poll_timeout();
        let timeouts = [self.next_check(), arrivals, reports];
        timeouts.into_iter().flatten().min()
    }
}

impl Interceptor for Reception {
    fn bind_local_stream(&mut self, _: &StreamInfo) {}
    fn unbind_local_stream(&mut self, _: &StreamInfo) {}
    fn bind_remote_stream(&mut self, _: &StreamInfo) {}
    fn unbind_remote_stream(&mut self, _: &StreamInfo) {}
}

#[cfg(test)]
mod tests;

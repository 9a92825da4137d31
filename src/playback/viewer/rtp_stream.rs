//! RTP stream to a viewer: its headers, and its counters.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use watchtower_transport::srtp::{LONGEST_HEADER, RTP_HEADER, RtpHeader};

/// Counters of one track as sent, for its sender reports (RFC 3550, section
/// 6.4.1).
#[derive(Debug, Default)]
pub(crate) struct SenderStats {
    /// Random offset of the RTP timestamps (RFC 3550, section 5.1).
    pub(crate) time_offset: u32,
    pub(crate) packets: AtomicU32,
    pub(crate) octets: AtomicU32,
    /// The link has reached its limits.
    pub(crate) strained: AtomicBool,
}

impl SenderStats {
    pub(super) fn add(&self, packets: u64, octets: u64) {
        // Both wrap by definition.
        self.packets.fetch_add(packets as u32, Ordering::Relaxed);
        self.octets.fetch_add(octets as u32, Ordering::Relaxed);
    }
}

/// RTP stream to one viewer.
#[derive(Debug)]
pub(crate) struct RtpStream {
    pub(super) ssrc: u32,
    payload_type: u8,
    pub(crate) stats: Arc<SenderStats>,
    /// Id of the header extension with the transport-wide number.
    pub(super) numbered: Option<u8>,
    /// Packet index after the newest one sent.
    pub(super) next: u64,
}

impl RtpStream {
    pub(crate) fn new(ssrc: u32, payload_type: u8, time_offset: u32, first: u16) -> Self {
        Self {
            ssrc,
            payload_type,
            stats: Arc::new(SenderStats {
                time_offset,
                ..SenderStats::default()
            }),
            numbered: None,
            // Below the middle, so that a reordered first packet can't look
            // like a wrap of the counter (RFC 3711, section 3.3.1).
            next: u64::from(first & 0x7fff),
        }
    }

    /// Adds a transport-wide number to each packet, if the extension has an id.
    /// It equals the sequence number, so that a retransmission is identical.
    pub(crate) fn numbered(self, id: Option<u8>) -> Self {
        Self {
            numbered: id,
            ..self
        }
    }

    pub(super) fn header(&self, index: u64, marker: bool, time: u32) -> RtpHeader {
        let [.., s0, s1] = index.to_be_bytes();
        let [t0, t1, t2, t3] = time.wrapping_add(self.stats.time_offset).to_be_bytes();
        let [a, b, c, d] = self.ssrc.to_be_bytes();
        let kind = u8::from(marker) << 7 | self.payload_type;
        let fixed = [0x80, kind, s0, s1, t0, t1, t2, t3, a, b, c, d];
        match self.numbered {
            None => RtpHeader::plain(fixed),
            // A one-byte header of two bytes (RFC 8285, section 4.2).
            Some(id) => RtpHeader::extended(fixed, [0xbe, 0xde, 0, 1, id << 4 | 1, s0, s1, 0]),
        }
    }

    pub(super) fn header_length(&self) -> usize {
        match self.numbered {
            None => RTP_HEADER,
            Some(_) => LONGEST_HEADER,
        }
    }
}

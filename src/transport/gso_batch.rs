//! Batches of finished packets, sent with one system call (UDP GSO).

use std::io;

use super::packetizer::Packet;
use super::srtp::{LONGEST_HEADER, LONGEST_TAG, Protector, RtpHeader};
use crate::ice_socket::IceSocket;
use crate::udp_mux::{Route, UdpMux};

/// Kernel limit on the bytes of one send call, all segments together.
const MOST_BYTES: usize = 65_000;

/// Send buffer is full, and the transport to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendBlocked {
    /// UDP socket shared by all viewers.
    UdpMux,
    /// TCP connection of this viewer.
    Viewer,
}

/// Output of the fan-out loop, with one buffer reused by all batches.
pub struct GsoBatch<'a> {
    port: &'a UdpMux,
    buffer: Vec<u8>,
}

impl std::fmt::Debug for GsoBatch<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GsoBatch").finish_non_exhaustive()
    }
}

impl<'a> GsoBatch<'a> {
    pub fn new(port: &'a UdpMux) -> Self {
        Self {
            port,
            buffer: Vec::with_capacity(MOST_BYTES + 2048),
        }
    }

    /// Starts a batch for one viewer; each packet has `overhead` bytes beside
    /// its payload.
    pub fn batch<'b>(&'b mut self, line: &'b IceSocket, overhead: usize) -> Batch<'b> {
        self.buffer.clear();
        Batch {
            port: self.port,
            line,
            overhead,
            most: self.port.most_segments(),
            buffer: &mut self.buffer,
            segment: 0,
            count: 0,
            closed: false,
            broken: false,
        }
    }
}

/// Packets of the same size, except for a shorter last one, as the kernel
/// requires for one call (UDP GSO).
pub struct Batch<'a> {
    port: &'a UdpMux,
    line: &'a IceSocket,
    buffer: &'a mut Vec<u8>,
    overhead: usize,
    most: usize,
    segment: usize,
    count: usize,
    closed: bool,
    broken: bool,
}

impl std::fmt::Debug for Batch<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batch").finish_non_exhaustive()
    }
}

impl Batch<'_> {
    /// True if a packet with that payload size may still join.
    pub fn has_room(&self, payload: usize) -> bool {
        let size = self.overhead + payload;
        self.count == 0
            || !self.closed
                && size <= self.segment
                && self.count < self.most
                && self.buffer.len() + size <= MOST_BYTES
    }

    pub fn add(
        &mut self,
        header: &RtpHeader,
        packet: &Packet,
        protector: &mut Protector,
        ssrc: u32,
        index: u64,
    ) {
        let start = self.buffer.len();
        self.buffer
            .reserve(LONGEST_HEADER + packet.size() + LONGEST_TAG);
        self.buffer.extend_from_slice(header.bytes());
        packet.write_to(self.buffer);
        // Only a nonce of the wrong length could fail; never send plaintext.
        let body = start + header.bytes().len();
        let range = start..body;
        self.broken |= protector.protect(self.buffer, range, ssrc, index).is_err();
        let size = self.buffer.len() - start;
        if self.count == 0 {
            self.segment = size;
        }
        self.closed = size < self.segment;
        self.count += 1;
    }

    /// Sends the batch. Packets rejected by the network count as lost; only a
    /// full send buffer is worth another attempt.
    pub fn send(self) -> Result<(), SendBlocked> {
        let Some(path) = self.line.path() else {
            return Ok(());
        };
        if self.broken || self.count == 0 {
            return Ok(());
        }
        match (self.port.send(&path, self.buffer, self.segment), path) {
            (Err(error), path) if error.kind() == io::ErrorKind::WouldBlock => match path {
                Route::Udp(_) => Err(SendBlocked::UdpMux),
                Route::Tcp(_) => Err(SendBlocked::Viewer),
            },
            _ => Ok(()),
        }
    }
}

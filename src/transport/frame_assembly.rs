//! Frames of VP8 (RFC 7741), VP9 (RFC 9628) and AV1 (AOMedia's RTP payload
//! format) of their RTP payloads.
//!
//! Pure: no sockets, no clock. A frame comes out whole or not at all, and a
//! missing one is told, because those after it depend on it.

use bytes::Bytes;

use crate::reorder::{Ordered, RtpPacket};

/// Maximum size of a frame in bytes; a 4K keyframe takes 1 to 3 MB.
const LARGEST_FRAME: usize = 16 << 20;

/// AV1 OBU types that are not stored (AV1's media file binding, section 2.4).
const TEMPORAL_DELIMITER: u8 = 2;
const TILE_LIST: u8 = 8;
const OBU_EXTENSION: u8 = 0x04;
const OBU_HAS_SIZE: u8 = 0x02;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameFormat {
    Vp8,
    /// The lowest of the spatial layers.
    Vp9,
    /// In the low-overhead format (AV1 specification, section 5.2).
    Av1,
}

/// Result of assembling.
#[derive(Debug, PartialEq, Eq)]
pub enum AssembledFrame {
    Whole {
        timestamp: u32,
        data: Bytes,
    },
    /// Frames are missing, or one is damaged.
    Missing,
}

#[derive(Debug)]
pub struct FrameAssembler {
    format: FrameFormat,
    frame: Option<PartialFrame>,
}

/// Frame being assembled.
#[derive(Debug)]
struct PartialFrame {
    timestamp: u32,
    data: Vec<u8>,
    /// AV1 OBU whose fragments are arriving.
    fragments: Option<Vec<u8>>,
    damaged: bool,
}

/// Payload of a packet without its descriptor.
struct DescribedPayload<'a> {
    /// True for the first packet of a frame.
    begins: bool,
    payload: &'a [u8],
}

impl FrameAssembler {
    pub fn new(format: FrameFormat) -> Self {
        Self {
            format,
            frame: None,
        }
    }

    /// Consumes the next packet in order, or a gap. A packet completes at most
    /// two frames: the previous one, and its own if it ends it.
    pub fn push(&mut self, ordered: Ordered) -> [Option<AssembledFrame>; 2] {
        let packet = match ordered {
            Ordered::Packet(packet) => packet,
            Ordered::Gap => {
                self.frame = None;
                return [Some(AssembledFrame::Missing), None];
            }
        };
        let before = match &self.frame {
            Some(frame) if frame.timestamp != packet.timestamp => self.finish(),
            _ => None,
        };
        // Padding that probes the link.
        if packet.payload.is_empty() {
            return [before, None];
        }
        self.add(&packet);
        let own = if packet.marker { self.finish() } else { None };
        [before, own]
    }

    fn add(&mut self, packet: &RtpPacket) {
        let described = match self.format {
            FrameFormat::Vp8 => vp8(&packet.payload),
            FrameFormat::Vp9 => vp9(&packet.payload),
            FrameFormat::Av1 => av1(&packet.payload),
        };
        let begins = described.as_ref().is_some_and(|one| one.begins);
        let frame = self.frame.get_or_insert_with(|| PartialFrame {
            timestamp: packet.timestamp,
            data: Vec::new(),
            fragments: None,
            // Its beginning is missing.
            damaged: !begins,
        });
        let Some(DescribedPayload { payload, .. }) = described else {
            frame.damaged = true;
            return;
        };
        let held = frame.fragments.as_ref().map_or(0, Vec::len);
        if frame.damaged || frame.data.len() + held + payload.len() > LARGEST_FRAME {
            frame.damaged = true;
            frame.data = Vec::new();
            frame.fragments = None;
            return;
        }
        match self.format {
            FrameFormat::Av1 => frame.damaged = frame.add_elements(&packet.payload).is_none(),
            FrameFormat::Vp8 | FrameFormat::Vp9 => frame.data.extend_from_slice(payload),
        }
    }

    fn finish(&mut self) -> Option<AssembledFrame> {
        let frame = self.frame.take()?;
        if frame.damaged || frame.fragments.is_some() {
            return Some(AssembledFrame::Missing);
        }
        let timestamp = frame.timestamp;
        let data = Bytes::from(frame.data);
        (!data.is_empty()).then_some(AssembledFrame::Whole { timestamp, data })
    }
}

impl PartialFrame {
    /// Adds the OBU elements of a packet (AV1's RTP payload, section 4.4);
    /// `None` if they are invalid.
    fn add_elements(&mut self, payload: &[u8]) -> Option<()> {
        let (header, mut rest) = payload.split_first()?;
        let (continues, goes_on) = (header & 0x80 != 0, header & 0x40 != 0);
        let count = header >> 4 & 3;
        if continues != self.fragments.is_some() {
            return None;
        }
        let mut nth = 0;
        while !rest.is_empty() {
            nth += 1;
            // With a count the last element has no size.
            let element = if count != 0 && nth == count {
                std::mem::take(&mut rest)
            } else {
                let (size, after) = leb128(rest)?;
                let (element, after) = after.split_at_checked(size)?;
                rest = after;
                element
            };
            let whole = match self.fragments.take() {
                Some(mut begun) => {
                    begun.extend_from_slice(element);
                    begun
                }
                None => element.to_vec(),
            };
            if rest.is_empty() && goes_on {
                self.fragments = Some(whole);
            } else {
                self.add_obu(&whole)?;
            }
        }
        (count == 0 || nth == count).then_some(())
    }

    /// Adds an OBU with its size, which senders leave out.
    fn add_obu(&mut self, obu: &[u8]) -> Option<()> {
        let Some((&head, rest)) = obu.split_first() else {
            return Some(());
        };
        let (extension, rest) = match head & OBU_EXTENSION {
            0 => (None, rest),
            _ => rest.split_first().map(|(one, rest)| (Some(*one), rest))?,
        };
        let payload = match head & OBU_HAS_SIZE {
            0 => rest,
            _ => {
                let (size, rest) = leb128(rest)?;
                rest.get(..size)?
            }
        };
        if matches!(head >> 3 & 0xf, TEMPORAL_DELIMITER | TILE_LIST) {
            return Some(());
        }
        self.data.push(head | OBU_HAS_SIZE);
        self.data.extend(extension);
        let mut size = payload.len();
        while size >= 0x80 {
            self.data.push(size as u8 | 0x80);
            size >>= 7;
        }
        self.data.push(size as u8);
        self.data.extend_from_slice(payload);
        Some(())
    }
}

/// Payload of VP8 (RFC 7741, section 4.2).
fn vp8(payload: &[u8]) -> Option<DescribedPayload<'_>> {
    let (head, mut rest) = payload.split_first()?;
    if head & 0x80 != 0 {
        let (present, after) = rest.split_first()?;
        rest = after;
        if present & 0x80 != 0 {
            rest = skip_picture_id(rest)?;
        }
        if present & 0x40 != 0 {
            rest = rest.get(1..)?;
        }
        if present & 0x30 != 0 {
            rest = rest.get(1..)?;
        }
    }
    // The first packet of the first partition.
    let begins = head & 0x10 != 0 && head & 0x07 == 0;
    Some(DescribedPayload {
        begins,
        payload: rest,
    })
}

/// Payload of VP9 (RFC 9628, section 4.2).
fn vp9(payload: &[u8]) -> Option<DescribedPayload<'_>> {
    let (head, mut rest) = payload.split_first()?;
    let flag = |bit: u8| head & bit != 0;
    let flexible = flag(0x10);
    if flag(0x80) {
        rest = skip_picture_id(rest)?;
    }
    let mut layer = 0;
    if flag(0x20) {
        let (indices, after) = rest.split_first()?;
        layer = indices >> 1 & 7;
        rest = if flexible { after } else { after.get(1..)? };
    }
    if flexible && flag(0x40) {
        // Up to three references, each with a flag for another one.
        for nth in 0.. {
            let (reference, after) = rest.split_first()?;
            rest = after;
            if reference & 1 == 0 {
                break;
            }
            if nth == 2 {
                return None;
            }
        }
    }
    if flag(0x02) {
        rest = skip_structure(rest)?;
    }
    Some(DescribedPayload {
        begins: flag(0x08) && layer == 0,
        payload: if layer == 0 { rest } else { &[] },
    })
}

/// Payload of AV1 with its aggregation header, and only the flag read.
fn av1(payload: &[u8]) -> Option<DescribedPayload<'_>> {
    let begins = payload.first()? & 0x80 == 0;
    Some(DescribedPayload { begins, payload })
}

/// Skips a picture id of one or two bytes.
fn skip_picture_id(bytes: &[u8]) -> Option<&[u8]> {
    let long = bytes.first()? & 0x80 != 0;
    bytes.get(1 + usize::from(long)..)
}

/// Skips a scalability structure of VP9 (section 4.2.1).
fn skip_structure(bytes: &[u8]) -> Option<&[u8]> {
    let (head, mut rest) = bytes.split_first()?;
    if head & 0x10 != 0 {
        let layers = usize::from(head >> 5) + 1;
        rest = rest.get(4 * layers..)?;
    }
    if head & 0x08 != 0 {
        let (pictures, after) = rest.split_first()?;
        rest = after;
        for _ in 0..*pictures {
            let (picture, after) = rest.split_first()?;
            let references = usize::from(picture >> 2 & 3);
            rest = after.get(references..)?;
        }
    }
    Some(rest)
}

/// Reads a leb128 (AV1 specification, section 4.10.5).
fn leb128(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0_u64;
    for (nth, byte) in bytes.iter().take(8).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * nth);
        if byte & 0x80 == 0 {
            return Some((usize::try_from(value).ok()?, &bytes[nth + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests;

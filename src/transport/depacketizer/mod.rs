//! RTP payloads to H.264 access units (RFC 6184, packetization mode 1).
//!
//! Pure: no sockets, no clock. After a loss nothing is returned before a
//! complete keyframe, because everything in between would decode wrongly.

use std::sync::Arc;

use bytes::Bytes;

use watchtower_media::codec::h264::parse_sps;
use watchtower_media::{AccessUnit, MediaTime, VideoConfig};

use super::reorder::{Ordered, RtpPacket};

/// Maximum size of a picture in bytes; a 4K keyframe takes 1 to 3 MB.
const LARGEST_PICTURE: usize = 16 << 20;

const TYPE: u8 = 0x1f;
const FORBIDDEN_AND_IMPORTANCE: u8 = 0xe0;
const SLICE: u8 = 1;
const IDR: u8 = 5;
const SPS: u8 = 7;
const PPS: u8 = 8;
const DELIMITER: u8 = 9;
const FILLER: u8 = 12;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;
const FU_START: u8 = 0x80;
const FU_END: u8 = 0x40;

#[derive(Debug)]
pub struct Depacketizer {
    picture: Option<PictureAssembly>,
    sps: Option<Bytes>,
    pps: Option<Bytes>,
    config: Option<Arc<VideoConfig>>,
    clock: RtpTimeUnwrapper,
    /// Waits for a keyframe.
    needs_keyframe: bool,
    /// Packet loss directly before the next packet.
    gap: bool,
    /// Pictures that were not returned.
    left_out: u64,
}

/// Picture being assembled.
#[derive(Debug)]
struct PictureAssembly {
    timestamp: u32,
    /// NAL units, each with a length prefix of four bytes.
    data: Vec<u8>,
    /// Offset of the NAL unit whose fragments are arriving.
    fragmented: Option<usize>,
    keyframe: bool,
    slices: bool,
    damaged: bool,
}

impl Default for Depacketizer {
    fn default() -> Self {
        Self {
            picture: None,
            sps: None,
            pps: None,
            config: None,
            clock: RtpTimeUnwrapper::default(),
            needs_keyframe: true,
            // The first packet may be in the middle of a picture.
            gap: true,
            left_out: 0,
        }
    }
}

impl Depacketizer {
    /// True if a keyframe is awaited, so that one may be requested.
    pub fn needs_keyframe(&self) -> bool {
        self.needs_keyframe
    }

    /// Number of pictures that were incomplete, or could not be decoded, since
    /// the last call.
    pub fn take_left_out(&mut self) -> u64 {
        std::mem::take(&mut self.left_out)
    }

    /// Consumes the next packet in order, or a gap. A packet completes at most
    /// two pictures: the previous one, and its own if it ends it.
    pub fn push(&mut self, ordered: Ordered) -> [Option<AccessUnit>; 2] {
        let packet = match ordered {
            Ordered::Packet(packet) => packet,
            Ordered::Gap => {
                self.gap = true;
                self.needs_keyframe = true;
                if let Some(picture) = &mut self.picture {
                    picture.damaged = true;
                }
                return [None, None];
            }
        };
        let before = match &self.picture {
            Some(picture) if picture.timestamp != packet.timestamp => self.finish(),
            _ => None,
        };
        let gap = std::mem::take(&mut self.gap);
        let picture = self.picture.get_or_insert_with(|| PictureAssembly {
            timestamp: packet.timestamp,
            data: Vec::new(),
            fragmented: None,
            keyframe: false,
            slices: false,
            // The lost packets may have been its beginning.
            damaged: gap && !starts_keyframe(&packet.payload),
        });
        picture.add(&packet, &mut self.sps, &mut self.pps);
        let own = if packet.marker { self.finish() } else { None };
        [before, own]
    }

    fn finish(&mut self) -> Option<AccessUnit> {
        let picture = self.picture.take()?;
        let whole = !picture.damaged && picture.fragmented.is_none();
        if !whole {
            self.needs_keyframe = true;
            self.left_out += 1;
            return None;
        }
        // Parameter sets alone are not a picture.
        if !picture.slices {
            return None;
        }
        if picture.keyframe {
            self.configure();
        }
        let awaited = self.needs_keyframe && !picture.keyframe;
        let Some(config) = self.config.clone().filter(|_| !awaited) else {
            self.left_out += 1;
            return None;
        };
        self.needs_keyframe = false;
        let time = self.clock.unwrap(picture.timestamp);
        Some(AccessUnit {
            pts: time,
            dts: time,
            keyframe: picture.keyframe,
            config,
            data: picture.data.into(),
        })
    }

    /// Updates the configuration if the parameter sets have changed.
    fn configure(&mut self) {
        let (Some(sps), Some(pps)) = (&self.sps, &self.pps) else {
            return;
        };
        let same =
            |config: &Arc<VideoConfig>| config.sps == [sps.clone()] && config.pps == [pps.clone()];
        if self.config.as_ref().is_some_and(same) {
            return;
        }
        let config = parse_sps(sps).map(|parsed| VideoConfig {
            playback: parsed.playback,
            ..VideoConfig::playable(sps.clone(), pps.clone(), parsed.width, parsed.height)
        });
        self.config = config.map(Arc::new);
    }
}

impl PictureAssembly {
    fn add(&mut self, packet: &RtpPacket, sps: &mut Option<Bytes>, pps: &mut Option<Bytes>) {
        let payload = &packet.payload;
        let kind = payload.first().map_or(0, |byte| byte & TYPE);
        match kind {
            1..=23 => self.nal(payload, sps, pps),
            STAP_A => {
                let mut rest = payload.slice(1..);
                while !rest.is_empty() {
                    let Some(nal) = take_sized(&mut rest) else {
                        self.damaged = true;
                        return;
                    };
                    self.nal(&nal, sps, pps);
                }
            }
            FU_A => self.fragment(payload, sps, pps),
            // Other packetization modes were not offered; a receiver has to
            // ignore them (RFC 6184, section 5.2).
            _ => {}
        }
    }

    fn nal(&mut self, nal: &Bytes, sps: &mut Option<Bytes>, pps: &mut Option<Bytes>) {
        // Fragments of a unit are consecutive.
        if self.fragmented.take().is_some() || self.data.len() + nal.len() > LARGEST_PICTURE {
            self.damaged = true;
            self.data = Vec::new();
        }
        if self.damaged {
            return;
        }
        let start = self.data.len();
        self.data.extend([0; 4]);
        self.data.extend_from_slice(nal);
        self.complete(start, sps, pps);
    }

    fn fragment(&mut self, payload: &Bytes, sps: &mut Option<Bytes>, pps: &mut Option<Bytes>) {
        let [indicator, header, piece @ ..] = payload.as_ref() else {
            self.damaged = true;
            return;
        };
        let starts = header & FU_START != 0;
        // A start fragment within a unit, or a continuation without a start.
        if starts == self.fragmented.is_some() || self.data.len() + piece.len() > LARGEST_PICTURE {
            self.damaged = true;
            self.data = Vec::new();
        }
        if self.damaged {
            self.fragmented = None;
            return;
        }
        if starts {
            self.fragmented = Some(self.data.len());
            self.data.extend([0; 4]);
            self.data
                .push(indicator & FORBIDDEN_AND_IMPORTANCE | header & TYPE);
        }
        self.data.extend_from_slice(piece);
        if header & FU_END != 0
            && let Some(start) = self.fragmented.take()
        {
            self.complete(start, sps, pps);
        }
    }

    /// Completes the last NAL unit, whose size includes four bytes for its
    /// length.
    fn complete(&mut self, start: usize, sps: &mut Option<Bytes>, pps: &mut Option<Bytes>) {
        let (length, nal) = self.data[start..].split_at_mut(4);
        // Below LARGEST_PICTURE.
        length.copy_from_slice(&(nal.len() as u32).to_be_bytes());
        let short = nal.len() <= usize::from(u16::MAX);
        match nal[0] & TYPE {
            kind @ SLICE..=IDR => {
                self.slices = true;
                self.keyframe |= kind == IDR;
            }
            SPS if short => *sps = Some(Bytes::copy_from_slice(nal)),
            PPS if short => *pps = Some(Bytes::copy_from_slice(nal)),
            DELIMITER | FILLER => self.data.truncate(start),
            _ => {}
        }
    }
}

/// True if a keyframe begins with this payload: nothing relevant of it can
/// precede a delimiter or its own parameter sets.
fn starts_keyframe(payload: &[u8]) -> bool {
    let first = match payload {
        [header, _, _, first, ..] if header & TYPE == STAP_A => first,
        [first, ..] => first,
        [] => return false,
    };
    matches!(first & TYPE, SPS | DELIMITER)
}

/// Next NAL unit of a STAP-A, which has a 16-bit length prefix.
fn take_sized(rest: &mut Bytes) -> Option<Bytes> {
    let (length, tail) = rest.split_first_chunk::<2>()?;
    let length = usize::from(u16::from_be_bytes(*length));
    if length == 0 || length > tail.len() {
        return None;
    }
    let _ = rest.split_to(2);
    Some(rest.split_to(length))
}

/// Unwraps RTP's 32-bit time, starting with the first picture.
#[derive(Debug, Default)]
pub struct RtpTimeUnwrapper {
    last: Option<(u32, i64)>,
}

impl RtpTimeUnwrapper {
    /// Time in ticks of the track's clock since its first packet.
    pub fn unwrap(&mut self, timestamp: u32) -> MediaTime {
        let time = self.last.map_or(0, |(before, time)| {
            time + i64::from(timestamp.wrapping_sub(before) as i32)
        });
        self.last = Some((timestamp, time));
        MediaTime(time)
    }
}

#[cfg(test)]
mod tests;

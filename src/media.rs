//! What flows through the house: encoded access units on one side of the
//! decoder, pictures and the text on them on the other.
//!
//! Plain data. Payloads are shared by reference count, so handing a unit or a
//! frame to one more consumer copies nothing.

use std::fmt;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use jiff::Timestamp;
use sha2::{Digest, Sha256};

/// The name a stream goes by everywhere: in URLs, logs, metrics and findings.
///
/// 1 to 64 characters of `A-Z a-z 0-9 . _ -`, not starting with a dot, so that
/// it is safe in a path, a label and a terminal without escaping.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamName(Arc<str>);

/// Why a text is no stream name. The text itself is left out on purpose: a
/// publisher that mistypes its URL may have put the stream key there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("stream name must be 1 to 64 characters of A-Z a-z 0-9 . _ - and not start with a dot")]
pub struct InvalidStreamName;

impl StreamName {
    pub fn new(name: &str) -> Result<Self, InvalidStreamName> {
        let fits = (1..=64).contains(&name.len())
            && !name.starts_with('.')
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
        if fits {
            Ok(Self(name.into()))
        } else {
            Err(InvalidStreamName)
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A moment of a stream in ticks of 90 kHz (RFC 6184, section 5.1), counted
/// from the stream's own zero and never wrapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct MediaTime(pub i64);

impl MediaTime {
    pub const TICKS_PER_MS: i64 = 90;

    pub fn from_ms(ms: i64) -> Self {
        Self(ms.saturating_mul(Self::TICKS_PER_MS))
    }

    pub fn ms(self) -> i64 {
        self.0.div_euclid(Self::TICKS_PER_MS)
    }
}

/// Unwraps RTMP's 32-bit millisecond timestamps (RTMP 1.0, section 5.3.1.1).
///
/// The nearest of the possible readings is taken: a step of less than 2^31 ms
/// (24.8 days) either way is a step, anything else a wrap.
#[derive(Debug, Clone, Default)]
pub struct Timeline {
    last: Option<i64>,
}

impl Timeline {
    pub fn unwrap_ms(&mut self, raw: u32) -> i64 {
        let unwrapped = match self.last {
            None => i64::from(raw),
            Some(last) => {
                // Truncation keeps the low 32 bits, which is the modulus wanted.
                let step = raw.wrapping_sub(last as u32) as i32;
                last + i64::from(step)
            }
        };
        self.last = Some(unwrapped);
        unwrapped
    }
}

/// How pictures are coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VideoCodec {
    /// ITU-T H.264.
    H264,
    /// ITU-T H.265.
    Hevc,
    /// AOMedia's AV1.
    Av1,
}

impl VideoCodec {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::H264 => "H.264",
            Self::Hevc => "HEVC",
            Self::Av1 => "AV1",
        }
    }
}

/// What the largest levels of all codecs allow a side at most, in samples.
const LONGEST_SIDE: u32 = 16_384;

/// Whether a picture of any codec may be so large.
pub fn is_size(width: u32, height: u32) -> bool {
    let fits = |side: u32| (1..=LONGEST_SIDE).contains(&side);
    fits(width) && fits(height)
}

/// What browsers make of a stream over WebRTC (RFC 7742, section 6.2), as far
/// as its configuration tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Playback {
    /// It plays, unless its pictures turn out to be sent in another order than
    /// shown.
    Plays,
    /// Its pictures are sent in another order than shown (B-frames), over
    /// which browsers stumble.
    Reordered,
    /// No picture of it can be shown; why.
    Never(&'static str),
}

/// Decoder configuration of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VideoConfig {
    pub codec: VideoCodec,
    /// The record as it came, which is what a decoder takes as extradata: that
    /// of ISO/IEC 14496-15, section 5.3.3.1 (H.264) or 8.3.3.1 (HEVC), or of
    /// AV1's ISO media file binding, section 2.3.
    pub record: Bytes,
    /// H.264's parameter sets; empty for other codecs.
    pub sps: Bytes,
    pub pps: Bytes,
    /// Bytes of the length in front of each NAL unit: 1, 2 or 4. AV1 has no
    /// NAL units: 0.
    pub nal_length_size: u8,
    /// Luma samples after cropping.
    pub width: u32,
    pub height: u32,
    pub playback: Playback,
}

impl VideoConfig {
    /// Of H.264 that browsers play, NAL units behind four bytes of length. The
    /// parameter sets must not be empty nor longer than 65,535 bytes.
    pub fn playable(sps: Bytes, pps: Bytes, width: u32, height: u32) -> Self {
        let mut record = vec![1];
        record.extend(sps.iter().skip(1).take(3));
        // Four bytes of length, one SPS; the other bits are reserved ones.
        record.extend([0xff, 0xe1]);
        record.extend((sps.len() as u16).to_be_bytes());
        record.extend(&sps);
        record.push(1);
        record.extend((pps.len() as u16).to_be_bytes());
        record.extend(&pps);
        Self {
            codec: VideoCodec::H264,
            record: record.into(),
            sps,
            pps,
            nal_length_size: 4,
            width,
            height,
            playback: Playback::Plays,
        }
    }
}

/// One coded picture with the configuration it needs, so that a change of
/// parameter sets can't be taken in the wrong order.
#[derive(Debug, Clone)]
pub struct AccessUnit {
    pub pts: MediaTime,
    pub dts: MediaTime,
    /// Decoding can start here.
    pub keyframe: bool,
    pub config: Arc<VideoConfig>,
    /// NAL units, each behind its length (`config.nal_length_size` bytes), or
    /// AV1's OBUs (low-overhead format, AV1 specification, section 5.2).
    pub data: Bytes,
}

/// One coded AAC frame with its AudioSpecificConfig (ISO/IEC 14496-3).
#[derive(Debug, Clone)]
pub struct AudioUnit {
    pub pts: MediaTime,
    pub config: Bytes,
    pub aac: Bytes,
}

/// What a publisher pushes and a subscriber receives.
#[derive(Debug, Clone)]
pub enum MediaUnit {
    Video(AccessUnit),
    Audio(AudioUnit),
}

impl MediaUnit {
    /// Payload bytes.
    pub fn size(&self) -> usize {
        match self {
            Self::Video(unit) => unit.data.len(),
            Self::Audio(unit) => unit.aac.len(),
        }
    }
}

/// A rectangle in pixels of its picture, origin at the top left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rect {
    pub x: u32,
    pub y: u32,
    pub width: u32,
    pub height: u32,
}

/// One line of text read off a picture.
#[derive(Debug, Clone, PartialEq)]
pub struct TextLine {
    pub text: String,
    pub rect: Rect,
    /// Mean probability of its characters, 0 to 1.
    pub confidence: f32,
}

/// A decoded picture: 8-bit planar 4:2:0, full range, BT.601 matrix (what a
/// JFIF file stores), planes without padding.
///
/// `y` holds `width * height` samples; `u` and `v` hold
/// `width.div_ceil(2) * height.div_ceil(2)` each.
#[derive(Clone, PartialEq, Eq)]
pub struct Picture {
    pub width: u32,
    pub height: u32,
    pub y: Vec<u8>,
    pub u: Vec<u8>,
    pub v: Vec<u8>,
}

impl fmt::Debug for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Picture({}x{})", self.width, self.height)
    }
}

impl Picture {
    /// Half as wide and half as high, each sample the mean of four.
    pub fn halved(&self) -> Self {
        let (width, height) = (self.width as usize, self.height as usize);
        let (half_width, half_height) = (width.div_ceil(2), height.div_ceil(2));
        Self {
            width: half_width as u32,
            height: half_height as u32,
            y: halve(&self.y, width, height),
            u: halve(&self.u, half_width, half_height),
            v: halve(&self.v, half_width, half_height),
        }
    }
}

impl Picture {
    /// The picture with those rectangles black, as far as they lie in it.
    pub fn without(&self, covered: &[Rect]) -> Self {
        let mut picture = self.clone();
        let (width, height) = (self.width, self.height);
        for rect in covered {
            let right = rect.x.saturating_add(rect.width).min(width);
            let bottom = rect.y.saturating_add(rect.height).min(height);
            let (left, top) = (rect.x.min(right), rect.y.min(bottom));
            fill(&mut picture.y, width, (left, right), (top, bottom), 0);
            let half = width.div_ceil(2);
            let (across, down) = ((left / 2, right.div_ceil(2)), (top / 2, bottom.div_ceil(2)));
            // Without colour.
            fill(&mut picture.u, half, across, down, 128);
            fill(&mut picture.v, half, across, down, 128);
        }
        picture
    }
}

fn fill(plane: &mut [u8], width: u32, across: (u32, u32), down: (u32, u32), value: u8) {
    for y in down.0..down.1 {
        let row = (y * width) as usize;
        plane[row + across.0 as usize..row + across.1 as usize].fill(value);
    }
}

/// At an odd edge the last sample counts twice.
fn halve(plane: &[u8], width: usize, height: usize) -> Vec<u8> {
    let mut half = Vec::with_capacity(width.div_ceil(2) * height.div_ceil(2));
    for y in (0..height).step_by(2) {
        let upper = &plane[y * width..][..width];
        let lower = &plane[(y + 1).min(height - 1) * width..][..width];
        for x in (0..width).step_by(2) {
            let next = (x + 1).min(width - 1);
            let sum = [upper[x], upper[next], lower[x], lower[next]];
            // The mean of four bytes is a byte.
            half.push((sum.map(u32::from).iter().sum::<u32>() / 4) as u8);
        }
    }
    half
}

/// A compressed still and the name it is known by.
#[derive(Debug, Clone)]
pub struct Still {
    pub jpeg: Bytes,
    /// SHA-256 of `jpeg`, lower-case hexadecimal.
    pub sha256: String,
}

impl Still {
    fn of(jpeg: Bytes) -> Self {
        Self {
            sha256: hex(&Sha256::digest(&jpeg)),
            jpeg,
        }
    }
}

/// Encodes a picture as a baseline JPEG of the same size. Given to each frame
/// by whoever decodes, so that this file needs no codec.
pub type EncodeJpeg = fn(&Picture) -> Result<Bytes, EncodeError>;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("failed to encode a {width}x{height} picture as JPEG: {reason}")]
pub struct EncodeError {
    pub width: u32,
    pub height: u32,
    pub reason: String,
}

/// A picture the analysts may look at.
#[derive(Debug)]
pub struct Frame {
    pub stream: StreamName,
    /// Counts the frames of this stream since the server started; a
    /// publisher's return does not reset it.
    pub seq: u64,
    /// `seq` of the first frame of this scene: it moves when the picture
    /// really changed, so that an unchanged one need not be looked at again.
    pub scene: u64,
    pub pts: MediaTime,
    /// When the coded picture came in.
    pub captured_at: Timestamp,
    pub picture: Arc<Picture>,
    still: Arc<OnceLock<Result<Still, EncodeError>>>,
    encode: EncodeJpeg,
    /// The text on the picture in reading order; `None` until it was read.
    pub text: Option<Arc<[TextLine]>>,
}

impl Frame {
    pub fn new(
        stream: StreamName,
        seq: u64,
        pts: MediaTime,
        captured_at: Timestamp,
        picture: Arc<Picture>,
        encode: EncodeJpeg,
    ) -> Self {
        Self {
            stream,
            seq,
            scene: seq,
            pts,
            captured_at,
            picture,
            still: Arc::default(),
            encode,
            text: None,
        }
    }

    /// The same frame, now with its text. Picture and still stay shared.
    pub fn with_text(&self, text: Arc<[TextLine]>) -> Self {
        Self {
            stream: self.stream.clone(),
            seq: self.seq,
            scene: self.scene,
            pts: self.pts,
            captured_at: self.captured_at,
            picture: Arc::clone(&self.picture),
            still: Arc::clone(&self.still),
            encode: self.encode,
            text: Some(text),
        }
    }

    /// The same moment at half the size, for whoever cannot take it whole. It
    /// has a still of its own, and no text: that was read off the whole one.
    pub fn halved(&self) -> Self {
        Self {
            stream: self.stream.clone(),
            seq: self.seq,
            scene: self.scene,
            pts: self.pts,
            captured_at: self.captured_at,
            picture: Arc::new(self.picture.halved()),
            still: Arc::default(),
            encode: self.encode,
            text: None,
        }
    }

    /// The frame as a JPEG at native resolution, encoded when first asked for
    /// and only then. Costs about 15 ms of CPU at 1080p: call it off the async
    /// workers.
    pub fn still(&self) -> Result<Still, EncodeError> {
        let make = || (self.encode)(&self.picture).map(Still::of);
        self.still.get_or_init(make).clone()
    }

    /// The same with some of it black. Encoded each time it is asked for.
    pub fn still_without(&self, covered: &[Rect]) -> Result<Still, EncodeError> {
        (self.encode)(&self.picture.without(covered)).map(Still::of)
    }
}

fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stream_names_are_safe_in_a_path() {
        for good in ["team", "Team-1", "a", "x_y.z", &"a".repeat(64)] {
            assert_eq!(StreamName::new(good).expect("valid").as_str(), good);
        }
        for bad in [
            "",
            ".",
            "..",
            ".hidden",
            "a/b",
            "a b",
            "ä",
            "a\n",
            &"a".repeat(65),
        ] {
            assert_eq!(StreamName::new(bad), Err(InvalidStreamName), "{bad:?}");
        }
    }

    #[test]
    fn timeline_survives_a_wrap_and_a_step_back() {
        let mut timeline = Timeline::default();
        assert_eq!(timeline.unwrap_ms(u32::MAX - 9), i64::from(u32::MAX) - 9);
        assert_eq!(timeline.unwrap_ms(10), i64::from(u32::MAX) + 11);
        assert_eq!(timeline.unwrap_ms(u32::MAX), i64::from(u32::MAX));
        assert_eq!(timeline.unwrap_ms(0), i64::from(u32::MAX) + 1);
    }

    #[test]
    fn a_picture_halves_down_to_one_sample() {
        let picture = Picture {
            width: 3,
            height: 2,
            y: vec![0, 4, 9, 8, 12, 11],
            u: vec![100, 102],
            v: vec![255, 255],
        };
        let half = picture.halved();
        assert_eq!((half.width, half.height), (2, 1));
        assert_eq!(
            (half.y.clone(), half.u.clone(), half.v.clone()),
            (vec![6, 10], vec![101], vec![255])
        );
        let quarter = half.halved();
        assert_eq!((quarter.width, quarter.height), (1, 1));
        assert_eq!(quarter.halved(), quarter);
    }

    #[test]
    fn a_still_is_encoded_once_and_shared_with_the_read_frame() {
        use std::sync::atomic::{AtomicUsize, Ordering};
        static CALLS: AtomicUsize = AtomicUsize::new(0);
        fn encode(_: &Picture) -> Result<Bytes, EncodeError> {
            CALLS.fetch_add(1, Ordering::Relaxed);
            Ok(Bytes::from_static(b"abc"))
        }
        let picture = Picture {
            width: 1,
            height: 1,
            y: vec![0],
            u: vec![0],
            v: vec![0],
        };
        let name = StreamName::new("team").expect("valid");
        let frame = Frame::new(
            name,
            1,
            MediaTime(0),
            Timestamp::UNIX_EPOCH,
            Arc::new(picture),
            encode,
        );
        let read = frame.with_text(Arc::from([]));
        assert_eq!(CALLS.load(Ordering::Relaxed), 0);
        assert_eq!(
            read.still().expect("encoded").sha256,
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert!(frame.still().is_ok());
        assert_eq!(CALLS.load(Ordering::Relaxed), 1);
    }
}

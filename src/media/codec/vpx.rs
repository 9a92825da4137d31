//! Access units of VP8 and VP9, whose configuration is in their frames.

use std::sync::Arc;

use bytes::Bytes;

use super::vp8;
use super::vp9::ReferenceSizes;
use crate::{AccessUnit, MediaTime, Playback, VideoCodec, VideoConfig, is_size};

/// Reason a frame of VP8, VP9 or AV1 is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadFrame {
    #[error("a {0} frame header is cut short")]
    Truncated(&'static str),
    #[error("a {0} keyframe has no start code")]
    SyncCode(&'static str),
    #[error("VP8 version {0}, expected 0 to 3")]
    Vp8Version(u8),
    #[error("VP9 frame without its frame marker")]
    Marker,
    #[error("VP9 profile above 3, expected 0 to 3")]
    Vp9Profile,
    #[error("first partition of {claimed} bytes in {there} bytes of a VP8 frame")]
    Partition { claimed: u32, there: usize },
    #[error("frame of {claimed} bytes in {there} bytes of a VP9 superframe")]
    Superframe { claimed: usize, there: usize },
    #[error("{codec} picture of {width}x{height}, expected sides of 1 to 16384")]
    Size {
        codec: &'static str,
        width: u32,
        height: u32,
    },
    #[error("invalid AV1 sequence header")]
    Sequence,
    #[error("{0} frame without the keyframe it depends on")]
    NoKeyframe(&'static str),
}

/// Fields used of a frame's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FrameHeader {
    pub(super) keyframe: bool,
    /// Size in pixels, unless it is that of the frame before.
    pub(super) size: Option<(u32, u32)>,
}

/// Reader of one publisher's frames. After a broken one it waits for a
/// keyframe: whatever depends on it would decode wrongly, and decoders of these
/// codecs don't notice.
#[derive(Debug)]
pub struct VpxReader {
    headers: VpxHeaders,
    config: Option<Arc<VideoConfig>>,
    needs_keyframe: bool,
}

#[derive(Debug)]
enum VpxHeaders {
    Vp8,
    Vp9(ReferenceSizes),
}

impl VpxReader {
    pub fn vp8() -> Self {
        Self::new(VpxHeaders::Vp8)
    }

    pub fn vp9() -> Self {
        Self::new(VpxHeaders::Vp9(ReferenceSizes::default()))
    }

    fn new(headers: VpxHeaders) -> Self {
        Self {
            headers,
            config: None,
            needs_keyframe: true,
        }
    }

    pub fn codec(&self) -> VideoCodec {
        match self.headers {
            VpxHeaders::Vp8 => VideoCodec::Vp8,
            VpxHeaders::Vp9(_) => VideoCodec::Vp9,
        }
    }

    /// True if a keyframe is awaited, so that one may be requested.
    pub fn needs_keyframe(&self) -> bool {
        self.needs_keyframe
    }

    /// Marks a loss: frames before the next keyframe are rejected.
    pub fn lost(&mut self) {
        self.needs_keyframe = true;
    }

    /// Access unit of a frame, with its superframe's hidden ones.
    pub fn unit(
        &mut self,
        pts: MediaTime,
        dts: MediaTime,
        data: Bytes,
    ) -> Result<AccessUnit, BadFrame> {
        // An encoder's skipped frame, which loses nothing.
        if data.is_empty() {
            return Err(BadFrame::Truncated(self.codec().as_str()));
        }
        let read = self.read(&data);
        self.needs_keyframe = read.is_err();
        let (keyframe, config) = read?;
        Ok(AccessUnit {
            pts,
            dts,
            keyframe,
            config,
            data,
        })
    }

    fn read(&mut self, frame: &[u8]) -> Result<(bool, Arc<VideoConfig>), BadFrame> {
        let codec = self.codec();
        let header = match &mut self.headers {
            VpxHeaders::Vp8 => vp8::parse_frame(frame)?,
            VpxHeaders::Vp9(references) => references.parse_superframe(frame)?,
        };
        if self.needs_keyframe && !header.keyframe {
            return Err(BadFrame::NoKeyframe(codec.as_str()));
        }
        let no_keyframe = BadFrame::NoKeyframe(codec.as_str());
        let known = self.config.as_ref();
        let known_size = known.map(|config| (config.width, config.height));
        let (width, height) = header.size.or(known_size).ok_or(no_keyframe)?;
        if let Some(known) = known.filter(|_| known_size == Some((width, height))) {
            return Ok((header.keyframe, Arc::clone(known)));
        }
        if !is_size(width, height) {
            return Err(BadFrame::Size {
                codec: codec.as_str(),
                width,
                height,
            });
        }
        let config = self.config.insert(Arc::new(config(codec, width, height)));
        Ok((header.keyframe, Arc::clone(config)))
    }
}

fn config(codec: VideoCodec, width: u32, height: u32) -> VideoConfig {
    VideoConfig {
        codec,
        record: Bytes::new(),
        sps: Vec::new(),
        pps: Vec::new(),
        nal_length_size: 0,
        width,
        height,
        // Browsers do, but the fan-out sends H.264 alone.
        playback: Playback::Never(codec.as_str()),
    }
}

#[cfg(test)]
mod tests;

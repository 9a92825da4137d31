//! Uncompressed header of VP9 (VP9 Bitstream & Decoding Process Specification,
//! section 6.2) and its superframes (annex B).

use crate::codec::bits::Bits;
use crate::codec::vpx::{BadFrame, FrameHeader};

const NAME: &str = "VP9";
const SYNC_CODE: u32 = 0x0049_8342;
const COLOR_SPACE_RGB: u32 = 7;
const REFERENCES: usize = 8;
/// Reference frames of an inter frame.
const REFS_PER_FRAME: usize = 3;

/// Width and height in pixels.
type Size = (u32, u32);

/// Sizes of the reference frames, which an inter frame may take its own from:
/// VP9 changes the size without a keyframe.
#[derive(Debug, Default)]
pub(super) struct ReferenceSizes([Option<Size>; REFERENCES]);

/// Header of one frame of a superframe.
struct Vp9Header {
    keyframe: bool,
    size: Option<Size>,
    /// Reference slots that the frame replaces, as a bit mask.
    refreshes: u32,
}

impl ReferenceSizes {
    /// Header of a superframe: keyframe as its first frame, size of its last,
    /// which is the one shown.
    pub(super) fn parse_superframe(&mut self, data: &[u8]) -> Result<FrameHeader, BadFrame> {
        let mut first = None;
        let mut size = None;
        for frame in frames(data)? {
            let header = self.parse_frame(frame)?;
            first.get_or_insert(header.keyframe);
            size = header.size;
            for (nth, slot) in self.0.iter_mut().enumerate() {
                if header.refreshes >> nth & 1 == 1 {
                    *slot = header.size;
                }
            }
        }
        Ok(FrameHeader {
            keyframe: first.ok_or(BadFrame::Truncated(NAME))?,
            size,
        })
    }

    fn parse_frame(&self, frame: &[u8]) -> Result<Vp9Header, BadFrame> {
        let mut bits = Bits::new(frame);
        self.header(&mut bits)
            .ok_or(BadFrame::Truncated(NAME))
            .flatten()
    }

    /// `None` where the header is cut short.
    fn header(&self, bits: &mut Bits<'_>) -> Option<Result<Vp9Header, BadFrame>> {
        if bits.read(2)? != 2 {
            return Some(Err(BadFrame::Marker));
        }
        let profile = bits.read(1)? | bits.read(1)? << 1;
        if profile == 3 && bits.flag()? {
            return Some(Err(BadFrame::Vp9Profile));
        }
        if bits.flag()? {
            // show_existing_frame
            let shown = bits.read(3)? as usize;
            return Some(Ok(Vp9Header {
                keyframe: false,
                size: self.0[shown],
                refreshes: 0,
            }));
        }
        let keyframe = !bits.flag()?;
        let shown = bits.flag()?;
        let error_resilient = bits.flag()?;
        if keyframe {
            return Some(if bits.read(24)? == SYNC_CODE {
                skip_color_config(bits, profile)?;
                Ok(Vp9Header {
                    keyframe,
                    size: Some(frame_size(bits)?),
                    refreshes: 0xff,
                })
            } else {
                Err(BadFrame::SyncCode(NAME))
            });
        }
        let intra_only = !shown && bits.flag()?;
        if !error_resilient {
            bits.read(2)?; // reset_frame_context
        }
        if intra_only {
            if bits.read(24)? != SYNC_CODE {
                return Some(Err(BadFrame::SyncCode(NAME)));
            }
            if profile > 0 {
                skip_color_config(bits, profile)?;
            }
            let refreshes = bits.read(8)?;
            return Some(Ok(Vp9Header {
                keyframe,
                size: Some(frame_size(bits)?),
                refreshes,
            }));
        }
        let refreshes = bits.read(8)?;
        let mut references = [0; REFS_PER_FRAME];
        for reference in &mut references {
            *reference = bits.read(3)? as usize;
            bits.flag()?; // ref_frame_sign_bias
        }
        for reference in references {
            // found_ref
            if bits.flag()? {
                return Some(Ok(Vp9Header {
                    keyframe,
                    size: self.0[reference],
                    refreshes,
                }));
            }
        }
        Some(Ok(Vp9Header {
            keyframe,
            size: Some(frame_size(bits)?),
            refreshes,
        }))
    }
}

fn skip_color_config(bits: &mut Bits<'_>, profile: u32) -> Option<()> {
    if profile >= 2 {
        bits.flag()?; // ten_or_twelve_bit
    }
    let subsampled = profile == 1 || profile == 3;
    if bits.read(3)? == COLOR_SPACE_RGB {
        if subsampled {
            bits.flag()?; // reserved
        }
    } else {
        bits.flag()?; // color_range
        if subsampled {
            bits.read(3)?; // subsampling_x, subsampling_y, reserved
        }
    }
    Some(())
}

fn frame_size(bits: &mut Bits<'_>) -> Option<Size> {
    let width = bits.read(16)? + 1;
    let height = bits.read(16)? + 1;
    Some((width, height))
}

/// Frames of a superframe, or the data as its only frame.
fn frames(data: &[u8]) -> Result<Vec<&[u8]>, BadFrame> {
    let whole = || Ok(vec![data]);
    let Some(marker) = data.last().filter(|byte| **byte & 0xe0 == 0xc0) else {
        return whole();
    };
    let count = usize::from(marker & 7) + 1;
    let width = usize::from(marker >> 3 & 3) + 1;
    let index = 2 + width * count;
    let Some(start) = data.len().checked_sub(index) else {
        return whole();
    };
    // The marker stands at both ends of an index, else it is a frame's byte.
    if data[start] != *marker {
        return whole();
    }
    let (mut rest, index) = data.split_at(start);
    let mut frames = Vec::with_capacity(count);
    for size in index[1..=width * count].chunks(width) {
        let size = size
            .iter()
            .rev()
            .fold(0, |sum, byte| sum << 8 | usize::from(*byte));
        let (frame, next) = rest.split_at_checked(size).ok_or(BadFrame::Superframe {
            claimed: size,
            there: rest.len(),
        })?;
        rest = next;
        if !frame.is_empty() {
            frames.push(frame);
        }
    }
    Ok(frames)
}

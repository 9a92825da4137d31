//! Conversion of decoded pictures of any format to the one used on the frame
//! bus.
//!
//! swscale runs only where needed: other layouts and depths become 8-bit 4:2:0
//! with matrix and range kept, and [`colour`](super::colour) does the rest.

use std::slice;

use ffmpeg_next as ff;
use ffmpeg_next::color::{Range, Space};
use ffmpeg_next::ffi;
use ffmpeg_next::format::Pixel;
use ffmpeg_next::software::scaling::{self, Flags};

use watchtower_screen::picture::Picture;

use super::colour::{Matrix, Plane, YuvPlanes, to_jfif};
use super::video::MAX_PIXELS;

/// Maximum number of samples that the analysts' models and a JPEG support.
const MAX_SIDE: u32 = 8192;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ConvertError {
    #[error("a picture of {0}x{1} is larger than {MAX_SIDE}x{MAX_SIDE}")]
    TooLarge(u32, u32),
    #[error("unsupported pixel format {0}: no conversion to 4:2:0")]
    Format(String),
}

/// Converter that reuses its scaler while the picture format stays the same.
#[derive(Default)]
pub(super) struct Converter {
    scaler: Option<Scaler>,
}

struct Scaler {
    kind: ScalerInput,
    context: scaling::Context,
    output: ff::frame::Video,
}

#[derive(Clone, Copy, PartialEq)]
struct ScalerInput {
    format: Pixel,
    width: u32,
    height: u32,
    reading: Colorimetry,
}

/// Matrix and range of a picture's samples.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Colorimetry {
    matrix: Matrix,
    full_range: bool,
}

pub(super) fn fits(width: u32, height: u32) -> bool {
    width.max(height) <= MAX_SIDE && u64::from(width) * u64::from(height) <= MAX_PIXELS
}

impl Converter {
    pub(super) fn convert(&mut self, frame: &ff::frame::Video) -> Result<Picture, ConvertError> {
        let (width, height) = (frame.width(), frame.height());
        if !fits(width, height) {
            return Err(ConvertError::TooLarge(width, height));
        }
        let kind = ScalerInput {
            format: frame.format(),
            width,
            height,
            reading: Colorimetry::of(frame),
        };
        if matches!(kind.format, Pixel::YUV420P | Pixel::YUVJ420P) {
            return Ok(picture(frame, kind.reading));
        }
        let unknown = || ConvertError::Format(format!("{:?}", kind.format));
        let scaler = match self.scaler.take().filter(|scaler| scaler.kind == kind) {
            Some(scaler) => scaler,
            None => Scaler::new(kind).map_err(|_| unknown())?,
        };
        let scaler = self.scaler.insert(scaler);
        scaler
            .context
            .run(frame, &mut scaler.output)
            .map_err(|_| unknown())?;
        Ok(picture(&scaler.output, kind.reading))
    }
}

impl Colorimetry {
    fn of(frame: &ff::frame::Video) -> Self {
        // Pictures coded as RGB have no matrix; swscale produces the one
        // requested.
        if is_rgb(frame.format()) {
            return Self {
                matrix: Matrix::BT601,
                full_range: true,
            };
        }
        let matrix = match frame.color_space() {
            Space::BT709 => Matrix::BT709,
            Space::BT470BG | Space::SMPTE170M => Matrix::BT601,
            Space::FCC => Matrix::FCC,
            Space::SMPTE240M => Matrix::SMPTE240M,
            Space::BT2020NCL | Space::BT2020CL => Matrix::BT2020,
            _ => Matrix::by_height(frame.height()),
        };
        let j_format = matches!(
            frame.format(),
            Pixel::YUVJ420P | Pixel::YUVJ422P | Pixel::YUVJ444P | Pixel::YUVJ440P
        );
        Self {
            matrix,
            full_range: j_format || frame.color_range() == Range::JPEG,
        }
    }
}

fn is_rgb(format: Pixel) -> bool {
    matches!(
        format,
        Pixel::GBRP
            | Pixel::GBRP9LE
            | Pixel::GBRP10LE
            | Pixel::GBRP12LE
            | Pixel::GBRP14LE
            | Pixel::PAL8
            | Pixel::RGB24
            | Pixel::RGBA
            | Pixel::RGB48BE
            | Pixel::RGBA64BE
    )
}

impl Scaler {
    fn new(kind: ScalerInput) -> Result<Self, ff::Error> {
        let mut context = scaling::Context::get(
            kind.format,
            kind.width,
            kind.height,
            Pixel::YUV420P,
            kind.width,
            kind.height,
            Flags::BILINEAR | Flags::ACCURATE_RND,
        )?;
        let range = i32::from(kind.reading.full_range);
        // SAFETY: the context is alive and initialised; the table is one of
        // swscale's own constants. Same matrix and range on both sides, so that
        // levels are kept (by default swscale takes grey and the J formats for
        // full range and the output for limited). Its result only says that a
        // conversion between two YUV formats does not use the tables.
        unsafe {
            let table = ffi::sws_getCoefficients(ffi::SWS_CS_ITU601 as _);
            let one = 1 << 16;
            ffi::sws_setColorspaceDetails(
                context.as_mut_ptr(),
                table,
                range,
                table,
                range,
                0,
                one,
                one,
            );
        }
        let output = ff::frame::Video::new(Pixel::YUV420P, kind.width, kind.height);
        Ok(Self {
            kind,
            context,
            output,
        })
    }
}

/// Borrows the planes of `frame`, which is 8-bit planar 4:2:0.
fn picture(frame: &ff::frame::Video, reading: Colorimetry) -> Picture {
    let (width, height) = (frame.width() as usize, frame.height() as usize);
    let chroma = (width.div_ceil(2), height.div_ceil(2));
    to_jfif(&YuvPlanes {
        width: frame.width(),
        height: frame.height(),
        planes: [
            plane(frame, 0, (width, height)),
            plane(frame, 1, chroma),
            plane(frame, 2, chroma),
        ],
        matrix: reading.matrix,
        full_range: reading.full_range,
    })
}

/// Plane from its first sample to its last, without trailing padding, which
/// cropping may move outside of the buffer.
fn plane(frame: &ff::frame::Video, index: usize, (width, height): (usize, usize)) -> Plane<'_> {
    // SAFETY: the frame lives as long as the borrow; FFmpeg guarantees
    // `height` rows of `width` samples, `linesize` apart, behind `data` of
    // each plane of a 4:2:0 frame it made. A frame without data or with a
    // negative linesize (bottom up) has none of that and reads as empty.
    unsafe {
        let frame = frame.as_ptr();
        let (data, stride) = ((*frame).data[index], (*frame).linesize[index]);
        let stride = usize::try_from(stride).unwrap_or_default();
        let samples = if data.is_null() || stride < width || height == 0 {
            &[]
        } else {
            slice::from_raw_parts(data, stride * (height - 1) + width)
        };
        Plane { samples, stride }
    }
}

//! JPEG encoding of pictures.

use bytes::Bytes;
use ffmpeg_next as ff;
use ffmpeg_next::codec::{self, Context};
use ffmpeg_next::ffi;
use ffmpeg_next::format::Pixel;

use watchtower_screen::picture::{EncodeError, Picture};

/// FFmpeg's quality scale from 2 (best) to 31. At 3 text of 11 px is as
/// readable as in the picture; a 1080p dashboard takes about 300 kB.
const QUALITY: i32 = 3;
/// Maximum side, in pixels, of a JPEG's 16-bit size fields and FFmpeg's
/// encoder.
const MAX_SIDE: u32 = 65_500;

/// Encodes a baseline JPEG at native resolution, 4:2:0, full range (JFIF).
pub fn encode_jpeg(picture: &Picture) -> Result<Bytes, EncodeError> {
    encode(picture).map_err(|reason| EncodeError {
        width: picture.width,
        height: picture.height,
        reason,
    })
}

fn encode(picture: &Picture) -> Result<Bytes, String> {
    let (width, height) = (picture.width, picture.height);
    if width == 0 || height == 0 || width.max(height) > MAX_SIDE {
        return Err(format!("each side must be 1 to {MAX_SIDE} pixels"));
    }
    let frame = frame_of(picture)?;
    let codec = ff::encoder::find(codec::Id::MJPEG).ok_or("FFmpeg has no mjpeg encoder")?;
    let text = |error: ff::Error| error.to_string();
    let mut context = Context::new_with_codec(codec);
    // Omits the encoder's name and version, which would go into a comment.
    context.set_flags(codec::Flags::QSCALE | codec::Flags::BITEXACT);
    context.set_threading(codec::threading::Config::count(1));
    let mut encoder = context.encoder().video().map_err(text)?;
    encoder.set_width(width);
    encoder.set_height(height);
    encoder.set_format(Pixel::YUVJ420P);
    encoder.set_time_base(ff::Rational(1, 1));
    // Square pixels; the JFIF header is only written when they are known.
    encoder.set_aspect_ratio(ff::Rational(1, 1));
    encoder.set_global_quality(QUALITY * ffi::FF_QP2LAMBDA);
    let mut encoder = encoder.open_as(codec).map_err(text)?;
    encoder.send_frame(&frame).map_err(text)?;
    encoder.send_eof().map_err(text)?;
    let mut packet = ff::Packet::empty();
    encoder.receive_packet(&mut packet).map_err(text)?;
    let jpeg = packet
        .data()
        .ok_or("the encoder returned an empty packet")?;
    Ok(Bytes::copy_from_slice(jpeg))
}

fn frame_of(picture: &Picture) -> Result<ff::frame::Video, String> {
    let (width, height) = (picture.width as usize, picture.height as usize);
    let half = (width.div_ceil(2), height.div_ceil(2));
    let mut frame = ff::frame::Video::new(Pixel::YUVJ420P, picture.width, picture.height);
    if frame.planes() < 3 {
        return Err("not enough memory".to_owned());
    }
    let planes = [
        (&picture.y, (width, height)),
        (&picture.u, half),
        (&picture.v, half),
    ];
    for (index, (samples, (width, height))) in planes.into_iter().enumerate() {
        if samples.len() != width * height {
            return Err(format!(
                "plane {index} must hold {width}x{height} samples, got {}",
                samples.len()
            ));
        }
        let stride = frame.stride(index);
        let rows = frame.data_mut(index).chunks_mut(stride);
        for (to, from) in rows.zip(samples.chunks_exact(width)) {
            to[..width].copy_from_slice(from);
        }
    }
    frame.set_pts(Some(0));
    // SAFETY: the frame is alive and exclusively owned; the field is an
    // integer.
    unsafe { (*frame.as_mut_ptr()).quality = QUALITY * ffi::FF_QP2LAMBDA };
    Ok(frame)
}

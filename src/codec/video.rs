//! FFmpeg's video decoders, fed with access units from memory.

use std::collections::VecDeque;
use std::ptr;
use std::sync::Arc;

use ffmpeg_next as ff;
use ffmpeg_next::codec::discard::Discard;
use ffmpeg_next::codec::{Context, packet, threading};
use ffmpeg_next::ffi;
use jiff::Timestamp;

use watchtower_media::{AccessUnit, MediaTime, VideoCodec, VideoConfig};

/// Maximum number of pixels, above every level (ITU-T H.264, table A-1: level
/// 6.2 has a MaxFS of 139,264 macroblocks); set in the decoder, so that a
/// forged parameter set allocates nothing.
pub(super) const MAX_PIXELS: u64 = 139_264 * 256;
/// Maximum number of units in flight. A stream has at most 16 pictures in
/// flight; the rest were broken and never came out.
const ARRIVALS_KEPT: usize = 64;

pub(super) struct VideoDecoder {
    decoder: ff::decoder::Video,
    config: Arc<VideoConfig>,
    /// Presentation and arrival times of the units in flight.
    arrivals: VecDeque<(i64, Timestamp)>,
}

/// Decoded picture in the stream's own format.
pub(super) struct Decoded {
    pub(super) frame: ff::frame::Video,
    pub(super) pts: MediaTime,
    pub(super) captured_at: Timestamp,
    /// Parts of it were concealed.
    pub(super) damaged: bool,
}

impl VideoDecoder {
    /// Opens the decoder with a single thread: frame threads would delay
    /// every picture by one, and keyframe mode has nothing to parallelise.
    pub(super) fn open(config: &Arc<VideoConfig>) -> Result<Self, ff::Error> {
        let codec = decoder_of(config.codec).ok_or(ff::Error::DecoderNotFound)?;
        let mut context = Context::new_with_codec(codec);
        set_extradata(&mut context, &config.record)?;
        context.set_threading(threading::Config {
            kind: threading::Type::Slice,
            count: 1,
            ..threading::Config::default()
        });
        let mut options = ff::Dictionary::new();
        options.set("max_pixels", &MAX_PIXELS.to_string());
        let decoder = context.decoder().open_as_with(codec, options)?.video()?;
        Ok(Self {
            decoder,
            config: Arc::clone(config),
            arrivals: VecDeque::new(),
        })
    }

    /// True if the decoder was opened for this very configuration. The size
    /// counts: not every codec has a record that holds it.
    pub(super) fn fits(&self, config: &VideoConfig) -> bool {
        let known = &*self.config;
        (known.codec, known.width, known.height) == (config.codec, config.width, config.height)
            && known.record == config.record
    }

    /// Frame rate, if the stream declares one.
    pub(super) fn frame_rate(&self) -> Option<f64> {
        let rate = f64::from(self.decoder.frame_rate()?);
        rate.is_finite().then_some(rate)
    }

    /// Skips pictures that no other refers to.
    pub(super) fn skip_unreferenced(&mut self, skip: bool) {
        self.decoder.skip_frame(if skip {
            Discard::NonReference
        } else {
            Discard::Default
        });
    }

    /// Sends a unit. Changed parameter sets go along with it, so that its
    /// reference pictures stay.
    pub(super) fn send(&mut self, unit: &AccessUnit, at: Timestamp) -> Result<(), ff::Error> {
        // An empty packet would mean the end of the stream to the decoder.
        if unit.data.is_empty() || i32::try_from(unit.data.len()).is_err() {
            return Err(ff::Error::InvalidData);
        }
        let mut packet = ff::Packet::copy(&unit.data);
        if self.config.record != unit.config.record {
            add_extradata(&mut packet, &unit.config.record)?;
        }
        if !Arc::ptr_eq(&self.config, &unit.config) {
            self.config = Arc::clone(&unit.config);
        }
        packet.set_pts(Some(unit.pts.0));
        packet.set_dts(Some(unit.dts.0));
        if unit.keyframe {
            packet.set_flags(packet::Flags::KEY);
        }
        if self.arrivals.len() >= ARRIVALS_KEPT {
            self.arrivals.pop_front();
        }
        self.arrivals.push_back((unit.pts.0, at));
        self.decoder.send_packet(&packet)
    }

    /// Next picture in presentation order; `None` when the decoder needs more
    /// units first.
    pub(super) fn receive(&mut self) -> Result<Option<Decoded>, ff::Error> {
        let mut frame = ff::frame::Video::empty();
        match self.decoder.receive_frame(&mut frame) {
            Ok(()) => {}
            Err(
                ff::Error::Eof
                | ff::Error::Other {
                    errno: ff::error::EAGAIN,
                },
            ) => return Ok(None),
            Err(error) => return Err(error),
        }
        let pts = frame.pts().unwrap_or_default();
        let arrival = self.arrivals.iter().position(|(of, _)| *of == pts);
        let captured_at = arrival
            .and_then(|index| self.arrivals.remove(index))
            .map_or_else(Timestamp::now, |(_, at)| at);
        Ok(Some(Decoded {
            pts: MediaTime(pts),
            captured_at,
            damaged: damaged(&frame),
            frame,
        }))
    }

    /// Drains the pictures held back for reordering. Accepts nothing more until
    /// [`VideoDecoder::flush`].
    pub(super) fn drain(&mut self) -> Result<(), ff::Error> {
        self.decoder.send_eof()
    }

    /// Discards every picture; a keyframe has to come next.
    pub(super) fn flush(&mut self) {
        self.decoder.flush();
        self.arrivals.clear();
    }
}

/// FFmpeg's decoder of a codec, if it was built with one.
pub(super) fn decoder_of(codec: VideoCodec) -> Option<ff::Codec> {
    ff::decoder::find(match codec {
        VideoCodec::H264 => ff::codec::Id::H264,
        VideoCodec::Hevc => ff::codec::Id::HEVC,
        VideoCodec::Av1 => ff::codec::Id::AV1,
        VideoCodec::Vp8 => ff::codec::Id::VP8,
        VideoCodec::Vp9 => ff::codec::Id::VP9,
    })
}

fn damaged(frame: &ff::frame::Video) -> bool {
    // SAFETY: a frame wrapper always points to a live AVFrame; both fields are
    // plain integers.
    let (flags, errors) = unsafe {
        let frame = frame.as_ptr();
        ((*frame).flags, (*frame).decode_error_flags)
    };
    flags & ffi::AV_FRAME_FLAG_CORRUPT != 0 || errors != 0
}

/// Attaches a new out-of-band header to a unit.
fn add_extradata(packet: &mut ff::Packet, record: &[u8]) -> Result<(), ff::Error> {
    use ff::packet::Mut as _;
    let kind = ffi::AVPacketSideDataType::AV_PKT_DATA_NEW_EXTRADATA;
    // SAFETY: the packet is alive and takes over the buffer, which FFmpeg
    // allocates with room for the record and its readers' padding.
    unsafe {
        let room = ffi::av_packet_new_side_data(packet.as_mut_ptr(), kind, record.len() as _);
        if room.is_null() {
            return Err(ff::Error::Other {
                errno: ff::error::ENOMEM,
            });
        }
        ptr::copy_nonoverlapping(record.as_ptr(), room, record.len());
    }
    Ok(())
}

/// Sets the out-of-band header of a codec context that is not open yet.
pub(super) fn set_extradata(context: &mut Context, record: &[u8]) -> Result<(), ff::Error> {
    let no_memory = ff::Error::Other {
        errno: ff::error::ENOMEM,
    };
    let padding = ffi::AV_INPUT_BUFFER_PADDING_SIZE as usize;
    let size = i32::try_from(record.len()).map_err(|_| no_memory)?;
    // SAFETY: the buffer is the record's length plus the zeroed padding that
    // FFmpeg's bit readers may read; it comes from FFmpeg's allocator and the
    // context, alive and not open yet, takes it over and frees it.
    unsafe {
        let copy = ffi::av_mallocz(record.len() + padding).cast::<u8>();
        if copy.is_null() {
            return Err(no_memory);
        }
        ptr::copy_nonoverlapping(record.as_ptr(), copy, record.len());
        let context = context.as_mut_ptr();
        (*context).extradata = copy;
        (*context).extradata_size = size;
    }
    Ok(())
}

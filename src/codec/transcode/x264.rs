//! H.264 encoder of a rendition, and its rate control.
//!
//! x264 refills its buffer (VBV) at every picture by the frame rate it was
//! opened with: at zero latency it can't know a picture's duration, and it
//! ignores the timestamps. So it is opened with a nominal frame rate, and
//! before each picture its VBV rate is set to the budget of the time elapsed
//! since the last one. Over any period the buffer then gains exactly the target
//! rate, whatever the cadence.

use std::sync::Arc;

use bytes::Bytes;
use ffmpeg_next as ff;
use ffmpeg_next::codec::{Context, threading};
use ffmpeg_next::format::Pixel;
use ffmpeg_next::picture;
use ffmpeg_next::software::scaling::{self, Flags};

use watchtower_media::codec::h264;
use watchtower_media::hub::renditions::RenditionKind;
use watchtower_media::{AccessUnit, MediaTime, VideoConfig};

use crate::video::Decoded;

const SECOND: i64 = 1000 * MediaTime::TICKS_PER_MS;
/// Keyframe interval without requests.
const KEYFRAME_EVERY: i64 = 2 * SECOND;
/// Minimum interval of requested keyframes: viewers repeat requests until
/// served.
const KEYFRAME_PAUSE: i64 = 300 * MediaTime::TICKS_PER_MS;
/// Quality of x264's CRF: text of 11 px stays readable, and a static screen
/// costs next to nothing.
const QUALITY: &str = "23";
/// Maximum bits a second per pixel: 8 Mb/s at 1080p.
const MOST_BITS_PER_PIXEL: u64 = 4;
const LEAST_MAX_RATE: u64 = 1_000_000;
/// Frame rate assumed if the stream declares none; x264's CRF is tuned to it.
const NOMINAL_RATE: f64 = 25.0;
/// Plausible declared frame rates. Others are the ticks of the stream's clock.
const SANE_RATES: std::ops::RangeInclusive<f64> = 10.0..=120.0;
/// Divisor of the VBV size: half a second at the maximum rate, so that a
/// keyframe may be large but not the stream.
const BUFFER: u64 = 2;
/// Maximum step back that counts as a repeated picture, not as a clock jump.
const REPEAT: i64 = SECOND;

/// Share of the source's rate for slow links, in percent.
const LOW_SHARE: u64 = 35;
/// Minimum rate in bits a second; below, text is not readable.
const LOW_LEAST: u64 = 150_000;
/// Minimum interval between pictures. RTMP's milliseconds may make them arrive
/// a little early.
const LOW_PERIOD: i64 = SECOND / 15;
const EARLY: i64 = 5 * MediaTime::TICKS_PER_MS;
/// Maximum number of pixels that is not scaled down.
const LOW_PIXELS: u64 = 640 * 360;

/// Input parameters an encoder was opened for.
#[derive(Debug, Clone, Copy, PartialEq)]
struct EncoderInput {
    format: Pixel,
    width: u32,
    height: u32,
    range: ff::color::Range,
    space: ff::color::Space,
    primaries: ff::color::Primaries,
    transfer: ff::color::TransferCharacteristic,
}

pub(super) struct X264 {
    encoder: ff::encoder::video::Encoder,
    kind: RenditionKind,
    source: EncoderInput,
    size: (u32, u32),
    nominal: f64,
    /// Scaler to 8-bit 4:2:0 of that size, if the picture differs.
    scaler: Option<scaling::Context>,
    config: Option<Arc<VideoConfig>>,
    /// Encoder clock, monotonic and without long steps.
    clock: i64,
    /// Time of the last keyframe on that clock.
    keyframe_at: Option<i64>,
    last: Option<MediaTime>,
}

impl X264 {
    /// Opens the encoder; `declared` is the frame rate the source declares.
    pub(super) fn open(
        frame: &ff::frame::Video,
        kind: RenditionKind,
        declared: Option<f64>,
    ) -> Result<Self, ff::Error> {
        let source = EncoderInput::of(frame);
        let (width, height) = size_of(&source, kind);
        let plain = matches!(source.format, Pixel::YUV420P | Pixel::YUVJ420P);
        let scaler = if plain && (width, height) == (source.width, source.height) {
            None
        } else {
            Some(scaling::Context::get(
                source.format,
                source.width,
                source.height,
                Pixel::YUV420P,
                width,
                height,
                Flags::BILINEAR | Flags::ACCURATE_RND,
            )?)
        };
        let codec = ff::encoder::find_by_name("libx264").ok_or(ff::Error::EncoderNotFound)?;
        let mut context = Context::new_with_codec(codec);
        // More threads would cut the picture into slices: more bits and more
        // CPU for latency that one thread keeps short enough.
        context.set_threading(threading::Config::count(1));
        let nominal = declared
            .filter(|rate| SANE_RATES.contains(rate))
            .unwrap_or(NOMINAL_RATE);
        let mut encoder = context.encoder().video()?;
        encoder.set_width(width);
        encoder.set_height(height);
        encoder.set_format(Pixel::YUV420P);
        encoder.set_time_base((1, 90_000));
        encoder.set_frame_rate(Some(ff::Rational::from(nominal)));
        encoder.set_color_range(source.range);
        encoder.set_colorspace(source.space);
        encoder.set_color_primaries(source.primaries);
        encoder.set_color_transfer_characteristic(source.transfer);
        encoder.set_max_b_frames(0);
        // Keyframes are placed explicitly.
        encoder.set_gop(10_000);
        let most = most_of((width, height), kind, None);
        let mut options = ff::Dictionary::new();
        for (name, value) in [
            ("preset", "ultrafast"),
            ("tune", "zerolatency"),
            ("profile", "baseline"),
            ("crf", QUALITY),
            ("maxrate", &most.to_string()),
            ("bufsize", &(most / BUFFER).to_string()),
            ("forced-idr", "1"),
        ] {
            options.set(name, value);
        }
        Ok(Self {
            encoder: encoder.open_as_with(codec, options)?,
            kind,
            source,
            size: (width, height),
            nominal,
            scaler,
            config: None,
            clock: 0,
            keyframe_at: None,
            last: None,
        })
    }

    pub(super) fn fits(&self, frame: &ff::frame::Video) -> bool {
        self.source == EncoderInput::of(frame)
    }

    /// True if the picture of that time is to be encoded: duplicate times are
    /// dropped, and slow links get fewer pictures.
    pub(super) fn takes(&self, pts: MediaTime) -> bool {
        let Some(last) = self.last else {
            return true;
        };
        let least = match self.kind {
            RenditionKind::LowBitrate => LOW_PERIOD - EARLY,
            RenditionKind::Video | RenditionKind::Audio => 1,
        };
        // A clock that jumps back is accepted.
        !(-REPEAT..least).contains(&pts.0.saturating_sub(last.0))
    }

    /// Encodes a picture; `source_rate` is the source's measured rate in bits a
    /// second.
    pub(super) fn encode(
        &mut self,
        decoded: Decoded,
        keyframe_requested: bool,
        source_rate: Option<u64>,
    ) -> Result<Vec<AccessUnit>, ff::Error> {
        let pts = decoded.pts;
        if let Some(last) = self.last.replace(pts) {
            let step = pts.0.saturating_sub(last.0);
            let step = if step > 0 { step } else { 1 };
            self.clock += step.min(KEYFRAME_EVERY);
            self.pay(step, most_of(self.size, self.kind, source_rate));
        }
        let since = self.keyframe_at.map(|at| self.clock - at);
        let pause = if keyframe_requested {
            KEYFRAME_PAUSE
        } else {
            KEYFRAME_EVERY
        };
        let key = since.is_none_or(|since| since >= pause);
        if key {
            self.keyframe_at = Some(self.clock);
        }
        let mut frame = decoded.frame;
        if let Some(scaler) = &mut self.scaler {
            let mut scaled = ff::frame::Video::empty();
            scaler.run(&frame, &mut scaled)?;
            frame = scaled;
        }
        // The range is signalled separately; the sample layout is the same.
        frame.set_format(Pixel::YUV420P);
        frame.set_pts(Some(self.clock));
        frame.set_kind(if key {
            picture::Type::I
        } else {
            picture::Type::None
        });
        self.encoder.send_frame(&frame)?;
        let mut units = Vec::new();
        let mut packet = ff::Packet::empty();
        loop {
            match self.encoder.receive_packet(&mut packet) {
                Ok(()) => units.extend(self.unit(&packet, pts)),
                Err(ff::Error::Other {
                    errno: ff::error::EAGAIN,
                }) => return Ok(units),
                Err(error) => return Err(error),
            }
        }
    }

    /// Credits the VBV with `step` ticks at `most` bits a second, expressed as
    /// the rate at which a picture of nominal duration adds that much. FFmpeg
    /// passes changed rates to x264 before the next picture.
    fn pay(&mut self, step: i64, most: u64) {
        let buffer = most / BUFFER;
        let seconds = step as f64 / SECOND as f64;
        // Credit beyond a full buffer is lost.
        let credit = (most as f64 * seconds).min(buffer as f64);
        let rate = (credit * self.nominal).max(1000.0);
        // SAFETY: the context is open and lives as long as `self`; FFmpeg's
        // wrapper of x264 reads these two anew with every picture.
        unsafe {
            let context = self.encoder.as_mut_ptr();
            (*context).rc_max_rate = rate as i64;
            (*context).rc_buffer_size = i32::try_from(buffer).unwrap_or(i32::MAX);
        }
    }

    /// Converts a packet from Annex B to length prefixes, with the parameter
    /// sets separate. At zero latency the output is the picture just sent.
    fn unit(&mut self, packet: &ff::Packet, pts: MediaTime) -> Option<AccessUnit> {
        let (mut sps, mut pps) = (None, None);
        let mut avcc = Vec::with_capacity(packet.size() + 16);
        for nal in h264::annex_b(packet.data()?) {
            match nal.first()? & 0x1f {
                7 => sps = Some(Bytes::copy_from_slice(nal)),
                8 => pps = Some(Bytes::copy_from_slice(nal)),
                _ => {
                    avcc.extend(u32::try_from(nal.len()).ok()?.to_be_bytes());
                    avcc.extend(nal);
                }
            }
        }
        if let (Some(sps), Some(pps)) = (sps, pps)
            && self
                .config
                .as_ref()
                .is_none_or(|known| known.sps != [sps.clone()] || known.pps != [pps.clone()])
        {
            let (width, height) = self.size;
            self.config = Some(Arc::new(VideoConfig::playable(sps, pps, width, height)));
        }
        Some(AccessUnit {
            pts,
            dts: pts,
            keyframe: packet.is_key(),
            config: Arc::clone(self.config.as_ref()?),
            data: avcc.into(),
        })
    }
}

/// Rounds down to even sizes, as 4:2:0 requires.
fn size_of(source: &EncoderInput, kind: RenditionKind) -> (u32, u32) {
    let pixels = u64::from(source.width) * u64::from(source.height);
    let parts = match kind {
        RenditionKind::LowBitrate if pixels > LOW_PIXELS => 2,
        RenditionKind::LowBitrate | RenditionKind::Video | RenditionKind::Audio => 1,
    };
    let even = |side: u32| ((side / parts) & !1).max(2);
    (even(source.width), even(source.height))
}

/// Maximum bits a second.
fn most_of((width, height): (u32, u32), kind: RenditionKind, source_rate: Option<u64>) -> u64 {
    let pixels = u64::from(width) * u64::from(height);
    let most = (pixels * MOST_BITS_PER_PIXEL).max(LEAST_MAX_RATE);
    match kind {
        RenditionKind::LowBitrate => {
            // Default for an ordinary stream of that size, until the rate is
            // known.
            let share = source_rate.map_or(pixels, |rate| rate * LOW_SHARE / 100);
            share.clamp(LOW_LEAST, most)
        }
        RenditionKind::Video | RenditionKind::Audio => most,
    }
}

impl EncoderInput {
    fn of(frame: &ff::frame::Video) -> Self {
        let j_format = matches!(
            frame.format(),
            Pixel::YUVJ420P | Pixel::YUVJ422P | Pixel::YUVJ444P | Pixel::YUVJ440P
        );
        Self {
            format: frame.format(),
            width: frame.width(),
            height: frame.height(),
            range: if j_format {
                ff::color::Range::JPEG
            } else {
                frame.color_range()
            },
            space: frame.color_space(),
            primaries: frame.color_primaries(),
            transfer: frame.color_transfer_characteristic(),
        }
    }
}

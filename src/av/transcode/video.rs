//! Any video to H.264 that every browser plays: Constrained Baseline, 8 bit
//! 4:2:0, pictures in the order they are shown.

use std::sync::Arc;

use bytes::Bytes;
use ffmpeg_next as ff;
use ffmpeg_next::codec::{Context, threading};
use ffmpeg_next::format::Pixel;
use ffmpeg_next::picture;
use ffmpeg_next::software::scaling::{self, Flags};
use jiff::Timestamp;

use super::worker::Transcoder;
use crate::av::video::{Decoded, VideoDecoder};
use crate::h264;
use crate::media::{AccessUnit, MediaTime, MediaUnit, StreamName, VideoConfig};
use crate::metrics::Metrics;
use crate::stream_hub::Publisher;
use crate::stream_hub::renditions::Renditions;

/// Between two keyframes nobody asked for.
const KEYFRAME_EVERY: i64 = 2000 * MediaTime::TICKS_PER_MS;
/// Between two that somebody asked for: viewers ask again until they have one.
const KEYFRAME_PAUSE: i64 = 300 * MediaTime::TICKS_PER_MS;
/// x264's constant quality: text of 11 px stays readable, and a screen that
/// stands still costs next to nothing.
const QUALITY: &str = "23";
/// Bits a second at most, per pixel of the picture: 8 Mb/s at 1080p.
const MOST_BITS_PER_PIXEL: u64 = 4;
const LEAST_MAX_RATE: u64 = 1_000_000;

pub(super) struct ToH264 {
    stream: StreamName,
    renditions: Renditions,
    metrics: Arc<Metrics>,
    /// The twin stands while it has pictures; without them it is not there.
    twin: Option<Publisher>,
    decoder: Option<VideoDecoder>,
    encoder: Option<X264>,
    /// Nothing can be decoded before the next keyframe.
    astray: bool,
}

impl ToH264 {
    pub(super) fn new(stream: StreamName, renditions: Renditions, metrics: Arc<Metrics>) -> Self {
        Self {
            stream,
            renditions,
            metrics,
            twin: None,
            decoder: None,
            encoder: None,
            astray: true,
        }
    }

    fn encode(&mut self, decoded: Decoded) -> Result<(), ff::Error> {
        let encoder = match self
            .encoder
            .take()
            .filter(|known| known.fits(&decoded.frame))
        {
            Some(known) => known,
            None => X264::open(&decoded.frame)?,
        };
        let encoder = self.encoder.insert(encoder);
        let asked = self.renditions.take_keyframe_request(&self.stream);
        for unit in encoder.encode(decoded, asked)? {
            let twin = self
                .twin
                .get_or_insert_with(|| self.renditions.video().publish(&self.stream));
            // Replaced only if two supply the same, which is a bug.
            twin.push(MediaUnit::Video(unit))
                .map_err(|_| ff::Error::Bug)?;
        }
        Ok(())
    }
}

impl Transcoder for ToH264 {
    fn unit(&mut self, unit: &MediaUnit, encode: bool) -> Result<(), ff::Error> {
        let MediaUnit::Video(unit) = unit else {
            return Ok(());
        };
        let known = self.decoder.take();
        let decoder = match known.filter(|known| known.fits(&unit.config)) {
            Some(known) => known,
            None => {
                self.astray = true;
                VideoDecoder::open(&unit.config)?
            }
        };
        let decoder = self.decoder.insert(decoder);
        self.astray &= !unit.keyframe;
        if self.astray {
            return Ok(());
        }
        if let Err(error) = decoder.send(unit, Timestamp::now()) {
            tracing::debug!(%error, "a picture could not be decoded");
        }
        loop {
            let decoder = self.decoder.as_mut().ok_or(ff::Error::Bug)?;
            match decoder.receive() {
                Ok(Some(picture)) if encode => {
                    self.encode(picture)?;
                    self.metrics.transcoded_frames.inc();
                }
                Ok(Some(_)) => {}
                Ok(None) => return Ok(()),
                Err(error) => {
                    tracing::debug!(%error, "a picture could not be decoded");
                    return Ok(());
                }
            }
        }
    }

    fn interrupted(&mut self) {
        self.decoder = None;
        // Its times would go back.
        self.encoder = None;
        self.twin = None;
        self.astray = true;
    }
}

/// What an encoder was opened for.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Kind {
    format: Pixel,
    width: u32,
    height: u32,
    range: ff::color::Range,
    space: ff::color::Space,
    primaries: ff::color::Primaries,
    transfer: ff::color::TransferCharacteristic,
}

struct X264 {
    encoder: ff::encoder::video::Encoder,
    kind: Kind,
    /// To 8 bit 4:2:0, where the picture is something else.
    scaler: Option<scaling::Context>,
    config: Option<Arc<VideoConfig>>,
    keyframe_at: Option<i64>,
    last: Option<i64>,
}

impl X264 {
    fn open(frame: &ff::frame::Video) -> Result<Self, ff::Error> {
        let kind = Kind::of(frame);
        // 4:2:0 has no odd sizes.
        let (width, height) = (kind.width & !1, kind.height & !1);
        let plain = matches!(kind.format, Pixel::YUV420P | Pixel::YUVJ420P);
        let scaler = if plain && (width, height) == (kind.width, kind.height) {
            None
        } else {
            Some(scaling::Context::get(
                kind.format,
                kind.width,
                kind.height,
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
        let mut encoder = context.encoder().video()?;
        encoder.set_width(width);
        encoder.set_height(height);
        encoder.set_format(Pixel::YUV420P);
        encoder.set_time_base((1, 90_000));
        encoder.set_color_range(kind.range);
        encoder.set_colorspace(kind.space);
        encoder.set_color_primaries(kind.primaries);
        encoder.set_color_transfer_characteristic(kind.transfer);
        encoder.set_max_b_frames(0);
        // Keyframes come when we say so.
        encoder.set_gop(10_000);
        let pixels = u64::from(width) * u64::from(height);
        let most = (pixels * MOST_BITS_PER_PIXEL).max(LEAST_MAX_RATE);
        let mut options = ff::Dictionary::new();
        for (name, value) in [
            ("preset", "ultrafast"),
            ("tune", "zerolatency"),
            ("profile", "baseline"),
            ("crf", QUALITY),
            ("maxrate", &most.to_string()),
            // Half a second: a keyframe may be large, the stream not.
            ("bufsize", &(most / 2).to_string()),
            ("forced-idr", "1"),
        ] {
            options.set(name, value);
        }
        Ok(Self {
            encoder: encoder.open_as_with(codec, options)?,
            kind,
            scaler,
            config: None,
            keyframe_at: None,
            last: None,
        })
    }

    fn fits(&self, frame: &ff::frame::Video) -> bool {
        self.kind == Kind::of(frame)
    }

    fn encode(&mut self, decoded: Decoded, asked: bool) -> Result<Vec<AccessUnit>, ff::Error> {
        let pts = decoded.pts.0;
        // x264 takes no time twice, nor one that goes back.
        if self.last.is_some_and(|last| pts <= last) {
            return Ok(Vec::new());
        }
        self.last = Some(pts);
        let since = self.keyframe_at.map(|at| pts - at);
        let pause = if asked {
            KEYFRAME_PAUSE
        } else {
            KEYFRAME_EVERY
        };
        let key = since.is_none_or(|since| since >= pause);
        if key {
            self.keyframe_at = Some(pts);
        }
        let mut frame = decoded.frame;
        if let Some(scaler) = &mut self.scaler {
            let mut scaled = ff::frame::Video::empty();
            scaler.run(&frame, &mut scaled)?;
            frame = scaled;
        }
        // The range is said apart; the samples lie alike.
        frame.set_format(Pixel::YUV420P);
        frame.set_pts(Some(pts));
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
                Ok(()) => units.extend(self.unit(&packet)),
                Err(ff::Error::Other {
                    errno: ff::error::EAGAIN,
                }) => return Ok(units),
                Err(error) => return Err(error),
            }
        }
    }

    /// From Annex B to length prefixes, the parameter sets beside.
    fn unit(&mut self, packet: &ff::Packet) -> Option<AccessUnit> {
        let pts = MediaTime(packet.pts()?);
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
            let (width, height) = (self.kind.width & !1, self.kind.height & !1);
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

impl Kind {
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

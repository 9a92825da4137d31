//! Transcoding of AAC to Opus (RFC 6716): 48 kHz, stereo, 20 ms a packet.

use std::collections::VecDeque;

use bytes::Bytes;
use ffmpeg_next as ff;
use ffmpeg_next::ChannelLayout;
use ffmpeg_next::codec::{Context, Id};

use watchtower_base::stream_name::StreamName;
use watchtower_media::hub::renditions::{OpusPacket, Renditions};
use watchtower_media::{AudioCodec, MediaTime, MediaUnit};

use super::worker::Transcoder;
use crate::audio::{AudioDecoder, CHANNELS, FLOAT, RATE, TICKS};

/// Samples per channel and packet: 20 ms.
const PACKET: usize = 960;
/// Bitrate for speech and music of a meeting; browsers' own default for stereo.
const BIT_RATE: usize = 96_000;
/// Largest drift, in 90 kHz ticks, of the source's times from the sample count
/// before the audio is resynchronised: RTMP's milliseconds and AAC's frames
/// differ by less.
const DRIFT: i64 = 60 * MediaTime::TICKS_PER_MS;

pub(super) struct ToOpus {
    stream: StreamName,
    renditions: Renditions,
    decoder: Option<AudioDecoder>,
    encoder: Option<Opus>,
}

impl ToOpus {
    pub(super) fn new(stream: StreamName, renditions: Renditions) -> Self {
        Self {
            stream,
            renditions,
            decoder: None,
            encoder: None,
        }
    }
}

impl Transcoder for ToOpus {
    fn unit(&mut self, unit: &MediaUnit, encode: bool) -> Result<(), ff::Error> {
        let unit = match unit {
            MediaUnit::Audio(unit) if unit.codec == AudioCodec::Aac => unit,
            // Opus is played as it is, without this rendition.
            _ => return Ok(()),
        };
        // Late audio is not worth decoding: later frames do not refer to it.
        if !encode {
            self.interrupted();
            return Ok(());
        }
        let decoder = match self.decoder.take().filter(|known| known.fits(unit)) {
            Some(known) => known,
            None => AudioDecoder::open(unit)?,
        };
        let decoder = self.decoder.insert(decoder);
        let encoder = match self.encoder.take() {
            Some(known) => known,
            None => Opus::open()?,
        };
        let encoder = self.encoder.insert(encoder);
        encoder.align(unit.pts);
        decoder.decode(unit, &mut encoder.samples)?;
        while let Some(packet) = encoder.next()? {
            self.renditions.push_audio(&self.stream, packet);
        }
        Ok(())
    }

    fn interrupted(&mut self) {
        self.decoder = None;
        self.encoder = None;
    }

    /// No-op: audio that is not in demand is not decoded, and every unit can be
    /// a start.
    fn wanted(&mut self, _wanted: bool) -> Result<(), ff::Error> {
        Ok(())
    }
}

struct Opus {
    encoder: ff::encoder::audio::Encoder,
    /// Interleaved samples, not encoded yet.
    samples: VecDeque<f32>,
    /// Time of the first of `samples`.
    at: Option<MediaTime>,
}

impl Opus {
    fn open() -> Result<Self, ff::Error> {
        let codec = ff::encoder::find(Id::OPUS).ok_or(ff::Error::EncoderNotFound)?;
        let mut encoder = Context::new_with_codec(codec).encoder().audio()?;
        encoder.set_rate(RATE as i32);
        encoder.set_channel_layout(ChannelLayout::STEREO);
        encoder.set_format(FLOAT);
        encoder.set_bit_rate(BIT_RATE);
        encoder.set_time_base((1, RATE as i32));
        let mut options = ff::Dictionary::new();
        options.set("frame_duration", "20");
        Ok(Self {
            encoder: encoder.open_as_with(codec, options)?,
            samples: VecDeque::new(),
            at: None,
        })
    }

    /// Aligns the sample count with the time of the unit the next samples come
    /// from. If the two disagree, audio is missing or was inserted: pending
    /// samples are discarded, and the count restarts there.
    fn align(&mut self, pts: MediaTime) {
        let waiting = (self.samples.len() / CHANNELS) as i64 * TICKS.0 / TICKS.1;
        let expected = self.at.map(|at| at.0 + waiting);
        if expected.is_none_or(|expected| (expected - pts.0).abs() > DRIFT) {
            self.samples.clear();
            self.at = Some(pts);
        }
    }

    fn next(&mut self) -> Result<Option<OpusPacket>, ff::Error> {
        let Some(at) = self.at else {
            return Ok(None);
        };
        if self.samples.len() < PACKET * CHANNELS {
            return Ok(None);
        }
        let mut frame = ff::frame::Audio::new(FLOAT, PACKET, ChannelLayout::STEREO);
        frame.set_rate(RATE);
        let block = self.samples.drain(..PACKET * CHANNELS);
        for (to, sample) in frame.data_mut(0).chunks_exact_mut(4).zip(block) {
            to.copy_from_slice(&sample.to_ne_bytes());
        }
        self.at = Some(MediaTime(at.0 + PACKET as i64 * TICKS.0 / TICKS.1));
        self.encoder.send_frame(&frame)?;
        let mut packet = ff::Packet::empty();
        match self.encoder.receive_packet(&mut packet) {
            Ok(()) => {}
            Err(ff::Error::Other {
                errno: ff::error::EAGAIN,
            }) => return Ok(None),
            Err(error) => return Err(error),
        }
        let data = packet.data().unwrap_or_default();
        Ok(Some(OpusPacket {
            pts: at,
            packet: Bytes::copy_from_slice(data),
        }))
    }
}

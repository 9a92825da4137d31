//! Transcoding of AAC to Opus (RFC 6716): 48 kHz, stereo, 20 ms a packet.

use std::collections::VecDeque;

use bytes::Bytes;
use ffmpeg_next as ff;
use ffmpeg_next::ChannelLayout;
use ffmpeg_next::codec::{Context, Id};
use ffmpeg_next::format::sample::{Sample, Type};
use ffmpeg_next::software::resampling;

use watchtower_base::stream_name::StreamName;
use watchtower_media::hub::renditions::{OpusPacket, Renditions};
use watchtower_media::{AudioCodec, AudioUnit, MediaTime, MediaUnit};

use super::worker::Transcoder;
use crate::video::set_extradata;

const RATE: u32 = 48_000;
const CHANNELS: usize = 2;
/// Samples per channel and packet: 20 ms.
const PACKET: usize = 960;
/// Bitrate for speech and music of a meeting; browsers' own default for stereo.
const BIT_RATE: usize = 96_000;
/// 90 kHz ticks in a sample at 48 kHz are 15/8.
const TICKS: (i64, i64) = (15, 8);
/// Largest drift, in 90 kHz ticks, of the source's times from the sample count
/// before the audio is resynchronised: RTMP's milliseconds and AAC's frames
/// differ by less.
const DRIFT: i64 = 60 * MediaTime::TICKS_PER_MS;
/// Maximum number of samples left in a resampler.
const SPARE: usize = 256;
const FLOAT: Sample = Sample::F32(Type::Packed);

pub(super) struct ToOpus {
    stream: StreamName,
    renditions: Renditions,
    decoder: Option<Aac>,
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
        let decoder = match self
            .decoder
            .take()
            .filter(|known| known.config == unit.config)
        {
            Some(known) => known,
            None => Aac::open(&unit.config)?,
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

/// Decodes to interleaved stereo at 48 kHz.
struct Aac {
    config: Bytes,
    decoder: ff::decoder::Audio,
    resampler: Option<resampling::Context>,
}

impl Aac {
    fn open(config: &Bytes) -> Result<Self, ff::Error> {
        let codec = ff::decoder::find(Id::AAC).ok_or(ff::Error::DecoderNotFound)?;
        let mut context = Context::new_with_codec(codec);
        set_extradata(&mut context, config)?;
        let decoder = context.decoder().open_as(codec)?.audio()?;
        Ok(Self {
            config: config.clone(),
            decoder,
            resampler: None,
        })
    }

    /// Skips a unit that can't be decoded: the next one can be.
    fn decode(&mut self, unit: &AudioUnit, into: &mut VecDeque<f32>) -> Result<(), ff::Error> {
        if unit.data.is_empty() || i32::try_from(unit.data.len()).is_err() {
            return Ok(());
        }
        if let Err(error) = self.decoder.send_packet(&ff::Packet::copy(&unit.data)) {
            tracing::debug!(%error, "failed to decode an audio unit");
            return Ok(());
        }
        let mut frame = ff::frame::Audio::empty();
        while self.decoder.receive_frame(&mut frame).is_ok() {
            self.resample(&mut frame, into)?;
        }
        Ok(())
    }

    fn resample(
        &mut self,
        frame: &mut ff::frame::Audio,
        into: &mut VecDeque<f32>,
    ) -> Result<(), ff::Error> {
        // Some streams give only the number of their channels.
        if frame.channel_layout().is_empty() {
            frame.set_channel_layout(ChannelLayout::default(i32::from(frame.channels())));
        }
        let input = resampling::context::Definition {
            format: frame.format(),
            channel_layout: frame.channel_layout(),
            rate: frame.rate(),
        };
        let known = self.resampler.take();
        let resampler = match known.filter(|known| *known.input() == input) {
            Some(known) => known,
            None => resampling::Context::get(
                input.format,
                input.channel_layout,
                input.rate,
                FLOAT,
                ChannelLayout::STEREO,
                RATE,
            )?,
        };
        let resampler = self.resampler.insert(resampler);
        // Room for all of the output, or it would accumulate in the resampler.
        let most = frame.samples() * RATE as usize / input.rate.max(1) as usize + SPARE;
        let mut output = ff::frame::Audio::new(FLOAT, most, ChannelLayout::STEREO);
        resampler.run(frame, &mut output)?;
        let bytes = output.samples() * CHANNELS * size_of::<f32>();
        let samples = output.data(0).get(..bytes).unwrap_or_default();
        let (samples, _) = samples.as_chunks::<4>();
        into.extend(samples.iter().map(|sample| f32::from_ne_bytes(*sample)));
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

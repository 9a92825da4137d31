//! FFmpeg's audio decoders, fed with units from memory.

use std::collections::VecDeque;

use bytes::Bytes;
use ffmpeg_next as ff;
use ffmpeg_next::ChannelLayout;
use ffmpeg_next::codec::{Context, Id};
use ffmpeg_next::format::sample::{Sample, Type};
use ffmpeg_next::software::resampling;

use watchtower_media::{AudioCodec, AudioUnit};

use super::video::set_extradata;

/// Sampling rate of decoded sound: that of Opus.
pub(super) const RATE: u32 = 48_000;
pub(super) const CHANNELS: usize = 2;
pub(super) const FLOAT: Sample = Sample::F32(Type::Packed);
/// Ticks of 90 kHz in so many samples.
pub(super) const TICKS: (i64, i64) = (15, 8);
/// Maximum number of samples left in a resampler.
const SPARE: usize = 256;
/// Identification header of a publisher that sent none (RFC 7845, section 5.1):
/// stereo, to which mono packets are decoded, too.
const OPUS_HEAD: &[u8] = b"OpusHead\x01\x02\0\0\x80\xbb\0\0\0\0\0";

/// Decoder to interleaved stereo at 48 kHz.
pub(super) struct AudioDecoder {
    codec: AudioCodec,
    config: Bytes,
    decoder: ff::decoder::Audio,
    resampler: Option<resampling::Context>,
}

impl AudioDecoder {
    /// Opens the decoder of a unit's codec and configuration.
    pub(super) fn open(unit: &AudioUnit) -> Result<Self, ff::Error> {
        let codec = decoder_of(unit.codec).ok_or(ff::Error::DecoderNotFound)?;
        let mut context = Context::new_with_codec(codec);
        let record = match unit.codec {
            AudioCodec::Opus if unit.config.is_empty() => OPUS_HEAD,
            AudioCodec::Opus | AudioCodec::Aac => &unit.config,
        };
        set_extradata(&mut context, record)?;
        let decoder = context.decoder().open_as(codec)?.audio()?;
        Ok(Self {
            codec: unit.codec,
            config: unit.config.clone(),
            decoder,
            resampler: None,
        })
    }

    /// True if the decoder was opened for a unit's codec and configuration.
    pub(super) fn fits(&self, unit: &AudioUnit) -> bool {
        self.codec == unit.codec && self.config == unit.config
    }

    /// Skips a unit that can't be decoded: the next one can be.
    pub(super) fn decode(
        &mut self,
        unit: &AudioUnit,
        into: &mut VecDeque<f32>,
    ) -> Result<(), ff::Error> {
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

/// FFmpeg's decoder of a codec, if it was built with one.
pub(super) fn decoder_of(codec: AudioCodec) -> Option<ff::Codec> {
    ff::decoder::find(match codec {
        AudioCodec::Aac => Id::AAC,
        AudioCodec::Opus => Id::OPUS,
    })
}

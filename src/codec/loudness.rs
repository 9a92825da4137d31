//! Sound of a stream for analysis: its loudness by EBU R 128, and its last
//! seconds for a model that hears.

use std::collections::VecDeque;
use std::{io, thread};

use ebur128::{EbuR128, Mode};
use ffmpeg_next as ff;
use ffmpeg_next::ChannelLayout;
use ffmpeg_next::format::sample::{Sample, Type};
use ffmpeg_next::software::resampling;
use jiff::Timestamp;
use tokio::runtime;
use tokio_util::sync::{CancellationToken, DropGuard};

use watchtower_base::log_limit::LogLimit;
use watchtower_media::audio_bus::{AudioBus, AudioPublisher, LoudnessReading, RECENT_RATE};
use watchtower_media::hub::{Received, Subscriber};
use watchtower_media::{AudioUnit, MediaTime, MediaUnit};

use super::audio::{AudioDecoder, CHANNELS, FLOAT, RATE, TICKS};

/// Loudness of silence: the absolute gate of EBU R 128, below which nothing
/// counts.
const SILENCE: f64 = -70.0;
/// Samples of a channel between two readings: a second.
const READ_EVERY: usize = RATE as usize;
/// Window of short-term loudness, before which there is no reading.
const WINDOW: usize = 3 * RATE as usize;
/// Longest gap that is filled with silence, in 90 kHz ticks: a sender that
/// leaves out silence (DTX). A longer one is an interruption.
const LONGEST_GAP: i64 = 3 * 1000 * MediaTime::TICKS_PER_MS;
/// Jitter of timestamps that is no gap: RTMP's milliseconds and frames of 60 ms.
const JITTER: i64 = 100 * MediaTime::TICKS_PER_MS;
const SPEECH: Sample = Sample::I16(Type::Packed);
/// Maximum number of samples left in a resampler.
const SPARE: usize = 256;

/// Running meter of one stream. Dropping it ends its thread.
#[derive(Debug)]
pub struct LoudnessMeter {
    _stop: DropGuard,
}

impl LoudnessMeter {
    /// Starts a thread `sound-<stream>` that lives until the stream ends.
    pub fn start(subscriber: Subscriber, bus: &AudioBus) -> io::Result<Self> {
        super::init();
        let runtime = runtime::Builder::new_current_thread().build()?;
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let name = subscriber.name().clone();
        let publisher = bus.open(&name);
        thread::Builder::new()
            .name(format!("sound-{name}"))
            .spawn(move || {
                let span = tracing::info_span!("sound", stream = %name);
                let _in_span = span.enter();
                runtime.block_on(follow(subscriber, publisher, stopped));
            })?;
        Ok(Self {
            _stop: stop.drop_guard(),
        })
    }
}

async fn follow(mut subscriber: Subscriber, publisher: AudioPublisher, stop: CancellationToken) {
    let mut analysis = AudioAnalysis::new(publisher);
    let log_limit = LogLimit::default();
    while let Some(Some(received)) = stop.run_until_cancelled(subscriber.recv()).await {
        match received {
            Received::Unit(MediaUnit::Audio(unit)) => {
                if let Err(error) = analysis.unit(&unit, Timestamp::now())
                    && let Some(held) = log_limit.admit_at(std::time::Instant::now())
                {
                    tracing::warn!("failed to decode sound: {error}{held}");
                }
            }
            Received::Unit(MediaUnit::Video(_)) => {}
            Received::Lost(_) | Received::SignalLost | Received::Restarted => {
                analysis.interrupted();
            }
        }
    }
}

/// Analysis of one stream's sound without thread or clock.
struct AudioAnalysis {
    publisher: AudioPublisher,
    decoder: Option<AudioDecoder>,
    meter: Option<EbuR128>,
    /// Samples of a channel since the last interruption, and of them those at
    /// the last reading.
    metered: usize,
    read_at: usize,
    /// Time at which the next sample is expected.
    next: Option<MediaTime>,
    speech: Option<resampling::Context>,
    samples: VecDeque<f32>,
}

/// Reason sound can't be analysed.
#[derive(Debug, thiserror::Error)]
enum AudioFault {
    #[error(transparent)]
    Decoder(#[from] ff::Error),
    #[error("EBU R 128: {0}")]
    Meter(#[from] ebur128::Error),
}

impl AudioAnalysis {
    fn new(publisher: AudioPublisher) -> Self {
        Self {
            publisher,
            decoder: None,
            meter: None,
            metered: 0,
            read_at: 0,
            next: None,
            speech: None,
            samples: VecDeque::new(),
        }
    }

    fn unit(&mut self, unit: &AudioUnit, now: Timestamp) -> Result<(), AudioFault> {
        self.align(unit.pts);
        let known = self.decoder.take().filter(|known| known.fits(unit));
        let decoder = match known {
            Some(known) => known,
            None => AudioDecoder::open(unit)?,
        };
        let decoded = self.decoder.insert(decoder).decode(unit, &mut self.samples);
        let count = (self.samples.len() / CHANNELS) as i64;
        let next = self.next.get_or_insert(unit.pts);
        next.0 = next.0.saturating_add(count * TICKS.0 / TICKS.1);
        self.take(now)?;
        Ok(decoded?)
    }

    /// Fills a gap with silence, or begins anew after a longer one.
    fn align(&mut self, pts: MediaTime) {
        let Some(next) = self.next else {
            return;
        };
        match pts.0.saturating_sub(next.0) {
            // The clocks of timestamps and samples drift.
            gap if (-JITTER..=JITTER).contains(&gap) => self.next = Some(pts),
            gap if (0..=LONGEST_GAP).contains(&gap) => {
                let silence = (gap * TICKS.1 / TICKS.0) as usize * CHANNELS;
                self.samples.extend(std::iter::repeat_n(0.0, silence));
            }
            _ => self.interrupted(),
        }
    }

    fn interrupted(&mut self) {
        self.publisher.interrupted();
        (self.decoder, self.meter, self.speech) = (None, None, None);
        (self.metered, self.read_at, self.next) = (0, 0, None);
        self.samples.clear();
    }

    /// Meters and publishes the samples decoded.
    fn take(&mut self, now: Timestamp) -> Result<(), AudioFault> {
        let samples: Vec<f32> = self.samples.drain(..).collect();
        if samples.is_empty() {
            return Ok(());
        }
        let meter = match self.meter.take() {
            Some(known) => known,
            None => EbuR128::new(CHANNELS as u32, RATE, Mode::S)?,
        };
        let meter = self.meter.insert(meter);
        meter.add_frames_f32(&samples)?;
        self.metered += samples.len() / CHANNELS;
        if self.metered >= WINDOW && self.metered - self.read_at >= READ_EVERY {
            self.read_at = self.metered;
            // Minus infinity for digital silence.
            let lufs = meter.loudness_shortterm()?.max(SILENCE);
            self.publisher.loudness(LoudnessReading { lufs, at: now });
        }
        if self.publisher.is_kept() {
            let speech = self.speech(&samples)?;
            self.publisher.samples(&speech, now);
        }
        Ok(())
    }

    /// Samples in mono at the rate of speech recognition.
    fn speech(&mut self, samples: &[f32]) -> Result<Vec<i16>, ff::Error> {
        let resampler = match self.speech.take() {
            Some(known) => known,
            None => resampling::Context::get(
                FLOAT,
                ChannelLayout::STEREO,
                RATE,
                SPEECH,
                ChannelLayout::MONO,
                RECENT_RATE,
            )?,
        };
        let resampler = self.speech.insert(resampler);
        let count = samples.len() / CHANNELS;
        let mut input = ff::frame::Audio::new(FLOAT, count, ChannelLayout::STEREO);
        input.set_rate(RATE);
        for (to, sample) in input.data_mut(0).chunks_exact_mut(4).zip(samples) {
            to.copy_from_slice(&sample.to_ne_bytes());
        }
        let most = count * RECENT_RATE as usize / RATE as usize + SPARE;
        let mut output = ff::frame::Audio::new(SPEECH, most, ChannelLayout::MONO);
        output.set_rate(RECENT_RATE);
        resampler.run(&input, &mut output)?;
        let bytes = output.samples() * size_of::<i16>();
        let (speech, _) = output
            .data(0)
            .get(..bytes)
            .unwrap_or_default()
            .as_chunks::<2>();
        Ok(speech
            .iter()
            .map(|sample| i16::from_ne_bytes(*sample))
            .collect())
    }
}

#[cfg(test)]
mod tests;

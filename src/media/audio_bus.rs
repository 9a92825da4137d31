//! Bus of decoded sound: the loudness of each live stream, and its last seconds
//! where a model hears.
//!
//! Contract: one [`AudioPublisher`] per stream and bus; the sound of a stream
//! ends with it. Nothing here is stored: it lasts as long as the process.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use watchtower_base::stream_name::StreamName;
use watchtower_base::sync::Locked as _;

/// Duration of sound kept of a stream: a few sentences before a change on the
/// screen.
pub const RECENT: Duration = Duration::from_secs(20);
/// Sampling rate of the sound kept: that of speech recognition, to which models
/// convert what they get.
pub const RECENT_RATE: u32 = 16_000;
const MOST_SAMPLES: usize = RECENT_RATE as usize * RECENT.as_secs() as usize;

/// Loudness at a time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LoudnessReading {
    /// Short-term loudness (EBU Tech 3341: the last 3 s) in LUFS.
    pub lufs: f64,
    pub at: Timestamp,
}

/// Sound of some seconds: mono, at [`RECENT_RATE`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AudioClip {
    samples: Vec<i16>,
}

/// All streams with sound. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct AudioBus {
    inner: Arc<AudioBusState>,
}

#[derive(Debug, Default)]
struct AudioBusState {
    streams: Mutex<HashMap<StreamName, StreamAudio>>,
    /// Some model hears.
    kept: AtomicBool,
    /// Number of publishers so far.
    opened: Mutex<u64>,
}

#[derive(Debug, Default)]
struct StreamAudio {
    publisher: u64,
    loudness: Option<LoudnessReading>,
    recent: VecDeque<i16>,
    /// Time of the newest sample.
    until: Option<Timestamp>,
}

/// Right to publish the sound of a stream, which is removed when it is dropped.
#[derive(Debug)]
pub struct AudioPublisher {
    bus: AudioBus,
    stream: StreamName,
    id: u64,
}

impl AudioBus {
    /// Begins the sound of a stream, in place of an earlier publisher's.
    pub fn open(&self, stream: &StreamName) -> AudioPublisher {
        let id = {
            let mut opened = self.inner.opened.locked();
            *opened += 1;
            *opened
        };
        let begun = StreamAudio {
            publisher: id,
            ..StreamAudio::default()
        };
        self.inner.streams.locked().insert(stream.clone(), begun);
        AudioPublisher {
            bus: self.clone(),
            stream: stream.clone(),
            id,
        }
    }

    /// Newest loudness of every stream with sound.
    pub fn loudness(&self) -> Vec<(StreamName, LoudnessReading)> {
        let streams = self.inner.streams.locked();
        let read = streams
            .iter()
            .filter_map(|(name, audio)| Some((name.clone(), audio.loudness?)));
        read.collect()
    }

    /// Sound of the last seconds of a stream; `None` where none is kept, or the
    /// newest is from before.
    pub fn recent(&self, stream: &StreamName, now: Timestamp) -> Option<AudioClip> {
        let streams = self.inner.streams.locked();
        let audio = streams.get(stream)?;
        let recent = SignedDuration::try_from(RECENT).ok()?;
        let age = now.duration_since(audio.until?);
        if age >= recent || audio.recent.is_empty() {
            return None;
        }
        Some(AudioClip {
            samples: audio.recent.iter().copied().collect(),
        })
    }

    /// Sets whether the last seconds are kept; what was kept before is dropped
    /// where not.
    pub fn keep_recent(&self, kept: bool) {
        self.inner.kept.store(kept, Ordering::Relaxed);
        if !kept {
            for audio in self.inner.streams.locked().values_mut() {
                audio.recent = VecDeque::new();
            }
        }
    }
}

impl AudioPublisher {
    /// True if the last seconds are kept.
    pub fn is_kept(&self) -> bool {
        self.bus.inner.kept.load(Ordering::Relaxed)
    }

    pub fn loudness(&self, reading: LoudnessReading) {
        self.with(|audio| audio.loudness = Some(reading));
    }

    /// Adds samples, mono at [`RECENT_RATE`], of which the newest is of that
    /// time.
    pub fn samples(&self, samples: &[i16], until: Timestamp) {
        if !self.is_kept() {
            return;
        }
        self.with(|audio| {
            audio.recent.extend(samples);
            let excess = audio.recent.len().saturating_sub(MOST_SAMPLES);
            audio.recent.drain(..excess);
            audio.until = Some(until);
        });
    }

    /// Marks a gap: what follows is unrelated to what came before.
    pub fn interrupted(&self) {
        self.with(|audio| {
            audio.loudness = None;
            audio.recent.clear();
        });
    }

    fn with(&self, change: impl FnOnce(&mut StreamAudio)) {
        let mut streams = self.bus.inner.streams.locked();
        if let Some(audio) = streams.get_mut(&self.stream)
            && audio.publisher == self.id
        {
            change(audio);
        }
    }
}

impl Drop for AudioPublisher {
    fn drop(&mut self) {
        let mut streams = self.bus.inner.streams.locked();
        let is_own = |audio: &StreamAudio| audio.publisher == self.id;
        if streams.get(&self.stream).is_some_and(is_own) {
            streams.remove(&self.stream);
        }
    }
}

impl AudioClip {
    /// Creates a clip, mono at [`RECENT_RATE`].
    pub fn new(samples: Vec<i16>) -> Self {
        Self { samples }
    }

    pub fn duration(&self) -> Duration {
        Duration::from_secs_f64(self.samples.len() as f64 / f64::from(RECENT_RATE))
    }

    /// WAV file (RIFF, PCM of 16 bit).
    pub fn wav(&self) -> Vec<u8> {
        const HEADER: u32 = 36;
        const SAMPLE: u32 = 2;
        let data = self.samples.len() as u32 * SAMPLE;
        let mut file = Vec::with_capacity(data as usize + 44);
        file.extend(b"RIFF");
        file.extend((HEADER + data).to_le_bytes());
        file.extend(b"WAVEfmt ");
        // Size of the format, PCM, one channel.
        file.extend(16_u32.to_le_bytes());
        file.extend(1_u16.to_le_bytes());
        file.extend(1_u16.to_le_bytes());
        file.extend(RECENT_RATE.to_le_bytes());
        file.extend((RECENT_RATE * SAMPLE).to_le_bytes());
        file.extend((SAMPLE as u16).to_le_bytes());
        file.extend(16_u16.to_le_bytes());
        file.extend(b"data");
        file.extend(data.to_le_bytes());
        file.extend(self.samples.iter().flat_map(|sample| sample.to_le_bytes()));
        file
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(nth: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + nth).expect("a time")
    }

    fn team() -> StreamName {
        StreamName::new("team").expect("valid")
    }

    #[test]
    fn the_last_seconds_are_kept_only_for_a_model_that_hears() {
        let bus = AudioBus::default();
        let publisher = bus.open(&team());
        publisher.samples(&[1; 100], second(0));
        assert_eq!(bus.recent(&team(), second(0)), None);
        bus.keep_recent(true);
        for nth in 0..30 {
            publisher.samples(&vec![nth; RECENT_RATE as usize], second(nth.into()));
        }
        let clip = bus.recent(&team(), second(30)).expect("kept");
        assert_eq!(clip.duration(), RECENT);
        assert_eq!((clip.samples[0], clip.samples[MOST_SAMPLES - 1]), (10, 29));
        assert_eq!(bus.recent(&team(), second(49)), None, "from before");
        publisher.interrupted();
        assert_eq!(bus.recent(&team(), second(30)), None);
        publisher.samples(&[1; 100], second(30));
        bus.keep_recent(false);
        bus.keep_recent(true);
        assert_eq!(bus.recent(&team(), second(30)), None);
    }

    #[test]
    fn sound_ends_with_its_publisher_and_not_with_the_one_before() {
        let bus = AudioBus::default();
        let reading = |lufs| LoudnessReading {
            lufs,
            at: second(0),
        };
        let first = bus.open(&team());
        first.loudness(reading(-20.0));
        let second = bus.open(&team());
        first.loudness(reading(-10.0));
        assert!(bus.loudness().is_empty());
        second.loudness(reading(-30.0));
        drop(first);
        assert_eq!(bus.loudness(), [(team(), reading(-30.0))]);
        drop(second);
        assert!(bus.loudness().is_empty());
    }
}

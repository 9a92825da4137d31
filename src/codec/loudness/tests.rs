use jiff::SignedDuration;

use watchtower_base::stream_name::StreamName;
use watchtower_media::AudioCodec;

use super::*;
use crate::clips;

fn team() -> StreamName {
    StreamName::new("team").expect("valid")
}

/// Tone of 1 kHz and -20 dBFS on one channel or two.
fn tone(codec: AudioCodec, channels: usize, seconds: u32) -> Vec<AudioUnit> {
    let channel = vec!["0.1*sin(2*PI*1000*t)"; channels].join("|");
    let source = format!("aevalsrc={channel}:s=48000:d={seconds}");
    clips::sound(&source, codec)
}

/// Bus, and the analysis of its one stream on a clock of the units' times.
struct LoudnessRig {
    bus: AudioBus,
    analysis: AudioAnalysis,
}

impl LoudnessRig {
    fn new() -> Self {
        crate::init();
        let bus = AudioBus::default();
        bus.keep_recent(true);
        let analysis = AudioAnalysis::new(bus.open(&team()));
        Self { bus, analysis }
    }

    fn hear(&mut self, units: &[AudioUnit], shift_ms: i64) -> Vec<f64> {
        let mut read = Vec::new();
        for unit in units {
            let mut unit = unit.clone();
            unit.pts.0 += MediaTime::from_ms(shift_ms).0;
            let before = self.loudness();
            let _ = self.analysis.unit(&unit, at(unit.pts));
            read.extend(self.loudness().filter(|_| self.loudness() != before));
        }
        read.iter().map(|reading| reading.lufs).collect()
    }

    fn loudness(&self) -> Option<LoudnessReading> {
        self.bus.loudness().first().map(|(_, reading)| *reading)
    }
}

fn at(pts: MediaTime) -> Timestamp {
    // Lying times are beyond any calendar.
    let ms = pts.ms().clamp(0, 1_000_000_000_000);
    Timestamp::UNIX_EPOCH + SignedDuration::from_millis(ms)
}

#[test]
fn a_tone_has_the_loudness_of_bs_1770() {
    // A sine of 0 dBFS on one channel is -3.01 LUFS, on both 0.0.
    let cases = [
        (AudioCodec::Aac, 2, -20.0),
        (AudioCodec::Aac, 1, -23.01),
        (AudioCodec::Opus, 2, -20.0),
        (AudioCodec::Opus, 1, -23.01),
    ];
    for (codec, channels, expected) in cases {
        let mut rig = LoudnessRig::new();
        let read = rig.hear(&tone(codec, channels, 10), 0);
        assert!((7..=8).contains(&read.len()), "{codec:?}: {read:?}");
        for lufs in &read[1..] {
            let far = (lufs - expected).abs();
            assert!(far < 0.3, "{codec:?}, {channels} channels: {read:?}");
        }
        println!("{codec:?}, {channels} channels: {read:.2?} LUFS");
    }
}

#[test]
fn the_sound_kept_is_the_tone() {
    for codec in [AudioCodec::Aac, AudioCodec::Opus] {
        let mut rig = LoudnessRig::new();
        rig.hear(&tone(codec, 2, 24), 0);
        let until = rig.loudness().expect("read").at;
        let clip = rig.bus.recent(&team(), until).expect("kept");
        assert_eq!(clip.duration().as_secs(), 20);
        let wav = clip.wav();
        let (samples, _) = wav[44..].as_chunks::<2>();
        let samples: Vec<f64> = samples
            .iter()
            .map(|sample| f64::from(i16::from_le_bytes(*sample)) / 32_768.0)
            .collect();
        let power = samples.iter().map(|sample| sample * sample).sum::<f64>();
        let rms = 10.0 * (power / samples.len() as f64).log10();
        // A sine's mean power is 3.01 dB below its peak.
        assert!((rms + 23.01).abs() < 0.2, "{codec:?}: {rms:.2} dBFS");
        let crossings = samples
            .windows(2)
            .filter(|pair| pair[0] < 0.0 && pair[1] >= 0.0);
        let hertz = crossings.count() as f64 / 20.0;
        assert!((hertz - 1000.0).abs() < 1.0, "{codec:?}: {hertz} Hz");
    }
}

#[test]
fn silence_counts_and_a_long_gap_begins_anew() {
    let mut rig = LoudnessRig::new();
    let silence = clips::sound("anullsrc=r=48000:cl=stereo:d=6", AudioCodec::Opus);
    let read = rig.hear(&silence, 0);
    assert!(read.iter().all(|lufs| *lufs == SILENCE), "{read:?}");
    // Two seconds left out are silence: one second of tone in three.
    let mut rig = LoudnessRig::new();
    let tone = tone(AudioCodec::Opus, 2, 6);
    rig.hear(&tone, 0);
    let after = rig.hear(&tone[..55], 8_000);
    let expected = -20.0 + 10.0 * (1.1_f64 / 3.0).log10();
    let last = after.last().expect("read");
    assert!((last - expected).abs() < 0.7, "{after:?} for {expected:.2}");
    // Ten seconds left out, or the clock back, are an interruption.
    for shift in [30_000, 0] {
        rig.hear(&tone[..10], shift);
        assert_eq!(rig.loudness(), None, "{shift}");
    }
}

#[test]
fn nothing_a_publisher_sends_ends_the_analysis() {
    let mut rig = LoudnessRig::new();
    let mut units = tone(AudioCodec::Aac, 2, 4);
    units.extend(tone(AudioCodec::Opus, 2, 4));
    let mut seed = 5_u64;
    for round in 0..20 {
        let mut broken = units.clone();
        for unit in &mut broken {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let random = (seed >> 33) as usize;
            match random % 11 {
                0 => unit.data = unit.data.slice(..random % unit.data.len()),
                1 => unit.config = unit.config.slice(..random % (unit.config.len() + 1)),
                2 => unit.pts.0 = seed as i64,
                3 => unit.codec = AudioCodec::Aac,
                _ => {}
            }
        }
        rig.hear(&broken, round * 10_000);
    }
    let read = rig.hear(&tone(AudioCodec::Opus, 2, 6), 1_000_000);
    let last = read.last().expect("read again");
    assert!((last + 20.0).abs() < 0.3, "{read:?}");
}

//! Tests of a rendition's picture quality and bitrate.

use std::collections::HashMap;

use jiff::Timestamp;

use watchtower_media::hub::renditions::RenditionKind;
use watchtower_media::{AccessUnit, MediaTime, VideoCodec};

use super::tests::to_h264;
use crate::clips;
use crate::video::VideoDecoder;

struct DecodedLuma {
    width: usize,
    samples: Vec<u8>,
}

impl DecodedLuma {
    fn halved(&self) -> Self {
        let rows = self.samples.chunks_exact(self.width).collect::<Vec<_>>();
        let mean = |pair: &[&[u8]], x: usize| {
            let sum = pair.iter().flat_map(|row| &row[x..x + 2]);
            (sum.map(|sample| u32::from(*sample)).sum::<u32>() / 4) as u8
        };
        let samples = rows.chunks_exact(2).flat_map(|pair| {
            let across = (0..self.width).step_by(2);
            across.map(|x| mean(pair, x)).collect::<Vec<_>>()
        });
        Self {
            width: self.width / 2,
            samples: samples.collect(),
        }
    }

    /// Mean absolute difference of two pictures.
    fn difference(&self, other: &Self) -> f64 {
        assert_eq!(self.samples.len(), other.samples.len());
        let pairs = self.samples.iter().zip(&other.samples);
        let sum: u64 = pairs.map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
        sum as f64 / self.samples.len() as f64
    }
}

fn decoded(units: &[AccessUnit]) -> HashMap<i64, DecodedLuma> {
    let mut decoder = VideoDecoder::open(&units[0].config).expect("a decoder");
    let mut pictures = HashMap::new();
    let mut take = |decoder: &mut VideoDecoder| {
        while let Some(picture) = decoder.receive().expect("decodable") {
            let frame = &picture.frame;
            let (width, stride) = (frame.width() as usize, frame.stride(0));
            let rows = frame.data(0).chunks(stride).take(frame.height() as usize);
            let samples = rows.flat_map(|row| row[..width].to_vec()).collect();
            pictures.insert(picture.pts.0, DecodedLuma { width, samples });
        }
    };
    for unit in units {
        decoder.send(unit, Timestamp::now()).expect("decodable");
        take(&mut decoder);
    }
    decoder.drain().expect("drained");
    take(&mut decoder);
    pictures
}

/// Clip whose pictures, without B-frames, are timed by their numbers.
fn timed(mut units: Vec<AccessUnit>, ms: impl Fn(i64) -> i64) -> Vec<AccessUnit> {
    for (nth, unit) in units.iter_mut().enumerate() {
        unit.pts = MediaTime::from_ms(ms(nth as i64));
        unit.dts = unit.pts;
    }
    units
}

/// Mean differences from the source over the first and the last pictures.
fn differences(source: &[AccessUnit], rendition: &[AccessUnit], halved: bool) -> (f64, f64) {
    let (source, shown) = (decoded(source), decoded(rendition));
    let mean = |units: &[AccessUnit]| {
        let sum: f64 = units
            .iter()
            .map(|unit| {
                let wanted = &source[&unit.pts.0];
                let half;
                let wanted = if halved {
                    half = wanted.halved();
                    &half
                } else {
                    wanted
                };
                shown[&unit.pts.0].difference(wanted)
            })
            .sum();
        sum / units.len() as f64
    };
    (
        mean(&rendition[..20]),
        mean(&rendition[rendition.len() - 20..]),
    )
}

fn bits(units: &[AccessUnit]) -> u64 {
    units.iter().map(|unit| unit.data.len() as u64 * 8).sum()
}

#[test]
fn a_rendition_looks_like_its_source_after_a_minute_too() {
    let moving = |rate: u32, seconds: u32| {
        let source = format!("testsrc2=s=320x180:r={rate}:d={seconds}");
        clips::units(&source, "-bf 0 -g 250")
    };
    let even = moving(25, 60);
    // Pictures in bunches of ten, 10 ms apart, with pauses of 300 ms.
    let bunches = timed(even.clone(), |nth| nth / 10 * 400 + nth % 10 * 10);
    // The clock jumps by an hour, and later back.
    let jumps = timed(even.clone(), |nth| {
        let hour = if (500..1000).contains(&nth) {
            3_600_000
        } else {
            0
        };
        nth * 40 + hour
    });
    // The sequence parameter set declares 25 pictures a second, but only one
    // comes.
    let slow = timed(moving(25, 4), |nth| nth * 1000);
    let reordered = clips::units("testsrc2=s=320x180:r=30:d=60", "-bf 2 -g 250");
    let web = |codec| clips::web_units("testsrc2=s=320x180:r=25:d=10", codec, "-g 100 -b:v 500k");
    for (what, source) in [
        ("25 a second", even),
        ("60 a second", moving(60, 60)),
        ("one a second", moving(1, 60)),
        ("one a second, said to be 25", slow),
        ("bunches", bunches),
        ("jumps", jumps),
        ("B-frames", reordered),
        ("VP8", web(VideoCodec::Vp8)),
        ("VP9", web(VideoCodec::Vp9)),
        ("AV1", web(VideoCodec::Av1)),
    ] {
        let rendition = to_h264(&source, RenditionKind::Video, None);
        assert!(
            rendition.len() + 4 >= source.len(),
            "{what}: {}",
            rendition.len()
        );
        let (early, late) = differences(&source, &rendition, false);
        // A black, grey or frozen picture differs by 30 and more.
        assert!(
            early < 6.0 && late < 6.0,
            "{what}: {early:.1}, then {late:.1}"
        );
    }
}

#[test]
fn the_rate_is_held_whatever_the_cadence() {
    // Noise, which is incompressible.
    let noise = "testsrc2=s=320x180:r=25:d=20,noise=alls=80:allf=t";
    let source = clips::units(noise, "-bf 0 -g 250 -b:v 6M");
    for (what, period) in [("fast", 10), ("even", 40), ("slow", 250)] {
        let source = timed(source.clone(), |nth| nth * period);
        let rendition = to_h264(&source, RenditionKind::Video, None);
        let seconds = rendition.len() as u64 * period as u64;
        let rate = bits(&rendition) * 1000 / seconds;
        // The maximum for so small a picture is 1 Mb/s, with bursts of half a
        // second's worth.
        let most = 1_000_000 + 500_000 * 1000 / seconds;
        assert!(rate < most * 5 / 4, "{what}: {rate} b/s");
        // Nor is the rate far too low.
        assert!(rate > 300_000, "{what}: {rate} b/s");
    }
}

#[test]
fn the_low_bitrate_rendition_is_a_third_of_its_source() {
    let moving = "testsrc2=s=640x480:r=30:d=30,noise=alls=20:allf=t";
    let source = clips::units(moving, "-bf 0 -g 60 -b:v 2500k -maxrate 2500k -bufsize 1M");
    let rendition = to_h264(&source, RenditionKind::LowBitrate, None);
    let config = &rendition[0].config;
    assert_eq!((config.width, config.height), (320, 240));
    let share = bits(&rendition) as f64 / bits(&source) as f64;
    assert!((0.15..0.42).contains(&share), "{share:.2} of the source");
    assert!(
        (440..=455).contains(&rendition.len()),
        "{} pictures",
        rendition.len()
    );
    let (early, late) = differences(&source, &rendition, true);
    assert!(early < 10.0 && late < 10.0, "{early:.1}, then {late:.1}");
}

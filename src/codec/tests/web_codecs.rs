//! Decoding of what browsers send: VP8, VP9 and AV1.

use std::collections::HashMap;

use bytes::Bytes;

use watchtower_media::codec::vpx::VpxReader;
use watchtower_media::{MediaTime, VideoCodec};
use watchtower_screen::picture::Picture;

use super::{Bench, MOVING, SECOND, corrupted, random};
use crate::clips::{shifted, units, web_units};

const CODECS: [VideoCodec; 3] = [VideoCodec::Vp8, VideoCodec::Vp9, VideoCodec::Av1];

/// Peak signal-to-noise ratio of the luma in dB.
fn psnr(one: &Picture, other: &Picture) -> f64 {
    assert_eq!((one.width, one.height), (other.width, other.height));
    let pairs = one.y.iter().zip(&other.y);
    let squares: f64 = pairs
        .map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2))
        .sum::<f64>();
    10.0 * (255.0_f64.powi(2) / (squares / one.y.len() as f64).max(0.001)).log10()
}

fn by_time(bench: &Bench) -> HashMap<i64, &Picture> {
    let frames = bench.published.iter();
    frames
        .map(|frame| (frame.pts.ms() / 10, &*frame.picture))
        .collect()
}

#[test]
fn pictures_are_those_of_the_source() {
    let mut source = Bench::new();
    source.run(&units(MOVING, "-t 6 -qp 0 -bf 0"), SECOND / 5);
    let source = by_time(&source);
    for codec in CODECS {
        let clip = web_units(MOVING, codec, "-t 6 -g 20 -b:v 1500k");
        let mut bench = Bench::new();
        bench.run(&clip, SECOND / 5);
        assert_eq!(bench.metrics.broken_pictures.get(), 0, "{codec:?}");
        let shown = by_time(&bench);
        let same: Vec<f64> = shown
            .iter()
            .filter_map(|(at, picture)| Some(psnr(picture, source.get(at)?)))
            .collect();
        assert!(same.len() >= 40, "{codec:?}: {} pictures", same.len());
        let worst = same.iter().copied().fold(f64::MAX, f64::min);
        // The picture before differs by 20 dB.
        assert!(worst > 30.0, "{codec:?}: {worst:.1} dB");
    }
}

#[test]
fn a_window_that_is_resized_stays_whole() {
    for codec in CODECS {
        for fastest in [SECOND / 2, 10 * SECOND] {
            let small = web_units(MOVING, codec, "-t 4 -g 10 -b:v 500k");
            let large = web_units("testsrc2=s=642x362:r=10", codec, "-t 4 -g 10 -b:v 500k");
            let mut bench = Bench::new();
            bench.run(&small, fastest);
            bench.run(&shifted(&large, MediaTime::from_ms(4_000)), fastest);
            bench.run(&shifted(&small, MediaTime::from_ms(8_000)), fastest);
            let mut sizes: Vec<_> = bench
                .pictures()
                .iter()
                .map(|p| (p.width, p.height))
                .collect();
            sizes.dedup();
            assert_eq!(sizes, [(320, 180), (642, 362), (320, 180)], "{codec:?}");
            assert_eq!(bench.metrics.broken_pictures.get(), 0, "{codec:?}");
        }
    }
}

#[test]
fn broken_partitions_and_payloads_are_survived() {
    for codec in CODECS {
        let clip = web_units(MOVING, codec, "-t 3 -g 10 -b:v 500k");
        let mut bench = Bench::new();
        let mut reader = match codec {
            VideoCodec::Vp8 => Some(VpxReader::vp8()),
            VideoCodec::Vp9 => Some(VpxReader::vp9()),
            _ => None,
        };
        let (mut seed, mut refused) = (7, 0);
        for round in 0..20_i64 {
            let mut broken = shifted(&clip, MediaTime::from_ms(3_000 * round));
            for unit in &mut broken {
                seed = random(seed);
                unit.data = match seed % 5 {
                    0 => unit.data.slice(..(seed >> 8) as usize % unit.data.len()),
                    1 => corrupted(&unit.data, seed),
                    _ => continue,
                };
            }
            for unit in broken {
                let unit = match &mut reader {
                    Some(reader) => reader.unit(unit.pts, unit.dts, unit.data),
                    None => Ok(unit),
                };
                match unit {
                    Ok(unit) => {
                        bench.run(&[unit], SECOND / 5);
                    }
                    Err(_) => refused += 1,
                }
            }
        }
        let broken = bench.metrics.broken_pictures.get() + refused;
        assert!(broken > 30, "{codec:?}: {broken}");
        // What follows a keyframe is decoded again.
        let mut healed = Bench::new();
        healed.run(&clip, SECOND / 5);
        bench.run(&shifted(&clip, MediaTime::from_ms(80_000)), SECOND / 5);
        let (last, expected) = (bench.last(), healed.last());
        assert!(last == expected, "{codec:?}");
    }
}

#[test]
fn sizes_beyond_the_limit_are_refused_with_what_follows_decoded() {
    let huge = web_units("color=c=gray:s=8320x64:r=5", VideoCodec::Av1, "-t 1");
    let clip = web_units(MOVING, VideoCodec::Av1, "-t 2 -g 10 -b:v 500k");
    let mut bench = Bench::new();
    bench.run(&huge, SECOND);
    assert!(bench.published.is_empty());
    assert!(bench.metrics.broken_pictures.get() > 0);
    bench.run(&shifted(&clip, MediaTime::from_ms(2_000)), SECOND);
    assert_eq!((bench.last().width, bench.last().height), (320, 180));
    // A configuration that lies about the size allocates nothing: the pictures
    // tell.
    let mut lying = Bench::new();
    let mut unit = clip[0].clone();
    let mut config = (*unit.config).clone();
    (config.width, config.height) = (16_384, 16_384);
    unit.config = config.into();
    unit.data = Bytes::copy_from_slice(&unit.data);
    lying.run(&[unit], SECOND);
    assert!(lying.published.is_empty());
    assert_eq!(lying.metrics.broken_pictures.get(), 1);
}

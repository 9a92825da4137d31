//! Tests that converted pictures match the source, whatever the format.

use ffmpeg_next as ff;

use watchtower_screen::picture::Picture;

use super::{Bench, SECOND};
use crate::clips::units;
use crate::convert::Converter;
use crate::{clips, encode_jpeg};

/// Four colour bars; the R'G'B' values in the middle of each.
const BARS: [(&str, [u8; 3]); 4] = [
    ("0xC82828", [200, 40, 40]),
    ("0x28B43C", [40, 180, 60]),
    ("0x3246DC", [50, 70, 220]),
    ("0x808080", [128, 128, 128]),
];

fn bars(width: u32, height: u32) -> String {
    let bar = width / 4;
    let boxes: Vec<String> = BARS
        .iter()
        .enumerate()
        .map(|(n, (colour, _))| {
            format!(
                "drawbox=x={}:y=0:w={bar}:h={height}:c={colour}:t=fill",
                n as u32 * bar
            )
        })
        .collect();
    format!(
        "color=c=black:s={width}x{height}:r=5:d=1,format=gbrp,{}",
        boxes.join(",")
    )
}

fn rgb_at(picture: &Picture, x: u32, y: u32) -> [u8; 3] {
    let half = picture.width.div_ceil(2);
    let luma = f64::from(picture.y[(y * picture.width + x) as usize]);
    let at = (y / 2 * half + x / 2) as usize;
    let cb = f64::from(picture.u[at]) - 128.0;
    let cr = f64::from(picture.v[at]) - 128.0;
    // JFIF 1.02, "Conversion to and from RGB".
    [
        luma + 1.402 * cr,
        luma - 0.344_14 * cb - 0.714_14 * cr,
        luma + 1.772 * cb,
    ]
    .map(|sample| sample.round().clamp(0.0, 255.0) as u8)
}

fn assert_bars(picture: &Picture, grey: bool, what: &str) {
    let bar = picture.width / 4;
    for (n, (_, expected)) in BARS.iter().enumerate() {
        let got = rgb_at(picture, n as u32 * bar + bar / 2, picture.height / 2);
        let expected = if grey {
            let [r, g, b] = expected.map(f64::from);
            // The encoder converts to grey by BT.601.
            [(0.299 * r + 0.587 * g + 0.114 * b).round() as u8; 3]
        } else {
            *expected
        };
        for (got_sample, expected_sample) in got.iter().zip(expected) {
            assert!(
                got_sample.abs_diff(expected_sample) <= 5,
                "{what}, bar {n}: {got:?} for {expected:?}"
            );
        }
    }
}

#[test]
fn colours_are_right_whatever_the_format() {
    // Matrix and range as signalled; without a signal, by the height.
    let tv = "-vf scale=out_color_matrix=MATRIX:out_range=RANGE,format=FORMAT";
    let cases = [
        (
            "bt709",
            "tv",
            "yuv420p",
            "-colorspace bt709 -color_range tv",
            320,
            180,
        ),
        (
            "bt601",
            "tv",
            "yuv420p",
            "-colorspace smpte170m -color_range tv",
            1280,
            720,
        ),
        ("bt601", "tv", "yuv420p", "", 320, 180),
        ("bt709", "tv", "yuv420p", "", 1280, 720),
        (
            "bt709",
            "pc",
            "yuvj420p",
            "-colorspace bt709 -color_range pc",
            320,
            180,
        ),
        (
            "bt601",
            "pc",
            "yuvj420p",
            "-colorspace smpte170m -color_range pc",
            320,
            180,
        ),
        ("bt709", "tv", "yuv422p", "-colorspace bt709", 320, 180),
        ("bt709", "tv", "yuv444p", "-colorspace bt709", 320, 180),
        (
            "bt709",
            "pc",
            "yuvj444p",
            "-colorspace bt709 -color_range pc",
            320,
            180,
        ),
        ("bt709", "tv", "yuv420p10le", "-colorspace bt709", 320, 180),
        ("bt709", "tv", "yuv444p10le", "-colorspace bt709", 320, 180),
        (
            "bt2020",
            "tv",
            "yuv420p10le",
            "-colorspace bt2020nc",
            320,
            180,
        ),
        ("bt709", "tv", "yuv444p", "-colorspace bt709", 322, 182),
        ("bt709", "tv", "yuv444p", "-colorspace bt709", 321, 181),
        ("bt601", "pc", "gray", "", 320, 180),
        ("bt601", "tv", "gray10le", "", 320, 180),
    ];
    for (matrix, range, format, options, width, height) in cases {
        let filter = tv
            .replace("MATRIX", matrix)
            .replace("RANGE", range)
            .replace("FORMAT", format);
        let clip = units(&bars(width, height), &format!("{filter} -qp 4 {options}"));
        let mut bench = Bench::new();
        bench.run(&clip, SECOND);
        let what = format!("{format} {matrix} {range} {options} {width}x{height}");
        let picture = bench.last();
        assert_eq!((picture.width, picture.height), (width, height), "{what}");
        assert_bars(picture, format.starts_with("gray"), &what);
    }
}

#[test]
fn rgb_streams_are_understood() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("rgb.mkv");
    clips::make(
        &format!("-f lavfi -i {} -c:v libx264rgb -qp 4", bars(320, 180)),
        &path,
    );
    let mut bench = Bench::new();
    bench.run(&clips::read(&path), SECOND);
    assert_bars(bench.last(), false, "libx264rgb");
}

#[test]
fn tiny_and_odd_pictures_pass_and_huge_ones_are_refused() {
    for size in ["16x16", "2x2", "17x33", "641x361"] {
        let clip = units(&format!("testsrc=s={size}:r=5:d=1"), "-vf format=yuv444p");
        let mut bench = Bench::new();
        bench.run(&clip, SECOND);
        let picture = bench.last();
        assert_eq!(format!("{}x{}", picture.width, picture.height), size);
        assert!(encode_jpeg(picture).is_ok(), "{size}");
    }
    let clip = units("color=c=gray:s=8320x64:r=1:d=2", "");
    let mut bench = Bench::new();
    bench.run(&clip, SECOND);
    assert!(bench.published.is_empty());
    assert!(bench.metrics.broken_pictures.get() > 0);
}

#[test]
fn a_jpeg_shows_what_the_picture_shows() {
    for (width, height) in [(320, 180), (1281, 721), (16, 16), (8, 5), (1, 1)] {
        let source = bars(width.max(16), height.max(16));
        let clip = units(
            &source,
            "-vf scale=out_color_matrix=bt601,format=yuv444p -qp 4 -colorspace smpte170m",
        );
        let mut bench = Bench::new();
        bench.run(&clip, SECOND);
        let picture = cropped(bench.last(), width, height);
        let jpeg = encode_jpeg(&picture).expect("encodes");
        assert_eq!(jpeg[..4], [0xff, 0xd8, 0xff, 0xe0], "JFIF");
        assert_eq!(jpeg[6..11], *b"JFIF\0");
        assert!(!jpeg.windows(4).any(|bytes| bytes == b"Lavc"));
        // Baseline: SOF0.
        assert!(jpeg.windows(4).any(|bytes| bytes == [0xff, 0xc0, 0, 17]));
        let decoded = decode_jpeg(&jpeg);
        assert_eq!((decoded.width, decoded.height), (width, height));
        let far = |a: &[u8], b: &[u8]| {
            let sum: u64 = a
                .iter()
                .zip(b)
                .map(|(a, b)| u64::from(a.abs_diff(*b)))
                .sum();
            sum as f64 / a.len() as f64
        };
        assert!(far(&picture.y, &decoded.y) < 1.5, "{width}x{height}");
        assert!(far(&picture.u, &decoded.u) < 2.5, "{width}x{height}");
        assert!(far(&picture.v, &decoded.v) < 2.5, "{width}x{height}");
        if width >= 320 {
            assert_bars(&decoded, false, "JPEG");
        }
    }
}

#[test]
fn a_picture_that_lies_about_its_size_is_no_jpeg() {
    let mut picture = Picture {
        width: 4,
        height: 4,
        y: vec![0; 15],
        u: vec![0; 4],
        v: vec![0; 4],
    };
    insta::assert_snapshot!(encode_jpeg(&picture).expect_err("refused"), @"failed to encode a 4x4 picture as JPEG: plane 0 must hold 4x4 samples, got 15");
    picture.width = 0;
    insta::assert_snapshot!(encode_jpeg(&picture).expect_err("refused"), @"failed to encode a 0x4 picture as JPEG: each side must be 1 to 65500 pixels");
}

fn cropped(picture: &Picture, width: u32, height: u32) -> Picture {
    let plane = |samples: &[u8], stride: u32, width: u32, height: u32| {
        let rows = samples.chunks(stride as usize).take(height as usize);
        rows.flat_map(|row| row[..width as usize].to_vec())
            .collect()
    };
    let stride = picture.width.div_ceil(2);
    let (half_width, half_height) = (width.div_ceil(2), height.div_ceil(2));
    Picture {
        width,
        height,
        y: plane(&picture.y, picture.width, width, height),
        u: plane(&picture.u, stride, half_width, half_height),
        v: plane(&picture.v, stride, half_width, half_height),
    }
}

fn decode_jpeg(jpeg: &[u8]) -> Picture {
    let codec = ff::decoder::find(ff::codec::Id::MJPEG).expect("an mjpeg decoder");
    let context = ff::codec::Context::new_with_codec(codec);
    let mut decoder = context.decoder().video().expect("opens");
    decoder
        .send_packet(&ff::Packet::copy(jpeg))
        .expect("a JPEG");
    let mut frame = ff::frame::Video::empty();
    decoder.receive_frame(&mut frame).expect("a picture");
    assert_eq!(frame.format(), ff::format::Pixel::YUVJ420P);
    Converter::default().convert(&frame).expect("converts")
}

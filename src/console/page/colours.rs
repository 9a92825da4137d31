//! Colours of the style sheet: apart for every kind of colour vision, and
//! readable.

use std::collections::BTreeMap;

const SHEET: &str = include_str!("look.css");
const SEVERITIES: [&str; 5] = ["critical", "high", "medium", "low", "info"];
/// Smallest difference of two severities. CIEDE2000, as plain distance in
/// CIELAB (CIE76) overrates differences between saturated colours.
const APART: f64 = 20.0;

type Triple = [f64; 3];

/// Linear RGB as seen with full dichromacy: Machado, Oliveira, Fernandes, "A
/// Physiologically-based Model for Simulation of Color Vision Deficiency"
/// (IEEE TVCG 15(6), 2009), severity 1.0.
const VISIONS: [(&str, [Triple; 3]); 4] = [
    (
        "normal",
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
    ),
    (
        "protanopia",
        [
            [0.152_286, 1.052_583, -0.204_868],
            [0.114_503, 0.786_281, 0.099_216],
            [-0.003_882, -0.048_116, 1.051_998],
        ],
    ),
    (
        "deuteranopia",
        [
            [0.367_322, 0.860_646, -0.227_968],
            [0.280_085, 0.672_501, 0.047_413],
            [-0.011_820, 0.042_940, 0.968_881],
        ],
    ),
    (
        "tritanopia",
        [
            [1.255_528, -0.076_749, -0.178_779],
            [-0.078_411, 0.930_809, 0.147_602],
            [0.004_733, 0.691_367, 0.303_900],
        ],
    ),
];

fn multiply(matrix: &[Triple; 3], by: Triple) -> Triple {
    matrix.map(|row| row.iter().zip(by).map(|(one, other)| one * other).sum())
}

/// Custom properties that are colours, of the light and of the dark theme.
fn themes() -> [(&'static str, BTreeMap<&'static str, Triple>); 2] {
    let colours = SHEET.lines().filter_map(|line| {
        let (name, value) = line.trim().strip_prefix("--")?.split_once(": ")?;
        let hexes: Vec<Triple> = value.split('#').skip(1).filter_map(linear).collect();
        match (value.starts_with("light-dark(#"), hexes.as_slice()) {
            (true, [light, dark]) => Some((name, *light, *dark)),
            (false, [both]) if value.starts_with('#') => Some((name, *both, *both)),
            _ => None,
        }
    });
    let (light, dark) = colours
        .map(|(name, light, dark)| ((name, light), (name, dark)))
        .unzip();
    [("light", light), ("dark", dark)]
}

/// Linear RGB of six hexadecimal digits of sRGB.
fn linear(hex: &str) -> Option<Triple> {
    let mut rgb = [0.0; 3];
    for (nth, one) in rgb.iter_mut().enumerate() {
        let byte = u8::from_str_radix(hex.get(2 * nth..2 * nth + 2)?, 16).ok()?;
        let value = f64::from(byte) / 255.0;
        *one = if value <= 0.040_45 {
            value / 12.92
        } else {
            ((value + 0.055) / 1.055).powf(2.4)
        };
    }
    Some(rgb)
}

/// CIELAB of linear RGB, white point D65.
fn lab(rgb: Triple) -> Triple {
    const XYZ: [Triple; 3] = [
        [0.412_456_4, 0.357_576_1, 0.180_437_5],
        [0.212_672_9, 0.715_152_2, 0.072_175_0],
        [0.019_333_9, 0.119_192_0, 0.950_304_1],
    ];
    let [x, y, z] = multiply(&XYZ, rgb.map(|one| one.clamp(0.0, 1.0)));
    let [x, y, z] = [x / 0.950_47, y, z / 1.088_83].map(|one: f64| {
        if one > 216.0 / 24389.0 {
            one.cbrt()
        } else {
            (24389.0 / 27.0 * one + 16.0) / 116.0
        }
    });
    [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
}

/// CIEDE2000 (Sharma, Wu, Dalal 2005).
fn difference(one: Triple, other: Triple) -> f64 {
    let mean = |a: f64, b: f64| f64::midpoint(a, b);
    let weight = |chroma: f64| (chroma.powi(7) / (chroma.powi(7) + 25f64.powi(7))).sqrt();
    let mean_ab = mean(one[1].hypot(one[2]), other[1].hypot(other[2]));
    let stretch = 1.0 + 0.5 * (1.0 - weight(mean_ab));
    let polar = |[lightness, a, b]: Triple| {
        let a = a * stretch;
        let hue = b.atan2(a).to_degrees().rem_euclid(360.0);
        (lightness, a.hypot(b), hue)
    };
    let ((l1, c1, h1), (l2, c2, h2)) = (polar(one), polar(other));
    let grey = c1 * c2 == 0.0;
    let turn = match h2 - h1 {
        _ if grey => 0.0,
        turn if turn > 180.0 => turn - 360.0,
        turn if turn < -180.0 => turn + 360.0,
        turn => turn,
    };
    let hue = if grey {
        h1 + h2
    } else {
        (h1 + turn / 2.0).rem_euclid(360.0)
    };
    let (l, c) = (mean(l1, l2), mean(c1, c2));
    let cos = |degrees: f64| degrees.to_radians().cos();
    let t = 1.0 - 0.17 * cos(hue - 30.0) + 0.24 * cos(2.0 * hue) + 0.32 * cos(3.0 * hue + 6.0)
        - 0.20 * cos(4.0 * hue - 63.0);
    let middle = (l - 50.0).powi(2);
    let dl = (l2 - l1) / (1.0 + 0.015 * middle / (20.0 + middle).sqrt());
    let dc = (c2 - c1) / (1.0 + 0.045 * c);
    let dh = 2.0 * (c1 * c2).sqrt() * (turn / 2.0).to_radians().sin() / (1.0 + 0.015 * c * t);
    let rotation = 60.0 * (-((hue - 275.0) / 25.0).powi(2)).exp();
    let rotated = -rotation.to_radians().sin() * 2.0 * weight(c);
    (dl * dl + dc * dc + dh * dh + rotated * dc * dh).sqrt()
}

/// Contrast ratio of WCAG 2.
fn contrast(one: Triple, other: Triple) -> f64 {
    let luminance =
        |[red, green, blue]: Triple| 0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05;
    let (one, other) = (luminance(one), luminance(other));
    (one / other).max(other / one)
}

#[test]
fn difference_is_that_of_the_published_pairs() {
    for (one, other, expected) in [
        ([50.0, 2.6772, -79.7751], [50.0, 0.0, -82.7485], 2.0425),
        ([50.0, 2.49, -0.001], [50.0, -2.49, 0.0011], 7.2195),
        ([50.0, 2.5, 0.0], [73.0, 25.0, -18.0], 27.1492),
        ([50.0, 2.5, 0.0], [58.0, 24.0, 15.0], 19.4535),
        (
            [22.7233, 20.0904, -46.694],
            [23.0331, 14.973, -42.5619],
            2.0373,
        ),
        ([2.0776, 0.0795, -1.135], [0.9033, -0.0636, -0.5514], 0.9082),
    ] {
        let found = difference(one, other);
        assert!((found - expected).abs() < 1e-4, "{found} is not {expected}");
    }
}

#[test]
fn severities_are_apart_for_every_colour_vision() {
    for (theme, colours) in themes() {
        for (vision, matrix) in &VISIONS {
            let seen = SEVERITIES.map(|name| (name, lab(multiply(matrix, colours[name]))));
            for (nth, (one, first)) in seen.iter().enumerate() {
                for (other, second) in &seen[nth + 1..] {
                    let apart = difference(*first, *second);
                    assert!(
                        apart >= APART,
                        "{one} and {other}, {theme}, {vision}: {apart:.1}"
                    );
                }
            }
        }
    }
}

#[test]
fn text_and_marks_are_readable_on_every_ground() {
    for (theme, colours) in themes() {
        let check = |front: &str, ground: &str, least: f64| {
            let found = contrast(colours[front], colours[ground]);
            assert!(found >= least, "{front} on {ground}, {theme}: {found:.2}");
        };
        for ground in ["ground", "panel", "raised"] {
            for text in ["text", "quiet", "accent", "live", "bad", "warn"] {
                // Success criterion 1.4.3.
                check(text, ground, 4.5);
            }
            // Success criterion 1.4.11.
            check("edge", ground, 3.0);
        }
        for severity in SEVERITIES {
            check(&format!("on-{severity}"), severity, 4.5);
            // A fill that is as light as its ground is seen by its rim.
            let fill = contrast(colours[severity], colours["panel"]);
            let rim = contrast(colours["rim"], colours["panel"]);
            assert!(fill.max(rim) >= 3.0, "{severity}, {theme}: {fill:.2}");
        }
    }
}

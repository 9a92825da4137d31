//! Numbers on a screen over time: values, units, and runs of one value.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use watchtower_base::stream_name::StreamName;

/// Base unit of a number, after its prefix is multiplied out: `240 ms` is 0.24
/// seconds, `1.2 GiB` is 1288490188.8 bytes.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Count, or a unit that is not known.
    None,
    Percent,
    Seconds,
    Bytes,
    BytesPerSecond,
    PerSecond,
    Usd,
    Eur,
    Gbp,
    /// Loudness (EBU R 128).
    Lufs,
}

impl Unit {
    pub const ALL: [Self; 10] = [
        Self::None,
        Self::Percent,
        Self::Seconds,
        Self::Bytes,
        Self::BytesPerSecond,
        Self::PerSecond,
        Self::Usd,
        Self::Eur,
        Self::Gbp,
        Self::Lufs,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Percent => "percent",
            Self::Seconds => "seconds",
            Self::Bytes => "bytes",
            Self::BytesPerSecond => "bytes_per_second",
            Self::PerSecond => "per_second",
            Self::Usd => "usd",
            Self::Eur => "eur",
            Self::Gbp => "gbp",
            Self::Lufs => "lufs",
        }
    }

    /// Unit of that name; [`Self::None`] for another.
    pub fn named(name: &str) -> Self {
        let mut all = Self::ALL.into_iter();
        all.find(|unit| unit.as_str() == name).unwrap_or(Self::None)
    }
}

/// Number in a base unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quantity {
    pub value: f64,
    pub unit: Unit,
}

/// Value as people write it: `4.8 s`, `12.4 %`, `1.5 GB`.
impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.value;
        match self.unit {
            Unit::None => write!(f, "{}", short(value)),
            Unit::Percent => write!(f, "{} %", short(value)),
            Unit::Seconds => match value.abs() {
                v if v == 0.0 || (1.0..120.0).contains(&v) => write!(f, "{} s", short(value)),
                v if v < 0.001 => write!(f, "{} µs", short(value * 1e6)),
                v if v < 1.0 => write!(f, "{} ms", short(value * 1e3)),
                v if v < 7200.0 => write!(f, "{} min", short(value / 60.0)),
                v if v < 172_800.0 => write!(f, "{} h", short(value / 3600.0)),
                _ => write!(f, "{} d", short(value / 86_400.0)),
            },
            Unit::Bytes => bytes(f, value, ""),
            Unit::BytesPerSecond => bytes(f, value, "/s"),
            Unit::PerSecond => write!(f, "{}/s", short(value)),
            Unit::Usd => write!(f, "${}", short(value)),
            Unit::Eur => write!(f, "€{}", short(value)),
            Unit::Gbp => write!(f, "£{}", short(value)),
            Unit::Lufs => write!(f, "{} LUFS", short(value)),
        }
    }
}

fn bytes(f: &mut fmt::Formatter<'_>, value: f64, per: &str) -> fmt::Result {
    let (size, name) = match value.abs() {
        v if v >= 1e12 => (1e12, "TB"),
        v if v >= 1e9 => (1e9, "GB"),
        v if v >= 1e6 => (1e6, "MB"),
        v if v >= 1e3 => (1e3, "kB"),
        _ => (1.0, "B"),
    };
    write!(f, "{} {name}{per}", short(value / size))
}

/// Number without the digits that multiplying left behind.
fn short(value: f64) -> f64 {
    let digits = if value.abs() < 1.0 { 1e6 } else { 1e3 };
    let short = (value * digits).round() / digits;
    // A large number loses nothing, and a tiny one stays visible.
    if !short.is_finite() || short == 0.0 {
        value
    } else {
        short
    }
}

/// Identity of a series: where on which stream, under which label, in which
/// unit.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeriesName {
    pub stream: StreamName,
    /// Element of the screen, such as `card` or `table Services`.
    pub place: String,
    pub label: String,
    pub unit: Unit,
}

/// Time during which a number was seen to be one value. Where one run of a
/// series ends before the next begins, the number was not on the screen.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesRun {
    /// Text that is the same however OCR misreads place, label and unit.
    pub key: String,
    pub name: SeriesName,
    pub from: Timestamp,
    pub to: Timestamp,
    pub value: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_in_a_readable_unit() {
        let shown = |value, unit| Quantity { value, unit }.to_string();
        assert_eq!(shown(4.8, Unit::Seconds), "4.8 s");
        assert_eq!(shown(0.8, Unit::Seconds), "800 ms");
        assert_eq!(shown(0.0, Unit::Seconds), "0 s");
        assert_eq!(shown(0.000_25, Unit::Seconds), "250 µs");
        assert_eq!(shown(273_600.0, Unit::Seconds), "3.167 d");
        assert_eq!(shown(12.400_000_000_1, Unit::Percent), "12.4 %");
        assert_eq!(shown(1_500_000_000.0, Unit::Bytes), "1.5 GB");
        assert_eq!(shown(125_000.0, Unit::BytesPerSecond), "125 kB/s");
        assert_eq!(shown(1240.0, Unit::PerSecond), "1240/s");
        assert_eq!(shown(99.5, Unit::Usd), "$99.5");
        assert_eq!(shown(48.0, Unit::None), "48");
        // At the borders between units.
        for (seconds, text) in [
            (0.001, "1 ms"),
            (1.0, "1 s"),
            (119.0, "119 s"),
            (120.0, "2 min"),
            (7200.0, "2 h"),
            (172_800.0, "2 d"),
        ] {
            assert_eq!(shown(seconds, Unit::Seconds), text);
        }
        for (size, text) in [
            (999.0, "999 B"),
            (1e3, "1 kB"),
            (1e6, "1 MB"),
            (1e9, "1 GB"),
            (1e12, "1 TB"),
        ] {
            assert_eq!(shown(size, Unit::Bytes), text);
        }
        // Tiny and huge values are not lost by rounding.
        assert_eq!(shown(1e-9, Unit::None), "0.000000001");
        assert_eq!(shown(0.123_456_78, Unit::None), "0.123457");
        assert_eq!(shown(1.000_4, Unit::None), "1");
        assert_eq!(shown(f64::MAX, Unit::None), f64::MAX.to_string());
        assert_eq!(shown(-23.0, Unit::Lufs), "-23 LUFS");
    }

    #[test]
    fn units_are_found_by_their_names() {
        for unit in Unit::ALL {
            assert_eq!(Unit::named(unit.as_str()), unit);
        }
        assert_eq!(Unit::named("furlongs"), Unit::None);
    }
}

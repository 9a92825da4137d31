//! Numbers as people write them: value, prefix, unit.
//!
//! Dates, times, versions, addresses, ratios and ids are no numbers, and
//! neither is the change beside one: `48 ▲ 12` is 48, `+12 %` is nothing.

use watchtower_domain::series::{Quantity, Unit};

/// Maximum digits without a separator between them; ids and epochs have more.
const MOST_DIGITS: usize = 12;
/// Maximum words after a number that say what it counts.
const MOST_WORDS: usize = 2;

/// Number that a text is, with its unit and nothing else but a change.
///
/// ```
/// use watchtower_domain::series::{Quantity, Unit};
/// use watchtower_screen::series::quantity;
///
/// let seconds = |value| Some(Quantity { value, unit: Unit::Seconds });
/// assert_eq!(quantity("4.8 s"), seconds(4.8));
/// assert_eq!(quantity("3d 4h"), seconds(273_600.0));
/// assert_eq!(quantity("v1.27.3"), None);
/// ```
pub fn quantity(text: &str) -> Option<Quantity> {
    let (quantity, rest) = leading(text)?;
    is_change(rest).then_some(quantity)
}

/// Same, where up to two words may say what is counted: `48 errors`.
pub fn counted_quantity(text: &str) -> Option<Quantity> {
    let (quantity, rest) = leading(text)?;
    let plain = |rest: &str| {
        let words = rest.split_whitespace().count();
        words <= MOST_WORDS && rest.chars().all(|c| c.is_alphabetic() || c == ' ')
    };
    // "3 d ago" is a time.
    let counts = quantity.unit != Unit::Seconds && plain(rest);
    (is_change(rest) || counts).then_some(quantity)
}

/// Number at the start of a text, and the text after its unit.
pub(super) fn leading(text: &str) -> Option<(Quantity, &str)> {
    let text = text
        .trim()
        .trim_start_matches(['<', '>', '≈', '~', '≤', '≥']);
    let text = text.trim_start();
    let (sign, text) = match text.strip_prefix(['-', '−', '–']) {
        Some(rest) if rest.starts_with(|c: char| c.is_ascii_digit() || currency(c).is_some()) => {
            (-1.0, rest)
        }
        Some(_) => return None,
        None => (1.0, text),
    };
    let first = text.chars().next()?;
    let (money, text) = match currency(first) {
        Some(unit) => (Some(unit), text[first.len_utf8()..].trim_start()),
        None => (None, text),
    };
    let length = number_length(text);
    let value = sign * number(&text[..length])?;
    let rest = &text[length..];
    let (quantity, rest) = match money {
        Some(unit) => {
            let (scale, rest) = money_scale(rest);
            let value = value * scale;
            (Quantity { value, unit }, rest)
        }
        None => with_unit(value, rest)?,
    };
    // A letter, digit or separator directly behind makes it part of a name, a
    // date or a ratio.
    let ends = |c: char| !(c.is_alphanumeric() || "_/:@#*=".contains(c));
    let after = rest.trim_start();
    let ratio =
        after.starts_with(['/', ':']) || after.starts_with("of ") || after.starts_with("x ");
    let to = after.trim_start_matches(['-', '–', '~']);
    let range = to != after && to.starts_with(|c: char| c.is_ascii_digit());
    let range = range && !rest.starts_with(' ');
    (rest.chars().next().is_none_or(ends) && !ratio && !range).then_some((quantity, rest))
}

/// True for nothing, or for what a dashboard writes beside a number: an arrow,
/// a signed number, a remark in brackets.
fn is_change(rest: &str) -> bool {
    let rest = rest.trim();
    let arrow = |c: char| matches!(c, '▲' | '▼' | '△' | '▽' | '\u{2190}'..='\u{21ff}' | '\u{2b00}'..='\u{2bff}');
    let Some(first) = rest.chars().next() else {
        return true;
    };
    let digit = |text: &str| text.trim_start().starts_with(|c: char| c.is_ascii_digit());
    match first {
        '(' => rest.ends_with(')'),
        '+' | '-' | '−' | '±' => digit(&rest[first.len_utf8()..]),
        c => arrow(c),
    }
}

fn currency(c: char) -> Option<Unit> {
    match c {
        '$' => Some(Unit::Usd),
        '€' => Some(Unit::Eur),
        '£' => Some(Unit::Gbp),
        _ => None,
    }
}

/// Prefix behind an amount of money: `$1.2M`, `$3.4 bn`.
fn money_scale(rest: &str) -> (f64, &str) {
    let (word, after) = word(rest);
    let scale = match word {
        "k" | "K" => 1e3,
        "m" | "M" | "mn" => 1e6,
        "b" | "B" | "bn" => 1e9,
        "USD" | "EUR" | "GBP" => 1.0,
        _ => return (1.0, rest),
    };
    (scale, after)
}

/// Length of the digits of a text with the separators between them.
fn number_length(text: &str) -> usize {
    let mut end = 0;
    let bytes = text.as_bytes();
    for (at, c) in text.char_indices() {
        let next = at + c.len_utf8();
        let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
        if c.is_ascii_digit() {
            end = next;
        } else if "., \u{a0}\u{202f}\u{2009}'’".contains(c) && at == end && digit(next) && at > 0
        {
            // A blank joins groups of three only.
            let group = (0..3).all(|nth| digit(next + nth)) && !digit(next + 3);
            if !(".,".contains(c) || group) {
                break;
            }
        } else {
            break;
        }
    }
    end
}

/// Value of digits with separators; `None` if they are those of a version, an
/// address or an id.
fn number(text: &str) -> Option<f64> {
    let separators: Vec<char> = text.chars().filter(|c| !c.is_ascii_digit()).collect();
    let groups: Vec<&str> = text.split(|c: char| !c.is_ascii_digit()).collect();
    let first = groups.first()?;
    if first.is_empty() || groups.iter().any(|group| group.len() > MOST_DIGITS) {
        return None;
    }
    // A leading zero begins ids and dates.
    if first.len() > 1 && first.starts_with('0') {
        return None;
    }
    let grouped = |groups: &[&str]| {
        let short = groups
            .first()
            .is_some_and(|first| first.len() <= 3 && *first != "0");
        short && groups.iter().skip(1).all(|group| group.len() == 3)
    };
    let last = separators.last().copied();
    let decimal = match (separators.as_slice(), last) {
        ([], _) => false,
        (['.'], _) => true,
        ([','], _) => !grouped(&groups),
        (all, Some(last)) => all.iter().filter(|c| **c == last).count() == 1 && ".,".contains(last),
        (_, None) => false,
    };
    let whole = if decimal {
        &groups[..groups.len() - 1]
    } else {
        &groups[..]
    };
    // Separators of thousands are all the same.
    let between = &separators[..whole.len() - 1];
    let same = between.windows(2).all(|pair| pair[0] == pair[1]);
    if whole.len() > 1 && !(same && grouped(whole)) {
        return None;
    }
    let digits = whole.concat();
    let written = match decimal {
        true => format!("{digits}.{}", groups.last()?),
        false => digits,
    };
    written.parse().ok()
}

/// Letters, signs of units and slashes at the start of a text, after a blank;
/// and the rest.
fn word(text: &str) -> (&str, &str) {
    let start = text.trim_start_matches([' ', '\u{a0}', '\u{202f}']);
    let unit = |c: char| c.is_alphabetic() || "%‰/µ$€£".contains(c);
    let end = start.find(|c: char| !unit(c)).unwrap_or(start.len());
    (&start[..end], &start[end..])
}

fn with_unit(value: f64, rest: &str) -> Option<(Quantity, &str)> {
    if let Some((seconds, rest)) = duration(value, rest) {
        let unit = Unit::Seconds;
        return Some((
            Quantity {
                value: seconds,
                unit,
            },
            rest,
        ));
    }
    let (first, after) = word(rest);
    if first.is_empty() {
        let unit = Unit::None;
        return Some((Quantity { value, unit }, rest));
    }
    if let Some((scale, unit)) = unit(first) {
        return Some((
            Quantity {
                value: value * scale,
                unit,
            },
            after,
        ));
    }
    let attached = !rest.starts_with([' ', '\u{a0}', '\u{202f}']);
    if let Some(scale) = prefix(first) {
        let value = value * scale;
        // "1.2 k req/s"
        let (second, behind) = word(after);
        return Some(match unit(second) {
            Some((more, unit)) => (
                Quantity {
                    value: value * more,
                    unit,
                },
                behind,
            ),
            None => (
                Quantity {
                    value,
                    unit: Unit::None,
                },
                after,
            ),
        });
    }
    // Letters attached to digits are a name: "7zip", "2nd".
    let unit = Unit::None;
    (!attached).then_some((Quantity { value, unit }, rest))
}

/// Prefix of a count.
fn prefix(word: &str) -> Option<f64> {
    Some(match word {
        "k" | "K" => 1e3,
        "M" | "mn" => 1e6,
        "G" | "bn" => 1e9,
        "T" => 1e12,
        _ => return None,
    })
}

/// Length of a unit of time in seconds.
fn time(word: &str) -> Option<f64> {
    Some(match word {
        "ns" => 1e-9,
        "µs" | "μs" | "us" => 1e-6,
        "ms" | "msec" | "msecs" => 1e-3,
        "s" | "sec" | "secs" | "second" | "seconds" => 1.0,
        "m" | "min" | "mins" | "minute" | "minutes" => 60.0,
        "h" | "hr" | "hrs" | "hour" | "hours" => 3600.0,
        "d" | "day" | "days" => 86_400.0,
        "w" | "week" | "weeks" => 604_800.0,
        _ => return None,
    })
}

/// Duration of one unit of time or several that get smaller: `3d 4h`.
fn duration(value: f64, rest: &str) -> Option<(f64, &str)> {
    let letters = |text: &str| {
        let end = text
            .find(|c: char| !c.is_alphabetic())
            .unwrap_or(text.len());
        (text[..end].to_owned(), end)
    };
    let start = rest.trim_start_matches([' ', '\u{a0}', '\u{202f}']);
    let (word, end) = letters(start);
    let mut size = time(&word)?;
    let mut total = value * size;
    let mut rest = &start[end..];
    if rest.starts_with('/') {
        return None;
    }
    loop {
        let next = rest.trim_start();
        let length = number_length(next);
        let digits = &next[..length];
        let unit = next[length..].trim_start();
        let (word, end) = letters(unit);
        let Some((part, smaller)) = number(digits).zip(time(&word)) else {
            return Some((total, rest));
        };
        if smaller >= size {
            return Some((total, rest));
        }
        size = smaller;
        total += part * size;
        rest = &unit[end..];
    }
}

/// Scale and base of a unit other than time.
fn unit(word: &str) -> Option<(f64, Unit)> {
    let simple = match word {
        "%" | "percent" | "pct" => Some((1.0, Unit::Percent)),
        "‰" => Some((0.1, Unit::Percent)),
        "$" | "USD" => Some((1.0, Unit::Usd)),
        "€" | "EUR" => Some((1.0, Unit::Eur)),
        "£" | "GBP" => Some((1.0, Unit::Gbp)),
        "LUFS" | "LKFS" => Some((1.0, Unit::Lufs)),
        "rps" | "qps" | "tps" | "iops" | "IOPS" | "Hz" | "RPS" | "QPS" | "TPS" => {
            Some((1.0, Unit::PerSecond))
        }
        "rpm" | "RPM" => Some((1.0 / 60.0, Unit::PerSecond)),
        _ => None,
    };
    if simple.is_some() {
        return simple;
    }
    let (what, per) = match word.split_once('/') {
        Some((what, per)) => (what, Some(time(per)?)),
        None => match word.strip_suffix("ps").filter(|bits| bits.ends_with('b')) {
            Some(bits) => (bits, Some(1.0)),
            None => (word, None),
        },
    };
    match (data(what), per) {
        (Some((scale, _)), Some(per)) => Some((scale / per, Unit::BytesPerSecond)),
        // Bits alone are no measure of a size.
        (Some((scale, bits)), None) => (!bits).then_some((scale, Unit::Bytes)),
        (None, Some(per)) => {
            let scale = prefix(what);
            Some((scale.unwrap_or(1.0) / per, Unit::PerSecond))
        }
        (None, None) => None,
    }
}

/// Bytes of a unit of data, and whether it is one of bits.
fn data(word: &str) -> Option<(f64, bool)> {
    let word = match word {
        "byte" | "bytes" | "Bytes" => "B",
        "bit" | "bits" => "b",
        word => word,
    };
    let (prefix, bits) = if let Some(prefix) = word.strip_suffix("bit") {
        (prefix, true)
    } else if let Some(prefix) = word.strip_suffix('B') {
        (prefix, false)
    } else if let Some(prefix) = word.strip_suffix('b') {
        (prefix, true)
    } else if word.ends_with('i') {
        // Kubernetes writes Mi for MiB.
        (word, false)
    } else {
        return None;
    };
    let scale = match prefix {
        "" => 1.0,
        "k" | "K" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "Ki" | "ki" => 1024.0,
        "Mi" => 1024.0 * 1024.0,
        "Gi" => 1024.0 * 1024.0 * 1024.0,
        "Ti" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    Some((if bits { scale / 8.0 } else { scale }, bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<(f64, Unit)> {
        quantity(text).map(|quantity| (quantity.value, quantity.unit))
    }

    #[test]
    fn numbers_are_read_with_their_separators() {
        for (text, value) in [
            ("0", 0.0),
            ("48", 48.0),
            ("-3", -3.0),
            ("−7.5", -7.5),
            ("4.8", 4.8),
            ("0.001", 0.001),
            ("1,234", 1234.0),
            ("1 234", 1234.0),
            ("12 345 678", 12_345_678.0),
            ("1\u{202f}234,5", 1234.5),
            ("1'234.5", 1234.5),
            ("1,234,567.89", 1_234_567.89),
            ("1.234.567", 1_234_567.0),
            ("1.234,5", 1234.5),
            ("12,4", 12.4),
            ("0,125", 0.125),
            ("~ 20", 20.0),
            ("< 5", 5.0),
        ] {
            assert_eq!(read(text), Some((value, Unit::None)), "{text}");
        }
    }

    #[test]
    fn units_are_multiplied_out() {
        use Unit::{Bytes, BytesPerSecond, Eur, Gbp, None, PerSecond, Percent, Seconds, Usd};
        for (text, value, unit) in [
            ("12.4%", 12.4, Percent),
            ("12,4 %", 12.4, Percent),
            ("5 ‰", 0.5, Percent),
            ("240 ms", 0.24, Seconds),
            ("240ms", 0.24, Seconds),
            ("250 µs", 0.000_25, Seconds),
            ("4.8 s", 4.8, Seconds),
            ("9 m", 540.0, Seconds),
            ("3d 4h", 273_600.0, Seconds),
            ("3d4h", 273_600.0, Seconds),
            ("1h 20m 5s", 4805.0, Seconds),
            ("2 hours", 7200.0, Seconds),
            ("1.5k", 1500.0, None),
            ("3M", 3e6, None),
            ("2G", 2e9, None),
            ("512 B", 512.0, Bytes),
            ("1.5 GB", 1.5e9, Bytes),
            ("2 KiB", 2048.0, Bytes),
            ("128Mi", 134_217_728.0, Bytes),
            ("10 MB/s", 1e7, BytesPerSecond),
            ("80 Mbit/s", 1e7, BytesPerSecond),
            ("80 Mbps", 1e7, BytesPerSecond),
            ("1,240 req/s", 1240.0, PerSecond),
            ("1.2k req/s", 1200.0, PerSecond),
            ("1.2k/s", 1200.0, PerSecond),
            ("120/min", 2.0, PerSecond),
            ("600 rpm", 10.0, PerSecond),
            ("$1,234.50", 1234.5, Usd),
            ("-$3", -3.0, Usd),
            ("$1.2M", 1.2e6, Usd),
            ("99 €", 99.0, Eur),
            ("£5", 5.0, Gbp),
        ] {
            let (read, of) = read(text).unwrap_or_else(|| panic!("{text} is a number"));
            assert!(
                (read - value).abs() <= value.abs() * 1e-12,
                "{text}: {read}"
            );
            assert_eq!(of, unit, "{text}");
        }
    }

    #[test]
    fn the_change_beside_a_number_is_not_the_number() {
        for (text, value) in [
            ("48 ▲ 12", 48.0),
            ("48 ↑", 48.0),
            ("48 (+12)", 48.0),
            ("48 +12", 48.0),
            ("48 -3", 48.0),
            ("48 ↓ 3 %", 48.0),
        ] {
            assert_eq!(read(text), Some((value, Unit::None)), "{text}");
        }
        assert_eq!(read("12.4 % ▲ 3 %"), Some((12.4, Unit::Percent)));
        for text in ["+12", "▲ 12", "+3 %", "± 5", "↑ 4.8 s"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn dates_versions_addresses_and_ids_are_no_numbers() {
        for text in [
            "",
            "none",
            "2026-11-28",
            "28.11.2026",
            "11/28/2026",
            "08:14",
            "08:14:22",
            "12:30",
            "v1.27.3",
            "1.27.3",
            "10.0.0.1",
            "203.0.113.45",
            "10.0.0.0/8",
            "007",
            "0412",
            "1732780800123",
            "4111 1111 1111 1111",
            "3/5",
            "3 / 5",
            "3 of 5",
            "10-20",
            "7zip",
            "2nd",
            "i-0abc1234",
            "#1234",
            "1e7f22",
            "3,14,15",
            "1.2.3,4",
            "1,23,456",
            "5xx",
            "99 bottles of beer",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn words_may_say_what_is_counted() {
        let read = |text| counted_quantity(text).map(|quantity| quantity.value);
        assert_eq!(read("48 errors"), Some(48.0));
        assert_eq!(read("12 failed logins"), Some(12.0));
        assert_eq!(read("12.4 %"), Some(12.4));
        for text in [
            "3 days ago",
            "3 d ago",
            "2 things we have to do",
            "1 v2",
            "7 at 10",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in "[-+<$€0-9.,:/ %a-zµ\u{202f}▲(]{0,24}") {
            let value = quantity(&text).map(|quantity| quantity.value);
            proptest::prop_assert!(value.is_none_or(f64::is_finite));
            counted_quantity(&text);
        }

        #[test]
        fn a_written_number_is_read_as_it_is(value in 0_u32..1_000_000_000) {
            let plain = read(&value.to_string()).map(|(value, _)| value);
            proptest::prop_assert_eq!(plain, Some(f64::from(value)));
            let mut grouped = value.to_string();
            let mut at = grouped.len();
            while at > 3 {
                at -= 3;
                grouped.insert(at, ',');
            }
            let grouped = read(&grouped).map(|(value, _)| value);
            proptest::prop_assert_eq!(grouped, Some(f64::from(value)));
        }
    }
}

//! Context of a stream in the operator's words (`[[stream]]` of `agents.toml`):
//! told to hosted models, and what is normal on it to the offline rules.

use std::fmt::Write as _;

use watchtower_base::stream_name::StreamName;
use watchtower_domain::series::{Quantity, Unit};
use watchtower_screen::series::{fold, quantity};

/// Context of one stream.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamContext {
    pub name: StreamName,
    /// Description of the screen; may be empty.
    pub context: String,
    pub normal: Vec<NormalState>,
}

/// Statement of what is normal on a stream.
#[derive(Debug, Clone, PartialEq)]
pub struct NormalState {
    text: String,
    bound: Option<NormalBound>,
}

/// Number that a labelled value may reach: "CPU up to 95 %".
#[derive(Debug, Clone, PartialEq)]
struct NormalBound {
    label: String,
    /// Words of the label, with the letters that OCR confuses as one.
    words: Vec<String>,
    most: bool,
    quantity: Quantity,
}

/// Judgement of a bound on a value that it is about.
#[derive(Debug, Clone, Copy)]
struct BoundVerdict {
    /// Words of its label: a bound on more of them is the more specific one.
    words: usize,
    most: bool,
    within: bool,
}

/// Words of a bound, and true for a maximum.
const BOUNDS: [(&str, bool); 10] = [
    (" up to ", true),
    (" at most ", true),
    (" below ", true),
    (" under ", true),
    (" <= ", true),
    (" < ", true),
    (" at least ", false),
    (" above ", false),
    (" >= ", false),
    (" > ", false),
];

/// Words that may follow a bound.
const CLOSINGS: [&str; 6] = [
    "is normal",
    "are normal",
    "is usual",
    "are usual",
    "is fine",
    "is ok",
];

impl NormalState {
    /// Parses a statement: a label, a bound and a number, or a text as it
    /// stands on the screen.
    pub fn parse(text: &str) -> Self {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let lower = text.to_lowercase();
        let bound = BOUNDS.iter().find_map(|(words, most)| {
            let (label, rest) = lower.split_once(words)?;
            let (number, rest) = leading_number(rest)?;
            let (unit, rest) = leading_unit(rest);
            if !rest.is_empty() && !CLOSINGS.contains(&rest) {
                return None;
            }
            Some(NormalBound {
                label: letters(label),
                words: label_words(label),
                most: *most,
                quantity: quantity_of(number, unit)?,
            })
        });
        Self {
            bound: bound.filter(|bound| !bound.label.is_empty()),
            text,
        }
    }

    /// True if the quotes of a finding show this normal state: each contains
    /// the text, or all numbers behind the label are within the bound.
    pub(crate) fn covers(&self, quotes: &[&str]) -> bool {
        let Some(bound) = &self.bound else {
            let text = letters(&self.text);
            return !quotes.is_empty() && quotes.iter().all(|quote| letters(quote).contains(&text));
        };
        bound
            .judges_quotes(quotes)
            .is_some_and(|found| found.within)
    }
}

impl NormalBound {
    /// Judgement on what a finding quotes; `None` if it is about something else.
    fn judges_quotes(&self, quotes: &[&str]) -> Option<BoundVerdict> {
        let named = |quote: &&str| letters(quote).contains(&self.label);
        if !quotes.iter().any(named) && !self.names(&quotes.join(" ")) {
            return None;
        }
        let numbers: Vec<f64> = quotes
            .iter()
            .flat_map(|quote| self.numbers(quote))
            .collect();
        (!numbers.is_empty()).then(|| self.verdict(numbers.iter().all(|one| self.allows(*one))))
    }

    /// Judgement on a number of the screen; `None` if it is another.
    fn judges(&self, label: &str, quantity: Quantity) -> Option<BoundVerdict> {
        let same = self.names(label) && self.quantity.unit == quantity.unit;
        same.then(|| self.verdict(self.allows(quantity.value)))
    }

    fn verdict(&self, within: bool) -> BoundVerdict {
        BoundVerdict {
            words: self.words.len(),
            most: self.most,
            within,
        }
    }

    fn allows(&self, value: f64) -> bool {
        match self.most {
            true => value <= self.quantity.value,
            false => value >= self.quantity.value,
        }
    }

    /// True if the label has all words of this one's, in whatever order.
    fn names(&self, label: &str) -> bool {
        let words = label_words(label);
        !self.words.is_empty() && self.words.iter().all(|word| words.contains(word))
    }

    /// Numbers of a quote in the bound's unit, without those that are part of a
    /// name (`cpu0`, `web-01`) or of a time.
    fn numbers(&self, quote: &str) -> Vec<f64> {
        let quote = quote.to_lowercase();
        let mut found = Vec::new();
        let mut rest = quote.as_str();
        let mut before = ' ';
        while let Some(c) = rest.chars().next() {
            match leading_number(rest).filter(|_| c.is_ascii_digit()) {
                Some((number, behind)) => {
                    let apart = !before.is_alphanumeric() && !"-_.:/".contains(before);
                    let value = match self.quantity.unit {
                        Unit::None => Some(number),
                        unit => quantity_of(number, leading_unit(behind).0)
                            .filter(|quantity| quantity.unit == unit)
                            .map(|quantity| quantity.value),
                    };
                    found.extend(value.filter(|_| apart));
                    before = '0';
                    rest = behind;
                }
                None => {
                    before = c;
                    rest = &rest[c.len_utf8()..];
                }
            }
        }
        found
    }
}

/// Judgement of all bounds on one value: of each direction the most specific
/// ones count. `None` if none is about it.
fn verdict(judged: impl Iterator<Item = BoundVerdict>) -> Option<bool> {
    let judged: Vec<BoundVerdict> = judged.collect();
    let counts = |one: &&BoundVerdict| {
        let mut same = judged.iter().filter(|other| other.most == one.most);
        same.all(|other| other.words <= one.words)
    };
    let mut counting = judged.iter().filter(counts).peekable();
    counting.peek()?;
    Some(counting.all(|one| one.within))
}

/// Unit behind a number, and the rest.
fn leading_unit(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    let end = text.find(|c: char| c.is_whitespace() || ",;()[]".contains(c));
    let (unit, rest) = text.split_at(end.unwrap_or(text.len()));
    (unit, rest.trim())
}

fn quantity_of(number: f64, unit: &str) -> Option<Quantity> {
    quantity(&format!("{number} {unit}"))
}

/// Words of a label, with the letters that OCR confuses as one.
fn label_words(label: &str) -> Vec<String> {
    let words = label.split(|c: char| !c.is_alphanumeric());
    let words = words.map(fold).filter(|word| !word.is_empty());
    words.collect()
}

/// Number that a text begins with, and the rest.
fn leading_number(text: &str) -> Option<(f64, &str)> {
    let text = text.trim_start();
    let digits = text
        .char_indices()
        .find(|(_, c)| !c.is_ascii_digit() && *c != '.' && *c != ',')
        .map_or(text.len(), |(at, _)| at);
    let written = text[..digits].trim_end_matches(['.', ',']);
    let number = written.replace(',', "").parse().ok()?;
    Some((number, &text[written.len()..]))
}

/// Letters and digits in lower case, as OCR splits words at will.
fn letters(text: &str) -> String {
    let lower = text.chars().flat_map(char::to_lowercase);
    lower.filter(|c| c.is_alphanumeric()).collect()
}

/// Part of the system prompt about a stream; empty without a context. It is the
/// operator's and trusted, unlike the screen.
pub(crate) fn instruction(streams: &[StreamContext], stream: &StreamName) -> String {
    let mut text = String::new();
    let Some(known) = streams.iter().find(|known| known.name == *stream) else {
        return text;
    };
    // Writing to a String does not fail.
    let _ = write!(
        text,
        "\n\nThe operator of stream \"{stream}\" says about it:"
    );
    if !known.context.is_empty() {
        let _ = write!(text, "\n{}", known.context);
    }
    if !known.normal.is_empty() {
        text.push_str("\nNormal on it, and no finding:");
        for normal in &known.normal {
            let _ = write!(text, "\n- {}", normal.text);
        }
    }
    text
}

/// Value beyond what is normal on a stream: the bound as it was written, if one
/// is crossed.
pub(crate) fn beyond_normal<'s>(
    streams: &'s [StreamContext],
    stream: &StreamName,
    label: &str,
    quantity: Quantity,
) -> Option<&'s str> {
    let known = streams.iter().find(|known| known.name == *stream)?;
    let bounds = || {
        known
            .normal
            .iter()
            .filter_map(|normal| Some((normal, normal.bound.as_ref()?)))
    };
    let judged = bounds().filter_map(|(_, bound)| bound.judges(label, quantity));
    if verdict(judged) != Some(false) {
        return None;
    }
    let mut crossed: Vec<_> = bounds()
        .filter(|(_, bound)| bound.judges(label, quantity).is_some_and(|one| !one.within))
        .collect();
    crossed.sort_by_key(|(_, bound)| std::cmp::Reverse(bound.words.len()));
    crossed.first().map(|(normal, _)| normal.text.as_str())
}

/// True if a stream has a bound on numbers.
pub(crate) fn has_bounds(streams: &[StreamContext], stream: &StreamName) -> bool {
    let known = streams.iter().find(|known| known.name == *stream);
    known.is_some_and(|known| known.normal.iter().any(|normal| normal.bound.is_some()))
}

/// True if what is quoted is normal on a stream.
pub(crate) fn is_normal(streams: &[StreamContext], stream: &StreamName, quotes: &[&str]) -> bool {
    let known = streams.iter().find(|known| known.name == *stream);
    known.is_some_and(|known| {
        let texts = known.normal.iter().filter(|normal| normal.bound.is_none());
        let bounds = known
            .normal
            .iter()
            .filter_map(|normal| normal.bound.as_ref());
        let judged = bounds.filter_map(|bound| bound.judges_quotes(quotes));
        texts.clone().any(|normal| normal.covers(quotes)) || verdict(judged) == Some(true)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_states_cover_texts_and_numbers_within_their_bound() {
        for (normal, quotes, covered) in [
            (
                "nightly-batch failed",
                &["nightly-batch  FAILED 3x"][..],
                true,
            ),
            (
                "nightly-batch failed",
                &["nightly-batch failed", "payments failed"],
                false,
            ),
            ("nightly-batch failed", &["payments failed"], false),
            ("CPU up to 95 %", &["CPU 93 %"], true),
            ("CPU up to 95 %", &["CPU", "95%"], true),
            ("CPU up to 95 %", &["CPU 96.5 %"], false),
            ("CPU up to 95 %", &["memory 93 %"], false),
            ("CPU up to 95 %", &["CPU 93 %", "CPU 99 %"], false),
            ("CPU up to 95 %", &["CPU of web-01 high"], false),
            (
                "cache hit ratio at least 60 %",
                &["cache hit ratio 61 %"],
                true,
            ),
            (
                "cache hit ratio at least 60 %",
                &["cache hit ratio 12 %"],
                false,
            ),
            ("backlog below 1,500", &["12:30 backlog 1,200"], true),
            // In another unit of the same kind, in another order, as a sentence.
            (
                "p99 below 900 ms is normal",
                &["p99 latency", "0.8 s"],
                true,
            ),
            (
                "p99 below 900 ms is normal",
                &["p99 latency", "1.2 s"],
                false,
            ),
            ("p99 latency below 900 ms", &["Latency p99", "850 ms"], true),
            ("p99 below 900 ms", &["p95 latency", "0.8 s"], false),
            ("error rate up to 3 %", &["Error rate: 2.9 %"], true),
            // What is not understood is a text.
            ("CPU up to 95 % at night", &["CPU 93 %"], false),
            ("nothing up to date", &["nothing up to date"], true),
        ] {
            let found = NormalState::parse(normal).covers(quotes);
            assert_eq!(found, covered, "{normal}: {quotes:?}");
        }
    }

    fn on_team(normal: &[&str]) -> Vec<StreamContext> {
        vec![StreamContext {
            name: StreamName::new("team").unwrap(),
            context: String::new(),
            normal: normal.iter().map(|text| NormalState::parse(text)).collect(),
        }]
    }

    #[test]
    fn a_value_beyond_the_most_specific_bound_of_its_label_is_told() {
        let stream = StreamName::new("team").unwrap();
        let of = |normal: &[&str], label: &str, text: &str| -> Option<String> {
            let streams = on_team(normal);
            let value = quantity(text).unwrap();
            beyond_normal(&streams, &stream, label, value).map(str::to_owned)
        };
        let p99 = ["p99 below 900 ms"];
        assert_eq!(of(&p99, "p99 latency", "0.8 s"), None);
        assert_eq!(of(&p99, "p99 latency", "1.2 s").as_deref(), Some(p99[0]));
        assert_eq!(of(&p99, "checkout · p99", "1.2 s").as_deref(), Some(p99[0]));
        assert_eq!(of(&p99, "p95 latency", "1.2 s"), None);
        assert_eq!(of(&p99, "p99 latency", "1200"), None, "another unit");
        let both = [
            "CPU up to 80 %",
            "CPU web-01 up to 95 %",
            "CPU at least 5 %",
        ];
        assert_eq!(of(&both, "web-02 · CPU", "90 %").as_deref(), Some(both[0]));
        assert_eq!(of(&both, "web-01 · CPU", "90 %"), None);
        assert_eq!(of(&both, "web-01 · CPU", "97 %").as_deref(), Some(both[1]));
        assert_eq!(of(&both, "web-02 · CPU", "1 %").as_deref(), Some(both[2]));
        // A finding is quiet only if no bound is crossed.
        let quiet = |quote: &str| is_normal(&on_team(&both), &stream, &[quote]);
        assert!(quiet("CPU 70 %") && quiet("web-01 CPU 90 %"));
        assert!(!quiet("CPU 90 %") && !quiet("CPU 1 %") && !quiet("web-01 CPU 97 %"));
    }
}

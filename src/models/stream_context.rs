//! Context of a stream in the operator's words (`[[stream]]` of `agents.toml`):
//! told to hosted models, and what is normal on it to the offline rules.

use std::fmt::Write as _;

use watchtower_base::stream_name::StreamName;

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
    most: bool,
    number: f64,
    unit: String,
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

impl NormalState {
    /// Parses a statement: a label, a bound and a number, or a text as it
    /// stands on the screen.
    pub fn parse(text: &str) -> Self {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let lower = text.to_lowercase();
        let bound = BOUNDS.iter().find_map(|(words, most)| {
            let (label, rest) = lower.split_once(words)?;
            let (number, unit) = leading_number(rest)?;
            Some(NormalBound {
                label: letters(label),
                most: *most,
                number,
                unit: unit.trim().to_owned(),
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
        let labelled = quotes
            .iter()
            .any(|quote| letters(quote).contains(&bound.label));
        let numbers: Vec<f64> = quotes
            .iter()
            .flat_map(|quote| bound.numbers(quote))
            .collect();
        let within = |number: &f64| match bound.most {
            true => *number <= bound.number,
            false => *number >= bound.number,
        };
        labelled && !numbers.is_empty() && numbers.iter().all(within)
    }
}

impl NormalBound {
    /// Numbers of a quote with the bound's unit, without those that are part of
    /// a name (`cpu0`, `web-01`) or of a time.
    fn numbers(&self, quote: &str) -> Vec<f64> {
        let quote = quote.to_lowercase();
        let mut found = Vec::new();
        let mut rest = quote.as_str();
        let mut before = ' ';
        while let Some(c) = rest.chars().next() {
            match leading_number(rest).filter(|_| c.is_ascii_digit()) {
                Some((number, behind)) => {
                    let apart = !before.is_alphanumeric() && !"-_.:/".contains(before);
                    let unit = behind.trim_start().starts_with(&self.unit);
                    if apart && unit {
                        found.push(number);
                    }
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

/// True if what is quoted is normal on a stream.
pub(crate) fn is_normal(streams: &[StreamContext], stream: &StreamName, quotes: &[&str]) -> bool {
    let known = streams.iter().find(|known| known.name == *stream);
    known.is_some_and(|known| known.normal.iter().any(|normal| normal.covers(quotes)))
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
            ("nothing up to date", &["nothing up to date"], true),
        ] {
            let found = NormalState::parse(normal).covers(quotes);
            assert_eq!(found, covered, "{normal}: {quotes:?}");
        }
    }
}

//! What a token costs: a dated table that the user can edit.

use std::path::{Path, PathBuf};

use jiff::civil::Date;
use serde::Deserialize;

/// The table that comes with Watchtower.
const SHIPPED: &str = include_str!("../../prices.toml");

/// Why there is no table.
#[derive(Debug, thiserror::Error)]
pub enum PricesError {
    #[error("failed to read the prices {}: {source}", file.display())]
    Read {
        file: PathBuf,
        source: std::io::Error,
    },
    #[error("{file}: {reason}")]
    Parse { file: String, reason: String },
}

/// In USD per 1,000,000 tokens, which is micro-USD per token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Price {
    pub input: f64,
    pub output: f64,
}

impl Price {
    /// In micro-USD, rounded up.
    pub fn of(self, prompt_tokens: u64, output_tokens: u64) -> u64 {
        let cost = prompt_tokens as f64 * self.input + output_tokens as f64 * self.output;
        cost.ceil() as u64
    }
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    model: String,
    #[serde(default)]
    from: Option<toml::value::Datetime>,
    input: f64,
    output: f64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    #[serde(default)]
    price: Vec<Row>,
}

/// All prices known, and since when each holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Prices {
    rows: Vec<(String, Option<Date>, Price)>,
}

impl Prices {
    /// Those of a file, or those that came with this version.
    pub fn load(file: Option<&Path>) -> Result<Self, PricesError> {
        match file {
            None => Self::parse(SHIPPED, "prices.toml"),
            Some(file) => {
                let text = std::fs::read_to_string(file).map_err(|source| PricesError::Read {
                    file: file.to_owned(),
                    source,
                })?;
                Self::parse(&text, &file.display().to_string())
            }
        }
    }

    fn parse(text: &str, file: &str) -> Result<Self, PricesError> {
        let wrong = |reason: String| PricesError::Parse {
            file: file.to_owned(),
            reason,
        };
        let table: Table = toml::from_str(text).map_err(|error| wrong(error.to_string()))?;
        let rows = table.price.into_iter().enumerate().map(|(index, row)| {
            let path = format!("price[{index}] ({})", row.model);
            for (name, price) in [("input", row.input), ("output", row.output)] {
                if !(price.is_finite() && price >= 0.0) {
                    return Err(wrong(format!(
                        "{path}: {name} must be USD per 1,000,000 tokens, got {price}"
                    )));
                }
            }
            let from = row.from.map(|from| {
                from.to_string()
                    .parse::<Date>()
                    .map_err(|_| wrong(format!("{path}: from must be a date, got {from}")))
            });
            let price = Price {
                input: row.input,
                output: row.output,
            };
            Ok((row.model, from.transpose()?, price))
        });
        Ok(Self {
            rows: rows.collect::<Result<_, _>>()?,
        })
    }

    /// What the model costs on that day (UTC): its newest price by then.
    pub fn of(&self, model: &str, day: Date) -> Option<Price> {
        let rows = self
            .rows
            .iter()
            .filter(|(name, from, _)| name == model && from.is_none_or(|from| from <= day));
        let newest = rows.max_by_key(|(_, from, _)| *from);
        newest.map(|(_, _, price)| *price)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> Date {
        text.parse().unwrap()
    }

    #[test]
    fn a_price_holds_from_its_day_on() {
        let prices = Prices::load(None).unwrap();
        let of = |on: &str| prices.of("gemini-3.8-flash", day(on)).unwrap();
        assert_eq!(
            (of("2026-12-31").input, of("2026-12-31").output),
            (0.75, 3.75)
        );
        assert_eq!(
            (of("2027-01-01").input, of("2027-01-01").output),
            (1.5, 7.5)
        );
        assert_eq!(prices.of("nobody's", day("2027-01-01")), None);
        // 1,800 tokens in, 400 out.
        assert_eq!(of("2026-11-23").of(1800, 400), 2850);
    }

    #[test]
    fn what_is_no_price_is_named() {
        let of = |text: &str| Prices::parse(text, "mine.toml").unwrap_err().to_string();
        let negative = of("[[price]]\nmodel = \"m\"\ninput = -1\noutput = 2");
        assert_eq!(
            negative,
            "mine.toml: price[0] (m): input must be USD per 1,000,000 tokens, got -1"
        );
        assert!(of("[[price]]\nmodle = \"m\"").contains("modle"));
        let dated = of("[[price]]\nmodel = \"m\"\nfrom = 10:00:00\ninput = 1\noutput = 2");
        assert!(
            dated.contains("from must be a date, got 10:00:00"),
            "{dated}"
        );
    }
}

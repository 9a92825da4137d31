//! Token prices: a dated table that the user can edit.

use std::path::{Path, PathBuf};

use jiff::civil::Date;
use serde::Deserialize;

/// Shipped price table.
const SHIPPED: &str = include_str!("../../../prices.toml");

/// Error of a price table that can't be loaded.
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

/// Price in USD per 1,000,000 tokens, which is micro-USD per token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Price {
    pub input: f64,
    /// Price of the cached part of the prompt.
    pub cached: f64,
    pub output: f64,
}

impl Price {
    /// Cost in micro-USD, rounded up. Cached tokens are part of the prompt.
    pub fn of(self, prompt_tokens: u64, cached_tokens: u64, output_tokens: u64) -> u64 {
        let new = prompt_tokens.saturating_sub(cached_tokens) as f64 * self.input;
        let cached = cached_tokens.min(prompt_tokens) as f64 * self.cached;
        (new + cached + output_tokens as f64 * self.output).ceil() as u64
    }
}

/// Entry of the table as written.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct PriceRow {
    model: String,
    #[serde(default)]
    from: Option<toml::value::Datetime>,
    input: f64,
    /// Defaults to `input`.
    #[serde(default)]
    cached: Option<f64>,
    output: f64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PriceTable {
    #[serde(default)]
    price: Vec<PriceRow>,
}

/// Advice for a model without a price.
pub fn how_to_price(model: &str) -> String {
    format!(
        "in the file that [budget] prices of agents.toml names: [[price]] model = {model:?}, input = USD per 1,000,000 tokens, output = the same (one's own server costs 0; docs/models.md)"
    )
}

/// All known prices, with their start dates.
#[derive(Debug, Clone, PartialEq)]
pub struct Prices {
    rows: Vec<(String, Option<Date>, Price)>,
}

impl Prices {
    /// Loads the shipped prices and those of a file: for a model in the file
    /// only the file's prices apply.
    pub fn load(file: Option<&Path>) -> Result<Self, PricesError> {
        let mut prices = Self::parse(SHIPPED, "prices.toml")?;
        if let Some(file) = file {
            let text = std::fs::read_to_string(file).map_err(|source| PricesError::Read {
                file: file.to_owned(),
                source,
            })?;
            let own = Self::parse(&text, &file.display().to_string())?;
            let named = |model: &String| own.rows.iter().any(|(name, _, _)| name == model);
            prices.rows.retain(|(model, _, _)| !named(model));
            prices.rows.extend(own.rows);
        }
        Ok(prices)
    }

    fn parse(text: &str, file: &str) -> Result<Self, PricesError> {
        let wrong = |reason: String| PricesError::Parse {
            file: file.to_owned(),
            reason,
        };
        let table: PriceTable = toml::from_str(text).map_err(|error| wrong(error.to_string()))?;
        let rows = table.price.into_iter().enumerate().map(|(index, row)| {
            let path = format!("price[{index}] ({})", row.model);
            let cached = row.cached.unwrap_or(row.input);
            for (name, price) in [
                ("input", row.input),
                ("cached", cached),
                ("output", row.output),
            ] {
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
                cached,
                output: row.output,
            };
            Ok((row.model, from.transpose()?, price))
        });
        Ok(Self {
            rows: rows.collect::<Result<_, _>>()?,
        })
    }

    /// Price of the model on that day (UTC): the newest in force.
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
        // 1,800 tokens of input, 400 of output.
        assert_eq!(of("2026-11-23").of(1800, 0, 400), 2850);
    }

    #[test]
    fn what_was_cached_costs_what_the_table_says() {
        let text = "[[price]]\nmodel = \"m\"\ninput = 2\noutput = 10\n";
        let price = |text: &str| {
            let prices = Prices::parse(text, "mine.toml").unwrap();
            prices.of("m", day("2026-11-23")).unwrap()
        };
        assert_eq!(price(text).of(1000, 600, 10), 2100);
        let cached = price(&format!("{text}cached = 0.2\n"));
        assert_eq!(cached.of(1000, 600, 10), 800 + 120 + 100);
        assert_eq!(cached.of(1000, 9999, 10), 200 + 100);
    }

    #[test]
    fn own_prices_stand_beside_those_that_came_along() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("mine.toml");
        let own = "[[price]]\nmodel = \"gemini-3.8-flash\"\ninput = 9\noutput = 9\n\n\
                   [[price]]\nmodel = \"qwen2.5vl:7b\"\ninput = 0\noutput = 0\n";
        std::fs::write(&file, own).unwrap();
        let prices = Prices::load(Some(&file)).unwrap();
        let input = |model: &str| prices.of(model, day("2027-02-01")).map(|price| price.input);
        assert_eq!(input("gemini-3.8-flash"), Some(9.0));
        assert_eq!(input("qwen2.5vl:7b"), Some(0.0));
        assert_eq!(input("gemini-3.5-flash-lite"), Some(0.3));
        assert_eq!(input("nobody's"), None);
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

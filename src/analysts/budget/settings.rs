//! `[budget]` of `agents.toml`: cost limits of hosted models.

use std::path::PathBuf;

use serde::Serialize;
use utoipa::ToSchema;

use watchtower_base::config::section::Section;

/// `[budget]`
#[derive(Debug, Clone, PartialEq, Default)]
pub struct BudgetConfig {
    pub limits: Limits,
    /// Price table in addition to the shipped one.
    pub prices: Option<PathBuf>,
}

/// Over all agents; `None` is without a limit. Minutes and hours are any
/// 60 seconds and 60 minutes, days are those of UTC.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, ToSchema)]
pub struct Limits {
    pub requests_per_minute: Option<u64>,
    pub requests_per_day: Option<u64>,
    /// Prompt and output together.
    pub tokens_per_minute: Option<u64>,
    pub tokens_per_day: Option<u64>,
    /// In millionths of a US dollar.
    pub micro_usd_per_hour: Option<u64>,
    pub micro_usd_per_day: Option<u64>,
}

impl Limits {
    /// True if a limit is in US dollars, which needs the price of a model.
    pub fn of_money(&self) -> bool {
        self.micro_usd_per_hour.is_some() || self.micro_usd_per_day.is_some()
    }
}

pub(crate) fn budget(mut s: Section<'_>) -> BudgetConfig {
    const MOST: i64 = 1_000_000_000_000;
    const MOST_USD: f64 = 1_000_000.0;
    let limits = Limits {
        requests_per_minute: count(&mut s, "requests_per_minute", MOST),
        requests_per_day: count(&mut s, "requests_per_day", MOST),
        tokens_per_minute: count(&mut s, "tokens_per_minute", MOST),
        tokens_per_day: count(&mut s, "tokens_per_day", MOST),
        micro_usd_per_hour: micro_usd(&mut s, "usd_per_hour", MOST_USD),
        micro_usd_per_day: micro_usd(&mut s, "usd_per_day", MOST_USD),
    };
    let prices = s.text("prices").map(PathBuf::from);
    s.finish();
    BudgetConfig { limits, prices }
}

fn count(s: &mut Section<'_>, key: &'static str, most: i64) -> Option<u64> {
    s.integer(key, 0, most).and_then(|n| u64::try_from(n).ok())
}

fn micro_usd(s: &mut Section<'_>, key: &'static str, most: f64) -> Option<u64> {
    s.number(key, 0.0, most)
        .map(|usd| (usd * 1e6).round() as u64)
}

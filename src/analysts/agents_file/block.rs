//! `[[agent]]` block as written and as sent by the page, and its bounds.

use serde::{Deserialize, Serialize};
use toml_edit::{Item, Table};
use utoipa::ToSchema;

use watchtower_screen::redact::mask_secrets;

/// Bounds of texts that the page may write. Personality and focus are part of
/// each prompt: some 1,000 tokens each.
const LONGEST_TEXT: usize = 4000;
const LONGEST_INDICATOR: usize = 500;
const MOST_INDICATORS: usize = 64;
/// Names of models, streams and languages.
const LONGEST_WORD: usize = 200;
const MOST_WORDS: usize = 64;

/// Settings of an analyst as in its `[[agent]]` block; an unset one has its
/// default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentBlock {
    /// 1 to 32 letters, digits, _ or -.
    #[schema(min_length = 1, max_length = 32, pattern = "^[A-Za-z0-9_-]+$")]
    pub name: String,
    #[schema(min_length = 1, max_length = 4000)]
    pub personality: String,
    #[schema(min_length = 1, max_length = 4000)]
    pub focus: String,
    #[serde(default)]
    #[schema(max_items = 64)]
    pub indicators: Vec<String>,
    /// Streams it analyses; empty: all live ones.
    #[serde(default)]
    #[schema(max_items = 64)]
    pub streams: Vec<String>,
    /// Such as "10s".
    pub interval: Option<String>,
    pub requests_per_interval: Option<i64>,
    pub model: Option<String>,
    pub fallback: Option<Vec<String>>,
    /// minimal, low, medium or high.
    pub thinking: Option<String>,
    pub language: Option<String>,
    /// changed or full.
    pub frames: Option<String>,
    pub max_regions: Option<i64>,
    /// normal or low.
    pub priority: Option<String>,
    /// False: paused.
    #[serde(default = "enabled")]
    pub enabled: bool,
}

fn enabled() -> bool {
    true
}

impl AgentBlock {
    pub(super) fn of(table: &Table) -> Self {
        let text = |key: &str| table.get(key).and_then(Item::as_str).map(str::to_owned);
        let texts = |key: &str| {
            let array = table.get(key).and_then(Item::as_array)?;
            let texts = array.iter().filter_map(|item| item.as_str());
            Some(texts.map(str::to_owned).collect::<Vec<_>>())
        };
        let integer = |key: &str| table.get(key).and_then(Item::as_integer);
        Self {
            name: text("name").unwrap_or_default().trim().to_owned(),
            personality: text("personality").unwrap_or_default(),
            focus: text("focus").unwrap_or_default(),
            indicators: texts("indicators").unwrap_or_default(),
            streams: texts("streams").unwrap_or_default(),
            interval: text("interval"),
            requests_per_interval: integer("requests_per_interval"),
            model: text("model"),
            fallback: texts("fallback"),
            thinking: text("thinking"),
            language: text("language"),
            frames: text("frames"),
            max_regions: integer("max_regions"),
            priority: text("priority"),
            enabled: table.get("enabled").and_then(Item::as_bool).unwrap_or(true),
        }
    }

    /// Faults of what the page may write, each with its key; what `watchtower
    /// check` says of the file comes after them.
    pub(super) fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut text = |key: &str, text: &str, longest: usize, lines: bool| {
            let length = text.chars().count();
            if length > longest {
                faults.push(format!(
                    "{key}: must be at most {longest} characters long, got {length}"
                ));
                return;
            }
            let allowed = |c: char| lines && matches!(c, '\n' | '\t');
            if let Some(c) = text.chars().find(|c| c.is_control() && !allowed(*c)) {
                faults.push(format!(
                    "{key}: must not contain control characters, got U+{:04X}",
                    u32::from(c)
                ));
            }
            if mask_secrets(text) != text {
                faults.push(format!(
                    "{key}: must not contain a secret: API keys are set in the environment"
                ));
            }
        };
        text("name", &self.name, LONGEST_WORD, false);
        text("personality", &self.personality, LONGEST_TEXT, true);
        text("focus", &self.focus, LONGEST_TEXT, true);
        for (nth, indicator) in self.indicators.iter().enumerate() {
            let key = format!("indicators[{nth}]");
            text(&key, indicator, LONGEST_INDICATOR, false);
        }
        for (key, words) in [
            ("streams", &self.streams),
            ("fallback", self.fallback.as_ref().unwrap_or(&Vec::new())),
        ] {
            for (nth, word) in words.iter().enumerate() {
                text(&format!("{key}[{nth}]"), word, LONGEST_WORD, false);
            }
        }
        for (key, word) in [
            ("interval", &self.interval),
            ("model", &self.model),
            ("thinking", &self.thinking),
            ("language", &self.language),
            ("frames", &self.frames),
            ("priority", &self.priority),
        ] {
            text(
                key,
                word.as_deref().unwrap_or_default(),
                LONGEST_WORD,
                false,
            );
        }
        for (key, count, most) in [
            ("indicators", self.indicators.len(), MOST_INDICATORS),
            ("streams", self.streams.len(), MOST_WORDS),
            (
                "fallback",
                self.fallback.as_ref().map_or(0, Vec::len),
                MOST_WORDS,
            ),
        ] {
            if count > most {
                faults.push(format!(
                    "{key}: must have at most {most} items, got {count}"
                ));
            }
        }
        faults
    }
}

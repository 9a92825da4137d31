//! Parser and validator of a model's response text.
//!
//! No I/O. A text of another shape is an error and never an empty list; invalid
//! findings of an answer are dropped and counted one by one, and the rest is
//! cut to its bounds.

use std::sync::OnceLock;

use serde_json::{Value, json};

use watchtower_domain::cost::TokenUsage;
use watchtower_domain::finding::{
    Category, Evidence, ModelRef, Observation, Severity, is_technique, printable,
};
use watchtower_domain::incident::Stance;
use watchtower_screen::redact::{RedactedFrame, mask_secrets};

use crate::model::{Failure, FollowUp, FrameObservation, MOST_REMEMBERED, ObserveReply, Review};
use crate::prompt::{MAX_FINDINGS, MAX_NOT_SURE};
use crate::written::json_of;

/// Maximum length of each text in characters; longer texts end in an ellipsis.
const MAX_TITLE: usize = 80;
const MAX_TEXT: usize = 1000;
const MAX_QUOTE: usize = 500;
const MAX_QUOTES: usize = 4;
const MAX_TECHNIQUES: usize = 8;

/// Content of an answer.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Findings {
    pub observations: Vec<Observation>,
    pub dropped: u32,
    pub follow_up: FollowUp,
}

/// Error of a text that is no answer.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unusable {
    #[error("the answer is not JSON")]
    NotJson,
    #[error("the answer does not match the schema")]
    Shape,
    #[error("no valid finding among the {0} in the answer")]
    AllDropped(u32),
}

/// Schema of an answer. No bounds, patterns or long enums beyond need: the
/// server rejects schemas with too many states; [`parse`] checks everything
/// anyway.
pub(super) fn schema() -> &'static Value {
    static SCHEMA: OnceLock<Value> = OnceLock::new();
    SCHEMA.get_or_init(|| {
        let order = json!([
            "evidence",
            "box_2d",
            "category",
            "title",
            "detail",
            "mitre_techniques",
            "severity",
            "confidence",
            "recommended_action"
        ]);
        json!({
            "type": "OBJECT",
            "properties": {"findings": {
                "type": "ARRAY",
                "maxItems": MAX_FINDINGS,
                "items": {
                    "type": "OBJECT",
                    "properties": {
                        "evidence": {"type": "STRING", "description": "Text copied exactly from the screen or audio; empty if the finding is purely visual."},
                        "box_2d": {
                            "type": "ARRAY",
                            "description": "[ymin, xmin, ymax, xmax], integers 0-1000 relative to the image; empty if not localised.",
                            "items": {"type": "INTEGER"}
                        },
                        "category": {"type": "STRING", "enum": Category::ALL.map(Category::as_str)},
                        "title": {"type": "STRING", "description": "At most 80 characters."},
                        "detail": {"type": "STRING", "description": "One or two sentences."},
                        "mitre_techniques": {
                            "type": "ARRAY",
                            "items": {"type": "STRING", "description": "ATT&CK id such as T1552.001"}
                        },
                        "severity": {"type": "STRING", "enum": Severity::ALL.map(Severity::as_str)},
                        "confidence": {"type": "NUMBER", "description": "0 to 1"},
                        "recommended_action": {"type": "STRING"}
                    },
                    "required": order,
                    "propertyOrdering": order
                }
            },
            "earlier": {
                "type": "ARRAY",
                "description": "What has become of what was reported earlier, by its number.",
                "items": {
                    "type": "OBJECT",
                    "properties": {
                        "number": {"type": "INTEGER"},
                        "now": {"type": "STRING", "enum": ["still", "ended", "unsure"]}
                    },
                    "required": ["number", "now"],
                    "propertyOrdering": ["number", "now"]
                }
            },
            "not_sure": {
                "type": "ARRAY",
                "description": "What can't be told yet, each in a few words.",
                "maxItems": MAX_NOT_SURE,
                "items": {"type": "STRING"}
            }},
            "required": ["findings"],
            "propertyOrdering": ["findings", "earlier", "not_sure"]
        })
    })
}

/// Maximum lengths of lists, which the schema leaves out: for Gemini bounds
/// multiply ("too many states"), other models would not stop.
pub(super) fn most_items(list: &str) -> usize {
    const MOST: usize = 32;
    match list {
        "box_2d" => 4,
        "mitre_techniques" => MAX_TECHNIQUES,
        "earlier" => MOST_REMEMBERED,
        _ => MOST,
    }
}

/// Parses a model's text about a picture into an answer.
pub(super) fn conclude(
    text: &str,
    frame: &RedactedFrame,
    usage: TokenUsage,
    model: ModelRef,
) -> Result<ObserveReply, Failure> {
    let findings = parse(text).map_err(|unusable| Failure::NoAnswer {
        reason: unusable.to_string(),
        dropped: match unusable {
            Unusable::AllDropped(count) => count,
            Unusable::NotJson | Unusable::Shape => 0,
        },
    })?;
    let seen = findings
        .observations
        .into_iter()
        .map(|observation| FrameObservation {
            frame: frame.clone(),
            observation,
        });
    Ok(ObserveReply {
        seen: seen.collect(),
        dropped: findings.dropped,
        follow_up: findings.follow_up,
        usage,
        model,
        exchange: None,
    })
}

pub(super) fn parse(text: &str) -> Result<Findings, Unusable> {
    let answer: Value = json_of(text).ok_or(Unusable::NotJson)?;
    let items = match &answer {
        // A list without its envelope; an empty one may be anything.
        Value::Array(items) if items.iter().any(Value::is_object) => Some(items.as_slice()),
        // Single finding sent without its list.
        Value::Object(one) if !one.contains_key("findings") && one.contains_key("title") => {
            Some(std::slice::from_ref(&answer))
        }
        _ => answer
            .get("findings")
            .and_then(Value::as_array)
            .map(Vec::as_slice),
    };
    let items = items.ok_or(Unusable::Shape)?;
    let mut observations: Vec<_> = items.iter().filter_map(observation).collect();
    observations.truncate(MAX_FINDINGS);
    let dropped = u32::try_from(items.len() - observations.len()).unwrap_or(u32::MAX);
    if observations.is_empty() && dropped > 0 {
        return Err(Unusable::AllDropped(dropped));
    }
    Ok(Findings {
        observations,
        dropped,
        follow_up: follow_up(&answer),
    })
}

/// All fields are optional: an invalid one counts as absent.
fn follow_up(answer: &Value) -> FollowUp {
    let list = |field: &str| answer.get(field).and_then(Value::as_array);
    let ended = |item: &Value| {
        let number = item.get("number")?.as_u64()?.checked_sub(1)?;
        let number = usize::try_from(number).ok()?;
        (word(item, "now") == "ended").then_some(number)
    };
    let words = |item: &Value| {
        let text = bounded(item.as_str()?, MAX_TITLE);
        (!text.is_empty()).then_some(text)
    };
    let mut ended: Vec<usize> = list("earlier")
        .into_iter()
        .flatten()
        .filter_map(ended)
        .collect();
    ended.truncate(MOST_REMEMBERED);
    let not_sure = list("not_sure").into_iter().flatten().filter_map(words);
    FollowUp {
        ended,
        not_sure: not_sure.take(MAX_NOT_SURE).collect(),
    }
}

/// Parses an analyst's review of a report of that category.
pub(super) fn review(text: &str, category: Category) -> Result<Review, Unusable> {
    let answer = json_of(text).ok_or(Unusable::NotJson)?;
    let stance = word(&answer, "stance");
    let stance = Stance::ALL.into_iter().find(|s| s.as_str() == stance);
    let confidence = confidence(&answer);
    let observation = Observation {
        severity: severity(&word(&answer, "severity")).ok_or(Unusable::Shape)?,
        confidence: confidence.ok_or(Unusable::Shape)?,
        category,
        title: String::new(),
        detail: text_of(&answer, "text", MAX_TEXT),
        evidence: evidence(&answer),
        mitre: Vec::new(),
        recommended_action: String::new(),
    };
    Ok(Review {
        stance: stance.ok_or(Unusable::Shape)?,
        observation,
    })
}

/// Parses a finding: severity, confidence and title are required; all else has
/// a harmless default.
fn observation(item: &Value) -> Option<Observation> {
    let title = text_of(item, "title", MAX_TITLE);
    Some(Observation {
        severity: severity(&word(item, "severity"))?,
        confidence: confidence(item)?,
        category: category(&word(item, "category")),
        title: Some(title).filter(|title| !title.is_empty())?,
        detail: text_of(item, "detail", MAX_TEXT),
        evidence: evidence(item),
        mitre: techniques(item),
        recommended_action: text_of(item, "recommended_action", MAX_TEXT),
    })
}

/// Parses a confidence of 0 to 1, also as a string; a percentage (above 1) and
/// a word, as local models write them.
fn confidence(item: &Value) -> Option<f32> {
    let value = item.get("confidence")?;
    let given = value.as_f64().or_else(|| {
        let text = value.as_str()?.trim();
        match text.strip_suffix('%') {
            Some(percent) => Some(percent.trim().parse::<f64>().ok()? / 100.0),
            None => text.parse().ok().or_else(|| in_a_word(text)),
        }
    });
    let given = given.filter(|given| given.is_finite())?;
    let part = if given > 1.0 { given / 100.0 } else { given };
    Some(part.clamp(0.0, 1.0) as f32)
}

fn in_a_word(text: &str) -> Option<f64> {
    match text.to_lowercase().as_str() {
        "high" => Some(0.9),
        "medium" => Some(0.6),
        "low" => Some(0.3),
        _ => None,
    }
}

/// Parses a severity: our names, those of syslog (RFC 5424, section 6.2.1) and
/// of scanners.
fn severity(word: &str) -> Option<Severity> {
    let known = Severity::ALL.into_iter().find(|s| s.as_str() == word);
    known.or(match word {
        "emergency" | "alert" | "fatal" | "urgent" => Some(Severity::Critical),
        "error" | "severe" | "important" => Some(Severity::High),
        "warning" | "warn" | "moderate" => Some(Severity::Medium),
        "notice" | "minor" => Some(Severity::Low),
        "informational" | "information" | "debug" => Some(Severity::Info),
        _ => None,
    })
}

fn category(word: &str) -> Category {
    let known = Category::ALL.into_iter().find(|c| c.as_str() == word);
    known.unwrap_or(Category::Other)
}

/// Text in lower case; empty when absent.
fn word(item: &Value, field: &str) -> String {
    let word = item.get(field).and_then(Value::as_str).unwrap_or_default();
    word.trim().to_lowercase()
}

/// Text, printable, on one line and within bounds; empty when absent.
pub(super) fn text_of(item: &Value, field: &str, longest: usize) -> String {
    bounded(
        item.get(field).and_then(Value::as_str).unwrap_or_default(),
        longest,
    )
}

fn bounded(text: &str, longest: usize) -> String {
    // Masked before the cut: half a secret is not recognised.
    shortened(&mask_secrets(&printable(text)), longest)
}

/// Text, trimmed and cut to `longest` characters.
pub(super) fn shortened(text: &str, longest: usize) -> String {
    let text = text.trim();
    if text.chars().nth(longest).is_none() {
        return text.to_owned();
    }
    let kept: String = text.chars().take(longest - 1).collect();
    format!("{}…", kept.trim_end())
}

/// Evidence of a quote, or of several in a list, where the box belongs to the
/// first.
fn evidence(item: &Value) -> Vec<Evidence> {
    let quotes = match item.get("evidence") {
        Some(Value::Array(quotes)) => quotes.iter().filter_map(quote).collect(),
        _ => vec![text_of(item, "evidence", MAX_QUOTE)],
    };
    let mut quotes: Vec<String> = quotes
        .into_iter()
        .filter(|quote| !quote.is_empty())
        .collect();
    quotes.truncate(MAX_QUOTES);
    let mut bounds = item.get("box_2d").and_then(bounds);
    if quotes.is_empty() && bounds.is_some() {
        quotes.push(String::new());
    }
    let evidence = quotes.into_iter().map(|quote| Evidence {
        quote,
        bounds: bounds.take(),
        grounded: None,
    });
    evidence.collect()
}

/// String, or an object that contains one.
fn quote(item: &Value) -> Option<String> {
    let names = ["quote", "text", "evidence"];
    let text = item.as_str();
    let text = text.or_else(|| names.iter().find_map(|name| item.get(name)?.as_str()));
    text.map(|text| bounded(text, MAX_QUOTE))
}

/// Box of four integers of 0 to 1000; models write `[0,0,0,0]` for none.
fn bounds(value: &Value) -> Option<[u16; 4]> {
    let sides = value.as_array()?.iter().map(|side| {
        let side = side.as_f64().filter(|s| s.fract() == 0.0)?;
        (0.0..=1000.0).contains(&side).then_some(side as u16)
    });
    let sides: Vec<u16> = sides.collect::<Option<_>>()?;
    let [ymin, xmin, ymax, xmax] = *sides.as_slice() else {
        return None;
    };
    (ymin < ymax && xmin < xmax).then_some([ymin, xmin, ymax, xmax])
}

fn techniques(item: &Value) -> Vec<String> {
    let named = item.get("mitre_techniques").and_then(Value::as_array);
    let mut ids: Vec<String> = Vec::new();
    for name in named.into_iter().flatten().filter_map(Value::as_str) {
        let id = name.trim();
        if is_technique(id) && !ids.iter().any(|known| known == id) {
            ids.push(id.to_owned());
        }
    }
    ids.truncate(MAX_TECHNIQUES);
    ids
}

#[cfg(test)]
mod tests;

//! From the text a model wrote to observations that can be relied on.
//!
//! No I/O. A text that is not an answer is an error and never an empty list;
//! of an answer, findings that make no sense are dropped and counted one by
//! one, and the rest is brought within bounds.

use std::sync::{Arc, OnceLock};

use serde_json::{Value, json};

use crate::finding::{Category, Evidence, ModelRef, Observation, Severity, printable};
use crate::incident::Stance;
use crate::masking::mask_secrets;
use crate::media::Frame;
use crate::model::{Answer, Failure, FollowUp, MOST_REMEMBERED, Seen, Usage, View};
use crate::models::prompt::{MAX_FINDINGS, MAX_NOT_SURE};

/// Characters each text may have; what is longer ends in an ellipsis.
const MAX_TITLE: usize = 80;
const MAX_TEXT: usize = 1000;
const MAX_QUOTE: usize = 500;
const MAX_TECHNIQUES: usize = 8;

/// What an answer held.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Findings {
    pub observations: Vec<Observation>,
    pub dropped: u32,
    pub follow_up: FollowUp,
}

/// Why a text is no answer.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unusable {
    #[error("the answer is not JSON")]
    NotJson,
    #[error("the answer is not of the asked shape")]
    Shape,
    #[error("none of the {0} findings in the answer makes sense")]
    AllDropped(u32),
}

/// The schema of an answer. No bounds, patterns or long enums beyond need:
/// they make the server refuse it ("too many states"); [`parse`]
/// checks everything anyway.
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
            "required": ["findings"]
        })
    })
}

/// Of what a model said about a picture.
pub(super) fn conclude(
    text: &str,
    frame: &Arc<Frame>,
    usage: Usage,
    model: ModelRef,
) -> Result<Answer, Failure> {
    let findings = parse(text).map_err(|unusable| Failure::NoAnswer {
        reason: unusable.to_string(),
        dropped: match unusable {
            Unusable::AllDropped(count) => count,
            Unusable::NotJson | Unusable::Shape => 0,
        },
    })?;
    let seen = findings.observations.into_iter().map(|observation| Seen {
        frame: Arc::clone(frame),
        observation,
    });
    Ok(Answer {
        seen: seen.collect(),
        dropped: findings.dropped,
        follow_up: findings.follow_up,
        usage,
        model,
        spoken: None,
    })
}

pub(super) fn parse(text: &str) -> Result<Findings, Unusable> {
    let answer: Value = json_of(text).ok_or(Unusable::NotJson)?;
    let items = answer.get("findings").and_then(Value::as_array);
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

/// Optional, all of it: what makes no sense is as good as not there.
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

/// What an analyst makes of a report of that category.
pub(super) fn view(text: &str, category: Category) -> Result<View, Unusable> {
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
    Ok(View {
        stance: stance.ok_or(Unusable::Shape)?,
        observation,
    })
}

/// The inside of a Markdown fence, when the whole text is one fence.
fn unfenced(text: &str) -> &str {
    let text = text.trim();
    let inside = text
        .strip_prefix("```")
        .and_then(|rest| rest.strip_suffix("```"))
        .filter(|inside| !inside.contains("```"));
    match inside.and_then(|inside| inside.split_once('\n')) {
        // The first line names the language, if anything.
        Some((language, body)) if language.trim().chars().all(char::is_alphanumeric) => body,
        _ => text,
    }
}

/// A finding needs a severity, a confidence and a title; all else has a
/// harmless default.
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

/// Of 0 to 1; as a text too, and of 0 to 100 where it is above 1, as local
/// models write it.
fn confidence(item: &Value) -> Option<f32> {
    let value = item.get("confidence")?;
    let given = value.as_f64().or_else(|| {
        let text = value.as_str()?.trim();
        match text.strip_suffix('%') {
            Some(percent) => Some(percent.trim().parse::<f64>().ok()? / 100.0),
            None => text.parse().ok(),
        }
    });
    let given = given.filter(|given| given.is_finite())?;
    let part = if given > 1.0 { given / 100.0 } else { given };
    Some(part.clamp(0.0, 1.0) as f32)
}

/// The JSON of an answer: all of it, or the one object in it whatever is said
/// around that. Half a character is made a mark instead of taking the rest
/// along.
pub(super) fn json_of(text: &str) -> Option<Value> {
    let parse = |text: &str| {
        let parsed = serde_json::from_str(text).ok();
        parsed.or_else(|| serde_json::from_str(&without_lone_surrogates(text)?).ok())
    };
    parse(unfenced(text)).or_else(|| parse(object_in(text)?))
}

/// The only outermost object of a text that is JSON; none where two compete.
pub(super) fn object_in(text: &str) -> Option<&str> {
    let mut found = None;
    let mut from = 0;
    // Most braces in prose begin no object; those that do are passed over whole.
    const MOST_TRIES: usize = 64;
    for _ in 0..MOST_TRIES {
        let Some(start) = text[from..].find('{').map(|at| from + at) else {
            break;
        };
        match end_of_object(&text[start..]) {
            Some(length) => {
                if found.replace(&text[start..start + length]).is_some() {
                    return None;
                }
                from = start + length;
            }
            None => from = start + 1,
        }
    }
    found
}

fn end_of_object(text: &str) -> Option<usize> {
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'{' if !quoted => depth += 1,
            b'}' if !quoted => {
                depth -= 1;
                if depth == 0 {
                    let whole = &text[..=at];
                    // An object has names in quotes, or nothing.
                    let inside = whole[1..].trim_start();
                    return inside.starts_with(['"', '}']).then_some(at + 1);
                }
            }
            _ => {}
        }
    }
    None
}

/// With U+FFFD for each escaped half of a character; `None` when there is none.
fn without_lone_surrogates(text: &str) -> Option<String> {
    let unit = |at: usize| -> Option<u32> {
        let digits = text.get(at..at + 6)?.strip_prefix("\\u")?;
        u32::from_str_radix(digits, 16).ok()
    };
    let mut mended = String::with_capacity(text.len());
    let (mut at, mut found) = (0, false);
    while let Some(next) = text[at..].find('\\').map(|next| at + next) {
        mended.push_str(&text[at..next]);
        let pair = (unit(next), unit(next + 6));
        let length = match pair {
            (Some(0xD800..=0xDBFF), Some(0xDC00..=0xDFFF)) => 12,
            (Some(0xD800..=0xDFFF), _) => {
                found = true;
                mended.push('\u{FFFD}');
                at = next + 6;
                continue;
            }
            _ => 1 + text[next + 1..].chars().next().map_or(0, char::len_utf8),
        };
        mended.push_str(&text[next..next + length]);
        at = next + length;
    }
    mended.push_str(&text[at..]);
    found.then_some(mended)
}

fn severity(word: &str) -> Option<Severity> {
    Severity::ALL.into_iter().find(|s| s.as_str() == word)
}

fn category(word: &str) -> Category {
    let known = Category::ALL.into_iter().find(|c| c.as_str() == word);
    known.unwrap_or(Category::Other)
}

/// Lower case; empty when it isn't there.
fn word(item: &Value, field: &str) -> String {
    let word = item.get(field).and_then(Value::as_str).unwrap_or_default();
    word.trim().to_lowercase()
}

/// Printable, on one line, within bounds; empty when it isn't there.
pub(super) fn text_of(item: &Value, field: &str, longest: usize) -> String {
    bounded(
        item.get(field).and_then(Value::as_str).unwrap_or_default(),
        longest,
    )
}

fn bounded(text: &str, longest: usize) -> String {
    // Masked before the cut: half a secret looks like none.
    shortened(&mask_secrets(&printable(text)), longest)
}

/// Trimmed, and cut to `longest` characters where it is longer.
pub(super) fn shortened(text: &str, longest: usize) -> String {
    let text = text.trim();
    if text.chars().nth(longest).is_none() {
        return text.to_owned();
    }
    let kept: String = text.chars().take(longest - 1).collect();
    format!("{}…", kept.trim_end())
}

fn evidence(item: &Value) -> Vec<Evidence> {
    let quote = text_of(item, "evidence", MAX_QUOTE);
    let bounds = item.get("box_2d").and_then(bounds);
    if quote.is_empty() && bounds.is_none() {
        return Vec::new();
    }
    vec![Evidence {
        quote,
        bounds,
        grounded: None,
    }]
}

/// Four whole numbers of 0 to 1000 that span a box; models write `[0,0,0,0]`
/// when they mean none.
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

/// `T1552` or `T1552.001`
fn is_technique(id: &str) -> bool {
    let digits =
        |text: &str, count| text.len() == count && text.bytes().all(|b| b.is_ascii_digit());
    let Some(number) = id.strip_prefix('T') else {
        return false;
    };
    match number.split_once('.') {
        Some((technique, sub)) => digits(technique, 4) && digits(sub, 3),
        None => digits(number, 4),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn good() -> Value {
        json!({
            "evidence": "export TOKEN=abc", "box_2d": [120, 40, 180, 610],
            "category": "secret_exposure", "title": "Token on screen", "detail": "d",
            "mitre_techniques": ["T1552.001"], "severity": "high", "confidence": 0.82,
            "recommended_action": "Rotate it."
        })
    }

    fn one(change: impl FnOnce(&mut Value)) -> Result<Findings, Unusable> {
        let mut finding = good();
        change(&mut finding);
        parse(&json!({ "findings": [finding] }).to_string())
    }

    fn kept(change: impl FnOnce(&mut Value)) -> Observation {
        let mut findings = one(change).expect("usable");
        assert_eq!(findings.dropped, 0);
        findings.observations.remove(0)
    }

    #[test]
    fn a_good_finding_comes_through_whole() {
        assert_eq!(
            kept(|_| {}),
            Observation {
                severity: Severity::High,
                confidence: 0.82,
                category: Category::SecretExposure,
                title: "Token on screen".to_owned(),
                detail: "d".to_owned(),
                evidence: vec![Evidence {
                    quote: "export TOKEN=abc".to_owned(),
                    bounds: Some([120, 40, 180, 610]),
                    grounded: None,
                }],
                mitre: vec!["T1552.001".to_owned()],
                recommended_action: "Rotate it.".to_owned(),
            }
        );
    }

    #[test]
    fn only_an_empty_list_is_nothing() {
        assert_eq!(parse(r#"{"findings":[]}"#), Ok(Findings::default()));
        assert_eq!(
            parse(r#" {"findings":[],"note":"all quiet"} "#),
            Ok(Findings::default())
        );
        for (text, why) in [
            ("", Unusable::NotJson),
            ("nothing to report", Unusable::NotJson),
            (r#"{"findings":["#, Unusable::NotJson),
            (r#"{"findings":[]} {"findings":[]}"#, Unusable::NotJson),
            ("{}", Unusable::Shape),
            ("[]", Unusable::Shape),
            ("null", Unusable::Shape),
            (r#"{"findings":null}"#, Unusable::Shape),
            (r#"{"findings":{}}"#, Unusable::Shape),
            (r#"{"Findings":[]}"#, Unusable::Shape),
            (r#"{"findings":[1,"x"]}"#, Unusable::AllDropped(2)),
        ] {
            assert_eq!(parse(text), Err(why), "{text:?}");
        }
        let deep = "[".repeat(100_000);
        assert_eq!(parse(&deep), Err(Unusable::NotJson));
    }

    #[test]
    fn a_fence_is_taken_off_only_when_it_is_all_there_is() {
        for fenced in [
            "```json\n{\"findings\":[]}\n```",
            "```\n{\"findings\":[]}\n```",
            "\n ```JSON\n{\"findings\":[]}```\n",
        ] {
            assert_eq!(parse(fenced), Ok(Findings::default()), "{fenced:?}");
        }
        for around in [
            "Sure:\n```json\n{\"findings\":[]}\n```",
            "```json\n{\"findings\":[]}\n``` done",
            "Of {these} none: {\"findings\":[]}",
        ] {
            assert_eq!(parse(around), Ok(Findings::default()), "{around:?}");
        }
        for other in [
            "```json\n{\"findings\":[]}\n```\n```json\n{}\n```",
            "```",
            "``````",
            "```json```",
        ] {
            assert_eq!(parse(other), Err(Unusable::NotJson), "{other:?}");
        }
        let inside = kept(|f| f["evidence"] = json!("```sh\nrm -rf /\n```"));
        assert_eq!(inside.evidence[0].quote, "```sh rm -rf / ```");
    }

    #[test]
    fn half_a_character_costs_no_finding() {
        let text = json!({"findings": [good(), good()]}).to_string();
        let text = text.replacen("Token on screen", r"fire \ud83d \\ud83d \ud83d\ude00", 1);
        let findings = parse(&text).unwrap();
        assert_eq!(findings.observations.len(), 2);
        assert_eq!(
            findings.observations[0].title,
            "fire \u{FFFD} \\ud83d \u{1F600}"
        );
    }

    #[test]
    fn what_makes_no_sense_is_dropped_and_counted() {
        let bad = [
            json!({"severity": "catastrophic"}),
            json!({"severity": null}),
            json!({"confidence": "very"}),
            json!({"confidence": null}),
            json!({"title": ""}),
            json!({"title": "\u{1b}\u{200b} "}),
            json!({"title": 7}),
        ];
        for change in bad {
            let result = one(|finding| {
                for (field, value) in change.as_object().unwrap() {
                    finding[field] = value.clone();
                }
            });
            assert_eq!(result, Err(Unusable::AllDropped(1)), "{change}");
        }
        let mixed = json!({"findings": [good(), {"title": "no more"}, 5, good()]});
        let findings = parse(&mixed.to_string()).unwrap();
        assert_eq!((findings.observations.len(), findings.dropped), (2, 2));
    }

    #[test]
    fn more_than_asked_for_is_dropped_and_counted() {
        let many = json!({"findings": vec![good(); MAX_FINDINGS + 3]});
        let findings = parse(&many.to_string()).unwrap();
        assert_eq!(
            (findings.observations.len(), findings.dropped),
            (MAX_FINDINGS, 3)
        );
    }

    #[test]
    fn values_are_brought_within_bounds() {
        for (given, kept_as) in [
            (json!(82), 0.82),
            (json!("0.9"), 0.9),
            (json!("85 %"), 0.85),
            (json!(30), 0.3),
            (json!(1), 1.0),
            (json!(900), 1.0),
        ] {
            let confidence = kept(|f| f["confidence"] = given.clone()).confidence;
            assert_eq!(confidence, kept_as, "{given}");
        }
        assert_eq!(kept(|f| f["confidence"] = json!(-0.5)).confidence, 0.0);
        assert_eq!(
            kept(|f| f["severity"] = json!(" HIGH ")).severity,
            Severity::High
        );
        assert_eq!(
            kept(|f| f["category"] = json!("brand_new")).category,
            Category::Other
        );
        let long = kept(|f| f["title"] = json!("é".repeat(81)));
        assert_eq!(long.title.chars().count(), MAX_TITLE);
        assert!(long.title.ends_with('…'));
        let exact = kept(|f| f["title"] = json!("é".repeat(80)));
        assert!(!exact.title.ends_with('…'));
        let wordy = kept(|f| f["detail"] = json!("x".repeat(1 << 16)));
        assert_eq!(wordy.detail.chars().count(), MAX_TEXT);
        let steered = kept(|f| f["title"] = json!("a\u{1b}]0;pwn\u{7}\nb\u{202e}c"));
        assert_eq!(steered.title, "a]0;pwn bc");
    }

    #[test]
    fn a_box_is_four_numbers_that_span_something() {
        for (given, expected) in [
            (json!([0, 0, 1000, 1000]), Some([0, 0, 1000, 1000])),
            (json!([1.0, 2.0, 3.0, 4.0]), Some([1, 2, 3, 4])),
            (json!([]), None),
            (json!([0, 0, 0, 0]), None),
            (json!([1, 2, 3]), None),
            (json!([1, 2, 3, 4, 5]), None),
            (json!([180, 40, 120, 610]), None),
            (json!([0, 0, 1001, 10]), None),
            (json!([-1, 0, 10, 10]), None),
            (json!([0, 0, "10", 10]), None),
            (json!("120,40,180,610"), None),
        ] {
            let observation = kept(|f| f["box_2d"] = given.clone());
            assert_eq!(observation.evidence[0].bounds, expected, "{given}");
        }
        let nowhere = kept(|f| {
            f["box_2d"] = json!([]);
            f["evidence"] = json!("");
        });
        assert_eq!(nowhere.evidence, []);
    }

    #[test]
    fn only_technique_ids_stay() {
        let given = json!([
            "T1552.001",
            " T1110 ",
            "T1110",
            "t1110",
            "T11",
            "TA0001",
            "T1552.1",
            "T1552.001x",
            5,
            null
        ]);
        assert_eq!(
            kept(|f| f["mitre_techniques"] = given).mitre,
            ["T1552.001", "T1110"]
        );
        assert_eq!(
            kept(|f| f["mitre_techniques"] = json!("T1110")).mitre,
            Vec::<String>::new()
        );
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,90}".prop_map(Value::from),
            prop::sample::select(vec!["high", "info", "other", "T1110"]).prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 64, 8, |inner| {
            let field = prop_oneof![
                prop::sample::select(vec![
                    "findings",
                    "severity",
                    "confidence",
                    "title",
                    "box_2d",
                    "evidence",
                    "mitre_techniques",
                    "category",
                ])
                .prop_map(str::to_owned),
                ".{0,8}",
            ];
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..12).prop_map(Value::from),
                prop::collection::vec((field, inner), 0..9)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn whatever_the_answer_what_is_kept_is_within_bounds(
            items in prop::collection::vec(any_json(), 0..12),
            title in ".{0,200}",
            confidence: f64,
        ) {
            let mut items = items;
            items.push(json!({"severity": "low", "title": title, "confidence": confidence}));
            let count = items.len();
            let answer = json!({ "findings": items }).to_string();
            match parse(&answer) {
                Ok(findings) => {
                    prop_assert_eq!(findings.observations.len() + findings.dropped as usize, count);
                    prop_assert!(!findings.observations.is_empty());
                    for seen in findings.observations {
                        prop_assert!((0.0..=1.0).contains(&seen.confidence));
                        prop_assert!((1..=MAX_TITLE).contains(&seen.title.chars().count()));
                        prop_assert_eq!(&*printable(&seen.title), &seen.title);
                    }
                }
                Err(why) => prop_assert_eq!(why, Unusable::AllDropped(count as u32)),
            }
        }

        #[test]
        fn no_json_and_no_text_panics(value in any_json(), text: String) {
            let _ = parse(&value.to_string());
            let _ = parse(&text);
        }
    }
}

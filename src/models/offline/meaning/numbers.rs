//! Numbers with a label and a unit, and the bounds they cross.

use std::collections::HashSet;

use watchtower_domain::finding::Severity;
use watchtower_screen::layout::StatusColour;

use super::vocabulary::{BoundedMeasure, MeasureUnit, Sense, SensedPhrase, Vocabulary, phrase};
use super::words::{MeaningWord, words};

/// Longest unit behind a number, in characters: "seconds ago".
const LONGEST_UNIT: usize = 12;

/// Labels of a page that name a topic, from which on the page is about it.
const TOPIC_LABELS: usize = 2;
/// Words between the name of a measure and its number: "disk usage of db-2 is
/// at 97 %".
const WITHIN: usize = 6;

/// Number with its label.
#[derive(Debug, Clone, Copy)]
pub(super) struct LabelledValue<'t> {
    pub(super) label: &'t str,
    pub(super) value: &'t str,
    pub(super) colour: StatusColour,
}

/// Measures that the labels of a page make others: a tail latency among prompts
/// and tokens is that of a model.
pub(super) fn foreign_measures(vocabulary: &Vocabulary, labels: &[&str]) -> Vec<usize> {
    let labels: HashSet<String> = labels
        .iter()
        .map(|label| format!(" {} ", phrase(label)))
        .collect();
    let about = |topic: &[String]| {
        let names = |label: &&String| {
            let mut words = topic.iter();
            words.any(|word| label.contains(&format!(" {word} ")))
        };
        labels.iter().filter(names).count() >= TOPIC_LABELS
    };
    let measures = vocabulary.measures.iter().enumerate();
    let foreign = measures.filter(|(_, measure)| {
        !measure.near.is_empty() && !about(&measure.near) || about(&measure.unless_near)
    });
    foreign.map(|(index, _)| index).collect()
}

/// Measure that a number is beyond the bound of; green says that it is well.
pub(super) fn crosses<'v>(
    vocabulary: &'v Vocabulary,
    value: &LabelledValue<'_>,
    foreign: &[usize],
) -> Option<&'v BoundedMeasure> {
    if value.colour == StatusColour::Green {
        return None;
    }
    let (number, unit) = quantity(value.value)?;
    let all = words(value.label);
    let label = format!(" {} ", phrase(value.label));
    let found = vocabulary.phrases(&all);
    if found
        .iter()
        .any(|phrase| phrase.senses.contains(&Sense::Condition))
    {
        return None;
    }
    let measures = found
        .iter()
        .flat_map(|phrase| phrase.senses)
        .filter_map(|sense| match sense {
            Sense::Measure(index) if !foreign.contains(index) => vocabulary.measures.get(*index),
            _ => None,
        });
    let denied = |measure: &BoundedMeasure| {
        let mut words = measure.unless.iter();
        words.any(|word| label.contains(&format!(" {word} ")))
    };
    measures.filter(|measure| !denied(measure)).find(|measure| {
        let Some(number) = in_unit(number, unit, value.label, measure.unit) else {
            return false;
        };
        if measure.tone {
            return value.colour == StatusColour::Red && number > 0.0;
        }
        measure.above.is_some_and(|bound| number > bound)
            || measure.below.is_some_and(|bound| number < bound)
    })
}

/// Measure that a sentence says is beyond its bound, with the range in bytes of
/// the sentence: "p99 latency of search is 4.8 s".
pub(super) fn told_measures<'v>(
    vocabulary: &'v Vocabulary,
    text: &str,
    foreign: &[usize],
) -> Vec<(&'v BoundedMeasure, (usize, usize))> {
    let all = words(text);
    let mut told = Vec::new();
    let mut first = 0;
    while first < all.len() {
        let rest = &all[first + 1..];
        let end = rest.iter().position(|word| word.begins);
        let end = end.map_or(all.len(), |at| first + 1 + at);
        let found = told_measure(vocabulary, text, &all[first..end], foreign);
        let place = (all[first].start, end_of(text, all[end - 1].end));
        told.extend(found.map(|measure| (measure, place)));
        first = end;
    }
    told
}

/// End of a sentence with the sign of its last unit.
fn end_of(text: &str, end: usize) -> usize {
    let rest = &text[end..];
    let sign = rest.trim_start();
    if sign.starts_with('%') {
        text.len() - sign.len() + 1
    } else {
        end
    }
}

fn told_measure<'v>(
    vocabulary: &'v Vocabulary,
    text: &str,
    sentence: &[MeaningWord],
    foreign: &[usize],
) -> Option<&'v BoundedMeasure> {
    let found = vocabulary.phrases(sentence);
    let ends = |phrase: &SensedPhrase<'_>| {
        let senses = phrase.senses.iter();
        senses.clone().any(|sense| {
            matches!(
                sense,
                Sense::Condition
                    | Sense::Defines
                    | Sense::Negation
                    | Sense::Healthy
                    | Sense::Closed
            )
        }) || phrase.first == 0 && phrase.senses.contains(&Sense::Instruction)
    };
    let whole = format!(" {} ", phrase(text));
    for (index, label) in found.iter().enumerate() {
        if ends(label) {
            return None;
        }
        let until = sentence.len().min(label.end + WITHIN);
        let measures = label.senses.iter().filter_map(|sense| match sense {
            Sense::Measure(index) if !foreign.contains(index) => vocabulary.measures.get(*index),
            _ => None,
        });
        let measures: Vec<_> = measures.filter(|measure| is_told(measure)).collect();
        // The first number in its unit: "disk usage of db-2: 97 %".
        let number = (label.end..until).find_map(|at| {
            let (value, glued) = split_number(&sentence[at].text)?;
            let unit = match glued {
                "" => unit_after(text, sentence, at),
                glued => glued.to_owned(),
            };
            let in_its_unit = |measure: &&'v BoundedMeasure| {
                Some((*measure, in_unit(value, &unit, "", measure.unit)?))
            };
            let found: Vec<_> = measures.iter().filter_map(in_its_unit).collect();
            (!found.is_empty()).then_some((at, found))
        });
        let Some((number, values)) = number else {
            continue;
        };
        // Of two labels the nearer one has the number.
        let between = |other: &&SensedPhrase<'_>| other.first < number;
        let nearer = found[index + 1..].iter().filter(between).any(|other| {
            ends(other) || other.senses.iter().any(|s| matches!(s, Sense::Measure(_)))
        });
        if nearer {
            continue;
        }
        let beyond = values.into_iter().find(|(measure, value)| {
            let denied = |word: &String| whole.contains(&format!(" {word} "));
            !measure.unless.iter().any(denied)
                && (measure.above.is_some_and(|bound| *value > bound)
                    || measure.below.is_some_and(|bound| *value < bound))
        });
        if let Some((measure, _)) = beyond {
            return Some(measure);
        }
    }
    None
}

/// True for a measure that sentences tell: its unit sets its numbers apart.
const fn is_told(measure: &BoundedMeasure) -> bool {
    matches!(measure.unit, MeasureUnit::Percent | MeasureUnit::Seconds) && !measure.tone
}

/// Number and unit of a word such as `12.4` or `4.8s`.
fn split_number(word: &str) -> Option<(f64, &str)> {
    let unit = word.trim_start_matches(|c: char| c.is_ascii_digit() || matches!(c, '.' | ','));
    let digits = &word[..word.len() - unit.len()];
    Some((digits.replace(',', "").parse().ok()?, unit))
}

/// Unit behind a number: a sign, or the next word.
fn unit_after(text: &str, sentence: &[MeaningWord], number: usize) -> String {
    let rest = text[sentence[number].end..].trim_start();
    if rest.starts_with('%') {
        return "%".to_owned();
    }
    let next = sentence.get(number + 1);
    let joined = next.filter(|next| text[sentence[number].end..next.start].trim().is_empty());
    joined.map_or_else(String::new, |next| next.text.clone())
}

/// Number of a value in a unit, as on the screen and as a number; the label may
/// name the unit.
pub(in crate::offline) fn quantity_in(
    value: &str,
    label: &str,
    unit: MeasureUnit,
) -> Option<(String, f64)> {
    let (number, written) = quantity(value)?;
    let number = in_unit(number, written, label, unit)?;
    let digits = |c: char| c.is_ascii_digit() || matches!(c, '.' | ',');
    let from = value.find(digits)?;
    let rest = &value[from..];
    let end = rest.find(|c| !digits(c)).unwrap_or(rest.len());
    Some((rest[..end].trim_end_matches(['.', ',']).to_owned(), number))
}

/// Kind and severity of the measure that a label names, whatever its bound.
pub(in crate::offline) fn measured(
    vocabulary: &Vocabulary,
    label: &str,
) -> Option<(usize, Severity)> {
    let all = words(label);
    let found = vocabulary.phrases(&all);
    let mut senses = found.iter().flat_map(|phrase| phrase.senses);
    senses.find_map(|sense| match sense {
        Sense::Measure(index) => {
            let measure = vocabulary.measures.get(*index)?;
            Some((measure.kind, measure.severity))
        }
        _ => None,
    })
}

/// First number of a value that is a number and a unit at most.
fn quantity(text: &str) -> Option<(f64, &str)> {
    let text = text.trim_start_matches(|c: char| !c.is_alphanumeric() && c != '-' && c != '.');
    let end = text
        .char_indices()
        .find(|(at, c)| !(c.is_ascii_digit() || matches!(c, '.' | ',') || (*at == 0 && *c == '-')))
        .map_or(text.len(), |(at, _)| at);
    let number: f64 = text[..end].replace(',', "").parse().ok()?;
    let unit = text[end..].trim();
    (unit.chars().count() <= LONGEST_UNIT).then_some((number, unit))
}

/// A number in the unit of a measure; the label may name the unit too.
fn in_unit(number: f64, unit: &str, label: &str, wanted: MeasureUnit) -> Option<f64> {
    let unit = unit.to_lowercase();
    let unit = unit.split_whitespace().next().unwrap_or_default();
    let times = |factor: f64| Some(number * factor);
    match wanted {
        MeasureUnit::Percent => {
            let percent = unit.starts_with('%') || unit.is_empty() && label.contains('%');
            percent.then_some(number)
        }
        MeasureUnit::Seconds => match unit {
            "ms" => times(1e-3),
            "s" | "sec" | "secs" | "second" | "seconds" => Some(number),
            "m" | "min" | "mins" | "minute" | "minutes" => times(60.0),
            "h" | "hr" | "hrs" | "hour" | "hours" => times(3600.0),
            _ => None,
        },
        MeasureUnit::Days => match unit {
            "h" | "hr" | "hrs" | "hour" | "hours" => times(1.0 / 24.0),
            "" | "d" | "day" | "days" => Some(number),
            "w" | "week" | "weeks" => times(7.0),
            "mo" | "month" | "months" => times(30.0),
            "y" | "year" | "years" => times(365.0),
            _ => None,
        },
        MeasureUnit::Count => match unit {
            "" => Some(number),
            "k" => times(1e3),
            "m" => times(1e6),
            _ => None,
        },
    }
}

//! Numbers with a label and a unit, and the bounds they cross.

use watchtower_screen::layout::StatusColour;

use super::vocabulary::{BoundedMeasure, MeasureUnit, Sense, Vocabulary, phrase};
use super::words::words;

/// Number with its label.
#[derive(Debug, Clone, Copy)]
pub(super) struct LabelledValue<'t> {
    pub(super) label: &'t str,
    pub(super) value: &'t str,
    pub(super) colour: StatusColour,
}

/// Measure that a number is beyond the bound of; green says that it is well.
pub(super) fn crosses<'v>(
    vocabulary: &'v Vocabulary,
    value: &LabelledValue<'_>,
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
            Sense::Measure(index) => vocabulary.measures.get(*index),
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

/// First number of a value that is a number and a unit at most.
fn quantity(text: &str) -> Option<(f64, &str)> {
    let text = text.trim_start_matches(|c: char| !c.is_alphanumeric() && c != '-' && c != '.');
    let end = text
        .char_indices()
        .find(|(at, c)| !(c.is_ascii_digit() || matches!(c, '.' | ',') || (*at == 0 && *c == '-')))
        .map_or(text.len(), |(at, _)| at);
    let number: f64 = text[..end].replace(',', "").parse().ok()?;
    let unit = text[end..].trim();
    (unit.chars().count() <= 8).then_some((number, unit))
}

/// A number in the unit of a measure; the label may name the unit too.
fn in_unit(number: f64, unit: &str, label: &str, wanted: MeasureUnit) -> Option<f64> {
    let unit = unit.to_lowercase();
    match wanted {
        MeasureUnit::Percent => {
            let percent = unit.starts_with('%') || unit.is_empty() && label.contains('%');
            percent.then_some(number)
        }
        MeasureUnit::Seconds => match unit.as_str() {
            "s" | "sec" | "secs" | "seconds" => Some(number),
            "ms" => Some(number / 1e3),
            "m" | "min" => Some(number * 60.0),
            _ => None,
        },
        MeasureUnit::Days => match unit.as_str() {
            "" | "d" | "day" | "days" => Some(number),
            _ => None,
        },
        MeasureUnit::Count => match unit.as_str() {
            "" => Some(number),
            "k" => Some(number * 1e3),
            "m" => Some(number * 1e6),
            _ => None,
        },
    }
}

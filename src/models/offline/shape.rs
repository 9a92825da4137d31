//! Structural part of a rule: the kind of element it speaks of, and conditions on
//! its cells: label, words, colour, number with its unit.

use regex::Regex;
use serde::Deserialize;

use watchtower_base::config::fault::Faults;
use watchtower_screen::layout::StatusColour;

use super::elements::ElementKind;
use super::meaning::{MeasureUnit, quantity_in};
use super::pattern;
use super::screen::{ByteSpan, CellRow, FrameText};

/// Colours that a condition may ask for.
const TONES: [StatusColour; 5] = [
    StatusColour::Red,
    StatusColour::Amber,
    StatusColour::Green,
    StatusColour::Blue,
    StatusColour::Grey,
];

/// Condition as written in a file: `[[rule.where]]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct CellConditionText {
    label: Option<String>,
    r#match: Vec<String>,
    unless: Vec<String>,
    tone: Vec<String>,
    unit: Option<String>,
    above: Option<f64>,
    below: Option<f64>,
}

/// Kinds of element that a rule speaks of, and what one must hold.
#[derive(Debug)]
pub(super) struct RuleShape {
    kinds: Vec<ElementKind>,
    conditions: Vec<CellCondition>,
}

/// Condition that one cell of an element must meet.
#[derive(Debug)]
struct CellCondition {
    label: Option<Regex>,
    patterns: Vec<Regex>,
    unless: Vec<Regex>,
    tones: Vec<StatusColour>,
    bound: Option<NumberBound>,
}

/// Exclusive bounds on a number in a unit.
#[derive(Debug)]
struct NumberBound {
    unit: MeasureUnit,
    above: Option<f64>,
    below: Option<f64>,
}

/// Cells of an element that meet the conditions of a rule, in their order.
#[derive(Debug, Default)]
pub(super) struct ShapeMatch {
    /// Cells with their labels where those are on the screen.
    pub(super) parts: Vec<(usize, ByteSpan)>,
    /// Indices of the cells.
    cells: Vec<usize>,
    pub(super) what: Option<String>,
    pub(super) number: Option<(String, f64)>,
}

impl RuleShape {
    /// Compiles the structural keys of a rule, if it has any; adds a fault for
    /// each value that cannot be.
    pub(super) fn compile(
        elements: &[String],
        conditions: &[CellConditionText],
        path: &str,
        faults: &mut Faults,
    ) -> Option<Self> {
        if elements.is_empty() {
            if !conditions.is_empty() {
                let kinds = ElementKind::names().join(", ");
                let message = format!("missing, but where needs it; one or more of {kinds}");
                faults.add(format!("{path}.element"), message);
            }
            return None;
        }
        let kinds = elements.iter().filter_map(|name| {
            let kind = ElementKind::named(name);
            if kind.is_none() {
                let kinds = ElementKind::names().join(", ");
                let message = format!("{name:?} is none of {kinds}");
                faults.add(format!("{path}.element"), message);
            }
            kind
        });
        let kinds = kinds.collect();
        let conditions = conditions.iter().enumerate().map(|(index, text)| {
            CellCondition::compile(text, &format!("{path}.where[{index}]"), faults)
        });
        Some(Self {
            kinds,
            conditions: conditions.collect(),
        })
    }

    /// True if a condition captures the number of a rule.
    pub(super) fn has_number(&self) -> bool {
        self.conditions
            .iter()
            .any(|condition| condition.bound.is_some())
    }

    /// True if it has any condition.
    pub(super) fn has_conditions(&self) -> bool {
        !self.conditions.is_empty()
    }

    /// Cells of an element that meet all conditions, each one of its own.
    pub(super) fn matches(&self, screen: &FrameText, index: usize) -> Option<ShapeMatch> {
        let row = &screen.rows[index];
        if !row.kind.is_some_and(|kind| self.kinds.contains(&kind)) {
            return None;
        }
        let mut found = ShapeMatch::default();
        for condition in &self.conditions {
            let mut cells = (0..row.cells.len()).filter(|cell| !found.cells.contains(cell));
            let (cell, captured) =
                cells.find_map(|cell| Some((cell, condition.meets(screen, row, cell)?)))?;
            found.cells.push(cell);
            let place = &row.cells[cell];
            found.parts.push((index, (place.start, place.end)));
            found.parts.extend(captured.label);
            found.what = found.what.or(captured.what);
            found.number = found.number.or(captured.number);
        }
        if found.what.is_none() {
            found.what = subject(row, &found.cells);
        }
        Some(found)
    }
}

/// Captures of one condition.
#[derive(Debug, Default)]
struct CapturedCell {
    /// Label that was asked for, else the first.
    label: Option<(usize, ByteSpan)>,
    what: Option<String>,
    number: Option<(String, f64)>,
}

impl CellCondition {
    fn compile(text: &CellConditionText, path: &str, faults: &mut Faults) -> Self {
        let label = text.label.as_ref().map(std::slice::from_ref);
        let mut compiled = |key: &str, patterns: &[String]| {
            pattern::compile_all(patterns, &format!("{path}.{key}"), faults)
        };
        let label = compiled("label", label.unwrap_or_default()).pop();
        let patterns = compiled("match", &text.r#match);
        let unless = compiled("unless", &text.unless);
        let known = || TONES.map(StatusColour::as_str).join(", ");
        let tones = text.tone.iter().filter_map(|name| {
            let tone = TONES.into_iter().find(|tone| tone.as_str() == name);
            if tone.is_none() {
                faults.add(
                    format!("{path}.tone"),
                    format!("{name:?} is none of {}", known()),
                );
            }
            tone
        });
        let tones: Vec<_> = tones.collect();
        let bound = bound(text, path, faults);
        let asks = text.label.is_some()
            || !text.r#match.is_empty()
            || !text.tone.is_empty()
            || text.unit.is_some()
            || text.above.is_some()
            || text.below.is_some();
        if !asks {
            faults.add(path, "must ask for something: label, match, tone or unit");
        }
        Self {
            label,
            patterns,
            unless,
            tones,
            bound,
        }
    }

    fn meets(&self, screen: &FrameText, row: &CellRow, index: usize) -> Option<CapturedCell> {
        let cell = &row.cells[index];
        let text = &row.text[cell.start..cell.end];
        if cell.names || self.unless.iter().any(|pattern| pattern.is_match(text)) {
            return None;
        }
        let written = |(row, part): &(usize, ByteSpan)| &screen.rows[*row].text[part.0..part.1];
        let label = match &self.label {
            Some(label) => Some(cell.labels.iter().find(|at| label.is_match(written(at)))?),
            None => cell.labels.first(),
        };
        if !self.tones.is_empty() && !self.tones.contains(&cell.tone) {
            return None;
        }
        let mut captured = CapturedCell {
            label: label.copied(),
            ..CapturedCell::default()
        };
        if !self.patterns.is_empty() {
            let mut patterns = self.patterns.iter();
            let found = patterns.find_map(|pattern| pattern.captures(text))?;
            let group = |name: &str| found.name(name).map(|group| group.as_str().trim());
            captured.what = group("what").map(str::to_owned);
            if let Some(digits) = group("n") {
                captured.number = Some((digits.to_owned(), pattern::number(digits)?));
            }
        }
        if let Some(bound) = &self.bound {
            let label = label.map_or("", written);
            let (digits, number) = quantity_in(text, label, bound.unit)?;
            let within = bound.above.is_none_or(|least| number > least)
                && bound.below.is_none_or(|most| number < most);
            if !within {
                return None;
            }
            captured.number = Some((digits, number));
        }
        Some(captured)
    }
}

fn bound(text: &CellConditionText, path: &str, faults: &mut Faults) -> Option<NumberBound> {
    let bounded = text.above.is_some() || text.below.is_some();
    let known = || MeasureUnit::NAMES.map(|(name, _)| name).join(", ");
    let Some(name) = &text.unit else {
        if bounded {
            let message = format!("missing, but above and below need it; one of {}", known());
            faults.add(format!("{path}.unit"), message);
        }
        return None;
    };
    let unit = MeasureUnit::NAMES.iter().find(|(known, _)| known == name);
    let Some((_, unit)) = unit else {
        let message = format!("{name:?} is none of {}", known());
        faults.add(format!("{path}.unit"), message);
        return None;
    };
    if !bounded {
        faults.add(path, "unit needs above, below or both");
    }
    if let (Some(above), Some(below)) = (text.above, text.below)
        && above >= below
    {
        let message = format!("no number is above {above} and below {below}");
        faults.add(path, message);
    }
    Some(NumberBound {
        unit: *unit,
        above: text.above,
        below: text.below,
    })
}

/// Name of an element: its label or title, else its first cell with a word that
/// no condition took.
fn subject(row: &CellRow, taken: &[usize]) -> Option<String> {
    let named = row
        .cells
        .iter()
        .enumerate()
        .filter(|(index, _)| !taken.contains(index));
    let mut texts = named.map(|(_, cell)| &row.text[cell.start..cell.end]);
    let own = texts.find(|text| text.chars().filter(|c| c.is_alphabetic()).count() >= 2);
    match row.kind {
        Some(ElementKind::Row) => own.map(str::to_owned).or_else(|| row.title.clone()),
        _ => row.title.clone().or_else(|| own.map(str::to_owned)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::offline::elements::drawn_elements;

    fn shape(text: &str) -> Result<RuleShape, String> {
        #[derive(Deserialize)]
        struct Keys {
            element: Vec<String>,
            r#where: Vec<CellConditionText>,
        }
        let keys: Keys = toml::from_str(text).map_err(|error| error.to_string())?;
        let mut faults = Faults::new("f");
        let shape = RuleShape::compile(&keys.element, &keys.r#where, "rule[0] a", &mut faults);
        match shape {
            Some(shape) if faults.is_empty() => Ok(shape),
            _ => Err(faults.to_string()),
        }
    }

    /// Subjects and numbers of the elements of a drawn screen that match.
    fn found(shape: &str, screen: &str) -> Vec<(String, String)> {
        let shape = self::shape(shape).unwrap();
        let screen = drawn_elements(screen);
        let found = (0..screen.rows.len()).filter_map(|row| shape.matches(&screen, row));
        let number =
            |found: &ShapeMatch| (found.number.clone()).map_or(String::new(), |(text, _)| text);
        found
            .map(|found| (found.what.clone().unwrap_or_default(), number(&found)))
            .collect()
    }

    const JOBS: &str = "\
Job           Last result    Duration    Age
payroll-sync  Succeeded      12 s        2 days
ledger-sync   Failed         40 s        3 days
mail-sync     Failed         9 s         9 days";

    #[test]
    fn row_is_matched_by_the_head_of_its_column_its_words_and_its_number() {
        let late = r#"
            element = ["row"]
            [[where]]
            label = '^last result$'
            match = ['^failed$']
            [[where]]
            label = '^age$'
            unit = "days"
            above = 7"#;
        assert_eq!(
            found(late, JOBS),
            [("mail-sync".to_owned(), "9".to_owned())]
        );
        let other_column = late.replace("last result", "duration");
        assert_eq!(found(&other_column, JOBS), []);
        let other_unit = late.replace("\"days\"", "\"%\"");
        assert_eq!(found(&other_unit, JOBS), []);
    }

    #[test]
    fn colour_of_a_cell_is_a_condition() {
        let screen = "\
Name       Load      Region
node-a     {red}71   eu-1
node-b     {green}73 eu-1
node-c     72        eu-1";
        let red = "element = [\"row\"]\n[[where]]\nlabel = '^load$'\ntone = [\"red\", \"amber\"]";
        let names: Vec<_> = found(red, screen)
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert_eq!(names, ["node-a"]);
    }

    #[test]
    fn element_of_another_kind_is_not_matched() {
        let words =
            |kind: &str| format!("element = [\"{kind}\"]\n[[where]]\nmatch = ['ledger-sync']");
        assert_eq!(found(&words("row"), JOBS).len(), 1);
        assert_eq!(found(&words("log_line"), JOBS).len(), 0);
    }

    #[test]
    fn faults_name_the_field_and_what_was_expected() {
        let text = r#"
            element = ["row", "chart"]
            [[where]]
            tone = ["orange"]
            [[where]]
            above = 3
            [[where]]
            unit = "furlongs"
            above = 3
            [[where]]
            unit = "%"
            [[where]]
            unit = "%"
            above = 9
            below = 3
            [[where]]
            match = ["(x"]
            [[where]]"#;
        insta::assert_snapshot!(shape(text).unwrap_err());
    }
}

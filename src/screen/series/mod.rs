//! Numbers of a screen with their labels: the samples of series.
//!
//! ```text
//! layout -> elements with a label and a number -> place, label, unit, value
//! ```
//!
//! Pure. Takes a [`RedactedFrame`] only, so that no label is a secret. A place
//! is an element of the layout, never a position in pixels, and equal ones are
//! numbered with their count ("card 2/3"), so that two things are never one
//! series. Where a reading misses one of them, or a title, whoever follows the
//! series knows the others by the spot of their value ([`same_spot`]).

mod labels;
mod numbers;

use std::collections::{HashMap, HashSet};

use watchtower_domain::series::{Quantity, Unit};

pub use labels::{fold, is_misread, is_place_of, is_reading_of};
pub use numbers::{counted_quantity, quantity};

use crate::layout::{Element, ElementContent, ElementText, KeyValue, Layout, Table};
use crate::picture::Rect;
use crate::redact::RedactedFrame;
use labels::label_of;

/// Maximum numbers taken of one reading, the first in reading order; a dense
/// screen has about 300.
pub const MOST_NUMBERS: usize = 500;
/// Maximum words before or behind a number that is on one line with them.
const MOST_WORDS: usize = 5;
/// Separator between the parts of a label: the row, then the column.
pub const PART: &str = " · ";

/// Number on a screen, and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct ScreenNumber {
    /// Element, such as `card` or `table Services`.
    pub place: String,
    pub label: String,
    pub quantity: Quantity,
    /// Texts that show it, as they were read: label, then value.
    pub quotes: Vec<NumberQuote>,
}

/// Text that shows a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NumberQuote {
    pub text: String,
    /// `[ymin, xmin, ymax, xmax]` in thousandths of the picture.
    pub bounds: [u16; 4],
}

impl ScreenNumber {
    /// Text that is the same however OCR misreads place and label.
    pub fn key(&self) -> String {
        series_key(&self.place, &self.label, self.quantity.unit)
    }
}

/// Text that is the same however OCR misreads place and label of a series.
pub fn series_key(place: &str, label: &str, unit: Unit) -> String {
    // The count of a place is no text that was read.
    let (kind, title) = place.split_once(' ').unwrap_or((place, ""));
    let parts: Vec<String> = label.split(PART).map(fold).collect();
    format!(
        "{kind}/{}/{}/{}",
        fold(title),
        parts.join("."),
        unit.as_str()
    )
}

/// True if two numbers have their value in one spot of the picture: its width
/// changes with its digits, its line does not.
pub fn same_spot(a: &[NumberQuote], b: &[NumberQuote]) -> bool {
    let (Some(a), Some(b)) = (a.last(), b.last()) else {
        return false;
    };
    let ([top, left, bottom, right], other) = (a.bounds, b.bounds);
    let shared = bottom.min(other[2]).saturating_sub(top.max(other[0]));
    let height = (bottom - top).min(other[2] - other[0]);
    2 * shared > height && left < other[3] && other[1] < right
}

/// Numbers of a frame that OCR has read, at most [`MOST_NUMBERS`].
pub fn numbers_of(frame: &RedactedFrame) -> Vec<ScreenNumber> {
    numbers_in(frame.layout())
}

/// Numbers of a layout, in its order, at most [`MOST_NUMBERS`].
pub fn numbers_in(layout: &Layout) -> Vec<ScreenNumber> {
    let mut found = NumberCollector {
        size: (layout.width, layout.height),
        numbers: Vec::new(),
    };
    for element in &layout.elements {
        found.element(element);
    }
    let mut numbers = found.numbers;
    tell_apart(&mut numbers);
    numbers.truncate(MOST_NUMBERS);
    numbers
}

struct NumberCollector {
    size: (u32, u32),
    numbers: Vec<ScreenNumber>,
}

impl NumberCollector {
    fn element(&mut self, element: &Element) {
        let kind = element.content.kind();
        let title = element
            .title
            .as_ref()
            .and_then(|title| label_of(&title.text));
        let place = match title {
            Some(title) => format!("{kind} {title}"),
            None => kind.to_owned(),
        };
        match &element.content {
            ElementContent::Card(card) => {
                // "limit 800 ms" is compared with the value; the other text
                // names it.
                let compared = |text: &ElementText| {
                    labelled(&text.text).is_some_and(|(_, limit)| {
                        counted_quantity(&card.value.text)
                            .is_some_and(|value| value.unit == limit.unit)
                    })
                };
                let note = card.note.as_ref();
                let label = match note.filter(|note| compared(&card.label) && !compared(note)) {
                    Some(note) => note,
                    None => &card.label,
                };
                self.pair(&place, label, &card.value);
            }
            ElementContent::KeyValues(pairs) => {
                for KeyValue { key, value } in pairs {
                    self.pair(&place, key, value);
                }
            }
            ElementContent::Table(table) => self.table(&place, table),
            ElementContent::Badge(text)
            | ElementContent::Heading(text)
            | ElementContent::Prose(text) => {
                self.line(&place, text);
            }
            // Numbers in them are those of an event.
            ElementContent::LogLine(_) | ElementContent::Code(_) => {}
        }
    }

    fn pair(&mut self, place: &str, label: &ElementText, value: &ElementText) {
        if let Some(quantity) = counted_quantity(&value.text)
            && let Some(name) = label_of(&label.text)
        {
            self.add(place, name, quantity, &[label, value]);
        }
    }

    /// Text that is a label and a number, and nothing else: `Errors: 3`,
    /// `12 failed logins`.
    fn line(&mut self, place: &str, text: &ElementText) {
        let Some((label, quantity)) = labelled(&text.text) else {
            return;
        };
        self.add(place, label, quantity, &[text]);
    }

    /// Cells with a number, each labelled by its row and the head of its column.
    fn table(&mut self, place: &str, table: &Table) {
        let columns: Vec<usize> = (0..table.columns()).collect();
        let number = |row: &[ElementText], column: usize| {
            row.get(column).and_then(|cell| quantity(&cell.text))
        };
        let numeric: Vec<usize> = columns
            .iter()
            .copied()
            .filter(|column| table.rows.iter().any(|row| number(row, *column).is_some()))
            .collect();
        let Some(subjects) = subjects(table, &numeric) else {
            return;
        };
        for (row, subject) in table.rows.iter().zip(&subjects) {
            let Some((subject, subject_cell)) = subject else {
                continue;
            };
            for column in &numeric {
                let Some(quantity) = number(row, *column) else {
                    continue;
                };
                let head = table.head_of(*column).and_then(label_of);
                let label = match head {
                    Some(head) => format!("{subject}{PART}{head}"),
                    // Without a head the only number is that of the row.
                    None if numeric.len() == 1 => subject.clone(),
                    None => continue,
                };
                self.add(
                    place,
                    label,
                    quantity,
                    &[&row[*subject_cell], &row[*column]],
                );
            }
        }
    }

    fn add(&mut self, place: &str, label: String, quantity: Quantity, texts: &[&ElementText]) {
        let quantity = texts.last().map_or(quantity, |value| {
            of_processors(&label, &value.text, quantity)
        });
        let quotes = texts.iter().map(|text| NumberQuote {
            text: text.text.clone(),
            bounds: self.bounds(text.rect),
        });
        let number = ScreenNumber {
            place: place.to_owned(),
            label,
            quantity,
            quotes: quotes.collect(),
        };
        self.numbers.push(number);
    }

    fn bounds(&self, rect: Rect) -> [u16; 4] {
        let of =
            |at: u32, size: u32| (u64::from(at) * 1000 / u64::from(size.max(1))).min(1000) as u16;
        let (width, height) = self.size;
        [
            of(rect.y, height),
            of(rect.x, width),
            of(rect.bottom(), height),
            of(rect.right(), width),
        ]
    }
}

/// Share of processors, of which `250m` is a quarter of one, not minutes.
fn of_processors(label: &str, text: &str, quantity: Quantity) -> Quantity {
    let mut words = label.split(|c: char| !c.is_alphanumeric());
    let processors =
        words.any(|word| ["cpu", "cpus", "core", "cores"].contains(&word.to_lowercase().as_str()));
    let digits = text.trim().strip_suffix('m').unwrap_or_default();
    match processors && digits.ends_with(|c: char| c.is_ascii_digit()) {
        true => Quantity {
            value: quantity.value / 60_000.0,
            unit: Unit::None,
        },
        false => quantity,
    }
}

/// Subject of each row, with its column: the first column of labels that tells
/// all rows apart. `None` if there is no such column.
fn subjects(table: &Table, numeric: &[usize]) -> Option<Vec<Option<(String, usize)>>> {
    let candidates = (0..table.columns()).filter(|column| !numeric.contains(column));
    for column in candidates {
        let labels: Vec<Option<String>> = table
            .rows
            .iter()
            .map(|row| row.get(column).and_then(|cell| label_of(&cell.text)))
            .collect();
        let named: Vec<&String> = labels.iter().flatten().collect();
        let apart: HashSet<String> = named.iter().map(|label| fold(label)).collect();
        // Rows without a name are wrapped lines or totals.
        if !named.is_empty() && named.len() * 2 > table.rows.len() && apart.len() == named.len() {
            let with_column = |label: Option<String>| label.map(|label| (label, column));
            return Some(labels.into_iter().map(with_column).collect());
        }
    }
    None
}

/// Label and number of a line that is nothing else.
fn labelled(text: &str) -> Option<(String, Quantity)> {
    let few = |label: &str| label.split_whitespace().count() <= MOST_WORDS;
    // The number first: its unit is known before the label.
    if let Some((quantity, rest)) = numbers::leading(text) {
        let rest = rest.trim();
        let plain = rest
            .chars()
            .all(|c| c.is_alphabetic() || " -_()".contains(c));
        let label = label_of(rest).filter(|label| plain && few(label))?;
        // "3 days ago" and "5 min read" are times.
        return (quantity.unit != Unit::Seconds).then_some((label, quantity));
    }
    // The longest number at the end of the line.
    let starts = text.char_indices().filter(|(at, c)| {
        let before = text[..*at].chars().next_back();
        let begins = c.is_ascii_digit() || "-−$€£<~".contains(*c);
        begins && before.is_some_and(|c| c.is_whitespace() || ":=".contains(c))
    });
    for (at, _) in starts {
        if let Some(quantity) = quantity(&text[at..]) {
            // "Failed logins, 1 minute" is a period, and the number elsewhere.
            if quantity.unit == Unit::Seconds && text[..at].trim_end().ends_with(',') {
                return None;
            }
            let label = label_of(&text[..at]).filter(|label| few(label))?;
            return Some((label, quantity));
        }
    }
    None
}

/// Numbers of the same place and label are told apart by their order and count.
fn tell_apart(numbers: &mut [ScreenNumber]) {
    let mut counts: HashMap<String, (usize, usize)> = HashMap::new();
    for number in numbers.iter() {
        counts.entry(number.key()).or_default().0 += 1;
    }
    for number in numbers {
        let Some((count, nth)) = counts.get_mut(&number.key()) else {
            continue;
        };
        if *count > 1 {
            *nth += 1;
            let (kind, title) = number.place.split_once(' ').unwrap_or((&number.place, ""));
            let place = format!("{kind}-{nth}/{count} {title}");
            place.trim_end().clone_into(&mut number.place);
        }
    }
}

#[cfg(test)]
mod tests;

//! Texts that neither a table nor a list holds, and the claims they make beside,
//! above and below each other.

use std::collections::HashSet;

use watchtower_domain::finding::Severity;
use watchtower_screen::layout::ElementText;
use watchtower_screen::picture::Rect;

use super::assess::StatusMeaning;
use super::claims::{LabelledCell, LabelledRow, counted, is_bad};
use super::gather::{ClaimReader, LONGEST_HEAD, LONGEST_NAME, is_mark};
use super::times::is_time;
use super::vocabulary::{ColumnRole, Strength, Vocabulary};
use super::words::words;

/// Distance of a name above its state, in heights of the state's text.
const NAME_ABOVE: u32 = 8;
/// Longest label above its value, both together, in words.
const LONGEST_STACK: usize = 8;

/// Loose text of a screen: neither of a table nor of a list.
#[derive(Debug, Clone)]
pub(super) struct LooseText<'l> {
    pub(super) index: usize,
    pub(super) text: &'l ElementText,
    pub(super) said: StatusMeaning,
    /// Label and value, if it is a small label above its value.
    pub(super) stacked: Option<(String, ElementText)>,
}

impl<'a> ClaimReader<'a> {
    /// Claims of labels with a number right above or below that no card joins.
    pub(super) fn loose_counts(&mut self) {
        let mut claims = Vec::new();
        for label in &self.loose {
            let named = self.vocabulary.count_label(&label.text.text, false);
            if !named.is_some_and(|named| named.noun) {
                continue;
            }
            let place = label.text.rect;
            let gap = |other: &LooseText<'_>| {
                let rect = other.text.rect;
                place
                    .y
                    .abs_diff(rect.bottom())
                    .min(rect.y.abs_diff(place.bottom()))
            };
            let numbers = self.loose.iter().filter(|other| {
                let rect = other.text.rect;
                other
                    .text
                    .text
                    .chars()
                    .all(|c| c.is_ascii_digit() || c == ',')
                    && rect.x < place.right()
                    && place.x < rect.right()
                    && gap(other) <= place.height
            });
            let Some(number) = numbers.min_by_key(|other| gap(other)) else {
                continue;
            };
            claims.extend(counted(self.vocabulary, (label.text, number.text), &[]));
        }
        self.claims.extend(claims);
    }

    /// Rows of texts beside each other that no table holds, each with a state or
    /// a severity.
    pub(super) fn rows_of_loose_texts(&mut self) {
        let mut claims = Vec::new();
        let mut done = HashSet::new();
        for anchor in self
            .loose
            .iter()
            .filter(|text| self.is_anchor(&text.said, text.text))
        {
            let middle = anchor.text.rect.y + anchor.text.rect.height / 2;
            let element = &self.layout.elements[anchor.index];
            let row: Vec<&LooseText<'a>> = self
                .loose
                .iter()
                .filter(|other| {
                    let rect = other.text.rect;
                    let beside = &self.layout.elements[other.index];
                    // Tiles beside each other tell of different things.
                    let surface = beside.surface == element.surface
                        || contains(&beside.surface, &element.surface)
                        || contains(&element.surface, &beside.surface);
                    (rect.y..=rect.bottom()).contains(&middle)
                        && beside.panel == element.panel
                        && surface
                })
                .collect();
            let anchors = row
                .iter()
                .filter(|other| self.is_anchor(&other.said, other.text));
            let alone = anchors.count() == 1;
            let around = self.around(anchor.index, element);
            let possible = self.lists_what_could_be(&around) || self.is_over(anchor.text.rect);
            if self.is_legend(row.iter().map(|other| other.text)) || !done.insert(anchor.index) {
                continue;
            }
            let tile = element
                .title
                .as_ref()
                .filter(|title| is_name(self.vocabulary, title));
            // Among badges that are well an amber one stands out.
            let steady = 2 <= self.loose.iter().filter(|other| other.said.healthy).count();
            let beside = alone && row.len() > 1;
            let cells = if beside { row } else { vec![anchor] };
            let cells = cells.into_iter().map(|other| {
                let (head, text) = match &other.stacked {
                    Some((label, value)) => (Some(label.as_str()), value),
                    None => (self.head_above(other.text.rect), other.text),
                };
                let mut roles = head.map_or_else(Vec::new, |head| self.roles(head));
                if other.stacked.is_some() {
                    // A small label tells a property of what the row is about.
                    roles.retain(|role| !matches!(role, ColumnRole::Subject | ColumnRole::Place));
                }
                LabelledCell {
                    text,
                    head,
                    roles,
                    steady,
                }
            });
            let title = if beside {
                None
            } else {
                tile.or_else(|| self.name_above(anchor.text.rect))
            };
            let row = LabelledRow {
                cells: cells.collect(),
                title,
                possible,
                around,
                message: None,
                unnamed: false,
                foreign: &self.foreign,
            };
            claims.extend(row.claims(self.vocabulary));
        }
        self.claims.extend(claims);
    }

    /// True for a text that gives its row a state or a severity.
    fn is_anchor(&self, said: &StatusMeaning, text: &ElementText) -> bool {
        let colour = text.colour();
        let number = |c: char| c.is_ascii_digit();
        // "2 Failed" is a counter.
        let counter = text.text.trim_start().starts_with(number);
        let state = said.state.is_some_and(|state| {
            // With a subject before it the text is a sentence; a severity or
            // a label ("Last run") is none.
            let before = &text.text[..state.span.0];
            let first = !before.contains(char::is_alphabetic)
                || said.level.is_some()
                || !self.roles(before).is_empty();
            let rest = &text.text[state.span.0..];
            let letters = rest.chars().filter(|c| c.is_alphabetic()).count();
            let whole = first && 2 * (state.span.1 - state.span.0) >= letters;
            whole && (state.strength > Strength::Weak || is_bad(colour))
        });
        !counter && (state || said.level.is_some_and(|level| level <= Severity::Medium))
    }

    /// Label and value of a text of two short lines: the first words name a column
    /// or an age, the others are what is in it.
    pub(super) fn stacked(&self, text: &ElementText) -> Option<(String, ElementText)> {
        let all = words(&text.text);
        if text.lines.len() < 2 || all.len() > LONGEST_STACK {
            return None;
        }
        let cut = (1..all.len().min(LONGEST_HEAD + 1)).rev().find(|cut| {
            let (label, value) = text.text.split_at(all[*cut].start);
            let age = matches!(all[*cut - 1].text.as_str(), "for" | "since" | "ago");
            !self.vocabulary.roles(label).is_empty() || age && is_time(value)
        })?;
        let (label, value) = text.text.split_at(all[cut].start);
        let value = ElementText {
            text: value.trim().to_owned(),
            ..text.clone()
        };
        Some((label.trim().to_owned(), value))
    }

    /// Name above a box, in its column.
    pub(super) fn name_above(&self, rect: Rect) -> Option<&'a ElementText> {
        let reach = NAME_ABOVE * rect.height.clamp(12, 40);
        let above = self.loose.iter().filter(|other| {
            let place = other.text.rect;
            place.bottom() <= rect.y + rect.height / 2
                && rect.y.saturating_sub(place.bottom()) <= reach
                && place.x < rect.right()
                && rect.x < place.right()
                && is_name(self.vocabulary, other.text)
        });
        above
            .max_by_key(|other| other.text.rect.bottom())
            .map(|other| other.text)
    }

    /// True if the nearest text above a box that is a lifecycle says that what is
    /// below is over: a column "Done 4" of a board.
    pub(super) fn is_over(&self, rect: Rect) -> bool {
        let above = self.loose.iter().filter(|other| {
            let place = other.text.rect;
            let whole = words(&other.text.text).len() <= LONGEST_HEAD;
            place.bottom() <= rect.y
                && place.x < rect.right()
                && rect.x < place.right()
                && whole
                && (other.said.open || other.said.closed)
        });
        let nearest = above.max_by_key(|other| other.text.rect.bottom());
        nearest.is_some_and(|other| other.said.closed)
    }

    /// Head of the column of a box, among loose texts above it: the nearest text
    /// in its column, or none.
    pub(super) fn head_above(&self, rect: Rect) -> Option<&'a str> {
        let above = self.loose.iter().filter(|other| {
            let place = other.text.rect;
            place.bottom() <= rect.y && place.x < rect.right() && rect.x < place.right()
        });
        let nearest = above.max_by_key(|other| other.text.rect.bottom());
        let text = nearest.map(|other| other.text.text.as_str());
        text.filter(|text| !self.roles(text).is_empty())
    }
}

/// True if one surface is on another.
fn contains(outer: &Rect, inner: &Rect) -> bool {
    outer.with(inner) == *outer
}

/// True for a text that can name a subject.
pub(super) fn is_name(vocabulary: &Vocabulary, text: &ElementText) -> bool {
    let name = text.text.trim();
    let letters = name.chars().filter(|c| c.is_alphabetic()).count();
    letters >= 3
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().count() <= LONGEST_NAME
        && !name.ends_with(':')
        && !name.contains(['●', '•'])
        && !is_mark(&vocabulary.status(name))
        && vocabulary.roles(name).is_empty()
}

#[cfg(test)]
mod tests {
    use watchtower_screen::layout::Layout;

    use super::*;
    use crate::offline::rules::Rules;

    #[test]
    fn small_label_above_its_value_is_a_pair_and_no_state() {
        let rules = Rules::load(&[]).unwrap_or_else(|error| panic!("{error}"));
        let layout = Layout::default();
        let reader = ClaimReader::read_loose(&rules.vocabulary, &layout);
        let pair = |text: &str, lines: usize| {
            let text = ElementText {
                text: text.to_owned(),
                lines: (0..lines).collect(),
                ..ElementText::default()
            };
            let (label, value) = reader.stacked(&text)?;
            Some((label, value.text))
        };
        let of = |label: &str, value: &str| Some((label.to_owned(), value.to_owned()));
        assert_eq!(pair("Service ledger", 2), of("Service", "ledger"));
        assert_eq!(pair("Failing for 25 days", 2), of("Failing for", "25 days"));
        assert_eq!(pair("Failing for 25 days", 1), None);
        assert_eq!(pair("Backup of ledger failed", 2), None);
    }
}

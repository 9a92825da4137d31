//! Rows, labels and sentences of a layout, and the claims they make.

use std::collections::HashSet;

use watchtower_domain::finding::Severity;
use watchtower_screen::layout::{
    Card, Element, ElementContent, ElementText, KeyValue, Layout, PanelRole, Table,
};

use super::assess::StatusMeaning;
use super::claims::{
    Claim, ClaimReason, LabelledCell, LabelledRow, MESSAGE, counted, names_something, sentence_of,
    told_numbers,
};
use super::columns::{Columns, has_share, labels};
use super::icons::red_marks;
use super::loose::{LooseText, is_name};
use super::numbers::foreign_measures;
use super::times::is_clock;
use super::vocabulary::{ColumnRole, Sense, Strength, Vocabulary};
use super::words::words;
use crate::offline::elements::loose_text;

/// Heads that only a list of definitions has, from which on a table is one.
const DEFINITION_HEADS: usize = 2;
/// Longest name beside or above a state, in characters.
pub(super) const LONGEST_NAME: usize = 80;
/// Longest counter in words: "Critical (471)".
const LONGEST_COUNTER: usize = 4;
/// Longest head of a column in words.
pub(super) const LONGEST_HEAD: usize = 4;
/// Cells of a row that are names of columns, from which on it is a head.
const HEAD: usize = 2;
/// Severities or states of a row from which on it is a legend or a filter.
const LEGEND: usize = 3;

/// Reader of one layout.
#[derive(Debug)]
pub(super) struct ClaimReader<'a> {
    pub(super) vocabulary: &'a Vocabulary,
    pub(super) layout: &'a Layout,
    pub(super) loose: Vec<LooseText<'a>>,
    /// Measures that the labels of the page make others.
    pub(super) foreign: Vec<usize>,
    pub(super) claims: Vec<Claim>,
}

impl<'a> ClaimReader<'a> {
    /// Claims of all elements of a screen.
    pub(super) fn read(vocabulary: &'a Vocabulary, layout: &'a Layout) -> Vec<Claim> {
        let mut reader = Self::read_loose(vocabulary, layout);
        for (index, element) in layout.elements.iter().enumerate() {
            if is_content(element) {
                reader.element(index, element);
            }
        }
        reader.rows_of_loose_texts();
        reader.loose_counts();
        reader.claims
    }

    /// Reader of a screen, with its loose texts.
    pub(super) fn read_loose(vocabulary: &'a Vocabulary, layout: &'a Layout) -> Self {
        let mut reader = Self {
            vocabulary,
            layout,
            loose: Vec::new(),
            foreign: foreign_measures(vocabulary, &labels(layout)),
            claims: Vec::new(),
        };
        for (index, element) in layout.elements.iter().enumerate() {
            if !is_content(element) {
                continue;
            }
            if let Some(text) = loose_text(&element.content) {
                let stacked = reader.stacked(text);
                let said = match &stacked {
                    Some(_) => StatusMeaning::default(),
                    None => vocabulary.status(&text.text),
                };
                reader.loose.push(LooseText {
                    index,
                    text,
                    said,
                    stacked,
                });
            }
        }
        reader
    }

    fn element(&mut self, index: usize, element: &'a Element) {
        match &element.content {
            ElementContent::Table(table) => self.table(index, element, table),
            ElementContent::Card(card) => self.card(index, element, card),
            ElementContent::KeyValues(pairs) => self.pairs(index, element, pairs),
            ElementContent::LogLine(line) => self.sentences(&line.text, true),
            ElementContent::Prose(text) | ElementContent::Heading(text) => {
                self.sentences(text, false);
                self.counter(index, element, text);
                self.numbers(index, text);
            }
            ElementContent::Badge(text) => {
                self.counter(index, element, text);
                self.numbers(index, text);
            }
            ElementContent::Code(_) => {}
        }
    }

    fn table(&mut self, index: usize, element: &'a Element, table: &'a Table) {
        // Without a head, one of the first rows may be it, or texts above.
        let is_head = |cells: &[ElementText]| {
            let named = cells
                .iter()
                .filter(|cell| !self.roles(&cell.text).is_empty() || self.measures(&cell.text));
            let marks = cells
                .iter()
                .filter(|cell| is_mark(&self.vocabulary.status(&cell.text)));
            let digits = |cell: &ElementText| {
                cell.text.starts_with(|c: char| c.is_ascii_digit()) || has_share(&cell.text)
            };
            named.count() >= HEAD && marks.count() == 0 && !cells.iter().any(digits)
        };
        let own = table.head.as_ref();
        let row_as_head = table
            .rows
            .iter()
            .take(2)
            .position(|cells| own.is_none() && is_head(cells));
        let head_of = |column: usize| -> Option<&'a str> {
            if let Some(row) = row_as_head {
                return Some(table.rows[row][column].text.as_str()).filter(|head| !head.is_empty());
            }
            let above = || {
                let mut cells = table.rows.iter().map(|cells| &cells[column]);
                self.head_above(cells.find(|cell| !cell.is_empty())?.rect)
            };
            table.head_of(column).or_else(above)
        };
        let texts: Vec<_> = (0..table.columns()).map(head_of).collect();
        let mut heads: Vec<Vec<ColumnRole>> = texts
            .iter()
            .map(|head| head.map_or_else(Vec::new, |head| self.roles(head)))
            .collect();
        let skipped = row_as_head.map_or(0, |row| row + 1);
        let columns = Columns {
            vocabulary: self.vocabulary,
            rows: &table.rows[skipped..],
        };
        let first = table.rows.first().filter(|_| table.head.is_none());
        let first = first.map(|row| row.iter().map(|cell| Some(cell.text.as_str())));
        let first: Vec<_> = first.into_iter().flatten().collect();
        if columns.are_of_a_board(&texts) || columns.are_of_a_board(&first) {
            return;
        }
        columns.name_rows(&mut heads);
        let steady = columns.steady();
        let defined = heads
            .iter()
            .filter(|roles| roles.contains(&ColumnRole::DefinitionHead));
        let around = self.around(index, element);
        let possible = defined.count() >= DEFINITION_HEADS || self.lists_what_could_be(&around);
        let mut found = Vec::new();
        let marks = red_marks(&table.rows[skipped..]);
        // A list of events: most of its rows have a time of day, and most cells of
        // a column are sentences, its messages.
        let clock = |cells: &&Vec<ElementText>| {
            let mut cells = heads.iter().zip(cells.iter());
            cells.any(|(roles, cell)| roles.contains(&ColumnRole::Time) && is_clock(cell))
        };
        let clocks = table.rows.iter().skip(skipped).filter(clock).count();
        let events = 2 * clocks > table.rows.len() - skipped;
        let message = (0..table.columns()).find(|column| {
            let named = heads[*column].contains(&ColumnRole::Subject)
                && !heads[*column].contains(&ColumnRole::Status);
            let rows = table.rows.iter().skip(skipped);
            let long = rows.filter(|cells| {
                let text = &cells[*column].text;
                words(text).len() >= MESSAGE && names_something(text)
            });
            events && named && 2 * long.count() > table.rows.len() - skipped
        });
        for (nth, all) in table.rows.iter().skip(skipped).enumerate() {
            let cells = all.iter().enumerate().filter(|(_, cell)| !cell.is_empty());
            let cells: Vec<_> = cells
                .map(|(column, text)| LabelledCell {
                    text,
                    head: texts[column],
                    roles: heads.get(column).cloned().unwrap_or_default(),
                    steady: steady.contains(&column),
                })
                .collect();
            if cells.len() < 2 || self.is_legend(cells.iter().map(|cell| cell.text)) {
                continue;
            }
            let unnamed = message.is_some_and(|column| !names_something(&all[column].text));
            let message = message.filter(|_| !unnamed).and_then(|column| {
                let is_it = |cell: &LabelledCell<'_>| std::ptr::eq(cell.text, &all[column]);
                cells.iter().position(is_it)
            });
            let row = LabelledRow {
                cells,
                title: None,
                possible,
                around: around.clone(),
                message,
                unnamed,
                foreign: &self.foreign,
            };
            let told = row.claims(self.vocabulary);
            let mark = marks.iter().find(|(row, _)| *row == nth);
            if let Some((_, column)) = mark.filter(|_| told.is_empty()) {
                found.extend(row.marked_red(self.vocabulary, &all[*column]));
            }
            found.extend(told);
        }
        self.claims.extend(found);
    }

    fn card(&mut self, index: usize, element: &'a Element, card: &'a Card) {
        let around = self.around(index, element);
        let pair = (&card.label, &card.value);
        let swapped = (&card.value, &card.label);
        let claim = counted(self.vocabulary, pair, &around)
            .or_else(|| counted(self.vocabulary, swapped, &around));
        if claim.is_some() {
            self.claims.extend(claim);
            return;
        }
        if let Some(note) = &card.note {
            self.sentences(note, false);
        }
        let label = card.label.text.as_str();
        let generic = !self.roles(label).is_empty();
        let title = if generic {
            element.title.as_ref().or(Some(&card.label))
        } else {
            Some(&card.label)
        };
        let mut roles = self.roles(label);
        roles.retain(|role| *role != ColumnRole::Subject && *role != ColumnRole::Place);
        let row = LabelledRow {
            cells: vec![LabelledCell {
                text: &card.value,
                head: Some(label),
                roles,
                steady: false,
            }],
            title,
            possible: self.lists_what_could_be(&around),
            around,
            message: None,
            unnamed: false,
            foreign: &self.foreign,
        };
        self.claims.extend(row.claims(self.vocabulary));
    }

    fn pairs(&mut self, index: usize, element: &'a Element, pairs: &'a [KeyValue]) {
        let marks = pairs
            .iter()
            .filter(|pair| is_mark(&self.vocabulary.status(&pair.key.text)));
        let around = self.around(index, element);
        if marks.count() >= 2 {
            // A filter or a legend: states with how often each occurs.
            for pair in pairs {
                let claim = counted(self.vocabulary, (&pair.key, &pair.value), &around);
                self.claims
                    .extend(claim.filter(|claim| claim.severity == Severity::Critical));
            }
            return;
        }
        if self.names_states(pairs) {
            let possible = self.lists_what_could_be(&around) || self.is_over(element.rect);
            for pair in pairs {
                let row = LabelledRow {
                    cells: vec![LabelledCell {
                        text: &pair.value,
                        head: None,
                        roles: vec![ColumnRole::Status],
                        steady: true,
                    }],
                    title: Some(&pair.key),
                    possible,
                    around: around.clone(),
                    foreign: &self.foreign,
                    ..LabelledRow::default()
                };
                self.claims.extend(row.claims(self.vocabulary));
            }
            return;
        }
        let mut cells: Vec<_> = pairs
            .iter()
            .map(|pair| LabelledCell {
                text: &pair.value,
                head: Some(pair.key.text.as_str()),
                roles: self.roles(&pair.key.text),
                steady: false,
            })
            .collect();
        let title = element
            .title
            .as_ref()
            .filter(|title| is_name(self.vocabulary, title))
            .or_else(|| self.badged_name_above(element))
            .or_else(|| self.name_above(element.rect));
        if title.is_some() {
            // What has a name has a model too, which is none.
            for cell in &mut cells {
                cell.roles
                    .retain(|role| !matches!(role, ColumnRole::Subject | ColumnRole::Place));
            }
        }
        let row = LabelledRow {
            cells,
            title,
            possible: self.lists_what_could_be(&around),
            around: around.clone(),
            message: None,
            unnamed: false,
            foreign: &self.foreign,
        };
        let claims = row.claims(self.vocabulary);
        let none = claims.is_empty();
        self.claims.extend(claims);
        for pair in pairs {
            let claim = counted(self.vocabulary, (&pair.key, &pair.value), &around);
            self.claims.extend(claim);
            // A label that makes it possible: "Trigger condition: ...".
            let defines = self
                .roles(&pair.key.text)
                .contains(&ColumnRole::DefinitionHead)
                || self.vocabulary.holds(&pair.key.text, Sense::Condition);
            if none && !defines {
                self.sentences(&pair.value, false);
            }
        }
    }

    /// True if the keys of pairs name things and the values are their states, as on
    /// a page of components or beside the title of a tile: no key names a property.
    fn names_states(&self, pairs: &[KeyValue]) -> bool {
        let state = |pair: &&KeyValue| {
            let said = self.vocabulary.status(&pair.value.text);
            said.healthy || said.state.is_some()
        };
        let named = pairs.iter().all(|pair| {
            let key = pair.key.text.as_str();
            let list = key.contains(['●', '•', '·']);
            is_name(self.vocabulary, &pair.key) && !self.guards(key) && !list
        });
        named && 2 * pairs.iter().filter(state).count() > pairs.len()
    }

    /// Name of a tile with its state beside it, right above an element of it.
    fn badged_name_above(&self, element: &Element) -> Option<&'a ElementText> {
        let above = self.layout.elements.iter().filter(|other| {
            let gap = element.rect.y.saturating_sub(other.rect.bottom());
            other.surface == element.surface
                && other.rect.bottom() <= element.rect.y
                && gap <= 3 * other.rect.height
        });
        let nearest = above.max_by_key(|other| other.rect.bottom())?;
        match &nearest.content {
            ElementContent::KeyValues(pairs) if self.names_states(pairs) => {
                match pairs.as_slice() {
                    [pair] => Some(&pair.key),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// Claims of the sentences of a text; of a log only what is severe and
    /// certain, as every log has errors.
    fn sentences(&mut self, text: &ElementText, log: bool) {
        for problem in self.vocabulary.problems(&text.text) {
            let state = problem.state;
            if log && (state.strength != Strength::Certain || state.severity > Severity::High) {
                continue;
            }
            let said = sentence_of(&text.text, problem);
            self.claims.push(Claim {
                kind: state.kind,
                severity: state.severity,
                subject: String::new(),
                quotes: vec![(said.clone(), text.rect)],
                said,
                reason: ClaimReason::Told,
            });
        }
    }

    /// Claims of numbers in sentences, unless a mark beside says that it is well.
    fn numbers(&mut self, index: usize, text: &ElementText) {
        let well = self.loose.iter().any(|other| {
            let (a, b) = (other.text.rect, text.rect);
            other.index != index
                && (other.said.healthy || other.said.closed)
                && a.y < b.bottom()
                && b.y < a.bottom()
        });
        if !well {
            self.claims
                .extend(told_numbers(self.vocabulary, text, &self.foreign));
        }
    }

    /// Claim of a text that is a label and a count: "Critical (471)", "2 failed".
    fn counter(&mut self, index: usize, element: &'a Element, text: &'a ElementText) {
        let first = text.text.split([',', ';', '|']).next().unwrap_or_default();
        let all = words(first);
        let number = |text: &str| text.chars().all(|c| c.is_ascii_digit() || c == ',');
        let numbers: Vec<_> = all.iter().filter(|word| number(&word.text)).collect();
        let [one] = numbers.as_slice() else { return };
        if all.len() > LONGEST_COUNTER || all.len() < 2 {
            return;
        }
        let label = format!("{} {}", &first[..one.start], &first[one.end..]);
        let part = |text: &str| ElementText {
            text: text.trim().to_owned(),
            ..ElementText::default()
        };
        let (label, value) = (part(&label), part(&first[one.start..one.end]));
        let mut around = self.around(index, element);
        let beside = self.loose.iter().filter(|other| {
            let (a, b) = (other.text.rect, text.rect);
            a.y < b.bottom() && b.y < a.bottom() && other.index != index
        });
        around.extend(beside.map(|other| other.text.text.as_str()));
        let claim = counted(self.vocabulary, (&label, &value), &around);
        self.claims.extend(claim.map(|claim| {
            Claim {
                subject: label
                    .text
                    .trim_matches(|c: char| !c.is_alphanumeric())
                    .to_owned(),
                quotes: vec![(first.trim().to_owned(), text.rect)],
                ..claim
            }
        }));
    }

    /// Titles of an element: its own, and the nearest heading above it.
    pub(super) fn around(&self, index: usize, element: &'a Element) -> Vec<&'a str> {
        let mut titles: Vec<&'a str> = element
            .title
            .iter()
            .map(|title| title.text.as_str())
            .collect();
        let panel = element.panel;
        let above = self
            .layout
            .elements
            .iter()
            .enumerate()
            .filter(|(at, other)| {
                *at != index
                    && other.panel == panel
                    && other.rect.bottom() <= element.rect.y + element.rect.height / 2
                    && matches!(
                        &other.content,
                        ElementContent::Heading(_) | ElementContent::Prose(_)
                    )
            });
        let mut above: Vec<_> = above
            .filter_map(|(_, other)| Some((other, loose_text(&other.content)?)))
            .filter(|(other, text)| {
                let heading = matches!(other.content, ElementContent::Heading(_));
                text.text.len() <= LONGEST_NAME
                    && (heading
                        || other.rect.x < element.rect.right()
                            && element.rect.x < other.rect.right())
            })
            .collect();
        above.sort_by_key(|(other, _)| std::cmp::Reverse(other.rect.bottom()));
        let headings = above
            .iter()
            .filter(|(other, _)| matches!(other.content, ElementContent::Heading(_)));
        titles.extend(above.iter().take(3).map(|(_, text)| text.text.as_str()));
        titles.extend(headings.take(2).map(|(_, text)| text.text.as_str()));
        titles
    }

    /// True if a title names a list of definitions, settings or examples.
    pub(super) fn lists_what_could_be(&self, titles: &[&str]) -> bool {
        titles.iter().any(|title| {
            let all = words(title);
            let found = self.vocabulary.phrases(&all);
            found.iter().any(|phrase| {
                phrase
                    .senses
                    .contains(&Sense::Structure(ColumnRole::Definition))
                    && (phrase.end == all.len() || phrase.first == 0 && all.len() <= 4)
            })
        })
    }

    /// True if texts beside each other are all levels or states that there are.
    pub(super) fn is_legend<'t>(&self, texts: impl Iterator<Item = &'t ElementText>) -> bool {
        let mut levels = HashSet::new();
        let (mut bad, mut good, mut all) = (HashSet::new(), 0, 0);
        for text in texts {
            let said = self.vocabulary.status(&text.text);
            all += 1;
            levels.extend(said.level);
            good += usize::from(said.healthy);
            if let Some(state) = said.state {
                bad.insert((state.kind, text.text.to_lowercase()));
            }
        }
        let marks = levels.len() + bad.len() + good;
        levels.len() >= LEGEND
            || (bad.len() >= 2 && good > 0 || bad.len() >= LEGEND) && 2 * marks >= all
    }

    /// True if a label names a safeguard.
    fn guards(&self, label: &str) -> bool {
        let all = words(label);
        let found = self.vocabulary.phrases(&all);
        let guard = |sense: &Sense| matches!(sense, Sense::Safeguard(_));
        found.iter().any(|phrase| phrase.senses.iter().any(guard))
    }

    /// True if a head names a measure.
    fn measures(&self, head: &str) -> bool {
        let all = words(head);
        let found = self.vocabulary.phrases(&all);
        let measure = |sense: &Sense| matches!(sense, Sense::Measure(_));
        found.iter().any(|phrase| phrase.senses.iter().any(measure))
    }

    /// Roles of a head, signs of sorting aside.
    pub(super) fn roles(&self, head: &str) -> Vec<ColumnRole> {
        let all = words(head);
        // Signs of sorting are read as one letter or two.
        let is_sign = |text: &str| {
            text.len() < 2 || text.len() == 2 && !text.chars().all(char::is_alphabetic)
        };
        let text = all
            .iter()
            .map(|word| word.text.as_str())
            .filter(|text| !is_sign(text));
        let text: Vec<_> = text.collect();
        let mut roles: Vec<ColumnRole> =
            self.vocabulary.roles(&text.join(" ")).into_iter().collect();
        if roles.is_empty() && text.len() <= LONGEST_HEAD {
            let found = self.vocabulary.phrases(&all);
            roles.extend(
                found
                    .iter()
                    .flat_map(|phrase| phrase.senses)
                    .filter_map(|sense| match sense {
                        Sense::Structure(role) if *role != ColumnRole::Definition => Some(*role),
                        _ => None,
                    }),
            );
        }
        roles
    }
}

/// True for parts of a screen that show content: not menus and bands.
fn is_content(element: &Element) -> bool {
    matches!(element.panel, PanelRole::Main | PanelRole::Dialog)
}

pub(super) fn is_mark(said: &StatusMeaning) -> bool {
    said.state.is_some() || said.level.is_some() || said.healthy || said.open || said.closed
}

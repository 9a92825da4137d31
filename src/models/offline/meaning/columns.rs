//! Columns of a table by what is in them: the one that names the rows, those of
//! states without a head, and the columns of a board.

use std::collections::HashSet;

use watchtower_screen::layout::{ElementContent, ElementText, Layout, PanelRole};
use watchtower_screen::picture::Rect;

use super::claims::names_something;
use super::gather::LONGEST_NAME;
use super::vocabulary::{ColumnRole, Sense, Vocabulary};
use crate::offline::elements::loose_text;

/// Columns of a table below its head.
#[derive(Debug)]
pub(super) struct Columns<'t> {
    pub(super) vocabulary: &'t Vocabulary,
    pub(super) rows: &'t [Vec<ElementText>],
}

impl Columns<'_> {
    /// True for the columns of a board, "To do", "In progress", "Done": what stands
    /// beside each other there has nothing in common.
    pub(super) fn are_of_a_board(&self, heads: &[Option<&str>]) -> bool {
        let lifecycle = |head: &&Option<&str>| {
            let said = head.map(|head| self.vocabulary.status(head));
            said.is_some_and(|said| said.open || said.closed)
        };
        heads.iter().filter(lifecycle).count() >= 2
    }

    /// Columns of which most texts say that all is well.
    pub(super) fn steady(&self) -> Vec<usize> {
        let well = |column: &usize| {
            let cells = self.rows.iter().map(|row| &row[*column]);
            let cells: Vec<_> = cells.filter(|cell| !cell.is_empty()).collect();
            let healthy = |cell: &&&ElementText| {
                let said = self.vocabulary.status(&cell.text);
                said.healthy && said.state.is_none()
            };
            2 * cells.iter().filter(healthy).count() >= cells.len().max(2)
        };
        (0..self.columns()).filter(well).collect()
    }

    /// Takes the role of the name from a column whose texts recur, if an earlier
    /// one tells the rows apart.
    pub(super) fn name_rows(&self, heads: &mut [Vec<ColumnRole>]) {
        let subject = |roles: &Vec<ColumnRole>| {
            roles.contains(&ColumnRole::Subject) && !roles.contains(&ColumnRole::Status)
        };
        let Some(named) = heads.iter().position(subject) else {
            return;
        };
        let first = (0..named).find(|column| self.tells_apart(*column));
        if let Some(first) =
            first.filter(|first| !self.tells_apart(named) && heads[*first].is_empty())
        {
            heads[named].retain(|role| *role != ColumnRole::Subject);
            heads[first].push(ColumnRole::Subject);
        }
    }

    /// True if all texts of a column are names, each another one.
    fn tells_apart(&self, column: usize) -> bool {
        let texts = self.rows.iter().map(|row| row[column].text.as_str());
        let mut seen = HashSet::new();
        self.rows.len() > 1
            && texts
                .into_iter()
                .all(|text| names_something(text) && seen.insert(text))
    }

    fn columns(&self) -> usize {
        self.rows.first().map_or(0, Vec::len)
    }
}

/// True if a text holds a number in per cent, as the head of a column does not.
pub(super) fn has_share(text: &str) -> bool {
    let mut signs = text.match_indices('%');
    signs.any(|(at, _)| {
        text[..at]
            .trim_end()
            .ends_with(|c: char| c.is_ascii_digit())
    })
}

/// Boxes of the rows of tables that say that what they tell of is over.
pub(in crate::offline) fn resolved_rows(vocabulary: &Vocabulary, layout: &Layout) -> Vec<Rect> {
    let tables = (layout.elements.iter()).filter_map(|element| match &element.content {
        ElementContent::Table(table) => Some(table),
        _ => None,
    });
    let over = |row: &&Vec<ElementText>| {
        row.iter()
            .any(|cell| vocabulary.senses(&cell.text).contains(&Sense::Resolved))
    };
    let rows = tables.flat_map(|table| table.rows.iter()).filter(over);
    let boxes = rows.filter_map(|row| {
        let cells = row.iter().filter(|cell| !cell.is_empty());
        cells.map(|cell| cell.rect).reduce(|a, b| a.with(&b))
    });
    boxes.collect()
}

/// Texts of a page that name something: titles, labels, heads of columns, and
/// what its header says; no menus.
pub(super) fn labels(layout: &Layout) -> Vec<&str> {
    let mut labels = Vec::new();
    let shown = (layout.elements.iter()).filter(|element| element.panel != PanelRole::Sidebar);
    for element in shown {
        match &element.content {
            ElementContent::Table(table) => {
                let heads = table.head.iter().flatten();
                labels.extend(heads.map(|head| head.text.as_str()));
            }
            ElementContent::Card(card) => labels.push(card.label.text.as_str()),
            ElementContent::KeyValues(pairs) => {
                labels.extend(pairs.iter().map(|pair| pair.key.text.as_str()));
            }
            content => {
                let title = loose_text(content).filter(|text| text.text.len() <= LONGEST_NAME);
                labels.extend(title.map(|text| text.text.as_str()));
            }
        }
    }
    labels
}

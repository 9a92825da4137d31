//! Elements of a screen as structural rules match them: each row of a table, each
//! card, badge, list of pairs, log line or text is a row of cells that know
//! their label and colour.

use std::collections::HashSet;

use watchtower_screen::layout::{Element, ElementContent, ElementText, Layout, PanelRole};
use watchtower_screen::picture::{Picture, Rect, TextLine};

use super::screen::{ByteSpan, CellRow, FrameText, drawn};

/// Kind of element that a rule may speak of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ElementKind {
    /// Row of a table, or texts beside each other that no table holds.
    Row,
    Card,
    KeyValues,
    Badge,
    LogLine,
    Heading,
    Code,
    Prose,
}

const KINDS: [(&str, ElementKind); 8] = [
    ("row", ElementKind::Row),
    ("card", ElementKind::Card),
    ("key_values", ElementKind::KeyValues),
    ("badge", ElementKind::Badge),
    ("log_line", ElementKind::LogLine),
    ("heading", ElementKind::Heading),
    ("code", ElementKind::Code),
    ("prose", ElementKind::Prose),
];
/// Rows of a table without a head among which it may be.
const HEAD_WITHIN: usize = 2;
/// Colours of examples, as limited-range YCbCr.
const PAINTS: [(&str, [u8; 3]); 4] = [
    ("{red}", [81, 90, 240]),
    ("{amber}", [165, 42, 179]),
    ("{green}", [97, 81, 69]),
    ("{blue}", [41, 240, 110]),
];
/// Pixels around a text that are painted in an example.
const PAINT_MARGIN: u32 = 4;
/// Factor of the places of cells in an example.
const STRETCH: u32 = 2;
/// Pixels around the text of an example.
const PICTURE_MARGIN: u32 = 60;

impl ElementKind {
    pub(super) fn names() -> [&'static str; KINDS.len()] {
        KINDS.map(|(name, _)| name)
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        let known = KINDS.iter().find(|(known, _)| *known == name);
        known.map(|(_, kind)| *kind)
    }
}

impl FrameText {
    /// Elements of a layout that was made of these lines. Menus have no content
    /// but tables, cards, pairs and code.
    pub(super) fn of_layout(layout: &Layout, lines: &[TextLine]) -> Self {
        let mut rows = ElementRows {
            lines,
            screen: Self::sized(layout.width, layout.height),
        };
        for element in &layout.elements {
            let menu = match element.panel {
                PanelRole::Header => true,
                PanelRole::Sidebar => loose_text(&element.content).is_some(),
                PanelRole::Main | PanelRole::Dialog => false,
            };
            if !menu {
                rows.element(element);
            }
        }
        rows.loose(layout);
        rows.screen
    }
}

/// Rows made so far.
struct ElementRows<'l> {
    lines: &'l [TextLine],
    screen: FrameText,
}

impl ElementRows<'_> {
    fn element(&mut self, element: &Element) {
        let title = element.title.as_ref().map(|title| title.text.clone());
        match &element.content {
            ElementContent::Table(table) => {
                let mut heads: Vec<(usize, Vec<ByteSpan>)> = Vec::new();
                if let Some(head) = &table.head {
                    let at = self.open(None, None);
                    let cells = head.iter().map(|cell| self.cell(at, cell, true, &[]));
                    heads.push((at, cells.collect()));
                }
                for (nth, cells) in table.rows.iter().enumerate() {
                    let at = self.open(Some(ElementKind::Row), title.clone());
                    let mut places = Vec::new();
                    for (column, cell) in cells.iter().enumerate() {
                        let labels = heads.iter().filter_map(|(row, places)| {
                            let (from, to) = *places.get(column)?;
                            (from < to).then_some((*row, (from, to)))
                        });
                        let labels: Vec<_> = labels.collect();
                        places.push(self.cell(at, cell, false, &labels));
                    }
                    // Without a head one of the first rows may be it.
                    if table.head.is_none() && nth < HEAD_WITHIN {
                        heads.push((at, places));
                    }
                }
            }
            ElementContent::Card(card) => {
                let title = title.unwrap_or_else(|| card.label.text.clone());
                let at = self.open(Some(ElementKind::Card), Some(title));
                let label = self.cell(at, &card.label, true, &[]);
                self.cell(at, &card.value, false, &[(at, label)]);
                if let Some(note) = &card.note {
                    self.cell(at, note, false, &[(at, label)]);
                }
            }
            ElementContent::KeyValues(pairs) => {
                let at = self.open(Some(ElementKind::KeyValues), title);
                for pair in pairs {
                    let label = self.cell(at, &pair.key, true, &[]);
                    self.cell(at, &pair.value, false, &[(at, label)]);
                }
            }
            ElementContent::LogLine(log) => self.text(ElementKind::LogLine, &log.text, title),
            ElementContent::Badge(text) => self.text(ElementKind::Badge, text, title),
            ElementContent::Heading(text) => self.text(ElementKind::Heading, text, title),
            ElementContent::Code(text) => self.text(ElementKind::Code, text, title),
            ElementContent::Prose(text) => self.text(ElementKind::Prose, text, title),
        }
    }

    fn text(&mut self, kind: ElementKind, text: &ElementText, title: Option<String>) {
        let at = self.open(Some(kind), title);
        self.cell(at, text, false, &[]);
    }

    fn open(&mut self, kind: Option<ElementKind>, title: Option<String>) -> usize {
        self.screen.rows.push(CellRow {
            kind,
            title,
            ..CellRow::default()
        });
        self.screen.rows.len() - 1
    }

    /// Adds a cell, unless it is empty; returns its place in the row.
    fn cell(
        &mut self,
        row: usize,
        text: &ElementText,
        names: bool,
        labels: &[(usize, ByteSpan)],
    ) -> ByteSpan {
        if text.is_empty() {
            return (0, 0);
        }
        let read = text.lines.iter().filter_map(|line| self.lines.get(*line));
        let sure: Vec<f32> = read.map(|line| line.confidence).collect();
        let sure = sure.iter().sum::<f32>() / sure.len().max(1) as f32;
        let row = &mut self.screen.rows[row];
        let place = row.push(&text.text, text.rect, sure);
        let cell = row.cells.last_mut().expect("one was pushed");
        cell.names = names;
        cell.labels = labels.to_vec();
        cell.tone = text.colour();
        place
    }

    /// Rows of texts beside each other that no table holds.
    fn loose(&mut self, layout: &Layout) {
        let texts = layout.elements.iter().filter_map(|element| {
            let content = matches!(element.panel, PanelRole::Main | PanelRole::Dialog);
            let text = loose_text(&element.content).filter(|_| content)?;
            Some((element.panel, text))
        });
        let texts: Vec<_> = texts.collect();
        let mut done = HashSet::new();
        for (index, (panel, anchor)) in texts.iter().enumerate() {
            if done.contains(&index) {
                continue;
            }
            let middle = anchor.rect.y + anchor.rect.height / 2;
            let beside = texts.iter().enumerate().filter(|(at, (other, text))| {
                !done.contains(at)
                    && other == panel
                    && (text.rect.y..=text.rect.bottom()).contains(&middle)
            });
            let mut beside: Vec<_> = beside.collect();
            if beside.len() < 2 {
                continue;
            }
            beside.sort_by_key(|(_, (_, text))| text.rect.x);
            let at = self.open(Some(ElementKind::Row), None);
            for (index, (_, text)) in beside {
                done.insert(index);
                self.cell(at, text, false, &[]);
            }
        }
    }
}

/// Text of an element that stands alone: neither of a table nor of a list.
pub(super) fn loose_text(content: &ElementContent) -> Option<&ElementText> {
    match content {
        ElementContent::Badge(text)
        | ElementContent::Heading(text)
        | ElementContent::Prose(text) => Some(text),
        _ => None,
    }
}

/// Elements of a screen drawn in characters, for the examples of rules.
pub(super) fn drawn_elements(text: &str) -> FrameText {
    let (lines, picture) = painted(text);
    FrameText::of_layout(&Layout::of(&lines, &picture), &lines)
}

/// Lines and picture of a screen drawn in characters; a cell after `{red}`,
/// `{amber}`, `{green}` or `{blue}` has that colour.
pub(super) fn painted(text: &str) -> (Vec<TextLine>, Picture) {
    let mut lines = drawn(text);
    let right = lines
        .iter()
        .map(|line| STRETCH * line.rect.x + line.rect.width)
        .max();
    let bottom = lines.iter().map(|line| line.rect.bottom()).max();
    let even = |side: Option<u32>| (side.unwrap_or_default() + 2 * PICTURE_MARGIN) & !1;
    let mut picture = Picture::grey(even(right), even(bottom));
    for line in &mut lines {
        // Cells stand further apart than the words of a text.
        line.rect.x = STRETCH * line.rect.x + PICTURE_MARGIN;
        line.rect.y += PICTURE_MARGIN;
        let paint = PAINTS.iter().find(|(name, _)| line.text.starts_with(name));
        if let Some((name, colour)) = paint {
            line.text.drain(..name.len());
            let cut = 10 * name.len() as u32;
            line.rect.width = line.rect.width.saturating_sub(cut).max(10);
            fill(&mut picture, line.rect, *colour);
        }
    }
    (lines, picture)
}

/// Paints a box and a margin around it.
fn fill(picture: &mut Picture, rect: Rect, [y, u, v]: [u8; 3]) {
    let rows = rect.y.saturating_sub(PAINT_MARGIN)..(rect.bottom() + PAINT_MARGIN);
    let columns = rect.x.saturating_sub(PAINT_MARGIN)..(rect.right() + PAINT_MARGIN);
    let (width, half) = (picture.width as usize, picture.width.div_ceil(2) as usize);
    for row in rows.start as usize..(rows.end.min(picture.height)) as usize {
        for column in columns.start as usize..(columns.end.min(picture.width)) as usize {
            picture.y[row * width + column] = y;
            picture.u[row / 2 * half + column / 2] = u;
            picture.v[row / 2 * half + column / 2] = v;
        }
    }
}

#[cfg(test)]
mod tests {
    use watchtower_screen::layout::StatusColour;

    use super::*;

    /// Kind, text and labels of each row.
    fn listed(screen: &FrameText) -> Vec<(Option<ElementKind>, String, Vec<String>)> {
        let label = |row: usize, part: ByteSpan| screen.rows[row].text[part.0..part.1].to_owned();
        let rows = screen.rows.iter().map(|row| {
            let labels = row.cells.iter().flat_map(|cell| cell.labels.clone());
            let labels = labels.map(|(row, part)| label(row, part)).collect();
            (row.kind, row.text.clone(), labels)
        });
        rows.collect()
    }

    #[test]
    fn cells_of_a_table_know_the_heads_of_their_columns() {
        let screen = drawn_elements(
            "Name       State     Age\ncheckout   Failed    3 days\ncart       Running   9 days\nmail       Running   9 days",
        );
        let labels = ["Name", "State", "Age"].map(str::to_owned).to_vec();
        let row = |text: &str| (Some(ElementKind::Row), text.to_owned(), labels.clone());
        assert_eq!(
            listed(&screen),
            [
                (None, "Name  State  Age".to_owned(), Vec::new()),
                row("checkout  Failed  3 days"),
                row("cart  Running  9 days"),
                row("mail  Running  9 days"),
            ]
        );
    }

    #[test]
    fn painted_cell_has_its_colour() {
        let screen = drawn_elements(
            "Name       State         Region\ncheckout   {red}Failed   eu-1\ncart       {green}Ready  eu-2\nmail       Ready         eu-2",
        );
        let tones: Vec<_> = screen.rows[1..]
            .iter()
            .map(|row| row.cells[1].tone)
            .collect();
        assert_eq!(
            tones,
            [StatusColour::Red, StatusColour::Green, StatusColour::None]
        );
    }
}

//! Text of a screen as matched by rules: rows of cells.
//!
//! A row joins lines of text side by side, from the left, with two spaces
//! between cells, so that a pattern can tell words from columns. Vertical
//! positions are kept too: a panel has its label above its value.

use regex::Regex;

use watchtower_domain::finding::Evidence;
use watchtower_screen::layout::StatusColour;
use watchtower_screen::picture::{Rect, TextLine};

use super::elements::ElementKind;

/// Minimum confidence of OCR: below it most lines are icons and specks.
const SURE: f32 = 0.5;
const SURE_DIGIT: f32 = 0.8;
/// Separator of two cells of a row.
const GAP: &str = "  ";
/// Maximum length of marks and icons in front of a line that a quote leaves
/// out.
const ICON_CHARACTERS: usize = 4;
pub(super) const LONGEST_QUOTE: usize = 200;
/// Rows below a panel's label in which its value is searched.
const ROWS_BELOW: usize = 2;

/// Range in bytes of a row's text.
pub(super) type ByteSpan = (usize, usize);

/// Text of one frame.
#[derive(Debug, Default)]
pub(super) struct FrameText {
    width: u32,
    height: u32,
    pub(super) rows: Vec<CellRow>,
}

#[derive(Debug, Default)]
pub(super) struct CellRow {
    pub(super) text: String,
    pub(super) cells: Vec<RowCell>,
    /// Kind of the element that it is, if it is one.
    pub(super) kind: Option<ElementKind>,
    /// Name of the element, such as the title of its tile.
    pub(super) title: Option<String>,
    /// Mean confidence of its cells.
    pub(super) confidence: f32,
}

#[derive(Debug)]
pub(super) struct RowCell {
    /// Range in bytes of the row's text.
    pub(super) start: usize,
    pub(super) end: usize,
    rect: Rect,
    /// Flag: the head of a column, or a label.
    pub(super) names: bool,
    /// Rows and ranges of what may label it: the head of its column, or the label
    /// of a value.
    pub(super) labels: Vec<(usize, ByteSpan)>,
    pub(super) tone: StatusColour,
}

impl FrameText {
    /// Builds the rows from lines in reading order, on a picture of this size.
    pub(super) fn new(lines: &[TextLine], width: u32, height: u32) -> Self {
        let mut screen = Self::sized(width, height);
        let mut band: Option<Rect> = None;
        for line in lines.iter().filter(|line| is_legible(line)) {
            let middle = line.rect.y + line.rect.height / 2;
            let beside = band.is_some_and(|band| (band.y..band.y + band.height).contains(&middle));
            if !beside {
                screen.rows.push(CellRow::default());
                band = Some(line.rect);
            }
            let row = screen.rows.last_mut().expect("the first line begins a row");
            row.push(&line.text, line.rect, line.confidence);
        }
        screen
    }

    /// Screen of this size without rows.
    pub(super) fn sized(width: u32, height: u32) -> Self {
        Self {
            width,
            height,
            rows: Vec::new(),
        }
    }

    /// Parses a screen drawn in characters, for the examples of rules: each
    /// line is a row, its cells separated by two spaces or more.
    pub(super) fn drawn(text: &str) -> Self {
        Self::new(&drawn(text), 1920, 1080)
    }

    /// Matching cell above the given part of a row, in its column and at most
    /// `reach` of its own heights away.
    pub(super) fn label_above(
        &self,
        row: usize,
        part: ByteSpan,
        label: &Regex,
        reach: u32,
    ) -> Option<(usize, ByteSpan)> {
        let value = self.rows[row].rect(part)?;
        self.rows[..row]
            .iter()
            .enumerate()
            .rev()
            .find_map(|(index, above)| {
                let cell = above.cells.iter().find(|cell| {
                    let near = value.y.saturating_sub(cell.rect.y + cell.rect.height)
                        <= reach * cell.rect.height;
                    near && share_a_column(cell.rect, value)
                        && label.is_match(&above.text[cell.start..cell.end])
                })?;
                Some((index, (cell.start, cell.end)))
            })
    }

    /// True if a part of a row labels a panel with the value zero: a lone zero
    /// is below the first cell of that part.
    pub(super) fn counts_none(&self, row: usize, part: ByteSpan) -> bool {
        let touched = self.rows[row].touched(part);
        let Some(label) = touched.first().map(|cell| cell.rect) else {
            return false;
        };
        let below = self.rows[row + 1..].iter().take(ROWS_BELOW);
        below
            .flat_map(|row| row.cells.iter().map(move |cell| (row, cell)))
            .any(|(row, cell)| {
                let text = &row.text[cell.start..cell.end];
                matches!(text, "0" | "O" | "0%" | "0 %") && share_a_column(cell.rect, label)
            })
    }

    /// Next line of the paragraph that a cell is a line of: a cell directly
    /// below that begins at the same place.
    pub(super) fn cell_below(&self, row: usize, part: ByteSpan) -> Option<(usize, ByteSpan)> {
        let line = self.rows[row].rect(part)?;
        let below = self.rows.iter().enumerate().skip(row + 1).take(ROWS_BELOW);
        let mut cells =
            below.flat_map(|(row, below)| below.cells.iter().map(move |cell| (row, cell)));
        let (row, cell) = cells.find(|(_, cell)| {
            let gap = cell.rect.y.saturating_sub(line.y + line.height);
            cell.rect.x.abs_diff(line.x) <= line.height && gap <= line.height
        })?;
        Some((row, (cell.start, cell.end)))
    }

    /// Evidence from the cells of a match. `grounded` is true: the text was
    /// read on this frame.
    pub(super) fn evidence(&self, row: usize, part: ByteSpan) -> Evidence {
        let row = &self.rows[row];
        let touched = row.touched(part);
        let first = touched.first().map_or(part.0, |cell| cell.start);
        let start = if part.0.saturating_sub(first) <= ICON_CHARACTERS {
            part.0.max(first)
        } else {
            first
        };
        let end = touched.last().map_or(part.1, |cell| cell.end);
        let words = row.text[start..end].split_whitespace();
        let quote: String = words
            .collect::<Vec<_>>()
            .join(" ")
            .chars()
            .take(LONGEST_QUOTE)
            .collect();
        Evidence {
            quote,
            bounds: row.rect(part).map(|rect| self.thousandths(rect)),
            grounded: Some(true),
        }
    }

    fn thousandths(&self, rect: Rect) -> [u16; 4] {
        // At most 1000 by the clamp.
        let of = |part: u32, whole: u32| {
            (u64::from(part) * 1000 / u64::from(whole.max(1))).min(1000) as u16
        };
        [
            of(rect.y, self.height),
            of(rect.x, self.width),
            of(rect.y + rect.height, self.height),
            of(rect.x + rect.width, self.width),
        ]
    }
}

/// Lines as OCR reads them off a screen drawn in characters.
pub(super) fn drawn(text: &str) -> Vec<TextLine> {
    const CHARACTER: u32 = 10;
    const LINE: u32 = 24;
    let mut lines = Vec::new();
    for (y, row) in (0..).zip(text.lines()) {
        let mut x = 0;
        for part in row.split(GAP) {
            let cell = part.trim_start();
            let indent = part.chars().count() - cell.chars().count();
            if !cell.is_empty() {
                let rect = Rect {
                    x: (x + indent as u32) * CHARACTER,
                    y: y * LINE,
                    width: cell.chars().count() as u32 * CHARACTER,
                    height: LINE - 4,
                };
                lines.push(TextLine {
                    text: cell.trim_end().to_owned(),
                    rect,
                    confidence: 1.0,
                });
            }
            x += (part.chars().count() + GAP.len()) as u32;
        }
    }
    lines
}

fn share_a_column(a: Rect, b: Rect) -> bool {
    a.x < b.x + b.width && b.x < a.x + a.width
}

/// A single character is an icon, unless it is a digit of high confidence.
fn is_legible(line: &TextLine) -> bool {
    let mut characters = line.text.chars();
    match (characters.next(), characters.next()) {
        (Some(only), None) => only.is_ascii_digit() && line.confidence >= SURE_DIGIT,
        (Some(_), Some(_)) => line.confidence >= SURE,
        (None, _) => false,
    }
}

impl CellRow {
    /// Adds a cell; returns its range.
    pub(super) fn push(&mut self, text: &str, rect: Rect, confidence: f32) -> ByteSpan {
        if !self.cells.is_empty() {
            self.text += GAP;
        }
        let start = self.text.len();
        self.text += text;
        let end = self.text.len();
        let count = self.cells.len() as f32;
        self.confidence = (self.confidence * count + confidence) / (count + 1.0);
        self.cells.push(RowCell {
            start,
            end,
            rect,
            names: false,
            labels: Vec::new(),
            tone: StatusColour::None,
        });
        (start, end)
    }

    fn touched(&self, part: ByteSpan) -> Vec<&RowCell> {
        self.cells
            .iter()
            .filter(|cell| cell.start < part.1 && part.0 < cell.end)
            .collect()
    }

    /// Bounding box of the cells of a range.
    fn rect(&self, part: ByteSpan) -> Option<Rect> {
        let rects = self.touched(part).into_iter().map(|cell| cell.rect);
        rects.reduce(|a, b| {
            let (x, y) = (a.x.min(b.x), a.y.min(b.y));
            let right = (a.x + a.width).max(b.x + b.width);
            let bottom = (a.y + a.height).max(b.y + b.height);
            Rect {
                x,
                y,
                width: right - x,
                height: bottom - y,
            }
        })
    }

    /// Ranges of its cells.
    pub(super) fn cells(&self) -> Vec<ByteSpan> {
        let cells = self.cells.iter();
        cells.map(|cell| (cell.start, cell.end)).collect()
    }

    /// First cell, which in a table names the subject of the row.
    pub(super) fn first_cell(&self) -> &str {
        self.cells
            .first()
            .map_or("", |cell| &self.text[cell.start..cell.end])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawn_screen_has_rows_cells_and_columns() {
        let screen = FrameText::drawn("Service   Fault rate\ncheckout  66.67%\ncart      0.1%");
        let texts: Vec<_> = screen.rows.iter().map(|row| row.text.as_str()).collect();
        assert_eq!(
            texts,
            ["Service  Fault rate", "checkout  66.67%", "cart  0.1%"]
        );
        let label = Regex::new("^Fault rate$").unwrap();
        let value = |row: usize| {
            screen.rows[row]
                .text
                .rfind("  ")
                .map(|at| (at + 2, screen.rows[row].text.len()))
                .unwrap()
        };
        assert_eq!(
            screen.label_above(1, value(1), &label, 12),
            Some((0, (9, 19)))
        );
        assert_eq!(
            screen.label_above(2, value(2), &label, 12),
            Some((0, (9, 19)))
        );
        assert_eq!(screen.label_above(2, value(2), &label, 0), None);
        assert_eq!(screen.label_above(2, (0, 4), &label, 12), None);
        assert_eq!(screen.rows[1].first_cell(), "checkout");
    }

    #[test]
    fn quote_is_the_matched_cells_without_icons() {
        let line = |text: &str, x, width| TextLine {
            text: text.to_owned(),
            rect: Rect {
                x,
                y: 108,
                width,
                height: 20,
            },
            confidence: 0.9,
        };
        let screen = FrameText::new(
            &[
                line("Fail", 0, 96),
                line("39 S3 bucket is public", 192, 960),
            ],
            1920,
            1080,
        );
        let at = screen.rows[0].text.find("S3").unwrap();
        let evidence = screen.evidence(0, (at, at + 9));
        assert_eq!(evidence.quote, "S3 bucket is public");
        assert_eq!(evidence.bounds, Some([100, 100, 118, 600]));
    }
}

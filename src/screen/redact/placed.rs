//! Values tied to a label by where they stand: beside it in its reading
//! direction, below it, and in the column that it heads.

use std::ops::Range;

use super::labels::{self, Label};
use super::value::{self, Tie};
use super::vocabulary::LabelKind;
use crate::picture::{Rect, TextLine};

/// Labels that are followed on one screen, as each costs a look at every line.
const MOST_LABELS: usize = 400;
/// In heights of a line: from a label to the value below it, and between the
/// rows of a table.
const GAP_BELOW: u32 = 3;
const GAP_ROWS: u32 = 5;
/// In heights of a line: by which the edges of two are still aligned.
const ALIGNED: u32 = 2;
/// Rows of a column that are followed.
const MOST_ROWS: usize = 80;
/// Sentences between a label and its value.
const MOST_HINTS: usize = 2;
/// Words of a recovery phrase that stand apart.
const FEWEST_WORDS: usize = 6;
/// Boxes with a digit each, as a code is typed in.
const FEWEST_BOXES: usize = 4;

/// Part of a line that is a secret, and what announced it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PlacedValue {
    pub(super) line: usize,
    pub(super) range: Range<usize>,
    pub(super) kind: LabelKind,
}

/// Values of all labels on a screen, whose lines stand in reading order.
pub(super) fn placed(lines: &[TextLine]) -> Vec<PlacedValue> {
    let mut page = LabelledPage {
        lines,
        found: Vec::new(),
    };
    let tags: Vec<_> = lines
        .iter()
        .enumerate()
        .filter_map(|(line, read)| LabelTag::of(line, read))
        .take(MOST_LABELS)
        .collect();
    for tag in &tags {
        page.follow(tag);
    }
    page.found
}

/// Line that announces a value.
#[derive(Debug)]
struct LabelTag {
    line: usize,
    label: Label,
    /// Flag: the label stands for itself; else a sentence ends with it.
    alone: bool,
    colon: bool,
}

impl LabelTag {
    fn of(line: usize, read: &TextLine) -> Option<Self> {
        let text = read.text.as_str();
        let (label, alone) = match labels::alone(text) {
            Some(label) => (label, true),
            None => (labels::at_end(text)?, false),
        };
        Some(Self {
            line,
            label,
            alone,
            colon: text.trim_end().ends_with([':', '：', '=']),
        })
    }
}

struct LabelledPage<'a> {
    lines: &'a [TextLine],
    found: Vec<PlacedValue>,
}

impl LabelledPage<'_> {
    fn follow(&mut self, tag: &LabelTag) {
        let heads = self.heads(tag);
        if !self.beside(tag) || heads > 1 {
            self.below(tag, heads);
        }
    }

    fn rect(&self, line: usize) -> Rect {
        self.lines[line].rect
    }

    fn text(&self, line: usize) -> &str {
        &self.lines[line].text
    }

    fn hide(&mut self, line: usize, range: Range<usize>, kind: LabelKind) {
        self.found.push(PlacedValue { line, range, kind });
    }

    /// Lines that share most of their height with that one.
    fn row(&self, of: usize) -> impl Iterator<Item = usize> + '_ {
        let rect = self.rect(of);
        (0..self.lines.len())
            .filter(move |line| *line != of && in_row(&rect, &self.lines[*line].rect))
    }

    /// Cells beside the label that look like heads of columns too.
    fn heads(&self, tag: &LabelTag) -> usize {
        if tag.colon || !tag.alone {
            return 0;
        }
        let head = |text: &str| {
            let words = text.split_whitespace().count();
            let letters = text.chars().filter(|c| c.is_alphabetic()).count();
            (1..=4).contains(&words)
                && letters * 10 >= text.chars().filter(|c| !c.is_whitespace()).count() * 8
                && !text.ends_with([':', '.', '?', '!'])
                && !text.starts_with(char::is_lowercase)
        };
        self.row(tag.line)
            .filter(|line| head(self.text(*line)))
            .count()
    }

    /// The line next to one in that direction.
    fn next_in_row(&self, of: usize, leftward: bool) -> Option<usize> {
        let rect = self.rect(of);
        let distance = |line: &usize| {
            let other = self.rect(*line);
            if leftward {
                rect.x.saturating_sub(other.right())
            } else {
                other.x.saturating_sub(rect.right())
            }
        };
        let on_side = |line: &usize| {
            let other = self.rect(*line);
            if leftward {
                other.x + other.width / 2 < rect.x
            } else {
                other.x + other.width / 2 > rect.right()
            }
        };
        self.row(of).filter(on_side).min_by_key(distance)
    }

    /// Hides the value beside the label; false if there is none.
    fn beside(&mut self, tag: &LabelTag) -> bool {
        let kind = tag.label.kind;
        let Some(next) = self.next_in_row(tag.line, tag.label.leftward) else {
            return false;
        };
        if self.is_label(next) {
            return false;
        }
        if kind == LabelKind::Phrase && self.phrase_from(next) {
            return true;
        }
        if matches!(kind, LabelKind::Code | LabelKind::Pin) && self.boxes(next, kind) {
            return true;
        }
        let tie = if tag.colon {
            Tie::Explicit
        } else {
            Tie::Placed
        };
        let Some(range) = value::in_cell(kind, self.text(next), tie) else {
            return false;
        };
        self.hide(next, range, kind);
        self.tails(next, kind, tag.label.leftward);
        true
    }

    /// Pieces of the value that were found as lines of their own.
    fn tails(&mut self, from: usize, kind: LabelKind, leftward: bool) {
        let mut last = from;
        while let Some(next) = self.next_in_row(last, leftward) {
            let (rect, other) = (self.rect(last), self.rect(next));
            let gap = if leftward {
                rect.x.saturating_sub(other.right())
            } else {
                other.x.saturating_sub(rect.right())
            };
            let text = self.text(next);
            if gap > rect.height
                || !(value::is_tail(text) || value::is_strong(text))
                || text.contains(' ')
            {
                return;
            }
            let all = 0..text.len();
            self.hide(next, all, kind);
            last = next;
        }
    }

    fn is_label(&self, line: usize) -> bool {
        let text = self.text(line);
        labels::alone(text).is_some() || text.trim_end().ends_with([':', '：'])
    }

    /// Hides what stands below the label: one value, or all of a column, of a
    /// phrase or of a list of codes.
    fn below(&mut self, tag: &LabelTag, heads: usize) {
        let kind = tag.label.kind;
        let many = heads > 0 || tag.label.plural || kind == LabelKind::Code;
        let column = Column::of(self, tag);
        let mut edge = self.rect(tag.line);
        let (mut hints, mut values, mut gap) = (0, 0, GAP_BELOW);
        for line in column.lines {
            let rect = self.rect(line);
            let height = edge.height.max(rect.height);
            let down = rect.y.saturating_sub(edge.bottom());
            if down > gap * height {
                return;
            }
            if kind == LabelKind::Phrase && self.phrase_from(line) {
                return;
            }
            if matches!(kind, LabelKind::Code | LabelKind::Pin) && self.boxes(line, kind) {
                return;
            }
            if self.is_label(line) && heads == 0 {
                return;
            }
            let tie = match heads {
                2.. => Tie::Explicit,
                _ if hints > 0 || !tag.alone => Tie::Loose,
                _ => Tie::Placed,
            };
            let is_cell = many || values == 0 || self.goes_on(&edge, line);
            match value::in_cell(kind, self.text(line), tie).filter(|_| is_cell) {
                Some(range) => {
                    self.hide(line, range, kind);
                    if kind == LabelKind::Code {
                        self.codes_beside(line);
                    }
                    values += 1;
                    gap = if many { GAP_ROWS } else { 1 };
                }
                None if many && values > 0 => {}
                None if heads > 0 => gap = GAP_ROWS,
                None if hints < MOST_HINTS && values == 0 => hints += 1,
                None => return,
            }
            edge = Rect { x: edge.x, ..rect };
        }
    }

    /// Hides the other columns of a list of codes.
    fn codes_beside(&mut self, line: usize) {
        let row: Vec<_> = self.row(line).collect();
        for other in row {
            if let Some(range) = value::in_cell(LabelKind::Code, self.text(other), Tie::Placed) {
                self.hide(other, range, LabelKind::Code);
            }
        }
    }

    /// True if the line is the rest of a value that was broken above it.
    fn goes_on(&self, above: &Rect, line: usize) -> bool {
        let rect = self.rect(line);
        let text = self.text(line);
        rect.y < above.bottom() + above.height && !text.contains(' ') && value::is_tail(text)
    }

    /// Hides a phrase that begins with that line: in one line, or word by word
    /// in a grid.
    fn phrase_from(&mut self, first: usize) -> bool {
        if value::phrase_words(self.text(first)).is_none() {
            return false;
        }
        let start = self.rect(first);
        let (mut lines, mut words, mut bottom) = (Vec::new(), 0, start.bottom());
        for line in 0..self.lines.len() {
            let rect = self.rect(line);
            let below = rect.y + rect.height / 2 >= start.y
                && rect.y <= bottom + GAP_BELOW * start.height
                && rect.right() + ALIGNED * start.height > start.x;
            let Some(count) = value::phrase_words(self.text(line)).filter(|_| below) else {
                continue;
            };
            (words, bottom) = (words + count, bottom.max(rect.bottom()));
            lines.push(line);
        }
        let is_phrase = words >= FEWEST_WORDS;
        for line in lines.into_iter().filter(|_| is_phrase) {
            let all = 0..self.text(line).len();
            self.hide(line, all, LabelKind::Phrase);
        }
        is_phrase
    }

    /// Hides a row of boxes with a digit each.
    fn boxes(&mut self, first: usize, kind: LabelKind) -> bool {
        let single = |text: &str| text.trim().len() == 1 && text.trim().parse::<u8>().is_ok();
        if !single(self.text(first)) {
            return false;
        }
        let mut lines: Vec<_> = self
            .row(first)
            .filter(|line| single(self.text(*line)))
            .collect();
        lines.push(first);
        let is_code = lines.len() >= FEWEST_BOXES;
        for line in lines.into_iter().filter(|_| is_code) {
            let all = 0..self.text(line).len();
            self.hide(line, all, kind);
        }
        is_code
    }
}

/// Lines below a label that stand in its column, from the top.
struct Column {
    lines: Vec<usize>,
}

impl Column {
    fn of(page: &LabelledPage<'_>, tag: &LabelTag) -> Self {
        let head = page.rect(tag.line);
        // Heads beside it are where other columns are.
        let left = page
            .row(tag.line)
            .map(|line| page.rect(line))
            .filter(|rect| rect.right() <= head.x);
        let right = page
            .row(tag.line)
            .map(|line| page.rect(line))
            .filter(|rect| rect.x >= head.right());
        let from = left.map(|rect| rect.right()).max().unwrap_or(0);
        let to = right.map(|rect| rect.x).min().unwrap_or(u32::MAX);
        let inside = |rect: &Rect| {
            let slack = ALIGNED * head.height.max(rect.height);
            let near = |a: u32, b: u32| a.abs_diff(b) <= slack;
            let edge = if tag.label.leftward {
                near(rect.right(), head.right())
            } else {
                near(rect.x, head.x)
            };
            let middle = near(rect.x + rect.width / 2, head.x + head.width / 2);
            let under = rect.x < head.right() && head.x < rect.right();
            let apart = rect.x + slack / 2 >= from && rect.x < to;
            let middle_of = rect.x + rect.width / 2;
            (edge || middle || (under && middle_of < to && middle_of > from)) && apart
        };
        let mut lines: Vec<_> = (0..page.lines.len())
            .filter(|line| {
                let rect = page.rect(*line);
                rect.y + rect.height / 2 >= head.bottom() && inside(&rect)
            })
            .collect();
        lines.sort_by_key(|line| page.rect(*line).y);
        lines.truncate(MOST_ROWS);
        Self { lines }
    }
}

/// True if two lines share most of the lower one's height.
fn in_row(a: &Rect, b: &Rect) -> bool {
    let common = a.bottom().min(b.bottom()).saturating_sub(a.y.max(b.y));
    common * 2 > a.height.min(b.height)
}

//! Values tied to a label by position: beside it in reading direction, below
//! it, or in the column it heads.

use std::ops::Range;

use super::labels::{self, SecretLabel};
use super::lines::is_unreadable;
use super::value::{self, LetterMix, Tie};
use super::vocabulary::LabelKind;
use crate::picture::{Rect, TextLine};

/// Maximum number of labels followed on a screen, as each costs a pass over all
/// lines.
const MOST_LABELS: usize = 400;
/// Maximum gap from a label to the value below it, and between the rows of a
/// table, in line heights.
const GAP_BELOW: u32 = 3;
const GAP_ROWS: u32 = 5;
/// Maximum offset of two edges that count as aligned, in line heights.
const ALIGNED: u32 = 2;
/// Maximum height of a column, in heights of its header.
const ROWS: u32 = 120;
/// Maximum number of rows followed in a column.
const MOST_ROWS: usize = 80;
/// Maximum number of sentences between a label and its value.
const MOST_HINTS: usize = 2;
/// Minimum number of words of a recovery phrase laid out in a grid.
const FEWEST_WORDS: usize = 6;
/// Minimum number of single-digit input boxes of a code.
const FEWEST_BOXES: usize = 4;

/// Part of a line that is a secret, and the kind that its label announced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PlacedValue {
    pub(super) line: usize,
    pub(super) range: Range<usize>,
    pub(super) kind: LabelKind,
}

/// Values of all labels on a screen, whose lines are in reading order.
pub(super) fn placed(lines: &[TextLine]) -> Vec<PlacedValue> {
    let mut page = LabelledPage {
        lines,
        found: Vec::new(),
    };
    let tags = lines.iter().enumerate();
    let mut tags: Vec<_> = tags
        .filter_map(|(line, read)| LabelTag::of(line, read))
        .collect();
    // Readable labels first: on a blurred screen no line is readable.
    tags.sort_by_key(|tag| tag.unread);
    tags.truncate(MOST_LABELS);
    for tag in &tags {
        page.follow(tag);
    }
    page.found
}

/// Line that announces a value.
#[derive(Debug)]
struct LabelTag {
    line: usize,
    label: SecretLabel,
    /// Flag: the label is the whole line; else it ends a sentence.
    alone: bool,
    colon: bool,
    /// Flag: unreadable text, which may be a label.
    unread: bool,
}

impl LabelTag {
    fn of(line: usize, read: &TextLine) -> Option<Self> {
        let text = read.text.as_str();
        let foreign = is_foreign(text);
        if foreign || is_unreadable(read) {
            return Some(Self::unread(line, foreign));
        }
        let (label, alone) = match labels::alone(text) {
            Some(label) => (label, true),
            None => (labels::at_end(text)?, false),
        };
        Some(Self {
            line,
            label,
            alone,
            colon: text.trim_end().ends_with([':', '：', '=']),
            unread: false,
        })
    }

    /// Possible label in unreadable text or in another alphabet.
    fn unread(line: usize, foreign: bool) -> Self {
        Self {
            line,
            label: SecretLabel {
                kind: LabelKind::Password,
                range: 0..0,
                plural: false,
                leftward: false,
                noun_first: false,
            },
            alone: foreign,
            colon: false,
            unread: true,
        }
    }
}

struct LabelledPage<'a> {
    lines: &'a [TextLine],
    found: Vec<PlacedValue>,
}

impl LabelledPage<'_> {
    fn follow(&mut self, tag: &LabelTag) {
        let column = Column::of(self, tag);
        let heads = self.heads(tag, &column);
        let beside = self.beside(tag);
        // A lower-case word beside it may be the next header.
        let sure = beside.is_some_and(|next| value::is_strong(self.text(next)));
        if beside.is_none() || (heads > 1 && !sure) {
            self.below(tag, &column, heads);
        }
        if heads > 0 {
            self.across(tag, column.to);
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

    /// Other lines that share most of their height with the given one.
    fn row(&self, of: usize) -> impl Iterator<Item = usize> + '_ {
        let rect = self.rect(of);
        (0..self.lines.len())
            .filter(move |line| *line != of && in_row(&rect, &self.lines[*line].rect))
    }

    /// Number of other column headers in the label's row; 0 without evenly
    /// spaced rows below.
    fn heads(&self, tag: &LabelTag, column: &Column) -> usize {
        if tag.colon || !tag.alone {
            return 0;
        }
        let head = |text: &str| {
            let words = text.split_whitespace().count();
            let letters = text.chars().filter(|c| c.is_alphabetic()).count();
            (1..=4).contains(&words)
                && letters * 10 >= text.chars().filter(|c| !c.is_whitespace()).count() * 8
                && !text.ends_with([':', '.', '?', '!'])
        };
        let texts = self.row(tag.line).map(|line| self.text(line));
        let heads: Vec<_> = texts
            .filter(|text| head(text) && labels::alone(text).is_none())
            .collect();
        let small = heads
            .iter()
            .any(|text| text.starts_with(char::is_lowercase));
        let few = if small { 1 } else { 0 };
        let tops: Vec<u32> = std::iter::once(tag.line)
            .chain(column.lines.iter().copied())
            .map(|line| self.rect(line).y)
            .take(3)
            .collect();
        let steps: Vec<u32> = tops.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let even = match steps.as_slice() {
            [] => false,
            [_] => true,
            [one, other, ..] => one.abs_diff(*other) * 5 <= 2 * *one.max(other),
        };
        let filled = column
            .lines
            .first()
            .is_some_and(|line| self.row(*line).count() > 0);
        if heads.len() > few && even && filled {
            heads.len()
        } else {
            0
        }
    }

    /// Nearest line in the same row, in that direction.
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
        let said = |line: &usize| !value::is_covered(self.text(*line));
        self.row(of)
            .filter(on_side)
            .filter(said)
            .min_by_key(distance)
    }

    /// Hides the value beside the label, if any, and returns its line.
    fn beside(&mut self, tag: &LabelTag) -> Option<usize> {
        let kind = tag.label.kind;
        let next = self.next_in_row(tag.line, tag.label.leftward)?;
        if self.is_label(next) {
            return None;
        }
        if kind == LabelKind::Phrase && self.phrase_from(next) {
            return Some(next);
        }
        if matches!(kind, LabelKind::Code | LabelKind::Pin) && self.boxes(next, kind) {
            return Some(next);
        }
        let tie = if tag.colon {
            Tie::Explicit
        } else {
            Tie::Placed
        };
        let tie = if tag.unread && !tag.alone {
            Tie::Loose
        } else {
            tie
        };
        let range = value::in_cell(kind, self.text(next), tie)?;
        if tag.unread && !is_made_up(&self.text(next)[range.clone()]) {
            return None;
        }
        self.hide(next, range, kind);
        self.tails(next, kind, tag.label.leftward);
        Some(next)
    }

    /// Hides the pieces of a value that OCR detected as separate lines.
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

    /// Hides the text below the label: a single value, or a whole column,
    /// phrase or list of codes.
    fn below(&mut self, tag: &LabelTag, column: &Column, heads: usize) {
        let kind = tag.label.kind;
        let many = heads > 0 || tag.label.plural || kind == LabelKind::Code;
        let mut edge = self.rect(tag.line);
        let first = column.lines.first().map(|line| self.rect(*line).y);
        let step = first.map_or(0, |first| first.saturating_sub(edge.y));
        let (mut hints, mut values, mut gap) = (0, 0, GAP_BELOW);
        for line in column.lines.iter().copied() {
            let rect = self.rect(line);
            let height = edge.height.max(rect.height);
            let down = rect.y.saturating_sub(edge.bottom());
            let apart = heads > 0 && values > 0 && rect.y > edge.y + 2 * step;
            if down > gap * height || apart || (self.is_label(line) && heads == 0) {
                return;
            }
            if self.in_pieces(line, kind) {
                return;
            }
            let tie = match heads {
                2.. => Tie::Explicit,
                _ if hints > 0 || !tag.alone => Tie::Loose,
                _ => Tie::Placed,
            };
            let is_cell = many || values == 0 || self.goes_on(&edge, line);
            match self.value_in(line, tag, tie).filter(|_| is_cell) {
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
                None if hints < MOST_HINTS && values == 0 && !tag.unread => hints += 1,
                None => return,
            }
            edge = Rect { x: edge.x, ..rect };
        }
    }

    fn value_in(&self, line: usize, tag: &LabelTag, tie: Tie) -> Option<Range<usize>> {
        let text = self.text(line);
        let range = value::in_cell(tag.label.kind, text, tie)?;
        (!tag.unread || is_made_up(&text[range.clone()])).then_some(range)
    }

    /// Hides a value that is shown word by word or digit by digit.
    fn in_pieces(&mut self, line: usize, kind: LabelKind) -> bool {
        match kind {
            LabelKind::Phrase => self.phrase_from(line),
            LabelKind::Code | LabelKind::Pin => self.boxes(line, kind),
            _ => false,
        }
    }

    /// Hides the text below a header on lines that span several columns: the
    /// words at about its position.
    fn across(&mut self, tag: &LabelTag, to: u32) {
        let head = self.rect(tag.line);
        for line in 0..self.lines.len() {
            let rect = self.rect(line);
            let below = rect.y >= head.bottom() && rect.y < head.bottom() + ROWS * head.height;
            if !below || rect.x + ALIGNED * head.height >= head.x || rect.right() <= head.x {
                continue;
            }
            let text = self.text(line).to_owned();
            let wide = rect.width / text.chars().count().max(1) as u32;
            for (at, word) in words(&text) {
                let x = rect.x + wide * text[..at].chars().count() as u32;
                let middle = x + wide * word.chars().count() as u32 / 2;
                let inside = middle > head.x && middle < to;
                if inside && value::is_value(tag.label.kind, word, Tie::Loose) {
                    self.hide(line, at..at + word.len(), tag.label.kind);
                }
            }
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

    /// True if a line continues a value that wrapped.
    fn goes_on(&self, above: &Rect, line: usize) -> bool {
        let rect = self.rect(line);
        let text = self.text(line);
        rect.y < above.bottom() + above.height && !text.contains(' ') && value::is_tail(text)
    }

    /// Hides a recovery phrase that starts with that line: on one line, or word
    /// by word in a grid.
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

/// Lines below a label in its column, from the top.
struct Column {
    lines: Vec<usize>,
    /// Left edge of the next column, in pixels.
    to: u32,
}

impl Column {
    fn of(page: &LabelledPage<'_>, tag: &LabelTag) -> Self {
        let head = page.rect(tag.line);
        // Headers beside it mark the other columns.
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
        Self { lines, to }
    }
}

/// True for text of another alphabet as a Latin model reads it: boxes, read as
/// zeros.
fn is_foreign(text: &str) -> bool {
    let boxes = text
        .chars()
        .filter(|c| matches!(c, '0' | 'O' | 'o' | '□' | '口' | 'D'));
    let zeros = text.chars().filter(|c| *c == '0').count();
    zeros > 1 && boxes.count() == text.chars().count()
}

/// True for a mix of letters and digits that is no ordinary name.
fn is_made_up(word: &str) -> bool {
    let mix = LetterMix::of(word);
    mix.all >= 6 && mix.digits > 0 && mix.letters() > 2 && !value::is_fact(word)
}

fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let words = text.split(' ').scan(0, |at, word| {
        let start = *at;
        *at += word.len() + 1;
        Some((start, word))
    });
    words.filter(|(_, word)| !word.is_empty())
}

/// True if two lines share most of the lower one's height.
fn in_row(a: &Rect, b: &Rect) -> bool {
    let common = a.bottom().min(b.bottom()).saturating_sub(a.y.max(b.y));
    common * 2 > a.height.min(b.height)
}

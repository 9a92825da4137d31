//! Lines wrapped at the edge of their window, joined again to detect a secret
//! that spans several.

use std::sync::LazyLock;

use regex::Regex;

use super::pem::is_mark;
use crate::picture::{Rect, TextLine};
use crate::text::TextRow;

/// Date, time or prompt, which starts a new line of output.
static BEGINNING: LazyLock<Regex> = LazyLock::new(|| {
    let pattern = r"^(?:[0-9]{4}[- ]{1,2}[0-9]{2}[- ]|[0-9]{1,2}:[0-9]{2}|[$#>] |[a-z][a-z0-9_-]*@[a-z0-9-]+:)";
    Regex::new(pattern).expect("the pattern is valid")
});
/// Maximum indent of a wrapped line, in line heights.
const MOST_INDENT: u32 = 6;
/// Maximum number of lines joined.
const MOST: usize = 40;

/// Wrapped text as rows: the texts of consecutive lines, joined without a
/// separator.
pub(super) fn wrapped(lines: &[TextLine], rows: &[TextRow]) -> Vec<TextRow> {
    let page = LineLayout { lines, rows };
    let mut inner = vec![false; lines.len()];
    let mut found = Vec::new();
    for (at, row) in rows.iter().enumerate() {
        for last in 0..row.parts.len() {
            if inner[row.parts[last].0] {
                continue;
            }
            if let Some(whole) = page.from(at, last) {
                for (line, _) in &whole.parts[1..] {
                    inner[*line] = true;
                }
                found.push(whole);
            }
        }
    }
    found
}

struct LineLayout<'a> {
    lines: &'a [TextLine],
    rows: &'a [TextRow],
}

impl LineLayout<'_> {
    /// Row of all the text that continues from that part of that row.
    fn from(&self, row: usize, last: usize) -> Option<TextRow> {
        let (mut at, mut first, mut last) = (row, last, last);
        let mut whole = TextRow {
            text: String::new(),
            parts: Vec::new(),
        };
        while whole.parts.len() < MOST {
            let begins = if whole.parts.is_empty() { 0 } else { first };
            let Some((left, below, part)) = self.below(at, begins, last) else {
                break;
            };
            if whole.parts.is_empty() {
                self.append(&mut whole, at, left, last);
            }
            (at, first) = (below, part);
            last = self.end(at, first);
            self.append(&mut whole, at, first, last);
        }
        (!whole.parts.is_empty()).then_some(whole)
    }

    /// Continuation of a row whose last part was wrapped at its window's edge:
    /// the row's part that starts in that window, the row below and its part
    /// under that.
    fn below(&self, at: usize, begins: usize, last: usize) -> Option<(usize, usize, usize)> {
        let parts = &self.rows[at].parts;
        let above = self.rect(at, last);
        for left in (begins..=last).rev() {
            // The rest of an indented line starts at the window's edge, but
            // right of the column beside it.
            let begin = self.rect(at, left).x;
            let beside = left
                .checked_sub(1)
                .map_or(0, |beside| self.rect(at, beside).right());
            let indent = begin.saturating_sub(MOST_INDENT * above.height).max(beside);
            for below in (at + 1..self.rows.len()).take(MOST) {
                let under = (0..self.rows[below].parts.len()).find(|part| {
                    let rect = self.rect(below, *part);
                    (indent..=begin + above.height / 2).contains(&rect.x) && is_next(&above, &rect)
                });
                let under = under.filter(|part| self.is_nearest(&above, &self.rect(below, *part)));
                if let Some(part) = under {
                    let edge = self.rect(below, part).x.min(begin);
                    let text = &self.lines[self.rows[below].parts[part].0].text;
                    let goes_on = self.is_full(parts[last].0, edge)
                        && !is_mark(text)
                        && !BEGINNING.is_match(text);
                    return goes_on.then_some((left, below, part));
                }
            }
        }
        None
    }

    /// True if no line is between the two.
    fn is_nearest(&self, above: &Rect, below: &Rect) -> bool {
        let between = |rect: Rect| {
            is_next(above, &rect)
                && rect.x < above.right()
                && above.x < rect.right()
                && 2 * rect.y + rect.height + above.height < 2 * below.y + below.height
        };
        !self.lines.iter().any(|line| between(line.rect))
    }

    /// True if no line of its window extends farther right.
    fn is_full(&self, line: usize, edge: u32) -> bool {
        let rect = self.lines[line].rect;
        // One more wide letter would not have fitted; boxes are not exact to
        // the pixel.
        let room = rect.height;
        let rects = self.lines.iter().map(|line| line.rect);
        rects
            .filter(|other| other.x + rect.height / 2 >= edge && other.x < rect.right())
            .all(|other| other.right() <= rect.right() + room)
    }

    /// Last part of a row that belongs to the same window as its part `first`.
    fn end(&self, at: usize, first: usize) -> usize {
        let mut last = first;
        while last + 1 < self.rows[at].parts.len() {
            let (rect, next) = (self.rect(at, last), self.rect(at, last + 1));
            if next.x > rect.right() + 2 * rect.height {
                break;
            }
            last += 1;
        }
        last
    }

    fn append(&self, whole: &mut TextRow, at: usize, first: usize, last: usize) {
        for part in first..=last {
            if part > first {
                whole.text.push(' ');
            }
            let line = self.rows[at].parts[part].0;
            whole.parts.push((line, whole.text.len()));
            whole.text.push_str(&self.lines[line].text);
        }
    }

    fn rect(&self, row: usize, part: usize) -> Rect {
        self.lines[self.rows[row].parts[part].0].rect
    }
}

/// True if a line is right below another of its size.
pub(super) fn is_next(above: &Rect, below: &Rect) -> bool {
    let middle = |rect: &Rect| 2 * rect.y + rect.height;
    let down = middle(below).saturating_sub(middle(above));
    let height = above.height.max(below.height);
    (height..=height * 7 / 2).contains(&down)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_line::line;
    use crate::text::rows;

    fn texts(lines: &[TextLine]) -> Vec<String> {
        let whole = wrapped(lines, &rows(lines));
        whole.into_iter().map(|row| row.text).collect()
    }

    #[test]
    fn what_was_broken_at_the_edge_is_put_together() {
        let lines = [
            line("10:41", 10, 10),
            line("the key is abcdefgh", 70, 10),
            line("another window", 400, 10),
            line("ijkl for now", 10, 30),
            line("with its text", 400, 30),
            line("10:42", 10, 50),
            line("thanks", 70, 50),
        ];
        assert_eq!(
            texts(&lines),
            [
                "10:41 the key is abcdefghijkl for now",
                "another windowwith its text"
            ]
        );
    }

    #[test]
    fn a_line_that_ends_early_does_not_run_on() {
        let lines = [
            line("password: hunter2", 10, 10),
            line("total 48", 10, 30),
            line("drwxr-xr-x 5 ops ops 4096", 10, 50),
        ];
        assert_eq!(texts(&lines), [""; 0]);
    }
}

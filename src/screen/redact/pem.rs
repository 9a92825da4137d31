//! Private keys in PEM (RFC 7468), including those whose BEGIN or END line is
//! not on the screen.

use std::sync::LazyLock;

use regex::Regex;

use super::kinds::is_random;
use super::lines::{Found, is_key_letter};
use crate::picture::Rect;
use crate::text::TextRow;

/// Maximum number of rows hidden of a key that begins above the edge of the
/// window.
const MOST_ROWS: usize = 40;
static KEY_BEGINS: LazyLock<Regex> = LazyLock::new(|| marks(r"BEG[Il1|]N[A-Z0-9 ]*"));
static KEY_ENDS: LazyLock<Regex> = LazyLock::new(|| marks(r"END[A-Z0-9 ]*"));

fn marks(word: &str) -> Regex {
    let pattern = format!(r"(?i){word}PR[Il1|]VATE\s?KEY");
    Regex::new(&pattern).expect("the pattern is valid")
}

/// True if a line has the BEGIN or END of a private key.
pub(super) fn is_mark(text: &str) -> bool {
    KEY_BEGINS.is_match(text) || KEY_ENDS.is_match(text)
}

/// Private key whose BEGIN line is on the screen.
struct PrivateKeyBlock {
    mark: Rect,
    /// Right edge of its longest row, in pixels.
    right: u32,
    /// Progress towards its last row.
    progress: Progress,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    Within,
    /// After a row shorter than the others: the last one, or the rest of a row
    /// that a narrow cell wraps.
    AfterShort,
    All,
}

impl Found<'_> {
    /// Hides private keys (RFC 7468): every row between BEGIN and END, or as
    /// many rows as look like base64 if one of them is not on the screen.
    pub(super) fn keys(&mut self, rows: &[TextRow]) {
        let mut open: Option<PrivateKeyBlock> = None;
        for at in 0..rows.len() {
            if let Some(mark) = self.mark(&rows[at], &KEY_ENDS) {
                if open.take().is_none() {
                    self.above(&rows[..at], mark);
                }
                continue;
            }
            if let Some(mark) = self.mark(&rows[at], &KEY_BEGINS) {
                open = Some(PrivateKeyBlock {
                    mark,
                    right: 0,
                    progress: Progress::Within,
                });
                continue;
            }
            let Some(key) = open.as_mut().filter(|key| key.progress != Progress::All) else {
                continue;
            };
            let under = self.under(&rows[at], key.mark);
            let body: Vec<_> = under
                .iter()
                .copied()
                .filter(|line| self.is_body(*line))
                .collect();
            let rights = body.iter().map(|line| self.lines[*line].rect.right());
            if let Some(right) = rights.max() {
                let width = |right: u32| right.saturating_sub(key.mark.x);
                let is_short = width(right) < width(key.right) / 10 * 9;
                let is_random = |line: &usize| is_random(&self.lines[*line].text);
                let goes_on = !is_short && body.iter().any(is_random);
                if key.progress == Progress::AfterShort && !goes_on {
                    key.progress = Progress::All;
                    continue;
                }
                key.progress = match is_short {
                    true => Progress::AfterShort,
                    false => Progress::Within,
                };
                key.right = key.right.max(right);
            } else if !under.is_empty() {
                // A note beside the key does not end it; a paragraph below
                // does.
                key.progress = Progress::All;
            }
            for line in body {
                self.hide_all(line, "private key");
            }
        }
    }

    /// Position of a BEGIN or END line on a row, which OCR may have split.
    fn mark(&self, row: &TextRow, says: &Regex) -> Option<Rect> {
        says.is_match(&row.text).then_some(())?;
        let is_mark = |(line, _): &&(usize, usize)| says.is_match(&self.lines[*line].text);
        let part = row.parts.iter().find(is_mark).or(row.parts.first());
        part.map(|(line, _)| self.lines[*line].rect)
    }

    /// Hides the rows above an END whose BEGIN is above the edge of the screen.
    fn above(&mut self, rows: &[TextRow], end: Rect) {
        for row in rows.iter().rev().take(MOST_ROWS) {
            let under = self.under(row, end);
            let body: Vec<_> = under
                .iter()
                .copied()
                .filter(|line| self.is_body(*line))
                .collect();
            if body.is_empty() && !under.is_empty() {
                return;
            }
            for line in body {
                self.hide_all(line, "private key");
            }
        }
    }

    /// Lines of a row that are below a BEGIN line.
    fn under(&self, row: &TextRow, mark: Rect) -> Vec<usize> {
        let parts = row.parts.iter().map(|(line, _)| *line);
        let under = parts.filter(|line| {
            let rect = self.lines[*line].rect;
            rect.x < mark.right() + mark.width && mark.x < rect.right()
        });
        under.collect()
    }

    /// True for base64 text, as in the rows of a key; OCR may have inserted a
    /// blank or a sign.
    pub(super) fn is_body(&self, line: usize) -> bool {
        let text = self.lines[line]
            .text
            .trim_matches(|c: char| !is_key_letter(c));
        let count = |is: fn(char) -> bool| text.chars().filter(|c| is(*c)).count();
        let (all, letters, blanks) = (
            text.chars().count(),
            count(is_key_letter),
            count(|c| c == ' '),
        );
        let mixed = all < 12
            || is_random(text)
            || text.chars().any(|c| c.is_ascii_digit())
            || text.chars().skip(1).any(|c| c.is_ascii_uppercase());
        letters >= 4 && mixed && blanks * 12 <= all && (all - letters) * 10 <= all
    }
}

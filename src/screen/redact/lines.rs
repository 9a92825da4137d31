//! Secrets across the lines of a screen: joins text that OCR split and follows
//! secrets that wrap over several rows.

use std::ops::Range;

use super::kinds::{LONG_TOKEN, is_random};
use super::placed::{PlacedValue, placed};
use super::value::{is_tail, is_wordlike};
use super::wrapped::{is_next, wrapped};
use super::{OwnPatterns, SensitiveSpan, columns, name_for, secret_part, shell, spans};
use crate::frame::SensitiveText;
use crate::picture::{Rect, TextLine};
use crate::text::{TextRow, rows};

/// Kind of text that was detected but not read with confidence.
pub const UNREADABLE: &str = "unreadable text";
/// Minimum mean character probability of a line that counts as read. Measured
/// on 1920x1080 screens at 500 kb/s and more: 2 % of the lines are below it
/// once the picture is sharp (boxes around icons), 95 % right after a scene
/// change.
pub(crate) const READABLE: f32 = 0.85;

/// Minimum number of letters of a box of any shape that may hold a secret.
const LETTERS: usize = 4;

/// True if a line is painted over because OCR could not read it reliably.
pub fn is_unreadable(line: &TextLine) -> bool {
    let (width, height) = (line.rect.width, line.rect.height);
    // A shorter box is an icon or a number, not a secret; a tall one is rotated
    // text.
    let is_long = width >= 3 * height || height >= 3 * width;
    let is_text = is_long || line.text.chars().count() >= LETTERS;
    is_text && line.confidence < READABLE
}

/// Secrets on the lines (in reading order) of a picture of that size, and the
/// areas to paint over.
pub fn secrets_on(lines: &[TextLine], own: &OwnPatterns, size: (u32, u32)) -> Vec<SensitiveText> {
    secrets_beside(lines, &[], own, size)
}

/// Secrets as in [`secrets_on`], plus the unread parts of the picture and the
/// lines in the same rows: the label of a secret may be unread.
pub fn secrets_beside(
    lines: &[TextLine],
    unread: &[Rect],
    own: &OwnPatterns,
    (width, height): (u32, u32),
) -> Vec<SensitiveText> {
    let rows = rows(lines);
    let mut found = Found {
        lines,
        size: (width, height),
        secrets: Vec::new(),
    };
    for row in &rows {
        for span in spans(&row.text, own) {
            found.add(row, &span);
        }
    }
    let wrapped = wrapped(lines, &rows);
    for whole in &wrapped {
        for mut span in spans(&whole.text, own) {
            span.range.end = end_of(&span, whole);
            if runs_on(&span, whole) {
                found.add(whole, &span);
            }
        }
    }
    for whole in &wrapped {
        found.beginnings(whole);
    }
    found.labelled(&rows);
    found.keys(&rows);
    found.cells(&rows);
    found.unread();
    for rect in unread {
        found.around(rect);
    }
    let mut secrets = found.secrets;
    secrets.sort_by_key(|secret| (secret.line, secret.range.start));
    secrets
}

/// End of a secret on joined lines: the end of the line on which it is
/// complete, as text below is then unrelated; if it is incomplete, it continues
/// past the line break, even over a stray sign that OCR read there.
fn end_of(span: &SensitiveSpan, whole: &TextRow) -> usize {
    let (text, end) = (&whole.text, span.range.end);
    let letters = |end: usize| {
        let letters = text[span.range.start..end].chars();
        letters.filter(|c| *c != ' ').count()
    };
    let is_all = |end: usize| span.letters > 0 && letters(end) >= span.letters;
    let mut starts = whole.parts.iter().skip(1).map(|(_, start)| *start);
    let inside = starts
        .clone()
        .find(|start| span.range.contains(start) && is_all(*start));
    if let Some(start) = inside {
        return start;
    }
    let near = starts.find(|start| *start >= end && text[end..*start].chars().count() < 2);
    match near {
        Some(start) if !span.personal && !is_all(end) => {
            let rest = &text[start..];
            let rest = &rest[..rest.find(' ').unwrap_or(rest.len())];
            if span.letters > 0 || is_tail(rest) {
                start + rest.len()
            } else {
                end
            }
        }
        _ => end,
    }
}

/// Minimum length of a line, in characters, that was wrapped at the edge of a
/// window rather than of a cell.
const BROKEN: usize = 32;

/// True if a secret continues over a line break, or its value was wrapped off
/// its label, unlike stacked cells, where the text below is a word of its own.
fn runs_on(span: &SensitiveSpan, whole: &TextRow) -> bool {
    let breaks = whole.parts.windows(2).map(|pair| (pair[0].1, pair[1].1));
    let mut crossed = breaks.filter(|(_, at)| (span.range.start..span.range.end).contains(at));
    let Some((begins, at)) = crossed.next() else {
        return false;
    };
    let long = at - begins >= BROKEN;
    if span.range.start == at {
        return long;
    }
    let above = &whole.text[span.range.start.max(begins)..at];
    let below = &whole.text[at..span.range.end];
    let is_piece = |text: &str| !is_wordlike(text);
    let random = span.kind != LONG_TOKEN || long || is_random(above);
    span.letters > 0 || (random && (long || is_piece(above)) && is_piece(below))
}

pub(super) struct Found<'a> {
    pub(super) lines: &'a [TextLine],
    size: (u32, u32),
    secrets: Vec<SensitiveText>,
}

impl Found<'_> {
    /// Hides the span on every line of the row that it covers.
    fn add(&mut self, row: &TextRow, span: &SensitiveSpan) {
        for (line, start) in &row.parts {
            let text = &self.lines[*line].text;
            let from = span.range.start.saturating_sub(*start).min(text.len());
            let to = span.range.end.saturating_sub(*start).min(text.len());
            if from < to && span.range.end > *start {
                self.hide(*line, from..to, &span.kind, span.personal);
            }
        }
    }

    /// Hides a range of a line; merges overlapping ranges.
    fn hide(&mut self, line: usize, mut range: Range<usize>, kind: &str, mut personal: bool) {
        let mut kind = kind.to_owned();
        self.secrets.retain(|known| {
            let meets = known.line == line
                && known.range.start < range.end
                && range.start < known.range.end;
            if meets {
                range = range.start.min(known.range.start)..range.end.max(known.range.end);
                if personal || !known.personal {
                    kind.clone_from(&known.kind);
                }
                personal &= known.personal;
            }
            !meets
        });
        let rect = self.lines[line].rect;
        // Hide the whole line: the position of its letters is unknown, and they
        // may extend beyond the detected box.
        let (across, down) = ((rect.height / 3).max(4), (rect.height / 5).max(4));
        let wide = rect.grown(across, self.size.0, self.size.1);
        let high = rect.grown(down, self.size.0, self.size.1);
        self.secrets.push(SensitiveText {
            line,
            range,
            rect: Rect {
                y: high.y,
                height: high.height,
                ..wide
            },
            kind,
            personal,
        });
    }

    /// Hides the end of a line above a secret that starts a line, as it may be
    /// the secret's beginning of which only the rest was recognised.
    fn beginnings(&mut self, whole: &TextRow) {
        for pair in whole.parts.windows(2).rev() {
            let (above, below) = (pair[0].0, pair[1].0);
            let Some(secret) = self
                .secrets
                .iter()
                .find(|secret| secret.line == below && secret.range.start == 0 && !secret.personal)
            else {
                continue;
            };
            let kind = secret.kind.clone();
            let text = &self.lines[above].text;
            let rest = text.trim_end_matches(|c: char| is_key_letter(c) || "_-.".contains(c));
            let end = rest.len()..text.len();
            let is_piece = text.chars().count() >= BROKEN || !is_wordlike(&text[end.clone()]);
            if !end.is_empty() && is_piece {
                self.hide(above, end, &kind, false);
            }
        }
    }

    /// Hides values tied to a label by position, and the output of commands
    /// that print secrets.
    fn labelled(&mut self, rows: &[TextRow]) {
        let placed = placed(self.lines).into_iter();
        let readable = placed.filter(|value| !is_unreadable(&self.lines[value.line]));
        for PlacedValue { line, range, kind } in readable.collect::<Vec<_>>() {
            let range = secret_part(&self.lines[line].text, range, kind);
            self.hide(line, range, name_for(kind), false);
        }
        for (row, range, kind) in columns::values(self.lines, rows) {
            let span = SensitiveSpan {
                range,
                kind: name_for(kind).into(),
                personal: false,
                letters: 0,
            };
            self.add(&rows[row], &span);
        }
        for (line, range) in shell::values(self.lines, rows) {
            self.hide(line, range, "printed secret", false);
        }
    }

    pub(super) fn hide_all(&mut self, line: usize, kind: &str) {
        let length = self.lines[line].text.len();
        self.hide(line, 0..length, kind, false);
    }

    /// Hides unreadable lines, which may contain anything: text that the
    /// encoder has not sharpened yet, or never will.
    fn unread(&mut self) {
        for (index, line) in self.lines.iter().enumerate() {
            if is_unreadable(line) {
                self.hide_all(index, UNREADABLE);
            }
        }
    }

    /// Hides an unread area and the rows it overlaps.
    fn around(&mut self, rect: &Rect) {
        let rows = Rect {
            x: 0,
            width: self.size.0,
            ..*rect
        };
        for index in 0..self.lines.len() {
            if self.lines[index].rect.meets(&rows) {
                self.hide_all(index, UNREADABLE);
            }
        }
        self.secrets.push(SensitiveText {
            line: self.lines.len(),
            range: 0..0,
            rect: *rect,
            kind: UNREADABLE.to_owned(),
            personal: false,
        });
    }

    /// Hides the rest of a wrapped table cell: single words below a secret whose
    /// row starts with a label.
    fn cells(&mut self, rows: &[TextRow]) {
        let mut next = 0;
        while let Some(secret) = self.secrets.get(next) {
            let (first, kind) = (secret.line, secret.kind.clone());
            let personal = secret.personal;
            next += 1;
            let Some(label) = self.label_of(rows, first).filter(|_| !personal) else {
                continue;
            };
            let mut line = first;
            while let Some(below) = self.rest_of_cell(rows, line, &label) {
                // The first is the rest of the secret, be it a word; those
                // below it may be another cell's.
                if line != first && is_wordlike(&self.lines[below].text) {
                    break;
                }
                if !self.secrets.iter().any(|known| known.line == below) {
                    self.hide_all(below, &kind);
                }
                line = below;
            }
        }
    }

    /// Line left of another in its row.
    fn label_of(&self, rows: &[TextRow], line: usize) -> Option<Rect> {
        let mut all = rows.iter().flat_map(|row| row.parts.windows(2));
        let pair = all.find(|pair| pair[1].0 == line)?;
        Some(self.lines[pair[0].0].rect)
    }

    /// Line that continues a cell in the row below, without a label of its own.
    fn rest_of_cell(&self, rows: &[TextRow], line: usize, label: &Rect) -> Option<usize> {
        let rect = self.lines[line].rect;
        let at = rows
            .iter()
            .position(|row| row.parts.iter().any(|(part, _)| *part == line))?;
        rows.iter().skip(at + 1).take(3).find_map(|row| {
            let rects = row.parts.iter().map(|(part, _)| self.lines[*part].rect);
            let labelled = rects.clone().any(|other| {
                is_next(&rect, &other)
                    && other.x >= label.x.saturating_sub(label.height)
                    && other.right() < rect.x
            });
            let (below, _) = row.parts.iter().find(|(part, _)| {
                let other = self.lines[*part].rect;
                is_next(&rect, &other) && other.x.abs_diff(rect.x) <= rect.height / 2
            })?;
            // OCR reads an underscore as a blank.
            let text = &self.lines[*below].text;
            let single = !text.contains(' ') || text.len() >= BROKEN && self.is_body(*below);
            (single && !labelled).then_some(*below)
        })
    }
}

pub(super) fn is_key_letter(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_line::line;

    #[test]
    fn what_nobody_can_read_is_hidden_be_it_empty_turned_or_short() {
        let unreadable = |text: &str, width, height| TextLine {
            text: text.to_owned(),
            rect: Rect {
                x: 40,
                y: 40,
                width,
                height,
            },
            confidence: 0.0,
        };
        for line in [
            unreadable("", 200, 20),
            unreadable("", 20, 200),
            unreadable("hunt", 40, 20),
        ] {
            let secrets = secrets_on(
                std::slice::from_ref(&line),
                &OwnPatterns::default(),
                (1920, 1080),
            );
            let [secret] = &secrets[..] else {
                panic!("{line:?}: {secrets:?}");
            };
            assert_eq!(secret.kind, UNREADABLE);
            assert_eq!(secret.rect.with(&line.rect), secret.rect, "all of it");
        }
        let icon = unreadable("o", 20, 20);
        assert_eq!(
            secrets_on(&[icon], &OwnPatterns::default(), (1920, 1080)),
            []
        );
    }

    #[test]
    fn an_unread_part_is_hidden_with_what_stands_beside_it() {
        let lines = [
            line("all is well", 10, 10),
            line("hunter2", 200, 100),
            line("all is well below", 10, 300),
        ];
        let unread = Rect {
            x: 10,
            y: 98,
            width: 120,
            height: 20,
        };
        let size = (1920, 1080);
        let secrets = secrets_beside(&lines, &[unread], &OwnPatterns::default(), size);
        let painted = |x, y| {
            let spot = Rect {
                x,
                y,
                width: 1,
                height: 1,
            };
            secrets.iter().any(|secret| secret.rect.meets(&spot))
        };
        assert!(painted(60, 108), "what was not read");
        assert!(painted(210, 108), "what it may name");
        assert!(!painted(20, 18) && !painted(20, 308), "what was read");
        let text: Vec<_> = secrets.iter().map(|secret| secret.line).collect();
        assert_eq!(text, [1, 3], "the text goes with it");
    }

    fn hidden(lines: &[TextLine]) -> Vec<(usize, String)> {
        let secrets = secrets_on(lines, &OwnPatterns::default(), (1920, 1080));
        let secrets = secrets.iter().filter(|secret| !secret.personal);
        secrets
            .map(|secret| {
                let text = &lines[secret.line].text[secret.range.clone()];
                (secret.line, text.to_owned())
            })
            .collect()
    }

    #[test]
    fn a_value_in_the_next_cell_belongs_to_its_name() {
        let lines = [
            line("DB_PASSWORD:", 10, 10),
            line("hunter2-hunter2", 200, 11),
            line("ok", 10, 40),
        ];
        assert_eq!(hidden(&lines), [(1, "hunter2-hunter2".to_owned())]);
    }

    #[test]
    fn a_token_read_in_two_pieces_is_one() {
        let lines = [
            line("AWS_ACCESS_KEY_ID=AKIAIOSFODNN7EX", 10, 10),
            line("AMPL3 done", 280, 10),
        ];
        assert_eq!(
            hidden(&lines),
            [(0, "AKIAIOSFODNN7EX".to_owned()), (1, "AMPL3".to_owned())]
        );
    }

    #[test]
    fn a_token_that_was_broken_is_followed_to_its_end() {
        let lines = [
            line(
                "$ echo eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6Ikpv",
                10,
                10,
            ),
            line(
                "aG4gRG9lIiwiaWF0IjoxNTE2MjM5MDIyfQ.SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV",
                10,
                30,
            ),
            line("adQssw5c", 10, 50),
            line("$ ls", 10, 70),
        ];
        assert_eq!(hidden_lines(&lines), [0, 1, 2]);
        assert_eq!(hidden(&lines)[2].1, "adQssw5c");
    }

    #[test]
    fn a_private_key_is_hidden_from_mark_to_mark_and_without_one_of_them() {
        let body = [
            "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj",
            "MzEfYyjiWA4R4/M2bS1GB4t7NXp98C3SC6dVMvDuictGeurT8jNbvJZHtCSuYEvu",
            "NMoSfm76oqFvAp8Gy0iz5sxjZmSnXyCdPEovGhLa0VzMaQ8s+CLOyS56YyCFGeJZ",
        ];
        let all = [
            line("-----BEGIN PRIVATE KEY-----", 10, 10),
            line(body[0], 10, 30),
            line(body[1], 10, 50),
            line(body[2], 10, 70),
            line("-----END PRIVATE KEY-----", 10, 90),
            line("$ ls -la", 10, 110),
        ];
        assert_eq!(hidden_lines(&all), [1, 2, 3]);
        assert_eq!(
            hidden_lines(&all[..3]),
            [1, 2],
            "the end is below the screen"
        );
        assert_eq!(hidden_lines(&all[2..]), [0, 1], "the beginning is above it");
    }

    fn hidden_lines(lines: &[TextLine]) -> Vec<usize> {
        hidden(lines).into_iter().map(|(line, _)| line).collect()
    }

    #[test]
    fn a_private_key_in_a_narrow_cell_is_hidden_to_its_end() {
        let lines = [
            line("deploy key", 10, 10),
            line("-----BEGIN PRIVATE KEY-----", 200, 10),
            line(
                "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJT",
                200,
                30,
            ),
            line("Us8cKjMz", 200, 50),
            line(
                "EfYyjiWA4R4M2bS1GB4t7NXp98C3SC6dVMvDuictGeurT8jNbvJZHtC",
                200,
                70,
            ),
            line("Svpzu", 200, 90),
            line("NMoSfm76oqFvAp8Gy0iz5sxjZmSnXyCdPEovGhLa0Vz", 200, 110),
            line("access key age", 10, 130),
            line("older than 90 days: 4", 200, 130),
            line("owner", 10, 150),
            line("reader2", 200, 150),
        ];
        assert_eq!(hidden_lines(&lines), [2, 3, 4, 5, 6]);
    }

    #[test]
    fn a_wrapped_cell_is_hidden_to_its_end_over_a_misread_underscore() {
        let lines = [
            line("id_token", 10, 10),
            // OCR joins the column beside it.
            line(
                "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.eyJ2paxKuqmqtwDqKcMPhFf platform",
                200,
                10,
            ),
            line(
                "8yIDySWW12NPYRtT4zzEwN0pGebK4yrHzHwklSgSvqvILJcIO59OC8Dv mP",
                200,
                30,
            ),
            line(
                "t4d0SZIRiwr5dbJy48Y4SijgyAAEO-e6pCQO6luLLO-9xyxUx-qrIqDgFqXo",
                200,
                50,
            ),
            line("2ZuY6lKGq", 200, 70),
            line("owner", 10, 90),
            line("reader2", 200, 90),
        ];
        assert_eq!(hidden_lines(&lines), [1, 2, 3, 4]);
        let below = [
            line("id_token", 10, 10),
            line(
                "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.eyJ2paxKuqmqtwDqKcMPhFf",
                200,
                10,
            ),
            line("Mx8yIDySWW12N", 200, 30),
            line("overview", 200, 50),
            line("deployments", 200, 70),
        ];
        assert_eq!(hidden_lines(&below), [1, 2], "a menu below is no token");
    }

    #[test]
    fn a_healthy_screen_hides_nothing() {
        let lines = [
            line("NAME", 10, 10),
            line("READY", 300, 10),
            line("payments-api-6d4cf56db6-x7v2p", 10, 30),
            line("1/1", 300, 30),
            line(
                "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
                10,
                50,
            ),
            line(
                "Failed password for admin from 203.0.113.45 port 51502 ssh2",
                10,
                70,
            ),
            line("Password policy: required", 10, 90),
            line("2026-11-23T14:02:10Z 200 OK in 41 ms", 10, 110),
        ];
        assert_eq!(hidden(&lines), []);
    }
}

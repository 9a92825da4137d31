//! Secrets over the lines of a screen: what was read in pieces is put
//! together, what runs on over several rows is followed.

use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

use super::kinds::is_random;
use super::{OwnPatterns, Span, spans};
use crate::media::{Rect, Secret, TextLine};
use crate::screen::{Row, rows};

/// Rows of a token that was broken at the edge of a window.
const MOST_ROWS: usize = 40;

static KEY_BEGINS: LazyLock<Regex> = LazyLock::new(|| marks(r"BEG[Il1|]N[A-Z0-9 ]*"));
static KEY_ENDS: LazyLock<Regex> = LazyLock::new(|| marks(r"END[A-Z0-9 ]*"));

fn marks(word: &str) -> Regex {
    let pattern = format!(r"(?i){word}PR[Il1|]VATE\s?KEY");
    Regex::new(&pattern).expect("the pattern is valid")
}

/// What of these lines (in reading order, of a picture of that size) must not
/// be seen, and what has to be painted over to hide it.
pub fn secrets_on(
    lines: &[TextLine],
    own: &OwnPatterns,
    (width, height): (u32, u32),
) -> Vec<Secret> {
    let rows = rows(lines);
    let mut found = Found {
        lines,
        size: (width, height),
        secrets: Vec::new(),
    };
    for (at, row) in rows.iter().enumerate() {
        for span in spans(&row.text, own) {
            found.add(row, &span);
            if !span.personal && row.text[span.range.end..].trim().len() < 2 {
                found.follow(&rows, at, &span);
            }
        }
    }
    found.keys(&rows);
    found.secrets
}

struct Found<'a> {
    lines: &'a [TextLine],
    size: (u32, u32),
    secrets: Vec<Secret>,
}

impl Found<'_> {
    /// Every line a span of the row's text lies on.
    fn add(&mut self, row: &Row, span: &Span) {
        for (line, start) in &row.parts {
            let text = &self.lines[*line].text;
            let from = span.range.start.saturating_sub(*start).min(text.len());
            let to = span.range.end.saturating_sub(*start).min(text.len());
            if from < to && span.range.end > *start {
                self.hide(*line, from..to, &span.kind, span.personal);
            }
        }
    }

    fn hide(&mut self, line: usize, range: Range<usize>, kind: &str, personal: bool) {
        let known = self.secrets.iter().any(|secret| {
            secret.line == line && secret.range.start < range.end && range.start < secret.range.end
        });
        if known {
            return;
        }
        let rect = self.lines[line].rect;
        // All of the line: where on it the letters stand is not known, and
        // they may reach over the box that was found around them.
        let margin = (rect.height / 3).max(4);
        self.secrets.push(Secret {
            line,
            range,
            rect: rect.grown(margin, self.size.0, self.size.1),
            kind: kind.to_owned(),
            personal,
        });
    }

    fn hide_all(&mut self, line: usize, kind: &str) {
        let length = self.lines[line].text.len();
        self.hide(line, 0..length, kind, false);
    }

    /// What goes on below at the left edge of a window, unbroken by blanks.
    fn follow(&mut self, rows: &[Row], from: usize, span: &Span) {
        let Some((mut above, _)) = rows[from].parts.last().copied() else {
            return;
        };
        let left = rows[from]
            .parts
            .first()
            .map_or(0, |part| self.lines[part.0].rect.x);
        for row in rows.iter().skip(from + 1).take(MOST_ROWS) {
            let upper = self.lines[above].rect;
            let below = row.parts.iter().find(|(line, _)| {
                let rect = self.lines[*line].rect;
                rect.y < upper.bottom() + upper.height
                    && rect.x <= upper.right()
                    && rect.x + upper.height >= left
            });
            let Some((line, _)) = below.copied() else {
                return;
            };
            let text = &self.lines[line].text;
            let word = text.split(' ').next().unwrap_or_default();
            let goes_on = is_piece(word) && word.len() >= 4;
            if !goes_on {
                return;
            }
            let (length, all) = (word.len(), word.len() == text.len());
            self.hide(line, 0..length, &span.kind, false);
            if !all {
                return;
            }
            above = line;
        }
    }

    /// Private keys (RFC 7468): every row between their marks, and as many as
    /// look like one where a mark is not on the screen.
    fn keys(&mut self, rows: &[Row]) {
        let mut open: Option<Rect> = None;
        for at in 0..rows.len() {
            let (begins, ends) = (
                KEY_BEGINS.is_match(&rows[at].text),
                KEY_ENDS.is_match(&rows[at].text),
            );
            if ends && open.is_none() {
                // It began above the edge of the screen.
                for row in rows[..at].iter().rev().take(MOST_ROWS) {
                    let Some(line) = self.body(row, None) else {
                        break;
                    };
                    self.hide_all(line, "private key");
                }
            }
            if ends {
                open = None;
                continue;
            }
            if begins {
                let parts = rows[at].parts.iter();
                let mark = parts
                    .clone()
                    .find(|(line, _)| KEY_BEGINS.is_match(&self.lines[*line].text));
                open = mark
                    .or(parts.clone().next())
                    .map(|(line, _)| self.lines[*line].rect);
                continue;
            }
            let Some(mark) = open else {
                continue;
            };
            match self.body(&rows[at], Some(mark)) {
                Some(line) => self.hide_all(line, "private key"),
                // A note beside it is no end; another paragraph is.
                None if rows[at].parts.iter().any(|(line, _)| {
                    self.lines[*line].rect.meets(&Rect {
                        y: 0,
                        height: u32::MAX,
                        ..mark
                    })
                }) =>
                {
                    open = None;
                }
                None => {}
            }
        }
    }

    /// The line of a row that may be of a key's body, below its first mark.
    fn body(&self, row: &Row, mark: Option<Rect>) -> Option<usize> {
        let found = row.parts.iter().find(|(line, _)| {
            let line = &self.lines[*line];
            let under = mark.is_none_or(|mark| {
                line.rect.x < mark.right() + mark.width && mark.x < line.rect.right()
            });
            let text = line.text.trim_matches(|c: char| {
                !c.is_ascii_alphanumeric() && c != '+' && c != '/' && c != '='
            });
            let blanks = text.matches(' ').count();
            let letters = text.chars().filter(char::is_ascii_alphanumeric).count();
            under
                && letters >= 4
                && blanks * 12 <= text.len()
                && text
                    .split(' ')
                    .all(|word| is_piece(word) || word.is_empty())
        });
        found.map(|(line, _)| *line)
    }
}

/// Letters and digits of a token, as they stand on a row of their own.
fn is_piece(word: &str) -> bool {
    let known =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=' | '_' | '-' | '.');
    let mixed = word.len() < 12
        || is_random(word)
        || word.chars().any(|c| c.is_ascii_digit())
        || word.chars().skip(1).any(|c| c.is_ascii_uppercase());
    !word.is_empty() && !word.contains("--") && word.chars().all(known) && mixed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str, x: u32, y: u32) -> TextLine {
        TextLine {
            text: text.to_owned(),
            rect: Rect {
                x,
                y,
                width: text.len() as u32 * 8,
                height: 16,
            },
            confidence: 1.0,
        }
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
        let found = hidden(&lines);
        assert_eq!(
            found.iter().map(|(line, _)| *line).collect::<Vec<_>>(),
            [0, 1, 2]
        );
        assert_eq!(found[2].1, "adQssw5c");
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
        let rows = |lines: &[TextLine]| {
            hidden(lines)
                .iter()
                .map(|(line, _)| *line)
                .collect::<Vec<_>>()
        };
        assert_eq!(rows(&all), [1, 2, 3]);
        assert_eq!(rows(&all[..3]), [1, 2], "the end is below the screen");
        assert_eq!(rows(&all[2..]), [0, 1], "the beginning is above it");
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

//! Text that is in no table and on no card: pairs in one line, log lines,
//! code, headings, badges, prose.

use std::sync::LazyLock;

use regex::Regex;

use super::grid::{PieceRow, piece_rows};
use super::pieces::{TextPiece, joined};
use super::{ElementContent, ElementText, KeyValue, LogLine, StatusColour};

/// Minimum height of a heading, in usual heights of its surface, in percent.
const HEADING: u32 = 128;
const HEADING_WORDS: usize = 14;
/// Maximum words and characters of a badge.
const BADGE_WORDS: usize = 3;
const BADGE_CHARACTERS: usize = 28;
/// Maximum gap between lines of one paragraph, in line heights.
const PARAGRAPH: f32 = 0.75;
/// Maximum gap between words of a line, in line heights.
const WORDS_APART: f32 = 1.0;
/// Minimum lines of code, and their share of signs, in percent.
const CODE_LINES: usize = 3;
const CODE_SIGNS: usize = 9;
/// Maximum difference in the width of a character, in percent.
const ADVANCE: f32 = 9.0;
/// Maximum lines that an entry of a log wraps to.
const WRAPPED: usize = 12;

static TIME: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(concat!(
        r"^[\[(]?(",
        r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}[T ]{0,2}\d{1,2}:\d{2}(:\d{2})?([.,]\d+)?(\s?Z|\s?[+-]\d{2}:?\d{2}\b)?",
        r"|\d{1,2}/\p{L}{3}/\d{4}:\d{2}:\d{2}:\d{2}( [+-]\d{4})?",
        r"|\p{Lu}\p{L}{2} {0,2}\d{1,2},?( \d{4},?)? \d{1,2}:\d{2}(:\d{2})?([.,]\d+)?( [AP]M)?",
        r"|\d{1,2}:\d{2}:\d{2}([.,]\d+)?( ?[AP]M)?",
        r"|[IWEFD]\d{4} \d{2}:\d{2}:\d{2}[.,]\d+",
        r")[\])]?(\s+|$)"
    ))
    .expect("valid")
});
static LEVEL: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(concat!(
        r#"^[\[(<|]{0,2}(?i:level=)?"?(?P<level>(?i:trace|debug|info|information|notice|warn|warning|"#,
        r#"error|err|severe|crit|critical|fatal|panic|alert|emerg|emergency))"?[\])>|:]{0,2}(\s+|$)"#
    ))
    .expect("valid")
});
static SOURCE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^(\[(?P<a>[\w./:#-]{2,60})\]:?|(?P<b>[\w./-]{2,60}(\[\d+\])?):)\s+")
        .expect("valid")
});
static PAIR: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^(?P<key>\p{L}[^:=]{0,40}?)\s*[:：]\s+(?P<value>\S.*)$").expect("valid")
});

/// Elements of the pieces left over on a surface, each with its pieces.
pub(super) fn blocks(all: &[TextPiece], indices: &[usize]) -> Vec<(ElementContent, Vec<usize>)> {
    let mut rows = piece_rows(all, indices);
    let mut found = Vec::new();
    logs(all, &mut rows, &mut found);
    let mut heights: Vec<_> = indices.iter().map(|at| all[*at].rect.height).collect();
    heights.sort_unstable();
    let usual = heights.get(heights.len() / 2).copied().unwrap_or(1);
    code(all, &mut rows, &mut found);
    inline_pairs(all, &mut rows, &mut found);
    let mut open: Vec<Vec<usize>> = Vec::new();
    for row in &rows {
        for phrase in phrases(all, row) {
            let first = &all[phrase[0]];
            let text = joined(phrase.iter().map(|at| &all[*at]));
            let words = text.text.split_whitespace().count();
            let heading = first.rect.height * 100 >= usual * HEADING
                && words <= HEADING_WORDS
                && text.text.chars().any(char::is_alphabetic);
            if is_badge(&text) {
                found.push((ElementContent::Badge(text), phrase));
            } else if heading {
                found.push((ElementContent::Heading(text), phrase));
            } else if let Some(paragraph) =
                open.iter_mut().find(|open| continues(all, open, &phrase))
            {
                paragraph.extend(phrase);
            } else {
                open.push(phrase);
            }
        }
    }
    for paragraph in open {
        let text = joined(paragraph.iter().map(|at| &all[*at]));
        found.push((ElementContent::Prose(text), paragraph));
    }
    found
}

/// Pieces of a row that are one phrase: next to each other, unless one of them
/// is a badge.
fn phrases(all: &[TextPiece], row: &PieceRow) -> Vec<Vec<usize>> {
    let mut phrases: Vec<Vec<usize>> = Vec::new();
    for at in &row.pieces {
        let last = phrases
            .last()
            .and_then(|phrase| phrase.last())
            .map(|last| &all[*last]);
        let piece = &all[*at];
        let joins = last.is_some_and(|last| {
            let gap = piece.rect.x.saturating_sub(last.rect.right()) as f32;
            let alike = last.fill == piece.fill
                && last.rect.height.abs_diff(piece.rect.height) * 3 <= piece.rect.height;
            gap <= WORDS_APART * piece.height() && alike && piece.fill == StatusColour::None
        });
        match phrases.last_mut().filter(|_| joins) {
            Some(phrase) => phrase.push(*at),
            None => phrases.push(vec![*at]),
        }
    }
    phrases
}

/// True if a phrase is the next line of a paragraph.
fn continues(all: &[TextPiece], paragraph: &[usize], phrase: &[usize]) -> bool {
    let last = &all[*paragraph.last().expect("has pieces")];
    let left = paragraph
        .iter()
        .map(|at| all[*at].rect.x)
        .min()
        .unwrap_or_default();
    let next = &all[phrase[0]];
    let height = next.height();
    let gap = next.rect.y.saturating_sub(last.rect.bottom()) as f32;
    let below = next.rect.y + next.rect.height / 3 >= last.rect.bottom();
    let alike = next.rect.height.abs_diff(last.rect.height) * 4 <= next.rect.height;
    let aligned = left.abs_diff(next.rect.x) as f32 <= 0.6 * height
        || next.centre().abs_diff(last.centre()) as f32 <= 0.4 * height;
    // A mark in a colour is a bullet too, as before each entry of a list.
    let bullet = next.text.starts_with(['•', '·', '-', '*', '–']) || next.icon.is_hue();
    below && gap <= PARAGRAPH * height && alike && aligned && !bullet
}

fn is_badge(text: &ElementText) -> bool {
    let words = text.text.split_whitespace().count();
    let short = words <= BADGE_WORDS && text.text.chars().count() <= BADGE_CHARACTERS;
    let status = |colour| {
        matches!(
            colour,
            StatusColour::Red | StatusColour::Amber | StatusColour::Green
        )
    };
    short && (text.fill != StatusColour::None || status(text.ink) || status(text.icon))
}

/// Takes the rows that begin with a time, or with a level below such ones.
fn logs(
    all: &[TextPiece],
    rows: &mut Vec<PieceRow>,
    found: &mut Vec<(ElementContent, Vec<usize>)>,
) {
    let text_of = |row: &PieceRow| joined(row.pieces.iter().map(|at| &all[*at])).text;
    let entry = |row: &PieceRow| {
        let text = text_of(row);
        let rest = TIME.find(&text).map(|time| &text[time.end()..]);
        let (timed, rest) = (rest.is_some(), rest.unwrap_or(&text));
        let level = LEVEL.is_match(rest);
        // A sentence may begin with "Error: "; an entry has both, or its like
        // above or below.
        match (timed, level) {
            (true, true) => 2,
            (true, false) if rest.split_whitespace().count() >= 2 => 1,
            (false, true) if rest.split_whitespace().count() >= 3 => 1,
            _ => 0,
        }
    };
    let scores: Vec<u8> = rows.iter().map(entry).collect();
    let begins = |at: usize| {
        let left = |at: usize| all[rows[at].pieces[0]].rect.x;
        let like = |other: usize| {
            let near = left(other).abs_diff(left(at)) <= rows[at].bottom - rows[at].top;
            near && scores[other] > 0
        };
        let near = at.saturating_sub(4)..(at + 5).min(rows.len());
        scores[at] == 2 || (scores[at] == 1 && near.filter(|other| like(*other)).count() >= 3)
    };
    let starts: Vec<bool> = (0..rows.len()).map(begins).collect();
    let mut taken = vec![false; rows.len()];
    let mut at = 0;
    while at < rows.len() {
        if !starts[at] {
            at += 1;
            continue;
        }
        let mut end = at + 1;
        let left = all[rows[at].pieces[0]].rect.x;
        while end < rows.len() && !starts[end] && end - at < WRAPPED {
            let first = &all[rows[end].pieces[0]];
            let gap = rows[end].top.saturating_sub(rows[end - 1].bottom) as f32;
            let indented = first.rect.x as f32 >= left as f32 - 0.3 * first.height();
            if gap > 0.6 * first.height() || !indented || rows[end].pieces.len() > 2 {
                break;
            }
            end += 1;
        }
        let pieces: Vec<usize> = (rows[at..end].iter())
            .flat_map(|row| row.pieces.iter().copied())
            .collect();
        let text = joined(pieces.iter().map(|at| &all[*at]));
        found.push((ElementContent::LogLine(log_line(text)), pieces));
        taken[at..end].fill(true);
        at = end;
    }
    let mut taken = taken.into_iter();
    rows.retain(|_| !taken.next().unwrap_or_default());
}

/// Fields of an entry of a log.
fn log_line(text: ElementText) -> LogLine {
    let mut rest = text.text.as_str();
    let time = TIME.captures(rest).map(|found| {
        rest = &rest[found[0].len()..];
        found[1].to_owned()
    });
    let mut level = None;
    let mut source = None;
    for _ in 0..2 {
        if level.is_none()
            && let Some(found) = LEVEL.captures(rest)
        {
            rest = &rest[found[0].len()..];
            level = Some(found["level"].to_owned());
        } else if source.is_none()
            && let Some(found) = SOURCE.captures(rest)
        {
            rest = &rest[found[0].len()..];
            let name = found.name("a").or_else(|| found.name("b"));
            source = name.map(|name| name.as_str().to_owned());
        }
    }
    let message = rest.trim().to_owned();
    LogLine {
        time,
        level,
        source,
        message,
        text,
    }
}

/// Takes lines below each other in a font of one width with many signs.
fn code(
    all: &[TextPiece],
    rows: &mut Vec<PieceRow>,
    found: &mut Vec<(ElementContent, Vec<usize>)>,
) {
    let mut at = 0;
    while at < rows.len() {
        let mut end = at + 1;
        while end < rows.len() {
            let (row, last) = (&rows[end], &rows[end - 1]);
            let height = (row.bottom - row.top) as f32;
            let left = |row: &PieceRow| all[row.pieces[0]].rect.x as f32;
            let gap = row.top.saturating_sub(last.bottom) as f32;
            if gap > height || (left(row) - left(&rows[at])).abs() > 12.0 * height {
                break;
            }
            end += 1;
        }
        if end - at >= CODE_LINES && is_code(all, &rows[at..end]) {
            let pieces: Vec<usize> = (rows[at..end].iter())
                .flat_map(|row| row.pieces.iter().copied())
                .collect();
            let mut text = joined(pieces.iter().map(|at| &all[*at]));
            let lines = rows[at..end]
                .iter()
                .map(|row| indented(all, row, text.rect.x));
            text.text = lines.collect::<Vec<_>>().join("\n");
            found.push((ElementContent::Code(text), pieces));
            rows.drain(at..end);
        } else {
            at = end;
        }
    }
}

/// Text of a row with as many blanks before each piece as fit there.
fn indented(all: &[TextPiece], row: &PieceRow, left: u32) -> String {
    let mut text = String::new();
    for piece in row.pieces.iter().map(|at| &all[*at]) {
        let count = piece.text.chars().count().max(1) as u32;
        let advance = (piece.rect.width / count).max(1);
        let column = (piece.rect.x.saturating_sub(left) / advance) as usize;
        let length = text.chars().count();
        let blanks = column.saturating_sub(length).max(usize::from(length > 0));
        text.extend(std::iter::repeat_n(' ', blanks));
        text += &piece.text;
    }
    text
}

fn is_code(all: &[TextPiece], rows: &[PieceRow]) -> bool {
    let pieces = || rows.iter().flat_map(|row| &row.pieces).map(|at| &all[*at]);
    let sign = |c: char| r#"{}[]()<>=;:/\_"'|&$#@`"#.contains(c);
    let signs: usize = pieces()
        .map(|piece| {
            let joined = piece.text.as_bytes().windows(2);
            // A point within a name.
            let points = joined.filter(|two| two[0] == b'.' && two[1].is_ascii_alphanumeric());
            piece.text.chars().filter(|c| sign(*c)).count() + points.count()
        })
        .sum();
    let count = pieces()
        .map(|piece| piece.text.chars().count())
        .sum::<usize>();
    if signs * 100 < count * CODE_SIGNS {
        return false;
    }
    let mut advances: Vec<f32> = pieces()
        .filter(|piece| piece.text.chars().count() >= 10)
        .map(|piece| piece.rect.width as f32 / piece.text.chars().count() as f32)
        .collect();
    advances.sort_by(f32::total_cmp);
    let Some(middle) = advances.get(advances.len() / 2).copied() else {
        return false;
    };
    let even = advances
        .iter()
        .filter(|advance| (*advance - middle).abs() * 100.0 <= middle * ADVANCE);
    even.count() * 10 >= advances.len() * 8
}

/// Takes runs of lines below each other that are each a label, a colon and a
/// value.
fn inline_pairs(
    all: &[TextPiece],
    rows: &mut Vec<PieceRow>,
    found: &mut Vec<(ElementContent, Vec<usize>)>,
) {
    let pair = |row: &PieceRow| {
        let text = joined(row.pieces.iter().map(|at| &all[*at]));
        let parts = PAIR.captures(&text.text)?;
        if parts["key"].split_whitespace().count() > 3 || row.pieces.len() > 2 {
            return None;
        }
        let of = |part: &str| ElementText {
            text: part.to_owned(),
            ..text.clone()
        };
        Some(KeyValue {
            key: of(&parts["key"]),
            value: of(&parts["value"]),
        })
    };
    let mut at = 0;
    while at < rows.len() {
        let mut pairs = Vec::new();
        while let Some(row) = rows.get(at + pairs.len()) {
            let follows = pairs.is_empty() || {
                let last = &rows[at + pairs.len() - 1];
                let height = row.bottom - row.top;
                let left = |row: &PieceRow| all[row.pieces[0]].rect.x;
                row.top.saturating_sub(last.bottom) <= 2 * height
                    && left(row).abs_diff(left(last)) * 2 <= height
            };
            match pair(row).filter(|_| follows) {
                Some(pair) => pairs.push(pair),
                None => break,
            }
        }
        if pairs.len() >= 2 {
            let pieces: Vec<usize> = (rows[at..at + pairs.len()].iter())
                .flat_map(|row| row.pieces.iter().copied())
                .collect();
            rows.drain(at..at + pairs.len());
            found.push((ElementContent::KeyValues(pairs), pieces));
        } else {
            at += 1;
        }
    }
}

/// True if a text begins with a time, as the first column of a log does.
pub(super) fn is_time(text: &str) -> bool {
    TIME.is_match(text)
}

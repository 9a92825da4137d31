//! Secrets in text tables that OCR read row by row: fields separated by commas,
//! bars or tabs, or by blanks alone.

use std::ops::Range;

use super::labels;
use super::value::{self, Tie, is_strong};
use super::vocabulary::LabelKind;
use crate::picture::TextLine;
use crate::text::TextRow;

/// Maximum number of rows searched below a header.
const MOST_ROWS: usize = 100;
/// Maximum gap between rows, in row heights; a larger one ends the table.
const GAP: u32 = 4;
const FEWEST_FIELDS: usize = 2;
/// Characters by which a value may start left of its header, as positions are
/// estimated from a uniform character width.
const SLACK: usize = 2;

/// Values in the rows of text tables, as byte ranges of the row's text.
pub(super) fn values(
    lines: &[TextLine],
    rows: &[TextRow],
) -> Vec<(usize, Range<usize>, LabelKind)> {
    let mut found = Vec::new();
    for (at, row) in rows.iter().enumerate() {
        if let Some((sign, heads)) = separated_heads(&row.text) {
            for (below, row) in table(lines, rows, at) {
                if !of_separated(&row.text, sign, &heads, below, &mut found) {
                    break;
                }
            }
        } else if let Some(heads) = spaced_heads(&row.text) {
            for (below, row) in table(lines, rows, at) {
                if !of_spaced(&row.text, &heads, below, &mut found) {
                    break;
                }
            }
        }
    }
    found
}

/// Consecutive rows below the given one, up to a larger gap.
fn table<'a>(
    lines: &'a [TextLine],
    rows: &'a [TextRow],
    head: usize,
) -> impl Iterator<Item = (usize, &'a TextRow)> {
    let rect = |row: usize| {
        let first = rows[row].parts.first();
        first.map(|(line, _)| lines[*line].rect)
    };
    let follows = move |row: &usize| match (rect(row - 1), rect(*row)) {
        (Some(above), Some(below)) => below.y <= above.bottom() + GAP * above.height,
        _ => false,
    };
    let last = rows.len().min(head + 1 + MOST_ROWS);
    let below = (head + 1..last).take_while(follows);
    below.map(|row| (row, &rows[row]))
}

fn fields(text: &str, sign: char) -> Vec<Range<usize>> {
    let mut fields = Vec::new();
    let mut start = 0;
    for (at, c) in text.char_indices().filter(|(_, c)| *c == sign) {
        fields.push(start..at);
        start = at + c.len_utf8();
    }
    fields.push(start..text.len());
    fields
}

/// Separator of a header row, and the kind of secret each header announces.
fn separated_heads(text: &str) -> Option<(char, Vec<Option<LabelKind>>)> {
    [',', ';', '|', '\t'].into_iter().find_map(|sign| {
        let heads: Vec<_> = fields(text, sign)
            .into_iter()
            .map(|field| labels::alone(text[field].trim_matches('"')).map(|label| label.kind))
            .collect();
        let plain =
            !text.contains([':', '=']) && text.chars().filter(char::is_ascii_digit).count() < 4;
        let labelled = heads.iter().any(Option::is_some);
        (plain && labelled && heads.len() >= FEWEST_FIELDS).then_some((sign, heads))
    })
}

/// Adds the values of a row of a separated table; false once the table has
/// ended.
fn of_separated(
    text: &str,
    sign: char,
    heads: &[Option<LabelKind>],
    row: usize,
    found: &mut Vec<(usize, Range<usize>, LabelKind)>,
) -> bool {
    let ruler = text.chars().all(|c| "-+|= ".contains(c));
    let cells = fields(text, sign);
    if !ruler && cells.len() < FEWEST_FIELDS {
        return false;
    }
    if cells.len() == heads.len() {
        for (cell, kind) in cells.into_iter().zip(heads) {
            let part = &text[cell.clone()];
            let Some(kind) = kind else { continue };
            if let Some(range) = value::in_cell(*kind, part, Tie::Explicit) {
                found.push((row, cell.start + range.start..cell.start + range.end, *kind));
            }
        }
    } else if let Some(kind) = heads.iter().flatten().next() {
        // OCR read too many or too few separators, so fields cannot be mapped
        // to headers: hide every field that looks like a secret.
        let strong = cells
            .into_iter()
            .filter_map(|cell| value::trimmed(text, cell));
        let strong = strong
            .filter(|cell| is_strong(&text[cell.clone()]) && !value::is_fact(&text[cell.clone()]));
        found.extend(strong.map(|cell| (row, cell, *kind)));
    }
    true
}

/// Header of a column: where it and the next one begin, in characters.
#[derive(Debug)]
struct SpacedHead {
    kind: LabelKind,
    from: usize,
    to: usize,
    /// Columns before it, and their total number.
    nth: usize,
    of: usize,
}

/// Upper-case headers separated by blanks.
fn spaced_heads(text: &str) -> Option<Vec<SpacedHead>> {
    let capital = text.chars().any(char::is_uppercase) && !text.chars().any(char::is_lowercase);
    let plain = text
        .chars()
        .all(|c| c.is_uppercase() || " _-()%/".contains(c));
    if !capital || !plain || text.split_whitespace().count() < FEWEST_FIELDS {
        return None;
    }
    let words = words(text);
    let mut heads = Vec::new();
    for (nth, word) in words.iter().enumerate() {
        let Some(label) = labels::alone(&text[word.clone()]) else {
            continue;
        };
        let column = |byte: usize| text[..byte].chars().count();
        heads.push(SpacedHead {
            kind: label.kind,
            from: column(word.start),
            to: words
                .get(nth + 1)
                .map_or(usize::MAX, |next| column(next.start)),
            nth,
            of: words.len(),
        });
    }
    (!heads.is_empty()).then_some(heads)
}

fn words(text: &str) -> Vec<Range<usize>> {
    let mut words: Vec<Range<usize>> = Vec::new();
    for (at, c) in text.char_indices().filter(|(_, c)| !c.is_whitespace()) {
        let end = at + c.len_utf8();
        match words.last_mut().filter(|word| word.end == at) {
            Some(word) => word.end = end,
            None => words.push(at..end),
        }
    }
    words
}

/// Adds the values of a row of a blank-separated table; false once it has
/// ended.
fn of_spaced(
    text: &str,
    heads: &[SpacedHead],
    row: usize,
    found: &mut Vec<(usize, Range<usize>, LabelKind)>,
) -> bool {
    let words = words(text);
    if words.len() < FEWEST_FIELDS {
        return false;
    }
    for head in heads {
        for (nth, word) in words.iter().enumerate() {
            let at = text[..word.start].chars().count();
            let stands_under = at + SLACK >= head.from && at + SLACK < head.to;
            let same_place = words.len() == head.of && nth == head.nth;
            let part = &text[word.clone()];
            let tie = if same_place {
                Tie::Explicit
            } else {
                Tie::Placed
            };
            let strong = same_place || is_strong(part);
            if (stands_under || same_place) && strong && value::is_value(head.kind, part, tie) {
                found.push((row, word.clone(), head.kind));
            }
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use crate::test_line::stacked;
    use crate::text::rows;

    fn hidden(texts: &[&str]) -> Vec<String> {
        let lines = stacked(texts);
        let rows = rows(&lines);
        let values = super::values(&lines, &rows).into_iter();
        values
            .map(|(row, range, _)| rows[row].text[range].to_owned())
            .collect()
    }

    #[test]
    fn fields_under_a_head_are_values() {
        let csv = [
            "User name,Password,Access key ID,Console login link",
            "alice,Xk29!fdLq,,https://123456789012.signin.example/console",
            "bob,winter,,https://123456789012.signin.example/console",
        ];
        assert_eq!(hidden(&csv), ["Xk29!fdLq", "winter"]);
        let bars = [
            "id | email | password",
            "---+---+---",
            "1 | a@b.example | sommer24",
            "(1 row)",
        ];
        assert_eq!(hidden(&bars), ["sommer24"]);
        let spaced = [
            "USER  PASSWORD  ROLE",
            "alice  hunter2  admin",
            "bob  swordfish  viewer",
        ];
        assert_eq!(hidden(&spaced), ["hunter2", "swordfish"]);
        let plain = ["NAME  SECRETS  AGE", "default  0  41d", "builder  2  41d"];
        assert_eq!(hidden(&plain), [""; 0]);
    }
}

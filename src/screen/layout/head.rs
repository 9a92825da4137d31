//! Names of the columns of a table, told from its values.

use super::grid::{LABEL_WORDS, PieceRow};
use super::pieces::TextPiece;
use super::{ElementText, StatusColour};

/// True if the first row names the columns: it has none of the values that a
/// column below it has, or it looks different.
pub(super) fn has_head(
    all: &[TextPiece],
    rows: &[PieceRow],
    groups: &[Vec<usize>],
    texts: &[Vec<ElementText>],
) -> bool {
    let [head, body @ ..] = texts else {
        return false;
    };
    let named: Vec<_> = head.iter().filter(|cell| !cell.is_empty()).collect();
    let plain = |cell: &&&ElementText| {
        let count = cell.text.split_whitespace().count();
        !is_value(&cell.text) && count <= LABEL_WORDS && !cell.fill.is_hue()
    };
    let short = named.iter().filter(plain).count();
    if body.is_empty() || named.len() < 2 || short * 4 < named.len() * 3 {
        return false;
    }
    if named.iter().any(|cell| cell.text.ends_with(':')) && named.len() <= 2 {
        return false;
    }
    let repeated = named
        .iter()
        .filter(|cell| body.iter().flatten().any(|other| other.text == cell.text));
    if repeated.count() * 2 > named.len() {
        return false;
    }
    // A column of values below a name.
    let values = (0..head.len()).any(|column| {
        let below = || {
            body.iter()
                .map(|row| &row[column])
                .filter(|cell| !cell.is_empty())
        };
        let count = below().count();
        let special = below()
            .filter(|cell| is_value(&cell.text) || cell.fill.is_hue() || cell.ink.is_hue())
            .count();
        // Of two columns, the second may hold the values of pairs.
        let named = column == 0 || head.len() > 2;
        let plain = plain(&&&head[column]) && !head[column].ink.is_hue();
        count > 0 && special * 2 > count && plain && named
    });
    let of = |group: &Vec<usize>| {
        let pieces: Vec<_> = (group.iter())
            .flat_map(|row| &rows[*row].pieces)
            .map(|at| &all[*at])
            .collect();
        let count = pieces.len().max(1);
        let height = pieces
            .iter()
            .map(|piece| piece.rect.height as usize)
            .sum::<usize>()
            / count;
        let shade = pieces.get(pieces.len() / 2).map(|piece| piece.surface);
        (height, shade.unwrap_or_default())
    };
    let (height, shade) = of(&groups[0]);
    let others: Vec<_> = groups[1..].iter().map(of).collect();
    let higher = others
        .iter()
        .filter(|(other, _)| height.abs_diff(*other) * 10 > height)
        .count();
    let apart = others
        .iter()
        .filter(|(_, other)| shade.differs(*other))
        .count();
    let different = higher * 4 > others.len() * 3 || apart * 4 > others.len() * 3;
    let letters = |text: &str| text.chars().any(char::is_lowercase);
    let capitals = named.iter().all(|cell| !letters(&cell.text))
        && body.iter().flatten().any(|cell| letters(&cell.text));
    let grey = named.iter().all(|cell| cell.ink == StatusColour::Grey)
        && body
            .iter()
            .flatten()
            .any(|cell| !cell.is_empty() && cell.ink != StatusColour::Grey);
    let enough = head.len() >= 3 || body.len() >= 2;
    capitals || (enough && (values || different || grey))
}

/// True for a number with or without its unit, a time, a date or a version: a
/// text of which at least a third is digits, or that begins with one and is
/// short.
pub(super) fn is_value(text: &str) -> bool {
    let digits = text.chars().filter(|c| c.is_numeric()).count();
    let all = text.chars().filter(|c| !c.is_whitespace()).count();
    let signs = [
        '+', '-', '<', '>', '~', '≤', '≥', '×', '$', '€', '£', '¥', '.', '−',
    ];
    let starts = text
        .trim_start_matches(signs)
        .starts_with(|c: char| c.is_numeric());
    digits > 0
        && (digits * 3 >= all || (starts && text.split_whitespace().count() <= 3 && all <= 12))
}

//! Cards: a value with its label above, below or beside it; and pairs of
//! badges that touch.

use super::grid::piece_rows;
use super::head::is_value;
use super::pieces::{TextPiece, joined};
use super::{Card, KeyValue, StatusColour, Table};

/// Minimum height of a card's value, in heights of its label, in percent.
const LARGER: u32 = 128;
/// Maximum gap between value and label, in heights of the value.
const NEAR: f32 = 1.5;
/// Maximum words of a value, and of a label.
const VALUE_WORDS: usize = 3;
const LABEL_WORDS: usize = 7;
/// Maximum characters of a unit after a number, such as `min`; more are a label.
const LONGEST_UNIT: usize = 3;
/// Maximum texts on a surface that is one card.
const ON_A_CARD: usize = 4;
/// Maximum gap between the two badges of a pair, in line heights.
const TOUCHING: f32 = 1.1;

/// Card and the pieces it is made of.
pub(super) type FoundCard = (Card, Vec<usize>);

/// Cards whose value is larger than its label.
pub(super) fn large_values(all: &[TextPiece], indices: &[usize]) -> Vec<FoundCard> {
    let kinds = kinds(all, indices);
    let mut cards = Vec::new();
    let mut values: Vec<&TextKind> = (kinds.iter())
        .filter(|kind| kind.number || kind.state)
        .filter(|kind| is_alone(all, &kinds, kind) && !is_in_row(all, &kinds, kind))
        .collect();
    values.sort_by_key(|kind| std::cmp::Reverse(all[kind.at].rect.height));
    let mut used = vec![false; all.len()];
    for value in values {
        if used[value.at] {
            continue;
        }
        let near = (kinds.iter())
            .filter(|kind| kind.label && kind.at != value.at && !used[kind.at])
            .filter(|kind| value.letters * 100 >= kind.letters * LARGER)
            .filter(|kind| {
                let above = all[kind.at].rect.bottom() <= all[value.at].middle();
                above || value.number
            })
            .filter_map(|kind| Some((distance(&all[value.at], &all[kind.at])?, kind.at)))
            .min();
        let Some((_, label)) = near else {
            continue;
        };
        (used[value.at], used[label]) = (true, true);
        cards.push((
            Card {
                label: joined([&all[label]]),
                value: joined([&all[value.at]]),
                note: None,
            },
            vec![label, value.at],
        ));
    }
    cards
}

/// Kinds of text that a piece may be on a card.
#[derive(Debug, Clone, Copy)]
struct TextKind {
    at: usize,
    /// Number, time or version.
    value: bool,
    /// Number with its unit.
    number: bool,
    state: bool,
    label: bool,
    /// Height of its letters.
    letters: u32,
}

/// Kind of each piece.
fn kinds(all: &[TextPiece], indices: &[usize]) -> Vec<TextKind> {
    let kind = |at: &usize| {
        let piece = &all[*at];
        TextKind {
            at: *at,
            value: is_value(&piece.text),
            number: is_card_value(&piece.text),
            state: is_state(piece),
            label: is_label(&piece.text),
            letters: letters_of(piece),
        }
    };
    indices.iter().map(kind).collect()
}

/// Height of a label's letters: its box includes what hangs below the line.
fn letters_of(piece: &TextPiece) -> u32 {
    match piece.text.contains(['g', 'j', 'p', 'q', 'y']) {
        true => piece.rect.height * 4 / 5,
        false => piece.rect.height,
    }
}

/// True unless the next text above or below is a value too, as in a column of a
/// table.
fn is_alone(all: &[TextPiece], kinds: &[TextKind], kind: &TextKind) -> bool {
    let rect = &all[kind.at].rect;
    let column = |other: &&TextKind| {
        let other = &all[other.at].rect;
        other.x < rect.right() && rect.x < other.right()
    };
    let is_like = |other: &TextKind| {
        let number = other.value && kind.value;
        let height = all[other.at].rect.height.abs_diff(rect.height) * 5 <= rect.height;
        height && (number || (other.state && kind.state))
    };
    let below = (kinds.iter().filter(column))
        .filter(|other| all[other.at].rect.y >= rect.bottom())
        .min_by_key(|other| all[other.at].rect.y);
    let above = (kinds.iter().filter(column))
        .filter(|other| all[other.at].rect.bottom() <= rect.y)
        .max_by_key(|other| all[other.at].rect.bottom());
    !below.is_some_and(is_like) && !above.is_some_and(is_like)
}

/// True for a text with another one before it in its row that is no value and as
/// high, as in a table or a list of pairs.
fn is_in_row(all: &[TextPiece], kinds: &[TextKind], kind: &TextKind) -> bool {
    let piece = &all[kind.at];
    let before = kinds.iter().filter(|other| {
        let other = &all[other.at];
        other.rect.right() <= piece.rect.x
            && other.middle().abs_diff(piece.middle()) * 3 <= piece.rect.height
    });
    before
        .max_by_key(|other| all[other.at].rect.right())
        .is_some_and(|other| {
            let height = other.letters.abs_diff(kind.letters) * 5;
            !other.value && height <= kind.letters
        })
}

/// True for a few words in a status colour, which may be the value below a
/// label: numbers have it at any side.
fn is_state(piece: &TextPiece) -> bool {
    let words = piece.text.split_whitespace().count();
    let colour = [piece.ink, piece.icon]
        .into_iter()
        .any(StatusColour::is_hue);
    let letters = |c: char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '\'');
    let named = piece.text.chars().any(char::is_alphabetic);
    words <= VALUE_WORDS && colour && named && piece.text.chars().all(letters)
}

/// Distance of a label from its value, if it is near; in its column or beside
/// it.
fn distance(value: &TextPiece, label: &TextPiece) -> Option<u32> {
    let (a, b) = (&value.rect, &label.rect);
    let most = (NEAR * value.height()) as u32;
    let column = a.x < b.right() && b.x < a.right();
    let row = b.y < a.bottom() && a.y < b.bottom();
    let gap = if column && !row {
        b.y.saturating_sub(a.bottom())
            .max(a.y.saturating_sub(b.bottom()))
    } else if row && b.x >= a.right() {
        b.x - a.right()
    } else {
        return None;
    };
    (gap <= most).then_some(gap)
}

/// Card of a small surface that holds a value and its label.
pub(super) fn on_surface(all: &[TextPiece], indices: &[usize]) -> Option<FoundCard> {
    if !(2..=ON_A_CARD).contains(&indices.len()) {
        return None;
    }
    let rows = piece_rows(all, indices);
    let mut values = indices.iter().filter(|at| is_card_value(&all[**at].text));
    let (value, None) = (*values.next()?, values.next()) else {
        return None;
    };
    let row = rows.iter().position(|row| row.pieces.contains(&value))?;
    let beside = rows[row].pieces.iter().find(|at| is_label(&all[**at].text));
    let of = |row: Option<&super::grid::PieceRow>| {
        row.and_then(|row| {
            row.pieces
                .iter()
                .copied()
                .find(|at| is_label(&all[*at].text))
        })
    };
    let above = row.checked_sub(1).and_then(|row| of(rows.get(row)));
    let label = above
        .or(beside.copied())
        .or_else(|| of(rows.get(row + 1)))?;
    let notes: Vec<_> = (indices.iter().copied())
        .filter(|at| *at != label && *at != value)
        .collect();
    let note = (!notes.is_empty()).then(|| joined(notes.iter().map(|at| &all[*at])));
    let card = Card {
        label: joined([&all[label]]),
        value: joined([&all[value]]),
        note,
    };
    Some((card, indices.to_vec()))
}

/// Cards side by side, as a table of one row with a label above each value;
/// a third row of texts are their notes.
pub(super) fn of_table(table: &Table) -> Option<Vec<Card>> {
    let head = table.head.as_ref()?;
    let (values, notes) = match table.rows.as_slice() {
        [values] => (values, None),
        [values, notes] if notes.iter().all(|cell| !is_card_value(&cell.text)) => {
            (values, Some(notes))
        }
        _ => return None,
    };
    let filled = values.iter().filter(|cell| !cell.is_empty());
    let numbers = values
        .iter()
        .filter(|cell| is_card_value(&cell.text))
        .count();
    if numbers * 3 < filled.count() * 2 || numbers < 2 {
        return None;
    }
    // The row of a table is closer to its head than a value's label would be
    // wide: a long row of text has a name among its cells.
    let named = (values.iter()).filter(|cell| !cell.is_empty() && !is_card_value(&cell.text));
    if named.count() > 0 {
        return None;
    }
    let cards = head.iter().zip(values).enumerate();
    let cards = cards.filter(|(_, (label, value))| !label.is_empty() && !value.is_empty());
    Some(
        cards
            .map(|(at, (label, value))| Card {
                label: label.clone(),
                value: value.clone(),
                note: notes
                    .and_then(|notes| notes.get(at))
                    .filter(|note| !note.is_empty())
                    .cloned(),
            })
            .collect(),
    )
}

/// Pairs of badges that touch: a label on one surface, its value on another.
pub(super) fn touching_badges(all: &[TextPiece], indices: &[usize]) -> Vec<(KeyValue, Vec<usize>)> {
    let mut pairs = Vec::new();
    for row in piece_rows(all, indices) {
        let mut at = 0;
        while at + 1 < row.pieces.len() {
            let (key, value) = (&all[row.pieces[at]], &all[row.pieces[at + 1]]);
            let gap = |a: &TextPiece, b: &TextPiece| b.rect.x.saturating_sub(a.rect.right());
            let close = gap(key, value) as f32 <= TOUCHING * key.height();
            let next = row.pieces.get(at + 2).map(|next| gap(value, &all[*next]));
            let alone = next.is_none_or(|next| next > gap(key, value));
            let filled = key.fill != StatusColour::None && value.fill != StatusColour::None;
            if close && alone && filled && key.surface.differs(value.surface) {
                pairs.push((
                    KeyValue {
                        key: joined([key]),
                        value: joined([value]),
                    },
                    vec![row.pieces[at], row.pieces[at + 1]],
                ));
                at += 2;
            } else {
                at += 1;
            }
        }
    }
    pairs
}

/// Cards whose value and label were read as one line, as the value is larger
/// than the usual text.
pub(super) fn labelled_numbers(all: &[TextPiece], indices: &[usize]) -> Vec<(Card, usize)> {
    let mut heights: Vec<_> = indices.iter().map(|at| all[*at].rect.height).collect();
    heights.sort_unstable();
    let usual = heights.get(heights.len() / 2).copied().unwrap_or(1);
    let kinds = kinds(all, indices);
    let card = |kind: &TextKind| {
        let piece = &all[kind.at];
        if piece.rect.height * 100 < usual * LARGER
            || piece.text.split_whitespace().count() > VALUE_WORDS + 2
            || !is_alone(all, &kinds, kind)
        {
            return None;
        }
        let words = piece.words();
        let number =
            |word: &(std::ops::Range<usize>, u32, u32)| is_card_value(&piece.text[word.0.clone()]);
        let numbers = words.iter().take_while(|word| number(word)).count();
        let (value, label) = (words.get(numbers.checked_sub(1)?)?, words.get(numbers)?);
        let value = piece.part(0..value.0.end, piece.rect.x, value.2);
        let label = piece.part(label.0.start..piece.text.len(), label.1, piece.rect.right());
        let unit = label.text.chars().count() <= LONGEST_UNIT
            && label.text.starts_with(char::is_lowercase);
        (is_label(&label.text) && !unit).then(|| Card {
            label: joined([&label]),
            value: joined([&value]),
            note: None,
        })
    };
    (kinds.iter())
        .filter_map(|kind| Some((card(kind)?, kind.at)))
        .collect()
}

/// True for a number with its unit.
fn is_card_value(text: &str) -> bool {
    let dated = text.matches([':', '/', '-']).count() >= 2;
    let unit = |word: &str| {
        word.contains(|c: char| c.is_numeric() || matches!(c, '%' | '/'))
            || word.chars().count() <= LONGEST_UNIT
    };
    let signs = [
        '+', '-', '<', '>', '~', '≤', '≥', '×', '$', '€', '£', '¥', '−', 'x',
    ];
    let starts = text.trim_start_matches(signs).trim_start();
    starts.starts_with(|c: char| c.is_numeric())
        && is_value(text)
        && text.split_whitespace().count() <= VALUE_WORDS
        && text.split_whitespace().all(unit)
        && !dated
}

fn is_label(text: &str) -> bool {
    let words = text.split_whitespace().count();
    let letters = text.chars().filter(|c| c.is_alphabetic()).count();
    words <= LABEL_WORDS && letters >= 2 && !is_value(text)
}

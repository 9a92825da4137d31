//! Tables: rows whose texts stand below each other in columns.

use super::grouping::{WRAPPED, grouped};
use super::head::{has_head, is_value};
use super::pieces::{TextPiece, joined};
use super::{ElementText, KeyValue, Table};
use crate::picture::{Picture, Rect};

/// Distance of two edges or centres that are aligned, in line heights.
const ALIGNED: f32 = 0.7;
/// Maximum gap between rows of a table, in line heights.
const ROWS_APART: f32 = 4.5;
/// Maximum share of rows that cross the gap between two columns, in percent.
const CROSSING: usize = 12;
/// Maximum times that a row is tried as part of a table, on average: each try
/// compares all of its rows.
const TRIES: usize = 8;
/// Maximum words of a label.
pub(super) const LABEL_WORDS: usize = 5;
/// Mean length from which a column holds sentences, in characters.
const SENTENCE: usize = 42;

/// Pieces beside each other, from the left.
#[derive(Debug, Clone)]
pub(super) struct PieceRow {
    pub(super) pieces: Vec<usize>,
    pub(super) top: u32,
    pub(super) bottom: u32,
}

/// Table or list of pairs, and the pieces it is made of.
#[derive(Debug)]
pub(super) enum FoundGrid {
    Table(Table, Vec<usize>),
    Pairs(Vec<KeyValue>, Vec<usize>),
}

/// Column of a table in pixels.
#[derive(Debug, Clone, Copy)]
struct Span {
    left: u32,
    right: u32,
}

/// Rows of pieces, from the top.
pub(super) fn piece_rows(all: &[TextPiece], indices: &[usize]) -> Vec<PieceRow> {
    let mut sorted = indices.to_vec();
    sorted.sort_by_key(|at| (all[*at].middle(), all[*at].rect.x));
    let mut rows: Vec<PieceRow> = Vec::new();
    let mut middle = 0;
    for at in sorted {
        let piece = &all[at];
        let joins = rows.last().is_some_and(|row| {
            let height = (row.bottom - row.top).min(piece.rect.height);
            let near = piece.middle().abs_diff(middle) * 2 <= height;
            let free = |other: &usize| {
                // Boxes of neighbours may overlap a little.
                let other = &all[*other].rect;
                let shared = (other.right().min(piece.rect.right()))
                    .saturating_sub(other.x.max(piece.rect.x));
                shared * 5 <= 2 * other.width.min(piece.rect.width)
            };
            near && row.pieces.iter().all(free)
        });
        match rows.last_mut().filter(|_| joins) {
            Some(row) => {
                row.pieces.push(at);
                row.top = row.top.min(piece.rect.y);
                row.bottom = row.bottom.max(piece.rect.bottom());
            }
            None => {
                middle = piece.middle();
                rows.push(PieceRow {
                    pieces: vec![at],
                    top: piece.rect.y,
                    bottom: piece.rect.bottom(),
                });
            }
        }
    }
    for row in &mut rows {
        row.pieces.sort_by_key(|at| all[*at].rect.x);
    }
    rows
}

/// Tables and lists of pairs among pieces of one surface.
pub(super) fn grids(all: &[TextPiece], indices: &[usize], picture: &Picture) -> Vec<FoundGrid> {
    let rows = piece_rows(all, indices);
    let mut found = Vec::new();
    let mut tries = TRIES * rows.len();
    let mut at = 0;
    while at < rows.len() {
        let end = chain(all, &rows[at..]) + at;
        if end == at + 1 {
            at = end;
        } else if let Some(grid) = grid(all, &rows[at..end], picture) {
            found.push(grid);
            at = end;
        } else {
            // The first row may be none of its rows.
            let left = tries.checked_sub(end - at);
            at = if left.is_some() { at + 1 } else { end };
            tries = left.unwrap_or_default();
        }
    }
    found
}

/// Number of rows from the first on that stand in columns.
fn chain(all: &[TextPiece], rows: &[PieceRow]) -> usize {
    if rows[0].pieces.len() < 2 {
        return 1;
    }
    let mut known: Vec<Rect> = pieces_of(all, &rows[0]);
    let (mut length, mut wide) = (1, 1);
    let mut bottom = rows[0].bottom;
    for (nth, row) in rows.iter().enumerate().skip(1) {
        let pieces = pieces_of(all, row);
        let height = pieces.iter().map(|rect| rect.height).max().unwrap_or(1) as f32;
        let gap = row.top.saturating_sub(bottom) as f32;
        let aligned = pieces
            .iter()
            .filter(|rect| is_aligned(&known, rect))
            .count();
        let columns = aligned >= 2 && aligned * 2 >= pieces.len();
        // A wrapped cell, or a row whose other cells are empty.
        let near = if wide >= 2 { 1.6 } else { 3.0 };
        let begun = wide >= 2 || rows[0].pieces.len() >= 3;
        // The first lines of a cell that is centred on its row are above the others.
        let next = rows
            .get(nth + 1)
            .map(|next| next.top.saturating_sub(row.bottom));
        let above = pieces[0].x > known[0].right()
            && next.is_some_and(|next| next as f32 <= 0.6 * height && next as f32 <= gap);
        let sparse = pieces.len() == 1 && aligned == 1 && begun && (above || gap <= near * height);
        let first = pieces.len() == 1
            && rows[0].pieces.len() == 2
            && aligned == 1
            && gap <= 1.6 * height
            && all[row.pieces[0]].text.ends_with(':');
        // The same names again are the head of another table.
        let again = length > 1 && is_like(all, &rows[0], row);
        if gap > ROWS_APART * height || !(columns || sparse || first) || again {
            break;
        }
        length += 1;
        if columns {
            wide = length;
            for rect in &pieces {
                if !is_aligned(&known, rect) {
                    known.push(*rect);
                }
            }
        } else if length - wide > WRAPPED {
            break;
        }
        bottom = bottom.max(row.bottom);
    }
    // Lone texts after the last row of columns belong to it only if they wrap
    // one of its cells: they do not reach into the next column.
    let crosses = |rect: &Rect| {
        let columns = rows[0].pieces.iter().chain(&rows[wide - 1].pieces);
        let mut lefts = columns.map(|at| all[*at].rect.x);
        lefts.any(|left| left > rect.x + rect.height && left < rect.right())
    };
    let mut end = wide;
    while end < length {
        let (last, before) = (&rows[end], &rows[end - 1]);
        let lone = &all[last.pieces[0]];
        let height = (last.bottom - last.top) as f32;
        let gap = last.top.saturating_sub(before.bottom) as f32;
        let wraps = gap <= 0.6 * height && !crosses(&lone.rect);
        if !wraps && !lone.text.ends_with(':') {
            break;
        }
        end += 1;
    }
    end
}

/// True for two rows with the same texts in the same columns, as heads have;
/// one that OCR read differently does not matter.
fn is_like(all: &[TextPiece], first: &PieceRow, other: &PieceRow) -> bool {
    let same = |(a, b): &(&usize, &usize)| {
        let (a, b) = (&all[**a], &all[**b]);
        a.rect.x.abs_diff(b.rect.x) <= a.rect.height && a.text == b.text && !is_value(&a.text)
    };
    let count = first.pieces.len();
    count >= 2
        && count == other.pieces.len()
        && (first.pieces.iter().zip(&other.pieces))
            .filter(same)
            .count()
            * 3
            >= count * 2
}

fn pieces_of(all: &[TextPiece], row: &PieceRow) -> Vec<Rect> {
    row.pieces.iter().map(|at| all[*at].rect).collect()
}

/// True if a box shares an edge or the centre with one of the known columns, or
/// most of its width with just one of them.
pub(super) fn is_aligned(known: &[Rect], rect: &Rect) -> bool {
    let near = (ALIGNED * rect.height as f32) as u32;
    let overlap = |other: &Rect| {
        let shared = other
            .right()
            .min(rect.right())
            .saturating_sub(other.x.max(rect.x));
        shared * 2 >= other.width.min(rect.width)
    };
    let edge = |other: &Rect| {
        let centres = (other.x + other.width / 2).abs_diff(rect.x + rect.width / 2);
        other.x.abs_diff(rect.x) <= near
            || other.right().abs_diff(rect.right()) <= near
            || centres <= near
    };
    known.iter().any(edge) || known.iter().filter(|other| overlap(other)).count() == 1
}

/// Table or pairs of rows that stand in columns.
fn grid(all: &[TextPiece], rows: &[PieceRow], picture: &Picture) -> Option<FoundGrid> {
    let columns = columns(all, rows);
    if columns.len() < 2 {
        return None;
    }
    let cells: Vec<Vec<Vec<TextPiece>>> =
        rows.iter().map(|row| cells(all, row, &columns)).collect();
    let used: Vec<usize> = rows
        .iter()
        .flat_map(|row| row.pieces.iter().copied())
        .collect();
    let groups = grouped(all, rows, &cells, picture);
    let texts: Vec<Vec<ElementText>> = (groups.iter())
        .map(|group| {
            (0..columns.len())
                .map(|column| joined(group.iter().flat_map(|row| &cells[*row][column])))
                .collect()
        })
        .collect();
    let filled = |row: &Vec<ElementText>| row.iter().filter(|cell| !cell.is_empty()).count();
    let full = texts.iter().filter(|row| filled(row) >= 2).count();
    let head = has_head(all, rows, &groups, &texts);
    if !head && columns.len() == 2 {
        let pairs = pairs(&texts);
        if let Some(pairs) = pairs {
            return Some(FoundGrid::Pairs(pairs, used));
        }
    }
    let sentences = |column: usize| {
        let lengths = texts.iter().map(|row| row[column].text.chars().count());
        lengths.sum::<usize>() > SENTENCE * texts.len()
    };
    let prose = !head
        && (0..columns.len())
            .filter(|column| sentences(*column))
            .count()
            * 2
            >= columns.len();
    let body = if head { &texts[1..] } else { &texts[..] };
    let cells = body.len() * columns.len();
    let dense = body.iter().map(filled).sum::<usize>() * 2 >= cells;
    let whole = body.iter().map(filled).sum::<usize>() * 10 >= cells * 9;
    let (aligned, measured) = aligned_columns(&texts);
    let even = aligned >= 2 && aligned * 10 >= measured * 6;
    let enough = match full {
        0 | 1 => false,
        // Two rows of which one has gaps are a toolbar above another.
        2 => (head || (columns.len() >= 3 && whole)) && aligned * 10 >= measured * 8,
        _ => true,
    };
    if prose || !enough || !dense || !even {
        return None;
    }
    let mut texts = texts.into_iter();
    let head = if head { texts.next() } else { None };
    let table = Table {
        head,
        rows: texts.collect(),
    };
    Some(FoundGrid::Table(table, used))
}

/// Number of columns whose texts mostly share an edge or the centre, and of
/// all with at least two texts.
fn aligned_columns(texts: &[Vec<ElementText>]) -> (usize, usize) {
    let edges: [fn(&Rect) -> u32; 3] = [|rect| rect.x, Rect::right, |rect| rect.x + rect.width / 2];
    let (mut aligned, mut measured) = (0, 0);
    for column in 0..texts.first().map_or(0, Vec::len) {
        let rects: Vec<Rect> = (texts.iter().map(|row| &row[column]))
            .filter(|cell| !cell.is_empty())
            .map(|cell| cell.rect)
            .collect();
        let height = rects.iter().map(|rect| rect.height).min();
        let Some(height) = height.filter(|_| rects.len() >= 2) else {
            continue;
        };
        let slack = (ALIGNED * height as f32) as u32;
        let even = edges.iter().any(|edge| {
            let mut places: Vec<u32> = rects.iter().map(edge).collect();
            places.sort_unstable();
            let middle = places[places.len() / 2];
            let near = places
                .iter()
                .filter(|place| place.abs_diff(middle) <= slack);
            near.count() * 10 >= places.len() * 6
        });
        measured += 1;
        aligned += usize::from(even);
    }
    (aligned, measured)
}

/// Columns: between gaps that next to no row crosses.
fn columns(all: &[TextPiece], rows: &[PieceRow]) -> Vec<Span> {
    let all_rows: Vec<_> = rows.iter().map(|row| pieces_of(all, row)).collect();
    // A piece over several texts of another row is no measure of a column.
    let spans = |rect: &Rect| {
        all_rows.iter().any(|row| {
            let under = |other: &&Rect| {
                let shared = other
                    .right()
                    .min(rect.right())
                    .saturating_sub(other.x.max(rect.x));
                shared * 2 > other.width
            };
            row.iter().filter(under).count() >= 2
        })
    };
    let measures: Vec<Vec<Rect>> = (all_rows.iter())
        .map(|row| row.iter().copied().filter(|rect| !spans(rect)).collect())
        .collect();
    let wide = measures.iter().filter(|row| !row.is_empty()).count();
    let mut edges: Vec<(u32, isize)> = (measures.iter().flatten())
        .flat_map(|rect| [(rect.x, 1), (rect.right(), -1)])
        .collect();
    edges.sort_unstable();
    let crossing = (wide * CROSSING / 100) as isize;
    let mut columns: Vec<Span> = Vec::new();
    let (mut depth, mut start) = (0, None);
    for (x, change) in edges {
        depth += change;
        if depth > crossing {
            start.get_or_insert(x);
        } else if let Some(left) = start.take() {
            columns.push(Span { left, right: x });
        }
    }
    // With a few rows allowed to cross, a column of few texts may be missed.
    if crossing > 0 {
        for rect in measures.iter().flatten() {
            let apart = |span: &Span| rect.right() <= span.left || span.right <= rect.x;
            if columns.iter().all(apart) {
                columns.push(Span {
                    left: rect.x,
                    right: rect.right(),
                });
            }
        }
        columns.sort_by_key(|span| span.left);
    }
    (columns.into_iter())
        .flat_map(|span| cut_at_names(all, rows, span))
        .collect()
}

/// Parts of a column that is several with one blank between them, as in a
/// terminal: names in capitals, and words of nearly all rows below each.
fn cut_at_names(all: &[TextPiece], rows: &[PieceRow], span: Span) -> Vec<Span> {
    // Words of a row in the column: text, left end.
    let words = |row: &PieceRow| {
        let pieces = row.pieces.iter().map(|at| &all[*at]);
        let over =
            pieces.filter(|piece| piece.rect.x < span.right && span.left < piece.rect.right());
        over.flat_map(|piece| {
            (piece.words().into_iter())
                .filter(|(_, left, right)| (span.left..span.right).contains(&((left + right) / 2)))
                .map(|(range, left, _)| (&piece.text[range], left))
                .collect::<Vec<_>>()
        })
        .collect::<Vec<_>>()
    };
    let names = words(&rows[0]);
    let named = |text: &str| {
        let capital = |c: char| c.is_uppercase() || "_-/%".contains(c);
        text.chars().all(capital)
    };
    if names.len() < 2 || !names.iter().all(|(text, _)| named(text)) {
        return vec![span];
    }
    let body: Vec<_> = rows[1..]
        .iter()
        .map(words)
        .filter(|row| !row.is_empty())
        .collect();
    let slack = rows[0].bottom.saturating_sub(rows[0].top) * 2 / 5;
    let below = |row: &&Vec<(&str, u32)>| {
        row.len() == names.len()
            && (row.iter().zip(&names)).all(|(word, name)| word.1.abs_diff(name.1) <= slack)
    };
    if body.len() < 3 || body.iter().filter(below).count() * 10 < body.len() * 8 {
        return vec![span];
    }
    let lefts = names[1..].iter().map(|name| name.1);
    let starts = std::iter::once(span.left).chain(lefts.clone());
    let ends = lefts
        .map(|left| left.saturating_sub(slack))
        .chain(std::iter::once(span.right));
    (starts.zip(ends))
        .map(|(left, right)| Span { left, right })
        .collect()
}

/// Pieces of a row by column; one over several columns is cut between its
/// words, where the columns are parted.
fn cells(all: &[TextPiece], row: &PieceRow, columns: &[Span]) -> Vec<Vec<TextPiece>> {
    let mut cells = vec![Vec::new(); columns.len()];
    for piece in row.pieces.iter().map(|at| &all[*at]) {
        let touched = |left: u32, right: u32| {
            let shared = |span: &Span| right.min(span.right).saturating_sub(left.max(span.left));
            let most = (0..columns.len()).max_by_key(|at| shared(&columns[*at]));
            most.filter(|at| shared(&columns[*at]) > 0)
        };
        let nearest = |left: u32, right: u32| {
            let middle = (left + right) / 2;
            let distance = |span: &Span| middle.abs_diff((span.left + span.right) / 2);
            (0..columns.len())
                .min_by_key(|at| distance(&columns[*at]))
                .unwrap_or_default()
        };
        let words = piece.words();
        let crossed = (columns.iter())
            .filter(|span| {
                let shared = (piece.rect.right().min(span.right))
                    .saturating_sub(piece.rect.x.max(span.left));
                shared as f32 > 0.5 * piece.height()
            })
            .count();
        if crossed < 2 || words.len() < 2 || row.pieces.len() == 1 {
            let (left, right) = (piece.rect.x, piece.rect.right());
            let column = touched(left, right).unwrap_or_else(|| nearest(left, right));
            cells[column].push(piece.clone());
            continue;
        }
        let mut groups: Vec<(usize, std::ops::Range<usize>, u32, u32)> = Vec::new();
        for (word, left, right) in words {
            // A word between columns belongs to the one before it.
            let last = groups.last().map(|group| group.0);
            let column = touched(left, right).or(last);
            let column = column.unwrap_or_else(|| nearest(left, right));
            match groups.last_mut().filter(|group| group.0 == column) {
                Some(group) => (group.1.end, group.3) = (word.end, right),
                None => groups.push((column, word, left, right)),
            }
        }
        for (column, range, left, right) in groups {
            cells[column].push(piece.part(range, left, right));
        }
    }
    cells
}

/// Pairs of a label and a value, if the first column holds labels.
fn pairs(texts: &[Vec<ElementText>]) -> Option<Vec<KeyValue>> {
    let labels = || texts.iter().map(|row| &row[0]);
    let count = texts.len();
    let colons = labels().filter(|label| label.text.ends_with(':')).count();
    let short = |label: &ElementText| {
        let words = label.text.split_whitespace().count();
        (1..=LABEL_WORDS).contains(&words) && !is_value(&label.text)
    };
    let named = labels().filter(|label| short(label)).count();
    let mut distinct: Vec<_> = labels().map(|label| label.text.as_str()).collect();
    distinct.sort_unstable();
    distinct.dedup();
    let looks = |label: &ElementText| (label.ink, label.fill);
    let other = texts
        .iter()
        .filter(|row| looks(&row[0]) != looks(&row[1]))
        .count();
    let kinds = texts.iter().filter(|row| is_value(&row[1].text)).count();
    let likely = colons * 2 > count || (count >= 3 && (other * 2 > count || kinds * 3 >= count));
    if !likely || named * 10 < count * 8 || distinct.len() * 10 < count * 8 {
        return None;
    }
    let pair = |row: &Vec<ElementText>| {
        let mut key = row[0].clone();
        key.text
            .truncate(key.text.trim_end_matches([':', ' ']).len());
        KeyValue {
            key,
            value: row[1].clone(),
        }
    };
    Some(texts.iter().map(pair).collect())
}

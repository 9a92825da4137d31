//! Tables side by side on one surface, which nothing but their titles or heads
//! part.

use super::grid::{LABEL_WORDS, PieceRow, piece_rows};
use super::head::is_value;
use super::pieces::TextPiece;

/// Minimum columns of a table beside another one.
const COLUMNS: usize = 2;
/// Maximum gap between titles and the tables below, in heights of the titles.
const TITLES_ABOVE: u32 = 4;
/// Maximum gap between rows, in line heights, from which on the tables end.
const ROWS_APART: u32 = 5;

/// Pieces of a surface in parts: what is in tables side by side, each of them a
/// part, and all the rest.
pub(super) fn side_by_side(all: &[TextPiece], indices: &[usize]) -> Vec<Vec<usize>> {
    let rows = piece_rows(all, indices);
    let mut rest: Vec<usize> = indices.to_vec();
    let mut parts = Vec::new();
    let mut at = 0;
    while at < rows.len() {
        let Some((first, edges)) = starts(all, &rows[at..]) else {
            at += 1;
            continue;
        };
        let first = at + first;
        let end = first + block(all, &rows[first..], &edges);
        if end < first + 2 {
            at += 1;
            continue;
        }
        let pieces: Vec<usize> = rows[first..end]
            .iter()
            .flat_map(|row| &row.pieces)
            .copied()
            .collect();
        rest.retain(|piece| !pieces.contains(piece));
        for part in 0..edges.len() {
            let within = |piece: &&usize| part_of(all, **piece, &edges) == part;
            parts.push(pieces.iter().filter(within).copied().collect());
        }
        at = end;
    }
    parts.push(rest);
    parts
}

/// Left edges of the tables that begin with the first rows, and the index of
/// their first row: below titles that stand at the left of each, or in a row with
/// the same names twice.
fn starts(all: &[TextPiece], rows: &[PieceRow]) -> Option<(usize, Vec<u32>)> {
    repeated(all, &rows[0])
        .map(|edges| (0, edges))
        .or_else(|| entitled(all, rows.first()?, rows.get(1)?).map(|edges| (1, edges)))
}

/// Edges by a head that is repeated: `Name State Name State`.
fn repeated(all: &[TextPiece], row: &PieceRow) -> Option<Vec<u32>> {
    let half = row.pieces.len() / 2;
    if half < COLUMNS || !row.pieces.len().is_multiple_of(2) {
        return None;
    }
    let (left, right) = row.pieces.split_at(half);
    let same = |(a, b): (&usize, &usize)| {
        let (a, b) = (&all[*a].text, &all[*b].text);
        a == b && !is_value(a)
    };
    let distinct = left.iter().all(|at| {
        let alike = left
            .iter()
            .filter(|other| all[**other].text == all[*at].text);
        alike.count() == 1
    });
    (distinct && left.iter().zip(right).all(same))
        .then(|| vec![all[left[0]].rect.x, all[right[0]].rect.x])
}

/// Edges by titles, each at the left of several columns. Heads over groups of
/// columns have none at the left, over the names of the rows.
fn entitled(all: &[TextPiece], titles: &PieceRow, below: &PieceRow) -> Option<Vec<u32>> {
    let height = titles.bottom - titles.top;
    let near = below.top.saturating_sub(titles.bottom) <= TITLES_ABOVE * height;
    let named = titles.pieces.iter().all(|at| {
        let text = &all[*at].text;
        !is_value(text) && text.split_whitespace().count() <= LABEL_WORDS
    });
    if titles.pieces.len() < 2 || !near || !named {
        return None;
    }
    let edges: Vec<u32> = titles.pieces.iter().map(|at| all[*at].rect.x).collect();
    let slack = below.pieces.iter().map(|at| all[*at].rect.height).max()?;
    let first = |part: usize| {
        let mut pieces = below
            .pieces
            .iter()
            .filter(|at| part_of(all, **at, &edges) == part);
        let first = pieces.next().map(|at| all[*at].rect.x);
        let aligned = first.is_some_and(|left| left.abs_diff(edges[part]) <= slack);
        aligned && pieces.count() + 1 >= COLUMNS
    };
    (0..edges.len()).all(first).then_some(edges)
}

/// Number of rows from the first on that no text crosses an edge of.
fn block(all: &[TextPiece], rows: &[PieceRow], edges: &[u32]) -> usize {
    let mut bottom = rows[0].bottom;
    let stays = rows.iter().take_while(|row| {
        let height = row.bottom - row.top;
        let near = row.top.saturating_sub(bottom) <= ROWS_APART * height;
        bottom = bottom.max(row.bottom);
        let crosses = row.pieces.iter().any(|at| {
            let rect = &all[*at].rect;
            let left = |edge: &&u32| rect.x + rect.height < **edge && **edge < rect.right();
            edges.iter().any(|edge| left(&edge))
        });
        let before = row
            .pieces
            .iter()
            .any(|at| all[*at].rect.right() <= edges[0]);
        near && !crosses && !before
    });
    stays.count()
}

/// Table that a piece is in: the last one whose edge is not right of it.
fn part_of(all: &[TextPiece], piece: usize, edges: &[u32]) -> usize {
    let rect = &all[piece].rect;
    let left = edges.iter().filter(|edge| **edge <= rect.x + rect.height);
    left.count().saturating_sub(1)
}

//! Rows of a table from rows of text: those between two lines, or those that
//! wrap a cell.

use super::colours::Shade;
use super::grid::PieceRow;
use super::pieces::TextPiece;
use crate::picture::Picture;

/// Maximum rows of text in one row of a table.
pub(super) const WRAPPED: usize = 8;
/// Columns of a picture that are searched for lines between rows.
const PROBES: u32 = 24;
/// Minimum step of luma at a line between rows.
const LINE: i32 = 4;

/// Rows of text of each row of the table.
pub(super) fn grouped(
    all: &[TextPiece],
    rows: &[PieceRow],
    cells: &[Vec<Vec<TextPiece>>],
    picture: &Picture,
) -> Vec<Vec<usize>> {
    let each = || (0..rows.len()).map(|at| vec![at]).collect::<Vec<_>>();
    if rows.len() < 3 {
        return each();
    }
    let parted: Vec<bool> = (rows.windows(2))
        .map(|pair| is_parted(all, &pair[0], &pair[1], picture))
        .collect();
    let lines = parted.iter().filter(|parted| **parted).count();
    let mut groups: Vec<Vec<usize>> = vec![vec![0]];
    if lines >= 2 {
        for at in 1..rows.len() {
            match groups.last_mut().filter(|_| !parted[at - 1]) {
                Some(group) => group.push(at),
                None => groups.push(vec![at]),
            }
        }
        if groups.iter().all(|group| group.len() <= WRAPPED) && is_plausible(&groups, cells) {
            return split_crowded(rows, groups, cells);
        }
    }
    let filled = |at: usize| cells[at].iter().filter(|cell| !cell.is_empty()).count();
    let mut counts: Vec<_> = (0..rows.len()).map(filled).collect();
    counts.sort_unstable();
    let usual = counts[counts.len() / 2].max(2);
    let gap = |at: usize| rows[at].top.saturating_sub(rows[at - 1].bottom);
    let begins = |at: usize| !cells[at][0].is_empty() || filled(at) >= usual;
    let mut gaps: Vec<_> = (1..rows.len()).filter(|at| begins(*at)).map(gap).collect();
    gaps.sort_unstable();
    let between = gaps.get(gaps.len() / 2).copied().unwrap_or_default();
    let near = |at: usize| gap(at) * 10 <= (rows[at].bottom - rows[at].top) * 7;
    // The first lines of a cell that is centred on its row.
    let above = |at: usize| {
        at + 1 < rows.len()
            && filled(at) == 1
            && cells[at][0].is_empty()
            && near(at + 1)
            && gap(at) * 2 > gap(at + 1) * 3
    };
    // Beside the text of a cell of several lines, in other columns.
    let beside = |at: usize| {
        let height = rows[at].bottom - rows[at].top;
        let free =
            (cells[at].iter().zip(&cells[at - 1])).all(|(a, b)| a.is_empty() || b.is_empty());
        rows[at].top + height / 4 <= rows[at - 1].bottom && free
    };
    let wraps = |at: usize, begun: bool| {
        let empty = cells[at][0].is_empty() && filled(at) <= usual.div_ceil(2);
        let close = gap(at) * 2 < between && filled(at) < usual.max(filled(at - 1));
        beside(at) || (near(at) && (empty || close || begun) && !above(at))
    };
    let mut groups: Vec<Vec<usize>> = vec![vec![0]];
    for at in 1..rows.len() {
        let last = groups.last_mut().filter(|group| {
            let begun = group.iter().all(|row| *row > 0 && above(*row));
            group.len() < WRAPPED && wraps(at, begun)
        });
        match last {
            Some(group) => group.push(at),
            None => groups.push(vec![at]),
        }
    }
    groups
}

/// True if few groups are several rows of the table: many would show that lines
/// were missed.
fn is_plausible(groups: &[Vec<usize>], cells: &[Vec<Vec<TextPiece>>]) -> bool {
    let crowded = groups.iter().filter(|group| is_crowded(group, cells));
    crowded.count() * 3 <= groups.len()
}

/// True for a group in which most of the columns with texts have several; of two
/// columns both the same number.
fn is_crowded(group: &[usize], cells: &[Vec<Vec<TextPiece>>]) -> bool {
    let counts: Vec<usize> = (0..cells[group[0]].len())
        .map(|column| {
            let filled = group.iter().filter(|row| !cells[**row][column].is_empty());
            filled.count()
        })
        .filter(|count| *count > 0)
        .collect();
    match counts.as_slice() {
        [first, second] => first == second && *first >= 2,
        [_, _, _, ..] => {
            let several = counts.iter().filter(|count| **count >= 2).count();
            several * 10 > counts.len() * 7
        }
        _ => false,
    }
}

/// Parts crowded groups into rows that are as far apart as those of the table: a
/// line between them was missed.
fn split_crowded(
    rows: &[PieceRow],
    groups: Vec<Vec<usize>>,
    cells: &[Vec<Vec<TextPiece>>],
) -> Vec<Vec<usize>> {
    let mut steps: Vec<u32> = (groups.windows(2))
        .map(|pair| rows[pair[1][0]].top.saturating_sub(rows[pair[0][0]].top))
        .collect();
    steps.sort_unstable();
    // A crowded group is higher than the others.
    let usual = steps.get(steps.len().saturating_sub(1) / 2);
    let usual = usual.copied().unwrap_or(u32::MAX);
    let mut split: Vec<Vec<usize>> = Vec::new();
    for group in groups {
        let crowded = is_crowded(&group, cells);
        for (nth, at) in group.iter().enumerate() {
            let apart = nth > 0 && rows[*at].top.saturating_sub(rows[at - 1].top) * 10 >= usual * 8;
            match split.last_mut().filter(|_| nth > 0 && !(crowded && apart)) {
                Some(row) => row.push(*at),
                None => split.push(vec![*at]),
            }
        }
    }
    split
}

/// True if a line or a change of surface is drawn between two rows.
fn is_parted(all: &[TextPiece], upper: &PieceRow, lower: &PieceRow, picture: &Picture) -> bool {
    let last = picture.height.saturating_sub(1);
    let rects = || (upper.pieces.iter().chain(&lower.pieces)).map(|at| all[*at].rect);
    let left = rects().map(|rect| rect.x).min().unwrap_or_default();
    let right = rects().map(|rect| rect.right()).max().unwrap_or_default();
    let right = right.min(picture.width.saturating_sub(1));
    let columns = || (0..PROBES).map(|at| left + right.saturating_sub(left) * at / PROBES);
    let is_edge = |x: u32, y: u32| {
        let (here, below) = (Shade::at(picture, x, y), Shade::at(picture, x, y + 1));
        (here.y - below.y).abs() >= LINE
    };
    let (top, bottom) = (upper.bottom, lower.top.min(last));
    if top + 2 <= bottom {
        let edges = columns().filter(|x| (top..bottom).any(|y| is_edge(*x, y)));
        if edges.count() as u32 * 10 >= PROBES * 6 {
            return true;
        }
    }
    // Boxes of text may cover the line: then most of it is in one row of pixels.
    let reach = (upper.bottom - upper.top).min(lower.bottom - lower.top) / 4;
    let covered = top.saturating_sub(reach)..(bottom + reach).min(last);
    covered
        .filter(|y| columns().filter(|x| is_edge(*x, *y)).count() as u32 * 10 >= PROBES * 8)
        .count()
        > 0
}

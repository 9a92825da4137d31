//! Pixel-level motion, finer than the change gate: OCR results are reused only
//! where the picture is the same.

use crate::picture::{Picture, Rect};

/// Side of a compared cell in pixels.
pub(super) const CELL: u32 = 8;
/// Minimum difference of a changed sample, and minimum changed samples of a
/// cell.
const SAMPLE_STEP: u8 = 20;
const CELL_SAMPLES: usize = 5;
/// Largest difference of a sample between two encodings of a still picture.
const CODING_STEP: u8 = 6;

/// Motion flags per cell, row by row, between two pictures of one size.
pub(super) fn cells(old: &Picture, new: &Picture) -> Vec<bool> {
    let (width, cell) = (new.width as usize, CELL as usize);
    let columns = width.div_ceil(cell);
    let mut moved = Vec::with_capacity(columns * (new.height as usize).div_ceil(cell));
    let mut counts = vec![0usize; columns];
    let rows = old
        .y
        .chunks(width.max(1) * cell)
        .zip(new.y.chunks(width.max(1) * cell));
    for (old, new) in rows {
        counts.fill(0);
        for (old, new) in old.chunks(width).zip(new.chunks(width)) {
            let cells = old.chunks(cell).zip(new.chunks(cell));
            for (count, (old, new)) in counts.iter_mut().zip(cells) {
                *count += far(old, new);
            }
        }
        moved.extend(counts.iter().map(|count| *count > CELL_SAMPLES));
    }
    moved
}

/// Marks the cells between two moved ones of a row, where these are as near as
/// words of one line.
pub(super) fn close_gaps(cells: &mut [bool], columns: u32, widest: usize) {
    for row in cells.chunks_mut(columns.max(1) as usize) {
        let mut last = None;
        for at in 0..row.len() {
            if !row[at] {
                continue;
            }
            if let Some(last) = last.filter(|last| at - last <= widest + 1) {
                row[last..at].fill(true);
            }
            last = Some(at);
        }
    }
}

/// True if a sample of the rectangle differs by more than between two encodings
/// of a still picture.
pub(super) fn sharpened(old: &Picture, new: &Picture, rect: &Rect) -> bool {
    let width = new.width as usize;
    let columns = rect.x as usize..(rect.right().min(new.width)) as usize;
    (rect.y..rect.bottom().min(new.height)).any(|y| {
        let at = y as usize * width;
        let row = at + columns.start..at + columns.end;
        let samples = old.y[row.clone()].iter().zip(&new.y[row]);
        samples
            .into_iter()
            .any(|(a, b)| a.abs_diff(*b) > CODING_STEP)
    })
}

/// True if the rectangle is unchanged except for a vertical shift by `down`
/// rows.
pub(super) fn same(old: &Picture, new: &Picture, rect: &Rect, down: i32) -> bool {
    let (width, cell) = (new.width as usize, CELL as usize);
    let (Some(top), Some(bottom)) = (
        rect.y.checked_add_signed(-down),
        rect.bottom().checked_add_signed(-down),
    ) else {
        return false;
    };
    if bottom > old.height || rect.bottom() > new.height || rect.right() > new.width {
        return false;
    }
    let (left, right) = (rect.x as usize, rect.right() as usize);
    let row = |picture: &Picture, y: u32| {
        let at = y as usize * width;
        at + left..(at + right).min(picture.y.len())
    };
    let mut counts = vec![0usize; (right - left).div_ceil(cell)];
    for (index, y) in (rect.y..rect.bottom()).enumerate() {
        if index % cell == 0 {
            counts.fill(0);
        }
        let olds = old.y[row(old, top + index as u32)].chunks(cell);
        let news = new.y[row(new, y)].chunks(cell);
        for (count, (old, new)) in counts.iter_mut().zip(olds.zip(news)) {
            *count += far(old, new);
            if *count > CELL_SAMPLES {
                return false;
            }
        }
    }
    true
}

fn far(old: &[u8], new: &[u8]) -> usize {
    let samples = old.iter().zip(new);
    samples
        .filter(|(a, b)| a.abs_diff(**b) > SAMPLE_STEP)
        .count()
}

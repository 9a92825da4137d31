//! Pieces of a line, scaled to the height of a recogniser's input.

use std::ops::Range;
use std::rc::Rc;

use super::ReadError;
use super::rgb_buffer::RgbBuffer;
use crate::picture::Rect;

/// Height in pixels to which every line is scaled. A smaller height with a
/// margin above and below takes fewer columns, but letters of 11 pixels are
/// read worse.
pub(super) const HEIGHT: u32 = 48;
/// Alignment of a line's width, in columns: two steps.
pub(super) const STRIDE: u32 = 16;
/// Picture columns per step.
pub(super) const STEP: u32 = 8;
/// Columns searched at the end of a piece for the emptiest one, where it is
/// cut.
const SEAM: u32 = 96;

/// Part of a line that the network reads at once.
pub(super) struct Piece {
    /// Index of its line.
    pub(super) line: usize,
    /// Pixels of the whole line.
    pub(super) pixels: Rc<RgbBuffer>,
    pub(super) columns: Range<u32>,
}

impl Piece {
    pub(super) fn width(&self) -> u32 {
        (self.columns.end - self.columns.start).next_multiple_of(STRIDE)
    }
}

/// Width of a line scaled to [`HEIGHT`], in columns.
pub(super) fn columns(rect: &Rect) -> u32 {
    (rect.width * HEIGHT)
        .div_ceil(rect.height.max(1))
        .max(STRIDE)
}

/// Pieces of at most `longest` columns of a line of the picture, of which
/// `image` is the part `seen`; `line` is its index.
pub(super) fn pieces(
    image: &RgbBuffer,
    seen: &Rect,
    rect: &Rect,
    line: usize,
    longest: u32,
) -> Result<Vec<Piece>, ReadError> {
    let there = Rect {
        x: rect.x - seen.x,
        y: rect.y - seen.y,
        ..*rect
    };
    let pixels = Rc::new(image.resized(&there, columns(rect), HEIGHT)?);
    let cuts = cuts(&pixels, longest).into_iter();
    Ok(cuts
        .map(|columns| Piece {
            line,
            pixels: Rc::clone(&pixels),
            columns,
        })
        .collect())
}

/// Ranges of a line that fit the network, each cut at the emptiest column.
fn cuts(line: &RgbBuffer, longest: u32) -> Vec<Range<u32>> {
    let mut pieces = Vec::new();
    let mut from = 0;
    while line.width() - from > longest {
        let latest = from + longest;
        let seam = (latest - SEAM..latest).rev();
        let end = seam.min_by_key(|x| ink(line, *x)).unwrap_or(latest);
        pieces.push(from..end);
        from = end;
    }
    pieces.push(from..line.width());
    pieces
}

/// Contrast of a column: difference between its brightest and darkest pixel.
fn ink(line: &RgbBuffer, x: u32) -> u8 {
    let column = (0..line.height()).map(|y| line.pixel(x, y)[1]);
    let (dark, bright) = column.fold((u8::MAX, 0), |(dark, bright), value| {
        (dark.min(value), bright.max(value))
    });
    bright.saturating_sub(dark)
}

/// Fills the input with pieces, channels first (blue, green, red), from -1 to
/// 1, each padded with grey to a width.
pub(super) fn fill(values: &mut Vec<f32>, pieces: &[&Piece], width: u32) {
    let (width, height) = (width as usize, HEIGHT as usize);
    values.clear();
    values.resize(pieces.len() * 3 * height * width, 0.0);
    let planes = values.chunks_exact_mut(height * width);
    for (at, plane) in planes.enumerate() {
        let (piece, channel) = (pieces[at / 3], 2 - at % 3);
        let columns = piece.columns.start as usize..piece.columns.end as usize;
        let rows = plane.chunks_exact_mut(width);
        for (row, values) in piece.pixels.rows().zip(rows) {
            for (pixel, value) in row[columns.clone()].iter().zip(values) {
                *value = f32::from(pixel[channel]) * (1.0 / 127.5) - 1.0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_any_length_is_read_in_pieces_cut_between_letters() {
        // Letters of 30 columns, 10 apart.
        let line = RgbBuffer::from_fn(15_000, HEIGHT, |x, y| {
            let drawn = x % 40 < 30 && y % 7 < 3;
            [if drawn { 255 } else { 20 }; 3]
        });
        let pieces = cuts(&line, 6400);
        assert_eq!(pieces.len(), 3);
        assert_eq!((pieces[0].start, pieces[2].end), (0, 15_000));
        for pair in pieces.windows(2) {
            assert_eq!(pair[0].end, pair[1].start, "nothing is left out");
            assert!(pair[0].len() <= 6400);
            assert!(pair[0].end % 40 >= 30, "through a letter: {pair:?}");
        }
        let short = RgbBuffer::from_fn(6400, HEIGHT, |_, _| [0; 3]);
        assert_eq!(cuts(&short, 6400).len(), 1);
    }
}

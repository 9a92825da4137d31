//! Luma plane of a picture at half its size, and motion between two.

use crate::picture::Picture;

/// Side of a tile in averaged samples.
pub(super) const TILE: usize = 16;
/// Side of a tile in pixels of the picture.
pub(super) const TILE_PIXELS: u32 = 2 * TILE as u32;

/// Minimum luma difference of a changed sample: on a clean stream, and on one
/// of a low-bitrate encoder.
const FINE: u8 = 24;
const COARSE: u8 = 64;

/// Samples of a tile above each difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Moved {
    pub(super) fine: u16,
    pub(super) coarse: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Luma {
    /// Size in pixels of the averaged picture: an odd row or column has no
    /// sample.
    pub(super) picture: (u32, u32),
    pub(super) width: usize,
    samples: Vec<u8>,
}

impl Luma {
    /// Averages a picture into the buffer of an older one.
    pub(super) fn take(&mut self, picture: &Picture) {
        let stride = picture.width as usize;
        let (width, height) = (stride / 2, picture.height as usize / 2);
        self.picture = (picture.width, picture.height);
        self.width = width;
        self.samples.resize(width * height, 0);
        let rows = picture.y.chunks_exact(2 * stride.max(1));
        for (half, rows) in self.samples.chunks_exact_mut(width.max(1)).zip(rows) {
            let (upper, lower) = rows.split_at(stride);
            let pairs = upper.chunks_exact(2).zip(lower.chunks_exact(2));
            for (sample, (a, b)) in half.iter_mut().zip(pairs) {
                // Pairs as words, which the compiler vectorises.
                let (a, b) = (
                    u16::from_le_bytes([a[0], a[1]]),
                    u16::from_le_bytes([b[0], b[1]]),
                );
                let sum = (a & 0xff) + (a >> 8) + (b & 0xff) + (b >> 8);
                // Four bytes' mean fits a byte.
                *sample = (sum >> 2) as u8;
            }
        }
    }

    pub(super) fn columns(&self) -> usize {
        self.width.div_ceil(TILE)
    }

    pub(super) fn rows(&self) -> usize {
        let height = self.samples.len().checked_div(self.width).unwrap_or(0);
        height.div_ceil(TILE)
    }

    /// Differences per tile, row by row, from another picture of the same size.
    pub(super) fn moved(&self, other: &Self, moved: &mut Vec<Moved>) {
        moved.clear();
        moved.resize(self.columns() * self.rows(), Moved::default());
        let bands = self.samples.chunks(self.width * TILE);
        let others = other.samples.chunks(self.width * TILE);
        for (band, counts) in bands
            .zip(others)
            .zip(moved.chunks_mut(self.columns().max(1)))
        {
            let rows = band
                .0
                .chunks_exact(self.width)
                .zip(band.1.chunks_exact(self.width));
            for (mine, theirs) in rows {
                let tiles = mine.chunks(TILE).zip(theirs.chunks(TILE));
                for (count, (mine, theirs)) in counts.iter_mut().zip(tiles) {
                    let row = row_of(mine, theirs);
                    count.fine += row.fine;
                    count.coarse += row.coarse;
                }
            }
        }
    }

    /// Copies one tile of another picture of the same size.
    pub(super) fn copy_tile(&mut self, other: &Self, tile: usize) {
        let (column, row) = (tile % self.columns(), tile / self.columns());
        let left = column * TILE;
        let right = (left + TILE).min(self.width);
        let height = self.samples.len() / self.width;
        for y in row * TILE..((row + 1) * TILE).min(height) {
            let span = y * self.width + left..y * self.width + right;
            self.samples[span.clone()].copy_from_slice(&other.samples[span]);
        }
    }
}

fn row_of(mine: &[u8], theirs: &[u8]) -> Moved {
    let mut moved = Moved::default();
    if let (Ok(mine), Ok(theirs)) = (
        <&[u8; TILE]>::try_from(mine),
        <&[u8; TILE]>::try_from(theirs),
    ) {
        // Fixed length and byte counters: sixteen samples at once.
        let (mut fine, mut coarse) = (0u8, 0u8);
        for (a, b) in mine.iter().zip(theirs) {
            let distance = a.abs_diff(*b);
            fine += u8::from(distance > FINE);
            coarse += u8::from(distance > COARSE);
        }
        moved.fine = u16::from(fine);
        moved.coarse = u16::from(coarse);
        return moved;
    }
    for (a, b) in mine.iter().zip(theirs) {
        let distance = a.abs_diff(*b);
        moved.fine += u16::from(distance > FINE);
        moved.coarse += u16::from(distance > COARSE);
    }
    moved
}

//! Has the picture changed?
//!
//! Luma averaged two by two, in tiles of 16 by 16 averages, against the
//! picture that last counted as changed, so that slow drift adds up. Encoder
//! noise stays below the per-sample threshold; a row of text added anywhere
//! moves at least one tile over the per-tile one.

use crate::media::Picture;

/// Side of a tile, in averaged samples.
const TILE: usize = 16;
/// How far a sample has to move to count.
const SAMPLE_STEP: u8 = 24;
/// How many samples of a tile have to move for the tile to count.
const TILE_SAMPLES: u32 = 6;

#[derive(Debug, Default)]
pub(super) struct Gate {
    scene: Option<Luma>,
}

#[derive(Debug, PartialEq, Eq)]
struct Luma {
    /// Of the picture averaged: an odd row or column has no sample.
    picture: (u32, u32),
    width: usize,
    samples: Vec<u8>,
}

impl Gate {
    /// Whether the picture differs from the one that last did.
    pub(super) fn changed(&mut self, picture: &Picture) -> bool {
        let luma = Luma::of(picture);
        if self
            .scene
            .as_ref()
            .is_some_and(|scene| !luma.differs(scene))
        {
            return false;
        }
        self.scene = Some(luma);
        true
    }
}

impl Luma {
    fn of(picture: &Picture) -> Self {
        let stride = picture.width as usize;
        let (width, height) = (stride / 2, picture.height as usize / 2);
        let mut samples = Vec::with_capacity(width * height);
        for rows in picture.y.chunks_exact(2 * stride.max(1)) {
            let (upper, lower) = rows.split_at(stride);
            let pairs = upper.chunks_exact(2).zip(lower.chunks_exact(2));
            samples.extend(pairs.map(|(a, b)| {
                let sum = u16::from(a[0]) + u16::from(a[1]) + u16::from(b[0]) + u16::from(b[1]);
                // Four bytes' mean fits a byte.
                (sum / 4) as u8
            }));
        }
        Self {
            picture: (picture.width, picture.height),
            width,
            samples,
        }
    }

    fn differs(&self, other: &Self) -> bool {
        if self.picture != other.picture || self.samples.is_empty() {
            // A picture too small to average has no tiles: call it changed.
            return true;
        }
        let mut moved = vec![0u32; self.width.div_ceil(TILE)];
        let rows = self
            .samples
            .chunks(self.width)
            .zip(other.samples.chunks(self.width));
        for (y, (mine, theirs)) in rows.enumerate() {
            if y % TILE == 0 {
                moved.fill(0);
            }
            let tiles = mine.chunks(TILE).zip(theirs.chunks(TILE));
            for (count, (mine, theirs)) in moved.iter_mut().zip(tiles) {
                let far = mine
                    .iter()
                    .zip(theirs)
                    .filter(|(a, b)| a.abs_diff(**b) > SAMPLE_STEP);
                // A tile row holds at most 16 samples.
                *count += far.count() as u32;
            }
            if moved.iter().any(|count| *count > TILE_SAMPLES) {
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grey(width: u32, height: u32) -> Picture {
        let (w, h) = (width as usize, height as usize);
        Picture {
            width,
            height,
            y: vec![120; w * h],
            u: vec![128; w.div_ceil(2) * h.div_ceil(2)],
            v: vec![128; w.div_ceil(2) * h.div_ceil(2)],
        }
    }

    #[test]
    fn noise_is_no_change_and_a_line_of_text_is() {
        let mut gate = Gate::default();
        let mut picture = grey(320, 240);
        assert!(gate.changed(&picture));
        for (at, sample) in picture.y.iter_mut().enumerate() {
            *sample = sample.wrapping_add((at % 7) as u8);
        }
        assert!(!gate.changed(&picture));
        for x in 40..60 {
            for y in 100..112 {
                picture.y[y * 320 + x] = if (x / 2) % 2 == 0 { 250 } else { 120 };
            }
        }
        assert!(gate.changed(&picture));
        assert!(!gate.changed(&picture));
    }

    #[test]
    fn any_size_is_taken() {
        let mut gate = Gate::default();
        for (width, height) in [(1, 1), (1, 9), (3, 2), (2, 3), (17, 33), (0, 0)] {
            assert!(gate.changed(&grey(width, height)), "{width}x{height}");
        }
    }
}

//! RGB copy of a part of a picture, and its resizing to the networks' input.

use super::ReadError;
use crate::picture::Rect;

/// Pixels of 8-bit red, green and blue, row by row without padding.
pub(super) struct RgbBuffer {
    width: u32,
    height: u32,
    pixels: Vec<[u8; 3]>,
}

impl RgbBuffer {
    /// Creates a buffer from pixels row by row; their number must match the
    /// size.
    pub(super) fn new(width: u32, height: u32, pixels: Vec<[u8; 3]>) -> Self {
        Self {
            width,
            height,
            pixels,
        }
    }

    /// Creates each pixel from its column and row.
    #[cfg(test)]
    pub(super) fn from_fn(
        width: u32,
        height: u32,
        mut pixel: impl FnMut(u32, u32) -> [u8; 3],
    ) -> Self {
        let rows = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
        Self::new(width, height, rows.map(|(x, y)| pixel(x, y)).collect())
    }

    pub(super) fn width(&self) -> u32 {
        self.width
    }

    pub(super) fn height(&self) -> u32 {
        self.height
    }

    pub(super) fn pixel(&self, x: u32, y: u32) -> [u8; 3] {
        self.pixels[y as usize * self.width as usize + x as usize]
    }

    /// Rows from the top, each of `width` pixels.
    pub(super) fn rows(&self) -> impl Iterator<Item = &[[u8; 3]]> {
        self.pixels.chunks_exact(self.width.max(1) as usize)
    }

    /// Rows of a part, which must be within the picture.
    pub(super) fn part(&self, part: &Rect) -> impl Iterator<Item = &[[u8; 3]]> {
        let columns = part.x as usize..part.right() as usize;
        let rows = self.rows().skip(part.y as usize).take(part.height as usize);
        rows.map(move |row| &row[columns.clone()])
    }

    /// Resizes a part of the picture with a triangle filter. Fails if the part
    /// is not within the picture.
    pub(super) fn resized(&self, part: &Rect, width: u32, height: u32) -> Result<Self, ReadError> {
        if part.right() > self.width || part.bottom() > self.height {
            return Err(ReadError(format!(
                "{part:?} is not within {}x{}",
                self.width, self.height
            )));
        }
        let across = Taps::of(part.width, width);
        let down = Taps::of(part.height, height);
        let wide = width as usize * 3;
        let mut rows = Vec::with_capacity(part.height as usize * wide);
        for y in part.y..part.bottom() {
            let start = (y * self.width + part.x) as usize;
            across.widen(&self.pixels[start..start + part.width as usize], &mut rows);
        }
        let mut pixels = Vec::with_capacity(width as usize * height as usize);
        let mut sums = vec![0.0; wide];
        for (first, weights) in down.each() {
            sums.fill(0.5);
            for (row, weight) in rows[first * wide..].chunks_exact(wide.max(1)).zip(weights) {
                for (sum, value) in sums.iter_mut().zip(row) {
                    *sum += weight * value;
                }
            }
            // Weights sum to 1, so a weighted mean of bytes fits a byte.
            let samples = |pixel: &[f32; 3]| pixel.map(|sum| sum as u8);
            pixels.extend(sums.as_chunks().0.iter().map(samples));
        }
        Ok(Self {
            width,
            height,
            pixels,
        })
    }
}

/// Triangle filter along one axis: for each output sample, the first source
/// sample and the weights from there on.
struct Taps {
    first: Vec<usize>,
    /// Weights, equally many per output sample.
    weights: Vec<f32>,
    each: usize,
}

impl Taps {
    fn of(side: u32, resized: u32) -> Self {
        let scale = f64::from(side) / f64::from(resized.max(1));
        let radius = scale.max(1.0);
        let each = ((2.0 * radius).ceil() as usize + 1).min(side as usize);
        let mut taps = Self {
            first: Vec::with_capacity(resized as usize),
            weights: Vec::with_capacity(resized as usize * each),
            each,
        };
        for at in 0..resized {
            let centre = (f64::from(at) + 0.5) * scale - 0.5;
            let first = (centre - radius).ceil().max(0.0) as usize;
            let first = first.min(side as usize - each);
            let weight = |tap: usize| {
                let distance = ((first + tap) as f64 - centre).abs();
                (1.0 - distance / radius).max(0.0)
            };
            let sum: f64 = (0..each).map(weight).sum();
            taps.first.push(first);
            taps.weights
                .extend((0..each).map(|tap| (weight(tap) / sum) as f32));
        }
        taps
    }

    fn each(&self) -> impl Iterator<Item = (usize, &[f32])> {
        let weights = self.weights.chunks_exact(self.each.max(1));
        self.first.iter().copied().zip(weights)
    }

    /// Adds a row of the output's width, with three values per pixel.
    fn widen(&self, row: &[[u8; 3]], into: &mut Vec<f32>) {
        for (first, weights) in self.each() {
            let mut sums = [0.0; 3];
            for (pixel, weight) in row[first..].iter().zip(weights) {
                for (sum, sample) in sums.iter_mut().zip(pixel) {
                    *sum += weight * f32::from(*sample);
                }
            }
            into.extend(sums);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Noise, so that any wrongly used or omitted pixel shows.
    fn noise(width: u32, height: u32) -> RgbBuffer {
        RgbBuffer::from_fn(width, height, |x, y| {
            let mixed = (x * 7919 + y * 104_729 + 1).wrapping_mul(2_654_435_761);
            let [_, red, green, blue] = mixed.to_be_bytes();
            // Black and white too, where rounding must saturate.
            if mixed.is_multiple_of(5) {
                [0, 255, 255 * (red & 1)]
            } else {
                [red, green, blue]
            }
        })
    }

    /// Source samples and their weights in an output sample.
    fn weights(side: u32, resized: u32, at: u32) -> Vec<(u32, f64)> {
        let scale = f64::from(side) / f64::from(resized);
        let radius = scale.max(1.0);
        let centre = (f64::from(at) + 0.5) * scale;
        let weight = |sample: u32| 1.0 - ((f64::from(sample) + 0.5 - centre) / radius).abs();
        let near: Vec<_> = (0..side)
            .map(|sample| (sample, weight(sample)))
            .filter(|(_, weight)| *weight > 0.0)
            .collect();
        let sum: f64 = near.iter().map(|(_, weight)| weight).sum();
        near.into_iter()
            .map(|(sample, weight)| (sample, weight / sum))
            .collect()
    }

    /// Reference triangle filter, by its definition, on a copy of the part.
    fn reference(picture: &RgbBuffer, part: &Rect, width: u32, height: u32) -> RgbBuffer {
        RgbBuffer::from_fn(width, height, |x, y| {
            let mut sums = [0.0_f64; 3];
            let across = weights(part.width, width, x);
            for (row, down) in weights(part.height, height, y) {
                for (column, across) in &across {
                    let pixel = picture.pixel(part.x + column, part.y + row);
                    for (sum, sample) in sums.iter_mut().zip(pixel) {
                        *sum += f64::from(sample) * down * across;
                    }
                }
            }
            sums.map(|sum| sum.round() as u8)
        })
    }

    #[test]
    fn resizing_is_the_triangle_filter_on_the_part_alone() {
        let picture = noise(97, 61);
        let rect = |x, y, width, height| Rect {
            x,
            y,
            width,
            height,
        };
        let parts = [
            rect(0, 0, 97, 61),
            rect(13, 7, 51, 37),
            rect(46, 24, 51, 37),
            rect(5, 60, 33, 1),
        ];
        // Smaller, larger, each axis separately, and the same size.
        let sizes = [
            (17, 9),
            (1, 1),
            (131, 75),
            (203, 48),
            (23, 101),
            (51, 48),
            (29, 37),
            (51, 37),
        ];
        for part in &parts {
            for (width, height) in sizes {
                let resized = picture.resized(part, width, height).unwrap();
                let expected = reference(&picture, part, width, height);
                assert_eq!((resized.width(), resized.height()), (width, height));
                assert_eq!(resized.rows().count(), height as usize);
                let samples = resized.pixels.as_flattened().iter();
                for (at, (sample, right)) in samples.zip(expected.pixels.as_flattened()).enumerate()
                {
                    assert!(
                        sample.abs_diff(*right) <= 1,
                        "{part:?} to {width}x{height}, sample {at}: {sample}, not {right}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_part_of_the_same_size_is_copied() {
        let picture = noise(31, 17);
        let part = Rect {
            x: 3,
            y: 5,
            width: 19,
            height: 11,
        };
        let copy = picture.resized(&part, 19, 11).unwrap();
        let same = RgbBuffer::from_fn(19, 11, |x, y| picture.pixel(3 + x, 5 + y));
        assert_eq!(copy.pixels, same.pixels);
    }

    #[test]
    fn a_part_outside_of_the_picture_is_refused() {
        let picture = noise(31, 17);
        let part = Rect {
            x: 20,
            y: 5,
            width: 12,
            height: 11,
        };
        assert!(picture.resized(&part, 16, 48).is_err());
    }
}

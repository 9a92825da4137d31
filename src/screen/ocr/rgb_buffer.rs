//! Part of a picture in red, green and blue, and its resizing to what the
//! networks take.

use std::cell::RefCell;
use std::fmt::Display;

use fast_image_resize::images::{TypedCroppedImage, TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};

use super::ReadError;
use crate::picture::Rect;

thread_local! {
    /// Scratch memory, kept from line to line.
    static RESIZER: RefCell<Resizer> = RefCell::new(Resizer::new());
}

/// Pixels of 8-bit red, green and blue, row by row without padding.
pub(super) struct RgbBuffer {
    width: u32,
    height: u32,
    pixels: Vec<[u8; 3]>,
}

impl RgbBuffer {
    /// Makes each pixel from its column and row.
    pub(super) fn from_fn(
        width: u32,
        height: u32,
        mut pixel: impl FnMut(u32, u32) -> [u8; 3],
    ) -> Self {
        let mut pixels = Vec::with_capacity(width as usize * height as usize);
        for y in 0..height {
            pixels.extend((0..width).map(|x| pixel(x, y)));
        }
        Self {
            width,
            height,
            pixels,
        }
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

    /// Resizes a part of the picture with a triangle filter. Fails if the part
    /// is not within the picture.
    pub(super) fn resized(&self, part: &Rect, width: u32, height: u32) -> Result<Self, ReadError> {
        let samples = self.pixels.as_flattened();
        let whole = TypedImageRef::<U8x3>::from_buffer(self.width, self.height, samples)
            .map_err(not_resized)?;
        // A view, not the resizer's own crop option: that one lets pixels
        // around the part bleed into its edges.
        let source = TypedCroppedImage::new(whole, part.x, part.y, part.width, part.height)
            .map_err(not_resized)?;
        let mut pixels = vec![[0_u8; 3]; width as usize * height as usize];
        let mut target = TypedImage::<U8x3>::from_buffer(width, height, pixels.as_flattened_mut())
            .map_err(not_resized)?;
        let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
        // Typed, as otherwise the compiler builds it for each type of pixel.
        RESIZER
            .with_borrow_mut(|resizer| resizer.resize_typed(&source, &mut target, &options))
            .map_err(not_resized)?;
        Ok(Self {
            width,
            height,
            pixels,
        })
    }
}

fn not_resized(error: impl Display) -> ReadError {
    ReadError(format!("the picture can't be resized: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Noise, so that each pixel that is wrongly used or left out shows.
    fn noise(width: u32, height: u32) -> RgbBuffer {
        RgbBuffer::from_fn(width, height, |x, y| {
            let mixed = (x * 7919 + y * 104_729 + 1).wrapping_mul(2_654_435_761);
            let [_, red, green, blue] = mixed.to_be_bytes();
            // Black and white too, where rounding has to saturate.
            if mixed.is_multiple_of(5) {
                [0, 255, 255 * (red & 1)]
            } else {
                [red, green, blue]
            }
        })
    }

    /// Samples of a side and their weights in a sample of the resized side.
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

    /// The triangle filter as it is defined, on a copy of nothing but the part.
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
        // Smaller, larger, across and down apart, and the same.
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

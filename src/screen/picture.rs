//! Pictures, rectangles on them, and their encoding.

use std::fmt;

use bytes::Bytes;

/// Rectangle in pixels of its picture, origin at the top left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Rect {
    pub x: u32,
    pub y: u32,
    pub width: u32,
    pub height: u32,
}

impl Rect {
    pub fn right(&self) -> u32 {
        self.x.saturating_add(self.width)
    }

    pub fn bottom(&self) -> u32 {
        self.y.saturating_add(self.height)
    }

    pub fn area(&self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }

    /// True if they overlap.
    pub fn meets(&self, other: &Self) -> bool {
        self.x < other.right()
            && other.x < self.right()
            && self.y < other.bottom()
            && other.y < self.bottom()
    }

    /// Bounding rectangle of both.
    pub fn with(&self, other: &Self) -> Self {
        let (x, y) = (self.x.min(other.x), self.y.min(other.y));
        Self {
            x,
            y,
            width: self.right().max(other.right()) - x,
            height: self.bottom().max(other.bottom()) - y,
        }
    }

    /// Rectangle grown by a margin on every side, clipped to a picture of that
    /// size.
    pub fn grown(&self, margin: u32, width: u32, height: u32) -> Self {
        let (x, y) = (self.x.saturating_sub(margin), self.y.saturating_sub(margin));
        Self {
            x,
            y,
            width: self
                .right()
                .saturating_add(margin)
                .min(width)
                .saturating_sub(x),
            height: self
                .bottom()
                .saturating_add(margin)
                .min(height)
                .saturating_sub(y),
        }
    }

    /// Rectangle from `[ymin, xmin, ymax, xmax]` in thousandths of a picture of
    /// that size.
    pub fn from_thousandths(bounds: [u16; 4], width: u32, height: u32) -> Self {
        let [top, left, bottom, right] = bounds;
        let at = |thousandths: u16, side: u32| u32::from(thousandths) * side / 1000;
        let (x, y) = (at(left, width), at(top, height));
        Self {
            x,
            y,
            width: at(right, width).saturating_sub(x),
            height: at(bottom, height).saturating_sub(y),
        }
    }

    /// `[ymin, xmin, ymax, xmax]` in thousandths of a picture of that size.
    pub fn thousandths(&self, width: u32, height: u32) -> [u16; 4] {
        // At most 1000.
        let share =
            |at: u32, side: u32| (u64::from(at.min(side)) * 1000 / u64::from(side.max(1))) as u16;
        [
            share(self.y, height),
            share(self.x, width),
            share(self.bottom(), height),
            share(self.right(), width),
        ]
    }
}

/// Line of text read off a picture.
#[derive(Debug, Clone, PartialEq)]
pub struct TextLine {
    pub text: String,
    pub rect: Rect,
    /// Mean probability of its characters, 0 to 1.
    pub confidence: f32,
}

/// Decoded picture: 8-bit planar 4:2:0, full range, BT.601 matrix (as in JFIF),
/// planes without padding.
///
/// `y` holds `width * height` samples; `u` and `v` hold
/// `width.div_ceil(2) * height.div_ceil(2)` each.
#[derive(Clone, PartialEq, Eq)]
pub struct Picture {
    pub width: u32,
    pub height: u32,
    pub y: Vec<u8>,
    pub u: Vec<u8>,
    pub v: Vec<u8>,
}

impl fmt::Debug for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Picture({}x{})", self.width, self.height)
    }
}

impl Picture {
    /// Blank picture.
    pub fn grey(width: u32, height: u32) -> Self {
        let (w, h) = (width as usize, height as usize);
        let chroma = w.div_ceil(2) * h.div_ceil(2);
        Self {
            width,
            height,
            y: vec![120; w * h],
            u: vec![128; chroma],
            v: vec![128; chroma],
        }
    }
}

impl Picture {
    /// Picture at half the width and height, each sample the mean of four.
    pub fn halved(&self) -> Self {
        let (width, height) = (self.width as usize, self.height as usize);
        let (half_width, half_height) = (width.div_ceil(2), height.div_ceil(2));
        Self {
            width: half_width as u32,
            height: half_height as u32,
            y: halve(&self.y, width, height),
            u: halve(&self.u, half_width, half_height),
            v: halve(&self.v, half_width, half_height),
        }
    }

    /// Part of the picture, from an even column and row.
    pub fn crop(&self, part: Rect) -> Self {
        let (left, top) = (part.x.min(self.width) & !1, part.y.min(self.height) & !1);
        let (right, bottom) = (part.right().min(self.width), part.bottom().min(self.height));
        let (width, height) = (right.saturating_sub(left), bottom.saturating_sub(top));
        let cut = |plane: &[u8], stride: u32, x: u32, y: u32, width: u32, height: u32| {
            let mut samples = Vec::with_capacity((width * height) as usize);
            for row in y..y + height {
                let at = (row * stride + x) as usize;
                samples.extend_from_slice(&plane[at..at + width as usize]);
            }
            samples
        };
        let chroma = self.width.div_ceil(2);
        let (x, y) = (left / 2, top / 2);
        let (half_width, half_height) = (width.div_ceil(2), height.div_ceil(2));
        Self {
            width,
            height,
            y: cut(&self.y, self.width, left, top, width, height),
            u: cut(&self.u, chroma, x, y, half_width, half_height),
            v: cut(&self.v, chroma, x, y, half_width, half_height),
        }
    }

    /// Copies a part of another picture of the same size, with the odd column
    /// or row beside it that shares its chroma samples.
    pub fn paste(&mut self, from: &Self, part: &Rect) {
        let (right, bottom) = (part.right().min(self.width), part.bottom().min(self.height));
        let mut put = |plane: fn(&mut Self) -> &mut Vec<u8>, source: &[u8], halves: u32| {
            let stride = self.width.div_ceil(halves) as usize;
            let columns = (part.x / halves) as usize..right.div_ceil(halves) as usize;
            if columns.is_empty() {
                return;
            }
            for row in part.y / halves..bottom.div_ceil(halves) {
                let at = row as usize * stride;
                let samples = at + columns.start..at + columns.end;
                plane(self)[samples.clone()].copy_from_slice(&source[samples]);
            }
        };
        put(|picture| &mut picture.y, &from.y, 1);
        put(|picture| &mut picture.u, &from.u, 2);
        put(|picture| &mut picture.v, &from.v, 2);
    }

    /// Picture at twice the width and height; samples in between are means
    /// (linear interpolation).
    pub fn doubled(&self) -> Self {
        let (width, height) = (self.width as usize, self.height as usize);
        Self {
            width: self.width * 2,
            height: self.height * 2,
            y: double(&self.y, width, (width * 2, height * 2)),
            u: double(&self.u, width.div_ceil(2), (width, height)),
            v: double(&self.v, width.div_ceil(2), (width, height)),
        }
    }

    /// Picture with those rectangles black, clipped to it.
    pub fn without(&self, covered: &[Rect]) -> Self {
        let mut picture = self.clone();
        let (width, height) = (self.width, self.height);
        for rect in covered {
            let right = rect.x.saturating_add(rect.width).min(width);
            let bottom = rect.y.saturating_add(rect.height).min(height);
            let (left, top) = (rect.x.min(right), rect.y.min(bottom));
            fill(&mut picture.y, width, (left, right), (top, bottom), 0);
            let half = width.div_ceil(2);
            let (across, down) = ((left / 2, right.div_ceil(2)), (top / 2, bottom.div_ceil(2)));
            // Neutral chroma.
            fill(&mut picture.u, half, across, down, 128);
            fill(&mut picture.v, half, across, down, 128);
        }
        picture
    }
}

fn fill(plane: &mut [u8], width: u32, across: (u32, u32), down: (u32, u32), value: u8) {
    for y in down.0..down.1 {
        let row = (y * width) as usize;
        plane[row + across.0 as usize..row + across.1 as usize].fill(value);
    }
}

/// Plane at half size; `size` is that of the result, which may lack a last
/// column or row.
fn double(plane: &[u8], stride: usize, size: (usize, usize)) -> Vec<u8> {
    let rows = plane.len() / stride.max(1);
    let mut doubled = Vec::with_capacity(size.0 * size.1);
    for y in 0..size.1 {
        let upper = &plane[(y / 2) * stride..][..stride];
        let lower = &plane[(y.div_ceil(2)).min(rows - 1) * stride..][..stride];
        for x in 0..size.0 {
            let (here, next) = (x / 2, x.div_ceil(2).min(stride - 1));
            let sum = [upper[here], upper[next], lower[here], lower[next]];
            // The mean of four bytes is a byte.
            doubled.push((sum.map(u32::from).iter().sum::<u32>() / 4) as u8);
        }
    }
    doubled
}

/// Plane averaged by four; at an odd edge the last sample counts twice.
fn halve(plane: &[u8], width: usize, height: usize) -> Vec<u8> {
    let mut half = Vec::with_capacity(width.div_ceil(2) * height.div_ceil(2));
    for y in (0..height).step_by(2) {
        let upper = &plane[y * width..][..width];
        let lower = &plane[(y + 1).min(height - 1) * width..][..width];
        for x in (0..width).step_by(2) {
            let next = (x + 1).min(width - 1);
            let sum = [upper[x], upper[next], lower[x], lower[next]];
            // The mean of four bytes is a byte.
            half.push((sum.map(u32::from).iter().sum::<u32>() / 4) as u8);
        }
    }
    half
}

/// Encoder of a picture as a baseline JPEG of the same size. Injected by the
/// decoder, so that this wing needs no codec.
pub type EncodeJpeg = fn(&Picture) -> Result<Bytes, EncodeError>;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("failed to encode a {width}x{height} picture as JPEG: {reason}")]
pub struct EncodeError {
    pub width: u32,
    pub height: u32,
    pub reason: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn picture_is_halved_down_to_one_sample() {
        let picture = Picture {
            width: 3,
            height: 2,
            y: vec![0, 4, 9, 8, 12, 11],
            u: vec![100, 102],
            v: vec![255, 255],
        };
        let half = picture.halved();
        assert_eq!((half.width, half.height), (2, 1));
        assert_eq!(
            (half.y.clone(), half.u.clone(), half.v.clone()),
            (vec![6, 10], vec![101], vec![255])
        );
        let quarter = half.halved();
        assert_eq!((quarter.width, quarter.height), (1, 1));
        assert_eq!(quarter.halved(), quarter);
    }

    #[test]
    fn part_is_cropped_and_enlarged() {
        let picture = Picture {
            width: 4,
            height: 3,
            y: (0..12).collect(),
            u: vec![1, 2, 3, 4],
            v: vec![5, 6, 7, 8],
        };
        let part = Rect {
            x: 3,
            y: 1,
            width: 9,
            height: 1,
        };
        let cut = picture.crop(part);
        assert_eq!((cut.width, cut.height), (2, 2));
        assert_eq!((cut.y.clone(), cut.u.clone()), (vec![2, 3, 6, 7], vec![2]));
        let twice = cut.doubled();
        assert_eq!((twice.width, twice.height), (4, 4));
        assert_eq!(twice.y[..4], [2, 2, 3, 3]);
        assert_eq!((twice.y.len(), twice.u.len()), (16, 4));
    }

    #[test]
    fn rectangles_are_converted_and_compared() {
        let rect = Rect {
            x: 10,
            y: 20,
            width: 30,
            height: 10,
        };
        assert_eq!(rect.thousandths(100, 200), [100, 100, 150, 400]);
        let grown = rect.grown(15, 50, 40);
        assert_eq!((grown.x, grown.y), (0, 5));
        assert_eq!((grown.right(), grown.bottom()), (50, 40));
        assert!(rect.meets(&grown) && !rect.meets(&Rect { x: 40, ..rect }));
    }
}

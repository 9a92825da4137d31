//! Text detection: a probability per pixel, then a box around each connected
//! region (differentiable binarization, arXiv 1911.08947).

use super::ReadError;
use super::engine::Network;
use super::rgb_buffer::RgbBuffer;
use crate::picture::Rect;

/// Input alignment in pixels: the network halves its input five times.
const STRIDE: u32 = 32;
/// Maximum number of pixels given to the network: 2560x1600. Larger parts are
/// scaled down for detection only; lines are recognised at full resolution.
const MOST_PIXELS: f32 = 4_096_000.0;
/// Minimum probability of a text pixel.
const PIXEL: f32 = 0.2;
/// Minimum mean probability of a text region.
const BLOB: f32 = 0.4;
/// Growth factor of a box, as the network is trained on shrunken lines: it
/// grows by area * this / perimeter.
const UNCLIP: f32 = 1.4;
/// ImageNet mean and deviation, in the order blue, green, red as in training.
const MEAN: [f32; 3] = [0.485, 0.456, 0.406];
const DEVIATION: [f32; 3] = [0.229, 0.224, 0.225];

#[derive(Debug)]
pub(super) struct Detector {
    network: Network,
    /// Buffer for the network's input, reused for its output.
    values: Vec<f32>,
    map: Vec<f32>,
}

impl Detector {
    pub(super) fn new(network: Network) -> Self {
        Self {
            network,
            values: Vec::new(),
            map: Vec::new(),
        }
    }

    /// Boxes of all lines in a block of an image, in the image's coordinates.
    pub(super) fn detect(
        &mut self,
        image: &RgbBuffer,
        block: &Rect,
    ) -> Result<Vec<Rect>, ReadError> {
        let (width, height) = (block.width, block.height);
        let shrink = (MOST_PIXELS / (width as f32 * height as f32))
            .sqrt()
            .min(1.0);
        let shrunk;
        let (seen, at) = if shrink < 1.0 {
            let side = |length: u32| ((length as f32 * shrink) as u32).max(1);
            let (width, height) = (side(width), side(height));
            shrunk = image.resized(block, width, height)?;
            let all = Rect {
                x: 0,
                y: 0,
                width,
                height,
            };
            (&shrunk, all)
        } else {
            (image, *block)
        };
        let shape = fill(&mut self.values, seen, &at);
        let map = &mut self.map;
        let (rows, columns) =
            self.network
                .run(&shape, &self.values, |outputs| match &outputs[..] {
                    [(shape, values)] if shape.len() == 4 => {
                        map.clear();
                        map.extend_from_slice(values);
                        Ok((shape[2], shape[3]))
                    }
                    _ => Err(ReadError("the detector's output is no map".to_owned())),
                })?;
        if columns == 0 || rows == 0 {
            return Ok(Vec::new());
        }
        // Picture pixels per cell of the probability map.
        let across = (at.width.next_multiple_of(STRIDE) as f32 / columns as f32) / shrink;
        let down = (at.height.next_multiple_of(STRIDE) as f32 / rows as f32) / shrink;
        let rects = Blobs::new(&mut self.map, columns)
            .filter_map(|blob| blob.rect(across, down, width, height));
        let there = |rect: Rect| Rect {
            x: rect.x + block.x,
            y: rect.y + block.y,
            ..rect
        };
        Ok(rects.map(there).collect())
    }
}

/// Fills the input: channels first, normalised, padded to the stride; returns
/// its shape.
fn fill(values: &mut Vec<f32>, image: &RgbBuffer, part: &Rect) -> [usize; 4] {
    let width = part.width.next_multiple_of(STRIDE) as usize;
    let height = part.height.next_multiple_of(STRIDE) as usize;
    values.clear();
    values.resize(3 * width * height, 0.0);
    for (channel, plane) in values.chunks_exact_mut(width * height).enumerate() {
        let (scale, mean) = (
            1.0 / (255.0 * DEVIATION[channel]),
            MEAN[channel] / DEVIATION[channel],
        );
        for (row, values) in image.part(part).zip(plane.chunks_exact_mut(width)) {
            for (pixel, value) in row.iter().zip(values) {
                *value = f32::from(pixel[2 - channel]) * scale - mean;
            }
        }
    }
    [1, 3, height, width]
}

/// Connected set of text cells.
struct Blob {
    left: usize,
    top: usize,
    right: usize,
    bottom: usize,
    cells: usize,
    sum: f32,
}

impl Blob {
    fn rect(&self, across: f32, down: f32, width: u32, height: u32) -> Option<Rect> {
        let (columns, rows) = (
            (self.right - self.left) as f32,
            (self.bottom - self.top) as f32,
        );
        if columns < 3.0 || rows < 3.0 || self.sum / (self.cells as f32) < BLOB {
            return None;
        }
        let grow = columns * rows * UNCLIP / (2.0 * (columns + rows));
        let left = ((self.left as f32 - grow) * across).max(0.0) as u32;
        let top = ((self.top as f32 - grow) * down).max(0.0) as u32;
        let right = (((self.right as f32 + grow) * across) as u32).min(width);
        let bottom = (((self.bottom as f32 + grow) * down) as u32).min(height);
        let rect = Rect {
            x: left,
            y: top,
            width: right.checked_sub(left)?,
            height: bottom.checked_sub(top)?,
        };
        (rect.width >= 4 && rect.height >= 6).then_some(rect)
    }
}

/// Iterator over blobs, row by row; visits each cell once.
struct Blobs<'a> {
    map: &'a mut [f32],
    columns: usize,
    next: usize,
    stack: Vec<usize>,
}

impl<'a> Blobs<'a> {
    fn new(map: &'a mut [f32], columns: usize) -> Self {
        Self {
            map,
            columns,
            next: 0,
            stack: Vec::new(),
        }
    }

    /// Removes a cell from the map, so that it is not visited again.
    fn take(&mut self, at: usize) -> Option<f32> {
        let cell = self.map.get_mut(at).filter(|cell| **cell > PIXEL)?;
        Some(std::mem::replace(cell, 0.0))
    }
}

impl Iterator for Blobs<'_> {
    type Item = Blob;

    fn next(&mut self) -> Option<Blob> {
        let first = self.next
            + self.map[self.next..]
                .iter()
                .position(|cell| *cell > PIXEL)?;
        self.next = first + 1;
        let mut blob = Blob {
            left: usize::MAX,
            top: usize::MAX,
            right: 0,
            bottom: 0,
            cells: 0,
            sum: 0.0,
        };
        blob.sum += self.take(first)?;
        self.stack.push(first);
        while let Some(at) = self.stack.pop() {
            let (x, y) = (at % self.columns, at / self.columns);
            blob.left = blob.left.min(x);
            blob.right = blob.right.max(x + 1);
            blob.top = blob.top.min(y);
            blob.bottom = blob.bottom.max(y + 1);
            blob.cells += 1;
            let columns = x.saturating_sub(1)..(x + 2).min(self.columns);
            for row in y.saturating_sub(1)..y + 2 {
                for column in columns.clone() {
                    let neighbour = row * self.columns + column;
                    if let Some(value) = self.take(neighbour) {
                        blob.sum += value;
                        self.stack.push(neighbour);
                    }
                }
            }
        }
        Some(blob)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blobs_are_found_once_each() {
        let mut map = vec![0.0; 20 * 10];
        for (x, y) in [(1, 1), (2, 1), (3, 2), (10, 5), (11, 6)] {
            map[y * 20 + x] = 0.9;
        }
        let blobs: Vec<_> = Blobs::new(&mut map, 20).collect();
        let edges: Vec<_> = blobs
            .iter()
            .map(|b| (b.left, b.top, b.right, b.bottom, b.cells))
            .collect();
        assert_eq!(edges, [(1, 1, 4, 3, 3), (10, 5, 12, 7, 2)]);
    }
}

//! Changed regions of a stream's picture, with their generations.

use jiff::Timestamp;

use crate::picture::Rect;

/// Generation of the last change of each tile. Each consumer compares it with
/// the generation it processed last, independent of the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// Side of a tile in pixels.
    pub tile: u32,
    /// Tiles per row.
    pub columns: u32,
    /// Generation per tile, row by row; empty: all of the picture changed in
    /// `whole`.
    pub generations: Vec<u64>,
    /// Flags of tiles that changed repeatedly of late: clocks, ticking charts,
    /// videos, a scrolling terminal. As long as `generations`.
    pub noisy: Vec<bool>,
    /// Last generation that changed the whole picture: the first, another
    /// window, a heartbeat.
    pub whole: u64,
    /// Time of the last motion.
    pub moved_at: Timestamp,
    /// Flag: motion most of the time until then.
    pub ticking: bool,
    /// Flag: much of the picture moved since the one before: after a switch of
    /// windows a low-bitrate encoder sharpens it gradually.
    pub settling: bool,
}

impl Changes {
    /// Changes of a picture without a predecessor.
    pub fn all(generation: u64, at: Timestamp) -> Self {
        Self {
            tile: 32,
            columns: 0,
            generations: Vec::new(),
            noisy: Vec::new(),
            whole: generation,
            moved_at: at,
            ticking: false,
            settling: true,
        }
    }

    /// Last generation.
    pub fn newest(&self) -> u64 {
        self.generations.iter().copied().fold(self.whole, u64::max)
    }

    /// Last generation with a real change: a heartbeat is none.
    pub fn seen(&self) -> u64 {
        self.generations.iter().copied().max().unwrap_or(self.whole)
    }

    /// Like [`Self::since`], without heartbeats, for consumers that have
    /// processed that generation.
    pub fn seen_since(&self, generation: u64, width: u32, height: u32) -> Vec<Rect> {
        if self.generations.is_empty() {
            return self.since(Some(generation), width, height);
        }
        let changed: Vec<_> = self.generations.iter().map(|at| *at > generation).collect();
        regions(&changed, self.columns, self.tile, width, height)
    }

    /// Areas changed after a generation on a picture of a size in pixels,
    /// merged to few rectangles from the top; at worst the whole picture.
    pub fn since(&self, generation: Option<u64>, width: u32, height: u32) -> Vec<Rect> {
        match generation {
            Some(generation) if self.whole <= generation => {
                let changed: Vec<_> = self.generations.iter().map(|at| *at > generation).collect();
                regions(&changed, self.columns, self.tile, width, height)
            }
            _ => vec![Rect {
                x: 0,
                y: 0,
                width,
                height,
            }],
        }
    }

    /// True if the rectangle changed after a generation.
    pub fn touch(&self, rect: &Rect, generation: u64) -> bool {
        if self.generations.is_empty() {
            return self.whole > generation;
        }
        let columns = self.columns as usize;
        let across =
            (rect.x / self.tile) as usize..(rect.right().div_ceil(self.tile) as usize).min(columns);
        let mut down = (rect.y / self.tile) as usize..rect.bottom().div_ceil(self.tile) as usize;
        down.any(|row| {
            let tiles = self
                .generations
                .get(row * columns + across.start..row * columns + across.end);
            tiles.is_some_and(|tiles| tiles.iter().any(|at| *at > generation))
        })
    }
}

/// Bounding rectangles of connected tiles, from the top, overlapping ones
/// merged. `marked` is row by row.
pub fn regions(marked: &[bool], columns: u32, tile: u32, width: u32, height: u32) -> Vec<Rect> {
    let columns = columns as usize;
    let mut open: Vec<bool> = marked.to_vec();
    let mut found: Vec<Rect> = Vec::new();
    let mut stack = Vec::new();
    for first in 0..open.len() {
        if !std::mem::take(&mut open[first]) {
            continue;
        }
        let (mut left, mut right) = (first % columns, first % columns);
        let (mut top, mut bottom) = (first / columns, first / columns);
        stack.push(first);
        while let Some(at) = stack.pop() {
            let (x, y) = (at % columns, at / columns);
            (left, right) = (left.min(x), right.max(x));
            (top, bottom) = (top.min(y), bottom.max(y));
            for row in y.saturating_sub(1)..=y + 1 {
                for column in x.saturating_sub(1)..=(x + 1).min(columns - 1) {
                    let near = row * columns + column;
                    if open.get_mut(near).is_some_and(std::mem::take) {
                        stack.push(near);
                    }
                }
            }
        }
        // Border tiles may reach beyond the picture.
        let (x, y) = (left as u32 * tile, top as u32 * tile);
        let rect = Rect {
            x,
            y,
            width: ((right as u32 + 1) * tile).min(width).saturating_sub(x),
            height: ((bottom as u32 + 1) * tile).min(height).saturating_sub(y),
        };
        if rect.area() > 0 {
            found.push(rect);
        }
    }
    merged(found)
}

/// Merges overlapping rectangles into their bounding ones.
pub fn merged(mut rects: Vec<Rect>) -> Vec<Rect> {
    let mut done: Vec<Rect> = Vec::new();
    while let Some(mut rect) = rects.pop() {
        while let Some(at) = done.iter().position(|other| other.meets(&rect)) {
            rect = rect.with(&done.swap_remove(at));
        }
        done.push(rect);
    }
    done.sort_by_key(|rect| (rect.y, rect.x));
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rect(x: u32, y: u32, width: u32, height: u32) -> Rect {
        Rect {
            x,
            y,
            width,
            height,
        }
    }

    #[test]
    fn changes_are_relative_to_a_generation() {
        let mut changes = Changes {
            columns: 4,
            generations: vec![1; 12],
            noisy: vec![false; 12],
            ..Changes::all(1, Timestamp::UNIX_EPOCH)
        };
        changes.generations[1] = 5;
        changes.generations[6] = 7;
        changes.noisy[6] = true;
        assert_eq!(changes.since(Some(7), 120, 90), []);
        assert_eq!(changes.since(Some(6), 120, 90), [rect(64, 32, 32, 32)]);
        assert_eq!(changes.since(Some(4), 120, 90), [rect(32, 0, 64, 64)]);
        assert_eq!(changes.since(Some(0), 120, 90), [rect(0, 0, 120, 90)]);
        assert_eq!(changes.since(None, 120, 90), [rect(0, 0, 120, 90)]);
        assert!(changes.touch(&rect(60, 50, 10, 4), 6));
        assert!(!changes.touch(&rect(0, 50, 60, 4), 6), "another tile");
        assert!(!changes.touch(&rect(60, 50, 10, 4), 7), "another time");
    }

    #[test]
    fn regions_are_clipped_and_disjoint() {
        let mut marked = vec![false; 12];
        for at in [3, 8, 11] {
            marked[at] = true;
        }
        let found = regions(&marked, 4, 32, 120, 90);
        assert_eq!(
            found,
            [
                rect(96, 0, 24, 32),
                rect(0, 64, 32, 26),
                rect(96, 64, 24, 26)
            ]
        );
        let apart = merged(vec![
            rect(0, 0, 10, 10),
            rect(20, 0, 10, 10),
            rect(5, 5, 20, 2),
        ]);
        assert_eq!(apart, [rect(0, 0, 30, 10)]);
    }
}

//! Surfaces of a picture: areas of one colour, or of colours that run into each
//! other, found by a flood over a coarse grid; borders and changes of colour
//! part them, letters are flowed around.

use crate::picture::{Picture, Rect};

/// Grid points down a picture.
const POINTS: u32 = 180;
/// Maximum step between neighbouring samples of one surface, in sample values.
const SAME: i32 = 4;
/// Minimum points of a surface; smaller ones are inside letters and icons.
const FEWEST: u32 = 24;
/// Area of a surface by its points: the lines of a grid cover less of it.
const FRAME: u32 = 12;
/// Maximum surfaces kept, the largest first: a mosaic is no layout.
const MOST: usize = 400;
/// Maximum height of a row of a table or a cell of a grid, in line heights.
const ROW: u32 = 10;
/// Minimum shape of a row: width by height.
const WIDE: u32 = 8;

/// Area of one surface, in grid points, ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct GridBox {
    left: u32,
    top: u32,
    right: u32,
    bottom: u32,
}

/// Surfaces of a picture, in pixels; rows and cells of one table are one.
#[derive(Debug, Default)]
pub(super) struct SurfaceMap {
    pub(super) rects: Vec<Rect>,
    /// Surface of each grid point, row by row.
    points: Vec<Option<u16>>,
    columns: u32,
    step: u32,
}

impl GridBox {
    const fn height(self) -> u32 {
        self.bottom - self.top + 1
    }

    const fn width(self) -> u32 {
        self.right - self.left + 1
    }

    fn with(self, other: Self) -> Self {
        Self {
            left: self.left.min(other.left),
            top: self.top.min(other.top),
            right: self.right.max(other.right),
            bottom: self.bottom.max(other.bottom),
        }
    }
}

impl SurfaceMap {
    /// Surfaces of a picture whose lines are mostly that high.
    pub(super) fn of(picture: &Picture, line: u32) -> Self {
        let step = (picture.height / POINTS).max(2);
        let (columns, rows) = (picture.width / step, picture.height / step);
        if columns < 2 || rows < 2 {
            return Self::default();
        }
        let labels = flood(picture, step, columns, rows);
        // By label, which is the index of a point.
        let mut boxes: Vec<Option<(GridBox, u32)>> = vec![None; labels.len()];
        for (y, row) in (0..).zip(labels.chunks_exact(columns as usize)) {
            for (x, label) in (0..).zip(row) {
                let here = GridBox {
                    left: x,
                    top: y,
                    right: x,
                    bottom: y,
                };
                let known = boxes[*label as usize].get_or_insert((here, 0));
                *known = (known.0.with(here), known.1 + 1);
            }
        }
        let mut kept: Vec<_> = ((0..).zip(&boxes))
            .filter_map(|(label, found)| Some((label, (*found)?)))
            .filter(|(_, (area, count))| {
                *count >= FEWEST
                    && area.width() >= 6
                    && area.height() >= 3
                    && *count * FRAME >= area.width() * area.height()
            })
            .collect();
        kept.sort_by_key(|(label, (_, count)): &(u32, _)| (std::cmp::Reverse(*count), *label));
        kept.truncate(MOST);
        let mut index: Vec<Option<u16>> = vec![None; labels.len()];
        for (at, kept) in (0..).zip(&kept) {
            index[kept.0 as usize] = Some(at);
        }
        let mut map = Self {
            rects: Vec::new(),
            points: labels.iter().map(|label| index[*label as usize]).collect(),
            columns,
            step,
        };
        let areas: Vec<_> = kept.iter().map(|(_, (area, _))| *area).collect();
        map.merge_rows(areas, (line / step).max(1));
        map
    }

    /// Surface at a pixel.
    pub(super) fn at(&self, x: u32, y: u32) -> Option<usize> {
        let (x, y) = (x / self.step.max(1), y / self.step.max(1));
        if x >= self.columns {
            return None;
        }
        let point = self.points.get((y * self.columns + x) as usize)?;
        point.map(usize::from)
    }

    /// Joins surfaces that are the cells of a grid or the rows of a table:
    /// beside or below each other, of one height or width, with nothing
    /// between them but a border; rows of one width may have a gap.
    fn merge_rows(&mut self, mut areas: Vec<GridBox>, line: u32) {
        let mut parent: Vec<usize> = (0..areas.len()).collect();
        let mut alive: Vec<bool> = vec![true; areas.len()];
        let mut stacks: Vec<bool> = vec![false; areas.len()];
        // Cells first: those of one column may look like rows.
        let mut cells_only = true;
        // Two that have not changed since they were compared need not be again.
        let mut changed: Vec<usize> = vec![0; areas.len()];
        for pass in 1.. {
            let mut merged = false;
            for a in 0..areas.len() {
                for b in 0..areas.len() {
                    if a == b || !alive[a] || !alive[b] {
                        continue;
                    }
                    if changed[a].max(changed[b]) + 1 < pass {
                        continue;
                    }
                    let beside = self.are_cells(areas[a], areas[b], line);
                    let rows = !cells_only
                        && self.are_rows((areas[a], stacks[a]), (areas[b], stacks[b]), line);
                    if beside || rows {
                        areas[a] = areas[a].with(areas[b]);
                        stacks[a] |= rows;
                        (alive[b], parent[b], merged) = (false, a, true);
                        changed[a] = pass;
                    }
                }
            }
            if !merged && !cells_only {
                break;
            }
            if !merged {
                cells_only = false;
                changed.fill(pass);
            }
        }
        let root = |mut at: usize| {
            while parent[at] != at {
                at = parent[at];
            }
            at
        };
        let mut numbers = vec![0; areas.len()];
        for at in (0..areas.len()).filter(|at| alive[*at]) {
            numbers[at] = self.rects.len() as u16;
            let area = areas[at];
            self.rects.push(Rect {
                x: area.left * self.step,
                y: area.top * self.step,
                width: area.width() * self.step,
                height: area.height() * self.step,
            });
        }
        let numbers: Vec<u16> = (0..areas.len()).map(|at| numbers[root(at)]).collect();
        for point in self.points.iter_mut().flatten() {
            *point = numbers[usize::from(*point)];
        }
    }

    /// True for two cells of a grid: `b` right of `a`.
    fn are_cells(&self, a: GridBox, b: GridBox, line: u32) -> bool {
        let level = a.top.abs_diff(b.top) <= 1 && a.bottom.abs_diff(b.bottom) <= 1;
        level
            && a.height() <= ROW * line
            && self.is_border(a.right, b.left, |x| (x, (a.top + a.bottom) / 2))
    }

    /// True for two rows of a table, or stacks of them: `b` below `a`.
    fn are_rows(&self, a: (GridBox, bool), b: (GridBox, bool), line: u32) -> bool {
        let ((a, a_stack), (b, b_stack)) = (a, b);
        let (left, right) = (a.left.abs_diff(b.left), a.right.abs_diff(b.right));
        let slack = a.width().max(b.width()) / 16;
        if left.min(right) > 1 || left.max(right) > slack || b.top <= a.bottom {
            return false;
        }
        let is_row = |area: GridBox, stack: bool| {
            stack
                || area.height() <= ROW * line && area.width() >= WIDE * area.height().min(2 * line)
        };
        if (is_row(a, a_stack) && is_row(b, b_stack))
            && self.is_border(a.bottom, b.top, |y| ((a.left + a.right) / 2, y))
        {
            return true;
        }
        let is_strip = |area: GridBox, stack: bool| {
            stack || area.height() <= 5 * line && area.width() >= WIDE * area.height()
        };
        is_strip(a, a_stack) && is_strip(b, b_stack) && b.top - a.bottom <= line + 1
    }

    /// True if there is at most a border between two ends.
    fn is_border(&self, end: u32, start: u32, point: impl Fn(u32) -> (u32, u32)) -> bool {
        match start.checked_sub(end) {
            Some(1) => true,
            Some(2) => {
                let (x, y) = point(end + 1);
                let between = self.points.get((y * self.columns + x) as usize);
                between.is_some_and(Option::is_none)
            }
            _ => false,
        }
    }
}

/// Label of each grid point; points of one surface share it.
fn flood(picture: &Picture, step: u32, columns: u32, rows: u32) -> Vec<u32> {
    let mut parent: Vec<u32> = (0..columns * rows).collect();
    let width = picture.width as usize;
    let luma = &picture.y;
    let chroma_width = picture.width.div_ceil(2);
    let chroma = |x: u32, y: u32| {
        let at = (y / 2 * chroma_width + x / 2) as usize;
        (i32::from(picture.u[at]), i32::from(picture.v[at]))
    };
    let near = |a: i32, b: i32| (a - b).abs() <= SAME;
    for y in 0..rows {
        for x in 0..columns {
            let here = y * columns + x;
            let at = (y * step) as usize * width + (x * step) as usize;
            let from = i32::from(luma[at]);
            let (u, v) = chroma(x * step, y * step);
            let one_hue = |x: u32, y: u32| {
                let there = chroma(x * step, y * step);
                near(u, there.0) && near(v, there.1)
            };
            let alike = |sample: &u8| near(i32::from(*sample), from);
            if x + 1 < columns
                && luma[at + 1..=at + step as usize].iter().all(alike)
                && one_hue(x + 1, y)
            {
                unite(&mut parent, here, here + 1);
            }
            let below = || (1..=step as usize).map(|nth| &luma[at + nth * width]);
            if y + 1 < rows && below().all(alike) && one_hue(x, y + 1) {
                unite(&mut parent, here, here + columns);
            }
        }
    }
    (0..columns * rows)
        .map(|at| find(&mut parent, at))
        .collect()
}

fn find(parent: &mut [u32], mut at: u32) -> u32 {
    while parent[at as usize] != at {
        let above = parent[parent[at as usize] as usize];
        parent[at as usize] = above;
        at = above;
    }
    at
}

fn unite(parent: &mut [u32], a: u32, b: u32) {
    let (a, b) = (find(parent, a), find(parent, b));
    parent[a.max(b) as usize] = a.min(b);
}

//! Blocks of a picture that may hold text, so that the detector skips flat
//! areas, which are most of many screens.
//!
//! A letter has horizontal and vertical contrast within a few pixels. A tile
//! that lacks either (background, a straight border, a gradient) holds none.
//! The remaining tiles are split at gaps, alternately by rows and columns
//! (recursive X-Y cut, Nagy and Seth 1984), as long as that reduces the work.

use crate::picture::{Picture, Rect};

/// Tile side in luma pixels; half as many chroma samples.
const TILE: u32 = 16;
/// Minimum difference of samples, out of 255, that makes an edge in a row or
/// column of a tile. Codec noise on a flat background stays below.
const CONTRAST: u8 = 10;
/// Minimum number of empty tiles between two blocks, wider than the spaces in a
/// line of text.
const GAP: usize = 2;
/// Longest straight edge that may be part of a letter, in tiles.
const STROKE: usize = 20;
/// Margin around a block that is searched with it, in tiles.
const MARGIN: u32 = 1;
/// Fixed cost of another block, in tiles searched.
const ONE_MORE: usize = 64;
/// Maximum depth of nested cuts.
const DEPTH: usize = 8;

/// Edges in a tile.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Edges {
    /// Flag: samples of a row differ.
    across: bool,
    /// Flag: samples of a column differ.
    down: bool,
}

impl Edges {
    fn both(self) -> bool {
        self.across && self.down
    }
}

/// Blocks of a part of a picture, from the top. Everything outside them is flat
/// or a straight line.
pub(super) fn blocks(picture: &Picture, part: &Rect) -> Vec<Rect> {
    let tiles = Tiles::of(picture, part);
    let mut blocks = Vec::new();
    for area in tiles.cut(tiles.whole(), DEPTH) {
        let rect = Rect {
            x: part.x + area.left as u32 * TILE,
            y: part.y + area.top as u32 * TILE,
            width: (area.right - area.left) as u32 * TILE,
            height: (area.bottom - area.top) as u32 * TILE,
        };
        let wide = rect.grown(MARGIN * TILE, part.right(), part.bottom());
        blocks.push(Rect {
            x: wide.x.max(part.x),
            y: wide.y.max(part.y),
            width: wide.right() - wide.x.max(part.x),
            height: wide.bottom() - wide.y.max(part.y),
        });
    }
    blocks.sort_by_key(|block| (block.y, block.x));
    blocks
}

/// Range of tiles; `right` and `bottom` are exclusive.
#[derive(Debug, Clone, Copy, PartialEq)]
struct TileArea {
    left: usize,
    top: usize,
    right: usize,
    bottom: usize,
}

impl TileArea {
    /// Number of tiles searched if this were a block, plus the fixed cost.
    fn cost(&self) -> usize {
        let margin = 2 * MARGIN as usize;
        let (columns, rows) = (self.right - self.left, self.bottom - self.top);
        ONE_MORE + (columns + margin) * (rows + margin)
    }
}

/// Tiles of a picture, each busy if it may hold a piece of a letter.
struct Tiles {
    columns: usize,
    rows: usize,
    busy: Vec<bool>,
}

impl Tiles {
    fn of(picture: &Picture, part: &Rect) -> Self {
        let columns = part.width.div_ceil(TILE) as usize;
        let rows = part.height.div_ceil(TILE) as usize;
        let mut edges = vec![Edges::default(); columns * rows];
        let chroma = picture.width.div_ceil(2);
        let half = Rect {
            x: part.x / 2,
            y: part.y / 2,
            width: part.right().div_ceil(2) - part.x / 2,
            height: part.bottom().div_ceil(2) - part.y / 2,
        };
        find_edges(&picture.y, picture.width, part, TILE, &mut edges, columns);
        for plane in [&picture.u, &picture.v] {
            find_edges(plane, chroma, &half, TILE / 2, &mut edges, columns);
        }
        let mut busy: Vec<_> = edges.iter().map(|edges| edges.both()).collect();
        // Fill the inside of a large letter's strokes.
        for row in 0..rows {
            let tiles = row * columns..(row + 1) * columns;
            close(tiles, &edges, |edges| edges.down, &mut busy);
        }
        for column in 0..columns {
            let tiles = (column..columns * rows).step_by(columns);
            close(tiles, &edges, |edges| edges.across, &mut busy);
        }
        Self {
            columns,
            rows,
            busy,
        }
    }

    fn whole(&self) -> TileArea {
        TileArea {
            left: 0,
            top: 0,
            right: self.columns,
            bottom: self.rows,
        }
    }

    /// Areas that cover all busy tiles of an area.
    fn cut(&self, area: TileArea, depth: usize) -> Vec<TileArea> {
        let Some(area) = self.trimmed(area) else {
            return Vec::new();
        };
        for by_rows in [true, false] {
            let pieces = self.pieces(&area, by_rows);
            if depth == 0 || pieces.len() < 2 {
                continue;
            }
            let cut: Vec<_> = (pieces.into_iter())
                .flat_map(|piece| self.cut(piece, depth - 1))
                .collect();
            if cut.iter().map(TileArea::cost).sum::<usize>() < area.cost() {
                return cut;
            }
        }
        vec![area]
    }

    /// Bounding area of the busy tiles.
    fn trimmed(&self, area: TileArea) -> Option<TileArea> {
        let rows = self.used(&area, true);
        let columns = self.used(&area, false);
        let ends = |used: &[bool]| {
            let first = used.iter().position(|used| *used)?;
            let last = used.iter().rposition(|used| *used)?;
            Some((first, last + 1))
        };
        let ((top, bottom), (left, right)) = (ends(&rows)?, ends(&columns)?);
        Some(TileArea {
            left: area.left + left,
            top: area.top + top,
            right: area.left + right,
            bottom: area.top + bottom,
        })
    }

    /// Flag for each row or column of an area: true with a busy tile in it.
    fn used(&self, area: &TileArea, by_rows: bool) -> Vec<bool> {
        let (mut rows, mut columns) = (
            vec![false; area.bottom - area.top],
            vec![false; area.right - area.left],
        );
        for row in area.top..area.bottom {
            let tiles = &self.busy[row * self.columns..][area.left..area.right];
            for (column, _) in tiles.iter().enumerate().filter(|(_, busy)| **busy) {
                rows[row - area.top] = true;
                columns[column] = true;
            }
        }
        if by_rows { rows } else { columns }
    }

    /// Pieces of an area, split at each gap in one direction.
    fn pieces(&self, area: &TileArea, by_rows: bool) -> Vec<TileArea> {
        let used = self.used(area, by_rows);
        let piece = |from: usize, to: usize| {
            if by_rows {
                TileArea {
                    top: area.top + from,
                    bottom: area.top + to,
                    ..*area
                }
            } else {
                TileArea {
                    left: area.left + from,
                    right: area.left + to,
                    ..*area
                }
            }
        };
        let mut pieces = Vec::new();
        let (mut from, mut end) = (0, 0);
        for (at, _) in used.iter().enumerate().filter(|(_, used)| **used) {
            if at - end >= GAP {
                pieces.push(piece(from, end));
                from = at;
            }
            end = at + 1;
        }
        pieces.push(piece(from, used.len()));
        pieces
    }
}

/// Marks the tiles between two busy ones as busy if an edge runs through all of
/// them.
fn close(
    tiles: impl Iterator<Item = usize>,
    edges: &[Edges],
    goes_on: impl Fn(&Edges) -> bool,
    busy: &mut [bool],
) {
    let mut between: Option<Vec<usize>> = None;
    for tile in tiles {
        if edges[tile].both() {
            for tile in between.replace(Vec::new()).unwrap_or_default() {
                busy[tile] = true;
            }
        } else if let Some(tiles) = &mut between {
            tiles.push(tile);
            if !goes_on(&edges[tile]) || tiles.len() > STROKE {
                between = None;
            }
        }
    }
}

/// Adds the edges of one plane; `side` is a tile's side in samples. A tile is
/// compared including the first sample of the next one, so that an edge between
/// two tiles is not missed.
fn find_edges(
    plane: &[u8],
    stride: u32,
    part: &Rect,
    side: u32,
    edges: &mut [Edges],
    columns: usize,
) {
    let (stride, side) = (stride as usize, side as usize);
    let (width, height) = (part.width as usize, part.height as usize);
    let mut dark = vec![0; width];
    let mut bright = vec![0; width];
    for (edges, top) in edges.chunks_mut(columns).zip((0..height).step_by(side)) {
        dark.fill(u8::MAX);
        bright.fill(0);
        for row in top..(top + side + 1).min(height) {
            let start = (part.y as usize + row) * stride + part.x as usize;
            let samples = &plane[start..start + width];
            for ((sample, dark), bright) in samples.iter().zip(&mut dark).zip(&mut bright) {
                *dark = (*dark).min(*sample);
                *bright = (*bright).max(*sample);
            }
            for (edges, left) in edges.iter_mut().zip((0..width).step_by(side)) {
                let tile = &samples[left..(left + side + 1).min(width)];
                let dark = tile.iter().fold(u8::MAX, |dark, sample| dark.min(*sample));
                let bright = tile.iter().fold(0, |bright, sample| bright.max(*sample));
                edges.across |= bright.saturating_sub(dark) >= CONTRAST;
            }
        }
        for (edges, left) in edges.iter_mut().zip((0..width).step_by(side)) {
            let tile = left..(left + side + 1).min(width);
            let mut columns = dark[tile.clone()].iter().zip(&bright[tile]);
            edges.down |= columns.any(|(dark, bright)| bright.saturating_sub(*dark) >= CONTRAST);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAPER: u8 = 230;

    fn paper(width: u32, height: u32) -> Picture {
        let mut picture = Picture::grey(width, height);
        picture.y.fill(PAPER);
        picture
    }

    fn rect(x: u32, y: u32, width: u32, height: u32) -> Rect {
        Rect {
            x,
            y,
            width,
            height,
        }
    }

    fn fill(picture: &mut Picture, place: &Rect, shade: u8) {
        for y in place.y..place.bottom() {
            let row = (y * picture.width) as usize;
            picture.y[row + place.x as usize..row + place.right() as usize].fill(shade);
        }
    }

    /// Letter-like strokes, as high as the place.
    fn text(picture: &mut Picture, place: &Rect, ink: u8) {
        for x in (place.x..place.right()).step_by(6) {
            fill(picture, &rect(x, place.y, 2, place.height), ink);
        }
    }

    fn whole(picture: &Picture) -> Rect {
        rect(0, 0, picture.width, picture.height)
    }

    /// True if a block contains the whole place.
    fn holds(blocks: &[Rect], place: &Rect) -> bool {
        blocks.iter().any(|block| block.with(place) == *block)
    }

    #[test]
    fn text_is_in_a_block_and_the_flat_rest_in_none() {
        let mut picture = paper(1920, 1080);
        let places = [
            rect(40, 30, 200, 12),
            rect(40, 60, 90, 12),
            rect(1500, 900, 300, 14),
        ];
        for place in &places {
            text(&mut picture, place, 40);
        }
        let found = blocks(&picture, &whole(&picture));
        for place in &places {
            assert!(holds(&found, place), "{place:?} in {found:?}");
        }
        let area: u64 = found.iter().map(Rect::area).sum();
        assert!(area < 1920 * 1080 / 20, "{found:?}");
        assert!(found.is_sorted_by_key(|block| block.y), "from the top");
    }

    #[test]
    fn faint_and_coloured_text_counts_and_noise_does_not() {
        let mut picture = paper(640, 480);
        for (at, sample) in picture.y.iter_mut().enumerate() {
            // Codec noise on a flat background.
            *sample += (at as u32).wrapping_mul(2_654_435_761).to_be_bytes()[0] % 5;
        }
        assert_eq!(blocks(&picture, &whole(&picture)), []);
        let faint = rect(100, 100, 80, 12);
        text(&mut picture, &faint, PAPER - 16);
        assert!(holds(&blocks(&picture, &whole(&picture)), &faint));
        // Same brightness as the background, another colour.
        let mut picture = paper(640, 480);
        for y in 150..156 {
            for x in (200..260).step_by(3) {
                picture.v[y * 320 + x] = 160;
            }
        }
        let coloured = rect(400, 300, 119, 12);
        let found = blocks(&picture, &whole(&picture));
        assert!(holds(&found, &coloured), "{found:?}");
    }

    #[test]
    fn lines_of_a_frame_are_searched_at_its_corners_alone() {
        let mut picture = paper(1600, 900);
        let frame = rect(100, 100, 1400, 700);
        fill(&mut picture, &frame, 60);
        fill(&mut picture, &rect(102, 102, 1396, 696), PAPER);
        let found = blocks(&picture, &whole(&picture));
        assert_eq!(found.len(), 4, "{found:?}");
        let area: u64 = found.iter().map(Rect::area).sum();
        assert!(area < 1600 * 900 / 50, "{found:?}");
    }

    #[test]
    fn a_huge_letter_is_in_one_block() {
        let mut picture = paper(1280, 720);
        // An H with strokes longer and thicker than a tile.
        let letter = rect(300, 200, 180, 220);
        fill(&mut picture, &rect(300, 200, 40, 220), 20);
        fill(&mut picture, &rect(440, 200, 40, 220), 20);
        fill(&mut picture, &rect(340, 290, 100, 40), 20);
        let found = blocks(&picture, &whole(&picture));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(holds(&found, &letter), "{found:?}");
    }

    #[test]
    fn blocks_stay_within_the_part() {
        let mut picture = paper(333, 257);
        let all = whole(&picture);
        for y in (0..257).step_by(14) {
            let height = 9.min(257 - y);
            text(&mut picture, &rect(0, y, 333, height), 10);
        }
        for part in [
            all,
            rect(31, 17, 101, 67),
            rect(300, 250, 33, 7),
            rect(1, 5, 8, 12),
        ] {
            let found = blocks(&picture, &part);
            assert_eq!(found, [part], "full of text");
        }
    }

    #[test]
    fn thousands_of_specks_are_not_a_block_each() {
        let mut picture = paper(4096, 4096);
        for y in (8..4096).step_by(128) {
            for x in (8..4096).step_by(128) {
                fill(&mut picture, &rect(x, y, 3, 3), 20);
            }
        }
        let found = blocks(&picture, &whole(&picture));
        let cost = |block: &Rect| ONE_MORE + (block.area() / u64::from(TILE * TILE)) as usize;
        let all = cost(&whole(&picture));
        assert!(
            found.iter().map(cost).sum::<usize>() <= all,
            "{}",
            found.len()
        );
        assert!(found.len() <= all / ONE_MORE, "{}", found.len());
    }
}

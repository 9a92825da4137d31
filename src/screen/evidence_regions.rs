//! Regions of a finding's evidence on its frame: a crop to show, and luma cells
//! by which a viewer's picture is compared with the frame.
//!
//! The evidence may be off the screen when the finding is published: a viewer
//! marks it on the live picture only where that still looks like the frame.
//! Content decides, not time, so that latency and clocks do not matter.

use std::sync::Arc;

use crate::frame::Frame;
use crate::picture::{Picture, Rect};
use crate::redact::{Redact, RedactedFrame, RedactedJpeg};

/// Maximum regions of a finding: more are a page of marks.
const MOST_REGIONS: usize = 8;
/// Cells of a region at most, about: at a text line's height of 24 pixels a
/// character has several, and a region takes a kilobyte.
const MOST_CELLS: f64 = 1024.0;
/// Shortest side of a cell in pixels: smaller ones compare compression noise.
const LEAST_SIDE: f64 = 2.0;
/// Smallest range of luma that can be recognised again.
const LEAST_CONTRAST: u8 = 24;
/// Margin of a region in parts of its height, at most in pixels: it detects
/// scrolling, and a mark is drawn in it.
const MARGIN: (f64, f64) = (0.35, 8.0);
/// Margin of a crop in pixels: about a line of text above and below.
const CONTEXT: (u32, u32) = (12, 60);
/// Width of a crop in pixels; a wider one is halved until it fits.
const WIDEST_CROP: u32 = 960;

/// Luma of a part of a picture, in rows of cells, each the mean of its pixels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LumaGrid {
    /// `[ymin, xmin, ymax, xmax]` in thousandths of the picture.
    pub area: [u16; 4],
    pub columns: u16,
    /// Row by row, full range; 0 where something is redacted.
    pub cells: Vec<u8>,
}

impl LumaGrid {
    /// Grid around a place; `None` if too little of it is recognisable.
    fn of(picture: &Picture, hidden: &[Rect], bounds: [u16; 4]) -> Option<Self> {
        let (width, height) = (picture.width, picture.height);
        let rect = Rect::from_thousandths(bounds, width, height);
        let margin = (MARGIN.0 * f64::from(rect.height)).min(MARGIN.1);
        let rect = rect.grown(margin.ceil() as u32, width, height);
        let area = rect.thousandths(width, height);
        let [top, left, bottom, right] = area.map(f64::from);
        let (left, right) = (
            left * f64::from(width) / 1000.0,
            right * f64::from(width) / 1000.0,
        );
        let (top, bottom) = (
            top * f64::from(height) / 1000.0,
            bottom * f64::from(height) / 1000.0,
        );
        let (across, down) = (right - left, bottom - top);
        if across < LEAST_SIDE || down < LEAST_SIDE {
            return None;
        }
        let side = (across * down / MOST_CELLS).sqrt().max(LEAST_SIDE);
        let (columns, rows) = ((across / side).ceil() as u16, (down / side).ceil() as u16);
        let edge = |from: f64, to: f64, at: u16, of: u16| {
            (from + (to - from) * f64::from(at) / f64::from(of)).floor() as u32
        };
        let mut cells = Vec::with_capacity(usize::from(columns) * usize::from(rows));
        for row in 0..rows {
            let y = edge(top, bottom, row, rows);
            let below = edge(top, bottom, row + 1, rows).max(y + 1);
            for column in 0..columns {
                let x = edge(left, right, column, columns);
                let beside = edge(left, right, column + 1, columns).max(x + 1);
                let cell = Rect {
                    x,
                    y,
                    width: beside - x,
                    height: below - y,
                };
                cells.push(mean(picture, hidden, cell));
            }
        }
        let known = || cells.iter().copied().filter(|cell| *cell > 0);
        let contrast = known().max()? - known().min()?;
        (contrast >= LEAST_CONTRAST && known().count() * 2 >= cells.len()).then_some(Self {
            area,
            columns,
            cells,
        })
    }
}

/// Mean luma of a cell, at least 1; 0 if anything of it is hidden.
fn mean(picture: &Picture, hidden: &[Rect], cell: Rect) -> u8 {
    if hidden.iter().any(|rect| rect.meets(&cell)) {
        return 0;
    }
    let (right, bottom) = (
        cell.right().min(picture.width),
        cell.bottom().min(picture.height),
    );
    let (mut sum, mut count) = (0_u64, 0_u64);
    for y in cell.y..bottom {
        let row = y as usize * picture.width as usize;
        let samples = &picture.y[row + cell.x.min(right) as usize..row + right as usize];
        sum += samples.iter().map(|sample| u64::from(*sample)).sum::<u64>();
        count += samples.len() as u64;
    }
    // The mean of bytes is a byte.
    ((sum + count / 2) / count.max(1)).max(1) as u8
}

/// Place of a piece of evidence, and its luma.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvidenceRegion {
    /// `[ymin, xmin, ymax, xmax]` in thousandths of the picture.
    pub bounds: [u16; 4],
    pub grid: LumaGrid,
}

/// Picture of the best evidence with its surroundings, redacted.
#[derive(Debug, Clone)]
pub struct EvidenceCrop {
    /// Its part of the frame, in thousandths as `bounds` of a region.
    pub area: [u16; 4],
    pub still: RedactedJpeg,
}

/// Regions of a finding's evidence.
#[derive(Debug, Clone, Default)]
pub struct EvidenceRegions {
    pub regions: Vec<EvidenceRegion>,
    pub crop: Option<EvidenceCrop>,
}

impl EvidenceRegions {
    /// Regions of evidence at those places, the best first; none of a frame
    /// that is to be redacted and that OCR has not read. Takes a few
    /// milliseconds: do not call it on the async workers.
    pub fn of(frame: &Arc<Frame>, redact: Redact, places: &[[u16; 4]]) -> Self {
        let Some(redacted) = RedactedFrame::of(frame, redact) else {
            return Self::default();
        };
        let hidden: Vec<Rect> = frame.hidden(redact).map(|secret| secret.rect).collect();
        let region = |bounds: &[u16; 4]| {
            let grid = LumaGrid::of(&frame.picture, &hidden, *bounds)?;
            Some(EvidenceRegion {
                bounds: *bounds,
                grid,
            })
        };
        Self {
            regions: places
                .iter()
                .take(MOST_REGIONS)
                .filter_map(region)
                .collect(),
            crop: places.first().and_then(|best| crop(&redacted, *best)),
        }
    }

    /// Size in memory, about.
    pub fn bytes(&self) -> usize {
        let cells = self.regions.iter().map(|region| region.grid.cells.len());
        let crop = self.crop.as_ref();
        cells.sum::<usize>() + crop.map_or(0, |crop| crop.still.bytes().len())
    }
}

fn crop(frame: &RedactedFrame, bounds: [u16; 4]) -> Option<EvidenceCrop> {
    let (width, height) = (frame.picture.width, frame.picture.height);
    let rect = Rect::from_thousandths(bounds, width, height);
    let mut rect = rect.grown(rect.height.clamp(CONTEXT.0, CONTEXT.1), width, height);
    // It is cut from an even column and row.
    rect.width += rect.x & 1;
    rect.height += rect.y & 1;
    (rect.x, rect.y) = (rect.x & !1, rect.y & !1);
    if rect.area() == 0 {
        return None;
    }
    let mut part = frame.cropped(rect);
    while part.picture.width > WIDEST_CROP {
        part = part.halved();
    }
    match part.still() {
        Ok(still) => Some(EvidenceCrop {
            area: rect.thousandths(width, height),
            still,
        }),
        Err(error) => {
            tracing::warn!(%error, "failed to crop the evidence of a finding");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use jiff::Timestamp;
    use watchtower_base::stream_name::StreamName;
    use watchtower_media::MediaTime;

    use super::*;
    use crate::frame::SensitiveText;
    use crate::picture::TextLine;

    const WHOLE: [u16; 4] = [100, 100, 200, 500];

    /// Frame of 1000 by 500 pixels with stripes of 10, 10 apart, whose crop is
    /// its samples.
    fn frame() -> Frame {
        let (width, height) = (1000_u32, 500_u32);
        let stripes = (0..width * height).map(|at| 40 + 160 * (at % width / 10 % 2) as u8);
        let picture = Picture {
            width,
            height,
            y: stripes.collect(),
            u: vec![128; 500 * 250],
            v: vec![128; 500 * 250],
        };
        let (name, at) = (StreamName::new("team").unwrap(), Timestamp::UNIX_EPOCH);
        let encode = |picture: &Picture| Ok(Bytes::from(picture.y.clone()));
        Frame::new(name, 1, MediaTime(0), at, Arc::new(picture), encode)
    }

    fn read(hidden: &[Rect]) -> Arc<Frame> {
        let line = TextLine {
            text: "key=hunter2".to_owned(),
            rect: Rect::default(),
            confidence: 1.0,
        };
        let secret = |rect: &Rect| SensitiveText {
            line: 0,
            range: 4..11,
            rect: *rect,
            kind: "password".to_owned(),
            personal: false,
        };
        let secrets: Arc<[_]> = hidden.iter().map(secret).collect();
        Arc::new(frame().read(Arc::from([line]), secrets))
    }

    #[test]
    fn grid_holds_the_means_of_its_cells() {
        let regions = EvidenceRegions::of(&read(&[]), Redact::Secrets, &[WHOLE]);
        let [region] = regions.regions.as_slice() else {
            panic!("{regions:?}");
        };
        let (grid, columns) = (&region.grid, usize::from(region.grid.columns));
        // 50 pixels high, with 8 more on each side.
        assert_eq!((region.bounds, grid.area), (WHOLE, [84, 92, 216, 508]));
        assert!(grid.cells.len() <= 1100, "{} cells", grid.cells.len());
        let row = &grid.cells[..columns];
        assert!(grid.cells.chunks(columns).all(|other| other == row));
        for (column, cell) in row.iter().enumerate() {
            let edge = |at: usize| 92 + 416 * at / columns;
            let of = edge(column)..edge(column + 1);
            let mean: usize = of.clone().map(|x| 40 + 160 * (x / 10 % 2)).sum();
            let mean = mean as f64 / of.len() as f64;
            assert!((f64::from(*cell) - mean).abs() <= 0.5, "{column}: {cell}");
        }
        let crop = regions.crop.unwrap();
        // A line above and below; the stripes are those of the frame.
        assert_eq!(crop.area, [0, 50, 300, 550]);
        assert_eq!(crop.still.bytes().len(), 500 * 150);
        assert_eq!(crop.still.bytes()[..20], frame().picture.y[50..70]);
    }

    #[test]
    fn what_is_redacted_is_unknown_and_what_is_flat_or_unread_has_no_grid() {
        let hidden = Rect {
            x: 300,
            y: 40,
            width: 100,
            height: 80,
        };
        let covered = read(&[hidden]);
        let regions = EvidenceRegions::of(&covered, Redact::Secrets, &[WHOLE]);
        let grid = &regions.regions[0].grid;
        let columns = usize::from(grid.columns);
        for (column, cell) in grid.cells[..columns].iter().enumerate() {
            let edge = |at: usize| 92 + 416 * at / columns;
            let covered = edge(column + 1) > 300 && edge(column) < 400;
            assert_eq!(*cell == 0, covered, "{column}");
        }
        let black = |from: usize| regions.crop.as_ref().unwrap().still.bytes()[500 * 100 + from];
        assert_eq!((black(255), black(345)), (0, 0));

        let mostly = Rect {
            x: 100,
            width: 300,
            ..hidden
        };
        let hidden = EvidenceRegions::of(&read(&[mostly]), Redact::Secrets, &[WHOLE]);
        assert!(hidden.regions.is_empty() && hidden.crop.is_some());
        // Within one stripe.
        let flat = EvidenceRegions::of(&covered, Redact::Off, &[[100, 101, 104, 108]]);
        assert!(flat.regions.is_empty(), "{flat:?}");
        let unread = Arc::new(frame());
        let none = EvidenceRegions::of(&unread, Redact::Secrets, &[WHOLE]);
        assert!(none.regions.is_empty() && none.crop.is_none());
        let off = EvidenceRegions::of(&unread, Redact::Off, &[WHOLE, [0, 0, 0, 0]]);
        assert_eq!((off.regions.len(), off.crop.is_some()), (1, true));
        assert!(off.bytes() > 500 * 150);
    }
}

//! Is there anything to tell about a picture that has changed?
//!
//! The change gate knows pixels; this knows what they say. A model is worth
//! asking when the text has changed, or a part of the picture without text
//! that does not move all the time.

use std::sync::Arc;

use super::moved::{self, CELL};
use super::page::Page;
use crate::media::{Changes, Rect};
use crate::screen::diff;

/// Pixels beside the text that have to change: a small chart has 300x200.
const CHART: u64 = 24_000;
/// Around a line, as its shadow and cursor are no chart.
const MARGIN: u32 = 16;

/// What those who look were told last.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) scene: u64,
    page: Arc<Page>,
}

impl Told {
    pub(super) fn new(scene: u64, page: Arc<Page>) -> Self {
        Self { scene, page }
    }

    pub(super) fn has_news(&self, page: &Page, changes: &Changes) -> bool {
        let size = |page: &Page| (page.picture.width, page.picture.height);
        if size(&self.page) != size(page) {
            return true;
        }
        let diff = diff(&self.page.lines, &page.lines);
        let drawn = self.drawn(page, changes);
        if !diff.is_empty() {
            let lines = |of: &Page, which: &[usize]| -> Vec<_> {
                which.iter().map(|index| of.lines[*index].clone()).collect()
            };
            tracing::trace!(
                appeared = ?lines(page, &diff.appeared),
                vanished = ?lines(&self.page, &diff.vanished),
                drawn,
                "news"
            );
        }
        !diff.is_empty() || drawn >= CHART
    }

    /// Pixels that changed beside the text, but for what always does.
    fn drawn(&self, page: &Page, changes: &Changes) -> u64 {
        let (width, height) = (page.picture.width, page.picture.height);
        let columns = width.div_ceil(CELL);
        let mut cells = moved::cells(&self.page.picture, &page.picture);
        let restless = |x: u32, y: u32| {
            let at = (y / changes.tile) * changes.columns + x / changes.tile;
            changes.restless.get(at as usize).copied().unwrap_or(false)
        };
        for line in self.page.lines.iter().chain(page.lines.iter()) {
            clear(&mut cells, columns, &line.rect.grown(MARGIN, width, height));
        }
        let moved = (0..)
            .zip(&cells)
            .filter(|(at, moved)| **moved && !restless(at % columns * CELL, at / columns * CELL));
        moved.count() as u64 * u64::from(CELL * CELL)
    }
}

fn clear(cells: &mut [bool], columns: u32, rect: &Rect) {
    for row in rect.y / CELL..rect.bottom().div_ceil(CELL) {
        let from = (row * columns + rect.x / CELL) as usize;
        let to = (row * columns + rect.right().div_ceil(CELL).min(columns)) as usize;
        if let Some(cells) = cells.get_mut(from..to) {
            cells.fill(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::media::{Picture, TextLine};

    fn page(text: &str, chart: u8) -> Arc<Page> {
        let (width, height) = (640u32, 360u32);
        let mut y = vec![40; (width * height) as usize];
        for row in 100..300 {
            for column in 100..400 {
                y[row * 640 + column] = chart;
            }
        }
        let picture = Picture {
            width,
            height,
            y,
            u: vec![128; 320 * 180],
            v: vec![128; 320 * 180],
        };
        let line = TextLine {
            text: text.to_owned(),
            rect: Rect {
                x: 20,
                y: 20,
                width: 200,
                height: 20,
            },
            confidence: 1.0,
        };
        Arc::new(Page {
            picture: Arc::new(picture),
            lines: Arc::from([line]),
        })
    }

    #[test]
    fn text_and_charts_are_news_and_nothing_else_is() {
        let told = Told::new(1, page("errors 3", 50));
        let changes = Changes::all(1, Timestamp::UNIX_EPOCH);
        assert!(!told.has_news(&page("errors 3", 50), &changes));
        assert!(told.has_news(&page("errors 4", 50), &changes));
        assert!(told.has_news(&page("errors 3", 200), &changes));
        let ticking = Changes {
            columns: 20,
            scenes: vec![1; 20 * 12],
            restless: vec![true; 20 * 12],
            ..changes
        };
        assert!(
            !told.has_news(&page("errors 3", 200), &ticking),
            "it always does"
        );
    }
}

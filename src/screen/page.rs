//! Incremental OCR of one stream's screen: changed parts only.

use std::sync::Arc;

use super::ocr::{KnownAlphabets, Ocr, PartToRead, ReadError};
use super::scroll;
use crate::changed_regions::{merged, regions};
use crate::motion;
use crate::motion::CELL;
use crate::picture::{Picture, Rect, TextLine};
use crate::text::SURE;

/// Largest shift of a box in pixels that is still the same line.
const SAME_PLACE: u32 = 3;
/// Margin in pixels around a part, so that no letter is cut.
const MARGIN: u32 = 24;
/// Maximum cells between two words of a line, whose changes are read as one
/// part.
const WORDS_APART: usize = 5;
/// Share of the picture above which it is read as a whole.
const MOST_OF_IT: f64 = 0.6;
/// Maximum pixels per text detection: a 4K screen. A larger one would be
/// downscaled until small letters are lost.
const BAND: u64 = 3840 * 2176;
/// Rows of overlap between bands, so that no line is cut.
const OVERLAP: u32 = 128;
/// Limits of one OCR run, which takes seconds on one core.
const A_TURN: OcrLimits = OcrLimits {
    pixels: 2 * BAND,
    columns: 400_000,
};

/// Maximum pixels of detection and columns of recognition per run. The rest is
/// unread until the next run.
#[derive(Debug, Clone, Copy)]
pub(super) struct OcrLimits {
    pub(super) pixels: u64,
    pub(super) columns: u64,
}

/// Picture with its OCR result.
#[derive(Debug, Clone)]
pub(super) struct RecognisedScreen {
    /// Picture with each part as of its OCR: a blur that sharpens gradually
    /// adds up to a change.
    pub(super) picture: Arc<Picture>,
    /// Lines in reading order.
    pub(super) lines: Arc<[TextLine]>,
    /// Areas that may contain unread text.
    pub(super) unread: Arc<[Rect]>,
}

/// Cost of an OCR run.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ReadCost {
    /// Pixels of text detection.
    pub(super) pixels: u64,
    /// Lines of text recognition.
    pub(super) lines: u64,
}

impl RecognisedScreen {
    /// Result of a picture that could not be read.
    pub(super) fn unread() -> Self {
        let nothing = Picture {
            width: 0,
            height: 0,
            y: Vec::new(),
            u: Vec::new(),
            v: Vec::new(),
        };
        Self {
            picture: Arc::new(nothing),
            lines: Arc::from([]),
            unread: Arc::from([]),
        }
    }

    /// Reads a picture, reusing the last result where nothing has changed.
    pub(super) fn read(
        last: Option<&Self>,
        picture: &Arc<Picture>,
        ocr: &Ocr,
    ) -> Result<(Self, ReadCost), ReadError> {
        Self::read_within(last, picture, ocr, A_TURN)
    }

    /// Reads a picture within the given limits of pixels and columns.
    pub(super) fn read_within(
        last: Option<&Self>,
        picture: &Arc<Picture>,
        ocr: &Ocr,
        turn: OcrLimits,
    ) -> Result<(Self, ReadCost), ReadError> {
        let mut left = turn.columns;
        let (width, height) = (picture.width, picture.height);
        let all = Rect {
            x: 0,
            y: 0,
            width,
            height,
        };
        let last = last.filter(|last| (last.picture.width, last.picture.height) == (width, height));
        let stale = match last {
            Some(last) => last.stale(picture),
            None => vec![all],
        };
        let scrolled: Vec<_> = match last {
            Some(last) => stale
                .iter()
                .filter_map(|rect| Some((*rect, scroll::distance(&last.picture, picture, rect)?)))
                .collect(),
            None => Vec::new(),
        };
        let recall = |rect: &Rect| {
            let last = last?;
            let moved = scrolled.iter().filter(|(region, _)| region.meets(rect));
            std::iter::once(0)
                .chain(moved.map(|(_, distance)| *distance))
                .find_map(|down| last.recall(picture, rect, down))
        };
        let mut cost = ReadCost::default();
        let mut recalled: Vec<Rect> = Vec::new();
        let mut lines: Vec<TextLine> = last.map_or_else(Vec::new, |last| {
            let kept = last
                .lines
                .iter()
                .filter(|line| !stale.iter().any(|rect| rect.meets(&line.rect)));
            kept.cloned().collect()
        });
        let waiting = last.map_or(&[][..], |last| &last.unread);
        let mut alphabets = KnownAlphabets::default();
        lines.iter().for_each(|line| alphabets.add(line));
        let mut parts: Vec<_> = (stale.iter())
            .flat_map(|rect| bands(rect, width, height))
            .collect();
        // Postponed parts go first, or they would starve.
        parts.sort_by_key(|(part, _)| !waiting.iter().any(|rect| rect.meets(part)));
        let mut unread = Vec::new();
        for (rect, seen) in &parts {
            if cost.pixels >= turn.pixels || left == 0 {
                unread.push(*rect);
                continue;
            }
            cost.pixels += seen.area();
            let to_read = PartToRead {
                picture,
                part: *seen,
                waiting,
                alphabets,
            };
            let known = |line: &Rect| {
                // Lines only in the margin are known, and maybe cut.
                if !line.meets(rect) {
                    return KnownLine::Elsewhere;
                }
                match recall(line) {
                    Some(line) => {
                        recalled.push(line.rect);
                        KnownLine::Line(line)
                    }
                    None => {
                        cost.lines += 1;
                        KnownLine::No
                    }
                }
            };
            let read = ocr.read(&to_read, &mut left, known, |_| {})?;
            // Read again as part of a longer line.
            lines.retain(|line| {
                !read
                    .lines
                    .iter()
                    .any(|new| new.rect.meets(&centre(&line.rect)))
            });
            read.lines.iter().for_each(|line| alphabets.add(line));
            lines.extend(read.lines);
            unread.extend(read.unread);
        }
        in_reading_order(&mut lines);
        let page = Self {
            picture: match last {
                Some(last) => last.as_read(picture, &stale, &recalled),
                None => Arc::clone(picture),
            },
            lines: lines.into(),
            unread: merged(unread).into(),
        };
        Ok((page, cost))
    }

    /// Last picture, updated with the newly read parts.
    fn as_read(&self, picture: &Picture, stale: &[Rect], recalled: &[Rect]) -> Arc<Picture> {
        if stale.is_empty() {
            return Arc::clone(&self.picture);
        }
        let mut read = Picture::clone(&self.picture);
        for rect in stale {
            read.paste(picture, rect);
        }
        for rect in recalled {
            let stood = motion::same(&self.picture, picture, rect, 0);
            read.paste(if stood { &self.picture } else { picture }, rect);
        }
        Arc::new(read)
    }

    /// Changed areas of the picture, extended to whole lines.
    fn stale(&self, picture: &Picture) -> Vec<Rect> {
        let (width, height) = (picture.width, picture.height);
        let columns = width.div_ceil(CELL);
        let mut cells = motion::cells(&self.picture, picture);
        motion::close_gaps(&mut cells, columns, WORDS_APART);
        let mut rects = regions(&cells, columns, CELL, width, height);
        let unsure = (self.lines.iter()).filter(|line| self.is_sharper(picture, line));
        rects.extend(unsure.map(|line| line.rect));
        rects.extend(self.unread.iter());
        loop {
            let before = rects.len();
            let area: u64 = rects.iter().map(Rect::area).sum();
            let touched = self
                .lines
                .iter()
                .map(|line| line.rect)
                .filter(|line| rects.iter().any(|rect| rect.meets(line)));
            let touched: Vec<_> = touched.collect();
            rects.extend(touched);
            rects = merged(rects);
            if rects.len() == before && rects.iter().map(Rect::area).sum::<u64>() == area {
                break;
            }
        }
        let area: u64 = rects.iter().map(Rect::area).sum();
        if area as f64 > MOST_OF_IT * (f64::from(width) * f64::from(height)) {
            return vec![Rect {
                x: 0,
                y: 0,
                width,
                height,
            }];
        }
        rects
    }

    /// True if a line of low confidence may be read better now.
    fn is_sharper(&self, picture: &Picture, line: &TextLine) -> bool {
        let hard = !line.text.is_empty() && line.confidence < SURE;
        hard && motion::sharpened(&self.picture, picture, &line.rect)
    }

    /// Line at this place in the last result, or `down` rows above, if it is
    /// unchanged.
    fn recall(&self, picture: &Picture, rect: &Rect, down: i32) -> Option<TextLine> {
        let near = |a: u32, b: u32| a.abs_diff(b) <= SAME_PLACE;
        let above = rect.y.checked_add_signed(-down)?;
        let line = self.lines.iter().find(|line| {
            let old = &line.rect;
            near(old.x, rect.x)
                && near(old.y, above)
                && near(old.width, rect.width)
                && near(old.height, rect.height)
        })?;
        let there = Rect {
            y: line.rect.y.checked_add_signed(down)?,
            ..line.rect
        };
        // Both boxes: the old and the new one.
        let same = !self.is_sharper(picture, line)
            && motion::same(&self.picture, picture, &there, down)
            && motion::same(&self.picture, picture, rect, down);
        same.then(|| TextLine {
            rect: there,
            ..line.clone()
        })
    }
}

/// Bands of a rectangle for detection, with their overlap: all of it, or rows
/// from the top.
fn bands(rect: &Rect, width: u32, height: u32) -> Vec<(Rect, Rect)> {
    if rect.area() <= BAND {
        return vec![(*rect, rect.grown(MARGIN, width, height))];
    }
    let rows = (BAND / u64::from(rect.width)) as u32;
    let rows = rows.saturating_sub(2 * OVERLAP).max(OVERLAP);
    let tops = (rect.y..rect.bottom()).step_by(rows as usize);
    let band = |y: u32| {
        let band = Rect {
            y,
            height: rows.min(rect.bottom() - y),
            ..*rect
        };
        let tall = band.grown(OVERLAP, width, height);
        let seen = Rect {
            y: tall.y,
            height: tall.height,
            ..band.grown(MARGIN, width, height)
        };
        (band, seen)
    };
    tops.map(band).collect()
}

fn centre(rect: &Rect) -> Rect {
    Rect {
        x: rect.x + rect.width / 2,
        y: rect.y + rect.height / 2,
        width: 1,
        height: 1,
    }
}

/// Prior result of a detected line, which decides if it has to be read.
pub(super) enum KnownLine {
    /// Text known from the last result.
    Line(TextLine),
    /// Outside the requested part.
    Elsewhere,
    No,
}

/// Sorts lines into rows from the top, each from the left. Two lines share a
/// row when the middle of one is within the other.
fn in_reading_order(lines: &mut Vec<TextLine>) {
    lines.sort_by_key(|line| 2 * line.rect.y + line.rect.height);
    let mut ordered = Vec::with_capacity(lines.len());
    let mut row: Vec<TextLine> = Vec::new();
    for line in lines.drain(..) {
        let middle = line.rect.y + line.rect.height / 2;
        let fits = row
            .first()
            .is_none_or(|first| (first.rect.y..first.rect.bottom()).contains(&middle));
        if !fits {
            row.sort_by_key(|line| line.rect.x);
            ordered.append(&mut row);
        }
        row.push(line);
    }
    row.sort_by_key(|line| line.rect.x);
    ordered.append(&mut row);
    *lines = ordered;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rect(x: u32, y: u32) -> Rect {
        Rect {
            x,
            y,
            width: 50,
            height: 20,
        }
    }

    fn line(text: &str, rect: Rect) -> TextLine {
        TextLine {
            text: text.to_owned(),
            rect,
            confidence: 1.0,
        }
    }

    fn paint(picture: &mut Picture, rect: Rect) {
        for y in rect.y..rect.bottom() {
            for x in rect.x..rect.right() {
                let at = (y * picture.width + x) as usize;
                picture.y[at] = if (x * 7 + (y - rect.y) * 3).is_multiple_of(5) {
                    250
                } else {
                    20
                };
            }
        }
    }

    #[test]
    fn line_is_reused_until_it_changes() {
        let place = Rect {
            x: 10,
            y: 10,
            width: 200,
            height: 20,
        };
        let old = Arc::new(Picture::grey(320, 240));
        let page = RecognisedScreen {
            picture: Arc::clone(&old),
            unread: Arc::from([]),
            lines: Arc::from([line("restarts 3", place)]),
        };
        let shifted = Rect {
            x: 12,
            width: 199,
            ..place
        };
        assert_eq!(page.recall(&old, &shifted, 0), Some(page.lines[0].clone()));
        assert_eq!(page.recall(&old, &Rect { y: 40, ..place }, 0), None);
        let mut new = Picture::grey(320, 240);
        paint(
            &mut new,
            Rect {
                x: 200,
                y: 14,
                width: 6,
                height: 10,
            },
        );
        assert_eq!(page.recall(&new, &place, 0), None);
        let stale = page.stale(&new);
        assert_eq!(stale.len(), 1);
        assert_eq!(stale[0].with(&place), stale[0], "the whole of the line");
        assert_eq!(page.stale(&old), []);
    }

    #[test]
    fn scrolled_line_is_reused_at_its_new_place() {
        let mut old = Picture::grey(320, 240);
        paint(&mut old, rect(20, 100));
        let mut new = Picture::grey(320, 240);
        paint(&mut new, rect(20, 76));
        let page = RecognisedScreen {
            picture: Arc::new(old),
            unread: Arc::from([]),
            lines: Arc::from([line("one event", rect(20, 100))]),
        };
        assert_eq!(page.recall(&new, &rect(20, 76), 0), None);
        let found = page
            .recall(&new, &rect(20, 76), -24)
            .expect("it only moved");
        assert_eq!(
            (found.text.as_str(), found.rect),
            ("one event", rect(20, 76))
        );
    }

    #[test]
    fn picture_of_any_size_is_covered_without_downscaling() {
        for (width, height) in [(1920, 1080), (3840, 2160), (7680, 4320), (16_384, 16_384)] {
            let all = Rect {
                x: 0,
                y: 0,
                width,
                height,
            };
            let bands = bands(&all, width, height);
            let mut next = 0;
            for (band, seen) in &bands {
                assert_eq!((band.x, band.y, band.width), (0, next, width));
                assert!(seen.area() <= BAND, "{width}x{height}: {seen:?}");
                assert_eq!(seen.with(band), *seen);
                next = band.bottom();
            }
            assert_eq!(next, height, "{width}x{height}");
            assert_eq!(bands.len() == 1, width <= 3840);
        }
    }

    #[test]
    fn unread_parts_are_read_next_without_motion() {
        let unread = rect(100, 100);
        let page = RecognisedScreen {
            picture: Arc::new(Picture::grey(320, 240)),
            lines: Arc::from([line("beside it", rect(10, 10))]),
            unread: Arc::from([unread]),
        };
        assert_eq!(page.stale(&Picture::grey(320, 240)), [unread]);
    }

    #[test]
    fn table_is_read_row_by_row() {
        let at = |x, y| line("", rect(x, y));
        let mut lines = vec![
            at(200, 103),
            at(0, 100),
            at(100, 60),
            at(0, 61),
            at(100, 98),
        ];
        in_reading_order(&mut lines);
        let order: Vec<_> = lines
            .iter()
            .map(|line| (line.rect.x, line.rect.y))
            .collect();
        assert_eq!(order, [(0, 61), (100, 60), (0, 100), (100, 98), (200, 103)]);
    }
}

//! Significance of changes on a picture.
//!
//! The change gate compares pixels; this compares content. A model is asked
//! when the text has changed, or a part of the picture without text that does
//! not move permanently.

use std::collections::HashSet;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::page::RecognisedScreen;
use crate::changed_regions::Changes;
use crate::motion;
use crate::motion::CELL;
use crate::picture::{Rect, TextLine};
use crate::redact::is_unreadable;
use crate::text::{SURE, diff};

/// Minimum changed pixels outside text: a small chart has 300x200.
const CHART: u64 = 24_000;
/// Minimum interval of reports for graphics alone: a ticking one is recognised
/// by then.
const DRAWINGS: SignedDuration = SignedDuration::from_secs(10);
/// Minimum lines that were unreadable at the last report and are readable now:
/// fewer were under the mouse pointer.
const CLEARED: usize = 4;
/// Minimum share of new lines, and minimum number of lines, for another page
/// rather than a passing mouse pointer.
const ANOTHER: f64 = 0.5;
const PAGE: usize = 4;
/// Minimum interval of reports for them, as a picture sharpens gradually.
const CLEARING: SignedDuration = SignedDuration::from_secs(2);
/// Margin around a line in pixels, as its shadow and cursor are no chart.
const MARGIN: u32 = 16;

/// State of the screen last reported to the analysts.
#[derive(Debug)]
pub(super) struct ReportedScreen {
    pub(super) generation: u64,
    /// Number of this report, counted from 1.
    pub(super) nth: u64,
    page: Arc<RecognisedScreen>,
    at: Timestamp,
    /// Lines that appeared (true) or vanished at the last OCR, to be confirmed
    /// by the next.
    unsure: HashSet<(bool, String)>,
}

impl ReportedScreen {
    pub(super) fn new(generation: u64, page: Arc<RecognisedScreen>, at: Timestamp) -> Self {
        Self {
            generation,
            nth: 1,
            page,
            at,
            unsure: HashSet::new(),
        }
    }

    pub(super) fn has_news(
        &mut self,
        page: &RecognisedScreen,
        changes: &Changes,
        at: Timestamp,
    ) -> bool {
        let size = |page: &RecognisedScreen| (page.picture.width, page.picture.height);
        if size(&self.page) != size(page) {
            return true;
        }
        let rest = at.duration_since(self.at);
        self.is_another(page, changes)
            || self.says_more(page, changes)
            || (rest >= CLEARING && self.has_cleared(page))
            || (rest >= DRAWINGS && self.draws_more(page, changes))
    }

    /// True if text is readable now that was painted over as unread.
    fn has_cleared(&self, page: &RecognisedScreen) -> bool {
        let hidden = self.page.lines.iter().filter(|line| is_unreadable(line));
        let can_be_read = |hidden: &&TextLine| {
            let mut there = page.lines.iter().filter(|new| new.rect.meets(&hidden.rect));
            there.clone().next().is_some() && !there.any(is_unreadable)
        };
        let cleared = hidden.filter(can_be_read).count();
        if cleared >= CLEARED {
            tracing::debug!(lines = cleared, "blurred lines now readable");
        }
        // Areas painted over because OCR ran out of time for them.
        let now_read = |rect: &&Rect| {
            let still = page.unread.iter().any(|unread| unread.meets(rect));
            !still && page.lines.iter().any(|line| line.rect.meets(rect))
        };
        cleared >= CLEARED || self.page.unread.iter().any(|rect| now_read(&rect))
    }

    /// True if most of the readable lines are new and sharp, on a settled
    /// picture: such a page may be gone by the second OCR.
    fn is_another(&self, page: &RecognisedScreen, changes: &Changes) -> bool {
        let sharp = page.lines.iter().filter(|line| line.confidence >= SURE);
        let sharp = sharp.count();
        // OCR of a sharpening picture differs each time.
        let blurred = page.lines.iter().filter(|line| is_unreadable(line)).count();
        if changes.settling || sharp < PAGE || blurred > sharp / 4 {
            return false;
        }
        let appeared = diff(&self.page.lines, &page.lines).appeared.len();
        let another = appeared >= PAGE && appeared as f64 >= ANOTHER * sharp as f64;
        if another {
            tracing::debug!(lines = appeared, "page changed");
        }
        another
    }

    /// Number of lines seen once and never reported.
    pub(super) fn unreported(&self, page: &RecognisedScreen) -> usize {
        let gone = |text: &str| !page.lines.iter().any(|line| line.text == text);
        let once = self.unsure.iter().filter(|(here, _)| *here);
        once.filter(|(_, text)| gone(text)).count()
    }

    /// True if there is a line where none was, or two consecutive OCR results
    /// agree that a line changed or vanished: a passing mouse pointer or a
    /// blurred picture alters a single result.
    fn says_more(&mut self, page: &RecognisedScreen, changes: &Changes) -> bool {
        let diff = diff(&self.page.lines, &page.lines);
        let appeared: Vec<&TextLine> = (diff.appeared.iter())
            .map(|index| &page.lines[*index])
            .collect();
        let new = |line: &&&TextLine| {
            let stood = |other: &TextLine| other.rect.meets(&line.rect);
            changes.touch(&line.rect, self.generation) && !self.page.lines.iter().any(stood)
        };
        if let Some(line) = appeared.iter().find(new) {
            tracing::debug!(rect = ?line.rect, "line appeared");
            return true;
        }
        let gone = (diff.vanished.iter().map(|index| &self.page.lines[*index]))
            .filter(|line| !page.lines.iter().any(|other| other.rect.meets(&line.rect)));
        let unsure: HashSet<(bool, String)> = (appeared.iter().map(|line| (true, *line)))
            .chain(gone.map(|line| (false, line)))
            .map(|(here, line)| (here, line.text.clone()))
            .collect();
        let again = !unsure.is_disjoint(&self.unsure);
        if again {
            let rects: Vec<_> = appeared.iter().map(|line| line.rect).collect();
            tracing::debug!(?rects, "lines changed, reading again");
        }
        self.unsure = unsure;
        again
    }

    /// True if another OCR is needed to confirm a change.
    pub(super) fn is_unsure(&self) -> bool {
        !self.unsure.is_empty()
    }

    fn draws_more(&self, page: &RecognisedScreen, changes: &Changes) -> bool {
        let drawn = self.drawn(page, changes);
        if drawn >= CHART {
            tracing::debug!(pixels = drawn, "graphics changed");
        }
        drawn >= CHART
    }

    /// Changed pixels outside text, without permanently changing parts.
    fn drawn(&self, page: &RecognisedScreen, changes: &Changes) -> u64 {
        let (width, height) = (page.picture.width, page.picture.height);
        let columns = width.div_ceil(CELL);
        let mut cells = motion::cells(&self.page.picture, &page.picture);
        let noisy = |x: u32, y: u32| {
            let at = (y / changes.tile) * changes.columns + x / changes.tile;
            changes.noisy.get(at as usize).copied().unwrap_or(false)
        };
        for line in self.page.lines.iter().chain(page.lines.iter()) {
            clear(&mut cells, columns, &line.rect.grown(MARGIN, width, height));
        }
        let moved = (0..)
            .zip(&cells)
            .filter(|(at, moved)| **moved && !noisy(at % columns * CELL, at / columns * CELL));
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
    use super::*;
    use crate::picture::Picture;

    fn page(text: &str, chart: u8) -> Arc<RecognisedScreen> {
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
        Arc::new(RecognisedScreen {
            picture: Arc::new(picture),
            lines: Arc::from([line]),
            unread: Arc::from([]),
        })
    }

    #[test]
    fn sharpened_picture_is_reported() {
        let with = |confidences: [f32; 5]| {
            let one = page("a line of words", 50);
            let lines = (0..).zip(confidences).map(|(at, confidence)| TextLine {
                confidence,
                rect: Rect {
                    y: 20 + 30 * at,
                    ..one.lines[0].rect
                },
                ..one.lines[0].clone()
            });
            Arc::new(RecognisedScreen {
                picture: Arc::clone(&one.picture),
                lines: lines.collect(),
                unread: Arc::from([]),
            })
        };
        let after =
            |milliseconds| Timestamp::UNIX_EPOCH + SignedDuration::from_millis(milliseconds);
        let changes = Changes::all(2, Timestamp::UNIX_EPOCH);
        let (blurred, sharp) = (with([0.7; 5]), with([0.95; 5]));
        let mut reported = ReportedScreen::new(1, Arc::clone(&blurred), after(0));
        assert!(
            !reported.has_news(&sharp, &changes, after(1900)),
            "too soon"
        );
        assert!(
            !reported.has_news(&blurred, &changes, after(2000)),
            "no better"
        );
        let mouse = with([0.95, 0.95, 0.95, 0.7, 0.7]);
        assert!(
            !reported.has_news(&mouse, &changes, after(2000)),
            "too little"
        );
        assert!(reported.has_news(&sharp, &changes, after(2000)));
    }

    #[test]
    fn sharp_new_page_counts_at_once_and_a_few_lines_do_not() {
        let with = |words: &str, confidence| {
            let one = page("", 50);
            let lines = (0..12u32).map(|at| TextLine {
                text: format!("{words} number {}", char::from(b'a' + at as u8)),
                confidence,
                rect: Rect {
                    y: 20 + 24 * at,
                    ..one.lines[0].rect
                },
            });
            RecognisedScreen {
                picture: Arc::clone(&one.picture),
                lines: lines.collect(),
                unread: Arc::from([]),
            }
        };
        let settled = Changes {
            settling: false,
            ..Changes::all(2, Timestamp::UNIX_EPOCH)
        };
        let blurring = Changes::all(2, Timestamp::UNIX_EPOCH);
        let soon = Timestamp::UNIX_EPOCH + SignedDuration::from_secs(1);
        let reported = || {
            let first = Arc::new(with("queue depth of worker", 0.97));
            ReportedScreen::new(1, first, Timestamp::UNIX_EPOCH)
        };
        let next = with("replication lag on database", 0.97);
        assert!(reported().has_news(&next, &settled, soon), "another page");
        assert!(!reported().has_news(&next, &blurring, soon), "it settles");
        let same = with("queue depth of worker", 0.97);
        assert!(!reported().has_news(&same, &settled, soon), "the same");
        let mut some = with("queue depth of worker", 0.97);
        let lines: Vec<_> = (some.lines.iter().zip(next.lines.iter()).enumerate())
            .map(|(at, (old, new))| if at < 3 { new.clone() } else { old.clone() })
            .collect();
        some.lines = lines.into();
        let mut reported = reported();
        assert!(!reported.has_news(&some, &settled, soon), "a mouse, once");
        assert_eq!(reported.unreported(&same), 3, "gone before a report");
        assert_eq!(reported.unreported(&some), 0, "still there");
    }

    #[test]
    fn only_text_and_charts_are_reported() {
        let mut reported = ReportedScreen::new(1, page("errors 3", 50), Timestamp::UNIX_EPOCH);
        let changes = Changes::all(2, Timestamp::UNIX_EPOCH);
        let later = Timestamp::UNIX_EPOCH + SignedDuration::from_secs(10);
        assert!(!reported.has_news(&page("errors 3", 50), &changes, later));
        let blurred = page("errors 8", 50);
        assert!(
            !reported.has_news(&blurred, &changes, later),
            "once is unsure"
        );
        assert!(reported.is_unsure());
        assert!(!reported.has_news(&page("errors 4", 50), &changes, later));
        assert!(reported.has_news(&page("errors 4", 50), &changes, later));
        let empty = RecognisedScreen {
            picture: Arc::clone(&page("", 50).picture),
            lines: Arc::from([]),
            unread: Arc::from([]),
        };
        let mut reported = ReportedScreen::new(1, Arc::new(empty), Timestamp::UNIX_EPOCH);
        assert!(
            reported.has_news(&page("errors 4", 50), &changes, later),
            "where nothing was"
        );
        let mut reported = ReportedScreen::new(1, page("errors 3", 50), Timestamp::UNIX_EPOCH);
        assert!(reported.has_news(&page("errors 3", 200), &changes, later));
        let soon = Timestamp::UNIX_EPOCH + SignedDuration::from_secs(9);
        assert!(
            !reported.has_news(&page("errors 3", 200), &changes, soon),
            "it may tick"
        );
        let ticking = Changes {
            columns: 20,
            generations: vec![1; 20 * 12],
            noisy: vec![true; 20 * 12],
            ..changes
        };
        assert!(
            !reported.has_news(&page("errors 3", 200), &ticking, later),
            "it always does"
        );
    }
}

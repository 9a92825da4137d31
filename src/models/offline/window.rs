//! Rows counted by rules with a window, on the last frames of one stream.
//!
//! A row counts once, from the time it appeared, however long it stays. Times
//! are capture times of frames: a replay runs faster than the wall clock.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use jiff::{SignedDuration, Timestamp};

/// Newest rows remembered per rule: far more than any threshold, and 20 kB.
pub(super) const MOST_ROWS: usize = 512;

/// Rows by rule.
#[derive(Debug, Default)]
pub(super) struct Windows(HashMap<String, SightingWindow>);

impl Windows {
    pub(super) fn of(&mut self, rule: &str) -> &mut SightingWindow {
        self.0.entry(rule.to_owned()).or_default()
    }
}

#[derive(Debug, Default)]
pub(super) struct SightingWindow {
    /// Capture time of the frame under analysis.
    at: Timestamp,
    length: SignedDuration,
    rows: VecDeque<Sighting>,
}

#[derive(Debug)]
struct Sighting {
    subject: u64,
    row: u64,
    first: Timestamp,
    last: Timestamp,
}

impl SightingWindow {
    /// Starts a frame captured at that time.
    pub(super) fn turn_to(&mut self, at: Timestamp, length: SignedDuration) {
        self.at = at;
        self.length = length;
        // A row still on screen stays known, so that it is not counted again. A
        // clock set back leaves nothing in the future.
        self.rows
            .retain(|row| row.first <= at && at.duration_since(row.last) <= length);
    }

    /// Adds the rows of a subject on this screen; returns how many appeared
    /// within the window. Equal rows on one screen count separately.
    pub(super) fn count(&mut self, subject: &str, rows: impl Iterator<Item = String>) -> usize {
        let subject = hash(&subject);
        let mut same: HashMap<String, usize> = HashMap::new();
        for text in rows {
            let nth = same.entry(text.clone()).or_default();
            *nth += 1;
            self.see(subject, hash(&(text, *nth)));
        }
        let recent = self.rows.iter().filter(|row| {
            row.subject == subject && self.at.duration_since(row.first) <= self.length
        });
        recent.count()
    }

    fn see(&mut self, subject: u64, row: u64) {
        let known = self
            .rows
            .iter_mut()
            .find(|known| known.subject == subject && known.row == row);
        if let Some(known) = known {
            known.last = self.at;
            return;
        }
        if self.rows.len() == MOST_ROWS {
            self.rows.pop_front();
        }
        self.rows.push_back(Sighting {
            subject,
            row,
            first: self.at,
            last: self.at,
        });
    }
}

/// Hasher with fixed keys, the same in every run.
fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: SignedDuration = SignedDuration::from_secs(60);

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn count(window: &mut SightingWindow, at: i64, rows: &[&str]) -> usize {
        window.turn_to(second(at), MINUTE);
        window.count("rule", rows.iter().map(|row| (*row).to_owned()))
    }

    #[test]
    fn row_counts_once_within_the_window() {
        let mut window = SightingWindow::default();
        assert_eq!(count(&mut window, 0, &["09:00:01"]), 1);
        assert_eq!(count(&mut window, 30, &["09:00:01", "09:00:29"]), 2);
        assert_eq!(count(&mut window, 60, &["09:00:29", "09:00:59"]), 3);
        assert_eq!(count(&mut window, 61, &["09:00:29", "09:00:59"]), 2);
        assert_eq!(count(&mut window, 300, &["09:00:59"]), 1, "back after long");
        for at in 301..=400 {
            let fresh = usize::from(at <= 360);
            assert_eq!(count(&mut window, at, &["09:00:59"]), fresh, "second {at}");
        }
    }

    #[test]
    fn equal_rows_count_separately_and_scrolled_ones_once() {
        let mut window = SightingWindow::default();
        assert_eq!(count(&mut window, 0, &["failed", "failed", "failed"]), 3);
        assert_eq!(count(&mut window, 5, &["failed", "failed"]), 3);
        assert_eq!(count(&mut window, 9, &["failed"; 4]), 4);
    }

    #[test]
    fn subjects_are_counted_separately() {
        let mut window = SightingWindow::default();
        window.turn_to(second(0), MINUTE);
        assert_eq!(window.count("a", ["x".to_owned()].into_iter()), 1);
        assert_eq!(window.count("b", ["x".to_owned()].into_iter()), 1);
        assert_eq!(window.count("a", ["y".to_owned()].into_iter()), 2);
    }

    #[test]
    fn clock_set_back_resets_the_window() {
        let mut window = SightingWindow::default();
        assert_eq!(count(&mut window, 1000, &["a", "b"]), 2);
        assert_eq!(count(&mut window, 10, &["c"]), 1);
    }

    #[test]
    fn remembered_rows_are_bounded() {
        let mut window = SightingWindow::default();
        window.turn_to(second(0), MINUTE);
        let rows = (0..10 * MOST_ROWS).map(|row| row.to_string());
        assert_eq!(window.count("rule", rows), MOST_ROWS);
        assert_eq!(window.rows.len(), MOST_ROWS);
    }
}

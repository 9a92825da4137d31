//! Reports on a stream whose subjects are still on its screen.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;

use watchtower_domain::finding::Severity;

use super::window::Windows;

/// Frames a subject must be absent for before it is reported again, while the
/// rest of the screen is the same: OCR misses a line now and then.
const GONE_FOR: u32 = 2;
/// Minimum share of rows in common with the last screen. Below it is another
/// screen, where an absent subject is gone at once.
const SAME_SCREEN: f64 = 0.3;

#[derive(Debug, Default)]
pub(super) struct OfflineMemory {
    /// Capture time of the last frame.
    pub(super) at: Timestamp,
    rows: HashSet<String>,
    reported: HashMap<String, ReportedSubject>,
    pub(super) windows: Windows,
}

#[derive(Debug)]
struct ReportedSubject {
    count: usize,
    severity: Severity,
    /// Frames since it was last on the screen.
    gone: u32,
}

impl OfflineMemory {
    /// Begins a frame with these rows.
    pub(super) fn turn_to(&mut self, rows: HashSet<String>) {
        let shared = rows.intersection(&self.rows).count() as f64;
        let same = shared >= SAME_SCREEN * rows.len().min(self.rows.len()) as f64;
        let patience = if same { GONE_FOR } else { 1 };
        // Seen on the last frame: `gone` is 1 now, and 0 again if it is seen on
        // this one.
        self.reported.retain(|_, reported| {
            reported.gone += 1;
            reported.gone <= patience
        });
        self.rows = rows;
    }

    /// True if it is new, or its count has doubled or its severity risen since
    /// it was last reported.
    pub(super) fn is_news(&mut self, key: &str, count: usize, severity: Severity) -> bool {
        match self.reported.get_mut(key) {
            None => {
                self.reported.insert(
                    key.to_owned(),
                    ReportedSubject {
                        count,
                        severity,
                        gone: 0,
                    },
                );
                true
            }
            Some(reported) => {
                reported.gone = 0;
                let grown = count >= 2 * reported.count || severity < reported.severity;
                if grown {
                    reported.count = count;
                    reported.severity = severity;
                }
                grown
            }
        }
    }
}

/// Letters and digits only, with those that OCR confuses made equal.
pub(super) fn folded(text: &str) -> String {
    let kept = text
        .chars()
        .flat_map(char::to_lowercase)
        .filter(|c| c.is_alphanumeric())
        .map(|c| match c {
            'o' => '0',
            'l' | 'i' => '1',
            's' => '5',
            c => c,
        });
    kept.collect::<String>().replace("rn", "m")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(texts: &[&str]) -> HashSet<String> {
        texts.iter().map(|text| folded(text)).collect()
    }

    #[test]
    fn subject_is_reported_once_and_again_after_it_returns() {
        let mut memory = OfflineMemory::default();
        let page = ["a", "b", "c", "d"];
        for (frame, on_screen, news) in [
            (1, true, true),
            (2, true, false),
            (3, false, false),
            (4, true, false),
            (5, true, false),
        ] {
            memory.turn_to(rows(&page));
            assert_eq!(
                on_screen && memory.is_news("key", 1, Severity::High),
                news,
                "look {frame}"
            );
        }
        memory.turn_to(rows(&["w", "x", "y", "z"]));
        memory.turn_to(rows(&page));
        assert!(memory.is_news("key", 1, Severity::High));
    }

    #[test]
    fn growth_is_reported() {
        let mut memory = OfflineMemory::default();
        memory.turn_to(rows(&["a"]));
        assert!(memory.is_news("key", 5, Severity::Medium));
        assert!(!memory.is_news("key", 9, Severity::Medium));
        assert!(memory.is_news("key", 10, Severity::Medium));
        assert!(memory.is_news("key", 10, Severity::High));
    }

    #[test]
    fn ocr_confusions_are_folded() {
        assert_eq!(folded("P0D-l00 morn"), folded("POD-I0O mom"));
    }
}

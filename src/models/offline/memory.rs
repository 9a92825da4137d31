//! Reports on a stream whose subjects are still on its screen.

use std::collections::{HashMap, HashSet};

use jiff::{SignedDuration, Timestamp};

use watchtower_domain::finding::Severity;

use super::window::Windows;

/// Frames a subject must be absent for before it is reported again, while the
/// rest of the screen is the same: OCR misses a line now and then.
const GONE_FOR: u32 = 2;
/// Time it must be absent besides: each OCR result is analysed, and a window in
/// front or a passing mouse takes several.
const GONE_LONG: SignedDuration = SignedDuration::from_secs(5);
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
    /// Frames since it was last on the screen, and the time of that one.
    gone: u32,
    seen_at: Timestamp,
}

impl OfflineMemory {
    /// Starts a frame with these rows and this capture time.
    pub(super) fn turn_to(&mut self, rows: HashSet<String>, at: Timestamp) {
        self.at = at;
        let shared = rows.intersection(&self.rows).count() as f64;
        let same = shared >= SAME_SCREEN * rows.len().min(self.rows.len()) as f64;
        let patience = if same { GONE_FOR } else { 1 };
        // Seen in the last frame: `gone` is 1 now, and 0 again if it is here.
        self.reported.retain(|_, reported| {
            reported.gone += 1;
            let gone = at.duration_since(reported.seen_at);
            // A clock that was set back proves nothing.
            reported.gone <= patience || !gone.is_negative() && gone < GONE_LONG
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
                        seen_at: self.at,
                    },
                );
                true
            }
            Some(reported) => {
                reported.gone = 0;
                reported.seen_at = self.at;
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

/// Keeps letters and digits only, with OCR look-alikes made equal.
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

    fn second(second: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_secs(second)
    }

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
            memory.turn_to(rows(&page), second(10 * frame));
            assert_eq!(
                on_screen && memory.is_news("key", 1, Severity::High),
                news,
                "look {frame}"
            );
        }
        memory.turn_to(rows(&["w", "x", "y", "z"]), second(60));
        memory.turn_to(rows(&page), second(70));
        assert!(memory.is_news("key", 1, Severity::High));
    }

    #[test]
    fn a_short_absence_is_ignored_however_many_frames_it_spans() {
        let mut memory = OfflineMemory::default();
        let (page, other) = (["a", "b", "c", "d"], ["w", "x", "y", "z"]);
        memory.turn_to(rows(&page), second(0));
        assert!(memory.is_news("key", 1, Severity::High));
        for half in 2..10 {
            let at = Timestamp::UNIX_EPOCH + SignedDuration::from_millis(500 * half);
            memory.turn_to(rows(if half < 6 { &page } else { &other }), at);
        }
        memory.turn_to(rows(&page), second(4));
        assert!(!memory.is_news("key", 1, Severity::High), "4 s");
        memory.turn_to(rows(&other), second(6));
        memory.turn_to(rows(&other), second(10));
        memory.turn_to(rows(&page), second(12));
        assert!(memory.is_news("key", 1, Severity::High), "8 s");
    }

    #[test]
    fn growth_is_reported() {
        let mut memory = OfflineMemory::default();
        memory.turn_to(rows(&["a"]), second(0));
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

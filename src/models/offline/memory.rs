//! Reports made about a stream whose subjects are still on its screen.

use std::collections::{HashMap, HashSet};

use jiff::{SignedDuration, Timestamp};

use watchtower_domain::finding::Severity;

use super::window::Windows;

/// Looks something has to be gone for before it is news again, as long as the
/// rest of the screen is the same: OCR misses a line now and then.
const GONE_FOR: u32 = 2;
/// So long it has to be gone besides: every reading is looked at, and a window
/// in front or a mouse that passes takes several.
const GONE_LONG: SignedDuration = SignedDuration::from_secs(5);
/// A screen that shares fewer of its rows with the last one is another screen:
/// what was gone at the first look is gone.
const SAME_SCREEN: f64 = 0.3;

#[derive(Debug, Default)]
pub(super) struct OfflineMemory {
    /// When the screen last looked at was captured.
    pub(super) at: Timestamp,
    rows: HashSet<String>,
    said: HashMap<String, ReportedSubject>,
    pub(super) windows: Windows,
}

#[derive(Debug)]
struct ReportedSubject {
    count: usize,
    severity: Severity,
    /// Looks since it was last on the screen, and when that was.
    gone: u32,
    seen_at: Timestamp,
}

impl OfflineMemory {
    /// Begins a look at a screen with these rows, captured at that moment.
    pub(super) fn turn_to(&mut self, rows: HashSet<String>, at: Timestamp) {
        self.at = at;
        let shared = rows.intersection(&self.rows).count() as f64;
        let same = shared >= SAME_SCREEN * rows.len().min(self.rows.len()) as f64;
        let patience = if same { GONE_FOR } else { 1 };
        // Seen at the last look: gone is 1 now, and 0 again if it is here.
        self.said.retain(|_, said| {
            said.gone += 1;
            let gone = at.duration_since(said.seen_at);
            // A clock that was set back says nothing.
            said.gone <= patience || !gone.is_negative() && gone < GONE_LONG
        });
        self.rows = rows;
    }

    /// True if it is new, has doubled or got worse since it was last reported.
    pub(super) fn is_news(&mut self, key: &str, count: usize, severity: Severity) -> bool {
        match self.said.get_mut(key) {
            None => {
                self.said.insert(
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
            Some(said) => {
                said.gone = 0;
                said.seen_at = self.at;
                let grown = count >= 2 * said.count || severity < said.severity;
                if grown {
                    said.count = count;
                    said.severity = severity;
                }
                grown
            }
        }
    }
}

/// Letters and digits only, with those OCR takes for one another made one.
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
    fn it_speaks_once_while_something_stays_and_again_when_it_returns() {
        let mut memory = OfflineMemory::default();
        let page = ["a", "b", "c", "d"];
        for (look, on_screen, news) in [
            (1, true, true),
            (2, true, false),
            (3, false, false),
            (4, true, false),
            (5, true, false),
        ] {
            memory.turn_to(rows(&page), second(10 * look));
            assert_eq!(
                on_screen && memory.is_news("key", 1, Severity::High),
                news,
                "look {look}"
            );
        }
        memory.turn_to(rows(&["w", "x", "y", "z"]), second(60));
        memory.turn_to(rows(&page), second(70));
        assert!(memory.is_news("key", 1, Severity::High));
    }

    #[test]
    fn it_is_not_gone_for_a_moment_however_often_that_is_looked_at() {
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
    fn growth_is_news() {
        let mut memory = OfflineMemory::default();
        memory.turn_to(rows(&["a"]), second(0));
        assert!(memory.is_news("key", 5, Severity::Medium));
        assert!(!memory.is_news("key", 9, Severity::Medium));
        assert!(memory.is_news("key", 10, Severity::Medium));
        assert!(memory.is_news("key", 10, Severity::High));
    }

    #[test]
    fn confusions_fold_together() {
        assert_eq!(folded("P0D-l00 morn"), folded("POD-I0O mom"));
    }
}

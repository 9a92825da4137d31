//! CPU budget for OCR, shared between streams.
//!
//! A token bucket per stream, in CPU seconds; income accrues by the wall clock
//! and is split equally between the buckets that are not full. An expensive
//! stream waits for its own bucket only, and the share that a stream leaves
//! unused goes to the others.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use watchtower_base::stream_name::StreamName;

/// Burst of all streams together after idle time, in seconds of the share:
/// first full screens are read at full speed.
const BURST: f64 = 8.0;

#[derive(Debug)]
pub(super) struct ReadBudget {
    /// Average number of cores that may be used.
    share: f64,
    /// CPU seconds left; negative after a reading that exceeded the budget.
    levels: HashMap<StreamName, f64>,
    at: Instant,
}

impl ReadBudget {
    pub(super) fn new(share: f64, now: Instant) -> Self {
        Self {
            share,
            levels: HashMap::new(),
            at: now,
        }
    }

    /// Credits the CPU time accrued since the last call. An ended stream keeps
    /// its debt until it is paid off, so that reconnecting does not clear it.
    pub(super) fn fill(&mut self, live: &[StreamName], now: Instant) {
        self.levels
            .retain(|stream, level| *level < 0.0 || live.contains(stream));
        let full = BURST * self.share / live.len().max(1) as f64;
        for stream in live {
            let level = self.levels.entry(stream.clone()).or_insert(full);
            *level = level.min(full);
        }
        let mut left = now.saturating_duration_since(self.at).as_secs_f64() * self.share;
        self.at = now;
        // Each round fills at least one bucket.
        for _ in 0..self.levels.len() {
            let mut open: Vec<_> = self
                .levels
                .values_mut()
                .filter(|level| **level < full)
                .collect();
            if left <= 0.0 || open.is_empty() {
                return;
            }
            let part = left / open.len() as f64;
            for level in &mut open {
                let taken = part.min(full - **level);
                **level += taken;
                left -= taken;
            }
        }
    }

    /// Time until the stream may spend CPU, if the demand of the others does
    /// not grow.
    pub(super) fn wait(&self, stream: &StreamName) -> Duration {
        let debt = -self.levels.get(stream).copied().unwrap_or(0.0);
        let others = self.levels.values().filter(|level| **level < 0.0).count();
        let share = self.share / others.max(1) as f64;
        Duration::try_from_secs_f64((debt / share).max(0.0)).unwrap_or(Duration::MAX)
    }

    pub(super) fn spend(&mut self, stream: &StreamName, spent: Duration) {
        if let Some(level) = self.levels.get_mut(stream) {
            *level -= spent.as_secs_f64();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> StreamName {
        StreamName::new(name).expect("valid")
    }

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    fn is_near(wait: Duration, expected: f64) -> bool {
        (wait.as_secs_f64() - expected).abs() < 0.01
    }

    #[test]
    fn a_first_reading_goes_through_and_then_the_share() {
        let start = Instant::now();
        let only = [name("team")];
        let mut budget = ReadBudget::new(0.5, start);
        budget.fill(&only, start);
        assert_eq!(budget.wait(&only[0]), Duration::ZERO);
        budget.spend(&only[0], seconds(6.0));
        assert!(is_near(budget.wait(&only[0]), 4.0));
        budget.fill(&only, start + seconds(4.0));
        assert!(is_near(budget.wait(&only[0]), 0.0));
        budget.fill(&only, start + seconds(3600.0));
        budget.spend(&only[0], seconds(5.0));
        assert!(is_near(budget.wait(&only[0]), 2.0), "no more than a burst");
    }

    #[test]
    fn one_that_costs_much_waits_alone() {
        let start = Instant::now();
        let (large, team) = (name("large"), name("team"));
        let live = [large.clone(), team.clone()];
        let mut budget = ReadBudget::new(0.5, start);
        budget.fill(&live, start);
        // Each reads whenever allowed, for a minute: 9 s and 0.2 s per reading.
        let (mut cpu_large, mut cpu_team, mut now) = (0.0, 0.0, start);
        for _ in 0..600 {
            now += seconds(0.1);
            budget.fill(&live, now);
            if budget.wait(&large).is_zero() {
                budget.spend(&large, seconds(9.0));
                cpu_large += 9.0;
            }
            // It never waits, although the other is always in debt.
            assert!(budget.wait(&team).is_zero());
            if (now - start).as_millis() % 1000 < 100 {
                budget.spend(&team, seconds(0.2));
                cpu_team += 0.2;
            }
        }
        assert!(cpu_team > 11.0, "{cpu_team}");
        // The large one gets the time that the small one leaves; the total is
        // the share.
        assert!((18.0..=27.0).contains(&cpu_large), "{cpu_large}");
        assert!(cpu_large + cpu_team <= 0.5 * 60.0 + 4.0 + 9.0);
    }

    #[test]
    fn leaving_and_coming_back_pays_no_debt() {
        let start = Instant::now();
        let (large, team) = (name("large"), name("team"));
        let mut budget = ReadBudget::new(0.5, start);
        budget.fill(&[large.clone(), team.clone()], start);
        budget.spend(&large, seconds(12.0));
        budget.fill(std::slice::from_ref(&team), start + seconds(1.0));
        budget.fill(&[large.clone(), team], start + seconds(2.0));
        assert!(budget.wait(&large) > seconds(5.0));
    }
}

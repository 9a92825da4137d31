//! CPU time for reading, and each stream's share of it.
//!
//! A bucket per stream; what comes in by the wall clock goes in equal parts to
//! those that are not full. A stream that costs much waits for its own bucket
//! alone, and what one does not need is the others'.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use watchtower_base::stream_name::StreamName;

/// Seconds of the share that may be spent at once after a rest, of all streams
/// together: first full screens, at full speed.
const BURST: f64 = 8.0;

#[derive(Debug)]
pub(super) struct ReadBudget {
    /// Cores that may be spent, averaged.
    share: f64,
    /// Seconds; below zero after a reading that cost more than there was.
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

    /// Credits the CPU time accrued since the last call. A stream that has gone
    /// off the air pays its debt first, so that coming back is no way around it.
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
        // Rounds fill at least one bucket each.
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

    /// Time until something may be spent on that stream, if no other needs
    /// more meanwhile.
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
        // Each takes whatever it may, for a minute: 9 s at once and 0.2 s.
        let (mut cpu_large, mut cpu_team, mut now) = (0.0, 0.0, start);
        for _ in 0..600 {
            now += seconds(0.1);
            budget.fill(&live, now);
            if budget.wait(&large).is_zero() {
                budget.spend(&large, seconds(9.0));
                cpu_large += 9.0;
            }
            // It never waits, though the other is in debt all the time.
            assert!(budget.wait(&team).is_zero());
            if (now - start).as_millis() % 1000 < 100 {
                budget.spend(&team, seconds(0.2));
                cpu_team += 0.2;
            }
        }
        assert!(cpu_team > 11.0, "{cpu_team}");
        // Time the small one leaves is the large one's; over all it is the share.
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

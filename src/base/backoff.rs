//! Exponential backoff with jitter.

use std::time::Duration;

const FIRST: Duration = Duration::from_secs(1);
/// Default cap of a [`Backoff`].
const LONGEST: Duration = Duration::from_secs(30);
/// Cap of a wait that a server requests (`Retry-After`).
const MOST_REQUESTED: Duration = Duration::from_secs(300);

/// Exponential backoff: doubles with every failure from 1 s up to the cap (30 s
/// by default). Each wait is drawn from between half of that and the whole, so
/// that clients of one server do not reconnect at the same moment.
#[derive(Debug)]
pub struct Backoff {
    longest: Duration,
    failures: u32,
}

impl Default for Backoff {
    fn default() -> Self {
        Self::up_to(LONGEST)
    }
}

impl Backoff {
    pub fn up_to(longest: Duration) -> Self {
        Self {
            longest,
            failures: 0,
        }
    }

    /// Wait after one more failure. `requested` is the wait of the server
    /// (`Retry-After`); the longer one counts, up to 5 minutes.
    pub fn next(&mut self, requested: Option<Duration>) -> Duration {
        let whole = FIRST.saturating_mul(1 << self.failures.min(16));
        let whole = whole.min(self.longest);
        self.failures = self.failures.saturating_add(1);
        let wait = whole.mul_f64(rand::random_range(0.5..=1.0));
        requested.map_or(wait, |requested| wait.max(requested.min(MOST_REQUESTED)))
    }

    /// Resets the wait after a success.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_cap_and_respect_retry_after() {
        let mut backoff = Backoff::default();
        for whole in [1, 2, 4, 8, 16, 30, 30, 30] {
            let wait = backoff.next(None);
            let whole = Duration::from_secs(whole);
            assert!((whole / 2..=whole).contains(&wait), "{wait:?} of {whole:?}");
        }
        assert_eq!(
            backoff.next(Some(Duration::from_secs(60))),
            Duration::from_secs(60)
        );
        assert_eq!(
            backoff.next(Some(Duration::from_secs(999_999))),
            MOST_REQUESTED
        );
        let mut longer = Backoff::up_to(Duration::from_secs(60));
        let waits: Vec<_> = (0..8).map(|_| longer.next(None)).collect();
        assert!((Duration::from_secs(16)..=Duration::from_secs(32)).contains(&waits[5]));
        for wait in &waits[6..] {
            assert!((Duration::from_secs(30)..=Duration::from_secs(60)).contains(wait));
        }
        backoff.reset();
        assert!(backoff.next(None) <= FIRST);
    }
}

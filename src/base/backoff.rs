//! Delay before the next attempt.

use std::time::Duration;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);
/// Longest wait a server may ask for.
const MOST_ASKED: Duration = Duration::from_secs(300);

/// Doubles with every failure from 1 s up to 30 s; what is waited is anything
/// between half of that and the whole, so that many who lost the same server
/// do not return in the same moment.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The wait after one more failure. `asked` is the server's own wish
    /// (`Retry-After`), which counts when longer, up to 5 minutes.
    pub fn next(&mut self, asked: Option<Duration>) -> Duration {
        let whole = FIRST.saturating_mul(1 << self.failures.min(5)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        let wait = whole.mul_f64(rand::random_range(0.5..=1.0));
        asked.map_or(wait, |asked| wait.max(asked.min(MOST_ASKED)))
    }

    /// After a success.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_limit_and_a_server_is_heard() {
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
        assert_eq!(backoff.next(Some(Duration::from_secs(999_999))), MOST_ASKED);
        backoff.reset();
        assert!(backoff.next(None) <= FIRST);
    }
}

//! Rate limit of wrong stream keys per address: responses are delayed longer
//! each time, then the address is blocked for a while.

use std::time::{Duration, Instant};

use watchtower_base::failure_limit::FailureRecord;

/// Consecutive wrong keys without a block, only delayed responses: a person
/// pasting a key gets it right within these.
const FREE_GUESSES: u32 = 5;
/// Limits an attacker with 256 connections to 26 guesses a second, while an
/// encoder that retries gets in soon after its key was corrected.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Maximum delay of the response to a wrong key; with closing it stays within
/// the second that the contract gives.
const LONGEST_DELAY: Duration = Duration::from_millis(400);
/// Time without a wrong key after which the count is reset.
const MEMORY: Duration = Duration::from_secs(120);

/// Consecutive wrong keys of an address.
#[derive(Debug, Clone, Copy)]
pub(super) struct KeyGuesses {
    count: u32,
    last: Instant,
}

impl KeyGuesses {
    /// Delay of the response to the most recent one.
    pub(super) fn delay(self) -> Duration {
        (Duration::from_millis(25) * (1 << self.count.min(6))).min(LONGEST_DELAY)
    }
}

impl FailureRecord for KeyGuesses {
    fn failed(before: Option<Self>, now: Instant) -> Self {
        let count = before.map_or(0, |before| before.count).saturating_add(1);
        Self { count, last: now }
    }

    fn is_blocked(&self, now: Instant) -> bool {
        let Some(over) = self.count.checked_sub(FREE_GUESSES) else {
            return false;
        };
        let pause = Duration::from_millis(500) * (1 << over.min(5));
        now < self.last + pause.min(LONGEST_PAUSE)
    }

    fn is_forgotten(&self, now: Instant) -> bool {
        now >= self.last + MEMORY
    }

    fn last_failure(&self) -> Instant {
        self.last
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;
    use watchtower_base::failure_limit::FailureLimit;

    const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9));

    #[test]
    fn guesses_are_paused_longer_each_time_and_forgiven_with_the_right_key() {
        let guesses = FailureLimit::<KeyGuesses>::default();
        let now = Instant::now();
        let mut delays = Vec::new();
        for _ in 0..FREE_GUESSES {
            assert!(!guesses.is_blocked(PEER, now));
            delays.push(guesses.failed(PEER, now).delay().as_millis());
        }
        assert_eq!(delays, [50, 100, 200, 400, 400]);
        assert!(guesses.is_blocked(PEER, now));
        assert!(!guesses.is_blocked(PEER, now + Duration::from_millis(500)));
        for _ in 0..100 {
            guesses.failed(PEER, now);
        }
        let almost = now + LONGEST_PAUSE - Duration::from_millis(1);
        assert!(guesses.is_blocked(PEER, almost));
        assert!(!guesses.is_blocked(PEER, now + LONGEST_PAUSE));
        guesses.forgive(PEER);
        assert!(!guesses.is_blocked(PEER, now));
    }

    #[test]
    fn guesses_are_forgotten_after_a_while() {
        let guesses = FailureLimit::<KeyGuesses>::default();
        let now = Instant::now();
        for _ in 0..FREE_GUESSES {
            guesses.failed(PEER, now);
        }
        let later = now + MEMORY;
        assert_eq!(guesses.failed(PEER, later).delay().as_millis(), 50);
        assert!(!guesses.is_blocked(PEER, later));
    }
}

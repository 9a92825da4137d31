//! Rate limit of wrong tokens by address, in the login form, as a bearer token
//! or in a cookie.
//!
//! An address above the limit gets 429 for any token, also the right one, which
//! could be told from the wrong ones otherwise. Other addresses are not
//! affected. Behind a reverse proxy all clients share the proxy's address, and
//! with it the limit, as forwarded addresses can be forged. Browsers that are
//! signed in are not affected there ([`login`](super::login)).

use std::time::Instant;

use watchtower_base::failure_limit::FailureRecord;
use watchtower_base::token_bucket::TokenBucket;

/// Burst of guesses; the rate is one a second.
const AT_ONCE: f64 = 10.0;
const PER_SECOND: f64 = 1.0;

/// Remaining guesses of an address.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TokenGuesses(TokenBucket);

impl TokenGuesses {
    fn left(&self, now: Instant) -> TokenBucket {
        let mut bucket = self.0;
        bucket.refill(now);
        bucket
    }
}

impl FailureRecord for TokenGuesses {
    fn failed(before: Option<Self>, now: Instant) -> Self {
        let full = || TokenBucket::full(AT_ONCE, PER_SECOND, now);
        let mut bucket = before.map_or_else(full, |before| before.left(now));
        bucket.spend(1.0);
        Self(bucket)
    }

    fn is_blocked(&self, now: Instant) -> bool {
        self.left(now).tokens() < 1.0
    }

    fn is_forgotten(&self, now: Instant) -> bool {
        self.left(now).is_full()
    }

    fn last_failure(&self) -> Instant {
        self.0.refilled_at()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
    use std::time::Duration;

    use super::*;
    use watchtower_base::failure_limit::{Attempt, FailureLimit};

    const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9));

    #[test]
    fn rate_limit_is_per_address() {
        let failures = FailureLimit::<TokenGuesses>::default();
        let now = Instant::now();
        for _ in 0..100 {
            assert_eq!(failures.attempt(PEER, now, || true), Attempt::Right);
        }
        for _ in 0..10 {
            assert_eq!(failures.attempt(PEER, now, || false), Attempt::Wrong);
        }
        let unseen = || panic!("it is looked at");
        assert_eq!(failures.attempt(PEER, now, unseen), Attempt::TooMany);
        let other = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 10));
        assert_eq!(failures.attempt(other, now, || true), Attempt::Right);
        let later = now + Duration::from_secs(1);
        assert_eq!(failures.attempt(PEER, later, || false), Attempt::Wrong);
        assert_eq!(failures.attempt(PEER, later, || true), Attempt::TooMany);
        let later = later + Duration::from_secs(1);
        assert_eq!(failures.attempt(PEER, later, || true), Attempt::Right);
    }

    #[test]
    fn ipv6_64_is_one_address() {
        let failures = FailureLimit::<TokenGuesses>::default();
        let now = Instant::now();
        let host = |host: u128| IpAddr::V6(Ipv6Addr::from_bits(1_u128 << 64 | host));
        for number in 0..10 {
            failures.attempt(host(number), now, || false);
        }
        assert_eq!(failures.attempt(host(77), now, || true), Attempt::TooMany);
    }
}

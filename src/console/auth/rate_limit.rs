//! Limit of the wrong tokens an address may show, be it in the form, as a bearer
//! or as the one a cookie was made with.
//!
//! An address that has shown too many is answered 429 whatever it shows, the
//! right token included, which would else be told from the wrong ones. Nobody
//! on another address notices. Behind a reverse proxy all clients share the
//! proxy's address, and with it these guesses: what it forwards about them
//! could be anybody's invention. Browsers that are signed in go on there all
//! the same ([`login`](super::login)).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::Instant;

use crate::base::connection_limit::network;
use crate::base::sync::Locked as _;
use crate::base::token_bucket::TokenBucket;

/// This many at once, then one a second.
const AT_ONCE: f64 = 10.0;
const PER_SECOND: f64 = 1.0;
/// Addresses remembered; of more, those are forgotten that have not guessed for
/// longest.
const REMEMBERED: usize = 4096;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attempt {
    Right,
    Wrong,
    /// Nobody has looked whether it is right.
    TooMany,
}

/// A bucket of guesses for each address that has guessed wrong.
#[derive(Debug, Default)]
pub(crate) struct FailureLimit(Mutex<HashMap<IpAddr, TokenBucket>>);

impl FailureLimit {
    /// Looks whether it `is_right`, which is free, or spends a guess.
    pub(crate) fn attempt(
        &self,
        peer: IpAddr,
        now: Instant,
        is_right: impl FnOnce() -> bool,
    ) -> Attempt {
        let address = network(peer);
        // Held while it is compared, so that a hundred at once are no hundred
        // guesses.
        let mut buckets = self.0.locked();
        let mut bucket = buckets.get(&address).copied();
        let bucket = bucket.get_or_insert(TokenBucket::full(AT_ONCE, PER_SECOND, now));
        if !bucket.take(now) {
            return Attempt::TooMany;
        }
        if is_right() {
            return Attempt::Right;
        }
        if buckets.len() >= REMEMBERED && !buckets.contains_key(&address) {
            make_room(&mut buckets, now);
        }
        buckets.insert(address, *bucket);
        Attempt::Wrong
    }
}

fn make_room(buckets: &mut HashMap<IpAddr, TokenBucket>, now: Instant) {
    buckets.retain(|_, bucket| {
        let mut bucket = *bucket;
        bucket.refill(now);
        !bucket.is_full()
    });
    if buckets.len() < REMEMBERED {
        return;
    }
    let oldest = buckets
        .iter()
        .min_by_key(|(_, bucket)| bucket.refilled_at());
    if let Some(oldest) = oldest.map(|(address, _)| *address) {
        buckets.remove(&oldest);
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};
    use std::time::Duration;

    use super::*;

    const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9));

    #[test]
    fn an_address_that_guesses_waits_and_no_other_does() {
        let failures = FailureLimit::default();
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
    fn a_64_is_one_address_and_the_newest_guessers_are_remembered() {
        let failures = FailureLimit::default();
        let now = Instant::now();
        let v6 = |network: u64, host: u64| {
            IpAddr::V6(Ipv6Addr::from_bits(
                u128::from(network) << 64 | u128::from(host),
            ))
        };
        for host in 0..10 {
            failures.attempt(v6(1, host), now, || false);
        }
        assert_eq!(failures.attempt(v6(1, 77), now, || true), Attempt::TooMany);
        for network in 2..20_000 {
            let now = now + Duration::from_micros(network);
            failures.attempt(v6(network, 1), now, || false);
        }
        let known = failures.0.lock().expect("whole");
        assert_eq!(known.len(), REMEMBERED);
        assert!(known.contains_key(&v6(19_999, 0)));
    }
}

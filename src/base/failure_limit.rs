//! Limit of failed authentications by address.
//!
//! Owns the bounded table of addresses that failed lately. The number of
//! failures and the duration of a block are the caller's: see
//! [`FailureRecord`].

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::Instant;

use crate::connection_limit::network;
use crate::sync::Locked as _;

/// Addresses remembered; beyond it those that failed least recently are
/// dropped.
const REMEMBERED: usize = 4096;

/// Failures of an address, and the rule by which they block it.
pub trait FailureRecord: Copy {
    /// Record after one more failure; `before` is the record of the earlier
    /// ones.
    fn failed(before: Option<Self>, now: Instant) -> Self;

    /// True while the address may not try again.
    fn is_blocked(&self, now: Instant) -> bool;

    /// True once the failures have expired.
    fn is_forgotten(&self, now: Instant) -> bool;

    fn last_failure(&self) -> Instant;
}

/// Result of an attempt to authenticate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    Right,
    Wrong,
    /// Blocked: the credential was not checked.
    TooMany,
}

/// Records of the addresses that failed; an IPv6 host has a whole /64 of source
/// addresses, so a /64 counts as one address.
#[derive(Debug)]
pub struct FailureLimit<R>(Mutex<HashMap<IpAddr, R>>);

impl<R> Default for FailureLimit<R> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<R: FailureRecord> FailureLimit<R> {
    /// Checks the credential (`is_right`) and counts a failure if it is wrong;
    /// a success costs nothing.
    pub fn attempt(&self, peer: IpAddr, now: Instant, is_right: impl FnOnce() -> bool) -> Attempt {
        let address = network(peer);
        // Held during the comparison, so that parallel requests get no more
        // attempts than successive ones.
        let mut records = self.0.locked();
        if is_blocked(&records, address, now) {
            return Attempt::TooMany;
        }
        if is_right() {
            return Attempt::Right;
        }
        note(&mut records, address, now);
        Attempt::Wrong
    }

    pub fn is_blocked(&self, peer: IpAddr, now: Instant) -> bool {
        is_blocked(&self.0.locked(), network(peer), now)
    }

    /// Counts a failure; returns the record with it.
    pub fn failed(&self, peer: IpAddr, now: Instant) -> R {
        note(&mut self.0.locked(), network(peer), now)
    }

    /// Clears the failures of an address that has authenticated.
    pub fn forgive(&self, peer: IpAddr) {
        self.0.locked().remove(&network(peer));
    }
}

fn is_blocked<R: FailureRecord>(
    records: &HashMap<IpAddr, R>,
    address: IpAddr,
    now: Instant,
) -> bool {
    records
        .get(&address)
        .is_some_and(|record| record.is_blocked(now))
}

fn note<R: FailureRecord>(records: &mut HashMap<IpAddr, R>, address: IpAddr, now: Instant) -> R {
    let before = records.get(&address).copied();
    if before.is_none() && records.len() >= REMEMBERED {
        make_room(records, now);
    }
    let before = before.filter(|record| !record.is_forgotten(now));
    let record = R::failed(before, now);
    records.insert(address, record);
    record
}

fn make_room<R: FailureRecord>(records: &mut HashMap<IpAddr, R>, now: Instant) {
    records.retain(|_, record| !record.is_forgotten(now));
    if records.len() < REMEMBERED {
        return;
    }
    let oldest = records
        .iter()
        .min_by_key(|(_, record)| record.last_failure());
    if let Some(oldest) = oldest.map(|(address, _)| *address) {
        records.remove(&oldest);
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};
    use std::time::Duration;

    use super::*;

    const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9));
    const MINUTE: Duration = Duration::from_secs(60);

    /// Two failures block for a minute.
    #[derive(Debug, Clone, Copy)]
    struct Twice {
        count: u32,
        last: Instant,
    }

    impl FailureRecord for Twice {
        fn failed(before: Option<Self>, now: Instant) -> Self {
            let count = before.map_or(1, |before| before.count + 1);
            Self { count, last: now }
        }

        fn is_blocked(&self, now: Instant) -> bool {
            self.count >= 2 && !self.is_forgotten(now)
        }

        fn is_forgotten(&self, now: Instant) -> bool {
            now >= self.last + MINUTE
        }

        fn last_failure(&self) -> Instant {
            self.last
        }
    }

    #[test]
    fn failing_address_is_blocked_until_its_failures_expire() {
        let limit = FailureLimit::<Twice>::default();
        let now = Instant::now();
        assert_eq!(limit.attempt(PEER, now, || true), Attempt::Right);
        assert_eq!(limit.attempt(PEER, now, || false), Attempt::Wrong);
        assert!(!limit.is_blocked(PEER, now));
        assert_eq!(limit.attempt(PEER, now, || false), Attempt::Wrong);
        assert!(limit.is_blocked(PEER, now));
        let unseen = || panic!("it is looked at");
        assert_eq!(limit.attempt(PEER, now, unseen), Attempt::TooMany);
        let other = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 10));
        assert_eq!(limit.attempt(other, now, || true), Attempt::Right);
        assert!(!limit.is_blocked(PEER, now + MINUTE));
        assert_eq!(limit.failed(PEER, now + MINUTE).count, 1, "starts anew");
    }

    #[test]
    fn success_clears_the_failures() {
        let limit = FailureLimit::<Twice>::default();
        let now = Instant::now();
        limit.failed(PEER, now);
        assert_eq!(limit.failed(PEER, now).count, 2);
        limit.forgive(PEER);
        assert!(!limit.is_blocked(PEER, now));
    }

    #[test]
    fn ipv6_64_is_one_address_and_the_newest_are_remembered() {
        let limit = FailureLimit::<Twice>::default();
        let now = Instant::now();
        let v6 = |network: u64, host: u64| {
            IpAddr::V6(Ipv6Addr::from_bits(
                u128::from(network) << 64 | u128::from(host),
            ))
        };
        for host in 0..2 {
            limit.failed(v6(1, host), now);
        }
        assert!(limit.is_blocked(v6(1, 77), now));
        for network in 2..20_000 {
            let now = now + Duration::from_micros(network);
            limit.failed(v6(network, 1), now);
        }
        let known = limit.0.lock().expect("whole");
        assert_eq!(known.len(), REMEMBERED);
        assert!(known.contains_key(&v6(19_999, 0)));
    }
}

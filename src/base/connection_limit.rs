//! Admission of connections: caps on open ones, and a pause for addresses that
//! guess at the key.
//!
//! An IPv6 host has a whole /64 to call from, so that is what counts as one
//! address there.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::base::sync::Locked as _;

/// Wrong keys in a row that cost nothing but the delay of their answer: a
/// person pasting a key gets it right within these.
const FREE_GUESSES: u32 = 5;
/// A guesser at 256 connections is held to 26 guesses a second, while an
/// encoder that retries gets in soon after its key was put right.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// An answer to a wrong key may take this long; with what closing takes it
/// stays within the second the contract gives.
const LONGEST_DELAY: Duration = Duration::from_millis(400);
/// Guesses are forgotten after this long without another.
const MEMORY: Duration = Duration::from_secs(120);
/// Addresses remembered without an open connection.
const REMEMBERED: usize = 4096;

/// Caps on open connections.
#[derive(Debug, Clone, Copy)]
pub struct Caps {
    pub per_address: usize,
    pub total: usize,
    /// This machine is no one address: behind a reverse proxy on it everybody
    /// comes from there.
    pub spares_loopback: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    #[error("too many connections from this address")]
    AddressFull,
    #[error("too many connections")]
    Full,
    #[error("too many wrong stream keys from this address")]
    Guessing,
}

#[derive(Debug)]
pub struct Admission {
    caps: Caps,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    open: usize,
    addresses: HashMap<IpAddr, Record>,
}

#[derive(Debug, Default)]
struct Record {
    open: usize,
    failures: Option<Guesses>,
}

#[derive(Debug, Clone, Copy)]
struct Guesses {
    count: u32,
    last: Instant,
}

/// An admitted connection; dropping it gives the place back.
#[derive(Debug)]
pub struct ConnectionSlot {
    admission: Arc<Admission>,
    address: IpAddr,
}

impl Admission {
    pub fn new(caps: Caps) -> Self {
        Self {
            caps,
            table: Mutex::default(),
        }
    }

    pub fn admit(self: &Arc<Self>, peer: IpAddr, now: Instant) -> Result<ConnectionSlot, Rejected> {
        let address = network(peer);
        let mut table = self.table();
        if table.open >= self.caps.total {
            return Err(Rejected::Full);
        }
        let record = table.addresses.entry(address).or_default();
        let spared = self.caps.spares_loopback && peer.to_canonical().is_loopback();
        if record.open >= self.caps.per_address && !spared {
            return Err(Rejected::AddressFull);
        }
        if record
            .failures
            .is_some_and(|failures| failures.pausing(now))
        {
            return Err(Rejected::Guessing);
        }
        record.open += 1;
        table.open += 1;
        Ok(ConnectionSlot {
            admission: Arc::clone(self),
            address,
        })
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Every section leaves the table whole.
        self.table.locked()
    }
}

impl ConnectionSlot {
    /// Notes a wrong key; says how long its answer should wait.
    pub fn guessed(&self, now: Instant) -> Duration {
        let mut table = self.admission.table();
        let record = table.addresses.entry(self.address).or_default();
        let before = record.failures.filter(|failures| !failures.forgotten(now));
        let count = before
            .map_or(0, |failures| failures.count)
            .saturating_add(1);
        record.failures = Some(Guesses { count, last: now });
        (Duration::from_millis(25) * (1 << count.min(6))).min(LONGEST_DELAY)
    }

    /// The right key clears the record.
    pub fn proved(&self) {
        if let Some(record) = self.admission.table().addresses.get_mut(&self.address) {
            record.failures = None;
        }
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        let mut table = self.admission.table();
        table.open -= 1;
        if let Some(record) = table.addresses.get_mut(&self.address) {
            record.open -= 1;
            if record.open == 0 && record.failures.is_none() {
                table.addresses.remove(&self.address);
            }
        }
        table.trim(Instant::now());
    }
}

impl Table {
    fn trim(&mut self, now: Instant) {
        if self.addresses.len() <= REMEMBERED {
            return;
        }
        self.addresses.retain(|_, record| {
            record.open > 0
                || record
                    .failures
                    .is_some_and(|failures| !failures.forgotten(now))
        });
        // More guessers than we remember: all get a fresh start.
        if self.addresses.len() > REMEMBERED {
            self.addresses.retain(|_, record| record.open > 0);
        }
    }
}

impl Guesses {
    fn pausing(self, now: Instant) -> bool {
        let Some(over) = self.count.checked_sub(FREE_GUESSES) else {
            return false;
        };
        let pause = Duration::from_millis(500) * (1 << over.min(5));
        now < self.last + pause.min(LONGEST_PAUSE)
    }

    fn forgotten(self, now: Instant) -> bool {
        now >= self.last + MEMORY
    }
}

/// Network that counts as one address: the /64 of an IPv6 address.
pub fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9));

    fn admission(per_address: usize, total: usize) -> Arc<Admission> {
        Arc::new(Admission::new(Caps {
            per_address,
            total,
            spares_loopback: false,
        }))
    }

    #[test]
    fn this_machine_is_capped_by_the_total_alone_where_it_is_spared() {
        let admission = Arc::new(Admission::new(Caps {
            per_address: 1,
            total: 5,
            spares_loopback: true,
        }));
        let now = Instant::now();
        let _abroad = admission.admit(PEER, now).expect("free");
        assert_eq!(
            admission.admit(PEER, now).err(),
            Some(Rejected::AddressFull)
        );
        let mut here = Vec::new();
        for local in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            let local = local.parse().expect("an address");
            here.push(admission.admit(local, now).expect("free"));
            assert!(admission.admit(local, now).is_ok(), "{local}");
        }
        let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
        here.push(admission.admit(local, now).expect("free"));
        assert_eq!(admission.admit(local, now).err(), Some(Rejected::Full));
    }

    #[test]
    fn caps_hold_and_places_come_back() {
        let admission = admission(2, 3);
        let now = Instant::now();
        let first = admission.admit(PEER, now).expect("free");
        let _second = admission.admit(PEER, now).expect("free");
        assert_eq!(
            admission.admit(PEER, now).err(),
            Some(Rejected::AddressFull)
        );
        let other = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let _third = admission.admit(other, now).expect("free");
        assert_eq!(admission.admit(other, now).err(), Some(Rejected::Full));
        drop(first);
        assert!(admission.admit(PEER, now).is_ok());
    }

    #[test]
    fn a_64_is_one_address() {
        let admission = admission(1, 9);
        let now = Instant::now();
        let _held = admission.admit("2001:db8::1".parse().unwrap(), now);
        let same = admission.admit("2001:db8::ffff:2".parse().unwrap(), now);
        assert_eq!(same.err(), Some(Rejected::AddressFull));
        assert!(
            admission
                .admit("2001:db8:0:1::1".parse().unwrap(), now)
                .is_ok()
        );
    }

    #[test]
    fn guesses_are_paused_longer_each_time_and_forgiven_with_the_right_key() {
        let admission = admission(9, 9);
        let now = Instant::now();
        let place = admission.admit(PEER, now).expect("free");
        let mut delays = Vec::new();
        for _ in 0..FREE_GUESSES {
            assert!(admission.admit(PEER, now).is_ok());
            delays.push(place.guessed(now).as_millis());
        }
        assert_eq!(delays, [50, 100, 200, 400, 400]);
        assert_eq!(admission.admit(PEER, now).err(), Some(Rejected::Guessing));
        assert!(
            admission
                .admit(PEER, now + Duration::from_millis(500))
                .is_ok()
        );
        for _ in 0..100 {
            place.guessed(now);
        }
        let almost = now + LONGEST_PAUSE - Duration::from_millis(1);
        assert_eq!(
            admission.admit(PEER, almost).err(),
            Some(Rejected::Guessing)
        );
        assert!(admission.admit(PEER, now + LONGEST_PAUSE).is_ok());
        place.proved();
        assert!(admission.admit(PEER, now).is_ok());
    }

    #[test]
    fn the_table_is_bounded() {
        let admission = admission(9, 9);
        let now = Instant::now();
        for n in 0..20_000_u32 {
            let peer = IpAddr::V4(Ipv4Addr::from_bits(0x0b00_0000 + n));
            admission.admit(peer, now).expect("free").guessed(now);
        }
        assert!(admission.table().addresses.len() <= REMEMBERED + 1);
    }
}

//! Admission of connections: caps on open ones, per address and in total.
//!
//! An IPv6 host has a whole /64 of source addresses, so a /64 counts as one
//! address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::sync::Locked as _;

/// Caps on open connections.
#[derive(Debug, Clone, Copy)]
pub struct Caps {
    pub per_address: usize,
    pub total: usize,
    /// Loopback is exempt from the cap per address: a reverse proxy on this
    /// machine connects on behalf of all clients.
    pub spares_loopback: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    #[error("too many connections from this address")]
    AddressFull,
    #[error("too many connections")]
    Full,
}

#[derive(Debug)]
pub struct ConnectionLimiter {
    caps: Caps,
    table: Mutex<ConnectionTable>,
}

#[derive(Debug, Default)]
struct ConnectionTable {
    open: usize,
    /// Open connections by address.
    addresses: HashMap<IpAddr, usize>,
}

/// Admitted connection; dropping it frees the slot.
#[derive(Debug)]
pub struct ConnectionSlot {
    admission: Arc<ConnectionLimiter>,
    address: IpAddr,
}

impl ConnectionLimiter {
    pub fn new(caps: Caps) -> Self {
        Self {
            caps,
            table: Mutex::default(),
        }
    }

    pub fn admit(self: &Arc<Self>, peer: IpAddr) -> Result<ConnectionSlot, Rejected> {
        let address = network(peer);
        let mut table = self.table();
        if table.open >= self.caps.total {
            return Err(Rejected::Full);
        }
        let open = table.addresses.get(&address).copied().unwrap_or_default();
        let spared = self.caps.spares_loopback && peer.to_canonical().is_loopback();
        if open >= self.caps.per_address && !spared {
            return Err(Rejected::AddressFull);
        }
        table.addresses.insert(address, open + 1);
        table.open += 1;
        Ok(ConnectionSlot {
            admission: Arc::clone(self),
            address,
        })
    }

    fn table(&self) -> MutexGuard<'_, ConnectionTable> {
        // Every critical section leaves the table consistent.
        self.table.locked()
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        let mut table = self.admission.table();
        table.open -= 1;
        if let Some(open) = table.addresses.get_mut(&self.address) {
            *open -= 1;
            if *open == 0 {
                table.addresses.remove(&self.address);
            }
        }
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

    fn admission(per_address: usize, total: usize) -> Arc<ConnectionLimiter> {
        Arc::new(ConnectionLimiter::new(Caps {
            per_address,
            total,
            spares_loopback: false,
        }))
    }

    #[test]
    fn loopback_is_exempt_from_the_cap_per_address() {
        let admission = Arc::new(ConnectionLimiter::new(Caps {
            per_address: 1,
            total: 5,
            spares_loopback: true,
        }));
        let _abroad = admission.admit(PEER).expect("free");
        assert_eq!(admission.admit(PEER).err(), Some(Rejected::AddressFull));
        let mut here = Vec::new();
        for local in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            let local = local.parse().expect("an address");
            here.push(admission.admit(local).expect("free"));
            assert!(admission.admit(local).is_ok(), "{local}");
        }
        let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
        here.push(admission.admit(local).expect("free"));
        assert_eq!(admission.admit(local).err(), Some(Rejected::Full));
    }

    #[test]
    fn caps_hold_and_slots_are_freed() {
        let admission = admission(2, 3);
        let first = admission.admit(PEER).expect("free");
        let _second = admission.admit(PEER).expect("free");
        assert_eq!(admission.admit(PEER).err(), Some(Rejected::AddressFull));
        let other = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let _third = admission.admit(other).expect("free");
        assert_eq!(admission.admit(other).err(), Some(Rejected::Full));
        drop(first);
        assert!(admission.admit(PEER).is_ok());
    }

    #[test]
    fn ipv6_64_is_one_address() {
        let admission = admission(1, 9);
        let _held = admission.admit("2001:db8::1".parse().unwrap());
        let same = admission.admit("2001:db8::ffff:2".parse().unwrap());
        assert_eq!(same.err(), Some(Rejected::AddressFull));
        assert!(admission.admit("2001:db8:0:1::1".parse().unwrap()).is_ok());
    }

    #[test]
    fn only_addresses_with_connections_are_in_the_table() {
        let admission = admission(9, 9);
        let held = admission.admit(PEER).expect("free");
        for n in 0..20_000_u32 {
            let peer = IpAddr::V4(Ipv4Addr::from_bits(0x0b00_0000 + n));
            admission.admit(peer).expect("free");
        }
        assert_eq!(admission.table().addresses.len(), 1);
        drop(held);
        assert!(admission.table().addresses.is_empty());
    }
}

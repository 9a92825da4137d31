//! Keeps a flood of connections from becoming a flood of log lines: the first
//! few of a second are written, the others counted and told in one line.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

/// Lines of one kind from one address that a second may bring in full.
const IN_FULL: u64 = 5;
/// Kinds and addresses told apart in one second; beyond that all count as one.
const APART: usize = 1024;

#[derive(Debug, Default)]
pub(crate) struct Flood {
    seen: Mutex<HashMap<Kind, u64>>,
}

/// Key of lines that count as alike: the address (`None`: any of too many to
/// tell apart) and how the connection ended.
type Kind = (Option<IpAddr>, &'static str);

impl Flood {
    /// True if this line should be written; counts it either way.
    pub(crate) fn admits(&self, address: IpAddr, end: &'static str) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut kind = (Some(address), end);
        if seen.len() >= APART && !seen.contains_key(&kind) {
            kind.0 = None;
        }
        let count = seen.entry(kind).or_default();
        *count += 1;
        *count <= IN_FULL
    }

    /// Ends the second: how many lines were held back, and of which kind.
    pub(crate) fn tick(&self) -> Vec<(Kind, u64)> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut held: Vec<_> = seen
            .drain()
            .filter(|(_, count)| *count > IN_FULL)
            .map(|(kind, count)| (kind, count - IN_FULL))
            .collect();
        held.sort_unstable();
        held
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn lines_beyond_the_first_few_are_summed() {
        let flood = Flood::default();
        let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let written = (0..817).filter(|_| flood.admits(peer, "refused")).count();
        assert_eq!(written, 5);
        assert!(flood.admits(peer, "ended"));
        assert_eq!(flood.tick(), [((Some(peer), "refused"), 812)]);
        assert!(flood.admits(peer, "refused"));
        assert!(flood.tick().is_empty());
    }

    #[test]
    fn many_addresses_share_one_line() {
        let flood = Flood::default();
        for n in 0..10_000 {
            flood.admits(IpAddr::V4(Ipv4Addr::from_bits(n)), "refused");
        }
        assert_eq!(flood.tick().len(), 1);
    }
}

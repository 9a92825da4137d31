//! Rate limits of log lines: one line a second of a kind, the others counted.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::sync::Locked as _;

/// Shortest time between two lines of a [`LogLimit`].
const EVERY: Duration = Duration::from_secs(1);
/// Lines of one kind and address that are written in full within a second.
const IN_FULL: u64 = 5;
/// Kinds and addresses counted separately within a second; beyond that all
/// count as one.
const APART: usize = 1024;

/// Limit of one line a second.
#[derive(Debug, Default)]
pub struct LogLimit(Mutex<Lines>);

/// Number of suppressed lines; displayed as the suffix of a line, or as
/// nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SuppressedLines(pub(crate) u64);

impl fmt::Display for SuppressedLines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            held => write!(f, " ({held} more since the last line)"),
        }
    }
}

#[derive(Debug, Default)]
struct Lines {
    last: Option<Instant>,
    held: u64,
}

impl LogLimit {
    /// Number of lines suppressed since the last one, if a line may be written
    /// now; `None` suppresses this one too.
    pub fn admit(&self) -> Option<SuppressedLines> {
        self.admit_at(Instant::now())
    }

    /// The same at a given time.
    pub fn admit_at(&self, now: Instant) -> Option<SuppressedLines> {
        let mut lines = self.0.locked();
        let since = |last: Instant| now.saturating_duration_since(last);
        if lines.last.is_some_and(|last| since(last) < EVERY) {
            lines.held += 1;
            return None;
        }
        lines.last = Some(now);
        Some(SuppressedLines(std::mem::take(&mut lines.held)))
    }
}

/// Limit by kind and address: the first few lines of a second are written, the
/// others counted.
#[derive(Debug, Default)]
pub struct LogLimitByAddress {
    seen: Mutex<HashMap<LogLineKind, u64>>,
}

/// Key of equal lines: the address (`None`: any beyond the table's bound) and
/// how the connection ended.
type LogLineKind = (Option<IpAddr>, &'static str);

impl LogLimitByAddress {
    /// True if this line should be written; counts it either way.
    pub fn admits(&self, address: IpAddr, end: &'static str) -> bool {
        let mut seen = self.seen.locked();
        let mut kind = (Some(address), end);
        if seen.len() >= APART && !seen.contains_key(&kind) {
            kind.0 = None;
        }
        let count = seen.entry(kind).or_default();
        *count += 1;
        *count <= IN_FULL
    }

    /// Ends the second; returns the number of suppressed lines by kind.
    pub fn tick(&self) -> Vec<(LogLineKind, u64)> {
        let mut seen = self.seen.locked();
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
    fn one_line_a_second_counts_the_suppressed() {
        let limit = LogLimit::default();
        let begun = Instant::now();
        let at = |ms| limit.admit_at(begun + Duration::from_millis(ms));
        assert_eq!(at(0), Some(SuppressedLines(0)));
        assert_eq!((at(1), at(999)), (None, None));
        assert_eq!(at(1000), Some(SuppressedLines(2)));
        assert_eq!(at(5000), Some(SuppressedLines(0)));
    }

    #[test]
    fn lines_beyond_the_first_few_are_counted() {
        let limit = LogLimitByAddress::default();
        let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let written = (0..817).filter(|_| limit.admits(peer, "refused")).count();
        assert_eq!(written, 5);
        assert!(limit.admits(peer, "ended"));
        assert_eq!(limit.tick(), [((Some(peer), "refused"), 812)]);
        assert!(limit.admits(peer, "refused"));
        assert!(limit.tick().is_empty());
    }

    #[test]
    fn addresses_beyond_the_bound_share_one_line() {
        let limit = LogLimitByAddress::default();
        for n in 0..10_000 {
            limit.admits(IpAddr::V4(Ipv4Addr::from_bits(n)), "refused");
        }
        assert_eq!(limit.tick().len(), 1);
    }
}

//! Latency from a frame to its findings, on this machine.

use std::fmt;
use std::time::Duration;

/// Median and 95th percentile over all findings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Latency {
    median: Duration,
    most: Duration,
}

impl Latency {
    /// `None` without a finding.
    pub fn of(mut latencies: Vec<Duration>) -> Option<Self> {
        latencies.sort_unstable();
        Some(Self {
            median: percentile(&latencies, 0.5)?,
            most: percentile(&latencies, 0.95)?,
        })
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "From picture to finding on this machine: median {:.2} s, 95 % within {:.2} s.",
            self.median.as_secs_f64(),
            self.most.as_secs_f64()
        )
    }
}

/// Smallest of the sorted values that this share of them does not exceed;
/// `None` without values.
fn percentile(sorted: &[Duration], share: f64) -> Option<Duration> {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_and_the_95th_percentile_are_told() {
        let of = |count: u64| {
            let shuffled = (0..count).map(|n| Duration::from_secs(1 + n * 7 % count));
            let latency = Latency::of(shuffled.collect())?;
            Some((latency.median.as_secs(), latency.most.as_secs()))
        };
        assert_eq!(of(100), Some((50, 95)));
        assert_eq!(of(10), Some((5, 10)));
        assert_eq!(of(1), Some((1, 1)));
        assert_eq!(of(0), None);
    }
}

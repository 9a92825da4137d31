//! `[ocr]` of `watchtower.toml`: CPU that reading may take.

use std::thread::available_parallelism;

use watchtower_base::config::section::Section;

/// Maximum number of readings at a time: each may take 480 MB for a dense new screen.
const MOST_READERS: usize = 8;

/// `[ocr]`
#[derive(Debug, Clone, PartialEq)]
pub struct OcrSettings {
    /// Share of the machine, all its cores, that reading the screen may take,
    /// averaged.
    pub cpu_budget: f64,
}

impl OcrSettings {
    /// Cores that reading may take on this machine, averaged.
    pub fn cores(&self) -> f64 {
        self.cpu_budget * machine_cores() as f64
    }

    /// Streams that are read at once on this machine: twice the average, so that
    /// streams which change together after a rest are read together, up to all
    /// of its cores.
    pub fn readers(&self) -> usize {
        readers(self.cpu_budget, machine_cores())
    }
}

/// Cores this process may use, by affinity and control group.
fn machine_cores() -> usize {
    available_parallelism().map_or(1, usize::from)
}

fn readers(share: f64, cores: usize) -> usize {
    let twice = (2.0 * share * cores as f64).ceil() as usize;
    twice.clamp(1, cores.clamp(1, MOST_READERS))
}

pub fn ocr(mut s: Section<'_>) -> OcrSettings {
    let settings = OcrSettings {
        cpu_budget: s.number("cpu_budget", 0.05, 1.0).unwrap_or(0.5),
    };
    s.finish();
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_are_as_many_as_the_share_keeps_at_work_and_no_more_than_cores() {
        assert_eq!(readers(0.5, 1), 1);
        assert_eq!(readers(0.5, 2), 2);
        assert_eq!(readers(1.0, 2), 2);
        assert_eq!(readers(0.05, 2), 1);
        assert_eq!(readers(0.25, 4), 2);
        assert_eq!(readers(0.5, 64), MOST_READERS);
    }
}

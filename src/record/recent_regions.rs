//! Regions of the newest findings' evidence, in memory: they are compared with
//! the live picture, which soon shows something else.

use std::collections::VecDeque;
use std::sync::Arc;

use uuid::Uuid;

use watchtower_screen::evidence_regions::EvidenceRegions;

/// Findings whose regions are kept, twice those that a page lists.
const MOST: usize = 200;
/// Bytes of all regions, a few times those of usual findings.
const MOST_BYTES: usize = 16 << 20;

/// Regions by finding, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct RecentRegions {
    kept: VecDeque<(Uuid, Arc<EvidenceRegions>)>,
    bytes: usize,
}

impl RecentRegions {
    pub(crate) fn add(&mut self, finding: Uuid, regions: EvidenceRegions) {
        self.bytes += regions.bytes();
        self.kept.push_back((finding, Arc::new(regions)));
        while self.kept.len() > MOST || self.bytes > MOST_BYTES && self.kept.len() > 1 {
            let Some((_, oldest)) = self.kept.pop_front() else {
                return;
            };
            self.bytes -= oldest.bytes();
        }
    }

    pub(crate) fn of(&self, finding: Uuid) -> Option<Arc<EvidenceRegions>> {
        let mut newest_first = self.kept.iter().rev();
        let found = newest_first.find(|(id, _)| *id == finding);
        found.map(|(_, regions)| Arc::clone(regions))
    }
}

#[cfg(test)]
mod tests {
    use watchtower_screen::evidence_regions::{EvidenceRegion, LumaGrid};

    use super::*;

    fn regions(bytes: usize) -> EvidenceRegions {
        let grid = LumaGrid {
            area: [0; 4],
            columns: 1,
            cells: vec![1; bytes],
        };
        EvidenceRegions {
            regions: vec![EvidenceRegion {
                bounds: [0; 4],
                grid,
            }],
            crop: None,
        }
    }

    #[test]
    fn oldest_go_beyond_either_limit() {
        let mut recent = RecentRegions::default();
        let ids: Vec<Uuid> = (0..MOST as u128 + 2).map(Uuid::from_u128).collect();
        for id in &ids {
            recent.add(*id, regions(10));
        }
        let is_kept = |recent: &RecentRegions| -> Vec<bool> {
            ids.iter().map(|id| recent.of(*id).is_some()).collect()
        };
        let mut expected = vec![true; MOST + 2];
        expected[..2].fill(false);
        assert_eq!(is_kept(&recent), expected);
        assert_eq!(recent.bytes, MOST * 10);
        let large = Uuid::from_u128(1000);
        recent.add(large, regions(MOST_BYTES - 25));
        expected[..MOST].fill(false);
        assert_eq!(is_kept(&recent), expected);
        // One alone stays, whatever its size.
        recent.add(ids[0], regions(MOST_BYTES + 1));
        assert!(recent.of(large).is_none() && recent.of(ids[0]).is_some());
    }
}

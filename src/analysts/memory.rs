//! Context of an analyst for a stream: open findings it reported and observations
//! it was not sure about. Never shared: it sees those of others only in a panel
//! discussion.

use jiff::{SignedDuration, Timestamp};

use watchtower_domain::finding::Finding;
use watchtower_models::model::{FollowUp, MOST_REMEMBERED, Memory, Remembered};

/// Maximum age of an entry not seen since.
const FORGOTTEN: SignedDuration = SignedDuration::from_hours(1);
/// Characters of a quote that are kept: enough to find it again.
const LONGEST_QUOTE: usize = 120;

#[derive(Debug, Default)]
pub(super) struct StreamMemory {
    /// `None` before the first report and request.
    memory: Option<Memory>,
}

impl StreamMemory {
    /// True if there was neither a report nor a request.
    pub(super) fn is_new(&self) -> bool {
        self.memory.is_none()
    }

    /// Context for the next request, without reports expired by `now`.
    pub(super) fn at(&mut self, now: Timestamp) -> Memory {
        let memory = self.memory.get_or_insert_default();
        let fresh = |one: &Remembered| now.duration_since(one.since) < FORGOTTEN;
        memory.reported.retain(fresh);
        memory.clone()
    }

    /// Applies the follow-up of the context that was sent (`asked`), and
    /// returns the entries that have ended.
    pub(super) fn follow_up(&mut self, asked: &Memory, follow_up: FollowUp) -> Vec<Remembered> {
        let memory = self.memory.get_or_insert_default();
        memory.not_sure = follow_up.not_sure;
        let ended = follow_up.ended.iter();
        let ended: Vec<_> = ended
            .filter_map(|index| asked.reported.get(*index))
            .collect();
        let has_ended = |one: &Remembered| ended.iter().any(|other| other.incident == one.incident);
        let (gone, left) = memory.reported.drain(..).partition(has_ended);
        memory.reported = left;
        gone
    }

    /// Stores a report; it replaces the last one of the same incident.
    pub(super) fn reported(&mut self, finding: &Finding) {
        let Some(incident) = finding.incident else {
            return;
        };
        let memory = self.memory.get_or_insert_default();
        memory.reported.retain(|one| one.incident != incident);
        let quote = finding.evidence.first().map_or("", |piece| &piece.quote);
        memory.reported.push(Remembered {
            incident,
            severity: finding.severity,
            title: finding.title.clone(),
            quote: quote.chars().take(LONGEST_QUOTE).collect(),
            since: finding.observed_at,
        });
        if memory.reported.len() > MOST_REMEMBERED {
            memory.reported.remove(0);
        }
    }
}

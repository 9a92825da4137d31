//! Context of an analyst per stream: open findings it reported and observations
//! it was not sure about. Never shared: it sees those of others only in a panel
//! discussion.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};

use watchtower_base::stream_name::StreamName;
use watchtower_domain::finding::Finding;
use watchtower_models::model::{FollowUp, MOST_REMEMBERED, Memory, Remembered};

/// Maximum age of an entry not seen since.
const FORGOTTEN: SignedDuration = SignedDuration::from_hours(1);
/// Characters of a quote that are kept: enough to find it again.
const LONGEST_QUOTE: usize = 120;

#[derive(Debug, Default)]
pub(super) struct Memories {
    streams: HashMap<StreamName, Memory>,
}

impl Memories {
    /// True if the stream has a context: a report on it, or an earlier request.
    pub(super) fn knows(&self, stream: &StreamName) -> bool {
        self.streams.contains_key(stream)
    }

    /// Context for the next request, without reports expired by `now`.
    pub(super) fn of(&mut self, stream: &StreamName, now: Timestamp) -> Memory {
        let memory = self.streams.entry(stream.clone()).or_default();
        let fresh = |one: &Remembered| now.duration_since(one.since) < FORGOTTEN;
        memory.reported.retain(fresh);
        memory.clone()
    }

    /// Applies the follow-up of the context that was sent (`asked`), and
    /// returns the entries that have ended.
    pub(super) fn follow_up(
        &mut self,
        stream: &StreamName,
        asked: &Memory,
        follow_up: FollowUp,
    ) -> Vec<Remembered> {
        let memory = self.streams.entry(stream.clone()).or_default();
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
        let memory = self.streams.entry(finding.stream.clone()).or_default();
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

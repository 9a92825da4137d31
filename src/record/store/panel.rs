//! Opinions and verdict of the panel on an incident.

use uuid::Uuid;

use super::{Refusal, Writer};
use crate::domain::incident::{Change, Exchange, News};

impl Writer {
    /// Opinions are added to those that are there, in the place of one that
    /// had failed, and the verdict replaces the last one. Nobody's decision is overlooked for it, so the version
    /// stays.
    pub(super) fn weigh(
        &mut self,
        incident: Uuid,
        exchange: &Exchange,
    ) -> rusqlite::Result<Result<Change, Refusal>> {
        let Some(mut known) = self.cache.by_id(&self.db, incident)? else {
            return Ok(Err(Refusal::NoIncident(incident)));
        };
        let new = &exchange.opinions;
        let opinions = &mut known.incident.opinions;
        opinions.retain(|old| !old.failed || new.iter().all(|one| one.agent != old.agent));
        opinions.extend(new.iter().cloned());
        let news = match &exchange.verdict {
            Some(verdict) => {
                known.incident.verdict = Some(verdict.clone());
                News::Verdict
            }
            None => News::Opinions,
        };
        let revision = self.next_revision();
        known.update(&self.db, revision)?;
        for transcript in &exchange.transcripts {
            self.keep_transcript(known.seq, transcript, transcript.cost)?;
        }
        let change = Change {
            revision,
            change: news,
            loud: news.is_loud(),
            finding: None,
            version: known.version,
            incident: known.incident.clone(),
        };
        self.post(&change, None, None)?;
        self.cache.put(known);
        Ok(Ok(change))
    }
}

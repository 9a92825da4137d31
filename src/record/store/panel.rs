//! Opinions and verdict of the panel on an incident.

use uuid::Uuid;

use watchtower_domain::incident::{Change, ChangeReason, Exchange};

use super::{Announcement, StoreWriter, Write, WriteError, WriteRefusal};

/// Opinions and verdict of the panel, for an incident and the logs of its
/// agents.
#[derive(Debug, Clone, PartialEq)]
pub struct PanelExchange {
    pub incident: Uuid,
    pub exchange: Exchange,
}

impl Write for PanelExchange {
    type Out = Change;

    /// Adds the opinions, replacing failed ones, and replaces the verdict.
    /// Keeps the version, as no concurrent decision conflicts with it.
    fn apply(&self, writer: &mut StoreWriter) -> Result<Change, WriteError> {
        let Some(mut known) = writer.cache.by_id(&writer.db, self.incident)? else {
            return Err(WriteRefusal::NoIncident(self.incident).into());
        };
        let new = &self.exchange.opinions;
        let opinions = &mut known.state.incident.opinions;
        opinions.retain(|old| !old.failed || new.iter().all(|one| one.agent != old.agent));
        opinions.extend(new.iter().cloned());
        let news = match &self.exchange.verdict {
            Some(verdict) => {
                known.state.incident.verdict = Some(verdict.clone());
                known.state.incident.settle();
                ChangeReason::Verdict
            }
            None => ChangeReason::Opinions,
        };
        let revision = writer.next_revision();
        known.update(&writer.db, revision)?;
        for transcript in &self.exchange.transcripts {
            writer.keep_transcript(known.seq, transcript, transcript.cost)?;
        }
        let change = Change {
            revision,
            change: news,
            loud: news.is_loud(),
            finding: None,
            version: known.state.version,
            incident: known.state.incident.clone(),
        };
        writer.post(&change, None, None)?;
        writer.cache.put(known);
        Ok(change)
    }

    fn announcement<'a>(&'a self, change: &'a Change) -> Option<Announcement<'a>> {
        let exchange = &self.exchange;
        Some(Announcement::Panel { exchange, change })
    }
}

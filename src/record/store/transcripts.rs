//! Transcripts of an incident: requests to models, their responses, and the
//! cost of both.

use rusqlite::{Row, params};
use uuid::Uuid;

use watchtower_domain::transcript::{Cost, Transcript};

use super::{Readers, StoreError, StoreWriter};
use crate::store::sql;

/// Maximum transcripts of one incident: the first ones, and the newest.
const FIRST: i64 = 4;
const NEWEST: i64 = 16;

/// Columns of [`cost`].
pub(super) const COST: &str = "requests, prompt_tokens, output_tokens, micro_usd";

impl StoreWriter {
    pub(super) fn keep_transcript(
        &mut self,
        incident: i64,
        transcript: &Transcript,
        share: Cost,
    ) -> rusqlite::Result<()> {
        let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        self.db
            .prepare_cached(
                "UPDATE incidents SET requests = requests + ?2, prompt_tokens = prompt_tokens + ?3,
                   output_tokens = output_tokens + ?4, micro_usd = micro_usd + ?5 WHERE seq = ?1",
            )?
            .execute(params![
                incident,
                number(share.requests),
                number(share.prompt_tokens),
                number(share.output_tokens),
                number(share.micro_usd),
            ])?;
        self.db
            .prepare_cached("INSERT OR IGNORE INTO transcripts (id, json) VALUES (?1, ?2)")?
            .execute(params![transcript.id.as_bytes(), sql::to_json(transcript)])?;
        self.db
            .prepare_cached(
                "INSERT OR IGNORE INTO incident_transcripts (incident, transcript)
                 SELECT ?1, seq FROM transcripts WHERE id = ?2",
            )?
            .execute(params![incident, transcript.id.as_bytes()])?;
        // The middle ones are removed.
        self.db
            .prepare_cached(
                "DELETE FROM incident_transcripts WHERE incident = ?1
                   AND transcript NOT IN (SELECT transcript FROM incident_transcripts
                     WHERE incident = ?1 ORDER BY transcript LIMIT ?2)
                   AND transcript NOT IN (SELECT transcript FROM incident_transcripts
                     WHERE incident = ?1 ORDER BY transcript DESC LIMIT ?3)",
            )?
            .execute(params![incident, FIRST, NEWEST])?;
        Ok(())
    }
}

impl Readers {
    /// Transcripts of an incident, oldest first; `None` when there is no such
    /// incident.
    pub fn transcripts(&self, incident: Uuid) -> Result<Option<Vec<Transcript>>, StoreError> {
        self.with(|db| {
            let mut find = db.prepare_cached("SELECT 1 FROM incidents WHERE id = ?1")?;
            if !find.exists([incident.as_bytes()])? {
                return Ok(None);
            }
            let mut all = db.prepare_cached(
                "SELECT json FROM transcripts
                 JOIN incident_transcripts ON transcript = transcripts.seq
                 JOIN incidents ON incidents.seq = incident
                 WHERE incidents.id = ?1 ORDER BY transcripts.seq",
            )?;
            let found = all.query_map([incident.as_bytes()], |row| sql::json(row, 0))?;
            found.collect::<rusqlite::Result<_>>().map(Some)
        })
    }
}

pub(super) fn cost(row: &Row<'_>, at: usize) -> rusqlite::Result<Cost> {
    let number =
        |place: usize| Ok::<_, rusqlite::Error>(row.get::<_, i64>(at + place)?.max(0) as u64);
    Ok(Cost {
        requests: number(0)?,
        prompt_tokens: number(1)?,
        output_tokens: number(2)?,
        micro_usd: number(3)?,
    })
}

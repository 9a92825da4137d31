//! Notes of users on incidents.

use jiff::Timestamp;
use rusqlite::{Connection, params};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use watchtower_domain::finding::Severity;
use watchtower_domain::incident::{Change, ChangeReason, Note, Status};

use super::{Announcement, Readers, StoreError, StoreWriter, Write, WriteError};
use crate::store::sql;

/// Maximum notes shown of an incident, the newest.
const SHOWN: i64 = 200;

/// New note of a user on an incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Annotation {
    pub incident: Uuid,
    pub note: Note,
}

impl Write for Annotation {
    type Out = Change;

    /// Keeps the version, as no concurrent decision conflicts with it.
    fn apply(&self, writer: &mut StoreWriter) -> Result<Change, WriteError> {
        let known = writer.current(self.incident, None)?;
        writer.add_note(known.seq, &self.note)?;
        Ok(writer.finish(known, ChangeReason::Note, None)?)
    }

    fn announcement<'a>(&'a self, change: &'a Change) -> Option<Announcement<'a>> {
        Some(Announcement::Change(change))
    }
}

impl StoreWriter {
    pub(super) fn add_note(&self, incident: i64, note: &Note) -> rusqlite::Result<()> {
        self.db
            .prepare_cached(
                "INSERT INTO notes (incident, noted_by, at, text) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![incident, note.by, sql::nanos(note.at), note.text])?;
        Ok(())
    }
}

/// Oldest first.
pub(super) fn of(db: &Connection, incident: i64) -> rusqlite::Result<Vec<Note>> {
    let mut all = db.prepare_cached(
        "SELECT noted_by, at, text FROM notes WHERE incident = ?1 ORDER BY seq DESC LIMIT ?2",
    )?;
    let found = all.query_map(params![incident, SHOWN], |row| {
        Ok(Note {
            by: row.get(0)?,
            at: sql::timestamp(row.get(1)?),
            text: row.get(2)?,
        })
    })?;
    let mut found: Vec<_> = found.collect::<rusqlite::Result<_>>()?;
    found.reverse();
    Ok(found)
}

/// Maximum actions of a handover; a shift has far fewer.
const MOST_DONE: usize = 1000;

/// Action of a user on an incident: a decision, or a note.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Done {
    pub at: Timestamp,
    pub by: String,
    pub incident: Uuid,
    pub title: String,
    pub severity: Severity,
    /// Status it was set to; `None` for a note.
    pub status: Option<Status>,
    /// Reason of a decision, or text of a note.
    pub text: String,
}

impl Readers {
    /// Newest actions at or after one time and before the other, oldest first,
    /// and whether earlier ones were left out.
    pub fn done_between(
        &self,
        since: Timestamp,
        until: Timestamp,
    ) -> Result<(Vec<Done>, bool), StoreError> {
        let mut found: Vec<Done> = self.with(|db| {
            let mut all = db.prepare_cached(
                "SELECT at, decided_by, id, title, severity, decisions.status, why FROM decisions
                   JOIN incidents ON incidents.seq = decisions.incident WHERE at >= ?1 AND at < ?2
                 UNION ALL
                 SELECT at, noted_by, id, title, severity, NULL, text FROM notes
                   JOIN incidents ON incidents.seq = notes.incident WHERE at >= ?1 AND at < ?2
                 ORDER BY at DESC LIMIT ?3",
            )?;
            let found = all.query_map(
                params![sql::nanos(since), sql::nanos(until), MOST_DONE as i64 + 1],
                |row| {
                    Ok(Done {
                        at: sql::timestamp(row.get(0)?),
                        by: row.get(1)?,
                        incident: sql::id(row, 2)?,
                        title: row.get(3)?,
                        severity: sql::severity_at(row, 4)?,
                        status: row.get::<_, Option<i64>>(5)?.map(sql::status),
                        text: row.get(6)?,
                    })
                },
            )?;
            found.collect()
        })?;
        let more = found.len() > MOST_DONE;
        found.truncate(MOST_DONE);
        found.reverse();
        Ok((found, more))
    }
}

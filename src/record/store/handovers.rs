//! Handovers of shifts: message, and sign-off of who takes over.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Readers, StoreError, StoreWriter, Write, WriteError, WriteRefusal};
use crate::store::sql;

/// Handovers kept: three a day for a year.
const MOST: i64 = 1000;
/// Incidents whose evidence is listed; a shift has far fewer.
const MOST_PROOFS: i64 = 2000;

/// Handover of a shift.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct SignedHandover {
    pub id: Uuid,
    /// Start and end of the shift.
    pub since: Timestamp,
    pub until: Timestamp,
    /// User who hands over.
    pub by: String,
    pub at: Timestamp,
    /// Message for the next shift; may be empty.
    pub message: String,
    /// User who took over; null until then, like the time.
    pub taken_by: Option<String>,
    pub taken_at: Option<Timestamp>,
}

/// Handover by the user who leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShiftHandover {
    pub since: Timestamp,
    pub until: Timestamp,
    pub by: String,
    pub message: String,
}

impl Write for ShiftHandover {
    type Out = SignedHandover;

    fn apply(&self, writer: &mut StoreWriter) -> Result<SignedHandover, WriteError> {
        let made = SignedHandover {
            id: Uuid::now_v7(),
            since: self.since,
            until: self.until,
            by: self.by.clone(),
            at: Timestamp::now(),
            message: self.message.clone(),
            taken_by: None,
            taken_at: None,
        };
        writer
            .db
            .prepare_cached(
                "INSERT INTO handovers (id, since, until, given_by, at, message)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![
                made.id.as_bytes(),
                sql::nanos(made.since),
                sql::nanos(made.until),
                made.by,
                sql::nanos(made.at),
                made.message,
            ])?;
        let last = writer.db.last_insert_rowid();
        writer
            .db
            .prepare_cached("DELETE FROM handovers WHERE seq <= ?1")?
            .execute([last - MOST])?;
        Ok(made)
    }
}

/// Sign-off by the user who takes over; once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandoverSignOff {
    pub id: Uuid,
    pub by: String,
}

impl Write for HandoverSignOff {
    type Out = SignedHandover;

    fn apply(&self, writer: &mut StoreWriter) -> Result<SignedHandover, WriteError> {
        let Some(mut known) = one(&writer.db, self.id)? else {
            return Err(WriteRefusal::NoHandover(self.id).into());
        };
        if let (Some(by), Some(at)) = (known.taken_by, known.taken_at) {
            return Err(WriteRefusal::TakenOver { by, at }.into());
        }
        let now = Timestamp::now();
        writer
            .db
            .prepare_cached("UPDATE handovers SET taken_by = ?2, taken_at = ?3 WHERE id = ?1")?
            .execute(params![self.id.as_bytes(), self.by, sql::nanos(now)])?;
        (known.taken_by, known.taken_at) = (Some(self.by.clone()), Some(now));
        Ok(known)
    }
}

const COLUMNS: &str = "id, since, until, given_by, at, message, taken_by, taken_at";

fn one(db: &Connection, id: Uuid) -> rusqlite::Result<Option<SignedHandover>> {
    let mut find = db.prepare_cached(&format!("SELECT {COLUMNS} FROM handovers WHERE id = ?1"))?;
    find.query_row([id.as_bytes()], handover).optional()
}

fn handover(row: &Row<'_>) -> rusqlite::Result<SignedHandover> {
    Ok(SignedHandover {
        id: sql::id(row, 0)?,
        since: sql::timestamp(row.get(1)?),
        until: sql::timestamp(row.get(2)?),
        by: row.get(3)?,
        at: sql::timestamp(row.get(4)?),
        message: row.get(5)?,
        taken_by: row.get(6)?,
        taken_at: row.get::<_, Option<i64>>(7)?.map(sql::timestamp),
    })
}

/// Evidence of an incident in a handover.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct HandoverProof {
    pub incident: Uuid,
    /// Address of its peak picture, on this server.
    pub url: String,
    pub seen_at: Timestamp,
}

impl Readers {
    /// Handovers, newest first.
    pub fn handovers(&self, limit: usize) -> Result<Vec<SignedHandover>, StoreError> {
        self.with(|db| {
            let mut all = db.prepare_cached(&format!(
                "SELECT {COLUMNS} FROM handovers ORDER BY seq DESC LIMIT ?1"
            ))?;
            let found = all.query_map([limit as i64], handover)?;
            found.collect()
        })
    }

    /// Peak pictures of the incidents that were open before a time or seen
    /// since another, the worst first.
    pub fn proofs_between(
        &self,
        since: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<HandoverProof>, StoreError> {
        self.with(|db| {
            let mut all = db.prepare_cached(
                "SELECT incidents.id, stills.sha256, findings.json ->> 'observed_at'
                 FROM incidents
                   JOIN stills ON stills.incident = incidents.seq AND stills.moment = 1
                   JOIN findings ON findings.seq = stills.finding
                 WHERE first_seen < ?2 AND (status < 2 OR last_seen >= ?1)
                 ORDER BY incidents.severity DESC, last_seen DESC LIMIT ?3",
            )?;
            let found = all.query_map(
                params![sql::nanos(since), sql::nanos(until), MOST_PROOFS],
                |row| {
                    let (sha256, seen_at): (String, String) = (row.get(1)?, row.get(2)?);
                    Ok(HandoverProof {
                        incident: sql::id(row, 0)?,
                        url: format!("/api/evidence/{sha256}.jpg"),
                        seen_at: seen_at.parse().unwrap_or_default(),
                    })
                },
            )?;
            found.collect()
        })
    }
}

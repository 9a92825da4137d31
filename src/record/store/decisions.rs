//! Decisions of users, and the suppressions made from them.

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension as _, params};
use uuid::Uuid;

use watchtower_domain::incident::{Change, ChangeReason, Decision, KnownSuppression, Status};

use super::{Announcement, StatusChange, StoreWriter, Write, WriteError, WriteRefusal};
use crate::store::handling::PriorState;
use crate::store::incident_cache::CachedIncident;
use crate::store::sql;

/// Time for which an action can be undone: longer than any notice of it is shown.
pub(super) const UNDO_FOR: SignedDuration = SignedDuration::from_hours(1);
/// Maximum suppressions: every finding that opens an incident is compared with
/// each of them.
pub(super) const MOST_LESSONS: usize = 1000;

impl Write for StatusChange {
    type Out = Change;

    fn apply(&self, writer: &mut StoreWriter) -> Result<Change, WriteError> {
        let mut known = writer.current(self.incident, None)?;
        if known.state.incident.status == self.status {
            return Err(writer.already(&known)?.into());
        }
        if self
            .version
            .is_some_and(|version| version != known.state.version)
        {
            let version = known.state.version;
            return Err(WriteRefusal::Stale { version }.into());
        }
        let learn = self.false_positive && self.status == Status::Closed;
        if learn && writer.suppressions.len() >= MOST_LESSONS {
            return Err(WriteRefusal::TooManyLessons(MOST_LESSONS).into());
        }
        let before = PriorState::of(&known);
        let decision = Decision {
            status: self.status,
            by: self.by.clone(),
            at: Timestamp::now(),
            why: self.why.clone(),
            false_positive: learn,
        };
        known.state.incident.status = self.status;
        if self.status != Status::Acknowledged {
            known.state.incident.snoozed_until = None;
        }
        known.state.version += 1;
        known.state.reopens = false;
        known.state.suppression = None;
        // A reopened incident is no false positive any more.
        let removed = writer.learned_from(self.incident)?;
        for lesson in &removed {
            writer.remove_lesson(*lesson)?;
        }
        if learn {
            known.state.suppression = Some(writer.learn(&known, &decision)?);
        }
        let learned = known.state.suppression;
        writer.keep_undo(
            &known,
            &PriorState {
                learned,
                removed,
                ..before
            },
        )?;
        writer.note(known.seq, &decision)?;
        Ok(writer.finish(known, ChangeReason::Status, Some(&decision))?)
    }

    fn announcement<'a>(&'a self, change: &'a Change) -> Option<Announcement<'a>> {
        Some(Announcement::Change(change))
    }
}

/// Removal of a suppression, by its id; the incidents under it are reopened
/// when seen again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SuppressionRemoval(pub Uuid);

impl Write for SuppressionRemoval {
    type Out = ();

    fn apply(&self, writer: &mut StoreWriter) -> Result<(), WriteError> {
        let mut all = writer.suppressions.iter();
        let Some(found) = all.find(|known| known.id == self.0) else {
            return Err(WriteRefusal::NoLesson(self.0).into());
        };
        let seq = found.key;
        Ok(writer.remove_lesson(seq)?)
    }
}

/// Restoration of a suppression that was removed within the hour, with the
/// incidents under it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SuppressionRestore(pub Uuid);

impl Write for SuppressionRestore {
    type Out = ();

    fn apply(&self, writer: &mut StoreWriter) -> Result<(), WriteError> {
        if writer.suppressions.len() >= MOST_LESSONS {
            return Err(WriteRefusal::TooManyLessons(MOST_LESSONS).into());
        }
        let seq: Option<i64> = writer
            .db
            .prepare_cached("SELECT seq FROM lessons WHERE id = ?1 AND removed_at IS NOT NULL")?
            .query_row([self.0.as_bytes()], |row| row.get(0))
            .optional()?;
        match seq {
            Some(seq) if writer.restore_lesson(seq)? => Ok(()),
            _ => Err(WriteRefusal::NoLesson(self.0).into()),
        }
    }
}

impl StoreWriter {
    fn already(&self, known: &CachedIncident) -> rusqlite::Result<WriteRefusal> {
        let mut last = self.db.prepare_cached(
            "SELECT decided_by, at, why FROM decisions WHERE incident = ?1 ORDER BY seq DESC LIMIT 1",
        )?;
        let last = last.query_row([known.seq], |row| {
            Ok(WriteRefusal::Already {
                status: known.state.incident.status,
                by: row.get(0)?,
                at: sql::timestamp(row.get(1)?),
                why: row.get(2)?,
            })
        });
        Ok(last.optional()?.unwrap_or_else(|| WriteRefusal::Already {
            status: known.state.incident.status,
            by: Decision::WATCHTOWER.to_owned(),
            at: known.state.incident.first_seen,
            why: "no decision yet".to_owned(),
        }))
    }

    fn learn(&mut self, known: &CachedIncident, decision: &Decision) -> rusqlite::Result<i64> {
        let incident = &known.state.incident;
        self.db
            .prepare_cached(
                "INSERT INTO lessons
                   (id, incident, title, severity, learned_by, at, why, subject, quieted)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 0)",
            )?
            .execute(params![
                Uuid::now_v7().as_bytes(),
                incident.id.as_bytes(),
                incident.title,
                sql::badness(incident.severity),
                decision.by,
                sql::nanos(decision.at),
                decision.why,
                sql::to_json(&known.state.subject),
            ])?;
        let seq = self.db.last_insert_rowid();
        self.suppressions = suppressions(&self.db)?;
        Ok(seq)
    }

    fn learned_from(&self, incident: Uuid) -> rusqlite::Result<Vec<i64>> {
        let mut find = self
            .db
            .prepare_cached("SELECT seq FROM lessons WHERE incident = ?1 AND removed_at IS NULL")?;
        let lessons = find.query_map([incident.as_bytes()], |row| row.get(0))?;
        lessons.collect()
    }

    /// Removes a suppression; its incidents stay closed until seen again. It
    /// can be restored for [`UNDO_FOR`].
    pub(super) fn remove_lesson(&mut self, seq: i64) -> rusqlite::Result<()> {
        let now = Timestamp::now();
        self.db.execute(
            "DELETE FROM lessons WHERE removed_at < ?1",
            [sql::nanos(now - UNDO_FOR)],
        )?;
        self.db.execute(
            "UPDATE lessons SET removed_at = ?2 WHERE seq = ?1",
            [seq, sql::nanos(now)],
        )?;
        self.db.execute(
            "INSERT OR IGNORE INTO released SELECT lesson, seq FROM incidents WHERE lesson = ?1",
            [seq],
        )?;
        let mut quieted = self.db.prepare(
            "UPDATE incidents SET lesson = NULL, reopens = 1 WHERE lesson = ?1 RETURNING seq",
        )?;
        let quieted: Vec<i64> = quieted
            .query_map([seq], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        for incident in quieted {
            self.cache.remove(incident);
        }
        self.suppressions.retain(|known| known.key != seq);
        Ok(())
    }

    /// Restores a removed suppression, and the incidents under it that are
    /// closed still; false if it is not there any more.
    pub(super) fn restore_lesson(&mut self, seq: i64) -> rusqlite::Result<bool> {
        let restored = self.db.execute(
            "UPDATE lessons SET removed_at = NULL WHERE seq = ?1 AND removed_at >= ?2",
            [seq, sql::nanos(Timestamp::now() - UNDO_FOR)],
        )?;
        if restored == 0 {
            return Ok(false);
        }
        let mut again = self.db.prepare(
            "UPDATE incidents SET lesson = ?1, reopens = 0
             WHERE seq IN (SELECT incident FROM released WHERE lesson = ?1)
               AND lesson IS NULL AND status = 2 AND reopens = 1 RETURNING seq",
        )?;
        let again: Vec<i64> = again
            .query_map([seq], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        for incident in again {
            self.cache.remove(incident);
        }
        self.db
            .execute("DELETE FROM released WHERE lesson = ?1", [seq])?;
        self.suppressions = suppressions(&self.db)?;
        Ok(true)
    }
}

/// All suppressions, in the order in which they were made.
pub(super) fn suppressions(db: &Connection) -> rusqlite::Result<Vec<KnownSuppression>> {
    let mut all = db.prepare(
        "SELECT seq, id, learned_by, why, severity, subject FROM lessons
         WHERE removed_at IS NULL ORDER BY seq",
    )?;
    let found = all.query_map([], |row| {
        Ok(KnownSuppression {
            key: row.get(0)?,
            id: sql::id(row, 1)?,
            by: row.get(2)?,
            why: row.get(3)?,
            severity: sql::severity_at(row, 4)?,
            subject: sql::json(row, 5)?,
        })
    })?;
    found.collect()
}

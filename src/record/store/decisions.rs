//! Decisions of people, and the suppressions made from them.

use jiff::Timestamp;
use rusqlite::{OptionalExtension as _, params};
use uuid::Uuid;

use super::record::KnownLesson;
use super::{Refusal, Verdict, Writer};
use crate::domain::incident::{Change, Decision, News, Status};
use crate::record::store::incident_cache::Known;
use crate::record::store::sql;

/// Every finding that opens an incident is compared with each of them.
const MOST_LESSONS: usize = 1000;

impl Writer {
    pub(super) fn decide(
        &mut self,
        verdict: &Verdict,
    ) -> rusqlite::Result<Result<Change, Refusal>> {
        let Some(mut known) = self.cache.by_id(&self.db, verdict.incident)? else {
            return Ok(Err(Refusal::NoIncident(verdict.incident)));
        };
        if known.incident.status == verdict.status {
            return Ok(Err(self.already(&known)?));
        }
        if verdict
            .version
            .is_some_and(|version| version != known.version)
        {
            return Ok(Err(Refusal::Stale {
                version: known.version,
            }));
        }
        let learn = verdict.false_positive && verdict.status == Status::Closed;
        if learn && self.lessons.len() >= MOST_LESSONS {
            return Ok(Err(Refusal::TooManyLessons(MOST_LESSONS)));
        }
        let decision = Decision {
            status: verdict.status,
            by: verdict.by.clone(),
            at: Timestamp::now(),
            why: verdict.why.clone(),
            false_positive: learn,
        };
        known.incident.status = verdict.status;
        known.version += 1;
        known.reopens = false;
        known.lesson = None;
        // Whoever takes it up again no longer holds it false.
        for lesson in self.learned_from(verdict.incident)? {
            self.remove_lesson(lesson)?;
        }
        if learn {
            known.lesson = Some(self.learn(&known, &decision)?);
        }
        self.note(known.seq, &decision)?;
        let revision = self.next_revision();
        known.update(&self.db, revision)?;
        let change = Change {
            revision,
            change: News::Status,
            loud: true,
            finding: None,
            version: known.version,
            incident: known.incident.clone(),
        };
        self.post(&change, None, Some(&decision))?;
        self.cache.put(known);
        Ok(Ok(change))
    }

    fn already(&self, known: &Known) -> rusqlite::Result<Refusal> {
        let mut last = self.db.prepare_cached(
            "SELECT decided_by, at, why FROM decisions WHERE incident = ?1 ORDER BY seq DESC LIMIT 1",
        )?;
        let last = last.query_row([known.seq], |row| {
            Ok(Refusal::Already {
                status: known.incident.status,
                by: row.get(0)?,
                at: sql::timestamp(row.get(1)?),
                why: row.get(2)?,
            })
        });
        Ok(last.optional()?.unwrap_or_else(|| Refusal::Already {
            status: known.incident.status,
            by: Decision::WATCHTOWER.to_owned(),
            at: known.incident.first_seen,
            why: "no decision yet".to_owned(),
        }))
    }

    fn learn(&mut self, known: &Known, decision: &Decision) -> rusqlite::Result<i64> {
        let incident = &known.incident;
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
                sql::to_json(&known.subject),
            ])?;
        let seq = self.db.last_insert_rowid();
        self.lessons = KnownLesson::all(&self.db)?;
        Ok(seq)
    }

    fn learned_from(&self, incident: Uuid) -> rusqlite::Result<Vec<i64>> {
        let mut find = self
            .db
            .prepare_cached("SELECT seq FROM lessons WHERE incident = ?1")?;
        let lessons = find.query_map([incident.as_bytes()], |row| row.get(0))?;
        lessons.collect()
    }

    /// Removes a suppression; its incidents stay closed until seen again.
    pub(super) fn remove_lesson(&mut self, seq: i64) -> rusqlite::Result<()> {
        self.db
            .execute("DELETE FROM lessons WHERE seq = ?1", [seq])?;
        let mut quieted = self.db.prepare(
            "UPDATE incidents SET lesson = NULL, reopens = 1 WHERE lesson = ?1 RETURNING seq",
        )?;
        let quieted: Vec<i64> = quieted
            .query_map([seq], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        for incident in quieted {
            self.cache.remove(incident);
        }
        self.lessons.retain(|lesson| lesson.seq != seq);
        Ok(())
    }
}

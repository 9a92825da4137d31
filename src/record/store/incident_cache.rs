//! Incidents cached by the writer, and the search for the incident of a
//! finding.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension as _, params};
use uuid::Uuid;

use watchtower_domain::incident::{Fingerprint, IncidentSearch, TrackedIncident};

use crate::store::sql;
use crate::store::sql::{INCIDENT, INCIDENT_COLUMNS};

/// Incidents kept in memory; others are read when needed.
const CACHED: usize = 1024;

/// Incident, with the writer's state of it.
#[derive(Debug, Clone)]
pub(super) struct CachedIncident {
    pub(super) seq: i64,
    pub(super) state: TrackedIncident,
    pub(super) has_still: bool,
}

#[derive(Debug, Default)]
pub(super) struct Cache(HashMap<i64, CachedIncident>);

impl Cache {
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn remove(&mut self, seq: i64) {
        self.0.remove(&seq);
    }

    pub(super) fn put(&mut self, known: CachedIncident) {
        if self.0.len() >= CACHED {
            // Simple, and rare enough: incidents in use are read again.
            self.0.clear();
        }
        self.0.insert(known.seq, known);
    }

    fn get(&mut self, db: &Connection, seq: i64) -> rusqlite::Result<Option<&CachedIncident>> {
        if !self.0.contains_key(&seq) {
            let Some(known) = load(db, seq)? else {
                return Ok(None);
            };
            self.put(known);
        }
        Ok(self.0.get(&seq))
    }

    pub(super) fn by_id(
        &mut self,
        db: &Connection,
        id: Uuid,
    ) -> rusqlite::Result<Option<CachedIncident>> {
        let mut find = db.prepare_cached("SELECT seq FROM incidents WHERE id = ?1")?;
        let seq = find
            .query_row([id.as_bytes()], |row| row.get(0))
            .optional()?;
        match seq {
            Some(seq) => Ok(self.get(db, seq)?.cloned()),
            None => Ok(None),
        }
    }

    /// Incident that a finding with this fingerprint belongs to.
    pub(super) fn find(
        &mut self,
        db: &Connection,
        subject: &Fingerprint,
    ) -> rusqlite::Result<Option<CachedIncident>> {
        let mut search = IncidentSearch::new(subject);
        while let Some(keys) = search.next_keys() {
            let mut find = db.prepare_cached(
                "SELECT incident FROM subject_keys WHERE key = ?1 ORDER BY incident DESC LIMIT ?2",
            )?;
            for key in keys {
                let rows =
                    find.query_map(params![key, IncidentSearch::BY_KEY], |row| row.get(0))?;
                for seq in rows {
                    let seq: i64 = seq?;
                    if search.is_candidate(seq)
                        && let Some(known) = self.get(db, seq)?
                    {
                        search.consider(seq, &known.state);
                    }
                }
            }
        }
        match search.found() {
            Some(seq) => Ok(self.get(db, seq)?.cloned()),
            None => Ok(None),
        }
    }
}

fn load(db: &Connection, seq: i64) -> rusqlite::Result<Option<CachedIncident>> {
    let sql = format!(
        "SELECT {INCIDENT}, json, proof, version, lesson, reopens, told,
           EXISTS (SELECT 1 FROM stills WHERE stills.incident = seq)
         FROM incidents JOIN subjects ON subjects.incident = seq WHERE seq = ?1"
    );
    let mut load = db.prepare_cached(&sql)?;
    let at = INCIDENT_COLUMNS;
    let known = load.query_row([seq], |row| {
        let proof: Option<String> = row.get(at + 1)?;
        Ok(CachedIncident {
            seq,
            state: TrackedIncident {
                incident: sql::incident(row)?,
                subject: sql::json(row, at)?,
                proof: proof.and_then(|proof| serde_json::from_str(&proof).ok()),
                version: row.get::<_, i64>(at + 2)? as u64,
                suppression: row.get(at + 3)?,
                reopens: row.get(at + 4)?,
                alerts: row.get(at + 5)?,
            },
            has_still: row.get(at + 6)?,
        })
    });
    known.optional()
}

impl CachedIncident {
    /// Inserts an incident that was opened; `revision` is the last one so far.
    pub(super) fn insert(
        state: TrackedIncident,
        db: &Connection,
        revision: u64,
    ) -> rusqlite::Result<Self> {
        let incident = &state.incident;
        let mut insert = db.prepare_cached(
            "INSERT INTO incidents (id, stream, category, first_seen, title, severity, status,
               count, last_seen, agents, entities, opinions, revision, version)
             VALUES (?1, ?2, ?3, ?4, '', 0, 0, 0, 0, '[]', '[]', '[]', 0, 0)",
        )?;
        insert.execute(params![
            incident.id.as_bytes(),
            incident.stream.as_str(),
            incident.category.as_str(),
            sql::nanos(incident.first_seen),
        ])?;
        let known = Self {
            seq: db.last_insert_rowid(),
            state,
            has_still: false,
        };
        known.update(db, revision)?;
        known.store_subject(db)?;
        Ok(known)
    }

    pub(super) fn update(&self, db: &Connection, revision: u64) -> rusqlite::Result<()> {
        let state = &self.state;
        let incident = &state.incident;
        let mut update = db.prepare_cached(
            "UPDATE incidents SET title = ?2, severity = ?3, status = ?4, count = ?5,
               first_seen = ?6, last_seen = ?7, agents = ?8, entities = ?9, grounded = ?10,
               opinions = ?11, proof = ?12, revision = ?13, version = ?14, lesson = ?15,
               reopens = ?16, told = ?17, verdict = ?18,
               owner = ?19, snoozed_until = ?20, subject = ?21, settled = ?22
             WHERE seq = ?1",
        )?;
        update.execute(params![
            self.seq,
            incident.title,
            sql::badness(incident.severity),
            sql::code(incident.status),
            incident.count as i64,
            sql::nanos(incident.first_seen),
            sql::nanos(incident.last_seen),
            sql::to_json(&incident.agents),
            sql::to_json(&incident.entities),
            incident.grounded,
            sql::to_json(&incident.opinions),
            state.proof.as_ref().map(sql::to_json),
            revision as i64,
            state.version as i64,
            state.suppression,
            state.reopens,
            state.alerts,
            incident.verdict.as_ref().map(sql::to_json),
            incident.owner,
            incident.snoozed_until.map(sql::nanos),
            incident.subject().map_or("", |entity| &entity.value),
            sql::badness(incident.standing_severity()),
        ])?;
        Ok(())
    }

    /// Stores its fingerprint, and its lookup keys.
    pub(super) fn store_subject(&self, db: &Connection) -> rusqlite::Result<()> {
        db.prepare_cached("INSERT OR REPLACE INTO subjects (incident, json) VALUES (?1, ?2)")?
            .execute(params![self.seq, sql::to_json(&self.state.subject)])?;
        let mut insert = db
            .prepare_cached("INSERT OR IGNORE INTO subject_keys (key, incident) VALUES (?1, ?2)")?;
        let subject = &self.state.subject;
        for key in subject.line_keys().into_iter().chain(subject.topic_keys()) {
            insert.execute([key, self.seq])?;
        }
        Ok(())
    }
}

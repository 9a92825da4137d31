//! Queries of incidents and suppressions.

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, Row, params, params_from_iter};
use uuid::Uuid;

use watchtower_domain::finding::Finding;
use watchtower_domain::incident::{Decision, Fingerprint, Incident, Suppression};

use super::incident_filter::Conditions;
use super::transcripts::{COST, cost};
use super::{
    IncidentCursor, IncidentDetail, IncidentQuery, KeptStill, Page, Readers, Sort, StoreError,
    notes,
};
use crate::store::findings::clamp;
use crate::store::sql;
use crate::store::sql::{INCIDENT, INCIDENT_COLUMNS};

impl Readers {
    pub fn incidents(
        &self,
        query: &IncidentQuery,
    ) -> Result<Page<Incident, IncidentCursor>, StoreError> {
        self.with(|db| incidents(db, query))
    }

    /// Incidents changed after a revision, in their current state and in the
    /// order of their last change; each with its revision and version.
    pub fn changed_after(
        &self,
        revision: u64,
        limit: usize,
    ) -> Result<Vec<(u64, u64, Incident)>, StoreError> {
        let sql = format!(
            "SELECT {INCIDENT}, revision, version FROM incidents
             WHERE revision > ?1 ORDER BY revision LIMIT ?2"
        );
        self.with(|db| {
            let mut changed = db.prepare_cached(&sql)?;
            let found = changed.query_map([clamp(revision), limit as i64], |row| {
                let at = INCIDENT_COLUMNS;
                let (revision, version): (i64, i64) = (row.get(at)?, row.get(at + 1)?);
                Ok((revision as u64, version as u64, sql::incident(row)?))
            })?;
            found.collect()
        })
    }

    pub fn incident(&self, id: Uuid) -> Result<Option<IncidentDetail>, StoreError> {
        self.with(|db| {
            // Reads all of it from one snapshot of the database.
            let moment = db.unchecked_transaction()?;
            detail(&moment, id)
        })
    }

    /// Newest first.
    pub fn lessons(&self) -> Result<Vec<Suppression>, StoreError> {
        let sql = format!("{LESSON} WHERE removed_at IS NULL ORDER BY seq DESC");
        self.with(|db| {
            let mut all = db.prepare_cached(&sql)?;
            let found = all.query_map([], lesson)?;
            found.collect()
        })
    }
}

/// Order of a list of incidents, and the condition on what comes after a
/// position in it.
struct IncidentOrder {
    ascending: bool,
    /// Column of severities that comes before the key.
    worst: Option<&'static str>,
    /// Text that comes before the key.
    text: Option<&'static str>,
    key: &'static str,
}

impl IncidentOrder {
    fn of(query: &IncidentQuery) -> Self {
        let (worst, text, key) = match query.sort {
            Sort::LastSeen => (None, None, "last_seen"),
            Sort::FirstSeen => (None, None, "first_seen"),
            Sort::Count => (None, None, "count"),
            Sort::Severity => (Some("severity"), None, "last_seen"),
            Sort::Settled => (Some("settled"), None, "last_seen"),
            Sort::Title => (None, Some("title COLLATE NOCASE"), "last_seen"),
            Sort::Subject => (
                None,
                Some("coalesce(subject, '') COLLATE NOCASE"),
                "last_seen",
            ),
            Sort::Stream => (None, Some("stream COLLATE NOCASE"), "last_seen"),
            Sort::Owner => (
                None,
                Some("coalesce(owner, '') COLLATE NOCASE"),
                "last_seen",
            ),
        };
        Self {
            ascending: query.ascending,
            worst,
            text,
            key,
        }
    }

    /// Terms of the order.
    fn by(&self) -> String {
        let way = if self.ascending { "ASC" } else { "DESC" };
        let key = self.key;
        match self.worst.or(self.text) {
            Some(first) => format!("{first} {way}, {key} DESC, seq DESC"),
            None => format!("{key} {way}, seq {way}"),
        }
    }

    /// Condition on what comes after a position.
    fn after(&self, place: &IncidentCursor, conditions: &mut Conditions) -> String {
        let key = self.key;
        let beyond = if self.ascending { ">" } else { "<" };
        let first = match (self.worst, self.text) {
            (Some(worst), _) => Some((worst, Value::Integer(place.severity))),
            (None, Some(text)) => Some((text, Value::Text(place.text.clone()))),
            (None, None) => None,
        };
        let first = first.map(|(column, value)| (column, conditions.bind(value)));
        let b = conditions.bind(Value::Integer(place.key));
        let c = conditions.bind(Value::Integer(place.seq));
        match first {
            None => format!("({key}, seq) {beyond} ({b}, {c})"),
            // One comparison of rows, for which there is an index.
            Some((worst, a)) if !self.ascending && self.worst.is_some() => {
                format!("({worst}, {key}, seq) < ({a}, {b}, {c})")
            }
            Some((column, a)) => {
                format!("({column} {beyond} {a} OR ({column} = {a} AND ({key}, seq) < ({b}, {c})))")
            }
        }
    }
}

fn incidents(
    db: &Connection,
    query: &IncidentQuery,
) -> rusqlite::Result<Page<Incident, IncidentCursor>> {
    let order = IncidentOrder::of(query);
    let mut conditions = Conditions::of(query, None, vec![Value::Integer(query.limit as i64 + 1)]);
    if let Some(place) = &query.after {
        let position = order.after(place, &mut conditions);
        conditions.and(&position);
    }
    let (filter, values) = conditions.parts();
    let (by, key, text) = (order.by(), order.key, order.text.unwrap_or("''"));
    let sql = format!(
        "SELECT {INCIDENT}, {key}, seq, {text} FROM incidents WHERE seq IN
           (SELECT seq FROM incidents WHERE {filter} ORDER BY {by} LIMIT ?1)
         ORDER BY {by}"
    );
    let mut list = db.prepare_cached(&sql)?;
    let found = list.query_map(params_from_iter(values), |row| {
        let incident = sql::incident(row)?;
        let place = IncidentCursor {
            severity: sql::badness(match query.sort {
                Sort::Settled => incident.standing_severity(),
                _ => incident.severity,
            }),
            key: row.get(INCIDENT_COLUMNS)?,
            seq: row.get(INCIDENT_COLUMNS + 1)?,
            text: row.get(INCIDENT_COLUMNS + 2)?,
        };
        Ok((place, incident))
    })?;
    Ok(Page::of(
        found.collect::<rusqlite::Result<_>>()?,
        query.limit,
    ))
}

fn detail(db: &Connection, id: Uuid) -> rusqlite::Result<Option<IncidentDetail>> {
    let sql = format!(
        "SELECT {INCIDENT}, seq, version, proof, lesson, {COST} FROM incidents WHERE id = ?1"
    );
    let mut find = db.prepare_cached(&sql)?;
    let found = find.query_row([id.as_bytes()], |row| {
        let at = INCIDENT_COLUMNS;
        let head: (i64, i64) = (row.get(at)?, row.get(at + 1)?);
        let (proof, lesson): (Option<String>, Option<i64>) = (row.get(at + 2)?, row.get(at + 3)?);
        Ok((sql::incident(row)?, head, proof, lesson, cost(row, at + 4)?))
    });
    let Some((incident, (seq, version), proof, lesson_seq, cost)) = found.optional()? else {
        return Ok(None);
    };
    let lesson = match lesson_seq {
        Some(seq) => db
            .prepare_cached(&format!("{LESSON} WHERE seq = ?1"))?
            .query_row([seq], lesson)
            .optional()?,
        None => None,
    };
    Ok(Some(IncidentDetail {
        incident,
        version: version as u64,
        decisions: decisions(db, seq)?,
        notes: notes::of(db, seq)?,
        proof: proof.and_then(|proof| serde_json::from_str(&proof).ok()),
        stills: stills(db, seq)?,
        lesson,
        cost,
    }))
}

/// Newest decisions, oldest first.
fn decisions(db: &Connection, incident: i64) -> rusqlite::Result<Vec<Decision>> {
    const SHOWN: i64 = 200;
    let mut all = db.prepare_cached(
        "SELECT status, decided_by, at, why, false_positive FROM decisions
         WHERE incident = ?1 ORDER BY seq DESC LIMIT ?2",
    )?;
    let found = all.query_map(params![incident, SHOWN], |row| {
        Ok(Decision {
            status: sql::status(row.get(0)?),
            by: row.get(1)?,
            at: sql::timestamp(row.get(2)?),
            why: row.get(3)?,
            false_positive: row.get(4)?,
        })
    })?;
    let mut found: Vec<_> = found.collect::<rusqlite::Result<_>>()?;
    found.reverse();
    Ok(found)
}

fn stills(db: &Connection, incident: i64) -> rusqlite::Result<Vec<KeptStill>> {
    let mut all = db.prepare_cached(
        "SELECT moment, sha256, json FROM stills
         JOIN findings ON findings.seq = stills.finding
         WHERE stills.incident = ?1 ORDER BY moment",
    )?;
    let found = all.query_map([incident], |row| {
        let moment: i64 = row.get(0)?;
        let finding: Finding = sql::json(row, 2)?;
        Ok(KeptStill {
            moment: if moment == 0 { "first" } else { "worst" },
            sha256: row.get(1)?,
            finding: finding.id,
            severity: finding.severity,
            evidence: finding.evidence,
            seen_at: finding.observed_at,
        })
    })?;
    found.collect()
}

const LESSON: &str = "SELECT id, incident, title, severity, learned_by, at, why, subject, quieted, \
     last_quieted FROM lessons";

fn lesson(row: &Row<'_>) -> rusqlite::Result<Suppression> {
    let subject: Fingerprint = sql::json(row, 7)?;
    Ok(Suppression {
        id: sql::id(row, 0)?,
        incident: sql::id(row, 1)?,
        title: row.get(2)?,
        severity: sql::severity_at(row, 3)?,
        by: row.get(4)?,
        at: sql::timestamp(row.get(5)?),
        why: row.get(6)?,
        covers: subject.in_words(),
        quieted: row.get::<_, i64>(8)? as u64,
        last_quieted: row.get::<_, Option<i64>>(9)?.map(sql::timestamp),
    })
}

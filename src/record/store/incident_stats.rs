//! Counts of incidents: by facet, over time, by stream and time, by group; and
//! of an incident's findings over time.
//!
//! Statements are standard SQL, apart from the form of the parameters.

use jiff::{SignedDuration, Timestamp};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, Row, params, params_from_iter};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use watchtower_domain::finding::Severity;

use super::incident_filter::{Conditions, Facet};
use super::{IncidentQuery, Readers, StoreError};
use crate::store::sql;

/// Values of a facet that are counted; more are not read by anybody.
const MOST_VALUES: usize = 50;
/// Incidents named of each mark of a lane; its count tells of the others.
const NAMED: i64 = 3;
/// Marks of all lanes: 40 streams with 50 each.
const MOST_MARKS: usize = 2000;

/// Range of time in steps of equal length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeBuckets {
    from: Timestamp,
    to: Timestamp,
    count: u32,
}

impl TimeBuckets {
    /// Range within 1970 and 2262: the database subtracts its ends, and a
    /// difference that 64 bits of nanoseconds don't hold becomes a fraction.
    pub fn new(from: Timestamp, to: Timestamp, count: u32) -> Self {
        let latest = sql::timestamp(i64::MAX);
        let within = |at: Timestamp| at.clamp(Timestamp::UNIX_EPOCH, latest);
        Self {
            from: within(from),
            to: within(to),
            count,
        }
    }

    /// Length of a step in nanoseconds, rounded up, so that they cover the range.
    fn step(self) -> i64 {
        let length = sql::nanos(self.to).saturating_sub(sql::nanos(self.from));
        let count = i64::from(self.count.max(1));
        (length / count + i64::from(length % count > 0)).max(1)
    }

    /// Beginning of a step.
    fn at(self, nth: i64) -> Timestamp {
        sql::timestamp(sql::nanos(self.from).saturating_add(nth.saturating_mul(self.step())))
    }
}

/// Value of a facet, and the number of incidents that have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct FacetCount {
    /// Empty: the incidents without an owner.
    pub name: String,
    pub count: u64,
}

/// Incidents by facet: of each all that match the filter on the others. The most
/// frequent 50 values of each.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, ToSchema)]
pub struct IncidentFacets {
    /// Incidents that match the whole filter.
    pub total: u64,
    pub severity: Vec<FacetCount>,
    pub status: Vec<FacetCount>,
    pub stream: Vec<FacetCount>,
    pub agent: Vec<FacetCount>,
    pub owner: Vec<FacetCount>,
}

/// Incidents by severity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, ToSchema)]
pub struct SeverityCounts {
    pub critical: u64,
    pub high: u64,
    pub medium: u64,
    pub low: u64,
    pub info: u64,
}

impl SeverityCounts {
    fn add(&mut self, severity: Severity, count: u64) {
        let of = match severity {
            Severity::Critical => &mut self.critical,
            Severity::High => &mut self.high,
            Severity::Medium => &mut self.medium,
            Severity::Low => &mut self.low,
            Severity::Info => &mut self.info,
        };
        *of += count;
    }
}

/// Incidents by severity and the time first seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct IncidentHistogram {
    pub from: Timestamp,
    pub to: Timestamp,
    /// Length of a step in milliseconds.
    pub step_ms: u64,
    /// Counts of each step, the earliest first.
    pub buckets: Vec<SeverityCounts>,
}

/// Incident of a mark.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct MarkedIncident {
    pub id: Uuid,
    pub title: String,
    pub severity: Severity,
    pub first_seen: Timestamp,
}

/// Incidents of a stream first seen within a step of time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct LaneMark {
    pub stream: String,
    /// Beginning of the step.
    pub at: Timestamp,
    pub count: u64,
    /// The worst three, the worst first.
    pub incidents: Vec<MarkedIncident>,
}

/// Property that incidents are grouped by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupKey {
    Stream,
    Subject,
}

/// Incidents of one stream or subject.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct IncidentGroup {
    /// Stream or subject; empty: those without a subject.
    pub name: String,
    pub count: u64,
    pub by_severity: SeverityCounts,
    pub first_seen: Timestamp,
    pub last_seen: Timestamp,
}

/// Groups of incidents, those with the worst and then with most first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, ToSchema)]
pub struct IncidentGroups {
    pub items: Vec<IncidentGroup>,
    /// True if others are left out.
    pub more: bool,
}

/// Findings of an incident over time, and its picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncidentActivity {
    pub incident: Uuid,
    /// Findings stored in each step, the earliest first.
    pub findings: Vec<u64>,
    /// SHA-256 of the still of its peak, or else of its first moment.
    pub still: Option<String>,
}

impl Readers {
    pub fn incident_facets(&self, query: &IncidentQuery) -> Result<IncidentFacets, StoreError> {
        self.with(|db| {
            // Counts that fit each other come from one snapshot.
            let moment = db.unchecked_transaction()?;
            let count = |facet, column: &str| facet_counts(&moment, query, facet, column);
            let (filter, values) = Conditions::of(query, None, Vec::new()).parts();
            let total: i64 = moment
                .prepare_cached(&format!("SELECT count(*) FROM incidents WHERE {filter}"))?
                .query_row(params_from_iter(values), |row| row.get(0))?;
            let code = |value: &Value| match value {
                Value::Integer(code) => *code,
                _ => 0,
            };
            let text = |value: &Value| match value {
                Value::Text(name) => name.clone(),
                _ => String::new(),
            };
            let severity = |value: &Value| sql::severity(code(value)).as_str().to_owned();
            let status = |value: &Value| sql::status(code(value)).as_str().to_owned();
            Ok(IncidentFacets {
                total: total as u64,
                severity: named(count(Facet::Severity, "settled")?, severity),
                status: named(count(Facet::Status, "status")?, status),
                stream: named(count(Facet::Stream, "stream")?, text),
                agent: named(count(Facet::Agent, "min(agent)")?, text),
                owner: named(count(Facet::Owner, "owner")?, text),
            })
        })
    }

    /// Incidents over time; without a beginning in the query from the first one
    /// on, and without an end until `now`.
    pub fn incident_histogram(
        &self,
        query: &IncidentQuery,
        count: u32,
        now: Timestamp,
    ) -> Result<IncidentHistogram, StoreError> {
        self.with(|db| {
            let moment = db.unchecked_transaction()?;
            let to = query.to.unwrap_or(now);
            let from = match query.from {
                Some(from) => from,
                None => {
                    let first = earliest(&moment, query)?.unwrap_or(to);
                    first.min(to.checked_sub(SHORTEST).unwrap_or(Timestamp::MIN))
                }
            };
            let range = TimeBuckets::new(from, to, count);
            let within = IncidentQuery {
                from: Some(range.from),
                to: Some(range.to),
                ..query.clone()
            };
            let first = vec![sql::nanos(range.from).into(), range.step().into()];
            let (filter, values) = Conditions::of(&within, None, first).parts();
            let sql = format!(
                "SELECT (first_seen - ?1) / ?2, settled, count(*) FROM incidents
                 WHERE {filter} GROUP BY 1, 2"
            );
            let mut select = moment.prepare_cached(&sql)?;
            let mut rows = select.query(params_from_iter(values))?;
            let mut buckets = vec![SeverityCounts::default(); count as usize];
            while let Some(row) = rows.next()? {
                let nth: i64 = row.get(0)?;
                let bucket = usize::try_from(nth).ok().and_then(|n| buckets.get_mut(n));
                if let Some(bucket) = bucket {
                    bucket.add(sql::severity_at(row, 1)?, row.get::<_, i64>(2)? as u64);
                }
            }
            Ok(IncidentHistogram {
                from: range.from,
                to: range.to,
                step_ms: (range.step() as u64).div_ceil(1_000_000),
                buckets,
            })
        })
    }

    /// Marks of each stream, the streams by name and their marks by time; true
    /// if there were more.
    pub fn incident_lanes(
        &self,
        query: &IncidentQuery,
        range: TimeBuckets,
    ) -> Result<(Vec<LaneMark>, bool), StoreError> {
        let within = IncidentQuery {
            from: Some(range.from),
            to: Some(range.to),
            ..query.clone()
        };
        let first = vec![
            sql::nanos(range.from).into(),
            range.step().into(),
            NAMED.into(),
            (MOST_MARKS as i64 * NAMED + 1).into(),
        ];
        let (filter, values) = Conditions::of(&within, None, first).parts();
        let sql = format!(
            "SELECT stream, step, together, id, title, severity, first_seen FROM (
               SELECT stream, step, id, title, settled AS severity, first_seen,
                 count(*) OVER (PARTITION BY stream, step) AS together,
                 row_number() OVER (PARTITION BY stream, step
                   ORDER BY settled DESC, first_seen, seq) AS place
               FROM (SELECT *, (first_seen - ?1) / ?2 AS step FROM incidents WHERE {filter}) AS one
             ) AS placed WHERE place <= ?3 ORDER BY stream, step, place LIMIT ?4"
        );
        let mut marks: Vec<LaneMark> = Vec::new();
        self.with(|db| {
            let mut select = db.prepare_cached(&sql)?;
            let mut rows = select.query(params_from_iter(values))?;
            while let Some(row) = rows.next()? {
                let (stream, at): (String, _) = (row.get(0)?, range.at(row.get(1)?));
                let incident = MarkedIncident {
                    id: sql::id(row, 3)?,
                    title: row.get(4)?,
                    severity: sql::severity_at(row, 5)?,
                    first_seen: sql::timestamp(row.get(6)?),
                };
                match marks.last_mut() {
                    Some(mark) if mark.stream == stream && mark.at == at => {
                        mark.incidents.push(incident);
                    }
                    _ => marks.push(LaneMark {
                        stream,
                        at,
                        count: row.get::<_, i64>(2)? as u64,
                        incidents: vec![incident],
                    }),
                }
            }
            Ok(())
        })?;
        let more = marks.len() > MOST_MARKS;
        marks.truncate(MOST_MARKS);
        Ok((marks, more))
    }

    pub fn incident_groups(
        &self,
        query: &IncidentQuery,
        by: GroupKey,
    ) -> Result<IncidentGroups, StoreError> {
        let column = match by {
            GroupKey::Stream => "stream",
            GroupKey::Subject => "subject",
        };
        let first = vec![Value::Integer(query.limit as i64 + 1)];
        let (filter, values) = Conditions::of(query, None, first).parts();
        let counts: String = (0..5)
            .map(|level| format!(", sum(CASE WHEN settled = {level} THEN 1 ELSE 0 END)"))
            .collect();
        let sql = format!(
            "SELECT {column}, count(*), min(first_seen), max(last_seen){counts} FROM incidents
             WHERE {filter} GROUP BY {column}
             ORDER BY max(settled) DESC, 2 DESC, {column} LIMIT ?1"
        );
        self.with(|db| {
            let mut select = db.prepare_cached(&sql)?;
            let found = select.query_map(params_from_iter(values), group)?;
            let mut items: Vec<_> = found.collect::<rusqlite::Result<_>>()?;
            let more = items.len() > query.limit;
            items.truncate(query.limit);
            Ok(IncidentGroups { items, more })
        })
    }

    /// Activity of each of these incidents, in their order; unknown ones are left
    /// out.
    pub fn incident_activity(
        &self,
        incidents: &[Uuid],
        range: TimeBuckets,
    ) -> Result<Vec<IncidentActivity>, StoreError> {
        self.with(|db| {
            let moment = db.unchecked_transaction()?;
            let found = incidents.iter().map(|id| activity(&moment, *id, range));
            let found: Vec<_> = found.collect::<rusqlite::Result<_>>()?;
            Ok(found.into_iter().flatten().collect())
        })
    }
}

/// Shortest range of a histogram without a beginning.
const SHORTEST: SignedDuration = SignedDuration::from_mins(15);

fn earliest(db: &Connection, query: &IncidentQuery) -> rusqlite::Result<Option<Timestamp>> {
    let (filter, values) = Conditions::of(query, None, Vec::new()).parts();
    let mut first = db.prepare_cached(&format!(
        "SELECT min(first_seen) FROM incidents WHERE {filter}"
    ))?;
    let first: Option<i64> = first.query_row(params_from_iter(values), |row| row.get(0))?;
    Ok(first.map(sql::timestamp))
}

fn named(counts: Vec<(Value, u64)>, name: impl Fn(&Value) -> String) -> Vec<FacetCount> {
    let counts = counts.into_iter();
    let named = counts.map(|(value, count)| FacetCount {
        name: name(&value),
        count,
    });
    named.collect()
}

/// Values of a facet with their counts, the most frequent first.
fn facet_counts(
    db: &Connection,
    query: &IncidentQuery,
    facet: Facet,
    value: &str,
) -> rusqlite::Result<Vec<(Value, u64)>> {
    let first = vec![Value::Integer(MOST_VALUES as i64)];
    let (filter, values) = Conditions::of(query, Some(facet), first).parts();
    let (from, group) = match facet {
        // Names of analysts differ in case between two configurations.
        Facet::Agent => (
            "incidents JOIN incident_agents ON incident_agents.incident = incidents.seq",
            "lower(agent)",
        ),
        // The order of the index by severity would cost a look at each row.
        Facet::Severity => ("incidents", "settled + 0"),
        _ => ("incidents", value),
    };
    let sql = format!(
        "SELECT {value}, count(*) FROM {from} WHERE {filter} GROUP BY {group}
         ORDER BY 2 DESC, 1 LIMIT ?1"
    );
    let mut select = db.prepare_cached(&sql)?;
    let found = select.query_map(params_from_iter(values), |row| {
        Ok((row.get(0)?, row.get::<_, i64>(1)? as u64))
    })?;
    found.collect()
}

fn group(row: &Row<'_>) -> rusqlite::Result<IncidentGroup> {
    let mut by_severity = SeverityCounts::default();
    for level in 0..5 {
        let count: i64 = row.get(4 + level)?;
        by_severity.add(sql::severity(level as i64), count as u64);
    }
    Ok(IncidentGroup {
        name: row.get(0)?,
        count: row.get::<_, i64>(1)? as u64,
        by_severity,
        first_seen: sql::timestamp(row.get(2)?),
        last_seen: sql::timestamp(row.get(3)?),
    })
}

fn activity(
    db: &Connection,
    id: Uuid,
    range: TimeBuckets,
) -> rusqlite::Result<Option<IncidentActivity>> {
    let mut find = db.prepare_cached("SELECT seq FROM incidents WHERE id = ?1")?;
    let seq: Option<i64> = find
        .query_row([id.as_bytes()], |row| row.get(0))
        .optional()?;
    let Some(seq) = seq else {
        return Ok(None);
    };
    let mut count = db.prepare_cached(
        "SELECT (stored_at - ?2) / ?4, count(*) FROM findings
         WHERE incident = ?1 AND stored_at >= ?2 AND stored_at < ?3 GROUP BY 1",
    )?;
    let (from, to) = (sql::nanos(range.from), sql::nanos(range.to));
    let mut rows = count.query(params![seq, from, to, range.step()])?;
    let mut findings = vec![0; range.count as usize];
    while let Some(row) = rows.next()? {
        let nth: i64 = row.get(0)?;
        if let Some(bucket) = usize::try_from(nth).ok().and_then(|n| findings.get_mut(n)) {
            *bucket = row.get::<_, i64>(1)? as u64;
        }
    }
    let mut still = db.prepare_cached(
        "SELECT sha256 FROM stills WHERE incident = ?1 ORDER BY moment DESC LIMIT 1",
    )?;
    Ok(Some(IncidentActivity {
        incident: id,
        findings,
        still: still.query_row([seq], |row| row.get(0)).optional()?,
    }))
}

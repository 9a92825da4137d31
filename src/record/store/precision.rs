//! Precision of analysts, rules and watches by the decisions of users, and the
//! cost of analysts.

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::Timestamp;
use rusqlite::{Connection, params};
use serde::Serialize;
use utoipa::ToSchema;

use watchtower_domain::transcript::Cost;

use super::{Readers, StoreError, StoreWriter, Write, WriteError};
use crate::store::sql;

const DAY: i64 = 24 * 3600;
/// Newest findings that are counted by rule: bounds the time of a request to a
/// fraction of a second.
const MOST_FINDINGS: i64 = 50_000;
/// Rows of a list; there are some 200 rules.
const MOST_ROWS: usize = 500;

/// Incidents by the decision of a user.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct DecidedIncidents {
    /// All incidents.
    pub incidents: u64,
    /// Closed by a user, and not as false positive.
    pub right: u64,
    /// Closed by a user as false positive.
    pub false_positive: u64,
}

impl DecidedIncidents {
    fn add(&mut self, outcome: Option<IncidentOutcome>) {
        self.incidents += 1;
        match outcome {
            Some(IncidentOutcome::Right) => self.right += 1,
            Some(IncidentOutcome::FalsePositive) => self.false_positive += 1,
            None => {}
        }
    }
}

/// Decision of a user that closed an incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum IncidentOutcome {
    Right,
    FalsePositive,
}

/// Analyst: incidents it reported, and its cost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct AgentPrecision {
    pub agent: String,
    #[serde(flatten)]
    pub decided: DecidedIncidents,
    #[serde(flatten)]
    pub cost: Cost,
}

/// Offline rule, or watch: how often it reported something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct SourcePrecision {
    /// Id of the rule, or label and limit of the watch.
    pub name: String,
    pub agent: String,
    pub findings: u64,
    pub last_seen: Timestamp,
    #[serde(flatten)]
    pub decided: DecidedIncidents,
}

/// Precision within a range of time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Precision {
    pub since: Timestamp,
    pub until: Timestamp,
    pub agents: Vec<AgentPrecision>,
    /// Rules of offline analysts, those with the most findings first.
    pub rules: Vec<SourcePrecision>,
    pub watches: Vec<SourcePrecision>,
    /// True if older findings were not counted by rule.
    pub more: bool,
}

/// Cost of requests of an analyst.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentSpend {
    pub at: Timestamp,
    pub agent: String,
    pub cost: Cost,
}

impl Write for AgentSpend {
    type Out = ();

    /// Adds to the amounts of the day.
    fn apply(&self, writer: &mut StoreWriter) -> Result<(), WriteError> {
        let cost = &self.cost;
        writer
            .db
            .prepare_cached(
                "INSERT INTO agent_spend VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                 ON CONFLICT (day, agent) DO UPDATE SET
                   requests = requests + excluded.requests,
                   prompt_tokens = prompt_tokens + excluded.prompt_tokens,
                   output_tokens = output_tokens + excluded.output_tokens,
                   micro_usd = micro_usd + excluded.micro_usd",
            )?
            .execute(params![
                self.at.as_second().div_euclid(DAY),
                self.agent,
                cost.requests as i64,
                cost.prompt_tokens as i64,
                cost.output_tokens as i64,
                cost.micro_usd as i64,
            ])?;
        Ok(())
    }
}

impl Readers {
    /// Precision by the incidents that were there at a time of a range; cost
    /// of whole days.
    pub fn precision(&self, since: Timestamp, until: Timestamp) -> Result<Precision, StoreError> {
        self.with(|db| {
            let outcomes = outcomes(db, since, until)?;
            let (rules, watches, more) = sources(db, since, until, &outcomes)?;
            Ok(Precision {
                since,
                until,
                agents: agents(db, since, until, &outcomes)?,
                rules,
                watches,
                more,
            })
        })
    }
}

/// Decisions on the incidents of a range. An incident that the server or a
/// watch closed, or that was reopened, is undecided.
fn outcomes(
    db: &Connection,
    since: Timestamp,
    until: Timestamp,
) -> rusqlite::Result<HashMap<i64, Option<IncidentOutcome>>> {
    let mut all = db.prepare_cached(
        "SELECT incidents.seq, decisions.false_positive
         FROM incidents LEFT JOIN decisions
           ON incidents.status = 2 AND decisions.status = 2
           AND decisions.seq = (SELECT max(seq) FROM decisions WHERE incident = incidents.seq)
           AND decided_by != 'Watchtower'
           AND NOT EXISTS (SELECT 1 FROM incident_agents
             WHERE incident_agents.incident = incidents.seq AND agent = decided_by)
         WHERE incidents.last_seen >= ?1 AND incidents.first_seen < ?2",
    )?;
    let found = all.query_map([sql::nanos(since), sql::nanos(until)], |row| {
        let outcome = row.get::<_, Option<bool>>(1)?.map(|wrong| match wrong {
            true => IncidentOutcome::FalsePositive,
            false => IncidentOutcome::Right,
        });
        Ok((row.get(0)?, outcome))
    })?;
    found.collect()
}

fn agents(
    db: &Connection,
    since: Timestamp,
    until: Timestamp,
    outcomes: &HashMap<i64, Option<IncidentOutcome>>,
) -> rusqlite::Result<Vec<AgentPrecision>> {
    let mut known: BTreeMap<String, (DecidedIncidents, Cost)> = BTreeMap::new();
    let mut all = db.prepare_cached(
        "SELECT agent, incident FROM incident_agents
           JOIN incidents ON incidents.seq = incident WHERE last_seen >= ?1 AND first_seen < ?2",
    )?;
    let mut rows = all.query([sql::nanos(since), sql::nanos(until)])?;
    while let Some(row) = rows.next()? {
        let outcome = outcomes.get(&row.get(1)?).copied().flatten();
        known.entry(row.get(0)?).or_default().0.add(outcome);
    }
    let mut spent = db.prepare_cached(
        "SELECT agent, sum(requests), sum(prompt_tokens), sum(output_tokens), sum(micro_usd)
         FROM agent_spend WHERE day BETWEEN ?1 AND ?2 GROUP BY agent",
    )?;
    let mut rows = spent.query([since, until].map(|time| time.as_second().div_euclid(DAY)))?;
    while let Some(row) = rows.next()? {
        let amount = |at: usize| -> rusqlite::Result<u64> {
            Ok(u64::try_from(row.get::<_, i64>(at)?).unwrap_or_default())
        };
        known.entry(row.get(0)?).or_default().1 = Cost {
            requests: amount(1)?,
            prompt_tokens: amount(2)?,
            output_tokens: amount(3)?,
            micro_usd: amount(4)?,
        };
    }
    let rows = known.into_iter();
    let rows = rows.map(|(agent, (decided, cost))| AgentPrecision {
        agent,
        decided,
        cost,
    });
    Ok(rows.collect())
}

type Sources = (Vec<SourcePrecision>, Vec<SourcePrecision>, bool);

/// Rules and watches. A rule stands in the detail of its finding, a watch in the
/// title, before the value.
fn sources(
    db: &Connection,
    since: Timestamp,
    until: Timestamp,
    outcomes: &HashMap<i64, Option<IncidentOutcome>>,
) -> rusqlite::Result<Sources> {
    let newest: i64 = db.query_row("SELECT coalesce(max(seq), 0) FROM findings", [], |row| {
        row.get(0)
    })?;
    let mut all = db.prepare_cached(
        "SELECT is_watch, name, agent, incident, count(*), max(stored_at) FROM (
           SELECT false AS is_watch, agent, incident, stored_at,
             substr(json ->> 'detail', 7, instr(substr(json ->> 'detail', 7), '`') - 1) AS name
           FROM findings WHERE seq > ?1 AND stored_at >= ?2 AND stored_at < ?3
             AND json ->> '$.model.provider' = 'offline' AND json ->> 'detail' LIKE 'Rule `%`%'
           UNION ALL
           SELECT true, agent, incident, stored_at, json ->> 'title' FROM findings
           WHERE seq > ?1 AND stored_at >= ?2 AND stored_at < ?3
             AND json ->> '$.model.provider' = 'watchtower' AND json ->> '$.model.name' = 'watch'
         ) GROUP BY is_watch, name, agent, incident",
    )?;
    let mut known: BTreeMap<(bool, String, String), SourcePrecision> = BTreeMap::new();
    let mut counted = HashSet::new();
    let (start, end) = (sql::nanos(since), sql::nanos(until));
    let mut rows = all.query([newest - MOST_FINDINGS, start, end])?;
    while let Some(row) = rows.next()? {
        let incident: i64 = row.get(3)?;
        let Some(outcome) = outcomes.get(&incident) else {
            continue;
        };
        let (is_watch, title, agent): (bool, String, String) =
            (row.get(0)?, row.get(1)?, row.get(2)?);
        let name = match title.rsplit_once(": ").filter(|_| is_watch) {
            Some((name, _value)) => name.to_owned(),
            None => title,
        };
        let last_seen = sql::timestamp(row.get(5)?);
        let key = (is_watch, name, agent);
        let source = known.entry(key.clone()).or_insert_with(|| SourcePrecision {
            name: key.1.clone(),
            agent: key.2.clone(),
            findings: 0,
            last_seen,
            decided: DecidedIncidents::default(),
        });
        source.findings += row.get::<_, i64>(4)? as u64;
        source.last_seen = source.last_seen.max(last_seen);
        if counted.insert((key, incident)) {
            source.decided.add(*outcome);
        }
    }
    let mut lists = (Vec::new(), Vec::new());
    for ((is_watch, ..), source) in known {
        match is_watch {
            true => lists.1.push(source),
            false => lists.0.push(source),
        }
    }
    for list in [&mut lists.0, &mut lists.1] {
        list.sort_by(|one, other| {
            let key = |source: &SourcePrecision| (source.findings, source.last_seen);
            key(other)
                .cmp(&key(one))
                .then_with(|| one.name.cmp(&other.name))
        });
        list.truncate(MOST_ROWS);
    }
    let oldest = sql::nanos(since);
    let more = newest > MOST_FINDINGS && {
        let mut left_out = db.prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM findings WHERE seq = ?1 AND stored_at >= ?2)",
        )?;
        left_out.query_row([newest - MOST_FINDINGS, oldest], |row| row.get(0))?
    };
    Ok((lists.0, lists.1, more))
}

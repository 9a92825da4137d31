//! Outbox: changes of incidents for delivery by sinks, in order and in their
//! state at that time; and dead letters, rejected by receivers.
//!
//! Written in the transaction of the change, so that neither exists without the
//! other.

use jiff::Timestamp;
use rusqlite::{OptionalExtension as _, Row, params};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use watchtower_domain::finding::Finding;
use watchtower_domain::incident::{Change, ChangeReason, Decision, Incident};

use super::age::RetentionCutoff;
use super::retention::first_after;
use super::{Page, Readers, StoreError, StoreWriter, Write, WriteError};
use crate::store::findings::clamp;
use crate::store::sql;

/// Maximum dead letters of one sink; beyond it the oldest are removed.
const MOST_DEAD: i64 = 10_000;
/// Entries removed in one batch.
pub(super) const STEP: i64 = 500;

/// Change of an incident.
#[derive(Debug, Clone, PartialEq)]
pub struct OutboxEntry {
    /// Position in the order; never reused.
    pub seq: u64,
    /// Event id, the same for every delivery.
    pub id: Uuid,
    pub at: Timestamp,
    pub news: ChangeReason,
    pub version: u64,
    /// Incident in its state at that time.
    pub incident: Incident,
    /// Finding that caused it, while it is stored.
    pub finding: Option<Finding>,
    pub decision: Option<Decision>,
}

/// Event that a sink's receiver has rejected permanently.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadLetter {
    pub sink: String,
    /// Id of the [`OutboxEntry`].
    pub event: Uuid,
    /// Reason given by the receiver.
    pub why: String,
    /// Event as it would have been delivered.
    pub body: Value,
}

/// Stored dead letter.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Buried {
    #[serde(skip)]
    pub seq: u64,
    pub event: Uuid,
    pub at: Timestamp,
    pub why: String,
    pub body: Value,
}

impl Write for DeadLetter {
    type Out = ();

    /// Stores a dead letter; an existing one is replaced.
    fn apply(&self, writer: &mut StoreWriter) -> Result<(), WriteError> {
        let mut bury = writer.db.prepare_cached(
            "INSERT OR REPLACE INTO dead_letters (sink, event, at, why, body)
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )?;
        bury.execute(params![
            self.sink,
            self.event.as_bytes(),
            sql::nanos(Timestamp::now()),
            self.why,
            sql::to_json(&self.body),
        ])?;
        let mut forget = writer.db.prepare_cached(
            "DELETE FROM dead_letters WHERE sink = ?1 AND seq <=
               (SELECT seq FROM dead_letters WHERE sink = ?1 ORDER BY seq DESC LIMIT 1 OFFSET ?2)",
        )?;
        forget.execute(params![self.sink, MOST_DEAD])?;
        Ok(())
    }
}

/// Removal of a dead letter that was accepted after redelivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetterRemoval {
    pub sink: String,
    pub event: Uuid,
}

impl Write for DeadLetterRemoval {
    type Out = ();

    fn apply(&self, writer: &mut StoreWriter) -> Result<(), WriteError> {
        let mut unbury = writer
            .db
            .prepare_cached("DELETE FROM dead_letters WHERE sink = ?1 AND event = ?2")?;
        unbury.execute(params![self.sink, self.event.as_bytes()])?;
        Ok(())
    }
}

impl StoreWriter {
    /// Adds an entry; `finding` is the position of its finding.
    pub(super) fn post(
        &self,
        change: &Change,
        finding: Option<i64>,
        decision: Option<&Decision>,
    ) -> rusqlite::Result<()> {
        let mut post = self.db.prepare_cached(
            "INSERT INTO outbox (id, at, news, version, incident, finding, decision)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?;
        post.execute(params![
            Uuid::now_v7().as_bytes(),
            sql::nanos(Timestamp::now()),
            sql::to_json(&change.change),
            change.version as i64,
            sql::to_json(&change.incident),
            finding,
            decision.map(sql::to_json),
        ])?;
        Ok(())
    }

    /// Removes a batch of entries before that time; returns their number.
    pub(super) fn clear_outbox(&self, age: RetentionCutoff) -> rusqlite::Result<u64> {
        let oldest: Vec<(i64, i64)> = self
            .db
            .prepare_cached("SELECT seq, at FROM outbox ORDER BY seq LIMIT ?1")?
            .query_map([STEP], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<rusqlite::Result<_>>()?;
        let times: Vec<i64> = oldest.iter().map(|(_, at)| *at).collect();
        let last = oldest.last().map(|(seq, _)| *seq);
        let old = age.old(&times, |ahead| {
            let next = "SELECT at FROM outbox WHERE seq > ?1 AND at <= ?2 ORDER BY seq LIMIT 1";
            first_after(&self.db, next, last, ahead)
        })?;
        let mut clear = self
            .db
            .prepare_cached("DELETE FROM outbox WHERE seq = ?1")?;
        let mut cleared = 0;
        for ((seq, _), old) in oldest.into_iter().zip(old) {
            if old {
                cleared += clear.execute([seq])? as u64;
            }
        }
        Ok(cleared)
    }

    /// There are few: one in the future is removed with the entries after it.
    pub(super) fn forget_dead(&self, age: &RetentionCutoff) -> rusqlite::Result<()> {
        let mut old = self.db.prepare_cached(
            "DELETE FROM dead_letters WHERE at < ?1 OR (at > ?2 AND seq <
             (SELECT max(seq) FROM dead_letters WHERE at < ?1))",
        )?;
        old.execute([age.since, age.ahead()])?;
        Ok(())
    }
}

impl Readers {
    /// Entries after a position, oldest first.
    pub fn happened_after(&self, seq: u64, limit: usize) -> Result<Vec<OutboxEntry>, StoreError> {
        self.with(|db| {
            let mut after = db.prepare_cached(
                "SELECT outbox.seq, outbox.id, at, news, version, outbox.incident, findings.json,
                        decision
                 FROM outbox LEFT JOIN findings ON findings.seq = outbox.finding
                 WHERE outbox.seq > ?1 ORDER BY outbox.seq LIMIT ?2",
            )?;
            let found = after.query_map([clamp(seq), limit as i64], entry)?;
            found.collect()
        })
    }

    /// Position of the newest entry.
    pub fn last_happened(&self) -> Result<u64, StoreError> {
        self.with(|db| {
            let last = "SELECT seq FROM sqlite_sequence WHERE name = 'outbox'";
            let last: Option<i64> = db.query_row(last, [], |row| row.get(0)).optional()?;
            Ok(last.unwrap_or_default() as u64)
        })
    }

    /// A sink's dead letters, newest first.
    pub fn dead(
        &self,
        sink: &str,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Page<Buried, u64>, StoreError> {
        let before = before.map_or(i64::MAX, clamp);
        let found = self.with(|db| {
            let mut dead = db.prepare_cached(
                "SELECT seq, event, at, why, body FROM dead_letters
                 WHERE sink = ?1 AND seq < ?2 ORDER BY seq DESC LIMIT ?3",
            )?;
            let found = dead.query_map(params![sink, before, limit as i64 + 1], |row| {
                buried(row).map(|letter| (letter.seq, letter))
            })?;
            found.collect::<rusqlite::Result<Vec<_>>>()
        })?;
        Ok(Page::of(found, limit))
    }

    /// Entry of a sink's dead letter, if both are kept.
    pub fn dead_letter(&self, sink: &str, event: Uuid) -> Result<Option<OutboxEntry>, StoreError> {
        self.with(|db| {
            let mut find = db.prepare_cached(
                "SELECT outbox.seq, outbox.id, outbox.at, news, version, outbox.incident,
                        findings.json, decision
                 FROM dead_letters JOIN outbox ON outbox.id = dead_letters.event
                 LEFT JOIN findings ON findings.seq = outbox.finding
                 WHERE dead_letters.sink = ?1 AND dead_letters.event = ?2",
            )?;
            find.query_row(params![sink, event.as_bytes()], entry)
                .optional()
        })
    }

    /// Number of a sink's dead letters.
    pub fn dead_count(&self, sink: &str) -> Result<u64, StoreError> {
        self.with(|db| {
            let count = "SELECT count(*) FROM dead_letters WHERE sink = ?1";
            let count: i64 = db.query_row(count, [sink], |row| row.get(0))?;
            Ok(count as u64)
        })
    }
}

fn entry(row: &Row<'_>) -> rusqlite::Result<OutboxEntry> {
    let optional = |column| -> rusqlite::Result<Option<String>> { row.get(column) };
    // Written by this program only; an unreadable one counts as removed.
    let finding = optional(6)?.and_then(|json| serde_json::from_str(&json).ok());
    let decision = optional(7)?.and_then(|json| serde_json::from_str(&json).ok());
    Ok(OutboxEntry {
        seq: row.get::<_, i64>(0)? as u64,
        id: sql::id(row, 1)?,
        at: sql::timestamp(row.get(2)?),
        news: sql::json(row, 3)?,
        version: row.get::<_, i64>(4)? as u64,
        incident: sql::json(row, 5)?,
        finding,
        decision,
    })
}

fn buried(row: &Row<'_>) -> rusqlite::Result<Buried> {
    Ok(Buried {
        seq: row.get::<_, i64>(0)? as u64,
        event: sql::id(row, 1)?,
        at: sql::timestamp(row.get(2)?),
        why: row.get(3)?,
        body: sql::json(row, 4)?,
    })
}

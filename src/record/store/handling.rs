//! Owners and snoozes of incidents, and the undoing of the last action of a
//! user.

use jiff::Timestamp;
use rusqlite::{OptionalExtension as _, params};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use watchtower_domain::incident::{Change, ChangeReason, Decision, Note, Status};

use super::decisions::UNDO_FOR;
use super::{Announcement, Readers, StoreError, StoreWriter, Write, WriteError, WriteRefusal};
use crate::store::incident_cache::CachedIncident;
use crate::store::sql;

/// Change of the owner of an incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnerChange {
    pub incident: Uuid,
    /// New owner; `None` for nobody.
    pub owner: Option<String>,
    pub by: String,
    /// Version it is based on; `None` for the current one.
    pub version: Option<u64>,
}

impl Write for OwnerChange {
    type Out = Change;

    fn apply(&self, writer: &mut StoreWriter) -> Result<Change, WriteError> {
        let mut known = writer.current(self.incident, self.version)?;
        let before = PriorState::of(&known);
        known.state.incident.owner.clone_from(&self.owner);
        let text = match &self.owner {
            Some(owner) => format!("assigned to {owner}"),
            None => "unassigned".to_owned(),
        };
        known.state.version += 1;
        writer.keep_undo(&known, &before)?;
        writer.add_note(known.seq, &noted(&self.by, text))?;
        Ok(writer.finish(known, ChangeReason::Owner, None)?)
    }

    fn announcement<'a>(&'a self, change: &'a Change) -> Option<Announcement<'a>> {
        Some(Announcement::Change(change))
    }
}

/// Snooze of an incident, or its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnoozeChange {
    pub incident: Uuid,
    /// End of the snooze; `None` to end it now.
    pub until: Option<Timestamp>,
    pub by: String,
    /// Version it is based on; `None` for the current one.
    pub version: Option<u64>,
}

impl Write for SnoozeChange {
    type Out = Change;

    fn apply(&self, writer: &mut StoreWriter) -> Result<Change, WriteError> {
        let mut known = writer.current(self.incident, self.version)?;
        if self.until.is_some() && known.state.incident.status == Status::Closed {
            return Err(WriteRefusal::ClosedForSnooze.into());
        }
        let before = PriorState::of(&known);
        known.state.incident.snoozed_until = self.until;
        let text = match self.until {
            Some(until) => format!("snoozed until {until:.0}"),
            None => "snooze ended".to_owned(),
        };
        known.state.version += 1;
        writer.keep_undo(&known, &before)?;
        writer.add_note(known.seq, &noted(&self.by, text))?;
        Ok(writer.finish(known, ChangeReason::Snooze, None)?)
    }

    fn announcement<'a>(&'a self, change: &'a Change) -> Option<Announcement<'a>> {
        Some(Announcement::Change(change))
    }
}

/// Undoing of the last action on an incident, if nothing it must not overlook
/// happened since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActionUndo {
    pub incident: Uuid,
    pub by: String,
    /// Version that the action made.
    pub version: u64,
}

impl Write for ActionUndo {
    type Out = Change;

    fn apply(&self, writer: &mut StoreWriter) -> Result<Change, WriteError> {
        let mut known = writer.current(self.incident, Some(self.version))?;
        let Some(before) = writer.undo_of(&known)? else {
            return Err(WriteRefusal::NothingToUndo.into());
        };
        if let Some(learned) = before.learned {
            writer.remove_lesson(learned)?;
        }
        for lesson in &before.removed {
            writer.restore_lesson(*lesson)?;
        }
        writer
            .db
            .execute("DELETE FROM undo WHERE incident = ?1", [known.seq])?;
        let incident = &mut known.state.incident;
        let status_changes = incident.status != before.status;
        let news = if status_changes {
            ChangeReason::Status
        } else if incident.owner != before.owner {
            ChangeReason::Owner
        } else {
            ChangeReason::Snooze
        };
        incident.status = before.status;
        incident.owner = before.owner;
        incident.snoozed_until = before.snoozed_until;
        // Another user may have removed it meanwhile.
        let mut suppressions = writer.suppressions.iter();
        known.state.suppression = before
            .suppression
            .filter(|key| suppressions.any(|one| one.key == *key));
        known.state.reopens = before.reopens;
        known.state.version += 1;
        let decision = status_changes.then(|| Decision {
            status: before.status,
            by: self.by.clone(),
            at: Timestamp::now(),
            why: "undone".to_owned(),
            false_positive: known.state.suppression.is_some(),
        });
        match &decision {
            Some(decision) => writer.note(known.seq, decision)?,
            None => {
                let text = match news {
                    ChangeReason::Owner => "change of owner undone",
                    _ => "change of snooze undone",
                };
                writer.add_note(known.seq, &noted(&self.by, text.to_owned()))?;
            }
        }
        Ok(writer.finish(known, news, decision.as_ref())?)
    }

    fn announcement<'a>(&'a self, change: &'a Change) -> Option<Announcement<'a>> {
        Some(Announcement::Change(change))
    }
}

fn noted(by: &str, text: String) -> Note {
    Note {
        by: by.to_owned(),
        at: Timestamp::now(),
        text,
    }
}

/// State of an incident before an action, for its undoing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PriorState {
    pub(super) status: Status,
    pub(super) owner: Option<String>,
    pub(super) snoozed_until: Option<Timestamp>,
    pub(super) suppression: Option<i64>,
    pub(super) reopens: bool,
    /// Key of the suppression that the action made.
    pub(super) learned: Option<i64>,
    /// Keys of those it removed.
    pub(super) removed: Vec<i64>,
}

impl PriorState {
    pub(super) fn of(known: &CachedIncident) -> Self {
        let state = &known.state;
        Self {
            status: state.incident.status,
            owner: state.incident.owner.clone(),
            snoozed_until: state.incident.snoozed_until,
            suppression: state.suppression,
            reopens: state.reopens,
            learned: None,
            removed: Vec::new(),
        }
    }
}

impl StoreWriter {
    /// Incident at that version; refused at another one.
    pub(super) fn current(
        &mut self,
        incident: Uuid,
        version: Option<u64>,
    ) -> Result<CachedIncident, WriteError> {
        let Some(known) = self.cache.by_id(&self.db, incident)? else {
            return Err(WriteRefusal::NoIncident(incident).into());
        };
        let current = known.state.version;
        if version.is_some_and(|version| version != current) {
            return Err(WriteRefusal::Stale { version: current }.into());
        }
        Ok(known)
    }

    /// Keeps the state before an action, of which `known` is the result.
    pub(super) fn keep_undo(
        &self,
        known: &CachedIncident,
        before: &PriorState,
    ) -> rusqlite::Result<()> {
        let mut keep = self.db.prepare_cached(
            "INSERT OR REPLACE INTO undo (incident, version, at, before) VALUES (?1, ?2, ?3, ?4)",
        )?;
        keep.execute(params![
            known.seq,
            known.state.version as i64,
            sql::nanos(Timestamp::now()),
            sql::to_json(before),
        ])?;
        Ok(())
    }

    fn undo_of(&self, known: &CachedIncident) -> rusqlite::Result<Option<PriorState>> {
        let mut find = self.db.prepare_cached(
            "SELECT before FROM undo WHERE incident = ?1 AND version = ?2 AND at >= ?3",
        )?;
        let since = sql::nanos(Timestamp::now() - UNDO_FOR);
        let found = find.query_row(
            params![known.seq, known.state.version as i64, since],
            |row| sql::json(row, 0),
        );
        found.optional()
    }

    /// Stores a changed incident; a decision goes to the sinks too.
    pub(super) fn finish(
        &mut self,
        known: CachedIncident,
        news: ChangeReason,
        decision: Option<&Decision>,
    ) -> rusqlite::Result<Change> {
        let revision = self.next_revision();
        known.update(&self.db, revision)?;
        let change = Change {
            revision,
            change: news,
            loud: news.is_loud(),
            finding: None,
            version: known.state.version,
            incident: known.state.incident.clone(),
        };
        if decision.is_some() {
            self.post(&change, None, decision)?;
        }
        self.cache.put(known);
        Ok(change)
    }
}

/// Open incidents by severity as settled, without the snoozed ones, and those.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, ToSchema)]
pub struct IncidentCounts {
    pub critical: u64,
    pub high: u64,
    pub medium: u64,
    pub low: u64,
    pub info: u64,
    pub snoozed: u64,
    /// Time at which the first of the snoozed ones is back; null without one.
    pub next_snooze_end: Option<Timestamp>,
}

impl Readers {
    /// Counts of the incidents that are open at that time.
    pub fn counts(&self, now: Timestamp) -> Result<IncidentCounts, StoreError> {
        self.with(|db| {
            let mut count = db.prepare_cached(
                "SELECT settled, sum(coalesce(snoozed_until, 0) <= ?1),
                   sum(coalesce(snoozed_until, 0) > ?1),
                   min(CASE WHEN snoozed_until > ?1 THEN snoozed_until END)
                 FROM incidents INDEXED BY incidents_open WHERE status < 2 GROUP BY settled",
            )?;
            let mut rows = count.query([sql::nanos(now)])?;
            let mut counts = IncidentCounts::default();
            while let Some(row) = rows.next()? {
                let severity: i64 = row.get(0)?;
                let of = match severity {
                    4.. => &mut counts.critical,
                    3 => &mut counts.high,
                    2 => &mut counts.medium,
                    1 => &mut counts.low,
                    _ => &mut counts.info,
                };
                *of = row.get::<_, i64>(1)? as u64;
                counts.snoozed += row.get::<_, i64>(2)? as u64;
                let end = row.get::<_, Option<i64>>(3)?.map(sql::timestamp);
                counts.next_snooze_end = match (counts.next_snooze_end, end) {
                    (Some(one), Some(other)) => Some(one.min(other)),
                    (one, other) => one.or(other),
                };
            }
            Ok(counts)
        })
    }
}

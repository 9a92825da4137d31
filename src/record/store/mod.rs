//! Database: findings, incidents, decisions, suppressions, evidence, cursors,
//! and screen text, in one SQLite database (write-ahead log) in the data
//! folder, stills beside it under their SHA-256.
//!
//! This module alone knows SQLite. It owns what is written and when it is
//! durable, not its distribution: that is [`crate::record`], which owns the one
//! thread that calls [`StoreWriter`]. [`Readers`] may be asked by anyone off
//! the async workers; readers never wait for the writer. Each kind of write is
//! a struct whose [`Write`] stands beside the SQL that it performs.

mod age;
mod ask;
mod cursors;
mod decisions;
mod evidence;
mod findings;
mod incident_cache;
mod incidents;
mod migrations;
mod moments;
mod notes;
mod open;
mod outbox;
mod panel;
mod record;
mod retention;
mod screen;
mod spend;
mod sql;
mod transcripts;
mod write;
mod writer;

use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use watchtower_domain::finding::{Category, Finding, Severity};
use watchtower_domain::incident::{
    BestEvidence, Change, Decision, Incident, Note, Status, Suppression,
};
use watchtower_domain::transcript::{Cost, Transcript};
use watchtower_screen::redact::RedactedJpeg;

pub use crate::store::ask::Recollection;
pub use crate::store::findings::Readers;
pub use age::clock_fault;
pub use cursors::{CursorAdvance, CursorRemoval};
pub use decisions::SuppressionRemoval;
pub use moments::{Moment, MomentPlace, MomentQuery, Snapshot};
pub use notes::{Annotation, Done};
pub use open::{StoreOpenError, open};
pub use outbox::{Buried, DeadLetter, DeadLetterRemoval, OutboxEntry};
pub use panel::PanelExchange;
pub use retention::Swept;
pub use screen::{Hit, TextQuery};
pub use spend::SpendBatch;
pub use write::{Announcement, PendingWrite, Write, WriteError, queue};
pub use writer::StoreWriter;

/// The store could not do it; nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("failed to use {file}: {reason}")]
pub struct StoreError {
    pub file: String,
    pub reason: String,
}

/// A finding and the picture it was made on, as it may be kept. It is handed to
/// [`crate::Record::publish`], which cuts its texts to their bounds.
#[derive(Debug, Clone)]
pub struct Publication {
    pub finding: Finding,
    /// Kept when this is its incident's first or worst moment.
    pub still: Option<RedactedJpeg>,
    /// The question it answers, where a hosted model was asked.
    pub asked: Option<AskedOf>,
}

/// A question, and the part of its cost that falls to one of its findings.
#[derive(Debug, Clone)]
pub struct AskedOf {
    pub transcript: Arc<Transcript>,
    pub share: Cost,
}

impl From<Finding> for Publication {
    fn from(finding: Finding) -> Self {
        Self {
            finding,
            still: None,
            asked: None,
        }
    }
}

/// A person's decision about an incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusChange {
    pub incident: Uuid,
    pub status: Status,
    pub by: String,
    pub why: String,
    /// With [`Status::Closed`]: its like is no news from now on.
    pub false_positive: bool,
    /// Version it was decided on; `None` decides on the current one.
    pub version: Option<u64>,
}

/// Result of a [`Publication`], durable.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// Its place in the order of publication.
    pub seq: u64,
    /// With its incident.
    pub finding: Arc<Finding>,
    /// `None` when this very finding was recorded before.
    pub change: Option<Change>,
    /// Findings of this agent in this incident so far.
    pub own_count: u64,
}

/// Why something was not written, though the store could.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteRefusal {
    #[error("incident {0} not found")]
    NoIncident(Uuid),
    #[error("suppression {0} not found")]
    NoLesson(Uuid),
    #[error("edit conflict: the incident is now at version {version}; reload it")]
    Stale { version: u64 },
    #[error("incident already {status} by {by} at {at}: {why}")]
    Already {
        status: Status,
        by: String,
        at: Timestamp,
        why: String,
    },
    #[error("limit of {0} suppressions reached; remove obsolete ones")]
    TooManyLessons(usize),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Where a listener is: the last finding and the last change of an incident it
/// has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Position {
    pub seq: u64,
    pub revision: u64,
}

/// Which findings to list, newest first.
#[derive(Debug, Clone, Default)]
pub struct FindingQuery {
    pub agent: Option<String>,
    pub stream: Option<String>,
    pub incident: Option<Uuid>,
    /// Minimum severity.
    pub severity: Option<Severity>,
    /// Words that must all match, each by its prefix, in title, detail or
    /// evidence; the first 16 count.
    pub words: Option<String>,
    /// Only what was published before this one.
    pub before: Option<u64>,
    pub limit: usize,
}

/// Sort key of incidents, descending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sort {
    #[default]
    LastSeen,
    FirstSeen,
    /// Worst first, then by when it was last seen.
    Severity,
    Count,
}

/// Which incidents to list.
#[derive(Debug, Clone, Default)]
pub struct IncidentQuery {
    pub sort: Sort,
    /// Any of these; empty: all.
    pub status: Vec<Status>,
    pub category: Vec<Category>,
    pub stream: Option<String>,
    pub agent: Option<String>,
    /// Minimum severity.
    pub severity: Option<Severity>,
    /// Seen at or after.
    pub since: Option<Timestamp>,
    /// First seen before.
    pub until: Option<Timestamp>,
    /// `next` of the previous page, of the same sort.
    pub after: Option<IncidentCursor>,
    pub limit: usize,
}

/// A place in a sorted list of incidents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IncidentCursor {
    pub severity: i64,
    pub key: i64,
    pub seq: i64,
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T, P> {
    pub items: Vec<T>,
    /// Where the next page begins, if there is one.
    pub next: Option<P>,
}

impl<T, P: Copy> Page<T, P> {
    /// Page of the rows found when one more than `limit` was asked for, each
    /// with its place.
    fn of(mut found: Vec<(P, T)>, limit: usize) -> Self {
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| more).map(|(place, _)| *place);
        let items = found.into_iter().map(|(_, item)| item).collect();
        Self { items, next }
    }
}

/// Details of one incident without its findings.
#[derive(Debug, Clone, PartialEq)]
pub struct IncidentDetail {
    pub incident: Incident,
    pub version: u64,
    /// Oldest first.
    pub decisions: Vec<Decision>,
    pub notes: Vec<Note>,
    pub proof: Option<BestEvidence>,
    pub stills: Vec<KeptStill>,
    /// The lesson that quiets it.
    pub lesson: Option<Suppression>,
    /// Cost of models for it, its panel included.
    pub cost: Cost,
}

/// Disk space used by database and evidence, and that available, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct Disk {
    pub database_bytes: u64,
    /// Stills.
    pub evidence_bytes: u64,
    /// Retention limit of both together (`[store] max_bytes`).
    pub limit_bytes: u64,
    /// Space free to the server in the file system of the data folder.
    pub free_bytes: u64,
    pub total_bytes: u64,
}

/// A picture kept as evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeptStill {
    /// `first` or `worst`.
    pub moment: &'static str,
    pub sha256: String,
    /// The finding that was made on it.
    pub finding: Uuid,
    pub seen_at: Timestamp,
}

#[cfg(test)]
mod tests;

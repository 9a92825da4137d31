//! Database: findings, incidents, decisions, suppressions, evidence, cursors,
//! and screen text, in one SQLite database (write-ahead log) in the data
//! folder, stills beside it under their SHA-256.
//!
//! Only this module uses SQLite. It owns storage and durability, not
//! distribution: that is [`crate::Record`], which owns the only thread that
//! calls [`StoreWriter`]. [`Readers`] may be used anywhere off the async
//! workers; readers never wait for the writer. Each kind of write is a struct
//! with its [`Write`] beside the SQL that it performs.

mod age;
mod ask;
mod configuration;
mod cursors;
mod decisions;
mod evidence;
mod findings;
mod handling;
mod handovers;
mod incident_cache;
mod incident_filter;
mod incident_stats;
mod incidents;
mod migrations;
mod moments;
mod notes;
mod open;
mod outbox;
mod panel;
mod precision;
mod record;
mod retention;
mod screen;
mod series;
mod shares;
mod spend;
mod sql;
mod transcripts;
mod watches;
mod write;
mod writer;

use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use watchtower_domain::finding::{Category, Evidence, Finding, Severity};
use watchtower_domain::incident::{
    BestEvidence, Change, Decision, Incident, Note, Status, Suppression,
};
use watchtower_domain::transcript::{Cost, Transcript};
use watchtower_screen::redact::RedactedJpeg;

pub use crate::store::ask::Recollection;
pub use crate::store::findings::Readers;
pub use age::clock_fault;
pub use configuration::ConfigurationChange;
pub use cursors::{CursorAdvance, CursorRemoval};
pub use decisions::{SuppressionRemoval, SuppressionRestore};
pub use handling::{ActionUndo, IncidentCounts, OwnerChange, SnoozeChange};
pub use handovers::{HandoverProof, HandoverSignOff, ShiftHandover, SignedHandover};
pub use incident_stats::{
    FacetCount, GroupKey, IncidentActivity, IncidentFacets, IncidentGroup, IncidentGroups,
    IncidentHistogram, LaneMark, MarkedIncident, SeverityCounts, TimeBuckets,
};
pub use moments::{Moment, MomentPlace, MomentQuery, Snapshot};
pub use notes::{Annotation, Done};
pub use open::{StoreOpenError, open};
pub use outbox::{Buried, DeadLetter, DeadLetterRemoval, OutboxEntry};
pub use panel::PanelExchange;
pub use precision::{AgentPrecision, AgentSpend, DecidedIncidents, Precision, SourcePrecision};
pub use retention::Swept;
pub use screen::{Hit, TextQuery};
pub use series::{SampleQuery, SeriesBatch, SeriesInfo, SeriesPoint, SeriesQuery};
pub use shares::{MOST_SHARES, ShareDigest, ShareLink, ShareRevocation, ShareUse};
pub use spend::SpendBatch;
pub use watches::{FiredWatch, WatchEnd};
pub use write::{Announcement, PendingWrite, Write, WriteError, queue};
pub use writer::StoreWriter;

/// Error of the store; nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("failed to use {file}: {reason}")]
pub struct StoreError {
    pub file: String,
    pub reason: String,
}

/// Finding and the redacted picture it was made on, for
/// [`crate::Record::publish`], which cuts its texts to their bounds.
#[derive(Debug, Clone)]
pub struct Publication {
    pub finding: Finding,
    /// Picture, stored for the first and the peak moment of its incident.
    pub still: Option<RedactedJpeg>,
    /// Request it results from, where a hosted model was used.
    pub asked: Option<AskedOf>,
}

/// Request to a model, and the share of its cost for one of its findings.
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

/// User's decision about an incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusChange {
    pub incident: Uuid,
    pub status: Status,
    pub by: String,
    pub why: String,
    /// With [`Status::Closed`]: suppress similar findings from now on.
    pub false_positive: bool,
    /// Version the decision is based on; `None` for the current one.
    pub version: Option<u64>,
}

/// Durable result of a [`Publication`].
#[derive(Debug, Clone)]
pub struct Recorded {
    /// Position in the order of publication.
    pub seq: u64,
    /// Finding with the id of its incident.
    pub finding: Arc<Finding>,
    /// Change of its incident; `None` when this finding was recorded before.
    pub change: Option<Change>,
    /// Findings of this agent in this incident so far.
    pub own_count: u64,
}

/// Reason of a rejected write, other than an error of the store.
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
    #[error("incident is closed; reopen it before it is snoozed")]
    ClosedForSnooze,
    #[error("nothing to undo: the last action is over an hour old, or was undone")]
    NothingToUndo,
    #[error("share link {0} not found")]
    NoShare(Uuid),
    #[error("handover {0} not found")]
    NoHandover(Uuid),
    #[error("already taken over by {by} at {at:.0}")]
    TakenOver { by: String, at: Timestamp },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Position of a subscriber: the last finding and the last change of an
/// incident it has received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Position {
    pub seq: u64,
    pub revision: u64,
}

/// Query of findings, newest first.
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
    /// Range of the time stored: at or after, and before.
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    /// Position that results are published before.
    pub before: Option<u64>,
    pub limit: usize,
}

/// Sort key of incidents; equal ones by the time last seen, the newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sort {
    #[default]
    LastSeen,
    FirstSeen,
    Severity,
    /// Severity as settled by the panel.
    Settled,
    Count,
    Title,
    Subject,
    Stream,
    Owner,
}

/// Query of incidents.
#[derive(Debug, Clone, Default)]
pub struct IncidentQuery {
    pub sort: Sort,
    /// From the lowest key to the highest.
    pub ascending: bool,
    /// Any of these; empty: all.
    pub status: Vec<Status>,
    pub category: Vec<Category>,
    pub stream: Option<String>,
    pub agent: Option<String>,
    /// Owner; empty: those without one.
    pub owner: Option<String>,
    /// Subject; empty: those without one.
    pub subject: Option<String>,
    /// Only those that are snoozed, or are not; `None`: all.
    pub snoozed: Option<Snoozed>,
    /// Minimum severity.
    pub severity: Option<Severity>,
    /// Minimum severity as settled.
    pub settled: Option<Severity>,
    /// Any of these; empty: all.
    pub severities: Vec<Severity>,
    /// Range of the time first seen: at or after, and before.
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
    /// Seen at or after.
    pub since: Option<Timestamp>,
    /// First seen before.
    pub until: Option<Timestamp>,
    /// `next` of the previous page, of the same sort and direction.
    pub after: Option<IncidentCursor>,
    pub limit: usize,
}

/// Condition on the snooze of incidents, at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Snoozed {
    pub is: bool,
    pub at: Timestamp,
}

/// Position in a sorted list of incidents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncidentCursor {
    pub severity: i64,
    pub key: i64,
    pub seq: i64,
    /// Key of a list that is sorted by text, else empty.
    pub text: String,
}

/// Page of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T, P> {
    pub items: Vec<T>,
    /// Cursor of the next page, if there is one.
    pub next: Option<P>,
}

impl<T, P: Clone> Page<T, P> {
    /// Page of rows queried with a limit of one more than `limit`, each with
    /// its position.
    fn of(mut found: Vec<(P, T)>, limit: usize) -> Self {
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found
            .last()
            .filter(|_| more)
            .map(|(place, _)| place.clone());
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
    /// Suppression that covers it.
    pub lesson: Option<Suppression>,
    /// Cost of models for it, its panel included.
    pub cost: Cost,
}

/// Disk space used by database and evidence, and that available, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct Disk {
    pub database_bytes: u64,
    /// Size of the stills.
    pub evidence_bytes: u64,
    /// Retention limit of both together (`[store] max_bytes`).
    pub limit_bytes: u64,
    /// Space available to the server in the file system of the data folder.
    pub free_bytes: u64,
    pub total_bytes: u64,
}

/// Picture stored as evidence.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct KeptStill {
    /// `first` or `worst`.
    pub moment: &'static str,
    pub sha256: String,
    /// Finding that was made on it.
    pub finding: Uuid,
    pub severity: Severity,
    pub evidence: Vec<Evidence>,
    pub seen_at: Timestamp,
}

#[cfg(test)]
mod tests;

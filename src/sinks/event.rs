//! Sink events: an event in an incident's lifecycle, or a digest of those
//! beyond the rate limit.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use watchtower_base::text::counted;
use watchtower_domain::finding::Severity;
use watchtower_domain::incident::{ChangeReason, Status};
use watchtower_record::store::OutboxEntry;

use super::ocsf;

/// Event to be delivered to one sink.
#[derive(Debug, Clone)]
pub struct SinkEvent {
    /// Event id, the same for every attempt and every sink.
    pub id: Uuid,
    pub at: Timestamp,
    /// Id of the incident; of a digest, its own id.
    pub incident: Uuid,
    pub title: String,
    pub severity: Severity,
    pub status: Status,
    pub change: SinkEventKind,
    pub stream: String,
    /// Agents of the incident, in the order of their first report.
    pub agents: Vec<String>,
    /// Findings so far; of a digest, events not delivered.
    pub count: u64,
    /// Canonical form, from which all others derive. `ecs::quotes` moves the
    /// quotes out of it.
    pub ocsf: Value,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SinkEventKind {
    Incident(ChangeReason),
    /// Digest of the events beyond the rate limit, as a number.
    Digest,
    /// Sample event of `sink test`.
    Test,
}

impl SinkEventKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Incident(ChangeReason::Opened) => "opened",
            Self::Incident(ChangeReason::Reopened) => "reopened",
            Self::Incident(ChangeReason::Returned) => "returned",
            Self::Incident(ChangeReason::SeverityRose) => "severity_rose",
            Self::Incident(ChangeReason::NewAgent) => "new_agent",
            Self::Incident(ChangeReason::NewEvidence) => "new_evidence",
            Self::Incident(ChangeReason::Status) => "status",
            Self::Incident(ChangeReason::Opinions) => "opinions",
            Self::Incident(ChangeReason::Verdict) => "verdict",
            Self::Incident(ChangeReason::Note) => "note",
            Self::Incident(ChangeReason::Owner) => "owner",
            Self::Incident(ChangeReason::Snooze) => "snooze",
            Self::Incident(ChangeReason::Repeated) => "repeated",
            Self::Digest => "digest",
            Self::Test => "test",
        }
    }
}

impl SinkEvent {
    pub fn of(entry: &OutboxEntry, fields: &BTreeMap<String, String>) -> Self {
        let incident = &entry.incident;
        Self {
            id: entry.id,
            at: entry.at,
            incident: incident.id,
            title: incident.title.clone(),
            severity: incident.severity,
            status: incident.status,
            change: SinkEventKind::Incident(entry.news),
            stream: incident.stream.to_string(),
            agents: incident.agents.clone(),
            count: incident.count,
            ocsf: ocsf::event(entry, fields),
        }
    }

    pub fn is_close(&self) -> bool {
        self.change == SinkEventKind::Incident(ChangeReason::Status)
            && self.status == Status::Closed
    }
}

/// Summary of the events that a rate limit held back.
#[derive(Debug, Clone)]
pub(super) struct Digest {
    first: Uuid,
    last: Uuid,
    count: u64,
    worst: Severity,
    since: Timestamp,
}

impl Digest {
    pub(super) fn new(sink_event: &SinkEvent) -> Self {
        Self {
            first: sink_event.id,
            last: sink_event.id,
            count: 1,
            worst: sink_event.severity,
            since: sink_event.at,
        }
    }

    pub(super) fn add(&mut self, sink_event: &SinkEvent) {
        self.last = sink_event.id;
        self.count += 1;
        self.worst = self.worst.min(sink_event.severity);
    }

    /// Equal events make a digest with an equal id.
    pub(super) fn sink_event(&self, fields: &BTreeMap<String, String>) -> SinkEvent {
        let mut hash = Sha256::new();
        hash.update(self.first.as_bytes());
        hash.update(self.last.as_bytes());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash.finalize()[..16]);
        // UUID version 8, for custom content (RFC 9562, section 5.8).
        let id = uuid::Builder::from_custom_bytes(bytes).into_uuid();
        let title = format!("and {}", counted(self.count, "more event"));
        let now = Timestamp::now();
        SinkEvent {
            ocsf: ocsf::digest(
                id,
                &title,
                self.worst,
                self.count,
                (self.since, now),
                fields,
            ),
            id,
            at: now,
            incident: id,
            title,
            severity: self.worst,
            status: Status::New,
            change: SinkEventKind::Digest,
            stream: String::new(),
            agents: Vec::new(),
            count: self.count,
        }
    }
}

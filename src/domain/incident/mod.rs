//! Incidents as groups of findings, users' decisions about them, and the
//! suppressions made from false positives.
//!
//! Plain data, and the pure rules of correlation: [`Fingerprint`] is the
//! subject of a finding, [`Fingerprint::similarity`] compares two,
//! [`IncidentSearch`] and [`JoinRules`] find the incident that a finding joins
//! and the change to report. No database and no clock.

mod activity;
mod correlate;
mod entity;
mod fingerprint;
mod join;
mod opinion;
mod quote;
mod role;
mod suppression;

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use watchtower_base::stream_name::StreamName;

use crate::finding::{Category, Evidence, Finding, Severity, stream_name};

pub use crate::incident::fingerprint::Fingerprint;
pub use correlate::Similarity;
pub use entity::{Entity, EntityKind};
pub use join::{FindingEffect, IncidentSearch, JoinRules, TrackedIncident};
pub use opinion::{Exchange, Opinion, PanelVerdict, Stance};
pub use suppression::KnownSuppression;

/// Triage status of an incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    New,
    Acknowledged,
    Closed,
}

impl Status {
    pub const ALL: [Self; 3] = [Self::New, Self::Acknowledged, Self::Closed];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Acknowledged => "acknowledged",
            Self::Closed => "closed",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Findings on one subject: an item of `/api/incidents`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Incident {
    /// UUIDv7.
    pub id: Uuid,
    #[serde(with = "stream_name")]
    #[schema(value_type = String)]
    pub stream: StreamName,
    /// Title of its worst finding.
    pub title: String,
    /// Category of its first finding.
    pub category: Category,
    /// The highest so far.
    pub severity: Severity,
    pub status: Status,
    /// Findings, repeats included; those that retention removed stay counted.
    pub count: u64,
    /// Agents in the order of their first reports.
    pub agents: Vec<String>,
    /// When the first and the newest picture of it were captured.
    pub first_seen: Timestamp,
    pub last_seen: Timestamp,
    pub entities: Vec<Entity>,
    /// True if any of its quotes was found on the screen; `None` while
    /// unchecked.
    pub grounded: Option<bool>,
    /// Opinions of other agents, in the order given.
    pub opinions: Vec<Opinion>,
    /// Verdict of the panel.
    pub verdict: Option<PanelVerdict>,
    /// Severity by the panel's verdict; null without one, or after a worse
    /// finding.
    #[serde(default)]
    pub settled_severity: Option<Severity>,
    /// User who works on it; null without one.
    #[serde(default)]
    pub owner: Option<String>,
    /// End of its snooze, which may be past; null without one.
    #[serde(default)]
    pub snoozed_until: Option<Timestamp>,
}

impl Incident {
    /// Severity of lists and counts: as settled, else the highest found.
    pub fn standing_severity(&self) -> Severity {
        self.settled_severity.unwrap_or(self.severity)
    }

    /// Applies the verdict, unless it is about a milder finding: a worse one
    /// may have come while it was asked for. One stored before `reported`
    /// existed settles nothing.
    pub fn settle(&mut self) {
        // Worst comes first.
        let of = |reported: Severity| reported <= self.severity;
        let verdict = self.verdict.as_ref();
        let verdict = verdict.filter(|verdict| verdict.reported.is_some_and(of));
        self.settled_severity = verdict.map(|verdict| verdict.severity);
    }

    /// True if it is snoozed at that time.
    pub fn is_snoozed(&self, at: Timestamp) -> bool {
        self.snoozed_until.is_some_and(|until| until > at)
    }

    /// Entity it is listed and grouped by: what is affected before what affects
    /// it.
    pub fn subject(&self) -> Option<&Entity> {
        let rank = |entity: &&Entity| Self::SUBJECTS.iter().position(|kind| *kind == entity.kind);
        self.entities.iter().min_by_key(rank)
    }

    /// Kinds of entities, in the order in which they are the subject.
    const SUBJECTS: [EntityKind; 6] = [
        EntityKind::Host,
        EntityKind::User,
        EntityKind::Resource,
        EntityKind::Ip,
        EntityKind::Rule,
        EntityKind::Cve,
    ];
}

/// Best quote of an incident, and its position.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BestEvidence {
    pub finding: Uuid,
    pub confidence: f32,
    #[serde(rename = "evidence")]
    pub shown: Evidence,
}

impl BestEvidence {
    /// Best piece of evidence of a finding.
    pub fn of(finding: &Finding) -> Option<Self> {
        let pieces = finding.evidence.iter();
        let best = pieces.max_by_key(|piece| (rank(piece), piece.quote.chars().count().min(200)));
        best.map(|shown| Self {
            finding: finding.id,
            confidence: finding.confidence,
            shown: shown.clone(),
        })
    }

    pub fn is_better_than(&self, other: &Self) -> bool {
        (rank(&self.shown), self.confidence) > (rank(&other.shown), other.confidence)
    }
}

/// Rank: found on the screen, then unchecked, then not found.
fn rank(piece: &Evidence) -> (u8, bool) {
    let ground = match piece.grounded {
        Some(true) => 2,
        None => 1,
        Some(false) => 0,
    };
    (ground, !piece.quote.is_empty())
}

/// Reason an incident changed. All but `Repeated`, `Opinions`, `Note`, `Owner` and
/// `Snooze` notify; the verdict follows those.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = News)]
pub enum ChangeReason {
    Opened,
    /// It was closed and is back.
    Reopened,
    /// It was open and is back after a quiet time.
    Returned,
    SeverityRose,
    NewAgent,
    NewEvidence,
    /// A user changed its status.
    Status,
    /// Other agents answered the first.
    Opinions,
    /// The panel has settled it.
    Verdict,
    /// A user added a note.
    Note,
    /// A user changed its owner.
    Owner,
    /// A user snoozed it, or ended its snooze.
    Snooze,
    Repeated,
}

impl ChangeReason {
    pub fn is_loud(self) -> bool {
        !matches!(
            self,
            Self::Repeated | Self::Opinions | Self::Note | Self::Owner | Self::Snooze
        )
    }
}

/// An incident as it is after a change.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Change {
    /// Number of the change over all incidents; never reused.
    pub revision: u64,
    pub change: ChangeReason,
    pub loud: bool,
    /// Finding that caused it; `None` for other changes.
    pub finding: Option<Uuid>,
    /// Version to be sent when its status is set (optimistic locking).
    pub version: u64,
    pub incident: Incident,
}

/// Decision about an incident.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Decision {
    pub status: Status,
    /// User's name, or [`Decision::WATCHTOWER`].
    pub by: String,
    pub at: Timestamp,
    pub why: String,
    pub false_positive: bool,
}

impl Decision {
    /// Author of automatic decisions: to reopen an incident that returned, to
    /// close one that a suppression covers.
    pub const WATCHTOWER: &'static str = "watchtower";
}

/// Note of a user on an incident.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Note {
    pub by: String,
    pub at: Timestamp,
    pub text: String,
}

/// Suppression made by a user: similar findings raise no alert.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Suppression {
    pub id: Uuid,
    /// Incident whose false positive created it.
    pub incident: Uuid,
    pub title: String,
    /// Highest severity that is suppressed; a higher one notifies.
    pub severity: Severity,
    pub by: String,
    pub at: Timestamp,
    pub why: String,
    /// Scope of the suppression, in words.
    pub covers: String,
    /// Findings suppressed so far.
    pub quieted: u64,
    pub last_quieted: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_written_as_they_are_read() {
        for status in Status::ALL {
            let written = serde_json::to_value(status).unwrap();
            assert_eq!(written, status.as_str());
            assert_eq!(written, status.to_string());
        }
    }

    #[test]
    fn best_evidence_is_on_the_screen_and_in_words() {
        let piece = |quote: &str, grounded| Evidence {
            quote: quote.to_owned(),
            bounds: None,
            grounded,
        };
        let best = |evidence: Vec<Evidence>, confidence| {
            let finding = Finding {
                evidence,
                confidence,
                ..Finding::sample()
            };
            BestEvidence::of(&finding)
        };
        assert_eq!(best(Vec::new(), 0.5), None);
        let found = best(
            vec![
                piece("a long text that was not found anywhere", Some(false)),
                piece("nobody has looked for this one yet", None),
                piece("", Some(true)),
                piece("found", Some(true)),
                piece("found too", Some(true)),
            ],
            0.5,
        )
        .unwrap();
        assert_eq!(found.shown.quote, "found too");
        // By rank first, then by confidence.
        let order = [
            best(vec![piece("invented", Some(false))], 0.9).unwrap(),
            best(vec![piece("unchecked", None)], 0.1).unwrap(),
            best(vec![piece("", Some(true))], 0.9).unwrap(),
            best(vec![piece("found", Some(true))], 0.1).unwrap(),
            best(vec![piece("found", Some(true))], 0.2).unwrap(),
        ];
        for (nth, one) in order.iter().enumerate() {
            for (other_nth, other) in order.iter().enumerate() {
                assert_eq!(
                    one.is_better_than(other),
                    nth > other_nth,
                    "{nth} {other_nth}"
                );
            }
        }
    }

    #[test]
    fn repeats_and_bookkeeping_do_not_notify() {
        use ChangeReason as Reason;
        for loud in [
            Reason::Opened,
            Reason::Reopened,
            Reason::Returned,
            Reason::SeverityRose,
            Reason::NewAgent,
            Reason::NewEvidence,
            Reason::Status,
            Reason::Verdict,
        ] {
            assert!(loud.is_loud(), "{loud:?}");
        }
        for quiet in [
            Reason::Repeated,
            Reason::Opinions,
            Reason::Note,
            Reason::Owner,
            Reason::Snooze,
        ] {
            assert!(!quiet.is_loud(), "{quiet:?}");
        }
    }

    #[test]
    fn subject_is_what_is_affected() {
        let entity = |kind, value: &str| Entity {
            kind,
            value: value.to_owned(),
        };
        let incident = |entities| Incident {
            id: Uuid::nil(),
            stream: StreamName::new("team").unwrap(),
            title: String::new(),
            category: Category::Other,
            severity: Severity::High,
            status: Status::New,
            count: 1,
            agents: Vec::new(),
            first_seen: Timestamp::UNIX_EPOCH,
            last_seen: Timestamp::UNIX_EPOCH,
            entities,
            grounded: None,
            opinions: Vec::new(),
            verdict: None,
            settled_severity: None,
            owner: None,
            snoozed_until: None,
        };
        assert_eq!(incident(Vec::new()).subject(), None);
        let one = incident(vec![
            entity(EntityKind::Cve, "CVE-2026-1"),
            entity(EntityKind::Ip, "192.0.2.7"),
            entity(EntityKind::Host, "web-01"),
            entity(EntityKind::Host, "web-02"),
        ]);
        assert_eq!(one.subject().unwrap().value, "web-01");
    }
}

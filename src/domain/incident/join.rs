//! Rules by which a finding joins or opens an incident, and the change reported
//! for it.
//!
//! Pure: the store looks up candidates by the keys of [`IncidentSearch`], lets
//! [`JoinRules`] decide, and stores the result.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::suppression::KnownSuppression;
use super::{BestEvidence, ChangeReason, Decision, Incident, Similarity, Status};
use crate::finding::{Finding, Severity};
use crate::incident::fingerprint::Fingerprint;

/// Maximum alerts for new evidence on one incident; later evidence is added
/// without one, or a changing dashboard would raise alerts for ever.
const MOST_ALERTS: u32 = 8;
/// Maximum delay of a response. A larger difference is a clock that jumped.
const LATE: SignedDuration = SignedDuration::from_mins(15);
/// Maximum candidates compared with a finding: those that share its most
/// specific keys come first.
const CANDIDATES: usize = 96;

/// Incident with the state that decides about the next finding.
#[derive(Debug, Clone, PartialEq)]
pub struct TrackedIncident {
    pub incident: Incident,
    pub subject: Fingerprint,
    pub proof: Option<BestEvidence>,
    /// Version, raised by every change that conflicts with a decision.
    pub version: u64,
    /// Key of the suppression that covers it.
    pub suppression: Option<i64>,
    /// Flag: the next finding reopens it, however soon.
    pub reopens: bool,
    /// Alerts raised by new evidence so far.
    pub alerts: u32,
}

/// Search for the incident of a finding: the most similar one on its stream; of
/// equally similar ones, the one seen last.
#[derive(Debug)]
pub struct IncidentSearch<'a> {
    subject: &'a Fingerprint,
    rounds: u8,
    seen: Vec<i64>,
    best: Option<BestMatch>,
}

#[derive(Debug)]
struct BestMatch {
    key: i64,
    similarity: Similarity,
    last_seen: Timestamp,
}

impl<'a> IncidentSearch<'a> {
    /// Maximum incidents to look up per key, the newest.
    pub const BY_KEY: u32 = 16;

    pub fn new(subject: &'a Fingerprint) -> Self {
        Self {
            subject,
            rounds: 0,
            seen: Vec::new(),
            best: None,
        }
    }

    /// Next key to look up candidates by, the most specific first; `None` at
    /// the end, when no other incident could be more similar.
    pub fn next_keys(&mut self) -> Option<Vec<i64>> {
        self.rounds += 1;
        match self.rounds {
            1 => Some(self.subject.line_keys()),
            // No incident is more similar than one with the same lines.
            2 if !self.is_sure() => Some(self.subject.topic_keys()),
            _ => None,
        }
    }

    fn is_sure(&self) -> bool {
        let best = self.best.as_ref();
        best.is_some_and(|best| best.similarity.is_strong())
    }

    /// True once for each incident to be compared. The key is the store's.
    pub fn is_candidate(&mut self, key: i64) -> bool {
        if self.seen.len() >= CANDIDATES || self.seen.contains(&key) {
            return false;
        }
        self.seen.push(key);
        true
    }

    /// Compares a candidate.
    pub fn consider(&mut self, key: i64, candidate: &TrackedIncident) {
        if candidate.subject.stream() != self.subject.stream() {
            return;
        }
        let Some(similarity) = candidate.subject.similarity(self.subject) else {
            return;
        };
        let last_seen = candidate.incident.last_seen;
        let better = self.best.as_ref().is_none_or(|best| {
            similarity > best.similarity
                || (similarity == best.similarity && last_seen > best.last_seen)
        });
        if better {
            self.best = Some(BestMatch {
                key,
                similarity,
                last_seen,
            });
        }
    }

    /// Key of the incident found; `None` for a new subject.
    pub fn found(&self) -> Option<i64> {
        self.best.as_ref().map(|best| best.key)
    }
}

/// Effect of a finding on its incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FindingEffect {
    pub news: ChangeReason,
    /// Automatic decision: to close an incident under a suppression, or to
    /// reopen one that returned.
    pub decision: Option<Decision>,
    /// Flag: the finding is more severe than all before it.
    pub rose: bool,
    /// Flag: its fingerprint changed, and with it its lookup keys.
    pub learned: bool,
}

/// Rules by which findings open and join incidents.
#[derive(Debug, Clone, Copy)]
pub struct JoinRules<'a> {
    pub suppressions: &'a [KnownSuppression],
    /// Absence after which an incident that is seen again notifies, and is
    /// reopened if it was closed.
    pub quiet_time: Duration,
    /// Time of automatic decisions.
    pub now: Timestamp,
}

impl JoinRules<'_> {
    /// Opens an incident with its first finding; closed at once where a
    /// suppression covers it.
    pub fn open(
        &self,
        finding: &Finding,
        subject: Fingerprint,
        id: Uuid,
    ) -> (TrackedIncident, FindingEffect) {
        let mut suppressions = self.suppressions.iter();
        let suppression = suppressions.find(|known| known.covers(finding, &subject));
        let decision = suppression.map(|known| Decision {
            status: Status::Closed,
            by: Decision::WATCHTOWER.to_owned(),
            at: self.now,
            why: format!("suppressed by {}, false positive: {}", known.by, known.why),
            false_positive: true,
        });
        let news = match decision {
            Some(_) => ChangeReason::Repeated,
            None => ChangeReason::Opened,
        };
        let mut opened = TrackedIncident {
            incident: Incident {
                id,
                stream: finding.stream.clone(),
                title: finding.title.clone(),
                category: finding.category,
                severity: finding.severity,
                status: decision
                    .as_ref()
                    .map_or(Status::New, |decision| decision.status),
                count: 0,
                agents: Vec::new(),
                first_seen: finding.observed_at,
                last_seen: finding.observed_at,
                entities: subject.entities().cloned().collect(),
                grounded: None,
                opinions: Vec::new(),
                verdict: None,
                settled_severity: None,
                owner: None,
                snoozed_until: None,
            },
            subject,
            proof: None,
            version: 0,
            suppression: suppression.map(|known| known.key),
            reopens: false,
            alerts: 0,
        };
        opened.count(finding, news);
        let effect = FindingEffect {
            news,
            decision,
            rose: false,
            learned: true,
        };
        (opened, effect)
    }

    /// Adds a finding to the incident it belongs to.
    pub fn join(
        &self,
        known: &mut TrackedIncident,
        finding: &Finding,
        subject: &Fingerprint,
    ) -> FindingEffect {
        let unknown_entity = self.unknown_entity(known, subject);
        let quiet = finding.observed_at.duration_since(known.incident.last_seen);
        let before = known.incident.severity;
        let rose = finding.severity < before;
        let learned = known.subject.absorb(subject);
        let incident = &mut known.incident;
        let renamed = known.subject.entities().count() != incident.entities.len();
        if learned || renamed {
            incident.entities = known.subject.entities().cloned().collect();
        }
        if rose {
            incident.severity = finding.severity;
            incident.title.clone_from(&finding.title);
            incident.settle();
            // It was snoozed at a lower severity.
            incident.snoozed_until = None;
        }
        let (news, decision) = if incident.status == Status::Closed {
            let why = self.reopens(
                known,
                rose.then_some(before),
                unknown_entity.as_deref(),
                quiet,
            );
            match why {
                Some(why) => (ChangeReason::Reopened, Some(self.reopen(known, why))),
                None => (ChangeReason::Repeated, None),
            }
        } else {
            (self.ongoing(known, finding, rose, learned, quiet), None)
        };
        known.count(finding, news);
        FindingEffect {
            news,
            decision,
            rose,
            learned: learned || renamed,
        }
    }

    /// Entity of a finding that was unknown when the incident was closed: of a
    /// false positive only the entities of the suppression are known.
    fn unknown_entity(&self, known: &TrackedIncident, subject: &Fingerprint) -> Option<String> {
        if known.incident.status != Status::Closed {
            return None;
        }
        let suppression = known.suppression.and_then(|key| {
            let mut suppressions = self.suppressions.iter();
            suppressions.find(|suppression| suppression.key == key)
        });
        let closed = suppression.map_or(&known.subject, |suppression| &suppression.subject);
        closed.unknown_entity(subject)
    }

    /// Reason to reopen a closed incident; `None` to leave it closed.
    /// `rose_from` is its severity before a more severe finding.
    fn reopens(
        &self,
        known: &TrackedIncident,
        rose_from: Option<Severity>,
        unknown_entity: Option<&str>,
        quiet: SignedDuration,
    ) -> Option<String> {
        if let Some(before) = rose_from {
            let now = known.incident.severity;
            return Some(format!("severity rose from {before} to {now}"));
        }
        if let Some(unknown_entity) = unknown_entity {
            return Some(format!("new entity: {unknown_entity}"));
        }
        if known.suppression.is_some() {
            return None;
        }
        if known.reopens {
            return Some("suppression removed, still active".to_owned());
        }
        self.is_return(quiet).then(|| {
            let minutes = quiet.as_secs() / 60;
            format!("recurred after {minutes} min")
        })
    }

    fn reopen(&self, known: &mut TrackedIncident, why: String) -> Decision {
        known.incident.status = Status::New;
        known.incident.snoozed_until = None;
        known.suppression = None;
        known.reopens = false;
        Decision {
            status: Status::New,
            by: Decision::WATCHTOWER.to_owned(),
            at: self.now,
            why,
            false_positive: false,
        }
    }

    /// Change of an open incident, before the finding is added.
    fn ongoing(
        &self,
        known: &mut TrackedIncident,
        finding: &Finding,
        rose: bool,
        learned: bool,
        quiet: SignedDuration,
    ) -> ChangeReason {
        let mut evidence = finding.evidence.iter();
        let grounded = evidence.any(|piece| piece.grounded != Some(false));
        if self.is_return(quiet) {
            ChangeReason::Returned
        } else if rose {
            ChangeReason::SeverityRose
        } else if !known.incident.agents.contains(&finding.agent) {
            ChangeReason::NewAgent
        } else if learned && grounded && known.alerts < MOST_ALERTS {
            known.alerts += 1;
            ChangeReason::NewEvidence
        } else {
            ChangeReason::Repeated
        }
    }

    fn is_return(&self, quiet: SignedDuration) -> bool {
        let limit = SignedDuration::try_from(self.quiet_time);
        quiet >= limit.unwrap_or(SignedDuration::MAX)
    }
}

impl TrackedIncident {
    /// Adds a finding to the incident.
    fn count(&mut self, finding: &Finding, news: ChangeReason) {
        self.version += u64::from(matches!(
            news,
            ChangeReason::Opened | ChangeReason::Reopened | ChangeReason::SeverityRose
        ));
        let incident = &mut self.incident;
        incident.count += 1;
        if !incident.agents.contains(&finding.agent) {
            incident.agents.push(finding.agent.clone());
        }
        incident.last_seen = incident.last_seen.max(finding.observed_at);
        let back = incident.first_seen.duration_since(finding.observed_at);
        if back.is_positive() && back <= LATE {
            incident.first_seen = finding.observed_at;
        }
        for piece in &finding.evidence {
            incident.grounded = incident.grounded.max(piece.grounded);
        }
        let best = self.proof.as_ref();
        if let Some(proof) = BestEvidence::of(finding)
            && best.is_none_or(|best| proof.is_better_than(best))
        {
            self.proof = Some(proof);
        }
    }
}

#[cfg(test)]
mod tests;

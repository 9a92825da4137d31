//! Suppression of known findings, name by name. A new name is not suppressed,
//! even with a known victim or resolver.

use uuid::Uuid;

use super::activity;
use super::entity::{Entity, EntityKind};
use crate::finding::{Finding, Severity};
use crate::incident::fingerprint::Fingerprint;

/// Suppression, for comparison with findings.
#[derive(Debug, Clone, PartialEq)]
pub struct KnownSuppression {
    /// Key by which incidents refer to it.
    pub key: i64,
    pub id: Uuid,
    pub by: String,
    pub why: String,
    /// Highest severity that is suppressed.
    pub severity: Severity,
    pub subject: Fingerprint,
}

impl KnownSuppression {
    /// True if the subject is the same with certainty, and the severity no
    /// higher than that of the false positive.
    pub fn covers(&self, finding: &Finding, subject: &Fingerprint) -> bool {
        finding.severity >= self.severity && self.subject.covers(subject)
    }
}

impl Fingerprint {
    /// True if this false positive covers a finding: the same subject with
    /// certainty, without an unknown name or another activity.
    pub fn covers(&self, finding: &Self) -> bool {
        let same = self.similarity(finding);
        same.is_some_and(super::Similarity::is_strong)
            && self.unknown_entity(finding).is_none()
            && !self.shows_more(finding)
    }

    /// Description of the first unknown entity of a finding. Every name of its
    /// most specific kind counts, every address, user and host, and the role of
    /// an address. A host named only by the analyst counts where hosts are
    /// known.
    pub fn unknown_entity(&self, finding: &Self) -> Option<String> {
        if finding.overflows {
            return Some("too many entities to compare".to_owned());
        }
        let most_telling = finding.entities.iter().map(|name| name.kind).min();
        let counts = |kind: EntityKind| {
            Some(kind) == most_telling
                || matches!(kind, EntityKind::Ip | EntityKind::User | EntityKind::Host)
        };
        for kind in EntityKind::ALL.into_iter().filter(|kind| counts(*kind)) {
            let known = self.named(kind);
            let new = finding.entities.iter().find(|name| {
                let vague = known.is_empty() && finding.claimed.contains(*name);
                name.kind == kind && !vague && !known.contains(&name.folded())
            });
            if let Some(Entity { kind, value }) = new {
                return Some(format!("{} {value}", kind.as_str()));
            }
        }
        let turned = |name: &&String| self.roles.targets.contains(*name);
        let turned = finding.roles.sources.iter().find(turned).or_else(|| {
            let turned = |name: &&String| self.roles.sources.contains(*name);
            finding.roles.targets.iter().find(turned)
        });
        turned.map(|name| format!("ip {name} in another role"))
    }

    /// True if one of its lines shows another activity.
    fn shows_more(&self, finding: &Self) -> bool {
        let own = self.activity.as_ref().map(|own| own.name.as_str());
        finding.quotes.iter().any(|quote| {
            let known = self.quotes.iter().any(|own| own.is_like(quote));
            let shown = activity::of_folded(quote.text());
            !known && shown.is_some() && shown != own
        })
    }
}

#[cfg(test)]
mod tests;

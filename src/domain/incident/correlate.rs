//! Correlation of findings with incidents of the same subject.
//!
//! In this order: contradicting entities separate subjects (another address is
//! another attack); the same lines on the screen are the same subject, whatever
//! an analyst writes about them; the same activity on the same entities is the
//! same subject, whichever lines were quoted; and where the activity is
//! unknown, title words are the last resort.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use super::activity;
use super::entity::{Entity, EntityKind};
use super::role::Roles;
use crate::finding::Category;
use crate::incident::fingerprint::Fingerprint;

/// Minimum share of a finding's lines that the incident has.
const ENOUGH_LINES: f32 = 0.5;
/// Minimum share of common names, of the side that has fewer.
const ENOUGH_NAMES: f32 = 0.5;

/// Similarity of two subjects; greater is more similar.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Similarity {
    tier: u8,
    /// Score within the tier, 0 to 2.
    share: f32,
}

impl Similarity {
    /// True if certain enough to suppress an alert: the same lines, or the same
    /// activity on the same names.
    pub fn is_strong(self) -> bool {
        self.tier >= SAME_ACTIVITY
    }
}

impl PartialOrd for Similarity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(
            self.tier
                .cmp(&other.tier)
                .then(self.share.total_cmp(&other.share)),
        )
    }
}

const SAME_LINES: u8 = 3;
const SAME_ACTIVITY: u8 = 2;
const LIKELY: u8 = 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Names {
    Agree,
    /// No kind of name in common to compare.
    Silent,
    Contradict,
}

impl Fingerprint {
    /// Similarity to a finding; `None` when it has another subject. Streams are
    /// not compared: incidents are searched on one stream, suppressions apply
    /// to all.
    pub fn similarity(&self, finding: &Self) -> Option<Similarity> {
        let names = compare(self, finding);
        if names == Names::Contradict {
            return None;
        }
        let overlap = jaccard(&self.entities, &finding.entities);
        let related = related(self.category, finding.category);
        let lines = self.share_of_lines(finding);
        let (same_activity, differ) = match (&self.activity, &finding.activity) {
            (Some(own), Some(other)) => {
                let same = own.name == other.name;
                // Two activities shown on the screen itself are two subjects.
                (same, !same && own.shown && other.shown)
            }
            _ => (false, false),
        };
        if differ {
            return None;
        }
        if lines.is_some_and(|share| share >= 1.0 || (share >= ENOUGH_LINES && related)) {
            let share = lines.unwrap_or_default() + overlap;
            return Some(Similarity {
                tier: SAME_LINES,
                share,
            });
        }
        if same_activity {
            return match names {
                Names::Agree => Some(Similarity {
                    tier: SAME_ACTIVITY,
                    share: overlap,
                }),
                Names::Silent if related => Some(Similarity {
                    tier: LIKELY,
                    share: overlap,
                }),
                _ => None,
            };
        }
        if self.activity.is_some() && finding.activity.is_some() {
            return None;
        }
        if self.category != finding.category {
            return None;
        }
        let words = self.share_of_words(finding)?;
        let both_show = lines.is_some() && !self.quotes.is_empty();
        let enough = match (names, both_show) {
            (Names::Agree, false) => 0.34,
            (Names::Agree, true) | (Names::Silent, false) => 0.6,
            // Different lines and no name in common: two subjects.
            _ => return None,
        };
        (words >= enough).then_some(Similarity {
            tier: LIKELY,
            share: words,
        })
    }

    /// Share of common lines; `None` when the finding has no distinctive line.
    fn share_of_lines(&self, finding: &Self) -> Option<f32> {
        if finding.quotes.is_empty() {
            return None;
        }
        let known = finding
            .quotes
            .iter()
            .filter(|quote| self.quotes.iter().any(|own| own.is_like(quote)))
            .count();
        Some(known as f32 / finding.quotes.len() as f32)
    }

    fn share_of_words(&self, finding: &Self) -> Option<f32> {
        let fewer = self.words.len().min(finding.words.len());
        let common = self.words.intersection(&finding.words).count();
        (fewer >= 2 && common >= 1).then(|| common as f32 / fewer as f32)
    }
}

/// Comparison by the most specific kind of name that both have.
fn compare(known: &Fingerprint, other: &Fingerprint) -> Names {
    for kind in EntityKind::ALL {
        let (a, b) = (known.named(kind), other.named(kind));
        if a.is_empty() || b.is_empty() {
            continue;
        }
        let agree = match kind {
            EntityKind::Ip => match AddressAgreement::compare(known, other, &a, &b) {
                AddressAgreement::Agree => true,
                AddressAgreement::Contradict => false,
                // The victim is the same; other kinds of name decide whether
                // the attacker is.
                AddressAgreement::SameVictim => {
                    let (a, b) = (known.named(EntityKind::User), other.named(EntityKind::User));
                    a.is_empty() || b.is_empty() || !a.is_disjoint(&b)
                }
                AddressAgreement::Silent => continue,
            },
            _ => share(&a, &b) >= ENOUGH_NAMES,
        };
        return if agree {
            Names::Agree
        } else {
            Names::Contradict
        };
    }
    Names::Silent
}

enum AddressAgreement {
    Agree,
    Contradict,
    /// At most one side names an attacker.
    SameVictim,
    /// Attackers named by one side only, targets by the other.
    Silent,
}

impl AddressAgreement {
    /// Attackers are compared. A victim, a resolver or another bystander is
    /// shared by many attacks.
    fn compare(
        known: &Fingerprint,
        other: &Fingerprint,
        a: &BTreeSet<String>,
        b: &BTreeSet<String>,
    ) -> Self {
        let out = [known, other]
            .iter()
            .filter_map(|subject| subject.activity.as_ref())
            .any(|activity| activity::goes_out(&activity.name));
        let (known_by, known_to) = known.parts(out);
        let (other_by, other_to) = other.parts(out);
        let unclear = known.activity.is_none() || other.activity.is_none();
        if !known_by.is_empty() && !other_by.is_empty() {
            // With an unknown activity either end may be the attacker's.
            let apart = unclear
                && !known_to.is_empty()
                && !other_to.is_empty()
                && known_to.is_disjoint(other_to);
            return if share(known_by, other_by) >= ENOUGH_NAMES && !apart {
                Self::Agree
            } else {
                Self::Contradict
            };
        }
        let rest = |all: &BTreeSet<String>, by: &BTreeSet<String>| -> BTreeSet<String> {
            if by.is_empty() {
                let to = known_to.union(other_to).cloned().collect();
                all.difference(&to).cloned().collect()
            } else {
                by.clone()
            }
        };
        let (left, right) = (rest(a, known_by), rest(b, other_by));
        match (left.is_empty(), right.is_empty()) {
            (false, false) if left.is_subset(&right) || right.is_subset(&left) => Self::Agree,
            (false, false) => Self::Contradict,
            _ if !a.is_disjoint(b) => Self::SameVictim,
            (true, true) => Self::Contradict,
            _ => Self::Silent,
        }
    }
}

/// Share of the smaller set of names that the larger has too, 0 to 1.
fn share(a: &BTreeSet<String>, b: &BTreeSet<String>) -> f32 {
    a.intersection(b).count() as f32 / a.len().min(b.len()).max(1) as f32
}

impl Fingerprint {
    /// Comparison keys of the names of a kind.
    pub(super) fn named(&self, kind: EntityKind) -> BTreeSet<String> {
        let names = self.entities.iter().filter(|entity| entity.kind == kind);
        names.map(Entity::folded).collect()
    }

    /// Addresses of attackers, and of targets.
    fn parts(&self, goes_out: bool) -> (&BTreeSet<String>, &BTreeSet<String>) {
        let Roles { sources, targets } = &self.roles;
        if goes_out {
            (targets, sources)
        } else {
            (sources, targets)
        }
    }
}

fn jaccard(known: &BTreeSet<Entity>, other: &BTreeSet<Entity>) -> f32 {
    let all = known.union(other).count();
    let both = known.intersection(other).count();
    if all == 0 {
        0.0
    } else {
        both as f32 / all as f32
    }
}

/// True for categories that analysts use interchangeably.
fn related(a: Category, b: Category) -> bool {
    use Category as C;
    let family = |category| match category {
        C::Intrusion | C::SuspiciousCommand | C::MalwareIndicator | C::Phishing => 1,
        C::SecretExposure | C::PersonalData => 2,
        C::Misconfiguration | C::Policy | C::Vulnerability | C::Compliance | C::Architecture => 3,
        C::Availability | C::Performance => 4,
        C::AiAbuse | C::PromptInjection => 5,
        C::Anomaly | C::Other => 0,
    };
    let (a, b) = (family(a), family(b));
    a == 0 || b == 0 || a == b
}

#[cfg(test)]
pub(super) mod tests;

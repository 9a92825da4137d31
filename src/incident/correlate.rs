//! Whether a finding is about what an incident is about.
//!
//! In this order: names that contradict each other keep things apart (another
//! address is another attack); the same lines on the screen are the same
//! thing, whoever says what about them; the same activity on the same names is
//! the same thing, whichever lines were quoted; and where the activity is not
//! known, title words are the last resort.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use super::entity::{Entity, EntityKind};
use super::subject::Subject;
use crate::finding::Category;

/// Share of a finding's lines that an incident must know.
const ENOUGH_LINES: f32 = 0.5;

/// How much two subjects have in common; more is more.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Likeness {
    tier: u8,
    /// Within the tier, 0 to 2.
    share: f32,
}

impl Likeness {
    /// Sure enough to keep something from a person: the same lines, or the
    /// same activity on the same names.
    pub fn is_strong(self) -> bool {
        self.tier >= SAME_ACTIVITY
    }
}

impl PartialOrd for Likeness {
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
    /// They have no kind of name in common to compare.
    Silent,
    Contradict,
}

impl Subject {
    /// `None` when the finding is about something else. Streams are not
    /// compared: incidents are looked for on one stream, lessons on all.
    pub fn likeness(&self, finding: &Self) -> Option<Likeness> {
        let names = compare(&self.entities, &finding.entities);
        if names == Names::Contradict {
            return None;
        }
        let overlap = jaccard(&self.entities, &finding.entities);
        let related = related(self.category, finding.category);
        let lines = self.share_of_lines(finding);
        let (same_activity, differ) = match (&self.activity, &finding.activity) {
            (Some(own), Some(other)) => {
                let same = own.name == other.name;
                // Two activities that the screen itself shows are two things.
                (same, !same && own.shown && other.shown)
            }
            _ => (false, false),
        };
        if differ {
            return None;
        }
        if lines.is_some_and(|share| share >= 1.0 || (share >= ENOUGH_LINES && related)) {
            let share = lines.unwrap_or_default() + overlap;
            return Some(Likeness {
                tier: SAME_LINES,
                share,
            });
        }
        if same_activity {
            return match names {
                Names::Agree => Some(Likeness {
                    tier: SAME_ACTIVITY,
                    share: overlap,
                }),
                Names::Silent if related => Some(Likeness {
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
            // Different lines and no name in common: two things.
            _ => return None,
        };
        (words >= enough).then_some(Likeness {
            tier: LIKELY,
            share: words,
        })
    }

    /// `None` when the finding shows no line that says enough.
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

/// By the most telling kind of name that both have.
fn compare(known: &BTreeSet<Entity>, other: &BTreeSet<Entity>) -> Names {
    fn of(set: &BTreeSet<Entity>, kind: EntityKind) -> BTreeSet<&str> {
        let names = set.iter().filter(|entity| entity.kind == kind);
        names.map(Entity::key).collect()
    }
    for kind in EntityKind::ALL {
        let (a, b) = (of(known, kind), of(other, kind));
        if a.is_empty() || b.is_empty() {
            continue;
        }
        return if a.is_disjoint(&b) {
            Names::Contradict
        } else {
            Names::Agree
        };
    }
    Names::Silent
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

/// Categories that analysts mix up when they mean the same thing.
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
mod tests;

//! Fingerprint: the subject of a finding or an incident.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use watchtower_base::stream_name::StreamName;

use super::activity;
use super::entity::{self, Entity, EntityKind};
use super::quote::{Quote, fold};
use super::role::{Roles, roles};
use crate::finding::{Category, Finding, stream_name};

/// Bounds of an incident's fingerprint. Beyond them the first entries count.
const MOST_QUOTES: usize = 32;
const MOST_ENTITIES: usize = 48;
const MOST_WORDS: usize = 24;

/// Fingerprint: stream, category, lines, activity and names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(into = "Stored", from = "Stored")]
pub struct Fingerprint {
    pub(super) stream: StreamName,
    pub(super) category: Category,
    pub(super) quotes: Vec<Quote>,
    pub(super) activity: Option<Activity>,
    /// Names that distinguish it from others of its kind.
    pub(super) entities: BTreeSet<Entity>,
    /// Roles of the addresses among them.
    pub(super) roles: Roles,
    /// Title words, for a subject with nothing else to compare.
    pub(super) words: BTreeSet<String>,
    /// Host names in the analyst's words that no line shows. Set for findings
    /// only: not stored.
    pub(super) claimed: BTreeSet<Entity>,
    /// Flag: names or lines were dropped at the bounds. Not stored.
    pub(super) overflows: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Activity {
    pub(super) name: String,
    /// Flag: the activity comes from the screen, not from the analyst's words.
    pub(super) shown: bool,
}

/// Serialised form in the database.
#[derive(Serialize, Deserialize)]
struct Stored {
    #[serde(with = "stream_name")]
    stream: StreamName,
    category: Category,
    quotes: Vec<String>,
    activity: Option<Activity>,
    entities: BTreeSet<Entity>,
    words: BTreeSet<String>,
    #[serde(default)]
    sources: BTreeSet<String>,
    #[serde(default)]
    targets: BTreeSet<String>,
}

impl From<Fingerprint> for Stored {
    fn from(subject: Fingerprint) -> Self {
        let quotes = subject.quotes.iter().map(|quote| quote.text().to_owned());
        Self {
            quotes: quotes.collect(),
            stream: subject.stream,
            category: subject.category,
            activity: subject.activity,
            entities: subject.entities,
            words: subject.words,
            sources: subject.roles.sources,
            targets: subject.roles.targets,
        }
    }
}

impl From<Stored> for Fingerprint {
    fn from(stored: Stored) -> Self {
        Self {
            quotes: stored
                .quotes
                .into_iter()
                .filter_map(Quote::folded)
                .collect(),
            stream: stored.stream,
            category: stored.category,
            activity: stored.activity,
            entities: stored.entities,
            roles: Roles {
                sources: stored.sources,
                targets: stored.targets,
            },
            words: stored.words,
            claimed: BTreeSet::new(),
            overflows: false,
        }
    }
}

impl Fingerprint {
    pub fn of(finding: &Finding) -> Self {
        let shown = || finding.evidence.iter().map(|piece| piece.quote.as_str());
        let mut quotes: Vec<Quote> = Vec::new();
        let mut overflows = false;
        for quote in shown().filter_map(Quote::new) {
            if quotes.len() >= MOST_QUOTES {
                overflows = true;
            } else if !quotes.contains(&quote) {
                quotes.push(quote);
            }
        }
        let mut entities: BTreeSet<_> = shown().flat_map(entity::on_screen).collect();
        let mut claimed = entity::in_words(&finding.title);
        claimed.retain(|name| name.kind == EntityKind::Host && !entities.contains(name));
        entities.extend(entity::in_words(&finding.title));
        if entities.is_empty() {
            entities.extend(entity::in_words(&finding.detail));
        }
        while entities.len() > MOST_ENTITIES {
            overflows = true;
            entities.pop_last();
        }
        let mut parts = Roles::default();
        for text in shown().chain([finding.title.as_str()]) {
            parts.learn(&roles(text));
        }
        Self {
            stream: finding.stream.clone(),
            category: finding.category,
            quotes,
            activity: activity_of(finding),
            entities,
            roles: parts,
            words: title_words(&finding.title),
            claimed,
            overflows,
        }
    }

    /// Names for display, the most specific kind first.
    pub fn entities(&self) -> impl Iterator<Item = &Entity> {
        self.entities.iter()
    }

    /// Merges a finding about the same subject; returns whether it added an
    /// unknown line or name.
    pub fn absorb(&mut self, other: &Self) -> bool {
        let mut learned = false;
        for quote in &other.quotes {
            let room = self.quotes.len() < MOST_QUOTES;
            let known = self.quotes.iter().any(|own| own.is_like(quote));
            // A line of another activity belongs to an incident of its own, and
            // would else attract findings from it.
            let named = activity::of_folded(quote.text());
            let ours = named.is_none_or(|named| {
                let own = self.activity.as_ref();
                own.is_none_or(|own| own.name == named)
            });
            if room && !known && ours {
                self.quotes.push(quote.clone());
                learned = true;
            }
        }
        for entity in &other.entities {
            if self.entities.len() < MOST_ENTITIES {
                self.entities.insert(entity.clone());
            }
        }
        self.roles.learn(&other.roles);
        let names = |roles: &mut BTreeSet<String>| {
            roles.retain(|name| self.entities.iter().any(|own| own.value == *name));
        };
        names(&mut self.roles.sources);
        names(&mut self.roles.targets);
        for word in &other.words {
            if self.words.len() < MOST_WORDS {
                self.words.insert(word.clone());
            }
        }
        learned
    }

    /// Lookup keys of incidents with the same lines. Stable over time, as they
    /// are stored.
    pub fn line_keys(&self) -> Vec<i64> {
        let key = |quote: &Quote| key(&["line", quote.text()]);
        self.quotes.iter().map(key).collect()
    }

    /// Lookup keys of incidents that may have the same subject, the most
    /// specific first.
    pub fn topic_keys(&self) -> Vec<i64> {
        let names = self
            .entities
            .iter()
            .map(|entity| key(&["name", entity.kind.as_str(), entity.key()]));
        let activity = self
            .activity
            .iter()
            .map(|activity| key(&["activity", &activity.name]));
        let category = [key(&["category", self.category.as_str()])];
        names.chain(activity).chain(category).collect()
    }

    pub fn stream(&self) -> &StreamName {
        &self.stream
    }

    /// Description of the subject, for the scope of a suppression.
    pub fn in_words(&self) -> String {
        let mut parts = Vec::new();
        match &self.activity {
            Some(activity) => parts.push(activity.name.replace('_', " ")),
            None => parts.push(self.category.as_str().replace('_', " ")),
        }
        for kind in EntityKind::ALL {
            let names = self.entities.iter().filter(|entity| entity.kind == kind);
            let names: Vec<_> = names.map(|entity| entity.value.as_str()).take(8).collect();
            if !names.is_empty() {
                parts.push(format!("{} {}", kind.as_str(), names.join(", ")));
            }
        }
        let mut text = parts.join("; ");
        if !self.quotes.is_empty() {
            let lines: Vec<_> = self.quotes.iter().take(3).map(Quote::text).collect();
            text.push_str(&format!("; lines like \"{}\"", lines.join("\", \"")));
        }
        text
    }
}

/// Activity of a finding: by the lines on the screen, then the title, then the
/// technique.
fn activity_of(finding: &Finding) -> Option<Activity> {
    let named = finding
        .evidence
        .iter()
        .filter_map(|piece| activity::of_text(&piece.quote));
    let mut votes: Vec<(&str, usize)> = Vec::new();
    for name in named {
        match votes.iter_mut().find(|(known, _)| *known == name) {
            Some((_, count)) => *count += 1,
            None => votes.push((name, 1)),
        }
    }
    // The first of the most frequent.
    let most = votes.iter().map(|(_, count)| *count).max();
    let shown = votes
        .iter()
        .find(|(_, count)| Some(*count) == most)
        .map(|(name, _)| *name);
    let name = shown
        .or_else(|| activity::of_text(&finding.title))
        .or_else(|| {
            finding
                .mitre
                .iter()
                .find_map(|id| activity::of_technique(id))
        })?;
    Some(Activity {
        name: name.to_owned(),
        shown: shown.is_some(),
    })
}

/// Significant words of a title.
fn title_words(title: &str) -> BTreeSet<String> {
    const EMPTY: [&str; 44] = [
        "suspicious",
        "possible",
        "potential",
        "detected",
        "detection",
        "activity",
        "attack",
        "alert",
        "issue",
        "security",
        "unusual",
        "observed",
        "with",
        "from",
        "that",
        "this",
        "host",
        "user",
        "server",
        "system",
        "critical",
        "high",
        "medium",
        "warning",
        "several",
        "multiple",
        "seen",
        "shown",
        "screen",
        "visible",
        "indicates",
        "likely",
        "into",
        "over",
        "after",
        "against",
        "about",
        "have",
        "been",
        "there",
        "needs",
        "should",
        "found",
        "again",
    ];
    let folded = fold(title);
    let words = folded.split(' ').filter(|word| word.chars().count() >= 4);
    let words = words.map(|word| {
        // A stem, good enough for plural and tense.
        ["ing", "ed", "es", "s"]
            .iter()
            .find_map(|ending| word.strip_suffix(ending).filter(|stem| stem.len() >= 4))
            .unwrap_or(word)
    });
    let empty: BTreeSet<_> = EMPTY.iter().map(|word| fold(word)).collect();
    words
        .filter(|word| !empty.contains(*word))
        .take(MOST_WORDS)
        .map(str::to_owned)
        .collect()
}

/// Hash without the stream: a suppression applies to every stream.
fn key(parts: &[&str]) -> i64 {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    let digest = hash.finalize();
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    i64::from_le_bytes(first)
}

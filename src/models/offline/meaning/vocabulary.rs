//! Vocabulary: phrases and what they mean (`rules/vocabulary.toml`).

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Deserialize;

use watchtower_base::config::fault::Faults;
use watchtower_domain::finding::{Category, Severity};

use super::words::{MeaningWord, words};

/// Longest phrase in words: a longer one is a sentence, and read as one.
const LONGEST_PHRASE: usize = 8;

/// Vocabulary as written in a file; each key extends the built-in one.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::offline) struct VocabularyText {
    kind: BTreeMap<String, KindText>,
    state: Vec<StateText>,
    healthy: WordsText,
    severity: Vec<SeverityText>,
    lifecycle: LifecycleText,
    topic: Vec<TopicText>,
    measure: Vec<MeasureText>,
    count: CountText,
    condition: ConditionText,
    silence: SilenceText,
    repeat: RepeatText,
    safeguard: Vec<SafeguardText>,
    off: OffText,
    attack: Vec<TopicText>,
    through: WordsText,
    structure: BTreeMap<String, Vec<String>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct KindText {
    category: Category,
    owners: Vec<String>,
    action: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct StateText {
    kind: String,
    severity: Severity,
    strength: Strength,
    words: Vec<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct WordsText {
    words: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct SeverityText {
    level: Severity,
    words: Vec<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct LifecycleText {
    open: Vec<String>,
    closed: Vec<String>,
    resolved: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct TopicText {
    kind: String,
    words: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct MeasureText {
    name: String,
    kind: String,
    severity: Severity,
    label: Vec<String>,
    #[serde(default)]
    unless: Vec<String>,
    #[serde(default)]
    near: Vec<String>,
    #[serde(default)]
    unless_near: Vec<String>,
    unit: MeasureUnit,
    above: Option<f64>,
    below: Option<f64>,
    #[serde(default)]
    tone: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct SafeguardText {
    severity: Severity,
    words: Vec<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct OffText {
    values: Vec<String>,
    verbs: Vec<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct CountText {
    adjectives: Vec<String>,
    nouns: Vec<String>,
    routine: Vec<String>,
    live: Vec<String>,
    tests: Vec<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ConditionText {
    words: Vec<String>,
    before: Vec<String>,
    defines: Vec<String>,
    instruction: Vec<String>,
    negation: Vec<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct SilenceText {
    verbs: Vec<String>,
    nouns: Vec<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RepeatText {
    verbs: Vec<String>,
    above: Option<f64>,
}

/// Weight of a state's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::offline) enum Strength {
    /// Bad only in a bad colour or beside a high severity.
    Weak,
    /// Bad as a whole cell, badge or value; in a sentence with a subject.
    Status,
    /// Bad in any text.
    Certain,
}

/// Unit of a measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(in crate::offline) enum MeasureUnit {
    #[serde(rename = "%")]
    Percent,
    #[serde(rename = "s")]
    Seconds,
    #[serde(rename = "days")]
    Days,
    #[serde(rename = "count")]
    Count,
}

impl MeasureUnit {
    /// Units by the names of files.
    pub(in crate::offline) const NAMES: [(&str, Self); 4] = [
        ("%", Self::Percent),
        ("s", Self::Seconds),
        ("days", Self::Days),
        ("count", Self::Count),
    ];
}

/// Kind of problem: who owns it, and as which category it is reported.
#[derive(Debug, Clone)]
pub(in crate::offline) struct ProblemKind {
    pub(in crate::offline) name: String,
    pub(in crate::offline) category: Category,
    pub(in crate::offline) owners: Vec<String>,
    pub(in crate::offline) action: String,
}

/// Bound on a number with a label.
#[derive(Debug, Clone)]
pub(super) struct BoundedMeasure {
    pub(super) name: String,
    pub(super) kind: usize,
    pub(super) severity: Severity,
    pub(super) unit: MeasureUnit,
    pub(super) above: Option<f64>,
    pub(super) below: Option<f64>,
    pub(super) tone: bool,
    pub(super) unless: Vec<String>,
    /// Words that the labels of its page must hold, or must not: "success rate" is
    /// that of attacks on a page about attacks.
    pub(super) near: Vec<String>,
    pub(super) unless_near: Vec<String>,
}

/// Meaning of a phrase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Sense {
    State(Strength, usize, Severity),
    Healthy,
    Level(Severity),
    Open,
    Closed,
    Topic(usize),
    Measure(usize),
    Adjective,
    Noun,
    Routine,
    /// Well, of which a share should not be missing.
    Live,
    Safeguard(Severity),
    Off,
    TurnedOff,
    /// Attack of a kind, and the outcome that it was not stopped.
    Attack(usize),
    Through,
    /// Over for good: what a list of today tells of it is history.
    Resolved,
    /// Trial whose outcome is of the kind of what is tried.
    Test,
    Condition,
    Before,
    Defines,
    Instruction,
    Negation,
    SilentVerb,
    SilentNoun,
    RepeatedVerb,
    Structure(ColumnRole),
}

/// Role of a column or label by its head, or of a heading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum ColumnRole {
    Subject,
    Status,
    Severity,
    Lifecycle,
    Time,
    Place,
    Definition,
    DefinitionHead,
}

const ROLES: [(&str, ColumnRole); 8] = [
    ("subject", ColumnRole::Subject),
    ("status", ColumnRole::Status),
    ("severity", ColumnRole::Severity),
    ("lifecycle", ColumnRole::Lifecycle),
    ("time", ColumnRole::Time),
    ("place", ColumnRole::Place),
    ("definition", ColumnRole::Definition),
    ("definition_head", ColumnRole::DefinitionHead),
];

/// Phrase found in a text: a run of its words.
#[derive(Debug, Clone, Copy)]
pub(super) struct SensedPhrase<'v> {
    pub(super) first: usize,
    pub(super) end: usize,
    pub(super) senses: &'v [Sense],
}

/// Compiled vocabulary.
#[derive(Debug, Default)]
pub(in crate::offline) struct Vocabulary {
    pub(in crate::offline) kinds: Vec<ProblemKind>,
    pub(super) measures: Vec<BoundedMeasure>,
    pub(super) repeated_above: f64,
    phrases: HashMap<String, Vec<Sense>>,
    /// Lengths in words of the phrases that begin with a word.
    lengths: HashMap<String, Vec<usize>>,
}

impl VocabularyText {
    /// Adds what another file says: lists grow, kinds of the same name and a
    /// bound are replaced.
    pub(in crate::offline) fn extend(&mut self, other: Self) {
        self.kind.extend(other.kind);
        self.state.extend(other.state);
        self.healthy.words.extend(other.healthy.words);
        self.severity.extend(other.severity);
        self.lifecycle.open.extend(other.lifecycle.open);
        self.lifecycle.closed.extend(other.lifecycle.closed);
        self.topic.extend(other.topic);
        for measure in other.measure {
            self.measure.retain(|known| known.name != measure.name);
            self.measure.push(measure);
        }
        self.count.adjectives.extend(other.count.adjectives);
        self.count.nouns.extend(other.count.nouns);
        self.count.routine.extend(other.count.routine);
        self.count.tests.extend(other.count.tests);
        self.count.live.extend(other.count.live);
        self.attack.extend(other.attack);
        self.through.words.extend(other.through.words);
        self.lifecycle.resolved.extend(other.lifecycle.resolved);
        self.safeguard.extend(other.safeguard);
        self.off.values.extend(other.off.values);
        self.off.verbs.extend(other.off.verbs);
        self.condition.words.extend(other.condition.words);
        self.condition.before.extend(other.condition.before);
        self.condition.defines.extend(other.condition.defines);
        self.condition
            .instruction
            .extend(other.condition.instruction);
        self.condition.negation.extend(other.condition.negation);
        self.silence.verbs.extend(other.silence.verbs);
        self.silence.nouns.extend(other.silence.nouns);
        self.repeat.verbs.extend(other.repeat.verbs);
        self.repeat.above = other.repeat.above.or(self.repeat.above);
        for (role, words) in other.structure {
            self.structure.entry(role).or_default().extend(words);
        }
    }

    /// Compiles it; adds a fault for each value that cannot be.
    pub(in crate::offline) fn compile(&self, faults: &mut Faults) -> Vocabulary {
        let mut compiled = Vocabulary {
            repeated_above: self.repeat.above.unwrap_or(f64::INFINITY),
            ..Vocabulary::default()
        };
        for (name, kind) in &self.kind {
            if kind.owners.is_empty() {
                faults.add(
                    format!("vocabulary.kind.{name}.owners"),
                    "must name at least one agent",
                );
            }
            compiled.kinds.push(ProblemKind {
                name: name.clone(),
                category: kind.category,
                owners: kind.owners.clone(),
                action: kind.action.clone(),
            });
        }
        let mut kind_of = |name: &str, place: String| {
            let known = self.kind.keys().position(|known| known == name);
            if known.is_none() {
                let kinds: Vec<_> = self.kind.keys().map(String::as_str).collect();
                let message = format!("kind {name:?} is none of {}", kinds.join(", "));
                faults.add(place, message);
            }
            known
        };
        let mut said: Vec<(String, &[String], Sense)> = Vec::new();
        for (index, state) in self.state.iter().enumerate() {
            let place = format!("vocabulary.state[{index}]");
            if let Some(kind) = kind_of(&state.kind, place.clone()) {
                let sense = Sense::State(state.strength, kind, state.severity);
                said.push((place, &state.words, sense));
            }
        }
        for (index, topic) in self.topic.iter().enumerate() {
            let place = format!("vocabulary.topic[{index}]");
            if let Some(kind) = kind_of(&topic.kind, place.clone()) {
                said.push((place, &topic.words, Sense::Topic(kind)));
            }
        }
        for (index, attack) in self.attack.iter().enumerate() {
            let place = format!("vocabulary.attack[{index}]");
            if let Some(kind) = kind_of(&attack.kind, place.clone()) {
                said.push((place, &attack.words, Sense::Attack(kind)));
            }
        }
        let mut bounds = Vec::new();
        for measure in &self.measure {
            let place = format!("vocabulary.measure {}", measure.name);
            if let Some(kind) = kind_of(&measure.kind, place.clone()) {
                if measure.above.is_none() && measure.below.is_none() && !measure.tone {
                    bounds.push(place.clone());
                }
                let sense = Sense::Measure(compiled.measures.len());
                said.push((place, &measure.label, sense));
                compiled.measures.push(BoundedMeasure {
                    name: measure.name.clone(),
                    kind,
                    severity: measure.severity,
                    unit: measure.unit,
                    above: measure.above,
                    below: measure.below,
                    tone: measure.tone,
                    unless: measure.unless.iter().map(|text| phrase(text)).collect(),
                    near: measure.near.iter().map(|text| phrase(text)).collect(),
                    unless_near: (measure.unless_near.iter())
                        .map(|text| phrase(text))
                        .collect(),
                });
            }
        }
        for place in bounds {
            faults.add(place, "needs above, below or tone = true");
        }
        for (index, severity) in self.severity.iter().enumerate() {
            let place = format!("vocabulary.severity[{index}]");
            said.push((place, &severity.words, Sense::Level(severity.level)));
        }
        for (index, safeguard) in self.safeguard.iter().enumerate() {
            let place = format!("vocabulary.safeguard[{index}]");
            let sense = Sense::Safeguard(safeguard.severity);
            said.push((place, &safeguard.words, sense));
        }
        for (place, list, sense) in [
            ("healthy.words", &self.healthy.words, Sense::Healthy),
            ("lifecycle.open", &self.lifecycle.open, Sense::Open),
            ("lifecycle.closed", &self.lifecycle.closed, Sense::Closed),
            (
                "lifecycle.resolved",
                &self.lifecycle.resolved,
                Sense::Closed,
            ),
            (
                "lifecycle.resolved",
                &self.lifecycle.resolved,
                Sense::Resolved,
            ),
            ("through.words", &self.through.words, Sense::Through),
            ("count.adjectives", &self.count.adjectives, Sense::Adjective),
            ("count.nouns", &self.count.nouns, Sense::Noun),
            ("count.routine", &self.count.routine, Sense::Routine),
            ("count.tests", &self.count.tests, Sense::Test),
            ("count.live", &self.count.live, Sense::Live),
            ("off.values", &self.off.values, Sense::Off),
            ("off.verbs", &self.off.verbs, Sense::TurnedOff),
            ("condition.words", &self.condition.words, Sense::Condition),
            ("condition.before", &self.condition.before, Sense::Before),
            ("condition.defines", &self.condition.defines, Sense::Defines),
            (
                "condition.instruction",
                &self.condition.instruction,
                Sense::Instruction,
            ),
            (
                "condition.negation",
                &self.condition.negation,
                Sense::Negation,
            ),
            ("silence.verbs", &self.silence.verbs, Sense::SilentVerb),
            ("silence.nouns", &self.silence.nouns, Sense::SilentNoun),
            ("repeat.verbs", &self.repeat.verbs, Sense::RepeatedVerb),
        ] {
            said.push((format!("vocabulary.{place}"), list, sense));
        }
        for (name, list) in &self.structure {
            match ROLES.iter().find(|(known, _)| known == name) {
                Some((_, role)) => {
                    let place = format!("vocabulary.structure.{name}");
                    said.push((place, list, Sense::Structure(*role)));
                }
                None => {
                    let known: Vec<_> = ROLES.iter().map(|(known, _)| *known).collect();
                    let message = format!("unknown key; known here: {}", known.join(", "));
                    faults.add(format!("vocabulary.structure.{name}"), message);
                }
            }
        }
        for (place, list, sense) in said {
            for text in list {
                compiled.add(text, sense, &place, faults);
            }
        }
        compiled
    }
}

impl Vocabulary {
    fn add(&mut self, text: &str, sense: Sense, place: &str, faults: &mut Faults) {
        let parts = words(text);
        if parts.is_empty() || parts.len() > LONGEST_PHRASE {
            let message = format!("{text:?} must have 1 to {LONGEST_PHRASE} words");
            faults.add(place, message);
            return;
        }
        let lengths = self.lengths.entry(parts[0].text.clone()).or_default();
        if !lengths.contains(&parts.len()) {
            lengths.push(parts.len());
            // The longest phrase is tried first.
            lengths.sort_unstable_by(|a, b| b.cmp(a));
        }
        let senses = self.phrases.entry(phrase(text)).or_default();
        if !senses.contains(&sense) {
            senses.push(sense);
        }
    }

    /// Phrases in words, from the left, the longest at each place, without
    /// overlap.
    pub(super) fn phrases<'v>(&'v self, words: &[MeaningWord]) -> Vec<SensedPhrase<'v>> {
        let mut found = Vec::new();
        let mut first = 0;
        let mut key = String::new();
        while first < words.len() {
            let longest = self.lengths.get(&words[first].text).and_then(|lengths| {
                let fits = lengths
                    .iter()
                    .filter(|length| first + **length <= words.len());
                fits.copied().find_map(|length| {
                    join(&words[first..first + length], &mut key);
                    let senses = self.phrases.get(&key)?;
                    Some((length, senses.as_slice()))
                })
            });
            match longest {
                Some((length, senses)) => {
                    let end = first + length;
                    found.push(SensedPhrase { first, end, senses });
                    first = end;
                }
                None => first += 1,
            }
        }
        found
    }

    /// Senses of a whole text.
    pub(super) fn senses(&self, text: &str) -> &[Sense] {
        self.phrases.get(&phrase(text)).map_or(&[], Vec::as_slice)
    }

    /// Roles of the head of a column or of a label.
    pub(super) fn roles(&self, head: &str) -> HashSet<ColumnRole> {
        let role = |sense: &Sense| match sense {
            Sense::Structure(role) => Some(*role),
            _ => None,
        };
        self.senses(head).iter().filter_map(role).collect()
    }
}

/// Words of a text joined by blanks, as phrases are looked up.
pub(super) fn phrase(text: &str) -> String {
    let mut joined = String::new();
    join(&words(text), &mut joined);
    joined
}

fn join(words: &[MeaningWord], joined: &mut String) {
    joined.clear();
    for word in words {
        if !joined.is_empty() {
            joined.push(' ');
        }
        joined.push_str(&word.text);
    }
}

//! Rules and the files they come from (`rules/*.toml`; docs/rules.md has the
//! format).

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::SignedDuration;
use regex::Regex;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use toml::{Table, Value};

use watchtower_base::config::fault::Faults;
use watchtower_domain::finding::{Category, Severity, is_technique};

use super::examples::reports;
use super::meaning::{Vocabulary, VocabularyText};
use super::pattern;
use super::reading::SharedReadings;
use super::rule::Rule;
use super::shape::{CellConditionText, RuleShape};
use super::window::MOST_ROWS;

/// Built-in vocabulary.
const VOCABULARY: (&str, &str) = (
    "rules/vocabulary.toml",
    include_str!("../../../rules/vocabulary.toml"),
);
/// Built-in files, by persona.
const BUILT_IN: [(&str, &str); 6] = [
    (
        "rules/secops.toml",
        include_str!("../../../rules/secops.toml"),
    ),
    (
        "rules/secops-hosts.toml",
        include_str!("../../../rules/secops-hosts.toml"),
    ),
    (
        "rules/devops.toml",
        include_str!("../../../rules/devops.toml"),
    ),
    (
        "rules/cloudsec.toml",
        include_str!("../../../rules/cloudsec.toml"),
    ),
    (
        "rules/aisec.toml",
        include_str!("../../../rules/aisec.toml"),
    ),
    (
        "rules/architect.toml",
        include_str!("../../../rules/architect.toml"),
    ),
];
/// Built-in files, for a measurement over their examples.
#[cfg(test)]
pub(super) const fn built_in() -> [(&'static str, &'static str); 6] {
    BUILT_IN
}
/// Bounds on the length of a window.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// Error of rule files that can't be loaded.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    #[error("failed to read the rules {}: {source}", file.display())]
    Read {
        file: PathBuf,
        source: std::io::Error,
    },
    #[error("{}", show(.0))]
    Faults(Vec<Faults>),
}

fn show(files: &[Faults]) -> String {
    let files = files.iter().map(ToString::to_string);
    files.collect::<Vec<_>>().join("\n")
}

/// Compiled rules of all files.
#[derive(Debug, Default)]
pub struct Rules {
    pub(super) rules: Vec<Rule>,
    pub(super) vocabulary: Vocabulary,
    /// Vocabulary of all files, compiled once they are read.
    words: VocabularyText,
    /// Version of the files, which findings state.
    pub(super) version: String,
    /// Readings that the analysts with these rules share.
    pub(super) readings: SharedReadings,
}

/// Rule as written in a file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleText {
    id: String,
    agents: Option<Vec<String>>,
    severity: Severity,
    category: Category,
    title: String,
    detail: String,
    action: String,
    #[serde(default)]
    mitre: Vec<String>,
    #[serde(default)]
    element: Vec<String>,
    #[serde(default)]
    r#where: Vec<CellConditionText>,
    #[serde(default)]
    r#match: Vec<String>,
    #[serde(default)]
    with: Vec<String>,
    #[serde(default)]
    unless: Vec<String>,
    label: Option<String>,
    #[serde(default)]
    screen: Vec<String>,
    #[serde(default = "one")]
    screen_at_least: usize,
    at_least: Option<usize>,
    window: Option<String>,
    above: Option<f64>,
    below: Option<f64>,
    #[serde(default)]
    each: bool,
    examples: Examples,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Examples {
    r#match: Vec<String>,
    no_match: Vec<String>,
}

fn one() -> usize {
    1
}

impl Rules {
    /// Loads the built-in rules and those of the given files; reports every
    /// fault at once.
    pub fn load(files: &[PathBuf]) -> Result<Self, RulesError> {
        let mut texts: Vec<_> = BUILT_IN
            .map(|(name, text)| (name.to_owned(), text.to_owned()))
            .into();
        for file in files {
            texts.push((file.display().to_string(), read(file)?));
        }
        let mut rules = Self::default();
        let mut sum = Sha256::new();
        let mut faults = Vec::new();
        let (name, text) = VOCABULARY;
        let mut built_in = Faults::new(name);
        match toml::from_str(text) {
            Ok(words) => rules.words = words,
            Err(error) => built_in.add("", error.message()),
        }
        sum.update(text);
        for (name, text) in &texts {
            faults.extend(rules.add(name, text).err());
            sum.update(text);
        }
        rules.vocabulary = rules.words.compile(&mut built_in);
        if !built_in.is_empty() {
            faults.push(built_in);
        }
        if !faults.is_empty() {
            return Err(RulesError::Faults(faults));
        }
        let sum = sum.finalize();
        rules.version = format!(
            "{} rules, {:02x}{:02x}{:02x}{:02x}",
            rules.rules.len(),
            sum[0],
            sum[1],
            sum[2],
            sum[3]
        );
        Ok(rules)
    }

    fn add(&mut self, file: &str, text: &str) -> Result<(), Faults> {
        let mut faults = Faults::new(file);
        let table = match text.parse::<Table>() {
            Ok(table) => table,
            Err(error) => {
                faults.add("", format!("is not TOML: {}", error.to_string().trim()));
                return Err(faults);
            }
        };
        let mut agents = Vec::new();
        let mut rules = Vec::new();
        for (key, value) in table {
            match (key.as_str(), value) {
                ("agents", value) => match value.try_into::<Vec<String>>() {
                    Ok(names) => agents = names,
                    Err(_) => faults.add("agents", "must be an array of agent names"),
                },
                ("rule", Value::Array(items)) => rules = items,
                ("rule", _) => faults.add("rule", "must be an array of tables ([[rule]])"),
                ("vocabulary", value) => match value.try_into::<VocabularyText>() {
                    Ok(words) => {
                        self.words.extend(words);
                        // Unknown kinds and phrases are faults of this file.
                        self.words.compile(&mut faults);
                    }
                    Err(error) => faults.add("vocabulary", error.message()),
                },
                (key, _) => faults.add(key, "unknown key; known here: agents, rule, vocabulary"),
            }
        }
        for (index, value) in rules.into_iter().enumerate() {
            let id = value.get("id").and_then(Value::as_str).unwrap_or_default();
            let path = format!("rule[{index}] {id}").trim_end().to_owned();
            match value.try_into::<RuleText>() {
                Ok(text) => self.check(text, &agents, &path, &mut faults),
                Err(error) => faults.add(path, error.message()),
            }
        }
        if faults.is_empty() {
            Ok(())
        } else {
            Err(faults)
        }
    }

    fn check(&mut self, text: RuleText, file_agents: &[String], path: &str, faults: &mut Faults) {
        let before = faults.faults.len();
        if self.rules.iter().any(|rule| rule.id == text.id) {
            faults.add(
                path,
                format!("the id {:?} is taken by another rule", text.id),
            );
        }
        let agents = text.agents.unwrap_or_else(|| file_agents.to_vec());
        if agents.is_empty() {
            faults.add(path, "agents: missing in the rule and in the file");
        }
        let shape = RuleShape::compile(&text.element, &text.r#where, path, faults);
        if text.r#match.is_empty() && !shape.as_ref().is_some_and(RuleShape::has_conditions) {
            let message = if text.element.is_empty() {
                "match: must hold at least one pattern"
            } else {
                "must hold at least one [[rule.where]], or a pattern in match"
            };
            faults.add(path, message);
        }
        if text.label.is_some() && !text.element.is_empty() {
            let message = "with element it belongs in [[rule.where]]";
            faults.add(format!("{path}.label"), message);
        }
        if text.examples.r#match.is_empty() || text.examples.no_match.is_empty() {
            faults.add(
                path,
                "examples: must hold at least one match and one no_match",
            );
        }
        for id in text.mitre.iter().filter(|id| !is_technique(id)) {
            faults.add(
                format!("{path}.mitre"),
                format!("{id:?} is not an ATT&CK technique id such as T1110 or T1110.001"),
            );
        }
        if text.at_least == Some(0) {
            faults.add(format!("{path}.at_least"), "must be at least 1, got 0");
        }
        let window = text.window.as_deref().and_then(|window| {
            let window = parse_window(window, text.at_least);
            let fault = |message| faults.add(format!("{path}.window"), message);
            window.map_err(fault).ok()
        });
        let mut compile = |key: &str, patterns: &[String]| {
            pattern::compile_all(patterns, &format!("{path}.{key}"), faults)
        };
        let rule = Rule {
            patterns: compile("match", &text.r#match),
            with: compile("with", &text.with),
            unless: compile("unless", &text.unless),
            label: compile("label", text.label.as_slice()).pop(),
            screen: compile("screen", &text.screen),
            id: text.id,
            agents,
            shape,
            severity: text.severity,
            category: text.category,
            title: text.title,
            detail: text.detail,
            action: text.action,
            mitre: text.mitre,
            screen_at_least: text.screen_at_least,
            at_least: text.at_least.unwrap_or(1),
            window,
            above: text.above,
            below: text.below,
            each: text.each,
        };
        let numbered = rule.patterns.iter().any(has_number)
            || rule.shape.as_ref().is_some_and(RuleShape::has_number);
        if (rule.above.is_some() || rule.below.is_some()) && !numbered {
            faults.add(path, "above and below need a group (?<n>...) in a pattern");
        }
        if faults.faults.len() > before {
            return;
        }
        for example in &text.examples.r#match {
            if !reports(&rule, example) {
                faults.add(
                    format!("{path}.examples.match"),
                    format!("{example:?} does not match"),
                );
            }
        }
        for example in &text.examples.no_match {
            if reports(&rule, example) {
                faults.add(
                    format!("{path}.examples.no_match"),
                    format!("{example:?} matches"),
                );
            }
        }
        self.rules.push(rule);
    }
}

fn read(file: &Path) -> Result<String, RulesError> {
    std::fs::read_to_string(file).map_err(|source| RulesError::Read {
        file: file.to_owned(),
        source,
    })
}

/// Parses the window of a rule that requires `at_least` rows; the error is a
/// fault's message.
fn parse_window(text: &str, at_least: Option<usize>) -> Result<SignedDuration, String> {
    let Ok(length) = humantime::parse_duration(text) else {
        return Err(format!("must be a duration such as \"1m\", got {text:?}"));
    };
    if !(SHORTEST..=LONGEST).contains(&length) {
        let show = humantime::format_duration;
        let (shortest, longest) = (show(SHORTEST), show(LONGEST));
        return Err(format!(
            "must be from {shortest} to {longest}, got {text:?}"
        ));
    }
    if !at_least.is_some_and(|count| (2..=MOST_ROWS).contains(&count)) {
        return Err(format!(
            "needs at_least to say how many rows, from 2 to {MOST_ROWS}"
        ));
    }
    SignedDuration::try_from(length).map_err(|error| error.to_string())
}

fn has_number(pattern: &Regex) -> bool {
    pattern.capture_names().flatten().any(|name| name == "n")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Loading runs every rule's examples.
    #[test]
    fn built_in_rules_pass_their_examples() {
        let rules = Rules::load(&[]).unwrap_or_else(|error| panic!("{error}"));
        for agent in ["SecOps", "DevOps", "CloudSec", "AISec", "Architect"] {
            let panel = [agent.to_owned()];
            let count = rules.rules.iter().filter(|rule| rule.is_on(&panel)).count();
            assert!(count >= 15, "{agent} has {count} rules");
        }
    }

    #[test]
    fn documented_rules_pass_their_examples() {
        let docs = include_str!("../../../docs/rules.md");
        let blocks = docs.split("```toml\n").skip(1);
        let blocks = blocks.filter_map(|block| block.split("```").next());
        let text: String = blocks.filter(|block| block.contains("[[rule]]")).collect();
        let mut rules = Rules::default();
        rules
            .add("docs/rules.md", &text)
            .unwrap_or_else(|faults| panic!("{faults}"));
        assert_eq!(rules.rules.len(), 3);
    }

    #[test]
    fn a_broken_file_shows_all_its_faults() {
        let text = r#"
            colour = "red"
            [[rule]]
            id = "a"
            severity = "awful"
            category = "other"
            title = "t"
            detail = "d"
            action = "a"
            match = ["x"]
            examples = { match = ["x"], no_match = ["y"] }
            [[rule]]
            id = "b"
            agents = ["SecOps"]
            severity = "low"
            category = "other"
            title = "t"
            detail = "d"
            action = "a"
            match = ["(x", "y"]
            above = 3
            examples = { match = ["x"], no_match = [] }
            [[rule]]
            id = "c"
            agents = ["SecOps"]
            severity = "low"
            category = "other"
            title = "t"
            detail = "d"
            action = "a"
            match = ["x"]
            examples = { match = ["z"], no_match = ["x"] }
            [[rule]]
            id = "d"
            agents = ["SecOps"]
            severity = "low"
            category = "other"
            title = "t"
            detail = "d"
            action = "a"
            mitre = ["T1110", "T1110.001", "1110", "T99"]
            match = ["x"]
            window = "1m"
            examples = { match = ["x"], no_match = ["y"] }
            [[rule]]
            id = "e"
            agents = ["SecOps"]
            severity = "low"
            category = "other"
            title = "t"
            detail = "d"
            action = "a"
            match = ["x"]
            at_least = 0
            window = "soon"
            examples = { match = ["x"], no_match = ["y"] }
            [[rule]]
            id = "f"
            agents = ["SecOps"]
            severity = "low"
            category = "other"
            title = "t"
            detail = "d"
            action = "a"
            match = ["x"]
            at_least = 2
            window = "2 days"
            examples = { match = ["x"], no_match = ["y"] }
        "#;
        let mut rules = Rules::default();
        insta::assert_snapshot!(rules.add("my-rules.toml", text).unwrap_err());
    }
}

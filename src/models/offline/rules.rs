//! The rules and the files they come from (`rules/*.toml`; docs/rules.md has
//! the format for those who write them).

use std::path::{Path, PathBuf};

use regex::{Regex, RegexBuilder};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use toml::{Table, Value};

use super::screen::{Part, Screen};
use crate::config::Faults;
use crate::finding::{Category, Severity};

/// The built-in files, one per persona.
const BUILT_IN: [(&str, &str); 5] = [
    (
        "rules/secops.toml",
        include_str!("../../../rules/secops.toml"),
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
/// How far below its label a value may stand, in heights of the label.
const REACH: u32 = 12;

/// Why there are no rules.
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

/// All rules of all files, ready to be applied.
#[derive(Debug)]
pub struct Rules {
    pub(super) rules: Vec<Rule>,
    /// Of the files: findings say by which rules they were made.
    pub(super) version: String,
}

/// A rule as it stands in a file.
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
    #[serde(default = "one")]
    at_least: usize,
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

/// A rule ready to be applied.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) id: String,
    agents: Vec<String>,
    pub(super) severity: Severity,
    pub(super) category: Category,
    pub(super) title: String,
    pub(super) detail: String,
    pub(super) action: String,
    pub(super) mitre: Vec<String>,
    patterns: Vec<Regex>,
    with: Vec<Regex>,
    unless: Vec<Regex>,
    label: Option<Regex>,
    screen: Vec<Regex>,
    screen_at_least: usize,
    at_least: usize,
    above: Option<f64>,
    below: Option<f64>,
    /// One finding for each subject instead of one for all.
    pub(super) each: bool,
}

/// Where a rule matched.
#[derive(Debug, Clone)]
pub(super) struct Match {
    pub(super) row: usize,
    pub(super) part: Part,
    /// What made it count: the row's status, the label above.
    pub(super) with: Vec<(usize, Part)>,
    /// The group `what`, else the row's first cell when there is a label.
    pub(super) what: String,
    /// The group `n`, as it stands on the screen and as a number.
    pub(super) number: Option<(String, f64)>,
}

impl Rules {
    /// The built-in rules and those of the given files, every fault at once.
    pub fn load(files: &[PathBuf]) -> Result<Self, RulesError> {
        let mut texts: Vec<_> = BUILT_IN
            .map(|(name, text)| (name.to_owned(), text.to_owned()))
            .into();
        for file in files {
            texts.push((file.display().to_string(), read(file)?));
        }
        let mut rules = Self {
            rules: Vec::new(),
            version: String::new(),
        };
        let mut sum = Sha256::new();
        let mut faults = Vec::new();
        for (name, text) in &texts {
            faults.extend(rules.add(name, text).err());
            sum.update(text);
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
                    Err(_) => faults.add("agents", "must be an array of agents' names"),
                },
                ("rule", Value::Array(items)) => rules = items,
                ("rule", _) => faults.add("rule", "must be an array of tables ([[rule]])"),
                (key, _) => faults.add(key, "unknown key; known here: agents, rule"),
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
            faults.add(path, "names no agents, nor does the file");
        }
        if text.r#match.is_empty() {
            faults.add(path, "match: must hold a pattern at least");
        }
        if text.examples.r#match.is_empty() || text.examples.no_match.is_empty() {
            faults.add(
                path,
                "examples: must hold one that matches and one that doesn't at least",
            );
        }
        let mut compile = |key: &str, patterns: &[String]| {
            let compiled = patterns
                .iter()
                .filter_map(|pattern| match compile(pattern) {
                    Ok(regex) => Some(regex),
                    Err(error) => {
                        faults.add(
                            format!("{path}.{key}"),
                            format!("{pattern:?} is not a pattern: {error}"),
                        );
                        None
                    }
                });
            compiled.collect::<Vec<_>>()
        };
        let rule = Rule {
            patterns: compile("match", &text.r#match),
            with: compile("with", &text.with),
            unless: compile("unless", &text.unless),
            label: compile("label", text.label.as_slice()).pop(),
            screen: compile("screen", &text.screen),
            id: text.id,
            agents,
            severity: text.severity,
            category: text.category,
            title: text.title,
            detail: text.detail,
            action: text.action,
            mitre: text.mitre,
            screen_at_least: text.screen_at_least,
            at_least: text.at_least,
            above: text.above,
            below: text.below,
            each: text.each,
        };
        if (rule.above.is_some() || rule.below.is_some()) && !rule.patterns.iter().any(has_number) {
            faults.add(path, "above and below need a group (?<n>...) in a pattern");
        }
        if faults.faults.len() > before {
            return;
        }
        for example in &text.examples.r#match {
            if rule.matches(&Screen::drawn(example)).is_empty() {
                faults.add(
                    format!("{path}.examples.match"),
                    format!("{example:?} does not match"),
                );
            }
        }
        for example in &text.examples.no_match {
            if !rule.matches(&Screen::drawn(example)).is_empty() {
                faults.add(
                    format!("{path}.examples.no_match"),
                    format!("{example:?} matches"),
                );
            }
        }
        self.rules.push(rule);
    }
}

impl Rule {
    /// `*` stands for every agent.
    pub(super) fn is_for(&self, agent: &str) -> bool {
        self.agents
            .iter()
            .any(|name| name == "*" || name.eq_ignore_ascii_case(agent))
    }

    /// Every row the rule is about, or none when there are too few.
    pub(super) fn matches(&self, screen: &Screen) -> Vec<Match> {
        let on_screen = |pattern: &Regex| {
            let rows = screen.rows.iter().filter(|row| pattern.is_match(&row.text));
            rows.count() >= self.screen_at_least
        };
        if !self.screen.iter().all(on_screen) {
            return Vec::new();
        }
        let rows = 0..screen.rows.len();
        let mut matches: Vec<_> = rows.filter_map(|row| self.match_row(screen, row)).collect();
        if self.label.is_some() {
            // Only what stands nearest to its label is its value; an axis of
            // the chart below may look the same.
            let mut taken = Vec::new();
            matches.retain(|found| {
                let label = found.with.last().copied();
                let nearest = !taken.contains(&label);
                taken.push(label);
                nearest
            });
        }
        matches.retain(|found| self.fits(found.number.as_ref()));
        if matches.len() < self.at_least {
            Vec::new()
        } else {
            matches
        }
    }

    fn fits(&self, number: Option<&(String, f64)>) -> bool {
        number.is_none_or(|(_, number)| {
            self.above.is_none_or(|least| *number > least)
                && self.below.is_none_or(|most| *number < most)
        })
    }

    fn match_row(&self, screen: &Screen, index: usize) -> Option<Match> {
        let row = &screen.rows[index];
        let text = row.text.as_str();
        if self.unless.iter().any(|pattern| pattern.is_match(text)) {
            return None;
        }
        let with = self.with.iter().map(|pattern| {
            pattern
                .find(text)
                .map(|found| (index, (found.start(), found.end())))
        });
        let with: Vec<_> = with.collect::<Option<_>>()?;
        self.patterns
            .iter()
            .flat_map(|pattern| pattern.captures_iter(text))
            .find_map(|captures| {
                let whole = captures.get(0)?;
                let part = (whole.start(), whole.end());
                let number = match captures.name("n") {
                    Some(group) => Some((group.as_str().to_owned(), number(group.as_str())?)),
                    None => None,
                };
                // Under a label the first value counts, whatever it is.
                if self.label.is_none() && !self.fits(number.as_ref()) {
                    return None;
                }
                let mut with = with.clone();
                if let Some(label) = &self.label {
                    with.push(screen.label_above(index, part, label, REACH)?);
                }
                let what = match captures.name("what") {
                    Some(group) => group.as_str(),
                    None if self.label.is_some() => row.first_cell(),
                    None => "",
                };
                Some(Match {
                    row: index,
                    part,
                    with,
                    what: what.trim().to_owned(),
                    number,
                })
            })
    }
}

fn read(file: &Path) -> Result<String, RulesError> {
    std::fs::read_to_string(file).map_err(|source| RulesError::Read {
        file: file.to_owned(),
        source,
    })
}

fn has_number(pattern: &Regex) -> bool {
    pattern.capture_names().flatten().any(|name| name == "n")
}

fn compile(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(&forgiving(pattern))
        .case_insensitive(true)
        .size_limit(1 << 20)
        .build()
}

/// Patterns are written as the words stand on a screen; this makes them
/// forgive what OCR does to words: a space stands for any white space or none,
/// an underscore may have been read as a space, and `o` and `0`, `l`, `i` and
/// `1` for one another. Classes, groups' names and counts stay as they are.
fn forgiving(pattern: &str) -> String {
    let mut text = String::new();
    let mut literal_from = ' ';
    let mut escaped = false;
    for c in pattern.chars() {
        match (literal_from, c) {
            _ if escaped => text.push(c),
            (' ', ' ') => text += r"\s*",
            (' ', '_') => text += r"[_\s]?",
            (' ', 'o' | 'O' | '0') => text += "[o0]",
            (' ', 'l' | 'L' | 'i' | 'I' | '1') => text += "[li1|]",
            _ => text.push(c),
        }
        literal_from = match (literal_from, c) {
            _ if escaped => literal_from,
            (' ', '[') => ']',
            (' ', '{') => '}',
            (' ', '<') if text.ends_with("(?<") || text.ends_with("(?P<") => '>',
            (until, c) if until == c => ' ',
            (until, _) => until,
        };
        escaped = c == '\\' && !escaped;
    }
    text
}

/// `1,093`, `12.4`, `48.2k`.
fn number(text: &str) -> Option<f64> {
    let text = text.trim().replace(',', "");
    let (digits, factor) = match text.to_ascii_lowercase().chars().next_back()? {
        'k' => (&text[..text.len() - 1], 1e3),
        'm' => (&text[..text.len() - 1], 1e6),
        _ => (text.as_str(), 1.0),
    };
    digits
        .trim()
        .parse::<f64>()
        .ok()
        .map(|number| number * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Loading runs every rule's examples.
    #[test]
    fn the_built_in_rules_hold_their_own_examples() {
        let rules = Rules::load(&[]).unwrap_or_else(|error| panic!("{error}"));
        for agent in ["SecOps", "DevOps", "CloudSec", "AISec", "Architect"] {
            let count = rules.rules.iter().filter(|rule| rule.is_for(agent)).count();
            assert!(count >= 5, "{agent} has {count} rules");
        }
    }

    #[test]
    fn a_pattern_forgives_what_ocr_does() {
        let pattern = compile(r"crash_loop back off [a_ ]x (?<loin>\d{1,2})").unwrap();
        for text in [
            "CrashLoopBackOff_x1",
            "crash l00p back off  x12",
            "CRASH_LOOPBACK 0FF ax3",
        ] {
            assert!(pattern.is_match(text), "{text}");
        }
        assert!(!pattern.is_match("crash-loop back off x1"));
        assert!(pattern.capture_names().flatten().eq(["loin"]));
    }

    #[test]
    fn numbers_are_read_as_dashboards_write_them() {
        let cases = [
            ("12.4", Some(12.4)),
            ("1,093", Some(1093.0)),
            ("48.2k", Some(48_200.0)),
            ("3M", Some(3e6)),
            ("x", None),
        ];
        for (text, value) in cases {
            assert_eq!(number(text), value, "{text}");
        }
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
        "#;
        let mut rules = Rules {
            rules: Vec::new(),
            version: String::new(),
        };
        insta::assert_snapshot!(rules.add("my-rules.toml", text).unwrap_err());
    }
}

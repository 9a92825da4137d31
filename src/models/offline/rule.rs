//! Matching of a rule against a screen.

use jiff::{SignedDuration, Timestamp};
use regex::{Captures, Regex};

use watchtower_domain::finding::{Category, Severity};

use super::memory::folded;
use super::pattern::number;
use super::screen::{ByteSpan, FrameText};
use super::shape::{RuleShape, ShapeMatch};
use super::window::Windows;

/// Maximum distance of a value below its label, in heights of the label.
const REACH: u32 = 12;

/// Text of one screen: its rows, and its elements for structural rules.
#[derive(Debug, Default)]
pub(super) struct MatchedText {
    pub(super) rows: FrameText,
    pub(super) elements: FrameText,
}

/// Compiled rule.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) id: String,
    pub(super) agents: Vec<String>,
    pub(super) severity: Severity,
    pub(super) category: Category,
    /// Elements that it speaks of; without, it speaks of rows across the screen.
    pub(super) shape: Option<RuleShape>,
    pub(super) title: String,
    pub(super) detail: String,
    pub(super) action: String,
    pub(super) mitre: Vec<String>,
    pub(super) patterns: Vec<Regex>,
    pub(super) with: Vec<Regex>,
    pub(super) unless: Vec<Regex>,
    pub(super) label: Option<Regex>,
    pub(super) screen: Vec<Regex>,
    pub(super) screen_at_least: usize,
    pub(super) at_least: usize,
    /// Time window in which rows count; without one, those on the screen.
    pub(super) window: Option<SignedDuration>,
    pub(super) above: Option<f64>,
    pub(super) below: Option<f64>,
    /// Flag: report each subject in a finding of its own.
    pub(super) each: bool,
}

/// Match of a rule.
#[derive(Debug, Clone)]
pub(super) struct Match {
    pub(super) row: usize,
    pub(super) part: ByteSpan,
    /// Matched context: the row's status, the label above.
    pub(super) with: Vec<(usize, ByteSpan)>,
    /// Group `what`, else the row's first cell when there is a label.
    pub(super) what: String,
    /// Group `n`, as on the screen and as a number.
    pub(super) number: Option<(String, f64)>,
}

/// Subject of a finding: one value of the rule's `what`, or all matches.
#[derive(Debug, Clone)]
pub(super) struct Subject {
    /// Key of the subject, stable across OCR errors.
    pub(super) key: String,
    /// Matches on this screen, never empty.
    pub(super) matches: Vec<Match>,
    /// Rows that counted: on this screen, or within the window.
    pub(super) count: usize,
}

impl Rule {
    /// True if one of the agents of a panel reports what the rule finds; `*`
    /// means every agent.
    pub(super) fn is_on(&self, panel: &[String]) -> bool {
        panel.iter().any(|agent| self.is_for(agent, panel))
    }

    /// True if this agent of a panel reports what the rule finds: it is the first
    /// of the rule's agents that the panel has.
    pub(super) fn is_for(&self, agent: &str, panel: &[String]) -> bool {
        if self.agents.iter().any(|name| name == "*") {
            return true;
        }
        let present = |name: &&String| {
            name.eq_ignore_ascii_case(agent)
                || panel.iter().any(|other| name.eq_ignore_ascii_case(other))
        };
        let owner = self.agents.iter().find(present);
        owner.is_some_and(|name| name.eq_ignore_ascii_case(agent))
    }

    /// Text that the rule is matched against.
    pub(super) fn text_of<'s>(&self, screen: &'s MatchedText) -> &'s FrameText {
        match self.shape {
            Some(_) => &screen.elements,
            None => &screen.rows,
        }
    }

    /// Subjects to report of a screen captured at that time.
    pub(super) fn subjects(
        &self,
        screen: &MatchedText,
        at: Timestamp,
        windows: &mut Windows,
    ) -> Vec<Subject> {
        let matches = self.matches(screen);
        let screen = self.text_of(screen);
        let mut subjects = self.sorted(matches, screen);
        if let Some(length) = self.window {
            let window = windows.of(&self.id);
            window.turn_to(at, length);
            for subject in &mut subjects {
                let rows = subject.matches.iter().map(|found| found.row);
                let rows = rows.map(|row| folded(&screen.rows[row].text));
                subject.count = window.count(&subject.key, rows);
            }
        }
        subjects.retain(|subject| subject.count >= self.at_least);
        subjects
    }

    /// Boxes in thousandths of what a rule matches in a row, however few the rows
    /// are: what it counts is routine below its threshold.
    pub(super) fn places_on(&self, screen: &MatchedText, row: usize) -> Vec<[u16; 4]> {
        let screen = self.text_of(screen);
        if !self.screen.is_empty() {
            return Vec::new();
        }
        let matches = self.match_row(screen, row).into_iter();
        let matches = matches.filter(|found| self.fits(found.number.as_ref()));
        let parts =
            matches.flat_map(|found| std::iter::once((found.row, found.part)).chain(found.with));
        parts
            .filter_map(|(row, part)| screen.evidence(row, part).bounds)
            .collect()
    }

    /// Matches by subject, in their order on the screen.
    fn sorted(&self, matches: Vec<Match>, screen: &FrameText) -> Vec<Subject> {
        let mut subjects: Vec<Subject> = Vec::new();
        for found in matches {
            let key = match (self.each, found.what.as_str()) {
                (false, _) => self.id.clone(),
                (true, "") => format!("{} {}", self.id, folded(&screen.rows[found.row].text)),
                (true, what) => format!("{} {}", self.id, folded(what)),
            };
            match subjects.iter_mut().find(|subject| subject.key == key) {
                Some(subject) => {
                    subject.matches.push(found);
                    subject.count += 1;
                }
                None => subjects.push(Subject {
                    key,
                    matches: vec![found],
                    count: 1,
                }),
            }
        }
        subjects
    }

    /// All rows or elements that match the rule.
    fn matches(&self, screen: &MatchedText) -> Vec<Match> {
        let on_screen = |pattern: &Regex| {
            let rows = screen.rows.rows.iter();
            let rows = rows.filter(|row| pattern.is_match(&row.text));
            rows.count() >= self.screen_at_least
        };
        if !self.screen.iter().all(on_screen) {
            return Vec::new();
        }
        let screen = self.text_of(screen);
        let rows = 0..screen.rows.len();
        let mut matches: Vec<_> = rows.flat_map(|row| self.match_row(screen, row)).collect();
        if self.label.is_some() {
            // Only the match nearest to its label is its value; an axis of the
            // chart below may look the same.
            let mut taken = Vec::new();
            matches.retain(|found| {
                let label = found.with.last().copied();
                let nearest = !taken.contains(&label);
                taken.push(label);
                nearest
            });
        }
        matches.retain(|found| self.fits(found.number.as_ref()));
        matches
    }

    fn fits(&self, number: Option<&(String, f64)>) -> bool {
        number.is_none_or(|(_, number)| {
            self.above.is_none_or(|least| *number > least)
                && self.below.is_none_or(|most| *number < most)
        })
    }

    /// Matches of a row: one, or with a label one for each value, as panels are
    /// laid out side by side.
    fn match_row(&self, screen: &FrameText, index: usize) -> Vec<Match> {
        let text = screen.rows[index].text.as_str();
        // Most rows match nothing: tested first.
        let shaped = self.patterns.is_empty() && self.shape.is_some();
        let worded = shaped || self.patterns.iter().any(|pattern| pattern.is_match(text));
        if !worded || self.unless.iter().any(|pattern| pattern.is_match(text)) {
            return Vec::new();
        }
        let with = self.with.iter().map(|pattern| {
            pattern
                .find(text)
                .map(|found| (index, (found.start(), found.end())))
        });
        let Some(with) = with.collect::<Option<Vec<_>>>() else {
            return Vec::new();
        };
        if let Some(shape) = &self.shape {
            let shaped = shape.matches(screen, index);
            let found = shaped.and_then(|shaped| self.shaped(index, text, shaped, &with));
            return found.into_iter().collect();
        }
        let found = self
            .patterns
            .iter()
            .flat_map(|pattern| each_match(pattern, text))
            .filter_map(|captures| self.judge(screen, index, &captures, &with));
        let most = if self.label.is_some() { usize::MAX } else { 1 };
        found.take(most).collect()
    }

    /// Match of an element that meets the structural conditions.
    fn shaped(
        &self,
        index: usize,
        text: &str,
        shaped: ShapeMatch,
        with: &[(usize, ByteSpan)],
    ) -> Option<Match> {
        let mut patterns = self.patterns.iter();
        let captures = patterns.find_map(|pattern| pattern.captures(text));
        let group = |name: &str| Some(captures.as_ref()?.name(name)?.as_str());
        let number = match group("n") {
            Some(digits) => Some((digits.to_owned(), number(digits)?)),
            None => shaped.number,
        };
        if !self.fits(number.as_ref()) {
            return None;
        }
        let what = group("what").map(str::to_owned).or(shaped.what);
        let worded = captures.as_ref().map(|captures| {
            let whole = captures.get_match();
            (index, (whole.start(), whole.end()))
        });
        let mut parts = worded.into_iter().chain(shaped.parts).chain(with.to_vec());
        let (row, part) = parts.next()?;
        Some(Match {
            row,
            part,
            with: parts.collect(),
            what: what.unwrap_or_default().trim().to_owned(),
            number,
        })
    }

    fn judge(
        &self,
        screen: &FrameText,
        index: usize,
        captures: &Captures<'_>,
        with: &[(usize, ByteSpan)],
    ) -> Option<Match> {
        let whole = captures.get_match();
        let part = (whole.start(), whole.end());
        let number = match captures.name("n") {
            Some(group) => Some((group.as_str().to_owned(), number(group.as_str())?)),
            None => None,
        };
        let mut with = with.to_vec();
        if let Some(label) = &self.label {
            // The first value below it counts, of any kind.
            with.push(screen.label_above(index, part, label, REACH)?);
        } else if !self.fits(number.as_ref()) || screen.counts_none(index, part) {
            return None;
        }
        let what = match captures.name("what") {
            Some(group) => group.as_str(),
            None if self.label.is_some() => screen.rows[index].first_cell(),
            None => "",
        };
        Some(Match {
            row: index,
            part,
            with,
            what: what.trim().to_owned(),
            number,
        })
    }
}

/// Matches in a text. The separator after a number may be part of the next
/// match too: the gap between two cells.
fn each_match<'t>(pattern: &Regex, text: &'t str) -> impl Iterator<Item = Captures<'t>> {
    let mut from = Some(0);
    std::iter::from_fn(move || {
        let captures = pattern.captures_at(text, from?)?;
        let whole = captures.get_match();
        let end = captures.name("n").map_or(whole.end(), |group| group.end());
        from = (end > whole.start()).then_some(end);
        Some(captures)
    })
}

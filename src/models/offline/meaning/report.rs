//! Findings of a screen: claims of one problem joined, the worst named.

use watchtower_domain::finding::Severity;
use watchtower_screen::layout::{ElementContent, Layout};
use watchtower_screen::picture::Rect;

use super::claims::{Claim, ClaimReason};
use super::gather::ClaimReader;
use super::vocabulary::Vocabulary;
use super::words::{MeaningWord, words};
use crate::offline::memory::folded;

/// Claims of one kind and reason from which on they are one finding.
const GROUP: usize = 3;
/// Subjects named in the title of a group.
const NAMED: usize = 3;
/// Findings of a screen at most: more would be read by nobody.
const MOST_FINDINGS: usize = 8;

/// Finding of the meaning of a screen.
#[derive(Debug, Clone)]
pub(in crate::offline) struct MeaningFinding {
    /// Index of its kind in the vocabulary.
    pub(in crate::offline) kind: usize,
    pub(in crate::offline) severity: Severity,
    pub(in crate::offline) title: String,
    pub(in crate::offline) detail: String,
    /// Quotes, each of one element, with their boxes.
    pub(in crate::offline) quotes: Vec<(String, Rect)>,
    pub(in crate::offline) count: usize,
    /// Flag: a sentence tells it, not a row, badge or number.
    pub(in crate::offline) told: bool,
    /// Key of its subject, stable across OCR errors.
    pub(in crate::offline) key: String,
}

/// Findings of a screen, the worst first. Claims for which `covered` is true are
/// left out: a rule reports them.
pub(in crate::offline) fn findings(
    vocabulary: &Vocabulary,
    layout: &Layout,
    mut covered: impl FnMut(&[(String, Rect)]) -> bool,
) -> Vec<MeaningFinding> {
    let mut claims: Vec<Claim> = Vec::new();
    let mut reported: Vec<Claim> = Vec::new();
    for claim in ClaimReader::read(vocabulary, layout) {
        let known = claims.iter().any(|known| {
            known.reason == claim.reason
                && known
                    .quotes
                    .iter()
                    .any(|quote| claim.quotes.contains(quote))
        });
        if known {
            continue;
        }
        if covered(&claim.quotes) {
            reported.push(claim);
        } else {
            claims.push(claim);
        }
    }
    // A sentence in the place of a row's state says the same.
    let places: Vec<Rect> = (claims
        .iter()
        .filter(|claim| claim.reason != ClaimReason::Told))
    .flat_map(|claim| claim.quotes.iter().map(|(_, rect)| *rect))
    .collect();
    claims.retain(|claim| {
        claim.reason != ClaimReason::Told
            || !claim.quotes.iter().any(|(_, rect)| places.contains(rect))
    });
    // A count beside the rows that it counts is no second problem.
    let mut counts_rows = |count: &Claim| {
        let mut rows = claims.iter().chain(&reported);
        let alike = rows.any(|row| match &row.reason {
            ClaimReason::Open(_) => row.kind == count.kind,
            ClaimReason::State(state) => row.kind == count.kind || names(&count.subject, state),
            _ => false,
        });
        alike || listed_by_rules(layout, &count.subject, &mut covered)
    };
    let kept: Vec<bool> = claims
        .iter()
        .map(|claim| claim.reason != ClaimReason::Count || !counts_rows(claim))
        .collect();
    let mut kept = kept.into_iter();
    claims.retain(|_| kept.next().unwrap_or_default());
    claims.sort_by_key(|claim| claim.severity);

    let mut groups: Vec<Vec<Claim>> = Vec::new();
    for claim in claims {
        let same = groups.iter_mut().find(|group| joins(&group[0], &claim));
        match same {
            Some(group) => group.push(claim),
            None => groups.push(vec![claim]),
        }
    }
    let mut found = Vec::new();
    for group in groups {
        let first = &group[0];
        let told = first.reason == ClaimReason::Count || is_told(first) && first.subject.is_empty();
        if group.len() >= GROUP || told {
            found.push(joined(vocabulary, &group));
        } else {
            let singles = group
                .iter()
                .map(|claim| joined(vocabulary, std::slice::from_ref(claim)));
            found.extend(singles);
        }
    }
    found.sort_by_key(|finding| finding.severity);
    found.truncate(MOST_FINDINGS);
    found
}

/// True if a rule reports rows of a table that are in the state that a label
/// counts.
fn listed_by_rules(
    layout: &Layout,
    label: &str,
    covered: &mut impl FnMut(&[(String, Rect)]) -> bool,
) -> bool {
    let tables = layout
        .elements
        .iter()
        .filter_map(|element| match &element.content {
            ElementContent::Table(table) => Some(table),
            _ => None,
        });
    let cells = tables.flat_map(|table| table.rows.iter().flatten());
    let states = cells.filter(|cell| words(&cell.text).len() == 1 && names(label, &cell.text));
    let mut places = states.map(|cell| (cell.text.clone(), cell.rect));
    places.any(|place| covered(&[place]))
}

/// True if a label counts what is in a state: "Checks failed" and "FAIL".
fn names(label: &str, state: &str) -> bool {
    const STEM: usize = 4;
    let stem = |word: &MeaningWord| word.text.chars().take(STEM).collect::<String>();
    let telling = |word: &&MeaningWord| word.text.chars().count() >= STEM;
    let (label, state) = (words(label), words(state));
    let mut stems = label.iter().filter(telling).map(stem);
    stems.any(|known| state.iter().any(|word| stem(word) == known))
}

/// True if two claims are of one problem, or of many alike.
fn joins(a: &Claim, b: &Claim) -> bool {
    let alike = match (&a.reason, &b.reason) {
        (ClaimReason::Open(_), ClaimReason::Open(_)) => true,
        (a, b) => a == b,
    };
    // What a row's sentence and a paragraph tell is one problem, or of one kind.
    let told = [a, b].map(|claim| claim.subject.is_empty() && claim.reason != ClaimReason::Count);
    a.kind == b.kind && (alike || told == [true, true] && is_told(a) && is_told(b))
}

/// True for what a sentence tells, of a paragraph or in a row.
fn is_told(claim: &Claim) -> bool {
    matches!(claim.reason, ClaimReason::Told | ClaimReason::State(_))
}

fn joined(vocabulary: &Vocabulary, group: &[Claim]) -> MeaningFinding {
    let worst = &group[0];
    let kind = &vocabulary.kinds[worst.kind];
    let mut names: Vec<&str> = Vec::new();
    for claim in group {
        let name = if claim.subject.is_empty() {
            claim.said.as_str()
        } else {
            claim.subject.as_str()
        };
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let listed = names
        .iter()
        .take(NAMED)
        .copied()
        .collect::<Vec<_>>()
        .join(", ");
    let count = group.len();
    let said = tidy(&worst.said);
    let title = match &worst.reason {
        ClaimReason::Told => said.clone(),
        ClaimReason::Count => format!("{}: {}", worst.subject, said),
        ClaimReason::State(_) | ClaimReason::Measure(_)
            if worst.subject.is_empty() && count == 1 =>
        {
            said.clone()
        }
        ClaimReason::State(_) if worst.subject.is_empty() => format!("{count} failed: {said}"),
        ClaimReason::State(_) | ClaimReason::Measure(_) if count == 1 => {
            format!("{}: {said}", worst.subject)
        }
        ClaimReason::State(_) => format!("{count} × {said}: {listed}"),
        ClaimReason::Measure(name) => format!("{count} × {name}: {listed}"),
        ClaimReason::Open(level) if count == 1 => {
            format!("{}: {}", capital(level.as_str()), worst.subject)
        }
        ClaimReason::Open(level) => {
            let of_worst = group
                .iter()
                .filter(|claim| claim.reason == ClaimReason::Open(*level))
                .count();
            let level = level.as_str();
            if of_worst == count {
                format!("{count} × {level}: {listed}")
            } else {
                format!("{count} items, {of_worst} {level}: {listed}")
            }
        }
    };
    let detail = match &worst.reason {
        ClaimReason::Told => "a sentence on the screen says so.".to_owned(),
        ClaimReason::Count => format!("the screen counts {said} under {:?}.", worst.subject),
        ClaimReason::Open(_) => {
            format!("{count} on the screen, rated {said} and not closed: {listed}.")
        }
        ClaimReason::State(_) => format!(
            "{count} on the screen in the state {said:?}: {}.",
            names.join(", ")
        ),
        ClaimReason::Measure(name) => {
            format!("{name} beyond its bound, {count} on the screen: {listed}.")
        }
    };
    // Of the worst all quotes, of the others the first.
    let rest = group[1..].iter().filter_map(|claim| claim.quotes.first());
    let mut quotes: Vec<(String, Rect)> = Vec::new();
    for quote in worst.quotes.iter().chain(rest) {
        if !quotes.contains(quote) {
            quotes.push(quote.clone());
        }
    }
    let reason = match &worst.reason {
        ClaimReason::State(state) => state.clone(),
        ClaimReason::Open(_) => "open".to_owned(),
        ClaimReason::Measure(name) => name.clone(),
        ClaimReason::Count => "count".to_owned(),
        ClaimReason::Told => "told".to_owned(),
    };
    let single = if count == 1 {
        folded(names[0])
    } else {
        String::new()
    };
    MeaningFinding {
        kind: worst.kind,
        severity: worst.severity,
        title,
        detail,
        quotes,
        count,
        told: is_told(worst) && worst.subject.is_empty(),
        key: format!("meaning {} {} {single}", kind.name, folded(&reason)),
    }
}

/// Text without the names of icons, which OCR reads as words with underscores.
fn tidy(text: &str) -> String {
    let kept: Vec<_> = text
        .split_whitespace()
        .filter(|word| !word.contains('_'))
        .collect();
    if kept.is_empty() {
        text.to_owned()
    } else {
        kept.join(" ")
    }
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().collect::<String>() + letters.as_str()
    })
}

//! Activity that a text describes, apart from its wording: a failed login by
//! any name is `brute_force`.
//!
//! A phrase is matched against lower-case text in which everything but letters
//! and digits became one blank, at the start of a word. What the list does not
//! know is compared by its quotes and entities alone.

use std::cmp::Reverse;
use std::sync::LazyLock;

use phrases::{ActivityPhrases, ENTRIES};

use super::quote::level;

mod phrases;

/// The activity a text tells first; of two that begin at the same place, the
/// longer phrase.
pub(super) fn of_text(text: &str) -> Option<&'static str> {
    first(text, phrases())
}

/// The same of a quote as it is compared, whose letters are levelled out.
pub(super) fn of_folded(text: &str) -> Option<&'static str> {
    static LEVELLED: LazyLock<Vec<(&str, String)>> = LazyLock::new(|| {
        phrases()
            .map(|(name, phrase)| (name, level(phrase)))
            .collect()
    });
    first(
        text,
        LEVELLED
            .iter()
            .map(|(name, phrase)| (*name, phrase.as_str())),
    )
}

fn phrases() -> impl Iterator<Item = (&'static str, &'static str)> {
    let of = |(name, phrases, _): &'static ActivityPhrases| {
        phrases.iter().map(|phrase| (*name, *phrase))
    };
    ENTRIES.iter().flat_map(of)
}

fn first<'a>(
    text: &str,
    phrases: impl Iterator<Item = (&'static str, &'a str)>,
) -> Option<&'static str> {
    let text = words(text);
    let found = phrases.filter_map(|(name, phrase)| {
        find(&text, phrase).map(|at| (at, Reverse(phrase.len()), name))
    });
    let first = found.min_by_key(|(at, length, _)| (*at, *length));
    first.map(|(_, _, name)| name)
}

/// True if the attacker is the one that is connected to: a shell, a beacon and
/// stolen data go out from the victim.
pub(super) fn goes_out(activity: &str) -> bool {
    [
        "malicious_shell",
        "exfiltration",
        "beaconing",
        "cryptomining",
        "phishing",
    ]
    .contains(&activity)
}

/// The activity an ATT&CK technique means, sub-techniques included.
pub(super) fn of_technique(technique: &str) -> Option<&'static str> {
    let parent = technique.split('.').next().unwrap_or(technique);
    let known = |wanted: &str| {
        let entry = ENTRIES.iter().find(|(_, _, ids)| ids.contains(&wanted));
        entry.map(|(name, _, _)| *name)
    };
    known(technique).or_else(|| known(parent))
}

/// Blank, word, blank, word, ..., blank.
fn words(text: &str) -> String {
    let mut words = String::with_capacity(text.len() + 2);
    words.push(' ');
    for c in text.chars().flat_map(char::to_lowercase) {
        if c.is_alphanumeric() {
            words.push(c);
        } else if !words.ends_with(' ') {
            words.push(' ');
        }
    }
    if !words.ends_with(' ') {
        words.push(' ');
    }
    words
}

/// Where a phrase stands at the start of a word.
fn find(text: &str, phrase: &str) -> Option<usize> {
    let starts = |at: &usize| text.as_bytes().get(at.wrapping_sub(1)) == Some(&b' ');
    text.match_indices(phrase).map(|(at, _)| at).find(starts)
}

#[cfg(test)]
mod tests;

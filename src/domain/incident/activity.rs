//! Activity described by a text, independent of its wording: a failed login by
//! any name is `brute_force`.
//!
//! A phrase is matched at the start of a word, against lower-case text in which
//! everything but letters and digits became one blank. Texts without a known
//! activity are compared by their quotes and entities alone.

use std::cmp::Reverse;
use std::sync::LazyLock;

use phrases::{ActivityPhrases, ENTRIES};

use super::quote::level;

mod phrases;

/// First activity in a text; of two phrases that begin at the same place, the
/// longer one.
pub(super) fn of_text(text: &str) -> Option<&'static str> {
    first(text, phrases())
}

/// First activity in a normalised quote.
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

/// True if the attacker is the destination of the connection: a shell, a beacon
/// and stolen data go out from the victim.
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

/// Activity of an ATT&CK technique or one of its sub-techniques.
pub(super) fn of_technique(technique: &str) -> Option<&'static str> {
    let parent = technique.split('.').next().unwrap_or(technique);
    let known = |id: &str| {
        let entry = ENTRIES.iter().find(|(_, _, ids)| ids.contains(&id));
        entry.map(|(name, _, _)| *name)
    };
    known(technique).or_else(|| known(parent))
}

/// Normalised text: blank, word, blank, word, ..., blank.
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

/// Position of a phrase at the start of a word.
fn find(text: &str, phrase: &str) -> Option<usize> {
    let starts = |at: &usize| text.as_bytes().get(at.wrapping_sub(1)) == Some(&b' ');
    text.match_indices(phrase).map(|(at, _)| at).find(starts)
}

#[cfg(test)]
mod tests;

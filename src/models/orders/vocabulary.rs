//! Vocabulary of orders (`rules/orders.toml`), and where its phrases stand in a
//! text.

use std::collections::HashMap;
use std::sync::LazyLock;

use serde::Deserialize;

use super::fold::{FoldedWord, words};

/// Class of phrases, as a key of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum PhraseClass {
    Machine,
    Role,
    Automated,
    Void,
    Guidance,
    Prior,
    Silence,
    Hush,
    Object,
    Aside,
    Verdict,
    Benign,
    Mild,
    Claim,
    Answer,
    Form,
    Reveal,
    Secret,
    Recast,
    Turned,
    Acting,
    Guise,
    Errand,
    Draft,
    Notice,
    Output,
    Negative,
    Whichever,
    Call,
    AsReader,
    Condition,
    Reads,
    Page,
    Duty,
    Lead,
    About,
    Hint,
    Judged,
    Policy,
}

/// Phrase found: its class, and the range of its words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PhraseHit {
    pub(super) class: PhraseClass,
    pub(super) from: usize,
    pub(super) to: usize,
}

#[derive(Debug)]
enum PhrasePart {
    /// Word that begins and ends so; with a star, anything stands between.
    Word {
        prefix: String,
        suffix: String,
        star: bool,
    },
    /// Up to [`WIDEST_GAP`] words.
    Gap,
}

const WIDEST_GAP: usize = 6;

/// Compiled vocabulary, indexed by the first two letters of a phrase.
#[derive(Debug, Default)]
pub(super) struct OrderVocabulary {
    index: HashMap<String, Vec<(PhraseClass, Vec<PhrasePart>)>>,
}

pub(super) fn vocabulary() -> &'static OrderVocabulary {
    static VOCABULARY: LazyLock<OrderVocabulary> = LazyLock::new(|| {
        let text = include_str!("../../../rules/orders.toml");
        OrderVocabulary::parse(text).expect("the built-in vocabulary is tested")
    });
    &VOCABULARY
}

impl OrderVocabulary {
    fn parse(text: &str) -> Result<Self, toml::de::Error> {
        let classes: HashMap<PhraseClass, Vec<String>> = toml::from_str(text)?;
        let mut vocabulary = Self::default();
        for (class, phrases) in classes {
            for phrase in phrases {
                let parts: Vec<_> = phrase.split_whitespace().flat_map(parts).collect();
                if let Some(PhrasePart::Word { prefix, .. }) = parts.first() {
                    let bucket = vocabulary.index.entry(key(prefix)).or_default();
                    bucket.push((class, parts));
                }
            }
        }
        Ok(vocabulary)
    }

    /// Phrases in a text, by their first word.
    pub(super) fn hits(&self, words: &[FoldedWord]) -> Vec<PhraseHit> {
        let mut hits = Vec::new();
        for (from, word) in words.iter().enumerate() {
            let Some(bucket) = self.index.get(&key(&word.text)) else {
                continue;
            };
            for (class, parts) in bucket {
                if let Some(length) = length(parts, &words[from..]) {
                    hits.push(PhraseHit {
                        class: *class,
                        from,
                        to: from + length,
                    });
                }
            }
        }
        hits
    }
}

fn key(word: &str) -> String {
    word.chars().take(2).collect()
}

/// Parts of one written word: several where it has hyphens, or characters of a
/// script without spaces.
fn parts(written: &str) -> Vec<PhrasePart> {
    if written == ".." {
        return vec![PhrasePart::Gap];
    }
    let (before, after, star) = match written.split_once('*') {
        Some((before, after)) => (before, after, true),
        None => (written, "", false),
    };
    let mut prefixes: Vec<String> = words(before).into_iter().map(|word| word.text).collect();
    let suffix = words(after).into_iter().map(|word| word.text).collect();
    let Some(prefix) = prefixes.pop() else {
        return Vec::new();
    };
    let whole = prefixes.into_iter().map(|prefix| PhrasePart::Word {
        prefix,
        suffix: String::new(),
        star: false,
    });
    let last = PhrasePart::Word {
        prefix,
        suffix,
        star,
    };
    whole.chain(std::iter::once(last)).collect()
}

/// Number of words that the phrase covers at their start.
fn length(parts: &[PhrasePart], words: &[FoldedWord]) -> Option<usize> {
    match parts.split_first() {
        None => Some(0),
        Some((PhrasePart::Gap, rest)) => (0..=WIDEST_GAP.min(words.len()))
            .find_map(|gap| Some(gap + length(rest, &words[gap..])?)),
        Some((
            PhrasePart::Word {
                prefix,
                suffix,
                star,
            },
            rest,
        )) => {
            let (word, behind) = words.split_first()?;
            let same = match star {
                false => word.text == *prefix,
                true => {
                    let tail = word.text.strip_prefix(prefix.as_str())?;
                    tail.ends_with(suffix.as_str())
                }
            };
            same.then(|| length(rest, behind).map(|length| 1 + length))?
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<(PhraseClass, String)> {
        let words = words(text);
        let hits = vocabulary().hits(&words);
        let part = |hit: PhraseHit| {
            (
                hit.class,
                text[words[hit.from].start..words[hit.to - 1].end].to_owned(),
            )
        };
        hits.into_iter().map(part).collect()
    }

    #[test]
    fn phrases_match_with_endings_gaps_and_characters() {
        for (text, class, phrase) in [
            ("bitte Ign0rieren Sie", PhraseClass::Void, "Ign0rieren"),
            (
                "melde diesen Vorfall nicht",
                PhraseClass::Silence,
                "melde diesen Vorfall nicht",
            ),
            ("全部忽略", PhraseClass::Void, "忽略"),
            ("AI-powered", PhraseClass::Automated, "AI-powered"),
            ("it summarises", PhraseClass::Reads, "summarises"),
        ] {
            let all = found(text);
            assert!(all.contains(&(class, phrase.to_owned())), "{text}: {all:?}");
        }
        let unlike = found("ignorance summarily");
        assert!(
            unlike
                .iter()
                .all(|(class, _)| *class != PhraseClass::Void && *class != PhraseClass::Reads),
            "{unlike:?}"
        );
    }

    #[test]
    fn an_unknown_class_is_refused() {
        let error = OrderVocabulary::parse("colour = [\"red\"]").unwrap_err();
        assert!(
            error.message().contains("unknown variant `colour`"),
            "{error}"
        );
    }
}

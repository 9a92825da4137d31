//! Safeguards that are off: a column, label or sentence that names what protects,
//! and says that it does not.

use watchtower_domain::finding::Severity;
use watchtower_screen::layout::StatusColour;

use super::assess::ToldState;
use super::claims::{Claim, ClaimReason, LabelledRow, subject_of};
use super::vocabulary::{Sense, SensedPhrase, Strength, Vocabulary};
use super::words::MeaningWord;

/// Words between a safeguard and the verb that turns it off: "MFA of the root
/// account was disabled".
const WITHIN: usize = 5;
/// Longest label of a safeguard, in words.
const LONGEST_LABEL: usize = 5;

impl LabelledRow<'_> {
    /// Claims of the cells that say that a safeguard is off, by the head of their
    /// column or their label.
    pub(super) fn unguarded(&self, vocabulary: &Vocabulary, subject: Option<usize>) -> Vec<Claim> {
        if self.possible {
            return Vec::new();
        }
        let cells = self.cells.iter().enumerate();
        let off = cells.filter(|(index, cell)| {
            let said = vocabulary.senses(&cell.text.text);
            Some(*index) != subject
                && said.contains(&Sense::Off)
                && cell.text.colour() != StatusColour::Green
        });
        let claims = off.filter_map(|(_, cell)| {
            let label = cell.head?;
            let severity = guarded(vocabulary, label)?;
            let kind = vocabulary.kind_named("configuration")?;
            let name = subject.map(|index| self.cells[index].text).or(self.title);
            let said = format!("{label} {}", cell.text.text.to_lowercase());
            let quote = (cell.text.text.clone(), cell.text.rect);
            let named = name.filter(|name| name.text != label);
            let quotes = named.map(|name| (name.text.clone(), name.rect)).into_iter();
            Some(Claim {
                kind,
                severity,
                subject: named.map_or_else(String::new, subject_of),
                said,
                quotes: quotes.chain([quote]).collect(),
                reason: ClaimReason::State(label.to_owned()),
            })
        });
        claims.collect()
    }
}

/// Severity of a safeguard that a label names.
fn guarded(vocabulary: &Vocabulary, label: &str) -> Option<Severity> {
    let all = super::words::words(label);
    let found = vocabulary.phrases(&all);
    if all.len() > LONGEST_LABEL
        || (found.iter()).any(|phrase| phrase.senses.contains(&Sense::Condition))
    {
        return None;
    }
    safeguards(&found).map(|(_, severity)| severity).min()
}

fn safeguards<'f>(
    found: &'f [SensedPhrase<'_>],
) -> impl Iterator<Item = (&'f SensedPhrase<'f>, Severity)> {
    found.iter().filter_map(|phrase| {
        phrase.senses.iter().find_map(|sense| match sense {
            Sense::Safeguard(severity) => Some((phrase, *severity)),
            _ => None,
        })
    })
}

impl Vocabulary {
    /// State of a sentence or an event that tells that a safeguard was turned
    /// off: "second factor removed", "audit log was disabled".
    pub(super) fn turned_off(
        &self,
        sentence: &[MeaningWord],
        found: &[SensedPhrase<'_>],
    ) -> Option<ToldState> {
        let kind = self.kind_named("configuration")?;
        safeguards(found).find_map(|(guard, severity)| {
            let off = found.iter().find(|other| {
                other.first >= guard.end
                    && other.first - guard.end <= WITHIN
                    && other.senses.contains(&Sense::TurnedOff)
                    && !sentence[guard.end..=other.first]
                        .iter()
                        .any(|word| word.begins)
            })?;
            let between = found.iter().filter(|other| other.end <= off.first);
            let denied = between.clone().any(|other| {
                other.senses.contains(&Sense::Negation) || other.senses.contains(&Sense::Condition)
            });
            (!denied).then(|| ToldState {
                strength: Strength::Certain,
                kind,
                severity,
                span: (sentence[guard.first].start, sentence[off.end - 1].end),
            })
        })
    }
}

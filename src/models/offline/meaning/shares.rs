//! Shares such as `0 of 6 online` and `498 / 500`: how many of all are well, or
//! how much of a limit is used.

use watchtower_domain::finding::Severity;

use super::claims::{Claim, ClaimReason, LabelledRow, subject_of};
use super::vocabulary::{Sense, Vocabulary, phrase};

/// Maximum words behind a share that say of what it is.
const MOST_WORDS: usize = 3;

/// Share of a whole, and the words behind it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct WrittenShare<'t> {
    pub(super) part: f64,
    pub(super) whole: f64,
    words: &'t str,
}

/// Share that a text is: `0 of 6 online`, `0/4`, `498 / 500`.
pub(super) fn share(text: &str) -> Option<WrittenShare<'_>> {
    let (part, rest) = leading_number(text.trim())?;
    let rest = rest.trim_start();
    let rest = rest
        .strip_prefix('/')
        .or_else(|| rest.strip_prefix("of "))?;
    let (whole, rest) = leading_number(rest.trim_start())?;
    let words = rest.trim();
    let plain = words.chars().all(|c| c.is_alphabetic() || c == ' ');
    let few = words.split_whitespace().count() <= MOST_WORDS;
    // A date goes on; a part is no more than its whole.
    (plain && few && whole >= 1.0 && part <= whole).then_some(WrittenShare { part, whole, words })
}

impl WrittenShare<'_> {
    /// Severity of a share of what should be well, by its words or its label:
    /// none of them, or fewer than half.
    pub(super) fn missing(&self, vocabulary: &Vocabulary, label: &str) -> Option<Severity> {
        let live = [self.words, label]
            .iter()
            .any(|text| vocabulary.holds(text, Sense::Live));
        let denied = [self.words, label].iter().any(|text| {
            vocabulary.holds(text, Sense::Negation) || vocabulary.holds(text, Sense::Condition)
        });
        match self.part {
            _ if !live || denied => None,
            0.0 => Some(Severity::High),
            part if 2.0 * part < self.whole => Some(Severity::Medium),
            _ => None,
        }
    }

    /// Share in per cent, as the value of a measure.
    pub(super) fn percent(&self) -> String {
        format!("{:.1} %", 100.0 * self.part / self.whole)
    }
}

impl LabelledRow<'_> {
    /// Claim of a share of what should be well, such as `0 of 6 online`.
    pub(super) fn missing_share(
        &self,
        vocabulary: &Vocabulary,
        subject: Option<usize>,
    ) -> Option<Claim> {
        let kind = vocabulary.kind_named("availability")?;
        let found = self.cells.iter().find_map(|cell| {
            let label = cell.head.unwrap_or_default();
            let severity = share(&cell.text.text)?.missing(vocabulary, label)?;
            Some((cell, label, severity))
        });
        let (cell, label, severity) = found.filter(|_| !self.possible)?;
        let quote = (cell.text.text.clone(), cell.text.rect);
        let named = phrase(label);
        let live = vocabulary.holds(label, Sense::Live);
        let name = subject.map(|index| self.cells[index].text);
        // Of a pair the key is the name, unless it says what is counted.
        let (subject, quotes) = match (name, self.title) {
            (Some(name), _) => (
                subject_of(name),
                vec![(name.text.clone(), name.rect), quote],
            ),
            (None, Some(title)) if live || named.is_empty() => (
                subject_of(title),
                vec![(title.text.clone(), title.rect), quote],
            ),
            _ => (label.to_owned(), vec![quote]),
        };
        let said = match live && !subject.is_empty() && subject != label {
            true => format!("{} {}", cell.text.text, label.to_lowercase()),
            false => cell.text.text.clone(),
        };
        (!subject.is_empty()).then(|| Claim {
            kind,
            severity,
            subject,
            said,
            quotes,
            reason: ClaimReason::State("missing".to_owned()),
        })
    }
}

/// Number at the start of a text, and the rest.
fn leading_number(text: &str) -> Option<(f64, &str)> {
    let end = text
        .find(|c: char| !(c.is_ascii_digit() || matches!(c, ',' | '.')))
        .unwrap_or(text.len());
    Some((text[..end].replace(',', "").parse().ok()?, &text[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_told_from_dates_and_ratios() {
        let of = |text: &'static str| share(text).map(|share| (share.part, share.whole));
        for (text, expected) in [
            ("0 of 6 online", Some((0.0, 6.0))),
            ("0/4", Some((0.0, 4.0))),
            ("498 / 500", Some((498.0, 500.0))),
            ("1,204 of 1,300 seats in use", Some((1204.0, 1300.0))),
            ("12/11/2026", None),
            ("7/4", None),
            ("3 of them", None),
            ("16:9", None),
            ("0/0", None),
        ] {
            assert_eq!(of(text), expected, "{text}");
        }
    }
}

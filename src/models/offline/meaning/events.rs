//! Events of a list: what a message tells by itself, and an attack that was let
//! through.

use watchtower_domain::finding::Severity;
use watchtower_screen::layout::StatusColour;

use super::claims::{
    Claim, ClaimReason, LabelledCell, LabelledRow, names_something, sentence_of, subject_of,
};
use super::times::is_clock;
use super::vocabulary::{ColumnRole, Sense, Strength, Vocabulary, phrase};
use super::words::words;

/// Longest name of an attack, in words; a longer text is a sentence.
const LONGEST_ATTACK: usize = 6;

impl LabelledRow<'_> {
    /// Claim of what an event's message tells, by itself: "second factor removed".
    pub(super) fn happened(&self, vocabulary: &Vocabulary, event: usize) -> Option<Claim> {
        let message = self.cells[event].text;
        let told = vocabulary.problems(&message.text).into_iter();
        let problem = told
            .filter(|problem| problem.state.strength == Strength::Certain)
            .find(|problem| !self.possible && problem.state.severity <= Severity::High)?;
        let place = self.cells.iter().enumerate().find(|(index, cell)| {
            *index != event && cell.is(ColumnRole::Place) && names_something(&cell.text.text)
        });
        let said = sentence_of(&message.text, problem);
        let mut quotes = vec![(said.clone(), message.rect)];
        quotes.extend(place.map(|(_, cell)| (cell.text.text.clone(), cell.text.rect)));
        Some(Claim {
            kind: problem.state.kind,
            severity: problem.state.severity,
            subject: place.map_or_else(String::new, |(_, cell)| subject_of(cell.text)),
            reason: ClaimReason::State(phrase(&said)),
            said,
            quotes,
        })
    }

    /// Claim of an event that is named an attack and was let through.
    pub(super) fn let_through(
        &self,
        vocabulary: &Vocabulary,
        subject: Option<usize>,
    ) -> Option<Claim> {
        let event = self
            .cells
            .iter()
            .any(|cell| cell.is(ColumnRole::Time) && is_clock(cell.text));
        if self.possible || !event {
            return None;
        }
        let (at, kind) = self.cells.iter().enumerate().find_map(|(index, cell)| {
            let attack = words(&cell.text.text).len() <= LONGEST_ATTACK;
            let kind = attack.then(|| attack_of(vocabulary, cell))??;
            Some((index, kind))
        })?;
        let passed = self.cells.iter().enumerate().find(|(index, cell)| {
            let senses = vocabulary.senses(&cell.text.text);
            *index != at && senses.contains(&Sense::Through)
        });
        let (_, passed) = passed?;
        let attack = &self.cells[at];
        // "Clean" beside a mail about malware.
        let well = self.cells.iter().any(|cell| {
            vocabulary.status(&cell.text.text).healthy
                && !vocabulary.senses(&cell.text.text).contains(&Sense::Through)
        });
        let place = |cell: &&LabelledCell<'_>| {
            !std::ptr::eq(cell.text, attack.text) && cell.is(ColumnRole::Place)
        };
        let name = self.cells.iter().find(place).map(|cell| cell.text);
        let name = name.or_else(|| {
            let named = subject.filter(|index| *index != at);
            named.map(|index| self.cells[index].text)
        });
        let other = || {
            let mut cells = self.cells.iter().filter(|cell| !cell.is(ColumnRole::Time));
            cells.find(|cell| {
                let text = cell.text;
                names_something(&text.text)
                    && !std::ptr::eq(text, attack.text)
                    && !std::ptr::eq(text, passed.text)
            })
        };
        let name = name
            .or_else(|| other().map(|cell| cell.text))
            .filter(|_| !well)?;
        let said = format!("{}, {}", attack.text.text, passed.text.text.to_lowercase());
        let texts = [name, attack.text, passed.text];
        Some(Claim {
            kind,
            severity: Severity::High,
            subject: subject_of(name),
            said,
            quotes: texts.map(|text| (text.text.clone(), text.rect)).into(),
            reason: ClaimReason::State(attack.text.text.to_lowercase()),
        })
    }
}

/// Kind of the attack that a cell names; green says that it is none.
fn attack_of(vocabulary: &Vocabulary, cell: &LabelledCell<'_>) -> Option<usize> {
    let all = words(&cell.text.text);
    let found = vocabulary.phrases(&all);
    let has = |sense| found.iter().any(|phrase| phrase.senses.contains(&sense));
    let denied = has(Sense::Negation) || cell.text.colour() == StatusColour::Green;
    let attack = |phrase: &super::vocabulary::SensedPhrase<'_>| {
        phrase.senses.iter().find_map(|sense| match sense {
            Sense::Attack(kind) => Some(*kind),
            _ => None,
        })
    };
    found.iter().find_map(attack).filter(|_| !denied)
}

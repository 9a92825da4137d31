//! Marks before names: in a column of green ones a red one is a state, though no
//! word says so.

use watchtower_domain::finding::Severity;
use watchtower_screen::layout::{ElementText, StatusColour};

use super::claims::{Claim, ClaimReason, LabelledRow, names_something, subject_of};
use super::vocabulary::Vocabulary;

/// Minimum rows of a list whose marks are states.
const ROWS: usize = 3;

/// Rows and columns of the cells whose mark is red where most others are green.
pub(super) fn red_marks(rows: &[Vec<ElementText>]) -> Vec<(usize, usize)> {
    let columns = rows.first().map_or(0, Vec::len);
    let mut found = Vec::new();
    for column in 0..columns {
        let of = |colour: StatusColour| {
            let marked = move |row: &&Vec<ElementText>| row[column].icon == colour;
            rows.iter().filter(marked).count()
        };
        let (red, green) = (of(StatusColour::Red), of(StatusColour::Green));
        let all = red + green + of(StatusColour::Amber) + of(StatusColour::Blue);
        // Logos have a colour each.
        let states = rows.len() >= ROWS && 10 * all >= 7 * rows.len() && green >= 2 * red;
        let marked = rows.iter().enumerate();
        let marked = marked.filter(|(_, row)| states && row[column].icon == StatusColour::Red);
        found.extend(marked.map(|(row, _)| (row, column)));
    }
    found
}

impl LabelledRow<'_> {
    /// Claim of a row whose mark is red, before that cell.
    pub(super) fn marked_red(&self, vocabulary: &Vocabulary, cell: &ElementText) -> Option<Claim> {
        let kind = vocabulary.kind_named("availability")?;
        let ended = self.cells.iter().any(|cell| {
            let said = vocabulary.status(&cell.text.text);
            said.healthy || said.closed
        });
        let mut names = [cell]
            .into_iter()
            .chain(self.cells.iter().map(|cell| cell.text));
        let name = names.find(|text| names_something(&text.text))?;
        (!self.possible && !ended).then(|| Claim {
            kind,
            severity: Severity::Medium,
            subject: subject_of(name),
            said: "marked red".to_owned(),
            quotes: vec![(name.text.clone(), name.rect)],
            reason: ClaimReason::State("marked red".to_owned()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_red_mark_among_green_ones_is_a_state_and_coloured_logos_are_none() {
        use StatusColour::{Amber, Blue, Green, Red};
        let list = |marks: &[StatusColour]| {
            let row = |icon: &StatusColour| {
                vec![ElementText {
                    text: "run".to_owned(),
                    icon: *icon,
                    ..ElementText::default()
                }]
            };
            red_marks(&marks.iter().map(row).collect::<Vec<_>>())
        };
        assert_eq!(list(&[Green, Red, Green, Amber]), [(1, 0)]);
        for quiet in [
            &[Green, Green, Green][..],
            &[Green, Red, Blue, Amber],
            &[Red, Red, Green],
            &[Green, Red],
        ] {
            assert_eq!(list(quiet), [], "{quiet:?}");
        }
    }
}

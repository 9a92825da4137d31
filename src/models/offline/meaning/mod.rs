//! Meaning of a screen that no rule was written for: what its rows, cards,
//! badges, numbers and sentences say is wrong, by the vocabulary
//! (`rules/vocabulary.toml`) and the layout.
//!
//! ```text
//! layout -> rows, cards, sentences -> claims -> one finding per problem, by its owner
//! ```

mod assess;
mod claims;
mod columns;
mod events;
mod gather;
mod guards;
mod icons;
#[cfg(test)]
mod kinds_tests;
mod loose;
mod numbers;
mod report;
mod shares;
#[cfg(test)]
mod tests;
mod times;
mod vocabulary;
mod words;

pub(super) use columns::resolved_rows;
pub(super) use numbers::{measured, quantity_in};
pub(super) use report::{MeaningFinding, findings};
pub(super) use vocabulary::{MeasureUnit, ProblemKind, Vocabulary, VocabularyText};

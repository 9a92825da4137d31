//! Meaning of a screen that no rule was written for: what its rows, cards,
//! badges, numbers and sentences say is wrong, by the vocabulary
//! (`rules/vocabulary.toml`) and the layout.
//!
//! ```text
//! layout -> rows, cards, sentences -> claims -> one finding per problem, by its owner
//! ```

mod assess;
mod claims;
mod gather;
mod loose;
mod numbers;
mod report;
#[cfg(test)]
mod tests;
mod times;
mod vocabulary;
mod words;

pub(super) use numbers::{measured, quantity_in};
pub(super) use report::{MeaningFinding, findings};
pub(super) use vocabulary::{MeasureUnit, ProblemKind, Vocabulary, VocabularyText};

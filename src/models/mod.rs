//! Who thinks: one room per provider behind [`crate::model::Model`].

pub mod case;
pub mod cassette;
pub mod gauge;
pub mod gemini;
pub mod offline;
pub mod prompt;

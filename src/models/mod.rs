//! Who thinks: one room per provider behind [`crate::model::Model`].

pub mod address;
mod answer;
mod asking;
pub mod case;
pub mod cassette;
pub mod gauge;
pub mod gemini;
mod http;
mod inquiry;
pub mod offline;
pub mod openai;
pub mod prompt;
mod shot;
mod written;

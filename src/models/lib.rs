//! Clients of models: one module per provider behind [`crate::model::Model`].

pub mod model;
pub mod settings;

mod answer;
mod ask_prompt;
pub mod cassette;
pub mod gemini;
mod http;
mod images;
pub mod language;
pub mod offline;
pub mod openai;
mod orders;
pub mod panel_prompt;
pub mod prompt;
mod request;
pub mod stream_context;
pub mod token_counter;
mod written;

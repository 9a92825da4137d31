//! Evaluation of the panel: findings on a labelled recording compared with the
//! labels.
//!
//! Owns the format of the labels, the scores and the table; `app/replay.rs`
//! plays the recording through the pipeline. docs/evaluation.md has the format
//! and the meaning of the figures.

mod labels;
mod latency;
mod score;
mod table;

pub use labels::{Labels, LabelsError};
pub use latency::Latency;
pub use score::{Marks, ModelInput, Scores, TimedFinding, score};

//! Evaluation of the panel: findings on a labelled recording compared with the
//! labels.
//!
//! Owns the format of the labels, the marks and the table. Playing the
//! recording through the pipeline is the app's (`app/replay.rs`).
//! docs/evaluation.md has the format and what the figures mean.

mod labels;
mod latency;
mod score;
mod table;

pub use labels::{Labels, LabelsError};
pub use latency::Latency;
pub use score::{Marks, ModelInput, Scores, TimedFinding, score};

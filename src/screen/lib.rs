//! Reads the screen: which text stands on a frame, and where.
//!
//! Owns the OCR models, the threads they run on and their CPU budget. Reading
//! happens once per frame for all who want the text, never on the async
//! workers. What the text means is not decided here.
//!
//! ```text
//! FrameBus -> reader -> page      what stands there now: moved, scroll, ocr
//!               |         v
//!               |       news      worth telling anybody?
//!               v
//! FrameBus, with text, secrets and the scene
//! ```

pub mod changed_regions;
pub mod evidence_regions;
pub mod frame;
pub mod frames;
pub mod layout;
pub mod metrics;
pub mod picture;
pub mod redact;
pub mod series;
pub mod settings;
pub mod text;

mod change;
mod motion;
mod ocr;
mod page;
mod read_budget;
mod read_order;
mod reader;
#[cfg(test)]
mod redaction_measure;
mod scroll;
#[cfg(test)]
mod test_line;
#[cfg(test)]
mod tests;

pub use ocr::{LoadError, Ocr, ReadError};
pub use reader::{KeepText, ReaderSettings, ScreenReader};

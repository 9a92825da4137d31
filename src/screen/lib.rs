//! Reads the screen: which text stands on a frame, and where.
//!
//! Owns the OCR models, the thread they run on and its CPU budget. Reading
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
pub mod frame;
pub mod frames;
pub mod metrics;
pub mod picture;
pub mod redact;
pub mod settings;
pub mod text;

mod change;
mod motion;
mod ocr;
mod page;
mod read_budget;
mod reader;
mod scroll;
#[cfg(test)]
mod test_line;
#[cfg(test)]
mod tests;

pub use ocr::{LoadError, Ocr, ReadError};
pub use reader::{KeepText, ReaderSettings, ScreenReader};

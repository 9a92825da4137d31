//! Reads the screen: which text stands on a frame, and where.
//!
//! Owns the OCR models, the one thread they run on and its CPU budget. Reading
//! happens once per frame for all who want the text, never on the async
//! workers. What the text means is not decided here.

mod ocr;
mod reader;

pub use ocr::{LoadError, Ocr, ReadError};
pub use reader::Reader;

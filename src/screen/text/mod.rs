//! Text on a screen: grouped into rows, compared with the previous text, and
//! searched for quotes.
//!
//! Tolerates OCR errors: letters that OCR confuses count as one here. A digit
//! read as another digit is not tolerated, as that is a different fact.

mod diff;
mod grounding;
mod letters;
mod rows;

pub use diff::{Diff, SURE, diff};
pub use grounding::{QuoteLocation, find};
pub(crate) use letters::group as same_shape;
pub use letters::{is_unspaced, number_of, pairs, runs, search_forms, shape_of};
pub use rows::{TextRow, rows};

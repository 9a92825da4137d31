//! The words on a screen: put into rows, compared with what stood there
//! before, and with what somebody says stands there.
//!
//! Forgives what OCR does: letters it takes for one another are one letter
//! here. A digit read as another digit is not forgiven, as that is another
//! fact.

mod diff;
mod grounding;
mod letters;
mod rows;

pub use diff::{Diff, SURE, diff};
pub use grounding::{QuoteLocation, find};
pub(crate) use letters::group as same_shape;
pub use letters::{number_of, search_forms, shape_of};
pub use rows::{TextRow, rows};

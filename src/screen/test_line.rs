//! Lines of text for the tests of this wing.

use crate::picture::{Rect, TextLine};

/// Line at that place, 16 pixels high and 8 wide for each byte of its text.
pub(super) fn line(text: &str, x: u32, y: u32) -> TextLine {
    spaced(text, x, y, 8)
}

/// The same, 10 pixels wide for each byte.
pub(super) fn wide_line(text: &str, x: u32, y: u32) -> TextLine {
    spaced(text, x, y, 10)
}

/// Lines below each other.
pub(super) fn stacked(texts: &[&str]) -> Vec<TextLine> {
    (0..)
        .zip(texts)
        .map(|(at, text)| line(text, 10, 10 + 20 * at))
        .collect()
}

fn spaced(text: &str, x: u32, y: u32, advance: u32) -> TextLine {
    TextLine {
        text: text.to_owned(),
        rect: Rect {
            x,
            y,
            width: text.len() as u32 * advance,
            height: 16,
        },
        confidence: 1.0,
    }
}

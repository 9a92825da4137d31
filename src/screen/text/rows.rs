//! Lines beside each other are one row.

use crate::picture::{Rect, TextLine};

/// Boxes nearer than this, in heights of the line, may be one word.
const ONE_WORD: f32 = 0.7;

/// Row of a screen: its lines as one text, two blanks between cells, one
/// between boxes so near that they may be one word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextRow {
    pub text: String,
    /// Index of the line, and where in the text it begins.
    pub parts: Vec<(usize, usize)>,
}

/// Puts lines, which stand in reading order, into rows.
pub fn rows(lines: &[TextLine]) -> Vec<TextRow> {
    let mut rows: Vec<TextRow> = Vec::new();
    let mut last: Option<Rect> = None;
    for (index, line) in lines.iter().enumerate() {
        let rect = line.rect;
        let middle = rect.y + rect.height / 2;
        let beside = last.is_some_and(|last| {
            (last.y..last.bottom()).contains(&middle) && rect.x + rect.width / 2 > last.x
        });
        match rows.last_mut().filter(|_| beside) {
            Some(row) => {
                let gap = last.map_or(0, |last| rect.x.saturating_sub(last.right()));
                let near = gap as f32 <= ONE_WORD * rect.height as f32;
                row.text.push_str(if near { " " } else { "  " });
                row.parts.push((index, row.text.len()));
                row.text.push_str(&line.text);
            }
            None => rows.push(TextRow {
                text: line.text.clone(),
                parts: vec![(index, 0)],
            }),
        }
        last = Some(rect);
    }
    rows
}

//! Rows of text: lines side by side joined into one text.

use crate::picture::{Rect, TextLine};

/// Maximum gap between boxes that may be one word, in line heights.
const ONE_WORD: f32 = 0.7;

/// Row of a screen: its lines as one text, with two blanks between cells, and
/// one between boxes close enough to be one word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextRow {
    pub text: String,
    /// Index of each line, and its byte offset in the text.
    pub parts: Vec<(usize, usize)>,
}

/// Groups lines, given in reading order, into rows.
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

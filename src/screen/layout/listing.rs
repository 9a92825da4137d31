//! Text of a layout for readers without boxes.

use super::{Element, ElementContent, ElementText, Layout, LayoutLine};

/// Separator of the cells of a row.
const BAR: &str = " | ";

impl Layout {
    /// Text of the layout for a reader that gets no boxes: rows of tables with
    /// bars between their cells, cards and pairs as `label: value`.
    pub fn lines(&self) -> Vec<LayoutLine> {
        self.elements.iter().flat_map(lines_of).collect()
    }
}

fn lines_of(element: &Element) -> Vec<LayoutLine> {
    match &element.content {
        ElementContent::Table(table) => (table.head.iter().chain(&table.rows))
            .map(|row| line(row, |row| row.join(BAR)))
            .collect(),
        ElementContent::Card(card) => {
            let parts: Vec<_> = [&card.label, &card.value]
                .into_iter()
                .chain(&card.note)
                .cloned()
                .collect();
            let text = |parts: &[&str]| match parts {
                [label, value, note] => format!("{label}: {value} ({note})"),
                parts => parts.join(": "),
            };
            vec![line(&parts, text)]
        }
        ElementContent::KeyValues(pairs) => (pairs.iter())
            .map(|pair| {
                line(&[pair.key.clone(), pair.value.clone()], |parts| {
                    parts.join(": ")
                })
            })
            .collect(),
        ElementContent::LogLine(log) => vec![line(std::slice::from_ref(&log.text), |parts| {
            parts.concat()
        })],
        ElementContent::Badge(text)
        | ElementContent::Heading(text)
        | ElementContent::Prose(text) => {
            vec![line(std::slice::from_ref(text), |parts| parts.concat())]
        }
        ElementContent::Code(code) => {
            let texts: Vec<_> = code.text.lines().collect();
            let each = texts.len() == code.lines.len();
            let part = |(at, part): (usize, &&str)| LayoutLine {
                text: (*part).to_owned(),
                rect: code.rect,
                lines: match each {
                    true => vec![code.lines[at]],
                    false => code.lines.clone(),
                },
            };
            texts.iter().enumerate().map(part).collect()
        }
    }
}

fn line(parts: &[ElementText], text: impl Fn(&[&str]) -> String) -> LayoutLine {
    let texts: Vec<_> = parts.iter().map(|part| part.text.as_str()).collect();
    let filled = || parts.iter().filter(|part| !part.is_empty());
    let rect = filled().map(|part| part.rect).reduce(|a, b| a.with(&b));
    let mut lines: Vec<_> = filled().flat_map(|part| part.lines.clone()).collect();
    lines.sort_unstable();
    lines.dedup();
    LayoutLine {
        text: text(&texts).trim().to_owned(),
        rect: rect.unwrap_or_default(),
        lines,
    }
}

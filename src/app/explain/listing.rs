//! Layout as JSON.

use serde_json::{Value, json};

use watchtower_screen::layout::{
    Element, ElementContent, ElementText, KeyValue, Layout, ScreenPanel, Table,
};
use watchtower_screen::picture::Rect;

/// Size of a picture, by which boxes are given in thousandths.
#[derive(Clone, Copy)]
struct Scale {
    width: u32,
    height: u32,
}

/// Panels and elements; a box is `[ymin, xmin, ymax, xmax]` in thousandths.
pub(super) fn of(layout: &Layout) -> Value {
    let scale = Scale {
        width: layout.width,
        height: layout.height,
    };
    let panel = |panel: &ScreenPanel| json!({ "role": panel.role.as_str(), "box": scale.bounds(&panel.rect) });
    let elements = layout.elements.iter().map(|element| scale.element(element));
    let lines = layout.lines().into_iter().map(|line| line.text);
    json!({
        "width": layout.width,
        "height": layout.height,
        "panels": layout.panels.iter().map(panel).collect::<Vec<_>>(),
        "elements": elements.collect::<Vec<_>>(),
        "text": lines.collect::<Vec<_>>(),
    })
}

impl Scale {
    fn bounds(self, rect: &Rect) -> [u16; 4] {
        rect.thousandths(self.width, self.height)
    }

    fn text(self, text: &ElementText) -> Value {
        json!({
            "text": text.text,
            "box": self.bounds(&text.rect),
            "colour": text.colour().as_str(),
        })
    }

    fn row(self, row: &[ElementText]) -> Value {
        row.iter().map(|cell| self.text(cell)).collect()
    }

    fn element(self, element: &Element) -> Value {
        let mut value = match &element.content {
            ElementContent::Table(table) => self.table(table),
            ElementContent::Card(card) => json!({
                "label": self.text(&card.label),
                "value": self.text(&card.value),
                "note": card.note.as_ref().map(|note| self.text(note)),
            }),
            ElementContent::KeyValues(pairs) => {
                let pair = |pair: &KeyValue| json!({ "key": self.text(&pair.key), "value": self.text(&pair.value) });
                json!({ "pairs": pairs.iter().map(pair).collect::<Vec<_>>() })
            }
            ElementContent::LogLine(log) => json!({
                "time": log.time,
                "level": log.level,
                "source": log.source,
                "message": log.message,
                "colour": log.text.colour().as_str(),
            }),
            ElementContent::Badge(text)
            | ElementContent::Heading(text)
            | ElementContent::Code(text)
            | ElementContent::Prose(text) => {
                json!({ "text": text.text, "colour": text.colour().as_str() })
            }
        };
        value["kind"] = element.content.kind().into();
        value["panel"] = element.panel.as_str().into();
        value["box"] = json!(self.bounds(&element.rect));
        if let Some(title) = &element.title {
            value["title"] = title.text.as_str().into();
        }
        value
    }

    fn table(self, table: &Table) -> Value {
        json!({
            "head": table.head.as_ref().map(|head| self.row(head)),
            "rows": table.rows.iter().map(|row| self.row(row)).collect::<Vec<_>>(),
        })
    }
}

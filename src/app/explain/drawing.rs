//! Layout as an SVG over its picture.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use watchtower_screen::layout::{Element, ElementContent, ElementText, Layout, PanelRole};
use watchtower_screen::picture::Rect;

/// Height of a picture at which a line is one pixel wide.
const REFERENCE: u32 = 720;

/// Complete SVG file: the redacted picture, panels dashed, elements by kind.
pub(super) fn svg(layout: &Layout, jpeg: &[u8]) -> String {
    let (width, height) = (layout.width, layout.height);
    let stroke = (height / REFERENCE).max(1);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         width=\"{width}\" height=\"{height}\" font-family=\"sans-serif\">\n\
         <image width=\"{width}\" height=\"{height}\" href=\"data:image/jpeg;base64,{}\"/>\n",
        STANDARD.encode(jpeg)
    );
    for panel in &layout.panels {
        let colour = match panel.role {
            PanelRole::Sidebar => "#b8860b",
            PanelRole::Header => "#008b8b",
            PanelRole::Main => "#696969",
            PanelRole::Dialog => "#c71585",
        };
        let role = panel.role.as_str();
        let dashes = format!("stroke-dasharray=\"{} {}\"", 8 * stroke, 5 * stroke);
        outline(&mut svg, &panel.rect, colour, 2 * stroke, &dashes, role);
    }
    for element in &layout.elements {
        let colour = colour_of(&element.content);
        let texts = texts_of(element);
        for text in &texts {
            if texts.len() > 1 && !text.is_empty() {
                let title = format!("{} ({})", text.text, text.colour());
                outline(&mut svg, &text.rect, colour, stroke, "", &title);
            }
        }
        let label = element.content.kind().replace('_', " ");
        outline(&mut svg, &element.rect, colour, 2 * stroke, "", &label);
        if !matches!(element.content, ElementContent::Prose(_)) {
            let size = 8 * stroke + 4;
            let y = element.rect.y.saturating_sub(2 * stroke);
            let _ = writeln!(
                svg,
                "<text x=\"{}\" y=\"{y}\" font-size=\"{size}\" font-weight=\"bold\" \
                 fill=\"{colour}\" stroke=\"#fff\" stroke-width=\"{}\" paint-order=\"stroke\">{label}</text>",
                element.rect.x,
                2 * stroke
            );
        }
    }
    svg + "</svg>\n"
}

const fn colour_of(content: &ElementContent) -> &'static str {
    match content {
        ElementContent::Table(_) => "#c000c0",
        ElementContent::Card(_) => "#0070e0",
        ElementContent::KeyValues(_) => "#e06000",
        ElementContent::Badge(_) => "#e00000",
        ElementContent::LogLine(_) => "#009000",
        ElementContent::Heading(_) => "#6000e0",
        ElementContent::Code(_) => "#808000",
        ElementContent::Prose(_) => "#909090",
    }
}

/// Cells, labels and values of an element.
fn texts_of(element: &Element) -> Vec<&ElementText> {
    match &element.content {
        ElementContent::Table(table) => (table.head.iter().chain(&table.rows)).flatten().collect(),
        ElementContent::Card(card) => vec![&card.label, &card.value],
        ElementContent::KeyValues(pairs) => pairs
            .iter()
            .flat_map(|pair| [&pair.key, &pair.value])
            .collect(),
        ElementContent::LogLine(log) => vec![&log.text],
        ElementContent::Badge(text)
        | ElementContent::Heading(text)
        | ElementContent::Code(text)
        | ElementContent::Prose(text) => vec![text],
    }
}

fn outline(svg: &mut String, rect: &Rect, colour: &str, width: u32, more: &str, title: &str) {
    // Writing to a string never fails.
    let _ = writeln!(
        svg,
        "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"none\" stroke=\"{colour}\" \
         stroke-width=\"{width}\" {more}><title>{}</title></rect>",
        rect.x,
        rect.y,
        rect.width,
        rect.height,
        escaped(title)
    );
}

/// Text as the content of an XML element: the screen is untrusted.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            // XML 1.0 has no control characters.
            character if character.is_control() => escaped.push(' '),
            character => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_the_screen_stays_text_in_the_drawing() {
        assert_eq!(
            escaped("</title><script>a && b\u{7}</script>"),
            "&lt;/title&gt;&lt;script&gt;a &amp;&amp; b &lt;/script&gt;"
        );
    }
}

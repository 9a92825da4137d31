//! Layout of a screen: panels, and in them tables, cards, key-value lists,
//! badges, log lines, code and prose, from lines of text with their boxes and
//! the picture.
//!
//! ```text
//! lines, picture -> panels    surfaces that do not share rows: sidebar, main, dialog
//!                     v
//!                   pieces    lines beside each other that are one text; colours
//!                     v
//!                   tables -> lists, cards, logs -> badges, code, prose
//! ```
//!
//! Pure: each line of text belongs to one element at most, distances are
//! measured in line heights, and no word's meaning is known here, so that a tool
//! never seen before has a layout too.

mod blocks;
mod build;
mod cards;
mod colours;
mod columns;
mod dialogs;
mod grid;
mod grouping;
mod head;
mod listing;
mod pieces;
mod regions;
mod surfaces;
#[cfg(test)]
mod tests;

use std::fmt;

use crate::picture::{Picture, Rect, TextLine};

/// Structure of one reading of a screen.
///
/// ```
/// use watchtower_screen::layout::{ElementContent, Layout, StatusColour};
/// use watchtower_screen::picture::{Picture, Rect, TextLine};
///
/// let line = |text: &str, x, y| TextLine {
///     text: text.to_owned(),
///     rect: Rect { x, y, width: 10 * text.len() as u32, height: 16 },
///     confidence: 0.9,
/// };
/// let lines = [
///     line("Name", 20, 20), line("State", 220, 20), line("Age", 420, 20),
///     line("checkout", 20, 60), line("Failed", 220, 60), line("3d", 420, 60),
///     line("cart", 20, 100), line("Running", 220, 100), line("9d", 420, 100),
/// ];
/// let layout = Layout::of(&lines, &Picture::grey(640, 360));
/// let ElementContent::Table(table) = &layout.elements[0].content else { panic!("a table") };
/// assert_eq!(table.head_of(1), Some("State"));
/// assert_eq!(table.rows[0][1].text, "Failed");
/// assert_eq!(table.rows[0][1].colour(), StatusColour::None);
/// assert_eq!(layout.lines()[1].text, "checkout | Failed | 3d");
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Layout {
    /// Size of the picture in pixels.
    pub width: u32,
    pub height: u32,
    pub panels: Vec<ScreenPanel>,
    /// Elements in reading order: panel by panel, then from the top.
    pub elements: Vec<Element>,
}

/// Area of a screen whose rows are its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScreenPanel {
    pub role: PanelRole,
    pub rect: Rect,
}

/// Purpose of a panel, by its place and shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PanelRole {
    /// Column of short lines at the left or right edge: a menu or filters.
    Sidebar,
    /// Band along the top: title, search, account.
    Header,
    Main,
    /// Surface in front of the others.
    Dialog,
}

/// Part of a screen that is read as a unit.
#[derive(Debug, Clone, PartialEq)]
pub struct Element {
    pub content: ElementContent,
    pub rect: Rect,
    /// Indices of its lines in the text that the layout was made of.
    pub lines: Vec<usize>,
    /// Role of its panel.
    pub panel: PanelRole,
    /// Surface that it is on, such as a tile.
    pub surface: Rect,
    /// Heading above it or on its surface, such as the name on a tile.
    pub title: Option<ElementText>,
}

/// Structure of an element.
#[derive(Debug, Clone, PartialEq)]
pub enum ElementContent {
    Table(Table),
    Card(Card),
    /// Pairs below each other, as on a page of details; the subject of all of
    /// them is the element's title, if there is one.
    KeyValues(Vec<KeyValue>),
    /// Word on a surface of its own, or in the colour of a status.
    Badge(ElementText),
    LogLine(LogLine),
    /// Text larger than what is below it, or alone above it.
    Heading(ElementText),
    /// Lines of commands, programs or configuration, indentation kept.
    Code(ElementText),
    /// Everything else: sentences, menu entries, captions.
    Prose(ElementText),
}

/// Text of a cell, label, value or badge.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ElementText {
    /// Lines joined by one blank; in code by line breaks. Empty for a cell in
    /// which nothing was read.
    pub text: String,
    /// Box around its lines; zero-sized if it is empty.
    pub rect: Rect,
    pub lines: Vec<usize>,
    /// Colour of the letters.
    pub ink: StatusColour,
    /// Colour of the surface under them, if it differs from the panel's.
    pub fill: StatusColour,
    /// Colour of a mark in front of the text, such as a dot.
    pub icon: StatusColour,
}

/// Rows and columns. Each row has as many cells as the table has columns.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Table {
    pub head: Option<Vec<ElementText>>,
    pub rows: Vec<Vec<ElementText>>,
}

/// Value with its label above, below or beside it.
#[derive(Debug, Clone, PartialEq)]
pub struct Card {
    pub label: ElementText,
    pub value: ElementText,
    /// Smaller text on the same card: a comparison, a time.
    pub note: Option<ElementText>,
}

/// Label and value.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyValue {
    /// Without its colon.
    pub key: ElementText,
    pub value: ElementText,
}

/// Line of a log, with the lines that it wraps to.
#[derive(Debug, Clone, PartialEq)]
pub struct LogLine {
    pub time: Option<String>,
    pub level: Option<String>,
    pub source: Option<String>,
    pub message: String,
    /// Whole text and colours.
    pub text: ElementText,
}

/// Hue that dashboards give a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum StatusColour {
    Red,
    Amber,
    Green,
    Blue,
    /// Letters or surface paler than the panel's other text.
    Grey,
    /// Colour of ordinary text, or of the panel.
    #[default]
    None,
}

/// Line of a layout's text, see [`Layout::lines`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayoutLine {
    /// `a | b | c` for the row of a table, `label: value` for a card or pair.
    pub text: String,
    pub rect: Rect,
    /// Indices of the lines of text that it is made of.
    pub lines: Vec<usize>,
}

impl StatusColour {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Red => "red",
            Self::Amber => "amber",
            Self::Green => "green",
            Self::Blue => "blue",
            Self::Grey => "grey",
            Self::None => "none",
        }
    }

    /// True for a hue, false for grey and none.
    pub const fn is_hue(self) -> bool {
        !matches!(self, Self::Grey | Self::None)
    }
}

impl fmt::Display for StatusColour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl PanelRole {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sidebar => "sidebar",
            Self::Header => "header",
            Self::Main => "main",
            Self::Dialog => "dialog",
        }
    }
}

impl ElementText {
    /// Colour that the text has for a reader: of its surface, its letters or
    /// its mark, the first that is a hue; else grey if one of them is.
    pub fn colour(&self) -> StatusColour {
        let all = [self.fill, self.ink, self.icon];
        let hue = all.into_iter().find(|colour| colour.is_hue());
        let grey = || all.contains(&StatusColour::Grey);
        hue.unwrap_or_else(|| match grey() {
            true => StatusColour::Grey,
            false => StatusColour::None,
        })
    }

    pub const fn is_empty(&self) -> bool {
        self.text.is_empty()
    }
}

impl Table {
    /// Number of columns.
    pub fn columns(&self) -> usize {
        let head = self.head.as_ref().map(Vec::len);
        head.or_else(|| self.rows.first().map(Vec::len))
            .unwrap_or_default()
    }

    /// Text of the head of a column; `None` without a head.
    pub fn head_of(&self, column: usize) -> Option<&str> {
        let cell = self.head.as_ref()?.get(column)?;
        (!cell.is_empty()).then_some(cell.text.as_str())
    }
}

impl ElementContent {
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Table(_) => "table",
            Self::Card(_) => "card",
            Self::KeyValues(_) => "key_values",
            Self::Badge(_) => "badge",
            Self::LogLine(_) => "log_line",
            Self::Heading(_) => "heading",
            Self::Code(_) => "code",
            Self::Prose(_) => "prose",
        }
    }
}

impl Layout {
    /// Structure of the text on a picture. Lines are in reading order.
    pub fn of(lines: &[TextLine], picture: &Picture) -> Self {
        build::layout(lines, picture)
    }
}

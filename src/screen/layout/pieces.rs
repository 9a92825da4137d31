//! Pieces of text: lines of OCR cut where they are two texts, with their
//! colours.

use std::ops::Range;

use super::colours::{Shade, Swatch};
use super::{ElementText, StatusColour};
use crate::picture::{Picture, Rect, TextLine};

/// Minimum confidence of OCR; below it most lines are icons and specks.
const LEGIBLE: f32 = 0.5;
/// Minimum confidence of a lone character, which is mostly an icon.
const SURE_CHARACTER: f32 = 0.8;
/// Maximum gap between words in line heights: two blanks of a monospaced font
/// are wider.
const WORDS_APART: f32 = 0.95;
/// Minimum gap between words in line heights.
const BLANK: f32 = 0.12;
/// Maximum words in the width of a line's height: two bars are narrower than a
/// letter is high.
const WORDS_IN_HEIGHT: u32 = 4;
/// Characters that lines are drawn with.
const RULES: &str = "-+=|_─━│┃┼╋";
/// Minimum lines with a bar at the same place, for a letter to be one.
const BARS: usize = 3;
/// Share of the usual contrast below which letters are grey, in percent.
const PALE: i32 = 62;

/// Text at one place.
#[derive(Debug, Clone)]
pub(super) struct TextPiece {
    pub(super) line: usize,
    pub(super) text: String,
    pub(super) rect: Rect,
    pub(super) surface: Shade,
    pub(super) ink: StatusColour,
    pub(super) fill: StatusColour,
    pub(super) icon: StatusColour,
    /// Distance of the letters from their surface in luma.
    pub(super) contrast: i32,
    gaps: Vec<(u32, u32)>,
}

impl TextPiece {
    pub(super) const fn height(&self) -> f32 {
        self.rect.height as f32
    }

    pub(super) const fn middle(&self) -> u32 {
        self.rect.y + self.rect.height / 2
    }

    pub(super) const fn centre(&self) -> u32 {
        self.rect.x + self.rect.width / 2
    }

    /// Words with their columns; the widest gaps without ink are its blanks.
    pub(super) fn words(&self) -> Vec<(Range<usize>, u32, u32)> {
        let mut words = Vec::new();
        let mut at = 0;
        for word in self.text.split(' ') {
            if !word.is_empty() {
                words.push(at..at + word.len());
            }
            at += word.len() + 1;
        }
        let mut gaps: Vec<_> = (self.gaps.iter().copied())
            .filter(|(start, end)| (end - start) as f32 >= BLANK * self.height())
            .collect();
        let (left, right) = (self.rect.x, self.rect.right());
        if gaps.len() + 1 < words.len() {
            // Letters that touch: by share of the characters.
            let all = self.text.len().max(1) as u32;
            let column = |byte: usize| left + self.rect.width * byte as u32 / all;
            return (words.into_iter())
                .map(|word| (word.clone(), column(word.start), column(word.end)))
                .collect();
        }
        gaps.sort_by_key(|(start, end)| start.abs_diff(*end));
        let mut gaps = gaps.split_off(gaps.len() + 1 - words.len().max(1));
        gaps.sort_unstable();
        let starts = std::iter::once(left).chain(gaps.iter().map(|gap| gap.1));
        let ends = (gaps.iter().map(|gap| gap.0)).chain(std::iter::once(right));
        (words.into_iter())
            .zip(starts.zip(ends))
            .map(|(word, (start, end))| (word, start, end))
            .collect()
    }

    /// Part of it: a range of the text between two columns.
    pub(super) fn part(&self, range: Range<usize>, left: u32, right: u32) -> Self {
        Self {
            text: self.text[range].trim().to_owned(),
            rect: Rect {
                x: left,
                width: right.saturating_sub(left).max(1),
                ..self.rect
            },
            gaps: (self.gaps.iter().copied())
                .filter(|(start, end)| left < *start && *end < right)
                .collect(),
            ..self.clone()
        }
    }
}

/// Pieces of the legible lines, in the order of the lines.
pub(super) fn pieces(lines: &[TextLine], picture: &Picture) -> Vec<TextPiece> {
    let drawn = picture.width > 0 && picture.height > 0;
    let mut wholes = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        if !is_legible(line) {
            continue;
        }
        let swatch = match drawn {
            true => Swatch::of(picture, &line.rect),
            false => Swatch::default(),
        };
        let whole = TextPiece {
            line: index,
            text: line.text.trim().to_owned(),
            rect: line.rect,
            surface: swatch.surface,
            contrast: swatch.contrast(),
            ink: swatch.ink(),
            fill: StatusColour::None,
            icon: StatusColour::None,
            gaps: swatch.gaps.clone(),
        };
        wholes.push((whole, swatch));
    }
    let bars = bars(wholes.iter().map(|(whole, _)| whole));
    let mut pieces = Vec::new();
    for (whole, swatch) in &wholes {
        let cut = cut(whole, &bars);
        for mut piece in cut {
            if drawn && piece.rect.width > 0 && piece.rect.height > 0 {
                let own = if piece.rect == whole.rect {
                    swatch.clone()
                } else {
                    Swatch::of(picture, &piece.rect)
                };
                (piece.surface, piece.ink, piece.contrast) =
                    (own.surface, own.ink(), own.contrast());
                piece.fill = own.fill(picture, &piece.rect);
                let before = left_of(lines, &piece);
                piece.icon = own.mark(picture, &piece.rect, before);
            }
            pieces.push(piece);
        }
    }
    grey(&mut pieces);
    pieces
}

/// Right end of the text before a piece in its row.
fn left_of(lines: &[TextLine], piece: &TextPiece) -> u32 {
    let near = piece.line.saturating_sub(24)..(piece.line + 24).min(lines.len());
    let row = piece.rect.y..piece.rect.bottom();
    (lines[near].iter())
        .filter(|line| is_legible(line))
        .filter(|line| row.contains(&(line.rect.y + line.rect.height / 2)))
        .map(|line| line.rect.right())
        .filter(|right| *right <= piece.rect.x)
        .max()
        .map_or(0, |right| right + piece.rect.height / 8)
}

/// Marks letters without a hue as grey whose contrast is below the usual one.
fn grey(pieces: &mut [TextPiece]) {
    let mut all: Vec<_> = pieces.iter().map(|piece| piece.contrast).collect();
    all.sort_unstable();
    let usual = all.get(all.len() * 3 / 4).copied().unwrap_or_default();
    for piece in pieces {
        let pale = piece.contrast * 100 < usual * PALE;
        if piece.ink == StatusColour::None && piece.fill == StatusColour::None && pale {
            piece.ink = StatusColour::Grey;
        }
    }
}

/// A lone character is an icon, unless it is a digit, or a character of a
/// script in which it may be a word, and of high confidence.
fn is_legible(line: &TextLine) -> bool {
    let mut characters = line.text.trim().chars();
    match (characters.next(), characters.next()) {
        (Some(only), None) => {
            let word = only.is_ascii_digit() || (only.is_alphabetic() && only > '\u{2e80}');
            // Icons are as wide as they are high.
            let narrow = line.rect.width * 20 <= line.rect.height * 19 || !only.is_ascii();
            word && narrow && line.confidence >= SURE_CHARACTER
        }
        (Some(_), Some(_)) => {
            line.confidence >= LEGIBLE && line.text.chars().any(char::is_alphanumeric)
        }
        (None, _) => false,
    }
}

/// Columns of bars between the columns of a table drawn in characters, with the
/// width in which they stand: in several lines below each other.
fn bars<'a>(wholes: impl Iterator<Item = &'a TextPiece>) -> Vec<(u32, u32)> {
    let mut places: Vec<(u32, u32)> = wholes
        .filter(|whole| whole.text.split(' ').any(is_bar))
        .flat_map(|whole| {
            let words = whole.words().into_iter();
            let bars = words.filter(|word| is_bar(&whole.text[word.0.clone()]));
            bars.map(|(_, left, right)| ((left + right) / 2, whole.rect.height / 2))
                .collect::<Vec<_>>()
        })
        .collect();
    places.sort_unstable();
    let near = |place: &(u32, u32)| around(&places, place.0, place.1).len() >= BARS;
    places.iter().copied().filter(near).collect()
}

/// Bars of a sorted list at a column, with that slack.
fn around(bars: &[(u32, u32)], column: u32, slack: u32) -> &[(u32, u32)] {
    let start = bars.partition_point(|bar| bar.0 + slack < column);
    let count = bars[start..].partition_point(|bar| bar.0 <= column.saturating_add(slack));
    &bars[start..start + count]
}

/// True for a bar, or a letter that it may have been read as.
fn is_bar(word: &str) -> bool {
    matches!(word, "|" | "│" | "┃" | "||" | "I" | "l")
}

/// Cuts a line at gaps wider than between words, and at bars drawn as
/// characters.
fn cut(whole: &TextPiece, bars: &[(u32, u32)]) -> Vec<TextPiece> {
    let wide = WORDS_APART * whole.height();
    let apart = |(start, end): &(u32, u32)| (end - start) as f32 >= wide;
    let barred = whole.text.split(' ').any(is_bar);
    if !whole.text.contains(' ') || !(barred || whole.gaps.iter().any(apart)) {
        return vec![whole.clone()];
    }
    let parts = |text: &str, middle: u32| {
        let drawn = text.starts_with(['|', '│', '┃']);
        let below = || !around(bars, middle, whole.rect.height / 2).is_empty();
        is_bar(text) && (drawn || below())
    };
    let words = whole.words();
    // More than fit into the box were not read off it.
    if words.len() as u32 > whole.rect.width * WORDS_IN_HEIGHT / whole.rect.height.max(1) + 1 {
        return vec![whole.clone()];
    }
    let mut groups: Vec<Option<(Range<usize>, u32, u32)>> = vec![None];
    for (word, left, right) in words {
        if parts(&whole.text[word.clone()], (left + right) / 2) {
            groups.push(None);
            continue;
        }
        let last = groups.last_mut().and_then(Option::as_mut);
        match last {
            Some(last) if (left.saturating_sub(last.2) as f32) < wide => {
                (last.0.end, last.2) = (word.end, right);
            }
            Some(_) => groups.push(Some((word, left, right))),
            None => *groups.last_mut().expect("begins with one") = Some((word, left, right)),
        }
    }
    (groups.into_iter().flatten())
        .map(|(range, left, right)| whole.part(range, left, right))
        .filter(|piece| !piece.text.chars().all(|c| RULES.contains(c)))
        .collect()
}

/// Text of pieces in reading order.
pub(super) fn joined<'a>(pieces: impl IntoIterator<Item = &'a TextPiece>) -> ElementText {
    let mut text = ElementText::default();
    for piece in pieces {
        let first = text.lines.is_empty();
        if !first {
            text.text.push(' ');
        }
        text.text += &piece.text;
        text.rect = if first {
            piece.rect
        } else {
            text.rect.with(&piece.rect)
        };
        if text.lines.last() != Some(&piece.line) {
            text.lines.push(piece.line);
        }
        let merge = |known: &mut StatusColour, new: StatusColour| {
            if first || (new.is_hue() && !known.is_hue()) {
                *known = new;
            } else if *known == StatusColour::Grey && new == StatusColour::None {
                *known = StatusColour::None;
            }
        };
        merge(&mut text.ink, piece.ink);
        merge(&mut text.fill, piece.fill);
        if first {
            text.icon = piece.icon;
        }
    }
    text
}

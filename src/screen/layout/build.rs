//! Elements of each region, from the surest structure to the least.

use super::cards::{large_values, of_table, on_surface, touching_badges};
use super::grid::{FoundGrid, grids};
use super::pieces::{TextPiece, joined, pieces};
use super::regions::{SurfaceRegion, regions};
use super::{Content, Element, ElementText, Layout, PanelRole, blocks};
use crate::picture::{Picture, Rect, TextLine};

/// Maximum gap between a title and its element, in heights of the title.
const TITLE_ABOVE: u32 = 4;
const TITLE_WORDS: usize = 9;
/// Maximum gap between a name and the badge after it, in line heights.
const NAME_BEFORE: u32 = 5;

/// Layout of lines of text on a picture.
pub(super) fn layout(lines: &[TextLine], picture: &Picture) -> Layout {
    let pieces = pieces(lines, picture);
    let (regions, panels) = regions(&pieces, picture);
    let mut elements = Vec::new();
    for region in &regions {
        let mut found = elements_of(&pieces, region, picture);
        found.sort_by_key(|element| (element.rect.y, element.rect.x));
        entitle(&mut found);
        elements.extend(found);
    }
    Layout {
        width: picture.width,
        height: picture.height,
        panels,
        elements,
    }
}

fn elements_of(all: &[TextPiece], region: &SurfaceRegion, picture: &Picture) -> Vec<Element> {
    let mut left = region.pieces.clone();
    let mut elements = Vec::new();
    let mut take = |content: Content, used: &[usize], left: &mut Vec<usize>| {
        left.retain(|at| !used.contains(at));
        elements.push(element(all, content, used, region.role));
    };
    if region.role != PanelRole::Sidebar
        && let Some((card, used)) = on_surface(all, &left)
    {
        take(Content::Card(card), &used, &mut left);
    }
    for (pair, used) in touching_badges(all, &left) {
        take(Content::KeyValues(vec![pair]), &used, &mut left);
    }
    // In a menu, icons are read as digits.
    if region.role != PanelRole::Sidebar {
        for (card, used) in large_values(all, &left) {
            take(Content::Card(card), &used, &mut left);
        }
    }
    for found in grids(all, &left, picture) {
        match found {
            FoundGrid::Pairs(pairs, used) => take(Content::KeyValues(pairs), &used, &mut left),
            FoundGrid::Table(table, used) => {
                let times = table
                    .rows
                    .iter()
                    .filter(|row| blocks::is_time(&row[0].text));
                if table.head.is_none() && times.count() * 10 >= table.rows.len() * 7 {
                    // Entries of a log, which wrap.
                    continue;
                }
                match of_table(&table) {
                    Some(cards) => {
                        let of = |text: &ElementText| text.lines.clone();
                        for card in cards {
                            let mut lines = of(&card.label);
                            lines.extend(of(&card.value));
                            lines.extend(card.note.iter().flat_map(of));
                            let used: Vec<usize> = (used.iter().copied())
                                .filter(|at| lines.contains(&all[*at].line))
                                .collect();
                            take(Content::Card(card), &used, &mut left);
                        }
                    }
                    None => take(Content::Table(table), &used, &mut left),
                }
            }
        }
    }
    for (content, used) in blocks::blocks(all, &left) {
        elements.push(element(all, content, &used, region.role));
    }
    elements
}

fn element(all: &[TextPiece], content: Content, used: &[usize], panel: PanelRole) -> Element {
    let text = joined(used.iter().map(|at| &all[*at]));
    let mut lines = text.lines;
    lines.sort_unstable();
    lines.dedup();
    let rect = match &content {
        Content::Card(card) => {
            let note = card.note.as_ref().map(|note| note.rect);
            let both = card.label.rect.with(&card.value.rect);
            note.map_or(both, |note| both.with(&note))
        }
        _ => text.rect,
    };
    Element {
        content,
        rect,
        lines,
        panel,
        title: None,
    }
}

/// Gives each table, list, log and code of a region the heading above it, and
/// each badge the name before it.
fn entitle(elements: &mut [Element]) {
    let heads: Vec<(Rect, ElementText, bool)> = (elements.iter())
        .filter_map(|element| match &element.content {
            Content::Heading(text) => Some((element.rect, text.clone(), true)),
            Content::Prose(text) if is_title(text) => Some((element.rect, text.clone(), false)),
            _ => None,
        })
        .collect();
    for element in elements {
        let rect = element.rect;
        let above = |head: &&(Rect, ElementText, bool)| {
            let reach = head.0.height * TITLE_ABOVE;
            head.0.bottom() <= rect.y + head.0.height / 3
                && rect.y.saturating_sub(head.0.bottom()) <= reach
                && head.0.x <= rect.right()
                && rect.x <= head.0.right() + 3 * head.0.height
        };
        let before = |head: &&(Rect, ElementText, bool)| {
            let level = head.0.y < rect.bottom() && rect.y < head.0.bottom();
            level
                && head.0.right() <= rect.x + rect.height / 2
                && rect.x.saturating_sub(head.0.right()) <= NAME_BEFORE * rect.height
        };
        let title = match element.content {
            // The nearest; of those on one row a heading, then the first.
            Content::Table(_) | Content::KeyValues(_) | Content::Code(_) | Content::LogLine(_) => {
                let nearest = heads.iter().filter(above).map(|head| head.0.bottom()).max();
                (heads.iter().filter(above))
                    .filter(|head| {
                        nearest.is_some_and(|bottom| bottom <= head.0.bottom() + head.0.height)
                    })
                    .min_by_key(|head| (!head.2, head.0.x))
            }
            Content::Badge(_) => heads
                .iter()
                .filter(before)
                .max_by_key(|head| head.0.right()),
            Content::Card(_) | Content::Heading(_) | Content::Prose(_) => None,
        };
        element.title = title.map(|head| head.1.clone());
    }
}

fn is_title(text: &ElementText) -> bool {
    let words = text.text.split_whitespace().count();
    let letters = text.text.chars().filter(|c| c.is_alphabetic()).count();
    words <= TITLE_WORDS && letters >= 3 && text.lines.len() <= 2
}

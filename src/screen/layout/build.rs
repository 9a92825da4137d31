//! Elements of each region, from the surest structure to the least.

use super::cards::{labelled_numbers, large_values, of_table, on_surface, touching_badges};
use super::columns::side_by_side;
use super::grid::{FoundGrid, grids};
use super::pieces::{TextPiece, joined, pieces};
use super::regions::{SurfaceRegion, regions};
use super::{Element, ElementContent, ElementText, Layout, PanelRole, blocks};
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
    join_tables(&mut elements);
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
    let mut take = |content: ElementContent, used: &[usize], left: &mut Vec<usize>| {
        left.retain(|at| !used.contains(at));
        elements.push(element(all, content, used, region));
    };
    if region.role != PanelRole::Sidebar
        && let Some((card, used)) = on_surface(all, &left)
    {
        take(ElementContent::Card(card), &used, &mut left);
    }
    for (pair, used) in touching_badges(all, &left) {
        take(ElementContent::KeyValues(vec![pair]), &used, &mut left);
    }
    // In a menu, icons are read as digits.
    if region.role != PanelRole::Sidebar {
        for (card, at) in labelled_numbers(all, &left) {
            take(ElementContent::Card(card), &[at], &mut left);
        }
        for (card, used) in large_values(all, &left) {
            take(ElementContent::Card(card), &used, &mut left);
        }
    }
    let grids: Vec<_> = (side_by_side(all, &left).iter())
        .flat_map(|part| grids(all, part, picture))
        .collect();
    for found in grids {
        match found {
            FoundGrid::Pairs(pairs, used) => {
                take(ElementContent::KeyValues(pairs), &used, &mut left);
            }
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
                            take(ElementContent::Card(card), &used, &mut left);
                        }
                    }
                    None => take(ElementContent::Table(table), &used, &mut left),
                }
            }
        }
    }
    for (content, used) in blocks::blocks(all, &left) {
        elements.push(element(all, content, &used, region));
    }
    elements
}

fn element(
    all: &[TextPiece],
    content: ElementContent,
    used: &[usize],
    region: &SurfaceRegion,
) -> Element {
    let text = joined(used.iter().map(|at| &all[*at]));
    let mut lines = text.lines;
    lines.sort_unstable();
    lines.dedup();
    let rect = match &content {
        ElementContent::Card(card) => {
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
        panel: region.role,
        surface: region.rect,
        title: None,
    }
}

/// Gives each table, list, log and code of a region the heading above it, and
/// each badge the name before it.
fn entitle(elements: &mut [Element]) {
    let heads: Vec<(Rect, ElementText, bool)> = (elements.iter())
        .filter_map(|element| match &element.content {
            ElementContent::Heading(text) => Some((element.rect, text.clone(), true)),
            ElementContent::Prose(text) if is_title(text) => {
                Some((element.rect, text.clone(), false))
            }
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
            ElementContent::Table(_)
            | ElementContent::KeyValues(_)
            | ElementContent::Code(_)
            | ElementContent::LogLine(_) => {
                // A key without a value names no list.
                let list = matches!(element.content, ElementContent::KeyValues(_));
                let above = |head: &&(Rect, ElementText, bool)| {
                    above(head) && !(list && head.1.text.ends_with(':'))
                };
                let nearest = heads.iter().filter(above).map(|head| head.0.bottom()).max();
                (heads.iter().filter(above))
                    .filter(|head| {
                        nearest.is_some_and(|bottom| bottom <= head.0.bottom() + head.0.height)
                    })
                    .min_by_key(|head| (!head.2, head.0.x))
            }
            ElementContent::Badge(_) => heads
                .iter()
                .filter(before)
                .max_by_key(|head| head.0.right()),
            ElementContent::Card(_) | ElementContent::Heading(_) | ElementContent::Prose(_) => None,
        };
        element.title = title.map(|head| head.1.clone());
    }
}

/// Joins tables that the picture parts, as by a highlighted row: one without a
/// head goes on in the columns of the one above it.
fn join_tables(elements: &mut Vec<Element>) {
    let mut at = 0;
    while at < elements.len() {
        let next = (0..elements.len()).find(|next| goes_on(&elements[at], &elements[*next]));
        let Some(next) = next else {
            at += 1;
            continue;
        };
        let rest = elements.remove(next);
        at -= usize::from(next < at);
        let table = &mut elements[at];
        table.rect = table.rect.with(&rest.rect);
        table.lines.extend(rest.lines);
        table.lines.sort_unstable();
        table.lines.dedup();
        if let (ElementContent::Table(table), ElementContent::Table(rest)) =
            (&mut table.content, rest.content)
        {
            table.rows.extend(rest.rows);
        }
    }
}

/// True if the second table is the rest of the first.
fn goes_on(first: &Element, rest: &Element) -> bool {
    let (ElementContent::Table(table), ElementContent::Table(below)) =
        (&first.content, &rest.content)
    else {
        return false;
    };
    let (Some(last), Some(next)) = (table.rows.last(), below.rows.first()) else {
        return false;
    };
    let height = next.iter().map(|cell| cell.rect.height).max().unwrap_or(1);
    let gap = rest.rect.y.saturating_sub(first.rect.bottom());
    let under = rest.rect.y + height / 2 >= first.rect.bottom() && gap <= 3 * height;
    let pairs = || {
        last.iter()
            .zip(next)
            .filter(|(a, b)| !a.is_empty() && !b.is_empty())
    };
    let apart = |a: &Rect, b: &Rect| a.right() <= b.x || b.right() <= a.x;
    below.head.is_none()
        && first.panel == rest.panel
        && last.len() == next.len()
        && under
        && pairs().count() >= 2
        && pairs().all(|(a, b)| !apart(&a.rect, &b.rect))
}

fn is_title(text: &ElementText) -> bool {
    let words = text.text.split_whitespace().count();
    let letters = text.text.chars().filter(|c| c.is_alphabetic()).count();
    words <= TITLE_WORDS && letters >= 2 && text.lines.len() <= 2
}

//! Regions: the pieces of text on each surface, and the role of its panel.

use super::dialogs::on_dimmed_page;
use super::grid::{PieceRow, is_aligned, piece_rows};
use super::head::is_value;
use super::pieces::TextPiece;
use super::surfaces::SurfaceMap;
use super::{PanelRole, ScreenPanel};
use crate::picture::{Picture, Rect};

/// Minimum height of a surface that is a region of its own, in heights of the
/// text on it: a lower one is a badge, a button or the row of a table.
const REGION: u32 = 3;
/// Shape of a row of a table that is highlighted: width by height.
const STRIP: u32 = 8;
/// Minimum points around a text, of 20, on its surface.
const VOTES: u32 = 3;
/// Maximum gap between rows of one table on two surfaces, in line heights.
const APART: u32 = 3;
/// Minimum texts on a sidebar.
const MENU: usize = 3;

/// Maximum words of a menu's entry.
const ENTRY_WORDS: usize = 4;

/// Pieces of one surface.
#[derive(Debug, Clone)]
pub(super) struct SurfaceRegion {
    pub(super) rect: Rect,
    pub(super) pieces: Vec<usize>,
    pub(super) role: PanelRole,
}

/// Parts of a screen: pieces by surface, in reading order, and its panels.
pub(super) fn regions(
    pieces: &[TextPiece],
    picture: &Picture,
) -> (Vec<SurfaceRegion>, Vec<ScreenPanel>) {
    let Some(content) = pieces
        .iter()
        .map(|piece| piece.rect)
        .reduce(|a, b| a.with(&b))
    else {
        return (Vec::new(), Vec::new());
    };
    let mut heights: Vec<_> = pieces.iter().map(|piece| piece.rect.height).collect();
    heights.sort_unstable();
    let line = heights[heights.len() / 2].max(1);
    let map = SurfaceMap::of(picture, line);
    let whole = Rect {
        x: 0,
        y: 0,
        width: picture.width,
        height: picture.height,
    };
    let mut rects = map.rects.clone();
    rects.push(whole);
    let top = content.y + content.height / 8;
    let eligible: Vec<bool> = (rects.iter())
        .map(|rect| {
            let strip = rect.height <= 5 * line && rect.width >= STRIP * rect.height;
            let header = rect.bottom() <= top.max(content.y + 5 * line)
                && rect.width * 10 >= content.width * 6;
            rect.height >= REGION * line && (!strip || header) || header && rect.height >= 2 * line
        })
        .collect();
    let mut members: Vec<Vec<usize>> = vec![Vec::new(); rects.len()];
    for (at, piece) in pieces.iter().enumerate() {
        let surface = surface_of(piece, &map, &rects, &eligible);
        let strip = strip_of(piece, &map, &rects, &eligible);
        let host = strip.and_then(|strip| table_below(strip, &rects, &eligible, line));
        members[host.unwrap_or(surface)].push(at);
    }
    // A lone text, such as that of a button, belongs to the surface around.
    let mut order: Vec<usize> = (0..rects.len()).collect();
    order.sort_by_key(|at| rects[*at].area());
    for (nth, at) in order.iter().enumerate() {
        if members[*at].len() != 1 {
            continue;
        }
        let around = order[nth + 1..]
            .iter()
            .find(|outer| is_within(&rects[*at], &rects[**outer]) && (eligible[**outer]));
        if let Some(outer) = around {
            let alone = std::mem::take(&mut members[*at]);
            members[*outer].extend(alone);
        }
    }
    join_highlights(pieces, &rects, &mut members);
    complete_tables(pieces, &rects, &mut members);
    join_stacks(pieces, &mut members);
    let texts: Vec<usize> = members.iter().map(Vec::len).collect();
    let roles: Vec<_> = (0..rects.len())
        .map(|at| {
            let role = role(at, &rects, &texts, &content, line);
            let tells = role == PanelRole::Sidebar && tells_details(pieces, &members[at]);
            if tells { PanelRole::Main } else { role }
        })
        .collect();
    let dialog = on_dimmed_page(pieces, &map.rects, picture);
    let mut regions: Vec<_> = (members.into_iter().enumerate())
        .filter(|(_, members)| !members.is_empty())
        .map(|(at, mut members)| {
            members.sort_unstable();
            let role = (0..rects.len())
                .filter(|outer| roles[*outer] != PanelRole::Main)
                .filter(|outer| is_within(&rects[at], &rects[*outer]))
                .min_by_key(|outer| rects[*outer].area())
                .map_or(PanelRole::Main, |outer| roles[outer]);
            SurfaceRegion {
                rect: rects[at],
                pieces: members,
                role,
            }
        })
        .collect();
    split_menus(pieces, &mut regions, &content);
    for region in &mut regions {
        let mut texts = region.pieces.iter().map(|at| &pieces[*at].rect);
        if let Some(dialog) = dialog
            && texts.all(|rect| is_within(rect, &dialog))
        {
            region.role = PanelRole::Dialog;
        }
    }
    let rank = |role: PanelRole| match role {
        PanelRole::Header => 0,
        PanelRole::Sidebar => 1,
        PanelRole::Main => 2,
        PanelRole::Dialog => 3,
    };
    regions.sort_by_key(|region| (rank(region.role), region.rect.y, region.rect.x));
    let panels = panels(pieces, &regions, dialog);
    (regions, panels)
}

/// Surface around a piece: the one that points just outside it are on; if that
/// is a badge or a row, the smallest region that contains it.
fn surface_of(piece: &TextPiece, map: &SurfaceMap, rects: &[Rect], eligible: &[bool]) -> usize {
    let rect = &piece.rect;
    let mut votes: Vec<(usize, u32)> = Vec::new();
    let reach = rect.height * 2 / 5;
    let (left, top) = (rect.x.saturating_sub(reach), rect.y.saturating_sub(reach));
    let (right, bottom) = (rect.right() + reach, rect.bottom() + reach);
    for part in 0..=4 {
        let (x, y) = (
            left + (right - left) * part / 4,
            top + (bottom - top) * part / 4,
        );
        for (x, y) in [(x, top), (x, bottom), (left, y), (right, y)] {
            let Some(surface) = map.at(x, y) else {
                continue;
            };
            if !eligible[surface] || !is_within(rect, &rects[surface]) {
                continue;
            }
            match votes.iter_mut().find(|vote| vote.0 == surface) {
                Some(vote) => vote.1 += 1,
                None => votes.push((surface, 1)),
            }
        }
    }
    // The smallest one: near its edge most of the points are outside.
    let inner = (votes.into_iter())
        .filter(|(_, votes)| *votes >= VOTES)
        .map(|(surface, _)| surface)
        .min_by_key(|surface| rects[*surface].area());
    let around = || {
        (0..rects.len())
            .filter(|at| eligible[*at] && is_within(rect, &rects[*at]))
            .min_by_key(|at| rects[*at].area())
    };
    inner.or_else(around).unwrap_or(rects.len() - 1)
}

/// Strip that a piece is on, if that is no region of its own.
fn strip_of(
    piece: &TextPiece,
    map: &SurfaceMap,
    rects: &[Rect],
    eligible: &[bool],
) -> Option<usize> {
    let rect = &piece.rect;
    let reach = rect.height * 2 / 5;
    let points = [
        (rect.x.saturating_sub(reach), piece.middle()),
        (rect.right() + reach, piece.middle()),
        (piece.centre(), rect.y.saturating_sub(reach)),
        (piece.centre(), rect.bottom() + reach),
    ];
    let strip = |at: &usize| {
        let surface = &rects[*at];
        !eligible[*at]
            && surface.width >= STRIP * surface.height.min(2 * rect.height)
            && surface.height >= rect.height
            && is_within(rect, surface)
    };
    let surfaces = points.into_iter().filter_map(|(x, y)| map.at(x, y));
    surfaces.filter(strip).min_by_key(|at| rects[*at].area())
}

/// Region that a strip is the head of, or whose rows it is between.
fn table_below(strip: usize, rects: &[Rect], eligible: &[bool], line: u32) -> Option<usize> {
    let head = &rects[strip];
    let hosts = (0..rects.len()).filter(|at| {
        let body = &rects[*at];
        let shared = (head.right().min(body.right())).saturating_sub(head.x.max(body.x));
        let gap = body.y.max(head.y) - head.bottom().min(body.bottom()).min(body.y.max(head.y));
        eligible[*at]
            && shared * 10 >= head.width.max(body.width) * 9
            && body.y + line >= head.bottom()
            && gap <= line
    });
    hosts.min_by_key(|at| rects[*at].y.abs_diff(head.bottom()))
}

/// Puts texts on a highlighted part of rows to the other texts of those rows: a
/// surface within another one, whose texts are next to texts around it.
fn join_highlights(pieces: &[TextPiece], rects: &[Rect], members: &mut [Vec<usize>]) {
    let mut order: Vec<usize> = (0..rects.len())
        .filter(|at| !members[*at].is_empty())
        .collect();
    order.sort_by_key(|at| rects[*at].area());
    for (nth, inner) in order.iter().enumerate() {
        let around = order[nth + 1..]
            .iter()
            .copied()
            .find(|outer| is_within(&rects[*inner], &rects[*outer]) && members[*outer].len() >= 4);
        let Some(outer) = around else {
            continue;
        };
        let level = |at: &&usize| {
            let piece = &pieces[**at];
            members[outer].iter().any(|other| {
                let other = &pieces[*other];
                other.middle().abs_diff(piece.middle()) * 4 <= piece.rect.height
            })
        };
        let beside = members[*inner].iter().filter(level).count();
        if beside * 10 >= members[*inner].len() * 8 {
            let texts = std::mem::take(&mut members[*inner]);
            members[outer].extend(texts);
        }
    }
}

/// Moves texts to the surface of rows that they belong to: a cell within its
/// rectangle that is next to its texts, and the row of names above it, whose
/// texts are above those of its first row.
fn complete_tables(pieces: &[TextPiece], rects: &[Rect], members: &mut [Vec<usize>]) {
    for inner in 0..rects.len() {
        if members[inner].len() < MENU + 1 {
            continue;
        }
        let rows = piece_rows(pieces, &members[inner]);
        let boxes = |row: &PieceRow| {
            row.pieces
                .iter()
                .map(|at| pieces[*at].rect)
                .collect::<Vec<_>>()
        };
        let columns = rows.windows(2).position(|pair| {
            let above = boxes(&pair[0]);
            let below = boxes(&pair[1]);
            let aligned = below.iter().filter(|rect| is_aligned(&above, rect));
            above.len() >= 2 && aligned.count() >= 2
        });
        let Some(first) = columns.and_then(|at| rows.get(at)) else {
            continue;
        };
        let before = columns.and_then(|at| rows.get(at.checked_sub(1)?));
        let before = before.map_or(0, |row| row.bottom);
        let own: Vec<Rect> = first.pieces.iter().map(|at| pieces[*at].rect).collect();
        let height = own.iter().map(|rect| rect.height).max().unwrap_or(1);
        let mut moved: Vec<usize> = Vec::new();
        for outer in 0..rects.len() {
            let around = is_within(&rects[inner], &rects[outer]);
            if outer == inner {
                continue;
            }
            let level = |at: &usize, row: &PieceRow| {
                let middle = pieces[*at].middle();
                let near = |other: &usize| {
                    pieces[*other].middle().abs_diff(middle) * 4 <= pieces[*at].rect.height
                };
                row.pieces.len() >= 2 && row.pieces.iter().any(near)
            };
            let cells = (members[outer].iter().copied())
                .filter(|at| around && is_within(&pieces[*at].rect, &rects[inner]))
                .filter(|at| rows.iter().any(|row| level(at, row)));
            moved.extend(cells);
            let above: Vec<usize> = (members[outer].iter().copied())
                .filter(|at| {
                    let rect = &pieces[*at].rect;
                    rect.bottom() <= own[0].y + height / 3
                        && first.top.saturating_sub(rect.bottom()) <= 3 * height
                        && rect.x + 2 * height >= rects[inner].x
                        && rect.right() <= rects[inner].right() + 2 * height
                })
                .collect();
            // The lowest of them, unless texts of the surface are between.
            let names = piece_rows(pieces, &above).pop().filter(|row| {
                let aligned = row
                    .pieces
                    .iter()
                    .filter(|at| is_aligned(&own, &pieces[**at].rect));
                let aligned = aligned.count();
                let names = row.pieces.iter().all(|at| !is_value(&pieces[*at].text));
                let last = before <= row.top && (around || names);
                last && aligned >= 2 && aligned * 2 >= row.pieces.len()
            });
            if let Some(names) = names {
                let band = names.top.saturating_sub(height)..names.bottom + height;
                // Names of two lines.
                moved.extend(above.into_iter().filter(|at| {
                    let rect = &pieces[*at].rect;
                    names.pieces.contains(at)
                        || (band.contains(&pieces[*at].middle()) && is_aligned(&own, rect))
                }));
            }
        }
        moved.sort_unstable();
        moved.dedup();
        for list in members.iter_mut() {
            list.retain(|at| !moved.contains(at));
        }
        members[inner].extend(moved);
    }
}

/// Joins surfaces below each other whose texts go on in the same columns, such as
/// the rows around a highlighted one.
fn join_stacks(pieces: &[TextPiece], members: &mut [Vec<usize>]) {
    let rows_of = |texts: &Vec<usize>| match texts.len() < MENU {
        true => None,
        false => {
            let rows = piece_rows(pieces, texts);
            Some((rows.first()?.clone(), rows.last()?.clone()))
        }
    };
    let mut ends: Vec<_> = members.iter().map(rows_of).collect();
    let boxes =
        |row: &PieceRow| -> Vec<Rect> { row.pieces.iter().map(|at| pieces[*at].rect).collect() };
    let goes_on = |last: &PieceRow, first: &PieceRow| {
        let (above, below) = (boxes(last), boxes(first));
        let height = last.bottom - last.top;
        let near = first.top + height / 3 >= last.bottom
            && first.top.saturating_sub(last.bottom) <= APART * height;
        let aligned = |known: &[Rect], row: &[Rect]| {
            let count = row.iter().filter(|rect| is_aligned(known, rect)).count();
            count >= MENU && count * 10 >= row.len() * 8
        };
        near && above[0].x.abs_diff(below[0].x) <= height
            && aligned(&above, &below)
            && aligned(&below, &above)
    };
    let mut upper = 0;
    while upper < members.len() {
        let next = (0..members.len()).find(|lower| {
            let (Some((_, last)), Some((first, _))) = (&ends[upper], &ends[*lower]) else {
                return false;
            };
            *lower != upper && goes_on(last, first)
        });
        match next {
            Some(lower) => {
                let texts = std::mem::take(&mut members[lower]);
                members[upper].extend(texts);
                ends[upper] = rows_of(&members[upper]);
                ends[lower] = None;
            }
            None => upper += 1,
        }
    }
}

/// True if the middle of one is inside the other and it does not stick out by
/// more than a tenth.
pub(super) fn is_within(inner: &Rect, outer: &Rect) -> bool {
    let slack = (inner.width / 10, inner.height / 3);
    inner.x + slack.0 >= outer.x
        && inner.y + slack.1 >= outer.y
        && inner.right() <= outer.right() + slack.0
        && inner.bottom() <= outer.bottom() + slack.1
}

/// True for a panel beside the content that tells of it, as details or a list do:
/// most of its rows are pairs or sentences, not the entries of a menu.
fn tells_details(pieces: &[TextPiece], members: &[usize]) -> bool {
    let rows = piece_rows(pieces, members);
    let words = |at: &usize| pieces[*at].text.split_whitespace().count();
    // An entry may have an icon before it and its count behind.
    let entry = |row: &&PieceRow| {
        let mut texts = row
            .pieces
            .iter()
            .filter(|at| pieces[**at].text.chars().any(char::is_alphabetic));
        texts.next().is_none_or(|at| words(at) <= ENTRY_WORDS) && texts.next().is_none()
    };
    2 * rows.iter().filter(entry).count() < rows.len()
}

/// Role of a surface by its place and shape.
fn role(at: usize, rects: &[Rect], texts: &[usize], content: &Rect, line: u32) -> PanelRole {
    let rect = &rects[at];
    if at + 1 == rects.len() || texts[at] == 0 {
        return PanelRole::Main;
    }
    let near = 2 * line;
    let left = rect.x <= content.x + near;
    let right = rect.right() + near >= content.right();
    let tall = rect.height * 20 >= content.height * 11;
    let narrow = rect.width * 10 <= content.width * 3 && rect.height > rect.width;
    if tall && narrow && (left || right) && texts[at] >= MENU {
        return PanelRole::Sidebar;
    }
    let above = rect.bottom() <= content.y + (content.height / 8).max(5 * line);
    if above && rect.width * 10 >= content.width * 6 {
        return PanelRole::Header;
    }
    // In front of a surface whose rectangle it cuts into.
    let large =
        rect.height >= 4 * line && rect.width >= 6 * line && rect.width * 10 <= content.width * 9;
    let behind = (rects[..rects.len() - 1].iter().enumerate()).any(|(other, under)| {
        let overlap = |a: (u32, u32), b: (u32, u32)| a.1.min(b.1).saturating_sub(a.0.max(b.0));
        let wide = overlap((rect.x, rect.right()), (under.x, under.right()));
        let high = overlap((rect.y, rect.bottom()), (under.y, under.bottom()));
        let sticks_out = rect.x + near < under.x
            || rect.y + near < under.y
            || rect.right() > under.right() + near
            || rect.bottom() > under.bottom() + near;
        other != at
            && texts[other] > 0
            && wide > near
            && high > near
            && sticks_out
            && !is_within(under, rect)
            && under.area() > rect.area() / 8
    });
    match large && behind {
        true => PanelRole::Dialog,
        false => PanelRole::Main,
    }
}

/// Parts a menu at the left edge from texts that are on the same surface: a
/// column of short texts, with a gap beside it that nothing crosses, in rows
/// that are not those of the column beside it.
fn split_menus(pieces: &[TextPiece], regions: &mut Vec<SurfaceRegion>, content: &Rect) {
    let mut menus = Vec::new();
    for region in regions.iter_mut() {
        if region.role != PanelRole::Main || region.pieces.len() < 2 * MENU {
            continue;
        }
        let limit = content.x + content.width / 4;
        let mut sorted = region.pieces.clone();
        sorted.sort_by_key(|at| pieces[*at].rect.x);
        let mut right = 0;
        let mut split = None;
        for (nth, at) in sorted.iter().enumerate() {
            let rect = &pieces[*at].rect;
            if rect.x > right + rect.height && nth >= MENU {
                split = Some(nth);
                break;
            }
            right = right.max(rect.right());
            if right > limit {
                break;
            }
        }
        let Some(nth) = split else {
            continue;
        };
        let (menu, rest) = sorted.split_at(nth);
        let edge = menu.iter().all(|at| pieces[*at].rect.right() <= limit);
        let top = menu
            .iter()
            .map(|at| pieces[*at].rect.y)
            .min()
            .unwrap_or_default();
        let bottom = menu
            .iter()
            .map(|at| pieces[*at].rect.bottom())
            .max()
            .unwrap_or_default();
        let alone = menu.iter().filter(|at| {
            let menu = &pieces[**at];
            let level = |other: &&usize| {
                pieces[**other].middle().abs_diff(menu.middle()) * 4 <= menu.rect.height
            };
            rest.iter().filter(level).count() == 0
        });
        let short = menu
            .iter()
            .all(|at| pieces[*at].text.split_whitespace().count() <= 4);
        let tall = (bottom - top) * 2 >= content.height;
        if edge && short && tall && alone.count() * 2 > menu.len() {
            let rect = menu
                .iter()
                .map(|at| pieces[*at].rect)
                .reduce(|a, b| a.with(&b));
            let mut menu = menu.to_vec();
            let mut rest = rest.to_vec();
            menu.sort_unstable();
            rest.sort_unstable();
            region.pieces = rest;
            menus.push(SurfaceRegion {
                rect: rect.unwrap_or_default(),
                pieces: menu,
                role: PanelRole::Sidebar,
            });
        }
    }
    regions.extend(menus);
}

/// Panel of each role: around the regions of that role; sidebars and dialogs
/// each their own.
fn panels(
    pieces: &[TextPiece],
    regions: &[SurfaceRegion],
    dialog: Option<Rect>,
) -> Vec<ScreenPanel> {
    let mut panels: Vec<ScreenPanel> = Vec::new();
    for region in regions {
        let around = (region.pieces.iter().map(|at| pieces[*at].rect)).reduce(|a, b| a.with(&b));
        let rect = match region.role {
            PanelRole::Main => around.unwrap_or(region.rect),
            PanelRole::Dialog => {
                (dialog.filter(|dialog| dialog.meets(&region.rect))).unwrap_or(region.rect)
            }
            _ => region.rect,
        };
        let same = panels.iter_mut().find(|panel| {
            panel.role == region.role && (region.role == PanelRole::Main || panel.rect.meets(&rect))
        });
        match same {
            Some(panel) => panel.rect = panel.rect.with(&rect),
            None => panels.push(ScreenPanel {
                role: region.role,
                rect,
            }),
        }
    }
    panels
}

//! Regions: the pieces of text on each surface, and the role of its panel.

use super::pieces::TextPiece;
use super::surfaces::SurfaceMap;
use super::{PanelRole, ScreenPanel};
use crate::picture::{Picture, Rect};

/// Minimum height of a surface that is a region of its own, in heights of the
/// text on it: a lower one is a badge, a button or the row of a table.
const REGION: u32 = 3;
/// Shape of a row of a table that is highlighted: width by height.
const STRIP: u32 = 8;
/// Minimum texts on a sidebar.
const MENU: usize = 3;

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
        members[surface].push(at);
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
    let texts: Vec<usize> = members.iter().map(Vec::len).collect();
    let roles: Vec<_> = (0..rects.len())
        .map(|at| role(at, &rects, &texts, &content, line))
        .collect();
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
    let rank = |role: PanelRole| match role {
        PanelRole::Header => 0,
        PanelRole::Sidebar => 1,
        PanelRole::Main => 2,
        PanelRole::Dialog => 3,
    };
    regions.sort_by_key(|region| (rank(region.role), region.rect.y, region.rect.x));
    let panels = panels(pieces, &regions);
    (regions, panels)
}

/// Surface around a piece: the one that most of the points just outside it are
/// on; if that is a badge or a row, the smallest region that contains it.
fn surface_of(piece: &TextPiece, map: &SurfaceMap, rects: &[Rect], eligible: &[bool]) -> usize {
    let rect = &piece.rect;
    let mut votes: Vec<(usize, u32)> = Vec::new();
    for reach in [rect.height * 2 / 5, rect.height] {
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
    }
    let most = votes
        .into_iter()
        .max_by_key(|(surface, votes)| (*votes, std::cmp::Reverse(rects[*surface].area())));
    let around = || {
        (0..rects.len())
            .filter(|at| eligible[*at] && is_within(rect, &rects[*at]))
            .min_by_key(|at| rects[*at].area())
    };
    most.map(|(surface, _)| surface)
        .or_else(around)
        .unwrap_or(rects.len() - 1)
}

/// True if the middle of one is inside the other and it does not stick out by
/// more than a tenth.
fn is_within(inner: &Rect, outer: &Rect) -> bool {
    let slack = (inner.width / 10, inner.height / 3);
    inner.x + slack.0 >= outer.x
        && inner.y + slack.1 >= outer.y
        && inner.right() <= outer.right() + slack.0
        && inner.bottom() <= outer.bottom() + slack.1
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
    let large = rect.height >= 4 * line && rect.width >= 6 * line;
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
fn panels(pieces: &[TextPiece], regions: &[SurfaceRegion]) -> Vec<ScreenPanel> {
    let mut panels: Vec<ScreenPanel> = Vec::new();
    for region in regions {
        let around = (region.pieces.iter().map(|at| pieces[*at].rect)).reduce(|a, b| a.with(&b));
        let rect = match region.role {
            PanelRole::Main => around.unwrap_or(region.rect),
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

//! Dialogs in front of a page that is dimmed.

use super::pieces::TextPiece;
use super::regions::is_within;
use crate::picture::{Picture, Rect};

/// Maximum contrast of texts on a dimmed page, relative to those in front of it,
/// in percent.
const PALER: i32 = 76;
/// Maximum luma of a dimmed page, relative to that in front of it, in percent.
const DARKER: usize = 82;
/// Minimum texts of a dialog and of a page.
const TEXTS: (usize, usize) = (2, 3);
/// Minimum sides of a dialog with texts or the page's surface beyond, or texts that
/// its edge cuts.
const SIDES: usize = 3;
const CUT: usize = 2;
/// Distance of the sampled pixels of a picture.
const STEP: usize = 6;

/// Area in front of a dimmed page: all texts beside it have less contrast, and
/// nothing there is as bright. The largest, if several are.
pub(super) fn on_dimmed_page(
    pieces: &[TextPiece],
    rects: &[Rect],
    picture: &Picture,
) -> Option<Rect> {
    let whole = u64::from(picture.width) * u64::from(picture.height);
    let dims = |rect: &Rect| {
        rect.area() * 20 <= whole * 19
            && rect.area() * 25 >= whole
            && (is_in_front(pieces, rect) || is_enclosed(rects, rect))
            && is_paler(pieces, rect)
            && is_darker(picture, rect)
    };
    let stacks = rects.iter().map(|rect| stack(rects, rect));
    let mut areas: Vec<Rect> = rects.iter().copied().chain(stacks).collect();
    areas.sort_unstable_by_key(|rect| (std::cmp::Reverse(rect.area()), rect.x, rect.y));
    areas.dedup();
    areas.into_iter().find(dims)
}

/// Area of the surfaces with the same sides as one: lines across a dialog part
/// it.
fn stack(rects: &[Rect], one: &Rect) -> Rect {
    let near = 2 * STEP as u32;
    let same = |other: &&Rect| {
        one.x.abs_diff(other.x) <= near && one.right().abs_diff(other.right()) <= near
    };
    rects
        .iter()
        .filter(same)
        .fold(*one, |all, other| all.with(other))
}

/// True for an area within another surface that goes on beyond most of its sides.
fn is_enclosed(rects: &[Rect], rect: &Rect) -> bool {
    let beyond = 2 * STEP as u32;
    let sides = |around: &Rect| {
        let sides = [
            around.x + beyond <= rect.x,
            around.y + beyond <= rect.y,
            rect.right() + beyond <= around.right(),
            rect.bottom() + beyond <= around.bottom(),
        ];
        sides.into_iter().filter(|side| *side).count()
    };
    (rects.iter()).any(|around| is_within(rect, around) && sides(around) >= SIDES)
}

/// True for an area with texts around it, or with texts that its edge cuts: a dark
/// menu beside a bright page is no page behind it.
fn is_in_front(pieces: &[TextPiece], rect: &Rect) -> bool {
    let outside = || {
        pieces
            .iter()
            .map(|piece| &piece.rect)
            .filter(|text| !is_within(text, rect))
    };
    let sides = [
        outside().any(|text| text.right() <= rect.x),
        outside().any(|text| text.x >= rect.right()),
        outside().any(|text| text.bottom() <= rect.y),
        outside().any(|text| text.y >= rect.bottom()),
    ];
    let cut = outside().filter(|text| {
        let level = text.y >= rect.y && text.bottom() <= rect.bottom();
        let near = |a: u32, b: u32| a.abs_diff(b) * 2 <= text.height;
        level && (near(text.right(), rect.x) || near(text.x, rect.right()))
    });
    sides.into_iter().filter(|side| *side).count() >= SIDES || cut.count() >= CUT
}

fn is_paler(pieces: &[TextPiece], rect: &Rect) -> bool {
    let (mut inside, mut outside) = (Vec::new(), Vec::new());
    for piece in pieces {
        let contrasts = match is_within(&piece.rect, rect) {
            true => &mut inside,
            false => &mut outside,
        };
        contrasts.push(piece.contrast);
    }
    if inside.len() < TEXTS.0 || outside.len() < TEXTS.1 {
        return false;
    }
    inside.sort_unstable();
    outside.sort_unstable();
    // Some texts may be misread, or in front of both.
    let most = |contrasts: &[i32]| contrasts[contrasts.len() * 9 / 10];
    most(&outside) * 100 <= most(&inside) * PALER
}

fn is_darker(picture: &Picture, rect: &Rect) -> bool {
    let (mut inside, mut outside) = ([0_u32; 256], [0_u32; 256]);
    let rows = picture.y.chunks_exact(picture.width as usize);
    for (y, row) in (0..).zip(rows).step_by(STEP) {
        let level = (rect.y..rect.bottom()).contains(&y);
        for (x, luma) in (0..).zip(row).step_by(STEP) {
            let within = level && (rect.x..rect.right()).contains(&x);
            let counts = if within { &mut inside } else { &mut outside };
            counts[usize::from(*luma)] += 1;
        }
    }
    brightest(&outside) * 100 <= brightest(&inside) * DARKER
}

/// Luma that one sample of two hundred is above.
fn brightest(counts: &[u32; 256]) -> usize {
    let few = counts.iter().sum::<u32>() / 200;
    let mut above = 0;
    let found = (0..256).rev().find(|luma| {
        above += counts[*luma];
        above > few
    });
    found.unwrap_or_default()
}

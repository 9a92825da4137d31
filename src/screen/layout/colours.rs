//! Colours of text: letters, the surface under them, and a mark in front, from
//! samples of the picture; and the columns of a line without ink.

use super::StatusColour;
use crate::picture::{Picture, Rect};

/// Rows and columns sampled of a line's height.
const ROWS: u32 = 16;
/// Minimum distance of letters from their surface, in sample values; less is
/// compression noise.
const VISIBLE: i32 = 30;
/// Minimum difference of two surfaces, in luma and in chroma.
const OTHER_LUMA: i32 = 6;
const OTHER_CHROMA: i32 = 5;
/// Minimum difference of the largest and smallest of red, green and blue for
/// letters and marks to have a hue: greys of a theme are tinted by less.
const HUE_OF_INK: i32 = 52;
/// The same for a surface, which may be a pale tint of the panel's colour.
const HUE_OF_FILL: i32 = 14;
/// Share of the samples before a line that a mark's hue takes, in percent.
const MARK: usize = 7;

/// Colour of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Shade {
    pub(super) y: i32,
    u: i32,
    v: i32,
}

/// Samples of a row of a picture from a column on.
struct RowSamples<'a> {
    y: &'a [u8],
    u: &'a [u8],
    v: &'a [u8],
    /// 1 if the first column is the second of those that share a chroma sample.
    odd: usize,
}

impl<'a> RowSamples<'a> {
    fn of(picture: &'a Picture, x: u32, y: u32) -> Self {
        let (width, half) = (picture.width as usize, picture.width.div_ceil(2) as usize);
        let (x, y) = (x as usize, y as usize);
        let chroma = y / 2 * half + x / 2..(y / 2 + 1) * half;
        Self {
            y: &picture.y[y * width + x..(y + 1) * width],
            u: &picture.u[chroma.clone()],
            v: &picture.v[chroma],
            odd: x % 2,
        }
    }

    fn shade(&self, at: usize) -> Shade {
        let chroma = (self.odd + at) / 2;
        Shade {
            y: i32::from(self.y[at]),
            u: i32::from(self.u[chroma]) - 128,
            v: i32::from(self.v[chroma]) - 128,
        }
    }
}

/// Colours on one box of text.
#[derive(Debug, Clone, Default)]
pub(super) struct Swatch {
    pub(super) surface: Shade,
    pub(super) ink: Shade,
    /// Runs of columns without ink between letters: first column, and the one
    /// after the last.
    pub(super) gaps: Vec<(u32, u32)>,
}

impl Shade {
    /// Sample of a picture, clipped to it.
    pub(super) fn at(picture: &Picture, x: u32, y: u32) -> Self {
        let (x, y) = (x.min(picture.width - 1), y.min(picture.height - 1));
        let chroma = (y / 2 * picture.width.div_ceil(2) + x / 2) as usize;
        Self {
            y: i32::from(picture.y[(y * picture.width + x) as usize]),
            u: i32::from(picture.u[chroma]) - 128,
            v: i32::from(picture.v[chroma]) - 128,
        }
    }

    const fn distance(self, other: Self) -> i32 {
        (self.y - other.y).abs() + (self.u - other.u).abs() + (self.v - other.v).abs()
    }

    /// True if two surfaces are not the same.
    pub(super) const fn differs(self, other: Self) -> bool {
        (self.y - other.y).abs() >= OTHER_LUMA
            || (self.u - other.u).abs() + (self.v - other.v).abs() >= OTHER_CHROMA
    }

    fn plus(self, other: Self) -> Self {
        Self {
            y: self.y + other.y,
            u: self.u + other.u,
            v: self.v + other.v,
        }
    }

    fn over(self, count: i32) -> Self {
        let count = count.max(1);
        Self {
            y: self.y / count,
            u: self.u / count,
            v: self.v / count,
        }
    }

    /// Hue, if the colour is at least that far from grey.
    fn hue(self, least: i32) -> StatusColour {
        let red = (self.y + 1436 * self.v / 1024).clamp(0, 255);
        let green = (self.y - (352 * self.u + 731 * self.v) / 1024).clamp(0, 255);
        let blue = (self.y + 1815 * self.u / 1024).clamp(0, 255);
        let (most, fewest) = (red.max(green).max(blue), red.min(green).min(blue));
        let chroma = most - fewest;
        if chroma < least.max(1) {
            return StatusColour::None;
        }
        let degrees = if most == red {
            60 * (green - blue) / chroma
        } else if most == green {
            120 + 60 * (blue - red) / chroma
        } else {
            240 + 60 * (red - green) / chroma
        };
        match degrees.rem_euclid(360) {
            0..=17 | 330..=359 => StatusColour::Red,
            18..=66 => StatusColour::Amber,
            67..=174 => StatusColour::Green,
            175..=259 => StatusColour::Blue,
            // Purple and pink stand for no status.
            _ => StatusColour::None,
        }
    }
}

impl Swatch {
    /// Samples a box of text.
    pub(super) fn of(picture: &Picture, rect: &Rect) -> Self {
        let right = rect.right().min(picture.width);
        let bottom = rect.bottom().min(picture.height);
        if rect.x >= right || rect.y >= bottom {
            return Self::default();
        }
        let step = (rect.height / ROWS).max(1);
        let rows = || (rect.y..bottom).step_by(step as usize);
        let columns = (right - rect.x).div_ceil(step) as usize;
        let step = step as usize;
        let mut histogram = [0_u32; 32];
        for y in rows() {
            let line = RowSamples::of(picture, rect.x, y);
            for at in 0..columns {
                histogram[usize::from(line.y[at * step] / 8)] += 1;
            }
        }
        let mode = (0..32).max_by_key(|at| histogram[*at]).unwrap_or_default() as i32;
        let (mut sum, mut count) = (Shade::default(), 0);
        for y in rows().step_by(2) {
            let line = RowSamples::of(picture, rect.x, y);
            for at in (0..columns).step_by(2) {
                if i32::from(line.y[at * step]) / 8 == mode {
                    (sum, count) = (sum.plus(line.shade(at * step)), count + 1);
                }
            }
        }
        let surface = sum.over(count);
        let mut distances = Vec::with_capacity(rows().len() * columns);
        let mut furthest = vec![0; columns];
        for y in rows() {
            let line = RowSamples::of(picture, rect.x, y);
            for (at, furthest) in furthest.iter_mut().enumerate() {
                let distance = line.shade(at * step).distance(surface);
                distances.push(distance);
                *furthest = distance.max(*furthest);
            }
        }
        let most = furthest.iter().copied().max().unwrap_or_default();
        if most < VISIBLE {
            return Self {
                surface,
                ink: surface,
                gaps: Vec::new(),
            };
        }
        let (mut sum, mut count) = (Shade::default(), 0);
        for (y, distances) in rows().zip(distances.chunks_exact(columns)) {
            let line = RowSamples::of(picture, rect.x, y);
            for (at, distance) in distances.iter().enumerate() {
                if distance * 10 >= most * 6 {
                    (sum, count) = (sum.plus(line.shade(at * step)), count + 1);
                }
            }
        }
        let blank = |distance: i32| distance * 10 < most * 3;
        Self {
            surface,
            ink: sum.over(count),
            gaps: gaps(&furthest, blank, rect.x, step as u32),
        }
    }

    /// Distance of the letters from their surface in luma.
    pub(super) const fn contrast(&self) -> i32 {
        (self.ink.y - self.surface.y).abs()
    }

    /// Hue of the letters.
    pub(super) fn ink(&self) -> StatusColour {
        let own = (self.ink.u - self.surface.u).abs() + (self.ink.v - self.surface.v).abs();
        match own >= 2 * OTHER_CHROMA {
            true => self.ink.hue(HUE_OF_INK),
            false => StatusColour::None,
        }
    }

    /// Colour of the surface under a box, if it ends within a line's height
    /// around it: a longer one is a row or a panel.
    pub(super) fn fill(&self, picture: &Picture, rect: &Rect) -> StatusColour {
        let (far, near) = (rect.height * 5 / 4, rect.height * 4 / 5);
        let (left, top) = (rect.x.saturating_sub(far), rect.y.saturating_sub(near));
        let (right, bottom) = (rect.right() + far, rect.bottom() + near);
        let across = |y: u32| [1, 2, 3].map(|part| (rect.x + rect.width * part / 4, y));
        let down = |x: u32| [1, 2, 3].map(|part| (x, rect.y + rect.height * part / 4));
        let other = |points: [(u32, u32); 3]| {
            let all = points.map(|(x, y)| Shade::at(picture, x, y).differs(self.surface));
            all.into_iter().filter(|differs| *differs).count() >= 2
        };
        let ends = other(across(top)) && other(across(bottom));
        if !ends || !other(down(left)) || !other(down(right)) {
            return StatusColour::None;
        }
        match self.surface.hue(HUE_OF_FILL) {
            StatusColour::None => StatusColour::Grey,
            hue => hue,
        }
    }

    /// Hue of a mark in front of a text, right of `from`: as high as the text
    /// at most, with the surface around it. The box may include the mark.
    pub(super) fn mark(&self, picture: &Picture, rect: &Rect, from: u32) -> StatusColour {
        let inside = self.gaps.first().map_or(rect.x, |gap| gap.0);
        let inside = match (inside - rect.x) * 10 <= rect.height * 11 {
            true => self.gaps.first().map_or(rect.x, |gap| gap.1),
            false => rect.x,
        };
        let marked = self.hue_between(picture, rect, (rect.x, inside));
        if marked.is_hue() && marked != self.ink() {
            return marked;
        }
        // A dot stands near, an icon in a column of its own further away.
        let reaches = [rect.height * 3 / 2, rect.height * 7 / 2];
        let hues = reaches.map(|reach| {
            let left = rect.x.saturating_sub(reach).max(from);
            self.hue_between(picture, rect, (left, rect.x))
        });
        hues.into_iter()
            .find(|hue| hue.is_hue())
            .unwrap_or(StatusColour::None)
    }

    /// Hue that stands out between two columns of a line, unless it goes on
    /// beyond them or above and below the line.
    fn hue_between(
        &self,
        picture: &Picture,
        rect: &Rect,
        (left, right): (u32, u32),
    ) -> StatusColour {
        let step = (rect.height / 10).max(1);
        let beyond = rect.height / 2;
        let top = rect.y.saturating_sub(beyond);
        let bottom = (rect.bottom() + beyond).min(picture.height);
        let outside = rect.y.saturating_sub(rect.height / 4)..rect.bottom() + rect.height / 4;
        let mut counts = [0_usize; 4];
        let (mut all, mut goes_on) = (0, 0);
        for y in (top..bottom).step_by(step as usize) {
            for x in (left..right).step_by(step as usize) {
                let within = (rect.y..rect.bottom()).contains(&y);
                all += usize::from(within);
                let shade = Shade::at(picture, x, y);
                let apart = (shade.u - self.surface.u).abs() + (shade.v - self.surface.v).abs();
                if apart < 4 * OTHER_CHROMA {
                    continue;
                }
                let at = match shade.hue(HUE_OF_INK) {
                    StatusColour::Red => 0,
                    StatusColour::Amber => 1,
                    StatusColour::Green => 2,
                    StatusColour::Blue => 3,
                    StatusColour::Grey | StatusColour::None => continue,
                };
                let first = x == left && rect.x != left;
                if first || !outside.contains(&y) {
                    goes_on += 1;
                } else if within {
                    counts[at] += 1;
                }
            }
        }
        let most = (0..4).max_by_key(|at| counts[*at]).unwrap_or_default();
        if all < 8 || goes_on > 2 || counts[most] * 100 < all * MARK {
            return StatusColour::None;
        }
        [
            StatusColour::Red,
            StatusColour::Amber,
            StatusColour::Green,
            StatusColour::Blue,
        ][most]
    }
}

/// Runs of blank columns between others.
fn gaps(furthest: &[i32], blank: impl Fn(i32) -> bool, left: u32, step: u32) -> Vec<(u32, u32)> {
    let mut gaps = Vec::new();
    let mut begun = None;
    for (at, distance) in (0..).zip(furthest) {
        if blank(*distance) {
            begun.get_or_insert(at);
        } else if let Some(start) = begun.take().filter(|start| *start > 0) {
            gaps.push((left + start * step, left + at * step));
        }
    }
    gaps
}

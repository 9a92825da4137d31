//! Scroll distance of a part of the screen.

use crate::picture::{Picture, Rect};

/// Averages per row, which identify it.
const BUCKETS: usize = 16;
/// Minimum size in pixels of a scrolling area.
const SMALLEST: u32 = 64;
/// Maximum mean difference of the averages, in luma steps, of equal rows.
const ALIKE: f32 = 3.0;
/// Maximum ratio to the difference without a shift.
const BETTER: f32 = 0.5;

/// Vertical shift of the rectangle's content in rows (down is positive) between
/// two pictures of the same size; `None` unless most of it shifted.
pub(super) fn distance(old: &Picture, new: &Picture, rect: &Rect) -> Option<i32> {
    if rect.width < SMALLEST || rect.height < SMALLEST {
        return None;
    }
    let (old, new) = (rows(old, rect), rows(new, rect));
    let height = old.len();
    let unmoved = apart(&old, &new, 0);
    let farthest = (height / 2) as i32;
    let best = (-farthest..=farthest)
        .filter(|down| *down != 0)
        .map(|down| (apart(&old, &new, down), down))
        .min_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 < ALIKE && best.0 < BETTER * unmoved).then_some(best.1)
}

type RowProfile = [f32; BUCKETS];

fn rows(picture: &Picture, rect: &Rect) -> Vec<RowProfile> {
    let width = picture.width as usize;
    let span = (rect.width as usize).div_ceil(BUCKETS).max(1);
    let row = |y: u32| {
        let at = y as usize * width + rect.x as usize;
        let mut row = [0.0; BUCKETS];
        let samples = picture.y[at..at + rect.width as usize].chunks(span);
        for (mean, samples) in row.iter_mut().zip(samples) {
            let sum: u32 = samples.iter().map(|sample| u32::from(*sample)).sum();
            *mean = sum as f32 / samples.len() as f32;
        }
        row
    };
    (rect.y..rect.bottom()).map(row).collect()
}

/// Mean difference of the rows in both.
fn apart(old: &[RowProfile], new: &[RowProfile], down: i32) -> f32 {
    let shift = down.unsigned_abs() as usize;
    let (old, new) = if down >= 0 {
        (&old[..old.len() - shift], &new[shift..])
    } else {
        (&old[shift..], &new[..new.len() - shift])
    };
    let row = |(a, b): (&RowProfile, &RowProfile)| {
        a.iter().zip(b).map(|(a, b)| (a - b).abs()).sum::<f32>()
    };
    let sum: f32 = old.iter().zip(new).map(row).sum();
    sum / (old.len().max(1) * BUCKETS) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of "text", the first one at `top`.
    fn terminal(first: u32, top: i32) -> Picture {
        let (width, height) = (320u32, 240u32);
        let mut y = vec![20; (width * height) as usize];
        for line in 0..20 {
            for dy in 0..10 {
                let at = top + line * 16 + dy;
                if !(0..height as i32).contains(&at) {
                    continue;
                }
                let long = 40 + (first + line as u32) * 97 % 250;
                for x in (10..long).filter(|x| !(x / 3 + first + line as u32).is_multiple_of(3)) {
                    y[at as usize * width as usize + x as usize] = 220;
                }
            }
        }
        Picture {
            width,
            height,
            y,
            u: vec![128; 160 * 120],
            v: vec![128; 160 * 120],
        }
    }

    #[test]
    fn scroll_is_measured_and_a_switch_is_none() {
        let rect = Rect {
            x: 0,
            y: 0,
            width: 320,
            height: 240,
        };
        let before = terminal(0, 0);
        assert_eq!(distance(&before, &terminal(3, 0), &rect), Some(-48));
        assert_eq!(distance(&terminal(3, 0), &before, &rect), Some(48));
        assert_eq!(distance(&before, &before, &rect), None);
        assert_eq!(distance(&before, &terminal(500, 0), &rect), None);
    }
}

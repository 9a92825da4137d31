//! Bounds on the time of screens that no tool shows.

use std::time::Duration;

use watchtower_base::cpu_time;

use super::super::Layout;
use crate::picture::{Picture, Rect, TextLine};

/// CPU time that each of these screens may take without optimisation: a
/// comparison of all with all of them takes several times as much.
const BOUND: Duration = Duration::from_millis(1500);

fn line(text: String, x: u32, y: u32, width: u32, height: u32) -> TextLine {
    TextLine {
        text,
        rect: Rect {
            x,
            y,
            width,
            height,
        },
        confidence: 0.95,
    }
}

/// Picture whose luma is that of each pixel.
fn picture(width: u32, height: u32, luma: impl Fn(u32, u32) -> u8) -> Picture {
    let mut picture = Picture::grey(width, height);
    for (at, sample) in (0..).zip(&mut picture.y) {
        *sample = luma(at % width, at / width);
    }
    picture
}

fn timed(name: &str, lines: &[TextLine], picture: &Picture) -> Layout {
    let begun = cpu_time::of_this_thread();
    let layout = Layout::of(lines, picture);
    let spent = cpu_time::of_this_thread() - begun;
    assert!(spent < BOUND, "{name}: {spent:?}");
    layout
}

#[test]
fn a_thousand_lines_take_bounded_time() {
    let plain = picture(3840, 2160, |_, _| 255);
    let sentence = |side: &str| format!("{side} column with a longer sentence of many words");
    let columns = (0..500).flat_map(|row| {
        let at = |side: &str, x| line(sentence(side), x, 4 * row, 300, 3);
        [at("left", 10), at("right", 600)]
    });
    let layout = timed("prose", &columns.collect::<Vec<_>>(), &plain);
    assert_eq!(layout.elements.len(), 2);

    let cells = (0..100).flat_map(|row| {
        (0..10).map(move |column| {
            let (x, y) = (10 + 380 * column, 10 + 21 * row);
            line(format!("cell {row} {column}"), x, y, 100, 14)
        })
    });
    let layout = timed("table", &cells.collect::<Vec<_>>(), &plain);
    assert_eq!(layout.lines().len(), 100);

    let cards = (0..1000).map(|at| {
        let (x, y) = (10 + at % 25 * 150, 10 + 50 * (at / 25));
        let (text, height) = match at % 2 {
            0 => ("17 %", 24),
            _ => ("Errors of it", 10),
        };
        line(text.to_owned(), x, y, 60, height)
    });
    timed("cards", &cards.collect::<Vec<_>>(), &plain);
}

#[test]
fn a_line_of_twenty_thousand_characters_takes_bounded_time() {
    let plain = picture(1920, 1080, |_, _| 255);
    for word in ["x", "word ", "l ", "a | ", "9 ", "a: b "] {
        let text = word.repeat(20_000 / word.len());
        let lines = (0..20).map(|row| line(text.clone(), 10, 10 + 30 * row, 1900, 20));
        let layout = timed(word, &lines.collect::<Vec<_>>(), &plain);
        assert!(layout.elements.len() <= 20, "{word}: {:?}", layout.panels);
    }
}

#[test]
fn a_mosaic_of_surfaces_takes_bounded_time() {
    let lines: Vec<_> = (0..300)
        .map(|at| {
            line(
                format!("t{at} x"),
                10 + at % 15 * 125,
                10 + 52 * (at / 15),
                60,
                16,
            )
        })
        .collect();
    for side in [8, 16, 24, 48, 100] {
        let grid = picture(1920, 1080, |x, y| match x % side < 2 || y % side < 2 {
            true => 0,
            false => 255,
        });
        timed("grid", &lines, &grid);
        let apart = picture(1920, 1080, |x, y| {
            match x % (2 * side) < side && y % (2 * side) < side {
                true => 250,
                false => 200,
            }
        });
        timed("boxes", &lines, &apart);
        let shades = picture(1920, 1080, |x, y| {
            ((x / side / 4 * 37 + y / side * 53) % 250) as u8
        });
        timed("shades", &lines, &shades);
    }
}

//! Benchmark of the layout of a reading: a drawn table of 30 rows and 10
//! columns, 300 lines, at 1080p and 4K.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use watchtower_screen::layout::{ElementContent, Layout};
use watchtower_screen::picture::{Picture, Rect, TextLine};

const ROWS: u32 = 30;
const COLUMNS: u32 = 10;

/// White picture with the lines drawn as bars, in rows of alternating shades.
fn screen(scale: u32) -> (Vec<TextLine>, Picture) {
    let (width, height) = (960 * scale, 540 * scale);
    let mut picture = Picture::grey(width, height);
    picture.y.fill(255);
    let mut fill = |rect: &Rect, luma: u8| {
        for y in rect.y..rect.bottom().min(height) {
            let row = (y * width) as usize;
            let columns = row + rect.x as usize..row + rect.right().min(width) as usize;
            picture.y[columns].fill(luma);
        }
    };
    let mut lines = Vec::new();
    for row in 0..ROWS {
        let y = (10 + 17 * row) * scale;
        let band = Rect {
            x: 0,
            y: y - 3 * scale,
            width,
            height: 17 * scale,
        };
        fill(&band, if row % 2 == 0 { 255 } else { 243 });
        for column in 0..COLUMNS {
            let text = format!("cell{row}x{column}");
            let rect = Rect {
                x: (10 + 95 * column) * scale,
                y,
                width: 6 * scale * text.len() as u32,
                height: 10 * scale,
            };
            for letter in 0..text.len() as u32 {
                let bar = Rect {
                    x: rect.x + 6 * scale * letter,
                    width: 4 * scale,
                    ..rect
                };
                fill(&bar, 30);
            }
            lines.push(TextLine {
                text,
                rect,
                confidence: 0.95,
            });
        }
    }
    (lines, picture)
}

fn layouts(criterion: &mut Criterion) {
    for (name, scale) in [("layout 1080p", 2), ("layout 4K", 4)] {
        let (lines, picture) = screen(scale);
        let layout = Layout::of(&lines, &picture);
        let [element] = layout.elements.as_slice() else {
            panic!("expected one element, got {}", layout.elements.len());
        };
        assert!(matches!(&element.content, ElementContent::Table(table) if table.columns() == 10));
        criterion.bench_function(name, |bencher| {
            bencher.iter(|| Layout::of(black_box(&lines), black_box(&picture)));
        });
    }
}

criterion_group!(benches, layouts);
criterion_main!(benches);

//! Screens drawn by tests: rectangles, and bars for letters.

use super::Layout;
use crate::picture::{Picture, Rect, TextLine};

/// Screen drawn from rectangles and bars for letters.
pub(super) struct Canvas {
    picture: Picture,
    pub(super) lines: Vec<TextLine>,
    /// Pixels for each unit of the drawing.
    scale: u32,
}

pub(super) type Paint = [u8; 3];
pub(super) const WHITE: Paint = [255, 255, 255];
pub(super) const BLACK: Paint = [20, 20, 24];
pub(super) const RED: Paint = [200, 30, 30];
pub(super) const GREEN: Paint = [20, 130, 60];
pub(super) const AMBER: Paint = [240, 170, 40];

impl Canvas {
    pub(super) fn new(width: u32, height: u32, scale: u32, paint: Paint) -> Self {
        let mut canvas = Self {
            picture: Picture::grey(width * scale, height * scale),
            lines: Vec::new(),
            scale,
        };
        canvas.fill([0, 0, width, height], paint);
        canvas
    }

    /// Fills `[x, y, width, height]`.
    pub(super) fn fill(&mut self, area: [u32; 4], [red, green, blue]: Paint) {
        let [x, y, width, height] = area.map(|side| side * self.scale);
        let [red, green, blue] = [red, green, blue].map(f32::from);
        let luma = 0.299 * red + 0.587 * green + 0.114 * blue;
        let u = (128.0 + 0.564 * (blue - luma)) as u8;
        let v = (128.0 + 0.713 * (red - luma)) as u8;
        let stride = self.picture.width;
        for y in y..(y + height).min(self.picture.height) {
            for x in x..(x + width).min(stride) {
                self.picture.y[(y * stride + x) as usize] = luma as u8;
                let chroma = (y / 2 * stride.div_ceil(2) + x / 2) as usize;
                (self.picture.u[chroma], self.picture.v[chroma]) = (u, v);
            }
        }
    }

    /// Text of that height, in a font of one width, its letters two bars each.
    pub(super) fn sized(&mut self, text: &str, x: u32, y: u32, height: u32, paint: Paint) {
        let advance = height * 6 / 10;
        for (at, letter) in (0..).zip(text.chars()) {
            if letter != ' ' {
                let left = x + advance * at + 1;
                let right = left + advance * 3 / 5;
                for stroke in [left, right] {
                    self.fill([stroke, y + 2, advance / 5, height - 4], paint);
                }
            }
        }
        let count = text.chars().count() as u32;
        self.lines.push(TextLine {
            text: text.to_owned(),
            rect: Rect {
                x: x * self.scale,
                y: y * self.scale,
                width: advance * count * self.scale,
                height: height * self.scale,
            },
            confidence: 0.95,
        });
    }

    pub(super) fn text(&mut self, text: &str, x: u32, y: u32, paint: Paint) {
        self.sized(text, x, y, 16, paint);
    }

    /// Text on a surface of its own.
    pub(super) fn badge(&mut self, text: &str, x: u32, y: u32, paint: Paint) {
        let width = 16 * 6 / 10 * text.chars().count() as u32;
        self.fill([x - 6, y - 4, width + 12, 24], paint);
        self.text(text, x, y, WHITE);
    }

    pub(super) fn layout(mut self) -> Layout {
        self.lines.sort_by_key(|line| (line.rect.y, line.rect.x));
        Layout::of(&self.lines, &self.picture)
    }
}

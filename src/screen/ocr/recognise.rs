//! Text of one line: a probability per character and step, the best at each
//! step taken, repeats and blanks dropped (connectionist temporal
//! classification).
//!
//! The network knows 6,905 characters, most of them Chinese. Only those that
//! stand on dashboards are considered (`dictionary.txt`: class and character),
//! so that noise is never read as an ideograph.

use std::ops::Range;

use rten_tensor::NdTensor;
use rten_tensor::prelude::*;

use super::rgb_buffer::RgbBuffer;
use super::{Network, ReadError};
use crate::picture::{Rect, TextLine};

/// Every line is brought to this height.
const HEIGHT: u32 = 48;
const STRIDE: u32 = 16;
/// Columns the network is given at once. A longer line is read in pieces, as
/// squeezed letters can't be read.
const LONGEST: u32 = 6400;
/// Columns around the end of a piece among which the emptiest is where it ends.
const SEAM: u32 = 96;
/// Minimum cost of a line, in columns.
const LEAST: u64 = 300;
/// The class that stands for "no character here".
const BLANK: usize = 0;

#[derive(Debug)]
pub(super) struct Recogniser {
    network: Network,
    classes: Vec<(usize, char)>,
}

impl Recogniser {
    pub(super) fn new(network: Network) -> Self {
        let lines = include_str!("dictionary.txt").lines();
        let classes = lines.map(|line| {
            let (class, text) = line
                .split_once(' ')
                .expect("a line is a class and a character");
            let class = class.parse().expect("a class is a number");
            (
                class,
                text.chars().next().expect("a character stands there"),
            )
        });
        Self {
            network,
            classes: classes.collect(),
        }
    }

    /// Columns of the network that reading a line takes.
    pub(super) fn cost(rect: &Rect) -> u64 {
        u64::from(columns(rect)).max(LEAST)
    }

    pub(super) fn read(&self, image: &RgbBuffer, rect: Rect) -> Result<TextLine, ReadError> {
        let line = image.resized(&rect, columns(&rect), HEIGHT)?;
        let mut whole = TextLine {
            text: String::new(),
            rect,
            // No surer than the least sure of its pieces.
            confidence: 1.0,
        };
        for piece in pieces(&line) {
            let (text, confidence) = self.read_piece(&line, &piece)?;
            whole.text.push_str(&text);
            whole.confidence = whole.confidence.min(confidence);
        }
        whole.text = whole.text.trim().to_owned();
        Ok(whole)
    }

    fn read_piece(&self, line: &RgbBuffer, piece: &Range<u32>) -> Result<(String, f32), ReadError> {
        let output = self.network.run(&input(line, piece))?;
        let classes = match output.shape() {
            [_, _, classes] if *classes > self.last_class() => *classes,
            shape => {
                return Err(ReadError(format!(
                    "the recogniser's output has shape {shape:?}"
                )));
            }
        };
        let steps = output.to_vec();
        Ok(self.decode(steps.chunks_exact(classes)))
    }

    fn last_class(&self) -> usize {
        self.classes
            .iter()
            .map(|(class, _)| *class)
            .max()
            .unwrap_or(BLANK)
    }

    fn decode<'a>(&self, steps: impl Iterator<Item = &'a [f32]>) -> (String, f32) {
        let mut text = String::new();
        let (mut sum, mut count) = (0.0, 0.0);
        let mut before = BLANK;
        for step in steps {
            // The space comes last and is in no dictionary.
            let space = step.len() - 1;
            let blank = (BLANK, '\0', step[BLANK]);
            let known = self
                .classes
                .iter()
                .map(|(class, c)| (*class, *c, step[*class]));
            let best = known
                .chain([(space, ' ', step[space])])
                .fold(blank, |best, candidate| {
                    if candidate.2 > best.2 {
                        candidate
                    } else {
                        best
                    }
                });
            let (class, character, probability) = best;
            if class != BLANK && class != before {
                text.push(character);
                sum += probability;
                count += 1.0;
            }
            before = class;
        }
        let confidence = if count > 0.0 { sum / count } else { 0.0 };
        (text, confidence)
    }
}

/// Columns of a line that was brought to the network's height.
fn columns(rect: &Rect) -> u32 {
    (rect.width * HEIGHT)
        .div_ceil(rect.height.max(1))
        .max(STRIDE)
}

/// A line in pieces the network takes, each of which ends where least is drawn.
fn pieces(line: &RgbBuffer) -> Vec<Range<u32>> {
    let mut pieces = Vec::new();
    let mut from = 0;
    while line.width() - from > LONGEST {
        let latest = from + LONGEST;
        let seam = (latest - SEAM..latest).rev();
        let end = seam.min_by_key(|x| ink(line, *x)).unwrap_or(latest);
        pieces.push(from..end);
        from = end;
    }
    pieces.push(from..line.width());
    pieces
}

/// Difference between the darkest and the brightest of a column.
fn ink(line: &RgbBuffer, x: u32) -> u8 {
    let column = (0..line.height()).map(|y| line.pixel(x, y)[1]);
    let (dark, bright) = column.fold((u8::MAX, 0), |(dark, bright), value| {
        (dark.min(value), bright.max(value))
    });
    bright.saturating_sub(dark)
}

/// Columns of a line, channels first (blue, green, red), from -1 to 1, padded
/// with grey.
fn input(line: &RgbBuffer, piece: &Range<u32>) -> NdTensor<f32, 4> {
    let columns = piece.start as usize..piece.end as usize;
    let (width, height) = (
        columns.len().next_multiple_of(STRIDE as usize),
        HEIGHT as usize,
    );
    let mut values = vec![0.0; 3 * width * height];
    for (y, row) in line.rows().enumerate() {
        for (x, pixel) in row[columns.clone()].iter().enumerate() {
            let at = y * width + x;
            for (channel, value) in pixel.iter().rev().enumerate() {
                values[channel * width * height + at] = f32::from(*value) / 127.5 - 1.0;
            }
        }
    }
    NdTensor::from_data([1, 3, height, width], values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_any_length_is_read_in_pieces_cut_between_letters() {
        // Letters of 30 columns, 10 apart.
        let line = RgbBuffer::from_fn(15_000, HEIGHT, |x, y| {
            let drawn = x % 40 < 30 && y % 7 < 3;
            [if drawn { 255 } else { 20 }; 3]
        });
        let pieces = pieces(&line);
        assert_eq!(pieces.len(), 3);
        assert_eq!((pieces[0].start, pieces[2].end), (0, 15_000));
        for pair in pieces.windows(2) {
            assert_eq!(pair[0].end, pair[1].start, "nothing is left out");
            assert!(pair[0].len() <= LONGEST as usize);
            assert!(pair[0].end % 40 >= 30, "through a letter: {pair:?}");
        }
        let short = RgbBuffer::from_fn(LONGEST, HEIGHT, |_, _| [0; 3]);
        assert_eq!(super::pieces(&short).len(), 1);
    }
}

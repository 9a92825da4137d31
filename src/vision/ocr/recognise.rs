//! What one line says: a probability per character and step, the best at each
//! step taken, repeats and blanks dropped (connectionist temporal
//! classification).
//!
//! The network knows 6,905 characters, most of them Chinese. Only those that
//! stand on dashboards are considered (`dictionary.txt`: class and character),
//! so that noise is never read as an ideograph.

use image::RgbImage;
use image::imageops::{self, FilterType};
use rten_tensor::NdTensor;
use rten_tensor::prelude::*;

use super::{Network, ReadError};
use crate::media::{Rect, TextLine};

/// Every line is brought to this height.
const HEIGHT: u32 = 48;
const STRIDE: u32 = 16;
/// A longer line would be a rule or a frame: 8K at a height of 9 pixels.
const LONGEST: u32 = 6400;
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

    pub(super) fn read(&self, image: &RgbImage, rect: Rect) -> Result<TextLine, ReadError> {
        let crop = imageops::crop_imm(image, rect.x, rect.y, rect.width, rect.height).to_image();
        let width = (rect.width * HEIGHT)
            .div_ceil(rect.height.max(1))
            .clamp(STRIDE, LONGEST);
        let line = imageops::resize(&crop, width, HEIGHT, FilterType::Triangle);
        let output = self.network.run(&input(&line))?;
        let classes = match output.shape() {
            [_, _, classes] if *classes > self.last_class() => *classes,
            shape => {
                return Err(ReadError(format!(
                    "the recogniser's output has shape {shape:?}"
                )));
            }
        };
        let steps = output.to_vec();
        let (text, confidence) = self.decode(steps.chunks_exact(classes));
        Ok(TextLine {
            text,
            rect,
            confidence,
        })
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
        (text.trim().to_owned(), confidence)
    }
}

/// Channels first (blue, green, red), from -1 to 1, padded with grey.
fn input(line: &RgbImage) -> NdTensor<f32, 4> {
    let (width, height) = (
        line.width().next_multiple_of(STRIDE) as usize,
        HEIGHT as usize,
    );
    let mut values = vec![0.0; 3 * width * height];
    for (x, y, pixel) in line.enumerate_pixels() {
        let at = y as usize * width + x as usize;
        for (channel, value) in pixel.0.iter().rev().enumerate() {
            values[channel * width * height + at] = f32::from(*value) / 127.5 - 1.0;
        }
    }
    NdTensor::from_data([1, 3, height, width], values)
}

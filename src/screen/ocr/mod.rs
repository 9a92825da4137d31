//! PP-OCRv6-tiny (Apache-2.0) on rten: a detector that paints where text
//! stands, and a recogniser that reads one line at a time.
//!
//! Works on one thread of its own, at low priority; `nice` is the thread's.

mod detect;
mod recognise;
mod rgb_buffer;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use detect::Detector;
use recognise::Recogniser;
use rgb_buffer::RgbBuffer;
use rten::{Model, RunOptions, ThreadPool};
use rten_tensor::prelude::*;
use rten_tensor::{NdTensor, Tensor};

use super::page::KnownLine;
use crate::changed_regions::merged;
use crate::picture::{Picture, Rect, TextLine};

/// Smaller pictures hold no line of text.
const SMALLEST: u32 = 8;
/// Lines of a part that are kept: more are noise, or a screen nobody could
/// read. They count as unread.
const MOST_LINES: usize = 4000;
/// Unread pieces that are told one by one; of more, the box around them all.
const MOST_PIECES: usize = 4000;

/// The OCR model is not there, or not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("failed to read the OCR model {}: {source}; scripts/fetch-models.sh gets it", file.display())]
    Read {
        file: PathBuf,
        source: std::io::Error,
    },
    #[error("{} is not the OCR model expected: {reason}; scripts/fetch-models.sh gets it", file.display())]
    Model { file: PathBuf, reason: String },
}

/// The picture could not be read: a fault of the model, not of the picture.
#[derive(Debug, thiserror::Error)]
#[error("failed to run the OCR model: {0}")]
pub struct ReadError(String);

impl ReadError {
    pub(crate) fn panicked(error: &tokio::task::JoinError) -> Self {
        Self(error.to_string())
    }
}

/// Text on a part of a picture.
#[derive(Debug, Default)]
pub(crate) struct OcrResult {
    /// In no order.
    pub(crate) lines: Vec<TextLine>,
    /// Where text was seen that nobody has read.
    pub(crate) unread: Vec<Rect>,
}

/// The two models and the thread they run on.
#[derive(Debug)]
pub struct Ocr {
    detector: Detector,
    recogniser: Recogniser,
    thread: Arc<ThreadPool>,
}

impl Ocr {
    /// Loads `det.onnx` and `rec.onnx` from a folder.
    pub fn load(folder: &Path) -> Result<Self, LoadError> {
        // More would not read faster than the budget allows.
        let thread = Arc::new(ThreadPool::with_num_threads(1));
        thread.run(lower_priority);
        Ok(Self {
            detector: Detector::new(Network::load(&folder.join("det.onnx"), &thread)?),
            recogniser: Recogniser::new(Network::load(&folder.join("rec.onnx"), &thread)?),
            thread,
        })
    }

    /// Runs a piece of work on the models' own thread.
    pub(crate) fn on_thread<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.thread.run(work)
    }

    /// The lines of text on a part of a picture. `known` may already know what
    /// a line says, given where on the picture it stands; it is asked before
    /// the recogniser, which is most of the cost and takes it from `left`. What
    /// was `waiting` comes first; what there is nothing left for is unread.
    pub(super) fn read(
        &self,
        picture: &Picture,
        part: Rect,
        left: &mut u64,
        waiting: &[Rect],
        mut known: impl FnMut(&Rect) -> KnownLine,
    ) -> Result<OcrResult, ReadError> {
        let mut reading = OcrResult::default();
        if part.width < SMALLEST || part.height < SMALLEST {
            return Ok(reading);
        }
        let image = rgb(picture, &part);
        let mut found: Vec<_> = self
            .detector
            .detect(&image)?
            .into_iter()
            .map(|found| {
                let place = Rect {
                    x: part.x + found.x,
                    y: part.y + found.y,
                    ..found
                };
                (found, place)
            })
            .collect();
        found.sort_by_key(|(_, place)| !waiting.iter().any(|rect| rect.meets(place)));
        for (found, place) in found {
            if reading.lines.len() >= MOST_LINES {
                reading.unread.push(place);
                continue;
            }
            match known(&place) {
                KnownLine::Line(line) => reading.lines.push(line),
                KnownLine::Elsewhere => {}
                KnownLine::No if *left == 0 => reading.unread.push(place),
                KnownLine::No => {
                    *left = left.saturating_sub(Recogniser::cost(&found));
                    reading.lines.push(TextLine {
                        rect: place,
                        ..self.recogniser.read(&image, found)?
                    });
                }
            }
        }
        reading.unread = gathered(reading.unread, picture);
        Ok(reading)
    }
}

/// ONNX graph with one input and one output.
#[derive(Debug)]
struct Network {
    model: Model,
    thread: Arc<ThreadPool>,
}

impl Network {
    fn load(file: &Path, thread: &Arc<ThreadPool>) -> Result<Self, LoadError> {
        let file = file.to_owned();
        let bytes = match std::fs::read(&file) {
            Ok(bytes) => bytes,
            Err(source) => return Err(LoadError::Read { file, source }),
        };
        match Model::load(bytes) {
            Ok(model) => Ok(Self {
                model,
                thread: Arc::clone(thread),
            }),
            Err(error) => Err(LoadError::Model {
                file,
                reason: error.to_string(),
            }),
        }
    }

    /// Runs the graph on one picture, `[1, channels, height, width]`.
    fn run(&self, input: &NdTensor<f32, 4>) -> Result<Tensor<f32>, ReadError> {
        let mut options = RunOptions::default();
        options.thread_pool = Some(Arc::clone(&self.thread));
        let output = self.model.run_one(input.view().into(), Some(options));
        let output = output.map_err(|error| ReadError(error.to_string()))?;
        output
            .try_into()
            .map_err(|_| ReadError("the output is not a tensor of floats".to_owned()))
    }
}

/// Pieces beside and below each other as one: a word of a row says what the
/// next one is.
fn gathered(pieces: Vec<Rect>, picture: &Picture) -> Vec<Rect> {
    if pieces.len() > MOST_PIECES {
        let all = pieces.into_iter().reduce(|all, piece| all.with(&piece));
        return all.into_iter().collect();
    }
    let wide = pieces
        .iter()
        .map(|piece| piece.grown(piece.height, picture.width, picture.height));
    merged(wide.collect())
}

/// From JFIF's YCbCr (full range, BT.601), chroma repeated two by two.
fn rgb(picture: &Picture, part: &Rect) -> RgbBuffer {
    let width = picture.width as usize;
    let chroma = width.div_ceil(2);
    RgbBuffer::from_fn(part.width, part.height, |x, y| {
        let (x, y) = ((part.x + x) as usize, (part.y + y) as usize);
        let at = (y / 2) * chroma + x / 2;
        let luma = i32::from(picture.y[y * width + x]);
        let (cb, cr) = (
            i32::from(picture.u[at]) - 128,
            i32::from(picture.v[at]) - 128,
        );
        // Fixed point with 16 bits: 1.402, 0.344136, 0.714136, 1.772.
        let channel = |offset: i32| (luma + ((offset + 32_768) >> 16)).clamp(0, 255) as u8;
        [
            channel(91_881 * cr),
            channel(-22_554 * cb - 46_802 * cr),
            channel(116_130 * cb),
        ]
    })
}

fn lower_priority() {
    // SAFETY: setpriority takes numbers only; 0 is the calling thread on Linux.
    let lowered = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 10) };
    if lowered != 0 {
        tracing::warn!("failed to lower the priority of the OCR thread");
    }
}

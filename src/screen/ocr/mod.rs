//! PP-OCRv6-tiny (Apache-2.0) on ONNX Runtime: a text detector, and a
//! recogniser that reads lines; and recognisers of other alphabets.
//!
//! ```text
//! Picture -> blocks    parts that may hold text, from the top
//!               v
//!            detect    boxes around lines in a block
//!               v
//!            recognise lines of one width together
//!               v
//!            second    lines in another alphabet, by a model for it
//! ```
//!
//! Runs on the calling thread. Each reading in progress has its own networks,
//! so that several threads can read at once.

mod alphabet;
mod blocks;
mod detect;
mod engine;
#[cfg(test)]
mod language_tests;
mod onnx;
mod other;
mod pieces;
mod recognise;
mod rgb_buffer;
mod second;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use detect::Detector;
use engine::{Network, OnnxRuntime};
use onnx::SplitRecogniser;
use other::OtherRecogniser;
use recognise::{ReadBefore, Recogniser};
use rgb_buffer::RgbBuffer;
pub(crate) use second::KnownAlphabets;
use second::SecondReader;
use watchtower_base::sync::Locked;

use super::page::KnownLine;
use crate::changed_regions::merged;
use crate::picture::{Picture, Rect, TextLine};

/// Model files of the two networks.
const DETECTOR: &str = "det.onnx";
const RECOGNISER: &str = "rec.onnx";
/// Minimum side of a picture that can hold a line of text, in pixels.
const SMALLEST: u32 = 8;
/// Maximum number of lines kept of a part: more are noise, or a screen too
/// dense to read. The rest count as unread.
const MOST_LINES: usize = 4000;
/// Maximum number of unread pieces reported one by one; if there are more, one
/// box around them all.
const MOST_PIECES: usize = 4000;

/// Error of a missing or invalid OCR model.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("failed to read the OCR model {}: {source}; scripts/fetch-models.sh gets it", file.display())]
    Read {
        file: PathBuf,
        source: std::io::Error,
    },
    #[error("{} is not the OCR model expected: {reason}; scripts/fetch-models.sh gets it", file.display())]
    Model { file: PathBuf, reason: String },
    #[error("unknown language \"{name}\" in [ocr] languages; expected one of {known}, or a model of your own as {} with its dictionary rec-{name}.txt", folder.join(format!("rec-{name}.onnx")).display())]
    Language {
        name: String,
        known: String,
        folder: PathBuf,
    },
    #[error("failed to load ONNX Runtime from {}: {reason}; scripts/fetch-models.sh gets it", file.display())]
    Library { file: PathBuf, reason: String },
}

/// Error of reading a picture, caused by the model and not by the picture.
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
    /// Unordered.
    pub(crate) lines: Vec<TextLine>,
    /// Detected text that was not read.
    pub(crate) unread: Vec<Rect>,
}

/// OCR models, shared by several threads.
#[derive(Debug)]
pub struct Ocr {
    runtime: OnnxRuntime,
    /// Folder with the model files.
    folder: PathBuf,
    detector: Vec<u8>,
    recogniser: SplitRecogniser,
    others: Vec<OtherRecogniser>,
    /// Networks not in use by any reading.
    idle: Mutex<Vec<Networks>>,
}

/// Prepared networks and their memory, for one reading at a time.
#[derive(Debug)]
struct Networks {
    detector: Detector,
    recogniser: Recogniser,
}

/// Part of a picture to read, and the areas to read first.
pub(super) struct PartToRead<'a> {
    pub(super) picture: &'a Picture,
    pub(super) part: Rect,
    /// Areas left unread so far, to be read first.
    pub(super) waiting: &'a [Rect],
    /// Alphabets on the rest of the picture.
    pub(super) alphabets: KnownAlphabets,
}

impl Ocr {
    /// Loads the models of a folder, to read what they know.
    pub fn load(folder: &Path) -> Result<Self, LoadError> {
        Self::load_for(folder, &[])
    }

    /// Loads `det.onnx`, `rec.onnx` and the ONNX Runtime library from a folder,
    /// and finds the models of other languages there; none listed: all of the
    /// project's own.
    pub fn load_for(folder: &Path, languages: &[String]) -> Result<Self, LoadError> {
        let detector = model(folder, DETECTOR, |bytes| {
            onnx::check(&bytes).map(|()| bytes)
        })?;
        let recogniser = model(folder, RECOGNISER, |bytes| {
            onnx::split(&bytes, recognise::classes)
        })?;
        let ocr = Self {
            runtime: OnnxRuntime::load(folder)?,
            folder: folder.to_owned(),
            detector,
            recogniser,
            others: other::others(folder, languages)?,
            idle: Mutex::default(),
        };
        // Build networks once here, so that errors appear at load time.
        let networks = ocr.networks()?;
        ocr.idle.locked().push(networks);
        Ok(ocr)
    }

    /// Faults of the models of other languages, which are not read; loads each.
    pub fn language_faults(&self) -> Vec<String> {
        let prove = |other: &OtherRecogniser| {
            other.prove(&self.runtime);
            other.fault()
        };
        self.others.iter().filter_map(prove).collect()
    }

    /// True if it reads Chinese and Japanese.
    pub fn reads_ideographs(&self) -> bool {
        let mut others = self.others.iter();
        others.any(|other| other.is_multi() && other.is_wanted && other.fault().is_none())
    }

    /// Lines read by recognisers of other alphabets so far.
    #[cfg(test)]
    pub(crate) fn second_readings(&self) -> u64 {
        self.others.iter().map(OtherRecogniser::lines_read).sum()
    }

    /// Runs work on a thread of lower priority.
    pub(crate) fn on_thread<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        let low = || {
            lower_priority();
            work()
        };
        let done = std::thread::scope(|scope| scope.spawn(low).join());
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Reads the lines of text on a part of a picture. `known` is called with
    /// the position of a line before the recogniser and may return its text
    /// from an earlier reading; recognition is most of the cost and is charged
    /// to `left`. Lines in `waiting` areas come first; lines beyond the budget
    /// are unread.
    ///
    /// The others are read from the top, and `each` receives lines in portions
    /// as they are read.
    pub(super) fn read(
        &self,
        to_read: &PartToRead<'_>,
        left: &mut u64,
        mut known: impl FnMut(&Rect) -> KnownLine,
        mut each: impl FnMut(&[TextLine]),
    ) -> Result<OcrResult, ReadError> {
        let mut reading = OcrResult::default();
        let &PartToRead {
            picture,
            part,
            waiting,
            alphabets,
        } = to_read;
        if part.width < SMALLEST || part.height < SMALLEST {
            return Ok(reading);
        }
        let mut networks = (self.networks()).map_err(|error| ReadError(error.to_string()))?;
        let image = rgb(picture, &part);
        let mut found = Vec::new();
        for block in blocks::blocks(picture, &part) {
            let there = Rect {
                x: block.x - part.x,
                y: block.y - part.y,
                ..block
            };
            found.extend(networks.detector.detect(&image, &there)?);
        }
        for line in &mut found {
            (line.x, line.y) = (line.x + part.x, line.y + part.y);
        }
        let later = |place: &Rect| !waiting.iter().any(|rect| rect.meets(place));
        found.sort_by_key(|line| (later(line), line.y, line.x));
        let mut asked = Vec::new();
        for line in found {
            if reading.lines.len() + asked.len() >= MOST_LINES {
                reading.unread.push(line);
                continue;
            }
            match known(&line) {
                KnownLine::Line(line) => reading.lines.push(line),
                KnownLine::Elsewhere => {}
                KnownLine::No if *left == 0 => reading.unread.push(line),
                KnownLine::No => {
                    *left = left.saturating_sub(Recogniser::cost(&line));
                    asked.push(line);
                }
            }
        }
        let mut second = SecondReader {
            runtime: &self.runtime,
            others: &self.others,
            image: &image,
            seen: &part,
            left,
            unread: &mut reading.unread,
            known: alphabets,
            doubtful: Vec::new(),
        };
        let mut fresh = Vec::with_capacity(asked.len());
        let mut before = ReadBefore::default();
        for lines in recognise::portions(&asked) {
            let read = (networks.recogniser).read(&image, &part, lines, &mut before)?;
            let read = second.seen_to(&read);
            each(&read);
            fresh.extend(read);
        }
        second.unmask(&mut fresh);
        reading.lines.extend(fresh);
        self.idle.locked().push(networks);
        reading.unread = gathered(reading.unread, picture);
        Ok(reading)
    }

    /// Networks for a reading; the caller returns them afterwards.
    fn networks(&self) -> Result<Networks, LoadError> {
        if let Some(networks) = self.idle.locked().pop() {
            return Ok(networks);
        }
        let network = |name: &str, model: &[u8]| {
            Network::new(&self.runtime, model).map_err(|reason| LoadError::Model {
                file: self.folder.join(name),
                reason: reason.to_string(),
            })
        };
        let split = &self.recogniser;
        let (body, head) = (
            network(RECOGNISER, &split.body)?,
            network(RECOGNISER, &split.head)?,
        );
        Ok(Networks {
            detector: Detector::new(network(DETECTOR, &self.detector)?),
            recogniser: Recogniser::new(body, head, split.classes),
        })
    }
}

/// Reads a file of the folder and parses it.
fn model<T>(
    folder: &Path,
    name: &str,
    take: impl FnOnce(Vec<u8>) -> Result<T, onnx::Reason>,
) -> Result<T, LoadError> {
    let file = folder.join(name);
    match std::fs::read(&file) {
        Ok(bytes) => take(bytes).map_err(|reason| LoadError::Model { file, reason }),
        Err(source) => Err(LoadError::Read { file, source }),
    }
}

/// Merges pieces beside and below each other, as a word may be the label of the
/// next one in its row.
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

/// Converts JFIF YCbCr (full range, BT.601) to RGB, with chroma repeated two by
/// two.
fn rgb(picture: &Picture, part: &Rect) -> RgbBuffer {
    let width = picture.width as usize;
    let chroma = width.div_ceil(2);
    let columns = part.x as usize..part.right() as usize;
    let mut pixels = Vec::with_capacity(part.width as usize * part.height as usize);
    for y in part.y as usize..part.bottom() as usize {
        let luma = &picture.y[y * width..][columns.clone()];
        let row = y / 2 * chroma..(y / 2 + 1) * chroma;
        let (blue, red) = (&picture.u[row.clone()], &picture.v[row]);
        pixels.extend(columns.clone().zip(luma).map(|(x, luma)| {
            let (cb, cr) = (i32::from(blue[x / 2]) - 128, i32::from(red[x / 2]) - 128);
            // 16-bit fixed point: 1.402, 0.344136, 0.714136, 1.772.
            let channel =
                |offset: i32| (i32::from(*luma) + ((offset + 32_768) >> 16)).clamp(0, 255) as u8;
            [
                channel(91_881 * cr),
                channel(-22_554 * cb - 46_802 * cr),
                channel(116_130 * cb),
            ]
        }));
    }
    RgbBuffer::new(part.width, part.height, pixels)
}

fn lower_priority() {
    // SAFETY: setpriority takes integers only; 0 is the calling thread on
    // Linux.
    let lowered = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 10) };
    if lowered != 0 {
        tracing::warn!("failed to lower the priority of the OCR thread");
    }
}

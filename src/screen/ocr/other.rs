//! Recognisers of other alphabets than Latin, each loaded when a line first
//! needs it: the one for Chinese and Japanese, and models that users bring.
//!
//! A model is `rec-NAME.onnx` with its dictionary `rec-NAME.txt`, a character
//! per line: any PP-OCR recogniser (input 48 pixels high, a step per 8 columns,
//! blank first and the space last among its classes).

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use watchtower_base::sync::Locked as _;

use super::alphabet::{REACH, UNREAD_ONE_IN, is_han, is_third, unexplained};
use super::engine::{Network, OnnxRuntime};
use super::pieces::{HEIGHT, Piece, fill, pieces};
use super::recognise::{BLANK, decode, unexpected};
use super::rgb_buffer::RgbBuffer;
use super::{LoadError, ReadError, onnx};
use crate::picture::Rect;
use crate::redact::READABLE;
use crate::settings::{CHINESE, JAPANESE, LATIN, MULTI};

/// Maximum columns per run: with a float per class and step, 15 MB of output.
const LONGEST: u32 = 1600;
/// Maximum size of a file that a user brings, as a whole model is held in
/// memory: ten times the largest one known.
const LARGEST: u64 = 256 << 20;

/// Recogniser of other letters than Latin, and the networks that are loaded.
#[derive(Debug)]
pub(super) struct OtherRecogniser {
    name: String,
    model: PathBuf,
    /// True if its text may be used; otherwise it only tells which lines are not
    /// Latin.
    pub(super) is_wanted: bool,
    idle: Mutex<Vec<LoadedNetwork>>,
    fault: Mutex<Option<String>>,
    lines: AtomicU64,
}

/// Network with the characters of its classes.
#[derive(Debug)]
struct LoadedNetwork {
    network: Network,
    characters: Vec<String>,
}

/// Line as such a recogniser reads it.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct OtherReading {
    pub(super) text: String,
    pub(super) confidence: f32,
    /// Steps with ink and no letter near, and all with ink.
    alone: usize,
    ink: usize,
}

impl OtherReading {
    pub(super) fn letters(&self) -> usize {
        let letters = self.text.chars();
        letters.filter(|c| c.is_alphanumeric()).count()
    }

    /// Number of letters that are not Latin.
    pub(super) fn own_letters(&self) -> usize {
        let letters = self.text.chars();
        letters.filter(|c| is_han(*c) || is_third(*c)).count()
    }

    /// True if letters explain its ink.
    pub(super) fn is_whole(&self) -> bool {
        self.alone * UNREAD_ONE_IN <= self.ink
    }

    /// True if it was read with confidence, whole.
    fn is_read(&self) -> bool {
        self.confidence >= READABLE && self.is_whole()
    }
}

impl OtherRecogniser {
    /// Recogniser of a file in the folder, which is checked and not yet loaded.
    fn new(folder: &Path, name: &str, is_wanted: bool) -> Self {
        let other = Self {
            name: name.to_owned(),
            model: folder.join(format!("rec-{name}.onnx")),
            is_wanted,
            idle: Mutex::default(),
            fault: Mutex::default(),
            lines: AtomicU64::default(),
        };
        if let Err(reason) = other.files() {
            other.fail(reason);
        }
        other
    }

    pub(super) fn is_multi(&self) -> bool {
        self.name == MULTI
    }

    /// Reason why nothing can be read with it.
    pub(super) fn fault(&self) -> Option<String> {
        self.fault.locked().clone()
    }

    fn fail(&self, reason: String) {
        tracing::error!(language = self.name, %reason, "OCR model unusable, its language is not read");
        *self.fault.locked() = Some(reason);
    }

    /// Number of lines it has read.
    #[cfg(test)]
    pub(super) fn lines_read(&self) -> u64 {
        self.lines.load(Ordering::Relaxed)
    }

    #[cfg(test)]
    pub(super) fn loaded(&self) -> usize {
        self.idle.locked().len()
    }

    /// Loads it if it is not, to find faults of its files.
    pub(super) fn prove(&self, runtime: &OnnxRuntime) {
        let nothing = RgbBuffer::new(
            2 * HEIGHT,
            HEIGHT,
            vec![[255; 3]; (2 * HEIGHT * HEIGHT) as usize],
        );
        let place = Rect {
            x: 0,
            y: 0,
            width: 2 * HEIGHT,
            height: HEIGHT,
        };
        self.read(runtime, &nothing, &place, &place);
    }

    /// Text of a line of a picture, of which `image` is the part `seen`; `None`
    /// if it cannot be used, which is logged once.
    pub(super) fn read(
        &self,
        runtime: &OnnxRuntime,
        image: &RgbBuffer,
        seen: &Rect,
        line: &Rect,
    ) -> Option<OtherReading> {
        if self.fault.locked().is_some() {
            return None;
        }
        let idle = self.idle.locked().pop();
        let read = idle
            .map_or_else(|| self.load(runtime), Ok)
            .and_then(|mut loaded| {
                let read = loaded.read(image, seen, line);
                read.map(|read| (loaded, read)).map_err(|error| {
                    let file = self.model.display();
                    format!("{file} is no recogniser of PP-OCR: {error}")
                })
            });
        match read {
            Ok((loaded, read)) => {
                self.idle.locked().push(loaded);
                self.lines.fetch_add(1, Ordering::Relaxed);
                Some(read)
            }
            Err(reason) => {
                self.fail(reason);
                None
            }
        }
    }

    fn load(&self, runtime: &OnnxRuntime) -> Result<LoadedNetwork, String> {
        let (model, characters) = self.files()?;
        let network = Network::new(runtime, &model)
            .map_err(|error| format!("failed to load {}: {error}", self.model.display()))?;
        tracing::info!(model = %self.model.display(), "OCR model loaded");
        Ok(LoadedNetwork {
            network,
            characters,
        })
    }

    /// Model, and the character of each class.
    fn files(&self) -> Result<(Vec<u8>, Vec<String>), String> {
        let dictionary = self.model.with_extension("txt");
        let remedy = match self.is_multi() {
            true => "scripts/fetch-models.sh gets it",
            false => "docs/seeing.md says what it needs",
        };
        let told = |file: &Path, reason: String| format!("{}: {reason}; {remedy}", file.display());
        let model = bounded(&self.model).map_err(|reason| told(&self.model, reason))?;
        let classes = onnx::check(&model)
            .and_then(|()| onnx::classes(&model))
            .map_err(|reason| told(&self.model, reason))?;
        let text = bounded(&dictionary)
            .and_then(|bytes| String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned()));
        let text = text.map_err(|reason| told(&dictionary, reason))?;
        let blank = std::iter::once(String::new());
        let characters: Vec<_> = blank
            .chain(text.lines().map(str::to_owned))
            .chain([" ".to_owned()])
            .collect();
        let known = characters.len();
        // Some models have no class for the space.
        match classes {
            Some(classes) if classes != known && classes + 1 != known => {
                let there = known - 2;
                let reason = format!("it has {there} characters, and its model {classes} classes");
                Err(told(&dictionary, reason))
            }
            _ => Ok((model, characters)),
        }
    }

    /// True if a reading is text in letters that this recogniser is for.
    pub(super) fn accepts(&self, read: &OtherReading, least: usize) -> bool {
        let count = |of: fn(char) -> bool| read.text.chars().filter(|c| of(*c)).count();
        let (han, third) = (count(is_han), count(is_third));
        let own = if self.is_multi() {
            // Of Greek it knows too few letters.
            han >= least && third == 0
        } else {
            han + third > 0
        };
        self.is_wanted && own && read.is_read()
    }
}

impl LoadedNetwork {
    fn read(
        &mut self,
        image: &RgbBuffer,
        seen: &Rect,
        line: &Rect,
    ) -> Result<OtherReading, ReadError> {
        let mut whole = OtherReading::default();
        let (mut values, mut sum, mut count) = (Vec::new(), 0.0, 0_usize);
        for piece in &pieces(image, seen, line, 0, LONGEST)? {
            let width = piece.width();
            fill(&mut values, &[piece], width);
            let shape = [1, 3, HEIGHT as usize, width as usize];
            let characters = &self.characters;
            self.network.run(&shape, &values, |outputs| {
                let Some((shape, scores)) = outputs.first() else {
                    return Err(unexpected("the recogniser's number of outputs", &[0]));
                };
                let &[1, steps, classes] = &shape[..] else {
                    return Err(unexpected("the recogniser's output", shape));
                };
                if classes == 0 || classes > characters.len() || classes + 1 < characters.len() {
                    return Err(unexpected("the recogniser's output", shape));
                }
                let letters: Vec<_> = decode(scores.chunks_exact(classes).take(steps)).collect();
                for (step, class) in &letters {
                    whole.text.push_str(&characters[*class]);
                    sum += scores[step * classes + class];
                    count += usize::from(*class != BLANK);
                }
                // A blank explains no ink.
                let inked = letters
                    .iter()
                    .filter(|(_, class)| !characters[*class].trim().is_empty());
                let at: Vec<_> = inked.map(|(step, _)| *step).collect();
                let Piece {
                    pixels, columns, ..
                } = piece;
                let (alone, ink) = unexplained(pixels, columns, &at, REACH);
                whole.alone += alone.len();
                whole.ink += ink;
                Ok(())
            })?;
        }
        whole.text = whole.text.trim().to_owned();
        whole.confidence = sum / count.max(1) as f32;
        Ok(whole)
    }
}

/// Recognisers of other alphabets, in the order in which a line is read.
///
/// `languages` are the ones to read; empty: what the model of the project knows.
/// A model with a fault is kept, with its fault; the error is a language of
/// which nothing is there.
pub(super) fn others(
    folder: &Path,
    languages: &[String],
) -> Result<Vec<OtherRecogniser>, LoadError> {
    let mut others = Vec::new();
    let is_there = |name: &str, end: &str| folder.join(format!("rec-{name}.{end}")).exists();
    let asked = |name: &str| languages.iter().any(|language| language == name);
    let ideographs = asked(CHINESE) || asked(JAPANESE);
    // It also tells which lines are no Latin text at all.
    if ideographs || is_there(MULTI, "onnx") {
        let is_wanted = languages.is_empty() || ideographs;
        others.push(OtherRecogniser::new(folder, MULTI, is_wanted));
    } else {
        tracing::info!("no OCR model for Chinese and Japanese; scripts/fetch-models.sh gets it");
    }
    for name in languages {
        if [LATIN, CHINESE, JAPANESE].contains(&name.as_str()) {
            continue;
        }
        if !is_there(name, "onnx") && !is_there(name, "txt") {
            return Err(LoadError::Language {
                name: name.clone(),
                known: known(folder),
                folder: folder.to_owned(),
            });
        }
        others.push(OtherRecogniser::new(folder, name, true));
    }
    Ok(others)
}

/// Names of the languages that a folder of models can read.
fn known(folder: &Path) -> String {
    let mut names = vec![LATIN.to_owned(), CHINESE.to_owned(), JAPANESE.to_owned()];
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let brought = files.filter_map(|file| {
        let name = file.file_name().into_string().ok()?;
        let name = name.strip_prefix("rec-")?.strip_suffix(".onnx")?;
        (name != MULTI).then(|| name.to_owned())
    });
    let mut brought: Vec<_> = brought.collect();
    brought.sort();
    names.append(&mut brought);
    names.join(", ")
}

/// Contents of a file that is no larger than a model.
fn bounded(file: &Path) -> Result<Vec<u8>, String> {
    let size = std::fs::metadata(file).map_err(|error| error.to_string())?;
    if size.len() > LARGEST {
        return Err(format!("{} bytes, more than {LARGEST}", size.len()));
    }
    std::fs::read(file).map_err(|error| error.to_string())
}

//! Text recognition of lines: a score per character and step, the best at each
//! step, without repeats and blanks (connectionist temporal classification).
//!
//! The network knows 6,905 characters, most of them Chinese. Only those that
//! occur on dashboards are considered (`dictionary.txt`: class and character),
//! so that noise is never read as an ideograph. The probability among all
//! classes is computed only where a character was read: it distinguishes text
//! from drawings and from other alphabets.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};

use super::ReadError;
use super::alphabet::{REACH, UNREAD_ONE_IN, other_class, unexplained};
use super::engine::{Network, Outputs};
use super::pieces::{HEIGHT, Piece, STEP, STRIDE, columns, fill, pieces};
use super::rgb_buffer::RgbBuffer;
use crate::picture::{Rect, TextLine};

/// Maximum number of columns of a piece of a line. A longer line is read in
/// pieces, as squeezed letters are illegible.
const LONGEST: u32 = 6400;
/// Maximum number of columns of lines read together. Short ones share the cost
/// of a run; beyond that, layers leave the CPU cache and a column costs a tenth
/// more.
const TOGETHER: u32 = 512;
/// Minimum cost of a line, in columns.
const LEAST: u64 = 300;
/// Columns of lines read before they are reported: about 0.1 s of work, and
/// enough lines for some to have equal width.
const PORTION: u64 = 16_000;
/// CTC blank class: no character at this step.
pub(super) const BLANK: usize = 0;
/// Probability among the considered characters from which on only a sample of a
/// piece's characters is checked against all classes: the share lost by the
/// sample is applied to the rest. In another alphabet all lose, and in a
/// drawing few reach this value.
const CLEAR: f32 = 0.99;
/// Probability among all classes below which a letter may be another: in nearly
/// every line of kana or ideographs there is one, in half of the Latin ones none.
const DOUBTFUL: f32 = 0.75;
/// Sampling interval of clear characters, starting with the first.
const ONE_IN: usize = 4;
/// Maximum number of characters checked at once, so that the network's output,
/// a float per class, stays in the CPU cache.
const WEIGHED: usize = 32;
/// Maximum steps of a piece searched for letters of another alphabet: some ten
/// of them, enough to tell.
const SEARCHED: usize = 2 * WEIGHED;

/// Considered characters, and the networks that recognise them.
#[derive(Debug)]
pub(super) struct Recogniser {
    body: Network,
    head: Network,
    /// Classes and characters in the order of the body's scores; the first is
    /// blank.
    characters: Vec<(usize, char)>,
    /// Buffer for the body's input.
    values: Vec<f32>,
}

/// Character read in a piece.
struct Letter {
    piece: usize,
    character: char,
    class: usize,
    /// Index of its step's features.
    step: usize,
    /// Probability among the considered characters.
    probability: f32,
}

/// Text of a piece, and the sums of its characters' probabilities.
#[derive(Debug, Clone, Default)]
struct PieceText {
    text: String,
    /// Sum over checked characters, among all classes; then over the others,
    /// among the considered ones.
    weighed: f32,
    others: f32,
    /// Sums over the checked clear characters: among all classes, and among the
    /// considered ones.
    clear: (f32, f32),
    /// Letters of another alphabet.
    others_seen: usize,
    /// Letters less probable than [`DOUBTFUL`], and one for ink without letters.
    doubtful: usize,
}

/// Readings of one picture by the lines' pixels: a value that stands in many
/// rows of a table is read once.
#[derive(Debug, Default)]
pub(super) struct ReadBefore {
    /// Keyed, so that no screen can choose pixels that collide.
    hasher: RandomState,
    readings: HashMap<(u64, u32, u32), FirstReading>,
}

/// Line as the first recogniser reads it.
#[derive(Debug, Clone)]
pub(super) struct FirstReading {
    pub(super) line: TextLine,
    /// Letters of another alphabet that it saw there.
    pub(super) others: usize,
    /// True if some of the letters it read may be others.
    pub(super) is_doubtful: bool,
}

impl ReadBefore {
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.readings.len()
    }

    /// Key of a line: all of its pixels, which decide how it is read.
    fn key(&self, image: &RgbBuffer, seen: &Rect, line: &Rect) -> (u64, u32, u32) {
        let there = Rect {
            x: line.x - seen.x,
            y: line.y - seen.y,
            ..*line
        };
        let rows = image.part(&there).map(<[_]>::as_flattened);
        let pixels: Vec<u8> = rows.flatten().copied().collect();
        (self.hasher.hash_one(pixels), line.width, line.height)
    }
}

impl PieceText {
    fn confidence(&self) -> f32 {
        match self.text.chars().count() {
            0 => 0.0,
            count => {
                let (all, considered) = self.clear;
                // Unchecked characters exist only if some clear ones were
                // checked.
                let share = all / considered.max(CLEAR);
                (self.weighed + self.others * share) / count as f32
            }
        }
    }
}

/// Considered classes and characters of a network with that many classes: blank
/// first, the space last, which is not in the dictionary.
fn characters(classes: usize) -> Vec<(usize, char)> {
    let lines = include_str!("dictionary.txt").lines();
    let known = lines.map(|line| {
        let (class, text) = line
            .split_once(' ')
            .expect("a line is a class and a character");
        let class = class.parse().expect("a class is a number");
        (
            class,
            text.chars().next().expect("a character stands there"),
        )
    });
    let blank = std::iter::once((BLANK, '\0'));
    let space = (classes.saturating_sub(1), ' ');
    blank.chain(known).chain([space]).collect()
}

/// Classes of the considered characters.
pub(super) fn classes(all: usize) -> Vec<usize> {
    let characters = characters(all).into_iter();
    characters.map(|(class, _)| class).collect()
}

/// Batches of lines, in order, each with about [`PORTION`] columns.
pub(super) fn portions(lines: &[Rect]) -> impl Iterator<Item = &[Rect]> {
    let mut rest = lines;
    std::iter::from_fn(move || {
        let mut columns = 0;
        let full = |line: &Rect| {
            columns += Recogniser::cost(line);
            columns >= PORTION
        };
        let end = rest
            .iter()
            .position(full)
            .map_or(rest.len(), |last| last + 1);
        let (portion, after) = rest.split_at(end);
        rest = after;
        (!portion.is_empty()).then_some(portion)
    })
}

impl Recogniser {
    /// Combines the two networks; `classes` is the number of the head's
    /// classes.
    pub(super) fn new(body: Network, head: Network, classes: usize) -> Self {
        Self {
            body,
            head,
            characters: characters(classes),
            values: Vec::new(),
        }
    }

    /// Network columns that reading a line takes.
    pub(super) fn cost(rect: &Rect) -> u64 {
        u64::from(columns(rect)).max(LEAST)
    }

    /// Text of each line of a picture, in the order given. `image` is the part
    /// `seen` of it, which contains the lines; those with the pixels of one in
    /// `before` are not read again.
    pub(super) fn read(
        &mut self,
        image: &RgbBuffer,
        seen: &Rect,
        lines: &[Rect],
        before: &mut ReadBefore,
    ) -> Result<Vec<FirstReading>, ReadError> {
        let keys: Vec<_> = (lines.iter())
            .map(|line| before.key(image, seen, line))
            .collect();
        let mut asked = HashSet::new();
        let mut is_fresh = |key: &_| !before.readings.contains_key(key) && asked.insert(*key);
        let fresh: Vec<_> = (keys.iter().copied().zip(lines))
            .filter(|(key, _)| is_fresh(key))
            .collect();
        let lines_of: Vec<_> = fresh.iter().map(|(_, line)| **line).collect();
        let read = self.read_each(image, seen, &lines_of)?;
        let fresh = fresh.into_iter().map(|(key, _)| key);
        before.readings.extend(fresh.zip(read));
        let known = keys.iter().zip(lines).map(|(key, line)| {
            let mut reading = before.readings[key].clone();
            reading.line.rect = *line;
            reading
        });
        Ok(known.collect())
    }

    /// Text of each line of a picture, in the order given.
    fn read_each(
        &mut self,
        image: &RgbBuffer,
        seen: &Rect,
        lines: &[Rect],
    ) -> Result<Vec<FirstReading>, ReadError> {
        let mut whole: Vec<_> = (lines.iter())
            .map(|rect| FirstReading {
                line: TextLine {
                    text: String::new(),
                    rect: *rect,
                    // Lowered to the confidence of its least certain piece.
                    confidence: 1.0,
                },
                others: 0,
                is_doubtful: false,
            })
            .collect();
        let mut all = Vec::new();
        for (line, rect) in lines.iter().enumerate() {
            all.extend(pieces(image, seen, rect, line, LONGEST)?);
        }
        let mut texts = vec![PieceText::default(); all.len()];
        for together in batches(&all) {
            let pieces: Vec<_> = together.iter().map(|piece| &all[*piece]).collect();
            let read = self.read_together(&pieces)?;
            for (piece, text) in together.into_iter().zip(read) {
                texts[piece] = text;
            }
        }
        for (piece, text) in all.iter().zip(texts) {
            let reading = &mut whole[piece.line];
            reading.line.text.push_str(&text.text);
            reading.line.confidence = reading.line.confidence.min(text.confidence());
            reading.others += text.others_seen;
            reading.is_doubtful |= text.doubtful > 0;
        }
        for FirstReading { line, .. } in &mut whole {
            line.text = line.text.trim().to_owned();
        }
        Ok(whole)
    }

    /// Text of pieces of equal width.
    fn read_together(&mut self, pieces: &[&Piece]) -> Result<Vec<PieceText>, ReadError> {
        let width = pieces.first().map_or(STRIDE, |piece| piece.width());
        let shape = [pieces.len(), 3, HEIGHT as usize, width as usize];
        fill(&mut self.values, pieces, width);
        let characters = &self.characters;
        let read = |outputs: Outputs<'_>| {
            let [(shape, features), (scored, scores)] = &outputs[..] else {
                return Err(unexpected(
                    "the recogniser's number of outputs",
                    &[outputs.len()],
                ));
            };
            let (&[_, steps, width], &[_, _, known]) = (&shape[..], &scored[..]) else {
                return Err(unexpected("the recogniser's output", shape));
            };
            if known != characters.len() || shape[..2] != scored[..2] || shape[0] != pieces.len() {
                return Err(unexpected("the recogniser's output", scored));
            }
            let (mut letters, mut alone) = (Vec::<Letter>::new(), Vec::new());
            let mut gaps = Vec::with_capacity(pieces.len());
            for (piece, scores) in scores.chunks_exact(steps * known).enumerate() {
                let there = (pieces[piece].width() / STEP) as usize;
                let best = decode(scores.chunks_exact(known).take(there));
                letters.extend(best.map(|(step, best)| Letter {
                    piece,
                    character: characters[best].1,
                    class: characters[best].0,
                    step: piece * steps + step,
                    probability: probability(&scores[step * known..][..known], best),
                }));
                let first = letters.partition_point(|letter| letter.piece < piece);
                let read: Vec<_> = (letters[first..].iter())
                    .map(|letter| letter.step - piece * steps)
                    .collect();
                let Piece {
                    pixels, columns, ..
                } = pieces[piece];
                let (ink, all) = unexplained(pixels, columns, &read, REACH);
                gaps.push(ink.len() * UNREAD_ONE_IN > all);
                let ink = ink.into_iter().filter(|step| *step < there);
                alone.extend(ink.take(SEARCHED).map(|step| (piece, piece * steps + step)));
            }
            let weighed = to_weigh(&letters);
            let here = weighed.iter().map(|letter| letters[*letter].step);
            let mut seen = Vec::with_capacity((weighed.len() + alone.len()) * width);
            for step in here.chain(alone.iter().map(|(_, step)| *step)) {
                seen.extend_from_slice(&features[step * width..][..width]);
            }
            Ok((letters, weighed, alone, gaps, seen, width))
        };
        let (letters, weighed, alone, gaps, features, width) =
            self.body.run(&shape, &self.values, read)?;
        let (features, around) = features.split_at(weighed.len() * width);
        let mut texts = vec![PieceText::default(); pieces.len()];
        for (text, has_gap) in texts.iter_mut().zip(gaps) {
            text.doubtful = usize::from(has_gap);
        }
        for letter in &letters {
            let text = &mut texts[letter.piece];
            text.text.push(letter.character);
            text.others += letter.probability;
        }
        let some = weighed.chunks(WEIGHED);
        for (some, features) in some.zip(features.chunks(WEIGHED * width.max(1))) {
            let some: Vec<_> = some.iter().map(|letter| &letters[*letter]).collect();
            let judged = self.weigh(some.len(), features, width, |at, row| {
                let of_its_class = row.get(some[at].class).copied().unwrap_or(0.0);
                let doubtful = of_its_class < CLEAR / 2.0;
                (of_its_class, doubtful && other_class(row).is_some())
            })?;
            for (letter, (probability, is_other)) in some.into_iter().zip(judged) {
                let text = &mut texts[letter.piece];
                text.others_seen += usize::from(is_other);
                text.doubtful += usize::from(probability < DOUBTFUL);
                text.others -= letter.probability;
                text.weighed += probability;
                if letter.probability >= CLEAR {
                    text.clear.0 += probability;
                    text.clear.1 += letter.probability;
                }
            }
        }
        let (mut before, some) = (None, alone.chunks(WEIGHED));
        for (some, features) in some.zip(around.chunks(WEIGHED * width.max(1))) {
            let classes = self.weigh(some.len(), features, width, |_, row| other_class(row))?;
            for ((piece, step), class) in some.iter().zip(classes) {
                // A letter lasts for several steps.
                let here = class.map(|class| (class, *step));
                let goes_on = |(class, step): (usize, usize)| before == Some((class, step - 1));
                let begins = here.is_some_and(|here| here.1 == 0 || !goes_on(here));
                texts[*piece].others_seen += usize::from(begins);
                before = here;
            }
        }
        Ok(texts)
    }

    /// Passes the probabilities of all classes at each step to `take`.
    fn weigh<T>(
        &mut self,
        steps: usize,
        features: &[f32],
        width: usize,
        take: impl Fn(usize, &[f32]) -> T,
    ) -> Result<Vec<T>, ReadError> {
        self.head.run(&[1, steps, width], features, |outputs| {
            let [(shape, probabilities)] = &outputs[..] else {
                return Err(unexpected(
                    "the recogniser's number of outputs",
                    &[outputs.len()],
                ));
            };
            let classes = match shape[..] {
                [1, there, classes] if there == steps => classes,
                _ => return Err(unexpected("the recogniser's output", shape)),
            };
            let rows = probabilities.chunks_exact(classes.max(1)).enumerate();
            Ok(rows.map(|(at, row)| take(at, row)).collect())
        })
    }
}

pub(super) fn unexpected(whose: &str, shape: &[usize]) -> ReadError {
    ReadError(format!("{whose} has shape {shape:?}"))
}

/// Softmax probability of one of the scores.
fn probability(scores: &[f32], of: usize) -> f32 {
    let all: f32 = scores.iter().map(|score| (score - scores[of]).exp()).sum();
    1.0 / all
}

/// Letters to check against all classes: each unclear one, and every
/// [`ONE_IN`]th clear one of each piece, starting with its first.
fn to_weigh(letters: &[Letter]) -> Vec<usize> {
    let mut weighed = Vec::new();
    let (mut piece, mut clear) = (usize::MAX, 0);
    for (at, letter) in letters.iter().enumerate() {
        if letter.piece != piece {
            (piece, clear) = (letter.piece, 0);
        }
        let is_clear = letter.probability >= CLEAR;
        if !is_clear || clear % ONE_IN == 0 {
            weighed.push(at);
        }
        clear += usize::from(is_clear);
    }
    weighed
}

/// Steps at which a character begins, and its index among the scores.
pub(super) fn decode<'a>(
    steps: impl Iterator<Item = &'a [f32]>,
) -> impl Iterator<Item = (usize, usize)> {
    let best = steps.map(|scores| {
        let all = scores.iter().enumerate();
        let (best, _) = all.fold((BLANK, f32::NEG_INFINITY), |best, (at, score)| {
            if *score > best.1 { (at, *score) } else { best }
        });
        best
    });
    let mut before = BLANK;
    best.enumerate()
        .filter(move |(_, best)| std::mem::replace(&mut before, *best) != *best && *best != BLANK)
}

/// Batches of pieces of equal width, as padding affects the result.
fn batches(pieces: &[Piece]) -> Vec<Vec<usize>> {
    let mut order: Vec<_> = (0..pieces.len()).collect();
    order.sort_by_key(|piece| pieces[*piece].width());
    let mut batches = Vec::new();
    for same in order.chunk_by(|one, other| pieces[*one].width() == pieces[*other].width()) {
        let width = same.first().map_or(STRIDE, |piece| pieces[*piece].width());
        let most = (TOGETHER / width).max(1) as usize;
        batches.extend(same.chunks(most).map(<[_]>::to_vec));
    }
    batches
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;

    #[test]
    fn repeats_and_blanks_are_dropped_and_each_letter_knows_its_step() {
        let best = [0, 2, 2, 0, 2, 1, 1, 0, 0, 3];
        let steps: Vec<_> = (best.iter())
            .map(|best| {
                (0..4)
                    .map(|class| f32::from(u8::from(class == *best)))
                    .collect::<Vec<_>>()
            })
            .collect();
        let letters: Vec<_> = decode(steps.iter().map(Vec::as_slice)).collect();
        assert_eq!(letters, [(1, 2), (4, 2), (5, 1), (9, 3)]);
        // Equal or undefined scores: no character.
        let unsure = [[0.0_f32; 3], [f32::NAN; 3]];
        assert_eq!(decode(unsure.iter().map(|step| &step[..])).count(), 0);
    }

    #[test]
    fn doubtful_letters_are_weighed_and_some_of_the_clear_ones_of_each_piece() {
        let letter = |piece, probability| Letter {
            piece,
            character: 'a',
            class: 1,
            step: 0,
            probability,
        };
        let mut letters: Vec<_> = (0..6).map(|_| letter(0, 0.999)).collect();
        letters.insert(2, letter(0, 0.5));
        letters.extend([letter(1, 0.98), letter(1, 0.999), letter(2, 1.0)]);
        assert_eq!(to_weigh(&letters), [0, 2, 5, 7, 8, 9]);
    }

    #[test]
    fn a_letter_is_as_probable_as_its_score_says() {
        let half = probability(&[1.0, 1.0, f32::NEG_INFINITY], 1);
        assert!((half - 0.5).abs() < 1e-6);
        assert!((probability(&[0.0, 9.0], 1) - 0.999_877).abs() < 1e-5);
        // Two of four clear letters were checked, and lost half to other
        // classes.
        let text = PieceText {
            text: "abcd".to_owned(),
            weighed: 1.0,
            others: 2.0,
            clear: (1.0, 2.0),
            others_seen: 0,
            doubtful: 0,
        };
        assert!((text.confidence() - 0.5).abs() < 1e-6);
    }

    fn line(width: u32) -> Rect {
        Rect {
            x: 0,
            y: 0,
            width,
            height: HEIGHT,
        }
    }

    #[test]
    fn lines_read_together_are_of_one_width_and_no_more_than_fit() {
        let widths =
            [6400, 16, 100, 3000, 96, 101, 3200, 700, 640, 16, 110].map(|width| (0, width));
        let many = (0..200).map(|line| (line, 48));
        let pieces: Vec<_> = (widths.into_iter().chain(many))
            .map(|(line, width)| Piece {
                line,
                pixels: Rc::new(RgbBuffer::from_fn(1, 1, |_, _| [0; 3])),
                columns: 0..width,
            })
            .collect();
        let batches = batches(&pieces);
        let mut read: Vec<_> = batches.concat();
        read.sort_unstable();
        assert_eq!(read, (0..pieces.len()).collect::<Vec<_>>(), "each once");
        for batch in &batches {
            let widths = batch.iter().map(|piece| pieces[*piece].width());
            let (least, most) = (widths.clone().min().unwrap(), widths.max().unwrap());
            assert_eq!(least, most);
            assert!(batch.len() == 1 || batch.len() as u32 * most <= TOGETHER);
        }
        assert!(batches.len() < 30, "{}", batches.len());
    }

    #[test]
    fn lines_are_portioned_in_their_order_and_none_is_left_out() {
        let lines: Vec<_> = (1..120).map(|tens| line(tens * 10)).collect();
        let portions: Vec<_> = portions(&lines).collect();
        assert_eq!(portions.concat(), lines);
        assert!(portions.len() > 3);
        for portion in portions {
            let cost: u64 = portion.iter().map(Recogniser::cost).sum();
            assert!(cost < PORTION + u64::from(LONGEST), "{cost}");
        }
        assert_eq!(super::portions(&[]).count(), 0);
    }
}

//! Second reading of the lines whose first one shows another alphabet: read by
//! a recogniser of that alphabet, or marked as unread.

use super::alphabet::{LEAST, are_odd, is_han, is_odd, is_other, is_third};
use super::engine::OnnxRuntime;
use super::other::OtherRecogniser;
use super::recognise::{FirstReading, Recogniser};
use super::rgb_buffer::RgbBuffer;
use crate::picture::{Rect, TextLine};
use crate::redact::READABLE;

/// Cost of a second reading, in first ones of the same line: measured, 5.0.
const COST: u64 = 5;
/// Odd lines that are tried before a screen counts as Latin.
const TRIED: usize = 3;
/// Minimum share, as a fraction, of the letters of a Latin line that both
/// recognisers see: measured on lines that are blurred and still readable, 0.90
/// to 1; on Cyrillic ones 0 to 0.3, more only with a Latin name beside them.
const ALPHABET: (usize, usize) = (9, 10);
/// Confidence of a line in letters that nobody could read: never shown.
const UNREAD: f32 = 0.0;

/// Alphabets besides Latin that are on a screen: it is likely to have more lines
/// of them.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KnownAlphabets {
    /// Chinese or Japanese.
    ideographs: bool,
    /// Alphabet that reads as Latin look-alikes.
    look_alikes: bool,
}

impl KnownAlphabets {
    /// Adds those of a line that was read, or could not be.
    pub(crate) fn add(&mut self, line: &TextLine) {
        let unread = line.confidence == UNREAD && !line.text.is_empty();
        self.ideographs |= unread || line.text.chars().any(is_han);
        self.look_alikes |= unread || line.text.chars().any(is_third);
    }
}

/// Reader of such lines of one part of a picture.
pub(super) struct SecondReader<'a> {
    pub(super) runtime: &'a OnnxRuntime,
    pub(super) others: &'a [OtherRecogniser],
    pub(super) image: &'a RgbBuffer,
    /// Place of the image on the picture.
    pub(super) seen: &'a Rect,
    /// Columns that may still be read.
    pub(super) left: &'a mut u64,
    /// Lines for which there was no time.
    pub(super) unread: &'a mut Vec<Rect>,
    /// On the picture so far.
    pub(super) known: KnownAlphabets,
    /// Lines with a letter that may be of another alphabet, read before one was
    /// known.
    pub(super) doubtful: Vec<Rect>,
}

/// Result of a second reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Latin,
    /// Line in another alphabet, read or marked as unread.
    Other,
    /// No model could tell.
    Unknown,
    /// No time was left.
    Later,
}

impl SecondReader<'_> {
    /// Reads again the lines with letters of another alphabet, and on a screen of
    /// ideographs each line with a letter that may be one, such as the kana of a
    /// label.
    pub(super) fn seen_to(&mut self, read: &[FirstReading]) -> Vec<TextLine> {
        let mut order: Vec<_> = (0..read.len()).collect();
        order.sort_by_key(|at| std::cmp::Reverse(read[*at].others));
        let mut lines: Vec<_> = read.iter().map(|read| Some(read.line.clone())).collect();
        for at in order {
            let reading = &read[at];
            // Once a text is found, a single letter is one as well.
            let least = if self.known.ideographs { 1 } else { LEAST };
            let is_other = is_other(reading.others, least, &reading.line.text);
            let has_signs = reading.is_doubtful || reading.others > 0;
            let may_be = self.known.ideographs && has_signs;
            if !is_other && !may_be {
                if has_signs {
                    self.doubtful.push(reading.line.rect);
                }
                continue;
            }
            let mut line = reading.line.clone();
            let verdict = self.tried(&mut line, least);
            if verdict == Verdict::Unknown {
                line.confidence = UNREAD;
            }
            let found = matches!(verdict, Verdict::Other | Verdict::Unknown);
            self.known.ideographs |= is_other && found;
            lines[at] = (verdict != Verdict::Later).then_some(line);
        }
        lines.into_iter().flatten().collect()
    }

    /// Looks for look-alikes: lines that read as Latin and are not.
    pub(super) fn unmask(&mut self, lines: &mut Vec<TextLine>) {
        if self.others.is_empty() {
            return;
        }
        let is_candidate = |line: &TextLine| {
            let letters = line.text.chars().filter(|c| c.is_alphabetic()).count();
            let read = line.text.chars().any(is_han);
            letters >= 2 && !read && line.confidence > UNREAD
        };
        let mut verdicts = vec![None; lines.len()];
        if self.known.ideographs {
            let doubtful = std::mem::take(&mut self.doubtful);
            for (line, verdict) in lines.iter_mut().zip(&mut verdicts) {
                if doubtful.contains(&line.rect) {
                    *verdict = Some(self.tried(line, 1));
                }
            }
        }
        let readable = lines.iter().filter(|line| line.confidence >= READABLE);
        let mut known = self.known.look_alikes;
        if !known && are_odd(readable.map(|line| line.text.as_str())) {
            let odd = |at: &usize| {
                let line = &lines[*at];
                line.confidence >= READABLE
                    && is_candidate(line)
                    && is_odd(&line.text) == Some(true)
            };
            let odd: Vec<_> = (0..lines.len())
                .filter(|at| verdicts[*at].is_none() && odd(at))
                .take(TRIED)
                .collect();
            for at in odd {
                let verdict = self.tried(&mut lines[at], 1);
                verdicts[at] = Some(verdict);
                known |= matches!(verdict, Verdict::Other | Verdict::Later);
            }
        }
        if known {
            // Lines that nobody can read are hidden already.
            let brought = self.others.iter().any(|other| !other.is_multi());
            for (line, verdict) in lines.iter_mut().zip(&mut verdicts) {
                let visible = line.confidence >= READABLE;
                if verdict.is_none() && is_candidate(line) && (visible || brought) {
                    *verdict = Some(self.tried(line, 1));
                }
            }
        }
        let mut verdicts = verdicts.into_iter();
        lines.retain(|_| verdicts.next().flatten() != Some(Verdict::Later));
    }

    /// Decides as [`Self::judge`] does, if there is time.
    fn tried(&mut self, line: &mut TextLine, least: usize) -> Verdict {
        match self.pay(line) {
            true => self.judge(line, least),
            false => Verdict::Later,
        }
    }

    /// Decides which alphabet a line is in; if it is another than Latin, reads it
    /// or marks it as unread.
    fn judge(&self, line: &mut TextLine, least: usize) -> Verdict {
        let read =
            |other: &OtherRecogniser| other.read(self.runtime, self.image, self.seen, &line.rect);
        let multi = self.others.iter().find(|other| other.is_multi());
        let seen = multi.and_then(|multi| Some((multi, read(multi)?)));
        let letters = line.text.chars().filter(|c| c.is_alphanumeric()).count();
        let is_known = seen.is_some();
        let mut best = None;
        if let Some((multi, seen)) = seen {
            // It knows Latin letters, and sees none in what only looks like
            // them. One other may be a sign, such as a mu.
            let is_latin = seen.own_letters() < LEAST
                && (ALPHABET.1 * seen.letters() >= ALPHABET.0 * letters)
                && seen.is_whole();
            if multi.accepts(&seen, least) {
                best = Some(seen);
            } else if is_latin {
                return Verdict::Latin;
            }
        }
        let brought = self.others.iter().filter(|other| !other.is_multi());
        let accepted = brought.filter_map(|other| {
            let read = read(other)?;
            // Alone it may take Latin letters for its own.
            let is_own = is_known || 2 * read.own_letters() >= read.letters();
            (is_own && other.accepts(&read, least)).then_some(read)
        });
        let best = accepted
            .chain(best)
            .max_by(|a, b| a.confidence.total_cmp(&b.confidence));
        match best {
            Some(read) => {
                line.text = read.text;
                line.confidence = read.confidence;
                Verdict::Other
            }
            None if is_known => {
                line.confidence = UNREAD;
                Verdict::Other
            }
            None => Verdict::Unknown,
        }
    }

    /// Charges a second reading; without anything left the line is unread.
    fn pay(&mut self, line: &TextLine) -> bool {
        if *self.left == 0 {
            self.unread.push(line.rect);
            return false;
        }
        *self.left = self
            .left
            .saturating_sub(COST * Recogniser::cost(&line.rect));
        true
    }
}

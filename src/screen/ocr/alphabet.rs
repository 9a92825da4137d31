//! Signs of another alphabet in what the first recogniser made of a line.
//!
//! It considers Latin letters only. An ideograph is then a stretch of ink that
//! no letter explains, where the network as a whole knows better; a Cyrillic
//! line is Latin look-alikes in an order that no Latin text has. Blur causes
//! neither: blurred letters are doubtful, but each is where its ink is.

use std::ops::{Range, RangeInclusive};

use super::pieces::{HEIGHT, STEP};
use super::rgb_buffer::RgbBuffer;

/// Classes of the first recogniser that are letters of another alphabet: Greek,
/// and ideographs.
const OTHERS: [RangeInclusive<usize>; 2] = [317..=366, 645..=6818];
/// Minimum probability of such a class.
const LIKELY: f32 = 0.5;
/// Steps on each side of a letter whose ink belongs to it: half of the widest
/// one, which is as wide as the line is high.
pub(super) const REACH: usize = (HEIGHT / STEP / 2) as usize;
/// Contrast of a column with ink, as a share of the line's highest. A neighbour
/// below is text of the same contrast; a shadow or noise is not.
const INK: f32 = 0.35;
/// Maximum share of a line's ink without a letter near, for a line that was read
/// whole, as one in so many. In Chinese and Japanese every letter is as wide as
/// the line is high, and its ink within reach.
pub(super) const UNREAD_ONE_IN: usize = 10;
/// Minimum letters of another alphabet on a line that is read again: one alone
/// may be an icon.
pub(super) const LEAST: usize = 2;
/// Minimum share of these among the letters of a line, as one in so many.
const ONE_IN: usize = 5;
/// Minimum letters of a word whose order of small and capital letters counts,
/// and maximum letters of an odd piece of it.
const WORD: usize = 4;
const PIECE: usize = 2;
/// Minimum number of odd lines, and their minimum share of all lines of words as
/// one in so many: look-alikes fill a page, a name such as `vCPU` does not.
const ODD: usize = 2;
const ODD_ONE_IN: usize = 3;

/// Class of another alphabet's letter that is the likely one, among the
/// probabilities of all classes.
pub(super) fn other_class(probabilities: &[f32]) -> Option<usize> {
    let classes = OTHERS.into_iter().flatten();
    classes
        .take_while(|class| *class < probabilities.len())
        .find(|class| probabilities[*class] >= LIKELY)
}

/// True if that many letters of another alphabet were seen on a line on which
/// the first recogniser read a text.
pub(super) fn is_other(others: usize, least: usize, text: &str) -> bool {
    let letters = text.chars().filter(|c| c.is_alphanumeric()).count();
    others >= least && others * ONE_IN >= others + letters
}

/// Steps of a piece of a line with ink and no letter near, and the number of
/// steps with ink; `letters` are the steps at which one was read, in order.
pub(super) fn unexplained(
    line: &RgbBuffer,
    columns: &Range<u32>,
    letters: &[usize],
    reach: usize,
) -> (Vec<usize>, usize) {
    let mut contrasts = vec![(u8::MAX, 0_u8); columns.len()];
    for row in line.rows() {
        let row = &row[columns.start as usize..columns.end as usize];
        for ((dark, bright), [_, green, _]) in contrasts.iter_mut().zip(row) {
            (*dark, *bright) = ((*dark).min(*green), (*bright).max(*green));
        }
    }
    let contrast = |(dark, bright): &(u8, u8)| bright.saturating_sub(*dark);
    let most = contrasts.iter().map(contrast).max().unwrap_or(0);
    let inked = |columns: &[(u8, u8)]| {
        let here = columns.iter().map(contrast).max().unwrap_or(0);
        here > 0 && f32::from(here) >= INK * f32::from(most)
    };
    let (mut alone, mut ink) = (Vec::new(), 0);
    for (step, columns) in contrasts.chunks(STEP as usize).enumerate() {
        if !inked(columns) {
            continue;
        }
        ink += 1;
        let next = letters.partition_point(|letter| *letter < step);
        let near = |letter: Option<&usize>| letter.is_some_and(|at| at.abs_diff(step) <= reach);
        let before = next.checked_sub(1).and_then(|last| letters.get(last));
        if !near(letters.get(next)) && !near(before) {
            alone.push(step);
        }
    }
    (alone, ink)
}

/// True if a text is odd for its small and capital letters, as Latin look-alikes
/// of another alphabet are (`He yAanoCb BoeTI`); `None` for a text of fewer than
/// two words, which may be a name.
pub(super) fn is_odd(text: &str) -> Option<bool> {
    let (mut words, mut odd) = (0, 0);
    for word in text.split(|c: char| !c.is_alphanumeric()) {
        if word.chars().filter(|c| c.is_alphabetic()).count() < WORD {
            continue;
        }
        words += 1;
        odd += usize::from(is_odd_word(word));
    }
    (words >= 2).then_some(odd * ODD_ONE_IN >= words)
}

/// True if capital letters cut a word into pieces of which one is shorter than
/// any part of a compound name.
fn is_odd_word(word: &str) -> bool {
    let mut pieces = vec![0];
    let mut after_small = false;
    for c in word.chars() {
        if after_small && c.is_uppercase() {
            pieces.push(0);
        }
        after_small = c.is_lowercase();
        if let Some(piece) = pieces.last_mut().filter(|_| c.is_alphabetic()) {
            *piece += 1;
        }
    }
    pieces.len() > 1 && pieces.iter().any(|letters| *letters <= PIECE)
}

/// True if texts may be another alphabet's look-alikes.
pub(super) fn are_odd<'a>(texts: impl Iterator<Item = &'a str>) -> bool {
    let (mut all, mut odd) = (0, 0);
    for is_odd in texts.filter_map(is_odd) {
        all += 1;
        odd += usize::from(is_odd);
    }
    odd >= ODD && odd * ODD_ONE_IN >= all
}

/// True for a letter of the Latin alphabet, accented and full-width ones
/// included.
fn is_latin(c: char) -> bool {
    matches!(c, '\0'..='\u{24f}' | '\u{1e00}'..='\u{1eff}' | '\u{2100}'..='\u{214f}'
        | '\u{fb00}'..='\u{fb06}' | '\u{ff21}'..='\u{ff5a}')
}

/// True for an ideograph or a kana.
pub(super) fn is_han(c: char) -> bool {
    c.is_alphabetic()
        && matches!(c, '\u{2e80}'..='\u{30ff}' | '\u{31f0}'..='\u{31ff}' | '\u{3400}'..='\u{9fff}'
            | '\u{f900}'..='\u{faff}' | '\u{ff66}'..='\u{ff9f}' | '\u{20000}'..='\u{323af}')
}

/// True for a letter that is neither Latin nor an ideograph or kana.
pub(super) fn is_third(c: char) -> bool {
    c.is_alphabetic() && !is_latin(c) && !is_han(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn look_alikes_are_odd_and_names_in_latin_text_are_not() {
        let russian = [
            "He yAanoCb BoéTI B cICTemMy",
            "CBo6oAHO Ha AnCke 14 T5",
            "CepBep web-03 He oTBeyaeT",
            "BHMMAHNE: OTKA3 CEPBEPA",
        ];
        assert!(are_odd(russian.into_iter()));
        for screen in [
            &[
                "Backup finished last night",
                "Unhandled alerts on call",
                "vCPU quota reached",
                "CentOS Linux 7",
                "End of life",
                "No backup was made",
                "Disk usage high",
                "Service restarted again",
            ][..],
            &[
                "KubePodCrashLooping fired",
                "KubeNodeNotReady fired",
                "CrashLoopBackOff again",
            ],
            &[
                "b3c7f1d Migrate ledger to PostgreSQL",
                "ledger-worker-59d7c8f6b-k2vnq",
                "GuardDuty enabled in OpenSearch",
            ],
            &["MaHeNb", "yAanoCb", "CepBep"],
        ] {
            assert!(!are_odd(screen.iter().copied()), "{screen:?}");
        }
    }

    #[test]
    fn ink_without_a_letter_near_is_unexplained() {
        // Ink in the columns 0 to 95 and 160 to 319.
        let line = RgbBuffer::from_fn(320, HEIGHT, |x, y| {
            let ink = !(96..160).contains(&x) && y % 6 < 3;
            [if ink { 20 } else { 235 }; 3]
        });
        let (alone, ink) = unexplained(&line, &(0..320), &[2, 8, 22, 28], REACH);
        assert_eq!((alone, ink), (vec![32, 33, 34, 35, 36, 37, 38, 39], 32));
        let (alone, _) = unexplained(&line, &(160..320), &[], REACH);
        assert_eq!(alone.len(), 20, "all of a piece without letters");
        let flat = RgbBuffer::from_fn(320, HEIGHT, |_, _| [90; 3]);
        assert_eq!(unexplained(&flat, &(0..320), &[], REACH), (vec![], 0));
    }

    #[test]
    fn letters_are_told_by_their_alphabet() {
        for (letters, han, third) in [
            ("aÉ0Ａｂµ-ﬁ", false, false),
            ("監のグｸ々ー", true, false),
            ("Дλم한ไ", false, true),
        ] {
            assert_eq!(letters.chars().any(is_han), han, "{letters}");
            assert_eq!(letters.chars().any(is_third), third, "{letters}");
        }
        assert!("監のグｸ々ー".chars().all(is_han));
    }

    #[test]
    fn a_line_is_of_another_alphabet_if_enough_of_its_letters_are() {
        assert!(is_other(2, LEAST, ""));
        assert!(is_other(3, LEAST, "web-03 14 GB"));
        assert!(!is_other(1, LEAST, ""), "an icon");
        assert!(!is_other(2, LEAST, "a long line with two icons in it"));
        let mut row = vec![0.0; 6906];
        row[5] = 0.9;
        assert_eq!(other_class(&row), None);
        row[700] = 0.6;
        assert_eq!(other_class(&row), Some(700));
        assert_eq!(other_class(&[0.9; 40]), None, "another network");
    }
}

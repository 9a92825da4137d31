//! Normalisation of letters for comparison.

/// Lower-case letters and digits only, with pairs that OCR reads as one letter
/// merged; each with its byte offset in the text.
pub(super) fn letters(text: &str) -> Vec<(char, usize)> {
    let mut kept: Vec<(char, usize)> = Vec::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        for c in c.to_lowercase().filter(|c| c.is_alphanumeric()) {
            // Pairs within one word only.
            let before = kept.last().filter(|(_, last)| last + 1 == at);
            let pair = match (before, c) {
                (Some(('r', _)), 'n') => Some('m'),
                (Some(('v', _)), 'v') => Some('w'),
                _ => None,
            };
            match (pair, kept.last_mut()) {
                (Some(one), Some(last)) => last.0 = one,
                _ => kept.push((c, at)),
            }
        }
    }
    kept
}

/// Character of a quote to match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) c: char,
    /// Byte offset in the text.
    pub(super) at: usize,
    /// Flag: part of a plain word long enough to stay recognisable with a
    /// letter misread. False for numbers, names with digits, units and "no".
    pub(super) loose: bool,
}

/// Separator between two numbers.
pub(super) const GAP: char = ' ';
/// Minimum length of a word, in letters, in which one may be misread.
const WORD: usize = 4;

/// Letters and digits as in [`letters`], with what belongs to numbers: decimal
/// points, signs, percent and currencies, and a [`GAP`] between two numbers.
pub(super) fn marks(text: &str) -> Vec<Mark> {
    let chars: Vec<(usize, char)> = text.char_indices().collect();
    let digit = |at: Option<usize>| at.is_some_and(|at| is_digit(&chars, at));
    let blank = |at: Option<usize>| {
        at.and_then(|at| chars.get(at))
            .is_none_or(|(_, c)| c.is_whitespace() || "([{=:,;|\"'".contains(*c))
    };
    let mut kept: Vec<Mark> = letters(text)
        .into_iter()
        .map(|(c, at)| Mark {
            c,
            at,
            loose: false,
        })
        .collect();
    for (place, (at, c)) in chars.iter().enumerate() {
        let (before, behind) = (place.checked_sub(1), Some(place + 1));
        let c = match c {
            '.' | ',' | ':' if digit(before) && digit(behind) => *c,
            '-' | '\u{2212}' if digit(behind) && blank(before) => '-',
            '%' | '‰' | '$' | '€' | '£' | '¥' | '°'
                if digit(before) || digit(behind) || digit(place.checked_sub(2)) =>
            {
                *c
            }
            _ => continue,
        };
        let sorted = kept.partition_point(|mark| mark.at < *at);
        kept.insert(
            sorted,
            Mark {
                c,
                at: *at,
                loose: false,
            },
        );
    }
    let mut marks: Vec<Mark> = Vec::with_capacity(kept.len());
    for mark in kept {
        if let Some(last) = marks.last().copied()
            && last.c.is_numeric()
            && mark.c.is_numeric()
            && text[last.at..mark.at].chars().count() > 1
        {
            marks.push(Mark { c: GAP, ..mark });
        }
        marks.push(mark);
    }
    for word in words(text) {
        let plain = text[word.clone()].chars().all(char::is_alphabetic);
        if plain && text[word.clone()].chars().count() >= WORD {
            let of_word = marks.iter_mut().filter(|mark| word.contains(&mark.at));
            of_word.for_each(|mark| mark.loose = true);
        }
    }
    marks
}

/// True for a digit, or for a look-alike letter next to one: the O of `1,O24`.
fn is_digit(chars: &[(usize, char)], at: usize) -> bool {
    let numeric = |at: usize| chars.get(at).is_some_and(|(_, c)| c.is_numeric());
    let looks = |c: char| {
        let same = |c| ('0'..='9').any(|digit| alike(c, digit));
        c.to_lowercase().any(same)
    };
    let beside = || numeric(at + 1) || at.checked_sub(1).is_some_and(numeric);
    numeric(at) || (chars.get(at).is_some_and(|(_, c)| looks(*c)) && beside())
}

/// Ranges of consecutive letters and digits.
fn words(text: &str) -> Vec<std::ops::Range<usize>> {
    let mut words: Vec<std::ops::Range<usize>> = Vec::new();
    for (at, c) in text.char_indices().filter(|(_, c)| c.is_alphanumeric()) {
        let end = at + c.len_utf8();
        match words.last_mut().filter(|word| word.end == at) {
            Some(word) => word.end = end,
            None => words.push(at..end),
        }
    }
    words
}

/// True if two adjacent characters belong to one word or number. Scripts
/// without blanks have no word boundaries.
pub(super) fn of_one_word(a: char, b: char) -> bool {
    let unspaced = |c: char| {
        matches!(c, '\u{e00}'..='\u{edf}' | '\u{1000}'..='\u{109f}'
            | '\u{1780}'..='\u{17ff}' | '\u{2e80}'..='\u{a4cf}'
            | '\u{ac00}'..='\u{d7af}' | '\u{f900}'..='\u{faff}' | '\u{ff66}'..='\u{ff9f}')
    };
    a.is_alphanumeric() && b.is_alphanumeric() && !unspaced(a) && !unspaced(b)
}

/// True if OCR may confuse the two.
pub(super) fn alike(a: char, b: char) -> bool {
    a == b || group(a) == group(b)
}

/// Representative of the look-alike letters of a character.
pub(crate) fn group(c: char) -> char {
    match c {
        '0' | 'q' => 'o',
        '1' | 'i' | '|' | 'j' => 'l',
        '5' => 's',
        '8' => 'b',
        '2' => 'z',
        '6' => 'g',
        c => c,
    }
}

/// Normalised forms of a text's words for search, in lower case with
/// look-alikes mapped to one letter, so that `00MKilled` matches `OOMKilled`.
/// Omits numbers, and words that are unchanged. Of text without blanks between
/// its words: each pair of letters, so that any part of it is found.
pub fn search_forms(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !c.is_alphanumeric() && c != '|');
    words.flat_map(word_forms).collect()
}

fn word_forms(word: &str) -> Vec<String> {
    if !word.chars().any(is_unspaced) {
        return search_form(word).into_iter().collect();
    }
    let mut forms = Vec::new();
    for run in runs(word) {
        match run.chars().next().is_some_and(is_unspaced) {
            true => forms.extend(pairs(run)),
            // The word as a whole is indexed, and not this part of it.
            false => forms.extend([run.to_lowercase()].into_iter().chain(search_form(run))),
        }
    }
    forms
}

/// Runs of a word's letters: those of a script without blanks, and others.
pub fn runs(word: &str) -> impl Iterator<Item = &str> {
    let mut rest = word;
    std::iter::from_fn(move || {
        let first = is_unspaced(rest.chars().next()?);
        let end = rest.find(|c| is_unspaced(c) != first);
        let (run, after) = rest.split_at(end.unwrap_or(rest.len()));
        rest = after;
        Some(run)
    })
}

/// Pairs of neighbouring letters of a run, then its last letter alone: every
/// part of the run is a sequence of them, and every letter begins one. Letters
/// that OCR confuses count as one.
pub fn pairs(run: &str) -> Vec<String> {
    let letters: Vec<char> = run.chars().map(same_stroke).collect();
    let pairs = letters.windows(2).map(|pair| pair.iter().collect());
    pairs
        .chain(letters.last().map(ToString::to_string))
        .collect()
}

/// Representative of kana and ideographs that are drawn alike.
fn same_stroke(c: char) -> char {
    match c {
        '一' | '―' => 'ー',
        '口' => 'ロ',
        '力' => 'カ',
        '夕' => 'タ',
        '二' => 'ニ',
        '工' => 'エ',
        '卜' => 'ト',
        '八' => 'ハ',
        '千' => 'チ',
        'へ' => 'ヘ',
        'べ' => 'ベ',
        'ぺ' | 'ペ' => 'ベ',
        'ポ' => 'ボ',
        'パ' => 'バ',
        'プ' => 'ブ',
        'ピ' => 'ビ',
        'り' => 'リ',
        c => c,
    }
}

/// True for letters of Chinese, Japanese and Korean, which are searched by their
/// parts.
pub fn is_unspaced(c: char) -> bool {
    c.is_alphanumeric()
        && matches!(c, '\u{2e80}'..='\u{a4cf}' | '\u{ac00}'..='\u{d7af}'
            | '\u{f900}'..='\u{faff}' | '\u{ff66}'..='\u{ff9f}' | '\u{20000}'..='\u{323af}')
}

fn search_form(word: &str) -> Option<String> {
    let word = word.trim_matches('|').to_lowercase();
    let number = word.chars().all(|c| c.is_ascii_digit());
    let form = shape_of(&word);
    (!number && form != word).then_some(form)
}

/// Word, or number, with look-alikes mapped to one letter.
pub fn shape_of(word: &str) -> String {
    let word = word.replace('|', "l");
    letters(&word).into_iter().map(|(c, _)| group(c)).collect()
}

/// Number that a word stands for if some of its digits were typed or read as
/// letters: `O1` is 01. `None` without a digit, with other letters, or for a
/// plain number.
pub fn number_of(word: &str) -> Option<String> {
    let digit = |c: char| match group(c) {
        'o' => Some('0'),
        'l' => Some('1'),
        's' => Some('5'),
        'b' => Some('8'),
        'z' => Some('2'),
        'g' => Some('6'),
        c => c.is_ascii_digit().then_some(c),
    };
    let letters = word.chars().any(|c| !c.is_ascii_digit());
    let known = letters && word.chars().any(|c| c.is_ascii_digit());
    known.then(|| {
        word.to_lowercase()
            .chars()
            .map(|c| {
                if c.is_ascii_digit() {
                    Some(c)
                } else {
                    digit(c)
                }
            })
            .collect()
    })?
}

/// True if reading one for the other changes no fact.
pub(super) fn may_be_misread(a: char, b: char) -> bool {
    !a.is_numeric() && !b.is_numeric()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_look_the_same_are_searched_as_one() {
        for (read, meant) in [
            ("00MKilled", "OOMKilled"),
            ("0OMKi1led", "OOMKilled"),
            ("fai|ed", "failed"),
            ("govemed", "governed"),
            ("eu-west-l", "eu-west-1"),
        ] {
            let shapes = |text: &str| text.split('-').map(shape_of).collect::<Vec<_>>();
            assert_eq!(shapes(read), shapes(meant), "{read}");
        }
        assert_eq!(number_of("O1").as_deref(), Some("01"));
        assert_eq!((number_of("is"), number_of("web1")), (None, None));
        assert_eq!(search_forms("00MKilled 500 log"), ["oomkllled"]);
    }

    #[test]
    fn text_without_blanks_is_searched_by_its_pairs_of_letters() {
        assert_eq!(
            search_forms("磁盘使用率92% ok"),
            ["磁盘", "盘使", "使用", "用率", "率", "92"]
        );
        assert_eq!(search_forms("高"), ["高"]);
        assert_eq!(pairs("エラ一率"), pairs("エラー率"), "as OCR reads it");
        assert_eq!(pairs("レポート"), pairs("レボ一卜"));
        assert_ne!(pairs("データ"), pairs("テータ"));
        assert_eq!(search_forms("Web服务"), ["web", "服务", "务"]);
        let long = "漢".repeat(20_000);
        let forms = search_forms(&long);
        assert_eq!(forms.len(), 20_000);
        let bytes: usize = forms.iter().map(String::len).sum();
        assert!(bytes <= 2 * long.len(), "{bytes}");
        let runs: Vec<_> = runs("第3章abc").collect();
        assert_eq!(runs, ["第", "3", "章", "abc"]);
    }
}

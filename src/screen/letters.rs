//! Letters as they are compared.

/// Lower case, letters and digits only, what OCR reads as one letter or two
/// made one; each with the place in the text it came from.
pub(super) fn letters(text: &str) -> Vec<(char, usize)> {
    let mut kept: Vec<(char, usize)> = Vec::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        for c in c.to_lowercase().filter(|c| c.is_alphanumeric()) {
            // Of one word only.
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

/// Whether OCR may have read one for the other.
pub(super) fn alike(a: char, b: char) -> bool {
    a == b || group(a) == group(b)
}

/// Letters of one group look the same on a screen.
pub(super) fn group(c: char) -> char {
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

/// Whether taking one for the other is a misreading that changes no fact.
pub(super) fn may_be_misread(a: char, b: char) -> bool {
    !a.is_numeric() && !b.is_numeric()
}

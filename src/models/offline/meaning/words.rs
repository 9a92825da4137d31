//! Words of a text as the vocabulary has them: lower case, apart where letters
//! change from small to capital, and the same however OCR read them.

/// Word of a text, with its range in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MeaningWord {
    pub(super) text: String,
    pub(super) start: usize,
    pub(super) end: usize,
    /// Flag: the first word of a sentence.
    pub(super) begins: bool,
}

/// Splits a text into words: `OutOfSync` is three, `crash-looping` two; numbers
/// stay whole with their decimals.
pub(super) fn words(text: &str) -> Vec<MeaningWord> {
    let mut found: Vec<MeaningWord> = Vec::new();
    let mut start: Option<usize> = None;
    let mut begins = true;
    let chars: Vec<(usize, char)> = text.char_indices().collect();
    let at = |index: usize| chars.get(index).map(|(_, c)| *c);
    for (index, &(offset, c)) in chars.iter().enumerate() {
        let inside = c.is_alphanumeric()
            || (matches!(c, '.' | ',') && joins_digits(at(index.wrapping_sub(1)), at(index + 1)))
            || (c == '\'' && start.is_some() && at(index + 1).is_some_and(char::is_alphabetic));
        if start.is_some() && (!inside || is_hump(at(index.wrapping_sub(1)), c, at(index + 1))) {
            let from = start.take().expect("it is some");
            push(&mut found, text, from, offset, begins);
            begins = false;
        }
        if inside && start.is_none() {
            start = Some(offset);
        }
        if ends_sentence(c, at(index + 1)) && !inside {
            begins = true;
        }
    }
    if let Some(from) = start {
        push(&mut found, text, from, text.len(), begins);
    }
    found
}

fn push(found: &mut Vec<MeaningWord>, text: &str, start: usize, end: usize, begins: bool) {
    found.push(MeaningWord {
        text: fold(&text[start..end]),
        start,
        end,
        begins,
    });
}

fn joins_digits(before: Option<char>, after: Option<char>) -> bool {
    before.is_some_and(|c| c.is_ascii_digit()) && after.is_some_and(|c| c.is_ascii_digit())
}

/// True if a new word begins at `c`: `outOf`, `OOMKilled` at its `K`.
fn is_hump(before: Option<char>, c: char, after: Option<char>) -> bool {
    let Some(before) = before else { return false };
    if !c.is_uppercase() {
        return false;
    }
    before.is_lowercase() || (before.is_uppercase() && after.is_some_and(char::is_lowercase))
}

fn ends_sentence(c: char, after: Option<char>) -> bool {
    let gap = after.is_none_or(char::is_whitespace);
    (matches!(c, '.' | '!' | '?' | ';') && gap) || matches!(c, '\n' | '•' | '|')
}

/// Lower case, with digits that OCR confuses with letters as the letters they
/// are among letters.
fn fold(word: &str) -> String {
    let lower = word.to_lowercase();
    let letters = lower.chars().filter(|c| c.is_alphabetic()).count();
    let digits = lower.chars().filter(char::is_ascii_digit).count();
    if digits == 0 || letters <= digits || letters < 3 {
        return lower;
    }
    let unread = |c| match c {
        '0' => 'o',
        '1' => 'l',
        c => c,
    };
    lower.chars().map(unread).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<String> {
        words(text).into_iter().map(|word| word.text).collect()
    }

    #[test]
    fn joined_words_are_split_where_capitals_begin() {
        assert_eq!(texts("OutOfSync"), ["out", "of", "sync"]);
        assert_eq!(texts("OOMKilled"), ["oom", "killed"]);
        assert_eq!(
            texts("CrashLoopBackOff (3x)"),
            ["crash", "loop", "back", "off", "3x"]
        );
        assert_eq!(
            texts("crash-looping pod_a"),
            ["crash", "looping", "pod", "a"]
        );
    }

    #[test]
    fn numbers_stay_whole_and_letters_are_read_among_letters() {
        assert_eq!(
            texts("1,204 of 12.5 % fai1ed"),
            ["1,204", "of", "12.5", "failed"]
        );
        assert_eq!(
            texts("p95 in sev1"),
            ["p95", "in", "sev1"].map(|word| word.replace("sev1", "sevl"))
        );
    }

    #[test]
    fn sentences_begin_after_their_ends() {
        let begin: Vec<_> = words("It failed. Try again v1.2 now")
            .into_iter()
            .filter(|word| word.begins)
            .map(|word| word.text)
            .collect();
        assert_eq!(begin, ["it", "try"]);
    }
}

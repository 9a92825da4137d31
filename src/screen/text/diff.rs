//! Lines that appeared on a screen, and lines that vanished.

use std::collections::{BTreeSet, HashMap};
use std::sync::LazyLock;

use regex::Regex;

use super::letters::{alike, group, letters, may_be_misread};
use crate::picture::TextLine;

/// Values that change by themselves: times of day, dates, ages.
static TIMES: LazyLock<Regex> = LazyLock::new(|| {
    let pattern = r"(?i)\b(?:\d{4}-\d{2}-\d{2}[T ]?)?\d{1,2}:\d{2}(?::\d{2})?(?:[.,]\d+)?(?:Z|\s?[ap]m)?\b|\b\d{4}-\d{2}-\d{2}\b|\b\d+(?:\.\d+)?\s?(?:ms|s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?)(?:\s?\d+\s?(?:s|secs?|m|mins?))?(?:\s+ago)?\b";
    Regex::new(pattern).expect("the pattern is valid")
});
/// Minimum length, in characters, at which one letter may be misread; a shorter
/// line changes its meaning with any letter.
const LONG: usize = 5;
/// Minimum length, in characters, at which two letters may be misread.
const MIDDLING: usize = 8;
/// Minimum confidence of a line; below it is a drawing that looks like letters,
/// or has the mouse pointer on it.
pub const SURE: f32 = 0.9;

/// Difference between two texts of a screen, regardless of where the lines are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Diff {
    /// Indexes of the later text's lines that the earlier one lacks.
    pub appeared: Vec<usize>,
    /// Indexes of the earlier text's lines that the later one lacks.
    pub vanished: Vec<usize>,
}

impl Diff {
    pub fn is_empty(&self) -> bool {
        self.appeared.is_empty() && self.vanished.is_empty()
    }
}

/// Lines that appeared or vanished. Lines that only moved, differ in a time, or
/// were read slightly differently count as neither.
pub fn diff(earlier: &[TextLine], later: &[TextLine]) -> Diff {
    let mut known: HashMap<String, Vec<usize>> = HashMap::new();
    let earlier_lines = earlier.iter().enumerate().rev();
    for (index, line) in earlier_lines.filter(|(_, line)| line.confidence >= SURE) {
        known.entry(folded(&line.text)).or_default().push(index);
    }
    let mut appeared: Vec<(usize, String)> = Vec::new();
    for (index, line) in later
        .iter()
        .enumerate()
        .filter(|(_, line)| line.confidence >= SURE)
    {
        let folded = folded(&line.text);
        let found = known.get_mut(&folded).and_then(Vec::pop);
        if found.is_none() && !folded.is_empty() {
            appeared.push((index, folded));
        }
    }
    let mut vanished: Vec<(usize, String)> = known
        .into_iter()
        .filter(|(folded, _)| !folded.is_empty())
        .flat_map(|(folded, lines)| lines.into_iter().map(move |line| (line, folded.clone())))
        .collect();
    vanished.sort_unstable();
    // Lines in the same place may have been read slightly differently.
    appeared.retain(|(index, _)| {
        let rect = later[*index].rect;
        let same = vanished.iter().position(|(old, _)| {
            let old = &earlier[*old];
            old.rect.meets(&rect) && is_misread(&old.text, &later[*index].text)
        });
        if let Some(at) = same {
            vanished.remove(at);
        }
        same.is_none()
    });
    part_alike(earlier, later, &mut vanished, &mut appeared);
    // A line covered by an uncertain reading may still be there.
    let covered = |line: &TextLine| {
        let mut unsure = later.iter().filter(|other| other.confidence < SURE);
        unsure.any(|other| other.rect.meets(&line.rect))
    };
    vanished.retain(|(index, _)| !covered(&earlier[*index]));
    // A single letter that appears or vanishes is a cursor or mouse pointer; a
    // digit that replaces another is a count.
    let digit = |line: &TextLine| line.text.trim().parse::<u8>().is_ok();
    let replaced = |line: &TextLine, by: &[(usize, String)], of: &[TextLine]| {
        digit(line)
            && by.iter().any(|(index, _)| {
                let other = &of[*index];
                digit(other) && other.rect.meets(&line.rect)
            })
    };
    let lone = |(_, text): &(usize, String), line: &TextLine| {
        text.chars().count() < 2 && !is_figure(&line.text)
    };
    let new = appeared.clone();
    let words = new.iter().any(|line| !lone(line, &later[line.0]));
    appeared.retain(|line| {
        let read = &later[line.0];
        // A cursor may be read as a 1, but as no other digit.
        let count = digit(read) && (words || read.text.trim() != "1");
        !lone(line, read) || count || replaced(read, &vanished, earlier)
    });
    vanished.retain(|line| {
        let read = &earlier[line.0];
        !lone(line, read) || replaced(read, &new, later)
    });
    Diff {
        appeared: appeared.into_iter().map(|(index, _)| index).collect(),
        vanished: vanished.into_iter().map(|(index, _)| index).collect(),
    }
}

/// True for digits with a unit or sign: `0%`, `$5`.
fn is_figure(text: &str) -> bool {
    let marks = text.chars().filter(|c| !c.is_whitespace()).count();
    marks > 1 && text.chars().any(|c| c.is_ascii_digit())
}

/// Removes rows with the same words that were split into more or fewer lines.
fn part_alike(
    earlier: &[TextLine],
    later: &[TextLine],
    vanished: &mut Vec<(usize, String)>,
    appeared: &mut Vec<(usize, String)>,
) {
    let mut seeds: Vec<usize> = vanished.iter().map(|(index, _)| *index).collect();
    while let Some(seed) = seeds.pop() {
        let mut old = BTreeSet::from([seed]);
        let mut new = BTreeSet::new();
        // Collect overlapping lines until there are no more.
        loop {
            let before = old.len() + new.len();
            let on_old = |line: &TextLine| old.iter().any(|at| in_row(&earlier[*at], line));
            new.extend(left(later, appeared).filter(|at| on_old(&later[*at])));
            let on_new = |line: &TextLine| new.iter().any(|at| in_row(&later[*at], line));
            old.extend(left(earlier, vanished).filter(|at| on_new(&earlier[*at])));
            if old.len() + new.len() == before {
                break;
            }
        }
        let (before, after) = (joined(earlier, &old), joined(later, &new));
        if folded(&before) == folded(&after) || is_misread(&before, &after) {
            vanished.retain(|(index, _)| !old.contains(index));
            appeared.retain(|(index, _)| !new.contains(index));
            seeds.retain(|index| !old.contains(index));
        }
    }
}

/// Unmatched lines, and those of low confidence.
fn left<'a>(
    lines: &'a [TextLine],
    unmatched: &'a [(usize, String)],
) -> impl Iterator<Item = usize> + 'a {
    let unsure = (0..lines.len()).filter(|index| lines[*index].confidence < SURE);
    unmatched.iter().map(|(index, _)| *index).chain(unsure)
}

/// True if the two overlap in one row of text.
fn in_row(a: &TextLine, b: &TextLine) -> bool {
    let (a, b) = (&a.rect, &b.rect);
    let common = a.bottom().min(b.bottom()).saturating_sub(a.y.max(b.y));
    a.meets(b) && common * 2 > a.height.min(b.height)
}

/// Text from left to right, without the words repeated by overlapping boxes.
fn joined(lines: &[TextLine], of: &BTreeSet<usize>) -> String {
    let mut row: Vec<&TextLine> = of.iter().map(|index| &lines[*index]).collect();
    row.sort_by_key(|line| line.rect.x);
    let mut joined = String::new();
    let mut right = 0;
    for line in row {
        let text = line.text.trim();
        let twice = (text.char_indices().map(|(at, c)| at + c.len_utf8()))
            .rfind(|end| line.rect.x < right && joined.ends_with(&text[..*end]));
        joined.push(' ');
        joined.push_str(&text[twice.unwrap_or(0)..]);
        right = right.max(line.rect.right());
    }
    joined
}

fn folded(text: &str) -> String {
    let timeless = TIMES.replace_all(text, " ");
    letters(&timeless)
        .into_iter()
        .map(|(c, _)| group(c))
        .collect()
}

/// True if a letter or two differ, and no digit; two letters more or fewer make
/// another word.
fn is_misread(a: &str, b: &str) -> bool {
    let plain = |text: &str| -> Vec<char> {
        let timeless = TIMES.replace_all(text, " ");
        letters(&timeless).into_iter().map(|(c, _)| c).collect()
    };
    let (a, b) = (plain(a), plain(b));
    let shorter = a.len().min(b.len());
    if shorter < LONG || a.len().abs_diff(b.len()) > 2 {
        return false;
    }
    let most = if shorter < MIDDLING { 1 } else { 2 };
    let same_before = a
        .iter()
        .zip(&b)
        .take_while(|(a, b)| alike(**a, **b))
        .count();
    let (a, b) = (&a[same_before..], &b[same_before..]);
    let same_behind = a
        .iter()
        .rev()
        .zip(b.iter().rev())
        .take_while(|(a, b)| alike(**a, **b))
        .count();
    let (a, b) = (&a[..a.len() - same_behind], &b[..b.len() - same_behind]);
    let letters = a.iter().chain(b).all(|c| may_be_misread(*c, *c));
    let (fewer, more) = (a.len().min(b.len()), a.len().max(b.len()));
    more <= most && (fewer > 0 || more < 2) && letters
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::Rect;

    fn lines(texts: &[&str]) -> Vec<TextLine> {
        let line = |(row, text): (u32, &&str)| TextLine {
            text: (*text).to_owned(),
            rect: Rect {
                x: 10,
                y: 20 * row,
                width: 300,
                height: 16,
            },
            confidence: 1.0,
        };
        (0..).zip(texts).map(line).collect()
    }

    fn news(earlier: &[&str], later: &[&str]) -> (Vec<usize>, Vec<usize>) {
        let diff = diff(&lines(earlier), &lines(later));
        (diff.appeared, diff.vanished)
    }

    #[test]
    fn a_scrolled_line_is_not_new() {
        let (appeared, vanished) = news(
            &["one event", "two events", "three"],
            &["two events", "three", "four"],
        );
        assert_eq!((appeared, vanished), (vec![2], vec![0]));
    }

    #[test]
    fn clocks_and_misread_letters_are_no_news() {
        for (a, b) in [
            ("14:02:10", "14:02:11"),
            ("updated 5s ago", "updated 12s ago"),
            (
                "2026-11-23T14:02:10Z started",
                "2026-11-23T14:03:55Z started",
            ),
            ("All systems operational", "AlI systems operati0nal"),
            ("All systems operational", "All systerns operationa"),
            ("connection accepted", "connection acoepted"),
            ("healthy", "heaathy"),
        ] {
            assert_eq!(news(&[a], &[b]), (vec![], vec![]), "{a} / {b}");
        }
    }

    #[test]
    fn a_cursor_is_no_news_and_a_count_is() {
        assert_eq!(news(&["restarts"], &["restarts", "I"]), (vec![], vec![]));
        assert_eq!(news(&["0", "x"], &["", "x"]), (vec![], vec![]));
        assert_eq!(news(&["3"], &["4"]), (vec![0], vec![0]));
        let mut noise = lines(&["|::I1|lI"]);
        noise[0].confidence = 0.4;
        assert!(diff(&[], &noise).is_empty());
        let mut covered = lines(&["heithy"]);
        covered[0].confidence = 0.85;
        assert!(diff(&lines(&["healthy"]), &covered).is_empty());
    }

    #[test]
    fn values_of_one_digit_are_news_when_they_appear() {
        let none: Vec<usize> = vec![];
        assert_eq!(news(&["x"], &["x", "3"]), (vec![1], none.clone()));
        assert_eq!(news(&["x"], &["x", "0%"]), (vec![1], none.clone()));
        assert_eq!(news(&["x", "0%"], &["x", "7%"]), (vec![1], vec![1]));
        assert_eq!(
            news(&["x"], &["x", "1"]),
            (none.clone(), none.clone()),
            "a cursor"
        );
        assert_eq!(
            news(&["x"], &["Critical", "1", "x"]),
            (vec![0, 1], none),
            "a card with its label"
        );
    }

    #[test]
    fn a_row_found_in_other_parts_is_no_news() {
        let part = |text: &str, x: u32, width: u32| TextLine {
            text: text.to_owned(),
            rect: Rect {
                x,
                y: 40,
                width,
                height: 16,
            },
            confidence: 1.0,
        };
        let whole = [part("ALERT disk 97 percent on node-2", 10, 310)];
        let parts = [
            part("ALERT", 10, 50),
            part("disk 97 percent on", 70, 180),
            part("node-2", 260, 60),
        ];
        assert!(diff(&whole, &parts).is_empty());
        assert!(diff(&parts, &whole).is_empty());
        let twice = [
            part("ALERT disk 97", 10, 130),
            part("97 percent on", 120, 130),
            part("on node-2", 230, 90),
        ];
        assert!(diff(&whole, &twice).is_empty());
        let other = [part("disk 98 percent on", 70, 180)];
        let other = [&parts[..1], &other, &parts[2..]].concat();
        assert!(!diff(&whole, &other).is_empty(), "another number");
        assert!(!diff(&whole, &parts[..2]).is_empty(), "a part is gone");
    }

    #[test]
    fn numbers_and_short_words_are() {
        for (a, b) in [
            ("restarts 3", "restarts 4"),
            ("UP", "NO"),
            ("connections refused: 45", "connections refused: 48"),
            ("Failed logins, 1 minute: 48", "Failed logins, 1 minute: 49"),
            ("from 203.0.113.45 port 22", "from 203.0.113.47 port 22"),
            ("payments is running", "payments is crashing"),
            ("unreachable", "reachable"),
            ("inactive", "active"),
            ("node is unsafe", "node is safe"),
            ("passed", "failed"),
        ] {
            assert_eq!(news(&[a], &[b]), (vec![0], vec![0]), "{a} / {b}");
        }
    }
}

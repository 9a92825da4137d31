//! Verification of quotes: finds a quote on a screen, and its position.

use super::letters::{GAP, Mark, alike, marks, of_one_word};
use super::rows::rows;
use crate::picture::{Rect, TextLine};

/// Number of letters of a quote per tolerated misreading.
const ONE_IN: usize = 10;
/// Maximum length of a quote, in letters, and maximum number of lines it may
/// span.
const LONGEST: usize = 600;
const MOST_LINES: usize = 24;

/// Location of a quote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuoteLocation {
    /// Bounding box of all of it.
    pub rect: Rect,
    /// Indexes of its lines.
    pub lines: Vec<usize>,
}

/// Finds a quote, nearest to the place given for it; `None` if it is not on the
/// screen, or has neither letters nor digits.
///
/// A match starts and ends at word or number boundaries. Letters of words may
/// be misread; digits, decimal points and units may not, except for
/// look-alikes. A quote may continue into the cell to its right or the line
/// right below, as people copy text, but nowhere else.
pub fn find(quote: &str, lines: &[TextLine], near: Option<Rect>) -> Option<QuoteLocation> {
    let mut wanted = marks(quote);
    wanted.truncate(LONGEST);
    if !wanted.iter().any(|mark| mark.c.is_alphanumeric()) {
        return None;
    }
    let screen = SearchableScreen::new(lines);
    let places = (0..lines.len()).flat_map(|line| screen.places_from(line, &wanted));
    let distance = |place: &QuoteLocation| {
        near.map_or(0, |near| {
            let middle = |rect: &Rect| (rect.x + rect.width / 2, rect.y + rect.height / 2);
            let ((x, y), (other_x, other_y)) = (middle(&place.rect), middle(&near));
            u64::from(x.abs_diff(other_x)) + u64::from(y.abs_diff(other_y))
        })
    };
    places
        .min_by_key(|(place, misread)| (*misread, distance(place)))
        .map(|(place, _)| place)
}

struct SearchableScreen<'a> {
    lines: &'a [TextLine],
    marks: Vec<Vec<Mark>>,
    /// Lines on which a text may continue, for each line.
    next: Vec<Vec<usize>>,
}

impl<'a> SearchableScreen<'a> {
    fn new(lines: &'a [TextLine]) -> Self {
        let mut next = vec![Vec::new(); lines.len()];
        let rows = rows(lines);
        for (at, row) in rows.iter().enumerate() {
            for pair in row.parts.windows(2) {
                next[pair[0].0].push(pair[1].0);
            }
            let below = rows.get(at + 1).and_then(|row| row.parts.first());
            if let (Some((last, _)), Some((first, _))) = (row.parts.last(), below)
                && is_right_below(&around(lines, &row.parts), &lines[*first].rect)
            {
                next[*last].push(*first);
            }
        }
        for (at, line) in lines.iter().enumerate() {
            let rect = line.rect;
            let under = lines.iter().enumerate().skip(at + 1).filter(|(_, other)| {
                other.rect.y >= rect.y + rect.height / 2 && is_right_below(&rect, &other.rect)
            });
            let nearest =
                under.min_by_key(|(_, other)| (other.rect.y, other.rect.x.abs_diff(rect.x)));
            if let Some((below, _)) = nearest
                && !next[at].contains(&below)
            {
                next[at].push(below);
            }
        }
        Self {
            lines,
            marks: lines.iter().map(|line| marks(&line.text)).collect(),
            next,
        }
    }

    /// Matches that start on a line, with their number of misread letters.
    fn places_from(&self, line: usize, wanted: &[Mark]) -> Vec<(QuoteLocation, usize)> {
        let have = &self.marks[line];
        let mut found = Vec::new();
        for start in 0..have.len() {
            if !self.begins(line, start) {
                continue;
            }
            let mut walk = Walk {
                screen: self,
                wanted,
                most: wanted.len() / ONE_IN,
                spans: Vec::new(),
            };
            if let Some(misread) = walk.on(line, start, 0, 0) {
                found.push((walk.place(), misread));
            }
        }
        found
    }

    /// True if a word or a number starts at that mark of a line.
    fn begins(&self, line: usize, at: usize) -> bool {
        let mark = self.marks[line][at];
        let text = &self.lines[line].text;
        let here = text[mark.at..].chars().next();
        let before = text[..mark.at].chars().next_back();
        let joined = before.zip(here).is_some_and(|(a, b)| of_one_word(a, b));
        mark.c != GAP && !joined && !self.splits_number(line, at.wrapping_sub(1), at)
    }

    /// True if a word or a number ends at that mark of a line.
    fn ends(&self, line: usize, at: usize) -> bool {
        let text = &self.lines[line].text;
        // A letter pair folded into one ends where the second does.
        let mut rest = text[self.marks[line][at].at..].chars();
        let mut last = rest.next();
        if let Some(next) = self.marks[line].get(at + 1)
            && next.c == GAP
        {
            return true;
        }
        let two = matches!(last, Some('r' | 'R' | 'v' | 'V'))
            && matches!(self.marks[line][at].c, 'm' | 'w');
        if two {
            last = rest.next();
        }
        let joined = last
            .zip(rest.next())
            .is_some_and(|(a, b)| of_one_word(a, b));
        !joined && !self.splits_number(line, at, at + 1)
    }

    /// True if a number continues from one mark to the next, across its decimal
    /// point or sign.
    fn splits_number(&self, line: usize, left: usize, right: usize) -> bool {
        let marks = &self.marks[line];
        let (Some(left), Some(right)) = (marks.get(left), marks.get(right)) else {
            return false;
        };
        let point = |c: char| matches!(c, '.' | ',' | ':' | '-');
        (left.c.is_numeric() && matches!(right.c, '.' | ','))
            || (point(left.c) && right.c.is_numeric())
    }
}

/// Bounding box of parts of lines.
fn around(lines: &[TextLine], parts: &[(usize, usize)]) -> Rect {
    let rects = parts.iter().map(|(line, _)| lines[*line].rect);
    rects.reduce(|a, b| a.with(&b)).unwrap_or(Rect {
        x: 0,
        y: 0,
        width: 0,
        height: 0,
    })
}

/// True if the second is under the first, with no room for a line between.
fn is_right_below(above: &Rect, below: &Rect) -> bool {
    let height = above.height.min(below.height.max(1));
    below.y < above.bottom() + height && below.x < above.right() && above.x < below.right()
}

/// Attempt to match a quote along the screen.
struct Walk<'a> {
    screen: &'a SearchableScreen<'a>,
    wanted: &'a [Mark],
    /// Maximum number of misread letters.
    most: usize,
    /// Line, first and last letter.
    spans: Vec<(usize, usize, usize)>,
}

impl Walk<'_> {
    /// Matches the quote from letter `at` on along a line; returns the number
    /// of misread letters on success.
    fn on(
        &mut self,
        line: usize,
        start: usize,
        mut at: usize,
        mut misread: usize,
    ) -> Option<usize> {
        if self.spans.len() >= MOST_LINES {
            return None;
        }
        let have = &self.screen.marks[line];
        let mut here = start;
        if start == 0 && at > 0 {
            let digits = |a: Mark, b: Mark| a.c.is_numeric() && b.c.is_numeric();
            match self.wanted.get(at) {
                // A line break separates numbers.
                Some(mark) if mark.c == GAP => at += 1,
                Some(mark) if digits(self.wanted[at - 1], *mark) => return None,
                _ => {}
            }
        }
        while at < self.wanted.len() && here < have.len() {
            let (want, letter) = (self.wanted[at], have[here]);
            if alike(want.c, letter.c) {
                (at, here) = (at + 1, here + 1);
                continue;
            }
            misread += 1;
            if misread > self.most || at == 0 {
                return None;
            }
            let next = |offset: usize| have.get(here + offset).map(|mark| mark.c);
            let wants = |offset: usize| self.wanted.get(at + offset).map(|mark| mark.c);
            let fits = |a: Option<char>, b: Option<char>| match (a, b) {
                (Some(a), Some(b)) => alike(a, b),
                (None, _) => true,
                _ => false,
            };
            // Letter misread, inserted, or missing.
            if want.loose && letter.c.is_alphabetic() && fits(wants(1), next(1)) {
                (at, here) = (at + 1, here + 1);
            } else if want.loose && letter.loose && fits(Some(want.c), next(1)) {
                here += 1;
            } else if want.loose && fits(wants(1), Some(letter.c)) {
                at += 1;
            } else {
                return None;
            }
        }
        if here > start {
            self.spans.push((line, start, here - 1));
        }
        if at == self.wanted.len() {
            let whole = here == 0 || self.screen.ends(line, here - 1);
            if whole {
                return Some(misread);
            }
        } else if !self.spans.is_empty() {
            for next in &self.screen.next[line] {
                let spans = self.spans.len();
                if let Some(misread) = self.on(*next, 0, at, misread) {
                    return Some(misread);
                }
                self.spans.truncate(spans);
            }
        }
        if here > start {
            self.spans.pop();
        }
        None
    }

    fn place(&self) -> QuoteLocation {
        let rects = self.spans.iter().map(|(line, first, last)| {
            let text = &self.screen.lines[*line];
            let marks = &self.screen.marks[*line];
            part(text, marks[*first].at, marks[*last].at)
        });
        QuoteLocation {
            rect: rects.reduce(|a, b| a.with(&b)).unwrap_or(Rect {
                x: 0,
                y: 0,
                width: 0,
                height: 0,
            }),
            lines: self.spans.iter().map(|(line, _, _)| *line).collect(),
        }
    }
}

/// Estimated box of the characters at those byte offsets, assuming uniform
/// character width.
fn part(line: &TextLine, first: usize, last: usize) -> Rect {
    let all = line.text.chars().count().max(1) as f32;
    let before = |byte: usize| line.text[..byte].chars().count() as f32;
    let width = line.rect.width as f32;
    let left = (before(first) / all * width) as u32;
    let right = (((before(last) + 1.0) / all * width).ceil() as u32).min(line.rect.width);
    Rect {
        x: line.rect.x + left,
        width: right.saturating_sub(left),
        ..line.rect
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_line::wide_line as line;

    fn screen() -> Vec<TextLine> {
        vec![
            line(
                "Failed password for admin frorn 203.0.113.45 port 51502",
                10,
                10,
            ),
            line("Root account has a", 10, 40),
            line("Fail", 400, 40),
            line("hardware MFA device enab1ed", 10, 60),
            line("eu-west-l", 400, 60),
            line("Total: 2048", 10, 100),
        ]
    }

    fn found(quote: &str) -> Option<Vec<usize>> {
        find(quote, &screen(), None).map(|place| place.lines)
    }

    #[test]
    fn true_quotes_are_found_however_they_were_read() {
        assert_eq!(
            found("Failed password for admin from 203.0.113.45"),
            Some(vec![0])
        );
        assert_eq!(
            found("failed pasword for admin"),
            Some(vec![0]),
            "a letter lost"
        );
        assert_eq!(
            found("Root account has a hardware MFA device enabled"),
            Some(vec![1, 3])
        );
        assert_eq!(found("Root account has a  Fail"), Some(vec![1, 2]));
        assert_eq!(
            found("Root account has a | Fail"),
            Some(vec![1, 2]),
            "a row with bars between its cells"
        );
        assert_eq!(found("eu-west-1"), Some(vec![4]));
        let version = [line("K8s Rev: v1.15.9", 10, 10)];
        assert!(
            find("v1.15.9", &version, None).is_some(),
            "two words make no letter"
        );
        assert_eq!(found("FAIL"), Some(vec![2]));
    }

    #[test]
    fn invented_ones_are_not() {
        for quote in [
            "Failed password for admin from 203.0.113.46",
            "Failed password for root from 203.0.113.45",
            "Accepted password for admin",
            "48",
            "Total: 2049",
            "ransomware detected on web-01",
            "--",
            "",
        ] {
            assert_eq!(found(quote), None, "{quote}");
        }
    }

    #[test]
    fn ends_of_numbers_and_words_are_ends() {
        let on = |quote: &str, text: &str| find(quote, &[line(text, 10, 10)], None).is_some();
        for (quote, text) in [
            ("203.0.113.4", "login from 203.0.113.45 at 10:02"),
            ("from 203.0.113", "login from 203.0.113.45 at 10:02"),
            ("0.113.45", "login from 203.0.113.45 at 10:02"),
            ("port 515", "from 203.0.113.45 port 51502 ssh2"),
            ("port 515 02", "from 203.0.113.45 port 51502 ssh2"),
            ("logins: 1", "failed logins: 1024"),
            ("logins: 1", "failed logins: 1,024"),
            ("024 failed logins", "1,024 failed logins"),
            ("9.95 %", "availability 99.5 %"),
            ("99.5 %", "availability 9.95 %"),
            ("5 %", "availability 99.5 %"),
            ("availability 99.5 %", "availability 995"),
            ("latency of service 500 ms", "latency of service 500 s"),
            ("latency of service 500 s", "latency of service 500 ms"),
            ("throughput 12 MB", "throughput 12 GB"),
            ("change 12 %", "change -12 %"),
            ("change -12 %", "change 12 %"),
            ("cost today $90", "cost today €90"),
            ("authorized access", "unauthorized access"),
            ("access was deni", "access was denied"),
            ("web-01", "web-010 is down"),
            ("there is no backup of it", "there is a backup of it"),
            ("pods 10 24 ready", "pods 1024 ready"),
        ] {
            assert!(!on(quote, text), "{quote:?} on {text:?}");
        }
        for (quote, text) in [
            ("203.0.113.4", "login from 203.0.113.4."),
            ("203.0.113.4", "(203.0.113.4:22)"),
            ("port 51502", "from 203.0.113.45 port 51502 ssh2"),
            ("99.5 %", "availability 99.5%, falling"),
            ("change -12 %", "change \u{2212}12 %"),
            ("logins: 1,O24", "failed logins: 1,024"),
            ("l92.0.2.1", "from 192.0.2.1 again"),
            ("web-01", "host=web-O1"),
            ("Wiederherstellung", "VViederherstellung"),
            ("alarm", "alarrn is on"),
            ("passwoid for admin", "Failed password for admin"),
            ("東京 3", "本社は東京 3 階"),
            ("京", "東京都"),
        ] {
            assert!(on(quote, text), "{quote:?} on {text:?}");
        }
    }

    #[test]
    fn parts_are_neighbours() {
        let far = [
            line("ransomware found", 10, 10),
            line("on host", 10, 200),
            line("web-01 today", 10, 400),
            line("Total 51", 500, 10),
            line("502 left", 500, 30),
        ];
        for quote in [
            "ransomware found on host",
            "ransomware found on host web-01",
            "on host web-01 today",
            "Total 51502",
        ] {
            assert_eq!(find(quote, &far, None), None, "{quote}");
        }
        let near = [
            line("ransomware found", 10, 10),
            line("on host", 10, 30),
            line("web-01 today", 10, 50),
        ];
        let place = find("ransomware found on host web-01", &near, None).unwrap();
        assert_eq!(place.lines, [0, 1, 2]);
    }

    proptest::proptest! {
        /// A number is found as a whole, but no part of it and no number that
        /// continues it.
        #[test]
        fn numbers_are_found_whole(number in 10u32..10_000_000, cut in 1usize..7) {
            let text = number.to_string();
            let screen = [line(&format!("count {text} of jobs"), 10, 10)];
            let whole = format!("count {text}");
            proptest::prop_assert!(find(&whole, &screen, None).is_some());
            let cut = cut.min(text.len() - 1);
            let parts = [
                format!("count {}", &text[..cut]),
                format!("{} of jobs", &text[cut..]),
                format!("count {text}7"),
            ];
            for part in parts {
                proptest::prop_assert_eq!(find(&part, &screen, None), None);
            }
        }

        /// The same for a line of words, from any word to any other.
        #[test]
        fn words_are_found_whole(words in proptest::collection::vec("[a-z]{4,9}[0-9]{0,3}", 2..8), from in 0usize..8, to in 0usize..8) {
            let (from, to) = (from.min(to).min(words.len() - 1), to.max(from).min(words.len() - 1));
            let screen = [line(&words.join(" "), 10, 10)];
            let quote = words[from..=to].join(" ");
            proptest::prop_assert!(find(&quote, &screen, None).is_some(), "{}", quote);
        }
    }

    #[test]
    fn the_box_is_where_it_stands() {
        let place = find("203.0.113.45", &screen(), None).unwrap();
        assert_eq!(place.rect.y, 10);
        assert!((325..=335).contains(&place.rect.x), "{:?}", place.rect);
        let two = vec![line("Fail", 10, 10), line("Fail", 10, 500)];
        let near = Rect {
            x: 0,
            y: 480,
            width: 50,
            height: 50,
        };
        assert_eq!(find("Fail", &two, Some(near)).unwrap().lines, [1]);
    }
}

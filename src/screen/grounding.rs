//! Does a quote stand on the screen, and where?

use super::letters::{alike, letters, may_be_misread};
use super::rows::rows;
use crate::media::{Rect, TextLine};

/// Letters a quote has to have to be found in the middle of a word.
const SHORT: usize = 6;
/// One letter in so many may have been misread.
const ONE_IN: usize = 10;
/// Most letters of a quote that are looked for, and of lines it may span.
const LONGEST: usize = 600;
const MOST_LINES: usize = 24;

/// Where a quote was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Around all of it.
    pub rect: Rect,
    /// The lines it stands on.
    pub lines: Vec<usize>,
}

/// Where a quote stands, nearest to where it is said to; `None` when it does
/// not. What has neither letters nor digits is found nowhere.
///
/// A quote may run on into the cell to its right, the line below it and the
/// next row, as people copy.
pub fn find(quote: &str, lines: &[TextLine], near: Option<Rect>) -> Option<Place> {
    let wanted: Vec<char> = letters(quote)
        .into_iter()
        .map(|(c, _)| c)
        .take(LONGEST)
        .collect();
    if wanted.is_empty() {
        return None;
    }
    let screen = Screen::new(lines);
    let places = (0..lines.len()).flat_map(|line| screen.places_from(line, &wanted));
    let distance = |place: &Place| {
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

struct Screen<'a> {
    lines: &'a [TextLine],
    letters: Vec<Vec<(char, usize)>>,
    /// Where a text may go on behind each line.
    next: Vec<Vec<usize>>,
}

impl<'a> Screen<'a> {
    fn new(lines: &'a [TextLine]) -> Self {
        let mut next = vec![Vec::new(); lines.len()];
        let rows = rows(lines);
        for (at, row) in rows.iter().enumerate() {
            for pair in row.parts.windows(2) {
                next[pair[0].0].push(pair[1].0);
            }
            let below = rows.get(at + 1).and_then(|row| row.parts.first());
            if let (Some((last, _)), Some((first, _))) = (row.parts.last(), below) {
                next[*last].push(*first);
            }
        }
        for (at, line) in lines.iter().enumerate() {
            let rect = line.rect;
            let under = lines.iter().enumerate().skip(at + 1).filter(|(_, other)| {
                let other = other.rect;
                other.y >= rect.y + rect.height / 2
                    && other.y < rect.bottom() + rect.height * 2
                    && other.x < rect.right()
                    && rect.x < other.right()
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
            letters: lines.iter().map(|line| letters(&line.text)).collect(),
            next,
        }
    }

    /// Places that begin on a line, with the letters misread.
    fn places_from(&self, line: usize, wanted: &[char]) -> Vec<(Place, usize)> {
        let have = &self.letters[line];
        let mut found = Vec::new();
        for start in 0..have.len() {
            if wanted.len() < SHORT && !self.begins_word(line, start) {
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

    fn begins_word(&self, line: usize, at: usize) -> bool {
        let (_, byte) = self.letters[line][at];
        !self.lines[line].text[..byte].ends_with(|c: char| c.is_alphanumeric())
    }

    fn ends_word(&self, line: usize, at: usize) -> bool {
        let (_, byte) = self.letters[line][at];
        let rest = &self.lines[line].text[byte..];
        let mut letters = rest.chars();
        letters.next();
        !letters.as_str().starts_with(|c: char| c.is_alphanumeric())
    }
}

/// One try to follow a quote over the screen.
struct Walk<'a> {
    screen: &'a Screen<'a>,
    wanted: &'a [char],
    /// Letters that may be misread.
    most: usize,
    /// Line, first and last letter.
    spans: Vec<(usize, usize, usize)>,
}

impl Walk<'_> {
    /// Follows what is wanted from letter `at` on along a line; the letters
    /// misread by the end, if it gets there.
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
        let have = &self.screen.letters[line];
        let mut here = start;
        while at < self.wanted.len() && here < have.len() {
            let (want, letter) = (self.wanted[at], have[here].0);
            if alike(want, letter) {
                (at, here) = (at + 1, here + 1);
                continue;
            }
            misread += 1;
            if misread > self.most || at == 0 {
                return None;
            }
            let next = |offset: usize| have.get(here + offset).map(|(c, _)| *c);
            let wants = |offset: usize| self.wanted.get(at + offset).copied();
            let fits = |a: Option<char>, b: Option<char>| match (a, b) {
                (Some(a), Some(b)) => alike(a, b),
                (None, _) => true,
                _ => false,
            };
            // Replaced, read too much, or not read at all.
            if may_be_misread(want, letter) && fits(wants(1), next(1)) {
                (at, here) = (at + 1, here + 1);
            } else if may_be_misread(letter, letter) && fits(Some(want), next(1)) {
                here += 1;
            } else if may_be_misread(want, want) && fits(wants(1), Some(letter)) {
                at += 1;
            } else {
                return None;
            }
        }
        if here > start {
            self.spans.push((line, start, here - 1));
        }
        if at == self.wanted.len() {
            let whole = here == 0 || self.screen.ends_word(line, here - 1);
            if self.wanted.len() >= SHORT || whole {
                return Some(misread);
            }
        } else {
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

    fn place(&self) -> Place {
        let rects = self.spans.iter().map(|(line, first, last)| {
            let text = &self.screen.lines[*line];
            let letters = &self.screen.letters[*line];
            part(text, letters[*first].1, letters[*last].1)
        });
        Place {
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

/// About where the characters stand that begin at those bytes: letters are
/// taken to be of one width.
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

    fn line(text: &str, x: u32, y: u32) -> TextLine {
        TextLine {
            text: text.to_owned(),
            rect: Rect {
                x,
                y,
                width: text.len() as u32 * 10,
                height: 16,
            },
            confidence: 1.0,
        }
    }

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

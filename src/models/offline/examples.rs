//! Examples of rules: sequences of screens drawn in characters.

use std::time::Duration;

use jiff::Timestamp;

use super::elements::drawn_elements;
use super::rule::{MatchedText, Rule};
use super::screen::FrameText;
use super::window::Windows;

/// Longest pause between two screens of an example; far from the limits of time
/// stamps.
const LONGEST_PAUSE: Duration = Duration::from_secs(24 * 60 * 60);

/// True if the rule reports a finding on an example.
pub(super) fn reports(rule: &Rule, example: &str) -> bool {
    let mut windows = Windows::default();
    screens(example).into_iter().any(|(after, screen)| {
        let at = Timestamp::UNIX_EPOCH + after;
        let elements = match rule.shape {
            Some(_) => drawn_elements(&screen),
            None => FrameText::default(),
        };
        let screen = MatchedText {
            rows: FrameText::drawn(&screen),
            elements,
        };
        !rule.subjects(&screen, at, &mut windows).is_empty()
    })
}

/// Screens of an example: a line such as `+20s` begins the next one, captured
/// that much later.
pub(super) fn screens(example: &str) -> Vec<(Duration, String)> {
    let mut screens = vec![(Duration::ZERO, String::new())];
    for line in example.lines() {
        let later = line
            .strip_prefix('+')
            .and_then(|text| humantime::parse_duration(text).ok())
            .filter(|later| *later <= LONGEST_PAUSE);
        let (at, text) = screens.last_mut().expect("it begins with one");
        match later {
            Some(later) => {
                let at = *at + later;
                screens.push((at, String::new()));
            }
            None => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    screens
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delay_line_begins_another_screen() {
        let seconds = |(at, text): (Duration, String)| (at.as_secs(), text);
        let found: Vec<_> = screens("a  b\n+20s\n+5\nc\n+1m\nd")
            .into_iter()
            .map(seconds)
            .collect();
        let expected = [(0, "a  b\n"), (20, "+5\nc\n"), (80, "d\n")];
        assert_eq!(found, expected.map(|(at, text)| (at, text.to_owned())));
    }
}

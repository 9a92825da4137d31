//! Pattern language of rules: regular expressions that tolerate OCR errors, and
//! the numbers they capture.

use regex::{Regex, RegexBuilder};

use watchtower_base::config::fault::Faults;

pub(super) fn compile(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(&forgiving(pattern))
        .case_insensitive(true)
        .size_limit(1 << 20)
        .build()
}

/// Compiles the patterns of a key; adds a fault for each that is none.
pub(super) fn compile_all(patterns: &[String], key: &str, faults: &mut Faults) -> Vec<Regex> {
    let compiled = patterns.iter().filter_map(|pattern| {
        let fault = |error| faults.add(key, format!("{pattern:?} is not a pattern: {error}"));
        compile(pattern).map_err(fault).ok()
    });
    compiled.collect()
}

/// Rewrites a pattern, written as the text looks on screen, to tolerate OCR
/// errors: a space matches any white space or none, an underscore a space too,
/// and `o` and `0`, `l`, `i` and `1` match one another. Classes, group names
/// and counts stay as they are.
fn forgiving(pattern: &str) -> String {
    let mut text = String::new();
    let mut literal_from = ' ';
    let mut escaped = false;
    for c in pattern.chars() {
        match (literal_from, c) {
            _ if escaped => text.push(c),
            (' ', ' ') => text += r"\s*",
            (' ', '_') => text += r"[_\s]?",
            (' ', 'o' | 'O' | '0') => text += "[o0]",
            (' ', 'l' | 'L' | 'i' | 'I' | '1') => text += "[li1|]",
            _ => text.push(c),
        }
        literal_from = match (literal_from, c) {
            _ if escaped => literal_from,
            (' ', '[') => ']',
            (' ', '{') => '}',
            (' ', '<') if text.ends_with("(?<") || text.ends_with("(?P<") => '>',
            (until, c) if until == c => ' ',
            (until, _) => until,
        };
        escaped = c == '\\' && !escaped;
    }
    text
}

/// Parses a number such as `1,093`, `12.4` or `48.2k`.
pub(super) fn number(text: &str) -> Option<f64> {
    let text = text.trim().replace(',', "");
    let (digits, factor) = match text.to_ascii_lowercase().chars().next_back()? {
        'k' => (&text[..text.len() - 1], 1e3),
        'm' => (&text[..text.len() - 1], 1e6),
        _ => (text.as_str(), 1.0),
    };
    digits
        .trim()
        .parse::<f64>()
        .ok()
        .map(|number| number * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pattern_tolerates_ocr_errors() {
        let pattern = compile(r"crash_loop back off [a_ ]x (?<loin>\d{1,2})").unwrap();
        for text in [
            "CrashLoopBackOff_x1",
            "crash l00p back off  x12",
            "CRASH_LOOPBACK 0FF ax3",
        ] {
            assert!(pattern.is_match(text), "{text}");
        }
        assert!(!pattern.is_match("crash-loop back off x1"));
        assert!(pattern.capture_names().flatten().eq(["loin"]));
    }

    #[test]
    fn numbers_of_dashboards_are_parsed() {
        let cases = [
            ("12.4", Some(12.4)),
            ("1,093", Some(1093.0)),
            ("48.2k", Some(48_200.0)),
            ("3M", Some(3e6)),
            ("x", None),
        ];
        for (text, value) in cases {
            assert_eq!(number(text), value, "{text}");
        }
    }
}

//! Tolerant JSON parser for model output: in fences, in prose, with lone
//! surrogates.

use serde_json::Value;

/// JSON of an answer: all of it, or the one object within other text. A lone
/// surrogate becomes U+FFFD instead of an error.
pub(super) fn json_of(text: &str) -> Option<Value> {
    let parse = |text: &str| {
        let parsed = serde_json::from_str(text).ok();
        parsed.or_else(|| serde_json::from_str(&without_lone_surrogates(text)?).ok())
    };
    parse(unfenced(text)).or_else(|| parse(object_in(text)?))
}

/// Only outermost JSON object of a text; `None` where there are two.
pub(super) fn object_in(text: &str) -> Option<&str> {
    let mut found = None;
    let mut from = 0;
    // Most braces in prose begin no object; those that do are skipped as a
    // whole.
    const MOST_TRIES: usize = 64;
    for _ in 0..MOST_TRIES {
        let Some(start) = text[from..].find('{').map(|at| from + at) else {
            break;
        };
        match end_of_object(&text[start..]) {
            Some(length) => {
                if found.replace(&text[start..start + length]).is_some() {
                    return None;
                }
                from = start + length;
            }
            None => from = start + 1,
        }
    }
    found
}

fn end_of_object(text: &str) -> Option<usize> {
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'{' if !quoted => depth += 1,
            b'}' if !quoted => {
                depth -= 1;
                if depth == 0 {
                    let whole = &text[..=at];
                    // An object begins with a quoted name, or is empty.
                    let inside = whole[1..].trim_start();
                    return inside.starts_with(['"', '}']).then_some(at + 1);
                }
            }
            _ => {}
        }
    }
    None
}

/// Text with U+FFFD for each escaped lone surrogate; `None` when there is none.
fn without_lone_surrogates(text: &str) -> Option<String> {
    let unit = |at: usize| -> Option<u32> {
        let digits = text.get(at..at + 6)?.strip_prefix("\\u")?;
        u32::from_str_radix(digits, 16).ok()
    };
    let mut mended = String::with_capacity(text.len());
    let (mut at, mut found) = (0, false);
    while let Some(next) = text[at..].find('\\').map(|next| at + next) {
        mended.push_str(&text[at..next]);
        let pair = (unit(next), unit(next + 6));
        let length = match pair {
            (Some(0xD800..=0xDBFF), Some(0xDC00..=0xDFFF)) => 12,
            (Some(0xD800..=0xDFFF), _) => {
                found = true;
                mended.push('\u{FFFD}');
                at = next + 6;
                continue;
            }
            _ => 1 + text[next + 1..].chars().next().map_or(0, char::len_utf8),
        };
        mended.push_str(&text[next..next + length]);
        at = next + length;
    }
    mended.push_str(&text[at..]);
    found.then_some(mended)
}

/// Content of a Markdown fence, when the whole text is one fence.
fn unfenced(text: &str) -> &str {
    let text = text.trim();
    let inside = text
        .strip_prefix("```")
        .and_then(|rest| rest.strip_suffix("```"))
        .filter(|inside| !inside.contains("```"));
    match inside.and_then(|inside| inside.split_once('\n')) {
        // The first line names the language, if anything.
        Some((language, body)) if language.trim().chars().all(char::is_alphanumeric) => body,
        _ => text,
    }
}

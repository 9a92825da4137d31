//! Orders by their form: markup of chats, and answers forged in the format of
//! an analyst.

use std::sync::LazyLock;

use regex::Regex;

use super::ScreenOrder;

/// Markup that models are trained on; OCR reads `l`, `I` and `1` alike, and
/// spaces where there are none.
static MARKUP: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?i)<\s?[|1lI]?\s?(?:im[_ ]?start|im[_ ]?end|endoftext|eot_id|begin_of_text|(?:start|end)[_ ]?header[_ ]?id|(?:start|end)[_ ]?of[_ ]?turn)\s?[|1lI]?\s?>|<\s?[|]\s?(?:system|assistant|user|developer|end)\s?[|]\s?>|\[/?(?:inst|sys)\]|<<\s?/?sys\s?>>|###\s?(?:system|instructions?)\b\s*:",
    )
});

/// Answer in an analyst's format: an object with our keys, as it is or escaped.
static ANSWER: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r#"(?i)\\*["“”]findings\\*["“”]\s?[:=]\s?\[|\\*["“”]severity\\*["“”]\s?:\s?\\*["“”](?:(?:info|low)\\*["“”].{0,60}\\*["“”]title|\w+\\*["“”].{0,60}\\*["“”]confidence|\w+\\+["“”].{0,60}\\+["“”]title)\\*["“”]|\\*["“”]not_?sure\\*["“”]\s?:\s?\[|\\*["“”]recommended_?action\\*["“”]\s?:"#,
    )
});

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("a constant pattern")
}

/// Forged markup or answer in a text.
pub(super) fn forged(text: &str) -> Option<ScreenOrder> {
    let found = |pattern: &Regex, request| {
        let found = pattern.find(text)?;
        Some(ScreenOrder {
            request,
            span: (found.start(), found.end()),
        })
    };
    found(&MARKUP, "forges a message of the system").or_else(|| found(&ANSWER, "forges an answer"))
}

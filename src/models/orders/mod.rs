//! Orders on a screen: text that addresses whoever analyses it, and asks for
//! something (prompt injection). Judged by who is addressed and what is asked,
//! in any wording (docs/untrusted-screen.md).

mod fold;
mod intent;
mod marks;
mod vocabulary;

use vocabulary::vocabulary;

/// Text to judge, with what stands around it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct OrderPassage<'a> {
    pub(crate) text: &'a str,
    /// Other cells of its row: a verdict there means that somebody judged the
    /// text already, as in the log of a guardrail.
    pub(crate) beside: &'a [&'a str],
    /// Flag: a prompt is edited on the screen, and dictates answers of another
    /// model.
    pub(crate) draft: bool,
}

/// Verdict on a text that gives orders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ScreenOrder {
    /// Request, in words for a report.
    pub(crate) request: &'static str,
    /// Quoted range in bytes of the text.
    pub(crate) span: (usize, usize),
}

/// Order in a text, if it gives one.
pub(crate) fn order(passage: OrderPassage<'_>) -> Option<ScreenOrder> {
    let words = fold::words(passage.text);
    let hits = vocabulary().hits(&words);
    let text = intent::PassageText {
        text: passage.text,
        words: &words,
        hits: &hits,
        draft: passage.draft,
    };
    let found = marks::forged(passage.text).or_else(|| text.order())?;
    (!text.is_quoted(found.span) && !is_judged(passage.beside)).then_some(found)
}

/// True if an order may begin in a text and end below it: it names a reader, or
/// has the verb of a request.
pub(crate) fn may_begin(text: &str) -> bool {
    use vocabulary::PhraseClass::{
        Answer, AsReader, Automated, Hush, Machine, Recast, Reveal, Silence, Turned, Verdict, Void,
        Whichever,
    };
    let hits = vocabulary().hits(&fold::words(text));
    hits.iter().any(|hit| {
        matches!(
            hit.class,
            Answer
                | AsReader
                | Automated
                | Hush
                | Machine
                | Recast
                | Reveal
                | Silence
                | Turned
                | Verdict
                | Void
                | Whichever
        )
    })
}

/// True if a text heads a prompt that somebody edits.
pub(crate) fn is_draft(text: &str) -> bool {
    let words = fold::words(text);
    let hits = vocabulary().hits(&words);
    // A heading or a field, not a sentence that mentions one.
    hits.iter().any(|hit| {
        hit.class == vocabulary::PhraseClass::Draft && hit.from == 0 && hit.to + 2 >= words.len()
    })
}

/// True if a cell is a verdict and no more.
fn is_judged(cells: &[&str]) -> bool {
    cells.iter().any(|cell| {
        let words = fold::words(cell);
        let hits = vocabulary().hits(&words);
        hits.iter().any(|hit| {
            let all = hit.to - hit.from;
            hit.class == vocabulary::PhraseClass::Judged && all + 1 >= words.len()
        })
    })
}

#[cfg(test)]
mod tests;

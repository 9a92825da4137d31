//! Human-readable states of an analyst.

use watchtower_base::text::counted;
use watchtower_domain::finding::ModelRef;
use watchtower_models::model::ObserveQuestion;

/// State while the frames of a question are analysed; `by` names the model
/// unless it is the first.
pub(super) fn analysing(question: &ObserveQuestion, by: &str) -> String {
    let newest = question.frames.last();
    newest.map_or_else(String::new, |newest| {
        format!("analysing frame {} of {}{by}", newest.seq, newest.stream)
    })
}

/// Result of an analysis: number of findings, and of earlier changes that no
/// model was shown.
pub(super) fn analysed(found: usize, unshown: u64) -> String {
    let what = match found {
        0 => "no findings".to_owned(),
        n => counted(n, "finding"),
    };
    match unshown {
        0 => what,
        n => format!("{what}, {} not analysed", counted(n, "earlier change")),
    }
}

/// Name of a model.
pub(super) fn named(model: &ModelRef) -> String {
    match model.provider.as_str() {
        "offline" => "offline rules".to_owned(),
        _ => model.name.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_and_what_was_missed_is_counted() {
        assert_eq!(analysed(0, 0), "no findings");
        assert_eq!(analysed(1, 1), "1 finding, 1 earlier change not analysed");
        assert_eq!(analysed(2, 3), "2 findings, 3 earlier changes not analysed");
    }
}

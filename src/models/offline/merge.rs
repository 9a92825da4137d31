//! Findings of one analyst on one reading, of which those of one problem are
//! one.

use watchtower_domain::finding::Observation;

use super::reading::overlap;
use super::{QUOTES, RuleFinding};

/// Joins findings of one category that quote the same place, or that report the
/// same number of the same measure; the most severe is kept, of equals the
/// first, with the quotes of all.
pub(super) fn merged(found: Vec<RuleFinding>) -> Vec<RuleFinding> {
    let mut kept: Vec<RuleFinding> = Vec::new();
    for next in found {
        let same = kept.iter().position(|known| is_same(known, &next));
        let Some(at) = same else {
            kept.push(next);
            continue;
        };
        let known = &mut kept[at];
        if next.observation.severity < known.observation.severity {
            let less = std::mem::replace(known, next);
            known.take(less);
        } else {
            known.take(next);
        }
    }
    kept
}

impl RuleFinding {
    /// Adds the quotes and keys of a finding of the same problem.
    fn take(&mut self, other: Self) {
        self.keys.extend(other.keys);
        let quotes = &mut self.observation.evidence;
        for quote in other.observation.evidence {
            let known = quotes.iter().any(|known| known.bounds == quote.bounds);
            if quotes.len() < QUOTES && !known {
                quotes.push(quote);
            }
        }
    }
}

fn is_same(a: &RuleFinding, b: &RuleFinding) -> bool {
    // What the screen says of one row is joined already: the rest is apart.
    let meant = a.meant && b.meant;
    let (a, b) = (&a.observation, &b.observation);
    a.category == b.category
        && (!meant && shares_a_place(a, b) || tells_the_same_number(a, b, meant))
}

/// True if the first quotes are of one place: what else is quoted may be a
/// column's head or a status, which many share.
fn shares_a_place(a: &Observation, b: &Observation) -> bool {
    let first = |of: &Observation| of.evidence.first().and_then(|quote| quote.bounds);
    match (first(a), first(b)) {
        (Some(a), Some(b)) => overlap(&a, &b),
        _ => false,
    }
}

/// True if both titles have the same number and a word in common: "5xx error
/// rate is 12.4 %" and a card "Error rate: 12.4 %". A whole number may be a count of
/// other things, if no rule says what it is.
fn tells_the_same_number(a: &Observation, b: &Observation, meant: bool) -> bool {
    let parts = |title: &str| -> Vec<String> {
        let parts = title.split(|c: char| !(c.is_alphanumeric() || c == '.' || c == ','));
        let parts = parts.map(|part| part.trim_matches(['.', ',']).to_lowercase());
        parts.filter(|part| !part.is_empty()).collect()
    };
    let (a, b) = (parts(&a.title), parts(&b.title));
    let telling = |part: &&String| {
        let digits = part.chars().filter(char::is_ascii_digit).count();
        digits >= 2 && part.parse::<f64>().is_ok() && (!meant || part.contains('.'))
    };
    let word = |part: &&String| part.chars().filter(|c| c.is_alphabetic()).count() >= 4;
    let number = a.iter().filter(telling).any(|part| b.contains(part));
    number && a.iter().filter(word).any(|part| b.contains(part))
}

#[cfg(test)]
mod tests {
    use watchtower_domain::finding::{Category, Evidence, Severity};

    use super::*;

    fn finding(title: &str, severity: Severity, place: [u16; 4]) -> RuleFinding {
        RuleFinding {
            keys: vec![title.to_owned()],
            count: 1,
            told: false,
            meant: false,
            observation: Observation {
                severity,
                confidence: 0.8,
                category: Category::Availability,
                title: title.to_owned(),
                detail: String::new(),
                evidence: vec![Evidence {
                    quote: title.to_owned(),
                    bounds: Some(place),
                    grounded: Some(true),
                }],
                mitre: Vec::new(),
                recommended_action: String::new(),
            },
        }
    }

    fn titles(found: Vec<RuleFinding>) -> Vec<(String, usize)> {
        let found = merged(found).into_iter();
        found
            .map(|found| (found.observation.title, found.observation.evidence.len()))
            .collect()
    }

    #[test]
    fn number_told_twice_is_one_problem() {
        let sentence = finding("Error rate 12.4 %", Severity::High, [10, 10, 20, 90]);
        let card = finding(
            "Checkout error rate: 12.4%",
            Severity::Medium,
            [50, 10, 60, 90],
        );
        assert_eq!(
            titles(vec![card, sentence]),
            [("Error rate 12.4 %".to_owned(), 2)]
        );
        let other = finding("Error rate 11.4 %", Severity::High, [10, 10, 20, 90]);
        let card = finding(
            "Checkout error rate: 12.4%",
            Severity::High,
            [50, 10, 60, 90],
        );
        assert_eq!(titles(vec![card, other]).len(), 2);
    }

    #[test]
    fn two_rules_in_one_place_are_one_problem() {
        let row = finding("Pod restarted", Severity::Medium, [10, 10, 20, 90]);
        let same = finding("Crash loop", Severity::High, [10, 10, 20, 50]);
        let below = finding("Evicted", Severity::High, [30, 10, 40, 90]);
        assert_eq!(
            titles(vec![row, same, below]),
            [("Crash loop".to_owned(), 2), ("Evicted".to_owned(), 1)]
        );
    }
}

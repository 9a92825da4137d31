//! Numbers beyond what is normal on a stream, in the operator's words: reported
//! whatever the threshold of the measure is elsewhere.

use watchtower_domain::finding::{Evidence, Observation, Severity};
use watchtower_screen::redact::{RedactedFrame, mask_secrets};
use watchtower_screen::series::numbers_of;

use super::meaning::measured;
use super::reading::overlap;
use super::{CONFIDENCE, Offline, RuleFinding, clip, clip_quote};
use crate::stream_context::{beyond_normal, has_bounds};

/// Kind of a number that is no measure of the vocabulary.
const UNKNOWN: &str = "performance";

impl Offline {
    /// Findings of numbers beyond a bound of `normal`, without those that are
    /// reported anyway.
    pub(super) fn beyond_normal(
        &self,
        frame: &RedactedFrame,
        reports: &[RuleFinding],
    ) -> Vec<RuleFinding> {
        if !has_bounds(&self.streams, &frame.stream) {
            return Vec::new();
        }
        let vocabulary = &self.rules.vocabulary;
        let mut found: Vec<RuleFinding> = Vec::new();
        for number in numbers_of(frame) {
            let (label, quantity) = (&number.label, number.quantity);
            let crossed = beyond_normal(&self.streams, &frame.stream, label, quantity);
            let Some(normal) = crossed else {
                continue;
            };
            let measure = measured(vocabulary, label);
            let kind = match measure {
                Some((kind, _)) => vocabulary.kinds.get(kind),
                None => vocabulary.kinds.iter().find(|kind| kind.name == UNKNOWN),
            };
            let Some(kind) = kind.filter(|kind| self.owns(kind)) else {
                continue;
            };
            let value = number.quotes.last().map(|quote| quote.bounds);
            let known = |report: &RuleFinding| {
                let mut places = report
                    .observation
                    .evidence
                    .iter()
                    .filter_map(|one| one.bounds);
                places.any(|place| value.is_some_and(|value| overlap(&place, &value)))
            };
            if reports.iter().any(known) {
                continue;
            }
            let evidence = number.quotes.iter().map(|quote| Evidence {
                quote: clip_quote(&mask_secrets(&quote.text)),
                bounds: Some(quote.bounds),
                grounded: Some(true),
            });
            let observation = Observation {
                severity: measure.map_or(Severity::Medium, |(_, severity)| severity),
                confidence: CONFIDENCE,
                category: kind.category,
                title: clip(
                    &mask_secrets(&format!("Beyond normal: {label} {quantity}")),
                    80,
                ),
                detail: format!(
                    "Rule `normal`: {label} is {quantity}; normal on this stream is \"{normal}\"."
                ),
                evidence: evidence.collect(),
                mitre: Vec::new(),
                recommended_action: kind.action.clone(),
            };
            found.push(RuleFinding {
                keys: vec![format!("normal {}", number.key())],
                count: 1,
                told: false,
                meant: false,
                observation,
            });
        }
        found
    }
}

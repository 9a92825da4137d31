//! Verifies the quotes of a model against the text on the screen.

use std::sync::Arc;

use watchtower_domain::finding::{Evidence, Observation, Severity};
use watchtower_models::model::Memory;
use watchtower_screen::frame::Frame;
use watchtower_screen::picture::Rect;
use watchtower_screen::redact::{OwnPatterns, Redact, UNREADABLE, mask_besides, name_of};
use watchtower_screen::text;

use super::Policy;

/// Minimum length of a masked value: a shorter one may be part of any word.
const SHORTEST_VALUE: usize = 4;

/// Bound on the severity of an unverified finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hold {
    pub(super) worst: Severity,
    /// True if a finding without a verified quote is unverified. Rules that
    /// matched the screen need no quote.
    pub(super) needs_quote: bool,
}

/// Marks each quote as found or not, with the box of its actual position, and
/// caps the severity of a finding with a quote not found, or of a hosted
/// model's finding without quotes. Without OCR quotes stay unchecked.
pub(super) fn ground(observation: &mut Observation, frame: &Frame, redact: Redact, hold: Hold) {
    let Some(text) = &frame.text else {
        return;
    };
    let cleared = frame.redacted_text(redact.max(Redact::Secrets));
    let (width, height) = (frame.picture.width, frame.picture.height);
    for evidence in &mut observation.evidence {
        if !evidence.quote.chars().any(char::is_alphanumeric) {
            evidence.grounded = None;
            continue;
        }
        let near = evidence
            .bounds
            .map(|bounds| Rect::from_thousandths(bounds, width, height));
        let place = text::find(&evidence.quote, text, near)
            .or_else(|| text::find(&evidence.quote, cleared.as_ref()?, near));
        evidence.grounded = Some(place.is_some());
        if let Some(place) = place {
            evidence.bounds = Some(place.rect.thousandths(width, height));
        }
    }
    let invented = observation
        .evidence
        .iter()
        .any(|evidence| evidence.grounded == Some(false));
    let proven = observation
        .evidence
        .iter()
        .any(|evidence| evidence.grounded == Some(true));
    // `Severity` is ordered from the highest down.
    if invented || (hold.needs_quote && !proven) {
        observation.severity = observation.severity.max(hold.worst);
    }
}

/// Masks the secrets of the screen in a finding, of models and rules alike.
pub(super) fn mask_all(observation: &mut Observation, frame: &Arc<Frame>, policy: &Policy) {
    Masks::at_home(frame, policy).hide_all(observation);
}

/// Masks in an analyst's context what must not be sent: it may stem from
/// another policy, of local rules or from before `agents.toml` changed.
pub(super) fn mask_memory(memory: &mut Memory, frame: &Arc<Frame>, policy: &Policy) {
    let masks = Masks::for_asking(frame, policy);
    for one in &mut memory.reported {
        masks.hide(&mut one.title);
        masks.hide(&mut one.quote);
    }
    for one in &mut memory.not_sure {
        masks.hide(one);
    }
}

/// Secrets of a frame, with the names that replace them.
pub(super) struct Masks {
    hidden: Vec<(String, String)>,
    redact: Redact,
    own: OwnPatterns,
}

impl Masks {
    /// Masks for storage: secrets at least.
    pub(super) fn at_home(frame: &Arc<Frame>, policy: &Policy) -> Self {
        Self::of(frame, policy.redact.max(Redact::Secrets), &policy.own)
    }

    /// Masks for a request under that policy.
    pub(super) fn for_asking(frame: &Arc<Frame>, policy: &Policy) -> Self {
        Self::of(frame, policy.redact, &policy.own)
    }

    fn of(frame: &Arc<Frame>, redact: Redact, own: &OwnPatterns) -> Self {
        let frame = frame.hiding(own);
        let hidden = frame
            .hidden(redact)
            // Not a value: OCR output of an unreadable line.
            .filter(|secret| secret.kind != UNREADABLE)
            .map(|secret| (frame.value_of(secret).to_owned(), name_of(&secret.kind)))
            .filter(|(value, _)| value.len() >= SHORTEST_VALUE);
        Self {
            hidden: hidden.collect(),
            redact,
            own: own.clone(),
        }
    }

    pub(super) fn hide_all(&self, observation: &mut Observation) {
        self.hide(&mut observation.title);
        self.hide(&mut observation.detail);
        self.hide(&mut observation.recommended_action);
        self.hide_quotes(&mut observation.evidence);
    }

    pub(super) fn hide_quotes(&self, evidence: &mut [Evidence]) {
        for piece in evidence {
            self.hide(&mut piece.quote);
        }
    }

    pub(super) fn hide(&self, text: &mut String) {
        for (value, name) in &self.hidden {
            if text.contains(value.as_str()) {
                *text = text.replace(value, name);
            }
        }
        *text = mask_besides(text, self.redact, &self.own).into_owned();
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use jiff::Timestamp;

    use super::*;
    use watchtower_base::stream_name::StreamName;
    use watchtower_domain::finding::Category;
    use watchtower_media::MediaTime;
    use watchtower_screen::picture::{Picture, TextLine};
    use watchtower_screen::redact::secrets_on;

    fn frame(texts: &[&str]) -> Arc<Frame> {
        let picture = Picture {
            width: 1000,
            height: 500,
            y: vec![200; 1000 * 500],
            u: vec![90; 500 * 250],
            v: vec![90; 500 * 250],
        };
        let frame = Frame::new(
            StreamName::new("team").unwrap(),
            1,
            MediaTime(0),
            Timestamp::UNIX_EPOCH,
            Arc::new(picture),
            |_| Ok(Bytes::new()),
        );
        let line = |(row, text): (u32, &&str)| TextLine {
            text: (*text).to_owned(),
            rect: Rect {
                x: 100,
                y: 50 * (row + 1),
                width: 10 * text.len() as u32,
                height: 20,
            },
            confidence: 1.0,
        };
        let lines: Arc<[TextLine]> = (0..).zip(texts).map(line).collect();
        let secrets = secrets_on(&lines, &OwnPatterns::default(), (1000, 500));
        Arc::new(frame.read(lines, secrets.into()))
    }

    fn observation(quotes: &[&str]) -> Observation {
        let evidence = quotes.iter().map(|quote| Evidence {
            quote: (*quote).to_owned(),
            bounds: Some([0, 0, 10, 10]),
            grounded: None,
        });
        Observation {
            severity: Severity::Critical,
            confidence: 0.9,
            category: Category::Other,
            title: "t".to_owned(),
            detail: String::new(),
            evidence: evidence.collect(),
            mitre: vec![],
            recommended_action: String::new(),
        }
    }

    fn hold(needs_quote: bool) -> Hold {
        Hold {
            worst: Severity::Medium,
            needs_quote,
        }
    }

    #[test]
    fn what_a_hosted_model_does_not_prove_is_held_down() {
        let frame = frame(&["Failed password for admin", "all is well"]);
        for (quotes, rule, hosted) in [
            (&[][..], Severity::Critical, Severity::Medium),
            (&["..."], Severity::Critical, Severity::Medium),
            (&["", "\u{2026}"], Severity::Critical, Severity::Medium),
            (
                &["...", "all is well"],
                Severity::Critical,
                Severity::Critical,
            ),
            (
                &["all is well", "all is lost"],
                Severity::Medium,
                Severity::Medium,
            ),
        ] {
            for (needs_quote, expected) in [(false, rule), (true, hosted)] {
                let mut said = observation(quotes);
                ground(&mut said, &frame, Redact::Secrets, hold(needs_quote));
                assert_eq!(said.severity, expected, "{quotes:?} {needs_quote}");
            }
        }
    }

    #[test]
    fn true_quotes_get_their_box_and_invented_ones_hold_the_finding_down() {
        let frame = frame(&["Failed password for admin", "all is well"]);
        let mut said = observation(&["failed password for admin", ""]);
        ground(&mut said, &frame, Redact::Secrets, hold(true));
        assert_eq!(said.evidence[0].grounded, Some(true));
        assert_eq!(said.evidence[0].bounds, Some([100, 100, 140, 350]));
        assert_eq!(
            (said.evidence[1].grounded, said.severity),
            (None, Severity::Critical)
        );
        let mut said = observation(&["all is well", "ransomware on web-01"]);
        ground(&mut said, &frame, Redact::Secrets, hold(true));
        assert_eq!(said.evidence[0].grounded, Some(true));
        assert_eq!(said.evidence[1].grounded, Some(false));
        assert_eq!(said.evidence[1].bounds, Some([0, 0, 10, 10]));
        assert_eq!(said.severity, Severity::Medium);
        said.severity = Severity::Info;
        ground(&mut said, &frame, Redact::Secrets, hold(true));
        assert_eq!(said.severity, Severity::Info, "held down, never lifted");
    }

    #[test]
    fn a_secret_is_named_and_still_grounded() {
        let frame = frame(&["DB_PASSWORD=hunter2-hunter2"]);
        let mut said = observation(&["DB_PASSWORD=[masked password or token]", "hunter2-hunter2"]);
        said.title = "Password hunter2-hunter2 on screen".to_owned();
        ground(&mut said, &frame, Redact::Secrets, hold(true));
        let policy = Policy {
            redact: Redact::Off,
            own: OwnPatterns::default(),
            redact_evidence: Redact::Secrets,
            ungrounded: Severity::Medium,
        };
        mask_all(&mut said, &frame, &policy);
        assert!(
            said.evidence
                .iter()
                .all(|piece| piece.grounded == Some(true))
        );
        assert!(!format!("{said:?}").contains("hunter2"), "{said:?}");
    }
}

//! Transcripts of model requests, stored with the findings they led to.

use std::sync::Arc;

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use watchtower_domain::finding::ModelRef;
use watchtower_domain::transcript::{Purpose, RawExchange, Transcript};
use watchtower_models::model::Persona;
use watchtower_screen::frame::Frame;
use watchtower_screen::redact::{Redact, RedactedFrame, RedactedJpeg};

use super::Policy;
use super::budgeted_ask::AskSpan;
use super::grounding::Masks;
use crate::prompt_leak::Instructions;

/// Metadata of a transcript: asking agent, purpose, times and cost.
#[derive(Debug)]
pub(super) struct TranscriptBuilder {
    agent: String,
    purpose: Purpose,
    span: AskSpan,
}

impl TranscriptBuilder {
    pub(super) fn new(agent: &str, purpose: Purpose, span: AskSpan) -> Self {
        Self {
            agent: agent.to_owned(),
            purpose,
            span,
        }
    }

    /// Transcript with the secrets of its picture masked, and without the
    /// system prompt. Costs CPU: call it off the async workers.
    pub(super) fn transcript(
        self,
        exchange: RawExchange,
        model: ModelRef,
        persona: &Persona,
        frame: &Arc<Frame>,
        policy: &Policy,
    ) -> Transcript {
        let masks = Masks::at_home(frame, policy);
        let RawExchange {
            system,
            mut question,
            pictures,
            answer,
        } = exchange;
        masks.hide(&mut question);
        let instructions = Instructions::of(persona);
        let answer = cleaned(&answer, &|text| {
            masks.hide(text);
            instructions.withhold(text);
        });
        let sum = Sha256::digest(system);
        Transcript {
            id: Uuid::now_v7(),
            agent: self.agent,
            purpose: self.purpose,
            asked_at: self.span.asked_at,
            took_ms: self.span.took_ms,
            model,
            instructions_sha256: hex::encode(sum),
            question,
            pictures,
            answer,
            cost: self.span.cost,
        }
    }
}

/// JSON of an answer with secrets masked. Text around it, and an answer that is
/// not JSON, is dropped, as it can't be masked.
fn cleaned(answer: &str, clean: &impl Fn(&mut String)) -> String {
    let inside = answer.find('{').zip(answer.rfind('}'));
    let inside = inside.and_then(|(start, end)| answer.get(start..=end));
    let parsed = inside.and_then(|text| serde_json::from_str::<Value>(text).ok());
    let Some(mut value) = parsed else {
        return String::new();
    };
    clean_all(&mut value, clean);
    serde_json::to_string_pretty(&value).unwrap_or_default()
}

/// Masks values and keys: the model chooses both.
fn clean_all(value: &mut Value, clean: &impl Fn(&mut String)) {
    match value {
        Value::String(text) => clean(text),
        Value::Array(items) => items.iter_mut().for_each(|item| clean_all(item, clean)),
        Value::Object(fields) => {
            let before = std::mem::take(fields);
            fields.extend(before.into_iter().map(|(mut name, mut value)| {
                clean(&mut name);
                clean_all(&mut value, clean);
                (name, value)
            }));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Picture redacted for storage. Without OCR it is fully masked, unless
/// redaction is off.
pub(super) fn still(frame: &Arc<Frame>, redact: Redact) -> Option<RedactedJpeg> {
    match RedactedFrame::or_masked(frame, redact).still() {
        Ok(still) => Some(still),
        Err(error) => {
            tracing::error!(%error, "failed to store the picture of a finding");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use jiff::Timestamp;

    use super::*;
    use watchtower_base::stream_name::StreamName;
    use watchtower_media::MediaTime;
    use watchtower_screen::picture::Picture;

    #[test]
    fn evidence_that_nobody_read_is_masked_unless_redaction_is_off() {
        let picture = Picture {
            width: 4,
            height: 2,
            y: vec![120; 8],
            u: vec![128; 2],
            v: vec![128; 2],
        };
        let frame = Frame::new(
            StreamName::new("team").unwrap(),
            1,
            MediaTime(0),
            Timestamp::UNIX_EPOCH,
            Arc::new(picture),
            |picture| Ok(Bytes::from(picture.y.clone())),
        );
        let unread = Arc::new(frame);
        let kept = |frame: &Arc<Frame>, redact| still(frame, redact).unwrap().bytes().clone();
        for redact in [Redact::Secrets, Redact::SecretsAndPersonal] {
            assert_eq!(kept(&unread, redact), [0_u8; 8][..]);
        }
        assert_eq!(kept(&unread, Redact::Off), [120_u8; 8][..]);
        let read = Arc::new(unread.read(Arc::from([]), Arc::from([])));
        assert_eq!(kept(&read, Redact::Secrets), [120_u8; 8][..]);
    }

    #[test]
    fn every_text_of_an_answer_is_cleaned() {
        let clean = |text: &mut String| *text = text.replace("kestrel", "[x]");
        let said = r#"```json
            {"a": ["kestrel", 1], "kestrel": {"b": "\u006bestrel"}}
            ```"#;
        let kept = cleaned(said, &clean);
        assert!(!kept.contains("kestrel"), "{kept}");
        assert_eq!(kept.matches("[x]").count(), 3);
        assert_eq!(cleaned("kestrel", &clean), "");
        assert_eq!(cleaned("{kestrel}", &clean), "");
    }
}

//! Delivery of an event to one browser's push service (RFC 8030).

use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use serde_json::{Value, json};
use uuid::Uuid;

use watchtower_domain::finding::{Severity, printable};

use super::WebPush;
use crate::event::SinkEventKind;
use crate::http::{SinkResponse, headers};
use crate::{Blame, DeliveryOutcome, Destination, ItemOutcome, SinkEvent};

/// Time for which a push service keeps a message for a phone that is off, and
/// after which an event is no news: half a shift.
const KEPT: Duration = Duration::from_secs(4 * 60 * 60);
/// Longest title in characters: phones show fewer.
const LONGEST_TITLE: usize = 120;

/// Message to one browser.
#[derive(Debug)]
pub(super) struct PushMessage {
    pub(super) text: Value,
    pub(super) ttl: Duration,
    pub(super) urgency: &'static str,
    /// Name under which a later message replaces it at the push service.
    pub(super) topic: Option<String>,
}

impl PushMessage {
    /// Message of an event; `None` if it is too old. No text of the screen but
    /// what is in the title.
    fn of(event: &SinkEvent, now: Timestamp) -> Option<Self> {
        let age = Duration::try_from(now.duration_since(event.at)).unwrap_or_default();
        let ttl = KEPT.checked_sub(age).filter(|left| !left.is_zero())?;
        let title: String = printable(&event.title)
            .chars()
            .take(LONGEST_TITLE)
            .collect();
        let incident = (event.change != SinkEventKind::Digest).then_some(event.incident);
        Some(Self {
            text: json!({
                "title": title,
                "severity": event.severity,
                "stream": event.stream,
                "incident": incident,
            }),
            ttl,
            urgency: match event.severity {
                Severity::Critical | Severity::High => "high",
                Severity::Medium => "normal",
                Severity::Low | Severity::Info => "low",
            },
            topic: incident.map(|id| URL_SAFE_NO_PAD.encode(id.as_bytes())),
        })
    }

    /// Message that shows that delivery works.
    pub(super) fn test() -> Self {
        Self {
            text: json!({
                "title": "Test notification", "severity": Severity::Info,
                "stream": "", "incident": null,
            }),
            ttl: Duration::from_secs(60),
            urgency: "high",
            topic: None,
        }
    }

    pub(super) fn headers(&self, authorization: &str) -> Result<HeaderMap, String> {
        let ttl = self.ttl.as_secs().max(1).to_string();
        let mut all = headers([
            ("content-encoding", "aes128gcm"),
            ("content-type", "application/octet-stream"),
            ("ttl", ttl.as_str()),
            ("urgency", self.urgency),
        ]);
        if let Some(topic) = self.topic.as_deref() {
            all.extend(headers([("topic", topic)]));
        }
        let value = HeaderValue::from_str(authorization);
        let mut value = value.map_err(|_| "invalid token".to_owned())?;
        value.set_sensitive(true);
        all.insert(AUTHORIZATION, value);
        Ok(all)
    }
}

/// Destination of the events of one subscription.
pub(super) struct PushDestination {
    pub(super) push: WebPush,
    pub(super) subscription: Uuid,
}

#[async_trait]
impl Destination for PushDestination {
    fn most(&self) -> usize {
        1
    }

    async fn deliver(&mut self, batch: &[SinkEvent]) -> DeliveryOutcome {
        for event in batch {
            let Some(message) = PushMessage::of(event, Timestamp::now()) else {
                continue;
            };
            // Removed meanwhile: its runner is about to end.
            let Some(subscription) = self.push.stored(self.subscription) else {
                continue;
            };
            match self.push.send(&subscription, &message).await {
                Err(outcome) => return outcome,
                Ok(answer) => match outcome(&answer) {
                    PushOutcome::Known(DeliveryOutcome::Delivered) => {}
                    PushOutcome::Known(other) => return other,
                    PushOutcome::Gone => self.push.forget(self.subscription),
                },
            }
        }
        DeliveryOutcome::Delivered
    }
}

/// Outcome at a push service.
#[derive(Debug)]
pub(super) enum PushOutcome {
    Known(DeliveryOutcome),
    /// The subscription has ended (RFC 8030, section 7.3).
    Gone,
}

/// Meaning of a response of a push service (RFC 8030, sections 5 and 7.3).
pub(super) fn outcome(answer: &SinkResponse) -> PushOutcome {
    let status = answer.status.as_u16();
    PushOutcome::Known(match status {
        200..=299 => DeliveryOutcome::Delivered,
        404 | 410 => return PushOutcome::Gone,
        408 | 429 | 500..=599 => DeliveryOutcome::Retry {
            why: answer.why(),
            after: answer.after,
            blame: Blame::Receiver,
        },
        // Repeated it would be refused again: too large, or a wrong token.
        _ => DeliveryOutcome::PerItem(vec![ItemOutcome::Permanent(answer.why())]),
    })
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::shapes::sample;

    #[test]
    fn message_is_small_and_expires_with_its_event() {
        let mut event = sample();
        event.title = "x".repeat(500);
        event.severity = Severity::Critical;
        let after = |hours| {
            let now = event.at + SignedDuration::from_hours(hours);
            PushMessage::of(&event, now)
        };
        let message = after(1).unwrap();
        assert_eq!(message.ttl, Duration::from_secs(3 * 60 * 60));
        assert_eq!(message.urgency, "high");
        let topic = message.topic.unwrap();
        assert_eq!(
            URL_SAFE_NO_PAD.decode(topic).unwrap(),
            event.incident.as_bytes()
        );
        let expected = json!({
            "title": "x".repeat(LONGEST_TITLE), "severity": "critical",
            "stream": event.stream, "incident": event.incident,
        });
        assert_eq!(message.text, expected);
        assert!(after(4).is_none());
    }

    #[test]
    fn digest_names_no_incident() {
        let mut event = sample();
        event.change = SinkEventKind::Digest;
        let message = PushMessage::of(&event, event.at).unwrap();
        assert_eq!(
            (&message.text["incident"], message.topic),
            (&Value::Null, None)
        );
    }
}

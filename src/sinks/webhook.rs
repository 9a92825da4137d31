//! Webhook: a signed request per event, with a body from a template.
//!
//! `X-Watchtower-Signature: sha256=HEX` is HMAC-SHA256 (RFC 2104) over
//! `TIMESTAMP.BODY`, `X-Watchtower-Timestamp` its seconds since 1970; a
//! receiver rejects old requests, and recognises duplicates by
//! `X-Watchtower-Id`.

use async_trait::async_trait;
use jiff::Timestamp;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};

use watchtower_base::secret::Secret;
use watchtower_base::webhook_signature::sign;

use super::http::{SinkHttpClient, headers, secret};
use super::shapes::{nameless, shapes};
use super::template::{self, Template};
use super::{Blame, DeliveryOutcome, Destination, ItemOutcome, SinkEvent, shaped};
use crate::settings::{Format, Preset, SinkSettings};

pub(super) struct Webhook {
    http: SinkHttpClient,
    headers: HeaderMap,
    secret: Option<Secret>,
    template: Option<Template>,
    format: Format,
    preset: Option<Preset>,
}

impl Webhook {
    pub(super) fn open(settings: &SinkSettings) -> Result<Self, String> {
        let text = match (settings.preset, &settings.template) {
            (Some(preset), _) => Some(template::preset(preset)),
            (None, text) => text.as_deref(),
        };
        let template = text.map(|text| Template::new(text, &shapes(settings)));
        let template = template.transpose()?;
        if let Some(template) = &template {
            let (of, sink_event) = nameless(settings);
            if let Err(why) = template.render(&sink_event) {
                let sink = &settings.name;
                tracing::warn!(
                    sink,
                    "template failed on {of}, moved to dead letters: {why}"
                );
            }
        }
        let json = template.as_ref().is_none_or(Template::is_json);
        let kind = if json {
            "application/json"
        } else {
            "text/plain; charset=utf-8"
        };
        let mut headers = headers([("content-type", kind)]);
        if let Some(token) = &settings.token {
            headers.insert(
                AUTHORIZATION,
                secret(&format!("Bearer {}", token.expose()))?,
            );
        }
        Ok(Self {
            http: SinkHttpClient::open(settings, "")?,
            headers,
            secret: settings.secret.clone(),
            template,
            format: settings.format,
            preset: settings.preset,
        })
    }
}

#[async_trait]
impl Destination for Webhook {
    fn most(&self) -> usize {
        1
    }

    async fn deliver(&mut self, batch: &[SinkEvent]) -> DeliveryOutcome {
        for sink_event in batch {
            let body = match &self.template {
                Some(template) => template.render(sink_event),
                None => Ok(shaped(sink_event, self.format).to_string()),
            };
            let body = match body {
                Ok(body) => body.into_bytes(),
                Err(why) => {
                    let why = format!("the template fails on it: {why}");
                    return DeliveryOutcome::PerItem(vec![
                        ItemOutcome::Permanent(why);
                        batch.len()
                    ]);
                }
            };
            let at = Timestamp::now().as_second().to_string();
            let mut all = self.headers.clone();
            all.extend(headers([
                ("x-watchtower-id", &sink_event.id.to_string()),
                ("x-watchtower-timestamp", &at),
            ]));
            if let Some(key) = &self.secret
                && let Ok(value) = HeaderValue::from_str(&sign(key, &at, &body))
            {
                all.insert("x-watchtower-signature", value);
            }
            match self.http.post(all, body).await {
                // Teams' connectors return 200 with a 429 in the body.
                Ok(answer) if self.preset == Some(Preset::Teams) && is_throttled(&answer.body) => {
                    return DeliveryOutcome::Retry {
                        why: "HTTP 200 with status 429 in the body".to_owned(),
                        after: None,
                        blame: Blame::Receiver,
                    };
                }
                Ok(answer) => match answer.outcome() {
                    DeliveryOutcome::Delivered => {}
                    other => return other,
                },
                Err(outcome) => return outcome,
            }
        }
        DeliveryOutcome::Delivered
    }
}

fn is_throttled(body: &[u8]) -> bool {
    String::from_utf8_lossy(body).contains("HTTP error 429")
}

//! A webhook: an event a request, in words of a template's, signed.
//!
//! `X-Watchtower-Signature: sha256=HEX` is HMAC-SHA256 (RFC 2104) over
//! `TIMESTAMP.BODY`, `X-Watchtower-Timestamp` its seconds since 1970; who
//! receives it refuses old ones, and knows twins by `X-Watchtower-Id`.

use async_trait::async_trait;
use hmac::{Hmac, Mac as _};
use jiff::Timestamp;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use sha2::Sha256;

use super::http::{Http, headers, secret};
use super::shapes::{nameless, shapes};
use super::template::{self, Template};
use super::{Blame, Destination, Item, Outcome, SinkEvent, shaped};
use crate::base::secret::Secret;
use crate::sinks::settings::{Format, Preset, SinkSettings};

pub(super) struct Webhook {
    http: Http,
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
            http: Http::open(settings, "")?,
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

    async fn deliver(&mut self, batch: &[SinkEvent]) -> Outcome {
        for sink_event in batch {
            let body = match &self.template {
                Some(template) => template.render(sink_event),
                None => Ok(shaped(sink_event, self.format).to_string()),
            };
            let body = match body {
                Ok(body) => body.into_bytes(),
                Err(why) => {
                    let why = format!("the template fails on it: {why}");
                    return Outcome::PerItem(vec![Item::Never(why); batch.len()]);
                }
            };
            let at = Timestamp::now().as_second().to_string();
            let mut all = self.headers.clone();
            all.extend(headers([
                ("x-watchtower-id", &sink_event.id.to_string()),
                ("x-watchtower-timestamp", &at),
            ]));
            if let Some(key) = &self.secret
                && let Ok(value) = HeaderValue::from_str(&signature(key, &at, &body))
            {
                all.insert("x-watchtower-signature", value);
            }
            match self.http.post(all, body).await {
                // Teams' connectors say 200 and mean 429.
                Ok(answer)
                    if self.preset == Some(Preset::Teams) && says_throttled(&answer.body) =>
                {
                    return Outcome::Retry {
                        why: "HTTP 200 with status 429 in the body".to_owned(),
                        after: None,
                        blame: Blame::Receiver,
                    };
                }
                Ok(answer) => match answer.outcome() {
                    Outcome::Delivered => {}
                    other => return other,
                },
                Err(outcome) => return outcome,
            }
        }
        Outcome::Delivered
    }
}

fn says_throttled(body: &[u8]) -> bool {
    String::from_utf8_lossy(body).contains("HTTP error 429")
}

fn signature(key: &Secret, at: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.expose().as_bytes())
        .expect("a key of any length will do");
    mac.update(at.as_bytes());
    mac.update(b".");
    mac.update(body);
    let digest = mac.finalize().into_bytes();
    let hex: String = hex::encode(digest);
    format!("sha256={hex}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_what_openssl_makes() {
        // printf '1700000000.{}' | openssl dgst -sha256 -hmac key
        let key = Secret::new("key").unwrap();
        assert_eq!(
            signature(&key, "1700000000", b"{}"),
            "sha256=9d713ed406bb7076d4123f0dc2c39d2df5c654ed4b0cd56b52c8b4c940bd63ae"
        );
    }
}

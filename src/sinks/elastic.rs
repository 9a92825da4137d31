//! Elasticsearch and OpenSearch: `_bulk` requests into a data stream.
//!
//! The event's id is the document's id: an event sent twice is stored once.

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use reqwest::header::{AUTHORIZATION, HeaderMap};
use serde_json::{Value, json};

use watchtower_domain::finding::printable;

use super::http::{SinkHttpClient, gzip, headers, secret};
use super::{Blame, DeliveryOutcome, Destination, ItemOutcome, SinkEvent, shaped};
use crate::settings::{Format, SinkSettings};

const STREAM: &str = "logs-watchtower.incident-default";
const LONGEST_REASON: usize = 300;

pub(super) struct Elastic {
    http: SinkHttpClient,
    headers: HeaderMap,
    format: Format,
    index: String,
}

impl Elastic {
    pub(super) fn open(settings: &SinkSettings) -> Result<Self, String> {
        let http = SinkHttpClient::open(settings, "/_bulk")?;
        let mut headers = headers([
            ("content-type", "application/x-ndjson"),
            ("content-encoding", "gzip"),
        ]);
        if let Some(token) = &settings.token {
            // user:password, or an API key in its encoded form.
            let value = match token.expose() {
                pair if pair.contains(':') => format!("Basic {}", STANDARD.encode(pair)),
                key => format!("ApiKey {key}"),
            };
            headers.insert(AUTHORIZATION, secret(&value)?);
        }
        Ok(Self {
            http,
            headers,
            format: settings.format,
            index: settings.index.clone().unwrap_or_else(|| STREAM.to_owned()),
        })
    }

    fn document(&self, sink_event: &SinkEvent) -> Value {
        let mut document = shaped(sink_event, self.format);
        if self.format == Format::Ocsf {
            // Required by data streams.
            let at = Timestamp::from_millisecond(sink_event.at.as_millisecond());
            document["@timestamp"] = json!(at.unwrap_or_default());
        }
        document
    }
}

#[async_trait]
impl Destination for Elastic {
    async fn deliver(&mut self, batch: &[SinkEvent]) -> DeliveryOutcome {
        let mut body = String::new();
        for sink_event in batch {
            let action = json!({ "create": { "_index": self.index, "_id": sink_event.id } });
            body.push_str(&format!("{action}\n{}\n", self.document(sink_event)));
        }
        let answer = self.http.post(self.headers.clone(), gzip(body.as_bytes()));
        let answer = match answer.await {
            Ok(answer) if answer.status.is_success() => answer,
            Ok(answer) => return answer.outcome(),
            Err(outcome) => return outcome,
        };
        if answer.is_page() {
            return DeliveryOutcome::retry(format!("not a _bulk API: {}", answer.why()));
        }
        let response: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let items = response["items"].as_array().map_or(&[][..], Vec::as_slice);
        if items.len() == batch.len() {
            return DeliveryOutcome::PerItem(items.iter().map(item).collect());
        }
        // Proxies leave the items out (`filter_path`), and some the body.
        if response["errors"] == true || !response["error"].is_null() {
            return DeliveryOutcome::Retry {
                why: answer.why(),
                after: answer.after,
                blame: Blame::Unclear,
            };
        }
        DeliveryOutcome::Delivered
    }
}

fn item(item: &Value) -> ItemOutcome {
    let item = &item["create"];
    let reason = || {
        let error = &item["error"];
        let parts =
            [&error["type"], &error["reason"]].map(|part| part.as_str().unwrap_or_default());
        let text: String = printable(&parts.join(": "))
            .chars()
            .take(LONGEST_REASON)
            .collect();
        format!("HTTP {} {text}", item["status"])
    };
    match item["status"].as_u64() {
        // 409: already stored by an earlier attempt.
        Some(200..=299 | 409) => ItemOutcome::Taken,
        // An overloaded cluster responds with 400, too.
        Some(400 | 413) => ItemOutcome::Not(Blame::Event, reason()),
        Some(429 | 503) => ItemOutcome::Not(Blame::Receiver, reason()),
        _ => ItemOutcome::Not(Blame::Unclear, reason()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Test: a screen's first quote may be a date; the next ones are words.
    #[test]
    fn the_template_takes_no_text_for_a_date() {
        let template = include_str!("../../docs/sinks/elasticsearch-template.json");
        let template: Value = serde_json::from_str(template).unwrap();
        let mappings = &template["template"]["mappings"];
        assert_eq!(mappings["date_detection"], json!(false));
        // Dates would be mapped dynamically.
        assert_eq!(mappings["properties"]["@timestamp"]["type"], "date");
    }
}

//! Splunk's HTTP Event Collector: batches of events, compressed, and with
//! `acknowledge` the word of the indexers that they have them.

use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::{AUTHORIZATION, HeaderMap};
use serde_json::{Value, json};
use url::Url;
use uuid::Uuid;

use super::http::{Answer, Http, gzip, headers, secret};
use super::{Blame, Destination, Notice, Outcome, shaped};
use crate::config::{Format, SinkSettings};

const PATH: &str = "/services/collector/event";
const ASK_EVERY: Duration = Duration::from_millis(500);

pub(super) struct Splunk {
    http: Http,
    headers: HeaderMap,
    format: Format,
    index: Option<String>,
    /// Where it is asked for acknowledgements.
    acknowledged: Option<Url>,
}

impl Splunk {
    pub(super) fn open(settings: &SinkSettings) -> Result<Self, String> {
        let http = Http::open(settings, PATH)?;
        let token = settings.token.as_ref();
        let token = token.ok_or("its token is missing: set WATCHTOWER_SINK_<NAME>_TOKEN")?;
        // RFC 4122 by Splunk's own demand; one for each run.
        let channel = Uuid::new_v4().to_string();
        let mut headers = headers([
            ("content-type", "application/json"),
            ("content-encoding", "gzip"),
            ("x-splunk-request-channel", &channel),
        ]);
        headers.insert(
            AUTHORIZATION,
            secret(&format!("Splunk {}", token.expose()))?,
        );
        let acknowledged = settings.acknowledge.then(|| {
            let mut url = http.url().clone();
            let path = url.path().replace(PATH, "/services/collector/ack");
            url.set_path(&path);
            url.set_query(Some(&format!("channel={channel}")));
            url
        });
        Ok(Self {
            http,
            headers,
            format: settings.format,
            index: settings.index.clone(),
            acknowledged,
        })
    }

    fn event(&self, notice: &Notice) -> Value {
        let sourcetype = match self.format {
            Format::Ecs => "watchtower:ecs",
            _ => "watchtower:ocsf",
        };
        let mut fields = json!({
            "event_id": notice.id.to_string(),
            "incident": notice.incident.to_string(),
            "severity": notice.severity,
        });
        let own = notice.ocsf["unmapped"]["fields"].as_object();
        for (key, value) in own.into_iter().flatten() {
            fields[key] = value.clone();
        }
        let mut event = json!({
            "time": notice.at.as_millisecond() as f64 / 1000.0,
            "source": "watchtower",
            "sourcetype": sourcetype,
            "event": shaped(notice, self.format),
            "fields": fields,
        });
        if let Some(index) = &self.index {
            event["index"] = json!(index);
        }
        event
    }

    /// Until the indexers have it; whoever calls has a deadline.
    async fn acknowledged(&self, url: &Url, said: &[u8]) -> Result<(), Outcome> {
        let said: Value = serde_json::from_slice(said).unwrap_or_default();
        let Some(id) = said["ackId"].as_u64() else {
            return Err(Outcome::retry(
                "it gave no ackId: turn indexer acknowledgement on for the token, or acknowledge off here",
            ));
        };
        let question = json!({ "acks": [id] }).to_string().into_bytes();
        let mut headers = self.headers.clone();
        headers.remove("content-encoding");
        loop {
            let answer = self
                .http
                .post_to(url.clone(), headers.clone(), question.clone());
            let answer = answer.await?;
            if !answer.status.is_success() {
                return Err(answer.outcome());
            }
            let acks: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            if acks["acks"][id.to_string()] == true {
                return Ok(());
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    /// Splunk's own codes say more than the status: 6, 12, 13 and 15 are
    /// about the data; the others about token, index and load.
    fn refusal(answer: Answer) -> Outcome {
        let said: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let code = said["code"].as_u64();
        match (answer.status.as_u16(), code) {
            (400, Some(6 | 12 | 13 | 15)) => answer.outcome(),
            (400, Some(_)) => Outcome::Retry {
                why: answer.why(),
                after: answer.after,
                blame: Blame::Unclear,
            },
            _ => answer.outcome(),
        }
    }
}

#[async_trait]
impl Destination for Splunk {
    async fn deliver(&mut self, batch: &[Notice]) -> Outcome {
        let mut body = String::new();
        for notice in batch {
            body.push_str(&self.event(notice).to_string());
            body.push('\n');
        }
        let body = gzip(body.as_bytes());
        let answer = match self.http.post(self.headers.clone(), body).await {
            Ok(answer) => answer,
            Err(outcome) => return outcome,
        };
        if !answer.status.is_success() {
            return Self::refusal(answer);
        }
        // Others that take its protocol answer less, or nothing.
        let said: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let code = &said["code"];
        if answer.is_page() || !(code.is_null() || *code == 0 || *code == "0") {
            return Outcome::retry(format!("it is no event collector: {}", answer.why()));
        }
        match &self.acknowledged {
            None => Outcome::Delivered,
            Some(url) => match self.acknowledged(url, &answer.body).await {
                Ok(()) => Outcome::Delivered,
                Err(outcome) => outcome,
            },
        }
    }
}

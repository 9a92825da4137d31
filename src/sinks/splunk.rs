//! Splunk's HTTP Event Collector: compressed batches of events, and with
//! `acknowledge` the confirmation that the indexers have stored them.
//!
//! The acknowledgement may take longer than an attempt: it is awaited while
//! other batches are sent, and a batch is sent again only after a long time
//! without one.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use reqwest::header::{AUTHORIZATION, HeaderMap};
use serde_json::{Value, json};
use tokio_util::task::AbortOnDropHandle;
use url::Url;
use uuid::Uuid;

use super::http::{SinkHttpClient, SinkResponse, gzip, headers, secret};
use super::{Blame, DeliveryOutcome, Destination, Settled, SinkEvent, shaped};
use crate::settings::{Format, SinkSettings};

const PATH: &str = "/services/collector/event";
const POLL_EVERY: Duration = Duration::from_millis(500);
/// Multiple of `timeout` that a batch may wait for its acknowledgement before
/// it is sent again: five minutes by default, as Splunk advises.
const PATIENCE: u32 = 20;

pub(super) struct Splunk {
    http: SinkHttpClient,
    headers: HeaderMap,
    format: Format,
    index: Option<String>,
    /// Endpoint of acknowledgements, if enabled.
    acknowledged: Option<Url>,
    timeout: Duration,
    /// Batches sent and not acknowledged yet.
    awaited: VecDeque<Awaited>,
    polling: Option<AbortOnDropHandle<Result<SinkResponse, DeliveryOutcome>>>,
    poll_at: Instant,
    tickets: u64,
    /// Failure of the last acknowledgement request.
    trouble: Option<String>,
    has_reported: bool,
}

struct Awaited {
    ticket: u64,
    /// Splunk's ackId, on this channel.
    ack: u64,
    since: Instant,
}

impl Splunk {
    pub(super) fn open(settings: &SinkSettings) -> Result<Self, String> {
        let http = SinkHttpClient::open(settings, PATH)?;
        let token = settings.token.as_ref();
        let token = token.ok_or("its token is missing: set WATCHTOWER_SINK_<NAME>_TOKEN")?;
        // Splunk requires RFC 4122; new for each run.
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
            timeout: settings.timeout,
            awaited: VecDeque::new(),
            polling: None,
            poll_at: Instant::now(),
            tickets: 0,
            trouble: None,
            has_reported: false,
        })
    }

    fn event(&self, sink_event: &SinkEvent) -> Value {
        let sourcetype = match self.format {
            Format::Ecs => "watchtower:ecs",
            _ => "watchtower:ocsf",
        };
        let mut fields = json!({
            "event_id": sink_event.id.to_string(),
            "incident": sink_event.incident.to_string(),
            "severity": sink_event.severity,
        });
        let own = sink_event.ocsf["unmapped"]["fields"].as_object();
        for (key, value) in own.into_iter().flatten() {
            fields[key] = value.clone();
        }
        let mut event = json!({
            "time": sink_event.at.as_millisecond() as f64 / 1000.0,
            "source": "watchtower",
            "sourcetype": sourcetype,
            "event": shaped(sink_event, self.format),
            "fields": fields,
        });
        if let Some(index) = &self.index {
            event["index"] = json!(index);
        }
        event
    }

    fn sent(&mut self, response: &Value) -> DeliveryOutcome {
        let Some(ack) = response["ackId"].as_u64() else {
            return DeliveryOutcome::retry(
                "no ackId in the response: enable indexer acknowledgement for the token, or set acknowledge = false",
            );
        };
        self.tickets += 1;
        let ticket = self.tickets;
        self.awaited.push_back(Awaited {
            ticket,
            ack,
            since: Instant::now(),
        });
        DeliveryOutcome::Sent(ticket)
    }

    /// Requests acknowledgements in a task of its own: its caller may be
    /// cancelled.
    fn request_acks(&self, url: &Url) -> AbortOnDropHandle<Result<SinkResponse, DeliveryOutcome>> {
        let acks: Vec<_> = self.awaited.iter().map(|sent| sent.ack).collect();
        let question = json!({ "acks": acks }).to_string().into_bytes();
        let mut headers = self.headers.clone();
        headers.remove("content-encoding");
        let (http, url) = (self.http.clone(), url.clone());
        AbortOnDropHandle::new(tokio::spawn(async move {
            http.post_to(url, headers, question).await
        }))
    }

    /// Reads the response to it.
    fn read(&mut self, answer: Result<SinkResponse, DeliveryOutcome>) -> Option<Settled> {
        let answer = match answer {
            Ok(answer) => answer,
            Err(DeliveryOutcome::Retry { why, .. }) => {
                self.trouble = Some(why);
                return None;
            }
            Err(_) => return None,
        };
        if !answer.status.is_success() {
            let why = format!("acknowledgement request: {}", answer.why());
            // It will never respond: its channel, or one like it, is gone.
            let busy = matches!(answer.status.as_u16(), 408 | 429 | 500..);
            if !busy {
                return Some(self.lost(why, |_| true));
            }
            self.trouble = Some(why);
            return None;
        }
        self.trouble = None;
        let acks: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let mut taken = Vec::new();
        self.awaited.retain(|sent| {
            let has = acks["acks"][sent.ack.to_string()] == true;
            if has {
                taken.push(sent.ticket);
            }
            !has
        });
        if taken.is_empty() {
            return None;
        }
        self.has_reported = false;
        Some(Settled::Taken(taken))
    }

    fn lost(&mut self, why: String, is_lost: impl Fn(&Awaited) -> bool) -> Settled {
        let mut tickets = Vec::new();
        self.awaited.retain(|sent| {
            let lost = is_lost(sent);
            if lost {
                tickets.push(sent.ticket);
            }
            !lost
        });
        Settled::Lost { tickets, why }
    }

    /// Batches that have waited too long, or for so long that it is reported.
    fn late(&mut self) -> Option<Settled> {
        let since = self.awaited.front()?.since;
        let patience = self.timeout * PATIENCE;
        let of = match &self.trouble {
            Some(why) => format!(": {why}"),
            None => String::new(),
        };
        if since.elapsed() >= patience {
            let s = patience.as_secs_f32();
            let why = format!("no indexer acknowledgement for {s} s{of}");
            return Some(self.lost(why, |sent| sent.since.elapsed() >= patience));
        }
        if since.elapsed() >= self.timeout && !self.has_reported {
            self.has_reported = true;
            let why = format!("events not acknowledged by the indexers{of}");
            return Some(Settled::Waits(why));
        }
        None
    }

    /// Interpretation of Splunk's codes, which say more than the status: 6, 12,
    /// 13 and 15 concern the data; the others token, index and load.
    fn refusal(answer: SinkResponse) -> DeliveryOutcome {
        let response: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let code = response["code"].as_u64();
        match (answer.status.as_u16(), code) {
            (400, Some(6 | 12 | 13 | 15)) => answer.outcome(),
            (400, Some(_)) => DeliveryOutcome::Retry {
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
    async fn deliver(&mut self, batch: &[SinkEvent]) -> DeliveryOutcome {
        let mut body = String::new();
        for sink_event in batch {
            body.push_str(&self.event(sink_event).to_string());
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
        // Compatible receivers respond with less, or nothing.
        let response: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let code = &response["code"];
        if answer.is_page() || !(code.is_null() || *code == 0 || *code == "0") {
            return DeliveryOutcome::retry(format!("not an event collector: {}", answer.why()));
        }
        match self.acknowledged {
            None => DeliveryOutcome::Delivered,
            Some(_) => self.sent(&response),
        }
    }

    async fn settled(&mut self) -> Settled {
        let Some(url) = self.acknowledged.clone() else {
            return std::future::pending().await;
        };
        loop {
            if self.awaited.is_empty() {
                return std::future::pending().await;
            }
            if let Some(late) = self.late() {
                return late;
            }
            let answer = match &mut self.polling {
                Some(polling) => polling.await,
                None => {
                    tokio::time::sleep_until(self.poll_at.into()).await;
                    self.polling = Some(self.request_acks(&url));
                    continue;
                }
            };
            self.polling = None;
            self.poll_at = Instant::now() + POLL_EVERY;
            let answer =
                answer.unwrap_or_else(|error| Err(DeliveryOutcome::retry(error.to_string())));
            if let Some(settled) = self.read(answer) {
                return settled;
            }
        }
    }
}

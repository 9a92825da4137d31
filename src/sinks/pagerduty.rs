//! PagerDuty's Events API v2: an incident is an alert, identified by its id
//! (`dedup_key`), and triggered, acknowledged and resolved along with it.

use async_trait::async_trait;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use watchtower_base::secret::Secret;
use watchtower_domain::finding::{Severity, printable};
use watchtower_domain::incident::{ChangeReason, Status};

use super::ecs::quotes;
use super::http::{SinkHttpClient, headers};
use super::{DeliveryOutcome, Destination, SinkEvent};
use crate::event::SinkEventKind;
use crate::settings::SinkSettings;

const LONGEST_SUMMARY: usize = 1024;

pub(super) struct Pagerduty {
    http: SinkHttpClient,
    headers: HeaderMap,
    routing_key: Secret,
}

impl Pagerduty {
    pub(super) fn open(settings: &SinkSettings) -> Result<Self, String> {
        let key = settings.token.clone();
        Ok(Self {
            http: SinkHttpClient::open(settings, "/v2/enqueue")?,
            headers: headers([("content-type", "application/json")]),
            routing_key: key
                .ok_or("its routing key is missing: set WATCHTOWER_SINK_<NAME>_TOKEN")?,
        })
    }

    fn event(&self, sink_event: &SinkEvent, action: &str) -> Value {
        let mut event = json!({
            "routing_key": self.routing_key.expose(),
            "event_action": action,
            "dedup_key": sink_event.incident,
        });
        if action == "trigger" {
            let severity = match sink_event.severity {
                Severity::Critical => "critical",
                Severity::High => "error",
                Severity::Medium => "warning",
                Severity::Low | Severity::Info => "info",
            };
            let info = &sink_event.ocsf["finding_info"];
            let summary = printable(&sink_event.title);
            let summary: String = summary.chars().take(LONGEST_SUMMARY).collect();
            let source = if sink_event.stream.is_empty() {
                "watchtower"
            } else {
                &sink_event.stream
            };
            event["payload"] = json!({
                "summary": summary,
                "source": source,
                "severity": severity,
                "timestamp": sink_event.at,
                "component": "screen",
                "group": sink_event.stream,
                "class": info["types"][0].as_str().unwrap_or("incident"),
                "custom_details": {
                    "event": sink_event.id,
                    "change": sink_event.change.as_str(),
                    "detail": info["desc"],
                    "quotes": quotes(&sink_event.ocsf),
                    "recommended_action": sink_event.ocsf["remediation"]["desc"],
                    "agents": sink_event.agents,
                    "count": sink_event.count,
                    "fields": sink_event.ocsf["unmapped"]["fields"],
                },
            });
            event["client"] = json!("Watchtower");
        }
        event
    }
}

/// Event action for PagerDuty; `None` for a repeat of a closed incident.
fn action(sink_event: &SinkEvent) -> Option<&'static str> {
    let decided = sink_event.change == SinkEventKind::Incident(ChangeReason::Status);
    match sink_event.status {
        Status::Closed => decided.then_some("resolve"),
        Status::Acknowledged if decided => Some("acknowledge"),
        // A trigger does not undo the acknowledgement; it adds to the alert's
        // log.
        Status::New | Status::Acknowledged => Some("trigger"),
    }
}

#[async_trait]
impl Destination for Pagerduty {
    fn most(&self) -> usize {
        1
    }

    async fn deliver(&mut self, batch: &[SinkEvent]) -> DeliveryOutcome {
        for sink_event in batch {
            let Some(action) = action(sink_event) else {
                continue;
            };
            let body = self.event(sink_event, action).to_string().into_bytes();
            match self.http.post(self.headers.clone(), body).await {
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

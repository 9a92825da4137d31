//! PagerDuty's Events API v2: an incident is an alert, found again by its id
//! (`dedup_key`): triggered, acknowledged, resolved as it is here.

use async_trait::async_trait;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use super::ecs::quotes;
use super::http::{Http, headers};
use super::{Destination, Notice, Outcome};
use crate::base::secret::Secret;
use crate::domain::finding::{Severity, printable};
use crate::domain::incident::{News, Status};
use crate::sinks::event::Change;
use crate::sinks::settings::SinkSettings;

const LONGEST_SUMMARY: usize = 1024;

pub(super) struct Pagerduty {
    http: Http,
    headers: HeaderMap,
    routing_key: Secret,
}

impl Pagerduty {
    pub(super) fn open(settings: &SinkSettings) -> Result<Self, String> {
        let key = settings.token.clone();
        Ok(Self {
            http: Http::open(settings, "/v2/enqueue")?,
            headers: headers([("content-type", "application/json")]),
            routing_key: key
                .ok_or("its routing key is missing: set WATCHTOWER_SINK_<NAME>_TOKEN")?,
        })
    }

    fn event(&self, notice: &Notice, action: &str) -> Value {
        let mut event = json!({
            "routing_key": self.routing_key.expose(),
            "event_action": action,
            "dedup_key": notice.incident,
        });
        if action == "trigger" {
            let severity = match notice.severity {
                Severity::Critical => "critical",
                Severity::High => "error",
                Severity::Medium => "warning",
                Severity::Low | Severity::Info => "info",
            };
            let info = &notice.ocsf["finding_info"];
            let summary = printable(&notice.title);
            let summary: String = summary.chars().take(LONGEST_SUMMARY).collect();
            let source = if notice.stream.is_empty() {
                "watchtower"
            } else {
                &notice.stream
            };
            event["payload"] = json!({
                "summary": summary,
                "source": source,
                "severity": severity,
                "timestamp": notice.at,
                "component": "screen",
                "group": notice.stream,
                "class": info["types"][0].as_str().unwrap_or("incident"),
                "custom_details": {
                    "event": notice.id,
                    "change": notice.change.as_str(),
                    "detail": info["desc"],
                    "quotes": quotes(&notice.ocsf),
                    "recommended_action": notice.ocsf["remediation"]["desc"],
                    "agents": notice.agents,
                    "count": notice.count,
                    "fields": notice.ocsf["unmapped"]["fields"],
                },
            });
            event["client"] = json!("Watchtower");
        }
        event
    }
}

/// What PagerDuty is to do; nothing for a repeat of what is dealt with.
fn action(notice: &Notice) -> Option<&'static str> {
    let decided = notice.change == Change::News(News::Status);
    match notice.status {
        Status::Closed => decided.then_some("resolve"),
        Status::Acknowledged if decided => Some("acknowledge"),
        // A trigger would not undo the acknowledgement; it adds to the log.
        Status::New | Status::Acknowledged => Some("trigger"),
    }
}

#[async_trait]
impl Destination for Pagerduty {
    fn most(&self) -> usize {
        1
    }

    async fn deliver(&mut self, batch: &[Notice]) -> Outcome {
        for notice in batch {
            let Some(action) = action(notice) else {
                continue;
            };
            let body = self.event(notice, action).to_string().into_bytes();
            match self.http.post(self.headers.clone(), body).await {
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

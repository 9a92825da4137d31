//! OpenTelemetry logs by OTLP/HTTP in protobuf (OTLP specification 1.x).

use async_trait::async_trait;
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;
use reqwest::header::{AUTHORIZATION, HeaderMap};

use watchtower_domain::finding::{Severity, printable};

use super::http::{SinkHttpClient, gzip, headers, secret};
use super::{DeliveryOutcome, Destination, ItemOutcome, SinkEvent};
use crate::settings::SinkSettings;

pub(super) struct Otlp {
    http: SinkHttpClient,
    headers: HeaderMap,
}

impl Otlp {
    pub(super) fn open(settings: &SinkSettings) -> Result<Self, String> {
        let mut headers = headers([
            ("content-type", "application/x-protobuf"),
            ("content-encoding", "gzip"),
        ]);
        if let Some(token) = &settings.token {
            headers.insert(
                AUTHORIZATION,
                secret(&format!("Bearer {}", token.expose()))?,
            );
        }
        Ok(Self {
            http: SinkHttpClient::open(settings, "/v1/logs")?,
            headers,
        })
    }
}

#[async_trait]
impl Destination for Otlp {
    async fn deliver(&mut self, batch: &[SinkEvent]) -> DeliveryOutcome {
        let body = request(batch).encode_to_vec();
        let answer = match self.http.post(self.headers.clone(), gzip(&body)).await {
            Ok(answer) if answer.status.is_success() => answer,
            Ok(answer) => return answer.outcome(),
            Err(outcome) => return outcome,
        };
        if answer.is_page() {
            return DeliveryOutcome::retry(format!("not an OTLP receiver: {}", answer.why()));
        }
        let response = export_response(&answer.body);
        match response.partial_success {
            Some(partial) if partial.rejected_log_records > 0 => {
                // The rejected records are not identified, and must not be sent
                // again.
                let why = format!(
                    "{} of {} records rejected, not identified by the receiver: {}",
                    partial.rejected_log_records,
                    batch.len(),
                    printable(&partial.error_message)
                );
                DeliveryOutcome::PerItem(vec![ItemOutcome::Permanent(why); batch.len()])
            }
            _ => DeliveryOutcome::Delivered,
        }
    }
}

/// Response in protobuf, or in JSON (whose 64-bit numbers are strings); the
/// default for anything else: then the status means complete success.
fn export_response(body: &[u8]) -> ExportLogsServiceResponse {
    if let Ok(json) = serde_json::from_slice::<serde_json::Value>(body) {
        let partial = &json["partialSuccess"];
        let rejected = &partial["rejectedLogRecords"];
        let number = || rejected.as_str()?.parse().ok();
        return ExportLogsServiceResponse {
            partial_success: Some(ExportLogsPartialSuccess {
                rejected_log_records: rejected.as_i64().or_else(number).unwrap_or_default(),
                error_message: partial["errorMessage"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned(),
            }),
        };
    }
    ExportLogsServiceResponse::decode(body).unwrap_or_default()
}

fn request(batch: &[SinkEvent]) -> ExportLogsServiceRequest {
    let scope = InstrumentationScope {
        name: "watchtower".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    };
    let resource = Resource {
        attributes: vec![
            attribute("service.name", "watchtower"),
            attribute("service.version", env!("CARGO_PKG_VERSION")),
        ],
        ..Resource::default()
    };
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            resource: Some(resource),
            scope_logs: vec![ScopeLogs {
                scope: Some(scope),
                log_records: batch.iter().map(record).collect(),
                ..ScopeLogs::default()
            }],
            ..ResourceLogs::default()
        }],
    }
}

fn record(sink_event: &SinkEvent) -> LogRecord {
    let nanos = u64::try_from(sink_event.at.as_nanosecond()).unwrap_or_default();
    // INFO, INFO2, WARN, ERROR, FATAL (log data model, severity number).
    let severity = match sink_event.severity {
        Severity::Info => 9,
        Severity::Low => 10,
        Severity::Medium => 13,
        Severity::High => 17,
        Severity::Critical => 21,
    };
    let mut attributes = vec![
        attribute("log.record.uid", &sink_event.id.to_string()),
        attribute("watchtower.incident", &sink_event.incident.to_string()),
        attribute("watchtower.change", sink_event.change.as_str()),
        attribute("watchtower.status", sink_event.status.as_str()),
        attribute("watchtower.stream", &sink_event.stream),
        attribute("watchtower.agents", &sink_event.agents.join(",")),
    ];
    if let Some(own) = sink_event.ocsf["unmapped"]["fields"].as_object() {
        let own = own.iter();
        attributes
            .extend(own.map(|(key, value)| attribute(key, value.as_str().unwrap_or_default())));
    }
    LogRecord {
        time_unix_nano: nanos,
        observed_time_unix_nano: nanos,
        severity_number: severity,
        severity_text: sink_event.severity.as_str().to_owned(),
        body: Some(text(&sink_event.ocsf.to_string())),
        event_name: format!("watchtower.incident.{}", sink_event.change.as_str()),
        attributes,
        ..LogRecord::default()
    }
}

fn attribute(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(text(value)),
        ..KeyValue::default()
    }
}

fn text(text: &str) -> AnyValue {
    AnyValue {
        value: Some(Value::StringValue(text.to_owned())),
    }
}

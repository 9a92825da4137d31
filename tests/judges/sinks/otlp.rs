//! OTLP, parsed with OpenTelemetry's own protobufs.

use serde_json::{Value, json};

use crate::sinks::fake::{Fake, throttled};
use crate::sinks::harness::{SinkHarness, python};

#[tokio::test]
async fn the_official_protobufs_read_what_is_sent() {
    let collector = Fake::start(|request| {
        assert_eq!(request.path, "/v1/logs");
        assert_eq!(request.header("content-type"), "application/x-protobuf");
        // An empty response means complete success.
        (
            200,
            vec![("content-type", "application/x-protobuf".to_owned())],
            vec![],
        )
    })
    .await;
    collector.faults([throttled(503)]);
    let harness = SinkHarness::with(&format!(
        "[sinks.otel]\nkind = 'otlp'\naddress = '{}'\n[sinks.otel.fields]\nenv = 'prod'",
        collector.url()
    ))
    .await;
    let id = harness.incident_lifecycle().await.to_string();
    harness.caught_up("otel").await;
    let mut records = Vec::new();
    for body in collector.seen(|request| request.body.clone()) {
        let read = python("otlp.py", &body).await;
        let logs = &read["resourceLogs"][0];
        assert_eq!(
            logs["resource"]["attributes"][0],
            json!({ "key": "service.name", "value": { "stringValue": "watchtower" } })
        );
        records.extend(
            logs["scopeLogs"][0]["logRecords"]
                .as_array()
                .unwrap()
                .clone(),
        );
    }
    let severities: Vec<_> = records
        .iter()
        .map(|record| record["severityNumber"].as_str().unwrap())
        .collect();
    assert_eq!(
        severities,
        [
            "SEVERITY_NUMBER_WARN",
            "SEVERITY_NUMBER_ERROR",
            "SEVERITY_NUMBER_ERROR",
            "SEVERITY_NUMBER_ERROR",
            "SEVERITY_NUMBER_FATAL"
        ]
    );
    for record in &records {
        let body: Value =
            serde_json::from_str(record["body"]["stringValue"].as_str().unwrap()).unwrap();
        assert_eq!(body["finding_info"]["uid"], id);
        let attributes = record["attributes"].as_array().unwrap();
        assert!(attributes.contains(&json!({ "key": "env", "value": { "stringValue": "prod" } })));
    }
}

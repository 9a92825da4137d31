//! Canonical event: OCSF 1.8, Detection Finding (class 2004).
//!
//! An incident is the finding (`finding_info.uid`); each change of it is an
//! event of its own (`metadata.uid`): Create when it is opened, Close when it
//! is closed, Update for everything between. `tests/judges/sinks` validates
//! every kind of event against the published schema.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use watchtower_domain::finding::{Finding, Severity, printable};
use watchtower_domain::incident::{ChangeReason, EntityKind, Incident, Status};
use watchtower_record::store::OutboxEntry;

use super::attack::attack;

pub(super) const VERSION: &str = "1.8.0";
const CLASS: u64 = 2004;

pub(super) fn event(entry: &OutboxEntry, fields: &BTreeMap<String, String>) -> Value {
    let incident = &entry.incident;
    let activity = activity(entry.news, incident.status);
    let mut event = head(activity, incident.severity, entry.at, entry.id);
    event.insert("message".to_owned(), json!(printable(&incident.title)));
    let (status_id, status) = status(incident.status);
    event.insert("status_id".to_owned(), json!(status_id));
    event.insert("status".to_owned(), json!(status));
    if let Some(decision) = &entry.decision {
        let why = format!("{}: {}", decision.by, decision.why);
        event.insert("status_detail".to_owned(), json!(printable(&why)));
    }
    event.insert("count".to_owned(), json!(incident.count));
    event.insert("start_time".to_owned(), millis(incident.first_seen));
    event.insert("end_time".to_owned(), millis(incident.last_seen));
    event.insert("is_alert".to_owned(), json!(true));
    event.insert("finding_info".to_owned(), info(entry));
    let finding = entry.finding.as_ref();
    if let Some(finding) = finding {
        let (id, name) = confidence(finding.confidence);
        event.insert("confidence_id".to_owned(), json!(id));
        event.insert("confidence".to_owned(), json!(name));
        let score = (finding.confidence.clamp(0.0, 1.0) * 100.0).round() as u32;
        event.insert("confidence_score".to_owned(), json!(score));
        if !finding.evidence.is_empty() {
            event.insert("evidences".to_owned(), evidences(finding));
        }
        if !finding.recommended_action.is_empty() {
            let text = printable(&finding.recommended_action);
            event.insert("remediation".to_owned(), json!({ "desc": text }));
        }
    }
    let observables = observables(incident, finding);
    if !observables.is_empty() {
        event.insert("observables".to_owned(), json!(observables));
    }
    let cves = incident.entities.iter();
    let cves = cves.filter(|entity| entity.kind == EntityKind::Cve);
    let cves: Vec<_> = cves
        .map(|cve| json!({ "cve": { "uid": cve.value } }))
        .collect();
    if !cves.is_empty() {
        event.insert("vulnerabilities".to_owned(), json!(cves));
    }
    let mut unmapped = Map::new();
    unmapped.insert("change".to_owned(), json!(entry.news));
    unmapped.insert("stream".to_owned(), json!(incident.stream.as_str()));
    unmapped.insert("agents".to_owned(), json!(incident.agents));
    unmapped.insert("category".to_owned(), json!(incident.category));
    unmapped.insert("version".to_owned(), json!(entry.version));
    let prompt = entry.finding.as_ref().map(|finding| &finding.model.prompt);
    if let Some(prompt) = prompt.filter(|prompt| !prompt.is_empty()) {
        unmapped.insert("prompt_version".to_owned(), json!(prompt));
    }
    if let Some(grounded) = incident.grounded {
        unmapped.insert("grounded".to_owned(), json!(grounded));
    }
    if let Some(verdict) = &incident.verdict {
        unmapped.insert("verdict".to_owned(), json!(verdict));
    }
    if let Some(finding) = finding {
        unmapped.insert("frame".to_owned(), json!(finding.frame));
    }
    own(&mut unmapped, fields);
    event.insert("unmapped".to_owned(), Value::Object(unmapped));
    Value::Object(event)
}

/// Digest: there were more events than the rate limit admits.
pub(super) fn digest(
    id: Uuid,
    title: &str,
    worst: Severity,
    count: u64,
    (since, until): (Timestamp, Timestamp),
    fields: &BTreeMap<String, String>,
) -> Value {
    let mut event = head((99, "Digest"), worst, until, id);
    event.insert("message".to_owned(), json!(title));
    event.insert("count".to_owned(), json!(count));
    event.insert("start_time".to_owned(), millis(since));
    event.insert("end_time".to_owned(), millis(until));
    event.insert(
        "finding_info".to_owned(),
        json!({ "uid": id, "title": title, "types": ["digest"] }),
    );
    let mut unmapped = Map::new();
    unmapped.insert("change".to_owned(), json!("digest"));
    own(&mut unmapped, fields);
    event.insert("unmapped".to_owned(), Value::Object(unmapped));
    Value::Object(event)
}

fn own(unmapped: &mut Map<String, Value>, fields: &BTreeMap<String, String>) {
    if !fields.is_empty() {
        unmapped.insert("fields".to_owned(), json!(fields));
    }
}

fn head(
    (activity_id, activity): (u64, &str),
    severity: Severity,
    at: Timestamp,
    id: Uuid,
) -> Map<String, Value> {
    let (severity_id, severity) = self::severity(severity);
    let head = json!({
        "class_uid": CLASS,
        "class_name": "Detection Finding",
        "category_uid": 2,
        "category_name": "Findings",
        "activity_id": activity_id,
        "activity_name": activity,
        "type_uid": CLASS * 100 + activity_id,
        "type_name": format!("Detection Finding: {activity}"),
        "severity_id": severity_id,
        "severity": severity,
        "time": at.as_millisecond(),
        "metadata": {
            "version": VERSION,
            "uid": id,
            "product": {
                "name": "Watchtower",
                "vendor_name": "Watchtower",
                "version": env!("CARGO_PKG_VERSION"),
            },
        },
    });
    match head {
        Value::Object(head) => head,
        _ => Map::new(),
    }
}

fn info(entry: &OutboxEntry) -> Value {
    let incident = &entry.incident;
    let mut info = json!({
        "uid": incident.id,
        "title": printable(&incident.title),
        "types": [incident.category],
        "first_seen_time": incident.first_seen.as_millisecond(),
        "last_seen_time": incident.last_seen.as_millisecond(),
        "created_time": created(incident.id),
        "modified_time": entry.at.as_millisecond(),
        "data_sources": [format!("screen share {}", incident.stream)],
    });
    let Some(finding) = &entry.finding else {
        return info;
    };
    info["uid_alt"] = json!(finding.id);
    info["desc"] = json!(finding.detail);
    // Rules are of type rule; all other analytics are of type learning.
    let (type_id, kind) = match finding.model.provider.as_str() {
        "offline" => (1, "Rule"),
        _ => (4, "Learning (ML/DL)"),
    };
    info["analytic"] = json!({
        "name": finding.agent,
        "uid": format!("{}/{}", finding.model.provider, finding.model.name),
        "version": finding.model.version,
        "type_id": type_id,
        "type": kind,
    });
    let attacks: Vec<_> = finding.mitre.iter().filter_map(|id| attack(id)).collect();
    if !attacks.is_empty() {
        info["attacks"] = json!(attacks);
    }
    info
}

fn evidences(finding: &Finding) -> Value {
    let pieces = finding.evidence.iter().map(|piece| {
        json!({
            "name": "screen",
            "uid": finding.frame.sha256,
            "data": {
                "quote": piece.quote,
                "box": piece.bounds,
                "grounded": piece.grounded,
                "observed_at": finding.observed_at,
            },
        })
    });
    Value::Array(pieces.collect())
}

/// Observables of the evidence, as a SIEM searches for them.
fn observables(incident: &Incident, finding: Option<&Finding>) -> Vec<Value> {
    let named = incident.entities.iter().filter_map(|entity| {
        let (id, kind) = match entity.kind {
            EntityKind::Ip => (2, "IP Address"),
            EntityKind::Cve => (18, "CVE Object: uid"),
            EntityKind::Resource => (10, "Resource UID"),
            EntityKind::User => (4, "User Name"),
            EntityKind::Host => (1, "Hostname"),
            EntityKind::Rule => return None,
        };
        Some((id, kind, entity.value.clone()))
    });
    let quotes = finding.into_iter().flat_map(|finding| &finding.evidence);
    let hashes = quotes.flat_map(|piece| hashes(&piece.quote));
    let hashes = hashes.map(|hash| (8, "Hash", hash));
    let all: BTreeSet<_> = named.chain(hashes).collect();
    all.into_iter()
        .map(|(id, kind, value)| {
            json!({ "name": "entities", "type_id": id, "type": kind, "value": value })
        })
        .collect()
}

/// MD5, SHA-1 and SHA-256 in hexadecimal.
fn hashes(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| matches!(word.len(), 32 | 40 | 64))
        .filter(|word| word.bytes().all(|b| b.is_ascii_hexdigit()))
        .map(str::to_ascii_lowercase)
}

fn activity(news: ChangeReason, status: Status) -> (u64, &'static str) {
    match (news, status) {
        (ChangeReason::Opened, _) => (1, "Create"),
        (ChangeReason::Status, Status::Closed) => (3, "Close"),
        _ => (2, "Update"),
    }
}

fn status(status: Status) -> (u64, &'static str) {
    match status {
        Status::New => (1, "New"),
        Status::Acknowledged => (2, "In Progress"),
        Status::Closed => (4, "Resolved"),
    }
}

fn severity(severity: Severity) -> (u64, &'static str) {
    match severity {
        Severity::Info => (1, "Informational"),
        Severity::Low => (2, "Low"),
        Severity::Medium => (3, "Medium"),
        Severity::High => (4, "High"),
        Severity::Critical => (5, "Critical"),
    }
}

fn confidence(confidence: f32) -> (u64, &'static str) {
    match confidence {
        c if c >= 0.75 => (3, "High"),
        c if c >= 0.4 => (2, "Medium"),
        _ => (1, "Low"),
    }
}

/// A UUIDv7 contains its creation time.
fn created(id: Uuid) -> i64 {
    let (seconds, nanos) = id.get_timestamp().map_or((0, 0), |at| at.to_unix());
    seconds as i64 * 1000 + i64::from(nanos / 1_000_000)
}

fn millis(at: Timestamp) -> Value {
    json!(at.as_millisecond())
}

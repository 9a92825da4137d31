//! Sample events of every form: for `sink test`, and to validate a template
//! before it is used.
//!
//! They are built from entries by the production code.

use std::collections::BTreeMap;

use jiff::Timestamp;
use uuid::Uuid;

use watchtower_base::stream_name::StreamName;
use watchtower_domain::finding::{
    Category, Evidence, Finding, FrameRef, ModelRef, Observation, Severity,
};
use watchtower_domain::incident::{
    ChangeReason, Decision, Entity, EntityKind, Incident, PanelVerdict, Status,
};
use watchtower_record::store::OutboxEntry;

use super::SinkEvent;
use crate::event::{Digest, SinkEventKind};
use crate::settings::{DeliveryScope, SinkSettings};

/// Incident change caused by findings.
const BY_FINDINGS: [(ChangeReason, &str); 7] = [
    (ChangeReason::Opened, "a new incident"),
    (ChangeReason::Reopened, "a reopened incident"),
    (ChangeReason::Returned, "a recurring incident"),
    (ChangeReason::SeverityRose, "an incident of risen severity"),
    (ChangeReason::NewAgent, "another analyst's finding"),
    (ChangeReason::NewEvidence, "new evidence"),
    (ChangeReason::Repeated, "a repeated finding"),
];

/// An event by its name.
pub(super) type Shape = (String, SinkEvent);

/// Event with every field set, marked as a test.
pub(super) fn sample() -> SinkEvent {
    let mut sink_event = SinkEvent::of(&entry(ChangeReason::Opened), &BTreeMap::new());
    sink_event.change = SinkEventKind::Test;
    sink_event.ocsf["unmapped"]["change"] = "test".into();
    sink_event
}

/// All kinds of events for a sink with these settings, the fullest first.
pub(super) fn shapes(settings: &SinkSettings) -> Vec<Shape> {
    let mut entries = Vec::new();
    for (news, name) in BY_FINDINGS {
        let full = entry(news);
        let mut bare = full.clone();
        bare.finding = bare.finding.map(without_all);
        let mut gone = bare.clone();
        gone.finding = None;
        entries.push((name.to_owned(), full));
        entries.push((format!("{name}, without any quote"), bare));
        entries.push((format!("{name}, whose finding retention has removed"), gone));
    }
    for (status, name) in [
        (Status::Acknowledged, "an acknowledged incident"),
        (Status::Closed, "a closed incident"),
        (Status::New, "a manually reopened incident"),
    ] {
        let mut decided = entry(ChangeReason::Status);
        decided.finding = None;
        decided.incident.status = status;
        decided.decision = Some(Decision {
            status,
            by: "Somebody".to_owned(),
            at: decided.at,
            why: "A test.".to_owned(),
            false_positive: false,
        });
        entries.push((name.to_owned(), decided));
    }
    for (news, name) in [
        (ChangeReason::Verdict, "an incident with a verdict"),
        (
            ChangeReason::Opinions,
            "an incident with opinions of other analysts",
        ),
        (ChangeReason::Note, "a note"),
    ] {
        let mut sample = entry(news);
        let model = sample.finding.take().map(|finding| finding.model);
        if news == ChangeReason::Verdict {
            sample.incident.verdict = model.map(|model| PanelVerdict {
                by: "Watchtower".to_owned(),
                reported: Some(sample.incident.severity),
                severity: Severity::Info,
                confidence: 1.0,
                text: "A test.".to_owned(),
                dissent: Vec::new(),
                at: sample.at,
                model,
            });
        }
        entries.push((name.to_owned(), sample));
    }
    entries.retain(|(_, entry)| settings.what == DeliveryScope::Findings || entry.news.is_loud());
    let delivered = entries
        .into_iter()
        .map(|(name, entry)| (name, SinkEvent::of(&entry, &settings.fields)));
    let mut shapes: Vec<_> = delivered.collect();
    if settings.rate.is_some() {
        let digest = Digest::new(&sample()).sink_event(&settings.fields);
        shapes.push(("a number of further events".to_owned(), digest));
    }
    shapes.push(("the sample of `sink test`".to_owned(), sample()));
    shapes
}

/// Incident without addresses, hosts or users: an incident has them either
/// always or never, so a template may be meant for those that do.
pub(super) fn nameless(settings: &SinkSettings) -> Shape {
    let mut entry = entry(ChangeReason::Opened);
    entry.incident.entities.clear();
    let name = "an incident without observables".to_owned();
    (name, SinkEvent::of(&entry, &settings.fields))
}

fn without_all(mut finding: Finding) -> Finding {
    finding.evidence.clear();
    finding.mitre.clear();
    finding.detail.clear();
    finding.recommended_action.clear();
    finding
}

fn entry(news: ChangeReason) -> OutboxEntry {
    let now = Timestamp::now();
    let stream = StreamName::new("test").expect("a valid name");
    let title = "Test event from `watchtower sink test` (no alert)".to_owned();
    let observation = Observation {
        severity: Severity::Info,
        confidence: 1.0,
        category: Category::Other,
        title: title.clone(),
        detail: "Test event: verifies delivery to this sink.".to_owned(),
        evidence: vec![Evidence {
            quote: "no screen content".to_owned(),
            bounds: None,
            grounded: None,
        }],
        mitre: Vec::new(),
        recommended_action: "None.".to_owned(),
    };
    let frame = FrameRef {
        seq: 0,
        pts_ms: 0,
        sha256: String::new(),
    };
    let model = ModelRef {
        provider: "offline".to_owned(),
        name: "test".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        prompt: String::new(),
    };
    let mut finding = Finding::new("Watchtower", stream.clone(), now, frame, observation, model);
    let incident = Incident {
        id: Uuid::now_v7(),
        stream,
        title,
        category: Category::Other,
        severity: Severity::Info,
        status: Status::New,
        count: 1,
        agents: vec!["Watchtower".to_owned()],
        first_seen: now,
        last_seen: now,
        entities: vec![Entity {
            kind: EntityKind::Ip,
            value: "192.0.2.1".to_owned(),
        }],
        grounded: None,
        opinions: Vec::new(),
        verdict: None,
        settled_severity: None,
        owner: None,
        snoozed_until: None,
    };
    finding.incident = Some(incident.id);
    OutboxEntry {
        seq: 0,
        id: Uuid::now_v7(),
        at: now,
        news,
        version: 1,
        incident,
        finding: Some(finding),
        decision: None,
    }
}

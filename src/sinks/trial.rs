//! `watchtower sink test`: a marked sample to the real other side, and what
//! it said.

use std::collections::BTreeMap;

use jiff::Timestamp;
use uuid::Uuid;

use super::notice::Change;
use super::{Item, Notice, Outcome, destination};
use crate::config::SinkSettings;
use crate::finding::{Category, Evidence, Finding, FrameRef, ModelRef, Observation, Severity};
use crate::incident::{Entity, EntityKind, Incident, News, Status};
use crate::media::StreamName;
use crate::store::Entry;

/// How one sink took it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trial {
    pub sink: String,
    pub kind: &'static str,
    /// Of the sample, to look for on the other side.
    pub id: Uuid,
    /// `None` for one that is off.
    pub verdict: Option<Result<(), String>>,
}

/// Sends a sample to each, one after the other.
pub async fn trials(settings: &[SinkSettings]) -> Vec<Trial> {
    let mut trials = Vec::new();
    for settings in settings {
        let sample = sample();
        let id = sample.id;
        let verdict = match settings.address {
            Some(_) => Some(one(settings, sample).await),
            None => None,
        };
        trials.push(Trial {
            sink: settings.name.clone(),
            kind: settings.kind.as_str(),
            id,
            verdict,
        });
    }
    trials
}

async fn one(settings: &SinkSettings, sample: Notice) -> Result<(), String> {
    let mut destination = destination(settings)?;
    let batch = [sample];
    let sent = tokio::time::timeout(settings.timeout, destination.deliver(&batch));
    match sent.await {
        Err(_) => Err(format!(
            "no answer within {} s",
            settings.timeout.as_secs_f32()
        )),
        Ok(Outcome::Delivered) => Ok(()),
        Ok(Outcome::Retry { why, .. }) => Err(why),
        Ok(Outcome::PerItem(items)) => match items.into_iter().next() {
            Some(Item::Taken) | None => Ok(()),
            Some(Item::Never(why) | Item::Not(_, why)) => Err(why),
        },
    }
}

/// Everything an event may have, and marked as nobody's alarm.
pub(super) fn sample() -> Notice {
    let entry = entry();
    let mut notice = Notice::of(&entry, &BTreeMap::new());
    notice.change = Change::Test;
    notice.ocsf["unmapped"]["change"] = "test".into();
    notice
}

fn entry() -> Entry {
    let now = Timestamp::now();
    let stream = StreamName::new("test").expect("a valid name");
    let title = "Test of a sink by `watchtower sink test`: no alarm".to_owned();
    let observation = Observation {
        severity: Severity::Info,
        confidence: 1.0,
        category: Category::Other,
        title: title.clone(),
        detail: "Somebody tries whether findings arrive here.".to_owned(),
        evidence: vec![Evidence {
            quote: "nothing was on a screen".to_owned(),
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
    };
    finding.incident = Some(incident.id);
    Entry {
        seq: 0,
        id: Uuid::now_v7(),
        at: now,
        news: News::Opened,
        version: 1,
        incident,
        finding: Some(finding),
        decision: None,
    }
}

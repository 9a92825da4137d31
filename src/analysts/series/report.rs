//! Findings of watches: with the picture of the moment and the quote of label
//! and value; and their end.

use std::sync::Arc;

use jiff::Timestamp;
use uuid::Uuid;

use watchtower_domain::finding::{
    Category, Evidence, Finding, FrameRef, ModelRef, Observation, WATCHTOWER,
};
use watchtower_domain::incident::{Note, Status};
use watchtower_domain::series::Quantity;
use watchtower_record::Record;
use watchtower_record::store::{
    Annotation, FindingQuery, FiredWatch, Publication, StatusChange, StoreError, WatchEnd,
    WriteRefusal,
};
use watchtower_screen::evidence_regions::EvidenceRegions;
use watchtower_screen::frame::Frame;

use super::settings::{WatchCondition, WatchConfig, WatchLimit};
use super::tracker::TrackedNumber;
use crate::metrics::AnalystMetrics;
use crate::{Policy, grounding, transcripts};

/// Provider and name of the model in findings of watches.
const MODEL: (&str, &str) = ("watchtower", "watch");
/// Findings of an incident that are read to see whose they are.
const MOST_FINDINGS: usize = 200;

/// Change of a watch, to be told.
pub(super) struct WatchReport<'a> {
    pub(super) watch: &'a WatchConfig,
    pub(super) number: TrackedNumber,
    /// Frame that shows it.
    pub(super) frame: Arc<Frame>,
    /// Redaction of the analyst; `None` if it is not enabled any more.
    pub(super) policy: Option<Policy>,
    pub(super) findings: &'a Record,
    pub(super) metrics: &'a AnalystMetrics,
}

impl WatchReport<'_> {
    /// Publishes the finding, and returns its incident.
    pub(super) async fn fires(&self, since: Timestamp, usual: Option<f64>) -> anyhow::Result<Uuid> {
        let policy = self
            .policy
            .clone()
            .ok_or_else(|| anyhow::anyhow!("analyst {} is not enabled", self.watch.agent))?;
        let mut observation = self.observation(since, usual);
        let raw = Arc::clone(&self.frame);
        let prepare = move || {
            let raw = raw.hiding(&policy.own);
            grounding::mask_all(&mut observation, &raw, &policy);
            let still = transcripts::still(&raw, policy.redact_evidence);
            let places = observation.places();
            let regions = EvidenceRegions::of(&raw, policy.redact_evidence, &places);
            (observation, still, regions)
        };
        let (observation, still, regions) = tokio::task::spawn_blocking(prepare).await?;
        let sha256 = still.as_ref().map(|still| still.sha256().to_owned());
        let at = FrameRef {
            seq: self.frame.seq,
            pts_ms: self.frame.pts.ms(),
            sha256: sha256.unwrap_or_default(),
        };
        let model = ModelRef {
            provider: MODEL.0.to_owned(),
            name: MODEL.1.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            prompt: String::new(),
        };
        let finding = Finding::new(
            &self.watch.agent,
            self.frame.stream.clone(),
            // The frame was read once, and shown until now.
            self.number.to,
            at,
            observation,
            model,
        );
        self.findings.keep_regions(finding.id, regions);
        let publication = Publication {
            finding,
            still,
            asked: None,
        };
        let published = self.findings.publish(publication).await?;
        self.metrics.finding(&self.watch.agent, published.severity);
        let incident = published
            .incident
            .ok_or_else(|| anyhow::anyhow!("the finding has no incident"))?;
        // It was reported before, and back to normal.
        let known = self
            .findings
            .read(move |store| store.incident(incident))
            .await?;
        if known.is_some_and(|known| known.incident.status == Status::Closed) {
            let why = format!("recurred at {since:.0}");
            self.decide(incident, Status::New, why).await?;
        }
        Ok(incident)
    }

    /// Tells that the value is back to normal: in the analyst's log, and by
    /// closing the incident, if nothing but watches reported it.
    pub(super) async fn clears(
        &self,
        incident: Uuid,
        since: Timestamp,
        until: Timestamp,
    ) -> anyhow::Result<()> {
        let (label, value) = (&self.number.name.label, self.number.quantity());
        let lasted = until.duration_since(since).as_secs().max(0);
        let why =
            format!("back to normal: {label} {value}, from {since:.0} to {until:.0}, {lasted} s");
        tracing::info!(stream = %self.number.name.stream, "{why}");
        if self.is_own(incident).await? {
            self.decide(incident, Status::Closed, why.clone()).await?;
        } else {
            let note = Note {
                by: self.watch.agent.clone(),
                at: Timestamp::now(),
                text: why.clone(),
            };
            let noted = self.findings.write(Annotation { incident, note }).await;
            settled(noted.map(drop))?;
        }
        self.findings.note(&self.watch.agent, &why).await;
        Ok(())
    }

    async fn is_own(&self, incident: Uuid) -> Result<bool, StoreError> {
        let query = FindingQuery {
            incident: Some(incident),
            limit: MOST_FINDINGS,
            ..FindingQuery::default()
        };
        let page = self
            .findings
            .read(move |store| store.findings(&query))
            .await?;
        let own = |model: &ModelRef| (model.provider.as_str(), model.name.as_str()) == MODEL;
        Ok(page.next.is_none() && page.items.iter().all(|finding| own(&finding.model)))
    }

    async fn decide(&self, incident: Uuid, status: Status, why: String) -> anyhow::Result<()> {
        let change = StatusChange {
            incident,
            status,
            by: self.watch.agent.clone(),
            why,
            false_positive: false,
            version: None,
        };
        settled(self.findings.write(change).await.map(drop))
    }

    fn observation(&self, since: Timestamp, usual: Option<f64>) -> Observation {
        let number = &self.number;
        let (label, value) = (&number.name.label, number.quantity());
        let limit = |limit: WatchLimit| Quantity {
            value: limit.value,
            unit: limit.unit.unwrap_or(number.name.unit),
        };
        let (title, condition) = match self.watch.condition {
            WatchCondition::Above(of) => (
                format!("{label} above {}: {value}", limit(of)),
                format!("is above {}", limit(of)),
            ),
            WatchCondition::Below(of) => (
                format!("{label} below {}: {value}", limit(of)),
                format!("is below {}", limit(of)),
            ),
            WatchCondition::Changes(times) => {
                let usual = Quantity {
                    value: usual.unwrap_or_default(),
                    unit: number.name.unit,
                };
                (
                    format!("Unusual {label}: {value}"),
                    format!(
                        "deviates from its median {usual} by more than {times} usual deviations"
                    ),
                )
            }
        };
        let place = &number.name.place;
        let evidence = number.quotes.iter().map(|quote| Evidence {
            quote: quote.text.clone(),
            bounds: Some(quote.bounds),
            // Read off the same frame.
            grounded: Some(true),
        });
        Observation {
            severity: self.watch.severity,
            confidence: 1.0,
            category: Category::Anomaly,
            title,
            detail: format!("{label} ({place}) is {value}: it {condition} since {since:.0}."),
            evidence: evidence.collect(),
            mitre: Vec::new(),
            recommended_action: "Check the cause on the system that this screen shows.".to_owned(),
        }
    }
}

/// Notes on the incident that its watch is gone, so that its end will not be
/// told.
pub(super) async fn removed(findings: &Record, fired: FiredWatch) -> Result<(), WriteRefusal> {
    let note = Note {
        by: WATCHTOWER.to_owned(),
        at: Timestamp::now(),
        text: "watch removed or disabled: return to normal will not be reported".to_owned(),
    };
    let incident = fired.incident;
    let noted = findings.write(Annotation { incident, note }).await;
    match noted.map(drop) {
        Ok(()) | Err(WriteRefusal::NoIncident(_)) => {}
        Err(error) => return Err(error),
    }
    let FiredWatch {
        watch, stream, key, ..
    } = fired;
    findings.write(WatchEnd { watch, stream, key }).await
}

/// Success too where a person was faster, or retention removed the incident.
fn settled(written: Result<(), WriteRefusal>) -> anyhow::Result<()> {
    match written {
        Ok(()) | Err(WriteRefusal::Already { .. } | WriteRefusal::NoIncident(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

//! Watchdog: the server's own monitoring gaps, reported as `Watchtower`.
//!
//! A black, frozen or missing picture, OCR or a model that falls behind, an
//! analyst that is down: each is one finding with a start, not repeated while
//! it lasts. When the condition ends its incident is closed, with the end.

mod conditions;
mod probes;
pub mod settings;

use std::collections::BTreeMap;
use std::time::Duration;

use conditions::ConditionKey;
use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use watchtower_base::stream_name::StreamName;
use watchtower_domain::agent_status::AgentBoard;
use watchtower_domain::finding::{Category, Finding, FrameRef, ModelRef, Observation, WATCHTOWER};
use watchtower_domain::incident::{Incident, Status};
use watchtower_media::hub::StreamHub;
use watchtower_record::Record;
use watchtower_record::store::{IncidentQuery, StatusChange, WriteRefusal};
use watchtower_screen::frames::FrameBus;

use crate::watchdog::probes::Probes;
use crate::watchdog::settings::WatchdogSettings;

/// Polling interval.
const EVERY: Duration = Duration::from_secs(1);
/// Time without the condition after which it has ended.
const OVER: SignedDuration = SignedDuration::from_secs(3);
/// Maximum open incidents of an earlier run that are closed at the start.
const LEFT_OVER: usize = 1000;

/// Watchdog: reports monitoring gaps as findings.
#[derive(Debug)]
pub struct Watchdog {
    probes: Probes,
    findings: Record,
    known: BTreeMap<ConditionKey, OpenCondition>,
}

/// Condition that holds, or held until a moment ago.
#[derive(Debug)]
struct OpenCondition {
    since: Timestamp,
    /// Time it was last seen to hold.
    seen: Timestamp,
    /// Incident, once it is reported.
    incident: Option<Uuid>,
}

impl Watchdog {
    pub fn new(
        hub: StreamHub,
        frames: FrameBus,
        board: AgentBoard,
        findings: Record,
        settings: WatchdogSettings,
    ) -> Self {
        Self {
            probes: Probes::new(hub, frames, board, settings),
            findings,
            known: BTreeMap::new(),
        }
    }

    pub async fn run(mut self, shutdown: CancellationToken) {
        self.close_left_over().await;
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
            self.look_around(Timestamp::now()).await;
        }
    }

    async fn look_around(&mut self, now: Timestamp) {
        for (key, since) in self.probes.feel(now) {
            let condition = self.known.entry(key).or_insert(OpenCondition {
                since,
                seen: now,
                incident: None,
            });
            condition.seen = now;
        }
        let keys: Vec<_> = self.known.keys().cloned().collect();
        for key in keys {
            let condition = &self.known[&key];
            let (since, seen, incident) = (condition.since, condition.seen, condition.incident);
            match incident {
                None if seen == now => {
                    let told = self.tell(&key, since, now).await;
                    if let Some(condition) = self.known.get_mut(&key) {
                        condition.incident = told;
                    }
                }
                Some(incident) if now.duration_since(seen) >= OVER => {
                    self.close(&key, incident, since, seen).await;
                    self.known.remove(&key);
                }
                // It ended before it could be written.
                None => {
                    self.known.remove(&key);
                }
                Some(_) => {}
            }
        }
    }

    /// Stores the finding and returns its incident once durable; retried at the
    /// next poll.
    async fn tell(&self, key: &ConditionKey, since: Timestamp, now: Timestamp) -> Option<Uuid> {
        let frame = self.probes.frame(&key.stream);
        let at = FrameRef {
            seq: frame.as_ref().map_or(0, |frame| frame.seq),
            pts_ms: frame.as_ref().map_or(0, |frame| frame.pts.ms()),
            // A missing picture is no evidence.
            sha256: String::new(),
        };
        let observation = key.observation(since, now);
        tracing::warn!(stream = %key.stream, "{}", observation.title);
        match self.publish(&key.stream, since, at, observation).await {
            Ok(incident) => Some(incident),
            Err(error) => {
                tracing::error!(%error, "failed to report a monitoring gap");
                None
            }
        }
    }

    async fn publish(
        &self,
        stream: &StreamName,
        since: Timestamp,
        at: FrameRef,
        observation: Observation,
    ) -> anyhow::Result<Uuid> {
        let model = ModelRef {
            provider: "watchtower".to_owned(),
            name: "watchdog".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            prompt: String::new(),
        };
        let finding = Finding::new(WATCHTOWER, stream.clone(), since, at, observation, model);
        let published = self.findings.publish(finding).await?;
        let incident = published
            .incident
            .ok_or_else(|| anyhow::anyhow!("the finding has no incident"))?;
        // The same gap occurred before and ended.
        let known = self.findings.read(move |store| store.incident(incident));
        let known = known.await?;
        if known.is_some_and(|known| known.incident.status == Status::Closed) {
            self.decide(incident, Status::New, format!("recurred at {since:.0}"))
                .await;
        }
        Ok(incident)
    }

    async fn close(&self, key: &ConditionKey, incident: Uuid, since: Timestamp, end: Timestamp) {
        let lasted = end.duration_since(since).as_secs().max(1);
        let why = format!("resolved: from {since:.0} to {end:.0}, {lasted} s");
        tracing::info!(stream = %key.stream, "{}: {why}", key.title());
        self.findings
            .note(WATCHTOWER, &format!("{}: {why}", key.title()))
            .await;
        self.decide(incident, Status::Closed, why).await;
    }

    async fn decide(&self, incident: Uuid, status: Status, why: String) {
        let verdict = StatusChange {
            incident,
            status,
            by: WATCHTOWER.to_owned(),
            why,
            false_positive: false,
            version: None,
        };
        match self.findings.write(verdict).await {
            // Closed by someone else in the meantime, or removed by retention.
            Ok(_) | Err(WriteRefusal::Already { .. } | WriteRefusal::NoIncident(_)) => {}
            Err(error) => tracing::error!(%error, "failed to close a resolved monitoring gap"),
        }
    }

    /// Closes the monitoring gaps of an earlier run: their end is unknown, and
    /// those that persist are reported again. Prompt injection is reported
    /// under the same agent name, and an analyst may have reported the same
    /// incident: those are left for people to close.
    async fn close_left_over(&self) {
        let query = IncidentQuery {
            status: vec![Status::New, Status::Acknowledged],
            category: vec![Category::Availability],
            agent: Some(WATCHTOWER.to_owned()),
            limit: LEFT_OVER,
            ..IncidentQuery::default()
        };
        let page = self.findings.read(move |store| store.incidents(&query));
        let Ok(page) = page.await else {
            return;
        };
        let own = |incident: &Incident| incident.agents == [WATCHTOWER];
        for incident in page.items.into_iter().filter(own) {
            let why = "server restarted".to_owned();
            self.decide(incident.id, Status::Closed, why).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use watchtower_domain::finding::Severity;
    use watchtower_record::settings::StoreSettings;

    #[tokio::test]
    async fn only_availability_incidents_of_its_own_are_closed_at_the_start() {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = StoreSettings::default();
        let (findings, _) =
            Record::open(folder.path(), folder.path(), &[], &settings).expect("an empty store");
        let watchdog = Watchdog::new(
            StreamHub::new(),
            FrameBus::new(),
            AgentBoard::new(Vec::new()),
            findings.clone(),
            WatchdogSettings::default(),
        );
        let tell = async |agent: &str, category: Category, title: &str| {
            let finding = Finding {
                agent: agent.to_owned(),
                observed_at: Timestamp::now(),
                severity: Severity::Medium,
                category,
                title: title.to_owned(),
                ..Finding::sample()
            };
            let published = findings.publish(finding).await.expect("written");
            published.incident.expect("an incident")
        };
        let black = tell(WATCHTOWER, Category::Availability, "Black screen on team").await;
        let steered = tell(
            WATCHTOWER,
            Category::PromptInjection,
            "Prompt injection aimed at the analysts",
        );
        let steered = steered.await;
        let shared = tell(
            WATCHTOWER,
            Category::Availability,
            "Stream team: signal lost",
        )
        .await;
        let same = tell("SecOps", Category::Availability, "Stream team: signal lost").await;
        assert_eq!(shared, same);
        watchdog.close_left_over().await;
        for (incident, status) in [
            (black, Status::Closed),
            (steered, Status::New),
            (shared, Status::New),
        ] {
            let known = findings.read(move |store| store.incident(incident));
            let known = known.await.expect("readable");
            let known = known.expect("it is there").incident;
            assert_eq!(known.status, status, "{}", known.title);
        }
    }
}

//! Filter and rate limit of the events delivered to a sink.

use std::time::{Duration, Instant};

use watchtower_domain::incident::{ChangeReason, Status};
use watchtower_record::store::OutboxEntry;

use crate::settings::{DeliveryScope, Rate, SinkSettings};

pub(super) fn is_wanted(entry: &OutboxEntry, settings: &SinkSettings) -> bool {
    let incident = &entry.incident;
    let kind = match settings.what {
        // Decisions are delivered during a snooze too.
        DeliveryScope::Incidents => {
            entry.news.is_loud() && (entry.finding.is_none() || !incident.is_snoozed(entry.at))
        }
        DeliveryScope::Findings => true,
        DeliveryScope::Alerts => {
            let alerts = matches!(
                entry.news,
                ChangeReason::Opened
                    | ChangeReason::Reopened
                    | ChangeReason::Returned
                    | ChangeReason::SeverityRose
            );
            alerts && incident.status == Status::New && !incident.is_snoozed(entry.at)
        }
    };
    let agent = match &entry.finding {
        // Decisions count for every agent of the incident.
        None => incident
            .agents
            .iter()
            .any(|name| is_among(name, &settings.agents)),
        Some(finding) => is_among(&finding.agent, &settings.agents),
    };
    let severity = match (settings.what, &entry.finding) {
        (DeliveryScope::Findings, Some(finding)) if entry.news == ChangeReason::Repeated => {
            finding.severity
        }
        _ => incident.severity,
    };
    kind && (agent || settings.agents.is_empty())
        && severity <= settings.minimum_severity
        && (settings.streams.is_empty()
            || settings
                .streams
                .iter()
                .any(|name| name == incident.stream.as_str()))
}

fn is_among(name: &str, names: &[String]) -> bool {
    names.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// Rate limit: number of events within an interval.
#[derive(Debug)]
pub(super) struct Limit {
    rate: Rate,
    since: Instant,
    used: u32,
}

impl Limit {
    pub(super) fn new(rate: Rate) -> Self {
        Self {
            rate,
            since: Instant::now(),
            used: 0,
        }
    }

    pub(super) fn admits(&mut self, now: Instant) -> bool {
        if now.duration_since(self.since) >= self.rate.within {
            self.since = now;
            self.used = 0;
        }
        let admitted = self.used < self.rate.events;
        self.used += u32::from(admitted);
        admitted
    }

    /// Time until the next events are admitted.
    pub(super) fn left(&self, now: Instant) -> Duration {
        let spent = now.duration_since(self.since);
        self.rate.within.saturating_sub(spent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_within_so_long() {
        let rate = Rate {
            events: 2,
            within: Duration::from_secs(10),
        };
        let mut limit = Limit::new(rate);
        let start = limit.since;
        let at = |seconds| start + Duration::from_secs(seconds);
        let admitted: Vec<_> = [0, 1, 2, 9, 10, 11, 12].map(|s| limit.admits(at(s))).into();
        assert_eq!(admitted, [true, true, false, false, true, true, false]);
        assert_eq!(limit.left(at(12)), Duration::from_secs(8));
    }
}

//! `/api/health`: health of each analyst, stream and sink, and of OCR.

use axum::Json;
use axum::extract::State;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use watchtower_base::stream_name::StreamName;
use watchtower_domain::agent_status::AgentStatus;
use watchtower_domain::sink_status::Delivery;
use watchtower_media::hub::StreamInfo;

use crate::AppState;
use crate::http::list::List;

/// Backlogs as of which the watchdog reports by default
/// (`[watchdog] unread`, `unanswered`).
const UNREAD: SignedDuration = SignedDuration::from_secs(20);
const UNANSWERED: SignedDuration = SignedDuration::from_secs(60);
/// Backlog of OCR beyond a slow machine's: it has stopped.
const NOT_READING: SignedDuration = SignedDuration::from_secs(120);

/// Health of a part of the server.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
pub(crate) struct HealthShown {
    kind: HealthKind,
    name: String,
    health: HealthState,
    /// Start of this health; null where it is unknown.
    since: Option<Timestamp>,
    /// State in words.
    detail: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum HealthKind {
    Analyst,
    /// Analyst that reports from another machine.
    RemoteAnalyst,
    Integration,
    Stream,
    Reader,
}

/// `idle`: nothing to do, and nothing known to be wrong. `degraded`: works, with
/// faults or late. `down`: does not work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum HealthState {
    Ok,
    Idle,
    Degraded,
    Down,
}

/// Health of each enabled analyst, sink and stream, and of OCR
#[utoipa::path(get, path = "/api/health", tag = "live", responses((status = 200, body = List<HealthShown>)))]
pub(crate) async fn health(State(state): State<AppState>) -> Json<List<HealthShown>> {
    let console = &state.console;
    let now = Timestamp::now();
    let mut streams = console.hub.streams();
    streams.sort_by(|one, other| one.name.cmp(&other.name));
    let agents = console.board.agents().into_iter();
    let mut items: Vec<_> = agents.filter_map(|agent| of_agent(agent, now)).collect();
    items.extend(console.sink_board.list().into_iter().map(of_sink));
    let backlog = |name: &StreamName| console.frames.behind_since(name);
    let oldest = streams.iter().filter_map(|info| backlog(&info.name)).min();
    let reads = console.frames.is_read();
    items.push(of_reader(reads, oldest, streams.is_empty(), now));
    items.extend(streams.iter().map(of_stream));
    Json(List::whole(items))
}

fn of_agent(agent: AgentStatus, now: Timestamp) -> Option<HealthShown> {
    let remote = agent.last_seen.is_some();
    if !agent.enabled && !remote {
        return None;
    }
    let late = |since: &Timestamp| now.duration_since(*since) > UNANSWERED;
    let late = agent.wanting_since.filter(late);
    // One response lost, or refused, is no outage.
    let unreachable = matches!(agent.last_outcome, Some("transient" | "fatal"));
    let (health, since) = if remote {
        (HealthState::Idle, agent.last_seen)
    } else if let Some(since) = agent.failed_since {
        (HealthState::Down, Some(since))
    } else if let Some(since) = agent.failing_since {
        let health = match unreachable {
            true => HealthState::Down,
            false => HealthState::Degraded,
        };
        (health, Some(since))
    } else if let Some(since) = late {
        (HealthState::Degraded, Some(since))
    } else if let Some(since) = agent.answering_since {
        (HealthState::Ok, Some(since))
    } else {
        (HealthState::Idle, Some(agent.since))
    };
    Some(HealthShown {
        kind: if remote {
            HealthKind::RemoteAnalyst
        } else {
            HealthKind::Analyst
        },
        name: agent.name,
        health,
        since,
        detail: agent.state,
    })
}

fn of_sink(sink: Delivery) -> HealthShown {
    let (health, since) = match (sink.failing_since, sink.delivering_since) {
        (Some(since), _) => (HealthState::Down, Some(since)),
        (None, since) if sink.dead > 0 => (HealthState::Degraded, since),
        (None, Some(since)) => (HealthState::Ok, Some(since)),
        (None, None) => (HealthState::Idle, None),
    };
    let dead = match sink.dead {
        0 => String::new(),
        dead => format!(", dead letters: {dead}"),
    };
    HealthShown {
        kind: HealthKind::Integration,
        health,
        since,
        detail: format!("{}{dead}", sink.state),
        name: sink.name,
    }
}

fn of_stream(info: &StreamInfo) -> HealthShown {
    let times = (info.lost_since, info.contested_since, info.paused_since);
    let (health, since, detail) = match times {
        (Some(since), _, _) => (HealthState::Down, since, "signal lost"),
        (None, Some(since), _) => (HealthState::Degraded, since, "several publishers"),
        (None, None, Some(since)) => (HealthState::Idle, since, "paused"),
        (None, None, None) => (HealthState::Ok, info.since, "live"),
    };
    HealthShown {
        kind: HealthKind::Stream,
        name: info.name.to_string(),
        health,
        since: Some(since),
        detail: detail.to_owned(),
    }
}

fn of_reader(reads: bool, oldest: Option<Timestamp>, alone: bool, now: Timestamp) -> HealthShown {
    let backlog = oldest.map_or(SignedDuration::ZERO, |since| now.duration_since(since));
    let (health, detail) = if !reads {
        (HealthState::Idle, "off")
    } else if backlog > NOT_READING {
        (HealthState::Down, "no screen text")
    } else if backlog > UNREAD {
        (HealthState::Degraded, "backlog")
    } else if alone {
        (HealthState::Idle, "no live stream")
    } else {
        (HealthState::Ok, "reading")
    };
    HealthShown {
        kind: HealthKind::Reader,
        name: "OCR".to_owned(),
        health,
        since: oldest.filter(|_| backlog > UNREAD),
        detail: detail.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).unwrap()
    }

    fn agent() -> AgentStatus {
        AgentStatus {
            enabled: true,
            since: at(0),
            ..AgentStatus::new("SecOps", "gemini", "flash")
        }
    }

    fn standing(agent: AgentStatus) -> Option<(HealthState, Option<Timestamp>)> {
        of_agent(agent, at(1000)).map(|shown| (shown.health, shown.since))
    }

    #[test]
    fn analyst_is_down_while_its_model_is_unreachable() {
        let answering = AgentStatus {
            answering_since: Some(at(5)),
            last_outcome: Some("nothing"),
            ..agent()
        };
        let failing = |outcome| AgentStatus {
            failing_since: Some(at(7)),
            last_outcome: Some(outcome),
            ..agent()
        };
        let waits = |second| AgentStatus {
            wanting_since: Some(at(second)),
            ..answering.clone()
        };
        let crashed = AgentStatus {
            failed_since: Some(at(9)),
            ..answering.clone()
        };
        let remote = AgentStatus {
            enabled: false,
            last_seen: Some(at(3)),
            ..agent()
        };
        let disabled = AgentStatus {
            enabled: false,
            ..agent()
        };
        for (agent, expected) in [
            (agent(), Some((HealthState::Idle, Some(at(0))))),
            (answering.clone(), Some((HealthState::Ok, Some(at(5))))),
            (failing("transient"), Some((HealthState::Down, Some(at(7))))),
            (failing("fatal"), Some((HealthState::Down, Some(at(7))))),
            (
                failing("rate_limited"),
                Some((HealthState::Degraded, Some(at(7)))),
            ),
            (waits(939), Some((HealthState::Degraded, Some(at(939))))),
            (waits(941), Some((HealthState::Ok, Some(at(5))))),
            (crashed, Some((HealthState::Down, Some(at(9))))),
            (remote, Some((HealthState::Idle, Some(at(3))))),
            (disabled, None),
        ] {
            let shown = format!("{agent:?}");
            assert_eq!(standing(agent), expected, "{shown}");
        }
    }

    #[test]
    fn sink_and_reader_show_their_faults() {
        let sink = |failing, delivering, dead| {
            let mut sink = Delivery::new("siem", "splunk_hec", 0, dead);
            (sink.failing_since, sink.delivering_since) = (failing, delivering);
            let shown = of_sink(sink);
            (shown.health, shown.since)
        };
        assert_eq!(sink(None, None, 0), (HealthState::Idle, None));
        assert_eq!(sink(None, Some(at(1)), 0), (HealthState::Ok, Some(at(1))));
        assert_eq!(
            sink(None, Some(at(1)), 2),
            (HealthState::Degraded, Some(at(1)))
        );
        assert_eq!(
            sink(Some(at(2)), Some(at(1)), 0),
            (HealthState::Down, Some(at(2)))
        );
        let reader = |reads, oldest, alone| {
            let shown = of_reader(reads, oldest, alone, at(1000));
            (shown.health, shown.since)
        };
        assert_eq!(reader(false, None, false), (HealthState::Idle, None));
        assert_eq!(reader(true, None, true), (HealthState::Idle, None));
        assert_eq!(reader(true, Some(at(990)), false), (HealthState::Ok, None));
        let (late, stopped) = (Some(at(970)), Some(at(870)));
        assert_eq!(reader(true, late, false), (HealthState::Degraded, late));
        assert_eq!(reader(true, stopped, false), (HealthState::Down, stopped));
    }
}

//! Status of each agent, local or remote, as text.

use std::sync::{Arc, Mutex, MutexGuard};

use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::watch;
use utoipa::ToSchema;

use watchtower_base::sync::Locked as _;

/// Status of one analyst: an item of `/api/agents`.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct AgentStatus {
    pub name: String,
    pub enabled: bool,
    pub provider: String,
    pub model: String,
    pub interval_ms: u64,
    /// Streams it analyses; empty: all live ones, in turn.
    pub streams: Vec<String>,
    /// For instance `analysing frame 812 of team`, `waiting 12 s: quota`.
    pub state: String,
    /// Start of the current state.
    pub since: Timestamp,
    /// Responses of its model, of any outcome.
    pub looks: u64,
    pub findings: u64,
    /// Screen changes never sent to its model, superseded by later ones.
    pub unshown: u64,
    pub last_look: Option<Timestamp>,
    pub last_outcome: Option<&'static str>,
    /// Start of the wait for a response of its model to new input; null
    /// without.
    pub wanting_since: Option<Timestamp>,
    /// Time of its first response without an answer after the last with one;
    /// null while its model answers.
    pub failing_since: Option<Timestamp>,
    /// Time of its first answer since then; null while it does not answer.
    pub answering_since: Option<Timestamp>,
    /// Start of the outage while it waits for its restart.
    pub failed_since: Option<Timestamp>,
    /// Time of a remote agent's last report; null for a local one.
    pub last_seen: Option<Timestamp>,
}

impl AgentStatus {
    /// Status of an agent that has done nothing yet, and is not enabled.
    pub fn new(name: &str, provider: &str, model: &str) -> Self {
        Self {
            name: name.to_owned(),
            enabled: false,
            provider: provider.to_owned(),
            model: model.to_owned(),
            interval_ms: 0,
            streams: Vec::new(),
            state: String::new(),
            since: Timestamp::now(),
            looks: 0,
            findings: 0,
            unshown: 0,
            last_look: None,
            last_outcome: None,
            wanting_since: None,
            failing_since: None,
            answering_since: None,
            failed_since: None,
            last_seen: None,
        }
    }
}

/// Maximum remote agents remembered.
const MOST_REMOTE: usize = 64;
const REMOTE: &str = "remote";

/// Reason a remote agent is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAdmitted {
    #[error(
        "an analyst of that name runs on this server; rename one of them, or disable it in agents.toml"
    )]
    Ours,
    #[error("limit of {MOST_REMOTE} remote agents reached")]
    Full,
}

/// Status board of all agents. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AgentBoard {
    inner: Arc<AgentBoardState>,
}

#[derive(Debug)]
struct AgentBoardState {
    agents: Mutex<Vec<AgentStatus>>,
    /// Number of changes of state.
    changes: watch::Sender<u64>,
}

impl AgentBoard {
    /// Agents in the order of `agents.toml`, then the remote ones.
    pub fn new(agents: Vec<AgentStatus>) -> Self {
        let inner = AgentBoardState {
            agents: Mutex::new(agents),
            changes: watch::Sender::new(0),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Replaces the local agents: those that stay keep their counts; remote
    /// agents stay.
    pub fn restaff(&self, panel: Vec<AgentStatus>) {
        let mut agents = self.lock();
        let before = std::mem::take(&mut *agents);
        let (remote, ours): (Vec<_>, Vec<_>) = before
            .into_iter()
            .partition(|status| status.state == REMOTE);
        *agents = panel;
        for status in agents.iter_mut() {
            let known = ours.iter().find(|known| known.name == status.name);
            let Some(known) = known.filter(|known| known.enabled && status.enabled) else {
                continue;
            };
            *status = AgentStatus {
                enabled: status.enabled,
                provider: status.provider.clone(),
                model: status.model.clone(),
                interval_ms: status.interval_ms,
                streams: status.streams.clone(),
                ..known.clone()
            };
        }
        let taken = |name: &str| {
            let mut ours = agents.iter();
            ours.any(|status| status.name.eq_ignore_ascii_case(name))
        };
        let remote: Vec<_> = (remote.into_iter())
            .filter(|status| !taken(&status.name))
            .collect();
        agents.extend(remote);
        drop(agents);
        self.inner.changes.send_modify(|count| *count += 1);
    }

    pub fn agents(&self) -> Vec<AgentStatus> {
        self.lock().clone()
    }

    /// Sets the state of an agent; no event if it is unchanged.
    pub fn say(&self, agent: &str, state: &str) {
        let mut agents = self.lock();
        let Some(status) = agents.iter_mut().find(|status| status.name == agent) else {
            return;
        };
        if status.state == state {
            return;
        }
        status.failed_since = None;
        state.clone_into(&mut status.state);
        status.since = Timestamp::now();
        drop(agents);
        self.inner.changes.send_modify(|count| *count += 1);
    }

    /// Marks an agent as failed, until it sets another state.
    pub fn failed(&self, agent: &str) {
        self.say(agent, "crashed, restarting");
        let mut agents = self.lock();
        if let Some(status) = agents.iter_mut().find(|status| status.name == agent) {
            status.failed_since = Some(Timestamp::now());
        }
    }

    /// Marks an agent as having new input, until it was analysed.
    pub fn wanting(&self, agent: &str) {
        let mut agents = self.lock();
        if let Some(status) = agents.iter_mut().find(|status| status.name == agent) {
            status.wanting_since.get_or_insert_with(Timestamp::now);
        }
    }

    /// Counts a response of a model and its outcome.
    pub fn looked(&self, agent: &str, outcome: &'static str, findings: u64) {
        let mut agents = self.lock();
        let Some(status) = agents.iter_mut().find(|status| status.name == agent) else {
            return;
        };
        status.looks += 1;
        status.findings += findings;
        status.last_look = Some(Timestamp::now());
        status.last_outcome = Some(outcome);
        if matches!(outcome, "findings" | "nothing") {
            status.wanting_since = None;
            status.failing_since = None;
            status.answering_since.get_or_insert_with(Timestamp::now);
        } else {
            status.answering_since = None;
            status.failing_since.get_or_insert_with(Timestamp::now);
        }
    }

    /// Counts changes never sent to its model.
    pub fn unshown(&self, agent: &str, changes: u64) {
        let mut agents = self.lock();
        if let Some(status) = agents.iter_mut().find(|status| status.name == agent) {
            status.unshown += changes;
        }
    }

    /// Admits a remote agent under a name that no enabled local agent has;
    /// names are compared without case.
    pub fn remote(&self, agent: &str, provider: &str, model: &str) -> Result<(), NotAdmitted> {
        let mut agents = self.lock();
        let known = agents
            .iter_mut()
            .find(|status| status.name.eq_ignore_ascii_case(agent));
        match known {
            Some(status) if status.enabled => return Err(NotAdmitted::Ours),
            Some(status) if status.state == REMOTE => {
                provider.clone_into(&mut status.provider);
                model.clone_into(&mut status.model);
                return Ok(());
            }
            _ => {}
        }
        let remote = agents.iter().filter(|status| status.state == REMOTE);
        if remote.count() >= MOST_REMOTE {
            return Err(NotAdmitted::Full);
        }
        let status = AgentStatus {
            state: REMOTE.to_owned(),
            ..AgentStatus::new(agent, provider, model)
        };
        // Replaces one that is not enabled here.
        match agents
            .iter_mut()
            .find(|status| status.name.eq_ignore_ascii_case(agent))
        {
            Some(known) => *known = status,
            None => agents.push(status),
        }
        drop(agents);
        self.inner.changes.send_modify(|count| *count += 1);
        Ok(())
    }

    /// Counts a finding reported by a remote agent.
    pub fn reported(&self, agent: &str) {
        let mut agents = self.lock();
        let remote = agents
            .iter_mut()
            .find(|status| status.state == REMOTE && status.name.eq_ignore_ascii_case(agent));
        if let Some(status) = remote {
            status.findings += 1;
            status.last_seen = Some(Timestamp::now());
        }
    }

    /// Changes with every change of state.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.inner.changes.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<AgentStatus>> {
        self.inner.agents.locked()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enabled(name: &str) -> AgentStatus {
        AgentStatus {
            enabled: true,
            state: "starting".to_owned(),
            ..AgentStatus::new(name, "offline", "rules")
        }
    }

    fn status(board: &AgentBoard, name: &str) -> AgentStatus {
        let mut agents = board.agents().into_iter();
        agents.find(|status| status.name == name).expect("known")
    }

    fn names(board: &AgentBoard) -> Vec<String> {
        let agents = board.agents().into_iter();
        agents.map(|status| status.name).collect()
    }

    #[test]
    fn states_are_told_once_and_end_an_outage() {
        let board = AgentBoard::new(vec![enabled("SecOps"), enabled("DevOps")]);
        let changes = board.changes();
        board.say("SecOps", "waiting");
        board.say("SecOps", "waiting");
        board.say("nobody", "waiting");
        assert_eq!(*changes.borrow(), 1);
        assert_eq!(status(&board, "SecOps").state, "waiting");
        assert_eq!(status(&board, "DevOps").state, "starting");

        board.failed("SecOps");
        assert_eq!(*changes.borrow(), 2);
        assert!(status(&board, "SecOps").failed_since.is_some());
        assert!(status(&board, "DevOps").failed_since.is_none());
        board.say("SecOps", "waiting");
        assert_eq!(*changes.borrow(), 3);
        assert!(status(&board, "SecOps").failed_since.is_none());
    }

    #[test]
    fn answers_end_the_wait_and_failures_do_not() {
        let board = AgentBoard::new(vec![enabled("SecOps"), enabled("DevOps")]);
        board.wanting("SecOps");
        board.looked("SecOps", "rate_limited", 0);
        let failing = status(&board, "SecOps");
        assert_eq!((failing.looks, failing.findings), (1, 0));
        assert_eq!(failing.last_outcome, Some("rate_limited"));
        assert!(failing.wanting_since.is_some() && failing.failing_since.is_some());
        assert!(failing.answering_since.is_none());

        board.looked("SecOps", "findings", 2);
        board.looked("SecOps", "nothing", 0);
        board.unshown("SecOps", 3);
        board.unshown("SecOps", 4);
        let answering = status(&board, "SecOps");
        assert_eq!((answering.looks, answering.findings), (3, 2));
        assert_eq!(answering.unshown, 7);
        assert!(answering.wanting_since.is_none() && answering.failing_since.is_none());
        assert!(answering.answering_since.is_some());
        let other = status(&board, "DevOps");
        assert_eq!((other.looks, other.unshown), (0, 0));
        assert!(other.wanting_since.is_none());
    }

    #[test]
    fn new_panel_keeps_the_counts_of_those_that_stay() {
        let disabled = AgentStatus::new("AISec", "offline", "rules");
        let board = AgentBoard::new(vec![enabled("SecOps"), enabled("DevOps"), disabled]);
        board.looked("SecOps", "findings", 5);
        board
            .remote("Elsewhere", "openai", "one")
            .expect("admitted");
        board.remote("later", "openai", "one").expect("admitted");
        let changes = board.changes();
        let before = *changes.borrow();

        let moved = AgentStatus {
            provider: "gemini".to_owned(),
            model: "flash".to_owned(),
            interval_ms: 7000,
            streams: vec!["team".to_owned()],
            ..enabled("SecOps")
        };
        board.restaff(vec![moved, enabled("AISec"), enabled("Later")]);
        assert_eq!(*changes.borrow(), before + 1);
        // A remote analyst gives way to a local one of its name.
        assert_eq!(names(&board), ["SecOps", "AISec", "Later", "Elsewhere"]);
        let stays = status(&board, "SecOps");
        assert_eq!((stays.looks, stays.findings), (1, 5));
        assert_eq!(
            (stays.provider.as_str(), stays.model.as_str()),
            ("gemini", "flash")
        );
        assert_eq!((stays.interval_ms, stays.streams.len()), (7000, 1));
        assert!(stays.enabled);
        // It was disabled: it begins anew.
        assert_eq!(status(&board, "AISec").state, "starting");
    }

    #[test]
    fn remote_analysts_take_no_name_of_a_local_one() {
        let disabled = AgentStatus::new("AISec", "offline", "rules");
        let board = AgentBoard::new(vec![enabled("SecOps"), disabled]);
        assert_eq!(
            board.remote("secops", "openai", "one"),
            Err(NotAdmitted::Ours)
        );
        let changes = board.changes();
        assert_eq!(board.remote("aisec", "openai", "one"), Ok(()));
        assert_eq!(*changes.borrow(), 1);
        // Known: its model changes, which is no change of state.
        assert_eq!(board.remote("AISEC", "openai", "two"), Ok(()));
        assert_eq!(*changes.borrow(), 1);
        assert_eq!(names(&board), ["SecOps", "aisec"]);
        assert_eq!(status(&board, "aisec").model, "two");
        assert_eq!(status(&board, "aisec").state, "remote");

        board.reported("AIsec");
        board.reported("AIsec");
        board.reported("SecOps");
        assert_eq!(status(&board, "aisec").findings, 2);
        assert!(status(&board, "aisec").last_seen.is_some());
        assert_eq!(status(&board, "SecOps").findings, 0);

        for nth in 1..MOST_REMOTE {
            assert_eq!(board.remote(&format!("r{nth}"), "openai", "one"), Ok(()));
        }
        assert_eq!(
            board.remote("one-more", "openai", "one"),
            Err(NotAdmitted::Full)
        );
        assert_eq!(board.remote("r1", "openai", "two"), Ok(()));
    }
}

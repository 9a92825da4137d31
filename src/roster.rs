//! Who is on the panel and what each is doing right now, in words.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::watch;

/// One analyst at a glance: an item of `/api/agents`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AgentStatus {
    pub name: String,
    pub enabled: bool,
    pub provider: String,
    pub model: String,
    pub interval_ms: u64,
    /// Empty: every live one, in turn.
    pub streams: Vec<String>,
    /// For instance `looking at frame 812 of team`, `waiting 12 s: quota`.
    pub state: String,
    /// Since when the state is what it is.
    pub since: Timestamp,
    /// Answers of its model, of whatever outcome.
    pub looks: u64,
    pub findings: u64,
    pub last_look: Option<Timestamp>,
    pub last_outcome: Option<&'static str>,
}

/// The panel. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Roster {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    agents: Mutex<Vec<AgentStatus>>,
    /// Counts changes of state.
    changes: watch::Sender<u64>,
}

impl Roster {
    /// In the order of `agents.toml`, which stays.
    pub fn new(agents: Vec<AgentStatus>) -> Self {
        let inner = Inner {
            agents: Mutex::new(agents),
            changes: watch::Sender::new(0),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    pub fn agents(&self) -> Vec<AgentStatus> {
        self.lock().clone()
    }

    /// Says what an agent is doing; silent when it was doing that already.
    pub fn say(&self, agent: &str, state: &str) {
        let mut agents = self.lock();
        let Some(status) = agents.iter_mut().find(|status| status.name == agent) else {
            return;
        };
        if status.state == state {
            return;
        }
        state.clone_into(&mut status.state);
        status.since = Timestamp::now();
        drop(agents);
        self.inner.changes.send_modify(|count| *count += 1);
    }

    /// Counts an answer and what came of it.
    pub fn looked(&self, agent: &str, outcome: &'static str, findings: u64) {
        let mut agents = self.lock();
        let Some(status) = agents.iter_mut().find(|status| status.name == agent) else {
            return;
        };
        status.looks += 1;
        status.findings += findings;
        status.last_look = Some(Timestamp::now());
        status.last_outcome = Some(outcome);
    }

    /// Changes with every change of state.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.inner.changes.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<AgentStatus>> {
        self.inner
            .agents
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

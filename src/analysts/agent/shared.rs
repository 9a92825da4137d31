//! State of an analyst that the looks at its streams share.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use watchtower_base::stream_name::StreamName;
use watchtower_base::sync::Locked as _;

use super::words;
use crate::budget::BudgetStep;
use crate::budgeted_ask::ModelLease;
use crate::panel::PanelQueue;
use crate::{AgentContext, AgentSpec};

#[derive(Debug)]
pub(super) struct AgentShared {
    pub(super) member: AgentSpec,
    pub(super) context: AgentContext,
    /// Queue to the panel of what it reports.
    pub(super) table: Option<PanelQueue>,
    pub(super) leaving: CancellationToken,
    state: Mutex<SharedState>,
}

#[derive(Debug, Default)]
struct SharedState {
    /// Failure last reported of each stream.
    complaints: HashMap<StreamName, String>,
    /// Place in its chain of the model that answered last.
    answered_by: usize,
    /// Looks that wait for a response.
    wanting: usize,
    /// Streams whose look failed and is to be started again.
    crashed: HashSet<StreamName>,
}

/// A look that waits for a response, until it is dropped.
#[derive(Debug)]
pub(super) struct WantingLook<'a>(&'a AgentShared);

impl AgentShared {
    pub(super) fn new(
        member: AgentSpec,
        context: AgentContext,
        table: Option<PanelQueue>,
        leaving: CancellationToken,
    ) -> Self {
        Self {
            member,
            context,
            table,
            leaving,
            state: Mutex::default(),
        }
    }

    pub(super) fn name(&self) -> &str {
        self.member.config.name()
    }

    /// Sets the status, unless that says that a look failed: other streams do
    /// not hide it.
    pub(super) fn say(&self, state: &str) {
        if self.state.locked().crashed.is_empty() {
            self.context.board.say(self.name(), state);
        }
    }

    /// Longer while the budget is running out.
    pub(super) fn interval(&self) -> Duration {
        let interval = self.member.config.interval;
        let hosted = self.member.chain.current(&self.context).is_hosted();
        if hosted && self.context.budget.step() >= BudgetStep::LongerIntervals {
            interval * 2
        } else {
            interval
        }
    }

    /// Reports a switch of models in log and output, once.
    pub(super) async fn announce(&self, lease: &ModelLease) {
        let before = std::mem::replace(&mut self.state.locked().answered_by, lease.place());
        if lease.place() == before {
            return;
        }
        let who = words::named(&lease.identity());
        let why = self.member.chain.closed(0, &self.context);
        let said = match why.filter(|_| lease.place() > 0) {
            Some(why) => format!("switched to {who}: {why}"),
            None => format!("switched back to {who}"),
        };
        tracing::warn!("{said}");
        self.context.findings.note(self.name(), &said).await;
    }

    /// Notes that a look waits for a response.
    pub(super) fn want(&self) -> WantingLook<'_> {
        self.state.locked().wanting += 1;
        self.context.board.wanting(self.name());
        WantingLook(self)
    }

    /// Counts an answer. Other looks that wait go on waiting from now: the model
    /// does answer.
    pub(super) fn looked(&self, outcome: &'static str, findings: u64) {
        let (name, board) = (self.name(), &self.context.board);
        board.looked(name, outcome, findings);
        if self.state.locked().wanting > 1 {
            board.wanting(name);
        }
    }

    /// Reports in log and output what blocks it: once, not at each attempt nor
    /// for each stream.
    pub(super) async fn complain(&self, stream: &StreamName, complaint: String) {
        let known = {
            let complaints = &mut self.state.locked().complaints;
            let known = complaints.values().any(|known| *known == complaint);
            complaints.insert(stream.clone(), complaint.clone());
            known
        };
        if !known {
            tracing::warn!("{complaint}");
            self.context.findings.note(self.name(), &complaint).await;
        }
    }

    /// Reports the end of a complaint, if no other stream has the same.
    pub(super) async fn relieved(&self, stream: &StreamName) {
        let over = {
            let complaints = &mut self.state.locked().complaints;
            let past = complaints.remove(stream);
            past.is_some_and(|past| !complaints.values().any(|other| *other == past))
        };
        if over {
            tracing::info!("analysis resumed");
            self.context
                .findings
                .note(self.name(), "analysis resumed")
                .await;
        }
    }

    /// Notes that the look at a stream failed, until it is started again.
    pub(super) fn crashed(&self, stream: &StreamName) {
        self.state.locked().crashed.insert(stream.clone());
        self.context.board.failed(self.name());
    }

    pub(super) fn restarted(&self, stream: &StreamName) {
        self.state.locked().crashed.remove(stream);
    }

    /// Forgets streams that have ended.
    pub(super) fn retain(&self, live: &[StreamName]) {
        let mut state = self.state.locked();
        state.complaints.retain(|stream, _| live.contains(stream));
        state.crashed.retain(|stream| live.contains(stream));
    }
}

impl Drop for WantingLook<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state.locked();
        state.wanting = state.wanting.saturating_sub(1);
    }
}

//! State shared by an analyst's scans of its streams.

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
    /// Queue of its reports to the panel.
    pub(super) table: Option<PanelQueue>,
    pub(super) leaving: CancellationToken,
    state: Mutex<SharedState>,
}

#[derive(Debug, Default)]
struct SharedState {
    /// Last reported failure, by stream.
    complaints: HashMap<StreamName, String>,
    /// Position in the chain of the model that answered last.
    answered_by: usize,
    /// Scans waiting for a response.
    wanting: usize,
    /// Streams whose scan failed and is to be restarted.
    crashed: HashSet<StreamName>,
}

/// Marks a scan as waiting for a response, until it is dropped.
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

    /// Sets the status, unless it reports a failed scan, which other streams
    /// must not hide.
    pub(super) fn say(&self, state: &str) {
        if self.state.locked().crashed.is_empty() {
            self.context.board.say(self.name(), state);
        }
    }

    /// Scan interval; longer while the budget is running out.
    pub(super) fn interval(&self) -> Duration {
        let interval = self.member.config.interval;
        let hosted = self.member.chain.current(&self.context).is_hosted();
        if hosted && self.context.budget.step() >= BudgetStep::LongerIntervals {
            interval * 2
        } else {
            interval
        }
    }

    /// Reports a model switch in log and output, once.
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

    /// Marks a scan as waiting for a response.
    pub(super) fn want(&self) -> WantingLook<'_> {
        self.state.locked().wanting += 1;
        self.context.board.wanting(self.name());
        WantingLook(self)
    }

    /// Counts an answer. The waiting time of other scans restarts now, since
    /// the model does respond.
    pub(super) fn looked(&self, outcome: &'static str, findings: u64) {
        let (name, board) = (self.name(), &self.context.board);
        board.looked(name, outcome, findings);
        if self.state.locked().wanting > 1 {
            board.wanting(name);
        }
    }

    /// Reports a blocking failure in log and output: once, not for each attempt
    /// or stream.
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

    /// Reports that a failure is over, unless another stream still has it.
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

    /// Marks the scan of a stream as failed, until it is restarted.
    pub(super) fn crashed(&self, stream: &StreamName) {
        self.state.locked().crashed.insert(stream.clone());
        self.context.board.failed(self.name());
    }

    pub(super) fn restarted(&self, stream: &StreamName) {
        self.state.locked().crashed.remove(stream);
    }

    /// Drops streams that have ended.
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

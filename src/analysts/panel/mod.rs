//! Analyst discussion: a report of one analyst is put to the others, once.
//!
//! Opinions are independent: an analyst scans the screen without the opinions
//! of others. When its finding raises an incident to the panel's severity, the
//! others are each asked once, with the frame and the report, from their own
//! point of view; then one reviewer settles severity and confidence on the
//! basis of all opinions. An analyst that answered is not asked twice, and
//! disagreement is stored as dissent. Only a finding of higher severity is put
//! to all of them again; a failed request is retried later.
//!
//! Discussions run one at a time, within an hourly limit and a bounded queue. An
//! incident is queued once.

mod exchange;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use uuid::Uuid;

use watchtower_base::sync::Locked as _;
use watchtower_domain::finding::{Finding, Severity, WATCHTOWER};
use watchtower_domain::incident::{Incident, Opinion, Stance, Status};
use watchtower_screen::frame::Frame;

use super::{AgentContext, AgentSet};
use crate::budget::BudgetStep;
use crate::metrics::PanelEnd;
use crate::settings::PanelConfig;

/// Maximum reports queued for the panel; each holds its frame.
const WAITING: usize = 8;
/// Discussed incidents held in memory, in addition to those stored.
const REMEMBERED: usize = 1000;
const HOUR: Duration = Duration::from_secs(3600);
/// First retry interval of failed requests for opinions; it doubles each time,
/// so that an outage of an hour is bridged.
const AGAIN: Duration = Duration::from_secs(300);
const MOST_TRIES: u32 = 5;

/// Finding of an analyst, and its frame before redaction.
#[derive(Debug)]
pub(crate) struct ReportedFinding {
    finding: Arc<Finding>,
    frame: Arc<Frame>,
    /// Number of earlier attempts.
    tries: u32,
}

/// Sending end of the queue to the panel.
#[derive(Debug, Clone)]
pub(crate) struct PanelQueue {
    reports: mpsc::Sender<ReportedFinding>,
    agents: watch::Receiver<AgentSet>,
    put: PanelIncidents,
}

/// Incidents queued for the panel or discussed, with their severity at the
/// time: repeats must not displace others.
#[derive(Debug, Clone, Default)]
pub(crate) struct PanelIncidents(Arc<Mutex<VecDeque<(Uuid, Severity)>>>);

impl PanelIncidents {
    /// Adds it unless present; false when `send` finds the queue full.
    fn add(&self, id: Uuid, severity: Severity, send: impl FnOnce() -> bool) -> bool {
        let mut put = self.0.locked();
        // `Severity` is ordered from the highest down.
        if put
            .iter()
            .any(|(other, bad)| *other == id && *bad <= severity)
        {
            return true;
        }
        if !send() {
            return false;
        }
        put.retain(|(other, _)| *other != id);
        if put.len() == REMEMBERED {
            put.pop_front();
        }
        put.push_back((id, severity));
        true
    }

    /// Allows another report, unless one of higher severity is queued.
    fn remove(&self, id: Uuid, severity: Severity) {
        let mut put = self.0.locked();
        put.retain(|one| *one != (id, severity));
    }
}

impl PanelQueue {
    pub(crate) fn new(agents: watch::Receiver<AgentSet>) -> (Self, PanelBacklog) {
        let (reports, waiting) = mpsc::channel(WAITING);
        let put = PanelIncidents::default();
        let table = Self {
            reports,
            agents,
            put: put.clone(),
        };
        let reports = waiting;
        (table, PanelBacklog { reports, put })
    }

    /// Queues a finding if it concerns the panel. Never waits: a panel that
    /// can't keep up holds fewer discussions.
    pub(crate) fn report(&self, context: &AgentContext, finding: Arc<Finding>, frame: &Arc<Frame>) {
        if !concerns(&self.agents.borrow().panel, &finding) {
            return;
        }
        let Some(id) = finding.incident else {
            return;
        };
        let severity = finding.severity;
        let report = ReportedFinding {
            finding,
            frame: Arc::clone(frame),
            tries: 0,
        };
        let send = || self.reports.try_send(report).is_ok();
        if !self.put.add(id, severity, send) {
            context.metrics.panel(PanelEnd::Crowded);
            tracing::warn!("panel queue full: finding not discussed");
        }
    }
}

fn concerns(panel: &PanelConfig, finding: &Finding) -> bool {
    // `Severity` is ordered from the highest down.
    panel.enabled && finding.severity <= panel.severity && finding.agent != WATCHTOWER
}

/// Queue of reports to the panel.
#[derive(Debug)]
pub(crate) struct PanelBacklog {
    reports: mpsc::Receiver<ReportedFinding>,
    put: PanelIncidents,
}

/// Task that holds the panel discussions.
#[derive(Debug)]
pub(crate) struct PanelRunner {
    waiting: PanelBacklog,
    agents: watch::Receiver<AgentSet>,
    context: AgentContext,
    /// Reports with failed requests for opinions, each with its retry time.
    again: Vec<(Instant, ReportedFinding)>,
    /// Start times of the discussions of the last hour.
    held: VecDeque<Instant>,
    /// True once the hour's limit was reported.
    rests: bool,
}

impl PanelRunner {
    pub(crate) fn new(
        waiting: PanelBacklog,
        agents: watch::Receiver<AgentSet>,
        context: AgentContext,
    ) -> Self {
        Self {
            waiting,
            agents,
            context,
            again: Vec::new(),
            held: VecDeque::new(),
            rests: false,
        }
    }

    /// Runs until the last reporting analyst is gone.
    pub(crate) async fn run(mut self) {
        loop {
            let next = (0..self.again.len()).min_by_key(|at| self.again[*at].0);
            let time = next.map(|at| self.again[at].0);
            let due = async {
                match time {
                    Some(time) => tokio::time::sleep_until(time).await,
                    None => std::future::pending().await,
                }
            };
            let report = tokio::select! {
                report = self.waiting.reports.recv() => report,
                () = due => next.map(|at| self.again.swap_remove(at).1),
            };
            match report {
                Some(report) => self.put(report).await,
                None => return,
            }
        }
    }

    async fn put(&mut self, mut report: ReportedFinding) {
        let (id, severity) = (report.finding.incident, report.finding.severity);
        let Some(id) = id else {
            return;
        };
        match self.take(id, &report).await {
            ReportHandling::Done => {}
            ReportHandling::Failed if report.tries < MOST_TRIES && self.again.len() < WAITING => {
                let pause = AGAIN * 2_u32.pow(report.tries);
                report.tries += 1;
                self.again.push((Instant::now() + pause, report));
            }
            ReportHandling::Failed | ReportHandling::Not => self.waiting.put.remove(id, severity),
        }
    }

    async fn take(&mut self, id: Uuid, report: &ReportedFinding) -> ReportHandling {
        let agents = self.agents.borrow_and_update().clone();
        let detail = self.context.findings.read(move |store| store.incident(id));
        let incident = match detail.await {
            Ok(Some(detail)) => detail.incident,
            Ok(None) => return ReportHandling::Not,
            Err(error) => {
                tracing::error!(%error, "finding not discussed");
                return ReportHandling::Not;
            }
        };
        let severity = report.finding.severity;
        if incident.status == Status::Closed || !concerns(&agents.panel, &report.finding) {
            return ReportHandling::Not;
        }
        let Some((peers, before)) = open_to(&agents, &incident, severity) else {
            return ReportHandling::Done;
        };
        // The budget step was already logged.
        if self.context.budget.step() >= BudgetStep::PanelOff {
            self.context.metrics.panel(PanelEnd::OverBudget);
            return ReportHandling::Not;
        }
        if !self.may_hold(agents.panel.per_hour).await {
            return ReportHandling::Not;
        }
        self.held.push_back(Instant::now());
        match exchange::hold(report, &agents, &peers, before, &self.context).await {
            Some(held) => {
                self.context.metrics.panel(held.end);
                if held.failed {
                    ReportHandling::Failed
                } else {
                    ReportHandling::Done
                }
            }
            // Not counted in the hour, and may be reported again.
            None => {
                self.held.pop_back();
                ReportHandling::Not
            }
        }
    }

    /// True within the hourly limit; reaching it is reported once.
    async fn may_hold(&mut self, per_hour: usize) -> bool {
        while self.held.front().is_some_and(|at| at.elapsed() >= HOUR) {
            self.held.pop_front();
        }
        if self.held.len() < per_hour {
            self.rests = false;
            return true;
        }
        self.context.metrics.panel(PanelEnd::OverHour);
        if !std::mem::replace(&mut self.rests, true) {
            let said = format!("discussion limit reached: {per_hour}/h ([panel] per_hour)");
            tracing::warn!("{said}");
            self.context.findings.note(WATCHTOWER, &said).await;
        }
        false
    }
}

/// Outcome of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReportHandling {
    /// Repeats need not be reported.
    Done,
    /// Failed requests are to be retried.
    Failed,
    Not,
}

/// Indices of the analysts still to be asked about an incident of that
/// severity, and earlier opinions; `None` if no analyst is left.
fn open_to(
    agents: &AgentSet,
    incident: &Incident,
    severity: Severity,
) -> Option<(Vec<usize>, Vec<Opinion>)> {
    let said = incident.opinions.iter();
    let said: Vec<&Opinion> = said.filter(|one| one.is_of(severity)).collect();
    if said.is_empty() {
        let peers = peers(agents, incident);
        return (!peers.is_empty()).then_some((peers, Vec::new()));
    }
    let (failed, before): (Vec<&Opinion>, Vec<&Opinion>) =
        said.into_iter().partition(|one| one.failed);
    let members = agents.members.iter().enumerate();
    let peers: Vec<usize> = members
        .filter(|(_, member)| failed.iter().any(|one| one.agent == member.config.name()))
        .map(|(index, _)| index)
        .collect();
    let newest = before.iter().map(|one| one.at).max();
    let unsettled = before.iter().any(|one| one.stance != Stance::NoView)
        && incident.verdict.as_ref().map(|verdict| verdict.at) < newest;
    let before: Vec<Opinion> = before.into_iter().cloned().collect();
    (!peers.is_empty() || unsettled).then_some((peers, before))
}

/// Indices in the agent set of analysts of its stream that did not report it,
/// up to the limit.
fn peers(agents: &AgentSet, incident: &Incident) -> Vec<usize> {
    let others = agents.members.iter().enumerate().filter(|(_, member)| {
        let streams = &member.config.streams;
        let spoke = incident
            .agents
            .iter()
            .any(|agent| agent == member.config.name());
        // The built-in injection detector gives no opinions.
        let is_guard = member.config.name() == WATCHTOWER;
        !spoke && !is_guard && (streams.is_empty() || streams.contains(&incident.stream))
    });
    let others = others.map(|(index, _)| index);
    others.take(agents.panel.opinions).collect()
}

#[cfg(test)]
mod tests;

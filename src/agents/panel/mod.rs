//! The panel: what one analyst reports is put before the others, once.
//!
//! Opinions are formed blind: an analyst looks at the screen without knowing
//! what the others say. When its finding makes an incident bad enough, the
//! others are each asked once, with the picture and the report, from their own
//! point of view; then one evidence critic, who sees all of it, settles
//! severity and confidence. Nobody is asked twice and nobody is talked round:
//! who disagrees stays on record as dissent.
//!
//! One panel at a time, so many an hour, and no more of them waiting than can
//! be held.

mod exchange;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use uuid::Uuid;

use super::{Meeting, Staff};
use crate::budget::Step;
use crate::config::PanelConfig;
use crate::finding::{Finding, WATCHTOWER};
use crate::incident::{Incident, Status};
use crate::media::Frame;
use crate::metrics::PanelEnd;

/// Reports that wait for the panel; each holds its picture.
const WAITING: usize = 8;
/// Incidents remembered as asked about, besides what their records say.
const REMEMBERED: usize = 1000;
const HOUR: Duration = Duration::from_secs(3600);

/// A finding of a member, and the picture it was made on with nothing hidden.
#[derive(Debug)]
pub(super) struct Report {
    finding: Arc<Finding>,
    frame: Arc<Frame>,
}

/// Where members put what they report.
#[derive(Debug, Clone)]
pub(super) struct Table {
    reports: mpsc::Sender<Report>,
    staff: watch::Receiver<Staff>,
}

impl Table {
    pub(super) fn new(staff: watch::Receiver<Staff>) -> (Self, mpsc::Receiver<Report>) {
        let (reports, waiting) = mpsc::channel(WAITING);
        (Self { reports, staff }, waiting)
    }

    /// Never waits: the panel that can't keep up holds fewer.
    pub(super) fn report(&self, meeting: &Meeting, finding: Arc<Finding>, frame: &Arc<Frame>) {
        if !concerns(&self.staff.borrow().panel, &finding) {
            return;
        }
        let frame = Arc::clone(frame);
        if self.reports.try_send(Report { finding, frame }).is_err() {
            meeting.metrics.panel(PanelEnd::Crowded);
            tracing::warn!("the panel is busy: a report is not put to it");
        }
    }
}

fn concerns(panel: &PanelConfig, finding: &Finding) -> bool {
    // Worst comes first.
    panel.enabled && finding.severity <= panel.severity && finding.agent != WATCHTOWER
}

/// Whoever calls the panel together.
#[derive(Debug)]
pub(super) struct Convener {
    pub(super) reports: mpsc::Receiver<Report>,
    pub(super) staff: watch::Receiver<Staff>,
    pub(super) meeting: Meeting,
    asked: VecDeque<Uuid>,
    /// When panels of the last hour began.
    held: VecDeque<Instant>,
    /// Whether it was said that the hour's panels are used up.
    rests: bool,
}

impl Convener {
    pub(super) fn new(
        reports: mpsc::Receiver<Report>,
        staff: watch::Receiver<Staff>,
        meeting: Meeting,
    ) -> Self {
        Self {
            reports,
            staff,
            meeting,
            asked: VecDeque::new(),
            held: VecDeque::new(),
            rests: false,
        }
    }

    /// Ends when nobody is left who could report.
    pub(super) async fn run(mut self) {
        while let Some(report) = self.reports.recv().await {
            self.take(report).await;
        }
    }

    async fn take(&mut self, report: Report) {
        let staff = self.staff.borrow_and_update().clone();
        let Some(id) = report
            .finding
            .incident
            .filter(|id| !self.asked.contains(id))
        else {
            return;
        };
        let incident = match self.meeting.findings.incident(id).await {
            Ok(Some(dossier)) => dossier.incident,
            Ok(None) => return,
            Err(error) => {
                tracing::error!(%error, "a report is not put to the panel");
                return;
            }
        };
        if !is_open(&incident) || !concerns(&staff.panel, &report.finding) {
            return;
        }
        let peers = peers(&staff, &incident);
        // That it rests was said when the budget came to that.
        if self.meeting.budget.step() >= Step::PanelOff {
            self.meeting.metrics.panel(PanelEnd::OverBudget);
            return;
        }
        if peers.is_empty() || !self.may_hold(staff.panel.per_hour).await {
            return;
        }
        if self.asked.len() == REMEMBERED {
            self.asked.pop_front();
        }
        self.asked.push_back(id);
        self.held.push_back(Instant::now());
        match exchange::hold(&report, &staff, &peers, &self.meeting).await {
            Some(end) => self.meeting.metrics.panel(end),
            // Not counted in the hour, and to be asked about again.
            None => {
                self.asked.pop_back();
                self.held.pop_back();
            }
        }
    }

    /// Within what an hour allows; when it is used up that is said, once.
    async fn may_hold(&mut self, per_hour: usize) -> bool {
        while self.held.front().is_some_and(|at| at.elapsed() >= HOUR) {
            self.held.pop_front();
        }
        if self.held.len() < per_hour {
            self.rests = false;
            return true;
        }
        self.meeting.metrics.panel(PanelEnd::OverHour);
        if !std::mem::replace(&mut self.rests, true) {
            let said = format!("the panel rests: {per_hour} in the last hour ([panel] per_hour)");
            tracing::warn!("{said}");
            self.meeting.findings.note(WATCHTOWER, &said).await;
        }
        false
    }
}

fn is_open(incident: &Incident) -> bool {
    incident.status != Status::Closed && incident.opinions.is_empty()
}

/// Places in the staff of those who have not spoken to it, and whose stream it
/// is; no more than may be asked.
fn peers(staff: &Staff, incident: &Incident) -> Vec<usize> {
    let others = staff.members.iter().enumerate().filter(|(_, member)| {
        let streams = &member.config.streams;
        let spoke = incident
            .agents
            .iter()
            .any(|agent| agent == member.config.name());
        // The guard has no point of view.
        let is_guard = member.config.name() == WATCHTOWER;
        !spoke && !is_guard && (streams.is_empty() || streams.contains(&incident.stream))
    });
    let others = others.map(|(index, _)| index);
    others.take(staff.panel.opinions).collect()
}

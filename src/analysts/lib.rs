//! Analysts: one supervised task per persona.
//!
//! An analyst takes the newest frames off the bus, stream by stream, asks its
//! model, and publishes the findings. Rules scan every OCR reading. Hosted
//! models are asked at a limited rate, skip frames they were too slow for, and
//! are never paid twice for an unchanged frame. A blocked analyst reports the
//! reason in its log and status.

pub mod settings;

pub mod budget;
pub mod metrics;
pub mod series;
pub mod watchdog;

pub mod agents_file;

mod agent;
mod ask;
mod budgeted_ask;
mod changes;
mod governor;
mod grounding;
mod memory;
mod model_chain;
mod pace;
mod panel;
mod prompt_leak;
mod transcripts;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

pub use crate::ask::AskService;
use crate::budget::Budget;
use crate::metrics::AnalystMetrics;
pub use crate::model_chain::{ChainLink, ModelChain};
use crate::series::settings::WatchConfig;
use crate::settings::{AgentConfig, PanelConfig};
pub use agent::Agent;
pub use governor::{Governor, GovernorSettings};
use panel::{PanelQueue, PanelRunner};
use watchtower_base::backoff::Backoff;
use watchtower_domain::agent_status::AgentBoard;
use watchtower_domain::finding::Severity;
use watchtower_media::audio_bus::AudioBus;
use watchtower_models::language::AnswerLanguage;
use watchtower_record::Record;
use watchtower_screen::frame::Frame;
use watchtower_screen::frames::FrameBus;
use watchtower_screen::redact::{OwnPatterns, Redact, RedactedFrame, mask_besides};

/// Analyst and its model chain.
#[derive(Debug, Clone, PartialEq)]
pub struct AgentSpec {
    pub config: AgentConfig,
    pub chain: ModelChain,
}

/// Analysts, settings of their panel, and the model chain for questions.
/// Replaced as a whole on a reload.
#[derive(Debug, Clone)]
pub struct AgentSet {
    pub members: Arc<[AgentSpec]>,
    pub panel: PanelConfig,
    /// Models that answer people's questions, where a hosted one is configured.
    pub ask_service: Option<ModelChain>,
    /// Language of those answers.
    pub ask_language: AnswerLanguage,
    /// Numbers on the screens that analysts report.
    pub watches: Arc<[WatchConfig]>,
}

/// Policy of redaction (what may be sent) and grounding (what counts as
/// verified).
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// Kinds of secrets masked in frames and texts sent to the model.
    pub redact: Redact,
    /// Additional redaction patterns of the user.
    pub own: OwnPatterns,
    /// Kinds of secrets masked in stored evidence.
    pub redact_evidence: Redact,
    /// Maximum severity of a finding whose quotes are not on the screen.
    pub ungrounded: Severity,
}

impl Policy {
    /// Frame redacted for the model; `None` while its text is not read.
    fn redacted(&self, frame: &Arc<Frame>) -> Option<RedactedFrame> {
        RedactedFrame::of(&frame.hiding(&self.own), self.redact)
    }

    /// Frame redacted for the model, fully masked while its text is not read.
    fn redacted_or_masked(&self, frame: &Arc<Frame>) -> RedactedFrame {
        RedactedFrame::or_masked(&frame.hiding(&self.own), self.redact)
    }

    /// Masks a text that has no frame for the model.
    fn masked(&self, text: &str) -> String {
        mask_besides(text, self.redact, &self.own).into_owned()
    }
}

/// Handles of the analysts to the other parts of the server.
#[derive(Debug, Clone)]
pub struct AgentContext {
    pub frames: FrameBus,
    pub findings: Record,
    pub board: AgentBoard,
    pub metrics: Arc<AnalystMetrics>,
    pub budget: Budget,
    /// Sound of the streams.
    pub audio: AudioBus,
}

/// Runs the analysts until `shutdown`, which cancels requests in flight. An
/// analyst that is removed or changed before that ends after its request in
/// flight.
pub async fn run(
    mut agents: watch::Receiver<AgentSet>,
    context: AgentContext,
    shutdown: CancellationToken,
) {
    let (table, reports) = PanelQueue::new(agents.clone());
    let runner = PanelRunner::new(reports, agents.clone(), context.clone());
    let mut tasks = JoinSet::new();
    let closing = shutdown.clone();
    let panel = async move {
        closing.run_until_cancelled(runner.run()).await;
    };
    tasks.spawn(panel.instrument(tracing::info_span!("panel")));
    tasks.spawn(budget::persist::run(context.clone(), shutdown.clone()));
    let mut at_work: Vec<(AgentSpec, CancellationToken)> = Vec::new();
    loop {
        let members = Arc::clone(&agents.borrow_and_update().members);
        let hears = members.iter().any(|member| member.chain.first().hears);
        context.audio.keep_recent(hears);
        at_work.retain(|(member, leaving)| {
            let stays = members.iter().any(|other| other == member);
            if !stays {
                leaving.cancel();
            }
            stays
        });
        for member in members.iter() {
            if at_work.iter().any(|(other, _)| other == member) {
                continue;
            }
            let leaving = CancellationToken::new();
            at_work.push((member.clone(), leaving.clone()));
            let span = tracing::info_span!("agent", name = member.config.name());
            let supervisor = AgentSupervisor {
                member: member.clone(),
                context: context.clone(),
                table: table.clone(),
                leaving,
            };
            tasks.spawn(supervisor.supervise(shutdown.clone()).instrument(span));
        }
        tokio::select! {
            () = shutdown.cancelled() => break,
            Ok(()) = agents.changed() => {}
            Some(Err(error)) = tasks.join_next() => {
                tracing::error!(%error, "analyst supervisor failed");
            }
            // Without analysts there is still a shutdown to wait for.
            else => shutdown.cancelled().await,
        }
    }
    while tasks.join_next().await.is_some() {}
}

/// Supervisor of one analyst's task.
struct AgentSupervisor {
    member: AgentSpec,
    context: AgentContext,
    table: PanelQueue,
    leaving: CancellationToken,
}

impl AgentSupervisor {
    /// Restarts the analyst with growing backoff when it fails. Its scans fail
    /// and are restarted one by one.
    async fn supervise(self, shutdown: CancellationToken) {
        const LONGEST: Duration = Duration::from_secs(60);
        let mut backoff = Backoff::up_to(LONGEST);
        loop {
            let agent = Agent::seated(
                self.member.clone(),
                self.context.clone(),
                self.table.clone(),
                (self.leaving.clone(), shutdown.clone()),
            );
            let Err(failure) = tokio::spawn(agent.run().in_current_span()).await else {
                return;
            };
            let wait = backoff.next(None);
            tracing::error!(reason = %failure, wait_ms = wait.as_millis() as u64, "analyst failed, restarting");
            self.context.board.failed(self.member.config.name());
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.leaving.cancelled() => return,
                () = shutdown.cancelled() => return,
            }
        }
    }
}

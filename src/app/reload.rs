//! Reload of `agents.toml` while the server runs.
//!
//! The file is polled twice a second, which works on every file system and with
//! every way of saving; a text counts once it is the same in two polls, so that
//! a half-written file is not loaded.

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use watchtower_analysts::AgentSet;
use watchtower_analysts::metrics::AnalystMetrics;
use watchtower_analysts::settings::{FrameDemand, Panel};
use watchtower_domain::agent_status::AgentBoard;
use watchtower_domain::finding::WATCHTOWER;
use watchtower_record::Record;
use watchtower_screen::redact::OwnPatterns;

use crate::build_agents::AgentFactory;

const EVERY: Duration = Duration::from_millis(500);
/// Maximum size of the file in bytes.
const MOST_BYTES: u64 = 1024 * 1024;

/// Watcher of the file.
pub(super) struct Reload {
    pub(super) file: PathBuf,
    pub(super) factory: AgentFactory,
    pub(super) agents: watch::Sender<AgentSet>,
    pub(super) board: AgentBoard,
    pub(super) findings: Record,
    pub(super) metrics: std::sync::Arc<AnalystMetrics>,
    /// Frames that the analysts need decoded.
    pub(super) demand: watch::Sender<FrameDemand>,
    /// Redaction patterns of the OCR reader; `None` if OCR was off at the
    /// start.
    pub(super) patterns: Option<watch::Sender<OwnPatterns>>,
}

/// Content of the file, or the reason it can't be read.
type FileContent = Result<String, String>;

impl Reload {
    pub(super) async fn run(mut self, shutdown: CancellationToken) {
        // Unset at first: the file may have been replaced since the server started.
        let mut taken: Option<FileContent> = None;
        let mut seen = None;
        let watching = async {
            loop {
                tokio::time::sleep(EVERY).await;
                let now = Some(read(&self.file).await);
                if now == seen && now != taken {
                    if let Some(text) = now.as_ref().filter(|text| !self.is_in_force(text)) {
                        self.take(text).await;
                    }
                    taken.clone_from(&now);
                }
                seen = now;
            }
        };
        shutdown.run_until_cancelled(watching).await;
    }

    fn is_in_force(&self, text: &FileContent) -> bool {
        let panel = text
            .as_ref()
            .ok()
            .and_then(|text| Panel::parse(text, "").ok());
        panel.is_some_and(|panel| panel == *self.factory.panel())
    }

    /// An invalid text is only logged.
    async fn take(&mut self, text: &FileContent) {
        let name = self.file.display().to_string();
        let changed = match text {
            Ok(text) => self.change(text, &name),
            Err(reason) => Err(format!("failed to read {name}: {reason}")),
        };
        let message = match changed {
            Ok(message) => {
                tracing::info!("{message}");
                message
            }
            Err(reason) => {
                let message = format!("analyst configuration not reloaded: {reason}");
                tracing::error!("{message}");
                message
            }
        };
        self.findings.note(WATCHTOWER, &message).await;
    }

    fn change(&mut self, text: &str, name: &str) -> Result<String, String> {
        let panel = Panel::parse(text, name).map_err(|faults| faults.to_string())?;
        let before = self.agents.borrow().clone();
        if self.patterns.is_none() && self.factory.would_read(&panel) {
            return Err(format!(
                "{name} requires OCR, which is not running: restart the server"
            ));
        }
        let demand = panel.frame_demand();
        let (agents, statuses) =
            (self.factory.change(panel, &before)).map_err(|e| format!("{e:#}"))?;
        let names = |agents: &AgentSet| -> Vec<String> {
            let names = agents.members.iter().map(|member| member.config.name());
            let names = names.filter(|name| *name != WATCHTOWER);
            names.map(str::to_owned).collect()
        };
        let (old, new) = (names(&before), names(&agents));
        let list = |of: &[String], not_in: &[String]| -> Vec<String> {
            let only = of.iter().filter(|name| !not_in.contains(name));
            only.cloned().collect()
        };
        let (came, left) = (list(&new, &old), list(&old, &new));
        let stayed = agents
            .members
            .iter()
            .filter(|member| old.iter().any(|name| name == member.config.name()));
        let changed: Vec<String> = stayed
            .filter(|member| !before.members.iter().any(|other| other == *member))
            .map(|member| member.config.name().to_owned())
            .collect();
        for name in &came {
            self.metrics.introduce_agent(name);
        }
        if let Some(patterns) = &self.patterns {
            patterns.send_replace(self.factory.panel().model.redact_patterns.clone());
        }
        self.board.restaff(statuses);
        self.agents.send_replace(agents);
        self.demand.send_replace(demand);
        let part = |what: &str, names: &[String]| match names {
            [] => String::new(),
            names => format!("; {what}: {}", names.join(", ")),
        };
        Ok(format!(
            "{name} reloaded{}{}{}",
            part("added", &came),
            part("changed", &changed),
            part("removed", &left),
        ))
    }
}

async fn read(file: &PathBuf) -> FileContent {
    let reason = |error: std::io::Error| error.to_string();
    let size = tokio::fs::metadata(file).await.map_err(reason)?.len();
    if size > MOST_BYTES {
        return Err(format!("{size} bytes, maximum {MOST_BYTES}"));
    }
    tokio::fs::read_to_string(file).await.map_err(reason)
}

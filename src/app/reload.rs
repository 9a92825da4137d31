//! Reload of `agents.toml` while the server runs.
//!
//! The file is polled twice a second, which works on every file system and with
//! every way of saving; a text counts once it is the same in two polls, so that
//! a half-written file is not loaded. Changes from the console are validated
//! first, written, and take effect at once.

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use watchtower_analysts::AgentSet;
use watchtower_analysts::agents_file::{
    self, AgentEdit, AgentEditRequest, AgentsFileEdited, AgentsFileRequest, AgentsFileRequests,
    AgentsFileShown, EditRefusal, version_of,
};
use watchtower_analysts::metrics::AnalystMetrics;
use watchtower_analysts::settings::{FrameDemand, Panel};
use watchtower_domain::agent_status::AgentBoard;
use watchtower_domain::finding::WATCHTOWER;
use watchtower_record::Record;
use watchtower_record::store::ConfigurationChange;
use watchtower_screen::redact::OwnPatterns;

use crate::agents_file::{replace, unwritable};
use crate::build_agents::{AgentFactory, PlannedAgents};

const EVERY: Duration = Duration::from_millis(500);
/// Maximum size of the file in bytes.
const MOST_BYTES: u64 = 1024 * 1024;
/// Changes shown in the console.
const SHOWN: usize = 20;

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
    /// Requests of the console.
    pub(super) requests: AgentsFileRequests,
    /// Time of the last change that took effect.
    pub(super) since: Timestamp,
}

/// Content of the file, or the reason it can't be read.
type FileContent = Result<String, String>;

impl Reload {
    pub(super) async fn run(mut self, shutdown: CancellationToken) {
        // Unset at first: the file may have been replaced since the server started.
        let mut taken: Option<FileContent> = None;
        let mut seen = None;
        let mut polls = tokio::time::interval(EVERY);
        polls.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let watching = async {
            loop {
                tokio::select! {
                    Some(request) = self.requests.recv() => self.answer(request).await,
                    _ = polls.tick() => {
                        let now = Some(read(&self.file).await);
                        if now == seen && now != taken {
                            if let Some(text) = now.as_ref().filter(|text| !self.is_in_force(text)) {
                                self.take(text).await;
                            }
                            taken.clone_from(&now);
                        }
                        seen = now;
                    }
                }
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

    async fn answer(&mut self, request: AgentsFileRequest) {
        // The user may have gone; what was written is kept all the same.
        match request {
            AgentsFileRequest::Show(reply) => drop(reply.send(self.shown().await)),
            AgentsFileRequest::Edit(request, reply) => {
                drop(reply.send(self.edit(*request).await));
            }
        }
    }

    async fn shown(&self) -> AgentsFileShown {
        let text = read(&self.file).await;
        let listed = text
            .as_ref()
            .map_err(String::clone)
            .and_then(|text| agents_file::listed(text, &self.file));
        let changes = self.findings.read(|store| {
            store.configuration_changes(Timestamp::UNIX_EPOCH, Timestamp::MAX, SHOWN)
        });
        AgentsFileShown {
            file: self.file.display().to_string(),
            in_force: self.is_in_force(&text),
            version: text.as_deref().ok().map(version_of),
            faults: listed.as_ref().err().cloned(),
            items: listed.unwrap_or_default(),
            unwritable: unwritable(&self.file),
            since: self.since,
            changes: changes.await.unwrap_or_default(),
        }
    }

    /// Validates a change as `watchtower check` does, writes it, and lets it take
    /// effect.
    async fn edit(&mut self, request: AgentEditRequest) -> Result<AgentsFileEdited, EditRefusal> {
        let name = self.file.display().to_string();
        let text = read(&self.file)
            .await
            .map_err(|why| EditRefusal::Unavailable(format!("failed to read {name}: {why}")))?;
        let before = agents_file::listed(&text, &self.file).unwrap_or_default();
        let planned = agents_file::plan(&text, &request, &self.file)?;
        if planned.text.len() as u64 > MOST_BYTES {
            let size = planned.text.len();
            let fault = format!("{name}: {size} bytes, maximum {MOST_BYTES}");
            return Err(EditRefusal::Faults(fault));
        }
        let agents = self
            .plan(planned.panel, &name)
            .map_err(EditRefusal::Faults)?;
        let mut edited = AgentsFileEdited {
            written: false,
            version: version_of(&planned.text),
            block: planned.block,
            in_force_since: None,
        };
        if request.dry_run {
            return Ok(edited);
        }
        let (file, new) = (self.file.clone(), planned.text);
        let write = move || match unwritable(&file) {
            Some(why) => Err(why),
            None => replace(&file, &text, &new).map_err(|error| error.to_string()),
        };
        let written = tokio::task::spawn_blocking(write).await;
        if let Err(why) = written.unwrap_or_else(|error| Err(error.to_string())) {
            return Err(EditRefusal::Unwritable {
                file: name,
                why,
                wanted: edited.block,
            });
        }
        let message = self.adopt(agents, &name);
        let change = ConfigurationChange {
            at: self.since,
            what: described(&request.edit, &before),
            by: request.by,
        };
        tracing::info!(by = change.by, "{message}");
        let said = format!("{message} ({} by {})", change.what, change.by);
        self.findings.note(WATCHTOWER, &said).await;
        // It is done, whether or not it can be logged.
        if let Err(error) = self.findings.write(change).await {
            tracing::warn!(%error, "failed to log a change of the configuration");
        }
        edited.written = true;
        edited.in_force_since = Some(self.since);
        Ok(edited)
    }

    fn change(&mut self, text: &str, name: &str) -> Result<String, String> {
        let panel = Panel::parse(text, name).map_err(|faults| faults.to_string())?;
        let planned = self.plan(panel, name)?;
        Ok(self.adopt(planned, name))
    }

    fn plan(&self, panel: Panel, name: &str) -> Result<PlannedAgents, String> {
        if self.patterns.is_none() && self.factory.would_read(&panel) {
            return Err(format!(
                "{name} requires OCR, which is not running: restart the server"
            ));
        }
        let now = self.agents.borrow().clone();
        let planned = self.factory.plan(panel, &now);
        planned.map_err(|error| format!("{error:#}"))
    }

    fn adopt(&mut self, planned: PlannedAgents, name: &str) -> String {
        let before = self.agents.borrow().clone();
        let (agents, statuses) = self.factory.adopt(planned);
        let demand = self.factory.panel().frame_demand();
        self.since = Timestamp::now();
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
        format!(
            "{name} reloaded{}{}{}",
            part("added", &came),
            part("changed", &changed),
            part("removed", &left),
        )
    }
}

/// Change in words; `before` are the analysts until then.
fn described(edit: &AgentEdit, before: &[agents_file::AgentBlock]) -> String {
    let was = before.iter().find(|block| block.name == edit.name());
    match edit {
        AgentEdit::Add(block) => format!("analyst {} added", block.name),
        AgentEdit::Remove(name) => format!("analyst {name} removed"),
        AgentEdit::Change(name, block) => {
            let resumed = was.map(|was| agents_file::AgentBlock {
                enabled: block.enabled,
                ..was.clone()
            });
            let only_enabled = resumed.as_ref() == Some(block);
            let enabled_before = was.is_some_and(|was| was.enabled);
            match (
                only_enabled && enabled_before != block.enabled,
                block.enabled,
            ) {
                (true, false) => format!("analyst {name} paused"),
                (true, true) => format!("analyst {name} resumed"),
                (false, _) if block.name != *name => {
                    format!("analyst {name} renamed to {}", block.name)
                }
                (false, _) => format!("analyst {name} changed"),
            }
        }
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

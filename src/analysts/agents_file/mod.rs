//! Changes of `agents.toml` from the console. They are made by the one task
//! that reloads the file ([`AgentsFileRequests`] are its end), so that a
//! change, its validation and its effect are one.

mod block;
mod edit;

use std::path::Path;

use jiff::Timestamp;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use tokio::sync::{mpsc, oneshot};
use utoipa::ToSchema;

use watchtower_record::store::ConfigurationChange;

use crate::settings::Panel;
pub use block::AgentBlock;
pub use edit::AgentEdit;
use edit::EditFault;

/// Requests in the queue: people edit one after another.
const QUEUE: usize = 8;

/// Version of a text of the file.
pub fn version_of(text: &str) -> String {
    hex::encode(Sha256::digest(text.as_bytes()))
}

/// State of `agents.toml`.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct AgentsFileShown {
    /// Path as configured.
    pub file: String,
    /// Version of its text, which a change is based on; null while it can't be
    /// read.
    pub version: Option<String>,
    /// Analysts as written, in their order; empty if it is not valid.
    pub items: Vec<AgentBlock>,
    /// Reason why it can't be read, or its errors.
    pub faults: Option<String>,
    /// Reason why the server can't write it; null if it can.
    pub unwritable: Option<String>,
    /// True if the server runs with what is written there.
    pub in_force: bool,
    /// Time of the last change that took effect, or of the start.
    pub since: Timestamp,
    /// Last changes made here, newest first.
    pub changes: Vec<ConfigurationChange>,
}

/// Change as requested.
#[derive(Debug, Clone)]
pub struct AgentEditRequest {
    pub edit: AgentEdit,
    /// Version that it is based on.
    pub version: String,
    pub by: String,
    /// Validate only.
    pub dry_run: bool,
}

/// Change that is done, or validated.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct AgentsFileEdited {
    /// False if it was only validated.
    pub written: bool,
    /// Version of the text.
    pub version: String,
    /// Block of the analyst as written; null once removed.
    pub block: Option<String>,
    /// Time at which the change took effect; null if it was only validated.
    pub in_force_since: Option<Timestamp>,
}

/// Reason why a change was not made.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum EditRefusal {
    #[error("{file} was changed since it was loaded")]
    Conflict {
        file: String,
        version: String,
        /// Blocks on disk and as wanted, if any.
        current: Option<String>,
        wanted: Option<String>,
    },
    #[error("analyst {0} not found")]
    Unknown(String),
    /// Errors that `watchtower check` names too.
    #[error("{0}")]
    Faults(String),
    #[error("failed to write {file}: {why}")]
    Unwritable {
        file: String,
        why: String,
        wanted: Option<String>,
    },
    #[error("{0}")]
    Unavailable(String),
}

/// Validated change: the text to write.
#[derive(Debug)]
pub struct PlannedEdit {
    pub text: String,
    pub panel: Panel,
    /// Block after the change.
    pub block: Option<String>,
}

/// Plans a change of a text: `watchtower check` would accept the result.
pub fn plan(
    text: &str,
    request: &AgentEditRequest,
    file: &Path,
) -> Result<PlannedEdit, EditRefusal> {
    let edit = &request.edit;
    if let AgentEdit::Add(block) | AgentEdit::Change(_, block) = edit {
        let faults = block.faults();
        if !faults.is_empty() {
            return Err(EditRefusal::Faults(faults.join("\n")));
        }
    }
    let name = file.display().to_string();
    let wanted = edit::edited(text, edit);
    let block_in = |text: &str, name: Option<&str>| edit::block_text(text, name?);
    let version = version_of(text);
    if version != request.version {
        let wanted = wanted.ok();
        return Err(EditRefusal::Conflict {
            file: name,
            version,
            current: block_in(text, Some(edit.name())),
            wanted: wanted.and_then(|text| block_in(&text, edit.new_name())),
        });
    }
    let text = wanted.map_err(|fault| match fault {
        EditFault::Unknown(name) => EditRefusal::Unknown(name),
        EditFault::Text(fault) => EditRefusal::Faults(format!("{name}: {fault}")),
    })?;
    let panel = Panel::parse(&text, &name).map_err(|e| EditRefusal::Faults(e.to_string()))?;
    let block = block_in(&text, edit.new_name());
    Ok(PlannedEdit { text, panel, block })
}

/// Analysts as written in a text, if it is valid.
pub fn listed(text: &str, file: &Path) -> Result<Vec<AgentBlock>, String> {
    Panel::parse(text, &file.display().to_string()).map_err(|faults| faults.to_string())?;
    edit::blocks(text).map_err(|fault| fault.to_string())
}

/// Request to the task that owns the file, with the channel of its answer.
#[derive(Debug)]
pub enum AgentsFileRequest {
    Show(oneshot::Sender<AgentsFileShown>),
    Edit(
        Box<AgentEditRequest>,
        oneshot::Sender<Result<AgentsFileEdited, EditRefusal>>,
    ),
}

/// Receiving end of the requests.
pub type AgentsFileRequests = mpsc::Receiver<AgentsFileRequest>;

/// Sending end, for the console. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AgentsFileHandle {
    requests: mpsc::Sender<AgentsFileRequest>,
}

impl AgentsFileHandle {
    pub fn new() -> (Self, AgentsFileRequests) {
        let (requests, received) = mpsc::channel(QUEUE);
        (Self { requests }, received)
    }

    pub async fn show(&self) -> Result<AgentsFileShown, EditRefusal> {
        self.ask(AgentsFileRequest::Show).await
    }

    pub async fn edit(&self, request: AgentEditRequest) -> Result<AgentsFileEdited, EditRefusal> {
        self.ask(|reply| AgentsFileRequest::Edit(Box::new(request), reply))
            .await?
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<T>) -> AgentsFileRequest,
    ) -> Result<T, EditRefusal> {
        let (reply, answer) = oneshot::channel();
        let gone = || EditRefusal::Unavailable("the server is stopping".to_owned());
        let sent = self.requests.send(request(reply)).await;
        sent.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())
    }
}

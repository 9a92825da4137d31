//! `/api/agent-settings`: analysts of `agents.toml`, and their changes.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use watchtower_analysts::agents_file::{
    AgentBlock, AgentEdit, AgentEditRequest, AgentsFileEdited, AgentsFileShown, EditRefusal,
};

use crate::AppState;
use crate::api::incidents::person;
use crate::http::body::JsonBody;
use crate::http::problem::{Failed, PROBLEM, Problem};

/// Settings of the analysts, as written in `agents.toml`
#[utoipa::path(
    get,
    path = "/api/agent-settings",
    tag = "analysts",
    responses((status = 200, body = AgentsFileShown), Failed)
)]
pub(crate) async fn agent_settings(
    State(state): State<AppState>,
) -> Result<Json<AgentsFileShown>, EditProblem> {
    Ok(Json(state.console.agents_file.show().await?))
}

/// Analyst as sent.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AgentSettingsBody {
    /// Name of the user, 1 to 100 characters.
    #[schema(
        min_length = 1,
        max_length = 100,
        pattern = r"[^\x00-\x20\x7f-\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"
    )]
    by: String,
    /// Version of the file that the change is based on.
    #[schema(max_length = 64)]
    version: String,
    /// Validate only, and answer with the block to paste.
    #[serde(default)]
    dry_run: bool,
    agent: AgentBlock,
}

/// Removal of an analyst, as sent.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AgentRemovalBody {
    /// Name of the user, 1 to 100 characters.
    #[schema(
        min_length = 1,
        max_length = 100,
        pattern = r"[^\x00-\x20\x7f-\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"
    )]
    by: String,
    /// Version of the file that the removal is based on.
    #[schema(max_length = 64)]
    version: String,
    /// Validate only.
    #[serde(default)]
    dry_run: bool,
}

/// Adds an analyst to `agents.toml`
///
/// Validated as `watchtower check` does before anything is written; it takes
/// effect at once. The version before stays beside the file as `.bak`.
#[utoipa::path(
    post,
    path = "/api/agent-settings",
    tag = "analysts",
    request_body = AgentSettingsBody,
    responses((status = 200, body = AgentsFileEdited), NotEdited)
)]
pub(crate) async fn add_agent(
    State(state): State<AppState>,
    body: Result<JsonBody<AgentSettingsBody>, Problem>,
) -> Result<Json<AgentsFileEdited>, EditProblem> {
    let JsonBody(body) = body?;
    let edit = AgentEdit::Add(body.agent);
    edited(&state, edit, &body.by, body.version, body.dry_run).await
}

/// Replaces the settings of an analyst in `agents.toml`
///
/// Comments and order of the file stay. With another name in the body the
/// analyst is renamed, in its watches too.
#[utoipa::path(
    put,
    path = "/api/agent-settings/{name}",
    tag = "analysts",
    params(("name" = String, Path, description = "Name of the analyst")),
    request_body = AgentSettingsBody,
    responses((status = 200, body = AgentsFileEdited), NotEdited)
)]
pub(crate) async fn change_agent(
    State(state): State<AppState>,
    name: Result<Path<String>, PathRejection>,
    body: Result<JsonBody<AgentSettingsBody>, Problem>,
) -> Result<Json<AgentsFileEdited>, EditProblem> {
    let Path(name) = name.map_err(Problem::from)?;
    let JsonBody(body) = body?;
    let edit = AgentEdit::Change(name, body.agent);
    edited(&state, edit, &body.by, body.version, body.dry_run).await
}

/// Removes an analyst from `agents.toml`
#[utoipa::path(
    post,
    path = "/api/agent-settings/{name}/remove",
    tag = "analysts",
    params(("name" = String, Path, description = "Name of the analyst")),
    request_body = AgentRemovalBody,
    responses((status = 200, body = AgentsFileEdited), NotEdited)
)]
pub(crate) async fn remove_agent(
    State(state): State<AppState>,
    name: Result<Path<String>, PathRejection>,
    body: Result<JsonBody<AgentRemovalBody>, Problem>,
) -> Result<Json<AgentsFileEdited>, EditProblem> {
    let Path(name) = name.map_err(Problem::from)?;
    let JsonBody(body) = body?;
    let edit = AgentEdit::Remove(name);
    edited(&state, edit, &body.by, body.version, body.dry_run).await
}

async fn edited(
    state: &AppState,
    edit: AgentEdit,
    by: &str,
    version: String,
    dry_run: bool,
) -> Result<Json<AgentsFileEdited>, EditProblem> {
    let by = person(by)?;
    // It stands in a log of lines.
    if by.chars().any(char::is_control) {
        let detail = "by must not contain control characters";
        return Err(Problem::new(StatusCode::BAD_REQUEST, detail).into());
    }
    let request = AgentEditRequest {
        edit,
        version,
        by,
        dry_run,
    };
    Ok(Json(state.console.agents_file.edit(request).await?))
}

/// Error of a change of `agents.toml` (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EditProblem {
    #[serde(flatten)]
    problem: Problem,
    /// Version on disk, after a conflict.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    /// Block on disk, after a conflict.
    #[serde(skip_serializing_if = "Option::is_none")]
    current: Option<String>,
    /// Block as it would be written.
    #[serde(skip_serializing_if = "Option::is_none")]
    wanted: Option<String>,
}

impl From<Problem> for EditProblem {
    fn from(problem: Problem) -> Self {
        Self {
            problem,
            version: None,
            current: None,
            wanted: None,
        }
    }
}

impl From<EditRefusal> for EditProblem {
    fn from(refusal: EditRefusal) -> Self {
        let status = match &refusal {
            EditRefusal::Conflict { .. } => StatusCode::CONFLICT,
            EditRefusal::Unknown(_) => StatusCode::NOT_FOUND,
            EditRefusal::Faults(_) => StatusCode::UNPROCESSABLE_ENTITY,
            EditRefusal::Unwritable { .. } => StatusCode::FORBIDDEN,
            EditRefusal::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        let problem = Self::from(Problem::new(status, refusal.to_string()));
        match refusal {
            EditRefusal::Conflict {
                version,
                current,
                wanted,
                ..
            } => Self {
                version: Some(version),
                current,
                wanted,
                ..problem
            },
            EditRefusal::Unwritable { wanted, .. } => Self { wanted, ..problem },
            _ => problem,
        }
    }
}

impl IntoResponse for EditProblem {
    fn into_response(self) -> Response {
        let status = self.problem.status();
        let body = serde_json::to_string(&self).unwrap_or_default();
        let kind = HeaderValue::from_static(PROBLEM);
        (status, [(header::CONTENT_TYPE, kind)], body).into_response()
    }
}

/// Errors of changes of `agents.toml`.
#[derive(utoipa::IntoResponses)]
#[expect(dead_code, reason = "a description")]
pub(crate) enum NotEdited {
    /// Invalid request
    #[response(status = 400, content_type = "application/problem+json")]
    Request(Problem),
    /// The file is not writable; `wanted` is the block to paste
    #[response(status = 403, content_type = "application/problem+json")]
    Unwritable(EditProblem),
    /// Analyst not found
    #[response(status = 404, content_type = "application/problem+json")]
    Missing(Problem),
    /// The file was changed meanwhile; `current` and `wanted` are both versions
    #[response(status = 409, content_type = "application/problem+json")]
    Conflict(EditProblem),
    /// The body is too large
    #[response(status = 413, content_type = "application/problem+json")]
    Large(Problem),
    /// Content-Type is not JSON
    #[response(status = 415, content_type = "application/problem+json")]
    Kind(Problem),
    /// The body does not match the schema, or the file would have errors
    #[response(status = 422, content_type = "application/problem+json")]
    Shape(Problem),
    /// The file can't be read
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(Problem),
}

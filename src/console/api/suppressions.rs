//! `/api/suppressions`: suppressions made from false positives.

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, Uri};
use axum::response::Redirect;
use jiff::Timestamp;
use serde::Deserialize;
use utoipa::IntoParams;
use uuid::Uuid;

use watchtower_domain::incident::{Note, Suppression};
use watchtower_record::store::{Annotation, Readers, SuppressionRemoval, SuppressionRestore};

use crate::AppState;
use crate::api::incidents::person;
use crate::http::list::{List, bad_request};
use crate::http::problem::{Failed, Problem};

/// Suppressions made by false positives, the newest first
#[utoipa::path(get, path = "/api/suppressions", tag = "incidents", responses((status = 200, body = List<Suppression>), Failed))]
pub(crate) async fn suppressions(
    State(state): State<AppState>,
) -> Result<Json<List<Suppression>>, Problem> {
    let items = state.console.findings.read(Readers::lessons).await?;
    Ok(Json(List::whole(items)))
}

/// Redirects the path of suppressions before 0.2 to the current one: 308 keeps
/// method and body (RFC 9110, section 15.4.9).
pub(crate) async fn suppressions_moved(uri: Uri) -> Redirect {
    let here = uri.path_and_query().map_or("", |here| here.as_str());
    Redirect::permanent(&here.replacen("/api/lessons", "/api/suppressions", 1))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Remover {
    /// User who does it, at most 100 characters; "unnamed" by default.
    #[param(
        min_length = 1,
        max_length = 100,
        pattern = r"[^\x00-\x20\x7f-\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"
    )]
    by: Option<String>,
}

/// Removes a suppression
///
/// Recorded in the history of the incident that created it.
#[utoipa::path(
    delete,
    path = "/api/suppressions/{id}",
    tag = "incidents",
    params(("id" = Uuid, Path, description = "Id of the suppression"), Remover),
    responses(
        (status = 204, description = "Removed"),
        (status = 404, description = "Suppression not found", body = Problem, content_type = "application/problem+json"),
        Failed,
    )
)]
pub(crate) async fn remove_suppression(
    State(state): State<AppState>,
    id: Result<Path<String>, PathRejection>,
    query: Result<Query<Remover>, QueryRejection>,
) -> Result<StatusCode, Problem> {
    let id = suppression_id(id)?;
    let Query(Remover { by }) = query?;
    let by = person(by.as_deref().unwrap_or("unnamed"))?;
    let findings = &state.console.findings;
    let lessons = findings.read(Readers::lessons).await?;
    findings.write(SuppressionRemoval(id)).await?;
    log(&state, &lessons, id, by, "removed").await;
    Ok(StatusCode::NO_CONTENT)
}

/// Restores a removed suppression, within an hour
///
/// The incidents under it that are closed still are suppressed again.
#[utoipa::path(
    post,
    path = "/api/suppressions/{id}/restore",
    tag = "incidents",
    params(("id" = Uuid, Path, description = "Id of the suppression"), Remover),
    responses(
        (status = 204, description = "Restored"),
        (status = 404, description = "No suppression of that id was removed within an hour", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Limit of suppressions reached", body = Problem, content_type = "application/problem+json"),
        Failed,
    )
)]
pub(crate) async fn restore_suppression(
    State(state): State<AppState>,
    id: Result<Path<String>, PathRejection>,
    query: Result<Query<Remover>, QueryRejection>,
) -> Result<StatusCode, Problem> {
    let id = suppression_id(id)?;
    let Query(Remover { by }) = query?;
    let by = person(by.as_deref().unwrap_or("unnamed"))?;
    let findings = &state.console.findings;
    findings.write(SuppressionRestore(id)).await?;
    let lessons = findings.read(Readers::lessons).await?;
    log(&state, &lessons, id, by, "restored").await;
    Ok(StatusCode::NO_CONTENT)
}

fn suppression_id(id: Result<Path<String>, PathRejection>) -> Result<Uuid, Problem> {
    let Path(id) = id?;
    id.parse()
        .map_err(|_| bad_request("suppression not found: the id must be a UUID"))
}

/// Adds a note to the incident that created the suppression.
async fn log(state: &AppState, lessons: &[Suppression], id: Uuid, by: String, what: &str) {
    let Some(lesson) = lessons.iter().find(|lesson| lesson.id == id) else {
        return;
    };
    let note = Annotation {
        incident: lesson.incident,
        note: Note {
            by,
            at: Timestamp::now(),
            text: format!("suppression {what}: {}", lesson.why),
        },
    };
    // It is done, whether or not a note can be stored.
    if let Err(error) = state.console.findings.write(note).await {
        tracing::warn!(%error, "failed to log that a suppression was {what}");
    }
}

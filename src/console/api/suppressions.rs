//! `/api/suppressions`: suppressions made from false positives.

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, Uri};
use axum::response::Redirect;
use jiff::Timestamp;
use serde::Deserialize;
use utoipa::IntoParams;

use watchtower_domain::incident::{Note, Suppression};
use watchtower_record::store::{Annotation, Readers, SuppressionRemoval};

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
    /// User who removes it, at most 100 characters; "unnamed" by default.
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
    let Path(id) = id?;
    let id = id
        .parse()
        .map_err(|_| bad_request("suppression not found: the id must be a UUID"))?;
    let Query(Remover { by }) = query?;
    let by = person(by.as_deref().unwrap_or("unnamed"))?;
    let findings = &state.console.findings;
    let lessons = findings.read(Readers::lessons).await?;
    findings.write(SuppressionRemoval(id)).await?;
    if let Some(lesson) = lessons.into_iter().find(|lesson| lesson.id == id) {
        let note = Annotation {
            incident: lesson.incident,
            note: Note {
                by,
                at: Timestamp::now(),
                text: format!("suppression removed: {}", lesson.why),
            },
        };
        // It is removed, whether or not a note can be stored.
        if let Err(error) = findings.write(note).await {
            tracing::warn!(%error, "failed to log the removal of a suppression");
        }
    }
    Ok(StatusCode::NO_CONTENT)
}

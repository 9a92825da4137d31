//! Owner, snooze and undo of incidents, and their counts.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Deserializer};
use utoipa::ToSchema;

use watchtower_domain::incident::Change;
use watchtower_record::store::{ActionUndo, IncidentCounts, OwnerChange, SnoozeChange};

use super::incidents::{LONGEST_NAME, changed, incident_id, person};
use crate::AppState;
use crate::http::body::{JsonBody, is_blank};
use crate::http::list::bad_request;
use crate::http::problem::{Failed, NotDone, Problem};

/// Longest snooze: what is quiet for longer is a false positive or a decision.
const LONGEST_SNOOZE: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Field that must be there, if only as null.
fn present<'de, D, T>(from: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::deserialize(from)
}

/// Owner of an incident, as sent.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OwnerBody {
    /// Name of the user who assigns it, 1 to 100 characters.
    #[schema(
        min_length = 1,
        max_length = 100,
        pattern = r"[^\x00-\x20\x7f-\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"
    )]
    by: String,
    /// Name of the owner, 1 to 100 characters; null for nobody.
    #[schema(
        required,
        min_length = 1,
        max_length = 100,
        pattern = r"[^\x00-\x20\x7f-\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"
    )]
    #[serde(deserialize_with = "present")]
    owner: Option<String>,
    /// Version last seen.
    #[schema(minimum = 0, maximum = 9007199254740992i64)]
    version: Option<u64>,
}

/// Assigns an incident to a user, or to nobody
#[utoipa::path(
    post,
    path = "/api/incidents/{id}/owner",
    tag = "incidents",
    params(("id" = Uuid, Path, description = "Id of the incident")),
    request_body = OwnerBody,
    responses((status = 200, body = Change, headers(("etag" = String, description = "Version of the incident, in quotes"))), Failed, NotDone)
)]
pub(crate) async fn set_owner(
    State(state): State<AppState>,
    id: Result<Path<String>, PathRejection>,
    body: Result<JsonBody<OwnerBody>, Problem>,
) -> Result<Response, Problem> {
    let id = incident_id(id)?;
    let JsonBody(body) = body?;
    let by = person(&body.by)?;
    let owner = match body.owner {
        Some(owner) if is_blank(&owner) || owner.chars().count() > LONGEST_NAME => {
            let expected =
                format!("owner must be a name of 1 to {LONGEST_NAME} characters, or null");
            return Err(bad_request(expected));
        }
        owner => owner.map(|owner| owner.trim().to_owned()),
    };
    let change = OwnerChange {
        incident: id,
        owner,
        by,
        version: body.version,
    };
    Ok(changed(state.console.findings.write(change).await?))
}

/// Snooze of an incident, as sent.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SnoozeBody {
    /// Name of the user, 1 to 100 characters.
    #[schema(
        min_length = 1,
        max_length = 100,
        pattern = r"[^\x00-\x20\x7f-\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"
    )]
    by: String,
    /// End (RFC 3339), at most 30 days ahead; null to end it now.
    #[schema(required)]
    #[serde(deserialize_with = "present")]
    until: Option<Timestamp>,
    /// Version last seen.
    #[schema(minimum = 0, maximum = 9007199254740992i64)]
    version: Option<u64>,
}

/// Snoozes an incident until a time, or ends its snooze
///
/// A higher severity ends it too.
#[utoipa::path(
    post,
    path = "/api/incidents/{id}/snooze",
    tag = "incidents",
    params(("id" = Uuid, Path, description = "Id of the incident")),
    request_body = SnoozeBody,
    responses((status = 200, body = Change, headers(("etag" = String, description = "Version of the incident, in quotes"))), Failed, NotDone)
)]
pub(crate) async fn snooze(
    State(state): State<AppState>,
    id: Result<Path<String>, PathRejection>,
    body: Result<JsonBody<SnoozeBody>, Problem>,
) -> Result<Response, Problem> {
    let id = incident_id(id)?;
    let JsonBody(body) = body?;
    let by = person(&body.by)?;
    let now = Timestamp::now();
    if let Some(until) = body.until
        && (until <= now || until.duration_since(now) > LONGEST_SNOOZE)
    {
        return Err(bad_request(format!(
            "until must be in the future and at most 30 days ahead, got {until}"
        )));
    }
    let change = SnoozeChange {
        incident: id,
        until: body.until,
        by,
        version: body.version,
    };
    Ok(changed(state.console.findings.write(change).await?))
}

/// Action to undo, as sent.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UndoBody {
    /// Name of the user, 1 to 100 characters.
    #[schema(
        min_length = 1,
        max_length = 100,
        pattern = r"[^\x00-\x20\x7f-\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"
    )]
    by: String,
    /// Version in the answer to the action.
    #[schema(minimum = 0, maximum = 9007199254740992i64)]
    version: u64,
}

/// Undoes the last change of status, owner or snooze
///
/// Within an hour, and only while nothing else changed it. Restores status,
/// owner, snooze and suppressions.
#[utoipa::path(
    post,
    path = "/api/incidents/{id}/undo",
    tag = "incidents",
    params(("id" = Uuid, Path, description = "Id of the incident")),
    request_body = UndoBody,
    responses((status = 200, body = Change, headers(("etag" = String, description = "Version of the incident, in quotes"))), Failed, NotDone)
)]
pub(crate) async fn undo(
    State(state): State<AppState>,
    id: Result<Path<String>, PathRejection>,
    body: Result<JsonBody<UndoBody>, Problem>,
) -> Result<Response, Problem> {
    let id = incident_id(id)?;
    let JsonBody(body) = body?;
    let undo = ActionUndo {
        incident: id,
        by: person(&body.by)?,
        version: body.version,
    };
    Ok(changed(state.console.findings.write(undo).await?))
}

/// Counts of open incidents by severity, and of snoozed ones
#[utoipa::path(get, path = "/api/incidents/counts", tag = "incidents", responses((status = 200, body = IncidentCounts), Failed))]
pub(crate) async fn counts(State(state): State<AppState>) -> Result<Json<IncidentCounts>, Problem> {
    let findings = &state.console.findings;
    let counts = findings.read(|store| store.counts(Timestamp::now()));
    Ok(Json(counts.await?))
}

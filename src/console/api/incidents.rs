//! Incidents, and the decisions and notes of users.

use std::convert::identity;

use axum::Json;
use axum::body::to_bytes;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use watchtower_domain::finding::Finding;
use watchtower_domain::incident::{Change, Decision, Incident, Note, Status, Suppression};
use watchtower_domain::transcript::{Cost, Transcript};
use watchtower_record::store::{
    Annotation, FindingQuery, IncidentDetail, IncidentQuery, Moment, StatusChange, WriteRefusal,
};

use super::incident_filter::{FilterParams, Filtered};
use super::incident_order::ListOrder;
use super::stills::{ProofStill, StillShown};
use crate::AppState;
use crate::http::body::{JsonBody, is_blank};
use crate::http::conditional::IfMatch;
use crate::http::list::{List, bad_request, page_size};
use crate::http::problem::{Failed, NotDone, Problem};

/// Findings shown with their incident; the rest by `/api/findings?incident=`.
const FINDINGS: usize = 50;
/// Minimum delay of the still `after`: an earlier one shows the incident
/// itself.
const BEHIND: SignedDuration = SignedDuration::from_secs(1);
pub(crate) const LONGEST_NAME: usize = 100;
const LONGEST_WHY: usize = 2000;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct IncidentsQuery {
    /// last_seen (default), first_seen, severity, settled_severity, count,
    /// title, subject, stream or owner; equal ones by last_seen, newest first.
    #[param(
        pattern = "^(last_seen|first_seen|severity|settled_severity|count|title|subject|stream|owner)$"
    )]
    sort: Option<String>,
    /// asc or desc; by default texts ascend, and all else descends.
    #[param(pattern = "^(asc|desc)$")]
    order: Option<String>,
    /// `next` of the previous page, of the same sort and order.
    #[param(pattern = "^([lfspcLFSPC][0-9]|[tuwoTUWO]([0-9a-f]{2})*)_-?[0-9]{1,18}_[0-9]{1,18}$")]
    cursor: Option<String>,
    /// Items of a page, 1 to 1000; 50 by default.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

/// Incidents, the newest first unless sorted otherwise
#[utoipa::path(get, path = "/api/incidents", tag = "incidents", params(FilterParams, IncidentsQuery), responses((status = 200, body = List<Incident>), Failed))]
pub(crate) async fn incidents(
    State(state): State<AppState>,
    Filtered(filter, query): Filtered<IncidentsQuery>,
) -> Result<Json<List<Incident>>, Problem> {
    let order = ListOrder::of(query.sort.as_deref(), query.order.as_deref())?;
    let after = match query.cursor.as_deref() {
        Some(cursor) => Some(order.place(cursor).ok_or_else(|| {
            bad_request("cursor must be `next` of a page of the same sort and order")
        })?),
        None => None,
    };
    let filter = IncidentQuery {
        sort: order.sort,
        ascending: order.ascending,
        after,
        limit: page_size(query.limit)?,
        ..filter
    };
    let findings = &state.console.findings;
    let page = findings.read(move |store| store.incidents(&filter)).await?;
    Ok(Json(List {
        items: page.items,
        next: page.next.map(|place| order.cursor(&place)),
    }))
}

/// Incident in detail, its own fields at the top level as in the list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct IncidentShown {
    #[serde(flatten)]
    incident: Incident,
    /// Version to be sent when its status is set.
    version: u64,
    /// The newest 200, oldest first.
    decisions: Vec<Decision>,
    /// The same.
    notes: Vec<Note>,
    /// Stills of its stream before it was first seen, and after.
    before: Option<StillShown>,
    after: Option<StillShown>,
    best_evidence: Option<ProofShown>,
    /// Stills of its first and its peak moment.
    stills: Vec<ProofStill>,
    /// Suppression that covers it.
    lesson: Option<Suppression>,
    /// Cost of models for it, its panel included.
    cost: Cost,
    /// The newest 50; the rest by `/api/findings?incident=`.
    findings: List<Finding>,
}

/// Best quote of an incident, and its position.
#[derive(Debug, Serialize, ToSchema)]
struct ProofShown {
    finding: Uuid,
    /// 0 to 1.
    confidence: f32,
    quote: String,
    /// `[ymin, xmin, ymax, xmax]` in thousandths of the picture.
    #[schema(schema_with = watchtower_domain::finding::box_or_null, required = false)]
    r#box: Option<[u16; 4]>,
    /// True if it was found on the screen; null where unchecked.
    grounded: Option<bool>,
}

/// Incident with its findings, decisions, notes and evidence
#[utoipa::path(
    get,
    path = "/api/incidents/{id}",
    tag = "incidents",
    params(("id" = Uuid, Path, description = "Id of the incident")),
    responses(
        (status = 200, body = IncidentShown, headers(("etag" = String, description = "Version of the incident and, after a hyphen, of its details"))),
        (status = 304, description = "Not modified (`If-None-Match`)"),
        (status = 404, description = "Incident not found", body = Problem, content_type = "application/problem+json"),
        Failed,
    )
)]

pub(crate) async fn incident(
    State(state): State<AppState>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let id = incident_id(id)?;
    let bus = &state.console.findings;
    let detail = bus.read(move |store| store.incident(id)).await?;
    let detail = detail.ok_or_else(|| no_incident(id))?;
    let query = FindingQuery {
        incident: Some(id),
        limit: FINDINGS,
        ..FindingQuery::default()
    };
    let findings = bus.read(move |store| store.findings(&query));
    let findings = List::of(findings.await?, identity);
    let version = detail.version;
    let incident = &detail.incident;
    let first = incident.first_seen;
    let stream = incident.stream.clone();
    let around =
        bus.read(move |store| store.moments_around(stream.as_str(), first, first + BEHIND));
    let around = around.await?;
    let shown = Json(shown(detail, around, findings)).into_response();
    let (mut parts, body) = shown.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
    // Notes and repeats change the response and keep the version.
    let sum = Sha256::digest(&body);
    let sum: String = hex::encode(&sum[..6]);
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{version}-{sum}\"")) {
        parts.headers.insert(header::ETAG, tag);
    }
    Ok(Response::from_parts(parts, axum::body::Body::from(body)))
}

fn shown(
    detail: IncidentDetail,
    (before, after): (Option<Moment>, Option<Moment>),
    findings: List<Finding>,
) -> IncidentShown {
    IncidentShown {
        best_evidence: detail.proof.map(|proof| ProofShown {
            finding: proof.finding,
            confidence: proof.confidence,
            quote: proof.shown.quote,
            r#box: proof.shown.bounds,
            grounded: proof.shown.grounded,
        }),
        stills: detail.stills.into_iter().map(ProofStill::from).collect(),
        incident: detail.incident,
        version: detail.version,
        decisions: detail.decisions,
        notes: detail.notes,
        before: before.map(StillShown::from),
        after: after.map(StillShown::from),
        lesson: detail.lesson,
        cost: detail.cost,
        findings,
    }
}

/// Transcripts of an incident: questions to models, and their answers
///
/// Oldest first: the first ones and the newest. Empty for a finding of rules.
#[utoipa::path(
    get,
    path = "/api/incidents/{id}/transcripts",
    tag = "incidents",
    params(("id" = Uuid, Path, description = "Id of the incident")),
    responses(
        (status = 200, body = List<Transcript>),
        (status = 404, description = "Incident not found", body = Problem, content_type = "application/problem+json"),
        Failed,
    )
)]
pub(crate) async fn transcripts(
    State(state): State<AppState>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<List<Transcript>>, Problem> {
    let id = incident_id(id)?;
    let items = state
        .console
        .findings
        .read(move |store| store.transcripts(id));
    let items = items.await?;
    Ok(Json(List::whole(items.ok_or_else(|| no_incident(id))?)))
}

/// Decision of a user about an incident, as sent.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct StatusBody {
    status: Status,
    /// Name of the user, 1 to 100 characters.
    #[schema(
        min_length = 1,
        max_length = 100,
        pattern = r"[^\x00-\x20\x7f-\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"
    )]
    by: String,
    /// Reason, at most 2000 characters; required to close it.
    #[schema(max_length = 2000)]
    #[serde(default)]
    why: String,
    /// With closed: suppress similar findings from now on.
    #[serde(default)]
    false_positive: bool,
    /// Version last seen; equivalent to `If-Match`.
    #[schema(minimum = 0, maximum = 9007199254740992i64)]
    version: Option<u64>,
}

/// Acknowledges, closes or reopens an incident
#[utoipa::path(
    post,
    path = "/api/incidents/{id}/status",
    tag = "incidents",
    params(
        ("id" = Uuid, Path, description = "Id of the incident"),
        ("if-match" = Option<String>, Header, description = "ETag of the incident as last read", pattern = r#"^(\*|[0-9]{1,18}|(W/)?"[!#-~]*"(, ?(W/)?"[!#-~]*")*)$"#),
    ),
    request_body = StatusBody,
    responses((status = 200, body = Change, headers(("etag" = String, description = "Version of the incident, in quotes"))), Failed, NotDone)
)]
pub(crate) async fn set_status(
    State(state): State<AppState>,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Result<JsonBody<StatusBody>, Problem>,
) -> Result<Response, Problem> {
    let id = incident_id(id)?;
    let JsonBody(body) = body?;
    let mut verdict = verdict(id, &body)?;
    let if_match = IfMatch::of(&headers)
        .ok_or_else(|| bad_request("If-Match must be * or entity tags, each in quotes"))?;
    verdict.version = precondition(&state, id, if_match, verdict.version).await?;
    Ok(changed(state.console.findings.write(verdict).await?))
}

/// Note of a user on an incident, as sent.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NoteBody {
    /// Name of the author, 1 to 100 characters.
    #[schema(
        min_length = 1,
        max_length = 100,
        pattern = r"[^\x00-\x20\x7f-\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"
    )]
    by: String,
    /// 1 to 2000 characters.
    #[schema(
        min_length = 1,
        max_length = 2000,
        pattern = r"[^\x00-\x20\x7f-\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"
    )]
    text: String,
}

/// Adds a note to an incident
#[utoipa::path(
    post,
    path = "/api/incidents/{id}/notes",
    tag = "incidents",
    params(("id" = Uuid, Path, description = "Id of the incident")),
    request_body = NoteBody,
    responses((status = 201, body = Change, headers(("etag" = String, description = "Version of the incident, in quotes"))), Failed, NotDone)
)]
pub(crate) async fn annotate(
    State(state): State<AppState>,
    id: Result<Path<String>, PathRejection>,
    body: Result<JsonBody<NoteBody>, Problem>,
) -> Result<Response, Problem> {
    let id = incident_id(id)?;
    let JsonBody(body) = body?;
    let by = person(&body.by)?;
    if is_blank(&body.text) || body.text.chars().count() > LONGEST_WHY {
        let expected = format!("text must have 1 to {LONGEST_WHY} characters");
        return Err(bad_request(expected));
    }
    let note = Note {
        by,
        at: Timestamp::now(),
        text: body.text.trim().to_owned(),
    };
    let note = Annotation { incident: id, note };
    let change = state.console.findings.write(note).await?;
    Ok((StatusCode::CREATED, changed(change)).into_response())
}

/// Name of the user, checked and trimmed.
pub(crate) fn person(by: &str) -> Result<String, Problem> {
    if is_blank(by) || by.chars().count() > LONGEST_NAME {
        let expected = format!("by must be a name of 1 to {LONGEST_NAME} characters");
        return Err(bad_request(expected));
    }
    let by = by.trim();
    if by.eq_ignore_ascii_case(Decision::WATCHTOWER) {
        return Err(bad_request(
            "by must not be a reserved name: it is the server's own",
        ));
    }
    Ok(by.to_owned())
}

pub(crate) fn verdict(id: Uuid, body: &StatusBody) -> Result<StatusChange, Problem> {
    let by = person(&body.by)?;
    let why = body.why.trim();
    if body.why.chars().count() > LONGEST_WHY {
        return Err(bad_request(format!(
            "why must have at most {LONGEST_WHY} characters"
        )));
    }
    if body.status == Status::Closed && why.is_empty() {
        return Err(bad_request("why must give a reason for closing"));
    }
    if body.false_positive && body.status != Status::Closed {
        return Err(bad_request("false_positive goes with status closed only"));
    }
    Ok(StatusChange {
        incident: id,
        status: body.status,
        by,
        why: why.to_owned(),
        false_positive: body.false_positive,
        version: body.version,
    })
}

/// Version the request is based on. The writer checks that it is still the
/// current one.
async fn precondition(
    state: &AppState,
    id: Uuid,
    if_match: IfMatch,
    version: Option<u64>,
) -> Result<Option<u64>, Problem> {
    let IfMatch::Tags(tags) = if_match else {
        return Ok(version);
    };
    // The rest covers other displayed content, which does not conflict.
    let number = |tag: &String| tag.split('-').next()?.parse::<u64>().ok();
    let versions: Vec<_> = tags.iter().filter_map(number).collect();
    if let [version] = versions[..] {
        return Ok(Some(version));
    }
    let detail = state.console.findings.read(move |store| store.incident(id));
    let current = detail.await?.ok_or_else(|| no_incident(id))?.version;
    if versions.contains(&current) {
        Ok(Some(current))
    } else {
        Err(WriteRefusal::Stale { version: current }.into())
    }
}

pub(crate) fn incident_id(id: Result<Path<String>, PathRejection>) -> Result<Uuid, Problem> {
    let Path(id) = id?;
    id.parse()
        .map_err(|_| bad_request("incident not found: the id must be a UUID"))
}

fn no_incident(id: Uuid) -> Problem {
    WriteRefusal::NoIncident(id).into()
}

/// Response of a change, with the version of the incident as its ETag.
pub(crate) fn changed(change: Change) -> Response {
    let etag = format!("\"{}\"", change.version);
    ([(header::ETAG, etag)], Json(change)).into_response()
}

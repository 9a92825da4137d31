//! `/api/handovers`: handovers of shifts with their sign-off; and the precision
//! of analysts, rules and watches.

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use watchtower_record::store::{HandoverSignOff, Precision, ShiftHandover, SignedHandover};

use crate::AppState;
use crate::api::incidents::person;
use crate::http::body::JsonBody;
use crate::http::list::{List, bad_request, page_size};
use crate::http::problem::{Failed, NotDone, Problem};

const LONGEST_MESSAGE: usize = 10_000;
/// Longest shift that is handed over: a week.
const LONGEST_SHIFT: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Range of `days` in the precision.
const DAYS: std::ops::RangeInclusive<u32> = 1..=365;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct HandoversQuery {
    /// Items, 1 to 1000; 50 by default.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

/// Handovers that were made, the newest first
#[utoipa::path(get, path = "/api/handovers", tag = "history", params(HandoversQuery), responses((status = 200, body = List<SignedHandover>), Failed))]
pub(crate) async fn handovers(
    State(state): State<AppState>,
    query: Result<Query<HandoversQuery>, QueryRejection>,
) -> Result<Json<List<SignedHandover>>, Problem> {
    let Query(query) = query?;
    let limit = page_size(query.limit)?;
    let items = state
        .console
        .findings
        .read(move |store| store.handovers(limit));
    Ok(Json(List::whole(items.await?)))
}

/// Handover as sent.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct HandoverBody {
    /// Name of the user who hands over, 1 to 100 characters.
    #[schema(
        min_length = 1,
        max_length = 100,
        pattern = r"[^\x00-\x20\x7f-\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"
    )]
    by: String,
    /// Start of the shift (RFC 3339).
    since: Timestamp,
    /// End of the shift (RFC 3339): after its start, by at most seven days.
    until: Timestamp,
    /// Message for the next shift, at most 10000 characters.
    #[serde(default)]
    #[schema(max_length = 10000)]
    message: String,
}

/// Hands a shift over, with a message for the next one
#[utoipa::path(
    post,
    path = "/api/handovers",
    tag = "history",
    request_body = HandoverBody,
    responses((status = 201, body = SignedHandover), Failed, NotDone)
)]
pub(crate) async fn hand_over(
    State(state): State<AppState>,
    body: Result<JsonBody<HandoverBody>, Problem>,
) -> Result<(StatusCode, Json<SignedHandover>), Problem> {
    let JsonBody(body) = body?;
    let by = person(&body.by)?;
    let length = body.until.duration_since(body.since);
    if length <= SignedDuration::ZERO || length > LONGEST_SHIFT {
        return Err(bad_request(format!(
            "until must be after since, by at most {} days, got {} to {}",
            LONGEST_SHIFT.as_hours() / 24,
            body.since,
            body.until
        )));
    }
    let characters = body.message.chars().count();
    if characters > LONGEST_MESSAGE {
        return Err(bad_request(format!(
            "message must be at most {LONGEST_MESSAGE} characters long, got {characters}"
        )));
    }
    let handover = ShiftHandover {
        since: body.since,
        until: body.until,
        by,
        message: body.message.trim().to_owned(),
    };
    let made = state.console.findings.write(handover).await?;
    Ok((StatusCode::CREATED, Json(made)))
}

/// Sign-off as sent.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignOffBody {
    /// Name of the user who takes over, 1 to 100 characters.
    #[schema(
        min_length = 1,
        max_length = 100,
        pattern = r"[^\x00-\x20\x7f-\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"
    )]
    by: String,
}

/// Takes a shift over, once
#[utoipa::path(
    post,
    path = "/api/handovers/{id}/sign-off",
    tag = "history",
    params(("id" = Uuid, Path, description = "Id of the handover")),
    request_body = SignOffBody,
    responses((status = 200, body = SignedHandover), Failed, NotDone)
)]
pub(crate) async fn take_over(
    State(state): State<AppState>,
    id: Result<Path<String>, PathRejection>,
    body: Result<JsonBody<SignOffBody>, Problem>,
) -> Result<Json<SignedHandover>, Problem> {
    let Path(id) = id?;
    let id = id
        .parse()
        .map_err(|_| bad_request("handover not found: the id must be a UUID"))?;
    let JsonBody(body) = body?;
    let by = person(&body.by)?;
    let taken = state.console.findings.write(HandoverSignOff { id, by });
    Ok(Json(taken.await?))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PrecisionQuery {
    /// Days up to now, 1 to 365; 30 by default. Not together with since and
    /// until.
    #[param(minimum = 1, maximum = 365)]
    days: Option<u32>,
    /// Start of the range (RFC 3339).
    since: Option<Timestamp>,
    /// End of the range (RFC 3339); now by default.
    until: Option<Timestamp>,
}

/// Precision of analysts, rules and watches by users' decisions, and the cost of analysts
#[utoipa::path(get, path = "/api/precision", tag = "analysts", params(PrecisionQuery), responses((status = 200, body = Precision), Failed))]
pub(crate) async fn precision(
    State(state): State<AppState>,
    query: Result<Query<PrecisionQuery>, QueryRejection>,
) -> Result<Json<Precision>, Problem> {
    let Query(query) = query?;
    let days = query.days.unwrap_or(30);
    if !DAYS.contains(&days) {
        let (least, most) = (DAYS.start(), DAYS.end());
        return Err(bad_request(format!(
            "days must be from {least} to {most}, got {days}"
        )));
    }
    if query.days.is_some() && (query.since.is_some() || query.until.is_some()) {
        let expected = "expected days, or since with until, got both";
        return Err(bad_request(expected));
    }
    let until = query.until.unwrap_or_else(Timestamp::now);
    let before = SignedDuration::from_hours(24 * i64::from(days));
    let since = match query.since {
        Some(since) => since,
        None => until.checked_sub(before).unwrap_or(Timestamp::MIN),
    };
    if since >= until {
        return Err(bad_request(format!(
            "since must be before until, got {since} and {until}"
        )));
    }
    let findings = &state.console.findings;
    let precision = findings.read(move |store| store.precision(since, until));
    Ok(Json(precision.await?))
}

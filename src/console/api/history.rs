//! History of the screens, and shift handover.

use std::ops::RangeInclusive;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use watchtower_domain::cost::Spend;
use watchtower_domain::transcript::Cost;
use watchtower_record::store::{
    ConfigurationChange, Done, HandoverProof, MomentPlace, MomentQuery,
};

use super::stills::StillShown;
use crate::AppState;
use crate::http::list::{List, bad_request, page_size};
use crate::http::problem::{Failed, Problem};

/// Range of `every` in seconds.
const STRETCH: RangeInclusive<u32> = 1..=86_400;
/// Changes of the configuration in a handover; a shift has far fewer.
const MOST_CHANGES: usize = 1000;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct MomentsQuery {
    stream: Option<String>,
    /// At or after (RFC 3339).
    since: Option<Timestamp>,
    /// Before (RFC 3339).
    until: Option<Timestamp>,
    /// Interval in seconds, 1 to 86400: the newest still per stream and
    /// interval; all by default.
    #[param(minimum = 1, maximum = 86400)]
    every: Option<u32>,
    /// `next` of the previous page.
    #[param(pattern = "^-?[0-9]{1,18}_-?[0-9]{1,18}_-?[0-9]{1,18}$")]
    cursor: Option<String>,
    /// Items of a page, 1 to 1000; 50 by default.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

/// Stills of the screens, the newest first
#[utoipa::path(get, path = "/api/moments", tag = "history", params(MomentsQuery), responses((status = 200, body = List<StillShown>), Failed))]
pub(crate) async fn moments(
    State(state): State<AppState>,
    query: Result<Query<MomentsQuery>, QueryRejection>,
) -> Result<Json<List<StillShown>>, Problem> {
    let Query(query) = query?;
    if let Some(every) = query.every.filter(|every| !STRETCH.contains(every)) {
        let (least, most) = (STRETCH.start(), STRETCH.end());
        let detail = format!("every must be from {least} to {most} seconds, got {every}");
        return Err(bad_request(detail));
    }
    let after = match query.cursor.as_deref() {
        None => None,
        Some(cursor) => Some(
            place(cursor)
                .ok_or_else(|| bad_request("cursor must be `next` of the previous page"))?,
        ),
    };
    let filter = MomentQuery {
        stream: query.stream,
        since: query.since,
        until: query.until,
        every: query.every,
        after,
        limit: page_size(query.limit)?,
    };
    let findings = &state.console.findings;
    let page = findings.read(move |store| store.moments(&filter)).await?;
    Ok(Json(List {
        items: page.items.into_iter().map(StillShown::from).collect(),
        next: page.next.map(cursor),
    }))
}

fn cursor(place: MomentPlace) -> String {
    format!("{}_{}_{}", place.newest, place.seen_at, place.seq)
}

fn place(cursor: &str) -> Option<MomentPlace> {
    let mut parts = cursor.splitn(3, '_');
    let mut part = || parts.next()?.parse().ok();
    Some(MomentPlace {
        newest: part()?,
        seen_at: part()?,
        seq: part()?,
    })
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct HandoverQuery {
    /// At or after (RFC 3339).
    since: Timestamp,
    /// Before (RFC 3339), and not before `since`; now by default.
    until: Option<Timestamp>,
}

/// Actions of users within a time range, and the cost of models in it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Handover {
    since: Timestamp,
    until: Timestamp,
    /// Decisions and notes, oldest first; the newest 1000.
    done: Vec<Done>,
    /// True if older ones are left out.
    more: bool,
    spent: Vec<SpentOn>,
    /// Changes of the configuration, newest first.
    changes: Vec<ConfigurationChange>,
    /// Peak pictures of the incidents, as far as kept.
    proofs: Vec<HandoverProof>,
}

/// Spend on one model.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
struct SpentOn {
    provider: String,
    model: String,
    #[serde(flatten)]
    cost: Cost,
}

/// Shift handover, beside its incidents: actions of people and cost of models
#[utoipa::path(get, path = "/api/handover", tag = "history", params(HandoverQuery), responses((status = 200, body = Handover), Failed))]
pub(crate) async fn handover(
    State(state): State<AppState>,
    query: Result<Query<HandoverQuery>, QueryRejection>,
) -> Result<Json<Handover>, Problem> {
    let Query(span) = query?;
    let until = span.until.unwrap_or_else(Timestamp::now);
    if until < span.since {
        return Err(bad_request("until must not be before since"));
    }
    let findings = &state.console.findings;
    let done = findings.read(move |store| store.done_between(span.since, until));
    let (done, more) = done.await?;
    let spent = findings.read(move |store| store.spent_since(span.since));
    let spent = spent
        .await?
        .into_iter()
        .filter(|spend| spend.minute < until);
    let changes = findings
        .read(move |store| store.configuration_changes(span.since, until, MOST_CHANGES))
        .await?;
    let proofs = findings.read(move |store| store.proofs_between(span.since, until));
    Ok(Json(Handover {
        since: span.since,
        until,
        done,
        more,
        changes,
        proofs: proofs.await?,
        spent: by_model(spent),
    }))
}

/// Spend on each model, in the order of their first requests.
fn by_model(minutes: impl Iterator<Item = Spend>) -> Vec<SpentOn> {
    let mut models: Vec<Spend> = Vec::new();
    for spend in minutes {
        let same =
            |known: &&mut Spend| known.provider == spend.provider && known.model == spend.model;
        match models.iter_mut().find(same) {
            Some(known) => {
                known.requests += spend.requests;
                known.prompt_tokens += spend.prompt_tokens;
                known.output_tokens += spend.output_tokens;
                known.micro_usd += spend.micro_usd;
            }
            None => models.push(spend),
        }
    }
    models.into_iter().map(SpentOn::from).collect()
}

impl From<Spend> for SpentOn {
    fn from(spend: Spend) -> Self {
        // A refund may be booked in a later minute than the reservation.
        let amount = |n: i64| u64::try_from(n).unwrap_or_default();
        Self {
            provider: spend.provider,
            model: spend.model,
            cost: Cost {
                requests: amount(spend.requests),
                prompt_tokens: amount(spend.prompt_tokens),
                output_tokens: amount(spend.output_tokens),
                micro_usd: amount(spend.micro_usd),
            },
        }
    }
}

/// Stored picture
///
/// Addressed by its SHA-256, so it never changes.
#[utoipa::path(
    get,
    path = "/api/evidence/{file}",
    tag = "history",
    params(("file" = String, Path, description = "The SHA-256 of the picture and `.jpg`")),
    responses(
        (status = 200, content_type = "image/jpeg", body = Vec<u8>, headers(("etag" = String, description = "The SHA-256, in quotes"))),
        (status = 304, description = "Not modified (`If-None-Match`)"),
        (status = 404, description = "Not found", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Database unavailable", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn evidence(
    State(state): State<AppState>,
    Path(file): Path<String>,
) -> Result<Response, Problem> {
    let missing = || Problem::new(StatusCode::NOT_FOUND, "evidence not found");
    let sha256 = file.strip_suffix(".jpg").ok_or_else(missing)?;
    let key = sha256.to_owned();
    let still = state.console.findings.read(move |store| store.still(&key));
    let still = still.await?;
    let headers = [
        (header::CONTENT_TYPE, "image/jpeg".to_owned()),
        (header::ETAG, format!("\"{sha256}\"")),
    ];
    Ok((headers, still.ok_or_else(missing)?).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_cursor_is_refused() {
        let here = MomentPlace {
            newest: 12,
            seen_at: -17,
            seq: 9,
        };
        assert_eq!(place(&cursor(here)), Some(here));
        for broken in ["", "9", "12_17", "12_x_9", "12_17_9_1"] {
            assert_eq!(place(broken), None, "{broken}");
        }
    }
}

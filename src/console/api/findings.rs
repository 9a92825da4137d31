//! Findings, and the search over screen text.

use std::convert::identity;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use watchtower_domain::finding::{Finding, Severity};
use watchtower_record::store::{FindingQuery, Hit, TextQuery};

use super::stills::StillShown;
use crate::AppState;
use crate::http::list::{List, bad_request, page_size};
use crate::http::problem::{Failed, Problem};

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct FindingsQuery {
    agent: Option<String>,
    stream: Option<String>,
    incident: Option<Uuid>,
    /// Minimum severity.
    severity: Option<Severity>,
    /// Words that must all match, each by its prefix; the first 16 count.
    #[param(min_length = 1, pattern = r"\p{L}|\p{N}")]
    q: Option<String>,
    /// Stored at or after (RFC 3339).
    since: Option<Timestamp>,
    /// Stored before (RFC 3339).
    until: Option<Timestamp>,
    /// `next` of the previous page.
    #[param(minimum = 0, maximum = 9223372036854775807i64)]
    cursor: Option<u64>,
    /// Items of a page, 1 to 1000; 50 by default.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

/// Findings, the newest first
#[utoipa::path(get, path = "/api/findings", tag = "findings", params(FindingsQuery), responses((status = 200, body = List<Finding>), Failed))]
pub(crate) async fn findings(
    State(state): State<AppState>,
    query: Result<Query<FindingsQuery>, QueryRejection>,
) -> Result<Json<List<Finding>>, Problem> {
    let Query(query) = query?;
    if let Some(words) = &query.q {
        with_a_word(words)?;
    }
    let filter = FindingQuery {
        words: query.q,
        agent: query.agent,
        stream: query.stream,
        incident: query.incident,
        severity: query.severity,
        since: query.since,
        until: query.until,
        before: place(query.cursor)?,
        limit: page_size(query.limit)?,
    };
    let findings = &state.console.findings;
    let page = findings.read(move |store| store.findings(&filter));
    Ok(Json(List::of(page.await?, identity)))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct SearchQuery {
    /// Words that must all match, each by its prefix; the first 16 count.
    #[param(min_length = 1, pattern = r"\p{L}|\p{N}")]
    q: String,
    stream: Option<String>,
    /// Appeared at or after (RFC 3339).
    since: Option<Timestamp>,
    /// Appeared before (RFC 3339).
    until: Option<Timestamp>,
    /// `next` of the previous page.
    #[param(minimum = 0, maximum = 9223372036854775807i64)]
    cursor: Option<u64>,
    /// Items of a page, 1 to 1000; 50 by default.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

/// Line of screen text, with the still of the screen.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HitShown {
    #[serde(flatten)]
    hit: Hit,
    /// First still stored within 30 s of it; null if there is none.
    still: Option<StillShown>,
}

/// Lines of screen text, secrets masked, the newest first
#[utoipa::path(get, path = "/api/search", tag = "history", params(SearchQuery), responses((status = 200, body = List<HitShown>), Failed))]
pub(crate) async fn search(
    State(state): State<AppState>,
    query: Result<Query<SearchQuery>, QueryRejection>,
) -> Result<Json<List<HitShown>>, Problem> {
    let Query(query) = query?;
    with_a_word(&query.q)?;
    let filter = TextQuery {
        words: query.q,
        stream: query.stream,
        since: query.since,
        until: query.until,
        before: place(query.cursor)?,
        limit: page_size(query.limit)?,
    };
    let findings = &state.console.findings;
    let page = findings.read(move |store| store.search(&filter));
    let shown = |mut hit: Hit| HitShown {
        still: hit.still.take().map(StillShown::from),
        hit,
    };
    Ok(Json(List::of(page.await?, shown)))
}

/// Cursor of a list, as `next` of a page gave it, within the database's range.
pub(crate) fn place(cursor: Option<u64>) -> Result<Option<u64>, Problem> {
    match cursor {
        Some(cursor) if i64::try_from(cursor).is_err() => {
            let detail = format!("cursor must be `next` of the previous page, got {cursor}");
            Err(bad_request(detail))
        }
        cursor => Ok(cursor),
    }
}

fn with_a_word(q: &str) -> Result<(), Problem> {
    if q.contains(char::is_alphanumeric) {
        return Ok(());
    }
    let detail = format!("q must contain a search word, got {q:?}");
    Err(bad_request(detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursor_out_of_range_is_refused() {
        let most = i64::MAX as u64;
        assert!(matches!(place(Some(most)), Ok(Some(at)) if at == most));
        assert!(matches!(place(None), Ok(None)));
        for beyond in [most + 1, u64::MAX] {
            let problem = format!("{:?}", place(Some(beyond)));
            assert!(problem.contains(&beyond.to_string()), "{problem}");
        }
    }
}

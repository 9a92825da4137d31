//! The JSON lists and the stills.

use std::cmp::Reverse;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::AppState;
use super::problem::Problem;
use crate::budget::Standing;
use crate::finding::{Finding, Severity};
use crate::masking::Redact;
use crate::media::StreamName;
use crate::roster::AgentStatus;
use crate::store::{FindingQuery, Hit, Page, TextQuery};
use crate::stream_hub::StreamInfo;

const PAGE: usize = 50;
const LARGEST_PAGE: usize = 1000;

/// What every list answers: newest first, with the cursor of the next page.
#[derive(Debug, Serialize)]
pub(super) struct List<T> {
    pub(super) items: Vec<T>,
    pub(super) next: Option<String>,
}

/// Of what stands in the order of its place.
impl<T> From<Page<T, u64>> for List<T> {
    fn from(page: Page<T, u64>) -> Self {
        Self {
            items: page.items,
            next: page.next.map(|place| place.to_string()),
        }
    }
}

pub(super) fn bad_request(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, detail)
}

pub(super) fn page_size(asked: Option<usize>) -> Result<usize, Problem> {
    let limit = asked.unwrap_or(PAGE);
    if (1..=LARGEST_PAGE).contains(&limit) {
        Ok(limit)
    } else {
        let detail = format!("limit must be from 1 to {LARGEST_PAGE}, got {limit}");
        Err(bad_request(detail))
    }
}

/// The streams there are, the newest first.
pub(super) async fn streams(State(state): State<AppState>) -> Json<List<Value>> {
    let mut streams = state.views.hub.streams();
    streams.sort_by_key(|stream| Reverse(stream.since));
    let item = |info: &StreamInfo| {
        let frame = state.views.frames.newest(&info.name);
        json!({
            "name": info.name.as_str(),
            "state": state_of(info),
            "since": info.since,
            "lost_since": info.lost_since,
            "codec": info.video.as_ref().map(|video| video.codec.as_str()),
            "width": info.video.as_ref().map(|video| video.width),
            "height": info.video.as_ref().map(|video| video.height),
            "video_units": info.totals.video_units,
            "audio_units": info.totals.audio_units,
            "keyframes": info.totals.keyframes,
            "bytes": info.totals.bytes,
            "frame": frame.map(|frame| json!({
                "seq": frame.seq,
                "pts_ms": frame.pts.ms(),
                "captured_at": frame.captured_at,
            })),
        })
    };
    let items = streams.iter().map(item).collect();
    Json(List { items, next: None })
}

/// `signal_lost`: the publisher is gone and may return, as the hub holds.
pub(super) fn state_of(stream: &StreamInfo) -> &'static str {
    match stream.lost_since {
        None => "live",
        Some(_) => "signal_lost",
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SearchQuery {
    /// All of these words, each from its beginning.
    q: String,
    stream: Option<String>,
    /// `next` of the page before.
    cursor: Option<u64>,
    limit: Option<usize>,
}

fn with_a_word(q: &str) -> Result<(), Problem> {
    if q.contains(char::is_alphanumeric) {
        return Ok(());
    }
    let detail = format!("q must hold a word to look for, got {q:?}");
    Err(bad_request(detail))
}

/// Lines that stood on a screen, secrets masked, the newest first.
pub(super) async fn search(
    State(state): State<AppState>,
    query: Result<Query<SearchQuery>, QueryRejection>,
) -> Result<Json<List<Hit>>, Problem> {
    let Query(query) = query?;
    with_a_word(&query.q)?;
    let page = state.views.findings.search(TextQuery {
        words: query.q,
        stream: query.stream,
        before: query.cursor,
        limit: page_size(query.limit)?,
    });
    Ok(Json(page.await?.into()))
}

/// The panel, in the order of `agents.toml`.
pub(super) async fn agents(State(state): State<AppState>) -> Json<List<AgentStatus>> {
    Json(List {
        items: state.views.roster.agents(),
        next: None,
    })
}

/// What hosted models have cost, and what that has led to.
pub(super) async fn budget(State(state): State<AppState>) -> Json<Standing> {
    Json(state.views.budget.standing())
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FindingsQuery {
    agent: Option<String>,
    stream: Option<String>,
    incident: Option<Uuid>,
    /// This bad or worse.
    severity: Option<Severity>,
    /// All of these words, each from its beginning.
    q: Option<String>,
    /// `next` of the page before.
    cursor: Option<u64>,
    limit: Option<usize>,
}

pub(super) async fn findings(
    State(state): State<AppState>,
    query: Result<Query<FindingsQuery>, QueryRejection>,
) -> Result<Json<List<Finding>>, Problem> {
    let Query(query) = query?;
    if let Some(words) = &query.q {
        with_a_word(words)?;
    }
    let page = state.views.findings.page(FindingQuery {
        words: query.q,
        agent: query.agent,
        stream: query.stream,
        incident: query.incident,
        severity: query.severity,
        before: query.cursor,
        limit: page_size(query.limit)?,
    });
    Ok(Json(page.await?.into()))
}

/// The newest picture of a stream that may be shown, encoded when asked for:
/// where the screen is read, the newest that was, with its secrets painted
/// over.
pub(super) async fn latest_still(
    State(state): State<AppState>,
    Path(stream): Path<String>,
) -> Result<Response, Problem> {
    let frames = &state.views.frames;
    let name = StreamName::new(&stream).ok();
    let Some((name, _)) = name.and_then(|name| Some((name.clone(), frames.newest(&name)?))) else {
        return Err(Problem::new(
            StatusCode::NOT_FOUND,
            "no live stream of that name has a picture",
        ));
    };
    let redact = if frames.is_read() {
        state.views.redact
    } else {
        Redact::Off
    };
    let frame = frames
        .to_look_at(&name)
        .and_then(|frame| frame.cleared(redact));
    let Some(frame) = frame else {
        return Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "the screen has not been read yet, so nobody knows what on it is secret; try again in a few seconds",
        ));
    };
    let (seq, pts_ms) = (frame.seq, frame.pts.ms());
    let still = tokio::task::spawn_blocking(move || frame.still()).await;
    let still = still
        .map_err(|error| error.to_string())
        .and_then(|still| still.map_err(|error| error.to_string()));
    let still = still.map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error))?;
    let headers = [
        (header::CONTENT_TYPE, "image/jpeg".to_owned()),
        (header::ETAG, format!("\"{}\"", still.sha256)),
        (
            header::HeaderName::from_static("x-frame-seq"),
            seq.to_string(),
        ),
        (
            header::HeaderName::from_static("x-frame-pts-ms"),
            pts_ms.to_string(),
        ),
    ];
    Ok((headers, still.jpeg).into_response())
}

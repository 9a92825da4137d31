//! Live state: streams, analysts, budget, and the newest picture.

use std::cmp::Reverse;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use watchtower_analysts::budget::Standing;
use watchtower_base::stream_name::StreamName;
use watchtower_domain::agent_status::AgentStatus;
use watchtower_media::hub::{Cadence, StreamInfo, StreamRates};
use watchtower_screen::redact::RedactedFrame;

use crate::http::list::List;
use crate::http::problem::Problem;
use crate::{AppState, ConsoleState};

/// Status of a stream.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StreamShown {
    name: String,
    state: StreamState,
    since: Timestamp,
    /// Time its publisher disconnected; null while it is connected.
    lost_since: Option<Timestamp>,
    /// Time the person who shares paused it; null while it is not paused.
    paused_since: Option<Timestamp>,
    /// Codec of the newest picture, like width and height (pixels); null before
    /// one.
    codec: Option<String>,
    width: Option<u32>,
    height: Option<u32>,
    /// Total of all its publishers, like the counts that follow.
    video_units: u64,
    audio_units: u64,
    keyframes: u64,
    bytes: u64,
    /// Rates over the last 5 s; null without a publisher, and while unmeasured.
    rates: Option<RatesShown>,
    cadence: CadenceShown,
    /// Newest decoded picture.
    frame: Option<FrameShown>,
}

/// `signal_lost`: the publisher is gone and may return within 30 s. `paused`:
/// the person who shares shows a card, and nothing is analysed or kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StreamState {
    Live,
    SignalLost,
    Paused,
}

impl StreamState {
    pub(crate) fn of(stream: &StreamInfo) -> Self {
        match (stream.lost_since, stream.paused_since) {
            (Some(_), _) => Self::SignalLost,
            (None, Some(_)) => Self::Paused,
            (None, None) => Self::Live,
        }
    }
}

/// Cadence of the pictures: `steady` at a constant frame rate, `on_change` as
/// the screen changes, where no picture means a still screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum CadenceShown {
    Steady,
    OnChange,
}

impl From<Cadence> for CadenceShown {
    fn from(cadence: Cadence) -> Self {
        match cadence {
            Cadence::Steady => Self::Steady,
            Cadence::OnChange => Self::OnChange,
        }
    }
}

/// Rates at which a stream arrives.
#[derive(Debug, Serialize, ToSchema)]
struct RatesShown {
    /// Video and sound.
    bits_per_second: u64,
    frames_per_second: f64,
    /// Distance of the newest two keyframes, or the time since the newest if
    /// that is longer; null before it is known, and where keyframes come on
    /// request.
    keyframe_interval_ms: Option<u64>,
}

impl From<StreamRates> for RatesShown {
    fn from(rates: StreamRates) -> Self {
        let ms = |interval: Duration| interval.as_millis() as u64;
        Self {
            bits_per_second: rates.bits_per_second,
            frames_per_second: rates.pictures_per_second,
            keyframe_interval_ms: rates.keyframe_interval.map(ms),
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
struct FrameShown {
    seq: u64,
    /// Milliseconds on the stream's own clock.
    pts_ms: i64,
    captured_at: Timestamp,
}

/// Streams, the newest first
#[utoipa::path(get, path = "/api/streams", tag = "live", responses((status = 200, body = List<StreamShown>)))]
pub(crate) async fn streams(State(state): State<AppState>) -> Json<List<StreamShown>> {
    let mut streams = state.console.hub.streams();
    streams.sort_by_key(|stream| Reverse(stream.since));
    let item = |info: StreamInfo| {
        let frame = state.console.frames.newest(&info.name);
        let video = info.video.as_ref();
        StreamShown {
            state: StreamState::of(&info),
            name: info.name.to_string(),
            since: info.since,
            lost_since: info.lost_since,
            paused_since: info.paused_since,
            codec: video.map(|video| video.codec.as_str().to_owned()),
            width: video.map(|video| video.width),
            height: video.map(|video| video.height),
            video_units: info.totals.video_units,
            audio_units: info.totals.audio_units,
            keyframes: info.totals.keyframes,
            bytes: info.totals.bytes,
            rates: info.rates.map(RatesShown::from),
            cadence: info.cadence.into(),
            frame: frame.map(|frame| FrameShown {
                seq: frame.seq,
                pts_ms: frame.pts.ms(),
                captured_at: frame.captured_at,
            }),
        }
    };
    Json(List::whole(streams.into_iter().map(item).collect()))
}

/// Analysts, in the order of `agents.toml`
#[utoipa::path(get, path = "/api/agents", tag = "live", responses((status = 200, body = List<AgentStatus>)))]
pub(crate) async fn agents(State(state): State<AppState>) -> Json<List<AgentStatus>> {
    Json(List::whole(state.console.board.agents()))
}

/// Cost of hosted models, and the restrictions it led to
#[utoipa::path(get, path = "/api/budget", tag = "live", responses((status = 200, body = Standing)))]
pub(crate) async fn budget(State(state): State<AppState>) -> Json<Standing> {
    Json(state.console.budget.standing())
}

/// The newest picture of a stream that may be shown
///
/// Encoded on request: with OCR on the newest picture that was read, secrets
/// painted over.
#[utoipa::path(
    get,
    path = "/api/frames/{stream}/latest.jpg",
    tag = "live",
    params(("stream" = String, Path, description = "The stream's name")),
    responses(
        (status = 200, content_type = "image/jpeg", body = Vec<u8>, headers(
            ("etag" = String, description = "The SHA-256 of the picture, in quotes"),
            ("x-frame-seq" = u64, description = "Counts the stream's frames"),
            ("x-frame-pts-ms" = i64, description = "Milliseconds on the stream's own clock"),
        )),
        (status = 304, description = "Not modified (`If-None-Match`)"),
        (status = 400, description = "Invalid stream name", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No live stream of that name has a picture", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The screen has not been read yet", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn latest_still(
    State(state): State<AppState>,
    stream: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let Path(stream) = stream?;
    let name = StreamName::new(&stream).map_err(|_| no_frame())?;
    still(&state.console, &name).await
}

fn no_frame() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "no live stream of that name has a frame",
    )
}

/// Newest picture of a stream that may be shown.
pub(super) async fn still(console: &ConsoleState, name: &StreamName) -> Result<Response, Problem> {
    let frames = &console.frames;
    // What was decoded before a pause is not shown any more, even before its
    // decoder has stopped.
    let newest = frames.newest(name).filter(|_| !console.hub.is_paused(name));
    newest.ok_or_else(no_frame)?;
    let frame = frames
        .to_look_at(name)
        .and_then(|frame| RedactedFrame::of(&frame, console.redact));
    let Some(frame) = frame else {
        return Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "screen text not read yet, so secrets can't be redacted; retry in a few seconds",
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
        (header::ETAG, format!("\"{}\"", still.sha256())),
        (
            header::HeaderName::from_static("x-frame-seq"),
            seq.to_string(),
        ),
        (
            header::HeaderName::from_static("x-frame-pts-ms"),
            pts_ms.to_string(),
        ),
    ];
    Ok((headers, still.bytes().clone()).into_response())
}

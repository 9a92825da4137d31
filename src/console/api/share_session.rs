//! `/api/share/{stream}`: the view of a share link's holder, outside the guard,
//! authorised by the token of the link or of its session.
//!
//! Wrong tokens are rate limited like console tokens, but apart from them: a
//! guess of one kind does not lock out holders of the other.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{ConnectInfo, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoResponses, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use watchtower_base::failure_limit::{Attempt, FailureLimit};
use watchtower_base::log_limit::LogLimit;
use watchtower_base::stream_name::StreamName;
use watchtower_domain::agent_status::AgentStatus;
use watchtower_domain::finding::{Finding, Severity, box_of_thousandths};
use watchtower_media::hub::StreamInfo;
use watchtower_record::store::{FindingQuery, ShareLink};
use watchtower_screen::frame::Frame;
use watchtower_screen::redact::UNREADABLE;

use super::live::{StreamState, still};
use super::shares::ShareUses;
use crate::AppState;
use crate::auth::guard::bearer;
use crate::auth::rate_limit::TokenGuesses;
use crate::http::body::JsonBody;
use crate::http::problem::Problem;
use crate::share_links::HolderCheck;

/// Newest findings shown to a holder; more do not fit beside the picture.
const FINDINGS: usize = 20;

#[derive(Debug, Clone)]
struct ShareApi {
    state: AppState,
    limit: Arc<ShareGuessLimit>,
}

#[derive(Debug, Default)]
struct ShareGuessLimit {
    failures: FailureLimit<TokenGuesses>,
    log_limit: LogLimit,
}

pub(crate) fn router(state: AppState) -> OpenApiRouter {
    let limit = Arc::default();
    OpenApiRouter::new()
        .routes(routes!(share))
        .routes(routes!(begin_session))
        .routes(routes!(share_still))
        .routes(routes!(set_paused))
        .with_state(ShareApi { state, limit })
}

/// Errors of a token that is not or no longer valid.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "a description")]
enum NotHeld {
    /// Missing or invalid token
    #[response(status = 401, content_type = "application/problem+json")]
    Unknown(Problem),
    /// The share link has expired, was revoked, or was used already
    #[response(status = 410, content_type = "application/problem+json")]
    Over(Problem),
    /// Too many invalid tokens from this address
    #[response(status = 429, content_type = "application/problem+json")]
    TooMany(Problem),
}

/// Problem of a holder's request, with the headers that its status requires.
#[derive(Debug)]
struct HolderProblem(Problem);

impl From<Problem> for HolderProblem {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl IntoResponse for HolderProblem {
    fn into_response(self) -> Response {
        let Self(problem) = self;
        if problem.is_unauthorized() {
            let scheme = "Bearer realm=\"watchtower share\"";
            ([(header::WWW_AUTHENTICATE, scheme)], problem).into_response()
        } else if problem.is_for_now() {
            ([(header::RETRY_AFTER, "1")], problem).into_response()
        } else {
            problem.into_response()
        }
    }
}

/// Share link as its holder sees it, and what the analysts get of the stream.
#[derive(Debug, Serialize, ToSchema)]
struct ShareSession {
    stream: String,
    uses: ShareUses,
    expires_at: Timestamp,
    /// Null while the stream is not live.
    state: Option<StreamState>,
    paused_since: Option<Timestamp>,
    /// True if OCR is on: secrets are detected, and painted over.
    reads_screens: bool,
    /// Newest picture of the stream that may be shown; null before one.
    frame: Option<ShareFrame>,
    /// Secrets on that picture.
    secrets: Vec<SecretShown>,
    /// Analysts of the stream.
    analysts: Vec<ShareAnalyst>,
    /// Findings of the stream since it is live, newest first; null if the link
    /// does not show them.
    findings: Option<Vec<ShareFinding>>,
}

#[derive(Debug, Serialize, ToSchema)]
struct ShareFrame {
    seq: u64,
    captured_at: Timestamp,
}

/// Secret on a picture, without its text.
#[derive(Debug, Serialize, ToSchema)]
struct SecretShown {
    /// For instance `AWS access key`.
    kind: String,
    #[schema(schema_with = box_of_thousandths)]
    r#box: [u16; 4],
}

#[derive(Debug, Serialize, ToSchema)]
struct ShareAnalyst {
    name: String,
    /// Last response of its model; null before the first.
    last_look: Option<Timestamp>,
    /// True while its model does not answer.
    failing: bool,
}

#[derive(Debug, Serialize, ToSchema)]
struct ShareFinding {
    id: Uuid,
    agent: String,
    severity: Severity,
    title: String,
    observed_at: Timestamp,
}

impl From<Finding> for ShareFinding {
    fn from(finding: Finding) -> Self {
        Self {
            id: finding.id,
            agent: finding.agent,
            severity: finding.severity,
            title: finding.title,
            observed_at: finding.observed_at,
        }
    }
}

impl ShareApi {
    /// Checks the token of a request within the rate limit of its address.
    fn admitted(
        &self,
        peer: IpAddr,
        headers: &HeaderMap,
        stream: Result<Path<String>, PathRejection>,
    ) -> Result<(StreamName, String, ShareLink), HolderProblem> {
        let refuse = |status, why: &str| Err(HolderProblem(Problem::new(status, why)));
        let Some(token) = headers.get(header::AUTHORIZATION).and_then(bearer) else {
            let why = "expected Authorization: Bearer TOKEN, with the token of a share link";
            return refuse(StatusCode::UNAUTHORIZED, why);
        };
        let stream = stream
            .ok()
            .and_then(|Path(name)| StreamName::new(&name).ok());
        let mut check = HolderCheck::Unknown;
        let attempt = self.limit.failures.attempt(peer, Instant::now(), || {
            if let Some(stream) = &stream {
                check = self.state.console.shares.holder(stream, token);
            }
            !matches!(check, HolderCheck::Unknown)
        });
        if attempt != Attempt::Right {
            self.state.console.metrics.wrong_share_tokens.inc();
            if let Some(held) = self.limit.log_limit.admit() {
                tracing::warn!(%peer, "invalid share token{held}");
            }
        }
        match (attempt, check, stream) {
            (Attempt::Right, HolderCheck::Valid(link), Some(stream)) => {
                Ok((stream, token.to_owned(), *link))
            }
            (Attempt::Right, HolderCheck::Over(end), _) => {
                refuse(StatusCode::GONE, &end.to_string())
            }
            (Attempt::TooMany, _, _) => refuse(
                StatusCode::TOO_MANY_REQUESTS,
                "too many invalid share tokens from this address; retry in a second",
            ),
            _ => refuse(
                StatusCode::UNAUTHORIZED,
                "no valid share link for this stream",
            ),
        }
    }
}

/// State of a stream as the holder of its share link sees it
#[utoipa::path(
    get,
    path = "/api/share/{stream}",
    tag = "sharing",
    security(("share" = [])),
    params(("stream" = String, Path, description = "The stream's name")),
    responses((status = 200, body = ShareSession), (status = 503, description = "Database unavailable", body = Problem, content_type = "application/problem+json"), NotHeld)
)]
async fn share(
    State(api): State<ShareApi>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    stream: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Json<ShareSession>, HolderProblem> {
    let (stream, _, link) = api.admitted(peer.ip(), &headers, stream)?;
    let console = &api.state.console;
    let info = console.hub.stream(&stream);
    let paused = info.as_ref().and_then(|info| info.paused_since);
    let frame = match paused {
        Some(_) => None,
        None => console.frames.to_look_at(&stream),
    };
    let findings = match (&info, link.findings) {
        (_, false) => None,
        (None, true) => Some(Vec::new()),
        (Some(info), true) => Some(found(&api.state, info).await?),
    };
    Ok(Json(ShareSession {
        stream: stream.to_string(),
        uses: ShareUses::of(&link),
        expires_at: link.expires_at,
        state: info.as_ref().map(StreamState::of),
        paused_since: paused,
        reads_screens: console.frames.is_read(),
        secrets: frame
            .as_ref()
            .map_or_else(Vec::new, |frame| secrets(frame, &api.state)),
        frame: frame.map(|frame| ShareFrame {
            seq: frame.seq,
            captured_at: frame.captured_at,
        }),
        analysts: analysts(&stream, console.board.agents()),
        findings,
    }))
}

/// Secrets of a frame by kind and place; an area that was not read is none.
fn secrets(frame: &Frame, state: &AppState) -> Vec<SecretShown> {
    let (width, height) = (frame.picture.width, frame.picture.height);
    let hidden = frame.hidden(state.console.redact);
    let known = hidden.filter(|secret| secret.kind != UNREADABLE);
    known
        .map(|secret| SecretShown {
            kind: secret.kind.clone(),
            r#box: secret.rect.thousandths(width, height),
        })
        .collect()
}

/// Analysts that look at the stream.
fn analysts(stream: &StreamName, agents: Vec<AgentStatus>) -> Vec<ShareAnalyst> {
    let looks = |agent: &AgentStatus| {
        let named = agent.streams.iter().any(|name| name == stream.as_str());
        agent.enabled && (agent.streams.is_empty() || named)
    };
    let looking = agents.into_iter().filter(looks);
    looking
        .map(|agent| ShareAnalyst {
            name: agent.name,
            last_look: agent.last_look,
            failing: agent.failing_since.is_some(),
        })
        .collect()
}

async fn found(state: &AppState, info: &StreamInfo) -> Result<Vec<ShareFinding>, Problem> {
    let query = FindingQuery {
        stream: Some(info.name.to_string()),
        since: Some(info.since),
        limit: FINDINGS,
        ..FindingQuery::default()
    };
    let page = state
        .console
        .findings
        .read(move |store| store.findings(&query))
        .await?;
    Ok(page.items.into_iter().map(ShareFinding::from).collect())
}

/// Token of a session.
#[derive(Debug, Serialize, ToSchema)]
struct SessionBegun {
    /// To be used instead of the link's from now on; null if the given one
    /// stays valid.
    token: Option<String>,
}

/// Begins a session: uses a link for one up
#[utoipa::path(
    post,
    path = "/api/share/{stream}/session",
    tag = "sharing",
    security(("share" = [])),
    params(("stream" = String, Path, description = "The stream's name")),
    responses((status = 200, body = SessionBegun), (status = 503, description = "Database unavailable", body = Problem, content_type = "application/problem+json"), NotHeld)
)]
async fn begin_session(
    State(api): State<ShareApi>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    stream: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Json<SessionBegun>, HolderProblem> {
    let (stream, token, link) = api.admitted(peer.ip(), &headers, stream)?;
    let begun = api.state.console.shares.begin(&stream, &token).await;
    let session = begun.map_err(Problem::from)?;
    tracing::info!(%stream, share = %link.id, "share session begins");
    let token = session.map(|session| session.expose().to_owned());
    Ok(Json(SessionBegun { token }))
}

/// The newest picture of the stream as analysts get it, secrets painted over
#[utoipa::path(
    get,
    path = "/api/share/{stream}/latest.jpg",
    tag = "sharing",
    security(("share" = [])),
    params(("stream" = String, Path, description = "The stream's name")),
    responses(
        (status = 200, content_type = "image/jpeg", body = Vec<u8>, headers(
            ("etag" = String, description = "The SHA-256 of the picture, in quotes"),
            ("x-frame-seq" = u64, description = "Counts the stream's frames"),
            ("x-frame-pts-ms" = i64, description = "Milliseconds on the stream's own clock"),
        )),
        (status = 404, description = "The stream is not live, is paused, or has no picture yet", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The screen has not been read yet", body = Problem, content_type = "application/problem+json"),
        NotHeld,
    )
)]
async fn share_still(
    State(api): State<ShareApi>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    stream: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, HolderProblem> {
    let (stream, _, _) = api.admitted(peer.ip(), &headers, stream)?;
    Ok(still(&api.state.console, &stream).await?)
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PauseBody {
    paused: bool,
}

/// Pauses or resumes the stream
///
/// While paused nothing of it is decoded, analysed or kept, and it has no sound;
/// its publisher shows a card.
#[utoipa::path(
    put,
    path = "/api/share/{stream}/paused",
    tag = "sharing",
    security(("share" = [])),
    params(("stream" = String, Path, description = "The stream's name")),
    request_body = PauseBody,
    responses(
        (status = 204, description = "Done"),
        (status = 400, description = "Invalid request", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The stream is not live", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "Content-Type is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The body does not match the schema", body = Problem, content_type = "application/problem+json"),
        NotHeld,
    )
)]
async fn set_paused(
    State(api): State<ShareApi>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    stream: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Result<JsonBody<PauseBody>, Problem>,
) -> Result<StatusCode, HolderProblem> {
    let (stream, _, link) = api.admitted(peer.ip(), &headers, stream)?;
    let JsonBody(PauseBody { paused }) = body?;
    if !api.state.console.hub.set_paused(&stream, paused) {
        let why = "the stream is not live";
        return Err(Problem::new(StatusCode::CONFLICT, why).into());
    }
    let done = if paused { "paused" } else { "resumed" };
    tracing::info!(%stream, share = %link.id, "stream {done} by the person who shares");
    Ok(StatusCode::NO_CONTENT)
}

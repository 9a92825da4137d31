//! WHEP over HTTP (draft-ietf-wish-whep; its sibling for ingest is RFC 9725).
//!
//! Everything that can be rejected is rejected before a session exists. Access
//! control comes before these handlers.

use std::net::IpAddr;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use watchtower_transport::offer;

use super::Gateway;
use super::problem::WhepProblem;

const SDP: &str = "application/sdp";
/// Age, in seconds, of the picture that a viewer begins with and keeps until
/// the next keyframe. Absent where it begins at the live edge.
const BEHIND: &str = "x-watchtower-behind";
const FRAGMENT: &str = "application/trickle-ice-sdpfrag";

/// Answers to `OPTIONS` for a stream and of a session (RFC 9725, section 4.2).
const POSTED: [(&str, &str); 2] = [("accept-post", SDP), ("allow", "POST, OPTIONS")];
const PATCHED: [(&str, &str); 2] = [
    ("accept-patch", FRAGMENT),
    ("allow", "PATCH, DELETE, OPTIONS"),
];

/// The wing's pages, to be merged behind the access guard.
pub fn router(gateway: Gateway) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(watch))
        .routes(routes!(trickle, end))
        .route("/whep/{stream}", options(POSTED))
        .route("/whep/{stream}/{session}", options(PATCHED))
        // As some clients join their base and a name.
        .route("/whep/{stream}/", options(POSTED).post(watch))
        .route(
            "/whep/{stream}/{session}/",
            options(PATCHED).patch(trickle).delete(end),
        )
        .layer(DefaultBodyLimit::max(offer::MOST_BYTES))
        .with_state(gateway)
}

/// Starts a viewer session
#[utoipa::path(
    post,
    path = "/whep/{stream}",
    tag = "media",
    params(("stream" = String, Path, description = "The stream's name")),
    request_body(content = String, content_type = "application/sdp", description = "The viewer's offer"),
    responses(
        (status = 201, description = "The answer", body = String, content_type = "application/sdp", headers(
            ("location" = String, description = "The session"),
            ("etag" = String, description = "Entity tag of the session"),
            ("x-watchtower-behind" = Option<u64>, description = "Seconds the picture is old until the next keyframe"),
        )),
        (status = 400, description = "The offer can't be used", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
        (status = 404, description = "Stream not found", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
        (status = 406, description = "Accept excludes SDP", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
        (status = 409, description = "The stream has no media of an offered kind yet", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
        (status = 413, description = "The offer is too large", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
        (status = 415, description = "The body is not declared as SDP", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
        (status = 422, description = "Nothing offered can be sent", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
        (status = 503, description = "Temporarily unavailable", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
    )
)]
async fn watch(
    State(gateway): State<Gateway>,
    Path(stream): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Response {
    let created = async {
        if !is_media_type(&headers, SDP) {
            return Err(expected(SDP));
        }
        if !accepts_sdp(&headers) {
            let why = format!("the answer is {SDP}, which Accept excludes");
            return Err(WhepProblem::new(StatusCode::NOT_ACCEPTABLE, why));
        }
        let body =
            body.map_err(|refusal| WhepProblem::new(refusal.status(), refusal.body_text()))?;
        let offer = text(&body)?;
        gateway.answer(&stream, offer, is_near(&headers)).await
    };
    let response = match created.await {
        Ok(answer) => {
            let mut response = (StatusCode::CREATED, answer.sdp).into_response();
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(SDP));
            headers.insert("accept-patch", HeaderValue::from_static(FRAGMENT));
            if let Some(behind) = answer.behind {
                headers.insert(BEHIND, HeaderValue::from(behind.as_secs().max(1)));
            }
            let location = format!("/whep/{stream}/{}", answer.session);
            let etag = format!("\"{}\"", answer.etag);
            for (name, value) in [(header::LOCATION, location), (header::ETAG, etag)] {
                if let Ok(value) = HeaderValue::from_str(&value) {
                    headers.insert(name, value);
                }
            }
            response
        }
        Err(problem) => problem.into_response(),
    };
    counted(&gateway, response)
}

/// Accepts trickled ICE candidates, and uses none
///
/// The server is an ICE-lite agent: it never connects to a viewer.
#[utoipa::path(
    patch,
    path = "/whep/{stream}/{session}",
    tag = "media",
    params(
        ("stream" = String, Path, description = "The stream's name"),
        ("session" = String, Path, description = "Id of the session, from `Location`"),
    ),
    request_body(content = String, content_type = "application/trickle-ice-sdpfrag", description = "Candidates (RFC 8840)"),
    responses(
        (status = 204, description = "Accepted"),
        (status = 404, description = "Session not found", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
        (status = 412, description = "The session has another entity tag", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
        (status = 413, description = "It is too large", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
        (status = 415, description = "The body is not declared as a fragment", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
        (status = 422, description = "ICE restart, which is not supported", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
    )
)]
async fn trickle(
    State(gateway): State<Gateway>,
    Path((stream, session)): Path<(String, String)>,
    headers: HeaderMap,
    body: Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Response {
    let taken = || {
        let (etag, remote) = gateway
            .session(&stream, &session)
            .ok_or_else(no_such_session)?;
        if !is_media_type(&headers, FRAGMENT) {
            return Err(expected(FRAGMENT));
        }
        if !matches(&headers, &etag) {
            let why = "the session has another entity tag";
            return Err(WhepProblem::new(StatusCode::PRECONDITION_FAILED, why));
        }
        let body =
            body.map_err(|refusal| WhepProblem::new(refusal.status(), refusal.body_text()))?;
        let restarted = text(&body)?
            .lines()
            .filter_map(|line| line.strip_prefix("a=ice-ufrag:"))
            .any(|fragment| fragment != remote);
        if restarted {
            let why = "ICE restarts are not supported: end the session and start another";
            return Err(WhepProblem::new(StatusCode::UNPROCESSABLE_ENTITY, why));
        }
        Ok(StatusCode::NO_CONTENT)
    };
    let response = taken().into_response();
    counted(&gateway, response)
}

/// Ends a session
#[utoipa::path(
    delete,
    path = "/whep/{stream}/{session}",
    tag = "media",
    params(
        ("stream" = String, Path, description = "The stream's name"),
        ("session" = String, Path, description = "Id of the session, from `Location`"),
    ),
    responses(
        (status = 200, description = "Session ended"),
        (status = 404, description = "Session not found", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
    )
)]
async fn end(
    State(gateway): State<Gateway>,
    Path((stream, session)): Path<(String, String)>,
) -> Response {
    let response = if gateway.end(&stream, &session) {
        StatusCode::OK.into_response()
    } else {
        no_such_session().into_response()
    };
    counted(&gateway, response)
}

fn options(headers: [(&'static str, &'static str); 2]) -> MethodRouter<Gateway> {
    axum::routing::options(move || async move { (StatusCode::NO_CONTENT, headers) })
}

/// True if `If-Match` admits the tag (RFC 9110, section 13.1.1): a list, which
/// may be spread over several fields, and no weak tag matches. Ours have no
/// commas in them.
fn matches(headers: &HeaderMap, etag: &str) -> bool {
    let mut tags = headers
        .get_all(header::IF_MATCH)
        .iter()
        .flat_map(|value| value.to_str().unwrap_or_default().split(','))
        .map(str::trim)
        .peekable();
    tags.peek().is_none() || tags.any(|tag| tag == "*" || tag == format!("\"{etag}\""))
}

fn counted(gateway: &Gateway, response: Response) -> Response {
    gateway.metrics().whep_answer(response.status().as_u16());
    response
}

/// True if the body is declared to be of that media type.
fn is_media_type(headers: &HeaderMap, wanted: &str) -> bool {
    let declared = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    declared
        .and_then(|declared| declared.split(';').next())
        .is_some_and(|declared| declared.trim().eq_ignore_ascii_case(wanted))
}

fn accepts_sdp(headers: &HeaderMap) -> bool {
    let mut ranges = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|range| range.split(';').next())
        .map(str::trim)
        .peekable();
    ranges.peek().is_none()
        || ranges.any(|range| matches!(range, "*/*" | "application/*" | "application/sdp"))
}

/// True if the request was made to this machine's loopback address, so that
/// its media may take that way too.
fn is_near(headers: &HeaderMap) -> bool {
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .and_then(|host| host.parse::<Authority>().ok());
    host.is_some_and(|authority| {
        let name = authority.host().trim_matches(['[', ']']);
        name.eq_ignore_ascii_case("localhost")
            || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
    })
}

fn text(body: &Bytes) -> Result<&str, WhepProblem> {
    std::str::from_utf8(body)
        .map_err(|_| WhepProblem::new(StatusCode::UNPROCESSABLE_ENTITY, "the body is not UTF-8"))
}

fn expected(kind: &str) -> WhepProblem {
    let why = format!("expected Content-Type: {kind}");
    WhepProblem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, why)
}

fn no_such_session() -> WhepProblem {
    WhepProblem::new(StatusCode::NOT_FOUND, "no such session")
}

//! WHEP over HTTP (draft-ietf-wish-whep; its sibling for ingest is RFC 9725).
//!
//! Everything that can be rejected is rejected before a session exists. Access
//! control comes before these handlers.

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use watchtower_transport::offer;
use watchtower_transport::signalling;
use watchtower_transport::signalling::problem::SdpProblem;
use watchtower_transport::signalling::{PATCHED, POSTED, is_near, no_such_session};

use super::Gateway;

/// Age, in seconds, of the picture that a viewer begins with and keeps until
/// the next keyframe. Absent where it begins at the live edge.
const BEHIND: &str = "x-watchtower-behind";

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
        let offer = signalling::offered(&headers, &body)?;
        gateway.answer(&stream, offer, is_near(&headers)).await
    };
    let response = match created.await {
        Ok(answer) => {
            let location = format!("/whep/{stream}/{}", answer.session);
            let mut response = signalling::created(answer.sdp, &location, &answer.etag);
            if let Some(behind) = answer.behind {
                let behind = HeaderValue::from(behind.as_secs().max(1));
                response.headers_mut().insert(BEHIND, behind);
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
        let fragment = signalling::trickled(&headers, &body, &etag)?;
        if signalling::is_restart(fragment, &remote) {
            let why = "ICE restarts are not supported: end the session and start another";
            return Err(SdpProblem::new(StatusCode::UNPROCESSABLE_ENTITY, why));
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

fn counted(gateway: &Gateway, response: Response) -> Response {
    gateway.metrics().whep_answer(response.status().as_u16());
    response
}

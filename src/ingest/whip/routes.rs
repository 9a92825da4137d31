//! WHIP over HTTP (RFC 9725).
//!
//! Publishers have a bearer of their own, the stream key or a token, so these
//! routes are outside the console's guard.

use std::net::SocketAddr;

use axum::body::Bytes;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use watchtower_transport::offer;
use watchtower_transport::signalling;
use watchtower_transport::signalling::problem::SdpProblem;
use watchtower_transport::signalling::{PATCHED, POSTED, is_near, no_such_session};

use super::server::WhipServer;

/// Routes of WHIP, to be merged outside the console's guard.
pub fn router(server: WhipServer) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(publish))
        .routes(routes!(trickle, end))
        .route("/whip/{stream}", options(POSTED))
        .route("/whip/{stream}/{session}", options(PATCHED))
        // As some clients join their base and a name.
        .route("/whip/{stream}/", options(POSTED).post(publish))
        .layer(DefaultBodyLimit::max(offer::MOST_BYTES))
        .with_state(server)
}

/// Starts a publisher's session (WHIP)
///
/// The bearer is the stream key, or the token of a share link for the stream.
/// Without a stream key only programs and pages of the server's machine
/// publish.
#[utoipa::path(
    post,
    path = "/whip/{stream}",
    operation_id = "publish_stream",
    tag = "media",
    security(("publisher" = []), ()),
    params(("stream" = String, Path, description = "The stream's name")),
    request_body(content = String, content_type = "application/sdp", description = "The publisher's offer"),
    responses(
        (status = 201, description = "The answer", body = String, content_type = "application/sdp", headers(
            ("location" = String, description = "The session"),
            ("etag" = String, description = "Entity tag of the session"),
            ("accept-patch" = String, description = "Media type of trickled candidates"),
        )),
        (status = 400, description = "The body is not a session description", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
        (status = 401, description = "The stream key is missing or wrong", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
        (status = 403, description = "The share link is no longer valid, or no stream key is configured", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
        (status = 404, description = "Not a name of a stream", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
        (status = 406, description = "Accept excludes SDP", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
        (status = 413, description = "The offer is too large", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
        (status = 415, description = "The body is not declared as SDP", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
        (status = 422, description = "Nothing offered is accepted", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
        (status = 429, description = "Too many wrong keys from this address, or too many publishers at once", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
        (status = 503, description = "The limit of streams is reached", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
    )
)]
async fn publish(
    State(server): State<WhipServer>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Path(stream): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Response {
    let created = async {
        let (name, permit) = server.authorize(&stream, &headers, peer.ip()).await?;
        let offer = signalling::offered(&headers, &body)?;
        server.answer(name, permit, offer, &headers, peer).await
    };
    let response = match created.await {
        Ok(answer) => {
            let location = format!("/whip/{stream}/{}", answer.session);
            signalling::created(answer.sdp, &location, &answer.etag)
        }
        Err(problem) => problem.into_response(),
    };
    counted(&server, response)
}

/// Accepts trickled ICE candidates of a publisher, and restarts ICE
///
/// The server is an ICE-lite agent and never connects to a publisher, so that
/// candidates are not used. Other credentials than the session's request a
/// restart.
#[utoipa::path(
    patch,
    path = "/whip/{stream}/{session}",
    operation_id = "trickle_publisher",
    tag = "media",
    security(()),
    params(
        ("stream" = String, Path, description = "The stream's name"),
        ("session" = String, Path, description = "Id of the session, from `Location`"),
    ),
    request_body(content = String, content_type = "application/trickle-ice-sdpfrag", description = "Candidates (RFC 8840)"),
    responses(
        (status = 200, description = "ICE was restarted: the server's new credentials and candidates", body = String, content_type = "application/trickle-ice-sdpfrag", headers(
            ("etag" = String, description = "New entity tag of the session"),
        )),
        (status = 204, description = "Accepted"),
        (status = 404, description = "Session not found", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
        (status = 412, description = "The session has another entity tag", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
        (status = 413, description = "It is too large", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
        (status = 415, description = "The body is not declared as a fragment", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
        (status = 422, description = "ICE restart without a password", body = ref("#/components/schemas/Problem"), content_type = "application/problem+json"),
    )
)]
async fn trickle(
    State(server): State<WhipServer>,
    Path((stream, session)): Path<(String, String)>,
    headers: HeaderMap,
    body: Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Response {
    let taken = || {
        let (etag, remote) = server
            .session(&stream, &session)
            .ok_or_else(no_such_session)?;
        let fragment = signalling::trickled(&headers, &body, &etag)?;
        if !signalling::is_restart(fragment, &remote) {
            return Ok(StatusCode::NO_CONTENT.into_response());
        }
        let (answer, etag) = server.restart(&session, fragment, is_near(&headers))?;
        Ok::<_, SdpProblem>(signalling::restarted(answer, &etag))
    };
    let response = taken().unwrap_or_else(IntoResponse::into_response);
    counted(&server, response)
}

/// Ends a publisher's session
#[utoipa::path(
    delete,
    path = "/whip/{stream}/{session}",
    operation_id = "end_publisher",
    tag = "media",
    security(()),
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
    State(server): State<WhipServer>,
    Path((stream, session)): Path<(String, String)>,
) -> Response {
    let response = if server.end(&stream, &session) {
        StatusCode::OK.into_response()
    } else {
        no_such_session().into_response()
    };
    counted(&server, response)
}

fn options(headers: [(&'static str, &'static str); 2]) -> MethodRouter<WhipServer> {
    axum::routing::options(move || async move { (StatusCode::NO_CONTENT, headers) })
}

fn counted(server: &WhipServer, mut response: Response) -> Response {
    let status = response.status();
    server.metrics().whip_answer(status.as_u16());
    if status == StatusCode::UNAUTHORIZED {
        let scheme = HeaderValue::from_static("Bearer realm=\"watchtower\"");
        response
            .headers_mut()
            .insert(header::WWW_AUTHENTICATE, scheme);
    }
    response
}

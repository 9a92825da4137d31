//! HTTP of WHEP and WHIP (draft-ietf-wish-whep, RFC 9725): media types, entity
//! tags, and rejections.

pub mod problem;

use std::net::IpAddr;

use axum::body::Bytes;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use problem::SdpProblem;

pub const SDP: &str = "application/sdp";
pub const FRAGMENT: &str = "application/trickle-ice-sdpfrag";

/// Answers to `OPTIONS` for a stream and of a session (RFC 9725, section 4.2).
pub const POSTED: [(&str, &str); 2] = [("accept-post", SDP), ("allow", "POST, OPTIONS")];
pub const PATCHED: [(&str, &str); 2] = [
    ("accept-patch", FRAGMENT),
    ("allow", "PATCH, DELETE, OPTIONS"),
];

/// Response to an accepted offer: the answer, and the session at `location`.
pub fn created(sdp: String, location: &str, etag: &str) -> Response {
    let mut response = (StatusCode::CREATED, sdp).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(SDP));
    headers.insert("accept-patch", HeaderValue::from_static(FRAGMENT));
    let etag = format!("\"{etag}\"");
    for (name, value) in [(header::LOCATION, location), (header::ETAG, &etag)] {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    }
    response
}

/// Response to an ICE restart: the fragment with our credentials.
pub fn restarted(fragment: String, etag: &str) -> Response {
    let mut response = (StatusCode::OK, fragment).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(FRAGMENT));
    if let Ok(etag) = HeaderValue::from_str(&format!("\"{etag}\"")) {
        headers.insert(header::ETAG, etag);
    }
    response
}

/// Checks media types, and reads the offer of a request.
pub fn offered<'a>(
    headers: &HeaderMap,
    body: &'a Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Result<&'a str, SdpProblem> {
    if !is_media_type(headers, SDP) {
        return Err(expected(SDP));
    }
    if !accepts_sdp(headers) {
        let why = format!("the answer is {SDP}, which Accept excludes");
        return Err(SdpProblem::new(StatusCode::NOT_ACCEPTABLE, why));
    }
    received(body)
}

/// Checks the media type and the entity tag, and reads the fragment of a
/// request (RFC 8840).
pub fn trickled<'a>(
    headers: &HeaderMap,
    body: &'a Result<Bytes, axum::extract::rejection::BytesRejection>,
    etag: &str,
) -> Result<&'a str, SdpProblem> {
    if !is_media_type(headers, FRAGMENT) {
        return Err(expected(FRAGMENT));
    }
    if !matches(headers, etag) {
        let why = "the session has another entity tag";
        return Err(SdpProblem::new(StatusCode::PRECONDITION_FAILED, why));
    }
    received(body)
}

fn received(
    body: &Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Result<&str, SdpProblem> {
    match body {
        Ok(body) => std::str::from_utf8(body).map_err(|_| {
            SdpProblem::new(StatusCode::UNPROCESSABLE_ENTITY, "the body is not UTF-8")
        }),
        Err(refusal) => Err(SdpProblem::new(refusal.status(), refusal.body_text())),
    }
}

/// True if a fragment requests an ICE restart, by a user fragment that is not
/// the session's (`remote`).
pub fn is_restart(fragment: &str, remote: &str) -> bool {
    let mut lines = fragment.lines();
    lines.any(|line| {
        let given = line.strip_prefix("a=ice-ufrag:");
        given.is_some_and(|given| given != remote)
    })
}

pub fn no_such_session() -> SdpProblem {
    SdpProblem::new(StatusCode::NOT_FOUND, "no such session")
}

/// True if the request was made to this machine's loopback address, so that
/// its media may take that way too.
pub fn is_near(headers: &HeaderMap) -> bool {
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

fn expected(kind: &str) -> SdpProblem {
    let why = format!("expected Content-Type: {kind}");
    SdpProblem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, why)
}

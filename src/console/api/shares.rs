//! `/api/shares`: share links, made and revoked by operators.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode, header};
use fast_qr::QRBuilder;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use watchtower_base::stream_name::StreamName;
use watchtower_record::store::ShareLink;

use crate::AppState;
use crate::auth::login::is_encrypted;
use crate::http::body::JsonBody;
use crate::http::list::{List, bad_request};
use crate::http::problem::{Failed, Problem};
use crate::share_links::ShareGrant;

/// Longest validity in hours: a week. Who shares for longer gets a new link.
const MOST_HOURS: u16 = 168;

/// Number of sessions a link is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ShareUses {
    /// One, which may reconnect until the link expires.
    Once,
    /// Any number until it expires.
    Hours,
}

impl ShareUses {
    pub(super) fn of(link: &ShareLink) -> Self {
        match link.once {
            true => Self::Once,
            false => Self::Hours,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum ShareState {
    Open,
    /// Used by its one session, which may go on.
    Used,
    Expired,
    Revoked,
}

/// Share link, without its token.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ShareShown {
    id: Uuid,
    stream: String,
    state: ShareState,
    uses: ShareUses,
    /// True if its holder sees the findings of the stream.
    findings: bool,
    created_at: Timestamp,
    expires_at: Timestamp,
    /// Start of its one session; null before, and for a link for hours.
    used_at: Option<Timestamp>,
    revoked_at: Option<Timestamp>,
}

impl From<ShareLink> for ShareShown {
    fn from(link: ShareLink) -> Self {
        let state = if link.revoked_at.is_some() {
            ShareState::Revoked
        } else if link.expires_at <= Timestamp::now() {
            ShareState::Expired
        } else if link.used_at.is_some() {
            ShareState::Used
        } else {
            ShareState::Open
        };
        Self {
            id: link.id,
            state,
            uses: ShareUses::of(&link),
            findings: link.findings,
            created_at: link.created_at,
            expires_at: link.expires_at,
            used_at: link.used_at,
            revoked_at: link.revoked_at,
            stream: link.stream.to_string(),
        }
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ShareBody {
    #[schema(pattern = "^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$")]
    stream: String,
    uses: ShareUses,
    /// Validity in hours, 1 to 168; 8 by default.
    #[schema(minimum = 1, maximum = 168)]
    hours: Option<u16>,
    /// Its holder sees the findings of the stream; false by default.
    #[serde(default)]
    findings: bool,
}

/// New share link, with its token this once.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ShareMade {
    #[serde(flatten)]
    share: ShareShown,
    /// Page to share at, with the token in its fragment, which browsers do not
    /// send.
    url: String,
    token: String,
    /// QR code of the URL.
    qr: QrShown,
}

/// QR code: squares of side 1 as a path of SVG, without the margin of 4.
#[derive(Debug, Serialize, ToSchema)]
struct QrShown {
    side: usize,
    path: String,
}

impl QrShown {
    fn of(text: &str) -> Result<Self, Problem> {
        let code = QRBuilder::new(text).build().map_err(|error| {
            let why = format!("no QR code of that URL: {error}");
            Problem::new(StatusCode::BAD_REQUEST, why)
        })?;
        let mut path = String::new();
        for row in 0..code.size {
            let dark = |column: usize| column < code.size && code[row][column].value();
            let mut column = 0;
            while column < code.size {
                let run = (column..).take_while(|column| dark(*column)).count();
                if run > 0 {
                    path.push_str(&format!("M{column} {row}h{run}v1h-{run}z"));
                }
                column += run.max(1);
            }
        }
        Ok(Self {
            side: code.size,
            path,
        })
    }
}

/// Share links, the newest first
#[utoipa::path(get, path = "/api/shares", tag = "sharing", responses((status = 200, body = List<ShareShown>)))]
pub(crate) async fn shares(State(state): State<AppState>) -> Json<List<ShareShown>> {
    let links = state.console.shares.all();
    Json(List::whole(
        links.into_iter().map(ShareShown::from).collect(),
    ))
}

/// Creates a share link
///
/// The token is in this response only.
#[utoipa::path(
    post,
    path = "/api/shares",
    tag = "sharing",
    request_body = ShareBody,
    responses(
        (status = 201, body = ShareMade),
        (status = 413, description = "The body is too large", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "Content-Type is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The body does not match the schema", body = Problem, content_type = "application/problem+json"),
        Failed,
    )
)]
pub(crate) async fn create_share(
    State(state): State<AppState>,
    headers: HeaderMap,
    body: Result<JsonBody<ShareBody>, Problem>,
) -> Result<(StatusCode, Json<ShareMade>), Problem> {
    let JsonBody(body) = body?;
    let stream = StreamName::new(&body.stream).map_err(|error| bad_request(error.to_string()))?;
    let hours = body.hours.unwrap_or(8);
    if !(1..=MOST_HOURS).contains(&hours) {
        let detail = format!("hours must be from 1 to {MOST_HOURS}, got {hours}");
        return Err(bad_request(detail));
    }
    let origin = own_origin(&headers, state.secure)?;
    let grant = ShareGrant {
        stream,
        once: body.uses == ShareUses::Once,
        findings: body.findings,
        lasts: SignedDuration::from_hours(hours.into()),
    };
    let (link, token) = state.console.shares.create(grant).await?;
    let token = token.expose().to_owned();
    let url = format!("{origin}/share/{}#token={token}", link.stream);
    tracing::info!(stream = %link.stream, share = %link.id, "share link created");
    let made = ShareMade {
        qr: QrShown::of(&url)?,
        share: link.into(),
        url,
        token,
    };
    Ok((StatusCode::CREATED, Json(made)))
}

/// Revokes a share link, and ends its session
#[utoipa::path(
    delete,
    path = "/api/shares/{id}",
    tag = "sharing",
    params(("id" = Uuid, Path, description = "Id of the share link")),
    responses(
        (status = 204, description = "Revoked"),
        (status = 404, description = "Share link not found", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Revoked until the next start: the database is unavailable", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn revoke_share(
    State(state): State<AppState>,
    id: Result<Path<String>, PathRejection>,
) -> Result<StatusCode, Problem> {
    let id = id.ok().and_then(|Path(id)| id.parse::<Uuid>().ok());
    let id = id.ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "share link not found"))?;
    state.console.shares.revoke(id).await?;
    tracing::info!(share = %id, "share link revoked");
    Ok(StatusCode::NO_CONTENT)
}

/// Address of this server as its client reaches it.
fn own_origin(headers: &HeaderMap, secure: bool) -> Result<String, Problem> {
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let authority = host.and_then(|host| host.parse::<Authority>().ok());
    let authority =
        authority.ok_or_else(|| bad_request("the Host header must be this server's"))?;
    let scheme = match secure || is_encrypted(headers) {
        true => "https",
        false => "http",
    };
    Ok(format!("{scheme}://{authority}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn qr_path_draws_the_dark_modules() {
        let text = "https://tower.example/share/team#token=0123456789abcdef0123456789abcdef";
        let shown = QrShown::of(text).unwrap();
        let mut drawn = vec![vec![false; shown.side]; shown.side];
        for piece in shown.path.split_terminator('z') {
            let piece = piece.strip_prefix('M').unwrap();
            let (place, rest) = piece.split_once('h').unwrap();
            let (column, row) = place.split_once(' ').unwrap();
            let run: usize = rest.split_once("v1h-").unwrap().0.parse().unwrap();
            let (column, row): (usize, usize) = (column.parse().unwrap(), row.parse().unwrap());
            drawn[row][column..column + run].fill(true);
        }
        let code = QRBuilder::new(text).build().unwrap();
        let expected = (0..code.size).map(|row| {
            let row = &code[row];
            row.iter()
                .take(code.size)
                .map(|module| module.value())
                .collect::<Vec<_>>()
        });
        assert_eq!(drawn, expected.collect::<Vec<_>>());
        // A finder pattern in the corner: dark, light, dark.
        assert_eq!(
            drawn[0][..8],
            [true, true, true, true, true, true, true, false]
        );
        assert_eq!(
            drawn[1][..7],
            [true, false, false, false, false, false, true]
        );
    }

    #[test]
    fn link_has_the_address_that_the_operator_uses() {
        let origin = |pairs: &[(&'static str, &'static str)], secure| {
            let pair = |(name, value): &(&'static str, &'static str)| {
                (
                    header::HeaderName::from_static(name),
                    header::HeaderValue::from_static(value),
                )
            };
            own_origin(&pairs.iter().map(pair).collect(), secure).ok()
        };
        let own = |text: &str| Some(text.to_owned());
        let host = ("host", "tower.example:8080");
        assert_eq!(origin(&[host], false), own("http://tower.example:8080"));
        assert_eq!(origin(&[host], true), own("https://tower.example:8080"));
        let proxied = [host, ("x-forwarded-proto", "https")];
        assert_eq!(origin(&proxied, false), own("https://tower.example:8080"));
        assert_eq!(origin(&[], false), None);
        assert_eq!(origin(&[("host", "a b")], false), None);
    }
}

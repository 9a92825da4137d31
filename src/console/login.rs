//! A browser's way in: the token once, then a cookie.
//!
//! The cookie says until when it holds and proves it with an HMAC (RFC 2104)
//! under the token, so it needs no memory, survives a restart and ends with
//! the token it was made from.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Form;
use axum::extract::rejection::FormRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use hmac::{Hmac, Mac};
use jiff::Timestamp;
use serde::Deserialize;
use sha2::Sha256;
use url::Url;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::access::Access;
use super::page;
use crate::config::Secret;

const COOKIE: &str = "watchtower";
const HOLDS: Duration = Duration::from_secs(7 * 24 * 3600);
/// A token is a short text; so is its form.
const MOST_BYTES: usize = 4096;
/// Wrong tokens: this many at once, then one a second, of all who try.
const GUESSES: f64 = 10.0;

pub(super) fn router(access: Arc<Access>) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(login))
        .layer(DefaultBodyLimit::max(MOST_BYTES))
        .with_state(access)
}

#[derive(Deserialize, ToSchema)]
struct Given {
    /// `WATCHTOWER_CONSOLE_TOKEN`
    token: String,
}

/// Signs a browser in: the token once, then a cookie
#[utoipa::path(
    post,
    path = "/login",
    tag = "service",
    security(()),
    request_body(content = Given, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 303, description = "Signed in, or there is no token to show; the cookie holds for a week"),
        (status = 400, description = "No such form", body = String, content_type = "text/html"),
        (status = 401, description = "That is not the token", body = String, content_type = "text/html"),
        (status = 403, description = "Sent from another site", body = String, content_type = "text/html"),
        (status = 429, description = "Too many wrong tokens", body = String, content_type = "text/html"),
    )
)]
async fn login(
    State(access): State<Arc<Access>>,
    headers: HeaderMap,
    form: Result<Form<Given>, FormRejection>,
) -> Response {
    let refuse = |status: StatusCode, why: &str| (status, page::login(Some(why))).into_response();
    if !access.is_same_site(&headers) {
        return refuse(
            StatusCode::FORBIDDEN,
            "The form was sent from another site.",
        );
    }
    let Ok(Form(given)) = form else {
        return refuse(StatusCode::BAD_REQUEST, "The form has a field named token.");
    };
    let Some(token) = access.token() else {
        return Redirect::to("/").into_response();
    };
    if !access.guesses.left() {
        let why = "Too many wrong tokens. Try again in a second.";
        return refuse(StatusCode::TOO_MANY_REQUESTS, why);
    }
    if !access.accepts(given.token.trim()) {
        access.guesses.spend();
        return refuse(StatusCode::UNAUTHORIZED, "That is not the token.");
    }
    let until = Timestamp::now()
        .as_second()
        .saturating_add(HOLDS.as_secs() as i64);
    let secure = if access.is_secure() { "; Secure" } else { "" };
    let cookie = format!(
        "{COOKIE}={until}.{}; Path=/; Max-Age={}; HttpOnly; SameSite=Strict{secure}",
        hex(&proof(token, until).finalize().into_bytes()),
        HOLDS.as_secs(),
    );
    let mut response = Redirect::to(&wanted(&headers)).into_response();
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

/// The view the form was shown in place of, which a shared link named.
fn wanted(headers: &HeaderMap) -> String {
    let from = headers
        .get(header::REFERER)
        .and_then(|url| url.to_str().ok());
    let from = from.and_then(|url| Url::parse(url).ok());
    // Of our own site, whatever it says: nothing but the query is taken over.
    match from.as_ref().and_then(Url::query) {
        Some(query) => format!("/?{query}"),
        None => "/".to_owned(),
    }
}

/// Whether the request carries a cookie that still holds.
pub(super) fn is_signed_in(headers: &HeaderMap, token: &Secret) -> bool {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='))
        .any(|value| holds(value, token, Timestamp::now().as_second()))
}

fn holds(value: &str, token: &Secret, now: i64) -> bool {
    let parsed = value.split_once('.').and_then(|(until, given)| {
        let until: i64 = until.parse().ok()?;
        Some((until, unhex(given)?))
    });
    // In constant time.
    parsed.is_some_and(|(until, given)| {
        until > now && proof(token, until).verify_slice(&given).is_ok()
    })
}

fn proof(token: &Secret, until: i64) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(token.expose().as_bytes())
        .expect("a key of any length will do");
    mac.update(b"watchtower console session until ");
    mac.update(until.to_string().as_bytes());
    mac
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .map(|digit| digit.to_digit(16).map(|value| value as u8))
        .collect();
    let digits = digits.filter(|digits| digits.len() == 64)?;
    Some(
        digits
            .chunks(2)
            .map(|pair| pair[0] << 4 | pair[1])
            .collect(),
    )
}

/// A bucket of guesses that refills by one a second.
#[derive(Debug)]
pub(super) struct Guesses(Mutex<(f64, Instant)>);

impl Default for Guesses {
    fn default() -> Self {
        Self(Mutex::new((GUESSES, Instant::now())))
    }
}

impl Guesses {
    fn left(&self) -> bool {
        let mut bucket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let gained = now.duration_since(bucket.1).as_secs_f64();
        *bucket = ((bucket.0 + gained).min(GUESSES), now);
        bucket.0 >= 1.0
    }

    fn spend(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0 -= 1.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cookie(token: &Secret, until: i64) -> String {
        format!(
            "{until}.{}",
            hex(&proof(token, until).finalize().into_bytes())
        )
    }

    #[test]
    fn a_shared_link_is_where_one_gets() {
        let from = |referer: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::REFERER, HeaderValue::from_static(referer));
            wanted(&headers)
        };
        assert_eq!(
            from("https://tower:8080/?view=incidents&incident=1"),
            "/?view=incidents&incident=1"
        );
        for plain in [
            "https://tower:8080/",
            "https://evil.example/x",
            "//evil",
            "",
        ] {
            assert_eq!(from(plain), "/", "{plain}");
        }
        assert_eq!(wanted(&HeaderMap::new()), "/");
    }

    #[test]
    fn a_cookie_holds_until_its_time_and_for_its_token_alone() {
        let token = Secret::new("t0ken-5e6f7a8b").expect("a secret");
        let other = Secret::new("another").expect("a secret");
        let value = cookie(&token, 1000);
        assert!(holds(&value, &token, 999));
        assert!(!holds(&value, &token, 1000));
        assert!(!holds(&value, &other, 999));
        assert!(!holds(&value.replace("1000.", "9000."), &token, 999));
        for bad in ["", ".", "1000", "1000.zz", "x.00", "1000.00"] {
            assert!(!holds(bad, &token, 999), "{bad}");
        }
    }
}

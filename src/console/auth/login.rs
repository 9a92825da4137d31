//! Login of browsers: the token once, then a session cookie.
//!
//! The cookie contains its expiry and a nonce, authenticated by an HMAC (RFC
//! 2104) under the token, so that it needs no server state, survives a restart
//! and expires with its token. Signing out revokes the one session, for as long
//! as this server runs; a new token revokes all.
//!
//! A cookie made with a guessed token is a guess too, so that an unknown one is
//! checked only within the rate limit of its address. Known ones always pass:
//! an attacker behind the same proxy can't lock out signed-in users.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Form;
use axum::extract::rejection::FormRejection;
use axum::extract::{ConnectInfo, DefaultBodyLimit, State};
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

use watchtower_base::failure_limit::Attempt;
use watchtower_base::secret::Secret;
use watchtower_base::sync::Locked as _;

use crate::auth::guard::{ConsoleAuth, TOO_MANY, same};
use crate::page;

const COOKIE: &str = "watchtower";
const HOLDS: Duration = Duration::from_secs(7 * 24 * 3600);
/// Maximum size of the login form in bytes; a token is short.
const MOST_BYTES: usize = 4096;
/// Limit of remembered sessions; more than a server has users.
const MOST_SESSIONS: usize = 4096;

type Proof = [u8; 32];
/// Distinguishes sessions that began in the same second.
type Nonce = u128;

pub(crate) fn router(access: Arc<ConsoleAuth>) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(login))
        .routes(routes!(logout))
        .layer(DefaultBodyLimit::max(MOST_BYTES))
        .with_state(access)
}

#[derive(Deserialize, ToSchema)]
struct Given {
    /// `WATCHTOWER_CONSOLE_TOKEN`
    token: String,
    /// View to show then: `/?` and its query.
    #[serde(default)]
    #[schema(max_length = 2000)]
    next: String,
}

/// Signs a browser in: the token once, then a cookie
#[utoipa::path(
    post,
    path = "/login",
    tag = "service",
    security(()),
    request_body(content = Given, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 303, description = "Signed in, or no token configured; the cookie is valid for a week"),
        (status = 400, description = "Invalid form", body = String, content_type = "text/html"),
        (status = 401, description = "Invalid token", body = String, content_type = "text/html"),
        (status = 403, description = "Sent from another site", body = String, content_type = "text/html"),
        (status = 429, description = "Too many invalid tokens", body = String, content_type = "text/html"),
    )
)]
async fn login(
    State(access): State<Arc<ConsoleAuth>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    form: Result<Form<Given>, FormRejection>,
) -> Response {
    let next = target(&headers, form.as_ref().map_or("", |form| &form.next));
    let refuse = |status: StatusCode, why: &str| {
        // The next form is sent from the page that this is.
        (status, page::login_to(Some(why), &next)).into_response()
    };
    if !access.is_same_site(&headers) {
        return refuse(StatusCode::FORBIDDEN, "Cross-site form refused");
    }
    let Ok(Form(given)) = form else {
        return refuse(StatusCode::BAD_REQUEST, "Missing form field: token");
    };
    let Some(token) = access.token() else {
        return Redirect::to("/").into_response();
    };
    match access.attempt(peer.ip(), || same(given.token.trim(), token)) {
        Attempt::Right => {}
        Attempt::Wrong => return refuse(StatusCode::UNAUTHORIZED, "Invalid token"),
        Attempt::TooMany => {
            let refusal = refuse(StatusCode::TOO_MANY_REQUESTS, TOO_MANY);
            return ([(header::RETRY_AFTER, "1")], refusal).into_response();
        }
    }
    let until = Timestamp::now()
        .as_second()
        .saturating_add(HOLDS.as_secs() as i64);
    let secure = if access.is_secure() || is_encrypted(&headers) {
        "; Secure"
    } else {
        ""
    };
    let nonce: Nonce = rand::random();
    let proof: Proof = proof(token, until, nonce).finalize().into_bytes().into();
    access.sessions.remember(proof, until);
    let cookie = format!(
        "{COOKIE}={until}.{nonce:032x}.{}; Path=/; Max-Age={}; HttpOnly; SameSite=Strict{secure}",
        hex::encode(proof),
        HOLDS.as_secs(),
    );
    let mut response = Redirect::to(&next).into_response();
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

/// Signs a browser out: its session is revoked, and every copy of its cookie invalid
#[utoipa::path(
    post,
    path = "/logout",
    tag = "service",
    security(()),
    responses(
        (status = 303, description = "Signed out"),
        (status = 403, description = "Sent from another site", body = String, content_type = "text/html"),
    )
)]
async fn logout(
    State(access): State<Arc<ConsoleAuth>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
) -> Response {
    if !access.is_same_site(&headers) {
        let page = page::login(Some("Cross-site form refused"));
        return (StatusCode::FORBIDDEN, page).into_response();
    }
    if let Some(token) = access.token() {
        let attempt = |is_right: &dyn Fn() -> bool| access.attempt(peer.ip(), is_right);
        access.sessions.end(&headers, token, attempt);
    }
    let gone = format!("{COOKIE}=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict");
    ([(header::SET_COOKIE, gone)], Redirect::to("/")).into_response()
}

/// True if the browser's or a proxy's headers indicate an encrypted connection.
/// A forged header only keeps the client's own cookie off plain HTTP.
pub(crate) fn is_encrypted(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name)?.to_str().ok();
    let forwarded = text("x-forwarded-proto").and_then(|list| list.split(',').next());
    text("origin").is_some_and(|origin| origin.starts_with("https://"))
        || forwarded.is_some_and(|scheme| scheme.trim().eq_ignore_ascii_case("https"))
}

/// Longest query that a login leads back to.
const LONGEST_QUERY: usize = 2000;

/// View requested before the login, as of a shared link: named by the form after
/// a wrong token, and by the address of the page before.
fn target(headers: &HeaderMap, next: &str) -> String {
    let named = next.strip_prefix("/?");
    let named = named.and_then(|query| Url::parse(&format!("http://localhost/?{query}")).ok());
    let from = headers
        .get(header::REFERER)
        .and_then(|url| url.to_str().ok());
    let from = named.or_else(|| Url::parse(from?).ok());
    // Never leaves our own site: only the query is taken over.
    match from.as_ref().and_then(Url::query) {
        Some(query) if query.len() <= LONGEST_QUERY => format!("/?{query}"),
        _ => "/".to_owned(),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SessionCheck {
    Open,
    /// No valid cookie.
    None,
    /// Too many attempts: the cookie was not checked.
    TooMany,
}

/// Verified sessions, and their expiry.
#[derive(Debug, Default)]
pub(crate) struct ConsoleSessions(Mutex<KnownSessions>);

#[derive(Debug, Default)]
struct KnownSessions {
    open: HashMap<Proof, i64>,
    /// Revoked sessions, and their expiry.
    revoked: HashMap<Proof, i64>,
}

/// Session as read from a cookie.
#[derive(Debug, Clone, Copy)]
struct SessionCookie {
    until: i64,
    nonce: Nonce,
    proof: Proof,
}

impl ConsoleSessions {
    /// Revokes the sessions of a request, if they are valid.
    fn end(
        &self,
        headers: &HeaderMap,
        token: &Secret,
        attempt: impl Fn(&dyn Fn() -> bool) -> Attempt,
    ) {
        let now = Timestamp::now().as_second();
        for cookie in cookies(headers) {
            if self.among(&[cookie], token, now, &attempt) == SessionCheck::Open {
                self.revoke(cookie, now);
            }
        }
    }

    fn revoke(&self, cookie: SessionCookie, now: i64) {
        let mut known = self.0.locked();
        known.open.remove(&cookie.proof);
        known.revoked.retain(|_, until| *until > now);
        known.revoked.insert(cookie.proof, cookie.until);
    }

    /// Checks the request for a valid cookie; `attempt` takes a guess from the
    /// rate limit.
    pub(crate) fn of(
        &self,
        headers: &HeaderMap,
        token: &Secret,
        attempt: impl Fn(&dyn Fn() -> bool) -> Attempt,
    ) -> SessionCheck {
        self.among(
            &cookies(headers),
            token,
            Timestamp::now().as_second(),
            attempt,
        )
    }

    fn among(
        &self,
        cookies: &[SessionCookie],
        token: &Secret,
        now: i64,
        attempt: impl Fn(&dyn Fn() -> bool) -> Attempt,
    ) -> SessionCheck {
        // Expired sessions give no access, and reveal nothing.
        let holding = cookies.iter().filter(|cookie| cookie.until > now);
        if holding.clone().any(|cookie| self.is_open(cookie)) {
            return SessionCheck::Open;
        }
        for cookie in holding.filter(|cookie| !self.is_revoked(cookie)) {
            // In constant time.
            let is_right = || {
                let proof = proof(token, cookie.until, cookie.nonce);
                proof.verify_slice(&cookie.proof).is_ok()
            };
            match attempt(&is_right) {
                Attempt::Right => {
                    self.remember(cookie.proof, cookie.until);
                    return SessionCheck::Open;
                }
                Attempt::Wrong => {}
                Attempt::TooMany => return SessionCheck::TooMany,
            }
        }
        SessionCheck::None
    }

    fn is_open(&self, cookie: &SessionCookie) -> bool {
        let known = self.0.locked();
        known.open.get(&cookie.proof) == Some(&cookie.until)
    }

    fn is_revoked(&self, cookie: &SessionCookie) -> bool {
        let known = self.0.locked();
        known.revoked.contains_key(&cookie.proof)
    }

    fn remember(&self, given: Proof, until: i64) {
        let mut known = self.0.locked();
        let open = &mut known.open;
        if open.len() >= MOST_SESSIONS {
            let soonest = open.iter().min_by_key(|(_, until)| **until);
            if let Some(soonest) = soonest.map(|(proof, _)| *proof) {
                open.remove(&soonest);
            }
        }
        open.insert(given, until);
    }
}

fn cookies(headers: &HeaderMap) -> Vec<SessionCookie> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='))
        .filter_map(parsed)
        .collect()
}

/// Parses a cookie: expiry, nonce and HMAC.
fn parsed(value: &str) -> Option<SessionCookie> {
    let mut parts = value.split('.');
    let mut part = || parts.next();
    let (until, nonce, given) = (part()?, part()?, part()?);
    let nonce = (nonce.len() == 32).then(|| Nonce::from_str_radix(nonce, 16).ok())?;
    let cookie = SessionCookie {
        until: until.parse().ok()?,
        nonce: nonce?,
        proof: unhex(given)?,
    };
    part().is_none().then_some(cookie)
}

fn proof(token: &Secret, until: i64, nonce: Nonce) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(token.expose().as_bytes())
        .expect("a key of any length will do");
    mac.update(b"watchtower console session until ");
    mac.update(until.to_string().as_bytes());
    mac.update(b" nonce ");
    mac.update(&nonce.to_be_bytes());
    mac
}

fn unhex(text: &str) -> Option<Proof> {
    let mut bytes = Proof::default();
    hex::decode_to_slice(text, &mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cookie(token: &Secret, until: i64) -> String {
        numbered(token, until, 7)
    }

    fn numbered(token: &Secret, until: i64, nonce: Nonce) -> String {
        let proof = proof(token, until, nonce).finalize().into_bytes();
        format!("{until}.{nonce:032x}.{}", hex::encode(proof))
    }

    #[test]
    fn signing_out_revokes_one_session() {
        let token = Secret::new("t0ken-5e6f7a8b").expect("a secret");
        let sessions = ConsoleSessions::default();
        let until = Timestamp::now().as_second() + 1000;
        let (mine, other) = (numbered(&token, until, 1), numbered(&token, until, 2));
        assert_ne!(mine, other, "of the same second");
        let open =
            |value: &str| check(&sessions, value, &token, until - 1, true) == SessionCheck::Open;
        assert!(open(&mine) && open(&other));
        let mut headers = HeaderMap::new();
        let shown = HeaderValue::from_str(&format!("a=b; {COOKIE}={mine}")).expect("text");
        headers.insert(header::COOKIE, shown);
        sessions.end(&headers, &token, |is_right| match is_right() {
            true => Attempt::Right,
            false => Attempt::Wrong,
        });
        assert!(!open(&mine), "a copy of the cookie is of no use");
        assert!(open(&other));
        let moved = mine.replace(&format!("{:032x}", 1), &format!("{:032x}", 3));
        assert!(!open(&moved), "the nonce is proved, too");
    }

    #[test]
    fn login_redirects_to_the_shared_link() {
        let from = |referer: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::REFERER, HeaderValue::from_static(referer));
            target(&headers, "")
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
        assert_eq!(target(&HeaderMap::new(), ""), "/");
    }

    #[test]
    fn form_leads_to_a_query_of_this_server_only() {
        let to = |next: &str| target(&HeaderMap::new(), next);
        assert_eq!(to("/?view=setup&hours=8"), "/?view=setup&hours=8");
        assert_eq!(
            to("/?a=\"><script>\r\nX: y"),
            "/?a=%22%3E%3Cscript%3EX:%20y"
        );
        for away in [
            "//evil.example/?a",
            "https://evil.example/?a",
            "/other?a",
            "?a",
        ] {
            assert_eq!(to(away), "/", "{away}");
        }
        assert_eq!(to(&format!("/?{}", "a".repeat(2001))), "/");
    }

    /// Checks a cookie with a guess left, or with none.
    fn check(
        sessions: &ConsoleSessions,
        value: &str,
        token: &Secret,
        now: i64,
        left: bool,
    ) -> SessionCheck {
        let cookies: Vec<_> = parsed(value).into_iter().collect();
        sessions.among(&cookies, token, now, |is_right| match left {
            false => Attempt::TooMany,
            true if is_right() => Attempt::Right,
            true => Attempt::Wrong,
        })
    }

    #[test]
    fn cookie_is_valid_until_expiry_and_for_its_token() {
        let token = Secret::new("t0ken-5e6f7a8b").expect("a secret");
        let other = Secret::new("another").expect("a secret");
        let value = cookie(&token, 1000);
        let holds = |value: &str, token: &Secret, now: i64| {
            check(&ConsoleSessions::default(), value, token, now, true) == SessionCheck::Open
        };
        assert!(holds(&value, &token, 999));
        assert!(!holds(&value, &token, 1000));
        assert!(!holds(&value, &other, 999));
        assert!(!holds(&value.replace("1000.", "9000."), &token, 999));
        for bad in ["", ".", "1000", "1000.zz", "x.00", "1000.00"] {
            assert!(!holds(bad, &token, 999), "{bad}");
        }
    }

    #[test]
    fn known_sessions_are_exempt_from_the_rate_limit() {
        let token = Secret::new("t0ken-5e6f7a8b").expect("a secret");
        let sessions = ConsoleSessions::default();
        let value = cookie(&token, 1000);
        let stale = cookie(&token, 990);
        let check = |value: &str, now: i64, left: bool| check(&sessions, value, &token, now, left);
        assert_eq!(check(&value, 999, false), SessionCheck::TooMany);
        assert_eq!(check(&value, 999, true), SessionCheck::Open);
        assert_eq!(check(&value, 999, false), SessionCheck::Open);
        assert_eq!(check(&value, 1000, false), SessionCheck::None);
        let later = value.replace("1000.", "2000.");
        assert_eq!(check(&later, 999, false), SessionCheck::TooMany);
        // Expired, so that it is not checked.
        assert_eq!(check(&stale, 999, false), SessionCheck::None);
    }
}

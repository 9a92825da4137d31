//! Access control of the console.
//!
//! A configured token is required of every client, on this machine too. Without
//! one only requests from this machine pass: their `Host` is a loopback name
//! (against DNS rebinding), they have no headers of a proxy or tunnel, and they
//! come from no other site's page. A browser that has signed in
//! ([`login`](super::login)) sends its cookie instead of the token. Wrong
//! tokens are rate limited ([`rate_limit`](super::rate_limit)).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use prometheus_client::metrics::counter::Counter;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use watchtower_base::failure_limit::{Attempt, FailureLimit};
use watchtower_base::log_limit::LogLimit;
use watchtower_base::secret::Secret;

use super::login::{ConsoleSessions, SessionCheck};
use crate::auth::rate_limit::TokenGuesses;
use crate::http::problem::Problem;
use crate::page;

/// Header for the sites whose pages may embed a response as an image or a
/// script.
const SHOWN_BY: header::HeaderName =
    header::HeaderName::from_static("cross-origin-resource-policy");
/// HSTS for a year, for this host alone (RFC 6797).
const ALWAYS_TLS: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// Message for an address with too many wrong tokens.
pub(crate) const TOO_MANY: &str = "Too many invalid tokens. Retry in a second.";

#[derive(Debug)]
pub(crate) struct ConsoleAuth {
    token: Option<Secret>,
    origins: Vec<String>,
    /// Flag: HTTPS only.
    secure: bool,
    failures: FailureLimit<TokenGuesses>,
    /// Counter of wrong tokens, logged at a limited rate.
    wrong: Counter,
    log_limit: LogLimit,
    pub(crate) sessions: ConsoleSessions,
}

impl ConsoleAuth {
    pub(crate) fn new(
        token: Option<Secret>,
        origins: Vec<String>,
        secure: bool,
        wrong: Counter,
    ) -> Self {
        Self {
            token,
            origins,
            secure,
            failures: FailureLimit::default(),
            wrong,
            log_limit: LogLimit::default(),
            sessions: ConsoleSessions::default(),
        }
    }

    pub(crate) fn token(&self) -> Option<&Secret> {
        self.token.as_ref()
    }

    pub(crate) fn is_secure(&self) -> bool {
        self.secure
    }

    /// Checks a credential of `peer` within its rate limit.
    pub(crate) fn attempt(&self, peer: IpAddr, is_right: impl FnOnce() -> bool) -> Attempt {
        let attempt = self.failures.attempt(peer, Instant::now(), is_right);
        if attempt != Attempt::Right {
            self.wrong.inc();
            if let Some(held) = self.log_limit.admit() {
                tracing::warn!(%peer, "invalid console token{held}");
            }
        }
        attempt
    }

    /// True for a request of another site's page, by the browser's Fetch
    /// Metadata. Links to our pages may be anywhere.
    fn is_embedded_elsewhere(headers: &HeaderMap) -> bool {
        let value_of = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let elsewhere = matches!(value_of("sec-fetch-site"), Some("cross-site" | "same-site"));
        let opens = value_of("sec-fetch-mode") == Some("navigate")
            && value_of("sec-fetch-dest").is_none_or(|dest| dest == "document");
        elsewhere && !opens
    }

    /// True for a request of our own pages, as far as the browser's headers
    /// show.
    pub(crate) fn is_same_site(&self, headers: &HeaderMap) -> bool {
        let host = headers
            .get(header::HOST)
            .and_then(|host| host.to_str().ok());
        match headers.get(header::ORIGIN) {
            Some(origin) => self.is_own(origin, host.unwrap_or_default()),
            None => !Self::is_embedded_elsewhere(headers),
        }
    }

    fn check(
        &self,
        headers: &HeaderMap,
        authority: Option<&Authority>,
        peer: IpAddr,
    ) -> Result<(), Problem> {
        let Some(token) = &self.token else {
            return self.check_local(headers, authority);
        };
        let unauthorized = |why: &str| Err(Problem::new(StatusCode::UNAUTHORIZED, why));
        let too_many = || {
            Err(Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too many invalid tokens from this address; retry in a second",
            ))
        };
        if let Some(given) = headers.get(header::AUTHORIZATION).and_then(bearer) {
            return match self.attempt(peer, || same(given, token)) {
                Attempt::Right => Ok(()),
                Attempt::Wrong => unauthorized("invalid token"),
                Attempt::TooMany => too_many(),
            };
        }
        let attempt = |is_right: &dyn Fn() -> bool| self.attempt(peer, is_right);
        match self.sessions.of(headers, token, attempt) {
            // A browser attaches a cookie to any request, also of other sites
            // (CSRF).
            SessionCheck::Open if self.is_same_site(headers) => Ok(()),
            SessionCheck::Open => Err(Problem::new(
                StatusCode::FORBIDDEN,
                "cross-origin request refused",
            )),
            SessionCheck::None => unauthorized("expected Authorization: Bearer TOKEN"),
            SessionCheck::TooMany => too_many(),
        }
    }

    fn check_local(
        &self,
        headers: &HeaderMap,
        authority: Option<&Authority>,
    ) -> Result<(), Problem> {
        let refuse = |why: &str| {
            let detail = format!("{why}; set WATCHTOWER_CONSOLE_TOKEN to allow remote access");
            Err(Problem::new(StatusCode::FORBIDDEN, detail))
        };
        let forwarded = headers.keys().any(|name| {
            let name = name.as_str();
            name == "forwarded" || name == "via" || name.starts_with("x-forwarded-")
        });
        if forwarded {
            return refuse("request through a proxy or tunnel refused");
        }
        let host = headers
            .get(header::HOST)
            .and_then(|host| host.to_str().ok());
        let host = host
            .or(authority.map(Authority::as_str))
            .unwrap_or_default();
        if !is_loopback(host) {
            return refuse("Host header must be a loopback name");
        }
        match headers.get(header::ORIGIN) {
            Some(origin) if self.is_own(origin, host) || self.allows(origin) => Ok(()),
            // An image request has no `Origin`.
            None if !Self::is_embedded_elsewhere(headers) => Ok(()),
            _ => refuse("cross-origin request refused"),
        }
    }

    /// True for the origin of our own pages. Over HTTP a proxy in front may add
    /// TLS, so that both schemes count; over HTTPS an `http://` origin is never
    /// ours.
    fn is_own(&self, origin: &HeaderValue, host: &str) -> bool {
        let origin = origin.to_str().unwrap_or_default();
        let authority = match origin.strip_prefix("https://") {
            None if !self.secure => origin.strip_prefix("http://"),
            authority => authority,
        };
        authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
    }

    /// `Origin` of a request, if its pages may call the API.
    fn allowed_origin(&self, request: &Request) -> Option<HeaderValue> {
        let origin = request.headers().get(header::ORIGIN);
        origin.filter(|origin| self.allows(origin)).cloned()
    }

    fn allows(&self, origin: &HeaderValue) -> bool {
        self.origins
            .iter()
            .any(|allowed| allowed.as_bytes() == origin.as_bytes())
    }
}

pub(crate) async fn guard(
    State(access): State<Arc<ConsoleAuth>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    let origin = access.allowed_origin(&request);
    let mut response = if is_preflight(&request, origin.as_ref()) {
        preflight()
    } else {
        match access.check(request.headers(), request.uri().authority(), peer.ip()) {
            Ok(()) => next.run(request).await,
            Err(problem) if is_page_request(&request) && problem.is_unauthorized() => {
                (StatusCode::UNAUTHORIZED, page::login(None)).into_response()
            }
            Err(problem) if problem.is_for_now() => {
                let later = [(header::RETRY_AFTER, "1")];
                if is_page_request(&request) {
                    let page = page::login(Some(TOO_MANY));
                    (StatusCode::TOO_MANY_REQUESTS, later, page).into_response()
                } else {
                    (later, problem).into_response()
                }
            }
            Err(problem) => problem.into_response(),
        }
    };
    let headers = response.headers_mut();
    expose(headers, origin);
    as_it_is(headers);
    // Origins that may call the API may embed its responses.
    if headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN) {
        headers.insert(SHOWN_BY, HeaderValue::from_static("cross-origin"));
    }
    if access.secure {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, ALWAYS_TLS);
    }
    if response.status() == StatusCode::UNAUTHORIZED {
        let scheme = HeaderValue::from_static("Bearer realm=\"watchtower\"");
        response
            .headers_mut()
            .insert(header::WWW_AUTHENTICATE, scheme);
    }
    response
}

/// Lets the pages of allowed origins call routes outside the guard, which have
/// an access control of their own.
pub(crate) async fn cross_origin(
    State(access): State<Arc<ConsoleAuth>>,
    request: Request,
    next: Next,
) -> Response {
    let origin = access.allowed_origin(&request);
    let mut response = match is_preflight(&request, origin.as_ref()) {
        true => preflight(),
        false => next.run(request).await,
    };
    expose(response.headers_mut(), origin);
    response
}

/// True for a preflight of an allowed origin. It carries no token; its response
/// only lists what is allowed.
fn is_preflight(request: &Request, origin: Option<&HeaderValue>) -> bool {
    request.method() == Method::OPTIONS
        && request
            .headers()
            .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
        && origin.is_some()
}

fn preflight() -> Response {
    let allowed = [
        (
            header::ACCESS_CONTROL_ALLOW_METHODS,
            "GET, POST, PATCH, DELETE",
        ),
        (
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            "authorization, content-type, if-match, last-event-id",
        ),
        (header::ACCESS_CONTROL_MAX_AGE, "600"),
    ];
    (StatusCode::NO_CONTENT, allowed).into_response()
}

/// Adds the headers by which the page of an allowed origin reads the response.
fn expose(headers: &mut HeaderMap, origin: Option<HeaderValue>) {
    if let Some(origin) = origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        // A WHIP or WHEP client on another site needs the `Location` of its
        // session.
        let exposed = HeaderValue::from_static("location, etag, retry-after, x-watchtower-behind");
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    }
    // Permission depends on the `Origin` of the request.
    headers.append(header::VARY, HeaderValue::from_static("origin"));
}

/// Forbids caching, unless the response sets it itself, and MIME sniffing.
pub(crate) fn as_it_is(headers: &mut HeaderMap) {
    headers.insert(SHOWN_BY, HeaderValue::from_static("same-origin"));
    // Rejections bypass the layer that sets it.
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
}

/// True if a user opened the page in a browser.
fn is_page_request(request: &Request) -> bool {
    let accepted = request.headers().get(header::ACCEPT);
    request.method() == Method::GET
        && request.uri().path() == "/"
        && accepted
            .and_then(|kinds| kinds.to_str().ok())
            .is_some_and(|kinds| kinds.contains("text/html"))
}

pub(crate) fn bearer(value: &HeaderValue) -> Option<&str> {
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Comparison in constant time, whatever the lengths.
pub(crate) fn same(given: &str, token: &Secret) -> bool {
    let digest = |text: &str| Sha256::digest(text.as_bytes());
    digest(given).ct_eq(&digest(token.expose())).into()
}

fn is_loopback(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else {
        return false;
    };
    let name = authority
        .host()
        .trim_start_matches('[')
        .trim_end_matches(']');
    // A user part would make a URL's host look like another's.
    !host.contains('@')
        && (name.eq_ignore_ascii_case("localhost")
            || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 9));

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (
                header::HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn without_a_token_only_local_requests_pass() {
        let access = ConsoleAuth::new(
            None,
            vec!["https://console.example".to_owned()],
            false,
            Counter::default(),
        );
        let passes = |pairs: &[(&'static str, &'static str)]| {
            access.check(&headers(pairs), None, PEER).is_ok()
        };
        assert!(passes(&[("host", "localhost:8080")]));
        assert!(passes(&[("host", "127.0.0.1:8080")]));
        assert!(passes(&[("host", "[::1]:8080")]));
        assert!(passes(&[
            ("host", "127.0.0.1:8080"),
            ("origin", "http://127.0.0.1:8080")
        ]));
        assert!(passes(&[
            ("host", "localhost"),
            ("origin", "https://console.example")
        ]));
        assert!(!passes(&[]));
        assert!(!passes(&[("host", "evil.example")]));
        assert!(!passes(&[("host", "localhost.evil.example")]));
        assert!(!passes(&[("host", "localhost@evil.example")]));
        assert!(!passes(&[("host", "evil@localhost")]));
        assert!(!passes(&[
            ("host", "localhost"),
            ("origin", "http://evil.example")
        ]));
        assert!(!passes(&[("host", "localhost"), ("origin", "null")]));
        assert!(!passes(&[
            ("host", "localhost"),
            ("forwarded", "for=192.0.2.1")
        ]));
        assert!(!passes(&[
            ("host", "localhost"),
            ("x-forwarded-for", "192.0.2.1")
        ]));
        assert!(!passes(&[
            ("host", "localhost"),
            ("x-forwarded-proto", "https")
        ]));
        assert!(!passes(&[("host", "localhost"), ("via", "1.1 tunnel")]));
    }

    #[test]
    fn over_https_only_https_origins_are_ours() {
        let access = ConsoleAuth::new(None, vec![], true, Counter::default());
        let passes = |origin: &'static str| {
            let pairs = [("host", "localhost:8080"), ("origin", origin)];
            access.check(&headers(&pairs), None, PEER).is_ok()
        };
        assert!(passes("https://localhost:8080"));
        assert!(!passes("http://localhost:8080"));
        assert!(!passes("https://localhost:8081"));
    }

    #[test]
    fn configured_token_is_required_of_all_clients() {
        let access = ConsoleAuth::new(
            Secret::new("s3cret-token"),
            vec![],
            false,
            Counter::default(),
        );
        let passes = |pairs: &[(&'static str, &'static str)]| {
            access.check(&headers(pairs), None, PEER).is_ok()
        };
        assert!(passes(&[
            ("host", "tower.example"),
            ("authorization", "Bearer s3cret-token")
        ]));
        assert!(passes(&[
            ("host", "tower.example"),
            ("authorization", "bearer s3cret-token")
        ]));
        assert!(!passes(&[("host", "localhost")]));
        assert!(!passes(&[
            ("host", "localhost"),
            ("authorization", "Bearer s3cret-toke")
        ]));
        assert!(!passes(&[
            ("host", "localhost"),
            ("authorization", "Basic s3cret-token")
        ]));
        assert!(!passes(&[
            ("host", "localhost"),
            ("authorization", "s3cret-token")
        ]));
    }

    #[test]
    fn cross_site_embedding_is_refused_and_links_open() {
        let local = ConsoleAuth::new(None, vec![], false, Counter::default());
        let passes = |headers: &[(&'static str, &'static str)]| {
            let mut map = HeaderMap::new();
            map.insert("host", HeaderValue::from_static("localhost:8080"));
            for (name, value) in headers {
                map.insert(*name, HeaderValue::from_static(value));
            }
            let peer = IpAddr::from([127, 0, 0, 1]);
            local.check(&map, None, peer).is_ok() && local.is_same_site(&map)
        };
        for site in ["cross-site", "same-site"] {
            assert!(!passes(&[
                ("sec-fetch-site", site),
                ("sec-fetch-mode", "no-cors")
            ]));
            let link = [("sec-fetch-site", site), ("sec-fetch-mode", "navigate")];
            assert!(passes(&link));
            let frame = [link[0], link[1], ("sec-fetch-dest", "iframe")];
            assert!(!passes(&frame));
        }
        for site in ["same-origin", "none"] {
            assert!(passes(&[
                ("sec-fetch-site", site),
                ("sec-fetch-mode", "no-cors")
            ]));
        }
        assert!(passes(&[]), "curl says nothing");
    }

    #[test]
    fn wrong_tokens_are_counted() {
        let wrong = Counter::default();
        let access = ConsoleAuth::new(Secret::new("s3cret-token"), vec![], false, wrong.clone());
        let peer = IpAddr::from([203, 0, 113, 9]);
        assert_eq!(access.attempt(peer, || true), Attempt::Right);
        assert_eq!(wrong.get(), 0);
        for _ in 0..12 {
            access.attempt(peer, || false);
        }
        assert_eq!(wrong.get(), 12, "those that were not looked at, too");
    }
}

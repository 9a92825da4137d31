//! Access control of WHIP: the stream key, or a token for the stream.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, StatusCode, header};

use watchtower_base::publish_tokens::{PublishPermit, PublishTokens, TokenCheck, TokenEnd};
use watchtower_base::stream_name::StreamName;
use watchtower_transport::signalling::is_near;

use crate::gate::PublishGate;

/// Reason a request was rejected. No variant carries input of the publisher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum BearerRefusal {
    #[error("no stream key was given: expected Authorization: Bearer KEY")]
    Missing,
    #[error("wrong stream key")]
    Wrong,
    #[error("too many wrong stream keys from this address; retry in a few seconds")]
    Blocked,
    #[error(
        "no stream key configured (WATCHTOWER_STREAM_KEY): only programs and pages of this machine \
         may publish, at a loopback address and without a proxy"
    )]
    NotLocal,
    #[error(transparent)]
    Over(#[from] TokenEnd),
}

impl BearerRefusal {
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::Missing | Self::Wrong => StatusCode::UNAUTHORIZED,
            Self::Blocked => StatusCode::TOO_MANY_REQUESTS,
            Self::NotLocal | Self::Over(_) => StatusCode::FORBIDDEN,
        }
    }
}

/// Authorizes a publisher of `stream`; the error comes with the delay of its
/// response.
pub(super) fn authorize(
    gate: &PublishGate,
    tokens: &dyn PublishTokens,
    stream: &StreamName,
    headers: &HeaderMap,
    peer: IpAddr,
) -> Result<PublishPermit, (BearerRefusal, Duration)> {
    let now = Instant::now();
    let at_once = |refusal| Err((refusal, Duration::ZERO));
    if gate.guesses.is_blocked(peer, now) {
        return at_once(BearerRefusal::Blocked);
    }
    let given = headers.get(header::AUTHORIZATION).and_then(token);
    if let Some(given) = given {
        if gate.access.is_key(given) {
            gate.guesses.forgive(peer);
            return Ok(PublishPermit::default());
        }
        match tokens.check(stream, given) {
            TokenCheck::Valid(permit) => {
                gate.guesses.forgive(peer);
                return Ok(permit);
            }
            TokenCheck::Over(end) => return at_once(end.into()),
            TokenCheck::Unknown => {}
        }
    }
    if !gate.access.has_key() {
        return match is_local(headers, peer) {
            true => Ok(PublishPermit::default()),
            false => at_once(BearerRefusal::NotLocal),
        };
    }
    match given {
        None => at_once(BearerRefusal::Missing),
        Some(_) => {
            let delay = gate.guesses.failed(peer, now).delay();
            Err((BearerRefusal::Wrong, delay))
        }
    }
}

/// Token of an `Authorization` header (RFC 6750, section 2.1).
fn token(value: &axum::http::HeaderValue) -> Option<&str> {
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// True for a request of a program or page of this machine: to a loopback name
/// (against DNS rebinding), without headers of a proxy or tunnel, and of no
/// other site's page.
fn is_local(headers: &HeaderMap, peer: IpAddr) -> bool {
    let forwarded = headers.keys().any(|name| {
        let name = name.as_str();
        name == "forwarded" || name == "via" || name.starts_with("x-forwarded-")
    });
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or(""));
    let own = text(header::ORIGIN).is_none_or(|origin| {
        let authority = origin.split_once("://").map(|(_, authority)| authority);
        authority.is_some() && authority == text(header::HOST)
    });
    peer.to_canonical().is_loopback() && is_near(headers) && own && !forwarded
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use axum::http::{HeaderName, HeaderValue};
    use watchtower_base::publish_tokens::NoTokens;
    use watchtower_base::secret::Secret;

    use super::*;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const AWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9));

    /// Tokens by name; `late` has expired.
    #[derive(Debug)]
    struct SomeTokens;

    impl PublishTokens for SomeTokens {
        fn check(&self, stream: &StreamName, token: &str) -> TokenCheck {
            match token {
                "late" => TokenCheck::Over(TokenEnd::Expired),
                "link" if stream.as_str() == "team" => TokenCheck::Valid(PublishPermit::default()),
                _ => TokenCheck::Unknown,
            }
        }
    }

    fn decide(
        key: Option<&str>,
        stream: &str,
        headers: &[(&'static str, &str)],
        peer: IpAddr,
    ) -> Result<(), BearerRefusal> {
        let gate = PublishGate::new(key.and_then(Secret::new).as_ref());
        let stream = StreamName::new(stream).expect("a name");
        let headers = headers.iter().map(|(name, value)| {
            let value = HeaderValue::from_str(value).expect("a value");
            (HeaderName::from_static(name), value)
        });
        let headers = headers.collect();
        let decided = authorize(&gate, &SomeTokens, &stream, &headers, peer);
        decided.map(|_| ()).map_err(|(refusal, _)| refusal)
    }

    #[test]
    fn the_key_or_a_token_of_the_stream_is_required() {
        let bearer =
            |value: &'static str| decide(Some("k3y"), "team", &[("authorization", value)], HERE);
        assert_eq!(bearer("Bearer k3y"), Ok(()));
        assert_eq!(bearer("bearer  k3y"), Ok(()));
        assert_eq!(bearer("Bearer link"), Ok(()));
        assert_eq!(bearer("Bearer k3"), Err(BearerRefusal::Wrong));
        assert_eq!(bearer("Basic k3y"), Err(BearerRefusal::Missing));
        assert_eq!(bearer("Bearer "), Err(BearerRefusal::Missing));
        let over = BearerRefusal::Over(TokenEnd::Expired);
        assert_eq!(bearer("Bearer late"), Err(over));
        assert_eq!(
            decide(Some("k3y"), "team", &[], HERE),
            Err(BearerRefusal::Missing)
        );
        let other = decide(
            Some("k3y"),
            "other",
            &[("authorization", "Bearer link")],
            HERE,
        );
        assert_eq!(other, Err(BearerRefusal::Wrong));
    }

    #[test]
    fn without_a_key_only_this_machine_publishes() {
        let host = ("host", "localhost:8080");
        let decided = |headers: &[(&'static str, &str)], peer| decide(None, "team", headers, peer);
        let refused = Err(BearerRefusal::NotLocal);
        assert_eq!(decided(&[host], HERE), Ok(()));
        assert_eq!(
            decided(&[host, ("origin", "http://localhost:8080")], HERE),
            Ok(())
        );
        assert_eq!(
            decided(&[host, ("authorization", "Bearer any")], HERE),
            Ok(())
        );
        assert_eq!(decided(&[host], AWAY), refused);
        assert_eq!(decided(&[("host", "rebound.example")], HERE), refused);
        assert_eq!(
            decided(&[host, ("origin", "https://evil.example")], HERE),
            refused
        );
        assert_eq!(decided(&[host, ("origin", "null")], HERE), refused);
        assert_eq!(
            decided(&[host, ("x-forwarded-for", "203.0.113.9")], HERE),
            refused
        );
        assert_eq!(decided(&[("authorization", "Bearer link")], AWAY), Ok(()));
    }

    #[test]
    fn wrong_keys_are_delayed_and_then_blocked() {
        let gate = PublishGate::new(Secret::new("k3y").as_ref());
        let stream = StreamName::new("team").expect("a name");
        let attempt = |value: &'static str| {
            let headers = [(header::AUTHORIZATION, HeaderValue::from_static(value))];
            authorize(
                &gate,
                &NoTokens,
                &stream,
                &HeaderMap::from_iter(headers),
                AWAY,
            )
        };
        let mut last = Duration::ZERO;
        for _ in 0..5 {
            let (refusal, delay) = attempt("Bearer no").expect_err("refused");
            assert_eq!(refusal, BearerRefusal::Wrong);
            assert!(delay >= last && !delay.is_zero());
            last = delay;
        }
        let (refusal, _) = attempt("Bearer k3y").expect_err("blocked");
        assert_eq!(refusal, BearerRefusal::Blocked);
    }
}

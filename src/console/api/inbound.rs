//! `POST /api/inbound`: status changes of incidents by a SIEM or pager.
//!
//! Authenticated by a signature: `X-Watchtower-Signature: sha256=HEX`,
//! HMAC-SHA256 over `TIMESTAMP.BODY` with `WATCHTOWER_INBOUND_SECRET`, and
//! `X-Watchtower-Timestamp` in seconds since 1970. Messages older than 5
//! minutes, from before this server's start, or received before are rejected.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use watchtower_base::secret::Secret;
use watchtower_base::sync::Locked as _;
use watchtower_base::webhook_signature::verify;
use watchtower_domain::incident::Change;

use super::incidents::{StatusBody, verdict};
use crate::AppState;
use crate::http::problem::{Failed, NotDone, Problem};

const LARGEST_BODY: usize = 16 << 10;
/// Maximum clock skew and transit time of a message, in seconds.
const WINDOW: i64 = 300;
/// Signed messages remembered; far more than users send in 5 minutes.
const MOST_SEEN: usize = 10_000;

type SignatureDigest = [u8; 32];

#[derive(Clone)]
struct Inbound {
    state: AppState,
    secret: Secret,
    guard: Arc<Guard>,
}

pub(crate) fn router(state: AppState, secret: Secret) -> OpenApiRouter {
    let inbound = Inbound {
        state,
        secret,
        guard: Arc::new(Guard::new(Timestamp::now().as_second())),
    };
    OpenApiRouter::new()
        .routes(routes!(decide))
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .with_state(inbound)
}

#[derive(Debug, Deserialize, ToSchema)]
struct InboundDecision {
    incident: Uuid,
    #[serde(flatten)]
    body: StatusBody,
}

/// Sets an incident's status for an external tool, by signature instead of token
#[utoipa::path(
    post,
    path = "/api/inbound",
    tag = "sinks",
    security(()),
    params(
        ("x-watchtower-timestamp" = i64, Header, description = "Seconds since 1970"),
        ("x-watchtower-signature" = String, Header, description = "`sha256=` and the HMAC-SHA256 of `TIMESTAMP.BODY`, hexadecimal"),
    ),
    request_body = InboundDecision,
    responses(
        (status = 200, body = Change),
        (status = 401, description = "Invalid signature, too old, or a replay", body = Problem, content_type = "application/problem+json"),
        Failed,
        NotDone,
    )
)]
async fn decide(
    State(inbound): State<Inbound>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let body = body?;
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let at = text("x-watchtower-timestamp").unwrap_or_default();
    let signature = text("x-watchtower-signature").unwrap_or_default();
    let refuse = |why: &str| Problem::new(StatusCode::UNAUTHORIZED, why);
    let digest = verify(&inbound.secret, at, signature, &body)
        .ok_or_else(|| refuse("missing or invalid signature"))?;
    // A signed message has a numeric timestamp.
    let at: i64 = at
        .parse()
        .map_err(|_| refuse("the timestamp must be a number of seconds"))?;
    inbound
        .guard
        .admit(digest, at, Timestamp::now().as_second())
        .map_err(refuse)?;
    let decision: InboundDecision = serde_json::from_slice(&body)
        .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, error.to_string()))?;
    let verdict = verdict(decision.incident, &decision.body)?;
    let change = inbound.state.console.findings.write(verdict).await?;
    tracing::info!(incident = %decision.incident, status = %change.incident.status, "incident updated by webhook");
    Ok(Json(change).into_response())
}

/// Replay protection: each signed message is accepted once.
struct Guard {
    started: i64,
    seen: Mutex<HashMap<SignatureDigest, i64>>,
}

impl Guard {
    fn new(started: i64) -> Self {
        Self {
            started,
            seen: Mutex::default(),
        }
    }

    fn admit(&self, digest: SignatureDigest, at: i64, now: i64) -> Result<(), &'static str> {
        if now.saturating_sub(at).saturating_abs() > WINDOW {
            return Err("the timestamp is more than 5 minutes off; check both clocks");
        }
        if at < self.started {
            // Signatures seen before the start are unknown.
            return Err("signed before this server's start; sign again");
        }
        let mut seen = self.seen.locked();
        seen.retain(|_, at| now.saturating_sub(*at) <= WINDOW);
        if seen.contains_key(&digest) {
            return Err("request already received");
        }
        if seen.len() >= MOST_SEEN {
            return Err("too many decisions within 5 minutes");
        }
        seen.insert(digest, at);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signed_message_is_accepted_once_and_in_time() {
        let guard = Guard::new(1000);
        assert!(guard.admit([1; 32], 2000, 2000).is_ok());
        assert!(
            guard
                .admit([1; 32], 2000, 2200)
                .unwrap_err()
                .contains("already")
        );
        assert!(
            guard
                .admit([2; 32], 1600, 2000)
                .unwrap_err()
                .contains("5 minutes")
        );
        assert!(
            guard
                .admit([3; 32], 2301, 2000)
                .unwrap_err()
                .contains("5 minutes")
        );
        assert!(
            guard
                .admit([4; 32], 900, 1000)
                .unwrap_err()
                .contains("start")
        );
        assert!(guard.admit([5; 32], 2300, 2000).is_ok());
        assert_eq!(guard.seen.lock().unwrap().len(), 2);
    }
}

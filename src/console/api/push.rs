//! `/api/push`: subscriptions of browsers to Web Push.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use watchtower_base::secret::Secret;
use watchtower_base::stream_name::StreamName;
use watchtower_domain::finding::Severity;
use watchtower_sinks::push::{
    NewSubscription, PushSubscription, PushTestError, SubscribeError, WebPush,
};

use crate::AppState;
use crate::api::incidents::person;
use crate::http::body::JsonBody;
use crate::http::list::bad_request;
use crate::http::problem::{Failed, NotDone, Problem};

/// Maximum streams of a subscription: the default of `[rtmp] max_streams`,
/// twice.
const MOST_STREAMS: usize = 64;

/// Web Push of this server.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PushShown {
    /// Application server key (RFC 8292) in base64url; null where Web Push is
    /// off.
    public_key: Option<String>,
    /// Subscriptions, the oldest first.
    subscriptions: Vec<PushSubscriptionShown>,
}

/// Subscription of a browser, without its credentials.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PushSubscriptionShown {
    id: Uuid,
    /// Its name in `/api/sinks` and `/api/health`.
    sink: String,
    /// Host of its push service.
    service: String,
    minimum_severity: Severity,
    /// Streams it is about; empty: all.
    streams: Vec<String>,
    /// User who subscribed.
    by: String,
    created_at: Timestamp,
}

impl From<PushSubscription> for PushSubscriptionShown {
    fn from(one: PushSubscription) -> Self {
        Self {
            sink: one.sink(),
            id: one.id,
            service: one.service,
            minimum_severity: one.minimum_severity,
            streams: one.streams,
            by: one.by,
            created_at: one.created_at,
        }
    }
}

/// Subscription of a browser, as sent.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SubscribeBody {
    /// URL of the push service: `https://`, on a public host.
    #[schema(min_length = 1, max_length = 2048)]
    endpoint: String,
    keys: SubscriptionKeys,
    /// The lowest severity that notifies.
    minimum_severity: Severity,
    /// Streams it is about; empty: all.
    #[serde(default)]
    #[schema(max_items = 64)]
    streams: Vec<String>,
    /// Name of the user, 1 to 100 characters; "unnamed" by default.
    #[schema(
        min_length = 1,
        max_length = 100,
        pattern = r"[^\x00-\x20\x7f-\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"
    )]
    by: Option<String>,
}

/// Keys of a subscription (RFC 8291), in base64url.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SubscriptionKeys {
    /// Public key: a point of P-256.
    #[schema(min_length = 87, max_length = 88)]
    p256dh: String,
    #[schema(min_length = 22, max_length = 24)]
    auth: String,
}

/// Web Push: public key and subscriptions
#[utoipa::path(get, path = "/api/push", tag = "sinks", responses((status = 200, body = PushShown)))]
pub(crate) async fn push(State(state): State<AppState>) -> Json<PushShown> {
    let push = state.console.push.as_ref();
    let subscriptions = push.map(WebPush::subscriptions).unwrap_or_default();
    Json(PushShown {
        public_key: push.map(WebPush::public_key),
        subscriptions: subscriptions.into_iter().map(Into::into).collect(),
    })
}

/// Subscribes a browser to notifications of incidents
///
/// In place of an earlier subscription of the same endpoint.
#[utoipa::path(
    post,
    path = "/api/push/subscriptions",
    tag = "sinks",
    request_body = SubscribeBody,
    responses((status = 201, body = PushSubscriptionShown), Failed, NotDone)
)]
pub(crate) async fn subscribe(
    State(state): State<AppState>,
    body: Result<JsonBody<SubscribeBody>, Problem>,
) -> Result<(StatusCode, Json<PushSubscriptionShown>), Problem> {
    let push = on(&state)?;
    let JsonBody(body) = body?;
    let by = person(body.by.as_deref().unwrap_or("unnamed"))?;
    if body.streams.len() > MOST_STREAMS {
        return Err(bad_request(format!(
            "streams must be at most {MOST_STREAMS} names"
        )));
    }
    if let Some(name) = body
        .streams
        .iter()
        .find(|name| StreamName::new(name).is_err())
    {
        return Err(bad_request(format!("streams: {name:?} is no stream name")));
    }
    let endpoint = Secret::new(&body.endpoint).ok_or_else(|| bad_request("endpoint is empty"))?;
    let new = NewSubscription {
        endpoint,
        public: body.keys.p256dh,
        auth: body.keys.auth,
        minimum_severity: body.minimum_severity,
        streams: body.streams,
        by,
    };
    let push = push.clone();
    // It waits for the disk.
    let subscribed = tokio::task::spawn_blocking(move || push.subscribe(&new)).await;
    let subscribed = subscribed
        .map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    let subscribed = subscribed.map_err(|error| {
        let status = match error {
            SubscribeError::Full => StatusCode::CONFLICT,
            SubscribeError::File(_) => StatusCode::SERVICE_UNAVAILABLE,
            SubscribeError::Endpoint(_) | SubscribeError::Public | SubscribeError::Auth => {
                StatusCode::BAD_REQUEST
            }
        };
        Problem::new(status, error.to_string())
    })?;
    Ok((StatusCode::CREATED, Json(subscribed.into())))
}

/// Ends a subscription
#[utoipa::path(
    delete,
    path = "/api/push/subscriptions/{id}",
    tag = "sinks",
    params(("id" = Uuid, Path, description = "Id of the subscription")),
    responses(
        (status = 204, description = "Ended"),
        (status = 404, description = "Subscription not found", body = Problem, content_type = "application/problem+json"),
        Failed,
    )
)]
pub(crate) async fn unsubscribe(
    State(state): State<AppState>,
    id: Result<Path<String>, PathRejection>,
) -> Result<StatusCode, Problem> {
    let push = on(&state)?;
    match push.unsubscribe(subscription_id(id)?) {
        Ok(true) => Ok(StatusCode::NO_CONTENT),
        Ok(false) => Err(missing()),
        Err(error) => {
            let why = format!("failed to store the subscriptions: {error}");
            Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, why))
        }
    }
}

/// Sends a test notification to a subscription
#[utoipa::path(
    post,
    path = "/api/push/subscriptions/{id}/test",
    tag = "sinks",
    params(("id" = Uuid, Path, description = "Id of the subscription")),
    responses(
        (status = 204, description = "Accepted by the push service"),
        (status = 400, description = "Invalid request", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Subscription not found", body = Problem, content_type = "application/problem+json"),
        (status = 410, description = "The push service does not know the subscription any more; it was removed", body = Problem, content_type = "application/problem+json"),
        (status = 502, description = "Not accepted by the push service", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn test_subscription(
    State(state): State<AppState>,
    id: Result<Path<String>, PathRejection>,
) -> Result<StatusCode, Problem> {
    let push = on(&state)?;
    push.test(subscription_id(id)?).await.map_err(|error| {
        let status = match error {
            PushTestError::Missing => StatusCode::NOT_FOUND,
            PushTestError::Gone => StatusCode::GONE,
            PushTestError::Rejected(_) => StatusCode::BAD_GATEWAY,
        };
        Problem::new(status, error.to_string())
    })?;
    Ok(StatusCode::NO_CONTENT)
}

fn on(state: &AppState) -> Result<&WebPush, Problem> {
    let off = || {
        let why = "Web Push is off: [push] enabled in watchtower.toml";
        Problem::new(StatusCode::NOT_FOUND, why)
    };
    state.console.push.as_ref().ok_or_else(off)
}

fn missing() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "push subscription not found")
}

fn subscription_id(id: Result<Path<String>, PathRejection>) -> Result<Uuid, Problem> {
    let Path(id) = id?;
    id.parse()
        .map_err(|_| bad_request("push subscription not found: the id must be a UUID"))
}

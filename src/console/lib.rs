//! HTTP server: the page, health, metrics, the JSON API and its event stream.
//!
//! Everything but `/healthz`, login, signed messages and what share links open
//! requires authentication ([`auth`]). Errors are `application/problem+json` (RFC 9457). The console
//! reads the state of other wings; it writes only users' decisions and notes on
//! incidents, and the findings of remote agents.
#![expect(unused_qualifications, reason = "utoipa's macros write some")]

mod api;
mod auth;
mod http;
pub mod metrics;
pub mod settings;

mod page;
mod share_links;

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use axum::{Router, middleware};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower_http::compression::CompressionLayer;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use watchtower_analysts::agents_file::AgentsFileHandle;
use watchtower_analysts::budget::Budget;
use watchtower_analysts::metrics::AnalystMetrics;
use watchtower_base::metrics::MetricsRegistry;
use watchtower_base::secret::Secret;
use watchtower_base::tls;

use crate::api::event_broadcast::EventBroadcast;
pub use crate::api::setup::Endpoints;
use crate::auth::guard::ConsoleAuth;
use crate::http::problem::Problem;
use crate::http::server::ConnectionLimits;
use crate::metrics::ConsoleMetrics;
pub use crate::share_links::ShareLinks;
use watchtower_domain::agent_status::AgentBoard;
use watchtower_domain::sink_status::SinkBoard;
use watchtower_media::hub::StreamHub;
use watchtower_models::model::QuestionAnswerer;
use watchtower_record::Record;
use watchtower_screen::frames::FrameBus;
use watchtower_screen::redact::Redact;
use watchtower_sinks::push::WebPush;

/// Limit of a request body in bytes; the longest finding is well below.
const LARGEST_BODY: usize = 64 << 10;

/// Token length in characters below which a warning is logged.
const SHORTEST_TOKEN: usize = 16;

/// Listen address and access control.
#[derive(Debug, Clone)]
pub struct ConsoleSettings {
    pub address: SocketAddr,
    pub token: Option<Secret>,
    /// Origins whose pages may call the API, besides our own.
    pub allowed_origins: Vec<String>,
    /// Certificate; with it only HTTPS is served.
    pub tls: Option<tls::Acceptor>,
    /// Signing secret of external tools that change incidents; without it they
    /// are rejected.
    pub inbound_secret: Option<Secret>,
}

/// Sources of the console's data.
#[derive(Debug, Clone)]
pub struct ConsoleState {
    pub hub: StreamHub,
    /// `agents.toml`, to be shown and changed.
    pub agents_file: AgentsFileHandle,
    pub frames: FrameBus,
    pub findings: Record,
    pub board: AgentBoard,
    pub metrics: Arc<ConsoleMetrics>,
    pub analyst_metrics: Arc<AnalystMetrics>,
    /// Metrics of all wings.
    pub registry: Arc<MetricsRegistry>,
    pub sink_board: SinkBoard,
    /// Web Push; `None` where it is off.
    pub push: Option<WebPush>,
    pub budget: Budget,
    pub shares: ShareLinks,
    pub endpoints: Endpoints,
    /// Service that answers users' questions.
    pub answers: Arc<dyn QuestionAnswerer>,
    /// Redaction of the served stills; off only without OCR.
    pub redact: Redact,
    /// True once all listeners are open, false while draining.
    pub ready: Arc<AtomicBool>,
}

#[derive(Debug, Clone)]
struct AppState {
    console: ConsoleState,
    /// Source of the event streams.
    wire: EventBroadcast,
    /// Ends the event streams, which would delay the drain otherwise.
    shutdown: CancellationToken,
    /// Flag: HTTPS only.
    secure: bool,
    /// Lock held while a remote finding is stored.
    reports: Arc<tokio::sync::Mutex<()>>,
    /// OpenAPI document, set when the routes are built.
    description: Arc<OnceLock<Bytes>>,
}

/// The bound server.
#[derive(Debug)]
pub struct Console {
    listener: TcpListener,
    settings: ConsoleSettings,
}

impl Console {
    /// Binds the listener; fails for a non-loopback address without a token.
    pub async fn bind(settings: ConsoleSettings) -> io::Result<Self> {
        if settings.token.is_none() && !settings.address.ip().is_loopback() {
            let why = "without WATCHTOWER_CONSOLE_TOKEN only a loopback address is allowed";
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
        }
        let short = |token: &Secret| token.expose().chars().count() < SHORTEST_TOKEN;
        if settings.token.as_ref().is_some_and(short) && !settings.address.ip().is_loopback() {
            tracing::warn!(
                "WATCHTOWER_CONSOLE_TOKEN is shorter than {SHORTEST_TOKEN} characters and the console \
                 is reachable from other machines: generate a stronger one with openssl rand -hex 24"
            );
        }
        let listener = TcpListener::bind(settings.address).await?;
        Ok(Self { listener, settings })
    }

    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `shutdown`, then finishes the requests in progress.
    /// `beside` are routes of other wings behind the same guard, and `public`
    /// those with an access control of their own.
    pub async fn run(
        self,
        console: ConsoleState,
        beside: OpenApiRouter,
        public: OpenApiRouter,
        shutdown: CancellationToken,
    ) -> io::Result<()> {
        let ConsoleSettings {
            token,
            allowed_origins,
            tls,
            inbound_secret,
            ..
        } = self.settings;
        let access = ConsoleAuth::new(
            token,
            allowed_origins,
            tls.is_some(),
            console.metrics.wrong_tokens.clone(),
        );
        let state = AppState {
            wire: EventBroadcast::new(),
            console,
            shutdown: shutdown.clone(),
            secure: tls.is_some(),
            reports: Arc::default(),
            description: Arc::default(),
        };
        let feeding = state
            .wire
            .clone()
            .feed(state.console.clone(), shutdown.clone());
        let feeding = tokio::spawn(feeding);
        let router = router(state, beside, public, access, inbound_secret);
        http::server::serve(
            self.listener,
            tls,
            router,
            ConnectionLimits::default(),
            shutdown,
        )
        .await;
        // Its state can publish findings, which the drain waits for.
        feeding.abort();
        let _ = feeding.await;
        Ok(())
    }
}

/// Routes of the described API, and of the pages.
fn router(
    mut state: AppState,
    beside: OpenApiRouter,
    public: OpenApiRouter,
    access: ConsoleAuth,
    inbound_secret: Option<Secret>,
) -> Router {
    let access = Arc::new(access);
    let description = Arc::new(OnceLock::new());
    state.description = Arc::clone(&description);
    let shares = api::share_session::router(state.clone());
    let inbound = inbound_secret.map(|secret| api::inbound::router(state.clone(), secret));
    let guarded = OpenApiRouter::with_openapi(http::openapi::described())
        .routes(routes!(api::live::streams))
        .routes(routes!(api::live::agents))
        .routes(routes!(
            api::agent_settings::agent_settings,
            api::agent_settings::add_agent
        ))
        .routes(routes!(api::agent_settings::change_agent))
        .routes(routes!(api::agent_settings::remove_agent))
        .routes(routes!(api::handovers::precision))
        .routes(routes!(api::live::latest_still))
        .routes(routes!(api::live::budget))
        .routes(routes!(api::setup::setup))
        .routes(routes!(
            api::findings::findings,
            api::remote_findings::report
        ))
        .routes(routes!(api::regions::regions))
        .routes(routes!(api::regions::crop))
        .routes(routes!(api::incidents::incidents))
        .routes(routes!(api::incidents::incident))
        .routes(routes!(api::incidents::transcripts))
        .routes(routes!(api::incidents::set_status))
        .routes(routes!(api::incidents::annotate))
        .routes(routes!(api::handling::set_owner))
        .routes(routes!(api::handling::snooze))
        .routes(routes!(api::handling::undo))
        .routes(routes!(api::handling::counts))
        .routes(routes!(api::overview::facets))
        .routes(routes!(api::overview::histogram))
        .routes(routes!(api::overview::lanes))
        .routes(routes!(api::overview::groups))
        .routes(routes!(api::overview::activity))
        .routes(routes!(api::health::health))
        .routes(routes!(api::suppressions::suppressions))
        .routes(routes!(api::suppressions::remove_suppression))
        .routes(routes!(api::suppressions::restore_suppression))
        .routes(routes!(api::history::moments))
        .routes(routes!(api::history::handover))
        .routes(routes!(
            api::handovers::handovers,
            api::handovers::hand_over
        ))
        .routes(routes!(api::handovers::take_over))
        .routes(routes!(api::history::evidence))
        .routes(routes!(api::series::series))
        .routes(routes!(api::series::samples))
        .routes(routes!(api::findings::search))
        .routes(routes!(api::ask::ask))
        .routes(routes!(api::sinks::sinks))
        .routes(routes!(api::sinks::dead_letters))
        .routes(routes!(api::sinks::send_again))
        .routes(routes!(api::shares::shares, api::shares::create_share))
        .routes(routes!(api::shares::revoke_share))
        .routes(routes!(api::push::push))
        .routes(routes!(api::push::subscribe))
        .routes(routes!(api::push::unsubscribe))
        .routes(routes!(api::push::test_subscription))
        .routes(routes!(api::events::events))
        .routes(routes!(readyz))
        .routes(routes!(metrics))
        .routes(routes!(http::openapi::openapi))
        .with_state(state)
        .merge(beside);
    // Outside the guard: login, signed messages, holders of share links, other
    // wings' own, and the liveness probe, which has no token.
    let shared = middleware::from_fn_with_state(Arc::clone(&access), auth::guard::cross_origin);
    let free = OpenApiRouter::new()
        .merge(auth::login::router(Arc::clone(&access)))
        .merge(inbound.unwrap_or_default())
        .merge(shares)
        .merge(public.layer(shared))
        .routes(routes!(healthz));
    let (guarded, mut api) = guarded.split_for_parts();
    let (free, open) = free.split_for_parts();
    let free = free
        .merge(page::share::router())
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn(http::public::arrived));
    api.merge(open);
    description.get_or_init(|| http::openapi::finished(api));
    guarded
        .merge(page::router())
        .route("/api/lessons", any(api::suppressions::suppressions_moved))
        .route(
            "/api/lessons/{id}",
            any(api::suppressions::suppressions_moved),
        )
        .fallback(no_such_page)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .layer(middleware::from_fn(http::conditional::answer))
        .layer(middleware::from_fn_with_state(access, auth::guard::guard))
        .merge(free)
        // No compression of pictures, event streams and tiny bodies.
        .layer(CompressionLayer::new())
}

/// Liveness: the process answers
#[utoipa::path(get, path = "/healthz", tag = "service", security(()), responses((status = 200, body = String, content_type = "text/plain", example = "ok")))]
async fn healthz() -> &'static str {
    "ok"
}

/// Readiness: everything is open
#[utoipa::path(get, path = "/readyz", tag = "service", responses(
    (status = 200, body = String, content_type = "text/plain", example = "ready"),
    (status = 503, description = "Draining, or the database is not writable, such as on a full disk", body = String, content_type = "text/plain", example = "not ready"),
))]
async fn readyz(State(state): State<AppState>) -> Response {
    if !state.console.ready.load(Ordering::Relaxed) {
        return (StatusCode::SERVICE_UNAVAILABLE, "not ready").into_response();
    }
    match state.console.findings.write_error().await {
        None => "ready".into_response(),
        Some(why) => {
            let detail = format!("not ready: {why}");
            (StatusCode::SERVICE_UNAVAILABLE, detail).into_response()
        }
    }
}

/// Counters and gauges, for Prometheus
#[utoipa::path(get, path = "/metrics", tag = "service", responses((status = 200, body = String, content_type = "application/openmetrics-text")))]
async fn metrics(State(state): State<AppState>) -> impl IntoResponse {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    (
        [(header::CONTENT_TYPE, kind)],
        state.console.registry.render(),
    )
}

async fn no_such_page() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "path not found")
}

async fn wrong_method() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method not allowed on this path",
    )
}

//! The HTTP edge: the watching page, health, metrics, the JSON API and its
//! event stream.
//!
//! Everything but `/healthz` stands behind [`access`]. Errors are
//! `application/problem+json` (RFC 9457). This edge reads the meeting points;
//! all it changes is what people decide about incidents, and what remote
//! agents report ([`intake`]).

mod access;
mod api;
mod ask;
mod events;
mod history;
mod https;
mod inbound;
mod incidents;
mod intake;
mod login;
mod page;
mod problem;
mod sinks;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::budget::Budget;
use crate::config::Secret;
use crate::deliveries::Deliveries;
use crate::findings_bus::FindingsBus;
use crate::frame_bus::FrameBus;
use crate::masking::Redact;
use crate::metrics::Metrics;
use crate::roster::Roster;
use crate::stream_hub::StreamHub;
use crate::tls;
use access::Access;
use https::Https;
use problem::Problem;

/// Far more than anybody has to say about an incident.
const LARGEST_BODY: usize = 64 << 10;

/// Where to listen and whom to let in.
#[derive(Debug, Clone)]
pub struct ConsoleSettings {
    pub address: SocketAddr,
    pub token: Option<Secret>,
    /// Origins whose pages may call the API, beside our own.
    pub allowed_origins: Vec<String>,
    /// With it HTTPS is spoken, and nothing else.
    pub tls: Option<tls::Acceptor>,
    /// What tools sign with who decide about incidents from outside; without
    /// it none may.
    pub inbound_secret: Option<Secret>,
}

/// What the console shows.
#[derive(Debug, Clone)]
pub struct Views {
    pub hub: StreamHub,
    pub frames: FrameBus,
    pub findings: FindingsBus,
    pub roster: Roster,
    pub metrics: Arc<Metrics>,
    pub deliveries: Deliveries,
    pub budget: Budget,
    /// What is painted over in the stills that are shown.
    pub redact: Redact,
    /// True once everything is open, false again while draining.
    pub ready: Arc<AtomicBool>,
}

#[derive(Debug, Clone)]
struct AppState {
    views: Views,
    /// Ends the event streams, which would else hold up the drain.
    shutdown: CancellationToken,
    /// Held while a reported finding is stored.
    reports: Arc<tokio::sync::Mutex<()>>,
}

/// The bound server.
#[derive(Debug)]
pub struct Console {
    listener: TcpListener,
    settings: ConsoleSettings,
}

impl Console {
    /// Refuses to listen beyond this machine without a token.
    pub async fn bind(settings: ConsoleSettings) -> io::Result<Self> {
        if settings.token.is_none() && !settings.address.ip().is_loopback() {
            let why = "without WATCHTOWER_CONSOLE_TOKEN only a loopback address is allowed";
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
        }
        let listener = TcpListener::bind(settings.address).await?;
        Ok(Self { listener, settings })
    }

    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `shutdown`, then finishes the requests under way.
    /// `beside` are other edges' pages, which stand behind the same guard.
    pub async fn run(
        self,
        views: Views,
        beside: Router,
        shutdown: CancellationToken,
    ) -> io::Result<()> {
        let ConsoleSettings {
            token,
            allowed_origins,
            tls,
            inbound_secret,
            ..
        } = self.settings;
        let access = Access::new(token, allowed_origins, tls.is_some());
        let state = AppState {
            views,
            shutdown: shutdown.clone(),
            reports: Arc::default(),
        };
        let inbound = inbound_secret.map(|secret| inbound::router(state.clone(), secret));
        let router = router(state, beside, access).merge(inbound.unwrap_or_default());
        let shutdown = shutdown.cancelled_owned();
        match tls {
            None => {
                axum::serve(self.listener, router)
                    .with_graceful_shutdown(shutdown)
                    .await
            }
            Some(acceptor) => {
                axum::serve(Https::new(self.listener, acceptor), router)
                    .with_graceful_shutdown(shutdown)
                    .await
            }
        }
    }
}

fn router(state: AppState, beside: Router, access: Access) -> Router {
    let access = Arc::new(access);
    let pages = Router::new()
        .merge(page::router())
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/api/streams", get(api::streams))
        .route("/api/agents", get(api::agents))
        .route(
            "/api/findings",
            get(api::findings)
                .post(intake::report)
                .layer(DefaultBodyLimit::max(intake::LARGEST_BODY)),
        )
        .route("/api/incidents", get(incidents::list))
        .route("/api/incidents/{id}", get(incidents::one))
        .route("/api/incidents/{id}/status", post(incidents::set_status))
        .route("/api/incidents/{id}/notes", post(incidents::annotate))
        .route("/api/moments", get(history::moments))
        .route("/api/handover", get(history::handover))
        .route("/api/evidence/{file}", get(incidents::evidence))
        .route("/api/lessons", get(incidents::lessons))
        .route("/api/lessons/{id}", delete(incidents::unlearn))
        .route("/api/frames/{stream}/latest.jpg", get(api::latest_still))
        .route("/api/budget", get(api::budget))
        .route("/api/sinks", get(sinks::list))
        .route("/api/sinks/{name}/dead", get(sinks::dead))
        .route("/api/ask", post(ask::ask))
        .route("/api/search", get(api::search))
        .route("/api/events", get(events::events))
        .with_state(state);
    pages
        .merge(beside)
        .fallback(no_such_page)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .layer(middleware::from_fn_with_state(
            Arc::clone(&access),
            access::guard,
        ))
        // Outside the guard: it is the way in.
        .merge(login::router(access))
        // Outside the guard: a probe has no token.
        .route("/healthz", get(healthz))
}

async fn healthz() -> &'static str {
    "ok"
}

async fn readyz(State(state): State<AppState>) -> Response {
    if state.views.ready.load(Ordering::Relaxed) {
        "ready".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready").into_response()
    }
}

async fn metrics(State(state): State<AppState>) -> impl IntoResponse {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], state.views.metrics.render())
}

async fn no_such_page() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "there is no such page")
}

async fn wrong_method() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "this page does not take that method",
    )
}

//! `/api/events`: events in real time (server-sent events, HTML Living
//! Standard, section 9.2).
//!
//! Four kinds of event: `finding` (a finding), `incident` (a change of an
//! incident, and the incident as it is after it), `agents` (all analysts,
//! whenever a state changed) and `streams` (each with its name and state:
//! `live` or `signal_lost`).
//!
//! The id of a finding or incident event is a position in both sequences,
//! `FINDING-CHANGE`. A client that reconnects with `Last-Event-ID` gets every
//! finding it missed and every incident that changed meanwhile, once, in its
//! current state. A finding's own id is accepted as well, but is a position in
//! the sequence of findings only: earlier changes of incidents are not resolved
//! from it.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt as _;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use utoipa::IntoParams;

use watchtower_record::store::{Position, StoreError};
use watchtower_record::{Record, RecordEvent};

use crate::AppState;
use crate::api::event_broadcast;
use crate::api::event_broadcast::SseChunk;
use crate::http::problem::Problem;

/// Chunks queued for a client; beyond it its own task waits.
const QUEUED: usize = 16;
/// Interval of keep-alive comments for proxies and clients.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Page size of a replay to a client.
const PAGE: usize = 500;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Resume {
    /// Equivalent of the header for clients that can't set one; the header has
    /// precedence.
    last_event_id: Option<String>,
}

/// Events as they happen (server-sent events)
///
/// `finding` (a finding), `incident` (a change of one, and the incident after
/// it), `agents` (all analysts) and `streams` (each with name and state). A
/// client that reconnects with `Last-Event-ID` gets the events it missed. With
/// a finding's id these are all findings after it, and changes of incidents
/// from now on; earlier changes are in `/api/incidents`.
#[utoipa::path(
    get,
    path = "/api/events",
    tag = "live",
    params(Resume, ("last-event-id" = Option<String>, Header, description = "The id of the last event seen, or a finding's")),
    responses(
        (status = 200, content_type = "text/event-stream", body = String),
        (status = 400, description = "Invalid request", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Database unavailable", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn events(
    State(state): State<AppState>,
    query: Result<Query<Resume>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Query(Resume { last_event_id }) = query?;
    let header = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let last = header.or(last_event_id.as_deref());
    // Subscribed before the first await, so that no later event is missed.
    let now = state.console.findings.position();
    let from = match last {
        Some(last) => resume(&state.console.findings, last, now).await?,
        None => now,
    };
    let (text, received) = mpsc::channel(QUEUED);
    tokio::spawn(async move {
        let shutdown = state.shutdown.clone();
        let feed = SseFeed {
            state,
            at: from,
            text,
        };
        // Ends when the client disconnects, which closes the channel.
        let _ = shutdown.run_until_cancelled(feed.run()).await;
    });
    let text = ReceiverStream::new(received).map(Ok::<_, Infallible>);
    let kind = [(header::CONTENT_TYPE, "text/event-stream")];
    Ok((kind, Body::from_stream(text)).into_response())
}

/// Position of a client; the current one for an invalid id. A failed lookup is
/// an error, or the client would miss events unnoticed.
async fn resume(findings: &Record, last: &str, now: Position) -> Result<Position, StoreError> {
    if let Some(place) = parse(last) {
        // Beyond the end: an id of another data folder.
        return Ok(Position {
            seq: place.seq.min(now.seq),
            revision: place.revision.min(now.revision),
        });
    }
    let seq = match last.parse() {
        Ok(finding) => findings.read(move |store| store.seq_of(finding)).await?,
        Err(_) => None,
    };
    Ok(seq.map_or(now, |seq| Position { seq, ..now }))
}

fn parse(id: &str) -> Option<Position> {
    let (seq, revision) = id.split_once('-')?;
    let seq = seq.parse().ok()?;
    let revision = revision.parse().ok()?;
    Some(Position { seq, revision })
}

struct SseFeed {
    state: AppState,
    at: Position,
    text: mpsc::Sender<Bytes>,
}

/// The client has disconnected.
struct Gone;

impl SseFeed {
    async fn run(mut self) -> Result<(), Gone> {
        // Subscribes before the replay, so that no event is missed in between.
        let mut wire = self.state.wire.listen();
        // Its position without an event, so that a client that loses the
        // connection before the first event misses nothing.
        let place = format!("{}\n", event_broadcast::place(self.at));
        self.send(place.into()).await?;
        self.catch_up().await?;
        let mut quiet = Instant::now() + KEEP_ALIVE;
        loop {
            tokio::select! {
                chunk = wire.recv() => match chunk {
                    Ok(chunk) => self.send_chunk(&chunk).await?,
                    Err(RecvError::Lagged(_)) => self.catch_up().await?,
                    Err(RecvError::Closed) => return Ok(()),
                },
                () = tokio::time::sleep_until(quiet) => {
                    self.send(Bytes::from_static(b":\n\n")).await?;
                }
                () = self.text.closed() => return Ok(()),
            }
            quiet = Instant::now() + KEEP_ALIVE;
        }
    }

    /// Sends a chunk, without the part that a replay has sent already.
    async fn send_chunk(&mut self, chunk: &Arc<SseChunk>) -> Result<(), Gone> {
        match chunk.as_ref() {
            SseChunk::State(text) => self.send(text.clone()).await,
            SseChunk::News { from, to, text, .. } if *from == self.at => {
                self.at = *to;
                self.send(text.clone()).await
            }
            // Events are missing in between.
            SseChunk::News { from, .. }
                if from.seq > self.at.seq || from.revision > self.at.revision =>
            {
                self.look_back().await
            }
            SseChunk::News { events, .. } => {
                let mut text = String::new();
                for event in events {
                    event_broadcast::put(&mut text, event, &mut self.at);
                }
                self.send(text.into()).await
            }
        }
    }

    /// Sends the current state, and the events missed meanwhile.
    async fn catch_up(&mut self) -> Result<(), Gone> {
        self.send(event_broadcast::agents(&self.state.console))
            .await?;
        self.send(event_broadcast::live(&self.state.console))
            .await?;
        self.look_back().await
    }

    async fn look_back(&mut self) -> Result<(), Gone> {
        let findings = self.state.console.findings.clone();
        loop {
            let seq = self.at.seq;
            let page = findings.read(move |store| store.findings_after(seq, PAGE));
            let page = page.await;
            let page = self.readable(page)?;
            let last = page.len() < PAGE;
            let mut text = String::new();
            for (seq, finding) in page {
                let finding = Arc::new(finding);
                event_broadcast::put(
                    &mut text,
                    &RecordEvent::Finding { seq, finding },
                    &mut self.at,
                );
            }
            self.send(text.into()).await?;
            if last {
                break;
            }
        }
        loop {
            let revision = self.at.revision;
            let page = findings.read(move |store| store.changed_after(revision, PAGE));
            let page = page.await;
            let page = self.readable(page)?;
            let last = page.len() < PAGE;
            let mut text = String::new();
            for (revision, version, incident) in page {
                self.at.revision = revision;
                // Missed changes of an incident are sent as one.
                let change = json!({
                    "revision": revision,
                    "change": "missed",
                    "loud": false,
                    "finding": null,
                    "version": version,
                    "incident": incident,
                });
                event_broadcast::placed(&mut text, "incident", self.at, &change);
            }
            self.send(text.into()).await?;
            if last {
                return Ok(());
            }
        }
    }

    /// A client whose replay fails is disconnected: it reconnects and retries,
    /// instead of missing events unnoticed.
    fn readable<T, E: std::fmt::Display>(&self, read: Result<T, E>) -> Result<T, Gone> {
        read.map_err(|error| {
            tracing::error!(%error, "event stream closed");
            Gone
        })
    }

    async fn send(&self, text: Bytes) -> Result<(), Gone> {
        if text.is_empty() {
            return Ok(());
        }
        self.text.send(text).await.map_err(|_| Gone)
    }
}

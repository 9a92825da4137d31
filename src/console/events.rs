//! `/api/events`: what happens, as it happens (HTML Living Standard, section
//! 9.2, server-sent events).
//!
//! Four kinds of event: `finding` (a finding), `incident` (a change of an
//! incident, and the incident as it is after it), `agents` (the panel, whenever
//! a state changed) and `streams` (each with its name and state: `live` or
//! `signal_lost`).
//!
//! The id of a finding or incident event is a place in both orders,
//! `FINDING-CHANGE`. A client that comes back with `Last-Event-ID` gets every
//! finding it missed and every incident that changed meanwhile, once, as it is
//! now. A finding's own id is taken as well.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{self, KeepAlive, Sse};
use futures_util::Stream;
use serde::Serialize;
use serde_json::json;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use uuid::Uuid;

use super::AppState;
use super::live::StreamState;
use crate::findings_bus::Event;
use crate::store::Position;

/// Events a client may be behind; then its own task waits for it.
const QUEUED: usize = 64;
/// States change many times a second at worst; nobody reads faster than this.
const STATES_EVERY: Duration = Duration::from_millis(250);
/// Read in one go when a client missed more than fits in memory.
const PAGE: usize = 500;

/// What happens, as it happens (server-sent events)
///
/// `finding` (a finding), `incident` (a change of one, and how it is after it),
/// `agents` (the panel) and `streams` (each with name and state). A client that
/// comes back with `Last-Event-ID` gets what it missed.
#[utoipa::path(
    get,
    path = "/api/events",
    tag = "live",
    params(("last-event-id" = Option<String>, Header, description = "The id of the last event seen, or a finding's")),
    responses((status = 200, content_type = "text/event-stream", body = String))
)]
pub(super) async fn events(
    State(state): State<AppState>,
    headers: HeaderMap,
) -> Sse<impl Stream<Item = Result<sse::Event, Infallible>>> {
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    // Before anything is awaited, so that what happens from now on is in it.
    let now = state.views.findings.position();
    let from = match last {
        Some(last) => resume(&state, last, now).await,
        None => now,
    };
    let (events, received) = mpsc::channel(QUEUED);
    tokio::spawn(async move {
        let shutdown = state.shutdown.clone();
        let feed = Feed {
            state,
            at: from,
            events,
        };
        // Ends when the client has gone, which closes the channel.
        let _ = shutdown.run_until_cancelled(feed.run()).await;
    });
    Sse::new(ReceiverStream::new(received)).keep_alive(KeepAlive::default())
}

/// Where a client was; now, if that makes no sense.
async fn resume(state: &AppState, last: &str, now: Position) -> Position {
    if let Some(place) = parse(last) {
        // From beyond the end: of another data folder.
        return Position {
            seq: place.seq.min(now.seq),
            revision: place.revision.min(now.revision),
        };
    }
    let finding = last.parse::<Uuid>().ok();
    let seq = match finding {
        Some(finding) => state.views.findings.seq_of(finding).await.ok().flatten(),
        None => None,
    };
    seq.map_or(now, |seq| Position { seq, ..now })
}

fn parse(id: &str) -> Option<Position> {
    let (seq, revision) = id.split_once('-')?;
    let seq = seq.parse().ok()?;
    let revision = revision.parse().ok()?;
    Some(Position { seq, revision })
}

struct Feed {
    state: AppState,
    at: Position,
    events: mpsc::Sender<Result<sse::Event, Infallible>>,
}

/// The client has gone.
struct Gone;

impl Feed {
    async fn run(mut self) -> Result<(), Gone> {
        let views = self.state.views.clone();
        // Subscribed before the look back, so that nothing falls in between.
        let mut told = views.findings.events();
        let mut states = views.roster.changes();
        let mut streams = views.hub.changes();
        let mut tick = tokio::time::interval(STATES_EVERY);
        self.agents().await?;
        self.live().await?;
        self.look_back().await?;
        loop {
            tokio::select! {
                event = told.recv() => match event {
                    Ok(event) => self.tell(event).await?,
                    Err(RecvError::Lagged(_)) => self.look_back().await?,
                    Err(RecvError::Closed) => return Ok(()),
                },
                _ = tick.tick() => if states.has_changed().unwrap_or(false) {
                    states.borrow_and_update();
                    self.agents().await?;
                },
                Ok(()) = streams.changed() => self.live().await?,
                () = self.events.closed() => return Ok(()),
            }
        }
    }

    /// What a look back has sent already is not sent again.
    async fn tell(&mut self, event: Event) -> Result<(), Gone> {
        match event {
            Event::Finding { seq, finding } if seq > self.at.seq => {
                self.at.seq = seq;
                self.placed("finding", finding.as_ref()).await
            }
            Event::Incident(change) if change.revision > self.at.revision => {
                self.at.revision = change.revision;
                self.placed("incident", change.as_ref()).await
            }
            _ => Ok(()),
        }
    }

    async fn look_back(&mut self) -> Result<(), Gone> {
        let findings = self.state.views.findings.clone();
        loop {
            let page = findings.findings_after(self.at.seq, PAGE).await;
            let page = self.readable(page)?;
            let last = page.len() < PAGE;
            for (seq, finding) in page {
                self.at.seq = seq;
                self.placed("finding", &finding).await?;
            }
            if last {
                break;
            }
        }
        loop {
            let page = findings.changed_after(self.at.revision, PAGE).await;
            let page = self.readable(page)?;
            let last = page.len() < PAGE;
            for (revision, version, incident) in page {
                self.at.revision = revision;
                // What changed is the sum of what was missed.
                let change = json!({
                    "revision": revision,
                    "change": "missed",
                    "loud": false,
                    "finding": null,
                    "version": version,
                    "incident": incident,
                });
                self.placed("incident", &change).await?;
            }
            if last {
                return Ok(());
            }
        }
    }

    /// A client whose look back fails is let go: it comes back and tries
    /// again, where it would else miss something without knowing.
    fn readable<T, E: std::fmt::Display>(&self, read: Result<T, E>) -> Result<T, Gone> {
        read.map_err(|error| {
            tracing::error!(%error, "an event stream ends");
            Gone
        })
    }

    async fn placed(&self, kind: &str, data: &impl Serialize) -> Result<(), Gone> {
        let id = format!("{}-{}", self.at.seq, self.at.revision);
        let event = sse::Event::default().event(kind).id(id);
        self.send(event.json_data(data)).await
    }

    async fn agents(&self) -> Result<(), Gone> {
        let agents = self.state.views.roster.agents();
        self.send(sse::Event::default().event("agents").json_data(agents))
            .await
    }

    async fn live(&self) -> Result<(), Gone> {
        let streams = self.state.views.hub.streams();
        let items: Vec<_> = streams
            .iter()
            .map(|info| json!({"name": info.name.as_str(), "state": StreamState::of(info)}))
            .collect();
        self.send(sse::Event::default().event("streams").json_data(items))
            .await
    }

    async fn send(&self, event: Result<sse::Event, axum::Error>) -> Result<(), Gone> {
        let event = event.expect("what is told is plain data");
        self.events.send(Ok(event)).await.map_err(|_| Gone)
    }
}

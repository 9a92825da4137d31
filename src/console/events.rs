//! `/api/events`: what happens, as it happens (HTML Living Standard, section
//! 9.2, server-sent events).
//!
//! Three kinds of event: `finding` (a finding, its id as the event's),
//! `agents` (the panel, whenever a state changed) and `streams` (each with
//! its name and state: `live` or `signal_lost`). A client that comes back with `Last-Event-ID` gets the
//! findings it missed, as far as they are still in memory.

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::Stream;
use serde_json::json;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use uuid::Uuid;

use super::AppState;
use super::api::state_of;
use crate::finding::Finding;
use crate::metrics::Dropped;

/// Events a client may be behind; then its own task waits for it.
const QUEUED: usize = 64;
/// States change many times a second at worst; nobody reads faster than this.
const STATES_EVERY: Duration = Duration::from_millis(250);

pub(super) async fn events(
    State(state): State<AppState>,
    headers: HeaderMap,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let last = headers
        .get("last-event-id")
        .and_then(|id| id.to_str().ok()?.parse().ok());
    let (events, received) = mpsc::channel(QUEUED);
    tokio::spawn(async move {
        let shutdown = state.shutdown.clone();
        // Ends when the client has gone, which closes the channel.
        let _ = shutdown
            .run_until_cancelled(feed(state, last, &events))
            .await;
    });
    Sse::new(ReceiverStream::new(received)).keep_alive(KeepAlive::default())
}

type Gone = mpsc::error::SendError<Result<Event, Infallible>>;

async fn feed(
    state: AppState,
    last: Option<Uuid>,
    events: &mpsc::Sender<Result<Event, Infallible>>,
) -> Result<(), Gone> {
    let views = &state.views;
    // Subscribed before the look back, so that nothing falls in between.
    let mut findings = views.findings.subscribe();
    let mut states = views.roster.changes();
    let mut streams = views.hub.changes();
    let mut tick = tokio::time::interval(STATES_EVERY);
    let mut newest = last;
    // Sent by a look back and still to be heard: not to be sent twice.
    let mut ahead = HashSet::new();
    events.send(Ok(agents(&state))).await?;
    events.send(Ok(live(&state))).await?;
    let mut missed = last
        .map(|last| views.findings.after(last))
        .unwrap_or_default();
    loop {
        for finding in missed.drain(..) {
            newest = newest.max(Some(finding.id));
            ahead.insert(finding.id);
            events.send(Ok(event(&finding))).await?;
        }
        tokio::select! {
            heard = findings.recv() => match heard {
                Ok(heard) if ahead.remove(&heard.id) => {}
                Ok(heard) => {
                    newest = newest.max(Some(heard.id));
                    events.send(Ok(event(&heard))).await?;
                }
                Err(RecvError::Lagged(count)) => {
                    ahead.clear();
                    match newest {
                        Some(newest) => missed = views.findings.after(newest),
                        None => views.metrics.dropped(Dropped::Events, count),
                    }
                }
                Err(RecvError::Closed) => return Ok(()),
            },
            _ = tick.tick() => if states.has_changed().unwrap_or(false) {
                states.borrow_and_update();
                events.send(Ok(agents(&state))).await?;
            },
            Ok(()) = streams.changed() => events.send(Ok(live(&state))).await?,
            () = events.closed() => return Ok(()),
        }
    }
}

fn event(finding: &Arc<Finding>) -> Event {
    let event = Event::default().event("finding").id(finding.id.to_string());
    event
        .json_data(finding.as_ref())
        .expect("a finding is plain data")
}

fn agents(state: &AppState) -> Event {
    let agents = state.views.roster.agents();
    Event::default()
        .event("agents")
        .json_data(agents)
        .expect("a status is plain data")
}

fn live(state: &AppState) -> Event {
    let streams = state.views.hub.streams();
    let items: Vec<_> = streams
        .iter()
        .map(|info| json!({"name": info.name.as_str(), "state": state_of(info)}))
        .collect();
    Event::default()
        .event("streams")
        .json_data(items)
        .expect("a name and a state are plain data")
}

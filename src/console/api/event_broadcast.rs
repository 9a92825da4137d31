//! Broadcast of events, encoded once for all listeners.
//!
//! Server-sent events are text (HTML Living Standard, section 9.2). One task
//! gathers the events of each [`GATHER`] and encodes them once, and listeners
//! share the bytes, so that the cost of encoding does not grow with their
//! number.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use serde::Serialize;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use watchtower_record::RecordEvent;
use watchtower_record::store::Position;

use super::live::StreamState;
use crate::ConsoleState;

/// Delay within which events are gathered: in a burst a listener wakes at most
/// twenty times a second.
const GATHER: Duration = Duration::from_millis(50);
/// Number of gathered events at which they are sent at once.
const MOST_GATHERED: usize = 256;
/// Shortest interval of state events; states may change many times a second.
const STATES_EVERY: Duration = Duration::from_millis(250);
/// Chunks a listener may lag; beyond that it re-reads the record.
const HELD: usize = 64;

/// Encoded events for all listeners.
#[derive(Debug)]
pub(crate) enum SseChunk {
    /// Findings and changes, in order; `text` is for listeners at `from`.
    News {
        from: Position,
        to: Position,
        events: Vec<RecordEvent>,
        text: Bytes,
    },
    /// Current state of the agents or of the streams.
    State(Bytes),
}

/// Event channel of the listeners. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct EventBroadcast {
    chunks: broadcast::Sender<Arc<SseChunk>>,
}

/// Result of gathering events for [`GATHER`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum GatherOutcome {
    All,
    /// Events were lost after the gathered ones.
    Gap,
}

impl EventBroadcast {
    /// Broadcast without a source yet.
    pub(crate) fn new() -> Self {
        let (chunks, _) = broadcast::channel(HELD);
        Self { chunks }
    }

    pub(crate) fn listen(&self) -> broadcast::Receiver<Arc<SseChunk>> {
        self.chunks.subscribe()
    }

    /// Broadcasts events from now on, until `shutdown`.
    pub(crate) async fn feed(self, console: ConsoleState, shutdown: CancellationToken) {
        // Subscribed before the position is read: duplicates are recognised by
        // their position.
        let mut receiver = console.findings.events();
        let mut at = console.findings.position();
        let mut states = console.board.changes();
        let mut streams = console.hub.changes();
        let mut tick = tokio::time::interval(STATES_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                event = receiver.recv() => match event {
                    Ok(first) => if self.gather(first, &mut receiver, &mut at).await == GatherOutcome::Gap {
                        at = console.findings.position();
                    },
                    // Listeners detect the gap by the start of the next chunk,
                    // and re-read; the remaining events always start a new
                    // chunk.
                    Err(RecvError::Lagged(_)) => at = console.findings.position(),
                    Err(RecvError::Closed) => return,
                },
                _ = tick.tick() => if states.has_changed().unwrap_or(false) {
                    states.borrow_and_update();
                    self.send(SseChunk::State(agents(&console)));
                },
                Ok(()) = streams.changed() => self.send(SseChunk::State(live(&console))),
            }
        }
    }

    async fn gather(
        &self,
        first: RecordEvent,
        receiver: &mut broadcast::Receiver<RecordEvent>,
        at: &mut Position,
    ) -> GatherOutcome {
        let mut gathered = GatherOutcome::All;
        let until = tokio::time::Instant::now() + GATHER;
        let mut events = vec![first];
        while events.len() < MOST_GATHERED {
            match tokio::time::timeout_at(until, receiver.recv()).await {
                Ok(Ok(event)) => events.push(event),
                // The receiver reports a lag once, and has moved on.
                Ok(Err(RecvError::Lagged(_))) => {
                    gathered = GatherOutcome::Gap;
                    break;
                }
                // Lagged or closed: handled by the outer loop.
                Ok(Err(RecvError::Closed)) | Err(_) => break,
            }
        }
        let from = *at;
        let mut text = String::new();
        for event in &events {
            put(&mut text, event, at);
        }
        self.send(SseChunk::News {
            from,
            to: *at,
            events,
            text: text.into(),
        });
        gathered
    }

    fn send(&self, chunk: SseChunk) {
        // A send without listeners is no error.
        let _ = self.chunks.send(Arc::new(chunk));
    }
}

/// Adds an event, unless it is before that position.
pub(crate) fn put(text: &mut String, event: &RecordEvent, at: &mut Position) {
    match event {
        RecordEvent::Finding { seq, finding } if *seq > at.seq => {
            at.seq = *seq;
            placed(text, "finding", *at, finding.as_ref());
        }
        RecordEvent::Incident(change) if change.revision > at.revision => {
            at.revision = change.revision;
            placed(text, "incident", *at, change.as_ref());
        }
        RecordEvent::Finding { .. } | RecordEvent::Incident(_) => {}
    }
}

/// Appends an event with its id, from which a client resumes.
pub(crate) fn placed(text: &mut String, kind: &str, at: Position, data: &impl Serialize) {
    text.push_str(&place(at));
    text.push_str(&event(kind, data));
}

/// Line with the `id` of an event.
pub(crate) fn place(at: Position) -> String {
    format!("id: {}-{}\n", at.seq, at.revision)
}

/// Event without an id. JSON output has no line breaks, so its data is one
/// line.
fn event(kind: &str, data: &impl Serialize) -> String {
    let data = serde_json::to_string(data).expect("events are plain data");
    format!("event: {kind}\ndata: {data}\n\n")
}

pub(crate) fn agents(console: &ConsoleState) -> Bytes {
    event("agents", &console.board.agents()).into()
}

#[derive(Serialize)]
struct LiveStream {
    name: String,
    state: StreamState,
}

pub(crate) fn live(console: &ConsoleState) -> Bytes {
    let streams = console.hub.streams();
    let items: Vec<_> = streams
        .iter()
        .map(|info| LiveStream {
            name: info.name.to_string(),
            state: StreamState::of(info),
        })
        .collect();
    event("streams", &items).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use watchtower_domain::finding::Finding;

    fn found(seq: u64) -> RecordEvent {
        let mut finding = Finding::sample();
        finding.frame.seq = seq;
        RecordEvent::Finding {
            seq,
            finding: Arc::new(finding),
        }
    }

    #[tokio::test]
    async fn event_lost_while_gathering_is_a_gap() {
        let wire = EventBroadcast::new();
        let mut listener = wire.listen();
        let (events, mut receiver) = broadcast::channel(2);
        let mut at = Position::default();
        for seq in 2..=5 {
            events.send(found(seq)).unwrap();
        }
        // Two are held, two are lost.
        let gathered = wire.gather(found(1), &mut receiver, &mut at).await;
        assert_eq!((gathered, at.seq), (GatherOutcome::Gap, 1));
        let first = receiver.recv().await.unwrap();
        at.seq = 5;
        let gathered = wire.gather(first, &mut receiver, &mut at).await;
        assert_eq!(gathered, GatherOutcome::All);
        let mut spans = Vec::new();
        while let Ok(chunk) = listener.try_recv() {
            if let SseChunk::News { from, to, .. } = chunk.as_ref() {
                spans.push((from.seq, to.seq));
            }
        }
        // A listener at 1 sees that the next chunk starts at 5, and re-reads.
        assert_eq!(spans, [(0, 1), (5, 5)]);
    }
}

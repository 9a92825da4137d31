//! Delivery of findings to other systems: SIEM, chat, paging.
//!
//! The [runner](runner) is shared by all: it reads events from the store at its
//! sink's own cursor, filters, batches, retries, counts, and moves events that
//! the receiver rejects permanently to the dead letters. A destination only
//! encodes a batch, sends it and reports the result ([`DeliveryOutcome`]). The
//! store is the spool: nothing is lost in a crash or a week's outage, every
//! event is delivered at least once and in order, and a repeated event has the
//! same id.
//!
//! The canonical event is OCSF ([`ocsf`]); ECS and CEF derive from it
//! ([`ecs`], [`cef`]).

pub mod metrics;
pub mod push;
pub mod settings;
pub mod watchtower;

mod attack;
mod cef;
mod ecs;
mod elastic;
mod event;
mod filter;
mod http;
mod jsonl;
mod line;
mod nats;
mod ocsf;
mod otlp;
mod pagerduty;
mod queue;
mod runner;
mod shapes;
mod splunk;
mod syslog;
mod template;
mod test_event;
mod webhook;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use watchtower_domain::sink_status::{Delivery, SinkBoard};
use watchtower_record::Record;
use watchtower_record::store::{CursorAdvance, CursorRemoval, Readers, StoreError};

use crate::metrics::SinkMetrics;
use crate::settings::{Format, SinkKind, SinkSettings};

pub use crate::event::SinkEvent;
pub use crate::test_event::{SinkTest, trials};
pub use runner::cursor_name;

use runner::Runner;

/// Result of delivering a batch.
#[derive(Debug)]
pub(crate) enum DeliveryOutcome {
    Delivered,
    /// Sent under that ticket; [`Destination::settled`] returns the outcome.
    Sent(u64),
    /// Not tried: batches sent before were just lost and go first.
    NotYet,
    /// Results for each event of the batch.
    PerItem(Vec<ItemOutcome>),
    /// Temporary failure: its reason, the receiver's `Retry-After`, and the
    /// likely cause.
    Retry {
        why: String,
        after: Option<Duration>,
        blame: Blame,
    },
}

/// Likely cause of an undelivered event. The outcome of other events decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blame {
    /// Receiver busy, or a proxy responded in its place.
    Receiver,
    /// No response.
    Silence,
    /// Ambiguous response.
    Unclear,
    /// Response that receivers give for invalid events, and some for invalid
    /// keys.
    Event,
}

impl DeliveryOutcome {
    fn retry(why: impl Into<String>) -> Self {
        Self::Retry {
            why: why.into(),
            after: None,
            blame: Blame::Silence,
        }
    }
}

/// Result of delivering one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ItemOutcome {
    Taken,
    /// Permanent rejection, known without further attempts.
    Permanent(String),
    Not(Blame, String),
}

/// Outcome of batches that were [`DeliveryOutcome::Sent`].
#[derive(Debug)]
pub(crate) enum Settled {
    Taken(Vec<u64>),
    /// Apparently not delivered: to be sent again.
    Lost {
        tickets: Vec<u64>,
        why: String,
    },
    /// Outcome pending for so long that it is reported.
    Waits(String),
}

/// Receiver of a sink's events; built by [`destination`]. The futures of
/// `deliver` and `settled` may be dropped at any time, and the destination
/// stays usable.
#[async_trait]
pub(crate) trait Destination: Send + Sync {
    /// Maximum number of events in a batch.
    fn most(&self) -> usize {
        usize::MAX
    }

    /// Sends a batch of at most [`most`](Self::most) events and at most `batch`
    /// of the settings; the future is dropped after `timeout`. An outcome other
    /// than [`DeliveryOutcome::PerItem`] counts for the whole batch, so `most`
    /// is 1 where each event is a request of its own.
    async fn deliver(&mut self, batch: &[SinkEvent]) -> DeliveryOutcome;

    /// Waits for an outcome of batches that were sent.
    async fn settled(&mut self) -> Settled {
        std::future::pending().await
    }
}

/// Reason a sink can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum SinkOpenError {
    #[error("sinks.{sink}: {why}")]
    Sink { sink: String, why: String },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// All enabled sinks.
#[derive(Debug)]
pub struct Sinks {
    runners: Vec<Runner>,
}

impl Sinks {
    /// Checks all settings that can be checked offline. A new sink starts with
    /// the events from now on.
    pub async fn open(
        settings: &[SinkSettings],
        findings: &Record,
        board: &SinkBoard,
        metrics: &Arc<SinkMetrics>,
    ) -> Result<Self, SinkOpenError> {
        let mut runners = Vec::new();
        // Disabled sinks get no events of this time when they are enabled
        // again.
        let on = |cursor: &String| {
            let mut on = settings.iter().filter(|sink| sink.address.is_some());
            on.any(|sink| cursor_name(&sink.name) == *cursor)
        };
        // Those of push subscriptions are removed with them.
        let of_push = cursor_name(push::PREFIX);
        for cursor in findings.cursors(&cursor_name("")).await? {
            if !on(&cursor) && !cursor.starts_with(&of_push) {
                // On failure it is tried again at the next start.
                drop(findings.write(CursorRemoval { name: cursor }).await);
            }
        }
        for settings in settings {
            let name = &settings.name;
            if settings.address.is_none() {
                tracing::info!(sink = name, "sink disabled: no address");
                continue;
            }
            let destination = destination(settings).map_err(|why| SinkOpenError::Sink {
                sink: name.clone(),
                why,
            })?;
            let cursor = cursor_name(name);
            let saved = match findings.cursor_if_any(&cursor).await? {
                Some(saved) => saved,
                None => {
                    let last = findings.read_for_sink(Readers::last_happened).await?;
                    // On failure it starts a little later next time.
                    drop(findings.write(CursorAdvance::new(&cursor, last)).await);
                    last
                }
            };
            let dead = findings.dead_count(name).await?;
            board.add(Delivery::new(name, settings.kind.as_str(), saved, dead));
            metrics.introduce_sink(name);
            runners.push(Runner::new(
                settings.clone(),
                destination,
                saved,
                board.clone(),
                Arc::clone(metrics),
            ));
        }
        Ok(Self { runners })
    }

    /// Runs until `shutdown`; pending events are sent after the next start.
    pub async fn run(self, findings: Record, shutdown: CancellationToken) {
        let mut running = JoinSet::new();
        for runner in self.runners {
            running.spawn(runner.run(findings.clone(), shutdown.clone()));
        }
        drop(findings);
        shutdown.cancelled().await;
        while running.join_next().await.is_some() {}
    }
}

/// Checks one sink's settings, as [`Sinks::open`] does.
pub fn check(settings: &SinkSettings) -> Result<&'static str, String> {
    match settings.address {
        Some(_) => destination(settings)
            .map(|_| "configured; run `watchtower sink test` to send a test event"),
        None => Ok("off: no address configured"),
    }
}

/// Destination of a sink that has an address; the error names what is wrong and
/// what was expected, never a secret.
fn destination(settings: &SinkSettings) -> Result<Box<dyn Destination>, String> {
    Ok(match settings.kind {
        SinkKind::Jsonl => Box::new(jsonl::Jsonl::open(settings)?),
        SinkKind::Syslog => Box::new(syslog::Syslog::open(settings)?),
        SinkKind::SplunkHec => Box::new(splunk::Splunk::open(settings)?),
        SinkKind::Elasticsearch => Box::new(elastic::Elastic::open(settings)?),
        SinkKind::Otlp => Box::new(otlp::Otlp::open(settings)?),
        SinkKind::Webhook => Box::new(webhook::Webhook::open(settings)?),
        SinkKind::Pagerduty => Box::new(pagerduty::Pagerduty::open(settings)?),
        SinkKind::Nats => Box::new(nats::Nats::open(settings)?),
    })
}

/// Event in the sink's configured format, if that is JSON.
fn shaped(sink_event: &SinkEvent, format: Format) -> Value {
    match format {
        Format::Ecs => ecs::event(sink_event),
        Format::Ocsf | Format::Cef => sink_event.ocsf.clone(),
    }
}

//! Findings where the team works: SIEM, chat, paging.
//!
//! The [runner](runner) is the same for all: it reads events from the store,
//! at its sink's own cursor, filters, batches, retries, counts, and puts what
//! the receiver will never take among the dead letters. A destination only
//! encodes a batch, hands it over and reports the result ([`DeliveryOutcome`]). The
//! spool is the store: nothing is lost in a crash or a week's outage, every
//! event is delivered at least once and in order, and an event delivered twice
//! has the same id twice.
//!
//! The canonical event is OCSF ([`ocsf`]); ECS and CEF derive from it
//! ([`ecs`], [`cef`]).

pub mod metrics;
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
    /// Handed over under that number; [`Destination::settled`] has the outcome.
    Sent(u64),
    /// Not tried: what was sent before has just been lost and goes first.
    NotYet,
    /// Results, one for each event of the batch.
    PerItem(Vec<ItemOutcome>),
    /// Temporary failure; its reason, the receiver's `Retry-After`, and what is
    /// likely to be at fault.
    Retry {
        why: String,
        after: Option<Duration>,
        blame: Blame,
    },
}

/// Party that may be at fault when an event was not taken. The fate of other
/// events decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blame {
    /// It is busy, or something else answers in its place.
    Receiver,
    /// There was no answer.
    Silence,
    /// Its answer fits both.
    Unclear,
    /// Answer that receivers give for bad events, and some for bad keys.
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
    /// As is known here.
    Permanent(String),
    Not(Blame, String),
}

/// Fate of batches that were [`DeliveryOutcome::Sent`].
#[derive(Debug)]
pub(crate) enum Settled {
    Taken(Vec<u64>),
    /// Not taken, as far as is known: to be sent again.
    Lost {
        tickets: Vec<u64>,
        why: String,
    },
    /// No outcome yet, for so long that it is reported.
    Waits(String),
}

/// Receiver of a sink's events; built by [`destination`]. Dropping the future of
/// `deliver` or `settled` is allowed at any time and leaves a destination that
/// can be used again.
#[async_trait]
pub(crate) trait Destination: Send + Sync {
    /// Events it takes at once at most.
    fn most(&self) -> usize {
        usize::MAX
    }

    /// Sends a batch of at most [`most`](Self::most) events and of at most `batch`
    /// of the settings; the future is dropped after `timeout`. An outcome other
    /// than [`DeliveryOutcome::PerItem`] counts for the whole batch, so `most` is
    /// 1 where each event is a request of its own.
    async fn deliver(&mut self, batch: &[SinkEvent]) -> DeliveryOutcome;

    /// Waits until more is known of batches that were sent.
    async fn settled(&mut self) -> Settled {
        std::future::pending().await
    }
}

/// Why a sink can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum SinkOpenError {
    #[error("sinks.{sink}: {why}")]
    Sink { sink: String, why: String },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// All sinks that are on.
#[derive(Debug)]
pub struct Sinks {
    runners: Vec<Runner>,
}

impl Sinks {
    /// Checks all there is to check without the other side. A sink that is
    /// new begins with what happens from now on.
    pub async fn open(
        settings: &[SinkSettings],
        findings: &Record,
        board: &SinkBoard,
        metrics: &Arc<SinkMetrics>,
    ) -> Result<Self, SinkOpenError> {
        let mut runners = Vec::new();
        // Sinks that are off get nothing of this time when they come back.
        let on = |cursor: &String| {
            let mut on = settings.iter().filter(|sink| sink.address.is_some());
            on.any(|sink| cursor_name(&sink.name) == *cursor)
        };
        for cursor in findings.cursors(&cursor_name("")).await? {
            if !on(&cursor) {
                // Should this fail it is tried at the next start.
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
            let told = match findings.cursor_if_any(&cursor).await? {
                Some(told) => told,
                None => {
                    let last = findings.read_for_sink(Readers::last_happened).await?;
                    // Should this fail it begins a little later another time.
                    drop(findings.write(CursorAdvance::new(&cursor, last)).await);
                    last
                }
            };
            let dead = findings.dead_count(name).await?;
            board.add(Delivery::new(name, settings.kind.as_str(), told, dead));
            metrics.introduce_sink(name);
            runners.push(Runner::new(
                settings.clone(),
                destination,
                told,
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

/// Checks one sink as [`Sinks::open`] would.
pub fn check(settings: &SinkSettings) -> Result<&'static str, String> {
    match settings.address {
        Some(_) => destination(settings)
            .map(|_| "configured; run `watchtower sink test` to send a test event"),
        None => Ok("off: no address configured"),
    }
}

/// The other side of a sink that has an address; an error names what is
/// wrong and what was expected, never a secret.
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

/// An event in the shape a sink was asked to give it, where that is JSON.
fn shaped(sink_event: &SinkEvent, format: Format) -> Value {
    match format {
        Format::Ecs => ecs::event(sink_event),
        Format::Ocsf | Format::Cef => sink_event.ocsf.clone(),
    }
}

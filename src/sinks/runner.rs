//! What all sinks share: reading the store at a cursor, filter, limit,
//! batches, retries, order, counting, burying.
//!
//! The cursor moves when the other side has taken a batch, never before, and
//! stays before the first event of a digest that is not told yet.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use super::limit::{Limit, is_wanted};
use super::notice::{Digest, Notice};
use super::{Destination, Item, Outcome};
use crate::backoff::Backoff;
use crate::config::SinkSettings;
use crate::deliveries::Deliveries;
use crate::findings_bus::{Event, FindingsBus};
use crate::metrics::Metrics;
use crate::store::{DeadLetter, Entry, Refusal};

/// Events read from the store at once.
const PAGE: usize = 1000;
/// After the store could not be read or written.
const STORE_AGAIN: Duration = Duration::from_secs(5);
/// What is under way at the end may take so long.
const LAST: Duration = Duration::from_millis(1500);

/// Of the store's cursors.
pub(super) fn cursor_name(sink: &str) -> String {
    format!("sink {sink}")
}

pub(super) struct Runner {
    settings: SinkSettings,
    destination: Box<dyn Destination>,
    cursor: String,
    /// Events up to this one are told, held back or not wanted.
    read: u64,
    /// As the store has it.
    told: u64,
    limit: Option<Limit>,
    held: Option<Held>,
    backoff: Backoff,
    /// What it fails of, while it does.
    trouble: Option<String>,
    board: Deliveries,
    metrics: Arc<Metrics>,
}

/// Events beyond the limit, until they are told as a number.
struct Held {
    digest: Digest,
    /// The event before the first of them.
    after: u64,
}

impl fmt::Debug for Runner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Runner({})", self.settings.name)
    }
}

/// It is over: the server shuts down.
struct Ended;

impl Runner {
    pub(super) fn new(
        settings: SinkSettings,
        destination: Box<dyn Destination>,
        told: u64,
        board: Deliveries,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            cursor: cursor_name(&settings.name),
            limit: settings.rate.map(Limit::new),
            settings,
            destination,
            read: told,
            told,
            held: None,
            backoff: Backoff::default(),
            trouble: None,
            board,
            metrics,
        }
    }

    pub(super) async fn run(mut self, findings: FindingsBus, shutdown: CancellationToken) {
        let mut heard = findings.events();
        self.board.update(&self.settings.name, |row| {
            row.state = "ready".to_owned();
        });
        while !shutdown.is_cancelled() {
            match self.step(&findings, &shutdown).await {
                Ok(Some(true)) => {}
                Ok(Some(false)) => self.wait(&mut heard, &shutdown).await,
                Ok(None) => return,
                Err(error) => {
                    let sink = &self.settings.name;
                    tracing::warn!(sink, %error, "a sink waits for the store");
                    tokio::select! {
                        () = tokio::time::sleep(STORE_AGAIN) => {}
                        () = shutdown.cancelled() => {}
                    }
                }
            }
        }
    }

    /// For something to happen, or for the limit's time to be over.
    async fn wait(&self, heard: &mut broadcast::Receiver<Event>, shutdown: &CancellationToken) {
        let digest = async {
            match (&self.limit, &self.held) {
                (Some(limit), Some(_)) => tokio::time::sleep(limit.left(Instant::now())).await,
                _ => std::future::pending().await,
            }
        };
        let news = async {
            loop {
                match heard.recv().await {
                    Ok(Event::Incident(_)) | Err(RecvError::Lagged(_)) => return,
                    Ok(Event::Finding { .. }) => {}
                    // It ends with the shutdown.
                    Err(RecvError::Closed) => std::future::pending().await,
                }
            }
        };
        tokio::select! {
            () = news => {}
            () = digest => {}
            () = shutdown.cancelled() => {}
        }
    }

    /// Tells one page; whether there may be more, `None` at the end.
    async fn step(
        &mut self,
        findings: &FindingsBus,
        shutdown: &CancellationToken,
    ) -> Result<Option<bool>, Refusal> {
        let page = findings.happened_after(self.read, PAGE).await?;
        let more = page.len() == PAGE;
        self.tell_gap(&page);
        let last = page.last().map(|entry| entry.seq);
        let notices = self.admit(page, Instant::now());
        let most = self.settings.batch.min(self.destination.most()).max(1);
        for batch in notices.chunks(most) {
            let told = batch.iter().filter_map(|(_, told)| *told).next_back();
            let batch: Vec<Notice> = batch.iter().map(|(notice, _)| notice.clone()).collect();
            if self.settle(batch, findings, shutdown).await?.is_err() {
                return Ok(None);
            }
            if let Some(told) = told {
                self.advance(told, findings).await?;
            }
        }
        self.read = last.unwrap_or(self.read);
        let told = self.held.as_ref().map_or(self.read, |held| held.after);
        if told != self.told {
            self.advance(told, findings).await?;
        }
        self.show_lag(findings).await?;
        Ok(Some(more))
    }

    /// What retention removed before it was told is lost, and said to be.
    fn tell_gap(&self, page: &[Entry]) {
        let Some(first) = page.first() else {
            return;
        };
        let lost = first.seq.saturating_sub(self.read + 1);
        if lost > 0 {
            let sink = &self.settings.name;
            tracing::error!(
                sink,
                lost,
                "events were removed by [store] keep or max_megabytes before they could be told"
            );
            self.metrics.sink_lost(sink, lost);
            self.board.update(sink, |row| {
                row.last_error = Some(format!(
                    "{lost} events were removed from the store before they could be told"
                ));
            });
        }
    }

    /// What of a page is told, each with how far the cursor may move then.
    fn admit(&mut self, page: Vec<Entry>, now: Instant) -> Vec<(Notice, Option<u64>)> {
        let mut admitted = Vec::new();
        let over = |limit: &Option<Limit>| {
            limit
                .as_ref()
                .is_some_and(|limit| limit.left(now).is_zero())
        };
        for entry in page {
            if over(&self.limit)
                && let Some(held) = self.held.take()
            {
                let notice = held.digest.notice(&self.settings.fields);
                admitted.push((notice, Some(entry.seq - 1)));
            }
            if !is_wanted(&entry, &self.settings) {
                continue;
            }
            let notice = Notice::of(&entry, &self.settings.fields);
            let passes =
                notice.is_close() || self.limit.as_mut().is_none_or(|limit| limit.admits(now));
            if passes {
                let free = self.held.is_none();
                admitted.push((notice, free.then_some(entry.seq)));
                continue;
            }
            match &mut self.held {
                Some(held) => held.digest.add(&notice),
                None => {
                    self.held = Some(Held {
                        digest: Digest::new(&notice),
                        after: entry.seq - 1,
                    });
                }
            }
        }
        if over(&self.limit)
            && let Some(held) = self.held.take()
        {
            admitted.push((held.digest.notice(&self.settings.fields), None));
        }
        admitted
    }

    async fn advance(&mut self, told: u64, findings: &FindingsBus) -> Result<(), Refusal> {
        findings.advance(&self.cursor, told).await?;
        self.told = told;
        self.board
            .update(&self.settings.name, |row| row.told = told);
        Ok(())
    }

    /// Until every event of the batch is taken or buried.
    async fn settle(
        &mut self,
        batch: Vec<Notice>,
        findings: &FindingsBus,
        shutdown: &CancellationToken,
    ) -> Result<Result<(), Ended>, Refusal> {
        let mut parts = VecDeque::from([batch]);
        while let Some(mut part) = parts.pop_front() {
            if part.is_empty() {
                continue;
            }
            let Some(outcome) = self.deliver(&part, shutdown).await else {
                return Ok(Err(Ended));
            };
            match outcome {
                Outcome::Delivered => self.delivered(part.len()),
                Outcome::Retry { why, after } => {
                    parts.push_front(part);
                    self.failed(&why, findings).await?;
                    if self.pause(after, shutdown).await.is_err() {
                        return Ok(Err(Ended));
                    }
                }
                Outcome::Refused { why } if part.len() == 1 => {
                    for notice in part {
                        self.bury(notice, &why, findings).await?;
                    }
                }
                Outcome::Refused { .. } => {
                    let rest = part.split_off(part.len() / 2);
                    parts.push_front(rest);
                    parts.push_front(part);
                }
                Outcome::PerItem(items) => {
                    let mut rest = Vec::new();
                    let mut taken = 0;
                    let mut trouble = None;
                    for (notice, item) in part.into_iter().zip(items) {
                        match item {
                            Item::Taken => taken += 1,
                            Item::Never(why) => self.bury(notice, &why, findings).await?,
                            Item::NotNow(why) => {
                                trouble = Some(why);
                                rest.push(notice);
                            }
                        }
                    }
                    if taken > 0 {
                        self.delivered(taken);
                    }
                    if let Some(why) = trouble {
                        parts.push_front(rest);
                        self.failed(&why, findings).await?;
                        if self.pause(None, shutdown).await.is_err() {
                            return Ok(Err(Ended));
                        }
                    }
                }
            }
        }
        Ok(Ok(()))
    }

    /// `None` when the shutdown came first.
    async fn deliver(&mut self, part: &[Notice], shutdown: &CancellationToken) -> Option<Outcome> {
        let patience = self.settings.timeout;
        let end = async {
            shutdown.cancelled().await;
            tokio::time::sleep(LAST).await;
        };
        tokio::select! {
            outcome = tokio::time::timeout(patience, self.destination.deliver(part)) => {
                Some(outcome.unwrap_or_else(|_| {
                    Outcome::retry(format!("no answer within {} s", patience.as_secs_f32()))
                }))
            }
            () = end => None,
        }
    }

    fn delivered(&mut self, count: usize) {
        self.backoff.reset();
        let sink = &self.settings.name;
        if self.trouble.take().is_some() {
            tracing::info!(sink, "a sink is well again");
        }
        self.metrics.sink_delivered(sink, count as u64);
        self.board.update(sink, |row| {
            row.state = "ok".to_owned();
            row.delivered += count as u64;
            row.last_delivered_at = Some(Timestamp::now());
        });
    }

    async fn failed(&mut self, why: &str, findings: &FindingsBus) -> Result<(), Refusal> {
        let sink = self.settings.name.clone();
        let behind = self.show_lag(findings).await?;
        self.metrics.sink_failed(&sink);
        // Said once, until it fails of something else.
        if self.trouble.as_deref() != Some(why) {
            tracing::warn!(
                sink,
                behind,
                "a sink does not get through: {why}; trying again"
            );
            self.trouble = Some(why.to_owned());
        }
        self.board.update(&sink, |row| {
            row.failed += 1;
            row.state = format!("trying again: {why}");
            row.last_error = Some(why.to_owned());
        });
        Ok(())
    }

    async fn pause(
        &mut self,
        asked: Option<Duration>,
        shutdown: &CancellationToken,
    ) -> Result<(), Ended> {
        let wait = self.backoff.next(asked);
        tokio::select! {
            () = tokio::time::sleep(wait) => Ok(()),
            () = shutdown.cancelled() => Err(Ended),
        }
    }

    async fn bury(
        &mut self,
        notice: Notice,
        why: &str,
        findings: &FindingsBus,
    ) -> Result<(), Refusal> {
        let sink = &self.settings.name;
        tracing::error!(sink, event = %notice.id, "an event was refused and is kept as a dead letter: {why}");
        findings
            .bury(DeadLetter {
                sink: sink.clone(),
                event: notice.id,
                why: why.to_owned(),
                body: notice.ocsf,
            })
            .await?;
        let dead = findings.dead_count(sink).await?;
        self.metrics.sink_dead(sink);
        self.board.update(sink, |row| {
            row.dead = dead;
            row.last_error = Some(why.to_owned());
        });
        Ok(())
    }

    async fn show_lag(&self, findings: &FindingsBus) -> Result<u64, Refusal> {
        let last = findings.last_happened().await?;
        let behind = last.saturating_sub(self.told);
        self.metrics.sink_behind(&self.settings.name, behind);
        Ok(behind)
    }
}

//! Runner of a sink: reads the store at a cursor; filter, rate limit, batches,
//! retries, order, metrics and dead letters.
//!
//! The cursor moves when the receiver has accepted a batch, never before, and
//! stays before the first event that is not delivered yet, alone or in a
//! digest.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use jiff::Timestamp;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use watchtower_base::backoff::Backoff;
use watchtower_base::text::counted;
use watchtower_domain::sink_status::SinkBoard;
use watchtower_record::store::{
    CursorAdvance, DeadLetter, DeadLetterRemoval, OutboxEntry, Readers, WriteRefusal,
};
use watchtower_record::{Record, RecordEvent};

use super::queue::{Next, PendingEvent, Queue};
use super::{Blame, DeliveryOutcome, Destination, ItemOutcome, Settled};
use crate::event::{Digest, SinkEvent};
use crate::filter::{Limit, is_wanted};
use crate::metrics::SinkMetrics;
use crate::settings::SinkSettings;

/// Events read from the store at once.
const PAGE: usize = 1000;
/// Retry delay after the store could not be read or written.
const STORE_AGAIN: Duration = Duration::from_secs(5);
/// Time for deliveries in flight at shutdown.
const LAST: Duration = Duration::from_millis(1500);

/// Name of a sink's cursor in the outbox.
pub fn cursor_name(sink: &str) -> String {
    format!("sink {sink}")
}

pub(super) struct Runner {
    settings: SinkSettings,
    destination: Box<dyn Destination>,
    cursor: String,
    /// Position up to which events are delivered, held back or filtered out.
    read: u64,
    /// Position saved in the store.
    saved: u64,
    limit: Option<Limit>,
    held: Option<HeldEvents>,
    queue: Queue,
    /// Unprocessed outcome of batches in flight.
    settled: Option<Settled>,
    /// Dead letters being redelivered.
    again: HashSet<Uuid>,
    backoff: Backoff,
    /// Reason of the failure, while it fails.
    trouble: Option<String>,
    board: SinkBoard,
    metrics: Arc<SinkMetrics>,
}

/// Events beyond the rate limit, until they are sent as a count.
struct HeldEvents {
    digest: Digest,
    /// Position before the first of them.
    after: u64,
}

impl fmt::Debug for Runner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Runner({})", self.settings.name)
    }
}

/// Next step of the loop.
enum RunnerStep {
    On,
    /// Until that time, or until something happens.
    Wait(Option<Instant>),
    /// The server is shutting down.
    Ended,
}

impl Runner {
    pub(super) fn new(
        settings: SinkSettings,
        destination: Box<dyn Destination>,
        saved: u64,
        board: SinkBoard,
        metrics: Arc<SinkMetrics>,
    ) -> Self {
        Self {
            cursor: cursor_name(&settings.name),
            limit: settings.rate.map(Limit::new),
            settings,
            destination,
            read: saved,
            saved,
            held: None,
            queue: Queue::default(),
            settled: None,
            again: HashSet::new(),
            backoff: Backoff::default(),
            trouble: None,
            board,
            metrics,
        }
    }

    pub(super) async fn run(mut self, findings: Record, shutdown: CancellationToken) {
        let mut record_events = findings.events();
        let mut redeliveries = self.board.redeliveries();
        self.board.update(&self.settings.name, |row| {
            row.state = "ready".to_owned();
        });
        while !shutdown.is_cancelled() {
            redeliveries.borrow_and_update();
            match self.step(&findings, &shutdown).await {
                Ok(RunnerStep::On) => {}
                Ok(RunnerStep::Wait(until)) => {
                    let until = [until, self.digest_due()].into_iter().flatten().min();
                    tokio::select! {
                        settled = self.destination.settled() => self.settled = Some(settled),
                        () = happens(&mut record_events, until) => {}
                        Ok(()) = redeliveries.changed() => {}
                        () = shutdown.cancelled() => {}
                    }
                }
                Ok(RunnerStep::Ended) => return,
                Err(error) => {
                    let sink = &self.settings.name;
                    tracing::warn!(sink, %error, "sink waiting for the database");
                    tokio::select! {
                        () = tokio::time::sleep(STORE_AGAIN) => {}
                        () = shutdown.cancelled() => {}
                    }
                }
            }
        }
        self.close(&findings).await;
    }

    /// End of the limit's interval, if events are held back.
    fn digest_due(&self) -> Option<Instant> {
        let limit = self.limit.as_ref().filter(|_| self.held.is_some())?;
        let now = Instant::now();
        Some(now + limit.left(now))
    }

    /// Waits briefly for deliveries in flight at shutdown, so that fewer events
    /// are sent twice.
    async fn close(&mut self, findings: &Record) {
        let last = async {
            while self.queue.under_way() > 0 {
                let settled = match self.settled.take() {
                    Some(settled) => settled,
                    None => self.destination.settled().await,
                };
                self.note(settled, findings).await?;
                self.save_cursor(findings).await?;
            }
            Ok::<_, WriteRefusal>(())
        };
        // Deliveries without an outcome by then are repeated after the next
        // start.
        drop(tokio::time::timeout(LAST, last).await);
    }

    /// Reads more events if there is room, and sends the next batch.
    async fn step(
        &mut self,
        findings: &Record,
        shutdown: &CancellationToken,
    ) -> Result<RunnerStep, WriteRefusal> {
        self.process_settled(findings).await?;
        self.send_again(findings).await?;
        let mut more = false;
        if self.queue.waiting() < PAGE / 2 {
            let read = self.read;
            let page = findings.read_for_sink(move |store| store.happened_after(read, PAGE));
            let page = page.await?;
            more = page.len() == PAGE;
            self.report_gap(&page);
            let last = page.last().map(|entry| entry.seq);
            let waiting = self.admit(page, Instant::now());
            // Admitted and counted once, even if the store fails later.
            self.read = last.unwrap_or(self.read);
            let most = self.settings.batch.min(self.destination.most()).max(1);
            for batch in waiting.chunks(most) {
                self.queue.push(batch.to_vec());
            }
        }
        let step = match self.queue.next(Instant::now()) {
            Next::Try(index) => {
                let sink_events = self.queue.sink_events(index);
                let Some(outcome) = self.deliver(&sink_events, shutdown).await else {
                    return Ok(RunnerStep::Ended);
                };
                self.settle(index, sink_events, outcome, findings).await?;
                RunnerStep::On
            }
            Next::WaitUntil(until) => RunnerStep::Wait(Some(until)),
            Next::Nothing if more => RunnerStep::On,
            Next::Nothing => RunnerStep::Wait(None),
        };
        self.save_cursor(findings).await?;
        self.show_lag(findings).await?;
        Ok(step)
    }

    /// Processes all outcomes known by now of batches in flight.
    async fn process_settled(&mut self, findings: &Record) -> Result<(), WriteRefusal> {
        loop {
            let settled = match self.settled.take() {
                Some(settled) => Some(settled),
                None => self.destination.settled().now_or_never(),
            };
            match settled {
                Some(settled) => self.note(settled, findings).await?,
                None => return Ok(()),
            }
        }
    }

    async fn note(&mut self, settled: Settled, findings: &Record) -> Result<(), WriteRefusal> {
        match settled {
            Settled::Taken(tickets) => {
                for ticket in tickets {
                    if let Some(index) = self.queue.ticket(ticket) {
                        let sink_events = self.queue.sink_events(index);
                        self.settle(index, sink_events, DeliveryOutcome::Delivered, findings)
                            .await?;
                    }
                }
            }
            Settled::Lost { tickets, why } => {
                // The cause can't be attributed to one of several.
                let blame = match tickets.len() {
                    1 => Blame::Silence,
                    _ => Blame::Receiver,
                };
                if let Some(given_up) = self.queue.lost(&tickets, blame, Instant::now()) {
                    self.failed(&why, None, findings).await?;
                    if let Some(waiting) = given_up {
                        self.bury(waiting.sink_event, &why, findings).await?;
                    }
                }
            }
            Settled::Waits(why) => self.board.update(&self.settings.name, |row| {
                row.state = format!("waiting: {why}");
            }),
        }
        Ok(())
    }

    /// Queues the dead letters to be redelivered.
    async fn send_again(&mut self, findings: &Record) -> Result<(), WriteRefusal> {
        for event in self.board.take_redeliveries(&self.settings.name) {
            if self.queue.holds(event) {
                continue;
            }
            let again = findings.dead_letter(&self.settings.name, event).await?;
            if let Some(entry) = again {
                let sink_event = SinkEvent::of(&entry, &self.settings.fields);
                self.again.insert(event);
                self.queue.push(vec![PendingEvent {
                    sink_event,
                    before: None,
                }]);
            }
        }
        Ok(())
    }

    async fn save_cursor(&mut self, findings: &Record) -> Result<(), WriteRefusal> {
        let held = self.held.as_ref().map(|held| held.after);
        let saved = [self.queue.floor(), held].into_iter().flatten().min();
        let saved = saved.unwrap_or(self.read).max(self.saved);
        if saved != self.saved {
            findings
                .write(CursorAdvance::new(&self.cursor, saved))
                .await?;
            self.saved = saved;
            self.board
                .update(&self.settings.name, |row| row.told = saved);
        }
        Ok(())
    }

    /// Reports events as lost that retention removed before delivery.
    fn report_gap(&self, page: &[OutboxEntry]) {
        let Some(first) = page.first() else {
            return;
        };
        let lost = first.seq.saturating_sub(self.read + 1);
        if lost > 0 {
            let sink = &self.settings.name;
            tracing::error!(
                sink,
                lost,
                "events removed by retention ([store] keep or max_megabytes) before delivery"
            );
            self.metrics.sink_lost(sink, lost);
            self.board.update(sink, |row| {
                row.last_error = Some(format!(
                    "{} removed by retention before delivery",
                    counted(lost, "event")
                ));
            });
        }
    }

    /// Selects the events of a page to deliver, including a digest of those
    /// beyond the rate limit.
    fn admit(&mut self, page: Vec<OutboxEntry>, now: Instant) -> Vec<PendingEvent> {
        let mut admitted = Vec::new();
        let over = |limit: &Option<Limit>| {
            limit
                .as_ref()
                .is_some_and(|limit| limit.left(now).is_zero())
        };
        for entry in page {
            if over(&self.limit) {
                admitted.extend(self.digest());
            }
            if !is_wanted(&entry, &self.settings) {
                continue;
            }
            let before = entry.seq - 1;
            let sink_event = SinkEvent::of(&entry, &self.settings.fields);
            let passes =
                sink_event.is_close() || self.limit.as_mut().is_none_or(|limit| limit.admits(now));
            if passes {
                admitted.push(PendingEvent {
                    sink_event,
                    before: Some(before),
                });
                continue;
            }
            match &mut self.held {
                Some(held) => held.digest.add(&sink_event),
                None => {
                    self.held = Some(HeldEvents {
                        digest: Digest::new(&sink_event),
                        after: before,
                    });
                }
            }
        }
        if over(&self.limit) {
            admitted.extend(self.digest());
        }
        admitted
    }

    fn digest(&mut self) -> Option<PendingEvent> {
        let held = self.held.take()?;
        Some(PendingEvent {
            sink_event: held.digest.sink_event(&self.settings.fields),
            before: Some(held.after),
        })
    }

    async fn settle(
        &mut self,
        index: usize,
        sink_events: Vec<SinkEvent>,
        outcome: DeliveryOutcome,
        findings: &Record,
    ) -> Result<(), WriteRefusal> {
        let now = Instant::now();
        match outcome {
            DeliveryOutcome::Sent(ticket) => self.queue.sent(index, ticket),
            DeliveryOutcome::NotYet => {}
            DeliveryOutcome::Delivered => {
                let given_up = self.queue.taken(index);
                self.delivered(&sink_events, findings).await?;
                if let Some(waiting) = given_up {
                    let why = self.trouble.clone().unwrap_or_default();
                    self.bury(waiting.sink_event, &why, findings).await?;
                }
            }
            DeliveryOutcome::Retry { why, after, blame } => {
                let given_up = self.queue.failed(index, blame, now);
                self.failed(&why, after, findings).await?;
                if let Some(waiting) = given_up {
                    self.bury(waiting.sink_event, &why, findings).await?;
                }
            }
            DeliveryOutcome::PerItem(items) => {
                let mut taken = Vec::new();
                let mut never = Vec::new();
                let mut trouble = None;
                let mut fates = Vec::new();
                for (sink_event, item) in sink_events.into_iter().zip(items) {
                    fates.push(match item {
                        ItemOutcome::Taken => {
                            taken.push(sink_event);
                            None
                        }
                        ItemOutcome::Permanent(why) => {
                            never.push((sink_event, why));
                            None
                        }
                        ItemOutcome::Not(blame, why) => {
                            trouble.get_or_insert(why);
                            Some(blame)
                        }
                    });
                }
                for (sink_event, why) in never {
                    self.bury(sink_event, &why, findings).await?;
                }
                let lost = self.queue.settled(index, fates, !taken.is_empty(), now);
                if !taken.is_empty() {
                    self.delivered(&taken, findings).await?;
                }
                if let Some(why) = trouble {
                    self.failed(&why, None, findings).await?;
                    for waiting in lost {
                        self.bury(waiting.sink_event, &why, findings).await?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Waits for the outcome; `None` when the shutdown came first.
    async fn deliver(
        &mut self,
        part: &[SinkEvent],
        shutdown: &CancellationToken,
    ) -> Option<DeliveryOutcome> {
        let patience = self.settings.timeout;
        let end = async {
            shutdown.cancelled().await;
            tokio::time::sleep(LAST).await;
        };
        tokio::select! {
            outcome = tokio::time::timeout(patience, self.destination.deliver(part)) => {
                Some(outcome.unwrap_or_else(|_| {
                    DeliveryOutcome::retry(format!("no answer within {} s", patience.as_secs_f32()))
                }))
            }
            () = end => None,
        }
    }

    async fn delivered(
        &mut self,
        sink_events: &[SinkEvent],
        findings: &Record,
    ) -> Result<(), WriteRefusal> {
        self.backoff.reset();
        let sink = self.settings.name.clone();
        let count = sink_events.len() as u64;
        let aside = self.queue.aside();
        let state = match &self.trouble {
            Some(why) if aside > 0 => {
                format!("ok, retrying {}: {why}", counted(aside, "event"))
            }
            _ => "ok".to_owned(),
        };
        if aside == 0 && self.trouble.take().is_some() {
            tracing::info!(sink, "sink recovered");
        }
        self.metrics.sink_delivered(&sink, count);
        self.board.update(&sink, |row| {
            row.state = state;
            if aside == 0 {
                row.failing_since = None;
                row.delivering_since.get_or_insert_with(Timestamp::now);
            }
            row.delivered += count;
            row.last_delivered_at = Some(Timestamp::now());
        });
        // Dead letters that were delivered are removed.
        for sink_event in sink_events {
            if self.again.remove(&sink_event.id) {
                let taken = DeadLetterRemoval {
                    sink: sink.clone(),
                    event: sink_event.id,
                };
                findings.write(taken).await?;
                let dead = findings.dead_count(&sink).await?;
                self.board.update(&sink, |row| row.dead = dead);
            }
        }
        Ok(())
    }

    async fn failed(
        &mut self,
        why: &str,
        after: Option<Duration>,
        findings: &Record,
    ) -> Result<(), WriteRefusal> {
        let wait = self.backoff.next(after);
        self.queue.retry_at(Instant::now() + wait);
        let sink = self.settings.name.clone();
        let behind = self.show_lag(findings).await?;
        self.metrics.sink_failed(&sink);
        // Logged once, until the reason changes.
        if self.trouble.as_deref() != Some(why) {
            tracing::warn!(sink, behind, "sink delivery failed: {why}; retrying");
            self.trouble = Some(why.to_owned());
        }
        self.board.update(&sink, |row| {
            row.failed += 1;
            row.failing_since.get_or_insert_with(Timestamp::now);
            row.delivering_since = None;
            row.state = format!("retrying: {why}");
            row.last_error = Some(why.to_owned());
        });
        Ok(())
    }

    async fn bury(
        &mut self,
        sink_event: SinkEvent,
        why: &str,
        findings: &Record,
    ) -> Result<(), WriteRefusal> {
        let sink = &self.settings.name;
        tracing::error!(sink, event = %sink_event.id, "event rejected, moved to dead letters: {why}");
        findings
            .write(DeadLetter {
                sink: sink.clone(),
                event: sink_event.id,
                why: why.to_owned(),
                body: sink_event.ocsf,
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

    async fn show_lag(&self, findings: &Record) -> Result<u64, WriteRefusal> {
        let last = findings.read_for_sink(Readers::last_happened).await?;
        let behind = last.saturating_sub(self.saved);
        self.metrics.sink_behind(&self.settings.name, behind);
        Ok(behind)
    }
}

/// Waits for an event, or for that time.
async fn happens(record_events: &mut broadcast::Receiver<RecordEvent>, until: Option<Instant>) {
    let due = async {
        match until {
            Some(until) => tokio::time::sleep_until(until.into()).await,
            None => std::future::pending().await,
        }
    };
    let progress = async {
        loop {
            match record_events.recv().await {
                Ok(RecordEvent::Incident(_)) | Err(RecvError::Lagged(_)) => return,
                Ok(RecordEvent::Finding { .. }) => {}
                // It ends with the shutdown.
                Err(RecvError::Closed) => std::future::pending().await,
            }
        }
    };
    tokio::select! {
        () = progress => {}
        () = due => {}
    }
}

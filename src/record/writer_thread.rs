//! Writer thread: the store first, then `findings.jsonl`, then the agents'
//! logs, then the subscribers, then the caller.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use watchtower_base::sync::Locked as _;

use super::{QUEUED, RecordEvent, RecordState, store};
use crate::agent_logs::AgentLogs;
use crate::jsonl;
use crate::jsonl::JsonLines;
use crate::store::{
    Announcement, CursorAdvance, PendingWrite, StoreError, StoreWriter, Swept, WriteRefusal,
};

/// Interval of sweeps for records too old.
const SWEPT_EVERY: Duration = Duration::from_secs(10 * 60);
/// Interval of size checks, within which a screen full of text may be written
/// many times.
const WEIGHED_EVERY: Duration = Duration::from_secs(10);
/// Delay until a failed sweep is retried.
const AGAIN: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) enum Job {
    Write(Box<dyn PendingWrite>),
    /// Line in an agent's log other than a finding.
    Note {
        agent: String,
        text: String,
    },
    Sweep(oneshot::Sender<Result<Swept, StoreError>>),
}

#[derive(Debug)]
pub(super) struct WriterThread {
    pub(super) writer: StoreWriter,
    pub(super) export: JsonLines,
    pub(super) logs: AgentLogs,
    pub(super) shared: Arc<RecordState>,
}

impl WriterThread {
    /// Runs until the last publisher is dropped.
    pub(super) fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        // Runtime of this thread, for waits with a deadline.
        let timer = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build();
        let timer = match timer {
            Ok(timer) => timer,
            Err(error) => {
                tracing::error!(%error, "failed to start the database writer");
                return;
            }
        };
        let mut batch = Vec::with_capacity(QUEUED);
        let mut sweep_at = Instant::now();
        let mut weighed_at = sweep_at;
        loop {
            let wait = sweep_at.saturating_duration_since(Instant::now());
            let wait = if self.export.is_behind() || self.is_refused() {
                wait.min(AGAIN)
            } else {
                wait
            };
            let received = timer.block_on(async {
                tokio::time::timeout(wait, jobs.recv_many(&mut batch, QUEUED)).await
            });
            match received {
                Ok(0) => break,
                Ok(_) => self.take(&mut batch),
                Err(_) if self.is_refused() => self.probe(),
                Err(_) if self.export.is_behind() => self.export.catch_up(&self.shared.readers),
                Err(_) => {}
            }
            if weighed_at.elapsed() >= WEIGHED_EVERY {
                weighed_at = Instant::now();
                if self.writer.is_full() {
                    sweep_at = weighed_at;
                }
            }
            if Instant::now() >= sweep_at {
                // One step at a time, so that publishing is not delayed.
                let more = self.sweep().is_ok_and(|swept| swept.more);
                sweep_at = Instant::now() + if more { Duration::ZERO } else { SWEPT_EVERY };
            }
        }
        if let Some(last) = self.note_export(true) {
            let (last, _) = store::queue(last);
            self.writer.write(&mut [last]);
        }
    }

    fn take(&mut self, batch: &mut Vec<Job>) {
        let mut group = Vec::with_capacity(batch.len() + 1);
        for job in batch.drain(..) {
            match job {
                Job::Write(write) => group.push(write),
                // In order with the agent's findings.
                Job::Note { agent, text } => {
                    self.write(&mut group);
                    self.logs.note(&agent, &text);
                }
                Job::Sweep(reply) => {
                    self.write(&mut group);
                    let _ = reply.send(self.sweep_all());
                }
            }
        }
        let noted = self.note_export(false).map(|note| {
            let (note, noted) = store::queue(note);
            group.push(note);
            noted
        });
        self.write(&mut group);
        if let Some(Ok(Err(error))) = noted.map(|mut noted| noted.try_recv()) {
            tracing::warn!(%error, "failed to store the position of {}", jsonl::NAME);
        }
    }

    /// Writes the group and empties it: the store first, then `findings.jsonl`,
    /// then of each write the logs, the subscribers and the caller.
    fn write(&mut self, group: &mut Vec<Box<dyn PendingWrite>>) {
        self.writer.write(group);
        self.note_refusal(group);
        let recorded = group.iter().filter_map(|write| match write.announcement() {
            Some(Announcement::Finding { seq, finding, .. }) => Some((seq, &**finding)),
            _ => None,
        });
        self.export.append(recorded, &self.shared.readers);
        for write in group.drain(..) {
            if let Some(announcement) = write.announcement() {
                self.announce(announcement);
            }
            write.reply();
        }
    }

    /// Records a refusal for the readiness check.
    fn note_refusal(&self, group: &[Box<dyn PendingWrite>]) {
        let outcomes = || group.iter().filter_map(|write| write.outcome());
        let refused = outcomes().find_map(|outcome| match outcome {
            Err(WriteRefusal::Store(StoreError { reason, .. })) => Some(reason.clone()),
            _ => None,
        });
        let taken = outcomes().any(|outcome| outcome.is_ok());
        if taken || refused.is_some() {
            *self.shared.refused.locked() = refused.filter(|_| !taken);
        }
    }

    fn is_refused(&self) -> bool {
        self.shared.refused.locked().is_some()
    }

    /// Tests if the store accepts writes again.
    fn probe(&mut self) {
        let (probe, _) = store::queue(CursorAdvance::new("probe", 0));
        let mut group = [probe];
        self.writer.write(&mut group);
        self.note_refusal(&group);
    }

    fn announce(&mut self, announcement: Announcement<'_>) {
        let change = match announcement {
            Announcement::Finding {
                seq,
                finding,
                change,
                own_count,
            } => {
                self.logs.finding(finding, change, own_count);
                let finding = Arc::clone(finding);
                self.shared.announce(RecordEvent::Finding { seq, finding });
                change
            }
            Announcement::Panel { exchange, change } => {
                self.logs.exchange(exchange, &change.incident);
                change
            }
            Announcement::Change(change) => change,
        };
        self.shared
            .announce(RecordEvent::Incident(Arc::new(change.clone())));
    }

    fn note_export(&mut self, closing: bool) -> Option<CursorAdvance> {
        let (seq, place) = self.export.due_note(closing)?;
        Some(CursorAdvance {
            name: jsonl::NAME.to_owned(),
            seq,
            place,
        })
    }

    fn sweep(&mut self) -> Result<Swept, StoreError> {
        let swept = self.writer.sweep();
        match &swept {
            Ok(swept) if swept.findings + swept.lines > 0 => tracing::info!(
                findings = swept.findings,
                incidents = swept.incidents,
                stills = swept.stills,
                lines = swept.lines,
                "retention: removed"
            ),
            Err(error) => tracing::error!(%error, "retention failed"),
            Ok(_) => {}
        }
        swept
    }

    fn sweep_all(&mut self) -> Result<Swept, StoreError> {
        let mut all = Swept::default();
        loop {
            let step = self.sweep()?;
            all.findings += step.findings;
            all.incidents += step.incidents;
            all.stills += step.stills;
            all.lines += step.lines;
            if !step.more {
                return Ok(all);
            }
        }
    }
}

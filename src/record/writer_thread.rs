//! The one thread that writes: the store first, then `findings.jsonl`, then
//! the agents' logs, then everyone hears, then the publisher knows.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::{Event, PublishError, QUEUED, Shared};
use crate::base::sync::Locked as _;
use crate::domain::cost::Spend;
use crate::domain::finding::Finding;
use crate::domain::incident::{Change, Exchange, Note};
use crate::domain::screen_text::ScreenText;
use crate::record::agent_logs::AgentLogs;
use crate::record::jsonl;
use crate::record::jsonl::JsonLines;
use crate::record::store::{
    DeadLetter, Publication, Recorded, Refusal, Snapshot, StoreError, Swept, Verdict, Write,
    Writer, Written,
};

/// Time between two sweeps for records too old.
const SWEPT_EVERY: Duration = Duration::from_secs(10 * 60);
/// Time between two looks whether there is too much: in between a screen full of
/// text may be written many times.
const WEIGHED_EVERY: Duration = Duration::from_secs(10);
/// Delay until something that failed is tried again without being asked.
const AGAIN: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) enum Job {
    Publish(Box<Publication>, Reply<Arc<Finding>, PublishError>),
    Note {
        agent: String,
        text: String,
    },
    Decide(Verdict, Reply<Change, Refusal>),
    Weigh {
        incident: Uuid,
        exchange: Box<Exchange>,
        reply: Reply<Change, Refusal>,
    },
    Annotate {
        incident: Uuid,
        note: Note,
        reply: Reply<Change, Refusal>,
    },
    Keep(Box<Snapshot>, Reply<(), Refusal>),
    Unlearn(Uuid, Reply<(), Refusal>),
    Remember(Box<ScreenText>, Reply<(), Refusal>),
    Advance {
        name: String,
        seq: u64,
        reply: Reply<(), Refusal>,
    },
    Bury(Box<DeadLetter>, Reply<(), Refusal>),
    Unbury {
        sink: String,
        event: Uuid,
        reply: Reply<(), Refusal>,
    },
    Forget(String, Reply<(), Refusal>),
    Spend(Vec<Spend>, Reply<(), Refusal>),
    Sweep(Reply<Swept, StoreError>),
}

pub(super) type Reply<T, E> = oneshot::Sender<Result<T, E>>;

/// Remainder of a job once its write is on its way.
enum Answer {
    Publish(Reply<Arc<Finding>, PublishError>),
    Decide(Reply<Change, Refusal>),
    Weigh(Box<Exchange>, Reply<Change, Refusal>),
    /// Done or not, no more.
    Plain(Reply<(), Refusal>),
    /// Our own.
    Nobody,
}

#[derive(Debug)]
pub(super) struct WriterThread {
    pub(super) writer: Writer,
    pub(super) export: JsonLines,
    pub(super) logs: AgentLogs,
    pub(super) shared: Arc<Shared>,
}

impl WriterThread {
    /// Ends when nobody is left who could publish.
    pub(super) fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        // Runtime of this thread alone, for waiting with a deadline.
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
                // A step at a time: who publishes comes in between.
                let more = self.sweep().is_ok_and(|swept| swept.more);
                sweep_at = Instant::now() + if more { Duration::ZERO } else { SWEPT_EVERY };
            }
        }
        let last = self.note_export(true);
        drop(self.writer.write(last.as_slice()));
    }

    fn take(&mut self, batch: &mut Vec<Job>) {
        let mut writes = Vec::with_capacity(batch.len() + 1);
        let mut answers = Vec::with_capacity(batch.len() + 1);
        for job in batch.drain(..) {
            let (write, answer) = match job {
                Job::Publish(publication, reply) => {
                    (Write::Record(publication), Answer::Publish(reply))
                }
                Job::Decide(verdict, reply) => (Write::Decide(verdict), Answer::Decide(reply)),
                Job::Weigh {
                    incident,
                    exchange,
                    reply,
                } => {
                    let write = Write::Weigh {
                        incident,
                        exchange: exchange.clone(),
                    };
                    (write, Answer::Weigh(exchange, reply))
                }
                Job::Annotate {
                    incident,
                    note,
                    reply,
                } => (Write::Annotate { incident, note }, Answer::Decide(reply)),
                Job::Keep(snapshot, reply) => (Write::Keep(snapshot), Answer::Plain(reply)),
                Job::Unlearn(lesson, reply) => (Write::Unlearn(lesson), Answer::Plain(reply)),
                Job::Remember(text, reply) => (Write::Remember(text), Answer::Plain(reply)),
                Job::Advance { name, seq, reply } => {
                    let write = Write::Advance {
                        name,
                        seq,
                        place: 0,
                    };
                    (write, Answer::Plain(reply))
                }
                Job::Bury(letter, reply) => (Write::Bury(letter), Answer::Plain(reply)),
                Job::Unbury { sink, event, reply } => {
                    (Write::Unbury { sink, event }, Answer::Plain(reply))
                }
                Job::Forget(name, reply) => (Write::Forget(name), Answer::Plain(reply)),
                Job::Spend(rows, reply) => (Write::Spend(rows), Answer::Plain(reply)),
                // In its place among the agent's findings.
                Job::Note { agent, text } => {
                    self.write(&mut writes, &mut answers);
                    self.logs.note(&agent, &text);
                    continue;
                }
                Job::Sweep(reply) => {
                    self.write(&mut writes, &mut answers);
                    let _ = reply.send(self.sweep_all());
                    continue;
                }
            };
            writes.push(write);
            answers.push(answer);
        }
        if let Some(note) = self.note_export(false) {
            writes.push(note);
            answers.push(Answer::Nobody);
        }
        self.write(&mut writes, &mut answers);
    }

    fn write(&mut self, writes: &mut Vec<Write>, answers: &mut Vec<Answer>) {
        let results = self.writer.write(writes);
        writes.clear();
        self.note_refusal(&results);
        let recorded = results.iter().filter_map(|result| match result {
            Ok(Written::Recorded(recorded)) if recorded.change.is_some() => {
                Some((recorded.seq, recorded.finding.as_ref()))
            }
            _ => None,
        });
        self.export.append(recorded, &self.shared.readers);
        for (result, answer) in results.into_iter().zip(answers.drain(..)) {
            self.answer(result, answer);
        }
    }

    /// For whoever asks whether it is ready.
    fn note_refusal(&self, results: &[Result<Written, Refusal>]) {
        let reason = |result: &Result<Written, Refusal>| match result {
            Err(Refusal::Store(StoreError { reason, .. })) => Some(reason.clone()),
            _ => None,
        };
        let refused = results.iter().find_map(reason);
        let taken = results.iter().any(Result::is_ok);
        if taken || refused.is_some() {
            *self.shared.refused.locked() = refused.filter(|_| !taken);
        }
    }

    fn is_refused(&self) -> bool {
        self.shared.refused.locked().is_some()
    }

    /// Tests if the store takes a write again.
    fn probe(&mut self) {
        let probe = Write::Advance {
            name: "probe".to_owned(),
            seq: 0,
            place: 0,
        };
        let results = self.writer.write(&[probe]);
        self.note_refusal(&results);
    }

    fn answer(&mut self, result: Result<Written, Refusal>, answer: Answer) {
        match (result, answer) {
            (Ok(Written::Recorded(recorded)), Answer::Publish(reply)) => {
                self.tell(&recorded);
                // The publisher may have gone; the finding stands all the same.
                let _ = reply.send(Ok(recorded.finding));
            }
            (Ok(Written::Decided(change) | Written::Annotated(change)), Answer::Decide(reply)) => {
                self.shared.tell(Event::Incident(Arc::new(change.clone())));
                let _ = reply.send(Ok(change));
            }
            (Ok(Written::Weighed(change)), Answer::Weigh(exchange, reply)) => {
                self.logs.exchange(&exchange, &change.incident);
                self.shared.tell(Event::Incident(Arc::new(change.clone())));
                let _ = reply.send(Ok(change));
            }
            (Ok(_), Answer::Plain(reply)) => {
                let _ = reply.send(Ok(()));
            }
            (Err(refusal), Answer::Publish(reply)) => {
                let _ = reply.send(Err(refusal.into()));
            }
            (Err(refusal), Answer::Decide(reply) | Answer::Weigh(_, reply)) => {
                let _ = reply.send(Err(refusal));
            }
            (Err(refusal), Answer::Plain(reply)) => {
                let _ = reply.send(Err(refusal));
            }
            (Err(error), Answer::Nobody) => {
                tracing::warn!(%error, "failed to store the position of {}", jsonl::NAME);
            }
            // A write answers in kind.
            (Ok(_), _) => {}
        }
    }

    fn tell(&mut self, recorded: &Recorded) {
        let Some(change) = &recorded.change else {
            return;
        };
        let finding = &recorded.finding;
        self.logs.finding(finding, change, recorded.own_count);
        self.shared.tell(Event::Finding {
            seq: recorded.seq,
            finding: Arc::clone(finding),
        });
        self.shared.tell(Event::Incident(Arc::new(change.clone())));
    }

    fn note_export(&mut self, closing: bool) -> Option<Write> {
        let (seq, place) = self.export.due_note(closing)?;
        Some(Write::Advance {
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

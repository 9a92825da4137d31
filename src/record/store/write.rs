//! Writes: each is a struct beside the SQL it performs, and its [`Write`] is
//! the one place where it is spelled.

use std::fmt;
use std::sync::Arc;

use tokio::sync::oneshot;

use watchtower_domain::finding::Finding;
use watchtower_domain::incident::{Change, Exchange};

use super::{StoreError, StoreWriter, WriteRefusal};

/// Something to be written.
pub trait Write: fmt::Debug + Send + 'static {
    /// Result, handed over once it is durable.
    type Out: Send + 'static;

    /// Writes it into the transaction that is open. A refusal must leave the
    /// transaction as it was: what waited beside it is committed all the same.
    ///
    /// May be called again: where another write undoes their transaction, each
    /// gets one of its own.
    fn apply(&self, writer: &mut StoreWriter) -> Result<Self::Out, WriteError>;

    /// News it makes once it is durable, for the files beside the store and for
    /// subscribers; none by default.
    fn announcement<'a>(&'a self, _out: &'a Self::Out) -> Option<Announcement<'a>> {
        None
    }
}

/// Why a write was not applied.
#[derive(Debug)]
pub enum WriteError {
    /// It changed nothing, and undoes nothing.
    Refused(WriteRefusal),
    /// Undoes the transaction.
    Database(rusqlite::Error),
}

impl From<WriteRefusal> for WriteError {
    fn from(refusal: WriteRefusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<rusqlite::Error> for WriteError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

/// News of a durable write.
#[derive(Debug, Clone, Copy)]
pub enum Announcement<'a> {
    /// A finding was recorded for the first time.
    Finding {
        seq: u64,
        finding: &'a Arc<Finding>,
        change: &'a Change,
        /// Findings of its agent in its incident so far.
        own_count: u64,
    },
    /// Panel's opinions or verdict on an incident.
    Panel {
        exchange: &'a Exchange,
        change: &'a Change,
    },
    /// Any other change of an incident.
    Change(&'a Change),
}

/// A write in a group, whatever it results in.
pub trait PendingWrite: fmt::Debug + Send {
    /// Applies it, and keeps its result or its refusal. An error undoes the
    /// transaction.
    fn apply(&mut self, writer: &mut StoreWriter) -> rusqlite::Result<()>;

    /// Keeps the reason why its transaction was not committed.
    fn fail(&mut self, error: StoreError);

    /// Outcome; `None` before it was tried.
    fn outcome(&self) -> Option<Result<(), &WriteRefusal>>;

    /// News it makes; `None` unless it was written.
    fn announcement(&self) -> Option<Announcement<'_>>;

    /// Sends the outcome to the waiting caller.
    fn reply(self: Box<Self>);
}

type WriteOutcome<W> = Result<<W as Write>::Out, WriteRefusal>;

/// Makes a write ready for its group, and returns where its outcome arrives.
/// It is closed when the write is dropped untried.
pub fn queue<W: Write>(write: W) -> (Box<dyn PendingWrite>, oneshot::Receiver<WriteOutcome<W>>) {
    let (reply, outcome) = oneshot::channel();
    let queued = QueuedWrite {
        write,
        outcome: None,
        reply,
    };
    (Box::new(queued), outcome)
}

struct QueuedWrite<W: Write> {
    write: W,
    outcome: Option<WriteOutcome<W>>,
    reply: oneshot::Sender<WriteOutcome<W>>,
}

impl<W: Write> fmt::Debug for QueuedWrite<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("QueuedWrite").field(&self.write).finish()
    }
}

impl<W: Write> PendingWrite for QueuedWrite<W> {
    fn apply(&mut self, writer: &mut StoreWriter) -> rusqlite::Result<()> {
        self.outcome = Some(match self.write.apply(writer) {
            Ok(out) => Ok(out),
            Err(WriteError::Refused(refusal)) => Err(refusal),
            Err(WriteError::Database(error)) => return Err(error),
        });
        Ok(())
    }

    fn fail(&mut self, error: StoreError) {
        self.outcome = Some(Err(error.into()));
    }

    fn outcome(&self) -> Option<Result<(), &WriteRefusal>> {
        let outcome = self.outcome.as_ref()?;
        Some(outcome.as_ref().map(|_| ()))
    }

    fn announcement(&self) -> Option<Announcement<'_>> {
        match &self.outcome {
            Some(Ok(out)) => self.write.announcement(out),
            _ => None,
        }
    }

    fn reply(self: Box<Self>) {
        let Self { outcome, reply, .. } = *self;
        if let Some(outcome) = outcome {
            // Whoever waited may have gone; what is written stands all the same.
            let _ = reply.send(outcome);
        }
    }
}

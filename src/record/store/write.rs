//! Writes: each is a struct beside the SQL it performs, defined by its
//! [`Write`] alone.

use std::fmt;
use std::sync::Arc;

use tokio::sync::oneshot;

use watchtower_domain::finding::Finding;
use watchtower_domain::incident::{Change, Exchange};

use super::{StoreError, StoreWriter, WriteRefusal};

/// Write to the store.
pub trait Write: fmt::Debug + Send + 'static {
    /// Result, sent once it is durable.
    type Out: Send + 'static;

    /// Applies it to the open transaction. A refusal must leave the transaction
    /// unchanged: the other writes of the group are committed all the same.
    ///
    /// May be called again: where another write rolls their transaction back,
    /// each gets one of its own.
    fn apply(&self, writer: &mut StoreWriter) -> Result<Self::Out, WriteError>;

    /// Announcement once it is durable, for the files beside the store and for
    /// subscribers; none by default.
    fn announcement<'a>(&'a self, _out: &'a Self::Out) -> Option<Announcement<'a>> {
        None
    }
}

/// Reason of a write that was not applied.
#[derive(Debug)]
pub enum WriteError {
    /// Rejected without any effect.
    Refused(WriteRefusal),
    /// Rolls the transaction back.
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

/// Announcement of a durable write.
#[derive(Debug, Clone, Copy)]
pub enum Announcement<'a> {
    /// A finding was recorded for the first time.
    Finding {
        seq: u64,
        finding: &'a Arc<Finding>,
        change: &'a Change,
        /// Number of findings of its agent in its incident so far.
        own_count: u64,
    },
    /// Opinions or verdict of the panel on an incident.
    Panel {
        exchange: &'a Exchange,
        change: &'a Change,
    },
    /// Any other change of an incident.
    Change(&'a Change),
}

/// Write in a group, of any result type.
pub trait PendingWrite: fmt::Debug + Send {
    /// Applies it, and keeps its result or its refusal. An error rolls the
    /// transaction back.
    fn apply(&mut self, writer: &mut StoreWriter) -> rusqlite::Result<()>;

    /// Keeps the reason why its transaction was not committed.
    fn fail(&mut self, error: StoreError);

    /// Outcome; `None` before it was tried.
    fn outcome(&self) -> Option<Result<(), &WriteRefusal>>;

    /// Its announcement; `None` unless it was written.
    fn announcement(&self) -> Option<Announcement<'_>>;

    /// Sends the outcome to the waiting caller.
    fn reply(self: Box<Self>);
}

type WriteOutcome<W> = Result<<W as Write>::Out, WriteRefusal>;

/// Prepares a write for its group, and returns the receiver of its outcome,
/// which is closed when the write is dropped untried.
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
            // The caller may have been dropped; the write is kept all the same.
            let _ = reply.send(outcome);
        }
    }
}

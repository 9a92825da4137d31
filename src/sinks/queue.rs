//! Delivery queue: pending events, and the selection of the next to be sent.
//!
//! No response distinguishes an invalid event from a receiver in trouble:
//! PagerDuty's 400 for a wrong key looks like the one for an invalid event. The
//! outcome of other events decides. So a failed event is set aside and others
//! are tried; one that keeps failing while they are accepted becomes a dead
//! letter after a number of attempts. While nothing is accepted everything
//! waits. The order within an incident is kept.

use std::collections::{HashSet, VecDeque};
use std::time::Instant;

use uuid::Uuid;

use watchtower_base::backoff::Backoff;

use super::{Blame, SinkEvent};

/// Maximum number of failed batches retried in turn; no more are started.
const MOST_ASIDE: usize = 32;
/// Maximum number of events sent without an outcome.
const MOST_UNDER_WAY: usize = 4000;
/// Attempts without a response before other events are tried: the event may
/// crash the receiver.
const SILENT: u32 = 5;
/// Attempts for an event while others are accepted.
const TRIES_REFUSED: u32 = 3;
const TRIES_UNCLEAR: u32 = 4;

/// Event that is not delivered yet.
#[derive(Debug, Clone)]
pub(super) struct PendingEvent {
    pub(super) sink_event: SinkEvent,
    /// Position the cursor must not pass before delivery; `None` for a
    /// redelivery.
    pub(super) before: Option<u64>,
}

/// Events that are sent together.
#[derive(Debug)]
struct QueuedBatch {
    id: u64,
    events: Vec<PendingEvent>,
    failures: u32,
    /// Failures while others were accepted.
    own_failures: u32,
    /// Others were accepted between two of its failures.
    is_suspect: bool,
    /// Successes of the queue at its last failure.
    taken: u64,
    due: Option<Instant>,
    backoff: Backoff,
    tried: u64,
    /// Probe for the fault of that batch, of the same incident.
    probes: Option<u64>,
    /// Ticket under which it was sent; the outcome is pending.
    ticket: Option<u64>,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    parts: VecDeque<QueuedBatch>,
    ids: u64,
    turns: u64,
    /// Successes so far.
    taken: u64,
    /// Batch that failed last, if nothing was accepted since.
    last_failed: Option<u64>,
    /// Rejected batch without events of other incidents to compare.
    unclear: Option<u64>,
    /// Nothing is tried before that time.
    retry_at: Option<Instant>,
}

/// Next step of delivery.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Sends the batch at that index.
    Try(usize),
    WaitUntil(Instant),
    Nothing,
}

impl Queue {
    pub(super) fn push(&mut self, events: Vec<PendingEvent>) {
        let part = self.part(events);
        self.parts.push_back(part);
    }

    fn part(&mut self, events: Vec<PendingEvent>) -> QueuedBatch {
        self.ids += 1;
        QueuedBatch {
            id: self.ids,
            events,
            failures: 0,
            own_failures: 0,
            is_suspect: false,
            taken: self.taken,
            due: None,
            backoff: Backoff::default(),
            tried: 0,
            probes: None,
            ticket: None,
        }
    }

    /// Number of events still to be sent.
    pub(super) fn waiting(&self) -> usize {
        let waiting = self.parts.iter().filter(|part| part.ticket.is_none());
        waiting.map(|part| part.events.len()).sum()
    }

    /// Number of events sent without an outcome.
    pub(super) fn under_way(&self) -> usize {
        let sent = self.parts.iter().filter(|part| part.ticket.is_some());
        sent.map(|part| part.events.len()).sum()
    }

    pub(super) fn sent(&mut self, index: usize, ticket: u64) {
        if let Some(part) = self.parts.get_mut(index) {
            part.ticket = Some(ticket);
        }
    }

    /// Index of the batch sent under that ticket.
    pub(super) fn ticket(&self, ticket: u64) -> Option<usize> {
        let mut parts = self.parts.iter();
        parts.position(|part| part.ticket == Some(ticket))
    }

    /// Returns lost batches to the queue, the first as a failed one; returns
    /// the event that is given up.
    pub(super) fn lost(
        &mut self,
        tickets: &[u64],
        blame: Blame,
        now: Instant,
    ) -> Option<Option<PendingEvent>> {
        let is_lost =
            |part: &QueuedBatch| part.ticket.is_some_and(|known| tickets.contains(&known));
        let first = self.parts.iter().position(is_lost)?;
        for part in &mut self.parts {
            if is_lost(part) {
                part.ticket = None;
            }
        }
        Some(self.failed(first, blame, now))
    }

    /// Number of events that failed and are retried.
    pub(super) fn aside(&self) -> usize {
        let failed = self.parts.iter().filter(|part| part.failures > 0);
        failed.map(|part| part.events.len()).sum()
    }

    pub(super) fn holds(&self, event: Uuid) -> bool {
        let mut events = self.parts.iter().flat_map(|part| &part.events);
        events.any(|waiting| waiting.sink_event.id == event)
    }

    /// Position up to which everything is delivered; `None` if nothing is
    /// pending.
    pub(super) fn floor(&self) -> Option<u64> {
        let events = self.parts.iter().flat_map(|part| &part.events);
        events.filter_map(|waiting| waiting.before).min()
    }

    pub(super) fn sink_events(&self, index: usize) -> Vec<SinkEvent> {
        let events = &self.parts[index].events;
        events
            .iter()
            .map(|waiting| waiting.sink_event.clone())
            .collect()
    }

    pub(super) fn retry_at(&mut self, until: Instant) {
        // Probes for a fault of the event are best sent at once.
        if self.unclear.is_none() {
            self.retry_at = Some(until);
        }
    }

    pub(super) fn next(&mut self, now: Instant) -> Next {
        if let Some(index) = self.probe() {
            return self.tries(index);
        }
        if let Some(until) = self.retry_at.filter(|until| *until > now) {
            return Next::WaitUntil(until);
        }
        // The cause is clear for a single event.
        let under_way = self.under_way();
        let doubtful = self.parts.iter().any(|part| part.failures > 0);
        if under_way >= MOST_UNDER_WAY || (under_way > 0 && doubtful) {
            return Next::Nothing;
        }
        let aside = self.parts.iter().filter(|part| part.failures > 0).count();
        let mut blocked: HashSet<Uuid> = HashSet::new();
        let mut failed: Vec<usize> = Vec::new();
        let mut fresh = None;
        let mut soonest: Option<Instant> = None;
        for (index, part) in self.parts.iter().enumerate() {
            if part.ticket.is_some() {
                continue;
            }
            let is_blocked =
                |waiting: &PendingEvent| blocked.contains(&waiting.sink_event.incident);
            if part.failures > 0 {
                if !part.events.iter().any(is_blocked) {
                    match part.due.filter(|due| *due > now) {
                        Some(due) => soonest = Some(soonest.map_or(due, |known| known.min(due))),
                        None => failed.push(index),
                    }
                }
                blocked.extend(
                    part.events
                        .iter()
                        .map(|waiting| waiting.sink_event.incident),
                );
            } else if aside < MOST_ASIDE && !part.events.iter().all(is_blocked) {
                fresh = Some(index);
                break;
            }
        }
        failed.sort_by_key(|index| self.parts[*index].tried);
        let other = |index: &&usize| Some(self.parts[**index].id) != self.last_failed;
        let other = failed.iter().find(other).copied();
        match (other, fresh, failed.first().copied()) {
            (Some(index), _, _) => self.tries(index),
            (None, Some(index), _) => {
                self.leave_out(index, &blocked);
                self.tries(index)
            }
            (None, None, Some(index)) => self.tries(index),
            (None, None, None) => soonest.map_or(Next::Nothing, Next::WaitUntil),
        }
    }

    fn tries(&mut self, index: usize) -> Next {
        self.turns += 1;
        self.parts[index].tried = self.turns;
        Next::Try(index)
    }

    /// Splits off events that have to wait for another of their incident into a
    /// batch of their own.
    fn leave_out(&mut self, index: usize, blocked: &HashSet<Uuid>) {
        let events = std::mem::take(&mut self.parts[index].events);
        let (later, now): (Vec<_>, Vec<_>) = events
            .into_iter()
            .partition(|waiting| blocked.contains(&waiting.sink_event.incident));
        self.parts[index].events = now;
        if !later.is_empty() {
            let later = self.part(later);
            self.parts.insert(index + 1, later);
        }
    }

    /// Next event of the rejected one's incident, without events of others: if
    /// accepted, it shows that the rejected one is at fault.
    fn probe(&mut self) -> Option<usize> {
        let unclear = self.unclear.take()?;
        let at = self.parts.iter().position(|part| part.id == unclear)?;
        let incident = self.parts[at].events.first()?.sink_event.incident;
        let is_other = |part: &QueuedBatch| {
            let mut events = part.events.iter();
            part.id != unclear && events.any(|waiting| waiting.sink_event.incident != incident)
        };
        if self.parts.iter().any(is_other) {
            return None;
        }
        let follower = at + 1;
        let part = self.parts.get_mut(follower)?;
        if part.events.len() > 1 {
            let rest = part.events.split_off(1);
            let rest = self.part(rest);
            self.parts.insert(follower + 1, rest);
        }
        self.parts[follower].probes = Some(unclear);
        Some(follower)
    }

    /// Records a delivered batch; returns the event that is given up.
    pub(super) fn taken(&mut self, index: usize) -> Option<PendingEvent> {
        self.succeeded();
        let part = self.parts.remove(index)?;
        let probed = part.probes?;
        let at = self.parts.iter().position(|part| part.id == probed)?;
        self.parts.remove(at)?.events.pop()
    }

    fn succeeded(&mut self) {
        self.taken += 1;
        self.last_failed = None;
        self.unclear = None;
        self.retry_at = None;
    }

    /// Settles each event of the batch: delivered or given up (`None`), or the
    /// cause of a failure. Returns those given up now.
    pub(super) fn settled(
        &mut self,
        index: usize,
        fates: Vec<Option<Blame>>,
        any_taken: bool,
        now: Instant,
    ) -> Vec<PendingEvent> {
        if any_taken {
            self.succeeded();
        }
        // Batches whose events share an outcome keep their state.
        if let Some(Some(first)) = fates.first()
            && fates.iter().all(|fate| *fate == Some(*first))
        {
            return self.failed(index, *first, now).into_iter().collect();
        }
        let Some(part) = self.parts.remove(index) else {
            return Vec::new();
        };
        let before = part.taken;
        let mut busy = Vec::new();
        let mut refused = Vec::new();
        for (waiting, fate) in part.events.into_iter().zip(fates) {
            match fate {
                None => {}
                Some(Blame::Receiver | Blame::Silence) => busy.push(waiting),
                Some(blame) => refused.push((waiting, blame)),
            }
        }
        let mut lost = Vec::new();
        // Reinserted in order: from the last.
        for (waiting, blame) in refused.into_iter().rev() {
            let mut single = self.part(vec![waiting]);
            single.taken = before;
            single.failures = part.failures;
            self.parts.insert(index, single);
            lost.extend(self.failed(index, blame, now));
        }
        if !busy.is_empty() {
            let part = self.part(busy);
            self.parts.insert(index, part);
            lost.extend(self.failed(index, Blame::Receiver, now));
        }
        lost
    }

    /// Records a failed batch; returns the event that is given up.
    pub(super) fn failed(
        &mut self,
        index: usize,
        blame: Blame,
        now: Instant,
    ) -> Option<PendingEvent> {
        let taken = self.taken;
        let part = self.parts.get_mut(index)?;
        let others_taken = taken > part.taken;
        part.taken = taken;
        part.failures += 1;
        part.probes = None;
        let steps_aside = match blame {
            Blame::Receiver => false,
            Blame::Silence => part.failures >= SILENT,
            Blame::Unclear | Blame::Event => true,
        };
        self.last_failed = steps_aside.then_some(part.id);
        if part.events.len() > 1 {
            let whole = match blame {
                Blame::Receiver => true,
                Blame::Silence => !others_taken,
                Blame::Unclear => !others_taken && part.failures < 2,
                Blame::Event => false,
            };
            if !whole {
                let rest = part.events.split_off(part.events.len() / 2);
                let failures = part.failures;
                let mut rest = self.part(rest);
                rest.failures = failures;
                self.parts.insert(index + 1, rest);
            }
            return None;
        }
        let wait = part.backoff.next(None);
        part.due = steps_aside.then(|| now + wait);
        part.is_suspect |= others_taken;
        let counts = match blame {
            Blame::Receiver => false,
            Blame::Silence => others_taken,
            Blame::Unclear | Blame::Event => part.is_suspect,
        };
        part.own_failures += u32::from(counts);
        let most = match blame {
            Blame::Event => TRIES_REFUSED,
            _ => TRIES_UNCLEAR,
        };
        if part.own_failures >= most {
            return self.parts.remove(index)?.events.pop();
        }
        let answered = matches!(blame, Blame::Unclear | Blame::Event);
        if answered && !part.is_suspect && part.failures >= most {
            self.unclear = Some(part.id);
        }
        None
    }
}

//! Request governor: one for all analysts that share a key.
//!
//! It limits the requests in flight, waits as long as a 429 says, backs off
//! with full jitter on server errors, opens a circuit after five of them in a
//! row, and retries a refused key or an exhausted quota only at long intervals.
//! After any closure a single trial request must succeed before all may pass
//! again. It does not retry requests: the analyst's next scan does, with a
//! newer frame.
//!
//! In front of it is a queue ([`QueuePlace`]): first come, first admitted; a
//! request keeps its place while the budget has no room for it.

mod gate;
#[cfg(test)]
mod scenario_test;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use gate::{GateDecision, GateWait, GovernorGate, ResultClass};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use watchtower_base::sync::Locked as _;
use watchtower_models::model::Failure;

use crate::settings::Priority;

/// Interval at which a waiting analyst reports the time left.
const SAY_AGAIN: Duration = Duration::from_secs(5);

#[derive(Debug, Clone)]
pub struct GovernorSettings {
    /// Maximum requests in flight; at least 1.
    pub concurrency: usize,
    /// Server or connection errors in a row that open the circuit.
    pub breaker_after: u32,
    /// First duration of the open circuit, doubling after each failed trial.
    pub breaker_first: Duration,
    pub breaker_longest: Duration,
    /// Maximum wait after the first error, doubling with each.
    pub backoff_first: Duration,
    pub backoff_longest: Duration,
    /// First wait after a 429 without a retry hint, doubling with each.
    pub unadvised_first: Duration,
    pub unadvised_longest: Duration,
    /// Bounds on a retry hint: at least and at most this.
    pub least_advice: Duration,
    pub longest_advice: Duration,
    /// Retry interval of a quota that is exhausted or zero.
    pub exhausted_pause: Duration,
    /// Retry interval of a refused key or an unknown model.
    pub refused_pause: Duration,
    /// Longest pause requested by the server for which an analyst with another
    /// model waits.
    pub patience: Duration,
}

impl Default for GovernorSettings {
    fn default() -> Self {
        const SECOND: Duration = Duration::from_secs(1);
        Self {
            concurrency: 2,
            breaker_after: 5,
            breaker_first: 10 * SECOND,
            breaker_longest: 60 * SECOND,
            backoff_first: SECOND,
            backoff_longest: 30 * SECOND,
            unadvised_first: 5 * SECOND,
            unadvised_longest: 60 * SECOND,
            least_advice: SECOND,
            longest_advice: 24 * 3600 * SECOND,
            exhausted_pause: 15 * 60 * SECOND,
            refused_pause: 60 * SECOND,
            patience: 15 * SECOND,
        }
    }
}

/// Governor, shared by reference; see the module's documentation.
#[derive(Debug)]
pub struct Governor {
    lanes: Arc<Semaphore>,
    /// Queues of one place each, by priority, as the budget sheds one first.
    queues: [Arc<Semaphore>; 2],
    state: Arc<GovernorState>,
    settings: GovernorSettings,
}

/// First place in a governor's queue: no request behind it is admitted until it
/// is dropped.
#[derive(Debug)]
#[must_use = "dropping it lets the next one pass"]
pub(crate) struct QueuePlace {
    queue: Arc<Semaphore>,
    _place: OwnedSemaphorePermit,
}

impl QueuePlace {
    /// True if the place is in that queue.
    pub(crate) fn is_in(&self, governor: &Governor, priority: Priority) -> bool {
        Arc::ptr_eq(&self.queue, governor.queue_of(priority))
    }
}

#[derive(Debug)]
struct GovernorState {
    gate: Mutex<GovernorGate>,
    /// Notified when a trial ends.
    decided: Notify,
}

impl GovernorState {
    fn gate(&self) -> MutexGuard<'_, GovernorGate> {
        self.gate.locked()
    }
}

impl Governor {
    pub fn new(settings: GovernorSettings) -> Self {
        let lanes = Arc::new(Semaphore::new(settings.concurrency.max(1)));
        Self::over(lanes, settings)
    }

    /// Governor for another model of the same key: requests in flight count
    /// together, quotas and errors per model.
    pub fn sibling(&self) -> Self {
        Self::over(Arc::clone(&self.lanes), self.settings.clone())
    }

    fn over(lanes: Arc<Semaphore>, settings: GovernorSettings) -> Self {
        let state = GovernorState {
            gate: Mutex::new(GovernorGate::new(settings.clone())),
            decided: Notify::new(),
        };
        Self {
            lanes,
            queues: std::array::from_fn(|_| Arc::new(Semaphore::new(1))),
            state: Arc::new(state),
            settings,
        }
    }

    fn queue_of(&self, priority: Priority) -> &Arc<Semaphore> {
        match priority {
            Priority::Normal => &self.queues[0],
            Priority::Low => &self.queues[1],
        }
    }

    /// Waits for the first place in the queue, and reports the reason of the
    /// wait to `say`. Cancel-safe; a cancelled caller loses its place.
    pub(crate) async fn queue(&self, priority: Priority, say: impl Fn(&str)) -> QueuePlace {
        let queue = self.queue_of(priority);
        let place = Arc::clone(queue).acquire_owned();
        tokio::pin!(place);
        let mut said = tokio::time::interval(SAY_AGAIN);
        loop {
            tokio::select! {
                biased;
                place = &mut place => return QueuePlace {
                    queue: Arc::clone(queue),
                    _place: place.expect("nobody closes the queues"),
                },
                _ = said.tick() => {
                    let wait = self.state.gate().wait(Instant::now());
                    say(wait.as_ref().map_or("queued", |wait| &wait.words));
                }
            }
        }
    }

    /// Waits until a request may be sent, and reports the reason of the wait to
    /// `say`. Cancel-safe.
    pub async fn admit(&self, say: impl Fn(&str)) -> Permit {
        loop {
            let decided = self.state.decided.notified();
            // Checked before a concurrency slot is taken, so that waiting
            // requests hold none.
            let wait = self.state.gate().wait(Instant::now());
            let wait = match wait {
                Some(wait) => wait,
                None => match self.enter(&say).await {
                    Ok(permit) => return permit,
                    Err(wait) => wait,
                },
            };
            say(&wait.words);
            let now = Instant::now();
            let until = wait
                .until
                .map_or(now + SAY_AGAIN, |until| until.min(now + SAY_AGAIN));
            tokio::select! {
                () = tokio::time::sleep_until(until) => {}
                () = decided => {}
            }
        }
    }

    /// Reason no request is admitted for now, if it lasts: an open circuit, an
    /// exhausted quota, a long pause.
    pub fn closed(&self) -> Option<String> {
        let wait = self.state.gate().wait(Instant::now())?;
        let soon = Instant::now() + self.settings.patience;
        let brief = !wait.shut && wait.until.is_some_and(|until| until <= soon);
        (!brief).then_some(wait.words)
    }

    async fn enter(&self, say: &impl Fn(&str)) -> Result<Permit, GateWait> {
        let lanes = Arc::clone(&self.lanes);
        let lane = match lanes.try_acquire_owned() {
            Ok(lane) => lane,
            Err(_) => {
                say("queued");
                let lane = Arc::clone(&self.lanes).acquire_owned().await;
                lane.expect("nobody closes the lanes")
            }
        };
        // The state may have changed while it waited for the slot.
        match self.state.gate().admit(Instant::now()) {
            GateDecision::Go { trial } => Ok(Permit {
                state: Arc::clone(&self.state),
                trial,
                settled: false,
                _lane: lane,
            }),
            GateDecision::Wait(wait) => Err(wait),
        }
    }
}

/// Permit for one request. Dropping it unsettled (a cancelled scan, a panic)
/// returns it without an outcome.
#[derive(Debug)]
#[must_use = "dropping it lets the next one pass"]
pub struct Permit {
    state: Arc<GovernorState>,
    trial: bool,
    settled: bool,
    /// Dropped last: only once the gate has the outcome.
    _lane: OwnedSemaphorePermit,
}

impl Permit {
    /// Reports the outcome to the gate.
    pub fn settle<T>(mut self, result: &Result<T, Failure>) {
        self.settled = true;
        let verdict = ResultClass::of(result);
        let random = rand::random::<f64>();
        self.state
            .gate()
            .settle(Instant::now(), self.trial, verdict, random);
        self.announce();
    }

    fn announce(&self) {
        if self.trial {
            self.state.decided.notify_waiters();
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if !self.settled {
            self.state.gate().abandon(Instant::now(), self.trial);
            self.announce();
        }
    }
}

#[cfg(test)]
mod tests;

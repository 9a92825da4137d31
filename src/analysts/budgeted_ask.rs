//! Budgeted model request, shared by frames, reviews and people's questions.
//!
//! The gate has admitted it ([`ModelChain::turn`](super::ModelChain::turn)).
//! Then, in this order: the question is prepared for the selected model, its
//! worst-case cost is reserved and persisted, the model is asked, and gate and
//! budget are settled.
//!
//! Callers differ for a reason:
//!
//! | | frame (`agent`) | review (`panel`) | person's question (`ask`) |
//! |---|---|---|---|
//! | no model can be asked | waits | waits | fails at once |
//! | budget exhausted | keeps its place in the queue and waits 5 s at most, then takes the newest frame | waits for the budget, 5 s at a time | fails |
//! | failure | next model of the chain, where that may help | counts as no opinion, asked again later | is reported |
//! | time limit | the model's own | 180 s with all waiting | 45 s with all waiting |
//! | transcript | of an answer with findings | of each review | none |

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use watchtower_domain::finding::ModelRef;
use watchtower_domain::transcript::Cost;
use watchtower_models::model::{CostBound, Failure, Meter, Question, Reply};

use super::AgentContext;
use super::governor::{Permit, QueuePlace};
use super::model_chain::ChainLink;
use crate::budget::{BudgetWait, Reserved, persist};

/// Request terms of a caller.
#[derive(Debug, Clone)]
pub(super) struct AskTerms {
    /// Analyst that the cost is counted for; `None` for a person's question.
    pub(super) agent: Option<String>,
    /// Status while the model is asked.
    pub(super) state: String,
    /// Maximum wait for the budget; `None` for a person's question, which fails
    /// at once.
    pub(super) wait_for_room: Option<Duration>,
}

/// Settled request.
#[derive(Debug)]
pub(super) struct SettledAsk {
    /// Position in the chain of the model asked.
    pub(super) place: usize,
    pub(super) result: Result<Reply, Failure>,
    pub(super) span: AskSpan,
}

/// Start, duration and cost of a settled request.
#[derive(Debug, Clone, Copy)]
pub(super) struct AskSpan {
    pub(super) asked_at: Timestamp,
    pub(super) took_ms: u64,
    pub(super) cost: Cost,
}

/// Permit for one request to a model of a chain. Dropping it returns it.
#[derive(Debug)]
pub(super) struct ModelLease {
    link: ChainLink,
    place: usize,
    permit: Option<Permit>,
    /// Held until the cost is reserved, so that later requests reserve later.
    queued: Option<QueuePlace>,
    reserved: Option<Reserved>,
}

/// Request rejected by the budget: nothing was sent.
#[derive(Debug)]
pub(super) struct NoRoom {
    /// Reason, for a status.
    pub(super) words: String,
    /// Place in the queue that it may keep.
    pub(super) queued: Option<QueuePlace>,
}

impl ModelLease {
    /// Creates a lease; `admitted` is the governor's permit, `None` without a
    /// governor.
    pub(super) fn new(
        link: ChainLink,
        place: usize,
        admitted: Option<(QueuePlace, Permit)>,
    ) -> Self {
        let (queued, permit) = admitted.unzip();
        Self {
            link,
            place,
            permit,
            queued,
            reserved: None,
        }
    }

    pub(super) fn link(&self) -> &ChainLink {
        &self.link
    }

    /// Position of the model in the chain.
    pub(super) fn place(&self) -> usize {
        self.place
    }

    pub(super) fn identity(&self) -> ModelRef {
        self.link.model.identity()
    }

    /// Sends the question within the budget, and reports the status to `say`.
    /// If the budget is exhausted nothing is sent, and the lease is returned
    /// before the wait: the question may be stale by then, so the caller starts
    /// over.
    pub(super) async fn ask(
        mut self,
        question: Question,
        context: &AgentContext,
        terms: AskTerms,
        say: impl Fn(&str),
    ) -> Result<SettledAsk, NoRoom> {
        let AskTerms {
            agent,
            state,
            wait_for_room,
        } = terms;
        let model = Arc::clone(&self.link.model);
        let prepared = model.prepare(question);
        let bound = model.cost_bound(&prepared);
        let meter = match self.reserve(bound, context).await {
            Ok(meter) => meter,
            Err(wait) => {
                let queued = self.queued.take();
                drop(self);
                if let Some(longest) = wait_for_room {
                    say(&wait.words);
                    tokio::time::sleep(wait.length.min(longest)).await;
                }
                let words = wait.words;
                return Err(NoRoom { words, queued });
            }
        };
        self.queued = None;
        say(&state);
        let place = self.place;
        let (asked_at, began) = (Timestamp::now(), Instant::now());
        let result = model.ask(prepared.metered(meter)).await;
        let cost = self.settle(&result);
        let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        if let Some(agent) = agent.filter(|_| cost.requests > 0) {
            persist::of_agent(context, agent, cost).await;
        }
        Ok(SettledAsk {
            place,
            result,
            span: AskSpan {
                asked_at,
                took_ms,
                cost,
            },
        })
    }

    /// Reserves the worst-case cost, and persists it before anything is sent.
    async fn reserve(
        &mut self,
        bound: CostBound,
        context: &AgentContext,
    ) -> Result<Meter, BudgetWait> {
        if !self.link.is_hosted() {
            return Ok(Meter::default());
        }
        let reserved = context.budget.reserve(&self.identity(), bound)?;
        let meter = reserved.meter();
        self.reserved = Some(reserved);
        persist::keep(context).await;
        Ok(meter)
    }

    /// Reports the outcome to the gate, and returns the cost; the reservation
    /// is settled with it.
    fn settle(self, result: &Result<Reply, Failure>) -> Cost {
        if let Some(permit) = self.permit {
            permit.settle(result);
        }
        let cost = self.reserved.as_ref().map(Reserved::cost);
        cost.unwrap_or_default()
    }
}

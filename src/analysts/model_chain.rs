//! Model chain of an analyst: its models, in the order they are asked.
//!
//! The first available one is asked. A model that is unavailable for longer
//! (exhausted quota, refused key, open circuit, budget) is skipped, and comes
//! first again as soon as it can be tried.

use std::sync::Arc;
use std::time::Duration;

use watchtower_models::model::Model;

use super::budgeted_ask::ModelLease;
use super::governor::QueuePlace;
use super::{AgentContext, Governor, Policy};
use crate::settings::Priority;

/// Polling interval for an available model of the chain.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Model of a chain, with the governor of its requests and its redaction
/// policy.
#[derive(Debug, Clone)]
pub struct ChainLink {
    pub model: Arc<dyn Model>,
    /// Shared by all models of one quota; `None` for a model without a quota.
    pub governor: Option<Arc<Governor>>,
    pub policy: Policy,
    /// Flag: it gets the sound of a stream, too.
    pub hears: bool,
}

impl ChainLink {
    /// True if requests to the model have a cost: it has a governor.
    pub(super) fn is_hosted(&self) -> bool {
        self.governor.is_some()
    }
}

/// Ordered models, never empty. Cheap to clone; clones are the same chain.
#[derive(Debug, Clone)]
pub struct ModelChain {
    links: Arc<[ChainLink]>,
    priority: Priority,
}

impl PartialEq for ModelChain {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.links, &other.links)
    }
}

impl ModelChain {
    /// Creates a chain of `first` and the models asked when it is unavailable.
    pub fn new(first: ChainLink, fallback: Vec<ChainLink>, priority: Priority) -> Self {
        Self {
            links: std::iter::once(first).chain(fallback).collect(),
            priority,
        }
    }

    pub fn first(&self) -> &ChainLink {
        &self.links[0]
    }

    pub fn links(&self) -> &[ChainLink] {
        &self.links
    }

    /// Policy for the answers and context of the whole chain: the strictest
    /// redaction of any link, the rest from the first. A fallback must not be
    /// sent what its policy withholds.
    pub(super) fn policy(&self) -> Policy {
        let redact = self.links.iter().map(|link| link.policy.redact).max();
        let first = self.first().policy.clone();
        Policy {
            redact: redact.unwrap_or(first.redact),
            ..first
        }
    }

    /// True if requests to any of the models have a cost.
    pub fn is_hosted(&self) -> bool {
        self.links.iter().any(ChainLink::is_hosted)
    }

    /// Link that would be asked now.
    pub(super) fn current(&self, context: &AgentContext) -> &ChainLink {
        &self.links[self.place(0, context)]
    }

    /// Reason the model at that position is unavailable, if it lasts.
    pub(super) fn closed(&self, place: usize, context: &AgentContext) -> Option<String> {
        let governor = self.links[place].governor.as_ref()?;
        let over_budget = context.budget.refuses(self.priority);
        over_budget.or_else(|| governor.closed())
    }

    /// First available link after that one.
    pub(super) fn after(&self, place: usize, context: &AgentContext) -> Option<usize> {
        (place + 1..self.links.len()).find(|place| self.closed(*place, context).is_none())
    }

    fn place(&self, from: usize, context: &AgentContext) -> usize {
        let mut places = from..self.links.len();
        let open = places.find(|place| self.closed(*place, context).is_none());
        // All are unavailable: the first of them is waited for.
        open.unwrap_or(from)
    }

    /// Waits until a link is available, and reports the reason of the wait to
    /// `say`. Cancel-safe.
    pub(super) async fn turn(
        &self,
        from: usize,
        context: &AgentContext,
        say: impl Fn(&str),
    ) -> ModelLease {
        self.turn_again(from, context, None, say).await
    }

    /// The same for a request that had no room in the budget, and kept its
    /// place in the queue.
    pub(super) async fn turn_again(
        &self,
        from: usize,
        context: &AgentContext,
        mut kept: Option<QueuePlace>,
        say: impl Fn(&str),
    ) -> ModelLease {
        loop {
            let place = self.place(from, context);
            let link = &self.links[place];
            let turn = |admitted| ModelLease::new(link.clone(), place, admitted);
            let Some(governor) = &link.governor else {
                return turn(None);
            };
            if let Some(words) = context.budget.refuses(self.priority) {
                // Other models may be asked meanwhile.
                kept = None;
                say(&words);
                tokio::time::sleep(LOOK_AGAIN).await;
                continue;
            }
            let queued = kept.take();
            let queued = queued.filter(|queued| queued.is_in(governor, self.priority));
            let admitted = async {
                let queued = match queued {
                    Some(queued) => queued,
                    None => governor.queue(self.priority, &say).await,
                };
                (queued, governor.admit(&say).await)
            };
            tokio::pin!(admitted);
            // Kept while no other model is to be asked: it holds the place in
            // the queue.
            loop {
                tokio::select! {
                    admitted = &mut admitted => return turn(Some(admitted)),
                    () = tokio::time::sleep(LOOK_AGAIN) => {}
                }
                if self.place(from, context) != place {
                    break;
                }
            }
        }
    }
}

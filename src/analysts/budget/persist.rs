//! Persistence of the amounts spent, and logging of step changes.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use watchtower_base::text::counted;
use watchtower_domain::finding::WATCHTOWER;
use watchtower_domain::transcript::Cost;
use watchtower_record::store::{AgentSpend, SpendBatch};

use crate::AgentContext;
use crate::budget::{Amount, BudgetStep, Spent};

/// Polling interval: the budget recovers by time alone.
const EVERY: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// Persists amounts reserved or spent since the last call. A failed write is
/// retried with the next one: the limits apply all the same.
pub(crate) async fn keep(context: &AgentContext) {
    let rows = context.budget.take_pending();
    if rows.is_empty() {
        return;
    }
    let context = context.clone();
    let write = async move {
        if let Err(error) = context.findings.write(SpendBatch(rows.clone())).await {
            tracing::error!(%error, "failed to store the LLM cost");
            context.budget.put_back(rows);
        }
    };
    // Continues when the caller times out: the rows are already taken.
    if let Err(error) = tokio::spawn(write).await {
        tracing::error!(%error, "failed to store the LLM cost");
    }
}

/// Persists the cost of a request of an analyst. The limits do not depend on it:
/// a failed write is logged only.
pub(crate) async fn of_agent(context: &AgentContext, agent: String, cost: Cost) {
    let at = Timestamp::now();
    let spend = AgentSpend { at, agent, cost };
    if let Err(error) = context.findings.write(spend).await {
        tracing::error!(%error, "failed to store the cost of an analyst");
    }
}

pub(crate) async fn run(context: AgentContext, shutdown: CancellationToken) {
    let mut book = SpendFlusher {
        step: BudgetStep::Normal,
        counted: BTreeMap::new(),
        told: tokio::time::Instant::now(),
    };
    while shutdown
        .run_until_cancelled(tokio::time::sleep(EVERY))
        .await
        .is_some()
    {
        keep(&context).await;
        book.turn(&context).await;
    }
    keep(&context).await;
}

struct SpendFlusher {
    step: BudgetStep,
    counted: BTreeMap<String, Amount>,
    /// Time of the last hourly report.
    told: tokio::time::Instant,
}

impl SpendFlusher {
    async fn turn(&mut self, context: &AgentContext) {
        let standing = context.budget.standing();
        let step = BudgetStep::ALL[standing.step];
        for (model, total) in &standing.models {
            let before = self
                .counted
                .insert(model.clone(), *total)
                .unwrap_or_default();
            context.metrics.spent(
                model,
                total.requests - before.requests,
                total.micro_usd - before.micro_usd,
            );
        }
        if step != self.step {
            self.step = step;
            context.metrics.budget_step(standing.step);
            let said = match step {
                BudgetStep::Normal => {
                    format!("budget: {}; {}", step.words(), words(&standing.spent))
                }
                _ => format!("budget: {}; {}", standing.reason, words(&standing.spent)),
            };
            tracing::warn!("{said}");
            context.findings.note(WATCHTOWER, &said).await;
        }
        if self.told.elapsed() >= HOUR {
            self.told = tokio::time::Instant::now();
            if !standing.spent.hour.is_nothing() {
                let said = format!("LLM cost: {}", words(&standing.spent));
                tracing::info!("{said}");
                context.findings.note(WATCHTOWER, &said).await;
            }
        }
    }
}

fn words(spent: &Spent) -> String {
    let amount = |amount: &Amount| {
        let usd = amount.micro_usd as f64 / 1e6;
        format!(
            "{}, {}, {usd:.4} USD",
            counted(amount.requests, "request"),
            counted(amount.tokens, "token")
        )
    };
    format!(
        "{} in the last hour, {} today",
        amount(&spent.hour),
        amount(&spent.day)
    )
}

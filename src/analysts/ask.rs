//! Service that answers people's questions with the configured model: within
//! its quota and the budget, one at a time, so that many questions do not delay
//! the analysts.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use tokio::sync::{Semaphore, watch};

use watchtower_models::model::{Answered, AskQuestion, Failure, QuestionAnswerer, Reply};

use super::budgeted_ask::AskTerms;
use super::{AgentContext, AgentSet};

/// Maximum time for an answer, as a person is waiting.
const PATIENCE: Duration = Duration::from_secs(45);

/// Handle of the service; cheap to clone. Its model follows `agents.toml`.
#[derive(Debug, Clone)]
pub struct AskService {
    agents: watch::Receiver<AgentSet>,
    context: AgentContext,
    turn: Arc<Semaphore>,
}

impl AskService {
    pub fn new(agents: watch::Receiver<AgentSet>, context: AgentContext) -> Self {
        Self {
            agents,
            context,
            turn: Arc::new(Semaphore::new(1)),
        }
    }

    async fn put(
        &self,
        question: String,
        record: Vec<String>,
    ) -> Option<Result<Answered, Failure>> {
        let (chain, language) = {
            let agents = self.agents.borrow();
            (agents.ask_service.clone()?, agents.ask_language.clone())
        };
        let Ok(_turn) = self.turn.try_acquire() else {
            return Some(Err(Failure::no_answer("another question in progress")));
        };
        let policy = chain.policy();
        let masked = |text: String| policy.masked(&text);
        let question = AskQuestion {
            question: masked(question),
            record: record.into_iter().map(masked).collect(),
            now: Timestamp::now(),
            language,
        };
        let asking = async {
            if let Some(why) = chain.closed(0, &self.context) {
                return Err(Failure::no_answer(why));
            }
            let lease = chain.turn(0, &self.context, |_| {}).await;
            // It is shown in no status, and no transcript is stored.
            let terms = AskTerms {
                agent: None,
                state: String::new(),
                wait_for_room: None,
            };
            let asked = lease.ask(question.into(), &self.context, terms, |_| {});
            let asked = asked
                .await
                .map_err(|no_room| Failure::no_answer(no_room.words))?;
            let reply = asked.result.and_then(Reply::answered)?;
            Ok(Answered {
                reply,
                cost: asked.span.cost,
            })
        };
        let late = Failure::no_answer(format!("no answer within {} s", PATIENCE.as_secs()));
        let answered = tokio::time::timeout(PATIENCE, asking).await;
        Some(answered.unwrap_or(Err(late)))
    }
}

impl QuestionAnswerer for AskService {
    fn put(
        &self,
        question: String,
        record: Vec<String>,
    ) -> BoxFuture<'_, Option<Result<Answered, Failure>>> {
        Box::pin(self.put(question, record))
    }
}

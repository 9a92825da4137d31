//! Puts people's questions to the configured model: within its quota and
//! the budget, one at a time, so that no flood of them keeps the analysts
//! from looking.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use tokio::sync::{Semaphore, watch};

use super::{Meeting, Staff};
use crate::models::model::{Answered, Answers, Failure, Inquiry, Meter};

/// A person waits.
const PATIENCE: Duration = Duration::from_secs(45);

/// Cheap to clone. Whom it asks follows `agents.toml`.
#[derive(Debug, Clone)]
pub struct Clerk {
    staff: watch::Receiver<Staff>,
    meeting: Meeting,
    turn: Arc<Semaphore>,
}

impl Clerk {
    pub fn new(staff: watch::Receiver<Staff>, meeting: Meeting) -> Self {
        Self {
            staff,
            meeting,
            turn: Arc::new(Semaphore::new(1)),
        }
    }

    async fn put(
        &self,
        question: String,
        record: Vec<String>,
    ) -> Option<Result<Answered, Failure>> {
        let mind = self.staff.borrow().clerk.clone()?;
        let Ok(_turn) = self.turn.try_acquire() else {
            return Some(Err(Failure::no_answer("another question in progress")));
        };
        let policy = mind.policy();
        let masked = |text: String| policy.masked(&text);
        let mut inquiry = Inquiry {
            question: masked(question),
            record: record.into_iter().map(masked).collect(),
            now: Timestamp::now(),
            meter: Meter::default(),
        };
        let asking = async {
            if let Some(why) = mind.closed(0, &self.meeting) {
                return Err(Failure::no_answer(why));
            }
            let mut turn = mind.turn(0, &self.meeting, |_| {}).await;
            let model = turn.thinker().model.clone();
            let most = model.most_for_inquiry(&inquiry);
            let reserved = turn.reserve(most, &self.meeting).await;
            inquiry.meter = reserved.map_err(|wait| Failure::no_answer(wait.words))?;
            let result = model.answer(&inquiry).await;
            let cost = turn.settle(&result);
            let model = model.identity();
            result.map(|replied| Answered {
                replied,
                model,
                cost,
            })
        };
        let late = Failure::no_answer(format!("no answer within {} s", PATIENCE.as_secs()));
        let answered = tokio::time::timeout(PATIENCE, asking).await;
        Some(answered.unwrap_or(Err(late)))
    }
}

impl Answers for Clerk {
    fn put(
        &self,
        question: String,
        record: Vec<String>,
    ) -> BoxFuture<'_, Option<Result<Answered, Failure>>> {
        Box::pin(self.put(question, record))
    }
}

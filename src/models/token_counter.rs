//! Model without findings that counts the tokens a hosted model would use.

use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::BoxFuture;

use watchtower_domain::cost::TokenUsage;
use watchtower_domain::finding::ModelRef;

use crate::model::{
    Failure, FollowUp, FramePolicy, Model, ObserveReply, Prepared, Question, Reply,
};

/// Counter that prepares requests like a hosted model.
#[derive(Debug, Default)]
pub struct TokenCounter {
    looks: AtomicU64,
    tokens: AtomicU64,
}

impl TokenCounter {
    /// Number of requests, and their estimated tokens.
    pub fn read(&self) -> (u64, u64) {
        (
            self.looks.load(Ordering::Relaxed),
            self.tokens.load(Ordering::Relaxed),
        )
    }

    fn counted(&self, prepared: &Prepared) -> ObserveReply {
        // Without a picture there is no request, and no cost.
        let request = prepared.request();
        let tokens = request.map_or(0, |request| request.estimated_tokens());
        self.looks.fetch_add(1, Ordering::Relaxed);
        self.tokens.fetch_add(tokens, Ordering::Relaxed);
        ObserveReply {
            seen: Vec::new(),
            dropped: 0,
            follow_up: FollowUp::default(),
            usage: TokenUsage {
                estimated_tokens: tokens,
                ..TokenUsage::default()
            },
            model: self.identity(),
            exchange: None,
        }
    }
}

impl Model for TokenCounter {
    fn identity(&self) -> ModelRef {
        ModelRef {
            provider: "gauge".to_owned(),
            name: "gauge".to_owned(),
            version: String::new(),
            prompt: String::new(),
        }
    }

    fn frame_policy(&self) -> FramePolicy {
        FramePolicy::Newest
    }

    fn ask(&self, prepared: Prepared) -> BoxFuture<'_, Result<Reply, Failure>> {
        let reply = match prepared.question() {
            Question::Observe(_) => Ok(Reply::Observe(self.counted(&prepared))),
            other => Err(other.unsupported()),
        };
        Box::pin(std::future::ready(reply))
    }

    fn probe(&self) -> BoxFuture<'_, Result<String, Failure>> {
        Box::pin(std::future::ready(Ok("counts".to_owned())))
    }
}

//! A model that says nothing and counts what it would have cost to ask one.

use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::BoxFuture;

use super::prompt;
use crate::domain::cost::Usage;
use crate::domain::finding::ModelRef;
use crate::models::model::{Failure, FollowUp, FramePolicy, Model, ObserveQuestion, ObserveReply};

/// Asked as a hosted model would be.
#[derive(Debug, Default)]
pub struct TokenCounter {
    looks: AtomicU64,
    tokens: AtomicU64,
}

impl TokenCounter {
    /// Number of requests, and the tokens they come to, about.
    pub fn read(&self) -> (u64, u64) {
        (
            self.looks.load(Ordering::Relaxed),
            self.tokens.load(Ordering::Relaxed),
        )
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

    fn look<'a>(
        &'a self,
        look: &'a ObserveQuestion,
    ) -> BoxFuture<'a, Result<ObserveReply, Failure>> {
        let tokens = look
            .frames
            .last()
            .map_or(0, |frame| prompt::estimated_tokens(look, frame));
        self.looks.fetch_add(1, Ordering::Relaxed);
        self.tokens.fetch_add(tokens, Ordering::Relaxed);
        let answer = ObserveReply {
            seen: Vec::new(),
            dropped: 0,
            follow_up: FollowUp::default(),
            usage: Usage {
                estimated_tokens: tokens,
                ..Usage::default()
            },
            model: self.identity(),
            exchange: None,
        };
        Box::pin(std::future::ready(Ok(answer)))
    }

    fn probe(&self) -> BoxFuture<'_, Result<String, Failure>> {
        Box::pin(std::future::ready(Ok("counts".to_owned())))
    }
}

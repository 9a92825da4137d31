//! A question and its answer as they are kept beside what came of them.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::time::Instant;
use uuid::Uuid;

use super::grounding::Masks;
use crate::finding::ModelRef;
use crate::masking::Redact;
use crate::media::Frame;
use crate::transcript::{Cost, Purpose, Spoken, Transcript};

/// Who asks, and since when; made before the question is sent.
#[derive(Debug)]
pub(super) struct Asker {
    agent: String,
    purpose: Purpose,
    asked_at: Timestamp,
    began: Instant,
}

/// What there is to tell of a question once it is answered.
#[derive(Debug)]
pub(super) struct Told {
    asker: Asker,
    took_ms: u64,
    cost: Cost,
}

impl Asker {
    pub(super) fn now(agent: &str, purpose: Purpose) -> Self {
        Self {
            agent: agent.to_owned(),
            purpose,
            asked_at: Timestamp::now(),
            began: Instant::now(),
        }
    }

    pub(super) fn answered(self, cost: Cost) -> Told {
        let took = self.began.elapsed().as_millis();
        Told {
            asker: self,
            took_ms: u64::try_from(took).unwrap_or(u64::MAX),
            cost,
        }
    }
}

impl Told {
    pub(super) fn cost(&self) -> Cost {
        self.cost
    }

    /// With the secrets of its picture masked. Costs CPU: call it off the
    /// async workers.
    pub(super) fn transcript(
        self,
        spoken: Spoken,
        model: ModelRef,
        frame: &Arc<Frame>,
        redact: Redact,
    ) -> Transcript {
        let masks = Masks::of(frame, redact);
        let Spoken {
            system,
            mut question,
            pictures,
            mut answer,
        } = spoken;
        masks.hide(&mut question);
        masks.hide(&mut answer);
        Transcript {
            id: Uuid::now_v7(),
            agent: self.asker.agent,
            purpose: self.asker.purpose,
            asked_at: self.asker.asked_at,
            took_ms: self.took_ms,
            model,
            system,
            question,
            pictures,
            answer,
            cost: self.cost,
        }
    }
}

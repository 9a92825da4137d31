//! A question to a hosted model before it has a wire format, and what came of
//! it: the same for all of them.

use std::sync::Arc;

use serde_json::Value;

use crate::finding::ModelRef;
use crate::media::{Frame, Rect};
use crate::model::{Answer, Case, Failure, Fatal, Look, Meter, Most, Usage, Weighed};
use crate::models::{answer, case, prompt};

/// What a request is made from.
pub(super) struct Asking {
    pub system: String,
    pub text: String,
    pub frame: Arc<Frame>,
    /// Parts of the picture to be enlarged.
    pub regions: Vec<Rect>,
    /// Of the answer.
    pub schema: &'static Value,
    pub meter: Meter,
}

impl Asking {
    pub(super) fn about(look: &Look) -> Result<Self, Failure> {
        let frame = look.frames.last().map(Arc::clone);
        let frame = frame.ok_or_else(|| Failure::fatal(Fatal::Request, "no picture to look at"))?;
        Ok(Self {
            system: prompt::system(&look.persona),
            text: prompt::question(look, &frame),
            frame,
            regions: look.news.regions.clone(),
            schema: answer::schema(),
            meter: look.meter.clone(),
        })
    }

    pub(super) fn of(case: &Case) -> Self {
        Self {
            system: case::system(case),
            text: case::question(case),
            frame: Arc::clone(&case.frame),
            regions: case::regions(case),
            schema: case::schema(),
            meter: case.meter.clone(),
        }
    }

    /// The worst one request for it may cost, with what its pictures (whole,
    /// and so many parts) may.
    pub(super) fn most(
        &self,
        max_output_tokens: u32,
        pictures: impl FnOnce(&Frame, usize) -> u64,
    ) -> Most {
        let text = self.system.len() + self.text.len() + self.schema.to_string().len();
        Most {
            prompt_tokens: prompt::most_tokens(text) + pictures(&self.frame, self.regions.len()),
            output_tokens: u64::from(max_output_tokens),
        }
    }
}

/// What the model said, and on which version of the picture.
pub(super) struct Said {
    pub text: String,
    pub frame: Arc<Frame>,
    pub usage: Usage,
}

impl Said {
    pub(super) fn answer(&self, model: ModelRef) -> Result<Answer, Failure> {
        answer::conclude(&self.text, &self.frame, self.usage, model)
    }

    pub(super) fn weighed(&self, case: &Case, model: ModelRef) -> Result<Weighed, Failure> {
        let view = answer::view(&self.text, case.report.category);
        Ok(Weighed {
            view: view.map_err(|unusable| Failure::no_answer(unusable.to_string()))?,
            usage: self.usage,
            model,
        })
    }
}

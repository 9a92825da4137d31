//! A question to a hosted model before it has a wire format, and what came of
//! it: the same for all of them.

use std::sync::Arc;

use serde_json::Value;

use crate::domain::cost::Usage;
use crate::domain::finding::ModelRef;
use crate::domain::transcript::RawExchange;
use crate::models::images::{ImageSet, blocking};
use crate::models::model::{
    Answer, Case, CostBound, Failure, Fatal, Inquiry, Look, Meter, Replied, Weighed,
};
use crate::models::{answer, ask_prompt, panel_prompt, prompt};
use crate::screen::picture::Rect;
use crate::screen::redact::RedactedFrame;

/// Content of a request, independent of the provider.
pub(super) struct ModelRequest {
    pub system: String,
    pub text: String,
    /// With the parts of it to be enlarged; none for a question about the
    /// record.
    pub picture: Option<(RedactedFrame, Vec<Rect>)>,
    /// JSON schema of the answer.
    pub schema: &'static Value,
    pub meter: Meter,
}

impl ModelRequest {
    pub(super) fn about(look: &Look) -> Result<Self, Failure> {
        let frame = look.frames.last().cloned().ok_or_else(no_picture)?;
        Ok(Self {
            system: prompt::system(&look.persona),
            text: prompt::question(look, &frame),
            picture: Some((frame, look.news.regions.clone())),
            schema: answer::schema(),
            meter: look.meter.clone(),
        })
    }

    pub(super) fn of(case: &Case) -> Self {
        Self {
            system: panel_prompt::system(case),
            text: panel_prompt::question(case),
            picture: Some((case.frame.clone(), panel_prompt::regions(case))),
            schema: panel_prompt::schema(),
            meter: case.meter.clone(),
        }
    }

    pub(super) fn into(inquiry: &Inquiry) -> Self {
        Self {
            system: ask_prompt::SYSTEM.to_owned(),
            text: ask_prompt::question(inquiry),
            picture: None,
            schema: ask_prompt::schema(),
            meter: inquiry.meter.clone(),
        }
    }

    /// The picture as it is sent.
    pub(super) async fn images(&self) -> Result<Arc<ImageSet>, Failure> {
        let Some((frame, regions)) = self.picture.clone() else {
            return Ok(Arc::default());
        };
        Ok(Arc::new(
            blocking(move || ImageSet::take(frame, &regions)).await?,
        ))
    }

    /// The worst one request for it may cost, with what its pictures (whole,
    /// and so many parts) may.
    pub(super) fn most(
        &self,
        max_output_tokens: u32,
        pictures: impl FnOnce(&RedactedFrame, usize) -> u64,
    ) -> CostBound {
        let shown = self.picture.as_ref();
        let shown = shown.map(|(frame, regions)| pictures(frame, regions.len()));
        let text = self.system.len() + self.text.len() + self.schema.to_string().len();
        CostBound {
            prompt_tokens: prompt::most_tokens(text) + shown.unwrap_or_default(),
            output_tokens: u64::from(max_output_tokens),
        }
    }
}

/// Response with its request, and the version of the picture it is about.
pub(super) struct ModelResponse {
    spoken: RawExchange,
    frame: Option<RedactedFrame>,
    usage: Usage,
}

impl ModelResponse {
    pub(super) fn new(
        system: String,
        question: String,
        answer: String,
        images: &ImageSet,
        usage: Usage,
    ) -> Self {
        Self {
            spoken: RawExchange {
                system,
                question,
                pictures: images.sent(),
                answer,
            },
            frame: images.whole.as_ref().map(|whole| whole.frame.clone()),
            usage,
        }
    }

    pub(super) fn answer(self, model: ModelRef) -> Result<Answer, Failure> {
        let frame = self.frame.ok_or_else(no_picture)?;
        let answer = answer::conclude(&self.spoken.answer, &frame, self.usage, model)?;
        Ok(Answer {
            spoken: Some(Box::new(self.spoken)),
            ..answer
        })
    }

    pub(super) fn weighed(self, case: &Case, model: ModelRef) -> Result<Weighed, Failure> {
        let view = answer::view(&self.spoken.answer, case.report.category);
        Ok(Weighed {
            view: view.map_err(|unusable| Failure::no_answer(unusable.to_string()))?,
            usage: self.usage,
            model,
            spoken: Some(Box::new(self.spoken)),
        })
    }

    pub(super) fn replied(&self, inquiry: &Inquiry) -> Result<Replied, Failure> {
        ask_prompt::replied(&self.spoken.answer, inquiry, self.usage)
    }
}

fn no_picture() -> Failure {
    Failure::fatal(Fatal::Request, "no picture to look at")
}

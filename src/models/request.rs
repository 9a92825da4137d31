//! A question to a hosted model before it has a wire format, and what came of
//! it: the same for all of them.

use std::sync::Arc;

use serde_json::Value;

use crate::domain::cost::Usage;
use crate::domain::finding::ModelRef;
use crate::domain::transcript::RawExchange;
use crate::models::images::{ImageSet, blocking};
use crate::models::model::{
    AskQuestion, AskReply, CostBound, Failure, Fatal, Meter, ObserveQuestion, ObserveReply,
    ReviewQuestion, ReviewReply,
};
use crate::models::{answer, ask_prompt, panel_prompt, prompt};
use crate::screen::frame::Frame;
use crate::screen::picture::Rect;

/// Content of a request, independent of the provider.
pub(super) struct ModelRequest {
    pub system: String,
    pub text: String,
    /// With the parts of it to be enlarged; none for a question about the
    /// record.
    pub picture: Option<(Arc<Frame>, Vec<Rect>)>,
    /// JSON schema of the answer.
    pub schema: &'static Value,
    pub meter: Meter,
}

impl ModelRequest {
    pub(super) fn about(look: &ObserveQuestion) -> Result<Self, Failure> {
        let frame = look.frames.last().map(Arc::clone);
        let frame = frame.ok_or_else(no_picture)?;
        Ok(Self {
            system: prompt::system(&look.persona),
            text: prompt::question(look, &frame),
            picture: Some((frame, look.news.regions.clone())),
            schema: answer::schema(),
            meter: look.meter.clone(),
        })
    }

    pub(super) fn of(case: &ReviewQuestion) -> Self {
        Self {
            system: panel_prompt::system(case),
            text: panel_prompt::question(case),
            picture: Some((Arc::clone(&case.frame), panel_prompt::regions(case))),
            schema: panel_prompt::schema(),
            meter: case.meter.clone(),
        }
    }

    pub(super) fn into(inquiry: &AskQuestion) -> Self {
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
        pictures: impl FnOnce(&Frame, usize) -> u64,
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
    exchange: RawExchange,
    frame: Option<Arc<Frame>>,
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
            exchange: RawExchange {
                system,
                question,
                pictures: images.sent(),
                answer,
            },
            frame: images.whole.as_ref().map(|whole| Arc::clone(&whole.frame)),
            usage,
        }
    }

    pub(super) fn answer(self, model: ModelRef) -> Result<ObserveReply, Failure> {
        let frame = self.frame.ok_or_else(no_picture)?;
        let answer = answer::conclude(&self.exchange.answer, &frame, self.usage, model)?;
        Ok(ObserveReply {
            exchange: Some(Box::new(self.exchange)),
            ..answer
        })
    }

    pub(super) fn weighed(
        self,
        case: &ReviewQuestion,
        model: ModelRef,
    ) -> Result<ReviewReply, Failure> {
        let view = answer::view(&self.exchange.answer, case.report.category);
        Ok(ReviewReply {
            view: view.map_err(|unusable| Failure::no_answer(unusable.to_string()))?,
            usage: self.usage,
            model,
            exchange: Some(Box::new(self.exchange)),
        })
    }

    pub(super) fn replied(&self, inquiry: &AskQuestion) -> Result<AskReply, Failure> {
        ask_prompt::replied(&self.exchange.answer, inquiry, self.usage)
    }
}

fn no_picture() -> Failure {
    Failure::fatal(Fatal::Request, "no picture to look at")
}

//! One question as the body of a request.

use std::sync::Arc;

use super::shot::Shot;
use super::wire::{self, Content, GenerationConfig, Part, Request, ThinkingConfig};
use crate::model::{Failure, Fatal};

/// What current models can write; more is refused.
const MOST_OUTPUT_TOKENS: u32 = 65_536;

/// Everything a request is made of.
#[derive(Clone)]
pub(super) struct Question {
    pub system: String,
    pub text: String,
    pub shot: Arc<Shot>,
    pub max_output_tokens: u32,
    /// Whether the model may be told how much to think.
    pub thinks: bool,
    /// Whether the server takes the answer schema; in words otherwise.
    pub schema: bool,
    /// Of the answer to be continued.
    pub token: Option<String>,
}

impl Question {
    pub(super) fn can_have_more_tokens(&self) -> bool {
        self.max_output_tokens < MOST_OUTPUT_TOKENS
    }

    pub(super) fn double_tokens(&mut self) {
        self.max_output_tokens = self
            .max_output_tokens
            .saturating_mul(2)
            .min(MOST_OUTPUT_TOKENS);
    }

    /// Costs CPU: call it off the async workers.
    pub(super) fn body(&self) -> Result<Vec<u8>, Failure> {
        let mut asked = vec![
            Part::InlineData {
                mime_type: "image/jpeg",
                data: &self.shot.base64,
            },
            Part::Text(&self.text),
        ];
        let in_words;
        if !self.schema {
            in_words = format!(
                "Answer with one JSON object of this schema: {}",
                wire::schema()
            );
            asked.push(Part::Text(&in_words));
        }
        let request = Request {
            system_instruction: Content {
                role: "user",
                parts: vec![Part::Text(&self.system)],
            },
            contents: [Content {
                role: "user",
                parts: asked,
            }],
            generation_config: GenerationConfig {
                response_mime_type: "application/json",
                response_schema: self.schema.then(wire::schema),
                max_output_tokens: self.max_output_tokens,
                // Little thinking is enough to read a screen.
                thinking_config: self.thinks.then_some(ThinkingConfig {
                    thinking_level: "LOW",
                }),
                // Text of 11 pixels has to stay legible.
                media_resolution: "MEDIA_RESOLUTION_HIGH",
            },
            safety_settings: wire::SAFETY,
            store: false,
            continuation_token: self.token.as_deref(),
        };
        serde_json::to_vec(&request)
            .map_err(|error| Failure::fatal(Fatal::Request, format!("no request: {error}")))
    }
}

/// The models before 3 refuse a request that names a level.
pub(super) fn knows_thinking_levels(model: &str) -> bool {
    !["gemini-1", "gemini-2"]
        .iter()
        .any(|old| model.starts_with(old))
}

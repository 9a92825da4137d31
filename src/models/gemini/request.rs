//! Request and its body.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::wire::{
    self, Content, ContentPart, GenerateContentRequest, GenerationConfig, ThinkingConfig,
};
use crate::images::{Closeup, ImageSet};
use crate::model::{Failure, Fatal};
use crate::prompt::{CLOSEUP_TOKENS, TOKEN_BYTES, WHOLE_TOKENS};
use crate::request::ModelRequest;
use crate::settings::Thinking;

/// Largest output of current models, in tokens; more is rejected.
const MOST_OUTPUT_TOKENS: u32 = 65_536;

/// Parts of a request.
#[derive(Clone)]
pub(super) struct GeminiRequest {
    pub content: Arc<ModelRequest>,
    pub images: Arc<ImageSet>,
    pub max_output_tokens: u32,
    /// Flag: the model supports a resolution per part.
    pub levels: bool,
    pub thinking: Option<ThinkingConfig>,
    /// Flag: the server accepts the answer schema; it is in the prompt
    /// otherwise.
    pub schema: bool,
    /// Continuation token of a partial answer.
    pub token: Option<String>,
}

impl GeminiRequest {
    pub(super) fn can_have_more_tokens(&self) -> bool {
        self.max_output_tokens < MOST_OUTPUT_TOKENS
    }

    pub(super) fn double_tokens(&mut self) {
        self.max_output_tokens = self
            .max_output_tokens
            .saturating_mul(2)
            .min(MOST_OUTPUT_TOKENS);
    }

    /// Estimated cost of the request in tokens: pictures by the price list,
    /// text by its length.
    pub(super) fn estimated_tokens(&self, model: &str) -> u64 {
        let content = &self.content;
        let schema = content.schema.to_string();
        let text = content.system.len() + content.text.len() + schema.len();
        let words = (text / TOKEN_BYTES) as u64 + content.audio_tokens();
        let closeups = self.images.closeups.len() as u64;
        let Some(whole) = &self.images.whole else {
            return words;
        };
        let picture = &whole.frame.picture;
        words
            + if knows_thinking_levels(model) {
                WHOLE_TOKENS + closeups * CLOSEUP_TOKENS
            } else {
                let part = closeups * TILE_TOKENS;
                tiles(picture.width, picture.height) * TILE_TOKENS + part
            }
    }

    /// Encodes the body. CPU-bound: call it off the async workers.
    pub(super) fn body(&self) -> Result<Vec<u8>, Failure> {
        let titles: Vec<_> = (1..).zip(&self.images.closeups).map(title).collect();
        let level = |level| self.levels.then_some(level);
        let whole = self.images.whole.iter();
        let whole = whole.map(|whole| ContentPart::picture(&whole.base64, level(WHOLE)));
        let mut content_parts: Vec<_> = whole.collect();
        for (title, closeup) in titles.iter().zip(&self.images.closeups) {
            content_parts.push(ContentPart::text(title));
            content_parts.push(ContentPart::picture(&closeup.base64, level(CLOSEUP)));
        }
        let sound = self.content.audio.as_ref();
        let sound = sound.map(|audio| BASE64_STANDARD.encode(audio.wav()));
        content_parts.extend(sound.as_deref().map(ContentPart::sound));
        content_parts.push(ContentPart::text(&self.content.text));
        let in_words;
        if !self.schema {
            in_words = format!(
                "Answer with one JSON object of this schema: {}",
                self.content.schema
            );
            content_parts.push(ContentPart::text(&in_words));
        }
        let request = GenerateContentRequest {
            system_instruction: Content {
                role: "user",
                parts: vec![ContentPart::text(&self.content.system)],
            },
            contents: [Content {
                role: "user",
                parts: content_parts,
            }],
            generation_config: GenerationConfig {
                response_mime_type: "application/json",
                response_schema: self.schema.then_some(self.content.schema),
                max_output_tokens: self.max_output_tokens,
                thinking_config: self.thinking,
                media_resolution: WHOLE,
            },
            safety_settings: wire::SAFETY,
            store: false,
            continuation_token: self.token.as_deref(),
        };
        serde_json::to_vec(&request)
            .map_err(|error| Failure::fatal(Fatal::Request, format!("no request: {error}")))
    }
}

/// Text of 11 pixels has to stay legible.
const WHOLE: &str = "MEDIA_RESOLUTION_HIGH";
/// Enlarged already, so that a lower level does.
const CLOSEUP: &str = "MEDIA_RESOLUTION_MEDIUM";
/// Tokens per tile, 768 pixels square, for models before 3.
const TILE_TOKENS: u64 = 258;
const TILE: u32 = 768;

/// Maximum cost of pictures in tokens, the whole and parts of it, on any model.
pub(super) fn most_picture_tokens(width: u32, height: u32, parts: usize) -> u64 {
    let whole = WHOLE_TOKENS.max(tiles(width, height) * TILE_TOKENS);
    whole + parts as u64 * CLOSEUP_TOKENS.max(TILE_TOKENS)
}

fn title((number, closeup): (usize, &Closeup)) -> String {
    format!(
        "Closeup {number}, {:?} of the picture (ymin, xmin, ymax, xmax in thousandths):",
        closeup.bounds
    )
}

fn tiles(width: u32, height: u32) -> u64 {
    u64::from(width.div_ceil(TILE)) * u64::from(height.div_ceil(TILE))
}

/// True for models that accept a level; those before 3 reject it.
pub(super) fn knows_thinking_levels(model: &str) -> bool {
    !["gemini-1", "gemini-2"]
        .iter()
        .any(|old| model.starts_with(old))
}

/// Thinking configuration: as set, else low, which is enough to read a screen.
/// Models before 3 get a budget in tokens, and only where it is set; those
/// before 2.5 do not think.
pub(super) fn thinking(model: &str, set: Option<Thinking>) -> Option<ThinkingConfig> {
    let mut config = ThinkingConfig {
        thinking_level: None,
        thinking_budget: None,
    };
    if knows_thinking_levels(model) {
        config.thinking_level = Some(match set.unwrap_or(Thinking::Low) {
            Thinking::Minimal => "MINIMAL",
            Thinking::Low => "LOW",
            Thinking::Medium => "MEDIUM",
            Thinking::High => "HIGH",
        });
    } else if model.starts_with("gemini-2.5") {
        config.thinking_budget = Some(match set? {
            // The minimum that all of them accept.
            Thinking::Minimal => 512,
            Thinking::Low => 1024,
            Thinking::Medium => 8192,
            Thinking::High => 24_576,
        });
    } else {
        return None;
    }
    Some(config)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn thinking_depends_on_the_model() {
        let config_of = |model: &str, set| serde_json::to_value(thinking(model, set)).unwrap();
        let flash = "gemini-3.8-flash";
        assert_eq!(config_of(flash, None), json!({"thinkingLevel": "LOW"}));
        let high = Some(Thinking::High);
        assert_eq!(config_of(flash, high), json!({"thinkingLevel": "HIGH"}));
        assert_eq!(config_of("gemini-2.5-pro", None), Value::Null);
        assert_eq!(
            config_of("gemini-2.5-pro", high),
            json!({"thinkingBudget": 24_576})
        );
        assert_eq!(config_of("gemini-2.0-flash", high), Value::Null);
    }
}

//! Wire format: the JSON of `models.generateContent`, as far as it is used.
//!
//! Requests are written in camelCase with standard base64. Every field of a
//! response is optional and unknown ones are ignored: new fields and enum
//! values appear without notice.

use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct GenerateContentRequest<'a> {
    pub system_instruction: Content<'a>,
    pub contents: [Content<'a>; 1],
    pub generation_config: GenerationConfig<'a>,
    pub safety_settings: [SafetySetting; 1],
    /// Always false: paid projects would retain the pictures otherwise.
    pub store: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub continuation_token: Option<&'a str>,
}

#[derive(Debug, Serialize)]
pub(super) struct Content<'a> {
    pub role: &'static str,
    pub parts: Vec<ContentPart<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ContentPart<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    media_resolution: Option<MediaResolution>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inline_data: Option<InlineData<'a>>,
}

#[derive(Debug, Serialize)]
struct MediaResolution {
    level: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct InlineData<'a> {
    mime_type: &'static str,
    data: &'a str,
}

impl<'a> ContentPart<'a> {
    pub(super) fn text(text: &'a str) -> Self {
        Self {
            text: Some(text),
            media_resolution: None,
            inline_data: None,
        }
    }

    /// WAV file in base64.
    pub(super) fn sound(data: &'a str) -> Self {
        Self {
            text: None,
            media_resolution: None,
            inline_data: Some(InlineData {
                mime_type: "audio/wav",
                data,
            }),
        }
    }

    /// JPEG in base64, and its media resolution, which models before 3 reject
    /// in a part.
    pub(super) fn picture(data: &'a str, level: Option<&'static str>) -> Self {
        Self {
            text: None,
            media_resolution: level.map(|level| MediaResolution { level }),
            inline_data: Some(InlineData {
                mime_type: "image/jpeg",
                data,
            }),
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct GenerationConfig<'a> {
    pub response_mime_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_schema: Option<&'a Value>,
    pub max_output_tokens: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thinking_config: Option<ThinkingConfig>,
    pub media_resolution: &'static str,
}

/// Thinking configuration. Exactly one is set: models since 3 take levels,
/// those of 2.5 tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ThinkingConfig {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thinking_level: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thinking_budget: Option<u32>,
}

#[derive(Debug, Serialize)]
pub(super) struct SafetySetting {
    pub category: &'static str,
    pub threshold: &'static str,
}

/// A security screen shows malware and attacks all day long.
pub(super) const SAFETY: [SafetySetting; 1] = [SafetySetting {
    category: "HARM_CATEGORY_DANGEROUS_CONTENT",
    threshold: "BLOCK_NONE",
}];

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct GenerateContentResponse {
    pub candidates: Option<Vec<Candidate>>,
    pub prompt_feedback: Option<PromptFeedback>,
    pub usage_metadata: Option<UsageMetadata>,
    pub model_version: Option<String>,
    /// Error in a response with status 200, as some proxies send it.
    pub error: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Candidate {
    pub content: Option<ResponseContent>,
    /// Plain text, as new reasons come without notice.
    pub finish_reason: Option<String>,
    pub continuation_token: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct ResponseContent {
    pub parts: Option<Vec<ResponsePart>>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct ResponsePart {
    pub text: Option<String>,
    pub thought: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PromptFeedback {
    pub block_reason: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UsageMetadata {
    pub prompt_token_count: Option<u64>,
    /// Tokens of the prompt.
    pub cached_content_token_count: Option<u64>,
    pub candidates_token_count: Option<u64>,
    pub thoughts_token_count: Option<u64>,
}

/// Response to `GET models/{model}`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ModelInfo {
    pub name: Option<String>,
    pub input_token_limit: Option<u64>,
    pub supported_generation_methods: Option<Vec<String>>,
}

/// `error` of a response (google.rpc.Status).
#[derive(Debug, Default, Deserialize)]
pub(super) struct RpcStatus {
    pub message: Option<String>,
    pub status: Option<String>,
    pub details: Option<Vec<Detail>>,
}

/// Union of the details of google.rpc.Status: RetryInfo, QuotaFailure,
/// ErrorInfo.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Detail {
    pub retry_delay: Option<String>,
    pub violations: Option<Vec<Violation>>,
    pub reason: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Violation {
    pub quota_id: Option<String>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::answer::schema;

    /// The schema of the first version, field for field, with more categories
    /// and the fields on earlier findings.
    #[test]
    fn schema_is_the_first_version_with_additions() {
        let file =
            include_str!("../../../tests/fixtures/gemini/schema-proposed-responseSchema.json");
        let mut contract: Value = serde_json::from_str(file).unwrap();
        let path = "/properties/findings/items/properties/category/enum";
        let categories = contract.pointer_mut(path).unwrap();
        let ours = schema().pointer(path).unwrap().as_array().unwrap();
        for category in categories.as_array().unwrap() {
            assert!(ours.contains(category), "{category} is gone");
        }
        *categories = json!(ours);
        let mut schema = schema().clone();
        let answers = schema["properties"].as_object_mut().unwrap();
        for grown in ["earlier", "not_sure"] {
            assert!(answers.remove(grown).is_some(), "{grown} is not asked for");
        }
        let order = schema.as_object_mut().unwrap().remove("propertyOrdering");
        assert_eq!(order, Some(json!(["findings", "earlier", "not_sure"])));
        assert_eq!(schema, contract);
    }
}

//! Body of a chat completion.

use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value, json};

use super::schema::JsonSchema;
use crate::images::{Closeup, ImageSet};
use crate::model::{Failure, Fatal};
use crate::request::ModelRequest;
use crate::settings::Thinking;

/// Ways to request structured output. Not every server accepts all of them;
/// every server accepts the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StructuredOutput {
    /// `response_format: json_schema`
    Schema,
    /// The same without bounds on lists, which not every strict mode accepts.
    Unbounded,
    /// `response_format: json_object`, the schema in the prompt.
    Object,
    /// Schema in the prompt alone.
    Words,
}

impl StructuredOutput {
    pub(super) const ALL: [Self; 4] = [Self::Schema, Self::Unbounded, Self::Object, Self::Words];

    /// Fallback after the server rejected this one with that message.
    pub(super) fn simpler(self, refusal: &str) -> Option<Self> {
        match self {
            // The type of format is unknown, whatever its schema.
            Self::Schema if refusal.contains("json_schema") && !refusal.contains("maxItems") => {
                Some(Self::Object)
            }
            Self::Schema => Some(Self::Unbounded),
            Self::Unbounded => Some(Self::Object),
            Self::Object => Some(Self::Words),
            Self::Words => None,
        }
    }

    pub(super) fn index(self) -> u8 {
        self as u8
    }

    pub(super) fn of_index(index: u8) -> Self {
        Self::ALL
            .get(usize::from(index))
            .copied()
            .unwrap_or(Self::Words)
    }
}

pub(super) struct ChatRequest {
    pub model: String,
    /// Schema in the dialect of Gemini.
    pub content: Arc<ModelRequest>,
    pub images: Arc<ImageSet>,
    pub max_tokens: u32,
    /// Flag: use `max_completion_tokens`, as newer models of OpenAI require.
    pub completion_tokens: bool,
    pub thinking: Option<Thinking>,
    pub format: StructuredOutput,
}

/// Fields in the order they are read: a map would be sorted.
#[derive(Serialize)]
struct CompletionRequest<'a> {
    model: &'a str,
    messages: [Value; 2],
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_effort: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_format: Option<ResponseFormat<'a>>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ResponseFormat<'a> {
    JsonSchema { json_schema: Named<'a> },
    JsonObject,
}

#[derive(Serialize)]
struct Named<'a> {
    name: &'static str,
    strict: bool,
    schema: JsonSchema<'a>,
}

impl ChatRequest {
    /// Encodes the body. CPU-bound: call it off the async workers.
    pub(super) fn body(&self) -> Result<Vec<u8>, Failure> {
        let whole = self.images.whole.iter();
        let mut parts: Vec<_> = whole.map(|whole| picture(&whole.base64)).collect();
        for (number, closeup) in (1..).zip(&self.images.closeups) {
            parts.push(json!({"type": "text", "text": title(number, closeup)}));
            parts.push(picture(&closeup.base64));
        }
        let schema = JsonSchema::of(
            self.content.schema,
            self.format != StructuredOutput::Unbounded,
        );
        let named = matches!(
            self.format,
            StructuredOutput::Schema | StructuredOutput::Unbounded
        );
        let mut text = self.content.text.clone();
        if !named {
            text.push_str("\n\nAnswer with one JSON object of this schema and nothing else: ");
            text.push_str(&schema.to_string());
        }
        parts.push(json!({"type": "text", "text": text}));
        let bound = |newer| (self.completion_tokens == newer).then_some(self.max_tokens);
        let body = CompletionRequest {
            model: &self.model,
            messages: [
                json!({"role": "system", "content": self.content.system}),
                json!({"role": "user", "content": parts}),
            ],
            stream: false,
            max_tokens: bound(false),
            max_completion_tokens: bound(true),
            reasoning_effort: self.thinking.map(Thinking::as_str),
            response_format: match self.format {
                StructuredOutput::Schema | StructuredOutput::Unbounded => {
                    Some(ResponseFormat::JsonSchema {
                        json_schema: Named {
                            name: "answer",
                            strict: true,
                            schema,
                        },
                    })
                }
                StructuredOutput::Object => Some(ResponseFormat::JsonObject),
                StructuredOutput::Words => None,
            },
        };
        serde_json::to_vec(&body)
            .map_err(|error| Failure::fatal(Fatal::Request, format!("no request: {error}")))
    }
}

fn picture(base64: &str) -> Value {
    let url = format!("data:image/jpeg;base64,{base64}");
    json!({"type": "image_url", "image_url": {"url": url}})
}

fn title(number: usize, closeup: &Closeup) -> String {
    format!(
        "Closeup {number}, {:?} of the picture (ymin, xmin, ymax, xmax in thousandths):",
        closeup.bounds
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{answer, ask_prompt, panel_prompt};

    fn question(schema: &'static Value, format: StructuredOutput) -> ChatRequest {
        ChatRequest {
            model: "m".to_owned(),
            content: Arc::new(ModelRequest {
                system: "s".to_owned(),
                text: "t".to_owned(),
                picture: None,
                audio: None,
                schema,
            }),
            images: Arc::default(),
            max_tokens: 100,
            completion_tokens: false,
            thinking: None,
            format,
        }
    }

    fn sent(question: &ChatRequest) -> String {
        String::from_utf8(question.body().unwrap()).unwrap()
    }

    #[test]
    fn properties_are_sent_in_the_intended_order() {
        let orders: [(&'static Value, &[&str]); 3] = [
            (
                answer::schema(),
                &[
                    "findings",
                    "evidence",
                    "box_2d",
                    "category",
                    "title",
                    "detail",
                    "mitre_techniques",
                    "severity",
                    "confidence",
                    "recommended_action",
                    "earlier",
                    "number",
                    "now",
                    "not_sure",
                ],
            ),
            (
                panel_prompt::schema(),
                &[
                    "evidence",
                    "box_2d",
                    "text",
                    "stance",
                    "severity",
                    "confidence",
                ],
            ),
            (ask_prompt::schema(), &["citations", "known", "answer"]),
        ];
        for (schema, order) in orders {
            for format in StructuredOutput::ALL {
                // In the prompt it is within a string.
                let body = sent(&question(schema, format)).replace("\\\"", "\"");
                let places: Vec<_> = (order.iter())
                    .map(|name| {
                        body.find(&format!("\"{name}\":{{"))
                            .unwrap_or_else(|| panic!("{name}: {body}"))
                    })
                    .collect();
                assert!(places.is_sorted(), "{format:?}: {body}");
            }
        }
    }

    #[test]
    fn lists_are_bounded_where_supported() {
        let lists = |schema: &'static Value, format| {
            let body = sent(&question(schema, format));
            let count = |words: &str| body.matches(words).count();
            (count("\"type\":\"array\""), count("\"maxItems\":"))
        };
        assert_eq!(lists(answer::schema(), StructuredOutput::Schema), (5, 5));
        assert_eq!(lists(answer::schema(), StructuredOutput::Unbounded), (5, 0));
        assert_eq!(
            lists(panel_prompt::schema(), StructuredOutput::Schema),
            (1, 1)
        );
        assert_eq!(
            lists(ask_prompt::schema(), StructuredOutput::Schema),
            (1, 1)
        );
    }

    #[test]
    fn rejected_format_falls_back() {
        use StructuredOutput::{Object, Schema, Unbounded, Words};
        let bound = "Invalid schema for response_format json_schema: 'maxItems' is not permitted";
        assert_eq!(Schema.simpler(bound), Some(Unbounded));
        assert_eq!(
            Schema.simpler("contains features not supported"),
            Some(Unbounded)
        );
        let kind = "response_format.type 'json_schema' is not supported";
        assert_eq!(Schema.simpler(kind), Some(Object));
        assert_eq!(Unbounded.simpler(bound), Some(Object));
        assert_eq!(Object.simpler(kind), Some(Words));
        assert_eq!(Words.simpler(kind), None);
        for format in StructuredOutput::ALL {
            assert_eq!(StructuredOutput::of_index(format.index()), format);
        }
    }

    #[test]
    fn thinking_is_sent_where_set() {
        let mut request = question(ask_prompt::schema(), StructuredOutput::Schema);
        assert!(!sent(&request).contains("reasoning_effort"));
        request.thinking = Some(Thinking::Minimal);
        assert!(sent(&request).contains("\"reasoning_effort\":\"minimal\""));
    }
}

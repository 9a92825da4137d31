//! A question as the body of a chat completion, and its schema in the words of
//! JSON Schema.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::models::shot::{Closeup, Shot};

/// How the shape of the answer is asked for. Not every server takes all of
/// them; the last one any takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// `response_format: json_schema`
    Schema,
    /// `response_format: json_object`, the schema in words.
    Object,
    /// In words alone.
    Words,
}

impl Format {
    pub(super) const ALL: [Self; 3] = [Self::Schema, Self::Object, Self::Words];

    /// The one to try when the server does not take this.
    pub(super) fn simpler(self) -> Option<Self> {
        match self {
            Self::Schema => Some(Self::Object),
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

pub(super) struct Question {
    pub model: String,
    pub system: String,
    pub text: String,
    /// In the dialect that Gemini takes.
    pub schema: &'static Value,
    pub shot: Arc<Shot>,
    pub max_tokens: u32,
    /// Whether the bound goes by the name that newer models of OpenAI take.
    pub completion_tokens: bool,
    pub format: Format,
}

impl Question {
    /// Costs CPU: call it off the async workers.
    pub(super) fn body(&self) -> Vec<u8> {
        let whole = self.shot.whole.iter();
        let mut parts: Vec<_> = whole.map(|whole| picture(&whole.base64)).collect();
        for (number, closeup) in (1..).zip(&self.shot.closeups) {
            parts.push(json!({"type": "text", "text": title(number, closeup)}));
            parts.push(picture(&closeup.base64));
        }
        let schema = json_schema(self.schema);
        let mut text = self.text.clone();
        if self.format != Format::Schema {
            text.push_str("\n\nAnswer with one JSON object of this schema and nothing else: ");
            text.push_str(&schema.to_string());
        }
        parts.push(json!({"type": "text", "text": text}));
        let mut body = json!({
            "model": self.model,
            "messages": [
                {"role": "system", "content": self.system},
                {"role": "user", "content": parts}
            ],
            "stream": false
        });
        let bound = if self.completion_tokens {
            "max_completion_tokens"
        } else {
            "max_tokens"
        };
        body[bound] = json!(self.max_tokens);
        let format = match self.format {
            Format::Schema => json!({
                "type": "json_schema",
                "json_schema": {"name": "answer", "strict": true, "schema": schema}
            }),
            Format::Object => json!({"type": "json_object"}),
            Format::Words => Value::Null,
        };
        if !format.is_null() {
            body["response_format"] = format;
        }
        body.to_string().into_bytes()
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

/// Lower-case types, nothing optional and nothing else, no order: as strict
/// mode wants it.
pub(super) fn json_schema(gemini: &Value) -> Value {
    match gemini {
        Value::Object(fields) => {
            let mut schema = Map::new();
            for (key, value) in fields {
                match (key.as_str(), value) {
                    ("propertyOrdering" | "nullable" | "maxItems", _) => {}
                    ("type", Value::String(name)) => {
                        schema.insert(key.clone(), Value::String(name.to_lowercase()));
                    }
                    ("properties", Value::Object(properties)) => {
                        let properties = properties
                            .iter()
                            .map(|(name, schema)| (name.clone(), json_schema(schema)));
                        schema.insert(key.clone(), Value::Object(properties.collect()));
                    }
                    _ => {
                        schema.insert(key.clone(), json_schema(value));
                    }
                }
            }
            if let Some(Value::Object(properties)) = schema.get("properties") {
                let names: Vec<_> = properties.keys().cloned().collect();
                schema.insert("required".to_owned(), json!(names));
                schema.insert("additionalProperties".to_owned(), Value::Bool(false));
            }
            Value::Object(schema)
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_in_the_words_of_json_schema() {
        let gemini = json!({
            "type": "OBJECT",
            "properties": {
                "type": {"type": "STRING", "enum": ["A"]},
                "items": {"type": "ARRAY", "maxItems": 8, "items": {"type": "INTEGER"}}
            },
            "required": ["type"],
            "propertyOrdering": ["type", "items"]
        });
        let expected = json!({
            "type": "object",
            "properties": {
                "type": {"type": "string", "enum": ["A"]},
                "items": {"type": "array", "items": {"type": "integer"}}
            },
            "required": ["items", "type"],
            "additionalProperties": false
        });
        let schema = json_schema(&gemini);
        assert_eq!(schema["properties"], expected["properties"]);
        assert_eq!(schema["additionalProperties"], false);
        assert_eq!(schema["required"].as_array().map(Vec::len), Some(2));
        assert!(schema.get("propertyOrdering").is_none());
    }
}

//! Schema of an answer as JSON Schema.

use std::fmt;

use serde::Serialize;
use serde::ser::{SerializeMap as _, Serializer};
use serde_json::{Map, Value};

use crate::answer;

/// Converts a schema for strict mode: lower-case types, all properties
/// required, no additional ones. Models write in the order of the properties,
/// so it is kept: evidence before the assessment based on it.
#[derive(Debug, Clone, Copy)]
pub(super) struct JsonSchema<'a> {
    /// Schema in the dialect of Gemini.
    gemini: &'a Value,
    /// Flag: bound the lists, as a small model may not stop otherwise.
    bounded: bool,
    /// Property of the schema.
    name: &'a str,
}

impl<'a> JsonSchema<'a> {
    pub(super) fn of(gemini: &'a Value, bounded: bool) -> Self {
        Self {
            gemini,
            bounded,
            name: "",
        }
    }

    fn under(self, name: &'a str, gemini: &'a Value) -> Self {
        Self {
            gemini,
            name,
            ..self
        }
    }
}

/// Intended order of properties, as the map is sorted by name.
fn ordered<'a>(fields: &'a Map<String, Value>, properties: &'a Map<String, Value>) -> Vec<&'a str> {
    let texts = |key: &str| fields.get(key).and_then(Value::as_array);
    let order = texts("propertyOrdering").or_else(|| texts("required"));
    let order = order.into_iter().flatten().filter_map(Value::as_str);
    let mut names: Vec<&str> = order
        .filter(|name| properties.contains_key(*name))
        .collect();
    for name in properties.keys() {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    names
}

struct Properties<'a>(JsonSchema<'a>, &'a [&'a str], &'a Map<String, Value>);

impl Serialize for Properties<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(parent, names, properties) = self;
        let mut map = serializer.serialize_map(Some(names.len()))?;
        for name in *names {
            map.serialize_entry(name, &parent.under(name, &properties[*name]))?;
        }
        map.end()
    }
}

impl Serialize for JsonSchema<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Value::Object(fields) = self.gemini else {
            return self.gemini.serialize(serializer);
        };
        let mut map = serializer.serialize_map(None)?;
        let kind = fields.get("type").and_then(Value::as_str);
        let kind = kind.map(str::to_lowercase);
        if let Some(kind) = &kind {
            map.serialize_entry("type", kind)?;
        }
        for key in ["description", "enum"] {
            if let Some(value) = fields.get(key) {
                map.serialize_entry(key, value)?;
            }
        }
        if let Some(items) = fields.get("items") {
            map.serialize_entry("items", &self.under(self.name, items))?;
        }
        if self.bounded && kind.as_deref() == Some("array") {
            let own = fields.get("maxItems").and_then(Value::as_u64);
            let most = own.unwrap_or_else(|| answer::most_items(self.name) as u64);
            map.serialize_entry("maxItems", &most)?;
        }
        if let Some(Value::Object(properties)) = fields.get("properties") {
            let names = ordered(fields, properties);
            map.serialize_entry("properties", &Properties(*self, &names, properties))?;
            map.serialize_entry("required", &names)?;
            map.serialize_entry("additionalProperties", &false)?;
        }
        map.end()
    }
}

impl fmt::Display for JsonSchema<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = serde_json::to_string(self).map_err(|_| fmt::Error)?;
        f.write_str(&text)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn schema_is_converted_to_json_schema() {
        let gemini = json!({
            "type": "OBJECT",
            "properties": {
                "type": {"type": "STRING", "enum": ["A"]},
                "items": {"type": "ARRAY", "maxItems": 8, "items": {"type": "INTEGER"}},
                "box_2d": {"type": "ARRAY", "items": {"type": "INTEGER"}},
                "also": {"type": "STRING", "nullable": true}
            },
            "required": ["type"],
            "propertyOrdering": ["type", "items", "box_2d"]
        });
        let schema = |bounded| JsonSchema::of(&gemini, bounded).to_string();
        let expected = concat!(
            r#"{"type":"object","properties":{"type":{"type":"string","enum":["A"]},"#,
            r#""items":{"type":"array","items":{"type":"integer"},"maxItems":8},"#,
            r#""box_2d":{"type":"array","items":{"type":"integer"},"maxItems":4},"#,
            r#""also":{"type":"string"}},"#,
            r#""required":["type","items","box_2d","also"],"additionalProperties":false}"#,
        );
        assert_eq!(schema(true), expected);
        let without = expected
            .replace(r#","maxItems":8"#, "")
            .replace(r#","maxItems":4"#, "");
        assert_eq!(schema(false), without);
    }
}

//! Responses of the API against its description, in both directions.

use std::collections::BTreeSet;

use reqwest::{Method, Response};
use serde_json::{Value, json};

/// Description of the API, and what of it was called.
pub(super) struct Described {
    pub(super) document: Value,
    /// Operations called.
    pub(super) called: BTreeSet<String>,
}

impl Described {
    /// Validates a response against its description.
    pub(super) async fn hold(&mut self, path: &str, method: &Method, response: Response) -> Value {
        let method = method.as_str().to_lowercase();
        let operation = &self.document["paths"][path][&method];
        let status = response.status().as_u16().to_string();
        let what = format!("{method} {path} -> {status}");
        let described = &operation["responses"][&status];
        assert!(described.is_object(), "{what} is not described");
        assert!(
            described["description"].is_string(),
            "{what} has no description"
        );
        self.called.insert(format!("{method} {path}"));
        let kind = response.headers().get("content-type");
        let kind = kind.map(|kind| kind.to_str().unwrap().split(';').next().unwrap().to_owned());
        let bytes = match kind.as_deref() {
            Some("text/event-stream") => Default::default(),
            _ => response.bytes().await.unwrap(),
        };
        let Some(content) = described["content"].as_object() else {
            assert!(bytes.is_empty(), "{what} has a body that is not described");
            return Value::Null;
        };
        let kind = kind.unwrap_or_else(|| panic!("{what} has no type"));
        let schema = content.get(&kind);
        let schema = schema.unwrap_or_else(|| panic!("{what} is {kind}, of {content:?}"));
        if !kind.ends_with("json") {
            return Value::Null;
        }
        let body: Value = serde_json::from_slice(&bytes).unwrap();
        let whole = json!({
            "allOf": [schema["schema"]],
            "components": self.document["components"]
        });
        let validator = jsonschema::validator_for(&whole).unwrap();
        let faults: Vec<_> = validator
            .iter_errors(&body)
            .map(|fault| format!("{} at {}", fault, fault.instance_path()))
            .collect();
        assert!(faults.is_empty(), "{what}: {faults:#?}\n{body:#}");
        let mut unknown = Vec::new();
        self.undescribed(&[&schema["schema"]], &body, "", &mut unknown);
        assert!(
            unknown.is_empty(),
            "{what} says more than is described: {unknown:?}"
        );
        body
    }

    /// Fields that none of these schemas declares.
    fn undescribed(&self, schemas: &[&Value], value: &Value, at: &str, unknown: &mut Vec<String>) {
        let mut flat: Vec<&Value> = Vec::new();
        let mut open: Vec<&Value> = schemas.to_vec();
        while let Some(schema) = open.pop() {
            if let Some(name) = schema["$ref"].as_str() {
                let name = name.rsplit('/').next().unwrap();
                open.push(&self.document["components"]["schemas"][name]);
            }
            for key in ["allOf", "oneOf", "anyOf"] {
                open.extend(schema[key].as_array().into_iter().flatten());
            }
            flat.push(schema);
        }
        match value {
            Value::Object(fields) => {
                // Free-form object.
                let any = flat.iter().any(|schema| {
                    let keywords = ["type", "$ref", "allOf", "oneOf", "properties"];
                    let silent = keywords.iter().all(|key| schema[key].is_null());
                    silent || schema["additionalProperties"].is_object()
                });
                for (name, value) in fields {
                    let known: Vec<_> = flat
                        .iter()
                        .map(|schema| &schema["properties"][name])
                        .filter(|schema| !schema.is_null())
                        .collect();
                    if known.is_empty() {
                        if !any {
                            unknown.push(format!("{at}.{name}"));
                        }
                        continue;
                    }
                    self.undescribed(&known, value, &format!("{at}.{name}"), unknown);
                }
            }
            Value::Array(items) => {
                let of: Vec<_> = flat
                    .iter()
                    .map(|schema| &schema["items"])
                    .filter(|schema| !schema.is_null())
                    .collect();
                for item in items.iter().take(3) {
                    self.undescribed(&of, item, &format!("{at}[]"), unknown);
                }
            }
            _ => {}
        }
    }
}

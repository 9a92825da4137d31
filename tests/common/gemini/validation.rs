//! Validation of requests, as strict as Google's: unknown fields, values of the
//! wrong type, and invalid pictures.

use serde_json::Value;

use super::request::{CapturedRequest, decoded, jpeg_size};

/// Fields of each API message (camelCase; snake_case is accepted).
const REQUEST: [&str; 8] = [
    "contents",
    "systemInstruction",
    "generationConfig",
    "safetySettings",
    "store",
    "continuationToken",
    "tools",
    "cachedContent",
];
const GENERATION_CONFIG: [&str; 6] = [
    "responseMimeType",
    "responseSchema",
    "responseJsonSchema",
    "maxOutputTokens",
    "thinkingConfig",
    "mediaResolution",
];
const SCHEMA: [&str; 10] = [
    "type",
    "format",
    "description",
    "enum",
    "items",
    "maxItems",
    "minItems",
    "properties",
    "required",
    "propertyOrdering",
];

/// Validates a request; the error is the real server's objection.
pub(super) fn judge(request: &CapturedRequest) -> Result<(), String> {
    let path = request.path.as_str();
    let known = ["/v1beta/models/", "/v1/models/"]
        .iter()
        .any(|p| path.contains(p));
    if !known || !path.ends_with(":generateContent") {
        return Err(format!("no such method: {path}"));
    }
    let body = camel(&request.body);
    fields("request", &body, &REQUEST)?;
    for content in body["contents"]
        .as_array()
        .ok_or("contents must be a list")?
    {
        judge_content(content)?;
    }
    fields(
        "systemInstruction",
        &body["systemInstruction"],
        &["role", "parts"],
    )?;
    let config = &body["generationConfig"];
    fields("generationConfig", config, &GENERATION_CONFIG)?;
    fields(
        "thinkingConfig",
        &config["thinkingConfig"],
        &["thinkingLevel", "thinkingBudget", "includeThoughts"],
    )?;
    if !config["responseSchema"].is_null() {
        judge_schema(&config["responseSchema"])?;
    }
    for setting in body["safetySettings"].as_array().into_iter().flatten() {
        fields("safetySettings", setting, &["category", "threshold"])?;
    }
    let number = |value: &Value| value.is_null() || value.is_u64();
    let right = number(&config["maxOutputTokens"])
        && (body["store"].is_null() || body["store"].is_boolean());
    right
        .then_some(())
        .ok_or_else(|| "a value is of the wrong type".to_owned())
}

fn judge_content(content: &Value) -> Result<(), String> {
    fields("contents", content, &["role", "parts"])?;
    for part in content["parts"].as_array().ok_or("parts must be a list")? {
        fields("parts", part, &["text", "inlineData", "mediaResolution"])?;
        let data = &part["inlineData"];
        fields("inlineData", data, &["mimeType", "data"])?;
        if data.is_null() {
            continue;
        }
        let jpeg = data["data"]
            .as_str()
            .and_then(decoded)
            .ok_or("base64 decoding failed")?;
        if data["mimeType"] == "audio/wav" && jpeg.starts_with(b"RIFF") {
            continue;
        }
        if data["mimeType"] != "image/jpeg" || jpeg_size(&jpeg).is_none() {
            return Err("unable to process input image".to_owned());
        }
    }
    Ok(())
}

fn judge_schema(schema: &Value) -> Result<(), String> {
    fields("responseSchema", schema, &SCHEMA)?;
    if !schema["items"].is_null() {
        judge_schema(&schema["items"])?;
    }
    for (_, property) in schema["properties"].as_object().into_iter().flatten() {
        judge_schema(property)?;
    }
    Ok(())
}

fn fields(of: &str, message: &Value, known: &[&str]) -> Result<(), String> {
    let fields = message.as_object().into_iter().flatten();
    for (name, _) in fields {
        if !known.contains(&name.as_str()) {
            return Err(format!(
                "Invalid JSON payload received. Unknown name \"{name}\" at '{of}': Cannot find field."
            ));
        }
    }
    Ok(())
}

/// Converts all names to camelCase. Names of a schema's own properties are
/// unchanged, as far as `judge_schema` reads them.
fn camel(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(camel).collect(),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| (camel_name(name), camel(value)))
            .collect(),
        value => value.clone(),
    }
}

fn camel_name(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| {
        let mut letters = word.chars();
        match letters.next() {
            Some(letter) => format!("{name}{}{}", letter.to_ascii_uppercase(), letters.as_str()),
            None => name,
        }
    })
}

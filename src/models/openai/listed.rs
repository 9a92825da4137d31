//! Abilities of a model by the server's list of models. Its fields are not
//! standardised: an absent one means unknown.

use serde_json::Value;

/// Entries on that model in the list: llama.cpp has two.
pub(super) fn entries<'a>(body: &'a Value, model: &str) -> Vec<&'a Value> {
    // Ollama's ":latest" is the default tag.
    let latest = format!("{model}:latest");
    let lists = [&body["data"], &body["models"]].into_iter();
    let all = lists.filter_map(Value::as_array).flatten();
    let is_it = |entry: &&Value| {
        let names = ["id", "name", "model"].iter();
        let mut names = names.filter_map(|key| entry[key].as_str());
        names.any(|name| name == model || name == latest)
    };
    all.filter(is_it).collect()
}

/// True if the entry lists picture input, false if it excludes it; `None` if
/// unknown.
pub(super) fn sees(entry: &Value) -> Option<bool> {
    let places = [entry, &entry["architecture"], &entry["meta"]];
    let keys = [
        "capabilities",
        "input_modalities",
        "supported_input_modalities",
        "modalities",
        "modality",
    ];
    let support = places.iter().flat_map(|place| keys.map(|key| &place[key]));
    let support = support.chain([entry]).filter_map(image_support);
    // Lists may be of something else: any that contains an image type decides.
    support.reduce(|one, other| one || other)
}

fn image_support(value: &Value) -> Option<bool> {
    match value {
        Value::Array(words) => {
            let words = || words.iter().filter_map(Value::as_str);
            words().next()?;
            Some(words().any(names_pictures))
        }
        // OpenRouter's "text+image->text": the input side counts.
        Value::String(words) => {
            let into = words.split("->").next().unwrap_or_default();
            (!into.is_empty()).then(|| names_pictures(into))
        }
        Value::Object(flags) => {
            let mut flags = flags.iter().filter(|(name, _)| names_pictures(name));
            flags.find_map(|(_, flag)| flag.as_bool())
        }
        _ => None,
    }
}

/// Whole words: "provision" is no vision.
fn names_pictures(text: &str) -> bool {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric());
    let words = words.map(str::to_ascii_lowercase);
    let pictures = ["vision", "image", "images", "multimodal"];
    words
        .into_iter()
        .any(|word| pictures.contains(&word.as_str()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn model_list_shows_image_support() {
        for (entry, expected) in [
            // llama.cpp without and with --mmproj.
            (json!({"capabilities": ["completion"]}), Some(false)),
            (
                json!({"capabilities": ["completion", "multimodal"]}),
                Some(true),
            ),
            (
                json!({"capabilities": ["completion", "vision"]}),
                Some(true),
            ),
            (
                json!({"capabilities": ["provisioning", "revision"]}),
                Some(false),
            ),
            // Mistral.
            (
                json!({"capabilities": {"completion_chat": true, "vision": false}}),
                Some(false),
            ),
            (json!({"capabilities": {"vision": true}}), Some(true)),
            (json!({"capabilities": {"completion_chat": true}}), None),
            // OpenRouter.
            (
                json!({"architecture": {"input_modalities": ["text"], "output_modalities": ["image"]}}),
                Some(false),
            ),
            (
                json!({"architecture": {"input_modalities": ["text", "image"]}}),
                Some(true),
            ),
            (
                json!({"architecture": {"modality": "text->text+image"}}),
                Some(false),
            ),
            (
                json!({"architecture": {"modality": "text+image->text"}}),
                Some(true),
            ),
            (
                json!({"meta": {"n_params": 7, "modalities": {"vision": false}}}),
                Some(false),
            ),
            (json!({"supports_vision": false}), Some(false)),
            // No entry means unknown.
            (
                json!({"id": "vision-7b", "object": "model", "meta": null}),
                None,
            ),
            (json!({"capabilities": []}), None),
        ] {
            assert_eq!(sees(&entry), expected, "{entry}");
        }
    }

    #[test]
    fn model_is_found_by_name_in_both_lists() {
        let body = json!({
            "data": [{"id": "a"}, {"id": "b:latest"}],
            "models": [{"name": "a", "capabilities": ["completion"]}]
        });
        assert_eq!(entries(&body, "a").len(), 2);
        assert_eq!(entries(&body, "b").len(), 1);
        assert!(entries(&body, "c").is_empty());
    }
}

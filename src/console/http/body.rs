//! JSON bodies, and the validation of their texts.

use axum::Json;
use axum::extract::{FromRequest, Request};
use serde::de::DeserializeOwned;
use serde_json::{Number, Value};

use super::problem::Problem;

/// JSON body. Integers may have a fraction of zero, as in JSON Schema.
#[derive(Debug)]
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let Json(mut value) = Json::<Value>::from_request(request, state).await?;
        whole(&mut value);
        // Serialised again, so that errors have a path.
        let text = serde_json::to_vec(&value).unwrap_or_default();
        let Json(body) = Json::<T>::from_bytes(&text)?;
        Ok(Self(body))
    }
}

fn whole(value: &mut Value) {
    match value {
        Value::Number(number) => {
            let Some(fraction) = number.as_f64().filter(|_| number.is_f64()) else {
                return;
            };
            // Beyond this a float is not exact.
            const EXACT: f64 = 9_007_199_254_740_992.0;
            if fraction.fract() == 0.0 && fraction.abs() <= EXACT {
                *number = Number::from(fraction as i64);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(whole),
        Value::Object(fields) => fields.values_mut().for_each(whole),
        _ => {}
    }
}

/// True for a text without visible characters, which the API's description
/// excludes by a pattern.
pub(crate) fn is_blank(text: &str) -> bool {
    text.chars().all(|c| c.is_whitespace() || c.is_control())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Pattern of fields that must not be blank.
    const SHOWS: &str = r"[^\x00-\x20\x7f-\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]";

    #[test]
    fn integer_may_have_a_zero_fraction() {
        let mut value = json!({"a": [209.0, 0.5, -3.0], "b": 1e300, "c": 7});
        whole(&mut value);
        assert_eq!(value, json!({"a": [209, 0.5, -3], "b": 1e300, "c": 7}));
    }

    #[test]
    fn pattern_matches_is_blank() {
        let schema = json!({"type": "string", "pattern": SHOWS});
        let pattern = jsonschema::validator_for(&schema).unwrap();
        for c in (0..0x3100).filter_map(char::from_u32) {
            let text = c.to_string();
            assert_eq!(pattern.is_valid(&json!(text)), !is_blank(&text), "{c:?}");
        }
    }
}

//! Endpoint of requests. Refuses URLs that would expose the key to other hosts.

use reqwest::Url;

use watchtower_base::url;
use watchtower_base::url::{AddressError, base_url_of};

use crate::http::ModelHttpError;

const GOOGLE: &str = "https://generativelanguage.googleapis.com";

/// Error of invalid settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GeminiSettingsError {
    #[error("base URL of the Gemini API {0}")]
    Address(#[from] AddressError),
    #[error("{what} must be letters, digits and . _ - only, got {value:?}")]
    Name { what: &'static str, value: String },
    #[error("{0}: set GOOGLE_API_KEY again")]
    Client(#[from] ModelHttpError),
}

/// URLs of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub generate: Url,
    pub info: Url,
    /// Flag: the server is on this machine, so that proxies are bypassed.
    pub loopback: bool,
}

impl Endpoint {
    pub(super) fn new(
        base_url: Option<&str>,
        allow_http: bool,
        api_version: &str,
        model: &str,
    ) -> Result<Self, GeminiSettingsError> {
        let base = base_url_of(base_url.unwrap_or(GOOGLE), allow_http)?;
        for (what, value) in [("api_version", api_version), ("the model's name", model)] {
            if !is_path_segment(value) {
                let value = value.to_owned();
                return Err(GeminiSettingsError::Name { what, value });
            }
        }
        let at = |last: &str| url::under(&base, &[api_version, "models", last]);
        Ok(Self {
            generate: at(&format!("{model}:generateContent")),
            info: at(model),
            loopback: url::is_loopback(&base),
        })
    }
}

fn is_path_segment(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    !text.is_empty() && text != "." && text != ".." && text.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generate(base: &str) -> Result<String, GeminiSettingsError> {
        let endpoint = Endpoint::new(Some(base), false, "v1beta", "gemini-3.8-flash")?;
        Ok(endpoint.generate.to_string())
    }

    #[test]
    fn path_prefix_is_kept_and_a_trailing_slash_ignored() {
        let path = "v1beta/models/gemini-3.8-flash:generateContent";
        for (base, expected) in [
            ("https://example.org", "https://example.org/"),
            (" https://example.org/ ", "https://example.org/"),
            ("https://example.org/a/b", "https://example.org/a/b/"),
            ("https://example.org/a/b/", "https://example.org/a/b/"),
            ("http://127.0.0.1:8099", "http://127.0.0.1:8099/"),
            ("http://127.9.9.9/", "http://127.9.9.9/"),
            ("http://[::1]:1/x", "http://[::1]:1/x/"),
            ("http://LOCALHOST:1", "http://localhost:1/"),
        ] {
            assert_eq!(generate(base), Ok(format!("{expected}{path}")), "{base}");
        }
        let google = Endpoint::new(None, false, "v1", "m").unwrap();
        assert_eq!(
            google.info.as_str(),
            "https://generativelanguage.googleapis.com/v1/models/m"
        );
        assert!(!google.loopback);
    }

    #[test]
    fn urls_that_expose_the_key_are_refused() {
        for base in [
            "",
            "example.org",
            "ftp://example.org",
            "file:///etc/passwd",
            "http://example.org",
            "http://localhost.example.org",
            "http://127.0.0.1.example.org",
            "http://192.168.0.1",
            "https://user:pass@example.org",
            "https://example.org/?key=1",
            "https://example.org/#x",
        ] {
            assert!(generate(base).is_err(), "{base}");
        }
        assert!(base_url_of("http://gateway.internal", true).is_ok());
        assert!(base_url_of("ftp://gateway.internal", true).is_err());
        for name in ["", "..", "a/b", "a?key=1", "a b", "ä"] {
            let model = Endpoint::new(None, false, "v1beta", name);
            assert!(model.is_err(), "{name:?}");
            assert!(Endpoint::new(None, false, name, "m").is_err(), "{name:?}");
        }
    }

    #[test]
    fn errors_say_what_to_do_and_show_no_password() {
        let texts = ["http://example.org", "ftp://x", "https://user:pass@x", "x"]
            .map(|base| generate(base).unwrap_err().to_string());
        insta::assert_snapshot!(texts.join("\n"));
    }
}

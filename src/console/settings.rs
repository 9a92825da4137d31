//! `[http]` of `watchtower.toml`: origins that may call the API.

use watchtower_base::config::section::Section;

/// `[http]`
#[derive(Debug, Clone, PartialEq, Default)]
pub struct HttpSettings {
    /// Origins (RFC 6454) whose pages may call the API from a browser.
    pub allowed_origins: Vec<String>,
}

pub fn http(mut s: Section<'_>) -> HttpSettings {
    let allowed_origins = s.texts("allowed_origins").unwrap_or_default();
    for (index, origin) in allowed_origins.iter().enumerate() {
        if !is_origin(origin) {
            let expected = "must be scheme://host or scheme://host:port without a path";
            s.fault(
                &format!("allowed_origins[{index}]"),
                format!("{expected}, got {origin:?}"),
            );
        }
    }
    s.finish();
    HttpSettings { allowed_origins }
}

fn is_origin(text: &str) -> bool {
    let host = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    host.is_some_and(|host| !host.is_empty() && !host.contains(['/', '?', '#', '@', '*', ' ']))
}

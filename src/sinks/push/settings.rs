//! `[push]` of `watchtower.toml`: Web Push to browsers.

use watchtower_base::config::section::Section;

/// `[push]`
#[derive(Debug, Clone, PartialEq)]
pub struct PushSettings {
    pub enabled: bool,
    /// Contact of the operator for push services (RFC 8292, section 2.1):
    /// `mailto:` or `https://`.
    pub contact: Option<String>,
    /// Hosts of push services that may be on private addresses.
    pub services: Vec<String>,
}

pub fn push(mut s: Section<'_>) -> PushSettings {
    let contact = s.text("contact").filter(|text| !text.is_empty());
    if let Some(text) = contact.as_deref() {
        let named = |scheme: &str| {
            text.strip_prefix(scheme)
                .is_some_and(|rest| !rest.is_empty())
        };
        let sound = !text.chars().any(|c| c.is_whitespace() || c.is_control());
        if !sound || !(named("mailto:") || named("https://")) {
            s.fault(
                "contact",
                format!("must begin with mailto: or https://, got {text:?}"),
            );
        }
    }
    let services = s.texts("services").unwrap_or_default();
    for (index, service) in services.iter().enumerate() {
        if !is_host(service) {
            s.fault(
                &format!("services[{index}]"),
                format!("must be a host, or host:port, without a scheme, got {service:?}"),
            );
        }
    }
    let settings = PushSettings {
        enabled: s.flag("enabled").unwrap_or(true),
        contact,
        services,
    };
    s.finish();
    settings
}

fn is_host(text: &str) -> bool {
    !text.is_empty() && !text.contains(['/', '?', '#', '@', '*', ' '])
}

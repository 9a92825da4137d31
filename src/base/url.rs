//! Base URL of a model's server. Refuses URLs that would expose a key or a
//! picture to other hosts.

use std::net::IpAddr;

use url::Url;

/// Error of a text that is no base URL of a server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    // The address itself is left out where it may contain a password.
    #[error("is not a URL: {0}")]
    NotUrl(String),
    #[error("must begin with https:// (or http:// to this machine)")]
    Scheme,
    #[error(
        "is http:// to {0}, which would send key and pictures in the clear: use https://, or set allow_http = true"
    )]
    Plain(String),
    #[error("must have no user, password, query or fragment")]
    Extras,
}

/// Parses a base URL: `https://`, or plain `http://` to this machine or where
/// allowed. A path is kept; a trailing slash is ignored.
pub fn base_url_of(text: &str, allow_http: bool) -> Result<Url, AddressError> {
    let url = Url::parse(text.trim()).map_err(|error| AddressError::NotUrl(error.to_string()))?;
    let extras = !url.username().is_empty()
        || url.password().is_some()
        || url.query().is_some()
        || url.fragment().is_some();
    if extras {
        return Err(AddressError::Extras);
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if allow_http || is_loopback(&url) => Ok(url),
        "http" => {
            let host = url.host_str().unwrap_or_default().to_owned();
            Err(AddressError::Plain(host))
        }
        _ => Err(AddressError::Scheme),
    }
}

/// URL with a path appended.
pub fn under(base: &Url, path: &[&str]) -> Url {
    let mut url = base.clone();
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(path);
    }
    url
}

/// True if a URL names this machine: a loopback address, mapped into IPv6 or
/// not, or `localhost` and names under it (RFC 6761, section 6.3).
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => IpAddr::V6(address).to_canonical().is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    }
}

//! Bearer token, bound to the origins it may be sent to.

use url::{Origin, Url};

use crate::secret::Secret;
use crate::url::is_loopback;

/// Bearer token that is sent to URLs of its own origins only (scheme, host and
/// port, RFC 6454), whatever a server redirects to.
#[derive(Debug, Clone)]
pub struct Bearer {
    token: Option<Secret>,
    origins: Vec<Origin>,
}

/// Error of an unusable address. The address is left out where it may contain a
/// secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadAddress {
    #[error("not a URL: {0}; expected for instance https://host:8080/whep/team")]
    Syntax(url::ParseError),
    #[error("the scheme is {0}; expected https or http")]
    Scheme(String),
    #[error("it holds a user name or password; set the token as WATCHTOWER_CONSOLE_TOKEN instead")]
    Credentials,
}

impl Bearer {
    pub fn new(token: Option<Secret>, places: &[&Url]) -> Self {
        let origins = places.iter().map(|url| url.origin()).collect();
        Self { token, origins }
    }

    /// Value of the `Authorization` header (RFC 6750, section 2.1); `None` for
    /// other origins.
    pub fn for_url(&self, url: &Url) -> Option<Secret> {
        let token = self.token.as_ref()?;
        let known = self.origins.contains(&url.origin());
        known.then(|| Secret::new(&format!("Bearer {}", token.expose())))?
    }

    /// True if the token would be sent to `url` unencrypted over a network.
    pub fn is_exposed_to(&self, url: &Url) -> bool {
        self.token.is_some() && url.scheme() == "http" && !is_loopback(url)
    }
}

/// Parses an `http` or `https` URL to connect to.
pub fn address(text: &str) -> Result<Url, BadAddress> {
    let url = Url::parse(text.trim()).map_err(BadAddress::Syntax)?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(BadAddress::Scheme(url.scheme().to_owned()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(BadAddress::Credentials);
    }
    Ok(url)
}

/// URL for logs, without the query, which may contain a key.
pub fn shown(url: &Url) -> String {
    let mut shown = url.clone();
    shown.set_query(None);
    shown.set_fragment(None);
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    shown.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_is_sent_to_its_own_origins_only() {
        let whep = address("https://watch.example/whep/team").unwrap();
        let report = address("http://127.0.0.1:8080").unwrap();
        let bearer = Bearer::new(Secret::new("t0ken"), &[&whep, &report]);
        let given = |url: &str| bearer.for_url(&Url::parse(url).unwrap());
        for good in [
            "https://watch.example/whep/sessions/1",
            "https://watch.example:443/",
            "http://127.0.0.1:8080/api/findings",
        ] {
            assert_eq!(given(good).unwrap().expose(), "Bearer t0ken", "{good}");
        }
        for bad in [
            "http://watch.example/whep/team",
            "https://watch.example:8443/",
            "https://watch.example.evil/",
            "https://evil/watch.example",
            "http://127.0.0.1:8081/",
            "http://localhost:8080/",
        ] {
            assert!(given(bad).is_none(), "{bad}");
        }
        assert!(!format!("{bearer:?}").contains("t0ken"));
    }

    #[test]
    fn addresses_are_http_without_credentials() {
        assert!(matches!(address("host:8080"), Err(BadAddress::Scheme(_))));
        assert!(matches!(address("/whep"), Err(BadAddress::Syntax(_))));
        let with_password = address("https://u:s3cret@host/").unwrap_err();
        assert_eq!(with_password, BadAddress::Credentials);
        assert!(!with_password.to_string().contains("s3cret"));
        let url = address("https://host/whep/a?key=s3cret").unwrap();
        assert_eq!(shown(&url), "https://host/whep/a");
    }

    #[test]
    fn unencrypted_token_is_detected() {
        let exposed = |url: &str, token: &str| {
            let url = address(url).unwrap();
            Bearer::new(Secret::new(token), &[&url]).is_exposed_to(&url)
        };
        assert!(exposed("http://10.0.0.5:8080/", "t"));
        assert!(!exposed("http://10.0.0.5:8080/", ""));
        assert!(!exposed("https://10.0.0.5:8080/", "t"));
        assert!(!exposed("http://127.0.0.1:8080/", "t"));
        assert!(!exposed("http://localhost:8080/", "t"));
    }
}

//! RTMP address to publish to, `rtmp://host[:port]/app/name`, and the separate
//! key.

use std::fmt;

/// Parsed address. Never printed as a whole: the last path segment may be a
/// key.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Target {
    /// `rtmp` or `rtmps`.
    scheme: &'static str,
    /// An IPv6 address is in brackets.
    host: String,
    port: u16,
    pub(super) app: String,
    pub(super) play_path: String,
}

/// Omits the address on purpose: it may contain a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    #[error("the address must start with rtmp:// or rtmps://")]
    Scheme,
    #[error("the address must name a host, rtmp://HOST[:PORT]/live/NAME")]
    Host,
    #[error("the address must name a stream, rtmp://HOST[:PORT]/live/NAME")]
    Path,
}

impl Target {
    /// Parses an address. With a key the whole path is the app and the key is
    /// the publish name, as Zoom does it; without one the last path segment is
    /// the publish name.
    pub(super) fn new(url: &str, key: Option<&str>) -> Result<Self, UrlError> {
        let (scheme, rest) = url.trim().split_once("://").ok_or(UrlError::Scheme)?;
        let (scheme, port) = match scheme.to_ascii_lowercase().as_str() {
            "rtmp" => ("rtmp", 1935),
            "rtmps" => ("rtmps", 443),
            _ => return Err(UrlError::Scheme),
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, digits)) if !digits.ends_with(']') => {
                (host, digits.parse().map_err(|_| UrlError::Host)?)
            }
            _ => (authority, port),
        };
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-._[]:%".contains(c);
        if host.is_empty() || !host.chars().all(allowed) || path.contains('\0') {
            return Err(UrlError::Host);
        }
        let path = path.trim_matches('/');
        let (app, play_path) = match key {
            Some(key) => (path, key),
            None => path.rsplit_once('/').ok_or(UrlError::Path)?,
        };
        if app.is_empty() || play_path.is_empty() || play_path.contains('\0') {
            return Err(UrlError::Path);
        }
        Ok(Self {
            scheme,
            host: host.to_owned(),
            port,
            app: app.to_owned(),
            play_path: play_path.to_owned(),
        })
    }

    /// Address as `host:port`, without secrets.
    pub(super) fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// URL without path: app and key go to libavformat as options, so that no
    /// character in them has a meaning to its URL parser.
    pub(super) fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address())
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({})", self.address())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(url: &str, key: Option<&str>) -> Result<[String; 3], UrlError> {
        Target::new(url, key).map(|target| [target.url(), target.app, target.play_path])
    }

    #[test]
    fn addresses_as_people_write_them() {
        for (url, key, expected) in [
            (
                "rtmp://localhost/live/team",
                None,
                ["rtmp://localhost:1935", "live", "team"],
            ),
            (
                "rtmp://localhost:1936/live/team/",
                Some("k?/ey"),
                ["rtmp://localhost:1936", "live/team", "k?/ey"],
            ),
            (
                "RTMPS://[::1]/live/team/key",
                None,
                ["rtmps://[::1]:443", "live/team", "key"],
            ),
            (
                "rtmp://10.0.0.1/live/team?key=abc",
                None,
                ["rtmp://10.0.0.1:1935", "live", "team?key=abc"],
            ),
        ] {
            assert_eq!(parts(url, key).expect("valid"), expected, "{url}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_without_the_address() {
        for (url, expected) in [
            ("http://localhost/live/team", UrlError::Scheme),
            ("localhost/live/team", UrlError::Scheme),
            ("rtmp:///live/team", UrlError::Host),
            ("rtmp://user:secret@host/live/team", UrlError::Host),
            ("rtmp://host:99999/live/team", UrlError::Host),
            ("rtmp://host/team", UrlError::Path),
            ("rtmp://host", UrlError::Path),
        ] {
            assert_eq!(parts(url, None), Err(expected), "{url}");
        }
        assert_eq!(parts("rtmp://host", Some("key")), Err(UrlError::Path));
        assert_eq!(parts("rtmp://host/live", Some("")), Err(UrlError::Path));
        let target = Target::new("rtmp://host/live/team", Some("secret")).expect("valid");
        assert_eq!(format!("{target:?}"), "Target(host:1935)");
    }
}

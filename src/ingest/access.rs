//! Access control of publishers, and the stream names they publish under.
//!
//! Parses the stream name and the key out of the address: the name is in the
//! app (`live/NAME`, the publish name being the key) or in the publish name
//! (`NAME`, `NAME?key=KEY`). No text that may be the key leaves this module.

use std::net::IpAddr;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use watchtower_base::secret::Secret;
use watchtower_base::stream_name::StreamName;
use watchtower_media::hub::StreamLimitReached;

use super::session::HiddenText;

/// Publish policy of one server.
#[derive(Debug, Clone)]
pub(super) struct PublishAuth {
    /// SHA-256 of the key. Comparing digests leaks nothing about its length.
    key: Option<KeyDigest>,
}

#[derive(Clone, Copy)]
struct KeyDigest([u8; 32]);

impl std::fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<hidden>")
    }
}

/// App of a `connect`: `live`, `live/NAME`, or the whole address including the
/// key.
#[derive(Debug)]
pub(super) struct ConnectApp {
    pub(super) stream: Option<StreamName>,
    /// Text behind the name: the key, if the publish name is not the key.
    rest: HiddenText,
    /// Value of `key=` in the query.
    query: HiddenText,
}

/// Reason a publisher was rejected. No variant carries input of the publisher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum PublishRefusal {
    #[error("the address must begin with /live, as in rtmp://host/live/NAME")]
    NotLive,
    #[error(
        "the stream name must be 1 to 64 characters of A-Z a-z 0-9 . _ - and not start with a dot"
    )]
    BadName,
    #[error("the address has more parts than rtmp://host/live/NAME and a stream key")]
    TooManyParts,
    #[error(transparent)]
    Full(#[from] StreamLimitReached),
    #[error("no stream key was given")]
    MissingKey,
    #[error("wrong stream key")]
    WrongKey,
    #[error("no stream key configured: local publishers only")]
    NotLocal,
}

impl PublishRefusal {
    /// True for a wrong key, which counts towards the rate limit of key
    /// guesses.
    pub(super) fn is_guess(self) -> bool {
        self == Self::WrongKey
    }

    /// Status code for encoders: GStreamer and OBS display `Denied` and
    /// `Rejected`.
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::NotLive => "NetConnection.Connect.Rejected",
            Self::BadName | Self::TooManyParts | Self::Full(_) => "NetStream.Publish.Rejected",
            Self::MissingKey | Self::WrongKey | Self::NotLocal => "NetStream.Publish.Denied",
        }
    }
}

impl PublishAuth {
    /// Configures the policy; an empty key counts as none.
    pub(super) fn new(key: Option<&Secret>) -> Self {
        let key = key
            .map(|key| trim(key.expose()))
            .filter(|key| !key.is_empty())
            .map(digest);
        Self { key }
    }

    pub(super) fn has_key(&self) -> bool {
        self.key.is_some()
    }

    /// True if this is the stream key.
    pub(super) fn is_key(&self, given: &str) -> bool {
        self.key
            .is_some_and(|key| digest(given).0.ct_eq(&key.0).into())
    }

    /// Parses the app of a `connect`.
    pub(super) fn app(app: &str) -> Result<ConnectApp, PublishRefusal> {
        let (path, query) = app.split_once('?').unwrap_or((app, ""));
        let mut parts = path.split('/').filter(|part| !part.is_empty());
        if parts.next() != Some("live") {
            return Err(PublishRefusal::NotLive);
        }
        let stream = match parts.next() {
            None => None,
            Some(name) => Some(StreamName::new(name).map_err(|_| PublishRefusal::BadName)?),
        };
        Ok(ConnectApp {
            stream,
            rest: HiddenText(parts.collect::<Vec<_>>().join("/")),
            query: HiddenText(key_in(query).unwrap_or_default().to_owned()),
        })
    }

    /// Authorizes a `publish` with this publish name.
    pub(super) fn publish(
        &self,
        app: &ConnectApp,
        given: &str,
        peer: IpAddr,
    ) -> Result<StreamName, PublishRefusal> {
        let (name, keys) = app.read(given);
        let spare = !app.rest.0.is_empty() && !trim(given).is_empty();
        // The key is checked first, so that unauthorized peers learn nothing
        // about stream names.
        match self.key {
            None if peer.to_canonical().is_loopback() => name,
            None => Err(PublishRefusal::NotLocal),
            Some(_) if keys.iter().all(|key| is_empty(key)) => Err(PublishRefusal::MissingKey),
            // Every candidate is compared, so that timing does not tell which
            // one matched.
            Some(expected) => match keys.iter().filter(|key| matches(expected, key)).count() {
                0 => Err(PublishRefusal::WrongKey),
                _ if spare && !matches(expected, &app.rest.0) => Err(PublishRefusal::TooManyParts),
                _ => name,
            },
        }
    }
}

impl ConnectApp {
    /// Stream name, and every text that may be the key.
    fn read<'a>(&'a self, given: &'a str) -> (Result<StreamName, PublishRefusal>, Vec<&'a str>) {
        let (path, query) = given.split_once('?').unwrap_or((given, ""));
        let path = trim(path).trim_matches('/');
        let (first, second) = path.split_once('/').unwrap_or((path, ""));
        let mut keys = vec![&*self.rest.0, &*self.query.0];
        keys.extend(key_in(query));
        let name = match &self.stream {
            Some(name) => {
                keys.extend([given, path, given.trim_start_matches('/')]);
                if first == name.as_str() {
                    keys.push(second.trim_start_matches('/'));
                }
                Ok(name.clone())
            }
            None => {
                keys.push(second.trim_start_matches('/'));
                StreamName::new(trim(first)).map_err(|_| PublishRefusal::BadName)
            }
        };
        (name, keys)
    }
}

/// Value of `key` in a query.
fn key_in(query: &str) -> Option<&str> {
    query.split('&').find_map(|pair| pair.strip_prefix("key="))
}

fn is_empty(key: &str) -> bool {
    trim(key).trim_matches('/').is_empty()
}

/// Candidates for the key. Encoders append white space, NULs and queries; the
/// key as given is a candidate too, in case it contains a `?` or `&` itself.
fn matches(expected: KeyDigest, given: &str) -> bool {
    let given = trim(given);
    let cut = trim(given.split(['?', '&']).next().unwrap_or_default());
    let whole = digest(given).0.ct_eq(&expected.0);
    let cut = digest(cut).0.ct_eq(&expected.0);
    (whole | cut).into()
}

fn trim(text: &str) -> &str {
    text.trim_end_matches(|c: char| c.is_whitespace() || c == '\0')
}

fn digest(key: &str) -> KeyDigest {
    KeyDigest(Sha256::digest(key.as_bytes()).into())
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const AWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9));

    fn decide(
        key: Option<&str>,
        app: &str,
        given: &str,
        peer: IpAddr,
    ) -> Result<String, PublishRefusal> {
        let access = PublishAuth::new(key.and_then(Secret::new).as_ref());
        let app = PublishAuth::app(app)?;
        access
            .publish(&app, given, peer)
            .map(|name| name.to_string())
    }

    #[test]
    fn all_forms_of_the_address_name_the_stream() {
        for (app, given) in [
            ("live/team", "k3y"),
            ("/live/team/", "k3y"),
            ("live/team", "k3y \r\n\0"),
            ("live/team", "k3y?backup=1"),
            ("live/team", "k3y&a=b"),
            ("live/team", "k3y \0?x"),
            ("live", "team?key=k3y"),
            ("live/", "team?a=b&key=k3y&c=d"),
            ("live", "team?key=k3y\0\0"),
            ("live/team", "k3y/"),
            ("live/team", "/k3y"),
            ("live/team", "//k3y/ \r\n"),
            ("live/team", "/k3y?backup=1"),
            ("live/team", "team/k3y"),
            ("live/team", "/team/k3y/"),
            ("live/team", "?key=k3y"),
            ("live", "team/k3y"),
            ("live", "/team//k3y/"),
            ("live", "/team?key=k3y"),
            ("live//team", "k3y"),
            ("live//team//", "k3y"),
            ("live/team/k3y", ""),
            ("live//team/k3y/", "\0"),
            ("live/team/k3y", "k3y"),
            ("live/team?key=k3y", ""),
        ] {
            let decided = decide(Some("k3y"), app, given, AWAY);
            assert_eq!(decided, Ok("team".to_owned()), "{app} {given:?}");
        }
    }

    #[test]
    fn a_key_with_a_query_of_its_own_is_taken_as_a_whole() {
        let decided = decide(Some("a?b&c"), "live/team", "a?b&c ", AWAY);
        assert_eq!(decided, Ok("team".to_owned()));
    }

    #[test]
    fn everything_else_is_refused() {
        use PublishRefusal::{BadName, MissingKey, NotLive, TooManyParts, WrongKey};
        for (app, given, refusal) in [
            ("vod/team", "k3y", NotLive),
            ("", "k3y", NotLive),
            ("Live/team", "k3y", NotLive),
            ("live/team/extra", "k3y", TooManyParts),
            ("live/team/extra", "no", WrongKey),
            ("live/team/no", "", WrongKey),
            ("live", "team/no", WrongKey),
            ("live", "te am/k3y", BadName),
            ("live", "/k3y/", MissingKey),
            ("live/team", "/", MissingKey),
            ("live/.hidden", "k3y", BadName),
            ("live/team", "", MissingKey),
            ("live/team", " \0", MissingKey),
            ("live/team", "k3", WrongKey),
            ("live/team", "k3yy", WrongKey),
            ("live/team", " k3y", WrongKey),
            ("live", "team", MissingKey),
            ("live", "k3y", MissingKey),
            ("live", "team?key=", MissingKey),
            ("live", "team?key=no", WrongKey),
            ("live", "te am?key=k3y", BadName),
        ] {
            let decided = decide(Some("k3y"), app, given, HERE);
            assert_eq!(decided, Err(refusal), "{app} {given:?}");
        }
    }

    #[test]
    fn without_a_key_only_this_machine_publishes() {
        for key in [None, Some(""), Some(" ")] {
            assert_eq!(
                decide(key, "live", "team", AWAY),
                Err(PublishRefusal::NotLocal)
            );
            let mapped = IpAddr::V6(Ipv4Addr::LOCALHOST.to_ipv6_mapped());
            for peer in [HERE, mapped, IpAddr::V6(Ipv6Addr::LOCALHOST)] {
                assert_eq!(decide(key, "live", "team", peer), Ok("team".to_owned()));
                for given in ["", "anything at all"] {
                    let decided = decide(key, "live/team", given, peer);
                    assert_eq!(decided, Ok("team".to_owned()));
                }
            }
            assert_eq!(decide(key, "live", "", HERE), Err(PublishRefusal::BadName));
        }
    }

    #[test]
    fn a_key_with_slashes_of_its_own_is_taken_as_a_whole() {
        for (app, given) in [
            ("live/team", "a/b/c/"),
            ("live", "team/a/b/c/"),
            ("live/team", "/a/b/c/"),
        ] {
            let decided = decide(Some("a/b/c/"), app, given, AWAY);
            assert_eq!(decided.is_ok(), given != "team/a/b/c/", "{app} {given}");
        }
        let decided = decide(Some("a/b/c"), "live", "team/a/b/c", AWAY);
        assert_eq!(decided, Ok("team".to_owned()));
        let app = PublishAuth::app("live/team/s3cret?key=s3cret").expect("valid");
        assert!(!format!("{app:?}").contains("s3cret"));
    }

    #[test]
    fn debug_shows_neither_key_nor_digest() {
        let access = PublishAuth::new(Secret::new("k3y").as_ref());
        assert_eq!(format!("{access:?}"), "PublishAuth { key: Some(<hidden>) }");
    }
}

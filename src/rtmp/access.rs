//! Who may publish, and under which name.
//!
//! Owns the reading of an address: the name is in the app (`live/NAME`, the
//! publish name being the key) or in the publish name (`NAME`,
//! `NAME?key=KEY`). What stands in the key's place stays in here.

use std::net::IpAddr;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::config::Secret;
use crate::media::StreamName;

/// The rule of one server.
#[derive(Debug, Clone)]
pub(super) struct Access {
    /// SHA-256 of the key: comparing digests tells nothing of its length.
    key: Option<KeyDigest>,
}

#[derive(Clone, Copy)]
struct KeyDigest([u8; 32]);

impl std::fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<hidden>")
    }
}

/// What the app of a `connect` said: `live`, or `live/NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct App {
    pub(super) stream: Option<StreamName>,
}

/// Why a publisher was sent away. None of these carries what it said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("the address must begin with /live, as in rtmp://host/live/NAME")]
    NotLive,
    #[error(
        "the stream name must be 1 to 64 characters of A-Z a-z 0-9 . _ - and not start with a dot"
    )]
    BadName,
    #[error("no stream key was given")]
    MissingKey,
    #[error("wrong stream key")]
    WrongKey,
    #[error("without a stream key only this machine may publish")]
    NotLocal,
}

impl Refusal {
    /// A guess at the key, to be slowed down.
    pub(super) fn is_guess(self) -> bool {
        self == Self::WrongKey
    }

    /// The code encoders show: GStreamer and OBS know `Denied` and `Rejected`.
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::NotLive => "NetConnection.Connect.Rejected",
            Self::BadName => "NetStream.Publish.Rejected",
            Self::MissingKey | Self::WrongKey | Self::NotLocal => "NetStream.Publish.Denied",
        }
    }
}

impl Access {
    /// An empty key is no key.
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

    /// Reads the app of a `connect`.
    pub(super) fn app(app: &str) -> Result<App, Refusal> {
        let app = app.split('?').next().unwrap_or_default();
        let app = app.trim_matches('/');
        let (live, name) = app.split_once('/').unwrap_or((app, ""));
        if live != "live" {
            return Err(Refusal::NotLive);
        }
        let stream = match name {
            "" => None,
            name => Some(StreamName::new(name).map_err(|_| Refusal::BadName)?),
        };
        Ok(App { stream })
    }

    /// Decides on a `publish` with this publish name.
    pub(super) fn publish(
        &self,
        app: &App,
        given: &str,
        peer: IpAddr,
    ) -> Result<StreamName, Refusal> {
        let (name, key) = match &app.stream {
            Some(name) => (Ok(name.clone()), given),
            None => {
                let (name, query) = given.split_once('?').unwrap_or((given, ""));
                let key = query.split('&').find_map(|pair| pair.strip_prefix("key="));
                let name = StreamName::new(trim(name)).map_err(|_| Refusal::BadName);
                (name, key.unwrap_or_default())
            }
        };
        // The key first: a stranger learns nothing about names.
        match self.key {
            None if peer.to_canonical().is_loopback() => name,
            None => Err(Refusal::NotLocal),
            Some(_) if trim(key).is_empty() => Err(Refusal::MissingKey),
            Some(expected) if matches(expected, key) => name,
            Some(_) => Err(Refusal::WrongKey),
        }
    }
}

/// Encoders append white space, NULs and queries; the key as given counts too,
/// in case it has a `?` or `&` of its own.
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

    fn decide(key: Option<&str>, app: &str, given: &str, peer: IpAddr) -> Result<String, Refusal> {
        let access = Access::new(key.and_then(Secret::new).as_ref());
        let app = Access::app(app)?;
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
        use Refusal::{BadName, MissingKey, NotLive, WrongKey};
        for (app, given, refusal) in [
            ("vod/team", "k3y", NotLive),
            ("", "k3y", NotLive),
            ("Live/team", "k3y", NotLive),
            ("live/team/extra", "k3y", BadName),
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
            assert_eq!(decide(key, "live", "team", AWAY), Err(Refusal::NotLocal));
            let mapped = IpAddr::V6(Ipv4Addr::LOCALHOST.to_ipv6_mapped());
            for peer in [HERE, mapped, IpAddr::V6(Ipv6Addr::LOCALHOST)] {
                assert_eq!(decide(key, "live", "team", peer), Ok("team".to_owned()));
                for given in ["", "anything at all"] {
                    let decided = decide(key, "live/team", given, peer);
                    assert_eq!(decided, Ok("team".to_owned()));
                }
            }
            assert_eq!(decide(key, "live", "", HERE), Err(Refusal::BadName));
        }
    }

    #[test]
    fn debug_shows_neither_key_nor_digest() {
        let access = Access::new(Secret::new("k3y").as_ref());
        assert_eq!(format!("{access:?}"), "Access { key: Some(<hidden>) }");
    }
}

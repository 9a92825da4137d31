//! Subscriptions of browsers, and their file.

use std::path::Path;
use std::{fs, io};

use base64::Engine as _;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use url::Url;
use uuid::Uuid;

use watchtower_base::atomic_file::write_private;
use watchtower_base::secret::Secret;
use watchtower_domain::finding::Severity;

use super::address::EndpointError;
use super::encryption::{AUTH, POINT, RecipientKeys, encrypt};

/// Browsers that may subscribe: each is a reader of the outbox, with a query
/// for every event. More than a shift has phones.
pub const MOST_SUBSCRIPTIONS: usize = 64;

/// Request of a browser to be notified.
#[derive(Debug, Clone)]
pub struct NewSubscription {
    /// URL of its push service, which is a credential.
    pub endpoint: Secret,
    /// `p256dh` and `auth` of the subscription, in base64url.
    pub public: String,
    pub auth: String,
    /// The lowest that notifies.
    pub minimum_severity: Severity,
    /// Empty for all.
    pub streams: Vec<String>,
    pub by: String,
}

/// Subscription as others may see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushSubscription {
    pub id: Uuid,
    /// Host of the push service.
    pub service: String,
    pub minimum_severity: Severity,
    pub streams: Vec<String>,
    pub by: String,
    pub created_at: Timestamp,
}

impl PushSubscription {
    /// Its name among the sinks.
    pub fn sink(&self) -> String {
        super::sink_name(self.id)
    }
}

/// Reason a subscription is refused.
#[derive(Debug, thiserror::Error)]
pub enum SubscribeError {
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    #[error("keys.p256dh must be a point of P-256: {POINT} bytes in base64url")]
    Public,
    #[error("keys.auth must be {AUTH} bytes in base64url")]
    Auth,
    #[error("limit of {MOST_SUBSCRIPTIONS} push subscriptions reached")]
    Full,
    #[error("failed to store the subscription: {0}")]
    File(#[from] io::Error),
}

/// Subscription with its credentials, as kept in the file.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct StoredSubscription {
    pub(super) id: Uuid,
    endpoint: String,
    public: String,
    auth: String,
    pub(super) minimum_severity: Severity,
    pub(super) streams: Vec<String>,
    by: String,
    created_at: Timestamp,
    /// Public key of the server that it was made for: push services accept no
    /// other.
    pub(super) server_key: String,
}

impl std::fmt::Debug for StoredSubscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StoredSubscription({})", self.id)
    }
}

impl StoredSubscription {
    pub(super) fn new(new: &NewSubscription, server_key: String) -> Result<Self, SubscribeError> {
        let stored = Self {
            id: Uuid::now_v7(),
            endpoint: new.endpoint.expose().to_owned(),
            public: new.public.clone(),
            auth: new.auth.clone(),
            minimum_severity: new.minimum_severity,
            streams: new.streams.clone(),
            by: new.by.clone(),
            created_at: Timestamp::now(),
            server_key,
        };
        decoded::<AUTH>(&stored.auth).ok_or(SubscribeError::Auth)?;
        let keys = stored.keys().ok_or(SubscribeError::Public)?;
        // Fails for a point that is not on the curve.
        encrypt(b"", &keys).map_err(|_| SubscribeError::Public)?;
        Ok(stored)
    }

    /// True for two subscriptions of one browser.
    pub(super) fn is_of(&self, other: &Self) -> bool {
        self.endpoint == other.endpoint
    }

    /// True if it is for the same browser, with the same keys and filters.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.is_of(other)
            && self.keys() == other.keys()
            && self.minimum_severity == other.minimum_severity
            && self.streams == other.streams
            && self.by == other.by
    }

    pub(super) fn url(&self) -> Option<Url> {
        Url::parse(&self.endpoint).ok()
    }

    pub(super) fn keys(&self) -> Option<RecipientKeys> {
        Some(RecipientKeys {
            public: decoded(&self.public)?,
            auth: decoded(&self.auth)?,
        })
    }

    pub(super) fn shown(&self) -> PushSubscription {
        let host = self.url().and_then(|url| url.host_str().map(str::to_owned));
        PushSubscription {
            id: self.id,
            service: host.unwrap_or_default(),
            minimum_severity: self.minimum_severity,
            streams: self.streams.clone(),
            by: self.by.clone(),
            created_at: self.created_at,
        }
    }
}

/// Bytes of base64url, which browsers give with or without padding.
fn decoded<const N: usize>(text: &str) -> Option<[u8; N]> {
    let bytes = URL_SAFE_NO_PAD
        .decode(text)
        .or_else(|_| URL_SAFE.decode(text));
    bytes.ok()?.try_into().ok()
}

/// Reads the file; none of a missing one.
pub(super) fn read(file: &Path) -> Result<Vec<StoredSubscription>, String> {
    let text = match fs::read(file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(format!("{}: {error}", file.display())),
    };
    // Its error would repeat the credentials.
    serde_json::from_slice(&text).map_err(|_| {
        format!(
            "{}: is damaged; restore it from a backup, or remove it, which ends all push \
             subscriptions",
            file.display()
        )
    })
}

pub(super) fn write(file: &Path, all: &[StoredSubscription]) -> io::Result<()> {
    write_private(file, &serde_json::to_vec(all)?)
}

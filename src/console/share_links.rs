//! Share links: each lets its holder share a screen as one stream, once or as
//! often as they like, until it expires or is revoked.
//!
//! The links are held in memory beside the database, so that a publisher is
//! checked without waiting for it. A link for one session is exchanged for the
//! token of that session, with which it goes on after a lost connection.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use watchtower_base::publish_tokens::{PublishPermit, PublishTokens, TokenCheck, TokenEnd};
use watchtower_base::secret::Secret;
use watchtower_base::stream_name::StreamName;
use watchtower_base::sync::Locked as _;
use watchtower_record::Record;
use watchtower_record::store::{
    MOST_SHARES, Readers, ShareDigest, ShareLink, ShareRevocation, ShareUse, StoreError,
    WriteRefusal,
};

/// Share links of this server. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ShareLinks {
    record: Record,
    /// By id, which is by age.
    links: Arc<Mutex<BTreeMap<Uuid, KnownShare>>>,
}

#[derive(Debug)]
struct KnownShare {
    link: ShareLink,
    /// Cancelled when the link expires or is revoked.
    ended: CancellationToken,
    /// Flag: a timer ends it.
    timed: bool,
}

/// Token that a holder presented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PresentedToken {
    OfLink,
    OfSession,
}

/// Right that an operator grants by a link.
#[derive(Debug, Clone)]
pub(crate) struct ShareGrant {
    pub(crate) stream: StreamName,
    pub(crate) once: bool,
    pub(crate) findings: bool,
    pub(crate) lasts: SignedDuration,
}

/// Verdict on a token for a stream, without using it.
#[derive(Debug, Clone)]
pub(crate) enum HolderCheck {
    Unknown,
    Over(TokenEnd),
    Valid(Box<ShareLink>),
}

impl ShareLinks {
    /// Reads the links of the database.
    pub async fn open(record: &Record) -> Result<Self, StoreError> {
        let links = record.read(Readers::shares).await?;
        let known = links
            .into_iter()
            .map(|link| (link.id, KnownShare::of(link)));
        Ok(Self {
            record: record.clone(),
            links: Arc::new(Mutex::new(known.collect())),
        })
    }

    /// Creates a link; returns it with its token, which is not kept.
    pub(crate) async fn create(
        &self,
        grant: ShareGrant,
    ) -> Result<(ShareLink, Secret), WriteRefusal> {
        let token = new_token();
        let now = Timestamp::now();
        let link = ShareLink {
            id: Uuid::now_v7(),
            stream: grant.stream,
            once: grant.once,
            findings: grant.findings,
            created_at: now,
            expires_at: now.saturating_add(grant.lasts).unwrap_or(Timestamp::MAX),
            token: ShareDigest::of(token.expose()),
            session: None,
            used_at: None,
            revoked_at: None,
        };
        self.record.write(link.clone()).await?;
        let mut links = self.links.locked();
        links.insert(link.id, KnownShare::of(link.clone()));
        while links.len() > MOST_SHARES {
            if let Some((_, oldest)) = links.pop_first() {
                oldest.ended.cancel();
            }
        }
        Ok((link, token))
    }

    /// All links, newest first.
    pub(crate) fn all(&self) -> Vec<ShareLink> {
        let links = self.links.locked();
        links
            .values()
            .rev()
            .map(|known| known.link.clone())
            .collect()
    }

    /// Revokes a link and ends its session, even if the database fails.
    pub(crate) async fn revoke(&self, id: Uuid) -> Result<(), WriteRefusal> {
        let at = Timestamp::now();
        if let Some(known) = self.links.locked().get_mut(&id) {
            known.link.revoked_at.get_or_insert(at);
            known.ended.cancel();
        }
        self.record.write(ShareRevocation { id, at }).await
    }

    /// Checks the token of a link's holder, without using the link.
    pub(crate) fn holder(&self, stream: &StreamName, token: &str) -> HolderCheck {
        let mut links = self.links.locked();
        let Some((known, presented)) = find(&mut links, stream, token) else {
            return HolderCheck::Unknown;
        };
        match known.end(presented, Timestamp::now()) {
            Some(end) => HolderCheck::Over(end),
            None => HolderCheck::Valid(Box::new(known.link.clone())),
        }
    }

    /// Begins a session by a valid token: a link for one session is used up,
    /// and the token of the session returned, once that is durable. With any
    /// other token the holder goes on.
    pub(crate) async fn begin(
        &self,
        stream: &StreamName,
        token: &str,
    ) -> Result<Option<Secret>, WriteRefusal> {
        let session = new_token();
        let digest = ShareDigest::of(session.expose());
        let at = Timestamp::now();
        let id = {
            let mut links = self.links.locked();
            let Some((known, PresentedToken::OfLink)) = find(&mut links, stream, token) else {
                return Ok(None);
            };
            if !known.link.once || known.link.used_at.is_some() {
                return Ok(None);
            }
            known.link.used_at = Some(at);
            known.link.session = Some(digest);
            known.link.id
        };
        let used = ShareUse {
            id,
            session: Some(digest),
            at,
        };
        let written = self.record.write(used).await;
        if let Err(error) = written {
            if let Some(known) = self.links.locked().get_mut(&id) {
                (known.link.used_at, known.link.session) = (None, None);
            }
            return Err(error);
        }
        Ok(Some(session))
    }

    /// Records that a client without a session has used a link up.
    fn use_up(&self, known: &mut KnownShare) {
        let at = Timestamp::now();
        known.link.used_at = Some(at);
        let used = ShareUse {
            id: known.link.id,
            session: None,
            at,
        };
        let record = self.record.clone();
        tokio::spawn(async move {
            if let Err(error) = record.write(used).await {
                tracing::error!(%error, "failed to store that a share link was used");
            }
        });
    }
}

impl PublishTokens for ShareLinks {
    fn check(&self, stream: &StreamName, token: &str) -> TokenCheck {
        let mut links = self.links.locked();
        let Some((known, presented)) = find(&mut links, stream, token) else {
            return TokenCheck::Unknown;
        };
        let now = Timestamp::now();
        if let Some(end) = known.end(presented, now) {
            return TokenCheck::Over(end);
        }
        if known.link.once && presented == PresentedToken::OfLink {
            self.use_up(known);
        }
        let ended = known.timed(now);
        TokenCheck::Valid(PublishPermit { ended })
    }
}

impl KnownShare {
    fn of(link: ShareLink) -> Self {
        Self {
            link,
            ended: CancellationToken::new(),
            timed: false,
        }
    }

    /// Reason that the token is no longer valid.
    fn end(&self, presented: PresentedToken, now: Timestamp) -> Option<TokenEnd> {
        let link = &self.link;
        let used = presented == PresentedToken::OfLink && link.once && link.used_at.is_some();
        if link.revoked_at.is_some() {
            Some(TokenEnd::Revoked)
        } else if link.expires_at <= now {
            Some(TokenEnd::Expired)
        } else if used {
            Some(TokenEnd::Used)
        } else {
            None
        }
    }

    /// Token that ends with the link, by a timer too from now on.
    fn timed(&mut self, now: Timestamp) -> CancellationToken {
        if !std::mem::replace(&mut self.timed, true) {
            let ended = self.ended.clone();
            let left = self.link.expires_at.duration_since(now);
            let left = Duration::try_from(left).unwrap_or_default();
            tokio::spawn(async move {
                let timer = tokio::time::sleep(left);
                if ended.run_until_cancelled(timer).await.is_some() {
                    ended.cancel();
                }
            });
        }
        self.ended.clone()
    }
}

/// Link of that stream that a token belongs to. Digests are compared, so that
/// the time it takes reveals nothing about a token.
fn find<'a>(
    links: &'a mut BTreeMap<Uuid, KnownShare>,
    stream: &StreamName,
    token: &str,
) -> Option<(&'a mut KnownShare, PresentedToken)> {
    let given = ShareDigest::of(token.trim());
    links.values_mut().rev().find_map(|known| {
        let presented = if known.link.token == given {
            PresentedToken::OfLink
        } else if known.link.session == Some(given) {
            PresentedToken::OfSession
        } else {
            return None;
        };
        (known.link.stream == *stream).then_some((known, presented))
    })
}

/// Random token of 128 bits.
fn new_token() -> Secret {
    let random: u128 = rand::random();
    Secret::new(&format!("{random:032x}")).expect("not empty")
}

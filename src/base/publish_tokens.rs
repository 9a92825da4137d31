//! Tokens that let their holder publish one stream, beside the stream key: made
//! by one wing (share links), checked by another (WHIP).

use std::fmt::Debug;

use tokio_util::sync::CancellationToken;

use crate::stream_name::StreamName;

/// Store of tokens, asked once for each publisher.
///
/// The answer must not depend on the time that comparing takes: implementations
/// look up a hash of the token, or compare in constant time.
pub trait PublishTokens: Send + Sync + Debug {
    fn check(&self, stream: &StreamName, token: &str) -> TokenCheck;
}

/// Verdict on a token for one stream.
#[derive(Debug, Clone)]
pub enum TokenCheck {
    /// Not a token, or one of another stream: counts as a wrong key.
    Unknown,
    /// A token that was valid once. Holders are told, and it does not count as
    /// a guess.
    Over(TokenEnd),
    Valid(PublishPermit),
}

/// Reason a token is no longer valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenEnd {
    #[error("the share link has expired")]
    Expired,
    #[error("the share link was revoked")]
    Revoked,
    #[error("the share link was used already")]
    Used,
}

/// Right to publish, until it ends.
#[derive(Debug, Clone, Default)]
pub struct PublishPermit {
    /// Cancelled when the token expires or is revoked: the publisher's session
    /// ends then.
    pub ended: CancellationToken,
}

/// Store without tokens: the stream key only.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoTokens;

impl PublishTokens for NoTokens {
    fn check(&self, _: &StreamName, _: &str) -> TokenCheck {
        TokenCheck::Unknown
    }
}

//! Publish policy shared by all protocols: the key, and the count of wrong ones
//! by address.

use watchtower_base::failure_limit::FailureLimit;
use watchtower_base::secret::Secret;

use crate::access::PublishAuth;
use crate::key_guesses::KeyGuesses;

/// Key and guesses of one server.
#[derive(Debug)]
pub struct PublishGate {
    pub(super) access: PublishAuth,
    pub(super) guesses: FailureLimit<KeyGuesses>,
}

impl PublishGate {
    pub(super) fn new(key: Option<&Secret>) -> Self {
        Self {
            access: PublishAuth::new(key),
            guesses: FailureLimit::default(),
        }
    }
}

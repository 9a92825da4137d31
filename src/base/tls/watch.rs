//! Detection of changed files, whether written in place, renamed over, or
//! behind another symbolic link (as certbot does). The content is compared:
//! times and inode numbers may stay the same.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_rustls::rustls::sign::CertifiedKey;
use tracing::{info, warn};

use super::pair::{Certificate, Files, Pair, PairError};
use crate::tls::settings::TlsSettings;

/// Polling interval of the files, which are a few kB.
const POLL_INTERVAL: Duration = Duration::from_secs(2);
/// Interval of warnings that the certificate expires.
const REMIND: Duration = Duration::from_secs(24 * 60 * 60);

/// State of the files: their fingerprint, or the error reading them.
type KeyPairDigest = Result<[u8; 32], PairError>;

#[derive(Debug)]
pub(super) struct Watch {
    settings: TlsSettings,
    certificate: Certificate,
    /// State in use.
    served: KeyPairDigest,
    /// State at the last check.
    last: KeyPairDigest,
    /// Flag: `last` was handled.
    settled: bool,
}

impl Watch {
    pub(super) fn new(
        settings: TlsSettings,
        fingerprint: [u8; 32],
        certificate: Certificate,
    ) -> Self {
        Self {
            settings,
            certificate,
            served: Ok(fingerprint),
            last: Ok(fingerprint),
            settled: true,
        }
    }

    pub(super) fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Passes every new valid pair to `install`; never ends.
    pub(super) async fn follow(mut self, install: impl Fn(Arc<CertifiedKey>)) {
        let mut polls = interval(POLL_INTERVAL);
        polls.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut reminded = None;
        loop {
            polls.tick().await;
            let settings = self.settings.clone();
            // The disk may be slow, or on the network.
            let read = tokio::task::spawn_blocking(move || Files::read(&settings)).await;
            let Ok(files) = read else { continue };
            match self.poll(files) {
                None => {}
                Some(Ok(pair)) => {
                    install(pair.certified);
                    info!("certificate reloaded: {}", pair.certificate);
                    self.certificate = pair.certificate;
                    reminded = None;
                }
                Some(Err(error)) => {
                    warn!("new certificate rejected, keeping the current one: {error}");
                }
            }
            let due = reminded.is_none_or(|at: Instant| at.elapsed() >= REMIND);
            if due && self.certificate.ends_soon() {
                warn!("certificate expires soon: {}", self.certificate);
                reminded = Some(Instant::now());
            }
        }
    }

    /// Pair or its fault, once for every change. A change counts when the next
    /// poll finds the same: the two files are seldom written at once.
    pub(super) fn poll(
        &mut self,
        files: Result<Files, PairError>,
    ) -> Option<Result<Pair, PairError>> {
        let content = match &files {
            Ok(files) => Ok(files.fingerprint()),
            Err(error) => Err(error.clone()),
        };
        if content != self.last {
            self.last = content;
            self.settled = false;
            return None;
        }
        if self.settled {
            return None;
        }
        self.settled = true;
        if content == self.served {
            return None;
        }
        let pair = files.and_then(|files| files.parse(&self.settings));
        if pair.is_ok() {
            self.served = content;
        }
        Some(pair)
    }
}

//! Server certificate and TLS handshake for every TCP listener (RFC 8446, RFC
//! 5246).
//!
//! Owns the pair of files of `[tls]`: reads and checks them, notices changes,
//! and keeps the old pair when the new one is invalid. Sockets and deadlines
//! are the listeners'.

mod client;
mod handshake;
mod pair;
pub mod settings;
#[cfg(test)]
mod tests;
mod watch;

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_util::sync::CancellationToken;

pub use client::{ClientStream, Connector, Identity};
pub use handshake::{Acceptor, HandshakeError, TlsConnection};
pub use pair::{Certificate, PairError};

use crate::tls::settings::TlsSettings;
use pair::Files;
use watch::Watch;

/// Pair of certificate and key in use.
#[derive(Debug)]
pub struct Tls {
    config: ServerConfig,
    current: Arc<Current>,
    watch: Watch,
}

/// Cryptography of every TLS connection.
pub fn crypto() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// Installs it as the default of this process, for libraries that use rustls'
/// default provider. May be called any number of times.
pub fn install_crypto() {
    // Fails only if it is installed already.
    ring::default_provider().install_default().ok();
}

impl Tls {
    /// Reads the pair; an error names the file and its fault.
    pub fn open(settings: TlsSettings) -> Result<Self, PairError> {
        let files = Files::read(&settings)?;
        let fingerprint = files.fingerprint();
        let pair = files.parse(&settings)?;
        let current = Arc::new(Current(RwLock::new(pair.certified)));
        let provider = crypto();
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| PairError::of_certificate(&settings, error))?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&current) as _);
        Ok(Self {
            config,
            current,
            watch: Watch::new(settings, fingerprint, pair.certificate),
        })
    }

    /// Summary of the certificate that was read, for display.
    pub fn certificate(&self) -> &Certificate {
        self.watch.certificate()
    }

    /// Offers these protocols by ALPN (RFC 7301); without any, no ALPN.
    pub fn acceptor(&self, protocols: &[&str]) -> Acceptor {
        let mut config = self.config.clone();
        config.alpn_protocols = protocols
            .iter()
            .map(|name| name.as_bytes().into())
            .collect();
        Acceptor::new(TlsAcceptor::from(Arc::new(config)))
    }

    /// Reloads the files as they change, until `shutdown`. Open connections
    /// keep their certificate.
    pub async fn run(self, shutdown: CancellationToken) {
        let current = self.current;
        let install = |pair| *current.0.write().unwrap_or_else(PoisonError::into_inner) = pair;
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = self.watch.follow(install) => {}
        }
    }
}

/// Certificate chain and key for the next handshake.
struct Current(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let current = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&current))
    }
}

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Current(..)")
    }
}

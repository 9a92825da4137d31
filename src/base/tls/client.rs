//! TLS client, for connections without an HTTP library.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::sign::SingleCertAndKey;

use super::pair::{Files, Pair};
use crate::tls::settings::TlsSettings;

pub use tokio_rustls::client::TlsStream as ClientStream;

/// TLS client that trusts the system's authorities, and those of a file.
#[derive(Clone)]
pub struct Connector(Arc<ClientConfig>);

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector(..)")
    }
}

/// Client certificate and its key, checked to match.
#[derive(Clone)]
pub struct Identity {
    resolver: Arc<SingleCertAndKey>,
    pem: Vec<u8>,
}

impl Identity {
    /// Reads both files; an error names the file and its fault.
    pub fn of(files: Option<&TlsSettings>) -> Result<Option<Self>, String> {
        let Some(settings) = files else {
            return Ok(None);
        };
        let files = Files::read(settings).map_err(|error| error.of_client())?;
        let pem = files.together();
        let Pair { certified, .. } = files.parse(settings).map_err(|error| error.of_client())?;
        Ok(Some(Self {
            resolver: Arc::new(SingleCertAndKey::from(certified)),
            pem,
        }))
    }

    /// Certificate and key as PEM, for a library that parses them itself.
    pub fn pem(&self) -> &[u8] {
        &self.pem
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(..)")
    }
}

impl Connector {
    /// Reads the authorities; an error names the file. The identity is
    /// presented to servers that request a client certificate.
    pub fn new(ca_file: Option<&Path>, identity: Option<Identity>) -> Result<Self, String> {
        let mut roots = Vec::new();
        if let Some(file) = ca_file {
            let wrong = |why: &dyn fmt::Display| format!("ca_file {}: {why}", file.display());
            let found = CertificateDer::pem_file_iter(file).map_err(|error| wrong(&error))?;
            for certificate in found {
                roots.push(certificate.map_err(|error| wrong(&error))?);
            }
            if roots.is_empty() {
                return Err(wrong(&"holds no PEM certificate"));
            }
        }
        let provider = super::crypto();
        let verifier =
            rustls_platform_verifier::Verifier::new_with_extra_roots(roots, Arc::clone(&provider));
        let verifier = verifier.map_err(|error| format!("failed to read authorities: {error}"))?;
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let config = match identity {
            Some(identity) => config.with_client_cert_resolver(identity.resolver),
            None => config.with_no_client_auth(),
        };
        Ok(Self(Arc::new(config)))
    }

    /// Configuration for a library that connects by itself.
    pub fn config(&self) -> ClientConfig {
        ClientConfig::clone(&self.0)
    }

    /// Makes the handshake over a connection to `host`, whose certificate must
    /// be valid for that name.
    pub async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        host: &str,
        connection: S,
    ) -> io::Result<ClientStream<S>> {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(host.to_owned());
        let name = name.map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let connector = TlsConnector::from(Arc::clone(&self.0));
        connector.connect(name, connection).await
    }
}

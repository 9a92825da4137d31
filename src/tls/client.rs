//! The other end: connecting with TLS where no HTTP library does it for us.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};

pub use tokio_rustls::client::TlsStream as ClientStream;

/// Trusts the system's authorities, and those of a file beside them.
#[derive(Clone)]
pub struct Connector(TlsConnector);

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector(..)")
    }
}

impl Connector {
    /// An error names the file.
    pub fn new(ca_file: Option<&Path>) -> Result<Self, String> {
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
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier =
            rustls_platform_verifier::Verifier::new_with_extra_roots(roots, Arc::clone(&provider));
        let verifier = verifier.map_err(|error| format!("failed to read authorities: {error}"))?;
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    /// Over a connection to `host`, whose certificate has to be for that name.
    pub async fn connect(
        &self,
        host: &str,
        connection: TcpStream,
    ) -> io::Result<ClientStream<TcpStream>> {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(host.to_owned());
        let name = name.map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        self.0.connect(name, connection).await
    }
}

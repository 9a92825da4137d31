//! `[tls]` of `watchtower.toml`: certificate and key.

use std::path::PathBuf;

use crate::config::section::Section;

/// `[tls]`: two PEM files, relative to the working directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSettings {
    /// Certificate chain: the server's certificate first, then the
    /// intermediates.
    pub certificate: PathBuf,
    /// Private key, without a passphrase.
    pub key: PathBuf,
}

pub fn tls(mut s: Section<'_>) -> Option<TlsSettings> {
    let mut file = |key| {
        let file = s.text(key)?;
        if file.trim().is_empty() {
            s.fault(key, format!("must name a file, got {file:?}"));
        }
        Some(PathBuf::from(file))
    };
    let settings = match (file("certificate"), file("key")) {
        (Some(certificate), Some(key)) => Some(TlsSettings { certificate, key }),
        (Some(_), None) => {
            s.fault("key", "is missing: the certificate needs its key");
            None
        }
        (None, Some(_)) => {
            s.fault("certificate", "is missing: the key needs its certificate");
            None
        }
        (None, None) => None,
    };
    s.finish();
    settings
}

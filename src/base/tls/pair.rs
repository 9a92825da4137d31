//! Certificate file and its key file, checked to match.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use sha2::{Digest, Sha256};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{self, InconsistentKeys};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::text::counted;
use crate::tls::settings::TlsSettings;

/// Maximum size of a file in bytes; a chain of certificates has a few thousand.
const LARGEST: u64 = 1 << 20;
/// Remaining validity below which a warning is logged. An ACME client renews a
/// month before expiry: with less left it has failed for weeks.
const SOON: i64 = 14;
const DAY: i64 = 24 * 60 * 60;

/// Fault of the certificate or key file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("tls.{key} {}: {why}", file.display())]
pub struct PairError {
    /// Key in `[tls]` that names the file.
    key: &'static str,
    file: PathBuf,
    why: String,
}

impl PairError {
    fn new(key: &'static str, file: &Path, why: impl Into<String>) -> Self {
        Self {
            key,
            file: file.to_owned(),
            why: why.into(),
        }
    }

    pub(super) fn of_certificate(settings: &TlsSettings, why: impl fmt::Display) -> Self {
        Self::new("certificate", &settings.certificate, why.to_string())
    }

    /// Converts the fault to one of a sink's settings.
    pub(super) fn of_client(&self) -> String {
        format!("client_{} {}: {}", self.key, self.file.display(), self.why)
    }

    fn of_key(settings: &TlsSettings, why: impl fmt::Display) -> Self {
        Self::new("key", &settings.key, why.to_string())
    }
}

/// Summary of a certificate for display: names and expiry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Host names and addresses it is valid for.
    pub names: Vec<String>,
    pub expires: Timestamp,
}

impl Certificate {
    fn read(der: &[u8]) -> Result<Self, String> {
        let (_, certificate) = X509Certificate::from_der(der)
            .map_err(|error| format!("its first certificate is damaged: {error}"))?;
        let expires = certificate.validity().not_after.timestamp();
        let expires = Timestamp::from_second(expires).map_err(|error| error.to_string())?;
        let names = certificate.subject_alternative_name().ok().flatten();
        let names = names.map_or_else(Vec::new, |names| {
            let names = names.value.general_names.iter();
            names.filter_map(name).collect()
        });
        Ok(Self { names, expires })
    }

    /// Whole days until expiry; negative after it.
    pub fn days_left(&self) -> i64 {
        (self.expires.as_second() - Timestamp::now().as_second()).div_euclid(DAY)
    }

    pub fn is_over(&self) -> bool {
        self.days_left() < 0
    }

    /// True if it has expired or will soon.
    pub fn ends_soon(&self) -> bool {
        self.days_left() < SOON
    }
}

impl fmt::Display for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = if self.names.is_empty() {
            "no host name".to_owned()
        } else {
            self.names.join(", ")
        };
        let until = self.expires.strftime("%Y-%m-%d");
        if self.is_over() {
            return write!(f, "for {names}, expired on {until}");
        }
        let days = counted(self.days_left(), "day");
        write!(f, "for {names}, valid until {until} ({days})")
    }
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes)
                .ok()
                .map(|ip| std::net::Ipv4Addr::from(ip).to_string()),
            _ => <[u8; 16]>::try_from(*bytes)
                .ok()
                .map(|ip| std::net::Ipv6Addr::from(ip).to_string()),
        },
        _ => None,
    }
}

/// Certificate and the key that matches it.
pub(super) struct Pair {
    pub(super) certified: Arc<CertifiedKey>,
    pub(super) certificate: Certificate,
}

/// Content of the two files.
pub(super) struct Files {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Files {
    pub(super) fn read(settings: &TlsSettings) -> Result<Self, PairError> {
        Ok(Self {
            certificate: read(&settings.certificate)
                .map_err(|why| PairError::of_certificate(settings, why))?,
            key: read(&settings.key).map_err(|why| PairError::of_key(settings, why))?,
        })
    }

    /// Reads both files, one after the other.
    pub(super) fn together(&self) -> Vec<u8> {
        [&self.certificate[..], b"\n", &self.key].concat()
    }

    /// Fingerprint of the content, so that no key is kept for comparison.
    pub(super) fn fingerprint(&self) -> [u8; 32] {
        let parts = [&self.certificate, &self.key].map(Sha256::digest);
        Sha256::digest(parts.concat()).into()
    }

    pub(super) fn parse(&self, settings: &TlsSettings) -> Result<Pair, PairError> {
        let of_certificate = |why: String| PairError::of_certificate(settings, why);
        let chain = CertificateDer::pem_slice_iter(&self.certificate)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| of_certificate(format!("is damaged PEM: {error:?}")))?;
        let Some(first) = chain.first() else {
            let why = "there is no PEM certificate in it; expected -----BEGIN CERTIFICATE-----";
            return Err(of_certificate(why.to_owned()));
        };
        let certificate = Certificate::read(first).map_err(of_certificate)?;
        let key = self
            .private_key()
            .map_err(|why| PairError::of_key(settings, why))?;
        let certified = CertifiedKey::from_der(chain, key, &super::crypto());
        let certified = certified.map_err(|error| match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                let certificate = settings.certificate.display();
                PairError::of_key(settings, format!("is not the key of {certificate}"))
            }
            rustls::Error::InvalidCertificate(_) => {
                PairError::of_certificate(settings, format!("can't be used: {error}"))
            }
            _ => PairError::of_key(settings, format!("can't be used: {error}")),
        })?;
        Ok(Pair {
            certified: Arc::new(certified),
            certificate,
        })
    }

    fn private_key(&self) -> Result<PrivateKeyDer<'static>, &'static str> {
        if contains(&self.key, b"ENCRYPTED") {
            return Err("is encrypted; expected a key without a passphrase");
        }
        PrivateKeyDer::from_pem_slice(&self.key).map_err(|_| {
            "there is no PEM private key in it; expected -----BEGIN PRIVATE KEY-----, or the same \
             with RSA or EC"
        })
    }
}

fn contains(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|part| part == word)
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = File::open(file).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes));
    match read {
        Ok(_) if bytes.len() as u64 > LARGEST => {
            Err(format!("is larger than {LARGEST} bytes; expected PEM"))
        }
        Ok(_) => Ok(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err("there is no such file".into())
        }
        Err(error) => Err(format!("failed to read it: {error}")),
    }
}

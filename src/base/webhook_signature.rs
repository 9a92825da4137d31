//! Signature of a webhook: `sha256=HEX`, the HMAC-SHA256 (RFC 2104) of
//! `TIMESTAMP.BODY` under a shared secret, the timestamp in seconds since 1970.
//!
//! A signature alone does not prevent replay: receivers refuse old timestamps
//! and messages they have seen already.

use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use crate::secret::Secret;

const SCHEME: &str = "sha256=";

/// Signs a message: the value of its signature header.
pub fn sign(secret: &Secret, timestamp: &str, body: &[u8]) -> String {
    let hex: String = hex::encode(digest(secret, timestamp, body));
    format!("{SCHEME}{hex}")
}

/// Verifies the signature of a message, in upper or lower case and in constant
/// time; returns the digest.
pub fn verify(secret: &Secret, timestamp: &str, signature: &str, body: &[u8]) -> Option<[u8; 32]> {
    let given = signature.strip_prefix(SCHEME)?.to_ascii_lowercase();
    let digest = digest(secret, timestamp, body);
    let hex: String = hex::encode(digest);
    bool::from(hex.as_bytes().ct_eq(given.as_bytes())).then_some(digest)
}

fn digest(secret: &Secret, timestamp: &str, body: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes())
        .expect("a key of any length will do");
    mac.update(timestamp.as_bytes());
    mac.update(b".");
    mac.update(body);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `printf '1700000000.{}' | openssl dgst -sha256 -hmac key`
    const SIGNED: &str = "sha256=9d713ed406bb7076d4123f0dc2c39d2df5c654ed4b0cd56b52c8b4c940bd63ae";

    fn key() -> Secret {
        Secret::new("key").unwrap()
    }

    #[test]
    fn signature_equals_openssl() {
        assert_eq!(sign(&key(), "1700000000", b"{}"), SIGNED);
    }

    #[test]
    fn signature_depends_on_message_and_secret() {
        let is_signed = |key: &Secret, timestamp: &str, signature: &str, body: &[u8]| {
            verify(key, timestamp, signature, body).is_some()
        };
        let upper = SIGNED.to_uppercase().replace("SHA256", "sha256");
        for signature in [SIGNED, upper.as_str()] {
            assert!(is_signed(&key(), "1700000000", signature, b"{}"));
        }
        let other = Secret::new("another").unwrap();
        assert!(!is_signed(&other, "1700000000", SIGNED, b"{}"));
        assert!(!is_signed(&key(), "1700000001", SIGNED, b"{}"));
        assert!(!is_signed(&key(), "1700000000", SIGNED, b"{ }"));
        for signature in ["", "sha256=", "sha256=00", &SIGNED[7..], &SIGNED[..70]] {
            assert!(!is_signed(&key(), "1700000000", signature, b"{}"));
        }
    }
}

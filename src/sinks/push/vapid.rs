//! Identification at push services: the server's key pair, made at the first
//! start, and its signed token (VAPID, RFC 8292).

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::json;
use watchtower_base::atomic_file::write_private;

/// Validity of a token: RFC 8292, section 2, allows a day, from which a wrong
/// clock may take some.
const VALID: Duration = Duration::from_secs(12 * 60 * 60);

/// Key pair of the server.
pub(super) struct VapidKey {
    pair: EcdsaKeyPair,
    random: SystemRandom,
}

impl fmt::Debug for VapidKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VapidKey(..)")
    }
}

impl VapidKey {
    /// Reads the pair of a file, which is made if it is missing.
    pub(super) fn open(file: &Path) -> Result<Self, String> {
        let named = |error: io::Error| format!("{}: {error}", file.display());
        let random = SystemRandom::new();
        let der = match fs::read(file) {
            Ok(der) => der,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random);
                let der = made.map_err(|_| "failed to make a key pair for Web Push".to_owned())?;
                write_private(file, der.as_ref()).map_err(named)?;
                der.as_ref().to_vec()
            }
            Err(error) => return Err(named(error)),
        };
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der, &random);
        let pair = pair.map_err(|_| {
            format!(
                "{}: must be a PKCS#8 key of P-256; restore it from a backup, or remove it to \
                 make a new one, which ends all push subscriptions",
                file.display()
            )
        })?;
        Ok(Self { pair, random })
    }

    /// Public key as an uncompressed point, in base64url.
    pub(super) fn public(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.pair.public_key())
    }

    /// Value of `Authorization` for a push service (RFC 8292, section 3).
    pub(super) fn authorization(
        &self,
        audience: &str,
        contact: Option<&str>,
        now: Timestamp,
    ) -> Result<String, String> {
        let mut claims = json!({"aud": audience, "exp": now.as_second() + VALID.as_secs() as i64});
        if let Some(contact) = contact {
            claims["sub"] = json!(contact);
        }
        let part = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let header = json!({"typ": "JWT", "alg": "ES256"});
        let signed = format!("{}.{}", part(&header), part(&claims));
        let signature = self.pair.sign(&self.random, signed.as_bytes());
        let signature = signature.map_err(|_| "failed to sign the token".to_owned())?;
        let signature = URL_SAFE_NO_PAD.encode(signature);
        Ok(format!("vapid t={signed}.{signature}, k={}", self.public()))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

    use super::*;

    #[test]
    fn key_is_made_once_and_is_the_owners() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("push.key");
        let made = VapidKey::open(&file).unwrap().public();
        assert_eq!(VapidKey::open(&file).unwrap().public(), made);
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::write(&file, "no key").unwrap();
        let error = VapidKey::open(&file).unwrap_err();
        assert!(error.contains("push.key: must be a PKCS#8 key"), "{error}");
    }

    #[test]
    fn token_is_signed_and_names_service_end_and_contact() {
        let folder = tempfile::tempdir().unwrap();
        let key = VapidKey::open(&folder.path().join("push.key")).unwrap();
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let contact = Some("mailto:soc@example.com");
        let value = key.authorization("https://push.example.net", contact, now);
        let value = value.unwrap();
        let (token, public) = value
            .strip_prefix("vapid t=")
            .and_then(|value| value.split_once(", k="))
            .unwrap();
        assert_eq!(public, key.public());
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap();
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, decode(public))
            .verify(signed.as_bytes(), &decode(signature))
            .unwrap();
        let (_, claims) = signed.split_once('.').unwrap();
        let claims: serde_json::Value = serde_json::from_slice(&decode(claims)).unwrap();
        let expected = json!({
            "aud": "https://push.example.net", "exp": 1_800_043_200, "sub": "mailto:soc@example.com",
        });
        assert_eq!(claims, expected);
    }
}

//! Encryption of a message for a browser (RFC 8291) as one record of
//! `aes128gcm` (RFC 8188).

use ring::aead::{AES_128_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::agreement::{ECDH_P256, EphemeralPrivateKey, UnparsedPublicKey, agree_ephemeral};
use ring::hkdf::{HKDF_SHA256, KeyType, Salt};
use ring::rand::{SecureRandom as _, SystemRandom};

/// Length of an uncompressed point of P-256, and of the other values of a
/// subscription and a record.
pub(super) const POINT: usize = 65;
pub(super) const AUTH: usize = 16;
const SALT: usize = 16;
const KEY: usize = 16;

/// Size of the record: the whole message, which push services need not accept
/// beyond 4096 bytes (RFC 8291, section 4).
const RECORD: u32 = 4096;
/// Longest text: a record less its header, delimiter and tag.
pub(super) const LONGEST: usize = RECORD as usize - SALT - 4 - 1 - POINT - 1 - 16;

/// Keys of a browser's subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RecipientKeys {
    /// `p256dh`.
    pub(super) public: [u8; POINT],
    pub(super) auth: [u8; AUTH],
}

/// Error of a key that is no point of the curve, or of a text that is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("message can't be encrypted: its key is invalid, or its text too long")]
pub(super) struct NotEncrypted;

impl From<ring::error::Unspecified> for NotEncrypted {
    fn from(_: ring::error::Unspecified) -> Self {
        Self
    }
}

/// Body of a request, with a key pair and salt of its own.
pub(super) fn encrypt(text: &[u8], to: &RecipientKeys) -> Result<Vec<u8>, NotEncrypted> {
    let random = SystemRandom::new();
    let private = EphemeralPrivateKey::generate(&ECDH_P256, &random)?;
    let own = private.compute_public_key()?;
    let mut salt = [0; SALT];
    random.fill(&mut salt)?;
    let recipient = UnparsedPublicKey::new(&ECDH_P256, &to.public);
    agree_ephemeral(private, &recipient, |shared| {
        seal(text, shared, own.as_ref(), to, &salt)
    })?
}

/// Message under a shared secret (RFC 8291, section 3.4).
fn seal(
    text: &[u8],
    shared: &[u8],
    own: &[u8],
    to: &RecipientKeys,
    salt: &[u8; SALT],
) -> Result<Vec<u8>, NotEncrypted> {
    if text.len() > LONGEST {
        return Err(NotEncrypted);
    }
    let mut input = [0; 32];
    expand(
        &to.auth,
        shared,
        &[b"WebPush: info\0", &to.public, own],
        &mut input,
    )?;
    let mut key = [0; KEY];
    expand(salt, &input, &[b"Content-Encoding: aes128gcm\0"], &mut key)?;
    let mut nonce = [0; NONCE_LEN];
    expand(salt, &input, &[b"Content-Encoding: nonce\0"], &mut nonce)?;

    // Its delimiter marks the last record.
    let mut record = [text, &[2]].concat();
    let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key)?);
    let nonce = Nonce::assume_unique_for_key(nonce);
    key.seal_in_place_append_tag(nonce, Aad::empty(), &mut record)?;

    let mut message = salt.to_vec();
    message.extend(RECORD.to_be_bytes());
    message.push(POINT as u8);
    message.extend_from_slice(own);
    message.extend(record);
    Ok(message)
}

/// Output length of [`expand`].
struct OutputLength(usize);

impl KeyType for OutputLength {
    fn len(&self) -> usize {
        self.0
    }
}

/// HKDF-SHA-256 (RFC 5869).
fn expand(
    salt: &[u8],
    secret: &[u8],
    info: &[&[u8]],
    output: &mut [u8],
) -> Result<(), NotEncrypted> {
    let pseudorandom = Salt::new(HKDF_SHA256, salt).extract(secret);
    let length = OutputLength(output.len());
    pseudorandom.expand(info, length)?.fill(output)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    fn bytes(text: &str) -> Vec<u8> {
        URL_SAFE_NO_PAD.decode(text).unwrap()
    }

    fn recipient() -> RecipientKeys {
        let public = bytes(
            "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
        );
        RecipientKeys {
            public: public.try_into().unwrap(),
            auth: bytes("BTBZMqHH6r4Tts7J_aSIgg").try_into().unwrap(),
        }
    }

    /// RFC 8291, section 5 and appendix A.
    #[test]
    fn example_of_the_specification_is_reproduced() {
        let message = seal(
            b"When I grow up, I want to be a watermelon",
            &bytes("kyrL1jIIOHEzg3sM2ZWRHDRB62YACZhhSlknJ672kSs"),
            &bytes(
                "BP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A8",
            ),
            &recipient(),
            &bytes("DGv6ra1nlYgDCS1FRnbzlw").try_into().unwrap(),
        );
        let expected = "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIg\
             Dll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZ\
             wbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN";
        assert_eq!(URL_SAFE_NO_PAD.encode(message.unwrap()), expected);
    }

    #[test]
    fn no_two_messages_are_alike_and_the_longest_fits() {
        let text = [b'x'; LONGEST];
        let one = encrypt(&text, &recipient()).unwrap();
        let other = encrypt(&text, &recipient()).unwrap();
        assert_eq!(one.len(), RECORD as usize);
        assert_ne!(one[..SALT], other[..SALT]);
        assert_ne!(one[21..86], other[21..86]);
        assert_eq!(encrypt(&[0; LONGEST + 1], &recipient()), Err(NotEncrypted));
    }

    #[test]
    fn point_off_the_curve_is_refused() {
        let mut keys = recipient();
        keys.public[40] ^= 1;
        assert_eq!(encrypt(b"text", &keys), Err(NotEncrypted));
    }
}

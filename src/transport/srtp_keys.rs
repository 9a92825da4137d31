//! Extraction of a session's SRTP keys for the fan-out.
//!
//! webrtc keeps the keys of its DTLS handshake private, but accepts a crypto
//! provider for each session. [`Tap`] is the stock provider plus a recording of
//! the key derivation (RFC 3711, section 4.3): that is the only use of a bare
//! block cipher, and each of its calls shows master key, input block and output
//! block. The local side's keys are derived first (rtc 0.21.1,
//! `peer_connection/handler/dtls.rs`), so the first master key is the sender's.
//! No key is computed here: the session keys are read from the recording.
//!
//! This relies on an order that no interface guarantees: hence the pinned
//! version, the check that the recording is complete, and a test against
//! another implementation.

use std::sync::{Arc, Mutex, MutexGuard};

use rtc::crypto::{
    ActiveKeyExchange, AeadAlgorithm, AeadCipher, BlockCipherAlgorithm, CbcAlgorithm, CbcCipher,
    CryptoAlgorithm, CryptoError, HashAlgorithm, HmacAlgorithm, KeyExchangeAlgorithm, Mac,
    PublicKey, RTCCrypto, RTCCryptoProvider, RTCRandom, SecretVec, SignatureScheme, SigningKey,
    StreamCipher, StreamCipherAlgorithm,
};

use watchtower_base::sync::Locked as _;

/// Maximum number of recorded blocks, above what both directions need.
const MOST_BLOCKS: usize = 64;
const BLOCK: usize = 16;

/// Purpose of a derived key (RFC 3711, section 4.3.2).
#[derive(Debug, Clone, Copy)]
enum Label {
    Encryption = 0,
    Authentication = 1,
    Salt = 2,
}

/// Session keys for sending SRTP.
pub enum SessionKeys {
    /// AES-GCM (RFC 7714).
    AesGcm {
        algorithm: AeadAlgorithm,
        key: SecretVec,
        salt: [u8; 12],
    },
    /// AES-CM (RFC 3711) with an 80-bit tag.
    AesCm {
        algorithm: StreamCipherAlgorithm,
        key: SecretVec,
        authentication: SecretVec,
        salt: [u8; 14],
    },
}

impl std::fmt::Debug for SessionKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionKeys").finish_non_exhaustive()
    }
}

/// Crypto provider that records one session's key derivation.
pub struct Tap {
    inner: Arc<dyn RTCCryptoProvider>,
    recorded: Mutex<DerivedKeys>,
}

impl std::fmt::Debug for Tap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tap").finish_non_exhaustive()
    }
}

#[derive(Default)]
struct DerivedKeys {
    blocks: Vec<Derived>,
    cipher: Option<Cipher>,
    taken: bool,
}

struct Derived {
    master: SecretVec,
    input: [u8; BLOCK],
    output: SecretVec,
}

/// Cipher of the first derived key.
#[derive(Clone, Copy)]
enum Cipher {
    Aead(AeadAlgorithm),
    Stream(StreamCipherAlgorithm),
}

impl Tap {
    pub fn new(inner: Arc<dyn RTCCryptoProvider>) -> Self {
        Self {
            inner,
            recorded: Mutex::default(),
        }
    }

    /// Keys for sending, after the handshake; `None` before it, or if the
    /// derivation was not as expected. Clears the recording.
    pub fn take(&self) -> Option<SessionKeys> {
        let mut recorded = self.recorded();
        let blocks = std::mem::take(&mut recorded.blocks);
        recorded.taken = true;
        let cipher = recorded.cipher?;
        drop(recorded);
        let first = blocks.first()?;
        let find = |label: Label, length: usize| {
            let mut key = Vec::with_capacity(length.next_multiple_of(BLOCK));
            for counter in 0..length.div_ceil(BLOCK) {
                // The first input is the master salt itself: label 0, block 0.
                let mut input = first.input;
                input[7] ^= label as u8;
                input[BLOCK - 1] = u8::try_from(counter).ok()?;
                let block = blocks.iter().find(|block| {
                    block.input == input && block.master.as_ref() == first.master.as_ref()
                })?;
                key.extend_from_slice(block.output.as_ref());
            }
            key.truncate(length);
            Some(SecretVec::new(key))
        };
        let key = find(Label::Encryption, first.master.len())?;
        match cipher {
            Cipher::Aead(algorithm) => Some(SessionKeys::AesGcm {
                algorithm,
                key,
                salt: find(Label::Salt, 12)?.as_ref().try_into().ok()?,
            }),
            Cipher::Stream(algorithm) => Some(SessionKeys::AesCm {
                algorithm,
                key,
                authentication: find(Label::Authentication, 20)?,
                salt: find(Label::Salt, 14)?.as_ref().try_into().ok()?,
            }),
        }
    }

    fn record_block(&self, master: &[u8], input: [u8; BLOCK], output: &[u8]) {
        let mut recorded = self.recorded();
        if !recorded.taken && recorded.blocks.len() < MOST_BLOCKS {
            recorded.blocks.push(Derived {
                master: SecretVec::new(master.to_vec()),
                input,
                output: SecretVec::new(output.to_vec()),
            });
        }
    }

    fn record_cipher(&self, key: &[u8], cipher: Cipher) {
        let mut recorded = self.recorded();
        let derived = recorded
            .blocks
            .first()
            .is_some_and(|first| key.starts_with(first.output.as_ref()));
        if derived && recorded.cipher.is_none() {
            recorded.cipher = Some(cipher);
        }
    }

    fn recorded(&self) -> MutexGuard<'_, DerivedKeys> {
        self.recorded.locked()
    }

    fn crypto(&self) -> &dyn RTCCrypto {
        self.inner.crypto()
    }
}

impl RTCCryptoProvider for Tap {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn crypto(&self) -> &dyn RTCCrypto {
        self
    }

    fn random(&self) -> &dyn RTCRandom {
        self.inner.random()
    }
}

impl RTCCrypto for Tap {
    fn block_encrypt(
        &self,
        algorithm: BlockCipherAlgorithm,
        key: &[u8],
        block: &mut [u8],
    ) -> Result<(), CryptoError> {
        let input = block.first_chunk().copied();
        self.crypto().block_encrypt(algorithm, key, block)?;
        if let Some(input) = input {
            self.record_block(key, input, block);
        }
        Ok(())
    }

    fn new_aead(
        &self,
        algorithm: AeadAlgorithm,
        key: &[u8],
    ) -> Result<Box<dyn AeadCipher>, CryptoError> {
        self.record_cipher(key, Cipher::Aead(algorithm));
        self.crypto().new_aead(algorithm, key)
    }

    fn new_stream_cipher(
        &self,
        algorithm: StreamCipherAlgorithm,
        key: &[u8],
    ) -> Result<Box<dyn StreamCipher>, CryptoError> {
        self.record_cipher(key, Cipher::Stream(algorithm));
        self.crypto().new_stream_cipher(algorithm, key)
    }

    fn supports(&self, algorithm: CryptoAlgorithm) -> bool {
        self.crypto().supports(algorithm)
    }

    fn hash(&self, algorithm: HashAlgorithm, data: &[u8]) -> Result<Vec<u8>, CryptoError> {
        self.crypto().hash(algorithm, data)
    }

    fn new_hmac(&self, algorithm: HmacAlgorithm, key: &[u8]) -> Result<Box<dyn Mac>, CryptoError> {
        self.crypto().new_hmac(algorithm, key)
    }

    fn new_cbc(
        &self,
        algorithm: CbcAlgorithm,
        key: &[u8],
    ) -> Result<Box<dyn CbcCipher>, CryptoError> {
        self.crypto().new_cbc(algorithm, key)
    }

    fn start_key_exchange(
        &self,
        algorithm: KeyExchangeAlgorithm,
    ) -> Result<Box<dyn ActiveKeyExchange>, CryptoError> {
        self.crypto().start_key_exchange(algorithm)
    }

    fn generate_signing_key(
        &self,
        scheme: SignatureScheme,
    ) -> Result<Arc<dyn SigningKey>, CryptoError> {
        self.crypto().generate_signing_key(scheme)
    }

    fn import_signing_key(
        &self,
        scheme: SignatureScheme,
        der: &[u8],
    ) -> Result<Arc<dyn SigningKey>, CryptoError> {
        self.crypto().import_signing_key(scheme, der)
    }

    fn verify_signature(
        &self,
        scheme: SignatureScheme,
        public_key: PublicKey<'_>,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), CryptoError> {
        self.crypto()
            .verify_signature(scheme, public_key, message, signature)
    }
}

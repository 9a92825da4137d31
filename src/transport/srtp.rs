//! SRTP protection of packets in place, in the send buffer.
//!
//! The ciphers are those of the rtc crates; this module only applies a packet's
//! index (RFC 3711, section 4.1.1; RFC 7714, section 8.1).
//!
//! Invariant: an index never protects two different packets. The caller
//! guarantees it, by a bijection between indices and shared packets.

use std::ops::Range;

use rtc::crypto::{AeadCipher, CryptoError, HmacAlgorithm, Mac, RTCCrypto, StreamCipher};

use crate::srtp_keys::SessionKeys;

/// Size of an RTP header without extensions (RFC 3550, section 5.1), in bytes.
pub const RTP_HEADER: usize = 12;
/// Size with one extension of two bytes (RFC 8285, section 4.2).
pub const LONGEST_HEADER: usize = RTP_HEADER + 8;
/// Longest authentication tag of the two profiles, in bytes.
pub(crate) const LONGEST_TAG: usize = 16;

/// RTP header, with an extension or without.
#[derive(Debug, Clone, Copy)]
pub struct RtpHeader {
    bytes: [u8; LONGEST_HEADER],
    length: usize,
}

impl RtpHeader {
    pub fn plain(fixed: [u8; RTP_HEADER]) -> Self {
        let mut bytes = [0; LONGEST_HEADER];
        bytes[..RTP_HEADER].copy_from_slice(&fixed);
        Self {
            bytes,
            length: RTP_HEADER,
        }
    }

    pub fn extended(fixed: [u8; RTP_HEADER], extension: [u8; LONGEST_HEADER - RTP_HEADER]) -> Self {
        let mut header = Self::plain(fixed);
        // Extension bit X (RFC 3550, section 5.1).
        header.bytes[0] |= 0x10;
        header.bytes[RTP_HEADER..].copy_from_slice(&extension);
        header.length = LONGEST_HEADER;
        header
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

pub enum Protector {
    AesGcm {
        cipher: Box<dyn AeadCipher>,
        salt: [u8; 12],
    },
    AesCm {
        cipher: Box<dyn StreamCipher>,
        mac: Box<dyn Mac>,
        salt: [u8; 14],
    },
}

impl std::fmt::Debug for Protector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Protector").finish_non_exhaustive()
    }
}

impl Protector {
    pub fn new(keys: &SessionKeys, crypto: &dyn RTCCrypto) -> Result<Self, CryptoError> {
        Ok(match keys {
            SessionKeys::AesGcm {
                algorithm,
                key,
                salt,
            } => Self::AesGcm {
                cipher: crypto.new_aead(*algorithm, key.as_ref())?,
                salt: *salt,
            },
            SessionKeys::AesCm {
                algorithm,
                key,
                authentication,
                salt,
            } => Self::AesCm {
                cipher: crypto.new_stream_cipher(*algorithm, key.as_ref())?,
                mac: crypto.new_hmac(HmacAlgorithm::Sha1, authentication.as_ref())?,
                salt: *salt,
            },
        })
    }

    pub fn tag_length(&self) -> usize {
        match self {
            Self::AesGcm { .. } => LONGEST_TAG,
            Self::AesCm { .. } => 10,
        }
    }

    /// Protects the packet that begins at that offset and ends with `buffer`,
    /// and appends its tag. `index` is the packet's 48-bit index: rollover
    /// counter and sequence number.
    pub(crate) fn protect(
        &mut self,
        buffer: &mut Vec<u8>,
        header: Range<usize>,
        ssrc: u32,
        index: u64,
    ) -> Result<(), CryptoError> {
        let ssrc = ssrc.to_be_bytes();
        let [_, _, index @ ..] = index.to_be_bytes();
        let Range { start, end: body } = header;
        match self {
            Self::AesGcm { cipher, salt } => {
                let mut nonce = *salt;
                xor(&mut nonce[2..6], &ssrc);
                xor(&mut nonce[6..], &index);
                let mut tag = [0; LONGEST_TAG];
                let (header, payload) = buffer[start..].split_at_mut(body - start);
                cipher.seal_in_place(&nonce, header, payload, &mut tag)?;
                buffer.extend_from_slice(&tag);
            }
            Self::AesCm { cipher, mac, salt } => {
                let mut iv = [0; 16];
                iv[..14].copy_from_slice(salt);
                xor(&mut iv[4..8], &ssrc);
                xor(&mut iv[8..14], &index);
                cipher.apply_keystream(&iv, &mut buffer[body..])?;
                let mut tag = [0; 20];
                mac.sign(&[&buffer[start..], &index[..4]], &mut tag)?;
                buffer.extend_from_slice(&tag[..10]);
            }
        }
        Ok(())
    }
}

fn xor(into: &mut [u8], bytes: &[u8]) {
    for (into, byte) in into.iter_mut().zip(bytes) {
        *into ^= byte;
    }
}

#[cfg(test)]
mod tests {
    use rtc::crypto::default_provider;
    use rtc::srtp::context::Context;
    use rtc::srtp::protection_profile::ProtectionProfile;

    use super::*;
    use crate::srtp_keys::Tap;

    /// Lets an SRTP context of the rtc crates derive its keys with the
    /// recording provider, protects with the recorded keys, and decrypts with
    /// the context.
    fn round_trip(profile: ProtectionProfile) {
        let master: Vec<u8> = (1..=16).collect();
        let salt: Vec<u8> = (100..).take(profile.salt_len()).collect();
        let provider = default_provider().expect("ring is built in");
        let tap = Tap::new(provider.clone());
        let context = |crypto: &dyn RTCCrypto| {
            Context::new(&master, &salt, profile, None, None, crypto).expect("valid keys")
        };
        drop(context(&tap));
        // The other direction, derived second, must not be mistaken for the
        // sender's.
        let other = Context::new(&[9; 16], &salt, profile, None, None, &tap);
        drop(other.expect("valid keys"));

        let keys = tap.take().expect("recorded keys");
        assert!(tap.take().is_none());
        let mut protector = Protector::new(&keys, provider.crypto()).expect("valid keys");
        let mut receiver = context(provider.crypto());
        // Across the wrap of the sequence number, so that the rollover counter
        // matters.
        for index in 0xfff0..0x1_0010u64 {
            let mut buffer = b"before".to_vec();
            let start = buffer.len();
            let [.., high, low] = index.to_be_bytes();
            let fixed = [0x80, 0xe6, high, low, 0, 0, 0, 1, 1, 2, 3, 4];
            let header = match index % 2 {
                0 => RtpHeader::plain(fixed),
                _ => RtpHeader::extended(fixed, [0xbe, 0xde, 0, 1, 0x31, high, low, 0]),
            };
            buffer.extend(header.bytes());
            let body = buffer.len();
            buffer.extend(b"payload");
            let plain = buffer[start..].to_vec();
            protector
                .protect(&mut buffer, start..body, 0x0102_0304, index)
                .expect("protected");
            assert_eq!(buffer.len(), start + plain.len() + protector.tag_length());
            let opened = receiver.decrypt_rtp(&buffer[start..]).expect("authentic");
            assert_eq!(opened[..], plain);
        }
    }

    #[test]
    fn an_rtc_context_decrypts_packets_protected_with_the_recorded_keys() {
        round_trip(ProtectionProfile::AeadAes128Gcm);
        round_trip(ProtectionProfile::Aes128CmHmacSha1_80);
    }

    #[test]
    fn without_a_recording_there_are_no_keys() {
        let provider = default_provider().expect("ring is built in");
        assert!(Tap::new(provider).take().is_none());
    }
}

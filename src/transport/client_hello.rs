//! Reordering of the SRTP profiles in a viewer's first ClientHello.
//!
//! rtc-dtls 0.21.1 takes the client's first SRTP profile that the server
//! supports, though the choice is the server's (RFC 5764, section 4.1.1), and
//! the profiles differ in their CPU cost per packet. It reads them from the
//! first ClientHello alone, the one before the cookie, which no hash of the
//! handshake covers (RFC 6347, section 4.2.1): so its profiles may be
//! reordered. Any other or incomplete message stays unchanged.

use bytes::Bytes;

/// Size of a DTLS record header, and the offset of its length.
const RECORD: usize = 13;
/// Size of the handshake header that follows.
const HANDSHAKE: usize = 12;
/// Extension type use_srtp (RFC 5764, section 4.1.1).
const USE_SRTP: [u8; 2] = [0, 14];
/// Profile SRTP_AEAD_AES_128_GCM (RFC 7714, section 14.2).
const AES_GCM: [u8; 2] = [0, 7];

/// Copy of the datagram with AES-GCM as the first profile, if offered.
pub(crate) fn preferring_gcm(datagram: Bytes) -> Bytes {
    match place(&datagram) {
        Some((list, place)) => {
            let mut bytes = datagram.to_vec();
            bytes[list..place + 2].rotate_right(2);
            bytes.into()
        }
        None => datagram,
    }
}

/// Offset of the profile list, and AES-GCM's in it, unless it is first.
fn place(datagram: &[u8]) -> Option<(usize, usize)> {
    // Handshake record of epoch 0 with a ClientHello of message sequence 0,
    // possibly a fragment.
    let header = datagram.get(..RECORD + HANDSHAKE)?;
    let first = header[0] == 22
        && header[3..5] == [0, 0]
        && header[RECORD] == 1
        && header[RECORD + 4..RECORD + 6] == [0, 0];
    if !first {
        return None;
    }
    // Length of the extension, of the list, the list, and an empty MKI. In a
    // fragment nothing else marks the extensions; random bytes with the same
    // pattern would change nothing that is used.
    (RECORD + HANDSHAKE..datagram.len().saturating_sub(8)).find_map(|at| {
        let head = &datagram[at..at + 6];
        let extension = usize::from(u16::from_be_bytes([head[2], head[3]]));
        let length = usize::from(u16::from_be_bytes([head[4], head[5]]));
        let list = at + 6;
        let fits = head[..2] == USE_SRTP && extension == length + 3 && length % 2 == 0;
        if !fits || datagram.get(list + length) != Some(&0) {
            return None;
        }
        let nth = datagram[list..list + length]
            .chunks(2)
            .position(|profile| profile == AES_GCM)?;
        (nth > 0).then_some((list, list + 2 * nth))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(message: u8, profiles: &[u8]) -> Bytes {
        let mut bytes = vec![22, 254, 255, 0, 0, 0, 0, 0, 0, 0, 0, 0, 60];
        bytes.extend([1, 0, 0, 48, 0, message, 0, 0, 0, 0, 0, 48]);
        bytes.extend([254, 253]);
        bytes.extend([9; 32]);
        let count = u8::try_from(profiles.len()).expect("short");
        bytes.extend([0, 14, 0, count + 3, 0, count]);
        bytes.extend(profiles);
        bytes.extend([0, 0, 23, 0, 0]);
        bytes.into()
    }

    #[test]
    fn aes_gcm_is_first_wherever_it_stood() {
        let changed = |profiles: &[u8]| preferring_gcm(hello(0, profiles));
        assert_eq!(
            changed(&[0, 1, 0, 8, 0, 7, 0, 2]),
            hello(0, &[0, 7, 0, 1, 0, 8, 0, 2])
        );
        assert_eq!(changed(&[0, 7, 0, 1]), hello(0, &[0, 7, 0, 1]));
        // Not offered, so not selected.
        assert_eq!(changed(&[0, 1, 0, 2]), hello(0, &[0, 1, 0, 2]));
    }

    #[test]
    fn the_hello_that_is_hashed_stays_as_it_is() {
        let second = hello(1, &[0, 1, 0, 7]);
        assert_eq!(preferring_gcm(second.clone()), second);
        let whole = hello(0, &[0, 1, 0, 7]);
        for length in 0..whole.len() - 6 {
            let cut = whole.slice(..length);
            assert_eq!(preferring_gcm(cut.clone()), cut);
        }
    }
}

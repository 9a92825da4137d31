//! Demultiplexing of datagrams by protocol and session: the part of STUN (RFC
//! 8489) and of the rules of RFC 7983 that a port shared by all viewers needs.
//!
//! Parses untrusted bytes: never panics, allocates nothing.

/// Protocol of a datagram, by its first byte (RFC 7983, section 7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Stun,
    Dtls,
    Rtp,
    Other,
}

/// Kind of a STUN message (RFC 8489, section 5), as far as ICE uses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stun<'a> {
    /// Connectivity check. `local` is the receiver's user fragment, the part of
    /// USERNAME before the colon.
    BindingRequest {
        local: &'a str,
    },
    BindingSuccess,
    Other,
}

const HEADER: usize = 20;
const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const USERNAME: u16 = 0x0006;
const USE_CANDIDATE: u16 = 0x0025;

pub fn protocol(datagram: &[u8]) -> Protocol {
    match datagram.first() {
        Some(0..=3) => Protocol::Stun,
        Some(20..=63) => Protocol::Dtls,
        Some(128..=191) => Protocol::Rtp,
        _ => Protocol::Other,
    }
}

/// Parses a STUN message; `None` if it is incomplete, or a request without a
/// user name.
pub fn stun(datagram: &[u8]) -> Option<Stun<'_>> {
    let header = datagram.first_chunk::<HEADER>()?;
    let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
    if header[4..8] != COOKIE || datagram.len() != HEADER + length {
        return None;
    }
    match [header[0], header[1]] {
        [0x00, 0x01] => username(&datagram[HEADER..]).map(|local| Stun::BindingRequest { local }),
        [0x01, 0x01] => Some(Stun::BindingSuccess),
        _ => Some(Stun::Other),
    }
}

/// True for a check that nominates its path (USE-CANDIDATE, RFC 8445, section
/// 8.1.1).
pub(crate) fn nominates(datagram: &[u8]) -> bool {
    let attributes = datagram.get(HEADER..).unwrap_or_default();
    attribute(attributes, USE_CANDIDATE).is_some()
}

fn username(attributes: &[u8]) -> Option<&str> {
    let value = attribute(attributes, USERNAME)?;
    let (local, _) = std::str::from_utf8(value).ok()?.split_once(':')?;
    Some(local)
}

fn attribute(mut attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    while let Some(([t0, t1, l0, l1], rest)) = attributes.split_first_chunk::<4>() {
        let length = usize::from(u16::from_be_bytes([*l0, *l1]));
        let value = rest.get(..length)?;
        if u16::from_be_bytes([*t0, *t1]) == wanted {
            return Some(value);
        }
        // Values are padded to a multiple of four.
        attributes = rest.get(length.next_multiple_of(4)..)?;
    }
    None
}

/// True for a DTLS alert record after the handshake, where the epoch is no
/// longer 0 (RFC 6347, section 4.1).
pub(crate) fn is_encrypted_alert(datagram: &[u8]) -> bool {
    matches!(datagram, [21, _, _, high, low, ..] if [*high, *low] != [0, 0])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn request(username: &str) -> Vec<u8> {
        let padded = username.len().next_multiple_of(4);
        let mut bytes = vec![0x00, 0x01];
        bytes.extend(u16::try_from(4 + padded).expect("short").to_be_bytes());
        bytes.extend(COOKIE);
        bytes.extend([7; 12]);
        bytes.extend(USERNAME.to_be_bytes());
        bytes.extend(u16::try_from(username.len()).expect("short").to_be_bytes());
        bytes.extend(username.as_bytes());
        bytes.resize(HEADER + 4 + padded, 0);
        bytes
    }

    #[test]
    fn a_check_names_the_one_it_is_for() {
        let bytes = request("server:client");
        assert_eq!(stun(&bytes), Some(Stun::BindingRequest { local: "server" }));
        assert_eq!(stun(&request("nocolon")), None);
        assert_eq!(stun(&bytes[..bytes.len() - 1]), None);
        assert_eq!(protocol(&bytes), Protocol::Stun);
        assert_eq!(protocol(&[22, 254, 253]), Protocol::Dtls);
        assert_eq!(protocol(&[0x80, 200]), Protocol::Rtp);
        assert!(is_encrypted_alert(&[21, 254, 253, 0, 1, 0, 0, 0]));
        assert!(!is_encrypted_alert(&[21, 254, 253, 0, 0, 0, 0, 0]));
        assert!(!is_encrypted_alert(&[22, 254, 253, 0, 1, 0, 0, 0]));
        assert!(!is_encrypted_alert(&[21, 254, 253]));
        assert_eq!(protocol(&[]), Protocol::Other);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = stun(&bytes);
            let mut bytes = bytes;
            if bytes.len() >= HEADER {
                let length = u16::try_from(bytes.len() - HEADER).expect("short");
                bytes[..2].copy_from_slice(&[0, 1]);
                bytes[2..4].copy_from_slice(&length.to_be_bytes());
                bytes[4..8].copy_from_slice(&COOKIE);
                let _ = stun(&bytes);
            }
        }
    }
}

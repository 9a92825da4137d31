//! RTMP handshake (RTMP 1.0, section 5.2), and detection of other protocols.

use rml_rtmp::handshake::{Handshake, HandshakeProcessResult, PeerType};

use super::SessionError;

pub(super) struct Greeting {
    handshake: Handshake,
    begun: bool,
}

impl Greeting {
    pub(super) fn new() -> Self {
        Self {
            handshake: Handshake::new(PeerType::Server),
            begun: false,
        }
    }

    /// Response bytes and, once the handshake is done, the bytes that followed
    /// it.
    pub(super) fn advance(
        &mut self,
        input: &[u8],
    ) -> Result<(Vec<u8>, Option<Vec<u8>>), SessionError> {
        if !self.begun {
            recognise(input)?;
            self.begun = !input.is_empty();
        }
        let processed = self.handshake.process_bytes(input);
        match processed.map_err(|_| SessionError::NotRtmp)? {
            HandshakeProcessResult::InProgress { response_bytes } => Ok((response_bytes, None)),
            HandshakeProcessResult::Completed {
                response_bytes,
                remaining_bytes,
            } => Ok((response_bytes, Some(remaining_bytes))),
        }
    }
}

/// Recognises other protocols sent to an RTMP port by their first bytes.
fn recognise(first: &[u8]) -> Result<(), SessionError> {
    const METHODS: [&[u8]; 7] = [
        b"GET ", b"POST", b"HEAD", b"PUT ", b"OPTI", b"CONN", b"PRI ",
    ];
    match first {
        [] | [3, ..] => Ok(()),
        [0x16, 3, ..] | [0x16] => Err(SessionError::Tls),
        [6 | 8 | 9, ..] => Err(SessionError::Rtmpe),
        _ if METHODS
            .iter()
            .any(|method| method.starts_with(first) || first.starts_with(method)) =>
        {
            Err(SessionError::Http)
        }
        _ => Err(SessionError::NotRtmp),
    }
}

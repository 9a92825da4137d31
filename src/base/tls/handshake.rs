use std::fmt;
use std::io;

use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Encrypted connection.
pub type TlsConnection = TlsStream<TcpStream>;

/// First byte of every TLS connection: the content type of a handshake record
/// (RFC 8446, section 5.1).
const HANDSHAKE_RECORD: u8 = 22;

/// Makes handshakes with the newest certificate.
#[derive(Clone)]
pub struct Acceptor(TlsAcceptor);

/// Reason of a failed handshake.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// Peer without TLS; nothing was read, so that it can be answered in its
    /// own protocol.
    #[error("not a TLS client")]
    NotTls(TcpStream),
    #[error("disconnected during the TLS handshake")]
    HungUp,
    #[error("the TLS handshake failed: {0}")]
    Failed(io::Error),
}

impl Acceptor {
    pub(super) fn new(acceptor: TlsAcceptor) -> Self {
        Self(acceptor)
    }

    /// Makes a handshake without a deadline; the caller sets one.
    pub async fn accept(&self, socket: TcpStream) -> Result<TlsConnection, HandshakeError> {
        let mut first = [0];
        match socket.peek(&mut first).await? {
            0 => return Err(HandshakeError::HungUp),
            _ if first[0] != HANDSHAKE_RECORD => return Err(HandshakeError::NotTls(socket)),
            _ => {}
        }
        Ok(self.0.accept(socket).await?)
    }
}

impl From<io::Error> for HandshakeError {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
        match error.kind() {
            BrokenPipe | ConnectionReset | UnexpectedEof => Self::HungUp,
            _ => Self::Failed(error),
        }
    }
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Acceptor(..)")
    }
}

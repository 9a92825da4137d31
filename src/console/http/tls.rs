//! TLS for HTTP: handshakes, and the reasons of failed ones.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use watchtower_base::tls::{Acceptor, HandshakeError, TlsConnection};

/// Time limit from the accepted socket to the end of the handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Time limit for sending the answer to a plain HTTP request.
const FAREWELL: Duration = Duration::from_millis(400);

/// Response to a plain HTTP request on the HTTPS port.
const PLAIN: &str = "HTTPS only: use https://\n";

/// Makes the handshake within its time limit.
pub(crate) async fn encrypt(
    acceptor: &Acceptor,
    socket: TcpStream,
) -> Result<TlsConnection, HandshakeError> {
    match timeout(HANDSHAKE, acceptor.accept(socket)).await {
        Ok(Err(HandshakeError::NotTls(mut socket))) => {
            let _ = timeout(FAREWELL, turn_away(&mut socket)).await;
            Err(HandshakeError::NotTls(socket))
        }
        Ok(made) => made,
        Err(_) => {
            let why = format!("not complete after {HANDSHAKE:?}");
            let late = io::Error::new(io::ErrorKind::TimedOut, why);
            Err(HandshakeError::Failed(late))
        }
    }
}

/// Answers a peer in plain HTTP, if it sent that.
async fn turn_away(socket: &mut TcpStream) -> io::Result<()> {
    let length = PLAIN.len();
    let answer = format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\n\
         content-length: {length}\r\nconnection: close\r\n\r\n{PLAIN}"
    );
    socket.write_all(answer.as_bytes()).await?;
    socket.shutdown().await?;
    // Closing with unread bytes would reset the connection and take the
    // answer with it.
    let mut sink = [0; 4096];
    while socket.read(&mut sink).await? > 0 {}
    Ok(())
}

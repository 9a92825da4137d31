//! TLS in front of HTTP: handshakes happen beside each other, so that a peer
//! that dawdles holds up nobody.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::serve::Listener;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{debug, warn};

use crate::tls::{Acceptor, HandshakeError, Stream};

/// From the accepted socket to the end of the handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Handshakes under way; beyond that new connections wait in the kernel.
const HANDSHAKES: usize = 512;
/// How long a peer may take to read that it came the wrong way.
const FAREWELL: Duration = Duration::from_millis(400);
/// Between two lines about handshakes that failed.
const QUIET: Duration = Duration::from_secs(1);
/// After the listener failed (no file descriptors left, mostly).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a browser is told that asked for `http://`.
const PLAIN: &str = "this address speaks HTTPS only: ask for https:// instead\n";

type Handshake = Result<(Stream, SocketAddr), (SocketAddr, HandshakeError)>;

/// A listener whose connections are encrypted when it hands them out.
pub(super) struct Https {
    listener: TcpListener,
    acceptor: Acceptor,
    handshakes: JoinSet<Handshake>,
    failures: Failures,
}

impl Https {
    pub(super) fn new(listener: TcpListener, acceptor: Acceptor) -> Self {
        Self {
            listener,
            acceptor,
            handshakes: JoinSet::new(),
            failures: Failures::default(),
        }
    }

    fn begin(&mut self, socket: TcpStream, peer: SocketAddr) {
        let acceptor = self.acceptor.clone();
        self.handshakes.spawn(async move {
            match timeout(HANDSHAKE, acceptor.accept(socket)).await {
                Ok(Ok(stream)) => Ok((stream, peer)),
                Ok(Err(HandshakeError::NotTls(mut socket))) => {
                    let _ = timeout(FAREWELL, turn_away(&mut socket)).await;
                    Err((peer, HandshakeError::NotTls(socket)))
                }
                Ok(Err(error)) => Err((peer, error)),
                Err(_) => {
                    let why = format!("it is not done after {HANDSHAKE:?}");
                    let late = io::Error::new(io::ErrorKind::TimedOut, why);
                    Err((peer, HandshakeError::Failed(late)))
                }
            }
        });
    }
}

impl Listener for Https {
    type Io = Stream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Stream, SocketAddr) {
        loop {
            tokio::select! {
                accepted = self.listener.accept(), if self.handshakes.len() < HANDSHAKES => {
                    match accepted {
                        Ok((socket, peer)) => self.begin(socket, peer),
                        Err(error) => {
                            warn!(%error, "failed to accept an HTTPS connection");
                            tokio::time::sleep(ACCEPT_PAUSE).await;
                        }
                    }
                }
                Some(done) = self.handshakes.join_next() => match done {
                    Ok(Ok(connection)) => return connection,
                    Ok(Err((peer, error))) => self.failures.tell(peer, &error),
                    Err(error) => warn!(%error, "a TLS handshake panicked"),
                },
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// In the protocol it speaks, if that is HTTP.
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

/// At most one line a second, however many fail.
#[derive(Default)]
struct Failures {
    told: Option<Instant>,
    held: u64,
}

impl Failures {
    fn tell(&mut self, peer: SocketAddr, error: &HandshakeError) {
        // How port scans and health checks of load balancers look.
        if matches!(error, HandshakeError::HungUp) {
            return debug!(%peer, "HTTPS connection closed: {error}");
        }
        if self.told.is_some_and(|told| told.elapsed() < QUIET) {
            self.held += 1;
            return;
        }
        let more = match std::mem::take(&mut self.held) {
            0 => String::new(),
            held => format!(" ({held} more since the last line)"),
        };
        warn!(%peer, "HTTPS connection closed: {error}{more}");
        self.told = Some(Instant::now());
    }
}

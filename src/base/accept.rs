//! Accept loop of a TCP listener: takes connections, gives each a task, and
//! drains them at the end.
//!
//! Admission, and logging of refused connections, are the caller's.

use std::borrow::Borrow;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use crate::log_limit::LogLimit;

/// Pause after the listener failed, mostly for want of file descriptors
/// (EMFILE).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts until `shutdown`, closes the listener if it owns it, and returns
/// once the last connection has ended. Dropping the future aborts them.
///
/// `admit` makes a connection's future, or refuses it with `None`: the socket
/// is closed. `kind` names a connection in the log, with its article.
/// `panicked` is called for each connection that panicked.
pub async fn accept_until<F>(
    listener: impl Borrow<TcpListener>,
    kind: &'static str,
    shutdown: &CancellationToken,
    mut admit: impl FnMut(TcpStream, SocketAddr) -> Option<F>,
    panicked: impl Fn(),
) where
    F: Future<Output = ()> + Send + 'static,
{
    let contain = |ended: Result<(), JoinError>| {
        if let Err(error) = ended {
            // A bug, though no other connection is affected. The panic hook has
            // logged the place.
            error!(%error, "{kind} panicked");
            panicked();
        }
    };
    let complaints = LogLimit::default();
    let mut connections = JoinSet::new();
    loop {
        let open = Borrow::<TcpListener>::borrow(&listener);
        tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = open.accept() => match accepted {
                Ok((socket, peer)) => {
                    if let Some(connection) = admit(socket, peer) {
                        connections.spawn(connection);
                    }
                }
                // An error of this peer's connection; the next accept need not
                // wait.
                Err(error) if is_of_peer(&error) => debug!(%error, "failed to accept {kind}"),
                Err(error) => {
                    if let Some(held) = complaints.admit() {
                        warn!(%error, "failed to accept {kind}{held}");
                    }
                    let pause = tokio::time::sleep(ACCEPT_PAUSE);
                    shutdown.run_until_cancelled(pause).await;
                }
            },
            Some(ended) = connections.join_next() => contain(ended),
        }
    }
    drop(listener);
    while let Some(ended) = connections.join_next().await {
        contain(ended);
    }
}

/// True for an error of the connection that was to be accepted.
fn is_of_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::task::JoinHandle;
    use tokio::time::timeout;

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    struct Listening {
        address: SocketAddr,
        shutdown: CancellationToken,
        panics: Arc<AtomicUsize>,
        accepting: JoinHandle<()>,
    }

    /// Echoes one byte to each peer; panics at `!`, and refuses connections
    /// beyond `places`.
    async fn start(places: usize) -> Listening {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let shutdown = CancellationToken::new();
        let panics = Arc::new(AtomicUsize::new(0));
        let (stop, counted) = (shutdown.clone(), Arc::clone(&panics));
        let accepting = tokio::spawn(async move {
            let mut left = places;
            let admit = |mut socket: TcpStream, _: SocketAddr| {
                left = left.checked_sub(1)?;
                Some(async move {
                    let byte = socket.read_u8().await.expect("a byte");
                    assert_ne!(byte, b'!', "a bug of this connection");
                    socket.write_u8(byte).await.expect("written");
                })
            };
            let panicked = || {
                counted.fetch_add(1, Ordering::Relaxed);
            };
            accept_until(listener, "a test connection", &stop, admit, panicked).await;
        });
        Listening {
            address,
            shutdown,
            panics,
            accepting,
        }
    }

    impl Listening {
        async fn connect(&self) -> TcpStream {
            TcpStream::connect(self.address).await.expect("it listens")
        }
    }

    /// Byte echoed; `None` if the connection is closed instead.
    async fn answer(socket: &mut TcpStream) -> Option<u8> {
        timeout(SOON, socket.read_u8()).await.expect("an end").ok()
    }

    #[tokio::test]
    async fn connections_are_served_refused_and_isolated() {
        let server = start(2).await;
        let mut broken = server.connect().await;
        broken.write_all(b"!").await.expect("written");
        assert_eq!(answer(&mut broken).await, None);
        let mut good = server.connect().await;
        good.write_all(b"a").await.expect("written");
        assert_eq!(answer(&mut good).await, Some(b'a'));
        let mut refused = server.connect().await;
        assert_eq!(answer(&mut refused).await, None);
        server.shutdown.cancel();
        let ended = timeout(SOON, server.accepting).await.expect("it ends");
        ended.expect("no panic of its own");
        assert_eq!(server.panics.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn shutdown_waits_for_open_connections_and_accepts_no_others() {
        let server = start(2).await;
        let mut open = server.connect().await;
        let mut other = server.connect().await;
        other.write_all(b"a").await.expect("written");
        // Both were accepted, in this order.
        assert_eq!(answer(&mut other).await, Some(b'a'));
        server.shutdown.cancel();
        let closed = async {
            while TcpStream::connect(server.address).await.is_ok() {
                tokio::task::yield_now().await;
            }
        };
        timeout(SOON, closed).await.expect("the listener closes");
        assert!(!server.accepting.is_finished());
        open.write_all(b"b").await.expect("written");
        assert_eq!(answer(&mut open).await, Some(b'b'));
        let ended = timeout(SOON, server.accepting).await.expect("it ends");
        ended.expect("no panic");
    }

    #[test]
    fn accept_errors_of_a_connection_differ_from_listener_errors() {
        let error = |number| io::Error::from_raw_os_error(number);
        assert!(is_of_peer(&error(libc::ECONNABORTED)));
        assert!(!is_of_peer(&error(libc::EMFILE)));
        assert!(!is_of_peer(&error(libc::ENFILE)));
    }
}

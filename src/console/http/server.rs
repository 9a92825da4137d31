//! HTTP/1.1 server: admission of connections, TLS where configured, and
//! deadlines.
//!
//! All of this happens before authentication, so that the resources of
//! unauthenticated peers are capped: connections, per address and in total, and
//! the idle time of each.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tower_http::add_extension::AddExtension;
use tracing::{debug, warn};

use watchtower_base::accept::accept_until;
use watchtower_base::connection_limit::{Caps, ConnectionLimiter, ConnectionSlot};
use watchtower_base::log_limit::LogLimit;
use watchtower_base::tls::{Acceptor, HandshakeError};

use crate::http::tls;
use crate::http::write_deadline::WriteDeadline;

/// Limits on connections held open by unauthenticated clients.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConnectionLimits {
    pub(crate) caps: Caps,
    /// Time limit for the next request's header, and so of an idle connection.
    pub(crate) header: Duration,
    /// Time limit for sending without any progress; a slow client makes some.
    pub(crate) write: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            // An office behind one address (NAT) has many tabs open.
            caps: Caps {
                per_address: 256,
                total: 2048,
                spares_loopback: true,
            },
            header: Duration::from_secs(10),
            write: Duration::from_secs(30),
        }
    }
}

/// Serves until `shutdown`, then finishes the requests under way.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Option<Acceptor>,
    router: Router,
    limits: ConnectionLimits,
    shutdown: CancellationToken,
) {
    // TLS offers only HTTP/1.1 too. Version detection by the first bytes is
    // off, as hyper would wait for them without a deadline.
    let mut http = Builder::new(TokioExecutor::new()).http1_only();
    http.http1()
        // Without a timer hyper has no deadlines at all.
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header);
    let shared = Arc::new(HttpServerState {
        router,
        http,
        tls,
        failures: LogLimit::default(),
        write: limits.write,
        shutdown: shutdown.clone(),
    });
    let admission = Arc::new(ConnectionLimiter::new(limits.caps));
    let refusals = LogLimit::default();
    let admit = |socket: TcpStream, peer: SocketAddr| match admission.admit(peer.ip()) {
        Ok(place) => Some(Arc::clone(&shared).attend(socket, peer, place)),
        Err(turned) => {
            if let Some(held) = refusals.admit() {
                warn!(%peer, "HTTP connection refused: {turned}{held}");
            }
            None
        }
    };
    accept_until(listener, "an HTTP connection", &shutdown, admit, || {}).await;
}

/// State shared by all connections.
struct HttpServerState {
    router: Router,
    http: Builder<TokioExecutor>,
    tls: Option<Acceptor>,
    failures: LogLimit,
    write: Duration,
    shutdown: CancellationToken,
}

impl HttpServerState {
    async fn attend(self: Arc<Self>, socket: TcpStream, peer: SocketAddr, _place: ConnectionSlot) {
        let Some(acceptor) = &self.tls else {
            return self.serve_stream(socket, peer).await;
        };
        let handshake = tls::encrypt(acceptor, socket);
        match self.shutdown.run_until_cancelled(handshake).await {
            None => {}
            Some(Ok(stream)) => self.serve_stream(stream, peer).await,
            // Typical of port scans and health checks of load balancers.
            Some(Err(error @ HandshakeError::HungUp)) => {
                debug!(%peer, "HTTPS connection closed: {error}");
            }
            Some(Err(error)) => {
                if let Some(held) = self.failures.admit() {
                    warn!(%peer, "HTTPS connection closed: {error}{held}");
                }
            }
        }
    }

    async fn serve_stream(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        peer: SocketAddr,
    ) {
        let service = AddExtension::new(self.router.clone(), ConnectInfo(peer));
        let service = TowerToHyperService::new(service);
        let stream = WriteDeadline::new(stream, self.write);
        let connection = self.http.serve_connection(TokioIo::new(stream), service);
        let mut connection = pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.shutdown.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            debug!(%peer, "HTTP connection closed: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::time::timeout;

    use super::*;

    const SOON: Duration = Duration::from_secs(10);
    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: tower\r\n\r\n";

    struct Running {
        address: SocketAddr,
        shutdown: CancellationToken,
        serving: tokio::task::JoinHandle<()>,
    }

    /// Starts a server that responds with the peer's address, after a delay.
    async fn start(total: usize, header: Duration, answer: Duration) -> Running {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let page = move |ConnectInfo(peer): ConnectInfo<SocketAddr>| async move {
            tokio::time::sleep(answer).await;
            peer.to_string()
        };
        let limits = ConnectionLimits {
            caps: Caps {
                per_address: 1,
                total,
                spares_loopback: true,
            },
            header,
            write: Duration::from_secs(1),
        };
        let shutdown = CancellationToken::new();
        let router = Router::new().route("/", get(page));
        let serving = serve(listener, None, router, limits, shutdown.clone());
        Running {
            address,
            shutdown,
            serving: tokio::spawn(serving),
        }
    }

    impl Running {
        async fn connect(&self) -> TcpStream {
            TcpStream::connect(self.address).await.expect("it listens")
        }
    }

    /// Reads everything until the other side closes.
    async fn rest(socket: &mut TcpStream) -> String {
        let mut received = Vec::new();
        // A close with unread data is a reset.
        let _ = timeout(SOON, socket.read_to_end(&mut received))
            .await
            .expect("it closes");
        String::from_utf8(received).expect("text")
    }

    #[tokio::test]
    async fn idle_and_partial_requests_time_out_and_free_their_slots() {
        let server = start(2, Duration::from_secs(4), Duration::ZERO).await;
        let mut silent = server.connect().await;
        let mut half = server.connect().await;
        half.write_all(&REQUEST[..20]).await.expect("written");
        // Let the server accept both.
        tokio::time::sleep(Duration::from_millis(50)).await;
        let mut third = server.connect().await;
        let started = Instant::now();
        assert_eq!(rest(&mut third).await, "");
        assert!(started.elapsed() < Duration::from_secs(2));
        for socket in [&mut silent, &mut half] {
            let received = rest(socket).await;
            assert!(!received.contains("200"), "{received}");
        }
        let mut fourth = server.connect().await;
        let peer = fourth.local_addr().expect("an address").to_string();
        // Kept alive for the time limit of the next header.
        for _ in 0..2 {
            fourth.write_all(REQUEST).await.expect("written");
            let mut answer = vec![0; 1024];
            let read = timeout(SOON, fourth.read(&mut answer)).await;
            let read = read.expect("an answer").expect("readable");
            let answer = String::from_utf8_lossy(&answer[..read]);
            assert!(
                answer.contains("200 OK") && answer.ends_with(&peer),
                "{answer}"
            );
        }
        rest(&mut fourth).await;
    }

    /// A slow reader is served to the end.
    #[tokio::test]
    async fn client_without_reads_is_closed_and_a_slow_one_is_not() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let large = vec![b'x'; 16 << 20];
        let router = Router::new().route("/", get(move || async move { large }));
        let limits = ConnectionLimits {
            write: Duration::from_secs(1),
            ..ConnectionLimits::default()
        };
        let shutdown = CancellationToken::new();
        let serving = tokio::spawn(serve(listener, None, router, limits, shutdown.clone()));
        let mut deaf = TcpStream::connect(address).await.expect("it listens");
        let mut slow = TcpStream::connect(address).await.expect("it listens");
        for socket in [&mut deaf, &mut slow] {
            socket.write_all(REQUEST).await.expect("written");
        }
        let (mut read, mut part) = (0, vec![0; 1 << 20]);
        let began = Instant::now();
        while read < 16 << 20 {
            let count = timeout(SOON, slow.read(&mut part)).await;
            let count = count.expect("it goes on").expect("not cut off");
            assert!(count > 0, "cut off after {read} bytes");
            read += count;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // The slot of a client that reads nothing is freed.
        tokio::time::sleep((Duration::from_secs(3)).saturating_sub(began.elapsed())).await;
        let mut got = 0;
        loop {
            match timeout(SOON, deaf.read(&mut part)).await.expect("it ends") {
                Ok(0) | Err(_) => break,
                Ok(count) => got += count,
            }
        }
        assert!(got < 16 << 20, "all was kept for it");
        shutdown.cancel();
        drop(slow);
        timeout(SOON, serving)
            .await
            .expect("it ends")
            .expect("no panic");
    }

    #[tokio::test]
    async fn drain_finishes_open_requests_only() {
        let server = start(9, Duration::from_secs(60), Duration::from_secs(4)).await;
        let mut silent = server.connect().await;
        let mut asking = server.connect().await;
        asking.write_all(REQUEST).await.expect("written");
        tokio::time::sleep(Duration::from_secs(1)).await;
        server.shutdown.cancel();
        assert!(rest(&mut asking).await.contains("200 OK"));
        assert_eq!(rest(&mut silent).await, "");
        timeout(SOON, server.serving)
            .await
            .expect("it ends")
            .expect("no panic");
        assert!(TcpStream::connect(server.address).await.is_err());
    }
}

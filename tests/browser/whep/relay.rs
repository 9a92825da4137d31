//! UDP relay between server and viewer, with configurable loss.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, UdpSocket};
use tokio::sync::watch;

#[derive(Clone)]
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    /// Packet loss towards the viewer, per thousand.
    loss: Arc<AtomicU32>,
    /// Loss of the viewer's, or publisher's, own media, per thousand.
    upward_loss: Arc<AtomicU32>,
    pub(crate) lost: Arc<AtomicU64>,
    /// Flag: towards the viewer, only checks and handshakes are forwarded.
    muted: Arc<AtomicBool>,
    /// Datagrams the viewer sent, the newest last.
    sent_by_viewer: Arc<Mutex<Vec<Vec<u8>>>>,
    /// Number of DTLS datagrams still forwarded to the server.
    dtls: Arc<AtomicU32>,
    /// Flag: nothing is forwarded to the server.
    cut: Arc<AtomicBool>,
    far: Arc<UdpSocket>,
}

/// More than a handshake and some seconds of feedback.
const REMEMBERED: usize = 400;

impl Relay {
    pub(crate) async fn start(server: SocketAddr) -> Self {
        let near = Arc::new(UdpSocket::bind("127.0.0.1:0").await.expect("bound"));
        let far = Arc::new(UdpSocket::bind("127.0.0.1:0").await.expect("bound"));
        far.connect(server).await.expect("connected");
        let relay = Self {
            address: near.local_addr().expect("bound"),
            loss: Arc::default(),
            upward_loss: Arc::default(),
            lost: Arc::default(),
            muted: Arc::default(),
            sent_by_viewer: Arc::default(),
            dtls: Arc::new(AtomicU32::new(u32::MAX)),
            cut: Arc::default(),
            far: Arc::clone(&far),
        };
        let viewer: Arc<Mutex<Option<SocketAddr>>> = Arc::default();
        let (inward, outward) = (Arc::clone(&near), Arc::clone(&far));
        let seen = Arc::clone(&viewer);
        let state = relay.clone();
        tokio::spawn(async move {
            let mut buffer = vec![0; 2048];
            while let Ok((length, from)) = inward.recv_from(&mut buffer).await {
                *seen.lock().expect("not poisoned") = Some(from);
                if state.lets_through(&buffer[..length]) {
                    let _ = outward.send(&buffer[..length]).await;
                }
            }
        });
        let state = relay.clone();
        tokio::spawn(async move {
            let mut buffer = vec![0; 2048];
            loop {
                let Ok(length) = far.recv(&mut buffer).await else {
                    continue;
                };
                let media = matches!(buffer[0], 128..=191);
                if media && state.muted.load(Ordering::Relaxed) {
                    continue;
                }
                if rand::random_range(0..1000) < state.loss.load(Ordering::Relaxed) {
                    state.lost.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                let to = *viewer.lock().expect("not poisoned");
                if let Some(to) = to {
                    let _ = near.send_to(&buffer[..length], to).await;
                }
            }
        });
        relay
    }

    fn lets_through(&self, datagram: &[u8]) -> bool {
        let mut sent_by_viewer = self.sent_by_viewer.lock().expect("not poisoned");
        if sent_by_viewer.len() >= REMEMBERED {
            sent_by_viewer.remove(0);
        }
        sent_by_viewer.push(datagram.to_vec());
        if is_dtls(datagram) {
            let left = |left: u32| left.checked_sub(1);
            let taken = self
                .dtls
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, left);
            return taken.is_ok();
        }
        let media = matches!(datagram.first(), Some(128..=191));
        if media && rand::random_range(0..1000) < self.upward_loss.load(Ordering::Relaxed) {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        !self.cut.load(Ordering::Relaxed)
    }

    pub(crate) fn sent_by_viewer(&self) -> Vec<Vec<u8>> {
        self.sent_by_viewer.lock().expect("not poisoned").clone()
    }

    /// Sends from the address the server knows as the viewer's.
    pub(crate) async fn inject(&self, datagram: &[u8]) {
        self.far.send(datagram).await.expect("loopback");
    }

    pub(crate) fn dtls_left(&self, count: u32) {
        self.dtls.store(count, Ordering::Relaxed);
    }

    /// Simulates a cable pulled at the viewer.
    pub(crate) fn cut(&self) {
        self.dtls_left(0);
        self.lose(1000);
        self.cut.store(true, Ordering::Relaxed);
    }

    /// Simulates a connection without media.
    pub(crate) fn mute(&self) {
        self.muted.store(true, Ordering::Relaxed);
    }

    /// Loses media on its way to the server.
    pub(crate) fn lose_upward(&self, per_thousand: u32) {
        self.upward_loss.store(per_thousand, Ordering::Relaxed);
    }

    pub(crate) fn lose(&self, per_thousand: u32) {
        self.loss.store(per_thousand, Ordering::Relaxed);
    }
}

/// First byte of DTLS (RFC 7983, section 7).
pub(crate) fn is_dtls(datagram: &[u8]) -> bool {
    matches!(datagram.first(), Some(20..=63))
}

/// TCP relay whose direction towards the viewer can be stalled.
pub(crate) struct TcpRelay {
    pub(crate) port: u16,
    stalled: watch::Sender<bool>,
}

impl TcpRelay {
    pub(crate) async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let port = listener.local_addr().expect("bound").port();
        let stalled = watch::Sender::new(false);
        let watching = stalled.subscribe();
        tokio::spawn(async move {
            while let Ok((viewer, _)) = listener.accept().await {
                // Small, so that a stall soon reaches the other end.
                let socket = TcpSocket::new_v4().expect("a socket");
                socket.set_recv_buffer_size(64 << 10).expect("a size");
                let Ok(server) = socket.connect(server).await else {
                    return;
                };
                let (mut sent_by_viewer, mut to_viewer) = viewer.into_split();
                let (mut from_server, mut to_server) = server.into_split();
                tokio::spawn(async move {
                    let _ = tokio::io::copy(&mut sent_by_viewer, &mut to_server).await;
                });
                let mut stalled = watching.clone();
                tokio::spawn(async move {
                    let mut buffer = vec![0; 4096];
                    while stalled.wait_for(|stalled| !stalled).await.is_ok() {
                        let Ok(length @ 1..) = from_server.read(&mut buffer).await else {
                            return;
                        };
                        if to_viewer.write_all(&buffer[..length]).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self { port, stalled }
    }

    pub(crate) fn stall(&self, stalled: bool) {
        self.stalled.send_replace(stalled);
    }
}

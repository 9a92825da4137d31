//! Emulated link in front of one viewer, with a configurable bandwidth.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Maximum queueing delay before packets are dropped, as in a home router's
/// buffer, and the propagation delay after it.
const QUEUE: Duration = Duration::from_millis(250);
const WAY: Duration = Duration::from_millis(20);
/// Size of the IPv4 and UDP headers of a packet, in bytes.
const HEADERS: usize = 28;

pub(crate) struct Bottleneck {
    /// Address at which the viewer finds the server.
    pub(crate) address: SocketAddr,
    /// Bytes the server sent towards the viewer, with their IP headers.
    pub(crate) sent: Arc<AtomicU64>,
    /// Number of those dropped by the full queue.
    pub(crate) lost: Arc<AtomicU64>,
}

impl Bottleneck {
    /// Forwards so many bytes a second towards the viewer, and everything
    /// towards the server.
    pub(crate) async fn start(server: SocketAddr, rate: f64) -> Self {
        let near = Arc::new(UdpSocket::bind("127.0.0.1:0").await.expect("bound"));
        let far = Arc::new(UdpSocket::bind("127.0.0.1:0").await.expect("bound"));
        far.connect(server).await.expect("connected");
        let link = Self {
            address: near.local_addr().expect("bound"),
            sent: Arc::default(),
            lost: Arc::default(),
        };
        let viewer: Arc<Mutex<Option<SocketAddr>>> = Arc::default();
        let (inward, outward) = (Arc::clone(&near), Arc::clone(&far));
        let seen = Arc::clone(&viewer);
        tokio::spawn(async move {
            let mut buffer = vec![0; 2048];
            while let Ok((length, from)) = inward.recv_from(&mut buffer).await {
                *seen.lock().expect("not poisoned") = Some(from);
                let _ = outward.send(&buffer[..length]).await;
            }
        });
        let (queue, mut behind) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
        tokio::spawn(async move {
            while let Some((due, datagram)) = behind.recv().await {
                tokio::time::sleep_until(due).await;
                let to = *viewer.lock().expect("not poisoned");
                if let Some(to) = to {
                    let _ = near.send_to(&datagram, to).await;
                }
            }
        });
        let (sent, lost) = (Arc::clone(&link.sent), Arc::clone(&link.lost));
        tokio::spawn(async move {
            let mut buffer = vec![0; 2048];
            let mut free = Instant::now();
            loop {
                let Ok(length) = far.recv(&mut buffer).await else {
                    continue;
                };
                let wire = length + HEADERS;
                sent.fetch_add(wire as u64, Ordering::Relaxed);
                let now = Instant::now();
                if free > now + QUEUE {
                    lost.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                free = free.max(now) + Duration::from_secs_f64(wire as f64 / rate);
                if queue.send((free + WAY, buffer[..length].to_vec())).is_err() {
                    return;
                }
            }
        });
        link
    }
}

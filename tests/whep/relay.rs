//! A UDP relay between server and viewer that loses what it is told to.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use tokio::net::UdpSocket;

#[derive(Clone)]
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    /// Of a thousand packets towards the viewer, how many are lost.
    loss: Arc<AtomicU32>,
    pub(crate) lost: Arc<AtomicU64>,
}

impl Relay {
    pub(crate) async fn start(server: SocketAddr) -> Self {
        let near = Arc::new(UdpSocket::bind("127.0.0.1:0").await.expect("bound"));
        let far = Arc::new(UdpSocket::bind("127.0.0.1:0").await.expect("bound"));
        far.connect(server).await.expect("connected");
        let relay = Self {
            address: near.local_addr().expect("bound"),
            loss: Arc::default(),
            lost: Arc::default(),
        };
        let viewer: Arc<std::sync::Mutex<Option<SocketAddr>>> = Arc::default();
        let (inward, outward) = (Arc::clone(&near), Arc::clone(&far));
        let seen = Arc::clone(&viewer);
        tokio::spawn(async move {
            let mut buffer = vec![0; 2048];
            while let Ok((length, from)) = inward.recv_from(&mut buffer).await {
                *seen.lock().expect("not poisoned") = Some(from);
                let _ = outward.send(&buffer[..length]).await;
            }
        });
        let state = relay.clone();
        tokio::spawn(async move {
            let mut buffer = vec![0; 2048];
            loop {
                let Ok(length) = far.recv(&mut buffer).await else {
                    continue;
                };
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

    pub(crate) fn lose(&self, per_thousand: u32) {
        self.loss.store(per_thousand, Ordering::Relaxed);
    }
}

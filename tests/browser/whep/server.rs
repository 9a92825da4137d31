//! Server of playback alone, on ports of its own.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::response::Html;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use watchtower::base::metrics::MetricsRegistry;
use watchtower::media::hub::StreamHub;
use watchtower::media::hub::renditions::Renditions;
use watchtower::playback;
use watchtower::playback::metrics::PlaybackMetrics;
use watchtower::playback::settings::WebrtcSettings;
use watchtower::playback::{Gateway, GatewaySettings};

pub(crate) struct WhepServer {
    pub(crate) http: SocketAddr,
    pub(crate) media: SocketAddr,
    pub(crate) hub: StreamHub,
    pub(crate) renditions: Renditions,
    registry: MetricsRegistry,
    shutdown: CancellationToken,
}

impl WhepServer {
    pub(crate) async fn start(max_viewers: usize) -> Self {
        Self::on("127.0.0.1:0", None, max_viewers).await
    }

    /// Starts with media on this address, and HTTP on it with another port.
    pub(crate) async fn on(address: &str, public: Option<&str>, max_viewers: usize) -> Self {
        let hub = StreamHub::holding();
        let renditions = Renditions::new();
        let mut registry = MetricsRegistry::default();
        let metrics = Arc::new(PlaybackMetrics::new(&mut registry));
        let settings = GatewaySettings {
            address: address.parse().expect("an address"),
            public_address: public.map(ToOwned::to_owned),
            webrtc: WebrtcSettings {
                max_viewers,
                ..WebrtcSettings::default()
            },
        };
        let gateway = Gateway::bind(settings, hub.clone(), renditions.clone(), metrics)
            .await
            .expect("bound");
        let media = gateway.local_addr();
        let page = get(|| async { Html(include_str!("page.html")) });
        let router = Router::new()
            .route("/", page)
            .merge(playback::router(gateway.clone()));
        let listener = TcpListener::bind(address).await.expect("bound");
        let http = listener.local_addr().expect("bound");
        let shutdown = CancellationToken::new();
        tokio::spawn(gateway.run(shutdown.clone()));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self {
            http,
            media,
            hub,
            renditions,
            registry,
            shutdown,
        }
    }

    /// Value of a line of `/metrics`.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let page = self.registry.render();
        let line = page
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
            .unwrap_or_else(|| panic!("{name} is missing in\n{page}"));
        line.parse().expect("a number")
    }

    /// Waits until a metric has the expected value.
    pub(crate) async fn wait_for(&self, name: &str, wanted: f64, seconds: u64) {
        for _ in 0..seconds * 20 {
            if self.metric(name) == wanted {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        panic!(
            "{name} is {} after {seconds} s, not {wanted}",
            self.metric(name)
        );
    }
}

impl Drop for WhepServer {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

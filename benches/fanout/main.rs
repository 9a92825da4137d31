//! Viewers per core, and their latency: `scripts/bench.sh fanout`.
//!
//! ```text
//! fanout server SECONDS               serves a stream, reports its CPU and memory
//! fanout client HTTP VIEWERS SECONDS [aes-cm]
//!                                     watches it, counts packets and gaps; aes-cm:
//!                                     lists AES-CM before AES-GCM
//! fanout latency VIEWERS              both in one process: push to arrival
//! fanout churn JOINS                  both in one process: memory over joins
//! fanout link FACTOR SLOW GOOD SECONDS
//!                                     one process: SLOW viewers behind links of FACTOR
//!                                     times the stream's rate, GOOD ones beside them
//! fanout sendto SECONDS               baseline: a bare loop of sends
//! ```

#[path = "../../tests/browser/whep/bottleneck.rs"]
mod bottleneck;
mod client;
#[path = "../../tests/browser/whep/clip.rs"]
mod clip;
mod link;
mod process;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::serve;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use watchtower::base::stream_name::StreamName;
use watchtower::media::MediaUnit;
use watchtower::media::hub::StreamHub;
use watchtower::media::hub::renditions::Renditions;
use watchtower::playback;
use watchtower::playback::metrics::PlaybackMetrics;
use watchtower::playback::settings::WebrtcSettings;
use watchtower::playback::{Gateway, GatewaySettings};

use client::{Crowd, Manner};
use clip::Recipe;
use process::ProcessUsage;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    // Workers: one per core, and the runs are pinned to one.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(process::cores())
        .enable_all()
        .build()
        .expect("a runtime");
    match words.as_slice() {
        ["server", seconds] => runtime.block_on(server(number(seconds))),
        ["client", http, viewers, seconds, rest @ ..] => {
            let http = http.parse().expect("an address");
            let manner = Manner {
                prefers_aes_cm: rest == ["aes-cm"],
                ..Manner::default()
            };
            runtime.block_on(client(http, number(viewers), number(seconds), manner));
        }
        ["latency", viewers] => runtime.block_on(latency(number(viewers))),
        ["link", factor, slow, good, seconds] => {
            runtime.block_on(link::watch(
                number(factor),
                number(slow),
                number(good),
                number(seconds),
            ));
        }
        ["churn", joins] => runtime.block_on(churn(number(joins))),
        ["sendto", seconds] => process::sendto(Duration::from_secs(number(seconds))),
        // `cargo bench` itself calls without any of these.
        _ => println!("see scripts/bench.sh"),
    }
}

fn number<T: std::str::FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| panic!("no number: {text}"))
}

struct Served {
    http: SocketAddr,
    media: SocketAddr,
    hub: StreamHub,
    renditions: Renditions,
    metrics: Arc<PlaybackMetrics>,
    _shutdown: tokio_util::sync::DropGuard,
}

async fn start() -> Served {
    let hub = StreamHub::new();
    let renditions = Renditions::new();
    let metrics = Arc::new(PlaybackMetrics::default());
    let settings = GatewaySettings {
        address: "127.0.0.1:0".parse().expect("an address"),
        public_address: None,
        webrtc: WebrtcSettings {
            max_viewers: 100_000,
            ..WebrtcSettings::default()
        },
    };
    let gateway = Gateway::bind(
        settings,
        hub.clone(),
        renditions.clone(),
        Arc::clone(&metrics),
    )
    .await
    .expect("bound");
    let media = gateway.local_addr();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let http = listener.local_addr().expect("bound");
    let router = playback::router(gateway.clone());
    tokio::spawn(async move { serve(listener, axum::Router::from(router)).await });
    let shutdown = CancellationToken::new();
    tokio::spawn(gateway.run(shutdown.clone()));
    Served {
        http,
        media,
        hub,
        renditions,
        metrics,
        _shutdown: shutdown.drop_guard(),
    }
}

/// Stream as sent by Zoom: 1080p30 at 2.5 Mb/s, a keyframe every 2 s.
fn zoom() -> Recipe {
    Recipe {
        size: "1920x1080",
        seconds: 8,
        group: 60,
        bitrate: "2500k",
        profile: "high",
        b_frames: 0,
    }
}

/// Reports once a second, until killed or the time has elapsed.
async fn server(seconds: u64) {
    let clip = Arc::new(zoom().make());
    let served = start().await;
    let _playing = clip.play(&served.hub, &served.renditions, "bench");
    println!("listening {}", served.http);
    for _ in 0..seconds {
        let before = ProcessUsage::now();
        let packets = served.metrics.viewer_packets.get();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let usage = ProcessUsage::now();
        println!(
            "viewers {} cpu {:.1} packets {} rss_mb {:.1}",
            served.metrics.viewers.get(),
            usage.percent_since(&before),
            served.metrics.viewer_packets.get() - packets,
            usage.resident_mb,
        );
    }
}

async fn client(http: SocketAddr, viewers: usize, seconds: u64, manner: Manner) {
    let mut crowd = Crowd::join(http, viewers, Duration::from_millis(20), manner).await;
    println!("joined {viewers}; {}", crowd.joins());
    // After the joins, which are measured above.
    tokio::time::sleep(Duration::from_secs(3)).await;
    crowd.begin();
    let usage = ProcessUsage::now();
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    println!(
        "{}; client cpu {:.1}",
        crowd.end(),
        ProcessUsage::now().percent_since(&usage)
    );
    std::process::exit(0);
}

/// Frames have no visible number, so the publisher pauses once: frames after
/// the pause are counted from there at both ends.
async fn latency(viewers: usize) {
    let clip = zoom().make();
    let served = start().await;
    let name = StreamName::new("bench").expect("valid");
    let publisher = served.hub.publish(&name);
    let units = &clip.units;
    let mut nth = 0;
    let mut push = || {
        let mut unit = units[nth % units.len()].clone();
        let time = nth as i64 * 90_000 / i64::from(clip::FPS);
        (unit.pts.0, unit.dts.0) = (time, time);
        nth += 1;
        publisher.push(MediaUnit::Video(unit)).expect("still ours");
    };
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / clip::FPS);
    for _ in 0..90 {
        ticks.tick().await;
        push();
    }
    let join = Crowd::join(
        served.http,
        viewers,
        Duration::from_millis(5),
        Manner::default(),
    );
    tokio::pin!(join);
    let mut crowd = loop {
        tokio::select! {
            crowd = &mut join => break crowd,
            _ = ticks.tick() => push(),
        }
    };
    println!("joined {viewers}; {}", crowd.joins());
    for _ in 0..60 {
        ticks.tick().await;
        push();
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    crowd.begin();
    let mut pushed = Vec::new();
    ticks.reset_immediately();
    for _ in 0..600 {
        ticks.tick().await;
        pushed.push(Instant::now());
        push();
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    println!("{}", crowd.latencies(&pushed));
    std::process::exit(0);
}

async fn churn(joins: usize) {
    let clip = Arc::new(zoom().make());
    let served = start().await;
    let _playing = clip.play(&served.hub, &served.renditions, "bench");
    tokio::time::sleep(Duration::from_secs(3)).await;
    for round in 0..=10 {
        println!(
            "after {} joins and leaves: {:.1} MB",
            round * joins / 10,
            ProcessUsage::now().resident_mb
        );
        for _ in 0..joins / 10 / 10 {
            let crowd = Crowd::join(
                served.http,
                10,
                Duration::from_millis(10),
                Manner::default(),
            )
            .await;
            crowd.leave().await;
        }
    }
    std::process::exit(0);
}

//! Viewers behind links of a multiple of the stream's bit rate, beside others
//! with fast links: bytes, pictures and gaps of each.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::bottleneck::Bottleneck;
use crate::client::{BenchViewer, Manner};
use crate::clip::Recipe;

/// Rate of a fast link: 100 Mb/s.
const WIDE: f64 = 12.5e6;
/// Time after which the link must be stable.
const CALM: usize = 2;

struct Watching {
    viewer: BenchViewer,
    link: Bottleneck,
    sent: u64,
    /// Bytes sent to it in each second.
    wire: Vec<f64>,
    /// Complete pictures, and their arrival.
    pictures: Vec<Instant>,
    lost: u64,
}

/// Measures for some seconds after all viewers have joined, and prints a line
/// for the slow viewers and one for the good ones.
pub(crate) async fn watch(factor: f64, slow: usize, good: usize, seconds: usize) {
    let recipe = Recipe {
        bitrate: "2650k",
        ..Recipe::default()
    };
    let clip = Arc::new(recipe.make());
    let rate = clip.rate();
    let served = crate::start().await;
    let stop = CancellationToken::new();
    tokio::spawn(watchtower::codec::supply(
        served.hub.clone(),
        served.renditions.clone(),
        Arc::default(),
        false,
        stop.clone(),
    ));
    let _playing = clip.play(&served.hub, &served.renditions, "bench");
    let http = watchtower::base::http_client::plain()
        .no_proxy()
        .build()
        .expect("a client");
    let base = format!("http://{}", served.http);
    let mut crowd = Vec::new();
    for nth in 0..good + slow {
        let width = if nth < good { WIDE } else { factor * rate };
        let link = Bottleneck::start(served.media, width).await;
        let manner = Manner {
            relay: Some(link.address),
            ..Manner::default()
        };
        let viewer = BenchViewer::join(&http, &base, manner).await;
        crowd.push(Watching {
            viewer,
            link,
            sent: 0,
            wire: Vec::new(),
            pictures: Vec::new(),
            lost: 0,
        });
    }
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    let (mut begun, usage) = (Instant::now(), crate::process::ProcessUsage::now());
    for second in 0..=seconds {
        ticks.tick().await;
        if second == CALM {
            begun = Instant::now();
        }
        for watching in &mut crowd {
            let total = watching.link.sent.load(Ordering::Relaxed);
            let (lost, pictures) = watching.viewer.whole();
            if second > CALM {
                watching.wire.push((total - watching.sent) as f64 / rate);
                watching.pictures.extend(pictures);
                watching.lost += lost;
            }
            watching.sent = total;
        }
    }
    println!(
        "{factor} times the rate, {slow} slow beside {good}: {:.0} % of a core, {} packets sent again",
        crate::process::ProcessUsage::now().percent_since(&usage),
        served.metrics.retransmits.get(),
    );
    let (wide, narrow) = crowd.split_at(good);
    print("good", wide, begun, rate);
    print("slow", narrow, begun, rate);
    stop.cancel();
    std::process::exit(0);
}

fn print(title: &str, crowd: &[Watching], begun: Instant, rate: f64) {
    if crowd.is_empty() {
        return;
    }
    let over = begun.elapsed().as_secs_f64();
    let rates = crowd
        .iter()
        .map(|watching| watching.pictures.len() as f64 / over);
    let gaps = crowd.iter().map(|watching| {
        let ends = std::iter::once(begun).chain(watching.pictures.iter().copied());
        let next = watching.pictures.iter().copied().chain([Instant::now()]);
        let gaps = ends
            .zip(next)
            .map(|(from, to)| to.saturating_duration_since(from));
        gaps.max().unwrap_or_default().as_secs_f64()
    });
    let wire = crowd
        .iter()
        .flat_map(|watching| watching.wire.iter().copied());
    let sum: f64 = wire.clone().sum();
    let seconds = crowd
        .iter()
        .map(|watching| watching.wire.len())
        .sum::<usize>();
    let at_bottleneck: u64 = crowd
        .iter()
        .map(|one| one.link.lost.load(Ordering::Relaxed))
        .sum();
    let lost: u64 = crowd.iter().map(|watching| watching.lost).sum();
    println!(
        "  {title}: whole pictures a second {:.1} to {:.1}, longest gap {:.2} s, on the wire {:.2} \
         of {:.2} Mb/s on average and {:.2} at most in a second, lost at the bottleneck {at_bottleneck}, \
         never mended {lost}",
        rates.clone().fold(f64::MAX, f64::min),
        rates.fold(0.0, f64::max),
        gaps.fold(0.0, f64::max),
        sum / seconds as f64,
        rate * 8e-6,
        wire.fold(0.0, f64::max),
    );
}

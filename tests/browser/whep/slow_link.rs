//! Viewer on a link that is barely wide enough for the stream, or too narrow.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::common::chromium::Chromium;
use crate::whep::bottleneck::Bottleneck;
use crate::whep::clip::{FPS, Recipe};
use crate::whep::server::WhepServer;

/// Sampling interval of the viewer.
const LOOK: Duration = Duration::from_millis(250);
/// Time from which the link's queue must be stable.
const CALM: Duration = Duration::from_secs(2);

/// Number of consecutive good seconds required; a browser on a busy machine may
/// fall behind before.
const GOOD: usize = 8;
const MOST: Duration = Duration::from_secs(75);

/// Frames and bytes of a viewer in each second since its first picture.
#[derive(Debug, Default)]
struct Course {
    /// Frames decoded.
    rates: Vec<f64>,
    /// Longest gap between new frames.
    gaps: Vec<Duration>,
    /// Bytes on the wire as a share of the stream's rate.
    wire: Vec<f64>,
}

impl Course {
    /// True if the last seconds had frames at that rate on average, and no gap
    /// of 2 s.
    fn is_good(&self, rate: f64) -> bool {
        let Some(from) = self.rates.len().checked_sub(GOOD) else {
            return false;
        };
        let frames: f64 = self.rates[from..].iter().sum();
        let gaps = &self.gaps[from..];
        frames / GOOD as f64 >= rate && gaps.iter().all(|gap| *gap < Duration::from_secs(2))
    }
}

/// Watches through a link of `factor` times the stream's rate until there are
/// `wanted` frames a second.
async fn watch(factor: f64, wanted: f64) {
    let server = WhepServer::start(10).await;
    let recipe = Recipe {
        bitrate: "2650k",
        ..Recipe::default()
    };
    let clip = Arc::new(recipe.make());
    let rate = clip.rate();
    let stop = CancellationToken::new();
    let _stop = stop.clone().drop_guard();
    tokio::spawn(watchtower::codec::supply(
        server.hub.clone(),
        server.renditions.clone(),
        Arc::default(),
        false,
        stop,
    ));
    let _playing = clip.play(&server.hub, &server.renditions, "team");
    let link = Bottleneck::start(server.media, factor * rate).await;
    let browser = Chromium::start().await;
    browser.open(&format!("http://{}/", server.http)).await;
    let port = link.address.port();
    browser.run(&format!("watch('team', {port})")).await;
    let mut seen = browser
        .until(20, "a decoded frame", |seen| {
            seen.video("framesDecoded") > 0.0
        })
        .await;
    let mut course = Course::default();
    let begun = Instant::now();
    let (mut newest, mut second) = (begun, begun);
    let mut sent = link.sent.load(Ordering::Relaxed);
    let mut of_second = seen.video("framesDecoded");
    let mut gap = Duration::ZERO;
    while !course.is_good(wanted) && begun.elapsed() < MOST {
        tokio::time::sleep(LOOK).await;
        let now = browser.look().await;
        gap = gap.max(newest.elapsed());
        if now.video("framesDecoded") > seen.video("framesDecoded") {
            newest = Instant::now();
        }
        seen = now;
        let lasted = second.elapsed().as_secs_f64();
        if lasted >= 1.0 {
            let frames = seen.video("framesDecoded") - of_second;
            course.rates.push(frames / lasted);
            course.gaps.push(std::mem::take(&mut gap));
            let total = link.sent.load(Ordering::Relaxed);
            if second > begun + CALM {
                course.wire.push((total - sent) as f64 / lasted / rate);
            }
            (of_second, sent) = (seen.video("framesDecoded"), total);
            second = Instant::now();
        }
    }
    println!(
        "{factor} times the rate: {course:.2?}, {} lost, {} sent again, {} freezes of {} s, {} PLIs",
        link.lost.load(Ordering::Relaxed),
        server.metric("watchtower_retransmits_total"),
        seen.video("freezeCount"),
        seen.video("totalFreezesDuration"),
        seen.video("pliCount"),
    );
    browser.close().await;
    assert!(course.is_good(wanted), "{course:.2?}");
    let most = course.wire.iter().copied().fold(0.0, f64::max);
    assert!(most <= 1.5, "{course:.2?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_is_just_wide_enough_carries_every_picture() {
    watch(1.2, 0.9 * f64::from(FPS)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_too_narrow_carries_a_smaller_picture_steadily() {
    watch(0.6, 10.0).await;
}

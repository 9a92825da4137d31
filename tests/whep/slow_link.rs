//! A viewer behind a link that is hardly wide enough for the stream, or too
//! narrow for it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::chromium::Chromium;
use crate::clip::{FPS, Recipe};
use crate::relay::Relay;
use crate::server::Server;

/// How often the viewer is looked at.
const LOOK: Duration = Duration::from_millis(250);
/// From when on the wire must be calm.
const CALM: Duration = Duration::from_secs(2);

/// What a viewer got, from its first picture on.
#[derive(Debug, Default)]
struct Course {
    /// Frames decoded a second, in each second.
    rates: Vec<f64>,
    longest_gap: Duration,
    /// Bytes of each second on the wire, of the stream's rate.
    wire: Vec<f64>,
}

impl Course {
    /// Of so many seconds at the end.
    fn rate_of_last(&self, seconds: usize) -> f64 {
        let last = &self.rates[self.rates.len() - seconds..];
        last.iter().sum::<f64>() / seconds as f64
    }
}

/// Watches for so many seconds through a link of `factor` times the stream's
/// rate.
async fn watch(factor: f64, seconds: u64) -> Course {
    let server = Server::start(10).await;
    let recipe = Recipe {
        bitrate: "2650k",
        ..Recipe::default()
    };
    let clip = Arc::new(recipe.make());
    let bytes: usize = clip.units.iter().map(|unit| unit.data.len()).sum();
    // With 64 kb/s of sound.
    let rate = bytes as f64 / f64::from(recipe.seconds) + 8000.0;
    let stop = CancellationToken::new();
    let _stop = stop.clone().drop_guard();
    tokio::spawn(watchtower::av::supply(
        server.hub.clone(),
        server.renditions.clone(),
        Arc::clone(&server.metrics),
        false,
        stop,
    ));
    let _playing = clip.play(&server.hub, &server.renditions, "team");
    let relay = Relay::start(server.media).await;
    relay.narrow((factor * rate) as u32);
    let browser = Chromium::start().await;
    browser.open(&format!("http://{}/", server.http)).await;
    let port = relay.address.port();
    browser.run(&format!("watch('team', {port})")).await;
    let mut seen = browser
        .until(20, "a decoded frame", |seen| {
            seen.video("framesDecoded") > 0.0
        })
        .await;
    let mut course = Course::default();
    let begun = Instant::now();
    let (mut newest, mut second) = (begun, begun);
    let mut sent = relay.sent.load(Ordering::Relaxed);
    let mut of_second = seen.video("framesDecoded");
    while begun.elapsed() < Duration::from_secs(seconds) {
        tokio::time::sleep(LOOK).await;
        let now = browser.look().await;
        if now.video("framesDecoded") > seen.video("framesDecoded") {
            newest = Instant::now();
        }
        course.longest_gap = course.longest_gap.max(newest.elapsed());
        seen = now;
        let lasted = second.elapsed().as_secs_f64();
        if lasted >= 1.0 {
            let frames = seen.video("framesDecoded") - of_second;
            course.rates.push(frames / lasted);
            let total = relay.sent.load(Ordering::Relaxed);
            if second > begun + CALM {
                course.wire.push((total - sent) as f64 / lasted / rate);
            }
            (of_second, sent) = (seen.video("framesDecoded"), total);
            second = Instant::now();
        }
    }
    println!(
        "{factor} times the rate: {course:.2?}, {} lost, {} sent again, {} freezes of {} s, {} PLIs",
        relay.lost.load(Ordering::Relaxed),
        server.metric("watchtower_retransmits_total"),
        seen.video("freezeCount"),
        seen.video("totalFreezesDuration"),
        seen.video("pliCount"),
    );
    browser.close().await;
    course
}

fn is_calm(course: &Course) {
    assert!(course.longest_gap < Duration::from_secs(2), "{course:.2?}");
    let most = course.wire.iter().copied().fold(0.0, f64::max);
    assert!(most <= 1.5, "{course:.2?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_is_just_wide_enough_carries_every_picture() {
    let course = watch(1.2, 20).await;
    is_calm(&course);
    let rate = course.rate_of_last(10);
    assert!(rate > 0.9 * f64::from(FPS), "{course:.2?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_too_narrow_carries_a_smaller_picture_steadily() {
    let course = watch(0.6, 20).await;
    is_calm(&course);
    let rate = course.rate_of_last(10);
    assert!(rate >= 10.0, "{course:.2?}");
}

//! Playback over WHEP end to end: a stream in the hub, and a real browser as
//! the viewer.

mod bottleneck;
mod clip;
mod hostile;
pub(crate) mod independent;
mod reachability;
mod refusals;
pub(crate) mod relay;
mod server;
mod slow_link;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::common::chromium::{Chromium, PlaybackStats};
use clip::{FPS, Recipe};
use relay::Relay;
use server::WhepServer;
use watchtower::base::stream_name::StreamName;
use watchtower::media::hub::renditions::{Demanded, RenditionKind};

/// Stretch of playback, as the browser counts it.
#[derive(Debug)]
struct Stretch {
    /// Pictures per second that arrived whole.
    received: f64,
    /// Pictures per second that were decoded.
    decoded: f64,
    lost: f64,
    freezes: f64,
}

impl Stretch {
    fn between(first: &PlaybackStats, second: &PlaybackStats) -> Self {
        let since = |name: &str| second.video(name) - first.video(name);
        let rate = |name: &str| since(name) / since("timestamp") * 1000.0;
        Self {
            received: rate("framesReceived"),
            decoded: rate("framesDecoded"),
            lost: since("packetsLost"),
            freezes: since("freezeCount"),
        }
    }

    /// True if every picture came, and on time. A browser on a busy machine
    /// decodes fewer than come to it, and freezes by itself.
    fn is_at_full_rate(&self) -> bool {
        let fps = f64::from(FPS);
        let whole = (self.received - fps).abs() < 1.5 && self.lost <= 0.0;
        let kept_up = (self.decoded - fps).abs() < 1.5;
        whole && self.decoded > fps / 3.0 && (!kept_up || self.freezes == 0.0)
    }
}

/// Waits for some seconds in which every picture came. Before that a browser on
/// a busy machine may have fallen behind, and then shows more than are sent
/// while it catches up.
async fn at_full_rate(browser: &Chromium) -> PlaybackStats {
    let mut first = browser.look().await;
    let mut seen = Vec::new();
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_secs(3)).await;
        let second = browser.look().await;
        let stretch = Stretch::between(&first, &second);
        if stretch.is_at_full_rate() {
            return second;
        }
        seen.push(stretch);
        first = second;
    }
    panic!("{seen:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chromium_plays_picture_and_sound_at_full_rate() {
    let server = WhepServer::start(10).await;
    let clip = Arc::new(Recipe::default().make());
    let _playing = clip.play(&server.hub, &server.renditions, "team");
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let browser = Chromium::start().await;
    browser.open(&format!("http://{}/", server.http)).await;
    let location = browser.run("watch('team')").await;
    assert!(
        location
            .as_str()
            .expect("a Location")
            .starts_with("/whep/team/")
    );

    let first = browser
        .until(10, "decoded frames", |seen| {
            seen.video("framesDecoded") > 30.0
        })
        .await;
    println!("first picture after {} ms", first.0["firstPicture"]);
    let seen = at_full_rate(&browser).await;
    assert!(seen.audio("totalAudioEnergy") > 0.0);
    assert_eq!(server.metric("watchtower_viewers"), 1.0);

    let url = format!("http://{}{}", server.http, location.as_str().expect("text"));
    let client = watchtower::base::http_client::plain().build().unwrap();
    let gone = client.delete(&url).send().await.expect("an answer");
    assert_eq!(gone.status(), 200);
    server.wait_for("watchtower_viewers", 0.0, 5).await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn losses_are_mended_and_a_gap_is_overcome() {
    let server = WhepServer::start(10).await;
    let clip = Arc::new(Recipe::default().make());
    let _playing = clip.play(&server.hub, &server.renditions, "team");
    let relay = Relay::start(server.media).await;
    let browser = Chromium::start().await;
    browser.open(&format!("http://{}/", server.http)).await;
    let port = relay.address.port();
    browser.run(&format!("watch('team', {port})")).await;
    browser
        .until(10, "decoded frames", |seen| {
            seen.video("framesDecoded") > 30.0
        })
        .await;

    // Some twenty packets are lost in each window: without retransmission each
    // would have a gap.
    relay.lose(20);
    let mut windows = Vec::new();
    let mut first = browser.look().await;
    let mended = loop {
        let lost_before = relay.lost.load(Ordering::Relaxed);
        tokio::time::sleep(Duration::from_secs(5)).await;
        let second = browser.look().await;
        let lost = relay.lost.load(Ordering::Relaxed) - lost_before;
        let since = |name: &str| second.video(name) - first.video(name);
        let due = since("timestamp") / 1000.0 * f64::from(FPS);
        let (frames, decoded) = (since("framesReceived"), since("framesDecoded"));
        let frozen = since("totalFreezesDuration");
        let window = format!(
            "{lost} lost, {frames} of {due:.0} frames, {decoded} decoded, {frozen} s of freezes"
        );
        println!(
            "2 % loss: {window}, {} NACKs, {} PLIs, {} sent again",
            since("nackCount"),
            since("pliCount"),
            server.metric("watchtower_retransmits_total"),
        );
        windows.push(window);
        first = second;
        // A browser on a busy machine freezes by itself.
        let kept_up = decoded >= 0.95 * due;
        if lost >= 5 && frames >= 0.95 * due && (!kept_up || frozen < 0.5) {
            break true;
        }
        if windows.len() == 6 {
            break false;
        }
    };
    relay.lose(0);
    assert!(mended, "{windows:#?}");
    assert!(server.metric("watchtower_retransmits_total") > 0.0);

    // Longer than the cache's retention, shorter than the maximum lag.
    relay.lose(1000);
    tokio::time::sleep(Duration::from_secs(4)).await;
    relay.lose(0);
    let back = Instant::now();
    let decoded = browser.look().await.video("framesDecoded");
    browser
        .until(5, "picture after the gap", |seen| {
            seen.video("framesDecoded") > decoded + 30.0
        })
        .await;
    println!(
        "4 s gap: 30 frames more after {:?}, {} replays",
        back.elapsed(),
        server.metric("watchtower_replays_total")
    );
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publisher_that_returns_finds_its_viewers() {
    let server = WhepServer::start(10).await;
    let recipe = Recipe {
        size: "854x480",
        ..Recipe::default()
    };
    let clip = Arc::new(recipe.make());
    let playing = clip.play(&server.hub, &server.renditions, "team");
    let [browser, late] = [Chromium::start().await, Chromium::start().await];
    for browser in [&browser, &late] {
        browser.open(&format!("http://{}/", server.http)).await;
    }
    browser.run("watch('team')").await;
    browser.until_true(10, "video.videoWidth === 854").await;
    drop(playing);
    // The placeholder is the only picture of its size.
    browser.until_true(5, "video.videoWidth === 1280").await;
    // Viewers that join now are accepted, and see it too.
    late.run("watch('team')").await;
    late.until_true(5, "video.videoWidth === 1280").await;
    // A stream waits half a minute for its publisher; a slow browser needs most
    // of it.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let _playing = clip.play(&server.hub, &server.renditions, "team");
    for browser in [&browser, &late] {
        browser.until_true(5, "video.videoWidth === 854").await;
        let before = browser.look().await.video("framesDecoded");
        let seen = browser
            .until(5, "pictures of the new publisher", |seen| {
                seen.video("framesDecoded") > before + 60.0
            })
            .await;
        assert_eq!(seen.0["state"], "connected");
    }
    browser.close().await;
    late.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chromium_plays_over_tcp_alone() {
    let server = WhepServer::start(10).await;
    let clip = Arc::new(Recipe::default().make());
    let _playing = clip.play(&server.hub, &server.renditions, "team");
    let browser = Chromium::start().await;
    browser.open(&format!("http://{}/", server.http)).await;
    browser.run("watch('team', 'tcp')").await;
    let first = browser
        .until(10, "decoded frames", |seen| {
            seen.video("framesDecoded") > 30.0
        })
        .await;
    assert_eq!(first.0["tcp"], true, "{first:#?}");
    at_full_rate(&browser).await;
    browser.close().await;
}

/// OBS' default: a keyframe every 8.3 s. A viewer in the middle of that still
/// gets its picture at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_group_of_pictures_still_starts_at_once() {
    const ROUND: f64 = 10.0;
    let server = WhepServer::start(10).await;
    let recipe = Recipe {
        seconds: 10,
        group: 250,
        bitrate: "2500k",
        ..Recipe::default()
    };
    let clip = Arc::new(recipe.make());
    let _playing = clip.play(&server.hub, &server.renditions, "team");
    let began = Instant::now();
    let browser = Chromium::start().await;
    let mut firsts = Vec::new();
    // A machine may be busy just then; waiting for the next keyframe would be
    // slow each time.
    for _ in 0..3 {
        browser.open(&format!("http://{}/", server.http)).await;
        // Keyframes are at 0 and 8.3 s of each round: at 3 s the next is 5.3 s
        // away.
        let into = began.elapsed().as_secs_f64() % ROUND;
        tokio::time::sleep(Duration::from_secs_f64((3.0 + ROUND - into) % ROUND)).await;
        browser.run("watch('team')").await;
        let seen = browser
            .until(30, "first picture", |seen| {
                seen.0["firstPicture"].is_number()
            })
            .await;
        let first = seen.0["firstPicture"].as_f64().expect("a time");
        println!(
            "first picture after {first:.0} ms, {} frames at once",
            seen.video("framesReceived"),
        );
        firsts.push(first);
        if first < 4500.0 {
            break;
        }
    }
    assert!(
        firsts.last().is_some_and(|first| *first < 4500.0),
        "first pictures after {firsts:?} ms"
    );
    let seen = at_full_rate(&browser).await;
    println!(
        "{} freezes, {} dropped, {} ms buffered a frame",
        seen.video("freezeCount"),
        seen.video("framesDropped"),
        1000.0 * seen.video("jitterBufferDelay") / seen.video("jitterBufferEmittedCount"),
    );
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_with_b_frames_is_played_from_its_rendition() {
    let server = WhepServer::start(10).await;
    let b_frames = Recipe {
        b_frames: 2,
        ..Recipe::default()
    };
    let _source = Arc::new(b_frames.make()).play(&server.hub, &server.renditions, "team");
    let browser = Chromium::start().await;
    browser.open(&format!("http://{}/", server.http)).await;
    let watched = Demanded {
        stream: StreamName::new("team").expect("valid"),
        kind: RenditionKind::Video,
    };
    assert!(!server.renditions.demands().contains(&watched));
    browser.run("watch('team')").await;
    let mut changes = server.renditions.changes();
    let demanded = changes.wait_for(|_| server.renditions.demands().contains(&watched));
    tokio::time::timeout(Duration::from_secs(20), demanded)
        .await
        .expect("the twin is asked for")
        .expect("alive");
    let unshown = || server.hub.streams()[0].unshown_since.is_some();
    let reported = async {
        while !unshown() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), reported)
        .await
        .expect("that pictures come and none is shown is told");

    // Substitute for the rendition of a transcoder, without the codec.
    let rendition = Arc::new(Recipe::default().make());
    let _rendition = rendition.play(server.renditions.video(), &server.renditions, "team");
    browser
        .until(60, "decoded frames", |seen| {
            seen.video("framesDecoded") > 30.0
        })
        .await;
    at_full_rate(&browser).await;
    assert!(!unshown());
    // The tab closes without a request; its demand is dropped.
    browser.close().await;
    server.wait_for("watchtower_viewers", 0.0, 15).await;
    let gone = changes.wait_for(|_| server.renditions.demands().is_empty());
    tokio::time::timeout(Duration::from_secs(20), gone)
        .await
        .expect("the twin is asked for no more")
        .expect("alive");
}

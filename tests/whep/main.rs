//! The WebRTC room from outside: a stream in the hub, a real browser at the
//! other end.

mod chromium;
mod clip;
mod independent;
mod refusals;
mod relay;
mod server;

use std::sync::Arc;
use std::time::Duration;

use chromium::Chromium;
use clip::{FPS, Recipe};
use relay::Relay;
use server::Server;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chromium_plays_picture_and_sound_at_full_rate() {
    let server = Server::start(10).await;
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
    tokio::time::sleep(Duration::from_secs(4)).await;
    let second = browser.look().await;
    let seconds = (second.video("timestamp") - first.video("timestamp")) / 1000.0;
    let rate = (second.video("framesDecoded") - first.video("framesDecoded")) / seconds;
    println!("{rate} frames a second over {seconds} s");
    assert!(
        (rate - f64::from(FPS)).abs() < 1.5,
        "{rate} frames a second"
    );
    assert!(second.audio("totalAudioEnergy") > 0.0);
    assert_eq!(second.video("freezeCount"), 0.0);
    assert_eq!(server.metric("watchtower_viewers"), 1.0);

    let url = format!("http://{}{}", server.http, location.as_str().expect("text"));
    let client = reqwest::Client::new();
    let gone = client.delete(&url).send().await.expect("an answer");
    assert_eq!(gone.status(), 200);
    server.wait_for("watchtower_viewers", 0.0, 5).await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn losses_are_mended_and_a_gap_is_overcome() {
    let server = Server::start(10).await;
    let clip = Arc::new(Recipe::default().make());
    let _playing = clip.play(&server.hub, &server.renditions, "team");
    let relay = Relay::start(server.media).await;
    let browser = Chromium::start().await;
    browser.open(&format!("http://{}/", server.http)).await;
    let port = relay.address.port();
    browser.run(&format!("watch('team', {port})")).await;
    let first = browser
        .until(10, "decoded frames", |seen| {
            seen.video("framesDecoded") > 30.0
        })
        .await;

    relay.lose(20);
    tokio::time::sleep(Duration::from_secs(10)).await;
    relay.lose(0);
    let second = browser.look().await;
    let seconds = (second.video("timestamp") - first.video("timestamp")) / 1000.0;
    let frames = second.video("framesDecoded") - first.video("framesDecoded");
    let due = seconds * f64::from(FPS);
    println!(
        "2 % loss: {frames} of {due:.0} frames, {} freezes of {} s, {} NACKs, {} PLIs, {} sent again",
        second.video("freezeCount"),
        second.video("totalFreezesDuration"),
        second.video("nackCount"),
        second.video("pliCount"),
        server.metric("watchtower_retransmits_total"),
    );
    assert!(relay.lost.load(std::sync::atomic::Ordering::Relaxed) > 20);
    assert!(frames >= 0.95 * due, "{frames} of {due} frames");
    assert!(second.video("totalFreezesDuration") < 1.0);

    // Longer than what the cache holds for repair, shorter than the patience.
    relay.lose(1000);
    tokio::time::sleep(Duration::from_secs(4)).await;
    relay.lose(0);
    let back = std::time::Instant::now();
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
    let server = Server::start(10).await;
    let clip = Arc::new(Recipe::default().make());
    let playing = clip.play(&server.hub, &server.renditions, "team");
    let browser = Chromium::start().await;
    browser.open(&format!("http://{}/", server.http)).await;
    browser.run("watch('team')").await;
    browser
        .until(10, "decoded frames", |seen| {
            seen.video("framesDecoded") > 60.0
        })
        .await;
    drop(playing);
    tokio::time::sleep(Duration::from_secs(12)).await;
    let before = browser.look().await.video("framesDecoded");
    let _playing = clip.play(&server.hub, &server.renditions, "team");
    let seen = browser
        .until(5, "picture of the new publisher", |seen| {
            seen.video("framesDecoded") > before + 60.0
        })
        .await;
    assert_eq!(seen.0["state"], "connected");
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chromium_plays_over_tcp_alone() {
    let server = Server::start(10).await;
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
    tokio::time::sleep(Duration::from_secs(3)).await;
    let second = browser.look().await;
    let seconds = (second.video("timestamp") - first.video("timestamp")) / 1000.0;
    let rate = (second.video("framesDecoded") - first.video("framesDecoded")) / seconds;
    assert!(
        (rate - f64::from(FPS)).abs() < 1.5,
        "{rate} frames a second"
    );
    browser.close().await;
}

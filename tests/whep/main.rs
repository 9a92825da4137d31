//! The WebRTC room from outside: a stream in the hub, a real browser at the
//! other end.

mod chromium;
mod clip;
mod independent;
mod refusals;
mod server;

use std::sync::Arc;
use std::time::Duration;

use chromium::Chromium;
use clip::{FPS, Recipe};
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

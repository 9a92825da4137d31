//! A real browser publishes by WHIP a picture that it draws, and what arrives
//! is compared with it.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::process::Command;

use crate::common::KEY;
use crate::common::chromium::Chromium;
use crate::common::serve::{Setup, TestServer};
use crate::whep::independent::python;
use crate::whep::relay::Relay;

/// Difference of a bar's mean from what was drawn, in levels of 256, that two
/// colour matrices and lossy coding make; the bars are at least 13 apart in
/// every channel, and 200 in some.
const NEAR: f64 = 12.0;

/// Difference where the browser tells the range of the colours beside the
/// bitstream only (RTP header extension `color-space`), so that its canvas'
/// full range is taken for the limited one of all video: 16 at black and white.
const NEAR_IN_RANGE: f64 = 20.0;

struct Publishing {
    server: TestServer,
    browser: Chromium,
}

impl Publishing {
    /// Opens a page of the server that can publish.
    async fn open(setup: Setup) -> Self {
        let server = setup.env("WATCHTOWER_STREAM_KEY", KEY).start().await;
        let browser = Chromium::start().await;
        browser.open(&server.http_url("/healthz")).await;
        browser.script(include_str!("whip/publish.js")).await;
        Self { server, browser }
    }

    async fn publish(&self, stream: &str, options: &str) -> Value {
        let script = format!("publish('{stream}', '{KEY}', {options})");
        self.browser.run(&script).await
    }

    /// Waits for a still that shows what was drawn, of this size.
    async fn arrives(&self, width: u32, height: u32) {
        self.arrives_within(NEAR, width, height).await;
    }

    async fn arrives_within(&self, most: f64, width: u32, height: u32) {
        let mut seen = Value::Null;
        for _ in 0..120 {
            seen = self.browser.run("compared()").await;
            let near = seen["worst"].as_f64().is_some_and(|worst| worst < most);
            if near && seen["width"] == json!(width) && seen["height"] == json!(height) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        panic!(
            "not what was drawn at {width}x{height}: {seen}; sent {:#}\n{}",
            self.browser.run("sent()").await,
            self.server.output()
        );
    }
}

#[tokio::test]
async fn what_a_browser_draws_arrives() {
    let publishing = Publishing::open(Setup::new()).await;
    let made = publishing.publish("team", "{}").await;
    assert_eq!(made["status"], 201, "{made}");
    let location = made["location"].as_str().expect("a location");
    assert!(location.starts_with("/whip/team/"), "{location}");
    assert_eq!(made["patch"], "application/trickle-ice-sdpfrag");
    publishing.arrives(1280, 720).await;

    // The picture grows, as a shared window does.
    let grow = "void Object.assign(publishing.canvas, { width: 1600, height: 900 })";
    publishing.browser.run(grow).await;
    publishing.arrives(1600, 900).await;

    // The session ends by request, and the stream waits for its publisher.
    let client = &publishing.server.client;
    let url = publishing.server.http_url(location);
    let ended = client.delete(&url).send().await.expect("an answer");
    assert_eq!(ended.status(), 200);
    publishing.server.logged("WHIP session closed").await;
    let again = client.delete(&url).send().await.expect("an answer");
    assert_eq!(again.status(), 404);
    assert!(!publishing.server.output().contains(KEY));
    publishing.browser.close().await;
}

/// Address that media is sent to, by the server's log.
async fn media(server: &TestServer) -> SocketAddr {
    let line = server.logged("WebRTC listening on ").await;
    let address = line.split("listening on ").nth(1).expect("an address");
    let address = address.split(' ').next().expect("an address");
    address.parse().expect("an address")
}

/// Value of a line of `/metrics`.
async fn metric(server: &TestServer, name: &str) -> f64 {
    let page = server.get("/metrics").await.text().await.expect("text");
    let value = page
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.map_or(0.0, |value| value.parse().expect("a number"))
}

#[tokio::test]
async fn lost_packets_are_sent_again_and_the_picture_stays_whole() {
    let publishing = Publishing::open(Setup::new()).await;
    let relay = Relay::start(media(&publishing.server).await).await;
    relay.lose_upward(50);
    let port = relay.address.port();
    let options = format!("{{ port: {port}, busy: true }}");
    let made = publishing.publish("team", &options).await;
    assert_eq!(made["status"], 201, "{made}");
    let mut seen = Value::Null;
    for _ in 0..120 {
        seen = publishing.browser.run("sent()").await;
        if of_layer(&seen, "retransmittedPacketsSent") >= 60.0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let received = publishing.server.json("/api/streams").await["items"][0]["video_units"].clone();
    println!(
        "{} packets lost, {} NACKs, {} sent again, {} PLIs, {} frames, {received} received",
        relay.lost.load(Ordering::Relaxed),
        of_layer(&seen, "nackCount"),
        of_layer(&seen, "retransmittedPacketsSent"),
        of_layer(&seen, "pliCount"),
        of_layer(&seen, "framesSent"),
    );
    assert!(
        of_layer(&seen, "retransmittedPacketsSent") >= 60.0,
        "{seen:#}"
    );
    // Nearly all losses are mended, without a keyframe: each picture has many
    // packets, so that otherwise most pictures would be missing.
    let received = received.as_f64().expect("a count");
    assert!(received > 0.9 * of_layer(&seen, "framesSent"), "{seen:#}");
    assert!(of_layer(&seen, "pliCount") < 15.0, "{seen:#}");
    publishing.arrives(1280, 720).await;
    publishing.browser.close().await;
}

/// Number in the statistics of what is sent.
fn of_layer(seen: &Value, name: &str) -> f64 {
    seen["layers"][0][name].as_f64().unwrap_or(0.0)
}

#[tokio::test]
async fn a_still_screen_stays_live_and_a_vanished_publisher_does_not() {
    let settings = "[rtmp]\nidle_timeout = \"4s\"\n";
    let publishing = Publishing::open(Setup::new().settings(settings)).await;
    let made = publishing.publish("team", "{}").await;
    assert_eq!(made["status"], 201, "{made}");
    publishing.arrives(1280, 720).await;
    // A publisher without pictures for longer than the idle timeout is live
    // by its ICE checks and reports.
    publishing
        .browser
        .run("(clearInterval(publishing.timer), publishing.transceiver.sender.replaceTrack(null))")
        .await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(
        metric(&publishing.server, "watchtower_whip_sessions_open").await,
        1.0
    );
    // A browser that is gone closes its connection.
    publishing
        .browser
        .run("publishing.connection.close()")
        .await;
    publishing.server.logged("publisher disconnected").await;
    let lost = publishing
        .server
        .until("the signal is lost", async |server| {
            let streams = server.json("/api/streams").await;
            let since = streams["items"][0]["lost_since"].clone();
            since.is_string().then_some(since)
        })
        .await;
    println!("lost since {lost}");
    publishing.browser.close().await;
}

#[tokio::test]
async fn a_second_publisher_takes_the_stream_over() {
    let publishing = Publishing::open(Setup::new()).await;
    let first = publishing.publish("team", "{ codec: 'video/H264' }").await;
    assert_eq!(first["status"], 201, "{first}");
    publishing.arrives(1280, 720).await;
    publishing
        .browser
        .run("void (window.before = publishing.connection)")
        .await;
    let second = publishing
        .publish("team", "{ width: 640, height: 360 }")
        .await;
    assert_eq!(second["status"], 201, "{second}");
    publishing
        .server
        .logged("replaced by a new publisher")
        .await;
    publishing.arrives(640, 360).await;
    assert_eq!(
        metric(&publishing.server, "watchtower_whip_sessions_open").await,
        1.0
    );
    publishing.browser.close().await;
}

#[tokio::test]
async fn one_layer_of_simulcast_is_shown() {
    let publishing = Publishing::open(Setup::new()).await;
    let made = publishing.publish("team", "{ simulcast: true }").await;
    assert_eq!(made["status"], 201, "{made}");
    // The first layer, which is not scaled down.
    publishing.arrives(1280, 720).await;
    publishing.browser.close().await;
}

#[tokio::test]
async fn an_independent_publisher_is_shown() {
    let setup = Setup::new().env("WATCHTOWER_STREAM_KEY", KEY);
    let server = setup.start().await;
    let output = Command::new(python().await)
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/browser/whip/independent.py"
        ))
        .args([&*server.http_url(""), "team", KEY, "60"])
        .kill_on_drop(true)
        .output()
        .await
        .expect("Python runs");
    assert!(output.status.success(), "{output:?}\n{}", server.output());
    let seen: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    println!("{seen}");
    let worst = seen["worst"].as_f64();
    assert!(
        worst.is_some_and(|worst| worst < NEAR),
        "{seen}\n{}",
        server.output()
    );
    assert_eq!(
        (&seen["width"], &seen["height"]),
        (&json!(960), &json!(540))
    );
    server.logged("WHIP session closed").await;
}

#[tokio::test]
async fn every_codec_of_a_browser_arrives() {
    let publishing = Publishing::open(Setup::new()).await;
    for codec in ["VP8", "VP9", "AV1"] {
        let options = format!("{{ codec: 'video/{codec}', width: 640, height: 360 }}");
        let made = publishing.publish(codec, &options).await;
        assert_eq!(made["status"], 201, "{codec}: {made}");
        publishing.arrives_within(NEAR_IN_RANGE, 640, 360).await;
        let streams = publishing.server.json("/api/streams").await;
        let items = streams["items"].as_array().expect("a list");
        let stream = items.iter().find(|one| one["name"] == codec);
        assert_eq!(stream.expect("it is live")["codec"], codec);
        publishing
            .browser
            .run("publishing.connection.close()")
            .await;
    }
    publishing.browser.close().await;
}

#[tokio::test]
async fn ice_is_restarted_while_the_picture_goes_on() {
    let publishing = Publishing::open(Setup::new()).await;
    let made = publishing.publish("team", "{}").await;
    assert_eq!(made["status"], 201, "{made}");
    publishing.arrives(1280, 720).await;
    let restarted = publishing.browser.run("restart()").await;
    assert_eq!(restarted["status"], 200, "{restarted}");
    // A picture of another size, drawn after the restart, arrives; checks with
    // the old credentials are no longer sent.
    let grow = "void Object.assign(publishing.canvas, { width: 960, height: 540 })";
    publishing.browser.run(grow).await;
    publishing.arrives(960, 540).await;
    let seen = publishing.browser.run("sent()").await;
    assert_eq!(seen["state"], "connected", "{seen:#}");
    publishing.browser.close().await;
}

#[tokio::test]
async fn sound_reaches_a_viewer_untouched() {
    let publishing = Publishing::open(Setup::new()).await;
    let made = publishing.publish("team", "{ sound: true }").await;
    assert_eq!(made["status"], 201, "{made}");
    publishing.arrives(1280, 720).await;
    assert_eq!(publishing.browser.run("watch()").await, 201);
    // The tone has the full range, less what a slow machine conceals.
    let mut heard = Value::Null;
    for _ in 0..120 {
        heard = publishing.browser.run("heard()").await;
        let loud = heard["loudness"]
            .as_f64()
            .is_some_and(|level| (0.5..1.1).contains(&level));
        if loud && heard["pictures"].as_f64() > Some(10.0) {
            publishing.browser.close().await;
            return;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    panic!("{heard}\n{}", publishing.server.output());
}

//! Monitoring gaps at the running server: reported once, and closed when
//! resolved.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use crate::common::encoder::Encoder;
use crate::common::gemini::{CannedReply, FakeGemini};
use crate::common::healthy;
use crate::common::rtmp_client::{AUDIO, RtmpClient, VIDEO};
use crate::common::serve::{Setup, TestServer};
use serde_json::Value;

const KEY: &str = "AIzaFakeKeyOfTheTests0123456789abcdefgh";
const SETTINGS: &str = r#"
[watchdog]
black = "2s"
frozen = "20s"
stopped = "3s"
keyframe = "5s"
gone = "1s"
unread = "2s"
unanswered = "2s"
[ocr]
cpu_budget = 0.05
"#;
const NOBODY: &str = "";
const ONE: &str = r#"
[[agent]]
name = "SecOps"
personality = "wary"
focus = "threats"
interval = "1s"
"#;

/// Newest incident with that title.
async fn incident(server: &TestServer, title: &str) -> Option<Value> {
    let incidents = server.json("/api/incidents").await;
    let items = incidents["items"].as_array().unwrap();
    let found = items.iter().find(|incident| incident["title"] == title);
    found.cloned()
}

/// Waits for the incident to open and to close, reported once, with a start and
/// an end.
async fn opens_and_closes(server: &TestServer, title: &str) {
    let opened = server
        .until(title, async |server| incident(server, title).await)
        .await;
    assert_eq!(opened["agents"][0], "Watchtower");
    let closed = server.until("its end", async |server| {
        incident(server, title)
            .await
            .filter(|incident| incident["status"] == "closed")
    });
    let closed = closed.await;
    assert_eq!(closed["id"], opened["id"]);
    let id = closed["id"].as_str().unwrap();
    let whole = server.json(&format!("/api/incidents/{id}")).await;
    let text = whole.to_string();
    assert!(
        text.contains("resolved: from ") && text.contains("\"Watchtower\""),
        "{text}"
    );
    let raised = server
        .findings()
        .into_iter()
        .filter(|finding| finding["title"] == title);
    let raised: Vec<_> = raised.collect();
    assert_eq!(raised.len(), 1, "{raised:?}");
    assert_eq!(raised[0]["agent"], "Watchtower");
    assert!(
        server
            .log("watchtower.log")
            .contains(&format!("{title}: resolved: from "))
    );
}

async fn on_air(server: &TestServer) {
    server
        .until("a picture", async |server| {
            let streams = server.json("/api/streams").await;
            streams["items"]
                .get(0)
                .filter(|stream| stream["keyframes"] != 0)
                .map(|_| ())
        })
        .await;
}

#[tokio::test]
async fn a_black_screen() {
    let server = Setup::new().agents(NOBODY).settings(SETTINGS).start().await;
    let graph = "color=black:s=640x360:r=10:d=6[a];testsrc2=s=640x360:r=10:d=30[b];[a][b]concat";
    let _publisher = Encoder::drawn(&server.rtmp_url("live/team"), graph);
    opens_and_closes(&server, "Black screen on team").await;
}

#[tokio::test]
async fn a_frozen_picture_where_something_always_moved() {
    // With a viewer: pictures are taken twice a second.
    let server = Setup::new().agents(ONE).settings(SETTINGS).start().await;
    let graph = "testsrc2=s=640x360:r=10:d=12,tpad=stop_mode=clone:stop_duration=9[a];\
                 testsrc2=s=640x360:r=10:d=30[b];[a][b]concat";
    let _publisher = Encoder::drawn(&server.rtmp_url("live/team"), graph);
    opens_and_closes(&server, "Frozen picture on team").await;
}

#[tokio::test]
async fn a_publisher_that_is_gone_and_returns_and_is_gone_again() {
    let server = Setup::new().agents(NOBODY).settings(SETTINGS).start().await;
    let title = "Stream team: signal lost";
    let url = server.rtmp_url("live/team");
    let mut publisher = Encoder::ffmpeg(&url, &[]);
    on_air(&server).await;
    publisher.kill();
    server
        .until(title, async |server| incident(server, title).await)
        .await;
    let mut publisher = Encoder::ffmpeg(&url, &[]);
    opens_and_closes(&server, title).await;
    publisher.kill();
    // The same incident is reopened.
    let again = server.until("the second loss", async |server| {
        incident(server, title)
            .await
            .filter(|incident| incident["status"] == "new")
    });
    assert_eq!(again.await["count"], 2);
}

/// Pictures without parameter sets are dropped before they count; with sets
/// they are units, of which none decodes. Audio continues in both cases.
#[tokio::test]
async fn pictures_that_come_and_cannot_be_seen() {
    let server = Setup::new().agents(NOBODY).settings(SETTINGS).start().await;
    let publish = async |name: &str, configured: bool| {
        let mut client = RtmpClient::publish(server.rtmp, "live", name)
            .await
            .unwrap();
        let mut send = async |kind, time, body: &[u8]| {
            let channel = if kind == VIDEO { 4 } else { 5 };
            client.message(channel, kind, time, body).await.unwrap();
        };
        if configured {
            send(VIDEO, 0, &healthy::video_config()).await;
        }
        send(AUDIO, 0, healthy::AUDIO_CONFIG).await;
        for count in 0..u32::MAX {
            let picture = healthy::picture(count % 20 == 0, count);
            send(VIDEO, count * 100, &picture).await;
            send(AUDIO, count * 100, &healthy::audio(count)).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let is_raised = async |name: &str| {
        let title = format!("Undecodable video on {name}");
        server
            .until(&title, async |server| incident(server, &title).await)
            .await;
    };
    tokio::select! {
        () = publish("dropped", false) => {}
        () = publish("undecodable", true) => {}
        _ = async { tokio::join!(is_raised("dropped"), is_raised("undecodable")) } => {}
    }
}

#[tokio::test]
async fn a_reader_that_does_not_keep_up() {
    let server = Setup::new().agents(ONE).settings(SETTINGS).start().await;
    // With a twentieth of a core an OCR run of 4 s takes 80: it has to end
    // while the picture is still.
    let graph = "testsrc2=s=1280x720:r=10:d=16,tpad=stop_mode=clone:stop_duration=600";
    let _publisher = Encoder::drawn(&server.rtmp_url("live/team"), graph);
    opens_and_closes(&server, "OCR backlog on team").await;
}

#[tokio::test]
async fn a_model_that_does_not_answer() {
    let gemini = FakeGemini::start().await;
    gemini.script(
        "SecOps",
        [CannedReply::nothing().slow(Duration::from_secs(9))],
    );
    let server = Setup::new()
        .agents(ONE)
        .settings(SETTINGS)
        .env("GOOGLE_API_KEY", KEY)
        .env("GOOGLE_GEMINI_BASE_URL", &gemini.base_url())
        .start()
        .await;
    let _publisher = Encoder::demo(&server.rtmp_url("live/team"));
    opens_and_closes(&server, "SecOps: model not responding").await;
}

#[tokio::test]
async fn a_restarted_server_closes_what_it_left_open() {
    let mut server = Setup::new().agents(NOBODY).settings(SETTINGS).start().await;
    let title = "Stream team: signal lost";
    let mut publisher = Encoder::ffmpeg(&server.rtmp_url("live/team"), &[]);
    on_air(&server).await;
    publisher.kill();
    server
        .until(title, async |server| incident(server, title).await)
        .await;
    server.signal("-TERM");
    server.wait().await;
    let server = server.again().await;
    let closed = server.until("it is closed", async |server| {
        incident(server, title)
            .await
            .filter(|incident| incident["status"] == "closed")
    });
    closed.await;
}
